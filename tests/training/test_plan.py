"""lab/training/plan.py: defaults by the data set, contradicting options, the printed plan."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from conftest import SAMPLE
from small_trainings import images, small_options, small_state, stopped_after

from gan_lab import RECIPES, Options
from lab.data import DatasetSpec
from lab.errors import Fault, Mistake
from lab.options import given_options, parse
from lab.training import plan
from lab.training.length import MAX_EPOCHS, Length
from lab.training.plan import (
    check_options,
    complete_options,
    continue_from,
    print_plan,
    recipe_changes,
    stored_options,
)

GREY = (1, 28, 28)


class Several:
    """Stands for images; has a length only."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count


def set_of(count: int, shape=(1, 28, 28)):
    """A data set with `count` training images, without the images."""
    spec = DatasetSpec("birds", "Birds", shape)
    return dataclasses.replace(images(100), spec=spec, train_images=Several(count))


def test_conditional_is_refused_for_a_set_without_labels():
    unlabelled = dataclasses.replace(set_of(1_000), train_labels=None)
    with pytest.raises(Mistake, match="--conditional: Birds has no labels"):
        complete_options(small_options("modern", "--conditional"), unlabelled)


@pytest.mark.parametrize(
    ("count", "more", "wanted"),
    [(4_999, (), True), (5_000, (), False), (200, ("--no-augment",), False)],
)
def test_augmentation_is_on_for_small_sets(count, more, wanted, capsys):
    options = complete_options(small_options("modern", *more), set_of(count))
    assert options.augment is wanted
    assert "augment" not in recipe_changes(options, RECIPES["modern"], (1, 28, 28))


@pytest.mark.parametrize(
    ("recipe", "epochs"), [("modern", 180), ("classic", 192), ("dcgan", 45), ("best", 300)]
)
def test_a_recipe_shows_the_same_number_of_images_for_any_set(recipe, epochs):
    options = parse(Options, ["--recipe", recipe], RECIPES)
    small = complete_options(options, set_of(10_000))
    assert (small.epochs, small.images_shown) == (epochs, 10_000 * epochs)
    assert small.sample_every == max(1, epochs // 10)
    assert complete_options(options, set_of(60_000)).epochs == math.ceil(epochs / 6)


def test_a_recipe_shows_a_third_as_many_images_at_twice_the_side():
    options = parse(Options, ["--recipe", "dcgan"], RECIPES)
    for side, shown in ((28, 450_000), (32, 450_000), (64, 150_000)):
        sized = set_of(60_000, (1, side, side))
        assert abs(complete_options(options, sized).images_shown - shown) < options.batch_size


def test_images_shown_may_end_in_a_short_epoch():
    for shown, epochs, steps, exactly in (
        (25_000, 3, 78 + 78 + 40, 20_000 + 40 * 128),
        (20_001, 3, 78 + 78 + 1, 20_128),
        (1, 1, 1, 128),
        (9_999, 1, 78, 10_000),  # the rest does not fill a batch
    ):
        options = complete_options(Options(images_shown=shown, batch_size=128), set_of(10_000))
        assert (options.epochs, options.images_shown) == (epochs, exactly)
        assert options.sample_every == 1
        assert Length.of(options, 10_000).steps == steps
        resumed = dataclasses.replace(options, resume="fashion-001")
        assert complete_options(resumed, set_of(10_000)) == resumed  # as its config.json says
        longer = complete_options(dataclasses.replace(resumed, epochs=epochs + 2), set_of(10_000))
        assert longer.images_shown == (epochs + 2) * 10_000
    whole = complete_options(Options(images_shown=25_000, epochs=3), set_of(10_000))
    assert whole.images_shown == 30_000  # --epochs overrides the recipe's images


def test_with_minutes_the_length_is_not_known(capsys):
    options = parse(Options, ["--minutes", "5", "--batch-size", "128"], RECIPES)
    options = complete_options(options, images(1024))
    print_plan(options, {}, images(1024), small_state(options, images(1024)))
    shown = capsys.readouterr().out
    assert "as many epochs of 8 steps as the speed allows in 5 minutes, batch 128" in shown
    assert "minutes" not in stored_options(options) and options.sample_every is None


def test_the_penalty_comes_at_least_once_an_epoch():
    options = complete_options(Options(r1_every=1000, batch_size=128), set_of(1300))
    assert options.r1_every == 10  # so that its weight is right


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["--batch-size", "20000"], r"--batch-size 20000: the set has 10,000 training images"),
        (["--channels-g", *["8"] * 3], r"--channels-g 8 8 8: images of 28 x 28 cannot be h"),
        (
            ["--no-pyramid", "--channels-d", *["8"] * 3],
            r"--channels-d 8 8 8: .* cannot be h",
        ),
        (
            ["--network-g", "mlp", "--channels-g", "8"],
            r"--channels-g 8: the network mlp has no con",
        ),
        (
            ["--network-g", "dcgan", "--channels-g", "none"],
            r"--channels-g none: the network dcgan needs some; leave it out, or give --network-g m",
        ),
        (["--full-maps", "8"], r"--full-maps 8: the network mlp has none; give --full-maps 0, or"),
        (["--loss", "hinge", "--label-smoothing", "0.1"], r"--label-smoothing 0.1: the hinge loss"),
        (["--images-shown", "3000000000"], r"--images-shown 3,000,000,000: is 300,000 epochs"),
    ],
)
def test_options_that_do_not_suit_the_set_are_a_mistake(typed, says):
    options = parse(Options, typed, RECIPES)
    with pytest.raises(Mistake, match=rf"^{says}"):
        complete_options(options, set_of(10_000), given_options(Options, typed, RECIPES))


