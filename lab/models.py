"""The networks. Each keeps `config`: the keyword arguments that rebuild it, for its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lab.data import IMAGE_SIDE

PIXELS = IMAGE_SIDE * IMAGE_SIDE

# Bounds for options and for weights files from elsewhere: a width is refused before it is built.
MOST_LATENT = 4_096
MOST_WIDTH = 8_192
MOST_LAYERS = 8

ACTIVATIONS = ("leaky-relu", "relu")


def activation_layer(name: str) -> nn.Module:
    """`relu`, or `leaky-relu` with slope 0.2 below zero (Radford et al. 2016, "DCGAN")."""
    return nn.ReLU() if name == "relu" else nn.LeakyReLU(0.2)


class Generator(nn.Module):
    """Fully connected generator: latent (N, latent_dim) -> images (N, 1, 28, 28) in [-1, 1]."""

    def __init__(
        self,
        latent_dim: int = 100,
        hidden: tuple[int, ...] = (256, 512, 1024),
        batch_norm: bool = False,
        activation: str = "leaky-relu",
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_dim": latent_dim,
            "hidden": list(hidden),
            "batch_norm": batch_norm,
            "activation": activation,
        }
        self.latent_dim = latent_dim
        layers: list[nn.Module] = []
        width_in = latent_dim
        for width in hidden:
            layers.append(nn.Linear(width_in, width))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(activation_layer(activation))
            width_in = width
        self.layers = nn.Sequential(*layers, nn.Linear(width_in, PIXELS), nn.Tanh())

    def forward(self, latent: Tensor) -> Tensor:
        """(N, latent_dim) -> (N, 1, 28, 28)."""
        return self.layers(latent).view(-1, 1, IMAGE_SIDE, IMAGE_SIDE)


class Discriminator(nn.Module):
    """Fully connected discriminator: images (N, 1, 28, 28) -> logits (N,), positive for real."""

    def __init__(self, hidden: tuple[int, ...] = (512, 256), dropout: float = 0.0) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"hidden": list(hidden), "dropout": dropout}
        layers: list[nn.Module] = []
        width_in = PIXELS
        for width in hidden:
            layers += [nn.Linear(width_in, width), activation_layer("leaky-relu")]
            if dropout:
                layers.append(nn.Dropout(dropout))
            width_in = width
        self.layers = nn.Sequential(*layers, nn.Linear(width_in, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, 28, 28) -> (N,)."""
        return self.layers(images.flatten(1)).squeeze(1)


class Classifier(nn.Module):
    """Small convolutional classifier: images (N, 1, 28, 28) in [-1, 1] -> logits (N, 10).

    Generated images are measured by its features. Convolutions come before a pooling only where
    there is one channel to read, so that 10,000 images take about a second on two cores.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 128)) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"widths": list(widths)}
        first, second, third, last = widths
        self.layers = nn.Sequential(
            *(_convolution(1, first), nn.MaxPool2d(2), nn.BatchNorm2d(first), nn.ReLU()),
            *(_convolution(first, second), nn.MaxPool2d(2), nn.BatchNorm2d(second), nn.ReLU()),
            *(_convolution(second, third), nn.BatchNorm2d(third), nn.ReLU()),
            *(_convolution(third, last, padding=0), nn.BatchNorm2d(last), nn.ReLU()),
        )
        self.head = nn.Linear(last, 10)

    def features(self, images: Tensor) -> Tensor:
        """(N, 1, 28, 28) -> (N, 128): each channel's mean over the last 5 x 5 places."""
        return self.layers(images).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, 28, 28) -> logits (N, 10)."""
        return self.head(self.features(images))


def _convolution(channels_in: int, channels_out: int, padding: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution; without bias, since batch normalisation follows."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=padding, bias=False)


def count_parameters(network: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def generate(generator: nn.Module, latents: Tensor, batch_size: int = 1000) -> Tensor:
    """uint8 images (N, 1, 28, 28) of `latents` (N, latent_dim), in evaluation mode.

    Rounded to the nearest of 256 levels, as a PNG would hold them. The generator's mode is put
    back afterwards.
    """
    was_training = generator.training
    generator.eval()
    parts = [
        generator(batch).add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
        for batch in latents.split(batch_size)
    ]
    generator.train(was_training)
    return torch.cat(parts)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * network; running statistics are copied.

    The exponential moving average of the generator's weights: Yazici et al. 2019, "The unusual
    effectiveness of averaging in GAN training".
    """
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for copied, current in zip(average.buffers(), network.buffers(), strict=True):
        copied.copy_(current)
