"""Curves for the page: figures of the history as points in a box of 100 x 100.

The page stretches the box to whatever width it has and writes the labels beside it, so that they
stay legible on a phone; `page/page.html.jinja` draws what is computed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lab.training.losses import gives_probabilities


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    column: str
    label: str
    points: str  # SVG: "x,y x,y ..."
    dots: list[tuple[float, float]]  # the points themselves, where they are few


@dataclass(frozen=True)
class Chart:
    """A box with curves. Ticks are (place in percent from the left or the top, text)."""

    title: str
    note: str
    curves: list[Curve]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    epochs: int  # the last one; the first is 0


# Columns of history.csv: title, note, {column: label}, range of the y axis (None: from the data).
CHARTS = (
    (
        "Quality",
        "Fréchet distance to the training images; lower is better; log scale",
        {"fcd_train_5k": "FCD, 5,000 images"},
        "log",
    ),
    (
        "Discriminator’s opinion",
        "mean probability it gives of being real; 0.5 is a coin toss",
        {"d_real": "D(x), real", "d_fake": "D(G(z)), generated"},
        (0.0, 1.0),
    ),
    (
        "Loss",
        "what each network pays; the two compete, so neither need fall",
        {"d_loss": "discriminator", "g_loss": "generator"},
        None,
    ),
    (
        "Classifier’s view",
        "how sure it is of the class it sees; share of the rarest class, 0.1 is fair",
        {"confidence": "confidence", "smallest_class": "rarest class"},
        (0.0, 1.0),
    ),
)
LOGITS_NOTE = "the sigmoid of what it says, which is not a probability with this loss"
FEW = 25  # points that are drawn as dots too
MOST = 400  # points of a curve; more no screen shows


def charts(history: Sequence[dict[str, float]], loss: object = "non-saturating") -> list[Chart]:
    """Every chart of which `history` holds at least one figure. loss: the run's."""
    if not history:
        return []
    last = max(1, int(history[-1]["epoch"]))
    drawn = []
    for title, note, columns, bounds in CHARTS:
        series = {
            column: [(row["epoch"], row[column]) for row in history if column in row]
            for column in columns
        }
        series = {column: thinned(points) for column, points in series.items() if points}
        if bounds == "log":
            series = {
                column: [(x, math.log10(min(max(y, 1e-3), 1e9))) for x, y in points]
                for column, points in series.items()
            }
        if not series:
            continue
        values = [y for points in series.values() for _, y in points]
        low, high = bounds if isinstance(bounds, tuple) else padded(min(values), max(values))
        labels = log_ticks(low, high) if bounds == "log" else linear_ticks(low, high)
        drawn.append(
            Chart(
                title=title,
                note=LOGITS_NOTE if "d_real" in columns and not gives_probabilities(loss) else note,
                curves=[
                    _curve(column, columns[column], points, last, low, high)
                    for column, points in series.items()
                ],
                x_ticks=[(100 * x / last, text) for x, text in linear_ticks(0, last, whole=True)],
                y_ticks=[(100 * (high - y) / (high - low), text) for y, text in labels],
                epochs=last,
            )
        )
    return drawn


def thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most MOST of `points`, evenly, the last one among them."""
    step = -(-len(points) // MOST)
    return points[::-1][::step][::-1]


def _curve(
    column: str,
    label: str,
    points: Sequence[tuple[float, float]],
    last: int,
    low: float,
    high: float,
) -> Curve:
    places = [
        (round(100 * x / last, 2), round(100 * (high - y) / (high - low), 2)) for x, y in points
    ]
    return Curve(
        column=column,
        label=label,
        points=" ".join(f"{x:g},{y:g}" for x, y in places),
        dots=places if len(places) <= FEW else [],
    )


def padded(low: float, high: float) -> tuple[float, float]:
    """A range a little wider than [low, high], and never so narrow that noise fills it."""
    margin = max(0.08 * (high - low), 0.1 * abs(high) - (high - low) / 2) or 1.0
    return low - margin, high + margin


def linear_ticks(low: float, high: float, whole: bool = False) -> list[tuple[float, str]]:
    """Two to six round numbers in [low, high], as (value, text). whole: integers only."""
    # Imported late: a training that has just begun needs no page.
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(4, steps=[1, 2, 5, 10], integer=whole)
    values = locator.tick_values(low, high).tolist()  # one may lie beyond either end
    return [(value, f"{value:g}") for value in values if low <= value <= high]


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Two to six round numbers between 10**low and 10**high, as (exponent, text)."""
    for multiples in ((1,), (1, 3)):
        powers = range(math.floor(low), math.ceil(high) + 1)
        values = [
            m * 10.0**n for n in powers for m in multiples if low <= math.log10(m) + n <= high
        ]
        if len(values) >= 3:
            return [(math.log10(v), f"{v:g}") for v in values[:: -(-len(values) // 6)]]
    return [(math.log10(value), text) for value, text in linear_ticks(10**low, 10**high)]
