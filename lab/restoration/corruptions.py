"""What is done to clean images before they are restored: a class and a row each.

    corruption = CORRUPTIONS["gaussian"](0.3)
    corrupted = corruption.apply(images, seed=0)

Images are float32 (N, C, H, W) on the [0, 1] scale; corrupted ones may leave it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lab.data.pixels import to_unit, unit_to_levels
from lab.errors import Mistake
from lab.seeding import per_image_noise, seed_for
from lab.text import shortened


class Corruption:
    """What happens to images. A kind of its own says how, and how strong `severity` is.

    severity: one for all images, or (N,), one for each.
    name: that of the row. severest: the highest severity one may ask for. is_differentiable:
    whether a restorer can descend through `expected`.
    """

    name = ""
    severest = 1.0
    is_differentiable = True

    def __init__(self, severity: float | Tensor) -> None:
        self.severity = severity

    def __str__(self) -> str:
        return f"{self.name}:{self.severity:g}"

    # What a kind of its own says

    def apply(self, images: Tensor, seed: int) -> Tensor:
        """Corrupt images. What is random is decided, image by image, by the seed and the index.

        So asking for more images, or for another severity, gives the same pattern.
        """
        raise NotImplementedError

    def expected(self, images: Tensor) -> Tensor:
        """The mean of what it makes of clean images: what a restorer compares the corrupted with.

        With severities (N,) there are N images.
        """
        raise NotImplementedError

    @property
    def variance(self) -> float | Tensor:
        """That of a corrupted pixel about its mean: the more, the less a pixel says."""
        raise NotImplementedError

    # What people read

    @property
    def title(self) -> str:
        """Over a sheet of restored images: `noise of sigma 0.3`."""
        return f"{self.name} {self.severity:g}"

    @property
    def file_stem(self) -> str:
        """The sheet's file, without `.png`."""
        return f"{self.name}_{self.severity:g}"

    def facts(self) -> dict[str, Any]:
        """What scores.json says of it."""
        return {"corruption": str(self)}

    # Of more images, and of fewer

    def of_each(self, images: Tensor) -> Corruption:
        """The same with severities (N,), one for each of N images, where these are."""
        severity = torch.as_tensor(self.severity, dtype=images.dtype, device=images.device)
        return type(self)(severity.expand(len(images)))

    def split(self, size: int) -> list[Corruption]:
        """Of N images, those of `size` at a time."""
        return [type(self)(part) for part in self.severity.split(size)]

    def repeated(self, times: int) -> Corruption:
        """Of N images, each of which stands `times` in a row."""
        return type(self)(self.severity.repeat_interleave(times))

    def averaged(self) -> Corruption:
        """At the mean severity, for any number of images."""
        return type(self)(self.severity.mean())

    def severity_beside(self, images: Tensor) -> Tensor:
        """The severity in a shape that broadcasts over images: () or (N, 1, 1, 1)."""
        severity = torch.as_tensor(self.severity, dtype=images.dtype, device=images.device)
        return severity.view(-1, 1, 1, 1) if severity.ndim else severity


class Gaussian(Corruption):
    """Independent Gaussian noise of standard deviation `severity` on every pixel."""

    name = "gaussian"
    clips = False  # whether the result is cut off at 0 and 1, as a file would

    def apply(self, images: Tensor, seed: int) -> Tensor:
        """Add noise; it leaves [0, 1]."""
        noise = per_image_noise(len(images), images.shape[1:], seed, "noise").to(images.device)
        return images + self.severity_beside(images) * noise

    def expected(self, images: Tensor) -> Tensor:
        """The images themselves."""
        return images

    @property
    def variance(self) -> float | Tensor:
        """The square of the standard deviation."""
        return self.severity**2

    @property
    def title(self) -> str:
        """`noise of sigma 0.3`."""
        return f"noise of sigma {self.severity:g}"

    @property
    def file_stem(self) -> str:
        """`sigma_0.3`."""
        return f"sigma_{self.severity:g}"

    def facts(self) -> dict[str, Any]:
        """Also sigma, and whether it was clipped."""
        return {**super().facts(), "sigma": self.severity, "clipped": self.clips}


class GaussianClipped(Gaussian):
    """Gaussian noise, the result cut off at 0 and 1."""

    name = "gaussian-clipped"
    clips = True

    def apply(self, images: Tensor, seed: int) -> Tensor:
        """Add noise and clip."""
        return super().apply(images, seed).clamp(0, 1)

    def expected(self, images: Tensor) -> Tensor:
        """Lighter than black and darker than white."""
        return clipped_mean(images, self.severity_beside(images))

    @property
    def title(self) -> str:
        """`noise of sigma 0.3 clipped`."""
        return f"{super().title} clipped"

    @property
    def file_stem(self) -> str:
        """`sigma_0.3_clipped`."""
        return f"{super().file_stem}_clipped"


CORRUPTIONS: dict[str, type[Corruption]] = {
    "gaussian": Gaussian,
    "gaussian-clipped": GaussianClipped,
}


def parse(text: str) -> Corruption:
    """The corruption that is typed `gaussian:0.3` after --corruption; Mistake for what is none."""
    typed, (name, _, severity) = shortened(text, 80), text.partition(":")
    if name not in CORRUPTIONS:
        near = difflib.get_close_matches(name, CORRUPTIONS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise Mistake(f"--corruption {typed!r}: choose one of {', '.join(CORRUPTIONS)}{meant}")
    kind = CORRUPTIONS[name]
    try:
        value = float(severity) + 0.0  # -0 is 0
    except ValueError:
        value = math.nan
    if not 0 <= value <= kind.severest:  # NaN fails every comparison
        severities = f"a number from 0 to {kind.severest:g}"
        raise Mistake(f"--corruption {typed!r}: say how strong, {severities}, as in {name}:0.3")
    return kind(value)


def twins(corruption: Corruption, images: Tensor, names: Iterable[str]) -> Tensor:
    """uint8 images (N, C, H, W), corrupted; what is random in each is decided by its name."""
    each = zip(to_unit(images).split(1), names, strict=True)
    rows = [corruption.apply(image, seed_for(0, f"twin of {name}")) for image, name in each]
    return unit_to_levels(torch.cat(rows))


def clipped_mean(images: Tensor, sigma: Tensor) -> Tensor:
    """The mean of clip(x + sigma n, 0, 1), n standard normal, for every pixel x of `images`.

    The mean of a censored normal distribution: Greene, "Econometric Analysis", theorem 19.3.
    sigma: broadcast over images.
    """
    sigma = sigma.clamp(min=1e-3)
    low, high = -images / sigma, (1 - images) / sigma
    below, above = torch.special.ndtr(low), torch.special.ndtr(-high)
    bell_low, bell_high = (
        (-0.5 * bound**2).exp() / math.sqrt(2 * math.pi) for bound in (low, high)
    )
    return images * (1 - below - above) + sigma * (bell_low - bell_high) + above
