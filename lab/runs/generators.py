"""The generator that a script is to use, found by --run or --generator, else in the newest run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from lab.data import datasets
from lab.data.datasets import DATASETS, Dataset, DatasetSpec
from lab.errors import Fault, Mistake
from lab.models.serialization import Weights, load_weights
from lab.runs.run import Run


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator, and the run that it was trained in as far as that is known.

    run: the run folder that the file lies in. named_by_file: whether --generator named the file, so
    that results do not go into that run.
    """

    weights: Weights
    run: Run | None
    named_by_file: bool

    @property
    def network(self) -> nn.Module:
        """The network, in evaluation mode."""
        return self.weights.network

    @property
    def spec(self) -> DatasetSpec:
        """The set it was trained on."""
        return self.weights.spec

    @property
    def path(self) -> Path:
        """The file."""
        return self.weights.path

    @property
    def stage(self) -> str:
        """`, after epoch 12`, as far as the file says it."""
        epoch = self.weights.facts.get("epoch")
        if epoch == 0:
            return ", untrained or nearly so"
        return f", after epoch {epoch}" if isinstance(epoch, int) else ""

    def load_dataset(self, data_dir: Path | None = None) -> Dataset:
        """Images of the generator's set: those of its run, if it has one; else as `datasets.load`.

        Fault where the set is not one of DATASETS.
        """
        name = self.spec.name
        if name not in DATASETS:
            raise Fault(f"{self.path}: its set, {self.spec.title}, is not one that can be loaded")
        if self.run and self.run.config.data.is_sample and not data_dir:
            return datasets.load_sample(name)
        return datasets.load(name, data_dir or (self.run and self.run.data_dir))

    def was_trained_on(self, dataset: Dataset) -> bool:
        """Whether these are the images of its run; true where none are known."""
        return self.run is None or self.run.was_trained_on(dataset)


def find_generator(run: Path | None, generator: Path | None) -> TrainedGenerator:
    """The generator of the run --run, or in the file --generator, else of the newest run.

    Raises Mistake if both are given, if it is not there, or if the file is none that gan_lab.py
    made; Fault if that of a run is damaged.
    """
    if run and generator:
        raise Mistake(f"--generator {generator}: give --run or --generator, not both")
    if generator:
        return _from_file(generator)
    found = Run.open("--run", run) if run else Run.newest()
    if not found.has_generator:
        raise Mistake(f"--run {found}: has no generator.pth yet; wait, or name another run")
    return TrainedGenerator(found.load_generator(), found, named_by_file=False)


def _from_file(path: Path) -> TrainedGenerator:
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "is not a file"
        what = kind if path.exists() else "does not exist"
        raise Mistake(f"--generator {path}: {what}; name a generator.pth that gan_lab.py made")
    try:
        weights = load_weights(path, "generator")
    except Fault as fault:
        raise Mistake(f"--generator {fault}; name a generator.pth of gan_lab.py") from None
    return TrainedGenerator(weights, Run.around(path), named_by_file=True)
