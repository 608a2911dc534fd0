"""The tables of the page: metrics with their meaning, published figures, restoration scores.

Every figure is optional, and one that is not known here is shown under its own name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.data.datasets import DatasetSpec
from lab.evaluation.catalogue import METRICS, Metric
from lab.evaluation.diagnosis import Figures
from lab.report.summary import shares_of
from lab.runs.run import Run
from lab.runs.schema import Evaluation, Score, Scores, Sheet

UNEVEN = 1.5  # the largest class has more images than so many times the smallest
# scores.json: key -> (label, format).
SCORES = {
    "psnr": ("PSNR, dB", ".1f"),
    "ssim": ("SSIM", ".3f"),
    "accuracy": ("accuracy", ".1%"),
    "psnr_of_one": ("one sample, dB", ".1f"),
    "psnr_of_best": ("the best of 8, dB", ".1f"),
    "within": ("truth within the spread of 8", ".0%"),
}


def results(
    evaluation: Evaluation, classic: Run | None, class_names: Sequence[str]
) -> dict[str, Any]:
    """The table of metrics, with real images and a classic run beside, and the class histogram."""
    figures, real = evaluation.figures, evaluation.real
    columns = (figures, real, classic.figures if classic else {})
    floors = [key for key in figures if key.endswith("_real")]  # in the column beside
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
    """The cells of a metric: of this run, of real images, of a classic run; "" if unknown."""
    metric = METRICS.get(key) or Metric(key.replace("_", " "), "", ".4g", "", None)
    cells = [metric.shown(figures[key]) if key in figures else "" for figures in columns]
    words = {"label": metric.label, "better": metric.better, "meaning": metric.meaning}
    return words | dict(zip(("value", "real", "classic"), cells, strict=True))


def _class_histogram(
    shares: Sequence[float], names: Sequence[str], own: Sequence[float]
) -> dict[str, Any]:
    """Bars of the classes, and where an equal share would end, in percent of the longest.

    own: the shares in the set. Where they are uneven, each stands beside its class instead.
    """
    if len(names) != len(shares):
        names = [str(label) for label in range(len(shares))]
    highest = max(shares, default=0.0)
    uneven = len(own) == len(shares) and max(own, default=0) > UNEVEN * min(own, default=0)
    beside = [f" of {share:.1%}" for share in own] if uneven else [""] * len(shares)
    is_even = bool(highest) and not uneven
    return {
        "classes": [
            {"name": name, "share": f"{share:.1%}{fair}", "width": round(100 * share / highest, 2)}
            for name, share, fair in zip(names, shares, beside, strict=True)
        ],
        "equal_share": f"{100 / len(shares):.3g}%" if shares and not uneven else "",
        "equal_width": round(100 / len(shares) / highest, 2) if is_even else 0,
    }


def published(spec: DatasetSpec | None, figures: Figures) -> list[tuple[str, str, bool]]:
    """Published figures of the set as (what, Inception FID, whether it is this run's).

    None for a run without an Inception FID: nothing else compares with them.
    """
    if spec is None or not spec.published_fid or "fid" not in figures:
        return []
    rows = [(what, value, False) for what, value in spec.published_fid]
    return [*rows, ("This run", f"{figures['fid']:.1f}", True)]


def scores(found: Scores) -> dict[str, Any] | None:
    """Restoration scores: {"head": ["PSNR, dB", ...], "rows": [(corruption, image, [cells])]}."""
    rows = []
    for sheet in in_order(found.sheets).values():
        images = f", {sheet.images} images" if sheet.images else ""
        rows += [(corruption_of(sheet) + images, *score) for score in sheet.scores.items()]
    head = list(dict.fromkeys(key for *_, score in rows for key in score))
    if not head:
        return None
    return {
        "head": [_known(key)[0] for key in head],
        "rows": [(done, name, [_cell(key, score) for key in head]) for done, name, score in rows],
    }


def corruption_of(sheet: Sheet) -> str:
    """A sheet's corruption as it is typed, `gaussian:0.3`; "" if it had none."""
    if sheet.corruption or not isinstance(sheet.sigma, int | float):
        return sheet.corruption
    # Records of the lab's first version have a noise level only.
    return f"gaussian{'-clipped' if sheet.clipped else ''}:{sheet.sigma:g}"


def in_order(sheets: Mapping[str, Sheet]) -> dict[str, Sheet]:
    """Sheets by name: those of a corruption together, by severity; those without one last."""

    def place(item: tuple[str, Sheet]) -> tuple[bool, str, float, str]:
        name, sheet = item
        kind = corruption_of(sheet).partition(":")[0]
        level = sheet.sigma if isinstance(sheet.sigma, int | float) else 0.0
        return not kind, kind, level, name

    return dict(sorted(sheets.items(), key=place))


def _cell(key: str, score: Score) -> str:
    value = score.get(key, "")
    if value is None:  # a PSNR of equal images
        return "∞"
    return value if isinstance(value, str) else format(value, _known(key)[1])


def _known(key: str) -> tuple[str, str]:
    return SCORES.get(key, (key.replace("_", " "), ".4g"))
