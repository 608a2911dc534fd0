"""Quality over training time on Fashion-MNIST: every recipe, and a diffusion model beside them.

    python benchmarks/frontier.py --data-dir FOLDER --minutes 5
    python benchmarks/frontier.py --data-dir FOLDER --minutes 15 60 --fid --of PROCESSOR

The first command trains every recipe by `gan_lab.py --minutes M`, and measures the speed of the
U-Net of `diffusion`. The second command trains for as many images as a processor shows in M
minutes, by its speed in the first command, on a GPU or on a faster processor; the U-Net with each
of three learning rates, of which the best is scored: that of the least distance of 1,000 samples to
training images. Scores are of 10,000 samples against the test images. Points are added to
benchmarks/frontier.json, from which FRONTIER.md and its plot are made; a point that is there is not
measured again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import diffusion
from quality import trained
from torch import Tensor

from lab.data import Dataset, load
from lab.device import DEVICES, describe_machine, pick_device, set_up_torch
from lab.errors import Mistake, run_script
from lab.evaluation import Evaluator, inception
from lab.files import read_json, write_json, write_text
from lab.options import option, parse
from lab.report import figures
from lab.runs import Run

HERE = Path(__file__).parent
POINTS, PAGE, PLOT = HERE / "frontier.json", HERE / "FRONTIER.md", HERE / "figures/frontier.png"
COUNT = 10_000  # samples
FEW = 1_000  # samples that choose the learning rate of the U-Net
FULL = ("--recipe", "dcgan", "--full-maps", "32", "--ema-decay", "0.9998")  # "best" until 39687be
GANS = {  # options of gan_lab.py
    "modern": ("--recipe", "modern"),
    "dcgan": ("--recipe", "dcgan"),
    "dcgan-conditional": ("--recipe", "dcgan", "--conditional"),
    "full-maps": FULL,
    "full-maps-conditional": (*FULL, "--conditional"),
}
UNET = "diffusion-unet"
RATES = (3e-4, 7e-4, 2e-3)  # of the U-Net; its example has 7e-4
SCORES = {
    "fcd_test": ("FCD", "{:.2f}"),
    "fcd_mlp_test": ("MLP FCD", "{:.2f}"),
    "fid": ("Inception FID", "{:.2f}"),
    "recall": ("recall", "{:.2f}"),
    "smallest_class": ("smallest class", "{:.1%}"),
}
INTRODUCTION = """# Quality over training time

Fashion-MNIST, full set, 10,000 samples against the 10,000 test images; lower is better for the three distances. The GANs are
`python gan_lab.py --dataset fashion --minutes M --final-images 0 --data-dir FOLDER`, whose minutes hold the whole command, with
`--recipe modern` or dcgan; "full-maps" is dcgan with one more convolution at full resolution and a longer moving average
(`--full-maps 32 --ema-decay 0.9998`). All by `python benchmarks/frontier.py --data-dir FOLDER --minutes M`. "Seconds" are those
that 10,000 samples take.

Points marked * were trained elsewhere, for M / 5 times as many images as the processor shows in five minutes, by `python
benchmarks/frontier.py --data-dir FOLDER --minutes M --fid --of PROCESSOR`, with `--device cuda` on a GPU.

