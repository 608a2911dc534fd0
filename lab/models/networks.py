"""Generator and discriminator. Each keeps `config`: the keyword arguments that rebuild it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from lab.data.datasets import IMAGE_SIDE

PIXELS = IMAGE_SIDE * IMAGE_SIDE

# Bounds for options and for weights files from elsewhere: a width is refused before it is built.
MOST_LATENT = 4_096
MOST_WIDTH = 4_096
MOST_LAYERS = 8
MOST_CHANNELS = 1_024
MOST_CONVOLUTIONS = 2  # each halves or doubles the side: 28, 14, 7

# 0.6 over the standard deviation of each band of the training images, about, in both sets.
BAND_GAINS = (2.5, 2.1, 1.1)


class Clip(nn.Module):
    """Pixels cut off at -1 and 1, so that black is black; the gradient is that of tanh.

    Most pixels of both sets are 0 exactly. tanh gets there at infinity only, so its images are
    hazy, and an average of generators hazier. Cutting off alone would end all learning of a pixel
    beyond the bounds: hence the other gradient, "straight through" as in Bengio et al. 2013,
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


class Generator(nn.Module):
    """Generator: latent (N, latent_dim) -> images (N, 1, 28, 28) in [-1, 1].

    Fully connected; with `channels` (C1, C2) its last layers are transposed convolutions instead,
    from C1 maps of 7 x 7 to C2 of 14 x 14 to the image, as in Radford et al. 2016, "DCGAN".
    output: files from before there was a choice have tanh, hence the default.
    ValueError for an unknown name, or for more than MOST_CONVOLUTIONS channels.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        hidden: tuple[int, ...] = (512, 512, 512),
        batch_norm: bool = False,
        activation: str = "leaky-relu",
        channels: tuple[int, ...] = (),
        output: str = "tanh",
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_dim": latent_dim,
            "hidden": list(hidden),
            "batch_norm": batch_norm,
            "activation": activation,
            "channels": list(channels),
            "output": output,
        }
        self.latent_dim = latent_dim
        side = _side_of_maps(channels)

        def activated(layer: nn.Module, norm: type[nn.Module], width: int) -> list[nn.Module]:
            norms = [norm(width)] if batch_norm else []
            return [layer, *norms, layer_called(activation, ACTIVATIONS)]

        layers: list[nn.Module] = []
        bias = not batch_norm  # normalising subtracts the mean, and what a bias adds with it
        maps = [side * side * first for first in channels[:1]]
        widths = (latent_dim, *hidden, *maps)
        for width_in, width in pairwise(widths):
            layers += activated(nn.Linear(width_in, width, bias), nn.BatchNorm1d, width)
        if channels:
            layers.append(nn.Unflatten(1, (channels[0], side, side)))
            for channels_in, width in pairwise(channels):
                layers += activated(_doubling(channels_in, width, bias), nn.BatchNorm2d, width)
            layers.append(_doubling(channels[-1], 1))
        else:
            layers.append(nn.Linear(widths[-1], PIXELS))
        self.layers = nn.Sequential(*layers)
        self.output = layer_called(output, OUTPUTS)

    def forward(self, latent: Tensor) -> Tensor:
        """(N, latent_dim) -> (N, 1, 28, 28)."""
        # In bfloat16 a tanh soon is 1 and has no slope.
        return self.output(self.layers(latent).float()).view(-1, 1, IMAGE_SIDE, IMAGE_SIDE)


class Discriminator(nn.Module):
    """Discriminator: images (N, 1, 28, 28) -> logits (N,), positive for real.

    Fully connected; with `channels` its first layers are convolutions, to that many maps of half
    the side each, as in Radford et al. 2016, "DCGAN".
    pyramid: it is shown the bands of `laplacian_pyramid` instead of the pixels.
    ValueError for both at once, or for more than MOST_CONVOLUTIONS channels.
    """

    def __init__(
        self,
        hidden: tuple[int, ...] = (512, 256),
        dropout: float = 0.0,
        pyramid: bool = False,
        channels: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "hidden": list(hidden),
            "dropout": dropout,
            "pyramid": pyramid,
            "channels": list(channels),
        }
        if pyramid and channels:
            raise ValueError("convolutions are shown pixels, not a pyramid")
        # Fixed, so it is computed anew rather than kept in weights files.
        bands = laplacian_pyramid() if pyramid else None
        self.register_buffer("bands", bands, persistent=False)
        layers: list[nn.Module] = []
        for channels_in, channels_out in pairwise((1, *channels)):
            layers += [_halving(channels_in, channels_out), ACTIVATIONS["leaky-relu"]()]
        width_in = PIXELS if bands is None else bands.shape[1]
        if channels:
            layers.append(nn.Flatten())
            width_in = channels[-1] * _side_of_maps(channels) ** 2
        for width in hidden:
            layers += [nn.Linear(width_in, width), ACTIVATIONS["leaky-relu"]()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            width_in = width
        self.layers = nn.Sequential(*layers, nn.Linear(width_in, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, 28, 28) -> (N,)."""
        seen = images if self.config["channels"] else images.flatten(1)
        if self.bands is not None:
            seen = seen @ self.bands  # (N, 784) -> (N, 1029)
        return self.layers(seen).float().squeeze(1)


