"""Restoration on both sets: every corruption at its severities, every restorer, classical methods.

    pip install -r benchmarks/requirements.txt
    python benchmarks/restoration.py --data-dir FOLDER
    python benchmarks/restoration.py --count 20 --slow-count 10 --projected 4 --report FOLDER

It is what `denoise_images.py --pretrained NAME --corruption all` does, on more images; the second
line only shows that it works. Classical methods have their best strength, found on training images.
What is scored is kept in restoration.json, so that a benchmark that was stopped goes on where it
was.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from pages import SETS

from lab.data import DATASETS, Dataset, load
from lab.data.pixels import to_unit
from lab.device import describe_machine, full_precision, set_up_torch
from lab.errors import run_script
from lab.files import read_json, write_json, write_text
from lab.models.shipped import load_shipped
from lab.options import option, parse
from lab.restoration import classical
from lab.restoration.corruption import Corruption, filled, quantised
from lab.restoration.corruptions import examples
from lab.restoration.corruptions import parse as parse_corruption
from lab.restoration.own_pictures import estimate
from lab.restoration.restorers import SAMPLES, Context, applicable
from lab.restoration.scoring import CleanImages, scores

SLOW = ("nlm", "bm3d", "biharmonic", "tv")
LEVELS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
# The denoiser of 75439fa, which knew Gaussian noise alone, on the first 1,000 test images.
BEFORE = {
    "mnist": (30.57, 26.26, 23.92, 21.03, 19.07, 16.91),
    "fashion": (27.61, 23.87, 22.00, 19.92, 18.65, 17.28),
}
RESTORED = ("denoiser", "consistent", "sampler")  # for all images; projection has a few
# Published figures, each with its protocol, and the row here that has the like of it.
PUBLISHED = (
    ("gaussian:0.4", "Noise2Self, unclipped, MNIST, no clean data", "17.7 dB"),
    ("downsample:4", "MNIST, a student report: TV", "14.65 dB, SSIM .667"),
    ("downsample:4", "the same: DPS, a diffusion model", "14.28 dB, SSIM .724"),
    ("downsample:4", "the same: SMC, a diffusion model", "13.68 dB, SSIM .746"),
)


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with the sets' IDX files", folder=True)
    report: Path = option(Path(__file__).parent, "folder for RESTORATION.md and restoration.json")
    count: int = option(1_000, "test images for fast methods", low=2, high=10_000)
    slow_count: int = option(200, "test images for slow methods", low=2, high=10_000)
    projected: int = option(20, "test images that are projected", low=2, high=10_000)
    dataset: str | None = option(None, "only this set", choices=SETS)
    seed: int = option(0, "decides the noise", low=0, high=2**63 - 1)


def score_set(options: Options, dataset: Dataset, scored: dict[str, Any]) -> None:
    """Add what is not in `scored` yet, by corruption and method; it is written after each."""
    spec = dataset.spec
    loaded = [load_shipped(role, spec) for role in ("generator", "denoiser", "sampler")]
    networks = (weights.network for weights in loaded)
    context = Context(*networks, seed=options.seed, class_names=spec.class_names)
    clean = CleanImages.of(dataset, options.count, torch.device("cpu"))
    tuning = to_unit(dataset.train_images[: classical.TUNING_COUNT])
    counts = dict.fromkeys(SLOW, options.slow_count) | {"projection": options.projected}
    of_set = scored.setdefault(dataset.name, {"corruptions": {}})
    of_set["accuracy"] = clean.scores(clean.clean)["accuracy"]
    of_set["estimates"] = score_estimates(context.denoiser, clean.clean, options.seed)
    table = of_set["corruptions"]
    gaussian = [f"gaussian:{level:g}" for level in (*LEVELS, 0.4)]
    every = {str(each): each for each in [*map(parse_corruption, gaussian), *examples()]}
    for typed, corruption in every.items():
        corrupted, row = corruption.apply(clean.clean, options.seed), table.setdefault(typed, {})
        for name, restore in methods(context, corruption, tuning).items():
            if name in row:
                continue
            count = min(counts.get(name, options.count), len(corrupted))
            these = CleanImages(clean.clean[:count], clean.labels[:count], clean.classifier)
            began = time.process_time()
            made = restore(corrupted[:count])
            seconds = time.process_time() - began
            row[name] = these.scores_of_samples(made) if made.ndim == 5 else these.scores(made)
            row[name] |= {"images": count, "images_per_second": round(count / seconds, 1)}
            few = (made.mean(1) if made.ndim == 5 else made)[: options.slow_count]
            row[name]["psnr_of_slow_count"] = scores(few, clean.clean[: len(few)])["psnr"]
            write_json(options.report / "restoration.json", scored)
            print(
                f"{dataset.title:<14}{typed:<24}{name:<16}{row[name]['psnr']:7.2f} dB", flush=True
            )


def score_estimates(denoiser: nn.Module, clean: Tensor, seed: int) -> dict[str, list[float]]:
    """How often the kind of corruption of a picture in a file is found, and its level within 20 %.

    The share of pictures with the right kind, and of these the share with the right level.
    """
    found = {"none": [_share(each is None for each in _estimates(denoiser, clean))]}
    for corruption in examples():
        if corruption.is_estimated:
            guesses = _estimates(denoiser, corruption.apply(clean, seed))
            right = [each for each in guesses if type(each) is type(corruption)]
            near = (abs(each.severity / corruption.severity - 1) < 0.2 for each in right)
            found[str(corruption)] = [round(len(right) / len(clean), 4), _share(near)]
    return found


def _estimates(denoiser: nn.Module, images: Tensor) -> list[Corruption | None]:
    """The estimated corruption of each picture, as it would be read from a file."""
    return estimate(denoiser, quantised(images), [1] * len(images))


def _share(values: Iterable[bool]) -> float:
    values = list(values)
    return round(sum(values) / max(len(values), 1), 4)


def methods(context: Context, corruption: Corruption, tuning: Tensor) -> dict[str, Any]:
    """Every method that can: corrupted images -> restored, or samples (N, count, C, H, W)."""
    found: dict[str, Any] = {"corrupted": filled}
    for name, row in classical.applicable(corruption).items():
        found[name] = lambda images, row=row: classical.restore(row, images, corruption, tuning)
    for name, row in applicable(context, corruption).items():
        if row.sample:
            found[name] = lambda images, row=row: row.sample(context, images, corruption, SAMPLES)
        elif name != "regeneration":  # unrelated to the image
            found[name] = lambda images, row=row: row.restore(context, images, corruption)
    return found


def report_lines(scored: dict[str, Any]) -> list[str]:
    """RESTORATION.md."""
    machine = describe_machine(torch.device("cpu"))
    lines = [
        "# Restoration of MNIST and Fashion-MNIST",
        "",
        "    python benchmarks/restoration.py --data-dir FOLDER",
        "",
        f"{machine['processor']}, torch {machine['torch']}; seed 0 determines the noise.",
        "The networks are the pretrained ones (`lab/models/weights/`): projection is onto the",
        'generator, the denoiser estimates the corruption by itself, "known operator" makes its',
        "result consistent with the known blur, and the sampler draws 8 samples. No method was",
        "trained or tuned on test images; a classical one has the strength that is best on 16",
        "training images. PSNR, in dB, is computed for each image with pixels from 0 to 1, then",
        "averaged. Accuracy is that of the lab's classifier. `restoration.json` has SSIM, images/s",
        "and the scores of each classical method.",
    ]
    for name, table in scored.items():
        title, rows = DATASETS[name].title, table["corruptions"]
        lines += ["", *_psnr_lines(title, rows)]
        lines += ["", *_accuracy_lines(title, rows, table["accuracy"])]
        lines += ["", *_sample_lines(title, rows)]
        lines += ["", *_estimate_lines(title, table["estimates"])]
    lines += ["", *_gaussian_lines(scored), "", "## Published figures", ""]
    lines += ["| here | what | figure |", "| --- | --- | --- |"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in PUBLISHED)]


def _psnr_lines(title: str, rows: dict[str, Any]) -> list[str]:
    """Every corruption: what the networks restore, and the best of the classical methods."""
    slow = {score["images"] for row in rows.values() for name, score in row.items() if name in SLOW}
    projected = max(row["projection"]["images"] for row in rows.values() if "projection" in row)
    lines = [
        f"## {title}: PSNR",
        "",
        f"Of the first {max(slow)} test images, for projection of the first {projected}. The lead "
        "is the difference",
        "between the best of denoiser, known operator, mean of 8 and the best classical method.",
        "",
        "| corruption | corrupted | best classical | projection | denoiser | known operator "
        "| mean of 8 | lead |",
        f"| --- |{' ---: |' * 7}",
    ]
    for typed, row in rows.items():
        psnr = {name: score["psnr_of_slow_count"] for name, score in row.items()}
        classic = max((name for name in psnr if name in classical.CLASSICAL), key=psnr.get)
        lead = max(psnr[name] for name in RESTORED if name in psnr) - psnr[classic]
        cells = {name: f"{value:.2f}" for name, value in psnr.items()}
        cells[""] = f"{cells[classic]} {classical.CLASSICAL[classic].label}"
        shown = [cells.get(name, "") for name in ("corrupted", "", "projection", *RESTORED)]
        lines.append(f"| {' | '.join((typed, *shown, f'{lead:+.2f}'))} |")
    return lines


def _accuracy_lines(title: str, rows: dict[str, Any], clean: float) -> list[str]:
    """The classifier's accuracy, and how much of what a corruption takes is regained."""
    count = max(row["denoiser"]["images"] for row in rows.values() if "denoiser" in row)
    projected = max(row["projection"]["images"] for row in rows.values() if "projection" in row)
    lines = [
        f"## {title}: accuracy of the classifier",
        "",
        f"Of {count:,} test images, for projection of the first {projected}; it is {clean:.1%} for "
        "clean images.",
        "Regained: the share of the accuracy lost to the corruption that the best of denoiser,",
        "known operator and mean of 8 restores, where 5 points or more are lost.",
        "",
        "| corruption | corrupted | projection | denoiser | known operator | mean of 8 "
        "| regained |",
        f"| --- |{' ---: |' * 6}",
    ]
    for typed, row in rows.items():
        right = {name: score["accuracy"] for name, score in row.items()}
        taken = clean - right["corrupted"]
        back = max(right[name] for name in RESTORED if name in right) - right["corrupted"]
        names = ("corrupted", "projection", *RESTORED)
        cells = [f"{right[name]:.1%}" if name in right else "" for name in names]
        cells.append(f"{back / taken:.0%}" if taken >= 0.05 else "")
        lines.append(f"| {' | '.join((typed, *cells))} |")
    return lines


