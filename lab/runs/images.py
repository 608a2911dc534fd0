"""The data set that a run was trained on."""

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from lab.data import datasets
from lab.data.datasets import DATASETS, Dataset
from lab.errors import Fault, Mistake
from lab.files import at_home
from lab.runs.run import Run
from lab.text import printable


def load_dataset(
    run: Run, data_dir: Path | None = None, name: Any = None, download: bool = True
) -> Dataset:
    """The data set of the run, or the set `name`; `download` and errors as in `datasets.load`.

    data_dir: the folder of the set, also of the user's own pictures if they were moved; these are
    converted as in the run. A run on the bundled sample gets the sample, even if the full set is
    there by now.
    """
    name = name or run.options.get("dataset")
    kinds = (PurePosixPath, PureWindowsPath)  # the run may come from another system
    is_path = any(kind(str(name)).is_absolute() for kind in kinds)
    if not (isinstance(name, str) and (name in DATASETS or is_path)):
        raise Fault(f"{run.config_path}: does not say which set the run was trained on")
    if name in DATASETS:
        if run.config.data.is_sample and not data_dir:
            return datasets.load_sample(name)
        return datasets.load(name, data_dir or data_dir_of(run), download)
    if not data_dir and not Path(name).exists():
        what = f"its pictures were {printable(name)}, which no longer exists"
        raise Fault(f"{run}: {what}; say with --data-dir where they are now")
    side, colour = run.options.get("image_size"), run.options.get("colour")
    if type(side) is not int or type(colour) is not bool:
        raise Fault(f"{run.config_path}: does not say of what shape the run's images are")
    shape = (3 if colour else 1, side, side)
    return datasets.load_pictures(data_dir or Path(name), shape, name, download)


def load_training_dataset(run: Run, data_dir: Path | None = None, download: bool = True) -> Dataset:
    """The data set of the run, which must have the same images, from `data_dir` if given.

    Mistake for the full set if the run used the sample; Fault for any other images.
    """
    dataset = load_dataset(run, data_dir, download=download)
    if run.config.data.is_sample and not dataset.is_sample:
        what = f"{run} was trained on the bundled sample and is compared with it"
        cure = "leave --data-dir out, or train a new run on these images"
        raise Mistake(f"--data-dir {data_dir}: {what}; {cure}")
    if dataset.is_sample and not (run.config.data.is_sample or download or data_dir):
        raise Fault(f"{run}: its images are not on this machine, and --dry-run downloads nothing")
    if not run.was_trained_on(dataset):
        raise Fault(
            f"{run} was trained on other images (from {run.config.data.source}) than those "
            f"found in {dataset.source}; name its own with --data-dir"
        )
    return dataset


def data_dir_of(run: Run) -> Path | None:
    """The --data-dir of the run; None if the folder does not exist."""
    stored = run.options.get("data_dir")
    path = at_home(stored) if isinstance(stored, str) else None
    return path if path and path.is_dir() else None
