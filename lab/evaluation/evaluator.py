"""The evaluator: scores generated images against the real images of a set.

Seeds and counts are fixed, so the same generator has the same scores to the last digit. The counts
are recorded with the scores. For a set without labels, metrics that need labels are left out.
"""

import math
import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from lab.data.datasets import Dataset
from lab.device import describe_machine, full_precision
from lab.evaluation.catalogue import METRICS, Metric
from lab.evaluation.classifiers import kinds_to_train
from lab.evaluation.judges import BATCH, LEAST_ACCURACY, Judge, find_judges
from lab.evaluation.reference import COPIES_COUNT, FULL_COUNT, Reference, Sample, labels_to_ask
from lab.models import CLASSIFIERS
from lab.models.sampling import generate, random_latents
from lab.runs.schema import Comparison, Evaluation
from lab.text import counted

QUICK_COUNT = 5_000  # generated images in `quick`, hence "5k" in the columns of history.csv


@dataclass(frozen=True)
class Judgement:
    """Images and their scores."""

    images: Tensor  # uint8 (N, C, H, W) on the CPU
    classes: Tensor | None  # (N,) predicted by the classifier; None without one
    record: Evaluation  # the content of evaluation.json
    left_out: str = ""  # a line that names the metrics left out, and why; "" if there are none

    def table(self) -> str:
        """A table of all figures beside those of real images, and the share of each class."""
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

    def keep_slow_figures(self, before: Evaluation | None) -> None:
        """Copy FID and CAS from an earlier evaluation of the same weights and real images."""
        found = self.record
        if not before or not before.generator_sha256:
            return
        if before.compared_with.fingerprint == found.compared_with.fingerprint:
            slow = {key for key, row in METRICS.items() if not row.compute}
            for now, known in ((found.figures, before.figures), (found.real, before.real)):
                now.update({key: known[key] for key in slow & known.keys()})


