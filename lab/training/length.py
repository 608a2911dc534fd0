"""The length of a run in steps and epochs, and the learning-rate schedule over it."""

import math
from dataclasses import dataclass
from typing import Any

MAX_EPOCHS = 100_000
GRIDS = 10  # sample grids of a run, approximately


@dataclass
class Length:
    """The length of a run: `steps` of `batch_size` images from a set of `images` images.

    An epoch has as many steps as the set has full batches. The last epoch may be shorter.
    """

    images: int
    batch_size: int
    steps: int

    @classmethod
    def of(cls, options: Any, images: int) -> "Length":
        """The length that --images-shown gives; whole epochs if --epochs contradicts it."""
        epoch_steps, shown = images // options.batch_size, options.images_shown
        epochs = options.epochs or math.ceil(shown / images)
        rest = shown - (epochs - 1) * images  # images of the last epoch
        last = math.ceil(rest / options.batch_size) if rest > 0 else epoch_steps
        steps = (epochs - 1) * epoch_steps + min(last, epoch_steps)
        return cls(images, options.batch_size, steps)

    epoch_steps = property(lambda self: self.images // self.batch_size)  # of a whole epoch
    # Including a short last epoch.
    epochs = property(lambda self: math.ceil(self.steps / self.epoch_steps))
    # Epochs between two sample grids, without --sample-every.
    sample_every = property(lambda self: max(1, self.epochs // GRIDS))

    @property
    def images_shown(self) -> int:
        """The value of --images-shown that gives a run of this length."""
        whole, rest = divmod(self.steps, self.epoch_steps)
        return whole * self.images + rest * self.batch_size

    def steps_of(self, epoch: int) -> int:
        """The number of steps in an epoch; the first epoch is 0."""
        return max(0, min(self.epoch_steps, self.steps - epoch * self.epoch_steps))

    def lr_factor(self, step: int, options: Any) -> float:
        """The factor on both learning rates in a step of the run; the first step is 0.

        It is 1, then falls along half a cosine over the last share --lr-decay of the run:
        Loshchilov and Hutter 2017, "SGDR", eq. 5. It ends at --lr-floor instead of 0, because the
        moving average of weights that still change is better.
        """
        decay, floor = options.lr_decay, options.lr_floor
        left = 1 - step / self.steps
        progress = 1 - left / decay if left < decay else 0.0  # of the decay, from 0 to 1
        return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