@pytest.mark.parametrize(("count", "batch"), [(88, 64), (64, 64), (58, 32), (128, 128)])
def test_the_default_batch_is_no_larger_than_the_set(count, batch):
    assert complete_options(Options(), set_of(count)).batch_size == batch
    with pytest.raises(Mistake, match=f"the set has {count} training images; give a smaller"):
        complete_options(Options(batch_size=256), set_of(count), ["batch_size"])


def test_networks_that_do_not_suit_the_sides_are_a_mistake():
    with pytest.raises(Mistake, match="--pyramid: a pyramid is for square images, not 20 x 24"):
        complete_options(Options(), set_of(10_000, (3, 20, 24)))
    with pytest.raises(Mistake, match=r"--pyramid: .* which 30 does not allow; add --no-pyramid"):
        complete_options(Options(), set_of(10_000, (1, 30, 30)))
    complete_options(Options(pyramid=False), set_of(10_000, (1, 30, 30)))
    complete_options(
        parse(Options, ["--channels-g", *["8"] * 4], RECIPES), set_of(10_000, (3, 32, 32))
    )
    dcgan = parse(Options, ["--recipe", "dcgan"], RECIPES)
    with pytest.raises(Mistake, match="--pyramid: a pyramid is for square images, not 20 x 24"):
        complete_options(dcgan, set_of(10_000, (3, 20, 24)))
    complete_options(dataclasses.replace(dcgan, pyramid=False), set_of(10_000, (3, 20, 24)))


def test_a_plan_allocates_no_networks():
    wide = Options(hidden_g=(4096,) * 8, hidden_d=(4096,) * 8)
    before = torch.get_rng_state()
    complete_options(wide, set_of(10_000))
    assert torch.equal(torch.get_rng_state(), before)  # nothing was initialised


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (
            ["--epochs", "3", "--images-shown", "600"],
            "--images-shown 600: --epochs sets the length",
        ),
        (
            ["--epochs", "3", "--minutes", "5"],
            "--minutes 5: --epochs sets the length, too; give o",
        ),
        (
            ["--images-shown", "600", "--minutes", "5"],
            "--minutes 5: --images-shown sets the length",
        ),
        (
            ["--lr-decay", "1", "--minutes", "5"],
            "--lr-decay 1: --minutes measures the speed",
        ),
        (
            ["--recipe", "classic", "--r1-every", "4"],
            "--r1-every 4: has no effect while --r1-",
        ),
        (
            ["--lr-floor", "0.5", "--lr-decay", "0"],
            "--lr-floor 0.5: has no effect while --lr-",
        ),
    ],
)
def test_options_that_contradict_each_other_are_a_mistake(typed, says):
    options, given = parse(Options, typed, RECIPES), given_options(Options, typed, RECIPES)
    with pytest.raises(Mistake, match=f"^{says}"):
        check_options(options, given)
    assert check_options(options, {}) == options  # options of a recipe may have no effect


def test_the_rates_may_fall_for_most_of_a_run_of_some_minutes():
    typed = ["--lr-decay", "0.9", "--minutes", "5"]
    options, given = parse(Options, typed, RECIPES), given_options(Options, typed, RECIPES)
    assert check_options(options, given) == options


