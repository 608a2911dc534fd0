"""The ladder from the classic recipe to the modern one: what each change gives and costs.

    python benchmarks/ladder.py --data-dir FOLDER --out FOLDER

Each rung is a training by gan_lab.py of as many epochs, with one more change than the rung before,
and is judged against training images: test images choose nothing. With --tried also changes that
were tried on the last rung and not taken. Writes benchmarks/LADDER.md. Runs that are there already
are not made again.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

from pages import SETS
from quality import trained

from lab.data import DATASETS
from lab.device import DEVICES, describe_machine, pick_device
from lab.errors import run_script
from lab.files import write_text
from lab.options import option, parse
from lab.text import counted

HERE = Path(__file__).parent

# What each rung changes, and the options that do it; all before it hold, too.
CLIMB = (
    ("classic", "--recipe classic"),
    ("Adam 1e-3, beta1 0, beta2 0.99", "--lr-g 1e-3 --lr-d 1e-3 --beta1 0 --beta2 0.99"),
    ("R1 penalty, gamma 1, every 8 steps", "--r1-gamma 1"),
    ("moving average", "--ema-decay 0.9995"),
    ("rates fall over the last 30 %", "--lr-decay 0.3"),
    ("Laplacian pyramid", "--pyramid"),
    ("pixels clipped, with the gradient of tanh", "--output clip"),
    # The modern recipe, but for --precision, which counts on processors with matrix units alone.
    ("smaller networks", "--hidden-g 256 384 512 --hidden-d 512 128"),
)
# Tried on the last rung.
TRIED = (
    ("batch 64", "--batch-size 64"),
    ("gamma 0.3", "--r1-gamma 0.3"),
    ("gamma 3", "--r1-gamma 3"),
    ("hinge loss", "--loss hinge"),
    ("batch normalisation in the generator", "--batch-norm"),
    ("discriminator of 1024, 256", "--hidden-d 1024 256"),
    ("four hidden layers in the generator", "--hidden-g 256 384 512 512"),
    ("pixels instead of the pyramid", "--no-pyramid"),
    # Not fully connected, so no rungs: which of the two networks is it that holds the pair back?
    ("convolutional discriminator", "--channels-d 32 64 --hidden-d 256 --no-pyramid"),
    ("convolutional generator", "--channels-g 64 32"),
    ("both convolutional", "--channels-g 64 32 --channels-d 32 64 --hidden-d 256 --no-pyramid"),
)


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with both full sets", folder=True)
    out: Path = option(Path("outputs/ladder"), "folder for the runs")
    seeds: tuple[int, ...] = option((0,), "seeds of the runs", low=0, high=2**31, most=20)
    epochs: int = option(12, "epochs of every run", low=1, high=1_000)
    tried: bool = option(False, "also what was tried and not taken", switch=True)
    device: str = option("cpu", "where to train", choices=DEVICES)


def commands(tried: bool) -> list[tuple[str, str]]:
    """Label and options of every row: each rung with those below it, then what was `tried`."""
    rows, climbed = [], []
    for label, arguments in CLIMB:
        climbed.append(arguments)
        rows.append((label if len(climbed) == 1 else f"+ {label}", " ".join(climbed)))
    return rows + [(f"modern, {label}", arguments) for label, arguments in TRIED if tried]


def row_of(options: Options, dataset: str, label: str, arguments: str) -> str:
    """One line of the table: medians over the seeds, and the spread of more than one."""
    distances, others, smallest = [], [], []
    for seed in options.seeds:
        words = arguments.replace("--", "").split()
        name = "-".join((dataset, *words, str(seed), str(options.epochs)))
        common = ("--dataset", dataset, "--seed", seed, "--epochs", options.epochs)
        once = ("--sample-every", options.epochs, "--final-images", 0, "--device", options.device)
        run = trained(options, name, *common, *once, *arguments.split())
        distances.append(run.evaluation.figures["fcd_train"])
        others.append(run.evaluation.figures["fcd_mlp_train"])
        smallest.append(run.evaluation.figures["smallest_class"])
    spread = f" ({min(distances):.1f} to {max(distances):.1f})" if len(distances) > 1 else ""
    return (
        f"| {DATASETS[dataset].title} | {label} | {statistics.median(distances):.1f}{spread} "
        f"| {statistics.median(others):.1f} | {statistics.median(smallest):.1%} "
        f"| `{arguments}` |"
    )


def main() -> None:
    """Train what is missing, then write the table."""
    options = parse(Options)
    lines = [
        row_of(options, dataset, label, arguments)
        for dataset in SETS
        for label, arguments in commands(options.tried)
    ]
    facts = describe_machine(pick_device(options.device))
    seeds = " ".join(map(str, options.seeds))
    asked = f"--seeds {seeds} --epochs {options.epochs}{' --tried' if options.tried else ''}"
    if options.device == "cuda":
        asked += " --device cuda"
    where = f"{counted(facts['cores'], 'core')} of an {facts['processor']}, {facts['device']}"
    text = (
        "# From the classic to the modern recipe, step by step\n\n"
        f"`python benchmarks/ladder.py --data-dir FOLDER {asked}`"
        f", {where}, torch {facts['torch']}. Every row is "
        f"`python gan_lab.py --dataset SET --epochs {options.epochs} --seed SEED` with the options "
        "in its last column, and `--sample-every EPOCHS --final-images 0`, which do not change the "
        "weights. Rows called modern have that recipe's `--precision`, the others float32. FCD is "
        "the Frechet classifier distance to training images, MLP FCD that of the second "
        "classifier, which has no convolutions; all figures are medians over the seeds, with the "
        "range of the FCD in brackets. SPEED.md has the times of recipes.\n\n"
        "| set | recipe | FCD train | MLP FCD train | smallest class | options |\n"
        "| --- | --- | --- | --- | --- | --- |\n" + "\n".join(lines) + "\n"
    )
    write_text(HERE / "LADDER.md", text)
    print(f"done: {HERE / 'LADDER.md'}")


if __name__ == "__main__":
    run_script(main)
