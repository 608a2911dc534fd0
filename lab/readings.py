"""Figures in plain words: what a run's numbers say, for the page and the table of runs.

Every figure is optional; what is not there is not spoken of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lab import advice, models
from lab.data import SetFacts

History = Sequence[dict[str, float]]  # the rows of history.csv

# evaluation.json: key -> (name, which way is better, what it means).
METRICS: dict[str, tuple[str, str, str]] = {
    "fcd_test": (
        "FCD, test images",
        "lower",
        "Fréchet distance between 10,000 generated and the test images, seen through the lab’s "
        "own small classifier. Not an Inception FID.",
    ),
    "fcd_real": (
        "FCD of real images",
        "",
        "What training images score against the test images: the floor of the line above.",
    ),
    "fcd_train": (
        "FCD, training images",
        "lower",
        "The same against 10,000 training images: what recipes are chosen by.",
    ),
    "fid": (
        "Inception FID",
        "lower",
        "Fréchet Inception distance by the protocol of Lucic et al. 2018; comparable with "
        "published tables.",
    ),
    "kernel_distance": (
        "Kernel distance",
        "lower",
        "The same question asked with a polynomial kernel, without assuming a bell curve.",
    ),
    "precision": ("Precision", "higher", "Share of generated images that look like real ones."),
    "recall": ("Recall", "higher", "Share of real images that the generator comes close to."),
    "density": (
        "Density",
        "higher",
        "Precision that counts how many real images are near; 1 for real images.",
    ),
    "coverage": (
        "Coverage",
        "higher",
        "Share of real images with a generated one nearby; misses show dropped modes.",
    ),
    "confidence": (
        "Confidence",
        "higher",
        "How sure the classifier is of the class it sees, on average.",
    ),
    "class_kl": (
        "Class imbalance",
        "lower",
        "Kullback–Leibler divergence of the class histogram from uniform; 0 is even.",
    ),
    "smallest_class": ("Rarest class", "higher", "Its share of the samples; 0.1 is fair."),
    "thin_classes": (
        "Thin classes",
        "lower",
        "How many classes have less than 3% of the samples.",
    ),
    "near_copies": ("Near-copies", "lower", "Share of samples that are training images again."),
}
# What a `~` before an FCD says in a table of runs.
QUICK_NOTE = "measured during training on 5,000 images, which makes it a little higher"
# scores.json: key -> (name, format).
SCORES = {"psnr": ("PSNR, dB", ".1f"), "ssim": ("SSIM", ".3f"), "accuracy": ("Accuracy", ".1%")}
# Published Inception FIDs: what, MNIST, Fashion-MNIST (10,000 test against 10,000 generated).
PUBLISHED = (
    ("NS GAN, convolutional, wide search (Lucic et al. 2018)", "6.8 ± 0.5", "26.5 ± 1.6"),
    ("WGAN, convolutional, wide search (Lucic et al. 2018)", "6.7 ± 0.4", "21.5 ± 1.6"),
    ("PA-NS-GAN, longer training", "6.6 ± 0.8", "15.8 ± 1.1"),
    ("HypGAN, fully connected, 400 epochs", "7.87", ""),
    ("Conditional GAN, fully connected, 200 epochs", "27.7", ""),
)


def fcd(evaluation: dict[str, Any], history: History) -> str:
    """The run's FCD to training images, which runs are compared by; "" if unknown.

    With a `~` where only 5,000 images were measured, during training.
    """
    value = _number(evaluation.get("fcd_train"))
    if value is not None:
        return f"{value:.1f}"
    quick = next((row["fcd_train_5k"] for row in reversed(history) if "fcd_train_5k" in row), None)
    return "" if quick is None else f"~{quick:.1f}"


def of_epoch(epoch: int, history: History, epochs: int) -> str:
    """What is seen at the grid of `epoch`, in a sentence or two. epochs: how many are planned."""
    if epoch == 0:
        return (
            "Before training: random weights turn noise into noise. From here on the same "
            "25 latents are shown each time."
        )
    rows = [row for row in history if row["epoch"] <= epoch]
    if not rows or rows[-1]["epoch"] != epoch:
        return ""
    row, sentences = rows[-1], []
    if "d_real" in row and "d_fake" in row:
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
    if all(name in row for row in rows for name in ("d_loss", "g_loss", "d_real", "d_fake")):
        sentences += advice.during(rows, epochs)
    return " ".join(sentences)


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


def verdict(config: dict[str, Any], history: History, evaluation: dict[str, Any]) -> str:
    """One sentence about the whole run."""
    if not history:
        return "No epoch has been completed yet."
    options = config.get("options") if isinstance(config.get("options"), dict) else {}
    last = history[-1]
    if config.get("status") != "finished":
        return f"Under way: {last['epoch']:.0f} of {options.get('epochs', '?')} epochs so far."
    precision, recall = _number(evaluation.get("precision")), _number(evaluation.get("recall"))
    if precision is not None and recall is not None:
        return (
            f"{_classes(evaluation)}To the classifier {precision:.0%} of the images look real, and "
            f"{recall:.0%} of real images have their like among them."
        )
    if "d_real" in last and "d_fake" in last:
        return (
            f"After {last['epoch']:.0f} epochs the discriminator gives real images "
            f"{last['d_real']:.2f} and generated ones {last['d_fake']:.2f}: "
            f"{_opinion(last['d_real'] - last['d_fake'])}."
        )
    return f"{last['epoch']:.0f} epochs of training."


def _classes(evaluation: dict[str, Any]) -> str:
    """Whether all classes are there, where the evaluation says it."""
    thin, count = evaluation.get("thin_classes"), len(_shares(evaluation.get("class_histogram")))
    if not isinstance(thin, int) or not count:
        return ""
    if not thin:
        return f"All {count} classes are there. "
    return f"{thin} of {count} classes {'is' if thin == 1 else 'are'} missing or rare. "


def key_figures(
    options: dict[str, Any],
    history: History,
    evaluation: dict[str, Any],
    generator: Any,
) -> list[tuple[str, str]]:
    """A handful of (figure, unit) for the head of the page."""
    figures = []
    for value, unit in (
        (_number(evaluation.get("fcd_test")), "FCD, test images"),
        (_number(evaluation.get("fcd_real")), "FCD of real images"),
    ):
        if value is not None:
            figures.append((f"{value:.1f}", unit))
    if _number(evaluation.get("fid")) is not None:
        figures.append((f"{evaluation['fid']:.1f}", "Inception FID"))
    figures.append((f"{len(history)}", f"of {options.get('epochs', '?')} epochs"))
    seconds = sum(row.get("seconds", 0.0) for row in history)
    if seconds:
        figures.append((duration(seconds), "of training"))
        speed = sum(row.get("images_per_second", 0.0) for row in history) / len(history)
        figures.append((f"{speed:,.0f}", "images a second"))
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


def results(
    evaluation: dict[str, Any], classic: dict[str, Any], known: SetFacts | None
) -> dict[str, Any]:
    """The table of metrics, the class histogram, and the classic run they stand beside."""
    theirs = classic.get("evaluation", {})
    rows = []
    for key, value in evaluation.items():
        if _number(value) is None or key == "images":
            continue
        name, better, meaning = METRICS.get(key, (key.replace("_", " "), "", ""))
        other = _number(theirs.get(key))
        rows.append(
            {
                "name": name,
                "better": better,
                "meaning": meaning,
                "value": figure(value),
                "classic": "" if other is None else figure(theirs[key]),
                "order": list(METRICS).index(key) if key in METRICS else len(METRICS),
            }
        )
    rows.sort(key=lambda row: row["order"])
    shares = _shares(evaluation.get("class_histogram"))
    names = known.class_names if known else ()
    if len(names) != len(shares):
        names = tuple(map(str, range(len(shares))))
    highest = max(shares, default=0.0)
    return {
        "rows": rows,
        "classic": classic.get("name"),
        "classes": [
            {"name": name, "share": f"{share:.1%}", "width": round(100 * share / highest, 2)}
            for name, share in zip(names, shares, strict=True)
        ],
        "even": round(100 / len(shares) / highest, 2) if highest else 0,
    }


def sentences(evaluation: dict[str, Any]) -> list[str]:
    """What the evaluation itself says in plain words."""
    words = evaluation.get("words")
    words = [words] if isinstance(words, str) else words
    return [str(line) for line in words] if isinstance(words, list) else []


def anchors(dataset: str, evaluation: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Published figures as (what, Inception FID, whether it is this run's), for the run's set."""
    if dataset not in ("mnist", "fashion"):
        return []
    column = 1 if dataset == "mnist" else 2
    rows = [(row[0], row[column], False) for row in PUBLISHED if row[column]]
    own = _number(evaluation.get("fid"))
    return rows if own is None else [*rows, ("This run", f"{own:.1f}", True)]


