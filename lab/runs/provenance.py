"""The images that a run was trained on, found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab import files as storage
from lab.data import datasets as data
from lab.data.datasets import ImageSet
from lab.errors import Fault, Mistake


def data_dir_around(weights: Path) -> Path | None:
    """The --data-dir of the run that a weights file lies in, if there is such a folder here."""
    folder = _stored(weights.parent, "options").get("data_dir")
    return Path(folder) if isinstance(folder, str) and Path(folder).is_dir() else None


def load_images(run: Path, dataset: str, data_dir: Path | None) -> ImageSet:
    """Images to go with `run`, from `data_dir` if that is given; raises as `data.load` does.

    Of a run on the bundled sample they are that sample, also where the full set has come since.
    """
    if _stored(run, "data").get("is_sample") is True and not data_dir:
        return data.read_folder(dataset, data.SAMPLE_FOLDER / dataset)
    return data.load(dataset, data_dir)


def images_of(run: Path, dataset: str, data_dir: Path | None) -> ImageSet:
    """The very images that `run` was trained on, from `data_dir` if that is given.

    Mistake if a full set is given for a run on the sample; Fault for any other images.
    """
    facts, image_set = _stored(run, "data"), load_images(run, dataset, data_dir)
    if facts.get("is_sample") is True and not image_set.is_sample:
        raise Mistake(
            f"--data-dir {data_dir}: {run} was trained on the bundled sample and is held against "
            "it; leave --data-dir out, or train a new run on these images"
        )
    if not is_of(run, image_set):
        raise Fault(
            f"{run} was trained on other images (from {facts.get('source')}) than those "
            f"found in {image_set.source}; name its own with --data-dir"
        )
    return image_set


def is_of(run: Path, image_set: ImageSet) -> bool:
    """Whether `image_set` holds the images that `run` was trained on; true where none are known."""
    known = _stored(run, "data").get("fingerprint", image_set.fingerprint)
    return known == image_set.fingerprint


def _stored(run: Path, part: str) -> dict[str, Any]:
    """A part of the run's config.json; empty where there is none."""
    config = run / "config.json"
    return storage.as_dict(storage.read_json(config).get(part)) if config.is_file() else {}
