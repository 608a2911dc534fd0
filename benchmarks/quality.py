"""How good the images are: both recipes at equal training time, several seeds, both sets.

    python benchmarks/quality.py --data-dir FOLDER --out FOLDER

Runs gan_lab.py as a user would. The modern recipe runs as it is by default; the classic one gets as
many epochs as take the same time on this machine, which is found by timing steps of both in turn:
other work on the machine then slows both alike. Writes benchmarks/QUALITY.md and its picture,
benchmarks/figures/recipes.png. Runs that are there already, from a call that was stopped,
are not made again.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

from pages import SETS
from PIL import Image
from training import CPU, timed, training_options

from lab.data import DATASETS
from lab.device import describe_machine
from lab.errors import Fault, run_script
from lab.files import read_json, write_json, write_text
from lab.options import option, parse
from lab.report import figures
from lab.runs import Run
from lab.text import counted

HERE = Path(__file__).parent
AIM = 8  # times less FCD than the classic recipe has
RECIPES = ("classic", "modern")
ROUNDS, STEPS = 11, 40  # in which steps of both recipes take turns to be timed


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with both full sets", folder=True)
    out: Path = option(Path("outputs/quality"), "folder for the runs")
    seeds: tuple[int, ...] = option((0, 1, 2), "seeds of the runs", low=0, high=2**31, most=20)
    more_seeds: tuple[int, ...] = option(
        (), "further seeds of the modern recipe alone", low=0, high=2**31, most=20
    )


def trained(options: Any, name: str, *arguments: object) -> Run:
    """The finished run OUT/name/..., trained now by gan_lab.py unless it is there."""
    outputs = options.out / name
    for run in Run.all_in(outputs):
        if run.status == "finished":
            return run
    command = [sys.executable, str(HERE.parent / "gan_lab.py"), *map(str, arguments)]
    command += ["--out", str(outputs)]
    command += ["--data-dir", str(options.data_dir)] if options.data_dir else []
    print("$", *command[1:], flush=True)
    if subprocess.run(command).returncode:
        raise Fault("gan_lab.py failed, see above")
    return Run.all_in(outputs)[0]


def cost_ratio(options: Options) -> float:
    """What an epoch of the modern recipe costs, in epochs of the classic one: a median."""
    settings = {recipe: training_options("--recipe", recipe) for recipe in RECIPES}
    sides = {recipe: ("lab", setting) for recipe, setting in settings.items()}
    seconds = timed(sides, options.data_dir, ROUNDS, STEPS)
    per_image = [
        [each / settings[recipe].batch_size for each in seconds[recipe]]
        for recipe in ("modern", "classic")
    ]
    return statistics.median(modern / classic for modern, classic in zip(*per_image, strict=True))


def known_cost_ratio(options: Options) -> float:
    """`cost_ratio`, measured once for all runs in --out: it decides how long classic ones are."""
    path = options.out / "cost_ratio.json"
    if not path.is_file():
        options.out.mkdir(parents=True, exist_ok=True)
        write_json(path, {"modern_over_classic": cost_ratio(options)})
    return read_json(path)["modern_over_classic"]


def default_run(options: Options, dataset: str, seed: int) -> Run:
    """What gan_lab.py makes by default: the modern recipe."""
    return trained(options, f"modern-{dataset}-{seed}", "--dataset", dataset, "--seed", seed)


def compared(options: Options, dataset: str, seed: int, ratio: float) -> dict[str, Run]:
    """A run of each recipe, of as much time."""
    modern = default_run(options, dataset, seed)
    epochs = max(1, round(ratio * len(modern.history)))
    arguments = ("--dataset", dataset, "--seed", seed, "--recipe", "classic", "--epochs", epochs)
    classic = trained(options, f"classic-{dataset}-{seed}-{epochs}", *arguments)
    return {"classic": classic, "modern": modern}


def row_of(dataset: str, recipe: str, seed: int, run: Run) -> dict[str, Any]:
    """What is told of a run: its figures, and what it is a run of."""
    return {
        **run.evaluation.figures,
        "set": DATASETS[dataset].title,
        "recipe": recipe,
        "seed": seed,
        "epochs": len(run.history),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Every run, a line each."""
    head = (
        "| set | recipe | seed | epochs | FCD train | FCD test | MLP FCD test | precision | recall "
    )
    head += "| density | coverage | near-copies | smallest class |\n" + "| --- " * 13 + "|\n"
    lines = [
        f"| {row['set']} | {row['recipe']} | {row['seed']} | {row['epochs']} "
        f"| {row['fcd_train']:.2f} | {row['fcd_test']:.2f} | {row['fcd_mlp_test']:.2f} "
        f"| {row['precision']:.3f} | {row['recall']:.3f} | {row['density']:.3f} "
        f"| {row['coverage']:.3f} | {row['near_copies']:.3f} | {row['smallest_class']:.3f} |"
        for row in rows
    ]
    return head + "\n".join(lines)


