"""The fully connected generator and discriminator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from lab.models.bands import BandLinear
from lab.models.layers import (
    ACTIVATIONS,
    LABEL_DIM,
    OUTPUTS,
    LabelledLatent,
    LabelProjection,
    layer_called,
)


class MLPGenerator(nn.Module):
    """Fully connected generator: latent (N, latent_dim) -> images (N, *shape) in [-1, 1].

    classes: how many a conditional generator is asked for by label; 0 for an unconditional one.
    ValueError for an unknown activation or output.
    """

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
        super().__init__()
        self.shape, self.latent_dim, self.classes = tuple(shape), latent_dim, classes
        layers: list[nn.Module] = []
        widths = (latent_dim + LABEL_DIM * bool(classes), *hidden)
        for width_in, width in pairwise(widths):
            # Normalising subtracts the mean, and what a bias adds with it.
            layers.append(nn.Linear(width_in, width, bias=not batch_norm))
            layers += [nn.BatchNorm1d(width)] if batch_norm else []
            layers.append(layer_called(activation, ACTIVATIONS))
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], math.prod(shape)))
        self.output = layer_called(output, OUTPUTS)
        self.labelled = LabelledLatent(classes) if classes else None

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, latent_dim), of a conditional one int64 (N,) -> (N, *shape)."""
        if self.labelled:
            latent = self.labelled(latent, labels)
        # In bfloat16 a tanh soon is 1 and has no slope.
        return self.output(self.layers(latent).float()).view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Fully connected discriminator: images (N, *shape) -> logits (N,), positive for real.

    pyramid: its first layer sees the bands of a pyramid (`BandLinear`) instead of pixels;
    ValueError where the shape does not allow that. classes: how many labels a conditional
    discriminator is told; 0 for an unconditional one.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int] = (512, 256),
        dropout: float = 0.0,
        pyramid: bool = False,
        classes: int = 0,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        layers = hidden_layers(math.prod(shape), hidden, dropout)
        if pyramid:
            if height != width:
                raise ValueError(f"a pyramid is for square images, not {height} x {width}")
            layers[0] = BandLinear(channels, height, layers[0].out_features)
        self.layers = nn.Sequential(*layers)
        features = self.layers[-1].in_features
        self.projection = LabelProjection(classes, features) if classes else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """(N, *shape), of a conditional one int64 (N,) -> (N,)."""
        return logits(self.layers, self.projection, images.flatten(1), labels)


def hidden_layers(numbers: int, hidden: Sequence[int], dropout: float) -> list[nn.Module]:
    """Layers of a discriminator from so many `numbers` an image to its logit (N, 1)."""
    layers: list[nn.Module] = []
    for width_in, width in pairwise((numbers, *hidden)):
        layers += [nn.Linear(width_in, width), ACTIVATIONS["leaky-relu"]()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return [*layers, nn.Linear((numbers, *hidden)[-1], 1)]


def logits(
    layers: nn.Sequential, projection: LabelProjection | None, inputs: Tensor, labels: Tensor | None
) -> Tensor:
    """(N,): what a discriminator's layers make of inputs (N, ...) and of their labels (N,)."""
    if projection is None:
        return layers(inputs).float().squeeze(1)
    *to_features, last = layers
    features = inputs
    for layer in to_features:
        features = layer(features)
    return (last(features) + projection(features, labels)).float().squeeze(1)
