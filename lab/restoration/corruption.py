"""What every corruption is: the class that a kind of its own fills in.

Images are float32 (N, C, H, W) on the [0, 1] scale. Corrupted ones may leave it, and a pixel that
is missing is NaN: so a picture itself says where it has holes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lab.seeding import per_image_noise


class Corruption:
    """What happens to images. A kind of its own says how, and how strong `severity` is.

    severity: one for all images, or (N,), one for each.
    name: that of the row. least, most: the severities one may ask for. examples: a milder and a
    stronger one, those of MNIST-C where it has them (Mu and Gilmer 2019, "MNIST-C").
    trained: the mildest and the strongest that networks are trained on; None if they are not.
    is_known: whether a restorer knows what was done, but for chance. is_linear: whether that is a
    linear map of the image. is_differentiable: whether one can descend through `expected`.
    likelihood: the distribution of a corrupted pixel. is_pixelwise: whether pixels are corrupted
    each by itself. is_estimated: whether it is looked for in pictures of one's own.
    """

    name = ""
    least, most = 0.0, 1.0
    unit = ""  # behind a severity in a title
    examples: tuple[str, ...] = ("0.3",)
    trained: ClassVar[tuple[float, float] | None] = None
    is_known = is_differentiable = True
    is_linear = is_pixelwise = is_estimated = False
    likelihood = "Gaussian"

    def __init__(self, severity: float | Tensor) -> None:
        self.severity = severity

    def __str__(self) -> str:
        return f"{self.name}:{self.severity:g}"

    @classmethod
    def parsed(cls, text: str) -> Corruption:
        """The one whose severity was typed; ValueError for what is none."""
        severity = float(text) + 0.0  # -0 is 0
        if not cls.least <= severity <= cls.most:  # NaN fails every comparison
            raise ValueError(text)
        return cls(severity)

    @classmethod
    def severities(cls) -> str:
        """Which severities there are, in words."""
        return f"a number from {cls.least:g} to {cls.most:g}"

    def unfit(self, shape: Sequence[int]) -> str:
        """Why images of `shape` (C, H, W) cannot be corrupted so; "" if they can."""
        return ""

    def marked(self, images: Tensor) -> Tensor:
        """Pictures that were corrupted so, with NaN where a pixel is missing."""
        return images

    # What a kind of its own says

    def apply(self, images: Tensor, seed: int) -> Tensor:
        """Corrupt images. What is random is decided, image by image, by the seed and the index.

        So asking for more images, or for another severity, gives the same pattern.
        """
        noise = per_image_noise(len(images), images.shape[1:], seed, "noise").to(images.device)
        return self.with_noise(images, noise)

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Corrupt images, with standard normal `noise` of their shape for all that is random."""
        raise NotImplementedError

    def expected(self, images: Tensor) -> Tensor:
        """The mean of what it makes of clean images: what a restorer compares the corrupted with.

        With severities (N,) there are N images.
        """
        raise NotImplementedError

    @property
    def variance(self) -> float | Tensor:
        """That of a corrupted pixel about its mean: the more, the less a pixel says."""
        return 0.0 * self.severity

    def misfit(self, corrupted: Tensor, images: Tensor, slack: float) -> Tensor:
        """-log p(corrupted | images), (N,), up to a constant; missing pixels say nothing.

        slack: standard deviation a pixel of what no image that is tried explains.
        """
        weight = 0.5 / (torch.as_tensor(self.variance).to(corrupted) + slack**2)
        return weight * residual(corrupted, self.expected(images)).square().flatten(1).sum(1)

    # What people read

    @property
    def title(self) -> str:
        """Over a sheet of restored images: `noise of sigma 0.3`."""
        return f"{self.name} {self.severity:g}{self.unit}"

    @property
    def file_stem(self) -> str:
        """The sheet's file, without `.png`."""
        return str(self).replace(":", "_")

    def facts(self) -> dict[str, Any]:
        """What scores.json says of it."""
        return {"corruption": str(self)}

    # What networks are trained on

    @classmethod
    def of_strength(cls, strength: Tensor, side: int = 0, variant: int = 0) -> Corruption:
        """Severities (N,) between the two of `trained`, at strengths (N,) from 0 to 1.

        side: of the images. variant: any number, which decides between patterns.
        """
        mildest, strongest = cls.trained
        return cls(mildest * (strongest / mildest) ** strength)

    # Of more images, and of fewer

    def with_severity(self, severity: float | Tensor) -> Corruption:
        """The same, but as strong as that."""
        other = copy.copy(self)
        other.severity = severity
        return other

    def of_each(self, images: Tensor) -> Corruption:
        """The same with severities (N,), one for each of N images, where these are."""
        severity = torch.as_tensor(self.severity, dtype=images.dtype, device=images.device)
        return self.with_severity(severity.expand(len(images)))

    def split(self, size: int) -> list[Corruption]:
        """Of N images, those of `size` at a time."""
        return [self.with_severity(part) for part in self.severity.split(size)]

    def repeated(self, times: int) -> Corruption:
        """Of N images, each of which stands `times` in a row."""
        return self.with_severity(self.severity.repeat_interleave(times))

    def averaged(self) -> Corruption:
        """At the mean severity, for any number of images."""
        return self.with_severity(self.severity.mean())

    def severity_beside(self, images: Tensor) -> Tensor:
        """The severity in a shape that broadcasts over images: () or (N, 1, 1, 1)."""
        severity = torch.as_tensor(self.severity, dtype=images.dtype, device=images.device)
        return severity.view(-1, 1, 1, 1) if severity.ndim else severity


def residual(corrupted: Tensor, expected: Tensor) -> Tensor:
    """What of a corrupted picture is not as expected: 0 where it is missing."""
    return torch.where(corrupted.isnan(), 0, corrupted - expected)


def filled(corrupted: Tensor) -> Tensor:
    """A corrupted picture with black in its holes, as a file would have it."""
    return corrupted.nan_to_num(nan=0.0)


def in_levels(images: Tensor) -> Tensor:
    """Images as a file keeps them: cut off at 0 and 1, in 256 levels."""
    return images.clamp(0, 1).mul(255).round() / 255
