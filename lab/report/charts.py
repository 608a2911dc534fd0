"""The charts of a training: one list of them, drawn by the page as SVG, and here as a PNG.

For the page the figures of the history become points in a box of 100 x 100, which it stretches to
whatever width it has; the labels stand beside it, so that they stay legible on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from lab.evaluation.diagnosis import History
from lab.report import figures
from lab.training.losses import LOSSES

FEW = 25  # points that are drawn as dots too
MOST = 400  # points of a curve; more no screen shows
Item = TypeVar("Item")


@dataclass(frozen=True)
class Chart:
    """What is drawn over the epochs."""

    title: str
    note: str
    columns: dict[str, str]  # of history.csv, with their labels
    logarithmic: bool = False
    bounds: tuple[float, float] | None = None  # of the y axis; None where the figures decide them
    levels: tuple[float, ...] = ()  # the figures where the discriminator says 1/2 to everything


def charts(history: History, loss_name: str) -> list[Chart]:
    """Every chart of which `history` holds a figure, with the columns that it holds."""
    loss = LOSSES.get(loss_name)
    is_probability = loss is not None and loss.d_is_probability
    measured = {column for row in history for column in row}
    distances = {"fcd_train_5k": "FCD, 5,000 images", "fcd_mlp_train_5k": "MLP FCD"}
    all_charts = (
        Chart(
            "Quality",
            "Fréchet distance to the training images; lower is better; log scale",
            {**distances, "frd_train_5k": "FRD, 5,000 images"},
            logarithmic=True,
        ),
        Chart(
            "Discriminator’s opinion",
            "mean probability it gives of being real; 0.5 is a coin toss"
            if is_probability
            else "the sigmoid of what it says, which is not a probability with this loss",
            {"d_real": "D(x), real", "d_fake": "D(G(z)), generated"},
            bounds=(0.0, 1.0),
            levels=(0.5,) if is_probability else (),
        ),
        Chart(
            "Loss",
            "what each network pays; the two compete, so neither need fall",
            {"d_loss": "discriminator", "g_loss": "generator"},
            levels=(loss and loss.balance) or (),
        ),
        Chart(
            "Classifier’s view",
            "how sure it is of the class it sees; the rarest class’s share of the samples"
            + "; how often it sees the class asked for" * ("asked_class" in measured),
            {
                "confidence": "confidence",
                "smallest_class": "rarest class",
                "asked_class": "class asked for",
            },
            bounds=(0.0, 1.0),
        ),
    )
    return [
        replace(chart, columns=held)
        for chart in all_charts
        if (held := {name: text for name, text in chart.columns.items() if name in measured})
    ]


def points(history: History, column: str) -> list[tuple[float, float]]:
    """(epoch, figure) of the rows that have the column."""
    return [(row["epoch"], row[column]) for row in history if column in row]


def thinned(items: Sequence[Item], most: int) -> Sequence[Item]:
    """At most so many of `items`, evenly spaced, the first and the last among them.

    Where there is room for one only, the last.
    """
    if len(items) <= most:
        return items
    if most < 2:
        return items[-1:]
    step = (len(items) - 1) / (most - 1)
    return [items[round(place * step)] for place in range(most)]


# In the page


def plots(history: History, loss_name: str) -> list[dict[str, Any]]:
    """Every chart as the page draws it: title, note, the last of the epochs, curves and ticks.

    A curve has its column, label, points as SVG has them, "x,y x,y", and where they are few, dots
    (x, y). Ticks are (place in percent from the left or the top, text).
    """
    return [_plot(chart, history) for chart in charts(history, loss_name)]


def _plot(chart: Chart, history: History) -> dict[str, Any]:
    last = max(1, int(history[-1]["epoch"]))
    series = {column: thinned(points(history, column), MOST) for column in chart.columns}
    if chart.logarithmic:
        series = {
            column: [(x, math.log10(min(max(y, 1e-3), 1e9))) for x, y in places]
            for column, places in series.items()
        }
    values = [y for places in series.values() for _, y in places]
    low, high = chart.bounds or padded(min(values), max(values))
    ticks = (log_ticks if chart.logarithmic else linear_ticks)(low, high)

    def down(y: float) -> float:
        return 100 * (high - y) / (high - low)

    curves = []
    for column, label in chart.columns.items():
        places = [(round(100 * x / last, 2), round(down(y), 2)) for x, y in series[column]]
        line = " ".join(f"{x:g},{y:g}" for x, y in places)
        dots = places if len(places) <= FEW else []
        curves.append({"column": column, "label": label, "points": line, "dots": dots})
    return {
        **{"title": chart.title, "note": chart.note, "epochs": last, "curves": curves},
        "x_ticks": [(100 * x / last, text) for x, text in linear_ticks(0, last, whole=True)],
        "y_ticks": [(down(y), text) for y, text in ticks],
    }


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


# In a file


@figures.default_style()
def save_curves(
    path: Path, history: History, title: str, loss_name: str, footnote: str = ""
) -> None:
    """Draw the charts over the epochs, with a dotted line at each chart's levels."""
    drawn = charts(history, loss_name)
    columns, rows = (2, 2) if len(drawn) == 4 else (len(drawn), 1)
    figure, panels = figures.new_figure(columns, width=5 * columns, height=3.8 * rows, rows=rows)
    for axes, chart in zip(panels, drawn, strict=True):
        for (column, label), style in zip(chart.columns.items(), ("-", "--", ":"), strict=False):
            places = zip(*points(history, column), strict=True)
            axes.plot(*places, style, label=label, marker=".")
        for index, level in enumerate(chart.levels):  # of two, each in its curve's colour
            colour = f"C{index}" if len(chart.levels) > 1 else "0.5"
            axes.axhline(level, color=colour, linestyle=":", linewidth=1)
        axes.set_title(chart.title + "; dotted: at balance" * bool(chart.levels))
        axes.set_xlabel(f"epoch\n{chart.note}", fontsize=8)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        if chart.bounds:
            axes.set_ylim(chart.bounds)
        if chart.logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
        axes.legend()
        axes.grid(alpha=0.3)
    figures.finish(path, figure, title, footnote, fontsize=12)
