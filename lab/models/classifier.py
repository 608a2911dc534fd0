"""The small fixed classifier that images of a set are measured with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Classifier(nn.Module):
    """Small convolutional classifier: images (N, *shape) in [-1, 1] -> logits (N, classes).

    Generated images are measured by its features. They are taken before the last rectifier: there
    they are closer to the normal distribution that the Frechet distance assumes.
    """

    def __init__(
        self, shape: Sequence[int], classes: int, widths: Sequence[int] = (32, 64, 128, 128)
    ) -> None:
        super().__init__()
        first, second, third, last = widths
        self.layers = nn.Sequential(
            *(_convolution(shape[0], first), nn.MaxPool2d(2), nn.BatchNorm2d(first), nn.ReLU()),
            *(_convolution(first, second), nn.MaxPool2d(2), nn.BatchNorm2d(second), nn.ReLU()),
            *(_convolution(second, third), nn.BatchNorm2d(third), nn.ReLU()),
            *(_convolution(third, last, padding=0), nn.BatchNorm2d(last)),
        )
        self.head = nn.Linear(last, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, *shape) -> logits (N, classes)."""
        return self.features_and_logits(images)[1]

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Both readings, (N, widths[-1]) and (N, classes), for the price of one."""
        maps = self.layers(images)
        return maps.mean((2, 3)), self.head(maps.relu().mean((2, 3)))


def _convolution(channels_in: int, channels_out: int, padding: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution; without bias, since batch normalisation follows."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=padding, bias=False)
