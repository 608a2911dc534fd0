"""What the processes beside process 0 do: begin where it begins, and keep in step with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from lab.data.datasets import Dataset
from lab.device import processes
from lab.errors import Mistake, StopSwitch, made_good, signals_call
from lab.training.distributed import from_first, most, of_first, reaching_all
from lab.training.state import TrainingState


def begin_alike(state: TrainingState, dataset: Dataset) -> None:
    """Every process goes on from where process 0 is; Mistake if its images are others."""
    if processes() == 1:
        return
    fingerprint, source = from_first(lambda: (dataset.fingerprint, dataset.source))
    if dataset.fingerprint != fingerprint:
        raise Mistake(
            f"--data-dir {dataset.source}: other images than those of process 0 ({source}); name "
            "a folder with the same"
        )
    chance = (state.order, state.latents)
    state.epoch, state.step, state.updates, *positions = from_first(
        lambda: (state.epoch, state.step, state.updates, *(each.get_state() for each in chance))
    )
    for each, position in zip(chance, positions, strict=True):
        each.set_state(position)
    with reaching_all():
        for tensor in state.tensors():
            dist.broadcast(tensor, 0)


def follow(
    train: Callable[..., None], options: Any, state: TrainingState, dataset: Dataset
) -> None:
    """Train as process 0 does, and leave it to write, print and score."""
    stop = StopSwitch(most)
    with signals_call(stop.note), made_good("--resume goes on from the last checkpoint"):
        train(options, state, dataset, Follower(options, state, stop))


class Follower:
    """Stands where process 0 has its report.Recorder: keeps in step with it, and writes nothing."""

    def __init__(self, options: Any, state: TrainingState, stop: StopSwitch) -> None:
        self.options, self.state, self.stop = options, state, stop

    def save_samples(self) -> None:
        """Not here."""

    def after_step(self) -> None:
        """Hear from the others whether to stop; with --minutes, how long the run is by now."""
        self.stop.look()
        if self.options.minutes:
            self.state.length.steps = of_first(self.state.length.steps)
        self.stop.raise_if_requested("")

    def after_epoch(self) -> None:
        """Begin the next epoch once process 0 has written this one down."""
        self.state.end_epoch(self.options.batch_size)
        self.stop.look()
        self.stop.raise_if_requested("")