class Evaluator:
    """Scores generators against one set, whose own features are computed once.

    most_seconds: classifiers whose training would take longer are left out. Without it they are
    trained when the first images are scored.
    """

    def __init__(
        self, dataset: Dataset, device: torch.device, most_seconds: float = math.inf
    ) -> None:
        self.dataset, self.device, self.most_seconds = dataset, device, most_seconds
        self.reference = Reference(dataset, device, self.sample)

    @cached_property
    def _all_judges(self) -> dict[str, Judge]:
        """All judges of the set; trains classifiers that neither ship nor are cached."""
        return find_judges(self.dataset, self.device, self.most_seconds)

    @cached_property
    def judges(self) -> dict[str, Judge]:
        """The usable judges by name; Fault if the file of a shipped classifier is damaged."""
        return {name: judge for name, judge in self._all_judges.items() if judge.is_usable}

    @cached_property
    def quick_distance(self) -> str:
        """The main column of `quick`, by which images are compared; "" if the set is too small."""
        rows = (row for row in METRICS.values() if not self._unmet_need(row, QUICK_COUNT))
        columns = (row.history_column for row in rows)
        return next((column for column in columns if column.endswith("_train_5k")), "")

    def images_of(self, generator: nn.Module, count: int) -> tuple[Tensor, Tensor | None]:
        """uint8 images (count, C, H, W), and the labels given to a conditional generator."""
        labels = labels_to_ask(generator, self.dataset, count)
        return generated_images(generator, count, labels), labels

    def quick(self, generator: nn.Module) -> dict[str, float]:
        """The scores in an epoch's row of history.csv, from 5,000 generated images."""
        return self.quick_of_images(*self.images_of(generator, QUICK_COUNT))

    def quick_of_images(self, images: Tensor, labels: Tensor | None = None) -> dict[str, float]:
        """The same scores for uint8 images (N, C, H, W), without those that need more than N."""
        sample = self.sample(images, labels)
        with full_precision():
            return {
                row.history_column: round(row.compute(sample, self.reference), row.history_digits)
                for row in self._computable(sample).values()
                if row.history_column
            }

    @property
    def trains_first(self) -> bool:
        """Whether the first score starts with the training of classifiers, which takes minutes."""
        return "_all_judges" not in vars(self) and bool(kinds_to_train(self.dataset))

    def seconds_to_score(self) -> float:
        """An estimate of the time of `quick` on this machine, measured on some hundred images.

        With `most_seconds`, missing classifiers are trained now; without it, the time is then 0.
        """
        if self.trains_first and math.isinf(self.most_seconds):
            return 0.0
        images = self.dataset.train_images[: 6 * BATCH]
        self.sample(images[:BATCH])  # warm-up
        began = time.monotonic()
        self.sample(images)
        return (time.monotonic() - began) / len(images) * QUICK_COUNT

    def full(self, generator: nn.Module) -> Judgement:
        """All scores, from 10,000 generated images."""
        return self.full_of_images(*self.images_of(generator, FULL_COUNT))

    def full_of_images(self, images: Tensor, labels: Tensor | None = None) -> Judgement:
        """All scores of uint8 images (N, C, H, W) for which N, at least 1, suffices.

        labels: int64 (N,), the classes that a conditional generator was asked for.
        """
        sample, dataset, real = self.sample(images, labels), self.dataset, self.reference
        rows = self._computable(sample)
        with full_precision():
            scores = {key: row.compute(sample, real) for key, row in rows.items()}
        record = Evaluation(
            figures={"images": len(images), **scores},
            judges={name: judge.description for name, judge in self.judges.items()},
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
        """The scores of a perfect generator: those of training images in place of generated ones.

        `near_copies` compares test images with training images.
        """
        real, training = self.reference, self.reference.train
        with full_precision():
            return {
                key: row.real_value(real) if row.real_value else row.compute(training, real)
                for key, row in self._computable(training).items()
                if row.better and (not row.real_value or real.count("test") >= row.min_images)
            }

    def sample(self, images: Tensor, labels: Tensor | None = None) -> Sample:
        """Apply all judges to uint8 images (N, C, H, W)."""
        outputs = {name: judge.apply(images, self.device) for name, judge in self.judges.items()}
        return Sample(images, outputs, labels)

    def _computable(self, sample: Sample) -> dict[str, Metric]:
        """The metrics for which these images and the set with its judges suffice."""
        rows, given = METRICS.items(), (len(sample.images), sample.labels)
        return {key: row for key, row in rows if row.compute and not self._unmet_need(row, *given)}

    def _unmet_need(self, row: Metric, images: int, labels: Tensor | None = None) -> str:
        """What a metric needs beyond so many images with these labels, in words; "" if nothing."""
        needed = row.images_needed(self.reference.classes)
        if row.judge and row.judge not in self._all_judges:
            return "a classifier, which takes labels"
        if row.judge and row.judge not in self.judges:
            description = self._all_judges[row.judge].description
            return f"a better {description} (at least {LEAST_ACCURACY:.0%})"
        if images < needed:
            return f"{needed:,}"
        if row.needs_labels and self.reference.smallest_class_size(labels) < row.min_per_class:
            return f"{row.min_per_class:,} of each class, also in the test half"
        enough = all(self.reference.count(half) >= row.min_images for half in row.real_halves)
        return "" if enough else f"{row.min_images:,} in both halves of the set"

    def _left_out(self, sample: Sample) -> str:
        """`20 images: FCD and rarest class need 256; ...`; empty where no metric is left out."""
        missing: dict[str, list[str]] = {}
        wanted = ("", *CLASSIFIERS, *self.judges)  # of random features only if they are used
        for row in METRICS.values():
            asked = sample.labels is not None or not row.needs_labels
            if row.compute and row.better and row.judge in wanted and asked:
                name = row.label.partition(",")[0]  # of `FCD, test images`
                name = name if name[1].isupper() else name[0].lower() + name[1:]
                need = self._unmet_need(row, len(sample.images), sample.labels)
                missing.setdefault(need, []).append(name)
        missing.pop("", None)
        parts = []
        for what, names in missing.items():
            *others, last = dict.fromkeys(names)
            which = f"{', '.join(others)} and {last}" if others else last
            parts.append(f"{which} need{'' if others else 's'} {what}")
        return f"{counted(len(sample.images), 'image')}: {'; '.join(parts)}" if parts else ""


@full_precision()
def generated_images(generator: nn.Module, count: int, labels: Tensor | None = None) -> Tensor:
    """uint8 (count, C, H, W): the generator's images for the fixed latents of all evaluations.

    labels: int64 (count,), for a conditional generator.
    """
    return generate(generator, random_latents(generator, count, "metrics/latents"), labels)
