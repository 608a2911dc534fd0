"""How fast the lab trains: beside the textbook loop, and over what its matrix products alone take.

    python benchmarks/training.py --data-dir FOLDER

Measures in one run and in turn (A B A B ...), after a warm-up, and writes benchmarks/SPEED.md. The
lab's loop is `gan_lab.train` itself; the textbook loop is the one that tutorials teach, on the
classic recipe's networks. Each loop has a process of its own: the lab's settings of torch hold for
the lab's loop only.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import torch
from pages import write_section
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

import gan_lab
from lab.data import Dataset, load
from lab.device import DEVICES, PRECISIONS, describe_machine, pick_device, set_up_torch
from lab.errors import run_script
from lab.options import option, parse
from lab.training import MAX_EPOCHS, TrainingState
from lab.training.plan import complete_options

REPORT = Path(__file__).parent / "SPEED.md"
CPU = torch.device("cpu")
RECIPES = ("classic", "modern")
BATCHES = (64, 128)
WARM_UP = 50  # steps; CUDA graphs are recorded at the fourth step of either kind
GROWTH = (1, 2, 4, 8)  # epochs
INTRODUCTION = """# How fast the lab trains

"Textbook" is the training loop of the usual tutorials with the classic recipe's networks, at the row's batch size: DataLoader
over torchvision's set with ToTensor and Normalize, Sigmoid and BCELoss, plain Adam, `.item()` every step. "Lab" is
`gan_lab.train`, imported. The "floor" is the time of the matrix products of the lab's step alone, in float32 and at their own
shapes, without the recipe's gradient penalty; the last column is how much faster than the textbook a float32 step would be that
did nothing else. The modern recipe does more than the textbook (penalty, average, bands). bfloat16 rounds the factors of matrix
products where the processor has units for them, so it may be faster than the float32 floor.

Each figure is the median over the rounds, with minimum and maximum in brackets. The loops of a row took turns, after a warm-up,
each in a process of its own: the lab's and the floor's with the lab's settings (every core, denormals flushed, freed memory
kept), the textbook's with torch's defaults. A processor with more instructions is limited to AVX2 by
`ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2`.
"""  # noqa: E501
SECTION = """`python benchmarks/training.py --data-dir FOLDER --rounds {rounds} --steps {steps} --seed {seed} --device {device}`, {images:,} images,
{cores} cores, Python {python}, torch {torch}.

| recipe | precision | batch | textbook, images/s | lab, images/s | lab over textbook | lab's time over the floor | floor over textbook |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

Speed over longer runs: modern recipe, full set, one run after the other in one process:

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
    device: str = option("cpu", "where to compute", choices=DEVICES)


def training_options(*words: object) -> gan_lab.Options:
    """The options of gan_lab.py as typed."""
    return parse(gan_lab.Options, list(map(str, words)), gan_lab.RECIPES)


# The loops: each trains, and calls `after_step` after every step, until that raises


class TextbookImages(datasets.MNIST):
    """torchvision's set, its `__getitem__` and all, over images that are already in memory."""

    def __init__(self, dataset: Dataset) -> None:
        self.data, self.targets = dataset.train_images[:, 0], dataset.train_labels
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
        )
        self.target_transform = None


def textbook_loop(
    options: gan_lab.Options,
    state: TrainingState,
    dataset: Dataset,
    after_step: Callable[[], object],
) -> None:
    """The loop of PyTorch-GAN and of the tutorials, on the networks of `state`."""
    generator = state.generator
    discriminator = nn.Sequential(state.discriminator, nn.Sigmoid())
    betas = (options.beta1, options.beta2)
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=options.lr_g, betas=betas)
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=options.lr_d, betas=betas)
    criterion = nn.BCELoss()
    loader = DataLoader(
        TextbookImages(dataset), batch_size=options.batch_size, shuffle=True, drop_last=True
    )
    for _ in range(options.epochs):
        for images, _ in loader:
            real = images.to(state.device)
            valid = torch.ones(len(real), device=state.device)
            invalid = torch.zeros(len(real), device=state.device)

            optimizer_g.zero_grad()
            made = generator(torch.randn(len(real), options.latent_dim, device=state.device))
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
            state.count_step()
            after_step()


@dataclass
class SilentRecorder:
    """Stands in the place of lab.report.Recorder: writes nothing, and calls `after_step`."""

    options: gan_lab.Options
    state: TrainingState
    after_step: Callable[[], object]

    def save_samples(self) -> None:
        """No sample grid."""

    def after_epoch(self) -> None:
        """The next epoch begins."""
        self.state.end_epoch(self.options.batch_size)


def lab_loop(
    options: gan_lab.Options,
    state: TrainingState,
    dataset: Dataset,
    after_step: Callable[[], object],
) -> None:
    """The lab's own loop."""
    gan_lab.train(options, state, dataset, SilentRecorder(options, state, after_step))


def floor_loop(
    options: gan_lab.Options,
    state: TrainingState,
    dataset: Dataset,
    after_step: Callable[[], object],
) -> None:
    """Only the matrix products of a step of `options`, without penalty or pyramid."""
    products = list(step_products(options, math.prod(dataset.spec.shape), state.device))
    while True:
        for left, right in products:
            torch.mm(left, right)
        after_step()


