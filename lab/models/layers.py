"""Layers and bounds that several networks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

# Bounds for options and for weights files from elsewhere: a width is refused before it is built.
MOST_LATENT = 4_096
MOST_WIDTH = 4_096
MOST_LAYERS = 8
MOST_CHANNELS = 1_024
MOST_CONVOLUTIONS = 4  # each halves or doubles the side

LABEL_DIM = 50  # numbers that a label is embedded in, beside the latent


class Clip(nn.Module):
    """Pixels cut off at -1 and 1, so that black is black; the gradient is that of tanh.

    Most pixels of both MNIST sets are 0 exactly. tanh gets there at infinity only, so its images
    are hazy, and an average of generators hazier. Cutting off alone would end all learning of a
    pixel beyond the bounds: hence the other gradient, "straight through" as in Bengio et al. 2013,
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


class LabelledLatent(nn.Embedding):
    """Sets an embedding of the class label beside a latent: the input of a conditional generator.

    Mirza and Osindero 2014, "Conditional generative adversarial nets", with a learned embedding.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(classes, LABEL_DIM)

    def forward(self, latent: Tensor, labels: Tensor | None) -> Tensor:
        """(N, L), int64 (N,) -> (N, L + LABEL_DIM); without labels, classes in turn."""
        if labels is None:
            labels = classes_in_turn(len(latent), self.num_embeddings).to(latent.device)
        return torch.cat((latent, super().forward(labels)), 1)


class LabelProjection(nn.Embedding):
    """What the label adds to a discriminator's logit: its embedding times the last features.

    Miyato and Koyama 2018, "cGANs with projection discriminator".
    """

    def __init__(self, classes: int, features: int) -> None:
        super().__init__(classes, features)
        nn.init.normal_(self.weight, std=features**-0.5)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(N, features), int64 (N,) -> (N, 1)."""
        return (super().forward(labels) * features).sum(1, keepdim=True)


def classes_in_turn(count: int, classes: int) -> Tensor:
    """int64 (count,): 0, 1, ..., classes - 1, 0, 1, ..."""
    return torch.arange(count) % classes
