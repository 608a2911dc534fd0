"""lab/runs/generators.py: the generator that a script uses, and its data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from conftest import SAMPLE

from lab.data import DATASETS, Dataset
from lab.data.datasets import DatasetSpec
from lab.errors import Fault, Mistake
from lab.files import write_json
from lab.models import GENERATORS, build
from lab.models.serialization import save_weights
from lab.runs.generators import find_generator
from lab.runs.images import data_dir_of
from lab.runs.run import Run

MNIST = DATASETS["mnist"]


def small_network() -> torch.nn.Module:
    return build(GENERATORS, "mlp", shape=MNIST.shape, latent_dim=8, hidden=(32,))


@pytest.fixture
def own_run(tmp_path: Path) -> Path:
    """A run folder with a small generator."""
    run = tmp_path / "outputs" / "mnist-001"
    run.mkdir(parents=True)
    save_weights(run / "generator.pth", small_network(), MNIST, epoch=1)
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
    with pytest.raises(Fault, match="makes images of another shape"):
        find_generator(None, own_run / "generator.pth").load_dataset()


def test_a_generator_of_another_set_of_ones_own_is_remarked_on(tmp_path: Path) -> None:
    images = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    leaves, trees = (
        Dataset(DatasetSpec(*names, (1, 28, 28)), *(images, None) * 2, "a folder", False, "of some")
        for names in (("leaves", "Leaves"), ("trees", "Trees"))
    )
    trees = dataclasses.replace(trees, fingerprint="of others")
    run, network = Run(tmp_path), small_network()
    run.write_config({}, "", leaves, {})
    run.save_network("generator", network, leaves.spec, epoch=1)
    found = find_generator(None, run.generator_path)
    assert not found.remark_on(leaves)
    assert found.remark_on(trees).endswith("was trained on Leaves, these are images of Trees")
    moved = dataclasses.replace(leaves, spec=trees.spec)
    assert not found.remark_on(moved)
    more = dataclasses.replace(leaves, fingerprint="of others")
    assert found.remark_on(more).endswith("trained on other images of the set than these")
    save_weights(run.generator_path, network, leaves.spec)  # by an earlier version
    older = find_generator(None, run.generator_path)
    assert not older.remark_on(leaves)
    assert older.remark_on(moved) and older.remark_on(trees) and older.remark_on(more)


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


def test_a_generator_of_other_classes_than_its_set_is_refused(tmp_path: Path) -> None:
    network = build(GENERATORS, "mlp", shape=MNIST.shape, latent_dim=8, hidden=(32,), classes=3)
    save_weights(tmp_path / "generator.pth", network, MNIST)
    with pytest.raises(Mistake, match=r"--generator .* has other classes than MNIST"):
        find_generator(None, tmp_path / "generator.pth")


@pytest.mark.parametrize("nonsense", ["cats", ["mnist"], None, {"name": "cats", "shape": [1, 2]}])
def test_a_file_without_its_set_is_refused(own_run: Path, nonsense: object) -> None:
    path = own_run / "generator.pth"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "dataset": nonsense}, path)
    with pytest.raises(Mistake, match=r"--generator .*generator\.pth: .* set"):
        find_generator(None, path)
