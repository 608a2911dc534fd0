"""The evaluator: computes the metrics of generated images against the real images of a set.

    evaluator = Evaluator(dataset, device)
    evaluator.quick(generator)              the columns of history.csv, in half a second
    judgement = evaluator.full(generator)   every figure; `record` is what evaluation.json holds

Seeds and counts are fixed, and where a count differs from the usual one it is written down: the
same generator scores the same to the last digit. A set without a classifier is scored by what needs
none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lab.data.datasets import Dataset
from lab.data.pixels import to_float
from lab.device import describe_machine, full_precision
from lab.errors import Fault
from lab.evaluation.catalogue import FEWEST_FOR_FRECHET, METRICS, Metric
from lab.evaluation.judgement import Judgement, left_out
from lab.evaluation.reference import COPIES_COUNT, FULL_COUNT, Reference, Sample
from lab.models.sampling import generate
from lab.models.shipped import has_classifier, load_classifier
from lab.runs import schema
from lab.seeding import stream

QUICK_COUNT = 5_000  # generated images in `quick`; "5k" in a column's name
BATCH = 100  # as fast on a CPU as more, and takes 150 MB less


def can_score(dataset: Dataset) -> bool:
    """Whether the set has images enough to compare others with."""
    fewest = FEWEST_FOR_FRECHET if has_classifier(dataset.spec) else 1
    return min(len(dataset.train_images), len(dataset.test_images)) >= fewest


class Evaluator:
    """Scores generators against one set; what it knows of the real images is computed once."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        """Load the set's classifier; Fault if its file is not the lab's, or the set too small."""
        self.dataset, self.device = dataset, device
        if not can_score(dataset):
            raise Fault(
                f"{dataset.source}: {len(dataset.train_images)} training and "
                f"{len(dataset.test_images)} test images, and scoring takes at least "
                f"{FEWEST_FOR_FRECHET} of both; gan_lab.py trains without it, by --no-quality"
            )
        classifier = load_classifier(dataset.spec)
        self.classifier = classifier.to(device) if classifier else None
        self.reference = Reference(dataset, device, self.sample)

    def quick(self, generator: nn.Module) -> dict[str, float]:
        """Columns for an epoch's row of history.csv, from 5,000 generated images."""
        return self.quick_of_images(generated_images(generator, QUICK_COUNT, self.device))

    def quick_of_images(self, images: Tensor) -> dict[str, float]:
        """The same columns of any uint8 images (N, C, H, W); those that N allows."""
        rows = {key: row for key, row in self._rows(len(images)).items() if row.quick_name}
        return {
            METRICS[key].quick_name: round(value, METRICS[key].quick_digits)
            for key, value in self._figures(self.sample(images), rows).items()
        }

    def full(self, generator: nn.Module) -> Judgement:
        """Every figure, from 10,000 generated images."""
        return self.full_of_images(generated_images(generator, FULL_COUNT, self.device))

    def full_of_images(self, images: Tensor) -> Judgement:
        """Every figure that N uint8 images (N, C, H, W) allow; N from 1 up."""
        sample = self.sample(images)
        figures = self._figures(sample, self._rows(len(images)))
        shares = self.reference.shares(sample) if self.classifier else []
        names = self.dataset.spec.class_names if self.classifier else ()
        return Judgement(
            images.cpu(),
            sample.classes,
            {"images": len(images), **figures},
            dict(zip(names, shares, strict=True)),
            left_out(len(images), self.reference.classes, self.classifier is not None),
        )

    @cached_property
    def real_figures(self) -> dict[str, float]:
        """The figures of real images: what a perfect generator would score.

        The 10,000 training images stand in its place and are compared with the test images, in
        `fcd_train` too. `near_copies` are the test images' among the training images.
        """
        reference, training = self.reference, self.reference.training
        rows = {key: row for key, row in self._rows(len(training.images)).items() if row.better}
        with full_precision():
            found = {
                key: row.of_real(reference) if row.of_real else row.compute(training, reference)
                for key, row in rows.items()
            }
        return {key: value for key, value in found.items() if value is not None}

    def record(self, judgement: Judgement, words: Sequence[str], **facts: Any) -> schema.Evaluation:
        """What evaluation.json holds of a judgement; facts are other fields of `schema`'s."""
        return schema.Evaluation(
            figures=judgement.figures,
            class_histogram=judgement.class_histogram,
            words=list(words),
            compared_with=self.compared_with(len(judgement.images)),
            dataset=self.dataset.name,
            machine=describe_machine(self.device),
            **facts,
        )

    def compared_with(self, images: int) -> schema.Comparison:
        """Which real images so many others are compared with."""
        dataset = self.dataset
        return schema.Comparison(
            set=dataset.title,
            source=dataset.source,
            fingerprint=dataset.fingerprint,
            is_sample=dataset.is_sample,
            training_images_for_fcd_train=len(self.reference.training.images),
            test_images=len(dataset.test_images),
            images_looked_for_as_copies=min(COPIES_COUNT, images),
        )

    @torch.inference_mode()
    def sample(self, images: Tensor) -> Sample:
        """Show uint8 images (N, C, H, W) to the classifier, if there is one."""
        if not self.classifier:
            return Sample(images)
        features, confidences, classes = [], [], []
        with full_precision():
            for batch in images.split(BATCH):
                batch_features, logits = self.classifier.features_and_logits(
                    to_float(batch.to(self.device))
                )
                confidence, seen = logits.softmax(1).max(1)
                features.append(batch_features)
                confidences.append(confidence)
                classes.append(seen)
        mean_confidence = torch.cat(confidences).cpu().double().mean()
        return Sample(
            images, torch.cat(features), torch.cat(classes).cpu(), confidence=float(mean_confidence)
        )

    def _rows(self, images: int) -> dict[str, Metric]:
        """The metrics that so many images of this set allow."""
        classes = self.reference.classes
        return {
            key: row
            for key, row in METRICS.items()
            if row.compute and (self.classifier or not row.needs_classifier)
            if images >= row.fewest_images(classes)
        }

    def _figures(self, sample: Sample, rows: dict[str, Metric]) -> dict[str, float]:
        """The figures of a sample, those left out that are None."""
        with full_precision():
            found = {key: row.compute(sample, self.reference) for key, row in rows.items()}
        return {key: value for key, value in found.items() if value is not None}


def generated_images(generator: nn.Module, count: int, device: torch.device) -> Tensor:
    """uint8 (count, C, H, W): the images that every evaluation of `generator` looks at."""
    latents = torch.randn(count, generator.latent_dim, generator=stream(0, "metrics/latents"))
    with full_precision():
        return generate(generator, latents.to(device))
