"""lab/runs/generators.py: the generator that a script uses, and its data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from conftest import SAMPLE

from lab.data import DATASETS
from lab.errors import Fault, Mistake
from lab.files import write_json
from lab.models import GENERATORS, build
from lab.models.serialization import save_weights
from lab.runs.generators import find_generator
from lab.runs.images import data_dir_of
from lab.runs.run import Run

MNIST = DATASETS["mnist"]


@pytest.fixture
def own_run(tmp_path: Path) -> Path:
    """A run folder with a small generator."""
    run = tmp_path / "outputs" / "mnist-001"
    run.mkdir(parents=True)
    network = build(GENERATORS, "mlp", shape=MNIST.shape, latent_dim=8, hidden=(32,))
    save_weights(run / "generator.pth", network, MNIST, epoch=1)
    write_json(run / "config.json", {"options": {"dataset": "mnist", "data_dir": str(SAMPLE)}})
    return run


def test_a_run_may_be_given_by_its_name(
    own_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Run.open("--run", Path("mnist-001"), outputs=own_run.parent).path == own_run
    for name in ("mnist-002", "../outputs/mnist-001x"):
        with pytest.raises(Mistake, match="does not exist"):
            Run.open("--run", Path(name), outputs=own_run.parent)


def test_a_run_that_has_no_generator_yet_is_not_the_newest(own_run: Path) -> None:
    begun = Run.create(own_run.parent, "mnist")
    write_json(begun.config_path, {"status": "running"})
    assert [run.path for run in Run.all_in(own_run.parent)] == [begun.path, own_run]
    assert Run.newest(own_run.parent).path == own_run


def test_weights_of_another_set_than_the_runs_are_refused(own_run: Path) -> None:
    write_json(own_run / "config.json", {"options": {"dataset": "fashion"}})
    with pytest.raises(
        Fault, match="generator of MNIST, 28 x 28, and the run is of fashion; restore"
    ):
        find_generator(own_run, None)
    assert find_generator(None, own_run / "generator.pth").spec == MNIST
    large = dataclasses.replace(MNIST, shape=(1, 32, 32))
    network = build(GENERATORS, "mlp", shape=large.shape, latent_dim=8, hidden=(32,))
    save_weights(own_run / "generator.pth", network, large)
    write_json(own_run / "config.json", {"options": {"dataset": "mnist", "data_dir": str(SAMPLE)}})
    with pytest.raises(
        Fault, match="generator of MNIST, 32 x 32, and the run is of mnist; restore"
    ):
        find_generator(own_run, None)
    with pytest.raises(Fault, match="makes other images than"):
        find_generator(None, own_run / "generator.pth").load_dataset()


@pytest.mark.parametrize("by_file", [True, False])
def test_a_generators_images_are_found_through_its_run(own_run: Path, by_file: bool) -> None:
    given = (None, own_run / "generator.pth") if by_file else (own_run, None)
    found = find_generator(*given)
    assert data_dir_of(found.run) == SAMPLE and found.given_as_file is by_file
    assert found.stage == ", after epoch 1"
    assert found.load_dataset().source == str(SAMPLE / "mnist")
    write_json(own_run / "config.json", {"options": {"data_dir": str(own_run / "gone")}})
    assert data_dir_of(find_generator(*given).run) is None
    elsewhere = (own_run / "generator.pth").rename(own_run.parent / "generator.pth")
    assert find_generator(None, elsewhere).run is None  # not in a run folder


@pytest.mark.parametrize("nonsense", ["cats", ["mnist"], None, {"name": "cats", "shape": [1, 2]}])
def test_a_file_without_its_set_is_refused(own_run: Path, nonsense: object) -> None:
    path = own_run / "generator.pth"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "dataset": nonsense}, path)
    with pytest.raises(Mistake, match=r"--generator .*generator\.pth: .* set"):
        find_generator(None, path)
