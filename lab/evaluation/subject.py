"""What evaluate_images.py is to score: a generator, or the pictures in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab.data import DATASETS, Dataset, image_folder, load
from lab.errors import Mistake
from lab.evaluation.evaluator import generated_images
from lab.evaluation.reference import FULL_COUNT
from lab.files import check_writable
from lab.runs.generators import TrainedGenerator, find_generator
from lab.runs.layout import RunFiles, check_out, is_run_folder
from lab.runs.run import Run
from lab.text import printable


@dataclass(frozen=True)
class Subject:
    """A generator, or else `files` in the folder that `name` is the path of.

    dataset: the name of the set that pictures are to be like. invert: they are dark on light.
    """

    name: str
    dataset: str
    trained: TrainedGenerator | None = None
    files: tuple[Path, ...] = ()
    invert: bool = False

    @property
    def run(self) -> Run | None:
        """The run that the results go into; none for a generator that was named by its file."""
        return None if not self.trained or self.trained.named_by_file else self.trained.run

    @property
    def options(self) -> Mapping[str, Any] | None:
        """The run's options; {} if a generator's are not known, None for pictures."""
        return self.run.options if self.run else {} if self.trained else None

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        """The run's history."""
        return self.run.history if self.run else ()

    @property
    def count(self) -> int:
        """How many images there will be, if all pictures can be read."""
        return FULL_COUNT if self.trained else min(FULL_COUNT, len(self.files))

    def check_results(self, outputs: Path) -> None:
        """Mistake if the results could not be written, into the run or into `outputs`."""
        if self.run:
            cure = f"score {self.trained.path} with --generator and --out instead"
            check_writable("--run", self.run.path, cure)
        else:
            check_out(outputs)

    def load_dataset(self, data_dir: Path | None) -> Dataset:
        """The real images: those that a run was trained on, else those of the set."""
        if self.run:
            return self.run.load_own_dataset(data_dir)
        return self.trained.load_dataset(data_dir) if self.trained else load(self.dataset, data_dir)

    def images(self, shape: tuple[int, int, int], device: torch.device) -> Tensor:
        """uint8 (N, *shape): the images to score; says what had to be done to pictures."""
        if self.trained:
            return generated_images(self.trained.network.to(device), FULL_COUNT, device)
        images, notices = image_folder.read_images(
            Path(self.name), self.files, FULL_COUNT, shape, self.invert
        )
        for notice in notices:
            print(f"note: {printable(notice)}")
        return images


def find_subject(
    run: Path | None,
    generator: Path | None,
    images: Path | None,
    dataset: str | None,
    invert: bool = False,
) -> Subject:
    """What these options name, else the newest run; checked, nothing computed yet."""
    given = {"run": run, "generator": generator, "images": images}
    flags = [f"--{name}" for name, path in given.items() if path]
    if len(flags) > 1:
        second = given[flags[1].removeprefix("--")]
        raise Mistake(f"{flags[1]} {second}: give one of {' and '.join(flags)}, not both")
    if images:
        return _pictures_in(images, dataset, invert)
    if invert:
        raise Mistake("--invert: is for pictures; leave it out without --images")
    trained = find_generator(run, generator)
    subject = Subject(str(generator or trained.run), trained.spec.name, trained)
    if subject.run and subject.run.is_held:
        raise Mistake(
            f"--run {subject.run}: is being trained, which ends in an evaluation; wait for that, "
            f"or score {trained.path} with --generator"
        )
    if dataset not in (None, subject.dataset):
        raise Mistake(
            f"--dataset {dataset}: {trained.path} was trained on {subject.dataset}; leave "
            "--dataset out"
        )
    return subject


def _pictures_in(folder: Path, dataset: str | None, invert: bool) -> Subject:
    if not dataset:
        raise Mistake(
            f"--images {folder}: say which set they are to be like, with --dataset "
            + " or --dataset ".join(DATASETS)
        )
    if is_run_folder(folder):
        raise Mistake(
            f"--images {folder}: is a run folder, with grids and curves; name the "
            f"{RunFiles(folder).final_folder.name} in it, or a folder of your own"
        )
    files = image_folder.files_in(folder, below=True)
    return Subject(str(folder), dataset, files=tuple(files), invert=invert)
