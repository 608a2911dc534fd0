"""How processes 1, 2, ... of several follow the training of process 0, whose state they get."""

from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from lab.data.datasets import Dataset
from lab.device import processes
from lab.errors import Mistake, StopSwitch, handle_signals, os_errors_as_faults
from lab.training.distributed import all_reduce_max, broadcast_object, connection_errors
from lab.training.state import TrainingState


def broadcast_state(state: TrainingState, dataset: Dataset) -> None:
    """Copy the training state of process 0 to all; Mistake if a process has other images."""
    if processes() == 1:
        return
    generators = (state.order, state.latents, state.augmentation.stream)
    position = (state.epoch, state.step, state.updates)
    own = (dataset.fingerprint, dataset.source, position, [each.get_state() for each in generators])
    fingerprint, source, position, random_states = broadcast_object(lambda: own)
    state.epoch, state.step, state.updates = position
    if dataset.fingerprint != fingerprint:
        what = f"other images than those of process 0 ({source})"
        raise Mistake(f"--data-dir {dataset.source}: {what}; name a folder with the same")
    for generator, random_state in zip(generators, random_states, strict=True):
        generator.set_state(random_state)
    with connection_errors():
        for tensor in state.tensors():
            dist.broadcast(tensor, 0)


def follow(train: Callable, options: Any, state: TrainingState, dataset: Dataset) -> None:
    """Train in process 1, 2, ..., without writing, printing or scoring anything."""
    stop = StopSwitch(all_reduce_max)
    with (
        handle_signals(stop.receive),
        os_errors_as_faults("--resume goes on from the last checkpoint"),
    ):
        train(options, state, dataset, Follower(options, state, stop))


class Follower:
    """Replaces report.Recorder: makes the same calls between processes, and writes nothing."""

    def __init__(self, options: Any, state: TrainingState, stop: StopSwitch) -> None:
        self.options, self.state, self.stop = options, state, stop

    def save_samples(self) -> None:
        """Process 0 does this."""

    def after_step(self) -> None:
        """Learn whether a process got a signal and, with --minutes, the length of the run."""
        self.stop.synchronise()
        if self.options.minutes:
            self.state.length.steps = all_reduce_max(0)  # process 0 passes the length
        self.stop.raise_if_requested("")

    def after_epoch(self) -> None:
        """End the epoch, and wait until process 0 has recorded it."""
        self.state.end_epoch(self.options.batch_size)
        self.stop.synchronise()
        self.stop.raise_if_requested("")
