"""Layers and bounds that several networks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

# Bounds for options and for weights files from elsewhere: a width is refused before it is built.
MOST_LATENT = 4_096
MOST_WIDTH = 4_096
MOST_LAYERS = 8
MOST_CHANNELS = 1_024
MOST_CONVOLUTIONS = 4  # each halves or doubles the side
MOST_PYRAMID_SIDE = 64  # the matrix of `laplacian_pyramid` has 88 MB there, and grows by side^4

# 0.6 over the standard deviation of each band of the training images, about, in both MNIST sets.
BAND_GAINS = (2.5, 2.1, 1.1)


class Clip(nn.Module):
    """Pixels cut off at -1 and 1, so that black is black; the gradient is that of tanh.

    Most pixels of both MNIST sets are 0 exactly. tanh gets there at infinity only, so its images
    are hazy, and an average of generators hazier. Cutting off alone would end all learning of a
    pixel beyond the bounds: hence the other gradient, "straight through" as in Bengio et al. 2013,
    "Estimating or propagating gradients through stochastic neurons".
    """

    def forward(self, pixels: Tensor) -> Tensor:
        """Any shape -> the same, in [-1, 1]."""
        squashed = pixels.tanh()
        return pixels.detach().clamp(-1, 1) + (squashed - squashed.detach())


# A slope of 0.2 below zero and tanh at the end: Radford et al. 2016, "DCGAN".
ACTIVATIONS = {"leaky-relu": partial(nn.LeakyReLU, 0.2), "relu": nn.ReLU}
OUTPUTS = {"tanh": nn.Tanh, "clip": Clip}


def layer_called(name: str, layers: Mapping[str, Callable[[], nn.Module]]) -> nn.Module:
    """A new one of `layers`; ValueError for a name that is not among them."""
    if name not in layers:
        raise ValueError(f"{name!r} is none of {', '.join(layers)}")
    return layers[name]()


def laplacian_pyramid(side: int) -> Tensor:
    """The matrix (side^2, numbers) that splits a square channel into three bands of detail.

    Burt and Adelson 1983, "The Laplacian pyramid as a compact image code": what the pixels have
    beyond their averages over 2 x 2, what these have beyond theirs, and those. Each band is scaled
    to a like strength: most of an image's energy is in the coarse one, while the speckle that gives
    a fully connected generator away is in the fine one. ValueError for a side that 4 does not
    divide, or beyond MOST_PYRAMID_SIDE.
    """
    if side % 4:
        raise ValueError(f"a pyramid halves the side twice, which {side} does not allow")
    if side > MOST_PYRAMID_SIDE:
        raise ValueError(f"a pyramid of side {side} is too large, {MOST_PYRAMID_SIDE} at most")
    image = torch.eye(side * side).view(-1, 1, side, side)
    half = avg_pool2d(image, 2)
    quarter = avg_pool2d(half, 2)
    bands = (image - _doubled(half), half - _doubled(quarter), quarter)
    return torch.cat(
        [gain * band.flatten(1) for gain, band in zip(BAND_GAINS, bands, strict=True)], dim=1
    )


def _doubled(images: Tensor) -> Tensor:
    return interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
