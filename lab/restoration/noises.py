"""Corruptions that strike each pixel by itself: noise of every kind."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lab.restoration.corruption import Corruption, residual


class Gaussian(Corruption):
    """Independent Gaussian noise of standard deviation `severity` on every pixel."""

    name = "gaussian"
    examples = ("0.3", "0.7")
    trained = (0.02, 1.0)
    is_linear = is_pixelwise = True
    clips = False  # whether the result is cut off at 0 and 1, as a file would

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Add noise; it leaves [0, 1]."""
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
    examples = ("0.18", "0.38")
    is_linear, is_estimated = False, True
    likelihood = "Gaussian about the clipped mean"
    clips = True

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Add noise and clip."""
        return super().with_noise(images, noise).clamp(0, 1)

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


class SaltPepper(Corruption):
    """A share `severity` of the pixels is black or white, as likely one as the other."""

    name = "salt-pepper"
    examples = ("0.09", "0.27")
    trained = (0.01, 0.7)
    is_pixelwise = is_estimated = True
    likelihood = "Gaussian, or an outlier"

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """The lowest and the highest of the noise become pepper and salt."""
        tail = self.severity_beside(images) / 2
        images = torch.where(torch.special.ndtr(noise) < tail, 0, images)
        return torch.where(torch.special.ndtr(-noise) < tail, 1, images)

    def expected(self, images: Tensor) -> Tensor:
        """Nearer to grey."""
        share = self.severity_beside(images)
        return (1 - share) * images + share / 2

    def misfit(self, corrupted: Tensor, images: Tensor, slack: float) -> Tensor:
        """Of the mixture: a pixel that is black or white need not be explained."""
        share = self.severity_beside(images)
        extreme = (corrupted <= 0) | (corrupted >= 1)
        error = residual(corrupted, images).square() / (2 * slack**2)
        outlier = torch.where(extreme, (share / 2).clamp(min=1e-9).log(), -math.inf)
        kept = (1 - share).clamp(min=1e-9).log() - error
        return -torch.logaddexp(kept, outlier.expand_as(kept)).flatten(1).sum(1)


class Dependent(Corruption):
    """Noise that is stronger where the image is lighter, cut off at 0 and 1."""

    is_pixelwise = True
    likelihood = "Gaussian, its variance that of the image"

    def variance_of(self, images: Tensor) -> Tensor:
        """That of each pixel, before it is cut off."""
        raise NotImplementedError

    def expected(self, images: Tensor) -> Tensor:
        """The mean of a Gaussian that is cut off."""
        return clipped_mean(images, (self.variance_of(images) + 1e-9).sqrt())

    def misfit(self, corrupted: Tensor, images: Tensor, slack: float) -> Tensor:
        """Of a Gaussian whose variance depends on the image, too."""
        variance = self.variance_of(images) + slack**2
        error = residual(corrupted, self.expected(images)).square()
        known = torch.where(corrupted.isnan(), 0, error / variance + variance.log())
        return known.flatten(1).sum(1) / 2


class Speckle(Dependent):
    """Gaussian noise of standard deviation `severity` times the pixel."""

    name = "speckle"
    most = 3.0
    examples = ("0.35", "0.6")
    trained = (0.1, 1.0)

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Multiply with noise about 1, and clip."""
        return (images + images * self.severity_beside(images) * noise).clamp(0, 1)

    def variance_of(self, images: Tensor) -> Tensor:
        """Nothing where it is black."""
        return (images * self.severity_beside(images)).square()


class Poisson(Dependent):
    """Shot noise: a white pixel is `severity` photons on average, and each is counted."""

    name = "poisson"
    least, most = 0.5, 200.0
    unit = " photons"
    examples = ("12", "3")
    trained = (60.0, 1.0)
    is_estimated = True
    likelihood = "Poisson, as a Gaussian of its mean and variance"

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Count photons by the inverse of their distribution, and clip."""
        photons = self.severity_beside(images)
        rate = (images * photons).clamp(min=0)
        quantile = torch.special.ndtr(noise)
        chance, count = (-rate).exp(), torch.zeros_like(rate)
        reached = chance.clone()  # the chance of at most that many
        most = float(rate.max()) if rate.numel() else 0.0
        for number in range(1, int(most + 6 * most**0.5) + 6):
            count += quantile > reached
            chance = chance * rate / number
            reached += chance
        return (count / photons).clamp(0, 1)

    def variance_of(self, images: Tensor) -> Tensor:
        """The lighter and the fewer the photons, the more."""
        return images.clamp(min=0) / self.severity_beside(images)


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