def step_products(
    options: gan_lab.Options, pixels: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The factors of every matrix product of a step of fully connected networks.

    For a layer (i -> o) and n rows: forward n x i x o, the gradient of the weights o x n x i, the
    gradient of the input n x o x i. The generator makes its images once; the discriminator sees
    both halves in one pass, and then the generated ones again, without gradients of its weights.
    """
    batch = options.batch_size
    widths_g = (options.latent_dim, *options.hidden_g, pixels)
    widths_d = (pixels, *options.hidden_d, 1)

    def layer(rows: int, i: int, o: int, weights: bool, inputs: bool) -> Iterator:
        x, w, g = (torch.randn(*size, device=device) for size in ((rows, i), (o, i), (rows, o)))
        yield x, w.T
        if weights:
            yield g.T, x
        if inputs:
            yield g, w

    for place, (i, o) in enumerate(itertools.pairwise(widths_g)):
        yield from layer(batch, i, o, weights=True, inputs=place > 0)
    for place, (i, o) in enumerate(itertools.pairwise(widths_d)):
        yield from layer(2 * batch, i, o, weights=True, inputs=place > 0)
        yield from layer(batch, i, o, weights=False, inputs=True)


# Measuring

LOOPS = {"textbook": textbook_loop, "lab": lab_loop, "floor": floor_loop}


class Side:
    """One of LOOPS in a process of its own, which stands still unless it is its turn."""

    def __init__(
        self, name: str, options: gan_lab.Options, data_dir: Path | None, device: torch.device = CPU
    ) -> None:
        context = multiprocessing.get_context("spawn")  # nothing of this process goes along
        self.pipe, far_end = context.Pipe()
        arguments = (name, options, data_dir, far_end, device)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        far_end.close()  # so that the end of the process is noticed here

    def __call__(self, steps: int) -> None:
        """Train `steps` steps, one at least."""
        self.pipe.send(steps)
        self.pipe.recv()

    def stop(self) -> None:
        """End the process."""
        self.pipe.send(0)
        self.process.join()


def serve(
    name: str,
    options: gan_lab.Options,
    data_dir: Path | None,
    pipe: Connection,
    device: torch.device = CPU,
) -> None:
    """The life of a Side's process: steps are asked for until 0 are."""
    if name != "textbook":
        set_up_torch()
    dataset = load("fashion", data_dir)
    options = replace(complete_options(options, dataset), epochs=MAX_EPOCHS)
    state = gan_lab.initial_state(options, dataset, device)
    left = pipe.recv()

    def after_step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            if device.type == "cuda":
                torch.cuda.synchronize()  # steps are only launched so far
            pipe.send("done")
            left = pipe.recv()
            if left == 0:
                sys.exit()

    LOOPS[name](options, state, dataset, after_step)


def timed(
    settings: dict[str, tuple[str, gan_lab.Options]],
    data_dir: Path | None,
    rounds: int,
    steps: int,
    device: torch.device = CPU,
) -> dict[str, list[float]]:
    """Seconds a step of each side: all of them in turn, `rounds` times, after a warm-up.

    settings: for each side, which of LOOPS it is and the options of its training.
    """
    sides = {
        name: Side(loop, options, data_dir, device) for name, (loop, options) in settings.items()
    }
    for side in sides.values():
        side(max(WARM_UP, steps // 5))
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            side(steps)
            seconds[name].append((time.perf_counter() - began) / steps)
    for side in sides.values():
        side.stop()
    return seconds


def spread(values: list[float], form: str) -> str:
    """`median (least to most)`"""
    middle, low, high = (f(values) for f in (statistics.median, min, max))
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def measure(options: Options, precisions: Sequence[str], device: torch.device) -> list[str]:
    """A row of the table for each recipe, precision and batch size."""
    rows = []
    for recipe, precision, batch in itertools.product(RECIPES, precisions, BATCHES):
        common = ("--batch-size", batch, "--seed", options.seed)
        own = training_options("--recipe", recipe, "--precision", precision, *common)
        textbook = training_options("--recipe", "classic", *common)
        sides = {"textbook": ("textbook", textbook), "lab": ("lab", own), "floor": ("floor", own)}
        seconds = timed(sides, options.data_dir, options.rounds, options.steps, device)
        rate = {name: [batch / each for each in times] for name, times in seconds.items()}
        gain, over, most = (
            [a / b for a, b in zip(seconds[one], seconds[two], strict=True)]
            for one, two in (("textbook", "lab"), ("lab", "floor"), ("textbook", "floor"))
        )
        rows.append(
            f"| {recipe} | {precision} | {batch} | {spread(rate['textbook'], ',.0f')} "
            f"| {spread(rate['lab'], ',.0f')} | **{spread(gain, '.2f')}** "
            f"| {spread(over, '.2f')} | {spread(most, '.2f')} |"
        )
        print(rows[-1], flush=True)
    return rows


def growth(options: Options, image_count: int, device: torch.device) -> list[str]:
    """A row of the second table for each of GROWTH."""
    setting = training_options("--seed", options.seed)
    side = Side("lab", setting, options.data_dir, device)
    side(WARM_UP)
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
    image_count = len(load("fashion", options.data_dir).train_images)
    device = pick_device(options.device)
    facts = describe_machine(device)
    # On a GPU both are TF32.
    precisions = PRECISIONS if "AVX512" in facts["processor"] else ("float32",)
    text = SECTION.format(
        rounds=options.rounds,
        steps=options.steps,
        seed=options.seed,
        images=image_count,
        rows="\n".join(measure(options, precisions, device)),
        growth="\n".join(growth(options, image_count, device)),
        **{**facts, "device": device.type},
    )
    where = "" if device.type == "cpu" else f"{torch.cuda.get_device_name(device)}, beside "
    write_section(REPORT, INTRODUCTION, where + facts["processor"], text)
    print(f"done: {REPORT}")


if __name__ == "__main__":
    run_script(main)
