"""What a training shows while it runs: a bar, a line an epoch, and events for TensorBoard."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from lab.data.pixels import to_float
from lab.device import Contention, available_cores, processes
from lab.text import command_line, progress_bar, shortened
from lab.training.state import STEP_FIGURES, TrainingState

WIDE = 110  # columns of a terminal that has room for the losses, too
DISTANCES = {"fcd_train_5k": "FCD", "fcd_mlp_train_5k": "MLP FCD", "frd_train_5k": "FRD"}
REFRESH = 0.5  # seconds from one look at the figures to the next
CROWDED = (
    "Other programs use the cores too, and threads that wait for each other lose most of the time: "
    "unless that ends soon, Ctrl-C and --resume with OMP_NUM_THREADS=1 set."
)


class ProgressBar(contextlib.AbstractContextManager):
    """A bar over all images of a run. Without a terminal there is no bar, only the lines."""

    def __init__(self, state: TrainingState) -> None:
        self.length = state.length
        self.bar = progress_bar(
            total=self.length.steps * self.length.batch_size,
            initial=(state.epoch * self.length.epoch_steps + state.step) * self.length.batch_size,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            smoothing=0.05,
            # All of it in 80 columns, but for the losses.
            bar_format="{desc} {percentage:3.0f}% {bar} {remaining} left{postfix}",
        )
        self.looked_at = time.monotonic()
        threads = available_cores() if state.device.type == "cpu" else 1
        # A single thread waits for no other; processes of one training are no strangers.
        self.contention = Contention() if threads > 1 and processes() == 1 else None

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def advance(self, state: TrainingState) -> None:
        """Count one step; now and then show the figures (reading them waits for a GPU)."""
        if self.bar.disable:
            return
        batch_size = self.length.batch_size
        self.bar.total = self.length.steps * batch_size  # with --minutes it changes
        self.bar.update(batch_size)
        if time.monotonic() - self.looked_at > REFRESH:
            self.looked_at = time.monotonic()
            means = list(state.means().values())
            figures = _figures if shutil.get_terminal_size().columns >= WIDE else _opinions
            seconds = max(state.seconds, 1e-3)  # of training alone; a coarse clock may say 0
            rate = state.step * batch_size / seconds
            self.bar.set_description(f"epoch {state.epoch + 1}/{self.length.epochs}", refresh=False)
            self.bar.set_postfix_str(f"{rate:,.0f} images/s  {figures(means)}", refresh=False)

    def epoch(self, row: Mapping[str, Any], sentences: Sequence[str]) -> None:
        """Print the row of the epoch that has just ended, and what there is to say about it."""
        quality = "".join(
            f"  {label} {row[column]:.1f}" for column, label in DISTANCES.items() if column in row
        )
        epochs = self.length.epochs
        self.line(
            f"epoch {row['epoch']:{len(str(epochs))}d}/{epochs}  "
            f"{_figures([row[name] for name in STEP_FIGURES])}  "
            f"{row['images_per_second']:,} images/s{quality}"
        )
        for sentence in sentences:
            self.line(f"    {sentence}")
        if self.contention and self.contention.is_crowded():
            self.line(f"    {CROWDED}")
            self.contention = None  # once is enough

    def line(self, text: str) -> None:
        tqdm.write(text)
        sys.stdout.flush()


def _figures(means: Sequence[float]) -> str:
    """`d_loss 1.234  g_loss 0.876  D(x) 0.61  D(G(z)) 0.38`"""
    d_loss, g_loss, *_ = means
    return f"d_loss {d_loss:.3f}  g_loss {g_loss:.3f}  {_opinions(means)}"


def _opinions(means: Sequence[float]) -> str:
    """`D(x) 0.61  D(G(z)) 0.38`"""
    *_, d_real, d_fake = means
    return f"D(x) {d_real:.2f}  D(G(z)) {d_fake:.2f}"


# TensorBoard, for those who have it


def tensorboard_refusal() -> str:
    """Why no events can be written, "" if they can: the package is missing, broken, or another."""
    if importlib.util.find_spec("tensorboard") is None:
        return "the tensorboard package is not installed"
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: F401
    except Exception as error:  # anything may be called tensorboard
        said = shortened(str(error).partition("\n")[0], 120)
        return f"the package called tensorboard does not work ({type(error).__name__}: {said})"
    return ""


def tensorboard_command(outputs: Path) -> str:
    """What shows the events of all runs in `outputs`."""
    return command_line(["tensorboard", "--logdir", str(outputs)])


class TensorBoard(contextlib.AbstractContextManager):
    """The events of one run: `tensorboard --logdir outputs` shows them.

    first: the epoch that comes first; those from it on that a killed training has left behind,
    and that come again, are no longer shown.
    """

    def __init__(self, folder: Path, first: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and optional

        self.writer = SummaryWriter(str(folder), purge_step=first)

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def row(self, row: Mapping[str, Any]) -> None:
        """Every figure of a row of the history, as a scalar at its epoch."""
        for name, value in row.items():
            if name != "epoch" and value is not None:
                self.writer.add_scalar(name, value, row["epoch"])

    def grid(self, epoch: int, grid: Image.Image) -> None:
        dataformats = "HW" if grid.mode == "L" else "HWC"
        self.writer.add_image("samples", np.asarray(grid), epoch, dataformats=dataformats)

    @torch.no_grad()
    def histograms(
        self,
        epoch: int,
        discriminator: nn.Module,
        real: Tensor,
        fake: Tensor,
        labels: Tensor | None,
    ) -> None:
        """Histograms of D(x) and D(G(z)), through the sigmoid.

        real, fake: uint8 (N, C, H, W). labels: (N,), of both, for a conditional discriminator.
        """
        was_training = discriminator.training
        discriminator.eval()
        for name, batch in (("D(x)", real), ("D(G(z))", fake)):
            self.writer.add_histogram(name, discriminator(to_float(batch), labels).sigmoid(), epoch)
        discriminator.train(was_training)
