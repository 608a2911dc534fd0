"""Figures in plain words: what a run's numbers say, for the page and the table of runs.

Every figure is optional; what is not there is not spoken of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lab.evaluation import diagnosis as advice
from lab.files import as_dict
from lab.models import networks as models
from lab.text import counted
from lab.training.losses import gives_probabilities
from lab.training.state import TOTALS

History = Sequence[dict[str, float]]  # the rows of history.csv

# Below this FCD images are ... real ones. Five epochs of the classic recipe have 42 to 89.
CLOSENESS = (
    (2.0, "Close to"),
    (advice.TELLING, "Not far from"),
    (advice.FOREIGN, "Far from"),
    (math.inf, "Very far from"),
)

# What a `~` before an FCD says in a table of runs.
QUICK_NOTE = (
    "measured during training: 5,000 images against training images, which makes it a little higher"
)


def fcd(evaluation: dict[str, Any], history: History) -> str:
    """The run's FCD to the test images; "" if unknown.

    With a `~` the one to training images, where only that was measured, during training.
    """
    value = number(evaluation.get("fcd_test"))
    if value is not None:
        return f"{value:.1f}"
    quick = next((row["fcd_train_5k"] for row in reversed(history) if "fcd_train_5k" in row), None)
    return "" if quick is None else f"~{quick:.1f}"


def of_epoch(epoch: int, history: History, options: dict[str, Any]) -> str:
    """What is seen at the grid of `epoch`, in a sentence or two. options: the run's."""
    if epoch == 0:
        return (
            "Before training: random weights turn noise into noise. From here on the same "
            "25 latents are shown each time."
        )
    rows = [row for row in history if row["epoch"] <= epoch]
    if not rows or rows[-1]["epoch"] != epoch:
        return ""
    row, sentences = rows[-1], []
    if _has_opinions(row, options):
        sentences.append(
            f"The discriminator gives real images {row['d_real']:.2f} and generated ones "
            f"{row['d_fake']:.2f}: {_opinion(row['d_real'] - row['d_fake'])}."
        )
    if "fcd_train_5k" in row:
        before = [r["fcd_train_5k"] for r in rows[:-1] if "fcd_train_5k" in r]
        sentences.append(
            f"Distance to the training images: {row['fcd_train_5k']:.1f}"
            f"{_change(before[-1], row['fcd_train_5k']) if before else ''}."
        )
    if all(name in row for row in rows for name in TOTALS):
        sentences += advice.during(rows, options)
    return " ".join(sentences)


def _has_opinions(row: dict[str, float], options: dict[str, Any]) -> bool:
    """Whether D(x) and D(G(z)) are there and are probabilities."""
    loss = options.get("loss", "non-saturating")
    return "d_real" in row and "d_fake" in row and gives_probabilities(loss)


def _change(before: float, now: float) -> str:
    """How a distance has changed since the grid before."""
    share = 1 - now / before if before > 0 else 0.0
    if share >= 0.005:
        return f", {share:.0%} closer than before"
    return ", no closer than before" if share > -0.05 else f", {-share:.0%} farther than before"


def _opinion(gap: float) -> str:
    """How well the discriminator tells the two apart, from D(x) - D(G(z))."""
    if gap < 0.1:
        return "it can hardly tell them apart"
    if gap < 0.35:
        return "it often tells them apart, but is not sure"
    if gap < 0.7:
        return "it tells most of them apart"
    return "it is winning, and the generator learns little from that"


def verdict(
    status: str, options: dict[str, Any], history: History, evaluation: dict[str, Any]
) -> str:
    """One sentence about the whole run. status: as `gan_lab.py --list` says it."""
    if status == "diverged":
        kept = "last good" if history else "untrained"
        return f"Diverged in epoch {len(history) + 1}; the {kept} weights are kept."
    if not history:
        return "No epoch has been completed yet."
    last = history[-1]
    if status != "finished":
        so_far = f"{last['epoch']:.0f} of {options.get('epochs', '?')} epochs"
        return f"Under way: {so_far} so far." if status == "running" else f"Stopped after {so_far}."
    if number(evaluation.get("fcd_test")) is not None:
        return _quality(evaluation)
    if _has_opinions(last, options):
        return (
            f"After {counted(round(last['epoch']), 'epoch')} the discriminator gives real images "
            f"{last['d_real']:.2f} and generated ones {last['d_fake']:.2f}: "
            f"{_opinion(last['d_real'] - last['d_fake'])}."
        )
    return f"{counted(round(last['epoch']), 'epoch')} of training."


def _quality(evaluation: dict[str, Any]) -> str:
    """How near to real images, and as far as that can be told of these, which of them are there."""
    distance = evaluation["fcd_test"]
    near = next(word for limit, word in CLOSENESS if distance < limit)
    said = [f"{near} real images: the distance (FCD) is {distance:.1f}."]
    thin, count = evaluation.get("thin_classes"), len(shares_of(evaluation.get("class_histogram")))
    if distance < advice.FOREIGN and isinstance(thin, int) and count:
        some = f"{thin} of {count} classes {'is' if thin == 1 else 'are'} missing or rare."
        said.append(some if thin else f"All {count} classes are there.")
    recall = number(evaluation.get("recall"))
    if distance < advice.TELLING and recall is not None:
        said.append(f"{recall:.0%} of real images have a similar one among the generated.")
    return " ".join(said)


def key_figures(
    options: dict[str, Any],
    history: History,
    evaluation: dict[str, Any],
    generator: Any,
) -> list[tuple[str, str]]:
    """A handful of (figure, unit) for the head of the page."""
    figures = []
    for value, unit in (
        (number(evaluation.get("fcd_test")), "FCD, test images"),
        (number(evaluation.get("fcd_real")), "FCD of real images"),
    ):
        if value is not None:
            figures.append((f"{value:.1f}", unit))
    if number(evaluation.get("fid")) is not None:
        figures.append((f"{evaluation['fid']:.1f}", "Inception FID"))
    figures.append((f"{len(history)}", f"of {options.get('epochs', '?')} epochs"))
    seconds = sum(row.get("seconds", 0.0) for row in history)
    if seconds:
        figures.append((duration(seconds), "of training"))
        shown = sum(row.get("images_per_second", 0.0) * row.get("seconds", 0.0) for row in history)
        figures.append((f"{shown / seconds:,.0f}", "images a second"))
    if generator is not None:
        figures.append((f"{models.count_parameters(generator) / 1e6:.2f} M", "numbers learned"))
    return figures


def duration(seconds: float) -> str:
    """`48 s`, `5 min 12 s`, `2 h 03 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def sentences(evaluation: dict[str, Any]) -> list[str]:
    """What the evaluation itself says in plain words."""
    words = evaluation.get("words")
    return [str(line) for line in words] if isinstance(words, list) else []


def number(value: Any) -> float | None:
    """The value if it is a number one can show; None if it is anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
        return None
    return float(value)


def shares_of(histogram: Any) -> list[float]:
    """A class histogram's shares, which add up to 1; none if it is damaged."""
    counts = [number(count) for count in as_dict(histogram).values()]
    total = sum(count for count in counts if count is not None)
    if None in counts or total <= 0:
        return []
    # Shares already, but for the last digit, are left as they are: 12.05% stays below 12.1%.
    return counts if math.isclose(total, 1) else [count / total for count in counts]
