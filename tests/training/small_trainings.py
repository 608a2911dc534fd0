"""Small trainings for tests of lab/training: gan_lab.py's own loop over a few images of the sample.

Matrices are multiplied in full precision, so that the same is computed on any processor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gan_lab
from gan_lab import RECIPES, Options
from lab.data import Dataset, load_sample
from lab.options import parse
from lab.training.length import Length
from lab.training.networks import suited_to
from lab.training.state import TrainingState, save_checkpoint

BATCH = 50
MAPS = ("--channels-g", "6", "4", "--channels-d", "4", "6")
SMALL = (
    *("--hidden-g", "24", "32", "--hidden-d", "32", "24", "--latent-dim", "8"),
    *("--batch-size", str(BATCH), "--device", "cpu", "--precision", "float32", "--epochs", "1"),
)
CPU = torch.device("cpu")


def small_options(recipe: str = "modern", *more: str) -> Options:
    """The options of a small training of one epoch; `more`: further command-line options."""
    return suited_to(parse(Options, ["--recipe", recipe, *SMALL, *more], RECIPES), (1, 28, 28))


@cache
def images(count: int) -> Dataset:
    """The first `count` training images of Fashion-MNIST's sample."""
    sample = load_sample("fashion")
    return dataclasses.replace(sample, train_images=sample.train_images[:count])


def small_state(
    options: Options, dataset: Dataset | None = None, device: torch.device = CPU
) -> TrainingState:
    """A training before its first step."""
    return gan_lab.initial_state(options, dataset or images(1000), device)


class Recorder:
    """Replaces report.Recorder: calls a function after each step, and keeps the epochs' rows."""

    def __init__(self, options: Options, state: TrainingState) -> None:
        self.options, self.state = options, state
        self.rows: list[dict] = []
        self.each_step: Callable[[], object] = lambda: None

    def save_samples(self) -> None:
        """Does nothing."""

    def after_step(self) -> None:
        """Call `each_step`."""
        self.each_step()

    def after_epoch(self) -> None:
        """Keep the epoch's row."""
        self.rows.append(self.state.end_epoch(self.options.batch_size))


def trained(
    options: Options,
    state: TrainingState,
    dataset: Dataset,
    each_step: Callable[[], object] = lambda: None,
) -> list[dict]:
    """Train to the end as gan_lab.py does; returns the rows of the epochs."""
    state.length = Length.of(options, len(dataset.train_images))
    recorder = Recorder(options, state)
    recorder.each_step = each_step
    gan_lab.train(options, state, dataset, recorder)
    return recorder.rows


class Stopped(Exception):
    """The training was stopped."""


def stopped_after(steps: int, options: Options, path: Path) -> None:
    """Train with 200 images, 4 steps per epoch, and save a checkpoint after `steps` steps."""
    state = small_state(options)

    def each_step() -> None:
        if state.updates == steps:
            save_checkpoint(path, state)
            raise Stopped

    with pytest.raises(Stopped):
        trained(options, state, images(200), each_step)


def weights_of(state: TrainingState) -> dict[str, Tensor]:
    """Copies of all weights and buffers of a training's networks."""
    return {
        f"{name}.{key}": value.clone()
        for name in ("generator", "discriminator", "ema")
        for key, value in getattr(state, name).state_dict().items()
    }


def are_equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    """Whether two state dictionaries are equal, bit for bit."""
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
