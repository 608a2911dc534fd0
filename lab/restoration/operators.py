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

# Of `Separable.consistent`: the best of some on training images, by about a decibel.
DAMPING, CONSISTENCY_STEPS = 0.03, 100


class Separable(Corruption):
    """A linear map of the rows, and one of the columns: R image C'."""

    is_linear = True

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Nothing here is random."""
        return in_levels(self.expected(images))

    def expected(self, images: Tensor) -> Tensor:
        """R image C'."""
        rows, columns = self.matrices(images)
        return rows @ images @ columns.mT

    def matrices(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """R (..., H, H) and C (..., W, W); their rows add up to 1, so the border stays as light."""
        height, width = images.shape[2:]
        both = self.weights(images, height, along=False), self.weights(images, width)
        rows, columns = (each / each.sum(-1, keepdim=True) for each in both)
        return rows, columns

    def consistent(self, images: Tensor, corrupted: Tensor) -> Tensor:
        """Images in [0, 1] near `images` that look like `corrupted` when this is done to them.

        Alternates between the two conditions, as Youla and Webb 1982, "Image restoration by the
        method of convex projections": a step of least squares towards `corrupted`, then pixels cut
        off at 0 and 1. Along the singular vectors of R and C the step is a product (as in Kawar et
        al. 2022, "DDRM"); directions that this erases keep what `images` have there.
        """
        rows, columns = self.matrices(images)
        (left, of_rows, down), (other, of_columns, right) = map(torch.linalg.svd, (rows, columns))
        singular = of_rows[..., :, None] * of_columns[..., None, :]  # (..., H, W)
        gain = singular / (singular.square() + DAMPING)
        for _ in range(CONSISTENCY_STEPS):
            residual = left.mT @ (corrupted - rows @ images @ columns.mT) @ other
            images = (images + down.mT @ (gain * residual) @ right).clamp(0, 1)
        return images

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
