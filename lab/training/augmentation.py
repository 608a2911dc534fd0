"""Augmentation of the discriminator's inputs, so that it cannot memorise a small training set.

Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training": real and generated
images are augmented alike, in the gradient penalty too, and the generator's gradients pass through
the augmentation. The generator does not learn to make augmented images, because images that are
augmented twice would differ from real images, which are augmented once.
"""

from typing import Any

import torch
from torch import Tensor

from lab.device import processes
from lab.seeding import stream
from lab.training import distributed

FEW = 5_000  # with fewer training images, augmentation is on unless --no-augment is given
SHIFT = 0.125  # largest translation, as a share of the side
HOLE = 0.5  # side of the cut-out square, as a share of the image's side


class Augmentation:
    """Augments each image of a batch (N, C, H, W) in [-1, 1] with random numbers of its own.

    options: those of gan_lab.py. Without --augment images stay as they are and no random numbers
    are drawn. A transform takes images and uniform numbers (N, 3).
    """

    def __init__(self, options: Any, channels: int, device: torch.device) -> None:
        self.stream = stream(options.seed, "augmentation", device)
        transforms = (recolour, translate, cutout) if channels > 1 else (translate, cutout)
        self.transforms = transforms if options.augment else ()
        self.batch_size = options.batch_size

    def __call__(self, images: Tensor) -> Tensor:
        for transform in self.transforms:
            images = transform(images, self._uniform(len(images), images.device))
        return images

    def _uniform(self, count: int, device: torch.device) -> Tensor:
        """Uniform numbers (count, 3); each process draws those of all and keeps its own."""
        numbers = torch.rand(count * processes(), 3, generator=self.stream, device=device)
        if processes() == 1:
            return numbers
        batches = numbers.unflatten(0, (-1, self.batch_size))  # real, generated, or both
        return torch.cat([distributed.shard(batch) for batch in batches])


def translate(images: Tensor, uniform: Tensor) -> Tensor:
    """Move each image by up to SHIFT of its sides; uncovered pixels become grey."""
    for dim, share in ((2, uniform[:, 0]), (3, uniform[:, 1])):
        most = round(SHIFT * images.shape[dim])
        shift = (share * (2 * most + 1)).long() - most
        source = _coordinates(images, dim) - shift.view(-1, 1, 1, 1)
        inside = (source >= 0) & (source < images.shape[dim])
        index = source.clamp(0, images.shape[dim] - 1).expand_as(images)
        images = images.gather(dim, index) * inside
    return images


def cutout(images: Tensor, uniform: Tensor) -> Tensor:
    """Make a square of half the sides grey at a random place, which may be partly outside."""
    hidden = torch.ones_like(images[:, :1], dtype=torch.bool)
    for dim, share in ((2, uniform[:, 0]), (3, uniform[:, 1])):
        side = round(HOLE * images.shape[dim])
        first = (share * (images.shape[dim] + 1)).long().view(-1, 1, 1, 1) - side // 2
        coordinates = _coordinates(images, dim)
        hidden = hidden & (coordinates >= first) & (coordinates < first + side)
    return images * ~hidden


def recolour(images: Tensor, uniform: Tensor) -> Tensor:
    """Change the brightness, saturation and contrast of each image."""
    brightness, saturation, contrast = uniform.view(-1, 3, 1, 1, 1).unbind(1)
    images = images + brightness - 0.5
    grey = images.mean(1, keepdim=True)
    images = grey + 2 * saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (contrast + 0.5) * (images - mean)


def _coordinates(images: Tensor, dim: int) -> Tensor:
    """0, 1, 2, ... along dimension `dim` of `images`; the other dimensions have size 1."""
    shape = [1, 1, 1, 1]
    shape[dim] = -1
    return torch.arange(images.shape[dim], device=images.device).view(shape)
