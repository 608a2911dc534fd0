"""What evaluate_images.py scores: a generator, or the images of another program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab.data import DATASETS, OF_SETS, Dataset, image_folder, load
from lab.data.datasets import check_exists
from lab.data.listing import Listing
from lab.data.pictures import Unreadable
from lab.data.writers import class_folders
from lab.errors import Mistake
from lab.evaluation.evaluator import Evaluator
from lab.evaluation.reference import FULL_COUNT
from lab.files import check_path
from lab.models.request import parse_classes
from lab.runs.generators import TrainedGenerator, find_generator
from lab.runs.images import load_training_dataset
from lab.runs.layout import check_pictures
from lab.runs.run import Run
from lab.text import printable


@dataclass(frozen=True)
class Subject:
    """A `trained` generator, or `pictures`."""

    name: str  # the path of the run, the generator's file or the pictures
    dataset: str | None  # --dataset: the name or path of the set to compare with
    trained: TrainedGenerator | None = None
    run: Run | None = None  # in which results are saved; None for a generator named by its file
    pictures: Listing | None = None
    invert: bool = False  # whether the pictures are dark on light

    @property
    def options(self) -> Mapping[str, Any] | None:
        """The run's options; {} for a generator without a run, None for pictures."""
        if self.run:
            return self.run.options
        return {} if self.trained else None

    @property
    def count(self) -> int:
        """The number of images to score, if all pictures can be read."""
        return FULL_COUNT if self.trained else min(FULL_COUNT, len(self.pictures.entries))

    def load_dataset(
        self, data_dir: Path | None, image_size: int | None, colour: bool | None
    ) -> Dataset:
        """The real images: those that a run was trained on, or else those of the set.

        image_size, colour: those of the user's own set with which pictures are compared.
        """
        if not self.trained:
            return load(self.dataset, data_dir, True, image_size, colour)
        if self.dataset and self.dataset not in DATASETS:  # the set has been moved
            if data_dir:
                what = "--dataset says where the pictures are, too; leave one out"
                raise Mistake(f"--data-dir {data_dir}: {what}")
            data_dir = Path(self.dataset)
        if self.run:
            return load_training_dataset(self.run, data_dir)
        return self.trained.load_dataset(data_dir)

    def images(self, evaluator: Evaluator) -> tuple[Tensor, Tensor | None]:
        """The images to score, uint8 (N, C, H, W), and the classes asked for (N,), if any.

        Prints how pictures had to be changed; Mistake if none can be read. Their classes count as
        asked for if the set has all of them.
        """
        if self.trained:
            return evaluator.images_of(self.trained.network.to(evaluator.device), FULL_COUNT)
        spec = evaluator.dataset.spec
        given = (self.pictures, FULL_COUNT, spec.shape, self.invert)
        try:
            images, classes, notices = image_folder.read_images(*given)
        except Unreadable as reason:
            raise Mistake(f"--images {self.name}: {reason}; name a folder of pictures") from None
        labels = _labels(classes, spec.class_names)
        if labels is None and any(classes):
            notices.append(f"labels left out, not all of them are classes of {spec.title}")
        for notice in notices:
            print(f"note: {printable(notice)}")
        return images, labels


def _labels(classes: Sequence[str], names: Sequence[str]) -> Tensor | None:
    """int64 (N,): labels of classes, typed as for --classes, or of folders; None for others.

    Numbers that are not all names of classes are labels themselves, as in arrays of EMNIST, where
    9 is the class `9` and 10 the class `A`.
    """
    if not all(classes):  # some pictures are in no sub-folder
        return None
    label_of = {folder: label for label, folder in enumerate(class_folders(names))}
    try:
        for name in {*classes} - {*label_of}:
            (label_of[name],) = parse_classes([name], names)
    except Mistake:
        label_of = {str(label): label for label in range(len(names))}
        if not {*classes} <= {*label_of}:
            return None
    return torch.tensor([label_of[name] for name in classes])


def find_subject(options: Any) -> Subject:
    """What the options of evaluate_images.py name, by default the newest run; computes nothing."""
    if options.dataset:
        check_exists(options.dataset)
    other = options.run or options.generator
    if options.images and other:
        raise Mistake(f"--images {options.images}: give it or a generator ({other}), not both")
    if options.images:
        if not options.dataset:
            cure = f"name with --dataset the set to compare them with: {OF_SETS}"
            raise Mistake(f"--images {options.images}: {cure}")
        check_path("--images", options.images, folder=not options.images.is_file())
        check_pictures(options.images)
        found = image_folder.list_images(options.images)
        return Subject(str(options.images), options.dataset, pictures=found, invert=options.invert)
    if options.invert:
        raise Mistake("--invert: is for pictures; leave it out without --images")
    trained = find_generator(options.run, options.generator)
    run = None if options.generator else trained.run
    if run and run.is_locked:
        cure = f"wait for that, or score {trained.path} with --generator"
        raise Mistake(f"--run {run}: is being trained; {cure}")
    name, dataset = trained.spec.name, options.dataset
    if dataset not in (None, name) and (dataset in DATASETS or name in DATASETS):
        raise Mistake(f"--dataset {dataset}: {trained.path} was trained on {name}; leave it out")
    return Subject(str(run or trained.path), dataset, trained, run)
