"""The judge of generated images: which images are compared with which, and what is written down.

    judge = Judge(image_set, device)
    judge.quick(generator)              a few columns for history.csv, in half a second
    evaluation = judge.full(generator)  everything; `judge.save` writes evaluation.json and .png

Seeds and counts are fixed, and where a count differs from the usual one it is written down: the
same generator scores the same to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab import device as machine
from lab import files as storage
from lab import seeding as chance
from lab.data.datasets import ImageSet, to_float
from lab.errors import Fault
from lab.evaluation import metrics
from lab.models import classifier
from lab.models import networks as models
from lab.report import figures as images
from lab.text import counted

FULL_COUNT = 10_000  # generated images in `full`; training images taken as a reference
QUICK_COUNT = 5_000  # generated images in `quick`; "5k" in its column's name
COPIES_COUNT = 1_000  # generated images that are looked for among all training images
FEWEST_FOR_FRECHET = 256  # twice the classifier's features: below, a covariance means nothing
FEWEST_FOR_NEIGHBOURS = 100
BATCH = 100  # as fast on a CPU as more, and takes 150 MB less

QUICK_COLUMNS = ("fcd_train_5k", "confidence", "smallest_class", "thin_classes")


@dataclass(frozen=True)
class Reading:
    """What the classifier makes of N images."""

    features: Tensor  # (N, 128) on the judge's device
    classes: Tensor  # (N,) int64 on the CPU
    confidence: float  # mean probability of the class seen


@dataclass(frozen=True)
class Evaluation:
    """Images, the classes seen in them, and every figure about them, by its name in `metrics`."""

    images: Tensor  # uint8 (N, 1, 28, 28)
    classes: Tensor  # (N,)
    figures: dict[str, Any]
    left_out: str = ""  # which figures are missing for want of images, in a line


def can_score(image_set: ImageSet) -> bool:
    """Whether the set has images enough to compare others with."""
    return min(len(image_set.train_images), len(image_set.test_images)) >= FEWEST_FOR_FRECHET


class Judge:
    """Scores generators against one set; what it knows of the real images is computed once."""

    def __init__(self, image_set: ImageSet, device: torch.device) -> None:
        """Load the set's classifier; Fault if its file is not the lab's, or the set too small."""
        self.image_set, self.device = image_set, device
        if not can_score(image_set):
            raise Fault(
                f"{image_set.source}: {len(image_set.train_images)} training and "
                f"{len(image_set.test_images)} test images, and scoring takes at least "
                f"{FEWEST_FOR_FRECHET} of both; gan_lab.py trains without it, by --no-quality"
            )
        self.classifier = classifier.load(image_set.name).to(device)

    def quick(self, generator: models.Generator) -> dict[str, float]:
        """QUICK_COLUMNS for the row of an epoch, from 5,000 generated images."""
        reading = self.read(generated_images(generator, QUICK_COUNT, self.device))
        figures = {"fcd_train_5k": self.training_distance(reading), **_of_classes(reading)}
        return {column: figures[column] for column in QUICK_COLUMNS}

    def training_distance(self, reading: Reading) -> float:
        """The FCD of what was read to the training images, to four digits."""
        moments = metrics.moments(reading.features)
        return round(metrics.frechet_distance(moments, self._training_moments), 4)

    def full(self, generator: models.Generator) -> Evaluation:
        """Every figure, from 10,000 generated images."""
        return self.full_of_images(generated_images(generator, FULL_COUNT, self.device))

    def full_of_images(self, made: Tensor) -> Evaluation:
        """Every figure that N uint8 images (N, 1, 28, 28) allow; N from 1 up."""
        made = made.to(self.device)
        reading = self.read(made)
        figures: dict[str, Any] = {"images": len(made)}
        left_out = []
        if len(made) >= FEWEST_FOR_FRECHET:
            moments = metrics.moments(reading.features)
            figures |= {
                "fcd_train": metrics.frechet_distance(moments, self._training_moments),
                "fcd_test": metrics.frechet_distance(moments, self._test_moments),
                "fcd_real": self.real_distance,
            }
        else:
            left_out.append(f"FCD needs {FEWEST_FOR_FRECHET}")
        if len(made) >= FEWEST_FOR_NEIGHBOURS:
            figures |= self._neighbourly(reading.features)
        else:
            left_out.append(
                "kernel distance, precision, recall, density and coverage need "
                f"{FEWEST_FOR_NEIGHBOURS}"
            )
        shares = metrics.class_shares(reading.classes)
        of_classes = _of_classes(reading)
        if len(made) < metrics.FEWEST_FOR_CLASSES:
            of_classes = {"confidence": of_classes["confidence"]}
            left_out.append(f"rare classes need {metrics.FEWEST_FOR_CLASSES}")
        figures |= {
            **of_classes,
            "near_copies": self._copies(made),
            "class_histogram": dict(zip(self.image_set.class_names, shares, strict=True)),
        }
        missing = f"{counted(len(made), 'image')}: {'; '.join(left_out)}" if left_out else ""
        return Evaluation(made.cpu(), reading.classes, figures, missing)

    @cached_property
    def real_distance(self) -> float:
        """The FCD of training and test images: what a perfect generator would score."""
        return metrics.frechet_distance(self._training_moments, self._test_moments)

    @cached_property
    def real_figures(self) -> dict[str, float]:
        """The figures of real images: what a perfect generator would score.

        The 10,000 training images stand in its place and are compared with the test images, in
        `fcd_train` too. `near_copies` are the test images' among the training images.
        """
        return {
            "fcd_train": self.real_distance,
            "fcd_test": self.real_distance,
            **self._neighbourly(self._training.features),
            **_of_classes(self._training),
            "near_copies": self._copies(self.image_set.test_images),
        }

    def save(self, folder: Path, evaluation: Evaluation, title: str, **facts: Any) -> None:
        """Write evaluation.json and evaluation.png into `folder`; facts go into the JSON."""
        image_set = self.image_set
        content = {
            **evaluation.figures,
            **facts,
            "compared_with": {
                "set": image_set.title,
                "source": image_set.source,
                "fingerprint": image_set.fingerprint,
                "is_sample": image_set.is_sample,
                "training_images_for_fcd_train": len(self._training.features),
                "test_images": len(image_set.test_images),
                "images_looked_for_as_copies": min(COPIES_COUNT, len(evaluation.images)),
            },
        }
        storage.write_json(folder / "evaluation.json", content)
        images.save_class_sheet(
            folder / "evaluation.png",
            evaluation.images,
            evaluation.classes,
            image_set.class_names,
            title,
            image_set.footnote("compared with"),
        )

    @torch.inference_mode()
    def read(self, shown: Tensor) -> Reading:
        """Show uint8 images (N, 1, 28, 28) to the classifier."""
        features, confidences, classes = [], [], []
        with machine.full_precision():
            for batch in shown.split(BATCH):
                batch_features, logits = self.classifier.features_and_logits(
                    to_float(batch.to(self.device))
                )
                confidence, seen = logits.softmax(1).max(1)
                features.append(batch_features)
                confidences.append(confidence)
                classes.append(seen)
        mean_confidence = torch.cat(confidences).cpu().double().mean()
        return Reading(torch.cat(features), torch.cat(classes).cpu(), float(mean_confidence))

    def _neighbourly(self, features: Tensor) -> dict[str, float]:
        """Everything that compares single features (N, 128) with those of the test images."""
        with machine.full_precision():
            support = metrics.support(self._test.features, features)
        return {
            "kernel_distance": metrics.kernel_distance(self._test.features, features),
            **support._asdict(),
        }

    def _copies(self, shown: Tensor) -> float:
        with machine.full_precision():
            training_images = self.image_set.train_images.to(self.device)
            return metrics.near_copies(shown[:COPIES_COUNT].to(self.device), training_images)

    @cached_property
    def _training(self) -> Reading:
        """The reference of `fcd_train`: 10,000 training images, or all of a smaller set."""
        count = len(self.image_set.train_images)
        order = torch.randperm(count, generator=chance.stream(0, "metrics/reference"))
        return self.read(self.image_set.train_images[order[:FULL_COUNT]])

    @cached_property
    def _test(self) -> Reading:
        return self.read(self.image_set.test_images)

    @cached_property
    def _training_moments(self) -> metrics.Moments:
        return metrics.moments(self._training.features)

    @cached_property
    def _test_moments(self) -> metrics.Moments:
        return metrics.moments(self._test.features)


def _of_classes(reading: Reading) -> dict[str, float]:
    """What the classes seen say."""
    shares = metrics.class_shares(reading.classes)
    return {
        "confidence": round(reading.confidence, 6),
        "class_kl": metrics.divergence_from_uniform(shares),
        "smallest_class": min(shares),
        "thin_classes": metrics.thin_classes(shares),
    }


def generated_images(generator: models.Generator, count: int, device: torch.device) -> Tensor:
    """uint8 (count, 1, 28, 28): the images that every evaluation of `generator` looks at."""
    latents = torch.randn(
        count, generator.latent_dim, generator=chance.stream(0, "metrics/latents")
    )
    with machine.full_precision():
        return models.generate(generator, latents.to(device))
