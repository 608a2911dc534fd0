"""What a discriminator is shown of few images, so that it cannot learn them by heart.

Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training": real and generated
images are changed alike, in the penalty, too, and the generator is taught through the change. It
does not learn to draw what is changed, since that shows: the gaps are grey, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lab.device import processes
from lab.seeding import stream
from lab.training import distributed

FEW = 5_000  # training images below which the discriminator is shown augmented ones
SHIFT = 0.125  # of a side, at most
HOLE = 0.5  # of a side

Change = Callable[[Tensor, Tensor], Tensor]  # images, uniform numbers (N, 3) -> images


class Augmentation:
    """Changes images (N, C, H, W) in [-1, 1], each in a way of its own, by a stream of its own.

    options: those of gan_lab.py; without --augment it leaves images alone, and draws nothing.
    """

    def __init__(self, options: Any, channels: int, device: torch.device) -> None:
        self.stream = stream(options.seed, "augmentation", device)
        changes: tuple[Change, ...] = (translated, cut_out)
        if channels > 1:
            changes = (recoloured, *changes)
        self.changes = changes if options.augment else ()
        self.batch_size = options.batch_size

    def __call__(self, images: Tensor) -> Tensor:
        """Images of the same shape."""
        for change in self.changes:
            images = change(images, self._shares(len(images), images.device))
        return images

    def _shares(self, count: int, device: torch.device) -> Tensor:
        """Uniform numbers (count, 3): of all that one process would draw, those of this one."""
        shares = torch.rand(count * processes(), 3, generator=self.stream, device=device)
        if processes() == 1:
            return shares
        batches = shares.unflatten(0, (-1, self.batch_size))  # a real one, a generated one, or both
        return torch.cat([distributed.share(batch) for batch in batches])


def translated(images: Tensor, shares: Tensor) -> Tensor:
    """Moved by up to SHIFT of their sides; what is uncovered is grey."""
    for dim, share in ((2, shares[:, 0]), (3, shares[:, 1])):
        most = round(SHIFT * images.shape[dim])
        shift = (share * (2 * most + 1)).long() - most
        places = _places(images, dim) - shift.view(-1, 1, 1, 1)
        inside = (places >= 0) & (places < images.shape[dim])
        index = places.clamp(0, images.shape[dim] - 1).expand_as(images)
        images = images.gather(dim, index) * inside
    return images


def cut_out(images: Tensor, shares: Tensor) -> Tensor:
    """With a grey square of half their sides, somewhere; it may lie partly outside."""
    hidden = torch.ones_like(images[:, :1], dtype=torch.bool)
    for dim, share in ((2, shares[:, 0]), (3, shares[:, 1])):
        side = round(HOLE * images.shape[dim])
        first = (share * (images.shape[dim] + 1)).long().view(-1, 1, 1, 1) - side // 2
        places = _places(images, dim)
        hidden = hidden & (places >= first) & (places < first + side)
    return images * ~hidden


def recoloured(images: Tensor, shares: Tensor) -> Tensor:
    """With another brightness, saturation and contrast."""
    brightness, saturation, contrast = shares.view(-1, 3, 1, 1, 1).unbind(1)
    images = images + brightness - 0.5
    grey = images.mean(1, keepdim=True)
    images = grey + 2 * saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (contrast + 0.5) * (images - mean)


def _places(images: Tensor, dim: int) -> Tensor:
    """0, 1, 2, ... along a dimension of `images`."""
    shape = [1, 1, 1, 1]
    shape[dim] = -1
    return torch.arange(images.shape[dim], device=images.device).view(shape)
