"""The fully connected generator and discriminator."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from lab.models.bands import BandLinear
from lab.models.layers import LABEL_DIM, Discriminator, Generator, activated


class MLPGenerator(Generator):
    """Fully connected generator; ValueError for an unknown activation or output."""

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int = 100,
        hidden: Sequence[int] = (512, 512, 512),
        batch_norm: bool = False,
        activation: str = "leaky-relu",
        output: str = "tanh",
        classes: int = 0,
    ) -> None:
        widths = (latent_dim + LABEL_DIM * bool(classes), *hidden)
        layers = latent_layers(widths, batch_norm, activation)
        layers += [nn.Linear(widths[-1], math.prod(shape)), nn.Unflatten(1, tuple(shape))]
        super().__init__(layers, latent_dim, output, classes)


class MLPDiscriminator(Discriminator):
    """Fully connected discriminator.

    pyramid: the first layer is a `BandLinear`, on pyramid bands instead of pixels; ValueError if
    the shape does not suit it.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int] = (512, 256),
        dropout: float = 0.0,
        pyramid: bool = False,
        classes: int = 0,
    ) -> None:
        channels, height, width = shape
        layers = hidden_layers(math.prod(shape), hidden, dropout)
        if pyramid:
            if height != width:
                raise ValueError(f"a pyramid is for square images, not {height} x {width}")
            layers[0] = BandLinear(channels, height, layers[0].out_features)
        super().__init__(layers, classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(images.flatten(1), labels)


def latent_layers(widths: Sequence[int], batch_norm: bool, activation: str) -> list[nn.Module]:
    """The fully connected layers of a generator: (N, widths[0]) -> (N, widths[-1])."""
    layers: list[nn.Module] = []
    for width_in, width in pairwise(widths):
        # Batch normalisation would remove a bias again.
        linear = nn.Linear(width_in, width, bias=not batch_norm)
        layers += activated(linear, activation, nn.BatchNorm1d(width) if batch_norm else None)
    return layers


def hidden_layers(inputs: int, hidden: Sequence[int], dropout: float) -> list[nn.Module]:
    """The fully connected layers of a discriminator: (N, inputs) -> logits (N, 1)."""
    layers: list[nn.Module] = []
    for width_in, width in pairwise((inputs, *hidden)):
        layers += activated(nn.Linear(width_in, width))
        layers += [nn.Dropout(dropout)] if dropout else []
    return [*layers, nn.Linear((inputs, *hidden)[-1], 1)]
