"""One training in several processes, on one machine or more.

    torchrun --nproc-per-node 2 gan_lab.py

Every process draws the whole order and all latents and takes its share of each batch, and averages
its gradients with the others': so many processes do what one does, to rounding. A network's
gradients travel as one flat buffer, as in NVlabs/stylegan3, training_loop.py; no module is wrapped,
so the penalty's double backward is plain autograd. Process 0 alone writes, prints and scores.

In a single process nothing here does anything.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab.data.datasets import Dataset
from lab.device import pick_device, processes
from lab.errors import Fault, Interrupted, Mistake, StopSwitch, made_good, signals_call
from lab.options import flag_of, said
from lab.text import counted

if TYPE_CHECKING:
    from lab.training.state import TrainingState  # which takes its shares of chance from here

OF_ONE_MACHINE = {"data_dir", "out"}  # options that may differ from process to process
OF_ONE_PROCESS = ("list", "report")  # options that look at runs
COURTESY = 3.0  # seconds in which process 0 may say first what went wrong
GONE = "another process of this training has ended, or does not answer"

Made = TypeVar("Made")


# Taking part


def take_part(main: Callable[[], None]) -> None:
    """Run `main` as one of torchrun's processes, or alone. What several find wrong, one says."""
    if not dist.is_available() or int(os.environ.get("WORLD_SIZE", 1)) == 1:
        main()
        return
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    with reaching_all():
        store, number, count = next(dist.rendezvous("env://"))
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        dist.init_process_group(backend, store=store, rank=number, world_size=count)
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere if number else sys.stdout),
    ):
        try:
            main()
        except (Mistake, Fault, Interrupted, OSError) as error:
            _leave(error, store)


def _leave(error: BaseException, store: dist.Store) -> NoReturn:
    """Raise the error in the process that is first to come here, end any other in silence."""
    number = dist.get_rank()
    with signals_call(lambda _: None):  # once a process has gone, the launcher ends the others
        if number:
            time.sleep(COURTESY)
        is_said = number > 0 and isinstance(error, Interrupted)  # process 0 saves, and says so
        with contextlib.suppress(RuntimeError):  # the store has gone with its machine
            is_said = is_said or store.add("said", 1) > 1
    if is_said:
        os._exit(1)  # at once: a GPU may still wait for the process that has gone
    if number:
        error.args = (f"process {number}: {error}",)
    raise error


@contextlib.contextmanager
def reaching_all() -> Iterator[None]:
    """OSError where other processes cannot be reached; a killed one closes its connections."""
    try:
        yield
    except RuntimeError:
        raise ConnectionAbortedError(GONE) from None


# Coming to the same


def is_first() -> bool:
    """Whether this is process 0, or the only one."""
    return processes() == 1 or dist.get_rank() == 0


def agreed(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were `given`, once all processes were given the same; else Mistake."""
    if processes() == 1:
        return given
    for name in OF_ONE_PROCESS:
        if name in given:
            raise Mistake(f"{said(name, given)}: is for a single process; leave torchrun out")
    everyone: list[Any] = [None] * processes()
    with reaching_all():
        dist.all_gather_object(everyone, given)
    for number, other in enumerate(everyone):
        for name in {**everyone[0], **other}.keys() - OF_ONE_MACHINE:
            values = [said(name, each) if name in each else "none" for each in (everyone[0], other)]
            if values[0] != values[1]:
                what = f"process 0 has {values[0]}, process {number} {values[1]}"
                raise Mistake(f"{flag_of(name)}: {what}; start all with the same options")
    return given


def from_first(make: Callable[[], Made]) -> Made:
    """What process 0 makes, for all: another machine may not have the folders it looks at."""
    made = [make() if is_first() else None]
    if processes() > 1:
        with reaching_all():
            dist.broadcast_object_list(made)
    return made[0]


@contextlib.contextmanager
def first_on_machine() -> Iterator[bool]:
    """The first process of each machine, told True, goes ahead: others find what it downloads."""
    goes_ahead = processes() == 1 or os.environ.get("LOCAL_RANK") == "0"
    if not goes_ahead:
        most(0)  # waits
    yield goes_ahead
    if goes_ahead:
        most(0)


def own_device(name: str) -> torch.device:
    """--device of this process: each has a GPU of its own. Mistake where there are too few."""
    if processes() == 1:
        return pick_device(name)
    if name == "mps":
        raise Mistake("--device mps: is for a single process; leave torchrun out, or give cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return pick_device("cpu" if name == "auto" else name)
    place, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place >= gpus:
        what = f"{counted(gpus, 'GPU')} for {os.environ['LOCAL_WORLD_SIZE']} processes"
        raise Mistake(f"--device {name}: {what}; start as many as there are, or give --device cpu")
    torch.cuda.set_device(place)
    return torch.device(pick_device("cuda").type, place)


def broadcast_state(state: TrainingState, dataset: Dataset) -> None:
    """Every process begins where process 0 does; Mistake if its images are others."""
    if processes() == 1:
        return
    chance = (state.order, state.latents, state.augmentation.stream)
    fingerprint, source, state.epoch, state.step, state.updates, *positions = from_first(
        lambda: (
            *(dataset.fingerprint, dataset.source, state.epoch, state.step, state.updates),
            *(each.get_state() for each in chance),
        )
    )
    if dataset.fingerprint != fingerprint:
        what = f"other images than those of process 0 ({source})"
        raise Mistake(f"--data-dir {dataset.source}: {what}; name a folder with the same")
    for each, position in zip(chance, positions, strict=True):
        each.set_state(position)
    with reaching_all():
        for tensor in state.tensors():
            dist.broadcast(tensor, 0)


# In every step


def share(batch: Tensor) -> Tensor:
    """This process's rows of a batch (B, ...): (B / processes, ...)."""
    return batch if processes() == 1 else batch.chunk(processes())[dist.get_rank()]


def average_gradients(network: nn.Module) -> None:
    """Make every gradient of `network` its mean over the processes."""
    if processes() == 1:
        return
    gradients = [weight.grad for weight in network.parameters()]
    flat = average(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def average(figures: Tensor) -> Tensor:
    """The mean over the processes, in place."""
    if processes() > 1:
        with reaching_all():
            dist.all_reduce(figures)
        figures /= processes()
    return figures


def most(number: int) -> int:
    """The largest number that a process comes with; each waits here for all others."""
    if processes() == 1:
        return number
    largest = torch.tensor(number)
    with reaching_all():
        dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


# The processes beside process 0


def follow(train: Callable, options: Any, state: TrainingState, dataset: Dataset) -> None:
    """Train as process 0 does, and leave it to write, print and score."""
    stop = StopSwitch(most)
    with signals_call(stop.note), made_good("--resume goes on from the last checkpoint"):
        train(options, state, dataset, Follower(options, state, stop))


class Follower:
    """Stands where process 0 has its report.Recorder: keeps in step with it, and writes nothing."""

    def __init__(self, options: Any, state: TrainingState, stop: StopSwitch) -> None:
        self.options, self.state, self.stop = options, state, stop

    def save_samples(self) -> None:
        """Process 0 does that."""

    def after_step(self) -> None:
        """Hear from the others whether to stop; with --minutes, how long the run is by now."""
        self.stop.look()
        if self.options.minutes:
            self.state.length.steps = most(0)  # process 0 comes with its length
        self.stop.raise_if_requested("")

    def after_epoch(self) -> None:
        """Begin the next epoch once process 0 has written this one down."""
        self.state.end_epoch(self.options.batch_size)
        self.stop.look()
        self.stop.raise_if_requested("")
