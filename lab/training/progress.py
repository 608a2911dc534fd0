"""What a training shows while it runs: a bar with the figures that matter, and a line an epoch."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from lab import device as machine
from lab.training.state import TOTALS, Training

WIDE = 110  # columns of a terminal that has room for the losses, too
REFRESH = 0.5  # seconds from one look at the figures to the next
CROWDED = (
    "Other programs use the cores too, and threads that wait for each other lose most of the time: "
    "unless that ends soon, Ctrl-C and --resume with OMP_NUM_THREADS=1 set."
)


class Screen:
    """A bar over all images of a run. Without a terminal there is no bar, only the lines."""

    def __init__(self, training: Training, epochs: int, steps: int, batch_size: int) -> None:
        self.epochs, self.batch_size = epochs, batch_size
        self.bar = tqdm(
            total=epochs * steps * batch_size,
            initial=(training.epoch * steps + training.step) * batch_size,
            unit=" images",
            unit_scale=True,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            smoothing=0.05,
            # All of it in 80 columns, but for the losses.
            bar_format="{desc} {percentage:3.0f}% {bar} {remaining} left{postfix}",
        )
        self.looked_at = time.monotonic()
        threads = machine.available_cores() if training.device.type == "cpu" else 1
        # A single thread waits for no other.
        self.contention = machine.Contention() if threads > 1 else None

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def advance(self, training: Training) -> None:
        """Count one step; now and then show the figures (reading them waits for a GPU)."""
        if self.bar.disable:
            return
        self.bar.update(self.batch_size)
        if time.monotonic() - self.looked_at > REFRESH:
            self.looked_at = time.monotonic()
            means = (training.totals / max(1, training.step)).tolist()
            figures = _figures if shutil.get_terminal_size().columns >= WIDE else _opinions
            seconds = max(training.seconds, 1e-3)  # of training alone; a coarse clock may say 0
            rate = training.step * self.batch_size / seconds
            self.bar.set_description(f"epoch {training.epoch + 1}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(f"{rate:,.0f} images/s  {figures(means)}", refresh=False)

    def epoch(self, row: Mapping[str, Any], sentences: Sequence[str]) -> None:
        """Print the row of the epoch that has just ended, and what there is to say about it."""
        quality = f"  FCD {row['fcd_train_5k']:.1f}" if "fcd_train_5k" in row else ""
        self.line(
            f"epoch {row['epoch']:{len(str(self.epochs))}d}/{self.epochs}  "
            f"{_figures([row[name] for name in TOTALS])}  "
            f"{row['images_per_second']:,} images/s{quality}"
        )
        for sentence in sentences:
            self.line(f"    {sentence}")
        if self.contention and self.contention.is_crowded():
            self.line(f"    {CROWDED}")
            self.contention = None  # once is enough

    def line(self, text: str) -> None:
        """Print above the bar."""
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