def scores(content: dict[str, Any]) -> dict[str, Any] | None:
    """denoising_results/scores.json as a table, a row an image kind and noise level.

    {"head": ["psnr", ...], "rows": [(sigma, image, [cells])]}; None if it holds none.
    """
    results = content.get("results")
    found = [
        (result.get("sigma"), name, score)
        for result in (results if isinstance(results, list) else [])
        if isinstance(result, dict) and isinstance(result.get("scores"), dict)
        for name, score in result["scores"].items()
        if isinstance(score, dict)
    ]
    head = list(dict.fromkeys(str(key) for _, _, score in found for key in score))
    if not head:
        return None
    return {
        "head": [SCORES[key][0] if key in SCORES else key.replace("_", " ") for key in head],
        "rows": [
            (f"{_number(sigma) or 0:g}", name, [_cell(key, score.get(key, "")) for key in head])
            for sigma, name, score in found
        ],
    }


def _cell(key: str, value: Any) -> str:
    if _number(value) is None:
        return str(value)
    return format(value, SCORES[key][1]) if key in SCORES else figure(value)


def figure(value: int | float) -> str:
    """A number with the digits that matter: `1,234`, `45.2`, `0.812`, `0.0031`."""
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 10:
        return f"{value:,.1f}"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _shares(histogram: Any) -> list[float]:
    """A class histogram, counts or shares, as shares that add up to 1."""
    if isinstance(histogram, dict):
        histogram = list(histogram.values())
    if not isinstance(histogram, list):
        return []
    counts = [_number(count) for count in histogram]
    total = sum(count for count in counts if count is not None)
    if None in counts or total <= 0:
        return []
    return [count / total for count in counts]
