"""The evaluator: computes the metrics of generated images against the real images of a set.

Seeds and counts are fixed, and where a count differs from the usual one it is written down: the
same generator scores the same to the last digit. A set without labels is scored by what needs none.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lab.data.datasets import Dataset
from lab.device import describe_machine, full_precision
from lab.evaluation.catalogue import METRICS, Metric
from lab.evaluation.conditional import fewest_of_a_class, labels_to_ask
from lab.evaluation.judges import BATCH, LEAST_ACCURACY, Judge, find_judges
from lab.evaluation.reference import COPIES_COUNT, FULL_COUNT, Reference, Sample
from lab.models import CLASSIFIERS, generate
from lab.runs import schema
from lab.seeding import stream
from lab.text import counted

QUICK_COUNT = 5_000  # generated images in `quick`; "5k" in a column's name


@dataclass(frozen=True)
class Judgement:
    """Images, the classes seen in them, and every figure about them by its key in METRICS.

    classes: (N,); None without a classifier, and then class_histogram is empty. own_shares: of the
    classes in the set. judges: who the figures are of, a line each. left_out: which figures are
    missing and why, in a line; empty if none are.
    """

    images: Tensor  # uint8 (N, C, H, W) on the CPU
    classes: Tensor | None
    figures: dict[str, float]
    class_histogram: dict[str, float]
    own_shares: dict[str, float] = field(default_factory=dict)
    judges: Mapping[str, str] = field(default_factory=dict)
    left_out: str = ""

    def table(self, real: Mapping[str, float]) -> str:
        """Every figure beside that of real images, then the share of each class."""
        lines = [f"{'':24}{'these images':>14}{'real images':>14}   better"]
        for key, metric in METRICS.items():
            if key in self.figures and metric.better:
                value = metric.shown(self.figures[key])
                beside = metric.shown(real[key]) if key in real else ""
                lines.append(f"{metric.label:24}{value:>14}{beside:>14}   {metric.better}")
        shares = [f"{name} {share:.1%}" for name, share in self.class_histogram.items()]
        if shares:
            lines += ["", f"classes: {', '.join(shares)}"]
        if self.judges:
            lines += ["", f"as seen by: {'; '.join(self.judges.values())}"]
        if self.left_out:
            lines.append(f"left out: {self.left_out}")
        if len(self.images) < FULL_COUNT:
            lines.append(
                f"note: fewer than {FULL_COUNT:,} images; distances and recall come out higher "
                "than they are, coverage lower"
            )
        return "\n".join(lines)


class Evaluator:
    """Scores generators against one set; what it knows of the real images is computed once."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.dataset, self.device = dataset, device
        self.reference = Reference(dataset, device, self.sample)

    @cached_property
    def _found(self) -> dict[str, Judge]:
        """Every judge of the set; the first score trains those that neither ship nor are kept."""
        return find_judges(self.dataset, self.device)

    @cached_property
    def judges(self) -> dict[str, Judge]:
        """The judges that are able, by name; Fault if the file of one is not the lab's."""
        return {name: judge for name, judge in self._found.items() if judge.able}

    @cached_property
    def quick_distance(self) -> str:
        """The column of `quick` that images are compared by; "" if the set is too small for any."""
        rows = (row for row in METRICS.values() if row.quick_name.endswith("_train_5k"))
        able = (row for row in rows if row.judge in self.judges and self._enough(row))
        return next((row.quick_name for row in able), "")

    def quick(self, generator: nn.Module) -> dict[str, float]:
        """Columns for an epoch's row of history.csv, from 5,000 generated images."""
        labels = labels_to_ask(generator, self.dataset, QUICK_COUNT)
        images = generated_images(generator, QUICK_COUNT, self.device, labels)
        return self.quick_of_images(images, labels)

    def quick_of_images(self, images: Tensor, labels: Tensor | None = None) -> dict[str, float]:
        """The same columns of any uint8 images (N, C, H, W); those that N allows."""
        sample = self.sample(images, labels)
        rows = {key: row for key, row in self._rows(sample).items() if row.quick_name}
        return {
            METRICS[key].quick_name: round(value, METRICS[key].quick_digits)
            for key, value in self._figures(sample, rows).items()
        }

    def seconds_to_score(self) -> float:
        """About what `quick` takes on this machine, from some hundred images."""
        images = self.dataset.train_images[: 6 * BATCH]
        self.sample(images[:BATCH])  # the first is slower
        began = time.monotonic()
        self.sample(images)
        return (time.monotonic() - began) / len(images) * QUICK_COUNT

    def full(self, generator: nn.Module) -> Judgement:
        """Every figure, from 10,000 generated images."""
        labels = labels_to_ask(generator, self.dataset, FULL_COUNT)
        images = generated_images(generator, FULL_COUNT, self.device, labels)
        return self.full_of_images(images, labels)

    def full_of_images(self, images: Tensor, labels: Tensor | None = None) -> Judgement:
        """Every figure that N uint8 images (N, C, H, W) allow; N from 1 up.

        labels: int64 (N,), the classes that a conditional generator was asked for.
        """
        sample = self.sample(images, labels)
        figures = self._figures(sample, self._rows(sample))
        histograms = [{}, {}]
        if sample.classes is not None:
            names, real = self.dataset.spec.class_names, self.reference
            shares = (real.shares(sample), real.own_shares)
            histograms = [dict(zip(names, each, strict=True)) for each in shares]
        return Judgement(
            *(images.cpu(), sample.classes, {"images": len(images), **figures}, *histograms),
            judges={name: judge.about for name, judge in self.judges.items()},
            left_out=self._left_out(sample),
        )

    @cached_property
    def real_figures(self) -> dict[str, float]:
        """What a perfect generator would score: training images in its place, against test images.

        `near_copies` are the test images' among the training images.
        """
        reference, training = self.reference, self.reference.training
        rows = self._rows(training)
        with full_precision():
            return {
                key: row.of_real(reference) if row.of_real else row.compute(training, reference)
                for key, row in rows.items()
                if row.better and (not row.of_real or reference.count("test") >= row.fewest)
            }

    def record(self, judgement: Judgement, words: Sequence[str], **facts: Any) -> schema.Evaluation:
        """What evaluation.json holds of a judgement; facts are other fields of `schema`'s."""
        dataset = self.dataset
        compared_with = schema.Comparison(
            set=dataset.title,
            source=dataset.source,
            fingerprint=dataset.fingerprint,
            is_sample=dataset.is_sample,
            training_images_for_fcd_train=len(self.reference.training.images),
            test_images=len(dataset.test_images),
            images_looked_for_as_copies=min(COPIES_COUNT, len(judgement.images)),
        )
        return schema.Evaluation(
            figures=judgement.figures,
            class_histogram=judgement.class_histogram,
            own_shares=judgement.own_shares,
            judges=dict(judgement.judges),
            words=list(words),
            compared_with=compared_with,
            dataset=dataset.name,
            machine=describe_machine(self.device),
            **facts,
        )

    def sample(self, images: Tensor, labels: Tensor | None = None) -> Sample:
        """Show uint8 images (N, C, H, W) to the judges."""
        views = {name: judge.view(images, self.device) for name, judge in self.judges.items()}
        return Sample(images, views, labels)

    def _rows(self, sample: Sample) -> dict[str, Metric]:
        """The metrics that these images, and the images and judges of the set, allow."""
        return {
            key: row
            for key, row in METRICS.items()
            if row.compute and (not row.judge or row.judge in self.judges)
            if self._enough(row) and len(sample.images) >= row.fewest_images(self.reference.classes)
            if not row.needs_labels or row.fewest_a_class <= self._fewest_of_a_class(sample)
        }

    def _fewest_of_a_class(self, sample: Sample) -> int:
        """The images of the smallest class, of these or of the test images; -1 without labels."""
        if sample.labels is None:
            return -1
        return fewest_of_a_class(self.reference.classes, sample, self.reference.test)

    def _enough(self, row: Metric) -> bool:
        """Whether the set has images enough to hold others against by a metric."""
        return all(self.reference.count(half) >= row.fewest for half in row.against)

    def _figures(self, sample: Sample, rows: dict[str, Metric]) -> dict[str, float]:
        with full_precision():
            return {key: row.compute(sample, self.reference) for key, row in rows.items()}

    def _left_out(self, sample: Sample) -> str:
        """`20 images: FCD and rarest class need 256; ...`; empty where no metric is left out."""
        missing: dict[str, list[str]] = {}
        images, classes = len(sample.images), self.reference.classes
        for metric in METRICS.values():
            needed, what = metric.judge in ("", *self.judges), ""
            if (
                not metric.compute
                or not metric.better
                or not (needed or metric.judge in CLASSIFIERS)
                or (metric.needs_labels and sample.labels is None)
            ):
                continue
            if not needed:
                what = self._lacking(metric.judge)
            elif images < metric.fewest_images(classes):
                what = f"{metric.fewest_images(classes):,}"
            elif not self._enough(metric):
                what = f"{metric.fewest:,} in both halves of the set"
            if what:
                missing.setdefault(what, []).append(metric.label)
        parts = [f"{_joined(labels)} need {what}" for what, labels in missing.items()]
        return f"{counted(images, 'image')}: {'; '.join(parts)}" if parts else ""

    def _lacking(self, name: str) -> str:
        """What a classifier that is no judge lacks: labels, or accuracy."""
        if name not in self._found:
            return "a classifier, which takes labels"
        return f"a better {self._found[name].about} ({LEAST_ACCURACY:.0%} is the least)"


def generated_images(
    generator: nn.Module, count: int, device: torch.device, labels: Tensor | None = None
) -> Tensor:
    """uint8 (count, C, H, W): the images that every evaluation of `generator` looks at.

    labels: int64 (count,), what a conditional one is asked for.
    """
    latents = torch.randn(count, generator.latent_dim, generator=stream(0, "metrics/latents"))
    with full_precision():
        return generate(
            generator, latents.to(device), labels if labels is None else labels.to(device)
        )


def _joined(labels: Sequence[str]) -> str:
    """Labels in a sentence: `FCD, test images` and `Rarest class` -> `FCD and rarest class`."""
    short = [label.partition(",")[0] for label in labels]
    lower = [name if name.isupper() else name[:1].lower() + name[1:] for name in short]
    *most, last = dict.fromkeys(lower)
    return f"{', '.join(most)} and {last}" if most else last
