"""The generator that a script is to use, found by --run or --generator, else in the newest run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab import files
from lab.data.datasets import DATASETS, Dataset, load, load_pictures
from lab.errors import Fault, Mistake
from lab.models.serialization import Weights, load_weights
from lab.runs.layout import OUTPUTS, check_out
from lab.runs.results import RESULTS, RestorationResults
from lab.runs.run import Run


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator, and the run that it was trained in as far as that is known."""

    weights: Weights
    run: Run | None  # whose folder the file lies in
    named_by_file: bool  # by --generator, so that results do not go into that run

    network = property(lambda generator: generator.weights.network)  # in evaluation mode
    spec = property(lambda generator: generator.weights.spec)  # of the set it was trained on
    path = property(lambda generator: generator.weights.path)  # of its file

    @property
    def stage(self) -> str:
        """`, after epoch 12`, as far as the file says it."""
        epoch = self.weights.facts.get("epoch")
        if epoch == 0:
            return ", untrained or nearly so"
        return f", after epoch {epoch}" if isinstance(epoch, int) else ""

    def load_dataset(self, data_dir: Path | None = None) -> Dataset:
        """Images of the generator's set, by its run if it has one; Fault where nothing says which.

        data_dir: also where a set of one's own is now.
        """
        name = self.spec.name
        if name in DATASETS:
            return self.run.load_dataset(data_dir, name) if self.run else load(name, data_dir)
        if data_dir:
            return load_pictures(data_dir, self.spec.shape)
        if not self.run:
            what = f"its set, {self.spec.title}, is not one that can be loaded by its name"
            raise Fault(f"{self.path}: {what}; say with --data-dir where its pictures are")
        dataset = self.run.load_dataset()
        if dataset.spec.shape != self.spec.shape:
            raise Fault(f"{self.path}: makes other images than {dataset.source} has")
        return dataset

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
    if not found.generator_path.is_file():
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


def find_results(trained: TrainedGenerator, out: Path | None) -> RestorationResults:
    """Where restored images go: into --out, else into the run, or of a --generator into outputs.

    Mistake if they cannot, or if another generator's are there.
    """
    into_run = not (out or trained.named_by_file)
    results = trained.run.restorations if into_run else RestorationResults(out or OUTPUTS / RESULTS)
    if out:
        check_out(out)
    flag = "--run" if into_run else "--out"
    files.check_writable(flag, results.folder, cure="name a folder for the results with --out")
    files.check_closed(flag, results.folder)
    made_by = results.scores.generator_sha256
    if not into_run and made_by not in (None, trained.weights.sha256):
        raise Mistake(
            f"--out {results}: has the results of another generator, {results.scores.generator}; "
            "name a folder of their own for these"
        )
    return results
