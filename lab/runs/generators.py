"""The generator that a script uses: of a run, from a file, or one that ships with the lab."""

from dataclasses import dataclass
from pathlib import Path

from lab import files
from lab.data.datasets import DATASETS, Dataset, load, load_pictures
from lab.errors import Fault, Mistake
from lab.models.serialization import Weights, load_weights
from lab.models.shipped import load_shipped, sets_with_generator
from lab.runs.images import load_dataset
from lab.runs.layout import OUTPUTS, RunFiles, check_out, is_run_folder, new_folder
from lab.runs.results import RESULTS, RestorationResults
from lab.runs.run import Run
from lab.text import shortened, sized


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator, and the run that it was trained in, if known."""

    weights: Weights
    run: Run | None  # the run whose folder has the file
    given_as_file: bool  # with --generator; results are then not written into the run

    network = property(lambda generator: generator.weights.network)  # in evaluation mode
    spec = property(lambda generator: generator.weights.spec)  # of its data set
    path = property(lambda generator: generator.weights.path)  # of its file
    # Number of classes of a conditional generator, else 0.
    classes = property(lambda generator: getattr(generator.network, "classes", 0))

    @property
    def stage(self) -> str:
        """`, after epoch 12`, or "" if the file does not have the epoch."""
        epoch = self.weights.facts.get("epoch")
        if epoch == 0:
            return ", untrained or nearly so"
        return f", after epoch {epoch}" if isinstance(epoch, int) else ""

    @property
    def is_of_sample(self) -> bool:
        """Whether it was trained on the bundled sample."""
        return bool(self.run and self.run.config.data.is_sample)

    def load_dataset(self, data_dir: Path | None = None) -> Dataset:
        """The generator's data set, found through its run if it has one; Fault if unknown.

        data_dir: the folder of the data set, also of the user's own pictures.
        """
        name = self.spec.name if self.spec.name in DATASETS else None
        if data_dir and not name:
            dataset = load_pictures(data_dir, self.spec.shape, self.spec.title)
        elif self.run:
            dataset = load_dataset(self.run, data_dir, name)
        elif name:
            dataset = load(name, data_dir)
        else:
            what = f"its set, {self.spec.title}, is not one that can be loaded by its name"
            raise Fault(f"{self.path}: {what}; say with --data-dir where its pictures are")
        if dataset.spec.shape != self.spec.shape:
            raise Fault(f"{self.path}: makes images of another shape than {dataset.source} has")
        return dataset

    def remark_on(self, dataset: Dataset) -> str:
        """A note if the generator was trained on other images than those of `dataset`, else "".

        Files of earlier versions of the lab do not have the fingerprint of the images. For these,
        the name of the set and the fingerprint in the run are compared.
        """
        if fingerprint := self.weights.facts.get("fingerprint"):
            is_same = fingerprint == dataset.fingerprint
        else:
            of_run = self.run is None or self.run.was_trained_on(dataset)
            is_same = of_run and self.spec.name == dataset.name
        if is_same:
            return ""
        if self.spec.title == dataset.title:
            return "note: the generator was trained on other images of the set than these"
        own = self.spec.title
        return f"note: the generator was trained on {own}, these are images of {dataset.title}"


def find_generator(
    run: Path | None, generator: Path | None, pretrained: str | None = None
) -> TrainedGenerator:
    """The generator of --run, of the file --generator, or the one shipped for --pretrained.

    The default is that of the newest run; if there is no run, the first shipped one, with a note.
    Raises Mistake if several options are given, or if the generator is missing or not from
    gan_lab.py; Fault if the generator of a run, or a shipped one, is damaged.
    """
    given = {"--run": run, "--generator": generator, "--pretrained": pretrained}
    flags = [flag for flag, value in given.items() if value]
    if len(flags) > 1:
        raise Mistake(f"{flags[1]} {given[flags[1]]}: give {' or '.join(flags)}, not both")
    if pretrained:
        return _shipped(pretrained)
    if generator:
        return _from_file(generator)
    if not run:
        try:
            found = Run.newest()
        except Mistake:  # there is none yet
            spec = sets_with_generator()[0]
            print(
                f"note: there is no run yet, so this is the pretrained generator of "
                f"{spec.title}; gan_lab.py trains one, --generator names another"
            )
            return _shipped(spec.name)
    else:
        found = Run.open("--run", run)
    if not found.generator_path.is_file():
        raise Mistake(f"--run {found}: has no generator.pth yet; wait, or name another run")
    return TrainedGenerator(_own_weights(found), found, given_as_file=False)


def _own_weights(run: Run) -> Weights:
    """The run's generator; Fault if its data set is not that of the run."""
    weights, name = run.load_generator(), run.options.get("dataset")
    spec, known = weights.spec, DATASETS.get(name) if isinstance(name, str) else None
    differs = known and (known.name, known.shape) != (spec.name, spec.shape)
    if differs or (isinstance(name, str) and not known and spec.name in DATASETS):
        what = f"is a generator of {spec.title}, {sized(spec.shape)}, and the run is of"
        cure = "restore the run's own file, or name this one with --generator"
        raise Fault(f"{weights.path}: {what} {shortened(name, 80)}; {cure}")
    return weights


def _shipped(name: str) -> TrainedGenerator:
    ships = [spec.name for spec in sets_with_generator()]
    if name not in ships:
        what = f"has no pretrained generator; choose {' or '.join(ships)}"
        raise Mistake(f"--pretrained {shortened(name, 80)!r}: {what}")
    return TrainedGenerator(load_shipped("generator", DATASETS[name]), None, given_as_file=False)


def _from_file(path: Path) -> TrainedGenerator:
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "is not a file"
        what = kind if path.exists() else "does not exist"
        raise Mistake(f"--generator {path}: {what}; name a generator.pth that gan_lab.py made")
    try:
        weights = load_weights(path, "generator")
    except Fault as fault:
        raise Mistake(f"--generator {fault}; name a generator.pth of gan_lab.py") from None
    run = Run(path.parent) if is_run_folder(path.parent) else None
    return TrainedGenerator(weights, run, given_as_file=True)


def output_folder(trained: TrainedGenerator) -> RunFiles:
    """The folder for a generator's images: its run, or a new folder in outputs."""
    if trained.run and not trained.given_as_file:
        return trained.run
    check_out(OUTPUTS)
    return RunFiles(new_folder(OUTPUTS, "generated"))


def find_results(trained: TrainedGenerator, out: Path | None) -> RestorationResults:
    """The folder for restored images: --out, else the run, or outputs with --generator.

    Mistake if it cannot be written to, or has the results of another generator.
    """
    into_run = bool(trained.run) and not (out or trained.given_as_file)
    results = trained.run.restorations if into_run else RestorationResults(out or OUTPUTS / RESULTS)
    if out:
        check_out(out)
    flag = "--run" if into_run else "--out"
    files.check_writable(flag, results.folder, cure="name a folder for the results with --out")
    files.check_closed(flag, results.folder)
    made_by = results.scores.generator_sha256
    if not into_run and made_by not in (None, trained.weights.sha256):
        what = f"has the results of another generator, {results.scores.generator}"
        raise Mistake(f"--out {results}: {what}; name a folder of their own for these")
    return results
