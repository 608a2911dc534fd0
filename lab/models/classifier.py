"""The small fixed classifiers that images are measured with: one a set, by weights/'s checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lab.errors import Fault
from lab.models import serialization as tensors

WEIGHTS = Path(__file__).parent / "weights"


class Classifier(nn.Module):
    """Small convolutional classifier: images (N, 1, 28, 28) in [-1, 1] -> logits (N, 10).

    Generated images are measured by its features. They are taken before the last rectifier: there
    they are closer to the normal distribution that the Frechet distance assumes.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 128)) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"widths": list(widths)}
        first, second, third, last = widths
        self.layers = nn.Sequential(
            *(_convolution(1, first), nn.MaxPool2d(2), nn.BatchNorm2d(first), nn.ReLU()),
            *(_convolution(first, second), nn.MaxPool2d(2), nn.BatchNorm2d(second), nn.ReLU()),
            *(_convolution(second, third), nn.BatchNorm2d(third), nn.ReLU()),
            *(_convolution(third, last, padding=0), nn.BatchNorm2d(last)),
        )
        self.head = nn.Linear(last, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, 28, 28) -> logits (N, 10)."""
        return self.features_and_logits(images)[1]

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Both readings, (N, 128) and (N, 10), for the price of one."""
        maps = self.layers(images)
        return maps.mean((2, 3)), self.head(maps.relu().mean((2, 3)))


def _convolution(channels_in: int, channels_out: int, padding: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution; without bias, since batch normalisation follows."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=padding, bias=False)


def load(name: str) -> Classifier:
    """The classifier of the set `name`; Fault unless its file has the checksum listed beside it."""
    path = WEIGHTS / f"{name}.pth"
    lines = (WEIGHTS / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    expected = {name: digest for digest, name in (line.split() for line in lines)}
    if tensors.digest(path) != expected.get(path.name):
        raise Fault(
            f"{path}: is not the file that SHA256SUMS beside it lists; figures from another "
            "classifier could not be compared: put the lab's own back"
        )
    network, _ = tensors.load_weights(path, Classifier)
    return network
