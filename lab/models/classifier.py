"""Classifiers, whose features and predictions score generated images.

Each takes images (N, *shape) in [-1, 1]; `features_and_logits` returns both in one pass.
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

LARGE = 32  # for larger sides the first convolution has stride 2, to save time


class _Classifier(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return self.features_and_logits(images)[1]


class Classifier(_Classifier):
    """Small convolutional classifier: images (N, *shape) in [-1, 1] -> logits (N, classes).

    The features are taken before the last ReLU, where they are closer to the normal distribution
    that the Frechet distance assumes.
    """

    def __init__(
        self, shape: Sequence[int], classes: int, widths: Sequence[int] = (32, 64, 128, 128)
    ) -> None:
        super().__init__()
        first, second, third, last = widths
        stride = 2 if shape[1] > LARGE else 1
        conv = partial(nn.Conv2d, kernel_size=3, bias=False)  # batch normalisation has a bias
        self.layers = nn.Sequential(
            *(conv(shape[0], first, stride=stride, padding=1), nn.MaxPool2d(2)),
            *(nn.BatchNorm2d(first), nn.ReLU()),
            *(conv(first, second, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(second), nn.ReLU()),
            *(conv(second, third, padding=1), nn.BatchNorm2d(third), nn.ReLU()),
            *(conv(third, last), nn.BatchNorm2d(last)),
        )
        self.head = nn.Linear(last, classes)

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, *shape) -> (N, widths[-1]) and (N, classes)."""
        maps = self.layers(images)
        return maps.mean((2, 3)), self.head(maps.relu().mean((2, 3)))


class MLPClassifier(_Classifier):
    """Fully connected classifier: images (N, *shape) in [-1, 1] -> logits (N, classes).

    Without convolutions it responds to shapes more than to texture. The features are the inputs of
    the last layer.
    """

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        super().__init__()
        widths, layers = (256, 128, 64), [nn.Flatten()]
        for width_in, width in pairwise((math.prod(shape), *widths)):
            layers += [nn.Linear(width_in, width), nn.GELU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], classes)

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, *shape) -> (N, 64) and (N, classes)."""
        features = self.layers(images)
        return features, self.head(features)


class RandomFeatures(nn.Module):
    """A convolutional network with random weights: images (N, *shape) in [-1, 1] -> (N, features).

    It needs no training and no labels. Naeem et al. 2020, "Reliable fidelity and diversity metrics
    for generative models", use 64 features of a random VGG network for images that are unlike those
    of ImageNet; this network is far smaller.
    """

    def __init__(self, shape: Sequence[int], chance: torch.Generator) -> None:
        super().__init__()
        widths, features = (32, 64, 128), 64
        layers: list[nn.Module] = []
        for width_in, width in pairwise((shape[0], *widths)):
            layers += [nn.Conv2d(width_in, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers[-1:] = [nn.Flatten()]  # instead of the last pooling
        inputs = widths[-1] * math.prod(side // 2 ** (len(widths) - 1) for side in shape[1:])
        with torch.random.fork_rng(devices=[]):  # a training may be using the global generator
            self.layers = nn.Sequential(*layers, nn.Linear(inputs, features))
        for parameter in self.parameters():  # He et al. 2015; biases are 0
            gain = 2 / parameter[0].numel() if parameter.ndim > 1 else 0
            nn.init.normal_(parameter, std=gain**0.5, generator=chance)
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))

    @torch.inference_mode()
    def standardise(self, images: Tensor) -> None:
        """Scale the features to mean 0 and standard deviation 1 over images (N, *shape)."""
        found = self.layers(images)
        self.centre.copy_(found.mean(0))
        self.spread.copy_(found.std(0).clamp(min=1e-6))

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, None]:
        """(N, *shape) -> (N, features), and None, since there are no classes."""
        return (self.layers(images) - self.centre) / self.spread, None