def verdicts(rows: list[dict[str, Any]]) -> str:
    """Medians over the seeds, and the ratio of the recipes, a line a set; which sets miss AIM."""
    lines = ["| set | classic FCD test | modern FCD test | modern over classic | real images |"]
    lines.append("| --- " * 5 + "|")
    missed = []
    for title in dict.fromkeys(row["set"] for row in rows):
        medians = {
            recipe: statistics.median(
                row["fcd_test"] for row in rows if (row["set"], row["recipe"]) == (title, recipe)
            )
            for recipe in RECIPES
        }
        classic, modern = medians["classic"], medians["modern"]
        if modern * AIM > classic:
            missed.append(title)
        real = next(row["fcd_real"] for row in rows if row["set"] == title)
        lines.append(
            f"| {title} | {classic:.1f} | {modern:.1f} | {modern / classic:.3f} "
            f"(1/{classic / modern:.1f}) | {real:.2f} |"
        )
    verdict = f"missed on {' and '.join(missed)}" if missed else "met on both"
    return "\n".join([*lines, "", f"Target of modern over classic: at most 1/{AIM}; {verdict}."])


def save_picture(path: Path, found: dict[tuple[str, str], Run]) -> None:
    """The last grid of each run, side by side. found: run by its set and recipe."""
    figure, axes = figures.new_figure(len(found), width=3 * len(found), height=3.3)
    for axis, ((dataset, recipe), run) in zip(axes, found.items(), strict=True):
        _, last = run.grids()[-1]
        with Image.open(last) as grid:
            axis.imshow(grid, cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{DATASETS[dataset].title}, {recipe}", fontsize=11)
        axis.set_axis_off()
    path.parent.mkdir(exist_ok=True)
    figures.save_figure(path, figure)


def main() -> None:
    """Train what is missing, then write the table and the picture."""
    options = parse(Options)
    ratio = known_cost_ratio(options)
    print(f"an epoch of the modern recipe takes as long as {ratio:.2f} of the classic", flush=True)
    rows, pictured = [], {}
    for dataset in SETS:
        for seed in options.seeds:
            for recipe, run in compared(options, dataset, seed, ratio).items():
                rows.append(row_of(dataset, recipe, seed, run))
                pictured.setdefault((dataset, recipe), run)
    more = [
        row_of(dataset, "modern", seed, default_run(options, dataset, seed))
        for dataset in SETS
        for seed in options.more_seeds
    ]
    facts = describe_machine(CPU)
    seeds = " ".join(map(str, options.seeds))
    if more:
        seeds += f" --more-seeds {' '.join(map(str, options.more_seeds))}"
    text = (
        "# How good the images are\n\n"
        f"`python benchmarks/quality.py --data-dir FOLDER --seeds {seeds}` on "
        f"{counted(facts['cores'], 'core')} of an {facts['processor']}, torch {facts['torch']}. "
        "Both recipes had the same time for training: timed in turn, an epoch of the modern one "
        f"takes {ratio:.2f} of the time of a classic one. The modern one is the default run. FCD "
        "and MLP FCD are the Frechet distances in the features of the lab's own two classifiers, "
        "not FID; lower is better. [LADDER.md](LADDER.md) shows how one recipe became the "
        "other.\n\n"
        f"{verdicts(rows)}\n\n"
        "The last rows of LADDER.md show what convolutions and other changes to the networks would "
        "add.\n\n"
        "![Sample grids of both recipes on both sets](figures/recipes.png)\n\n"
        f"## Every run\n\n{table(rows + more)}\n"
    )
    write_text(HERE / "QUALITY.md", text)
    save_picture(HERE / "figures" / "recipes.png", pictured)
    print(f"done: {HERE / 'QUALITY.md'}")


if __name__ == "__main__":
    run_script(main)