def _sample_lines(title: str, rows: dict[str, Any]) -> list[str]:
    """What the samples say: their mean, the best of them, and whether they are spread rightly."""
    lines = [
        f"## {title}: samples",
        "",
        "PSNR of one sample, and differences in PSNR: of the mean of 8 to the denoiser, and of the",
        "best of 8 to one. Within: how often the true pixel lies between the least and the largest",
        "of 8, where their standard deviation is above 0.05; ideal are 78 to 80 %.",
        "",
        "| corruption | one sample | mean - denoiser | best of 8 - one | within |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for typed, row in rows.items():
        score, denoised = row["sampler"], row["denoiser"]["psnr"]
        cells = (
            f"{score['psnr_of_one']:.2f}",
            f"{score['psnr'] - denoised:+.2f}",
            f"{score['psnr_of_best'] - score['psnr_of_one']:+.2f}",
            f"{score['within']:.0%}" if "within" in score else "",
        )
        lines.append(f"| {typed} | {' | '.join(cells)} |")
    return lines


def _estimate_lines(title: str, estimates: dict[str, list[float]]) -> list[str]:
    """What is estimated of one's own pictures."""
    lines = [
        f"## {title}: the corruption of a picture, estimated",
        "",
        "Of test images with 256 levels, as in a file: the share whose kind of corruption is",
        "found, and among these the share whose severity is right within 20 %.",
        "",
        "| corruption | right kind | right severity |",
        "| --- | ---: | ---: |",
    ]
    for typed, shares in estimates.items():
        cells = [f"{share:.0%}" for share in shares]
        lines.append(f"| {typed} | {' | '.join(cells)}{' |' * (3 - len(cells))}")
    return lines


def _gaussian_lines(scored: dict[str, Any]) -> list[str]:
    """One denoiser for all corruptions, beside one that knew Gaussian noise alone."""
    lines = [
        "## Gaussian noise: one denoiser for all corruptions, and one for this noise only",
        "",
        'PSNR of the denoiser. "Before" is that of commit 75439fa, trained on Gaussian noise only.',
        "",
        f"| sigma | {' | '.join(f'{level:g}' for level in LEVELS)} |",
        f"| --- |{' ---: |' * len(LEVELS)}",
    ]
    for name, table in scored.items():
        now = [table["corruptions"][f"gaussian:{level:g}"]["denoiser"]["psnr"] for level in LEVELS]
        for said, values in (("before", BEFORE[name]), ("now", now)):
            cells = " | ".join(f"{value:.2f}" for value in values)
            lines.append(f"| {DATASETS[name].title}, {said} | {cells} |")
    return lines


def main() -> None:
    """Restore with every method, score, report."""
    options = parse(Options)
    set_up_torch()
    options.report.mkdir(parents=True, exist_ok=True)
    path = options.report / "restoration.json"
    scored = read_json(path) if path.is_file() else {}
    with full_precision():
        for name in [options.dataset] if options.dataset else SETS:
            score_set(options, load(name, options.data_dir), scored)
    write_text(options.report / "RESTORATION.md", "\n".join(report_lines(scored)) + "\n")


if __name__ == "__main__":
    run_script(main)
