"""A run's figures in plain words, for its page and the table of runs.

Every figure is optional; what is not there is not spoken of.
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

# Below this FCD images are ... real ones. Five epochs of the classic recipe have 42 to 89.
CLOSENESS = (
    (2.0, "Close to"),
    (diagnosis.TELLING, "Not far from"),
    (diagnosis.FOREIGN, "Far from"),
    (math.inf, "Very far from"),
)

# Below this D(x) - D(G(z)) the discriminator ...
OPINIONS = (
    (0.1, "can hardly tell them apart"),
    (0.35, "often tells them apart, but is not sure"),
    (0.7, "tells most of them apart"),
    (math.inf, "is winning, and the generator learns little from that"),
)

BEFORE_TRAINING = (
    "Before training: random weights turn noise into noise. From here on the same latents are "
    "shown each time."
)
HEAD = ("fcd_test", "fcd_real", "fcd_mlp_test", "frd_test", "frd_real", "fid")  # of the page
# What a `~` before an FCD says in a table of runs.
QUICK_NOTE = (
    "measured during training: 5,000 images against training images, which makes it a little higher"
)


def fcd(run: Run) -> str:
    """The run's FCD to the test images, else with a `~` the last to training images, else ""."""
    if "fcd_test" in run.figures:
        return f"{run.figures['fcd_test']:.1f}"
    quick = [row["fcd_train_5k"] for row in run.history if "fcd_train_5k" in row]
    return f"~{quick[-1]:.1f}" if quick else ""


def of_epoch(epoch: int, history: History, options: Mapping[str, Any]) -> str:
    """What is seen at the grid of `epoch`, in a sentence or two. options: the run's."""
    if epoch == 0:
        return BEFORE_TRAINING
    rows = [row for row in history if row["epoch"] <= epoch]
    if not rows or rows[-1]["epoch"] != epoch:
        return ""
    row, opinion = rows[-1], _opinion(rows[-1], options)
    sentences = [f"The discriminator {opinion}."] if opinion else []
    if "fcd_train_5k" in row:
        *before, now = (r["fcd_train_5k"] for r in rows if "fcd_train_5k" in r)
        change = _change(before[-1], now) if before else ""
        sentences.append(f"Distance to the training images: {now:.1f}{change}.")
    if all(row.keys() >= set(STEP_FIGURES) for row in rows):
        sentences += diagnosis.during(rows, options)
    return " ".join(sentences)


def _change(before: float, now: float) -> str:
    """How a distance has changed since the grid before."""
    share = 1 - now / before if before > 0 else 0.0
    if share >= 0.005:
        return f", {share:.0%} closer than before"
    return ", no closer than before" if share > -0.05 else f", {-share:.0%} farther than before"


def _opinion(row: Mapping[str, float], options: Mapping[str, Any]) -> str:
    """What the discriminator makes of real and generated images; "" if D(x) is no probability."""
    loss = LOSSES.get(str(options.get("loss")))
    if not loss or not loss.d_is_probability or not {"d_real", "d_fake"} <= row.keys():
        return ""
    telling = next(words for most, words in OPINIONS if row["d_real"] - row["d_fake"] < most)
    outputs = f"{row['d_real']:.2f} and generated ones {row['d_fake']:.2f}"
    return f"gives real images {outputs}: it {telling}"


def verdict(run: Run) -> str:
    """One sentence about the whole run."""
    if run.status == "diverged":
        kept = "last good" if run.history else "untrained"
        return f"Diverged in epoch {len(run.history) + 1}; the {kept} weights are kept."
    if not run.history:
        return "No epoch has been completed yet."
    last = run.history[-1]
    so_far = f"{last['epoch']:.0f} of {run.options.get('epochs', '?')} epochs"
    if run.status != "finished":
        under_way = run.status == "running"
        return f"Under way: {so_far} so far." if under_way else f"Stopped after {so_far}."
    if "fcd_test" in run.figures:
        return _quality(run.figures, run.evaluation.class_histogram)
    epochs = counted(round(last["epoch"]), "epoch")
    opinion = _opinion(last, run.options)
    return f"After {epochs} the discriminator {opinion}." if opinion else f"{epochs} of training."


def _quality(figures: Mapping[str, float], class_histogram: Mapping[str, float]) -> str:
    """How near to real images, and as far as that can be told of these, which of them are there."""
    distance = figures["fcd_test"]
    near = next(word for limit, word in CLOSENESS if distance < limit)
    said = [f"{near} real images: the distance (FCD) is {distance:.1f}."]
    thin, count = figures.get("thin_classes"), len(shares_of(class_histogram))
    if distance < diagnosis.FOREIGN and thin is not None and count:
        some = f"{thin:.0f} of {count} classes {'is' if thin == 1 else 'are'} missing or rare."
        said.append(some if thin else f"All {count} classes are there.")
    if distance < diagnosis.TELLING and "recall" in figures:
        share = f"{figures['recall']:.0%}"
        said.append(f"{share} of real images have a similar one among the generated.")
    return " ".join(said)


def key_figures(run: Run, generator: nn.Module | None) -> list[tuple[str, str]]:
    """A handful of (figure, unit) for the head of the page."""
    history = run.history
    known = [key for key in HEAD if key in run.figures]
    figures = [(f"{run.figures[key]:.1f}", METRICS[key].label) for key in known]
    figures.append((f"{len(history)}", f"of {run.options.get('epochs', '?')} epochs"))
    seconds = sum(row.get("seconds", 0.0) for row in history)
    if seconds:
        figures.append((duration(seconds), "of training"))
        shown = sum(row.get("images_per_second", 0.0) * row.get("seconds", 0.0) for row in history)
        figures.append((f"{shown / seconds:,.0f}", "images a second"))
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
    """A class histogram's shares, which add up to 1; none if it counts nothing."""
    counts = list(histogram.values())
    total = sum(counts)
    if total <= 0:
        return []
    # Shares already, but for the last digit, are left as they are: 12.05% stays below 12.1%.
    return counts if math.isclose(total, 1) else [count / total for count in counts]
