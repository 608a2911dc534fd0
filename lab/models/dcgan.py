"""The convolutional generator and discriminator: Radford et al. 2016, "DCGAN"."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from lab.models.layers import (
    ACTIVATIONS,
    LABEL_DIM,
    MOST_CONVOLUTIONS,
    OUTPUTS,
    LabelledLatent,
    LabelProjection,
    layer_called,
)
from lab.models.mlp import MLPDiscriminator, hidden_layers, logits
from lab.text import sized

LEAST_SIDE = 4  # of the smallest maps of `channels_for`
GREY_MAPS, COLOUR_MAPS = 32, 48  # its maps at half the side
BESIDE = (512, 128)  # widths of the discriminator's layers that see bands
FULL_SIDE = 32  # larger images have fewer maps there: a step would take too long


def channels_for(shape: Sequence[int]) -> tuple[int, ...]:
    """The `channels` of a generator that suit images of `shape` (C, H, W): (64, 32) for MNIST's.

    The sides are halved as often as they can be down to 4 pixels, and each halving doubles the
    maps. A discriminator has the same channels in the other order.
    """
    sides = shape[1:]
    halvings = 1
    while halvings < MOST_CONVOLUTIONS and all(
        side % 2 ** (halvings + 1) == 0 and side >= LEAST_SIDE * 2 ** (halvings + 1)
        for side in sides
    ):
        halvings += 1
    most = GREY_MAPS if shape[0] == 1 else COLOUR_MAPS
    least = max(8, int(most * min(1, FULL_SIDE / max(sides))) // 8 * 8)
    return tuple(least * 2**place for place in reversed(range(halvings)))


class DCGANGenerator(nn.Module):
    """Convolutional generator: latent (N, latent_dim) -> images (N, *shape) in [-1, 1].

    Fully connected layers first, then transposed convolutions: with `channels` (C1, C2) from C1
    maps of a quarter of the side to C2 of half of it to the image, or, before it, to `full_maps` of
    the whole side. classes: how many a conditional generator is asked for by label; 0 for an
    unconditional one. ValueError for an unknown activation or output, and for more channels than
    halvings of the sides.
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
        super().__init__()
        self.latent_dim, self.classes = latent_dim, classes
        height, width = smallest_maps(shape, channels)
        bias = not batch_norm  # normalising subtracts the mean, and what a bias adds with it

        def activated(layer: nn.Module, norm: type[nn.Module], maps: int) -> list[nn.Module]:
            norms = [norm(maps)] if batch_norm else []
            return [layer, *norms, layer_called(activation, ACTIVATIONS)]

        layers: list[nn.Module] = []
        numbers = latent_dim + LABEL_DIM * bool(classes)
        for wide_in, wide in pairwise((numbers, *hidden, height * width * channels[0])):
            layers += activated(nn.Linear(wide_in, wide, bias), nn.BatchNorm1d, wide)
        layers.append(nn.Unflatten(1, (channels[0], height, width)))
        for maps_in, maps in pairwise((*channels, full_maps) if full_maps else channels):
            layers += activated(_doubling(maps_in, maps, bias), nn.BatchNorm2d, maps)
        last = _same_side(full_maps, shape[0]) if full_maps else _doubling(channels[-1], shape[0])
        self.layers = nn.Sequential(*layers, last)
        self.output = layer_called(output, OUTPUTS)
        self.labelled = LabelledLatent(classes) if classes else None

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, latent_dim), of a conditional one int64 (N,) -> (N, *shape)."""
        if self.labelled:
            latent = self.labelled(latent, labels)
        # In bfloat16 a tanh soon is 1 and has no slope.
        return self.output(self.layers(latent).float())


class DCGANDiscriminator(nn.Module):
    """Convolutional discriminator: images (N, *shape) -> logits (N,), positive for real.

    Convolutions to `full_maps` of the whole side, if any, and to `channels` maps of half the side
    each, then fully connected layers. pyramid: beside them fully connected layers see the bands of
    a pyramid, and both logits are added up: convolutions see texture, the others shapes. classes:
    how many labels a conditional discriminator is told; 0 for an unconditional one. ValueError for
    more channels than halvings of the sides, and for sides that a pyramid refuses.
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
        super().__init__()
        height, width = smallest_maps(shape, channels)
        layers: list[nn.Module] = []
        if full_maps:
            layers += [_same_side(shape[0], full_maps), ACTIVATIONS["leaky-relu"]()]
        for maps_in, maps in pairwise((full_maps or shape[0], *channels)):
            layers += [_halving(maps_in, maps), ACTIVATIONS["leaky-relu"]()]
        numbers = channels[-1] * height * width
        self.layers = nn.Sequential(*layers, nn.Flatten(), *hidden_layers(numbers, hidden, dropout))
        features = self.layers[-1].in_features
        self.projection = LabelProjection(classes, features) if classes else None
        self.beside = None
        if pyramid:
            self.beside = MLPDiscriminator(shape, BESIDE, dropout, pyramid, classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, *shape), of a conditional one int64 (N,) -> (N,)."""
        found = logits(self.layers, self.projection, images, labels)
        return found + self.beside(images, labels) if self.beside else found


def smallest_maps(shape: Sequence[int], channels: Sequence[int]) -> tuple[int, int]:
    """Height and width of the maps after as many halvings as there are `channels`.

    ValueError where the sides of `shape` cannot be halved so often, or there are no channels.
    """
    factor = 2 ** len(channels)
    height, width = shape[1:]
    if not channels or height % factor or width % factor:
        raise ValueError(
            f"images of {sized(shape)} cannot be halved {len(channels)} times, one time a channel"
            if channels
            else "it has no channels"
        )
    return height // factor, width // factor


def _same_side(maps_in: int, maps: int) -> nn.Conv2d:
    """Maps (N, C, H, W) -> (N, C', H, W)."""
    return nn.Conv2d(maps_in, maps, 3, padding=1)


def _halving(maps_in: int, maps: int) -> nn.Conv2d:
    """Maps (N, C, H, W) -> (N, C', H / 2, W / 2)."""
    return nn.Conv2d(maps_in, maps, 4, stride=2, padding=1)


def _doubling(maps_in: int, maps: int, bias: bool = True) -> nn.ConvTranspose2d:
    """Maps (N, C, H, W) -> (N, C', 2 H, 2 W)."""
    return nn.ConvTranspose2d(maps_in, maps, 4, stride=2, padding=1, bias=bias)