def test_tensorboard_is_refused_where_it_does_not_work(monkeypatch, capsys):
    monkeypatch.setattr("lab.training.progress.importlib.util.find_spec", lambda name: None)
    with pytest.raises(Mistake, match=r"--tensorboard: .*pip install tensorboard"):
        check_options(Options(tensorboard=True), {"tensorboard": True})
    resumed = check_options(
        Options(tensorboard=True, resume="fashion-001"), {"resume": "fashion-001"}
    )
    assert not resumed.tensorboard
    assert "continues without events" in capsys.readouterr().out


def test_any_option_overrides_its_recipe():
    typed = ["--recipe", "dcgan", "--channels-g", "none", "--channels-d", "none"]
    options = parse(Options, typed, RECIPES)
    assert options.channels_g == options.channels_d == ()
    changes = recipe_changes(complete_options(options, set_of(60_000)), RECIPES["dcgan"], GREY)
    assert changes == "--channels-g none --channels-d none"
    told = ["--seed", "3", "--epochs", "2", "--batch-size", "9", "--dry-run"]  # elsewhere
    assert recipe_changes(parse(Options, told), {}, GREY) == ""


def test_the_penalty_is_no_change_to_a_recipe_without_one():
    options = complete_options(small_options("classic", "--epochs", "2"), set_of(100))
    assert "r1-every" not in recipe_changes(options, RECIPES["classic"], GREY)


@pytest.mark.parametrize("maps", [1, 3])
def test_fully_connected_networks_on_colour_images_get_a_note(maps, capsys):
    dataset = set_of(60_000, (maps, 32, 32))
    options = complete_options(parse(Options, [], RECIPES), dataset)
    print_plan(options, {}, dataset, small_state(options, dataset))
    assert ("try --recipe dcgan" in capsys.readouterr().out) == (maps == 3)


@pytest.mark.parametrize(
    ("typed", "shape", "maps_g", "maps_d"),
    [
        (["--recipe", "dcgan"], GREY, (64, 32), (32, 64)),
        (["--recipe", "dcgan"], (3, 20, 20), (96, 48), (48, 96)),
        (["--recipe", "dcgan", "--network-d", "mlp"], (3, 32, 32), (192, 96, 48), ()),
        (["--network-g", "dcgan"], (1, 64, 64), (128, 64, 32, 16), ()),
    ],
)
def test_default_channels_suit_the_images(typed, shape, maps_g, maps_d, capsys):
    options = complete_options(parse(Options, typed, RECIPES), set_of(60_000, shape))
    assert (options.channels_g, options.channels_d) == (maps_g, maps_d)
    recipe = RECIPES[options.recipe]
    print_plan(options, recipe, set_of(60_000, shape), small_state(options, set_of(60_000, shape)))
    assert f"--channels-g {' '.join(map(str, maps_g))}" in capsys.readouterr().out
    both = typed == ["--recipe", "dcgan"]
    assert options.full_maps == (32 if both and shape[0] == 3 else 0)
    assert options.r1_gamma == (2 if options.recipe == "dcgan" and shape[0] == 3 else 1)
    if both:
        assert recipe_changes(options, recipe, shape) == ""
        fewer = dataclasses.replace(options, channels_g=(8,))
        assert recipe_changes(fewer, recipe, shape) == "--channels-g 8"


def test_a_fully_connected_network_leaves_out_the_convolution_of_its_recipe():
    typed = ["--recipe", "best", "--network-g", "mlp"]
    assert complete_options(parse(Options, typed, RECIPES), set_of(60_000)).full_maps == 0
    with pytest.raises(Mistake, match="--full-maps 8: the network mlp has none"):
        asked = parse(Options, [*typed, "--full-maps", "8"], RECIPES)
        complete_options(asked, set_of(60_000), {"full_maps": 8})


def test_a_recipe_shows_fewer_large_images():
    large = set_of(60_000, (3, 64, 64))
    assert complete_options(parse(Options, ["--recipe", "dcgan"], RECIPES), large).epochs == 3
    typed = {"images_shown": 720_000}
    assert complete_options(Options(**typed), large, typed).images_shown == 720_000
    assert complete_options(Options(epochs=20), large).images_shown == 20 * 60_000
    resumed = Options(images_shown=180_000, epochs=3, resume="leaves-001")
    assert complete_options(resumed, large).images_shown == 180_000
    assert complete_options(Options(), set_of(10)).epochs == MAX_EPOCHS
    with pytest.raises(Mistake, match="--dataset fashion: has a single training image; give more"):
        complete_options(Options(), set_of(1))


