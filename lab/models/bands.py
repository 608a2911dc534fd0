"""A linear layer that sees images as the bands of a Laplacian pyramid.

A fully connected discriminator that is shown pixels overlooks the speckle of a fully connected
generator, which is in the fine bands: most of an image's energy is in the coarse ones. Shown bands
that were scaled to a like strength, it sees the speckle.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import avg_pool2d, interpolate

MOST_PYRAMID_SIDE = 64
MOST_MATRIX_SIDE = 32  # the matrix of `laplacian_pyramid` has 6 MB there
# 0.6 over the standard deviation of each band of the training images, about, in both MNIST sets.
BAND_GAINS = (2.5, 2.1, 1.1)


class BandLinear(nn.Module):
    """Linear layer: images (N, channels * side^2) -> (N, width), with a weight for every band.

    weight: (channels * bands, width). For images x, the pyramid P and the weights W it is
    (x P) W + bias. A CPU in float32 computes x (P W) + bias, the same but for rounding: P is
    sparse, P W is made once for a whole batch of images, and x stays small. Where products are
    rounded to bfloat16 on units for it, or run on a GPU, x P costs next to nothing. Of images with
    sides over MOST_MATRIX_SIDE the bands are made by pooling: P grows with the side's fourth power.
    ValueError for a side that a pyramid refuses.
    """

    def __init__(self, channels: int, side: int, width: int) -> None:
        super().__init__()
        self.channels, self.side = channels, side
        numbers = channels * count_bands(side)
        # As nn.Linear begins.
        bound = 1 / math.sqrt(numbers)
        self.weight = nn.Parameter(torch.empty(numbers, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))
        self._pyramids: dict[bool, tuple[Tensor, Tensor]] = {}  # sparse or not

    def forward(self, images: Tensor) -> Tensor:
        if self.side > MOST_MATRIX_SIDE:
            bands = bands_of(images.reshape(-1, 1, self.side, self.side))
            return torch.addmm(self.bias, bands.view(len(images), -1), self.weight)
        if images.is_cpu and torch.get_float32_matmul_precision() == "highest":
            return torch.addmm(self.bias, images, _SumOfBands.apply(self.weight, self))
        parts = images.chunk(self.channels, dim=1)
        bands = [part @ self.pyramid(sparse=False)[0] for part in parts]
        return torch.addmm(self.bias, torch.cat(bands, dim=1), self.weight)

    def multiplied(self, values: Tensor, transposed: bool) -> Tensor:
        """P or its transpose times each channel's part of `values`."""
        matrix = self.pyramid(sparse=True)[transposed]
        # In rows: of columns the product takes fifty times as long.
        products = [matrix @ part for part in values.contiguous().chunk(self.channels)]
        return products[0] if self.channels == 1 else torch.cat(products)

    def pyramid(self, sparse: bool) -> tuple[Tensor, Tensor]:
        """P and its transpose, made when first asked for, where the weights are.

        sparse: as sparse matrices, since 3 % of P is not zero.
        """
        if sparse not in self._pyramids:
            pyramid = laplacian_pyramid(self.side).to(self.weight)
            ways = pyramid, pyramid.T.contiguous()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch calls the layout a beta
                self._pyramids[sparse] = tuple(w.to_sparse_csr() if sparse else w for w in ways)
        return self._pyramids[sparse]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pyramids": {}}  # torch cannot copy sparse matrices

    def _apply(self, *given: Any, **named: Any) -> nn.Module:
        self._pyramids = {}  # it makes them anew on another device, or of another type
        return super()._apply(*given, **named)


class _SumOfBands(torch.autograd.Function):
    """The weights of pixels that those of bands add up to: P W, (channels * side^2, width)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, layer: BandLinear) -> Tensor:
        ctx.layer = layer
        return layer.multiplied(weight, transposed=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.multiplied(gradient, transposed=True), None


def count_bands(side: int) -> int:
    """How many numbers a pyramid makes of side^2 pixels; ValueError for a side it refuses."""
    if side % 4:
        raise ValueError(f"a pyramid halves the side twice, which {side} does not allow")
    if side > MOST_PYRAMID_SIDE:
        raise ValueError(f"a pyramid of side {side} is too large, {MOST_PYRAMID_SIDE} at most")
    return side**2 + (side // 2) ** 2 + (side // 4) ** 2


def laplacian_pyramid(side: int) -> Tensor:
    """The matrix (side^2, bands) that splits a square channel into three bands of detail.

    Burt and Adelson 1983, "The Laplacian pyramid as a compact image code": what the pixels have
    beyond their averages over 2 x 2, what these have beyond theirs, and those.
    """
    return bands_of(torch.eye(side * side).view(-1, 1, side, side))


def bands_of(images: Tensor) -> Tensor:
    """The bands of images (N, 1, side, side), each image's in one row: (N, bands)."""
    half = avg_pool2d(images, 2)
    quarter = avg_pool2d(half, 2)
    bands = (images - _doubled(half), half - _doubled(quarter), quarter)
    scaled = (gain * band.flatten(1) for gain, band in zip(BAND_GAINS, bands, strict=True))
    return torch.cat(list(scaled), dim=1)


def _doubled(images: Tensor) -> Tensor:
    return interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
