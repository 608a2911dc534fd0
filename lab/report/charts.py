"""The charts of a training over its epochs, drawn by the page as SVG and here as a PNG.

The page gets the curves as points in a square of 100 x 100, which it stretches to its width. The
labels are outside the SVG, so that they stay readable on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from lab.evaluation.diagnosis import History
from lab.report import figures
from lab.training.losses import LOSSES

FEW = 25  # curves with at most so many points have dots too
MOST = 400  # points of a curve
Item = TypeVar("Item")


@dataclass(frozen=True)
class Chart:
    """A chart over the epochs."""

    title: str
    note: str
    columns: dict[str, str]  # columns of history.csv, with their labels
    logarithmic: bool = False
    bounds: tuple[float, float] | None = None  # of the y axis; None: by the values
    levels: tuple[float, ...] = ()  # values at balance, where D(x) is 1/2 for every image


def charts(history: History, loss_name: str) -> list[Chart]:
    """The charts with at least one column in `history`, without columns that it does not have."""
    loss = LOSSES.get(loss_name)
    is_probability = loss is not None and loss.d_is_probability
    present = {column for row in history for column in row}
    distances = {"fcd_train_5k": "FCD, 5,000 images", "fcd_mlp_train_5k": "MLP FCD"}
    all_charts = (
        Chart(
            "Quality",
            "Fréchet distance to the training images; lower is better; log scale",
            {**distances, "frd_train_5k": "FRD, 5,000 images"},
            logarithmic=True,
        ),
        Chart(
            "Discriminator output",
            "mean predicted probability that an image is real; 0.5 is a guess"
            if is_probability
            else "sigmoid of the output, which is not a probability with this loss",
            {"d_real": "D(x), real", "d_fake": "D(G(z)), generated"},
            bounds=(0.0, 1.0),
            levels=(0.5,) if is_probability else (),
        ),
        Chart(
            "Loss",
            "the two networks compete, so neither loss needs to fall",
            {"d_loss": "discriminator", "g_loss": "generator"},
            levels=(loss and loss.balance) or (),
        ),
        Chart(
            "Classes by the classifier",
            "its mean confidence; share of the rarest class among the samples"
            + "; share of samples of the requested class" * ("asked_class" in present),
            {
                "confidence": "confidence",
                "smallest_class": "rarest class",
                "asked_class": "requested class",
            },
            bounds=(0.0, 1.0),
        ),
    )
    return [
        replace(chart, columns=columns)
        for chart in all_charts
        if (columns := {name: text for name, text in chart.columns.items() if name in present})
    ]


def points(history: History, column: str) -> list[tuple[float, float]]:
    """(epoch, value) of the rows that have the column."""
    return [(row["epoch"], row[column]) for row in history if column in row]


def evenly_spaced(items: Sequence[Item], most: int) -> Sequence[Item]:
    """At most `most` of `items`, evenly spaced, with the first and the last; if one, the last."""
    if len(items) <= most:
        return items
    if most < 2:
        return items[-1:]
    step = (len(items) - 1) / (most - 1)
    return [items[round(index * step)] for index in range(most)]


def plots(history: History, loss_name: str) -> list[dict[str, Any]]:
    """The charts as dictionaries for the page: title, note, last epoch, curves and ticks.

    A curve has a column, a label, points as an SVG string "x,y x,y", and dots (x, y) if there are
    few points. Ticks are (position in percent from the left or from the top, text).
    """
    return [_plot(chart, history) for chart in charts(history, loss_name)]


def _plot(chart: Chart, history: History) -> dict[str, Any]:
    last = max(1, int(history[-1]["epoch"]))
    series = {column: evenly_spaced(points(history, column), MOST) for column in chart.columns}
    if chart.logarithmic:
        series = {
            column: [(x, math.log10(min(max(y, 1e-3), 1e9))) for x, y in curve]
            for column, curve in series.items()
        }
    values = [y for curve in series.values() for _, y in curve]
    low, high = min(values), max(values)
    margin = max(0.08 * (high - low), 0.1 * abs(high) - (high - low) / 2) or 1.0
    low, high = chart.bounds or (low - margin, high + margin)
    ticks = (log_ticks if chart.logarithmic else linear_ticks)(low, high)

    def from_top(y: float) -> float:
        return 100 * (high - y) / (high - low)

    curves = []
    for column, label in chart.columns.items():
        curve = [(round(100 * x / last, 2), round(from_top(y), 2)) for x, y in series[column]]
        line = " ".join(f"{x:g},{y:g}" for x, y in curve)
        dots = curve if len(curve) <= FEW else []
        curves.append({"column": column, "label": label, "points": line, "dots": dots})
    return {
        **{"title": chart.title, "note": chart.note, "epochs": last, "curves": curves},
        "x_ticks": [(100 * x / last, text) for x, text in linear_ticks(0, last, whole=True)],
        "y_ticks": [(from_top(y), text) for y, text in ticks],
    }


def linear_ticks(low: float, high: float, whole: bool = False) -> list[tuple[float, str]]:
    """Two to six round numbers in [low, high], as (value, text). whole: integers only."""
    from matplotlib.ticker import MaxNLocator  # late, because the import is slow

    locator = MaxNLocator(4, steps=[1, 2, 5, 10], integer=whole)
    values = locator.tick_values(low, high).tolist()  # some may be outside the range
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


@figures.default_style()
def save_curves(
    path: Path, history: History, title: str, loss_name: str, footnote: str = ""
) -> None:
    """Draw the charts, with dotted lines at the values at balance."""
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
