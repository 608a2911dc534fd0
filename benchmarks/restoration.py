"""Restoration on both sets: every corruption at its severities, every restorer, classical methods.

    pip install -r benchmarks/requirements.txt
    python benchmarks/restoration.py --mnist-run outputs/mnist-001 --fashion-run outputs/fashion-002
    python benchmarks/restoration.py --mnist-run outputs/mnist-001 --count 20 --report FOLDER

It is what `denoise_images.py --corruption all` does, on more images; `--count 20` only shows that
it works. Classical methods have their best strength, found on training images. What is scored is
kept in restoration.json, so that a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from lab.data import DATASETS, load
from lab.data.pixels import to_unit
from lab.device import describe_machine, full_precision, set_up_torch
from lab.errors import Mistake, run_script
from lab.files import read_json, write_json, write_text
from lab.models.shipped import load_restorer
from lab.options import flag_of, option, parse
from lab.restoration import classical
from lab.restoration.corruption import Corruption, filled
from lab.restoration.corruptions import examples
from lab.restoration.corruptions import parse as parse_corruption
from lab.restoration.restorers import SAMPLES, Context, able
from lab.restoration.scoring import CleanImages
from lab.runs import Run

SLOW = ("projection", "nlm", "bm3d", "biharmonic", "tv")
# Published figures, each with its protocol, and the row here that has the like of it.
PUBLISHED = (
    ("gaussian:0.4", "Noise2Self, unclipped, MNIST, no clean data", "17.7 dB"),
    ("gaussian:1", "a task of NPPC, MNIST; its code re-runs", "-"),
    ("mask:top20", "a task of NPPC, MNIST; its code re-runs", "-"),
    ("downsample:4", "MNIST, a student report: TV, DPS, SMC", "14.65, 14.28, 13.68 dB"),
)
MORE = ("gaussian:0.1", "gaussian:0.4", "gaussian:1")  # beside the examples of every row


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with the sets' IDX files", folder=True)
    mnist_run: Path | None = option(None, "run whose generator is projected onto", folder=True)
    fashion_run: Path | None = option(None, "run whose generator is projected onto", folder=True)
    report: Path = option(Path(__file__).parent, "folder for RESTORATION.md and restoration.json")
    count: int = option(1_000, "test images for fast methods", low=2, high=10_000)
    slow_count: int = option(200, "test images for slow methods", low=2, high=10_000)
    seed: int = option(0, "decides the noise", low=0, high=2**63 - 1)


def restored_by(context: Context, corruption: Corruption, tuning: Tensor) -> dict[str, Any]:
    """Every method that can: corrupted images -> restored, or samples (N, count, C, H, W)."""
    methods: dict[str, Any] = {"corrupted": filled}
    for name, row in classical.able(corruption).items():
        methods[name] = lambda images, row=row: classical.restore(row, images, corruption, tuning)
    for name, row in able(context, corruption).items():
        if row.sample:
            methods[name] = lambda images, row=row: row.sample(context, images, corruption, SAMPLES)
        elif row.is_learned:
            methods[name] = lambda images, row=row: row.restore(context, images, corruption)
    return methods


def score_set(options: Options, run: Run, scored: dict[str, Any]) -> None:
    """Add what is not in `scored` yet, by corruption and method; it is written after each."""
    dataset = load(run.load_generator().spec.name, options.data_dir)
    networks = [load_restorer(dataset.spec, role) for role in ("denoiser", "sampler")]
    restorers = (each and each.network for each in networks)
    context = Context(run.load_generator().network, *restorers, seed=options.seed)
    clean = CleanImages.of(dataset, options.count, torch.device("cpu"))
    tuning = to_unit(dataset.train_images[: classical.TUNING_COUNT])
    table = scored.setdefault(dataset.name, {})
    every = {str(each): each for each in [*map(parse_corruption, MORE), *examples()]}
    for typed, corruption in every.items():
        corrupted, row = corruption.apply(clean.clean, options.seed), table.setdefault(typed, {})
        for name, restore in restored_by(context, corruption, tuning).items():
            if name in row:
                continue
            few = min(len(corrupted), options.slow_count) if name in SLOW else len(corrupted)
            labels = None if clean.labels is None else clean.labels[:few]
            these = CleanImages(clean.clean[:few], labels, clean.classifier)
            began = time.process_time()
            made = restore(corrupted[:few])
            seconds = time.process_time() - began
            score = these.scores_of_samples(made) if made.ndim == 5 else these.scores(made)
            row[name] = {**score, "images": few, "images_per_second": few / max(seconds, 1e-9)}
            write_json(options.report / "restoration.json", scored)
            print(f"{dataset.title:<14}{typed:<24}{name:<16}{score['psnr']:7.2f} dB", flush=True)


def report_lines(scored: dict[str, Any]) -> list[str]:
    """RESTORATION.md."""
    lines = [
        "# Restoration of MNIST and Fashion-MNIST",
        "",
        "PSNR in dB, SSIM, and the share of images that the lab's classifier still sees rightly.",
        "The mean of 8 samples is scored as `sampler`. No method was trained or tuned on test",
        "images. The best in **bold**.",
    ]
    for name, table in scored.items():
        lines += ["", f"## {DATASETS[name].title}", ""]
        lines += [
            "| corruption | method | PSNR | SSIM | accuracy | of one, of the best of 8 | within |"
        ]
        lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
        for typed, row in table.items():
            best = max(score["psnr"] for score in row.values())
            for method, score in row.items():
                psnr = f"{score['psnr']:.2f}"
                cells = [
                    f"**{psnr}**" if score["psnr"] == best else psnr,
                    f"{score['ssim']:.3f}",
                    f"{score['accuracy']:.1%}" if "accuracy" in score else "",
                    f"{score['psnr_of_one']:.2f}, {score['psnr_of_best']:.2f}"
                    if "psnr_of_one" in score
                    else "",
                    f"{score['within']:.0%}" if "within" in score else "",
                ]
                lines.append(f"| {typed} | {method} ({score['images']}) | {' | '.join(cells)} |")
    lines += ["", "## Published figures", "", "| as here | what | figure |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in PUBLISHED]
    machine = describe_machine(torch.device("cpu"))
    return [*lines, "", f"{machine['processor']}, torch {machine['torch']}."]


def main() -> None:
    """Restore with every method, score, report."""
    options = parse(Options)
    folders = {name: getattr(options, f"{name}_run") for name in ("mnist", "fashion")}
    runs = [Run.open(flag_of(f"{name}_run"), path) for name, path in folders.items() if path]
    if not runs:
        raise Mistake("--mnist-run: is missing, and so is --fashion-run; name a run of one or both")
    set_up_torch()
    path = options.report / "restoration.json"
    scored = read_json(path) if path.is_file() else {}
    with full_precision():
        for run in runs:
            score_set(options, run, scored)
    write_text(options.report / "RESTORATION.md", "\n".join(report_lines(scored)) + "\n")


if __name__ == "__main__":
    run_script(main)
