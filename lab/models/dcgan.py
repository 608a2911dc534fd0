"""The convolutional generator and discriminator: Radford et al. 2016, "DCGAN"."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from lab.models.layers import LABEL_DIM, MAX_CONVOLUTIONS, Discriminator, Generator, activated
from lab.models.mlp import MLPDiscriminator, hidden_layers, latent_layers
from lab.text import sized

LEAST_SIDE = 4  # side of the smallest feature maps that `channels_for` chooses
GREY_MAPS, COLOUR_MAPS = 32, 48  # channels that `channels_for` chooses at half the side
FULL_MAPS = 32  # channels that `full_maps_for` chooses for colour images
FULL_SIDE = 32  # for larger images both choose fewer channels, to save time
BAND_HIDDEN = (512, 128)  # hidden widths of the discriminator's fully connected branch


def channels_for(shape: Sequence[int]) -> tuple[int, ...]:
    """Default `channels` of a generator for images of `shape` (C, H, W): (64, 32) for MNIST.

    The sides are halved as long as they are even and 4 pixels or more remain; each halving doubles
    the channels. A discriminator has the same channels in reverse order.
    """
    sides, factors = shape[1:], [2**power for power in range(2, MAX_CONVOLUTIONS + 1)]
    halvings = 1 + sum(all(s % f == 0 and s >= LEAST_SIDE * f for s in sides) for f in factors)
    least = _fewer(GREY_MAPS if shape[0] == 1 else COLOUR_MAPS, sides)
    return tuple(least * 2**power for power in reversed(range(halvings)))


def full_maps_for(shape: Sequence[int]) -> int:
    """Default `full_maps` for images of `shape` (C, H, W): none for grey ones, 32 for CIFAR-10.

    Half the side is too coarse for the details of photographs: benchmarks/CIFAR10.md.
    """
    return 0 if shape[0] == 1 else _fewer(FULL_MAPS, shape[1:])


def _fewer(channels: int, sides: Sequence[int]) -> int:
    """So many channels, or fewer for images larger than FULL_SIDE; a multiple of 8."""
    return max(8, int(channels * min(1, FULL_SIDE / max(sides))) // 8 * 8)


class DCGANGenerator(Generator):
    """Fully connected layers with widths `hidden`, then convolutions that double the side.

    With channels (C1, C2) the feature maps are C1 at a quarter of the image's side, C2 at half of
    it, and then the image; full_maps > 0 adds a layer of so many channels at the full side before
    the image. ValueError for an unknown activation or output, or if the sides cannot be halved once
    per channel.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int = 100,
        hidden: Sequence[int] = (512, 512, 512),
        batch_norm: bool = False,
        activation: str = "leaky-relu",
        channels: Sequence[int] = (64, 32),
        full_maps: int = 0,
        output: str = "tanh",
        classes: int = 0,
    ) -> None:
        height, width = smallest_maps(shape, channels)
        inputs, first = latent_dim + LABEL_DIM * bool(classes), height * width * channels[0]
        layers = latent_layers((inputs, *hidden, first), batch_norm, activation)
        layers.append(nn.Unflatten(1, (channels[0], height, width)))
        for maps_in, maps in pairwise((*channels, full_maps) if full_maps else channels):
            doubling = _doubling(maps_in, maps, bias=not batch_norm)
            layers += activated(doubling, activation, nn.BatchNorm2d(maps) if batch_norm else None)
        last = _same_side(full_maps, shape[0]) if full_maps else _doubling(channels[-1], shape[0])
        super().__init__([*layers, last], latent_dim, output, classes)


class DCGANDiscriminator(Discriminator):
    """Convolutions, then fully connected layers with widths `hidden`.

    The convolutions have `full_maps` channels at the full side, if not 0, and stride 2 for each of
    `channels`. pyramid: add the logits of a fully connected discriminator on pyramid bands, which
    responds to shapes where convolutions respond to texture. ValueError if the sides cannot be
    halved once per channel, or do not suit a pyramid.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int] = (512, 256),
        dropout: float = 0.0,
        channels: Sequence[int] = (32, 64),
        full_maps: int = 0,
        pyramid: bool = False,
        classes: int = 0,
    ) -> None:
        height, width = smallest_maps(shape, channels)
        layers: list[nn.Module] = []
        if full_maps:
            layers += activated(_same_side(shape[0], full_maps))
        for maps_in, maps in pairwise((full_maps or shape[0], *channels)):
            layers += activated(nn.Conv2d(maps_in, maps, 4, stride=2, padding=1))
        inputs = channels[-1] * height * width
        super().__init__([*layers, nn.Flatten(), *hidden_layers(inputs, hidden, dropout)], classes)
        self.beside = None  # the fully connected branch
        if pyramid:
            self.beside = MLPDiscriminator(shape, BAND_HIDDEN, dropout, pyramid, classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = super().forward(images, labels)
        return logits + self.beside(images, labels) if self.beside else logits


def smallest_maps(shape: Sequence[int], channels: Sequence[int]) -> tuple[int, int]:
    """Height and width of the smallest feature maps, after one halving per channel.

    ValueError if the sides of `shape` cannot be halved so often, or if there are no channels.
    """
    factor = 2 ** len(channels)
    height, width = shape[1:]
    if not channels:
        raise ValueError("it has no channels")
    if height % factor or width % factor:
        times = f"{len(channels)} times, once per channel"
        raise ValueError(f"images of {sized(shape)} cannot be halved {times}")
    return height // factor, width // factor


def _same_side(maps_in: int, maps: int) -> nn.Conv2d:
    """Feature maps (N, C, H, W) -> (N, C', H, W)."""
    return nn.Conv2d(maps_in, maps, 3, padding=1)


def _doubling(maps_in: int, maps: int, bias: bool = True) -> nn.ConvTranspose2d:
    """Feature maps (N, C, H, W) -> (N, C', 2 H, 2 W)."""
    return nn.ConvTranspose2d(maps_in, maps, 4, stride=2, padding=1, bias=bias)
