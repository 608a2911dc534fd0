"""The state of a training, and the checkpoint that stores it.

A checkpoint holds the networks, the moving average, the optimizers, the random generators and the
position in the epoch, so that a resumed training equals an uninterrupted one, on a CPU bit for bit.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lab.errors import Fault
from lab.models import tensor_files
from lab.training.augmentation import Augmentation
from lab.training.length import Length
from lab.training.losses import Loss
from lab.training.optim import Adam

FORMAT = "gan-lab checkpoint"
MAX_FIGURE = 1e30  # larger losses or counts in a checkpoint are damage
STEP_FIGURES = ("d_loss", "g_loss", "d_real", "d_fake")  # summed over the steps of an epoch
COLUMNS = ("epoch", "seconds", "images_per_second", *STEP_FIGURES)  # of every row of the history
# The exceptions that damaged parts of a checkpoint raise.
DAMAGE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass
class TrainingState:
    """Everything that training changes."""

    generator: nn.Module
    discriminator: nn.Module
    ema: nn.Module  # moving average of the generator; without --ema-decay the generator itself
    optimizer_g: Adam
    optimizer_d: Adam
    order: torch.Generator  # shuffles the training images
    latents: torch.Generator  # draws the latents
    totals: Tensor  # (4,) sums of STEP_FIGURES over the steps of the current epoch
    length: Length  # of the whole run; with --minutes it changes
    augmentation: Augmentation  # of the discriminator's inputs
    origin: str = ""  # named set and seed, which a checkpoint must have in common with its run
    epoch: int = 0  # completed epochs
    step: int = 0  # completed steps of the current epoch
    updates: int = 0  # completed steps of all epochs
    seconds: float = 0.0  # training time of the current epoch
    history: list[dict[str, Any]] = field(default_factory=list)
    order_state: Tensor | None = None  # state of `order` at the start of the current epoch
    began: float = 0.0  # time.monotonic() now less `seconds`

    device = property(lambda state: state.totals.device)

    @property
    def schedule_step(self) -> int:
        """The position in the learning-rate schedule; like `updates` if all epochs were whole."""
        return self.epoch * self.length.epoch_steps + self.step

    def set_rates(self, options: Any) -> None:
        factor = self.length.lr_factor(self.schedule_step, options)
        self.optimizer_g.lr, self.optimizer_d.lr = options.lr_g * factor, options.lr_d * factor

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by their names in a checkpoint."""
        return {"generator": self.generator, "discriminator": self.discriminator, "ema": self.ema}

    @property
    def optimizers(self) -> dict[str, Adam]:
        return {"generator": self.optimizer_g, "discriminator": self.optimizer_d}

    def discriminate(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The discriminator's logits (N,) for augmented images (N, C, H, W)."""
        return self.discriminator(self.augmentation(images), labels)

    def tensors(self) -> list[Tensor]:
        """Every tensor on the training device that training changes, without the generators."""
        return [
            *(part for net in self.networks.values() for part in net.state_dict().values()),
            *(part for adam in self.optimizers.values() for part in (*adam.means, *adam.squares)),
            *(adam.steps for adam in self.optimizers.values()),
            self.totals,
        ]

    def check_divergence(self, loss: Loss) -> None:
        """Fault if the mean losses of the current epoch are too large or a weight is not finite."""
        means = self.means()
        weights = sum(
            weight.detach().sum() for net in self.networks.values() for weight in net.parameters()
        )
        losses_are_sane = all(abs(means[name]) < loss.most for name in ("d_loss", "g_loss"))
        if not (losses_are_sane and math.isfinite(weights)):
            raise Fault(
                f"training diverged in epoch {self.epoch + 1} (d_loss {means['d_loss']:.3g}, "
                f"g_loss {means['g_loss']:.3g}); the run keeps the generator saved last; "
                "start again with lower --lr-g and --lr-d"
            )

    def batches_left(self, images: int, batch_size: int) -> Iterator[Tensor]:
        """Indices (B,) of the remaining batches of the current epoch, shuffled.

        Images after the last full batch are left out. The last epoch may have fewer batches;
        `length` is read before each batch, because --minutes may change it.
        """
        self.order_state = self.order.get_state()
        order = torch.randperm(images, generator=self.order).to(self.device)
        self.began = time.monotonic() - self.seconds
        for number in range(self.step, images // batch_size):
            if number >= self.length.steps_of(self.epoch):
                break
            yield order[number * batch_size : (number + 1) * batch_size]
        self.totals.tolist()  # waits for the GPU, which runs steps later than Python
        self.seconds = time.monotonic() - self.began

    def count_step(self) -> None:
        self.step += 1
        self.updates += 1
        self.seconds = time.monotonic() - self.began

    def means(self) -> dict[str, float]:
        """STEP_FIGURES, averaged over the completed steps of the current epoch."""
        values = (self.totals / max(1, self.step)).tolist()
        return dict(zip(STEP_FIGURES, values, strict=True))

    def end_epoch(self, batch_size: int) -> dict[str, Any]:
        """End the current epoch and return its row, which is added to the history."""
        means, images = self.means(), self.step * batch_size
        self.epoch += 1
        row = {
            "epoch": self.epoch,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(images / max(self.seconds, 1e-3)),
            **{name: round(value, 6) for name, value in means.items()},
        }
        self.history.append(row)
        self.step, self.seconds, self.order_state = 0, 0.0, None
        self.totals.zero_()
        return row


def save_checkpoint(path: Path, state: TrainingState) -> None:
    """Write a checkpoint, atomically."""
    # A resumed training shuffles the images of the current epoch again, from the same state.
    order_state = state.order.get_state() if state.order_state is None else state.order_state
    content = {
        "format": FORMAT,
        "version": tensor_files.FORMAT_VERSION,
        "networks": {name: tensor_files.plain_state(net) for name, net in state.networks.items()},
        "optimizers": {name: adam.state_dict() for name, adam in state.optimizers.items()},
        "streams": {
            "order": order_state,
            "device": state.latents.device.type,
            "latents": state.latents.get_state(),
            "augmentation": state.augmentation.stream.get_state(),
            "dropout": torch.get_rng_state(),
            "dropout_cuda": torch.cuda.get_rng_state() if state.totals.is_cuda else None,
            "dropout_mps": torch.mps.get_rng_state() if state.totals.is_mps else None,
        },
        **{
            part: getattr(state, part)
            for part in ("totals", "origin", "epoch", "step", "seconds", "history")
        },
    }
    tensor_files.write_tensors(path, content)


def load_checkpoint(path: Path, state: TrainingState) -> None:
    """Load a checkpoint into `state`, an initial state with the run's options.

    Raises Fault if the file is damaged, hostile, or from a run with other options.
    """
    content = tensor_files.read_tensors(path, FORMAT)
    origin = str(content.get("origin", state.origin))  # absent in older checkpoints
    if not f", {origin}".endswith(f", {state.origin}"):  # older ones name any set
        raise Fault(f"{path}: is of another run ({origin}, not {state.origin})")
    try:
        for part in ("networks", "optimizers", "streams"):
            if not isinstance(content[part], dict):
                raise TypeError(f"{part} is a {type(content[part]).__name__}")
        for name, network in state.networks.items():
            tensor_files.check_state(path, network, content["networks"][name])
            network.load_state_dict(content["networks"][name])
        for name, optimizer in state.optimizers.items():
            optimizer.load_state_dict(content["optimizers"][name])
        _check_progress(path, content)
        _load_random_states(state, content["streams"])
        state.totals.copy_(content["totals"])
        state.epoch, state.step = int(content["epoch"]), int(content["step"])
        state.updates = int(state.optimizer_g.steps)
        state.seconds = float(content["seconds"])
        state.history = [dict(row) for row in content["history"]]
    except DAMAGE as error:
        raise Fault(f"{path}: damaged checkpoint ({type(error).__name__}: {error})") from None


def _load_random_states(state: TrainingState, streams: dict[str, Any]) -> None:
    """Set the state of every random generator; the optimizers must have been loaded before."""
    state.order.set_state(streams["order"])
    same_device = streams.get("device", state.device.type) == state.device.type
    on_device = {"latents": state.latents, "augmentation": state.augmentation.stream}
    for name, stream in on_device.items():
        if same_device and name in streams:
            stream.set_state(streams[name])
        else:  # states of another kind of device cannot be loaded, so seed with the step
            updates = int(state.optimizer_g.steps)
            stream.manual_seed((stream.initial_seed() + updates) % 2**63)
    torch.set_rng_state(streams["dropout"])
    if state.totals.is_cuda and streams["dropout_cuda"] is not None:
        torch.cuda.set_rng_state(streams["dropout_cuda"])
    if state.totals.is_mps and streams.get("dropout_mps") is not None:
        torch.mps.set_rng_state(streams["dropout_mps"])


def _check_progress(path: Path, content: dict[str, Any]) -> None:
    """Fault if position, totals and history cannot come from a training."""
    position = [content["epoch"], content["step"], content["seconds"]]
    rows, totals = content["history"], content["totals"]
    if totals.shape != (len(STEP_FIGURES),):  # checked before tolist(): any length is possible
        raise Fault(f"{path}: damaged checkpoint (its totals are {tuple(totals.shape)})")
    cells = [cell for row in rows for cell in row.values()]
    numbers = [*position, *totals.tolist(), *cells]
    if not all(isinstance(each, (int, float)) and abs(each) < MAX_FIGURE for each in numbers):
        raise Fault(f"{path}: damaged checkpoint (text, NaN or infinity among its figures)")
    names_fit = all(set(COLUMNS) <= set(row) and all(map(str.isidentifier, row)) for row in rows)
    epochs = [row.get("epoch") for row in rows]
    in_order = len(rows) == content["epoch"] and epochs == list(range(1, len(rows) + 1))
    if min(position) < 0 or not names_fit or not in_order:
        raise Fault(f"{path}: damaged checkpoint (its history does not fit its epoch)")
