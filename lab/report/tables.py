"""The tables of the page: metrics, published scores, restoration scores.

Every value is optional, and unknown ones are shown with the keys that they have in their file.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lab.data.datasets import DatasetSpec
from lab.evaluation.catalogue import METRICS, Metric
from lab.evaluation.diagnosis import Figures
from lab.report.summary import shares_of
from lab.runs.run import Run
from lab.runs.schema import Evaluation, Score, Scores, Sheet
from lab.text import counted

UNEVEN = 1.5  # largest over smallest class of a data set that does not count as balanced
SCORES = {  # key in scores.json -> (label, format)
    "psnr": ("PSNR, dB", ".1f"),
    "ssim": ("SSIM", ".3f"),
    "accuracy": ("accuracy", ".1%"),
    "psnr_of_one": ("one sample, dB", ".1f"),
    "psnr_of_best": ("the best of 8, dB", ".1f"),
    "within": ("truth within the spread of 8", ".0%"),
}


def metrics_table(
    evaluation: Evaluation, classic: Run | None, class_names: Sequence[str]
) -> dict[str, Any]:
    """The table of metrics of the run, of real images and of a classic run; the class histogram."""
    figures, real = evaluation.figures, evaluation.real
    columns = (figures, real, classic.figures if classic else {})
    floors = [key for key in figures if key.endswith("_real")]  # have a column of their own
    left_out = {"images", *(floors if real else ())}
    keys = dict.fromkeys([*(key for key in METRICS if key in figures), *figures])
    return {
        "rows": [_metric_row(key, columns) for key in keys if key not in left_out],
        "real": bool(real),
        "classic": classic.name if classic else None,
        "judges": list(evaluation.judges.values()),
        **_class_histogram(
            *(shares_of(evaluation.class_histogram), class_names),
            shares_of(evaluation.own_shares),
        ),
    }


def _metric_row(key: str, columns: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """The cells of a metric: this run, real images, a classic run; "" if unknown."""
    metric = METRICS.get(key) or Metric(key.replace("_", " "), "", ".4g", "", None)
    cells = [metric.shown(figures[key]) if key in figures else "" for figures in columns]
    words = {"label": metric.label, "better": metric.better, "meaning": metric.meaning}
    return words | dict(zip(("value", "real", "classic"), cells, strict=True))


def _class_histogram(
    shares: Sequence[float], names: Sequence[str], own: Sequence[float]
) -> dict[str, Any]:
    """The widths of the bars and of an equal share, in percent of the longest bar.

    own: the shares in the data set. If it is not balanced, these are shown with the classes instead
    of an equal share.
    """
    if len(names) != len(shares):
        names = [str(label) for label in range(len(shares))]
    highest = max(shares, default=0.0)
    uneven = len(own) == len(shares) and max(own, default=0) > UNEVEN * min(own, default=0)
    own_text = [f" of {share:.1%}" for share in own] if uneven else [""] * len(shares)
    is_even = bool(highest) and not uneven
    return {
        "classes": [
            {"name": name, "share": f"{share:.1%}{text}", "width": round(100 * share / highest, 2)}
            for name, share, text in zip(names, shares, own_text, strict=True)
        ],
        "equal_share": f"{100 / len(shares):.3g}%" if shares and not uneven else "",
        "equal_width": round(100 / len(shares) / highest, 2) if is_even else 0,
    }


def published(spec: DatasetSpec | None, figures: Figures) -> list[tuple[str, str, bool]]:
    """(method, Inception FID, whether it is this run); [] for a run without an Inception FID."""
    if spec is None or not spec.published_fid or "fid" not in figures:
        return []
    rows = [(what, value, False) for what, value in spec.published_fid]
    return [*rows, ("This run", f"{figures['fid']:.1f}", True)]


def scores_table(scores: Scores) -> dict[str, Any] | None:
    """Restoration scores: {"head": ["PSNR, dB", ...], "rows": [(corruption, image, [cells])]}."""
    rows = []
    for sheet in sorted_sheets(scores.sheets).values():
        images = f", {counted(sheet.images, 'image')}" if sheet.images else ""
        rows += [(corruption_of(sheet) + images, *score) for score in sheet.scores.items()]
    head = list(dict.fromkeys(key for *_, score in rows for key in score))
    if not head:
        return None
    return {
        "head": [_label_and_format(key)[0] for key in head],
        "rows": [(what, name, [_cell(key, score) for key in head]) for what, name, score in rows],
    }


def corruption_of(sheet: Sheet) -> str:
    """A sheet's corruption as in --corruption, `gaussian:0.3`; "" if it has none."""
    if sheet.corruption or not isinstance(sheet.sigma, int | float):
        return sheet.corruption
    return f"gaussian{'-clipped' if sheet.clipped else ''}:{sheet.sigma:g}"  # of old versions


def sorted_sheets(sheets: Mapping[str, Sheet]) -> dict[str, Sheet]:
    """The sheets sorted by corruption and severity; those without a corruption last."""

    def key(item: tuple[str, Sheet]) -> tuple[bool, str, list[str | float], str]:
        name, sheet = item
        kind, _, level = corruption_of(sheet).partition(":")
        parts = re.split(r"(\d+(?:\.\d+)?)", level)  # every second one is a number
        return not kind, kind, [float(p) if i % 2 else p for i, p in enumerate(parts)], name

    return dict(sorted(sheets.items(), key=key))


def _cell(key: str, score: Score) -> str:
    value = score.get(key, "")
    if value is None:  # the PSNR of equal images
        return "∞"
    return value if isinstance(value, str) else format(value, _label_and_format(key)[1])


def _label_and_format(key: str) -> tuple[str, str]:
    return SCORES.get(key, (key.replace("_", " "), ".4g"))
