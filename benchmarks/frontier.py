"""Quality over training time on Fashion-MNIST: every recipe, and a diffusion model beside them.

    python benchmarks/frontier.py --data-dir FOLDER --minutes 5 15

Every recipe is trained by `gan_lab.py --minutes M`, the U-Net of `diffusion` for M minutes with
each of three learning rates, of which the best is scored: that of the least distance of 1,000
samples to training images. Scores are of 10,000 samples against the test images. Points are added
to benchmarks/frontier.json, from which FRONTIER.md and its plot are made; a point that is there is
not measured again.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import diffusion
from diffusion import CPU
from quality import trained

from lab.data import Dataset, load
from lab.device import describe_machine, set_up_torch
from lab.errors import run_script
from lab.evaluation import Evaluator, inception
from lab.files import read_json, write_json, write_text
from lab.options import option, parse
from lab.report import figures
from lab.runs import Run

HERE = Path(__file__).parent
POINTS, PAGE, PLOT = HERE / "frontier.json", HERE / "FRONTIER.md", HERE / "figures/frontier.png"
COUNT = 10_000  # samples
FEW = 1_000  # samples that choose the learning rate of the U-Net
GANS = {  # options of gan_lab.py
    "modern": ("--recipe", "modern"),
    "dcgan": ("--recipe", "dcgan"),
    "best": ("--recipe", "best"),
    "best --conditional": ("--recipe", "best", "--conditional"),
}
UNET = "diffusion U-Net"
RATES = (3e-4, 7e-4, 2e-3)  # of the U-Net; its example has 7e-4
SCORES = {
    "fcd_test": ("FCD", "{:.2f}"),
    "fcd_mlp_test": ("MLP FCD", "{:.2f}"),
    "fid": ("Inception FID", "{:.2f}"),
    "recall": ("recall", "{:.2f}"),
    "smallest_class": ("smallest class", "{:.1%}"),
}
INTRODUCTION = """# Quality over training time

Fashion-MNIST, full set, one run a row, 10,000 samples against the 10,000 test images; lower is better for the three distances.
The GANs are `python gan_lab.py --dataset fashion --recipe R --minutes M --final-images 0 --data-dir FOLDER`, whose minutes hold
the whole command. The U-Net is that of smalldiffusion's Fashion-MNIST example ([diffusion.py](diffusion.py)), whose minutes are
of training alone; 1,000 samples beside training images chose its learning rate. All by `python benchmarks/frontier.py
--data-dir FOLDER --minutes M`, with `--fid` where the FID is given. "Seconds" are those that 10,000 samples take.

