"""The tables of the page: metrics with their meaning, published anchors, restoration scores.

Every figure is optional, and one that is not known here is shown under its own name.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lab.data.datasets import SetFacts
from lab.files import as_dict
from lab.report.summary import number, shares_of


class Metric(NamedTuple):
    """A figure of evaluation.json, for people."""

    name: str
    better: str  # which way: "lower", "higher", or "" where there is none
    form: str  # how screen and page show it
    meaning: str


METRICS = {
    "fcd_test": Metric(
        "FCD, test images",
        "lower",
        ".2f",
        "Fréchet distance between 10,000 generated and the test images, seen through the lab’s "
        "own small classifier. Not an Inception FID.",
    ),
    "fcd_real": Metric(
        "FCD of real images",
        "",
        ".2f",
        "What training images score against the test images: the floor of the line above.",
    ),
    "fcd_train": Metric(
        "FCD, training images",
        "lower",
        ".2f",
        "The same against 10,000 training images: what recipes are chosen by.",
    ),
    "fid": Metric(
        "Inception FID",
        "lower",
        ".2f",
        "Fréchet Inception distance by the protocol of Lucic et al. 2018; comparable with "
        "published tables.",
    ),
    "kernel_distance": Metric(
        "Kernel distance",
        "lower",
        ".4f",
        "The same question asked with a polynomial kernel, without assuming a bell curve.",
    ),
    "precision": Metric(
        "Precision",
        "higher",
        ".3f",
        "Share of generated images that lie among the real ones, as the classifier sees them; far "
        "from real images it means little.",
    ),
    "recall": Metric(
        "Recall", "higher", ".3f", "Share of real images that the generator comes close to."
    ),
    "density": Metric(
        "Density",
        "higher",
        ".3f",
        "Precision that counts how many real images are near; 1 for real images.",
    ),
    "coverage": Metric(
        "Coverage",
        "higher",
        ".3f",
        "Share of real images with a generated one nearby; misses show dropped modes.",
    ),
    "confidence": Metric(
        "Confidence",
        "higher",
        ".3f",
        "How sure the classifier is of the class it sees, on average.",
    ),
    "class_kl": Metric(
        "Class imbalance",
        "lower",
        ".4f",
        "Kullback–Leibler divergence of the class histogram from uniform, in nats; 0 is even.",
    ),
    "smallest_class": Metric(
        "Rarest class", "higher", ".1%", "Its share of the samples; 10% is fair."
    ),
    "thin_classes": Metric(
        "Thin classes", "lower", ".0f", "How many classes have less than 3% of the samples."
    ),
    "near_copies": Metric(
        "Near-copies", "lower", ".1%", "Share of samples that are training images again."
    ),
}
# scores.json: key -> (name, format).
SCORES = {"psnr": ("PSNR, dB", ".1f"), "ssim": ("SSIM", ".3f")}
# Published Inception FIDs: what, MNIST, Fashion-MNIST (10,000 test against 10,000 generated).
PUBLISHED = (
    ("NS GAN, convolutional, wide search (Lucic et al. 2018)", "6.8 ± 0.5", "26.5 ± 1.6"),
    ("WGAN, convolutional, wide search (Lucic et al. 2018)", "6.7 ± 0.4", "21.5 ± 1.6"),
    ("PA-NS-GAN, convolutional (Zhang and Khoreva 2019)", "6.6 ± 0.8", "15.8 ± 1.1"),
    ("HypGAN, fully connected, 400 epochs (Lazcano et al. 2021)", "7.87", ""),
)


def results(
    evaluation: dict[str, Any], classic: dict[str, Any], known: SetFacts | None
) -> dict[str, Any]:
    """The table of metrics, the class histogram, and what they stand beside: real, classic."""
    theirs, real = as_dict(classic.get("evaluation")), as_dict(evaluation.get("real"))
    rows = []
    for key, value in evaluation.items():
        if number(value) is None or key == "images" or (key == "fcd_real" and real):
            continue
        metric = METRICS.get(key, Metric(key.replace("_", " "), "", ".4g", ""))
        rows.append(
            {
                "name": metric.name,
                "better": metric.better,
                "meaning": metric.meaning,
                "value": format(value, metric.form),
                "real": _beside(real, key, metric),
                "classic": _beside(theirs, key, metric),
                "order": list(METRICS).index(key) if key in METRICS else len(METRICS),
            }
        )
    rows.sort(key=lambda row: row["order"])
    shares = shares_of(evaluation.get("class_histogram"))
    names = known.class_names if known else ()
    if len(names) != len(shares):
        names = tuple(map(str, range(len(shares))))
    highest = max(shares, default=0.0)
    return {
        "rows": rows,
        "real": bool(real),
        "classic": classic.get("name"),
        "classes": [
            {"name": name, "share": f"{share:.1%}", "width": round(100 * share / highest, 2)}
            for name, share in zip(names, shares, strict=True)
        ],
        "even": round(100 / len(shares) / highest, 2) if highest else 0,
    }


def _beside(figures: dict[str, Any], key: str, metric: Metric) -> str:
    """The same figure of other images; "" if it is unknown."""
    value = number(figures.get(key))
    return "" if value is None else format(value, metric.form)


def anchors(dataset: str, evaluation: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Published figures as (what, Inception FID, whether it is this run's), for the run's set.

    None for a run without an Inception FID: nothing else compares with them.
    """
    own = number(evaluation.get("fid"))
    if dataset not in ("mnist", "fashion") or own is None:
        return []
    column = 1 if dataset == "mnist" else 2
    rows = [(row[0], row[column], False) for row in PUBLISHED if row[column]]
    return [*rows, ("This run", f"{own:.1f}", True)]


def scores(content: dict[str, Any]) -> dict[str, Any] | None:
    """denoising_results/scores.json as a table, a row an image kind and noise level.

    {"head": ["psnr", ...], "rows": [(noise, image, [cells])]}; None if it holds none. Of the noise
    it is said how strong it is, whether it was clipped, and on how many images.
    """
    found = [
        (number(sheet.get("sigma")) or 0.0, _conditions(sheet), name, score)
        for sheet in map(as_dict, as_dict(content.get("sheets")).values())
        for name, score in as_dict(sheet.get("scores")).items()
        if isinstance(score, dict)
    ]
    head = list(dict.fromkeys(str(key) for *_, score in found for key in score))
    if not head:
        return None
    return {
        "head": [SCORES[key][0] if key in SCORES else key.replace("_", " ") for key in head],
        "rows": [
            (
                f"{sigma:g}{conditions}",
                name,
                [_cell(key, score.get(key, "")) for key in head],
            )
            for sigma, conditions, name, score in sorted(found, key=lambda row: row[:2])
        ],
    }


def _conditions(sheet: dict[str, Any]) -> str:
    """`, clipped, 16 images`, as far as the sheet says it."""
    images = number(sheet.get("images"))
    clipped = ", clipped" if sheet.get("clipped") else ""
    return clipped + (f", {images:.0f} images" if images else "")


def _cell(key: str, value: Any) -> str:
    if value is None:  # a PSNR of equal images
        return "∞"
    _, form = SCORES.get(key, ("", ".4g"))
    return str(value) if number(value) is None else format(value, form)
