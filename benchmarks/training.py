"""How fast the lab trains: beside the textbook loop, and over what its matrix products alone take.

    python benchmarks/training.py --data-dir FOLDER

Measures in one run and in turn (A B A B ...), after a warm-up, and writes benchmarks/SPEED.md. The
lab's step is the one of gan_lab.py, imported; the textbook loop is the one that tutorials teach.
Each loop has a process of its own: the lab's settings of torch hold for the lab's loop only.
"""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

import gan_lab
from lab import device as machine
from lab import files as storage
from lab.data import datasets as data
from lab.errors import run_script
from lab.options import option, parse
from lab.training import cuda_graph as graphs
from lab.training.state import Training

REPORT = Path(__file__).parent / "SPEED.md"
GROWTH = (1, 2, 4, 8)  # epochs
TEMPLATE = """# How fast the lab trains

`python benchmarks/training.py --data-dir FOLDER --rounds {rounds} --steps {steps} --seed {seed}`, {images:,} images,
{cores} cores ({device}), Python {python}, torch {torch}. Each figure is the median of {rounds} rounds of {steps} steps,
with the least and the most. The loops of a row took turns, after a warm-up, each in a process of its own: the lab's and
the floor's with the lab's settings (every core, denormals flushed, freed memory kept), the textbook's as torch comes.

Textbook is the loop of the tutorials on the same networks and batch: DataLoader over torchvision's set with ToTensor
and Normalize, Sigmoid and BCELoss, plain Adam, `.item()` every step. Lab is `gan_lab.train_step`, imported. The floor is
the time that the step's matrix products alone take, in float32 and at their own shapes, without the recipe's gradient
penalty or pyramid; the last column is what a float32 step would gain that did nothing else. The modern recipe does more
than the textbook (penalty, average); bfloat16 rounds the factors of matrix products, so it may be faster than the
float32 floor.

| recipe | precision | batch | textbook, images/s | lab, images/s | lab over textbook | lab's time over the floor | floor over textbook |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

## The cost of more epochs

The modern recipe, full set, one after the other in one process: time grows as the images shown do.

| epochs | images shown | seconds | images/s |
| --- | --- | --- | --- |
{growth}
"""  # noqa: E501


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with the set's IDX files", folder=True)
    rounds: int = option(7, "timed rounds of each side", low=5, high=100)
    steps: int = option(150, "steps a round", low=8, high=10_000)
    seed: int = option(0, "decides weights and order", low=0, high=2**63 - 1)


# The two loops: each gives a function that trains `steps` steps


class TextbookImages(datasets.MNIST):
    """torchvision's set, its `__getitem__` and all, over images that are already in memory."""

    def __init__(self, image_set: data.ImageSet) -> None:
        self.data, self.targets = image_set.train_images[:, 0], image_set.train_labels
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
        )
        self.target_transform = None


def textbook_loop(
    options: gan_lab.Options, image_set: data.ImageSet, training: Training
) -> Callable[[int], None]:
    """The loop of PyTorch-GAN and of the tutorials, on the networks of `training`."""
    generator = training.generator
    discriminator = nn.Sequential(training.discriminator, nn.Sigmoid())
    betas = (options.beta1, options.beta2)
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=options.lr_g, betas=betas)
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=options.lr_d, betas=betas)
    criterion = nn.BCELoss()
    loader = DataLoader(
        TextbookImages(image_set), batch_size=options.batch_size, shuffle=True, drop_last=True
    )

    def batches() -> Iterator[Tensor]:
        while True:
            for images, _ in loader:
                yield images

    stream = batches()

    def run(steps: int) -> None:
        for _ in range(steps):
            real = next(stream)
            valid, invalid = torch.ones(len(real)), torch.zeros(len(real))

            optimizer_g.zero_grad()
            made = generator(torch.randn(len(real), options.latent_dim))
            g_loss = criterion(discriminator(made), valid)
            g_loss.backward()
            optimizer_g.step()

            optimizer_d.zero_grad()
            real_loss = criterion(discriminator(real), valid)
            fake_loss = criterion(discriminator(made.detach()), invalid)
            d_loss = (real_loss + fake_loss) / 2
            d_loss.backward()
            optimizer_d.step()
            _ = d_loss.item(), g_loss.item()

    return run


