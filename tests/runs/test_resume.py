"""lab/runs/resume.py: a resumed run keeps its options, and its config is not trusted."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import pytest
from conftest import SAMPLE
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_lab import RECIPES, Options
from lab import files
from lab.data import load_sample
from lab.errors import Fault, Mistake
from lab.options import parse
from lab.runs.resume import resume_options
from lab.runs.run import Run
from lab.training.plan import complete_options, stored_options

TYPED = ["--recipe", "classic", "--epochs", "3", "--seed", "5", "--data-dir", str(SAMPLE)]


@cache
def planned_options() -> Options:
    """The completed options of the runs in this file."""
    return complete_options(parse(Options, TYPED, RECIPES), load_sample("fashion"))


def begun(outputs: Path, status: str = "running") -> Run:
    """A run as at the start of its training."""
    dataset, run = load_sample("fashion"), Run.create(outputs, "fashion")
    run.write_config(stored_options(planned_options()), "", dataset, {})
    run.save_status(status)
    return Run(run.path)


def changed(run: Run, **options: object) -> Run:
    """The run with other options in its config.json."""
    content = files.read_json(run.config_path)
    content["options"] = {**content["options"], **options}
    files.write_json(run.config_path, content)
    return Run(run.path)


def go_on(run: Run, **given: object):
    """The options and the run for --resume with this run and `given`."""
    return resume_options(Options, {"resume": str(run), **given})


def test_a_resumed_run_keeps_its_options(tmp_path):
    run = begun(tmp_path)
    options, found = go_on(run)
    assert options == dataclasses.replace(planned_options(), resume=str(run))
    assert found.path == run.path
    options, _ = go_on(run, epochs=7, device="cpu")
    assert (options.epochs, options.device, options.seed) == (7, "cpu", 5)


def test_the_newest_unfinished_run_is_the_default(tmp_path):
    begun(tmp_path)
    newest = begun(tmp_path)
    begun(tmp_path, "finished")
    _, found = resume_options(Options, {"resume": "newest", "out": tmp_path})
    assert found.path == newest.path


def test_what_a_resumed_run_refuses(tmp_path):
    run = begun(tmp_path)
    says = r"^--lr-g 0.1: a resumed run keeps its own; only --resume, --epochs, "
    with pytest.raises(Mistake, match=says):
        go_on(run, lr_g=0.1)
    with pytest.raises(Mistake, match="--epochs 2: the run has 3; give more"):
        go_on(run, epochs=2)
    with files.locked(run.path), pytest.raises(Mistake, match="is being trained; wait"):
        go_on(run)
    with pytest.raises(Mistake, match="--resume none: does not exist"):
        go_on(Path("none"))


def test_a_stopped_run_without_its_checkpoint_is_not_restarted(tmp_path):
    run = begun(tmp_path, "stopped")
    with pytest.raises(Fault, match=r"checkpoint\.pth: is missing; the run"):
        go_on(run)
    run.checkpoint_path.touch()
    assert go_on(run)[0].epochs == 3


def test_a_finished_run_is_resumed_with_more_epochs_only(tmp_path):
    run = begun(tmp_path, "finished")
    with pytest.raises(Mistake, match="has finished; raise --epochs above 3 to continue"):
        go_on(run)
    with pytest.raises(Fault, match=r"checkpoint\.pth: is missing; the run"):
        go_on(run, epochs=4)  # training from the start would overwrite the run
    run.checkpoint_path.touch()
    assert go_on(run, epochs=4)[0].epochs == 4


def test_a_missing_data_folder_is_named(tmp_path):
    run = changed(begun(tmp_path), data_dir=str(tmp_path / "gone"))
    with pytest.raises(
        Mistake, match="gone, which no longer exists; say with --data-dir where they are"
    ):
        go_on(run)
    assert go_on(run, data_dir=SAMPLE)[0].data_dir == SAMPLE


def test_the_stored_output_folder_is_ignored(tmp_path):
    run = changed(begun(tmp_path), out="\0 of another machine")
    assert go_on(run)[0].seed == 5


def test_a_run_of_version_1_keeps_its_ema_decay(tmp_path):
    run = begun(tmp_path)
    content = files.read_json(run.config_path)
    del content["options"]["ema_decay"]
    content["options"]["average"] = 0.75
    files.write_json(run.config_path, content)
    assert go_on(Run(run.path))[0].ema_decay == 0.75


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": "many"},
        {"latent_dim": 10**9},
        {"hidden_g": [1_000_000]},
        {"hidden_g": 512},
        {"lr_g": []},
        {"lr_g": [1]},
        {"epochs": None},
        {"epochs": 0},
        {"network_g": "../mlp"},
    ],
)
def test_a_hostile_config_is_refused(tmp_path, change):
    run = changed(begun(tmp_path), **change)
    with pytest.raises(Fault, match=r"config\.json"):
        go_on(run, epochs=4)


@pytest.mark.parametrize("options", [None, [], "text", {}])
def test_a_config_without_options_is_refused(tmp_path, options):
    run = begun(tmp_path)
    files.write_json(run.config_path, {"status": "stopped", "options": options})
    with pytest.raises(Fault, match=r"config\.json: its options are missing"):
        go_on(run, epochs=4)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NAMES = [field.name for field in dataclasses.fields(Options)]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON, min_size=1, max_size=3))
def test_any_options_in_a_config_are_accepted_or_refused(tmp_path_factory, changes):
    outputs = tmp_path_factory.getbasetemp() / "resumed"
    run = Run.all_in(outputs)[0] if outputs.is_dir() else begun(outputs)
    content = {**stored_options(planned_options()), **changes}
    files.write_json(run.config_path, {"status": "stopped", "options": content})
    try:
        options, _ = go_on(Run(run.path))
    except (Fault, Mistake) as refusal:
        assert "\n" not in str(refusal)
    else:
        assert options.epochs >= 1 and isinstance(options.hidden_g, tuple)
