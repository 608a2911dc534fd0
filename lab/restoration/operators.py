"""Corruptions that mix pixels: blur, low resolution, compression; in 256 levels."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from lab.data.pictures import as_image
from lab.data.pixels import to_unit, unit_to_levels
from lab.data.writers import as_picture
from lab.restoration.corruption import Corruption, in_levels


class Separable(Corruption):
    """A linear map of the rows, and one of the columns: R image C'."""

    is_linear = True

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Nothing here is random."""
        return in_levels(self.expected(images))

    def expected(self, images: Tensor) -> Tensor:
        """R image C', R and C with rows that add up to 1, so that the border stays as light."""
        height, width = images.shape[2:]
        rows, columns = self.weights(images, height, along=False), self.weights(images, width)
        rows, columns = (each / each.sum(-1, keepdim=True) for each in (rows, columns))
        return rows @ images @ columns.mT

    def weights(self, images: Tensor, side: int, along: bool = True) -> Tensor:
        """What each of `side` pixels (..., side, side) takes of each; along: in its row."""
        raise NotImplementedError


class Blur(Separable):
    """Gaussian blur, `severity` pixels its standard deviation."""

    name = "blur"
    least, most = 0.1, 20.0
    unit = " pixels"
    examples = ("1", "2")
    trained = (0.4, 5.0)
    is_estimated = True

    def weights(self, images: Tensor, side: int, along: bool = True) -> Tensor:
        """By distance."""
        return (-0.5 * (distances(images, side) / self.severity_beside(images)).square()).exp()


class MotionBlur(Separable):
    """The camera moved along the rows, by `severity` pixels."""

    name = "motion-blur"
    least, most = 1.0, 64.0
    unit = " pixels"
    examples = ("5", "9")
    trained = (2.0, 15.0)

    def weights(self, images: Tensor, side: int, along: bool = True) -> Tensor:
        """All that passed by, alike; only the pixel itself of its column."""
        length = self.severity_beside(images) if along else 1.0
        return ((length + 1) / 2 - distances(images, side)).clamp(0, 1)


class Downsample(Separable):
    """Low resolution: squares of `severity` x `severity` pixels have the mean of theirs."""

    name = "downsample"
    least, most = 2.0, 4.0
    unit = " times"
    examples = ("2", "4")
    trained = (2.0, 4.0)

    @classmethod
    def parsed(cls, text: str) -> Downsample:
        """2 or 4."""
        if text not in cls.examples:
            raise ValueError(text)
        return cls(int(text))

    @classmethod
    def severities(cls) -> str:
        """Which there are."""
        return "2 or 4"

    @classmethod
    def of_strength(cls, strength: Tensor, side: int = 0, variant: int = 0) -> Downsample:
        """One or the other."""
        return cls(torch.where(strength < 0.5, 2.0, 4.0))

    def averaged(self) -> Downsample:
        """At the coarsest, for a mean between 2 and 4 is none."""
        return self.with_severity(self.severity.max())

    def weights(self, images: Tensor, side: int, along: bool = True) -> Tensor:
        """The same for all in a square."""
        squares = torch.arange(side, device=images.device)[None] // self.severity_beside(images)
        return (squares.mT == squares).to(images.dtype)


class Jpeg(Corruption):
    """JPEG of quality `severity`."""

    name = "jpeg"
    least, most = 1.0, 95.0
    examples = ("15", "7")
    trained = (50.0, 3.0)
    is_differentiable = False
    likelihood = "Gaussian about the image"

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Write and read each."""
        qualities = self.of_each(images).severity.round().int().tolist()
        pictures = map(as_picture, unit_to_levels(images.clone()))
        made = [through_jpeg(*each) for each in zip(pictures, qualities, strict=True)]
        return to_unit(torch.stack(made)).to(images.device)

    def expected(self, images: Tensor) -> Tensor:
        """About the images."""
        return images

    @property
    def variance(self) -> float | Tensor:
        """Its mean squared error on images of both sets, about."""
        return 0.055 / self.severity


def distances(images: Tensor, side: int) -> Tensor:
    """How far apart `side` pixels in a line are, (side, side)."""
    at = torch.arange(side, device=images.device, dtype=images.dtype)
    return (at - at[:, None]).abs()


def through_jpeg(picture: Image.Image, quality: int) -> Tensor:
    """A picture as uint8 (C, H, W) after it was compressed."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    with Image.open(file) as found:
        return as_image(found)
