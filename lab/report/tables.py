"""The tables of the page: metrics with their meaning, published figures, restoration scores.

Every figure is optional, and one that is not known here is shown under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.data.datasets import DatasetSpec
from lab.evaluation.catalogue import METRICS
from lab.report.summary import shares_of
from lab.runs.run import Run
from lab.runs.schema import Evaluation, Score, Scores, Sheet

# scores.json: key -> (label, format).
SCORES = {"psnr": ("PSNR, dB", ".1f"), "ssim": ("SSIM", ".3f")}
NOT_METRICS = ("images",)  # among the figures: how many images they are of


def results(
    evaluation: Evaluation, classic: Run | None, class_names: Sequence[str]
) -> dict[str, Any]:
    """The table of metrics, with real images and a classic run beside, and the class histogram.

    classic: a run that was compared with the same images, if there is one.
    """
    theirs = classic.evaluation.figures if classic else {}
    real = evaluation.real
    left_out = (*NOT_METRICS, *(["fcd_real"] if real else []))  # it is in the column beside, then
    known = [key for key in METRICS if key in evaluation.figures]
    others = [key for key in evaluation.figures if key not in METRICS]
    return {
        "rows": [
            _metric_row(key, (evaluation.figures, real, theirs))
            for key in (*known, *others)
            if key not in left_out
        ],
        "real": bool(real),
        "classic": classic.name if classic else None,
        **_class_histogram(shares_of(evaluation.class_histogram), class_names),
    }


def _metric_row(key: str, columns: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """The cells of a metric: of this run, of real images, of a classic run; "" if unknown."""
    metric = METRICS.get(key)
    form = metric.format if metric else ".4g"
    cells = [format(figures[key], form) if key in figures else "" for figures in columns]
    return {
        "label": metric.label if metric else key.replace("_", " "),
        "better": metric.better if metric else "",
        "meaning": metric.meaning if metric else "",
        **dict(zip(("value", "real", "classic"), cells, strict=True)),
    }


def _class_histogram(shares: Sequence[float], names: Sequence[str]) -> dict[str, Any]:
    """Bars of the classes, and where an equal share would end, in percent of the longest."""
    if len(names) != len(shares):
        names = [str(label) for label in range(len(shares))]
    highest = max(shares, default=0.0)
    return {
        "classes": [
            {"name": name, "share": f"{share:.1%}", "width": round(100 * share / highest, 2)}
            for name, share in zip(names, shares, strict=True)
        ],
        "equal_share": f"{100 / len(shares):.3g}%" if shares else "",
        "equal_width": round(100 / len(shares) / highest, 2) if highest else 0,
    }


def published(
    spec: DatasetSpec | None, figures: Mapping[str, float]
) -> list[tuple[str, str, bool]]:
    """Published figures as (what, Inception FID, whether it is this run's), for the run's set.

    None for a run without an Inception FID: nothing else compares with them.
    """
    if spec is None or not spec.published_fid or "fid" not in figures:
        return []
    rows = [(what, value, False) for what, value in spec.published_fid]
    return [*rows, ("This run", f"{figures['fid']:.1f}", True)]


def scores(found: Scores) -> dict[str, Any] | None:
    """Restoration scores as a table, a row a corruption and kind of image; None if there are none.

    {"head": ["PSNR, dB", ...], "rows": [(corruption, image, [cells])]}.
    """
    rows = [
        (_conditions(sheet), name, score)
        for sheet in in_order(found.sheets).values()
        for name, score in sheet.scores.items()
    ]
    head = list(dict.fromkeys(key for *_, score in rows for key in score))
    if not head:
        return None
    return {
        "head": [SCORES[key][0] if key in SCORES else key.replace("_", " ") for key in head],
        "rows": [
            (conditions, name, [_cell(key, score) for key in head])
            for conditions, name, score in rows
        ],
    }


def corruption_of(sheet: Sheet) -> str:
    """A sheet's corruption as it is typed, `gaussian:0.3`; "" if it had none.

    Records of the lab's first version have a noise level only.
    """
    if sheet.corruption or not isinstance(sheet.sigma, int | float):
        return sheet.corruption
    return f"gaussian{'-clipped' if sheet.clipped else ''}:{sheet.sigma:g}"


def in_order(sheets: Mapping[str, Sheet]) -> dict[str, Sheet]:
    """Sheets by name: those of a corruption together, by severity; those without one last."""

    def place(item: tuple[str, Sheet]) -> tuple[bool, str, float, str]:
        name, sheet = item
        kind = corruption_of(sheet).partition(":")[0]
        level = sheet.sigma if isinstance(sheet.sigma, int | float) else 0.0
        return not kind, kind, level, name

    return dict(sorted(sheets.items(), key=place))


def _conditions(sheet: Sheet) -> str:
    """`gaussian:0.3, 16 images`, as far as the sheet says it."""
    images = f", {sheet.images} images" if sheet.images else ""
    return f"{corruption_of(sheet)}{images}"


def _cell(key: str, score: Score) -> str:
    value = score.get(key, "")
    if value is None:  # a PSNR of equal images
        return "∞"
    form = SCORES[key][1] if key in SCORES else ".4g"
    return value if isinstance(value, str) else format(value, form)
