"""A linear layer whose inputs are the bands of a Laplacian pyramid.

The images of a fully connected generator have high-frequency noise, which a fully connected
discriminator on pixels overlooks, because most of an image's energy is in the low frequencies. It
sees the noise if its inputs are frequency bands, scaled to similar variances.
"""

import math
import warnings
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import avg_pool2d, interpolate

MAX_PYRAMID_SIDE = 64
MAX_MATRIX_SIDE = 32  # with this side the matrix of `laplacian_pyramid` has 6 MB
# About 0.6 / standard deviation of each band, over the training images of MNIST and Fashion-MNIST.
BAND_GAINS = (2.5, 2.1, 1.1)


class BandLinear(nn.Module):
    """Linear layer on pyramid bands: images (N, channels * side^2) -> (N, width).

    For images x, the pyramid matrix P and the weight W (channels * bands, width) the output is
    (x P) W + bias. A CPU in float32 computes it as x (P W) + bias, which is cheaper: P is sparse,
    P W is the same for the whole batch, and x has fewer columns than x P. With bfloat16 units or on
    a GPU, x P costs almost nothing. For sides above MAX_MATRIX_SIDE the bands are computed by
    pooling, since P grows with the fourth power of the side. ValueError for an unsuitable side.
    """

    def __init__(self, channels: int, side: int, width: int) -> None:
        super().__init__()
        self.channels, self.side = channels, side
        if side % 4:
            raise ValueError(f"a pyramid halves the side twice, which {side} does not allow")
        if side > MAX_PYRAMID_SIDE:
            raise ValueError(f"a pyramid of side {side} is too large, {MAX_PYRAMID_SIDE} at most")
        inputs = channels * (side**2 + (side // 2) ** 2 + (side // 4) ** 2)
        bound = 1 / math.sqrt(inputs)  # the initialisation of nn.Linear
        self.weight = nn.Parameter(torch.empty(inputs, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))

    def forward(self, images: Tensor) -> Tensor:
        if self.side > MAX_MATRIX_SIDE:
            bands = bands_of(images.reshape(-1, 1, self.side, self.side))
            return torch.addmm(self.bias, bands.view(len(images), -1), self.weight)
        if images.is_cpu and torch.get_float32_matmul_precision() == "highest":
            return torch.addmm(self.bias, images, _PixelWeights.apply(self.weight, self))
        pyramid, _ = pyramid_and_transpose(self.side, False, images.device, self.weight.dtype)
        bands = [part @ pyramid for part in images.chunk(self.channels, dim=1)]
        return torch.addmm(self.bias, torch.cat(bands, dim=1), self.weight)

    def sparse_product(self, values: Tensor, transposed: bool) -> Tensor:
        """P or its transpose times the rows of `values` that belong to each channel."""
        pair = pyramid_and_transpose(self.side, True, values.device, values.dtype)
        # Contiguous, since the product with a transposed view takes fifty times as long.
        products = [pair[transposed] @ part for part in values.contiguous().chunk(self.channels)]
        return products[0] if self.channels == 1 else torch.cat(products)


class _PixelWeights(torch.autograd.Function):
    """P W (channels * side^2, width): the weights on pixels that equal the weights W on bands."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, layer: BandLinear) -> Tensor:
        ctx.layer = layer
        return layer.sparse_product(weight, transposed=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.sparse_product(gradient, transposed=True), None


def laplacian_pyramid(side: int) -> Tensor:
    """The matrix (side^2, bands) of a Laplacian pyramid with three bands.

    Burt and Adelson 1983, "The Laplacian pyramid as a compact image code". The bands are the image
    minus its average over 2 x 2 pixels, that average minus its own average over 2 x 2, and the
    latter, each multiplied by its entry of BAND_GAINS.
    """
    return bands_of(torch.eye(side * side).view(-1, 1, side, side))


@lru_cache
@torch.inference_mode(False)  # otherwise a first use in that mode would exclude training
def pyramid_and_transpose(
    side: int, sparse: bool, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """`laplacian_pyramid` and its transpose; if `sparse`, in CSR layout: 3 % are not zero."""
    pyramid = laplacian_pyramid(side).to(device, dtype)
    pair = pyramid, pyramid.T.contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the CSR layout is in beta
        return tuple(each.to_sparse_csr() if sparse else each for each in pair)


def bands_of(images: Tensor) -> Tensor:
    """The pyramid bands of images (N, 1, side, side), concatenated: (N, bands)."""
    half = avg_pool2d(images, 2)
    quarter = avg_pool2d(half, 2)
    bands = (images - _upsampled(half), half - _upsampled(quarter), quarter)
    scaled = (gain * band.flatten(1) for gain, band in zip(BAND_GAINS, bands, strict=True))
    return torch.cat(list(scaled), dim=1)


def _upsampled(images: Tensor) -> Tensor:
    return interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
