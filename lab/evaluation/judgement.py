"""What an evaluation has found, and its table for the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lab.evaluation.catalogue import METRICS
from lab.evaluation.reference import FULL_COUNT
from lab.text import counted


@dataclass(frozen=True)
class Judgement:
    """Images, the classes seen in them, and every figure about them by its key in METRICS.

    classes: (N,); None without a classifier, and then class_histogram is empty. left_out: which
    figures are missing and why, in a line; empty if none are.
    """

    images: Tensor  # uint8 (N, C, H, W) on the CPU
    classes: Tensor | None
    figures: dict[str, float]
    class_histogram: dict[str, float]
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
        if self.left_out:
            lines.append(f"left out: {self.left_out}")
        if len(self.images) < FULL_COUNT:
            lines.append(
                f"note: fewer than {FULL_COUNT:,} images; distances and recall come out higher "
                "than they are, coverage lower"
            )
        return "\n".join(lines)


def left_out(images: int, classes: int, has_classifier: bool) -> str:
    """`20 images: FCD and rarest class need 256; ...`; empty where no metric is left out.

    images: how many there are. classes: how many the set has.
    """
    missing: dict[str, list[str]] = {}
    for metric in METRICS.values():
        if not metric.compute or not metric.better:
            continue
        fewest = metric.fewest_images(classes)
        if metric.needs_classifier and not has_classifier:
            what = "a classifier of this set, and none ships with the lab"
            missing.setdefault(what, []).append(metric.label)
        elif images < fewest:
            missing.setdefault(f"{fewest:,}", []).append(metric.label)
    parts = [f"{_joined(labels)} need {what}" for what, labels in missing.items()]
    return f"{counted(images, 'image')}: {'; '.join(parts)}" if parts else ""


def _joined(labels: Sequence[str]) -> str:
    """Labels in a sentence: `FCD, test images` and `Rarest class` -> `FCD and rarest class`."""
    short = [label.partition(",")[0] for label in labels]
    lower = [name if name.isupper() else name[:1].lower() + name[1:] for name in short]
    *most, last = dict.fromkeys(lower)
    return f"{', '.join(most)} and {last}" if most else last
