"""How long a run is, in steps: whole epochs, and a last one that may be short; its rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

MOST_EPOCHS = 100_000
GRIDS = 10  # sample grids of a run, about


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

    epoch_steps = property(lambda self: self.images // self.batch_size)  # of a whole epoch
    # The last one included, which may be short.
    epochs = property(lambda self: math.ceil(self.steps / self.epoch_steps))
    # Epochs from one sample grid to the next, where --sample-every is left out.
    sample_every = property(lambda self: max(1, self.epochs // GRIDS))

    @property
    def images_shown(self) -> int:
        """What --images-shown is to be for a run of this length."""
        whole, rest = divmod(self.steps, self.epoch_steps)
        return whole * self.images + rest * self.batch_size

    def steps_of(self, epoch: int) -> int:
        """Steps of an epoch, counted from 0."""
        return max(0, min(self.epoch_steps, self.steps - epoch * self.epoch_steps))

    def lr_factor(self, step: int, options: Any) -> float:
        """What both learning rates are multiplied with in a step of the run, from 0: 1, then less.

        Half a cosine over the last share --lr-decay of the run: Loshchilov and Hutter 2017, "SGDR",
        eq. 5. It falls towards --lr-floor, not to 0: the average is better over weights that still
        move.
        """
        decay, floor = options.lr_decay, options.lr_floor
        left = 1 - step / self.steps
        fall = 1 - left / decay if left < decay else 0.0  # from 0 towards 1
        return floor + (1 - floor) * (1 + math.cos(math.pi * fall)) / 2
