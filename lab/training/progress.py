"""Progress of a training: a bar, one line per epoch, and events for TensorBoard."""

import contextlib
import importlib.util
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lab.data.pixels import to_float
from lab.device import Contention, available_cores, processes
from lab.text import print_line, progress_bar, shortened
from lab.training.state import STEP_FIGURES, TrainingState

WIDE = 110  # terminals with so many columns show the losses too
DISTANCES = {"fcd_train_5k": "FCD", "fcd_mlp_train_5k": "MLP FCD", "frd_train_5k": "FRD"}
REFRESH = 0.5  # seconds between two updates of the figures
CROWDED = (
    "Other programs use the CPU cores too, which makes several threads very slow: unless they end "
    "soon, press Ctrl-C, and continue by --resume with OMP_NUM_THREADS=1 set."
)


class ProgressBar(contextlib.AbstractContextManager):
    """A progress bar over all images of a run; without a terminal only the lines are printed."""

    def __init__(self, state: TrainingState) -> None:
        self.length = state.length
        self.bar = progress_bar(
            total=self.length.steps * self.length.batch_size,
            initial=(state.epoch * self.length.epoch_steps + state.step) * self.length.batch_size,
            unit=" images",
            unit_scale=True,
            dynamic_ncols=True,
            smoothing=0.05,
            # Fits into 80 columns without the losses.
            bar_format="{desc} {percentage:3.0f}% {bar} {remaining} left{postfix}",
        )
        self.refreshed = time.monotonic()
        threads = available_cores() if state.device.type == "cpu" else 1
        # A single thread waits for no other, and processes of one training expect each other.
        self.contention = Contention() if threads > 1 and processes() == 1 else None

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def advance(self, state: TrainingState) -> None:
        """Count one step; every REFRESH seconds show the figures (reading them waits for a GPU)."""
        if self.bar.disable:
            return
        batch_size = self.length.batch_size
        self.bar.total = self.length.steps * batch_size  # with --minutes it changes
        self.bar.update(batch_size)
        if time.monotonic() - self.refreshed > REFRESH:
            self.refreshed = time.monotonic()
            is_wide = shutil.get_terminal_size().columns >= WIDE
            figures = _figures([*state.means().values()], with_losses=is_wide)
            seconds = max(state.seconds, 1e-3)  # of training alone; a coarse clock may say 0
            rate = state.step * batch_size / seconds
            self.bar.set_description(f"epoch {state.epoch + 1}/{self.length.epochs}", refresh=False)
            self.bar.set_postfix_str(f"{rate:,.0f} images/s  {figures}", refresh=False)

    def print_epoch(self, row: Mapping[str, Any], sentences: Sequence[str]) -> None:
        quality = "".join(
            f"  {label} {row[column]:.1f}" for column, label in DISTANCES.items() if column in row
        )
        epochs = self.length.epochs
        print_line(
            f"epoch {row['epoch']:{len(str(epochs))}d}/{epochs}  "
            f"{_figures([row[name] for name in STEP_FIGURES])}  "
            f"{row['images_per_second']:,} images/s{quality}"
        )
        for sentence in sentences:
            print_line(f"    {sentence}")
        if self.contention and self.contention.is_crowded():
            print_line(f"    {CROWDED}")
            self.contention = None  # print it once


def _figures(means: Sequence[float], with_losses: bool = True) -> str:
    """`d_loss 1.234  g_loss 0.876  D(x) 0.61  D(G(z)) 0.38`"""
    d_loss, g_loss, d_real, d_fake = means
    outputs = f"D(x) {d_real:.2f}  D(G(z)) {d_fake:.2f}"
    return f"d_loss {d_loss:.3f}  g_loss {g_loss:.3f}  {outputs}" if with_losses else outputs


def tensorboard_refusal() -> str:
    """Why the tensorboard package cannot be used; "" if it can."""
    if importlib.util.find_spec("tensorboard") is None:
        return "the tensorboard package is not installed"
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: F401
    except Exception as error:  # another package may have the name
        reason = shortened(str(error).partition("\n")[0], 120)
        return f"the package called tensorboard does not work ({type(error).__name__}: {reason})"
    return ""


class TensorBoard(contextlib.AbstractContextManager):
    """Writes the events of one run, which `tensorboard --logdir outputs` shows.

    first: the first epoch to be written. Events that a killed training left of this and later
    epochs are no longer shown.
    """

    def __init__(self, folder: Path, first: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and optional

        self.writer = SummaryWriter(str(folder), purge_step=first)

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def add_row(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if name != "epoch" and value is not None:
                self.writer.add_scalar(name, value, row["epoch"])

    def add_grid(self, epoch: int, grid: Image.Image) -> None:
        dataformats = "HW" if grid.mode == "L" else "HWC"
        self.writer.add_image("samples", np.asarray(grid), epoch, dataformats=dataformats)

    @torch.no_grad()
    def add_histograms(
        self,
        epoch: int,
        discriminator: nn.Module,
        real: Tensor,
        fake: Tensor,
        labels: Tensor | None,
    ) -> None:
        """Add histograms of D(x) and D(G(z)), the sigmoids of the logits.

        real, fake: uint8 (N, C, H, W). labels: (N,) of real and fake images alike, for a
        conditional discriminator.
        """
        was_training = discriminator.training
        discriminator.eval()
        for name, batch in (("D(x)", real), ("D(G(z))", fake)):
            self.writer.add_histogram(name, discriminator(to_float(batch), labels).sigmoid(), epoch)
        discriminator.train(was_training)
