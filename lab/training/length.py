"""How long a run is, in steps: whole epochs, and a last one that may be short."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lab.training.optim import lr_factor

MOST_EPOCHS = 100_000
GRIDS = 10  # sample grids of a run, about, where --sample-every is left out


@dataclass
class Length:
    """How long a run is: `steps` of `batch_size`, on a set of so many `images`.

    An epoch has as many steps as the set has full batches, the last one as many as are left.
    """

    images: int
    batch_size: int
    steps: int

    @classmethod
    def of(cls, options: Any, images: int) -> Length:
        """The length that --images-shown says; where --epochs says another, whole epochs."""
        each, shown = images // options.batch_size, options.images_shown
        epochs = options.epochs or math.ceil(shown / images)
        rest = shown - (epochs - 1) * images  # of the last epoch
        last = min(each, math.ceil(rest / options.batch_size)) if 0 < rest < images else each
        return cls(images, options.batch_size, (epochs - 1) * each + last)

    @property
    def epoch_steps(self) -> int:
        """Steps of a whole epoch."""
        return self.images // self.batch_size

    @property
    def epochs(self) -> int:
        """Epochs, the last one included that may be short."""
        return math.ceil(self.steps / self.epoch_steps)

    @property
    def images_shown(self) -> int:
        """What --images-shown is to be for a run of this length."""
        whole, rest = divmod(self.steps, self.epoch_steps)
        return whole * self.images + rest * self.batch_size

    @property
    def sample_every(self) -> int:
        """Epochs from one sample grid to the next, for about so many as there should be."""
        return max(1, self.epochs // GRIDS)

    def steps_of(self, epoch: int) -> int:
        """Steps of an epoch, counted from 0."""
        return max(0, min(self.epoch_steps, self.steps - epoch * self.epoch_steps))

    def lr_factor(self, epoch: int, options: Any) -> float:
        """What the learning rates are multiplied with in an epoch, counted from 0."""
        done = epoch * self.epoch_steps
        return lr_factor(done, self.steps, options.lr_decay, options.lr_floor)
