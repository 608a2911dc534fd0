"""The evaluator: scores generated images against the real images of a set.

Seeds and counts are fixed, and where a count differs from the usual one it is written down: the
same generator scores the same to the last digit. A set without labels is scored by what needs none.
"""

import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from lab.data.datasets import Dataset
from lab.device import describe_machine, full_precision
from lab.evaluation.catalogue import METRICS, Metric
from lab.evaluation.judges import BATCH, LEAST_ACCURACY, Judge, find_judges
from lab.evaluation.reference import COPIES_COUNT, FULL_COUNT, Reference, Sample, labels_to_ask
from lab.models import CLASSIFIERS, generate
from lab.runs.schema import Comparison, Evaluation
from lab.seeding import stream
from lab.text import counted

QUICK_COUNT = 5_000  # generated images in `quick`; "5k" in a column's name


@dataclass(frozen=True)
class Judgement:
    """Images, and what was found."""

    images: Tensor  # uint8 (N, C, H, W) on the CPU
    classes: Tensor | None  # (N,) as the classifier sees them; None without one
    record: Evaluation  # what evaluation.json will hold
    left_out: str = ""  # which figures are missing and why, in a line; empty if none are

    def table(self) -> str:
        """Every figure beside that of real images, then the share of each class."""
        found, lines = self.record, [f"{'':24}{'these images':>14}{'real images':>14}   better"]
        for key, metric in METRICS.items():
            if key in found.figures and metric.better:
                beside = metric.shown(found.real[key]) if key in found.real else ""
                cells = f"{metric.label:24}{metric.shown(found.figures[key]):>14}{beside:>14}"
                lines.append(f"{cells}   {metric.better}")
        shares = [f"{name} {share:.1%}" for name, share in found.class_histogram.items()]
        if shares:
            lines += ["", f"classes: {', '.join(shares)}"]
        if found.judges:
            lines += ["", f"as seen by: {'; '.join(found.judges.values())}"]
        if self.left_out:
            lines.append(f"left out: {self.left_out}")
        if len(self.images) < FULL_COUNT:
            lines.append(
                f"note: fewer than {FULL_COUNT:,} images; distances and recall come out higher "
                "than they are, coverage lower"
            )
        return "\n".join(lines)

    def take_over(self, before: Evaluation | None) -> None:
        """Keep the figures that take long of an evaluation of the same weights and real images."""
        if not before or not before.generator_sha256:
            return
        if before.compared_with.fingerprint == self.record.compared_with.fingerprint:
            slow = {key for key, row in METRICS.items() if not row.compute}
            for part in ("figures", "real"):
                known = getattr(before, part)
                getattr(self.record, part).update({key: known[key] for key in slow & known.keys()})


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
        return next((row.quick_name for row in rows if not self._lacking(row, QUICK_COUNT)), "")

    def images_of(self, generator: nn.Module, count: int) -> tuple[Tensor, Tensor | None]:
        """uint8 (count, C, H, W), and the classes that a conditional one was asked for."""
        labels = labels_to_ask(generator, self.dataset, count)
        return generated_images(generator, count, self.device, labels), labels

    def quick(self, generator: nn.Module) -> dict[str, float]:
        """Columns for an epoch's row of history.csv, from 5,000 generated images."""
        return self.quick_of_images(*self.images_of(generator, QUICK_COUNT))

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
        return self.full_of_images(*self.images_of(generator, FULL_COUNT))

    def full_of_images(self, images: Tensor, labels: Tensor | None = None) -> Judgement:
        """Every figure that N uint8 images (N, C, H, W) allow; N from 1 up.

        labels: int64 (N,), the classes that a conditional generator was asked for.
        """
        sample, dataset, real = self.sample(images, labels), self.dataset, self.reference
        record = Evaluation(
            figures={"images": len(images), **self._figures(sample, self._rows(sample))},
            judges={name: judge.about for name, judge in self.judges.items()},
            compared_with=Comparison(
                set=dataset.title,
                source=dataset.source,
                fingerprint=dataset.fingerprint,
                is_sample=dataset.is_sample,
                training_images_for_fcd_train=len(real.train.images),
                test_images=len(dataset.test_images),
                images_looked_for_as_copies=min(COPIES_COUNT, len(images)),
            ),
            dataset=dataset.name,
            machine=describe_machine(self.device),
        )
        if sample.classes is not None:
            names = dataset.spec.class_names
            record.class_histogram = dict(zip(names, real.shares(sample), strict=True))
            record.own_shares = dict(zip(names, real.own_shares, strict=True))
        return Judgement(images.cpu(), sample.classes, record, self._left_out(sample))

    @cached_property
    def real_figures(self) -> dict[str, float]:
        """What a perfect generator would score: training images in its place, against test images.

        `near_copies` are the test images' among the training images.
        """
        reference, training = self.reference, self.reference.train
        rows = self._rows(training)
        with full_precision():
            return {
                key: row.of_real(reference) if row.of_real else row.compute(training, reference)
                for key, row in rows.items()
                if row.better and (not row.of_real or reference.count("test") >= row.fewest)
            }

    def sample(self, images: Tensor, labels: Tensor | None = None) -> Sample:
        """Show uint8 images (N, C, H, W) to the judges."""
        views = {name: judge.view(images, self.device) for name, judge in self.judges.items()}
        return Sample(images, views, labels)

    def _figures(self, sample: Sample, rows: dict[str, Metric]) -> dict[str, float]:
        with full_precision():
            return {key: row.compute(sample, self.reference) for key, row in rows.items()}

    def _rows(self, sample: Sample) -> dict[str, Metric]:
        """The metrics that these images, and the images and judges of the set, allow."""
        return {
            key: row
            for key, row in METRICS.items()
            if row.compute and not self._lacking(row, len(sample.images))
            if not row.needs_labels or self.reference.smallest_class(sample) >= row.fewest_a_class
        }

    def _lacking(self, row: Metric, images: int) -> str:
        """What a metric would take to be computed of so many images, in words; "" if nothing."""
        needed = row.fewest_images(self.reference.classes)
        if row.judge and row.judge not in self._found:
            return "a classifier, which takes labels"
        if row.judge and row.judge not in self.judges:
            return f"a better {self._found[row.judge].about} ({LEAST_ACCURACY:.0%} is the least)"
        if images < needed:
            return f"{needed:,}"
        enough = all(self.reference.count(half) >= row.fewest for half in row.against)
        return "" if enough else f"{row.fewest:,} in both halves of the set"

    def _left_out(self, sample: Sample) -> str:
        """`20 images: FCD and rarest class need 256; ...`; empty where no metric is left out."""
        missing: dict[str, list[str]] = {}
        wanted = ("", *CLASSIFIERS, *self.judges)  # random features only where they stand in
        for row in METRICS.values():
            asked = sample.labels is not None or not row.needs_labels
            if row.compute and row.better and row.judge in wanted and asked:
                name = row.label.partition(",")[0]  # of `FCD, test images`
                name = name if name[1].isupper() else name[0].lower() + name[1:]
                missing.setdefault(self._lacking(row, len(sample.images)), []).append(name)
        missing.pop("", None)
        parts = []
        for what, names in missing.items():
            *most, last = dict.fromkeys(names)
            parts.append(f"{', '.join(most)}{' and ' * bool(most)}{last} need {what}")
        return f"{counted(len(sample.images), 'image')}: {'; '.join(parts)}" if parts else ""


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
