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
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab.device import pick_device, processes
from lab.errors import Fault, Interrupted, Mistake, signals_call
from lab.options import flag_of, said
from lab.text import counted

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
    with contextlib.ExitStack() as silence:
        if number:
            nowhere = silence.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            silence.enter_context(contextlib.redirect_stdout(nowhere))
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


def leads() -> bool:
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
                raise Mistake(
                    f"{flag_of(name)}: process 0 has {values[0]}, process {number} {values[1]}; "
                    "start all with the same options"
                )
    return given


def check_shared(options: Any) -> None:
    """Mistake for what several processes cannot share. options: those of gan_lab.py."""
    count = processes()
    if options.batch_size % count:
        raise Mistake(
            f"--batch-size {options.batch_size}: {count} processes cannot share it evenly; give a "
            f"multiple of {count}, or start another number of processes"
        )
    for name in ("batch_norm", "dropout"):
        if count > 1 and getattr(options, name):
            raise Mistake(
                f"{said(name, vars(options))}: each of {count} processes would have its own; "
                "leave it out, or train in one process"
            )


def from_first(make: Callable[[], Made]) -> Made:
    """What process 0 makes, for all: another machine may not have the folders it looks at."""
    made = [make() if leads() else None]
    if processes() > 1:
        with reaching_all():
            dist.broadcast_object_list(made)
    return made[0]


@contextlib.contextmanager
def first_on_machine() -> Iterator[bool]:
    """The first process of each machine goes ahead: what it downloads, the others find.

    Yields whether this is the first.
    """
    is_first = processes() == 1 or os.environ.get("LOCAL_RANK") == "0"
    if not is_first:
        most(0)
    yield is_first
    if is_first:
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
        raise Mistake(
            f"--device {name}: {counted(gpus, 'GPU')} for {os.environ['LOCAL_WORLD_SIZE']} "
            "processes; start as many as there are, or give --device cpu"
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place) if pick_device("cuda") else torch.device("cpu")


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
        gradient.copy_(part.view(gradient.shape))


def average(figures: Tensor) -> Tensor:
    """The mean over the processes, in place."""
    if processes() > 1:
        with reaching_all():
            dist.all_reduce(figures)
        figures /= processes()
    return figures


def most(number: int) -> int:
    """The largest number that a process comes with; each waits here for all others."""
    return _together(number, lambda each: dist.all_reduce(each, dist.ReduceOp.MAX))


def of_first(number: int) -> int:
    """The number that process 0 comes with."""
    return _together(number, lambda each: dist.broadcast(each, 0))


def _together(number: int, exchange: Callable[[Tensor], object]) -> int:
    if processes() == 1:
        return number
    each = torch.tensor(number)
    with reaching_all():
        exchange(each)
    return int(each)
