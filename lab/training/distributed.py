"""Data-parallel training in several processes, on one or more machines.

    torchrun --nproc-per-node 2 gan_lab.py

Every process draws the random numbers of the whole batch, keeps its shard, and averages its
gradients with the other processes, so the result equals that of a single process up to rounding.
The gradients of a network are sent as one flat buffer, as in NVlabs/stylegan3, training_loop.py.
Modules are not wrapped (as in DistributedDataParallel), so that the gradient penalty's double
backward works. Only process 0 writes files, prints and computes scores.

In a single process these functions do nothing.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lab.device import pick_device, processes
from lab.errors import Fault, Interrupted, Mistake, handle_signals
from lab.options import as_typed, flag_of
from lab.text import counted

TORCHRUN = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # sets these
MAY_DIFFER = {"data_dir", "out"}  # options that may differ between processes
GRACE_SECONDS = 3.0  # other processes wait so long for process 0 to report an error
GONE = "another process of this training has ended, or does not answer"

Value = TypeVar("Value")


# Start and end of a process


def run_distributed(main: Callable[[], None]) -> None:
    """Run `main`, as one of torchrun's processes if there are any; one of them reports errors."""
    if not dist.is_available() or os.environ.get("WORLD_SIZE", "1") == "1":
        main()
        return
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    try:
        if missing := [name for name in TORCHRUN if name not in os.environ]:
            raise ValueError(f"{missing[0]} is not")
        with connection_errors():
            store, number, count = next(dist.rendezvous("env://"))
            dist.init_process_group(backend, store=store, rank=number, world_size=count)
    except ValueError as error:  # not started by torchrun
        raise Mistake(f"WORLD_SIZE is set, but {error}; unset it, or start torchrun") from None
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere if number else sys.stdout),
    ):
        try:
            main()
        except (Mistake, Fault, Interrupted, OSError) as error:
            _leave(error, store)


def _leave(error: BaseException, store: "dist.Store") -> NoReturn:
    """Raise the error in the first process that arrives here and end the others silently."""
    number = dist.get_rank()
    with handle_signals(lambda _: None):  # torchrun signals the others once a process has ended
        if number:
            time.sleep(GRACE_SECONDS)
        is_reported = number > 0 and isinstance(error, Interrupted)  # process 0 saves and reports
        with contextlib.suppress(RuntimeError):  # the store may have ended with its machine
            is_reported = is_reported or store.add("reported", 1) > 1
    if is_reported:
        os._exit(1)  # without cleanup: a GPU may be waiting for the process that has ended
    if number:
        error.args = (f"process {number}: {error}",)
    raise error


@contextlib.contextmanager
def connection_errors() -> Iterator[None]:
    """Turn torch's RuntimeError into an OSError where other processes cannot be reached."""
    try:
        yield
    except RuntimeError:
        raise ConnectionAbortedError(GONE) from None


# The same options and data in all processes


def is_first() -> bool:
    """Whether this is process 0, or the only one."""
    return processes() == 1 or dist.get_rank() == 0


def check_same_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return `given`; Mistake if another process was given other options."""
    if processes() == 1:
        return given
    for name in ("list", "report"):
        if name in given:
            raise Mistake(f"{as_typed(name, given)}: is for a single process; leave torchrun out")
    everyone: list[Any] = [None] * processes()
    with connection_errors():
        dist.all_gather_object(everyone, given)
    for number, other in enumerate(everyone):
        for name in {**everyone[0], **other}.keys() - MAY_DIFFER:
            both = (everyone[0], other)
            values = [as_typed(name, each) if name in each else "none" for each in both]
            if values[0] != values[1]:
                what = f"process 0 has {values[0]}, process {number} {values[1]}"
                raise Mistake(f"{flag_of(name)}: {what}; start all with the same options")
    return given


def broadcast_object(make: Callable[[], Value]) -> Value:
    """Call `make` in process 0 only, whose machine has the run folders; return its value in all."""
    value = [make() if is_first() else None]
    if processes() > 1:
        with connection_errors():
            dist.broadcast_object_list(value)
    return value[0]


@contextlib.contextmanager
def first_on_machine() -> Iterator[bool]:
    """Run the block first in one process per machine, so that only this one downloads.

    The block gets True in that process. `all_reduce_max` serves as a barrier.
    """
    goes_first = processes() == 1 or os.environ.get("LOCAL_RANK") == "0"
    if not goes_first:
        all_reduce_max(0)
    yield goes_first
    if goes_first:
        all_reduce_max(0)


def pick_local_device(name: str) -> torch.device:
    """The device of this process, one GPU per process. Mistake where there are too few GPUs."""
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


# In every step


def shard(batch: Tensor) -> Tensor:
    """This process's rows of a batch (B, ...): (B / processes, ...)."""
    return batch if processes() == 1 else batch.chunk(processes())[dist.get_rank()]


def average_gradients(network: nn.Module) -> None:
    """Replace every gradient of `network` by its mean over the processes."""
    if processes() == 1:
        return
    gradients = [weight.grad for weight in network.parameters()]
    flat = average(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def average(values: Tensor) -> Tensor:
    """The mean of `values` over the processes, in place."""
    if processes() > 1:
        with connection_errors():
            dist.all_reduce(values)
        values /= processes()
    return values


def all_reduce_max(number: int) -> int:
    """The largest `number` of all processes; waits for all of them."""
    if processes() == 1:
        return number
    largest = torch.tensor(number)
    with connection_errors():
        dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)
