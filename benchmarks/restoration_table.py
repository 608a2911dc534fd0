"""The restoration benchmark's figures as Markdown, JSON and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from restoration_plan import CLASSICAL, OURS, SIGMAS, TITLES, Options

from lab.data import DATASETS
from lab.device import describe_machine
from lab.files import write_json, write_text
from lab.options import flag_of
from lab.report import figures
from lab.restoration import denoising
from lab.runs import Run


def write_report(options: Options, tables: dict[str, dict[str, Any]]) -> None:
    """RESTORATION.md, its plot, and the figures as JSON."""
    few, many = options.slow_count, options.count
    lines = [
        "# Restoration of MNIST and Fashion-MNIST under Gaussian noise",
        "",
        f"The first {few} test images of each set, the same noise for every method: unclipped, of",
        "standard deviation sigma on the 0 to 1 scale. PSNR (dB, mean over images) and SSIM by",
        "torchmetrics, data range 1; accuracy is that of the lab's fixed classifier on what was",
        "restored. Each classical method has, for each set and sigma, the strength that is best on",
        f"the first {options.tuning_count} training images. Best in **bold**. The fast methods on",
        f"the first {many:,}: further down.",
        "",
        "No method was trained or tuned on a test image but for one choice: projection's optimizer",
        "was once found by looking at the first 20 of MNIST, which are among those scored. Its",
        "number of steps is tried on training images further down; the CNN's layers, batch size",
        "and length of training were chosen on training images, and so was the value below which",
        f"its pixels are taken for background ({denoising.FAINT:g}, at most half of sigma).",
        "",
        "![PSNR by noise level](restoration.png)",
        "",
    ]
    for measure, title, digits in (
        ("psnr", "PSNR, dB", 2),
        ("ssim", "SSIM", 3),
        ("accuracy", "accuracy of the classifier", 3),
    ):
        for dataset, table in tables.items():
            lines += [f"## {DATASETS[dataset].title}: {title}", ""]
            if measure == "accuracy":
                lines += [f"On the clean images: {table['clean']['accuracy']:.3f}.", ""]
            lines += [*table_lines(table, few, measure, digits), ""]
    for dataset, table in tables.items():
        lines += [f"## {DATASETS[dataset].title}: PSNR, dB, on {many:,} images", ""]
        lines += [*table_lines(table, many, "psnr", 2), ""]
    lines += margin_lines(tables, few) + speed_lines(tables) + projection_lines(options, tables)
    lines += how_lines(options, tables)
    write_text(options.report / "RESTORATION.md", "\n".join(lines) + "\n")
    write_json(options.report / "restoration.json", tables)
    plot(options.report / "restoration.png", tables, few)


def table_lines(table: dict[str, Any], count: int, measure: str, digits: int) -> list[str]:
    """A Markdown table, a row a method, a column a sigma."""
    lines = [
        "| sigma | " + " | ".join(map(str, SIGMAS)) + " |",
        "| --- |" + " ---: |" * len(SIGMAS),
    ]
    rows = {
        name: [round(score[measure], digits) for score in table[name][count]]
        for name in TITLES
        if name in table and count in table[name]
    }
    best = [max(column) for column in zip(*rows.values(), strict=True)]
    for name, values in rows.items():
        cells = (
            f"**{value:.{digits}f}**" if value == top else f"{value:.{digits}f}"
            for value, top in zip(values, best, strict=True)
        )
        lines.append(f"| {TITLES[name]} | " + " | ".join(cells) + " |")
    return lines


def margin_lines(tables: dict[str, dict[str, Any]], count: int) -> list[str]:
    """How far the CNN is ahead in PSNR."""
    lines = [
        "## The CNN's lead in PSNR, dB",
        "",
        "| sigma | " + " | ".join(map(str, SIGMAS)) + " |",
    ]
    lines.append("| --- |" + " ---: |" * len(SIGMAS))
    for dataset, table in tables.items():
        for rivals, label in (
            (CLASSICAL, "best classical method"),
            (("autoencoder",), TITLES["autoencoder"]),
        ):
            present = [name for name in rivals if count in table.get(name, {})]
            if not present or count not in table.get("denoiser", {}):
                continue
            leads = [
                table["denoiser"][count][index]["psnr"]
                - max(table[name][count][index]["psnr"] for name in present)
                for index in range(len(SIGMAS))
            ]
            cells = " | ".join(f"{lead:+.2f}" for lead in leads)
            lines.append(f"| {DATASETS[dataset].title}, over the {label} | {cells} |")
    return [*lines, ""]


def projection_lines(options: Options, tables: dict[str, dict[str, Any]]) -> list[str]:
    """How the number of projection's steps was chosen."""
    lines = [
        f"## Projection by its number of steps, {options.tuning_count} training images",
        "",
        "| set | steps | mean squared error, clean | PSNR at sigma 0.5, dB | images/s, clean |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for dataset, table in tables.items():
        for steps, found in table.get("projection", {}).get("steps", {}).items():
            lines.append(
                f"| {DATASETS[dataset].title} | {steps} | {found['mse']:.4f} "
                f"| {found['psnr']:.2f} | {found['images_per_second']:.1f} |"
            )
    return [*lines, ""]


def speed_lines(tables: dict[str, dict[str, Any]]) -> list[str]:
    """Images a second of processor time, restoring alone."""
    lines = ["## Images a second of processor time", "", "| | " + " | ".join(tables) + " |"]
    lines.append("| --- |" + " ---: |" * len(tables))
    for name in TITLES:
        if name != "noisy" and all(name in table for table in tables.values()):
            rates = (table[name]["facts"]["images_per_second"] for table in tables.values())
            lines.append(f"| {TITLES[name]} | " + " | ".join(f"{r:,.1f}" for r in rates) + " |")
    return [*lines, ""]


def how_lines(options: Options, tables: dict[str, dict[str, Any]]) -> list[str]:
    """Command, machine, seeds, and what was tuned and trained."""
    facts = describe_machine(torch.device("cpu"))
    command = "python benchmarks/restoration.py --mnist-run RUN --fashion-run RUN"
    for name in ("count", "slow_count", "tuning_count", "seed"):
        command += f" {flag_of(name)} {getattr(options, name)}"
    if options.leave_out:
        command += f" --leave-out {' '.join(options.leave_out)}"
    lines = [
        "## How it was made",
        "",
        f"    {command}",
        "",
        f"Cores: {facts['cores']} ({facts['device']}), torch {facts['torch']}. Rates are of",
        f"processor time; NLM, BM3D and projection were run on {options.slow_count} images.",
        "BM3D is given the images in mosaics of 7 x 7,",
        "where its blocks find partners in neighbouring images too.",
        "",
    ]
    for dataset in tables:
        run = getattr(options, f"{dataset}_run")
        trained = Run(run).config.options
        lines.append(
            f"- {DATASETS[dataset].title}: generator by `python gan_lab.py --dataset {dataset} "
            f"--recipe {trained['recipe']} --epochs {trained['epochs']} --seed {trained['seed']}`, "
            f"CNN by `python denoise_images.py --train-denoiser`"
        )
    for dataset, table in tables.items():
        title = DATASETS[dataset].title
        for name in CLASSICAL:
            if name in table:
                strengths = ", ".join(f"{s:g}" for s in table[name]["facts"]["strengths"].values())
                lines.append(f"- {title}, {TITLES[name]}: strengths {strengths}")
        clean = table.get("projection", {}).get("clean")
        if clean:
            lines.append(
                f"- {title}, projection of the {options.slow_count} clean test images: "
                f"mean squared error {clean['mse']:.4f} a pixel with 10 restarts; 10 images take "
                f"{clean['processor_seconds_of_10']:.1f} s of processor time"
            )
        trained = table.get("autoencoder", {}).get("facts")
        if trained:
            lines.append(
                f"- {title}, autoencoder: {trained['processor_seconds']:.0f} s of processor time, "
                f"the same as the CNN's {options.denoiser_images:,} images take; it was shown "
                f"{trained['images_shown']:,}"
            )
    return lines


def plot(path: Path, tables: dict[str, dict[str, Any]], count: int) -> None:
    """PSNR over sigma, a panel a set."""
    figure, axes = figures.new_figure(len(tables), width=5.2 * len(tables), height=4.2)
    for axis, (dataset, table) in zip(axes, tables.items(), strict=True):
        for name, title in TITLES.items():
            if count in table.get(name, {}):
                ours = name in OURS
                values = [score["psnr"] for score in table[name][count]]
                style = {"linewidth": 2.4, "marker": "o"} if ours else {"marker": "."}
                colour = "0.6" if name == "noisy" else None
                axis.plot(SIGMAS, values, label=title, color=colour, **style)
        axis.set_title(DATASETS[dataset].title)
        axis.set_xlabel("noise level sigma")
        axis.set_ylabel("PSNR, dB")
        axis.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=4)
    figures.save_figure(path, figure)
