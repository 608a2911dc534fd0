"""The fully connected generator and discriminator."""

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
    make_layer,
)


class MLPGenerator(nn.Module):
    """Fully connected generator: latent (N, latent_dim) -> images (N, *shape) in [-1, 1].

    classes: of a conditional generator; 0 for an unconditional one. ValueError for an unknown
    activation or output.
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
            # Batch normalisation would remove a bias again.
            layers.append(nn.Linear(width_in, width, bias=not batch_norm))
            layers += [nn.BatchNorm1d(width)] if batch_norm else []
            layers.append(make_layer(activation, ACTIVATIONS))
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], math.prod(shape)))
        self.output = make_layer(output, OUTPUTS)
        self.labelled = LabelledLatent(classes) if classes else None

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents (N, latent_dim), and labels int64 (N,) if conditional -> (N, *shape)."""
        if self.labelled:
            latent = self.labelled(latent, labels)
        # float32, because tanh saturates sooner in bfloat16.
        return self.output(self.layers(latent).float()).view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Fully connected discriminator: images (N, *shape) -> logits (N,), positive for real.

    pyramid: the first layer is a `BandLinear`, on pyramid bands instead of pixels; ValueError if
    the shape does not suit it. classes: of a conditional discriminator; 0 for an unconditional one.
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
        """Images (N, *shape), and labels int64 (N,) if conditional -> (N,)."""
        return compute_logits(self.layers, self.projection, images.flatten(1), labels)


def hidden_layers(inputs: int, hidden: Sequence[int], dropout: float) -> list[nn.Module]:
    """The fully connected layers of a discriminator: (N, inputs) -> logits (N, 1)."""
    layers: list[nn.Module] = []
    for width_in, width in pairwise((inputs, *hidden)):
        layers += [nn.Linear(width_in, width), ACTIVATIONS["leaky-relu"]()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return [*layers, nn.Linear((inputs, *hidden)[-1], 1)]


def compute_logits(
    layers: nn.Sequential, projection: LabelProjection | None, inputs: Tensor, labels: Tensor | None
) -> Tensor:
    """A discriminator's logits (N,) of inputs (N, ...), plus the projection of labels (N,)."""
    if projection is None:
        return layers(inputs).float().squeeze(1)
    *to_features, last = layers
    features = inputs
    for layer in to_features:
        features = layer(features)
    return (last(features) + projection(features, labels)).float().squeeze(1)
