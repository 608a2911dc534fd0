"""How good the images are: both recipes at equal training time, several seeds, both sets.

    python benchmarks/quality.py --data-dir FOLDER --out FOLDER

Runs gan_lab.py as a user would. The modern recipe runs as it is by default; the classic one gets as
many epochs as fit into the same seconds of training on this machine. Writes benchmarks/QUALITY.md
and the picture of the README, benchmarks/figures/recipes.png. Runs that are there already, from a
call that was stopped, are not made again.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import torch
from PIL import Image

from lab import data, images, machine, runs, storage
from lab.errors import Fault, run_script
from lab.options import option, parse

HERE = Path(__file__).parent
RECIPES = ("classic", "modern")
PROBE_EPOCHS = 2  # of the classic recipe, to learn its seconds an epoch
FIGURES = ("fcd_train", "fcd_test", "precision", "recall", "density", "coverage", "near_copies")


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with both full sets", folder=True)
    out: Path = option(Path("outputs/quality"), "folder for the runs")
    seeds: tuple[int, ...] = option((0, 1, 2), "seeds of the runs", low=0, high=2**31, most=20)


def trained(options: Options, name: str, *arguments: object) -> Path:
    """The finished run folder OUT/name/..., trained now unless it is there."""
    outputs = options.out / name
    for run in runs.all_runs(outputs):
        if storage.read_json(run / "config.json").get("status") == "finished":
            return run
    command = [sys.executable, str(HERE.parent / "gan_lab.py"), *map(str, arguments)]
    command += ["--out", str(outputs)]
    command += ["--data-dir", str(options.data_dir)] if options.data_dir else []
    print("$", *command[1:], flush=True)
    if subprocess.run(command).returncode:
        raise Fault(f"{name}: the training failed, see above")
    return runs.all_runs(outputs)[0]


def seconds_of(run: Path) -> float:
    """Seconds that a run's epochs took, pictures and scores left out."""
    return sum(row["seconds"] for row in runs.read_history(run / "history.csv"))


def compared(options: Options, dataset: str, seed: int) -> dict[str, Path]:
    """A run of each recipe, of as many seconds."""
    name = f"{dataset}-{seed}"
    common = ("--dataset", dataset, "--seed", seed)
    modern = trained(options, f"modern-{name}", *common)
    probe = trained(
        options,
        f"probe-{name}",
        *(*common, "--recipe", "classic", "--epochs", PROBE_EPOCHS, "--no-quality"),
    )
    epochs = max(1, round(seconds_of(modern) / seconds_of(probe) * PROBE_EPOCHS))
    classic = trained(
        options, f"classic-{name}", *common, "--recipe", "classic", "--epochs", epochs
    )
    return {"classic": classic, "modern": modern}


def row_of(dataset: str, recipe: str, seed: int, run: Path) -> dict[str, Any]:
    """What is told of a run."""
    figures = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    epochs = len(runs.read_history(run / "history.csv"))
    return {
        **{name: figures[name] for name in FIGURES},
        "set": data.SETS[dataset].title,
        "recipe": recipe,
        "seed": seed,
        "epochs": epochs,
        "seconds": seconds_of(run),
        "smallest_class": figures["smallest_class"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Every run, a line each."""
    head = "| set | recipe | seed | epochs | seconds | FCD train | FCD test | precision | recall "
    head += "| density | coverage | near-copies | smallest class |\n" + "| --- " * 13 + "|\n"
    lines = [
        f"| {row['set']} | {row['recipe']} | {row['seed']} | {row['epochs']} "
        f"| {row['seconds']:.0f} | {row['fcd_train']:.2f} | {row['fcd_test']:.2f} "
        f"| {row['precision']:.3f} | {row['recall']:.3f} | {row['density']:.3f} "
        f"| {row['coverage']:.3f} | {row['near_copies']:.3f} | {row['smallest_class']:.3f} |"
        for row in rows
    ]
    return head + "\n".join(lines)


def verdicts(rows: list[dict[str, Any]]) -> str:
    """Medians over the seeds, and the ratio of the recipes, a line a set."""
    lines = ["| set | classic FCD test | modern FCD test | modern over classic |"]
    lines.append("| --- | --- | --- | --- |")
    for title in dict.fromkeys(row["set"] for row in rows):
        medians = {
            recipe: statistics.median(
                row["fcd_test"] for row in rows if (row["set"], row["recipe"]) == (title, recipe)
            )
            for recipe in RECIPES
        }
        classic, modern = medians["classic"], medians["modern"]
        lines.append(
            f"| {title} | {classic:.1f} | {modern:.1f} | {modern / classic:.3f} "
            f"(1/{classic / modern:.1f}) |"
        )
    return "\n".join(lines)


def save_picture(found: dict[tuple[str, str], Path]) -> None:
    """The last grid of each recipe on each set, of the first seed, side by side."""
    figure, axes = images.new_figure(1, len(found), width=3 * len(found), height=3.3)
    for axis, ((dataset, recipe), run) in zip(axes, found.items(), strict=True):
        grids = (run / "generated_samples").glob("epoch_*.png")
        with Image.open(max(grids, key=lambda path: (len(path.name), path.name))) as grid:
            axis.imshow(grid, cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{data.SETS[dataset].title}, {recipe}", fontsize=11)
        axis.set_axis_off()
    (HERE / "figures").mkdir(exist_ok=True)
    images.save_figure(HERE / "figures" / "recipes.png", figure)


def main() -> None:
    """Train what is missing, then write the table and the picture."""
    options = parse(Options)
    rows, pictured = [], {}
    for dataset in data.SETS:
        for seed in options.seeds:
            for recipe, run in compared(options, dataset, seed).items():
                rows.append(row_of(dataset, recipe, seed, run))
                pictured.setdefault((dataset, recipe), run)
    facts = machine.description(torch.device("cpu"))
    seeds = " ".join(map(str, options.seeds))
    text = (
        "# How good the images are\n\n"
        f"`python benchmarks/quality.py --data-dir FOLDER --seeds {seeds}` on {facts['cores']} "
        f"cores ({facts['device']}), torch {facts['torch']}. Both recipes have the same seconds of "
        "training; the modern one is the default run. FCD is the Frechet distance in the features "
        "of the lab's own classifier, not FID; less is better.\n\n"
        f"{verdicts(rows)}\n\n## Every run\n\n{table(rows)}\n"
    )
    storage.write_text(HERE / "QUALITY.md", text)
    save_picture(pictured)
    print(f"done: {HERE / 'QUALITY.md'}")


if __name__ == "__main__":
    run_script(main)
