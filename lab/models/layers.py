"""Layers that several networks share, and bounds on their sizes."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

# Bounds for options and for weights files, which are checked before the network is built.
MAX_LATENT = 4_096
MAX_WIDTH = 4_096
MAX_LAYERS = 8
MAX_CHANNELS = 1_024
MAX_CONVOLUTIONS = 4  # each halves or doubles the side

LABEL_DIM = 50  # dimension of the generator's label embedding


class Clip(nn.Module):
    """Clips pixels to [-1, 1] with the gradient of tanh.

    Most pixels of MNIST and Fashion-MNIST are exactly black. tanh reaches that value only at
    infinity, so its images are hazy, and those of an averaged generator more so. The gradient of
    clipping is 0 outside the range, where a pixel would stop learning; hence the gradient of
    another function, a straight-through estimator as in Bengio et al. 2013, "Estimating or
    propagating gradients through stochastic neurons".
    """

    def forward(self, pixels: Tensor) -> Tensor:
        squashed = pixels.tanh()
        return pixels.detach().clamp(-1, 1) + (squashed - squashed.detach())


# LeakyReLU with slope 0.2, and tanh as the output: Radford et al. 2016, "DCGAN".
# In place, which changes no value and saves up to a tenth of a step of a convolutional network.
ACTIVATIONS = {
    "leaky-relu": partial(nn.LeakyReLU, 0.2, inplace=True),
    "relu": partial(nn.ReLU, inplace=True),
}
OUTPUTS = {"tanh": nn.Tanh, "clip": Clip}


def make_layer(name: str, layers: Mapping[str, Callable[[], nn.Module]]) -> nn.Module:
    """A new layer `layers[name]`; ValueError for an unknown name."""
    if name not in layers:
        raise ValueError(f"{name!r} is none of {', '.join(layers)}")
    return layers[name]()


def activated(
    layer: nn.Module, activation: str = "leaky-relu", norm: nn.Module | None = None
) -> list[nn.Module]:
    """A layer, its batch normalisation if it has one, and an activation of ACTIVATIONS."""
    return [layer, *([norm] if norm else []), make_layer(activation, ACTIVATIONS)]


class LabelledLatent(nn.Embedding):
    """The input of a conditional generator: the latent and a learned embedding of the class label.

    Mirza and Osindero 2014, "Conditional generative adversarial nets".
    """

    def __init__(self, classes: int) -> None:
        super().__init__(classes, LABEL_DIM)

    def forward(self, latent: Tensor, labels: Tensor | None) -> Tensor:
        """(N, L), int64 (N,) -> (N, L + LABEL_DIM); labels default to the classes in turn."""
        if labels is None:
            labels = classes_in_turn(len(latent), self.num_embeddings).to(latent.device)
        return torch.cat((latent, super().forward(labels)), 1)


class Generator(nn.Module):
    """A generator: latents (N, latent_dim) -> images (N, *shape) in [-1, 1].

    output: the function after `layers`. classes: of a conditional generator, else 0.
    """

    def __init__(self, layers: list[nn.Module], latent_dim: int, output: str, classes: int) -> None:
        super().__init__()
        self.latent_dim, self.classes = latent_dim, classes
        self.layers = nn.Sequential(*layers)
        self.output = make_layer(output, OUTPUTS)
        self.labelled = LabelledLatent(classes) if classes else None

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents (N, latent_dim), and labels int64 (N,) if conditional -> (N, *shape)."""
        if self.labelled:
            latent = self.labelled(latent, labels)
        # float32, because tanh saturates sooner in bfloat16.
        return self.output(self.layers(latent).float())


class LabelProjection(nn.Embedding):
    """The label's term in a discriminator's logit: its embedding times the last features.

    Miyato and Koyama 2018, "cGANs with projection discriminator".
    """

    def __init__(self, classes: int, features: int) -> None:
        super().__init__(classes, features)
        nn.init.normal_(self.weight, std=features**-0.5)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(N, features), int64 (N,) -> (N, 1)."""
        return (super().forward(labels) * features).sum(1, keepdim=True)


class Discriminator(nn.Module):
    """A discriminator: images (N, *shape) -> logits (N,), positive for real.

    layers: the last one is linear. classes: of a conditional discriminator, else 0.
    """

    def __init__(self, layers: list[nn.Module], classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        features = self.layers[-1].in_features
        self.projection = LabelProjection(classes, features) if classes else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (N, *shape), and labels int64 (N,) if conditional -> (N,)."""
        *to_features, last = self.layers
        features = images
        for layer in to_features:
            features = layer(features)
        logits = last(features)
        if self.projection:
            logits = logits + self.projection(features, labels)
        return logits.float().squeeze(1)


def classes_in_turn(count: int, classes: int) -> Tensor:
    """int64 (count,): 0, 1, ..., classes - 1, 0, 1, ..."""
    return torch.arange(count) % classes
