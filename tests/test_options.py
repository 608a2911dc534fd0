"""lab/options.py: options on the command line and in config.json."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

import denoise_images
import evaluate_images
from gan_lab import RECIPES, Options
from lab.errors import Fault, Mistake
from lab.models import DISCRIMINATORS, GENERATORS, parameters_of
from lab.options import (
    as_typed,
    flag_of,
    given_options,
    option,
    options_from_config,
    parse,
    refuse_others,
)
from lab.training.networks import architecture
from lab.training.plan import stored_options

CONFIG = Path("config.json")
TAKEN_BY_NETWORKS = {
    name
    for kinds in (GENERATORS, DISCRIMINATORS)
    for kind in kinds
    for name in parameters_of(kinds, kind)
}
FIELDS = {field.name: field for field in dataclasses.fields(Options)}
# The config.json of version 1 for `--recipe dcgan --dataset mnist --epochs 3`.
FIRST_VERSION = {
    **{"dataset": "mnist", "data_dir": None, "out": "outputs", "recipe": "dcgan", "epochs": 3},
    **{"images_shown": 30000, "batch_size": 64, "latent_dim": 100, "hidden_g": [512, 512, 512]},
    **{"hidden_d": [256], "channels_g": [64, 32], "channels_d": [32, 64]},
    **{"activation": "leaky-relu", "batch_norm": False, "output": "tanh", "dropout": 0.0},
    **{"pyramid": False, "loss": "non-saturating", "label_smoothing": 0.0, "lr_g": 0.001},
    **{"lr_d": 0.001, "beta1": 0.0, "beta2": 0.99, "lr_decay": 0.3, "lr_floor": 0.1},
    **{"r1_gamma": 1.0, "r1_every": 8, "average": 0.987, "precision": "bfloat16"},
    **{"sample_every": 1, "quality": True, "final_images": 100, "tensorboard": False},
    **{"seed": 0, "device": "auto"},
}


def test_help_has_the_default_of_each_recipe(capsys):
    with pytest.raises(SystemExit):
        parse(Options, ["--help"], RECIPES)
    shown = " ".join(capsys.readouterr().out.split())
    assert "images per step, from 2 to 60000 (default: 128; dcgan: 64; best: 64)" in shown
    assert "(default: clip; classic: tanh; dcgan: tanh; best: tanh)" in shown


def test_the_command_line_overrides_the_recipe_and_the_recipe_the_default():
    options = parse(Options, ["--recipe", "classic", "--lr-g", "0.1"], RECIPES)
    assert (options.lr_g, options.lr_d) == (0.1, 2e-4)
    assert parse(Options, [], RECIPES) == Options()
    for recipe, changes in RECIPES.items():
        assert parse(Options, ["--recipe", recipe], RECIPES) == Options(recipe=recipe, **changes)


def test_several_numbers_may_be_separated_by_spaces_or_commas():
    for typed in (["8", "9"], ["8,9"], ["8, 9"], ["8 9"]):
        assert parse(Options, ["--hidden-g", *typed]).hidden_g == (8, 9)
    assert parse(Options, ["--channels-g", "none"]).channels_g == ()
    with pytest.raises(Mistake, match="--hidden-g 'none': give a whole number"):
        parse(Options, ["--hidden-g", "none"])


def test_a_mistyped_option_gets_a_suggestion():
    with pytest.raises(Mistake, match=r"did you mean --label-smoothing\?"):
        parse(Options, ["--label", "0.3"])
    with pytest.raises(Mistake, match=r"did you mean --epochs?"):
        parse(Options, ["--epoch", "3"])
    with pytest.raises(Mistake, match="--help lists the options"):
        parse(Options, ["--frobnicate", "3"])


def test_options_are_quoted_as_typed():
    given = {"hidden_g": (5, 6), "pyramid": False, "dry_run": True, "lr_g": 0.1, "channels_g": ()}
    assert [as_typed(name, given) for name in given] == [
        *("--hidden-g 5 6", "--no-pyramid", "--dry-run", "--lr-g 0.1", "--channels-g none")
    ]
    with pytest.raises(Mistake, match=r"^--lr-g 0.1: with --seed, --epochs only$"):
        refuse_others({"seed": 1, "lr_g": 0.1}, ("seed", "epochs"), "with {} only")
    refuse_others({"seed": 1}, ("seed", "epochs"), "with {} only")


@pytest.mark.parametrize("typed", [["--average", "0.9"], ["--average=0.9"]])
def test_a_renamed_option_is_refused_with_its_new_name(typed):
    with pytest.raises(Mistake, match=r"^--average: is now called --ema-decay$"):
        given_options(Options, typed, RECIPES)
    assert parse(Options, ["--ema-decay", "0.9"]).ema_decay == 0.9


KINDS = (Options, denoise_images.Options, evaluate_images.Options)
PATHS = [(k, f.name) for k in KINDS for f in dataclasses.fields(k) if "Path" in str(f.type)]


@pytest.mark.parametrize(("kind", "name"), [*PATHS, (Options, "resume")])
def test_the_home_folder_is_expanded_in_every_path(tmp_path, monkeypatch, kind, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # Windows
    (tmp_path / "there").mkdir()
    for typed in ([f"{flag_of(name)}=~/there"], [flag_of(name), "~/there"]):
        assert Path(given_options(kind, typed)[name]) == tmp_path / "there"
    if name != "resume":
        assert (
            getattr(options_from_config(kind, {name: "~/there"}, CONFIG), name)
            == tmp_path / "there"
        )


def test_a_path_with_an_unknown_user_is_not_expanded():
    assert parse(Options, ["--out", "~nobody-here/x"]).out == Path("~nobody-here/x")


@pytest.mark.parametrize(
    ("kind", "typed", "number"),
    [
        (Options, ["--lr-g", "0,001"], "0.001"),
        (Options, ["--minutes=2,5"], "2.5"),
        (denoise_images.Options, ["--sigma", "0,1"], "0.1"),
        (denoise_images.Options, ["--sigma", "0,1", "0,3"], "0.1"),
        (denoise_images.Options, ["--sigma", "0,1,0,3"], "0.1"),
        (denoise_images.Options, ["--corruption", "gaussian:0,3"], "0.3"),
    ],
)
def test_a_decimal_comma_is_refused_with_the_corrected_number(kind, typed, number):
    flag = typed[0].partition("=")[0]
    with pytest.raises(Mistake, match=rf"^{flag} '.*': write {re.escape(number)} with a point"):
        parse(kind, typed)


def test_a_comma_between_two_numbers_is_not_a_decimal_comma():
    for typed in (["0.1,0.3"], ["0.1, 0.3"], ["1e-1,3e-1"], ["0.1", "0.3"]):
        assert parse(denoise_images.Options, ["--sigma", *typed]).sigma == (0.1, 0.3)
    assert parse(denoise_images.Options, ["--sigma", "0, 1"]).sigma == (0, 1)


# config.json


def test_a_config_of_version_1_is_read():
    options = options_from_config(Options, FIRST_VERSION, CONFIG)
    assert options.ema_decay == 0.987
    same = {name: value for name, value in FIRST_VERSION.items() if name not in ("average", "out")}
    for name, value in same.items():
        assert getattr(options, name) == (tuple(value) if isinstance(value, list) else value), name
    assert [architecture(options, end)[1] for end in "gd"] == ["dcgan", "dcgan"]
    with pytest.raises(Fault, match=r"config\.json: --ema-decay 7: out of range"):
        options_from_config(Options, {"average": 7}, CONFIG)
    assert (
        options_from_config(Options, {"average": 0.5, "ema_decay": 0.25}, CONFIG).ema_decay == 0.25
    )


@pytest.mark.parametrize(
    "typed",
    [
        [],
        ["--recipe", "classic", "--seed", str(2**63 - 1), "--no-quality"],
        ["--recipe", "dcgan", "--network-g", "dcgan", "--channels-g", "8", "--epochs", "7"],
        ["--ema-decay", "0", "--lr-g", "3e-05", "--sample-every", "2", "--dropout", "0.123456789"],
    ],
)
def test_stored_options_are_read_back(typed):
    options = parse(Options, typed, RECIPES)
    content = json.loads(json.dumps(stored_options(options), default=str))
    assert options_from_config(Options, content, CONFIG) == options


@pytest.mark.parametrize("content", [None, [], "text", 3])
def test_missing_options_are_a_fault(content):
    with pytest.raises(Fault, match=r"config\.json: its options are missing"):
        options_from_config(Options, content, CONFIG)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"batch_norm": "no"}, "--batch-norm is 'no', true or false is expected"),
        ({"batch_norm": 1}, "--batch-norm is 1, true or false is expected"),
        ({"hidden_g": 512}, "--hidden-g is 512, a list is expected"),
        ({"hidden_g": []}, "--hidden-g '': is empty, give one value"),
        ({"hidden_g": [1_000_000]}, "--hidden-g 1000000: out of range"),
        ({"hidden_g": [8] * 9}, "--hidden-g: 9 values given, at most 8"),
        ({"lr_g": []}, r"--lr-g is \[\], a single value is expected"),
        ({"lr_g": True}, "--lr-g is True, a single value is expected"),
        ({"lr_g": float("nan")}, "--lr-g nan: is not a number"),
        ({"latent_dim": 10**9}, "--latent-dim 1000000000: out of range"),
        ({"batch_size": "many"}, "--batch-size 'many': give a whole number"),
        ({"network_g": "transformer"}, "--network-g 'transformer': choose one of mlp, dcgan"),
    ],
)
def test_damaged_options_are_a_fault(content, says):
    with pytest.raises(Fault, match=rf"^config\.json: {says}"):
        options_from_config(Options, content, CONFIG)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*FIELDS, "average"]), JSON, max_size=4))
def test_any_options_are_accepted_or_a_fault(content):
    try:
        options = options_from_config(Options, content, CONFIG)
    except Fault as fault:
        assert "\n" not in str(fault)
        return
    for name, field in FIELDS.items():
        value, low = getattr(options, name), field.metadata["low"]
        numbers = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if isinstance(number, int | float):
                assert low <= number <= field.metadata["high"], name


# Declarations


def test_every_option_is_used():
    paths = [REPOSITORY / "gan_lab.py", *(REPOSITORY / "lab").rglob("*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in paths)
    of_either_network = {f"{name}_{end}" for name in TAKEN_BY_NETWORKS for end in "gd"}
    for name in set(FIELDS) - TAKEN_BY_NETWORKS - of_either_network:
        ways = ("options.{}", 'given["{}"]', 'given.get("{}"', '"{}" in given')
        read = "|".join(re.escape(way.format(name)) + r"(?!\w)" for way in ways)
        assert re.search(read, source), f"{flag_of(name)} is declared and never read"


def test_a_network_has_an_option_for_each_argument():
    for end, kinds in (("_g", GENERATORS), ("_d", DISCRIMINATORS)):
        for kind in kinds:
            wanted = parameters_of(kinds, kind) - {
                "shape",
                "classes",
            }  # these depend on the data set
            assert not {name for name in wanted if not {name, name + end} & set(FIELDS)}, kind


def test_option_stores_its_arguments_by_name():
    field = option(3, "what it is", 1, 7, most=2, heading="numbers", old_name="old")
    assert field.default == 3
    kept = {name: value for name, value in field.metadata.items() if value not in (None, False)}
    assert kept == {
        **{"default": 3, "help": "what it is", "low": 1, "high": 7},
        **{"most": 2, "heading": "numbers", "old_name": "old"},
    }