![FCD over training minutes](figures/frontier.png)
"""  # noqa: E501
OF_UNET = """
The U-Net is that of smalldiffusion's Fashion-MNIST example ([diffusion.py](diffusion.py)). Its minutes are of training alone, at
the speed of its first minute, and 1,000 samples beside training images chose its learning rate. [CONDITIONAL.md](CONDITIONAL.md) has
the time that its samples take.
"""  # noqa: E501
NO_UNET = """
The U-Net of smalldiffusion's Fashion-MNIST example ([diffusion.py](diffusion.py)) has no row yet. [CONDITIONAL.md](CONDITIONAL.md)
has the time that its samples take.
"""  # noqa: E501


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with the full set", folder=True)
    out: Path = option(Path("outputs/frontier"), "folder for the runs")
    minutes: tuple[float, ...] = option((5,), "training times", low=0.5, high=10_000)
    models: tuple[str, ...] = option((*GANS, UNET), "what to measure", choices=(*GANS, UNET))
    seed: int = option(0, "seed of the runs", low=0, high=2**31)
    fid: bool = option(False, "also the Inception FID of the points asked for", switch=True)
    device: str = option("cpu", "where to compute", choices=DEVICES)
    of: str = option("", "the processor whose minutes are meant, as FRONTIER.md names it")


class Frontier:
    """The points of benchmarks/frontier.json, and what measures more of them.

    paces: images per minute, by processor and model.
    """

    def __init__(self, options: Options, dataset: Dataset) -> None:
        self.options, self.device = options, pick_device(options.device)
        self.evaluator = Evaluator(dataset, self.device)
        content = read_json(POINTS) if POINTS.is_file() else {"points": [], "paces": {}}
        self.points: list[dict] = content["points"]
        facts = describe_machine(self.device)
        self.processor = options.of or facts["processor"]
        self.paces: dict[str, dict[str, float]] = content["paces"]
        self.facts = {"processor": self.processor, "torch": facts["torch"]}
        if options.of:
            self.facts["trained_on"] = facts["device"]
            if self.device.type == "cpu":
                self.facts["trained_on"] += f", {facts['processor']}"
            if self.processor not in self.paces:
                raise Mistake(f"--of {self.processor}: its speed is unknown; first measure there")

    def measure(self) -> None:
        """Add what is missing, and save after each point."""
        options, pace = self.options, self.paces.setdefault(self.processor, {})
        for name in options.models:
            if name == UNET and not options.of:
                pace[UNET] = diffusion.images_per_minute(self.evaluator.dataset.train_images)
                self.save()
                continue
            minutes = [each for each in options.minutes if not self.is_known(name, each)]
            measured = self.points_of_unet if name == UNET else self.points_of_gan
            for each, found in measured(name, minutes, pace):
                key = self.key(name, each)
                others = [point for point in self.points if not key.items() <= point.items()]
                self.points = [*others, key | found]
                self.save()

    def key(self, name: str, minutes: float) -> dict:
        """What tells a point from the others."""
        return {"model": name, "minutes": minutes, "seed": self.options.seed, **self.facts}

    def is_known(self, name: str, minutes: float) -> bool:
        """Whether a point has all that is asked for."""
        key = self.key(name, minutes).items()
        known = [point for point in self.points if key <= point.items()]
        return any("fid" in point or not self.options.fid for point in known)

    def save(self) -> None:
        """Write the points and the paces."""
        write_json(POINTS, {"points": self.points, "paces": self.paces})

    def points_of_gan(
        self, name: str, times: list[float], pace: dict[str, float]
    ) -> Iterator[tuple[float, dict]]:
        """Train and score one recipe for each time; on the processor itself it gives the pace."""
        options = self.options
        for minutes in times:
            length = ("--minutes", minutes)
            if options.of:
                length = ("--images-shown", round(pace[name] * minutes), "--device", options.device)
            common = ("--dataset", "fashion", "--seed", options.seed, "--final-images", 0)
            folder = f"{name}-{minutes:g}-{options.seed}"
            run: Run = trained(options, folder, *common, *GANS[name], *length)
            generator = run.load_generator().network.to(self.device)
            shown = run.options["images_shown"]
            began = time.perf_counter()
            images, labels = self.evaluator.images_of(generator, COUNT)
            seconds = {"draw_seconds": time.perf_counter() - began}
            if options.of:
                seconds = {}  # another processor's
            else:
                pace.setdefault(name, shown / minutes)
            yield minutes, {"images_shown": shown} | seconds | self.scores(images, labels)

    def points_of_unet(
        self, name: str, times: list[float], pace: dict[str, float]
    ) -> Iterator[tuple[float, dict]]:
        """Train the U-Net with each learning rate, and score the best of them for each time."""
        real, seed = self.evaluator.dataset.train_images.to(self.device), self.options.seed
        counts = [round(pace[name] * minutes) for minutes in times]
        models = {rate: diffusion.trained(real, counts, rate, seed) for rate in RATES}
        for place, (minutes, shown) in enumerate(zip(times, counts, strict=True)):
            distances = {}
            for rate in RATES:
                few = diffusion.samples(models[rate][place], FEW, seed)
                record = self.evaluator.full_of_images(few).record
                distances[rate] = record.figures["fcd_train"]
                print(f"learning rate {rate:g}: FCD {distances[rate]:.2f} of {FEW:,} samples")
            best = min(distances, key=distances.get)
            images = diffusion.samples(models[best][place], COUNT, seed)
            yield minutes, {"images_shown": shown, "lr": best} | self.scores(images)

    def scores(self, images: Tensor, labels: Tensor | None = None) -> dict:
        """The figures of uint8 images (COUNT, C, H, W)."""
        found = self.evaluator.full_of_images(images, labels).record.figures
        kept = {key: found[key] for key in (*SCORES, "fcd_train", "fcd_mlp_train") if key in found}
        if self.options.fid:
            kept["fid"] = inception.distance(images, self.evaluator.dataset, self.device)
        return kept


def in_order(points: list[dict]) -> list[dict]:
    """The points as the page lists them."""
    order = (*GANS, UNET).index
    return sorted(points, key=lambda point: (point["minutes"], order(point["model"])))


def table(points: list[dict]) -> str:
    """The table of one processor."""
    titles = ["model", "minutes", "images shown", *(title for title, _ in SCORES.values())]
    lines = [f"| {' | '.join([*titles, 'seconds'])} |", "| --- " * (len(titles) + 1) + "|"]
    for point in points:
        rate = f" (learning rate {point['lr']:g})" if "lr" in point else ""
        cells = [
            point["model"] + rate,
            f"{point['minutes']:g}{'*' if 'trained_on' in point else ''}",
            f"{point['images_shown']:,}" if "images_shown" in point else "",
            *(form.format(point[key]) if key in point else "" for key, (_, form) in SCORES.items()),
            f"{point['draw_seconds']:.1f}" if "draw_seconds" in point else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
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
    frontier = Frontier(options, load("fashion", options.data_dir))
    frontier.measure()
    shown = in_order(frontier.points)
    draw(shown)
    text = INTRODUCTION + (OF_UNET if any(p["model"] == UNET for p in shown) else NO_UNET)
    for processor in sorted({point["processor"] for point in shown}):
        of_it = [point for point in shown if point["processor"] == processor]
        where = sorted({point["trained_on"] for point in of_it if "trained_on" in point})
        facts = f"2 cores, torch {' and '.join(sorted({point['torch'] for point in of_it}))}"
        facts += f"; *: {', '.join(where)}" if where else ""
        text += f"\n## {processor}\n\n{facts}.\n\n{table(of_it)}\n"
    write_text(PAGE, text)
    print(f"done: {PAGE}")


if __name__ == "__main__":
    run_script(main)
