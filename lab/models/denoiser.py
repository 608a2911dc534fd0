"""The convolutional denoiser."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from lab.text import sized


class Denoiser(nn.Module):
    """Convolutional denoiser: noisy images (N, *shape), 0 to 1 but for the noise -> clean ones.

    Given the noise level as a map and at work on pixel-unshuffled images, as Zhang et al. 2018,
    "FFDNet"; here with a second scale, a quarter of the side, where each place sees the whole
    image. What it adds to its input is scaled with the noise level as in Karras et al. 2022,
    "Elucidating the design space of diffusion-based generative models", table 1: it predicts the
    noise where there is little of it and the image where there is much.

    overview_width: with it, fully connected layers of that width look at the whole image, and each
    place has numbers of its own. In sets whose images are all placed alike that gains 0.12 to 0.18
    dB for a thirtieth of the multiplications. ValueError for sides that cannot be halved twice.
    """

    SPREAD = 0.35  # standard deviation of Fashion-MNIST's pixels; MNIST's is 0.31

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 48,
        inner_width: int = 96,
        overview_width: int | None = None,
    ) -> None:
        super().__init__()
        maps, height, width_of_image = shape
        if height % 4 or width_of_image % 4:
            raise ValueError(f"the denoiser halves the side twice, which {sized(shape)} refuses")
        small = 4 * maps  # pixels of 2 x 2 become maps
        self.enter = nn.Sequential(
            nn.Conv2d(small + 2, width, 3, padding=1), ResidualConvolutions(width)
        )
        self.down = nn.Conv2d(width, inner_width, 2, stride=2)
        self.inner = nn.Sequential(
            ResidualConvolutions(inner_width), ResidualConvolutions(inner_width)
        )
        self.up = nn.Sequential(nn.Conv2d(inner_width, 4 * width, 1), nn.PixelShuffle(2))
        self.overview = None
        if overview_width:
            self.overview = Overview(shape, overview_width, inner_width)
            self.places = nn.Parameter(torch.zeros(1, width, height // 2, width_of_image // 2))
        self.leave = nn.Sequential(
            ResidualConvolutions(width), nn.Conv2d(width, small, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(self, noisy: Tensor, sigma: Tensor, clipped: Tensor) -> Tensor:
        """(N, *shape) from `noisy`, its noise levels (N,) and whether it was clipped (N,)."""
        level = sigma.view(-1, 1, 1, 1)
        total = (level**2 + self.SPREAD**2).sqrt()  # standard deviation of image and noise
        answer = self.body(noisy / total, sigma, clipped).float()
        return (self.SPREAD / total) ** 2 * noisy + self.scale(sigma) * answer

    def scale(self, sigma: Tensor) -> Tensor:
        """(N,) -> (N, 1, 1, 1): what the network's answer is multiplied with."""
        level = sigma.view(-1, 1, 1, 1)
        return level * self.SPREAD / (level**2 + self.SPREAD**2).sqrt()

    def body(self, images: Tensor, sigma: Tensor, clipped: Tensor) -> Tensor:
        """The network itself, on images of standard deviation 1."""
        small = pixel_unshuffle(images, 2)  # (N, 4 C, H / 2, W / 2)
        facts = torch.stack((sigma, clipped.to(sigma.dtype)), 1)  # (N, 2)
        maps = facts[:, :, None, None].expand(-1, -1, *small.shape[2:])
        outer = self.enter(torch.cat((small, maps), 1))  # (N, width, H / 2, W / 2)
        inner = self.down(outer)  # (N, inner_width, H / 4, W / 4)
        if self.overview:
            outer = outer + self.places
            inner = inner + self.overview(images, facts)
        return self.leave(outer + self.up(self.inner(inner)))


class Overview(nn.Module):
    """Two fully connected layers from the whole image to maps at a quarter of its side."""

    MAPS = 16  # between the layers and the `maps` that are asked for

    def __init__(self, shape: Sequence[int], width: int, maps: int) -> None:
        super().__init__()
        places = (shape[1] // 4, shape[2] // 4)
        self.layers = nn.Sequential(
            nn.Linear(math.prod(shape) + 2, width),
            nn.ReLU(),
            nn.Linear(width, self.MAPS * math.prod(places)),
            nn.Unflatten(1, (self.MAPS, *places)),
            nn.Conv2d(self.MAPS, maps, 1),
        )

    def forward(self, images: Tensor, facts: Tensor) -> Tensor:
        """(N, maps, H / 4, W / 4) from images (N, *shape) and facts (N, 2) about their noise."""
        return self.layers(torch.cat((images.flatten(1), facts), 1))


class ResidualConvolutions(nn.Module):
    """x + conv(relu(conv(x))) on maps (N, width, H, W): He et al. 2016, "ResNet"."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        return maps + self.layers(maps)