![FCD over training minutes](figures/frontier.png)
"""  # noqa: E501


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with the full set", folder=True)
    out: Path = option(Path("outputs/frontier"), "folder for the runs")
    minutes: tuple[float, ...] = option((5, 15), "training times", low=0.5, high=10_000)
    models: tuple[str, ...] = option((*GANS, UNET), "what to measure", choices=(*GANS, UNET))
    seed: int = option(0, "seed of the runs", low=0, high=2**31)
    fid: bool = option(False, "also the Inception FID of the points asked for", switch=True)


def point_of_gan(options: Options, name: str, minutes: float, evaluator: Evaluator) -> dict:
    """Train and score one recipe."""
    folder = f"{name.replace(' --', '-')}-{minutes:g}-{options.seed}"
    common = ("--dataset", "fashion", "--seed", options.seed, "--final-images", 0)
    run: Run = trained(options, folder, *common, *GANS[name], "--minutes", minutes)
    generator = run.load_generator().network
    began = time.perf_counter()
    images, labels = evaluator.images_of(generator, COUNT)
    seconds = time.perf_counter() - began
    return scores(options, evaluator, images, labels) | {"draw_seconds": seconds}


def point_of_unet(options: Options, minutes: float, evaluator: Evaluator) -> dict:
    """Train the U-Net with each learning rate, and score the best of them."""
    real, seed = evaluator.dataset.train_images, options.seed
    models = {rate: diffusion.trained(real, minutes, rate, seed) for rate in RATES}
    distances = {}
    for rate, model in models.items():
        few = evaluator.full_of_images(diffusion.samples(model, FEW, seed))
        distances[rate] = few.record.figures["fcd_train"]
        print(f"learning rate {rate:g}: FCD {distances[rate]:.2f} of {FEW:,} samples", flush=True)
    best = min(distances, key=distances.get)
    began = time.perf_counter()
    images = diffusion.samples(models[best], COUNT, seed)
    seconds = time.perf_counter() - began
    return scores(options, evaluator, images) | {"draw_seconds": seconds, "lr": best}


def scores(options: Options, evaluator: Evaluator, images: Any, labels: Any = None) -> dict:
    """The figures of uint8 images (COUNT, C, H, W)."""
    found = evaluator.full_of_images(images, labels).record.figures
    kept = {key: found[key] for key in (*SCORES, "fcd_train") if key in found}
    if options.fid:
        kept["fid"] = inception.distance(images, evaluator.dataset, CPU)
    return kept


def measure(options: Options, dataset: Dataset, points: list[dict]) -> None:
    """Add what is missing to `points`, and save them after each."""
    evaluator, facts = Evaluator(dataset, CPU), describe_machine(CPU)
    machine = {key: facts[key] for key in ("processor", "cores", "torch")}
    for minutes in options.minutes:
        for name in options.models:
            key = {"model": name, "minutes": minutes, "seed": options.seed, **machine}
            known = [point for point in points if key.items() <= point.items()]
            if any("fid" in point or not options.fid for point in known):
                continue
            found = (
                point_of_unet(options, minutes, evaluator)
                if name == UNET
                else point_of_gan(options, name, minutes, evaluator)
            )
            points[:] = [point for point in points if point not in known] + [key | found]
            write_json(POINTS, {"points": points})


def in_order(points: list[dict]) -> list[dict]:
    """The points as the page lists them."""
    order = (*GANS, UNET).index
    return sorted(points, key=lambda point: (point["minutes"], order(point["model"])))


def table(points: list[dict]) -> str:
    """The table of one processor."""
    titles = [title for title, _ in SCORES.values()]
    lines = ["| model | minutes | " + " | ".join(titles) + " | seconds |"]
    lines.append("| --- " * (len(titles) + 3) + "|")
    for point in points:
        rate = f" (learning rate {point['lr']:g})" if "lr" in point else ""
        cells = [
            form.format(point[key]) if key in point else "" for key, (_, form) in SCORES.items()
        ]
        cells.append(f"{point['draw_seconds']:.1f}")
        lines.append(f"| {point['model']}{rate} | {point['minutes']:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(points: list[dict]) -> None:
    """The plot: FCD over minutes, a panel a processor."""
    processors = sorted({point["processor"] for point in points})
    with figures.default_style():
        figure, axes = figures.new_figure(len(processors), 6 * len(processors), 4)
        for panel, processor in zip(axes, processors, strict=True):
            for name in (*GANS, UNET):
                line = [
                    (point["minutes"], point["fcd_test"])
                    for point in points
                    if (point["processor"], point["model"]) == (processor, name)
                ]
                if line:
                    panel.plot(*zip(*line, strict=True), marker="o", label=name)
            panel.set(xscale="log", yscale="log", xlabel="minutes of training", ylabel="FCD (test)")
            panel.set_title(processor, fontsize=9)
            panel.legend()
        figures.save_figure(PLOT, figure)


def main() -> None:
    """Measure what is missing, then write the page."""
    options = parse(Options)
    set_up_torch()
    points = read_json(POINTS)["points"] if POINTS.is_file() else []
    measure(options, load("fashion", options.data_dir), points)
    shown = in_order(points)
    draw(shown)
    text = INTRODUCTION
    for processor in sorted({point["processor"] for point in shown}):
        of_it = [point for point in shown if point["processor"] == processor]
        facts = f"{of_it[0]['cores']} cores, torch {of_it[0]['torch']}."
        text += f"\n## {processor}\n\n{facts}\n\n{table(of_it)}\n"
    write_text(PAGE, text)
    print(f"done: {PAGE}")


if __name__ == "__main__":
    run_script(main)