def lab_loop(
    options: gan_lab.Options, image_set: data.ImageSet, training: Training
) -> Callable[[int], None]:
    """The lab's loop: gan_lab.train_step on batches by index, as gan_lab.train_epoch feeds it."""
    images = image_set.train_images

    def batches() -> Iterator[Tensor]:
        while True:
            yield from torch.randperm(len(images), generator=training.order).split(
                options.batch_size
            )[: len(images) // options.batch_size]

    stream = batches()
    step = graphs.Replayed(partial(gan_lab.train_step, options, training), training)

    def run(steps: int) -> None:
        for _ in range(steps):
            real = data.to_float(images.index_select(0, next(stream)))
            with machine.matrix_products(options.precision, real.device, options.convolutional):
                training.totals += step(real, gan_lab.penalty_is_due(options, training))
            gan_lab.finish_step(options, training)

    return run


def floor_loop(options: gan_lab.Options, *_: object) -> Callable[[int], None]:
    """Only the matrix products of a step, at their own shapes, without penalty or pyramid.

    For a layer (i -> o) and n rows: forward n x i x o, the gradient of the weights o x n x i, the
    gradient of the input n x o x i. The generator makes its images once; the discriminator sees
    both halves in one pass, and then the generated ones again, without gradients of its weights.
    """
    batch = options.batch_size
    widths_g = (options.latent_dim, *options.hidden_g, 784)
    widths_d = (784, *options.hidden_d, 1)
    products: list[tuple[Tensor, Tensor]] = []

    def layer(rows: int, i: int, o: int, weights: bool, inputs: bool) -> None:
        x, w, g = torch.randn(rows, i), torch.randn(o, i), torch.randn(rows, o)
        products.append((x, w.T))
        if weights:
            products.append((g.T, x))
        if inputs:
            products.append((g, w))

    for place, (i, o) in enumerate(itertools.pairwise(widths_g)):
        layer(batch, i, o, weights=True, inputs=place > 0)
    for place, (i, o) in enumerate(itertools.pairwise(widths_d)):
        layer(2 * batch, i, o, weights=True, inputs=place > 0)
        layer(batch, i, o, weights=False, inputs=True)

    def run(steps: int) -> None:
        for _ in range(steps):
            for left, right in products:
                torch.mm(left, right)

    return run


# Measuring

LOOPS = {"textbook": textbook_loop, "lab": lab_loop, "floor": floor_loop}


class Side:
    """One of LOOPS in a process of its own, which stands still unless it is its turn."""

    def __init__(self, name: str, options: gan_lab.Options, data_dir: Path | None) -> None:
        context = multiprocessing.get_context("spawn")  # nothing of this process goes along
        self.pipe, far_end = context.Pipe()
        arguments = (name, options, data_dir, far_end)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()

    def __call__(self, steps: int) -> None:
        """Train `steps` steps."""
        self.pipe.send(steps)
        self.pipe.recv()

    def stop(self) -> None:
        """End the process."""
        self.pipe.send(0)
        self.process.join()


def serve(name: str, options: gan_lab.Options, data_dir: Path | None, pipe: Connection) -> None:
    """The life of a Side's process: steps are asked for until 0 are."""
    if name != "textbook":
        machine.prepare()
    training = gan_lab.begin(options, torch.device("cpu"))
    run = LOOPS[name](options, data.load("fashion", data_dir), training)
    while steps := pipe.recv():
        run(steps)
        pipe.send(steps)


def timed(loops: dict[str, Callable[[int], None]], rounds: int, steps: int) -> dict[str, list]:
    """Seconds a step of each loop: all of them in turn, `rounds` times, after a warm-up."""
    for run in loops.values():
        run(max(8, steps // 5))
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, run in loops.items():
            began = time.perf_counter()
            run(steps)
            seconds[name].append((time.perf_counter() - began) / steps)
    return seconds


def spread(values: list[float], form: str) -> str:
    """`median (least to most)`"""
    middle, low, high = (f(values) for f in (statistics.median, min, max))
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def measure(options: Options) -> list[str]:
    """A row of the table for each recipe, precision and batch size."""
    settings = list(itertools.product(("classic", "modern"), machine.PRECISIONS))
    rows = []
    for (recipe, precision), batch in itertools.product(settings, (64, 128)):
        given = ["--recipe", recipe, "--precision", precision, "--batch-size", str(batch)]
        setting = parse(gan_lab.Options, [*given, "--seed", str(options.seed)], gan_lab.RECIPES)
        sides = {name: Side(name, setting, options.data_dir) for name in LOOPS}
        seconds = timed(sides, options.rounds, options.steps)
        for side in sides.values():
            side.stop()
        rate = {name: [batch / each for each in times] for name, times in seconds.items()}
        gain = [a / b for a, b in zip(seconds["textbook"], seconds["lab"], strict=True)]
        over = [a / b for a, b in zip(seconds["lab"], seconds["floor"], strict=True)]
        most = [a / b for a, b in zip(seconds["textbook"], seconds["floor"], strict=True)]
        rows.append(
            f"| {recipe} | {precision} | {batch} | {spread(rate['textbook'], ',.0f')} "
            f"| {spread(rate['lab'], ',.0f')} | **{spread(gain, '.2f')}** "
            f"| {spread(over, '.2f')} | {spread(most, '.2f')} |"
        )
        print(rows[-1], flush=True)
    return rows


def growth(options: Options, image_count: int) -> list[str]:
    """A row of the second table for each of GROWTH."""
    setting = parse(gan_lab.Options, ["--seed", str(options.seed)], gan_lab.RECIPES)
    side = Side("lab", setting, options.data_dir)
    side(50)  # warm up
    rows = []
    for epochs in GROWTH:
        steps = epochs * (image_count // setting.batch_size)
        began = time.perf_counter()
        side(steps)
        seconds = time.perf_counter() - began
        shown = steps * setting.batch_size
        rows.append(f"| {epochs} | {shown:,} | {seconds:.1f} | {shown / seconds:,.0f} |")
        print(rows[-1], flush=True)
    side.stop()
    return rows


def main() -> None:
    """Measure and write the report."""
    options = parse(Options)
    image_set = data.load("fashion", options.data_dir)
    rows = measure(options)
    facts = machine.description(torch.device("cpu"))
    text = TEMPLATE.format(
        rounds=options.rounds,
        steps=options.steps,
        seed=options.seed,
        images=len(image_set.train_images),
        rows="\n".join(rows),
        growth="\n".join(growth(options, len(image_set.train_images))),
        **facts,
    )
    storage.write_text(REPORT, text)
    print(f"done: {REPORT}")


if __name__ == "__main__":
    run_script(main)