def test_stored_options_are_those_of_the_run(monkeypatch):
    monkeypatch.chdir(SAMPLE.parent)
    options = Options(data_dir=Path(SAMPLE.name), dry_run=True, resume="fashion-001", seed=3)
    decided = stored_options(options)
    assert decided["data_dir"] == SAMPLE and decided["seed"] == 3  # from the root
    assert not {"resume", "dry_run", "report", "list"} & set(decided)
    json.dumps(decided, default=str)


def test_the_plan_is_printed(capsys):
    typed = ["--dropout", "0.3", "--seed", "7", "--epochs", "2", "--batch-size", "128"]
    options = complete_options(parse(Options, typed, RECIPES), images(1024))
    print_plan(options, {}, images(1024), small_state(options, images(1024)))
    shown = capsys.readouterr().out
    for part in (
        *("Fashion-MNIST: 1,024 training images from", "modern recipe: 2 epochs of 8 steps"),
        *("batch 128, seed 7, on cpu with", "generator 723,856 parameters, discriminator 593,153"),
        *(
            "changes to the recipe: --dropout 0.3\n",
            "BUNDLED SAMPLE",
            "--epochs 12 has as many steps",
        ),
    ):
        assert part in shown, part
    assert "resuming" not in shown and "first tries to download" not in shown


@pytest.mark.parametrize(
    ("typed", "downloads"),
    [((), False), (("--dry-run",), True), (("--dry-run", "--data-dir", str(SAMPLE)), False)],
)
def test_the_plan_of_a_recipes_own_length_on_the_sample(typed, downloads, capsys):
    dataset = dataclasses.replace(images(1024), notices=("2 files left out",))
    options = complete_options(parse(Options, [*typed, "--batch-size", "128"], RECIPES), dataset)
    print_plan(options, RECIPES["modern"], dataset, small_state(options, dataset))
    shown = capsys.readouterr().out
    assert "note: 2 files left out\n" in shown and "inputs are augmented" in shown
    assert ("first tries to download" in shown) == downloads
    assert "Its epochs are short" not in shown


# Resuming


def test_a_run_is_resumed_at_its_checkpoint(tmp_path, capsys):
    path, options = tmp_path / "checkpoint.pth", small_options("modern", "--epochs", "3")
    state = small_state(options)
    continue_from(path, state, options, images(200))  # without a checkpoint
    assert (state.epoch, state.step) == (0, 0)
    stopped_after(6, options, path)
    continue_from(path, state, options, images(200))
    assert (state.epoch, state.step, state.updates) == (1, 2, 6)
    resumed = dataclasses.replace(complete_options(options, images(200)), resume="fashion-001")
    print_plan(resumed, RECIPES["modern"], images(200), state)
    assert "resuming after epoch 1, step 2" in capsys.readouterr().out


def test_a_plan_says_that_the_last_epoch_is_short(capsys):
    for shown, said in (2_500, "3 epochs of 8 steps, the last of 4"), (500, "1 epoch of 4 steps"):
        options = complete_options(Options(images_shown=shown, batch_size=128), images(1024))
        print_plan(options, {}, images(1024), small_state(options, images(1024)))
        assert f"{said}, batch 128" in capsys.readouterr().out


def test_a_checkpoint_of_a_longer_run_is_refused(tmp_path):
    path, options = tmp_path / "checkpoint.pth", small_options("modern", "--epochs", "3")
    stopped_after(8, options, path)  # at the end of the second epoch's steps
    continue_from(path, small_state(options), options, images(200))
    for changed, dataset in (
        (options, images(150)),  # 3 steps per epoch, not 4
        (dataclasses.replace(options, epochs=1), images(200)),
        (dataclasses.replace(options, epochs=2, images_shown=300), images(200)),
    ):
        with pytest.raises(Fault, match=r"checkpoint\.pth: is of a longer run than this one"):
            continue_from(path, small_state(options), changed, dataset)


def test_options_named_in_plan_exist():
    names = {field.name for field in dataclasses.fields(Options)}
    assert names >= plan.NOT_STORED | plan.SHOWN_BY_PLAN
    assert {*plan.REQUIRES, *plan.REQUIRES.values()} <= names