def _side_of_maps(channels: tuple[int, ...]) -> int:
    """The side of the last maps of that many convolutions, each of which halves it."""
    if len(channels) > MOST_CONVOLUTIONS:
        raise ValueError(f"{len(channels)} convolutions, at most {MOST_CONVOLUTIONS}")
    return IMAGE_SIDE >> len(channels)


def _halving(channels_in: int, channels_out: int) -> nn.Conv2d:
    """Maps (N, C, H, W) -> (N, C', H / 2, W / 2)."""
    return nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1)


def _doubling(channels_in: int, channels_out: int, bias: bool = True) -> nn.ConvTranspose2d:
    """Maps (N, C, H, W) -> (N, C', 2 H, 2 W)."""
    return nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1, bias=bias)


def laplacian_pyramid() -> Tensor:
    """The matrix (784, 1029) that splits an image into three bands of detail.

    Burt and Adelson 1983, "The Laplacian pyramid as a compact image code": what 28x28 pixels have
    beyond their 14x14 averages, what these have beyond their 7x7 averages, and those. Each band is
    scaled to a like strength: most of an image's energy is in the coarse one, while the speckle
    that gives a fully connected generator away is in the fine one.
    """
    image = torch.eye(PIXELS).view(PIXELS, 1, IMAGE_SIDE, IMAGE_SIDE)
    half = avg_pool2d(image, 2)
    quarter = avg_pool2d(half, 2)
    bands = (image - _doubled(half), half - _doubled(quarter), quarter)
    return torch.cat(
        [gain * band.flatten(1) for gain, band in zip(BAND_GAINS, bands, strict=True)], dim=1
    )


def _doubled(images: Tensor) -> Tensor:
    return interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)


def count_parameters(network: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def generate(generator: nn.Module, latents: Tensor, batch_size: int = 1000) -> Tensor:
    """uint8 images (N, 1, 28, 28) of `latents` (N, latent_dim), in evaluation mode.

    They have 256 levels, as a PNG would hold them. The generator's mode is put back afterwards.
    """
    was_training = generator.training
    generator.eval()
    parts = [to_levels(generator(batch)) for batch in latents.split(batch_size)]
    generator.train(was_training)
    return torch.cat(parts)


def to_levels(pixels: Tensor) -> Tensor:
    """[-1, 1] -> uint8, rounded to the nearest of 256 levels; `pixels` is overwritten."""
    return pixels.add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def average_decay(most: float, updates: int) -> float:
    """The decay of a moving average after `updates` updates: it rises to `most` as these add up.

    (1 + n) / (10 + n), so that the average is over roughly the last tenth of the updates so far.
    With a constant decay it would be made of the initial weights for thousands of steps. The rule
    is that of `num_updates` in TensorFlow's ExponentialMovingAverage.
    """
    return min(most, (1 + updates) / (10 + updates))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * network; running statistics are copied.

    The exponential moving average of the generator's weights: Yazici et al. 2019, "The unusual
    effectiveness of averaging in GAN training".
    """
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for copied, current in zip(average.buffers(), network.buffers(), strict=True):
        copied.copy_(current)
