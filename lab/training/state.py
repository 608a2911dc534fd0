"""The state of a training: everything that changes from step to step, and its way to disk and back.

Going on from a checkpoint equals never having stopped, bit for bit on a CPU: besides both networks
it holds both optimizers, the average, every stream of random numbers, and the place in the epoch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab.errors import Fault
from lab.models import serialization as tensors
from lab.models.networks import Discriminator, Generator
from lab.training.optim import Adam

FORMAT = "gan-lab checkpoint"
MOST_FIGURE = 1e30  # no loss of a training that goes on, and no count of steps, is beyond
TOTALS = ("d_loss", "g_loss", "d_real", "d_fake")  # summed over the steps of an epoch
# What parts of a checkpoint raise that are not what they should be.
WRONG_PARTS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
COLUMNS = ("epoch", "seconds", "images_per_second", *TOTALS)  # what each row of history has


@dataclass
class Training:
    """All that training changes."""

    generator: Generator
    discriminator: Discriminator
    average: Generator  # the moving average of the generator; the generator itself if not averaged
    optimizer_g: Adam
    optimizer_d: Adam
    order: torch.Generator  # which images in which order
    latents: torch.Generator  # what the generator is fed
    totals: Tensor  # (4,) sums of TOTALS over the steps of this epoch
    origin: str = ""  # the set and the seed, for people: by it a checkpoint is known as a run's own
    epoch: int = 0  # epochs completed
    step: int = 0  # steps completed of the epoch under way
    updates: int = 0  # steps completed in all
    seconds: float = 0.0  # spent in the epoch under way
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.totals.device


def save(path: Path, training: Training, order_state: Tensor) -> None:
    """Write the checkpoint, whole.

    order_state: the state of `order` as the epoch under way began, from which its order is drawn
    again.
    """
    content = {
        "format": FORMAT,
        "version": tensors.FORMAT_VERSION,
        "networks": {name: tensors.plain_state(net) for name, net in _networks(training).items()},
        "optimizers": {
            name: optimizer.state() for name, optimizer in _optimizers(training).items()
        },
        "streams": {
            "order": order_state,
            "device": training.latents.device.type,
            "latents": training.latents.get_state(),
            "dropout": torch.get_rng_state(),
            "dropout_cuda": torch.cuda.get_rng_state() if training.totals.is_cuda else None,
            "dropout_mps": torch.mps.get_rng_state() if training.totals.is_mps else None,
        },
        "totals": training.totals,
        "origin": training.origin,
        "epoch": training.epoch,
        "step": training.step,
        "seconds": training.seconds,
        "history": training.history,
    }
    tensors.write_tensors(path, content)


def load(path: Path, training: Training) -> None:
    """Put `training`, freshly begun with the run's options, where the checkpoint was saved.

    Raises Fault if the file is damaged, hostile, or of a run with other options.
    """
    content = tensors.read_tensors(path, FORMAT)
    if content.get("origin", training.origin) != training.origin:  # older ones do not say it
        raise Fault(f"{path}: is of another run ({content['origin']}, not {training.origin})")
    try:
        for part in ("networks", "optimizers", "streams"):
            if not isinstance(content[part], dict):
                raise TypeError(f"{part} is a {type(content[part]).__name__}")
        for name, network in _networks(training).items():
            tensors.check_state(path, network, content["networks"][name])
            network.load_state_dict(content["networks"][name])
        for name, optimizer in _optimizers(training).items():
            optimizer.load_state(content["optimizers"][name])
        _check_progress(path, content)
        _set_streams(training, content["streams"])
        training.totals.copy_(content["totals"])
        training.epoch, training.step = int(content["epoch"]), int(content["step"])
        training.updates = int(training.optimizer_g.steps)
        training.seconds = max(1e-6, float(content["seconds"]))  # it will be divided by
        training.history = [dict(row) for row in content["history"]]
    except WRONG_PARTS as error:
        raise Fault(f"{path}: damaged checkpoint ({type(error).__name__}: {error})") from None


def _set_streams(training: Training, streams: dict[str, Any]) -> None:
    """Every stream of random numbers where it was; its optimizers' steps are known already."""
    training.order.set_state(streams["order"])
    if streams.get("device", training.latents.device.type) == training.latents.device.type:
        training.latents.set_state(streams["latents"])
    else:  # each kind of device has streams of its own: as random, but other numbers
        updates = int(training.optimizer_g.steps)
        training.latents.manual_seed((training.latents.initial_seed() + updates) % 2**63)
    torch.set_rng_state(streams["dropout"])
    if training.totals.is_cuda and streams["dropout_cuda"] is not None:
        torch.cuda.set_rng_state(streams["dropout_cuda"])
    if training.totals.is_mps and streams.get("dropout_mps") is not None:
        torch.mps.set_rng_state(streams["dropout_mps"])


def _check_progress(path: Path, content: dict[str, Any]) -> None:
    """Fault unless place, totals and history are such as a training leaves them."""
    place = [content["epoch"], content["step"], content["seconds"]]
    rows, totals = content["history"], content["totals"]
    if totals.shape != (len(TOTALS),):  # before it becomes a list: it may claim any length
        raise Fault(f"{path}: damaged checkpoint (its totals are {tuple(totals.shape)})")
    cells = [cell for row in rows for cell in row.values()]
    numbers = [*place, *totals.tolist(), *cells]
    if not all(isinstance(each, (int, float)) and abs(each) < MOST_FIGURE for each in numbers):
        raise Fault(f"{path}: damaged checkpoint (text, NaN or infinity among its figures)")
    names_fit = all(set(COLUMNS) <= set(row) and all(map(str.isidentifier, row)) for row in rows)
    epochs = [row.get("epoch") for row in rows]
    in_order = len(rows) == content["epoch"] and epochs == list(range(1, len(rows) + 1))
    if min(place) < 0 or not names_fit or not in_order:
        raise Fault(f"{path}: damaged checkpoint (its history does not fit its epoch)")


def _networks(training: Training) -> dict[str, torch.nn.Module]:
    return {
        "generator": training.generator,
        "discriminator": training.discriminator,
        "average": training.average,
    }


def _optimizers(training: Training) -> dict[str, Adam]:
    return {"generator": training.optimizer_g, "discriminator": training.optimizer_d}


class Clock:
    """Says when a checkpoint is due: often enough to lose little, seldom enough to cost little.

    At the end of an epoch after 10 s, within one after 60 s; later where saving takes more than a
    sixtieth of that time. A disk that takes up to 2 s thus costs less than 2 % of the time, and a
    crash never more than 2 minutes.
    """

    def __init__(self) -> None:
        self.saved_at = time.monotonic()
        self.cost = 0.0  # seconds the last checkpoint took

    def is_due(self, end_of_epoch: bool) -> bool:
        """Whether to save now."""
        waited = time.monotonic() - self.saved_at
        return waited > max(10 if end_of_epoch else 60, 60 * self.cost)

    def saved(self, seconds: float) -> None:
        """Take note that a checkpoint was just written, in `seconds`."""
        self.saved_at, self.cost = time.monotonic(), seconds
