"""TensorBoard, for those who have it: `--tensorboard` writes events into the run folder.

tensorboard --logdir outputs
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lab.data.datasets import to_float
from lab.errors import Mistake


def is_installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("tensorboard") is not None


def check() -> None:
    """Mistake, with the install command, if it is not."""
    if not is_installed():
        raise Mistake(
            "--tensorboard: the tensorboard package is not installed; "
            "install it (pip install tensorboard) or leave the option out"
        )


class Board:
    """The events of one run, in its folder `tensorboard`."""

    def __init__(self, run: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and optional

        self.writer = SummaryWriter(str(run / "tensorboard"))

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def row(self, row: Mapping[str, Any]) -> None:
        """Every figure of a row of the history, as a scalar at its epoch."""
        for name, value in row.items():
            if name != "epoch" and value is not None:
                self.writer.add_scalar(name, value, row["epoch"])

    def grid(self, epoch: int, grid: Image.Image) -> None:
        """A sample grid."""
        self.writer.add_image("samples", np.asarray(grid), epoch, dataformats="HW")

    @torch.no_grad()
    def opinions(self, epoch: int, discriminator: nn.Module, real: Tensor, fake: Tensor) -> None:
        """Histograms of D(x) and D(G(z)), through the sigmoid. real, fake: uint8 (N, 1, 28, 28)."""
        was_training = discriminator.training
        discriminator.eval()
        for name, batch in (("D(x)", real), ("D(G(z))", fake)):
            self.writer.add_histogram(name, discriminator(to_float(batch)).sigmoid(), epoch)
        discriminator.train(was_training)
