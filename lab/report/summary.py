"""Sentences and short texts about a run's scores, for its page and the table of runs.

Every score is optional, since a run may have been trained without it.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from lab.evaluation import diagnosis
from lab.evaluation.catalogue import METRICS
from lab.evaluation.diagnosis import History
from lab.models import count_parameters
from lab.runs.run import Run
from lab.text import counted
from lab.training.losses import LOSSES
from lab.training.state import STEP_FIGURES

# (upper limit of the FCD, words before "real images"). Five epochs of the classic recipe end at an
# FCD of 42 to 89.
CLOSENESS = (
    (2.0, "Close to"),
    (diagnosis.TELLING, "Not far from"),
    (diagnosis.FOREIGN, "Far from"),
    (math.inf, "Very far from"),
)

# (upper limit of D(x) - D(G(z)), words after "the discriminator").
SEPARATION = (
    (0.1, "can hardly tell them apart"),
    (0.35, "often tells them apart, but is not sure"),
    (math.inf, "tells most of them apart"),  # up to `diagnosis.winning_gap`
)
WINNING = "is winning, and the generator learns little from that"

BEFORE_TRAINING = (
    "Before training: random weights turn noise into noise. From here on the same latents are "
    "shown each time."
)
KEY_METRICS = ("fcd_test", "fcd_real", "fcd_mlp_test", "frd_test", "frd_real", "fid")
QUICK_NOTE = (  # explains `~` before an FCD
    "measured during training: 5,000 images against training images, which makes it a little higher"
)


def fcd_text(run: Run) -> str:
    """The run's FCD to the test images, else `~` and the last to training images.

    `FRD 12.30` in place of an FCD if the set has no classifier, "" if the run has neither.
    """
    for name, label in {"fcd": "", "frd": "FRD "}.items():
        quick = [row[key] for row in run.history if (key := f"{name}_train_5k") in row]
        if (final := run.figures.get(f"{name}_test")) is not None:
            return f"{label}{final:.2f}"
        if quick:
            return f"{label}~{quick[-1]:.2f}"
    return ""


def epoch_sentences(epoch: int, history: History, options: Mapping[str, Any]) -> str:
    """One or two sentences about `epoch`, below its sample grid. options: of the run."""
    if epoch == 0:
        return BEFORE_TRAINING
    rows = [row for row in history if row["epoch"] <= epoch]
    if not rows or rows[-1]["epoch"] != epoch:
        return ""
    row, d_words = rows[-1], _d_sentence(rows[-1], options)
    sentences = [f"The discriminator {d_words}."] if d_words else []
    columns = (f"{key}_train_5k" for key in diagnosis.DISTANCES)
    if column := next((column for column in columns if column in row), ""):
        *before, now = (r[column] for r in rows if column in r)
        change = _change(before[-1], now) if before else ""
        sentences.append(f"Distance to the training images: {now:.1f}{change}.")
    if all(row.keys() >= set(STEP_FIGURES) for row in rows):
        sentences += diagnosis.during(rows, options)
    return " ".join(sentences)


def _change(before: float, now: float) -> str:
    """The change of a distance since the previous grid, in words."""
    share = 1 - now / before if before > 0 else 0.0
    if share >= 0.005:
        return f", {share:.0%} closer than before"
    return ", no closer than before" if share > -0.05 else f", {-share:.0%} farther than before"


def _d_sentence(row: Mapping[str, float], options: Mapping[str, Any]) -> str:
    """The mean discriminator outputs in words; "" if D(x) is not a probability."""
    loss = LOSSES.get(str(options.get("loss")))
    if not loss or not loss.d_is_probability or not {"d_real", "d_fake"} <= row.keys():
        return ""
    gap = row["d_real"] - row["d_fake"]
    is_winning = gap >= diagnosis.winning_gap(options)
    words = WINNING if is_winning else next(words for most, words in SEPARATION if gap < most)
    outputs = f"{row['d_real']:.2f} and generated ones {row['d_fake']:.2f}"
    return f"gives real images {outputs}: it {words}"


def verdict(run: Run) -> str:
    """One sentence about the whole run."""
    if run.status == "diverged":
        return f"Diverged in epoch {len(run.history) + 1}; the generator saved last is kept."
    if run.status == "finished" and "fcd_test" in run.figures:
        return _quality(run.figures, run.evaluation.class_histogram)
    if not run.history:
        return "No epoch has been completed yet."
    last = run.history[-1]
    so_far = f"{last['epoch']:.0f} of {run.options.get('epochs', '?')} epochs"
    if run.status != "finished":
        under_way = run.status == "running"
        return f"Under way: {so_far} so far." if under_way else f"Stopped after {so_far}."
    epochs = counted(round(last["epoch"]), "epoch")
    d_words = _d_sentence(last, run.options)
    return f"After {epochs} the discriminator {d_words}." if d_words else f"{epochs} of training."


def _quality(figures: Mapping[str, float], class_histogram: Mapping[str, float]) -> str:
    """Sentences about the FCD and, if it is low enough for them, class balance and recall."""
    distance = figures["fcd_test"]
    near = next(word for limit, word in CLOSENESS if distance < limit)
    sentences = [f"{near} real images: the distance (FCD) is {distance:.2f}."]
    rare, count = figures.get("thin_classes"), len(shares_of(class_histogram))
    if distance < diagnosis.FOREIGN and rare is not None and count:
        some = f"{rare:.0f} of {count} classes {'is' if rare == 1 else 'are'} missing or rare."
        sentences.append(some if rare else f"All {count} classes are there.")
    if distance < diagnosis.TELLING and "recall" in figures:
        share = f"{figures['recall']:.0%}"
        sentences.append(f"{share} of real images have a similar one among the generated.")
    return " ".join(sentences)


def key_figures(run: Run, generator: nn.Module | None) -> list[tuple[str, str]]:
    """The (value, unit) pairs at the head of the page."""
    history = run.history
    known = [key for key in KEY_METRICS if key in run.figures]
    figures = [(METRICS[key].shown(run.figures[key]), METRICS[key].label) for key in known]
    figures.append((f"{len(history)}", f"of {run.options.get('epochs', '?')} epochs"))
    seconds = sum(row.get("seconds", 0.0) for row in history)
    if seconds:
        figures.append((duration(seconds), "of training"))
        shown = sum(row.get("images_per_second", 0.0) * row.get("seconds", 0.0) for row in history)
        figures.append((f"{shown / seconds:,.0f}", "images per second"))
    if generator is not None:
        figures.append((f"{count_parameters(generator) / 1e6:.2f} M", "parameters"))
    return figures


def duration(seconds: float) -> str:
    """`48 s`, `5 min 12 s`, `2 h 03 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def shares_of(histogram: Mapping[str, float]) -> list[float]:
    """The shares of a class histogram, which add up to 1; [] if it is empty."""
    counts = list(histogram.values())
    total = sum(counts)
    if total <= 0:
        return []
    # A histogram of rounded shares is returned as it is, so that they are not rounded twice.
    return counts if math.isclose(total, 1) else [count / total for count in counts]
