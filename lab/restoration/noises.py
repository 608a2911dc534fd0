"""Noise: corruptions that change each pixel independently of the others."""

import math
from typing import Any

import torch
from torch import Tensor

from lab.restoration.corruption import MODEL_ERROR, Corruption, residual


class Gaussian(Corruption):
    """Independent Gaussian noise of standard deviation `severity` is added to every pixel."""

    name = "gaussian"
    examples = ("0.3", "0.7")
    trained = (0.02, 1.4)  # beyond `most`: at an end of the range networks restore 0.2 dB worse
    clips = False  # whether the result is clipped to [0, 1], as in a file

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        return images + self.broadcast_severity(images) * noise

    @property
    def variance(self) -> float | Tensor:
        return self.severity**2

    @property
    def title(self) -> str:
        return f"noise of sigma {self.severity:g}"

    @property
    def file_stem(self) -> str:
        return f"sigma_{self.severity:g}"

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "sigma": self.severity, "clipped": self.clips}


class GaussianClipped(Gaussian):
    """Gaussian noise; the result is clipped to [0, 1]."""

    name = "gaussian-clipped"
    examples = ("0.18", "0.38")
    is_estimated = True
    clips = True

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        return super().with_noise(images, noise).clamp(0, 1)

    def expected(self, images: Tensor) -> Tensor:
        return clipped_mean(images, self.broadcast_severity(images))

    @property
    def title(self) -> str:
        return f"{super().title} clipped"

    @property
    def file_stem(self) -> str:
        return f"{super().file_stem}_clipped"


class SaltPepper(Corruption):
    """A share `severity` of the pixels becomes black or white, with equal probability."""

    name = "salt-pepper"
    examples = ("0.09", "0.27")
    trained = (0.01, 0.7)
    is_estimated = True

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """The pixels with the lowest noise become black, those with the highest white."""
        tail = self.broadcast_severity(images) / 2
        images = torch.where(torch.special.ndtr(noise) < tail, 0, images)
        return torch.where(torch.special.ndtr(-noise) < tail, 1, images)

    def expected(self, images: Tensor) -> Tensor:
        share = self.broadcast_severity(images)
        return (1 - share) * images + share / 2

    def negative_log_likelihood(self, corrupted: Tensor, images: Tensor) -> Tensor:
        """Likelihood of a mixture: a pixel is black or white by chance, or else the clean one."""
        share = self.broadcast_severity(images)
        extreme = (corrupted <= 0) | (corrupted >= 1)
        error = residual(corrupted, images).square() / (2 * MODEL_ERROR**2)
        outlier = torch.where(extreme, (share / 2).clamp(min=1e-9).log(), -math.inf)
        kept = (1 - share).clamp(min=1e-9).log() - error
        return -torch.logaddexp(kept, outlier.expand_as(kept)).flatten(1).sum(1)


class SignalDependent(Corruption):
    """Noise that is stronger in lighter pixels; the result is clipped to [0, 1]."""

    def variance_of(self, images: Tensor) -> Tensor:
        """The variance of each pixel's noise before clipping."""
        raise NotImplementedError

    def expected(self, images: Tensor) -> Tensor:
        return clipped_mean(images, (self.variance_of(images) + 1e-9).sqrt())

    def negative_log_likelihood(self, corrupted: Tensor, images: Tensor) -> Tensor:
        """Likelihood of a Gaussian whose variance depends on the image."""
        variance = self.variance_of(images) + MODEL_ERROR**2
        error = residual(corrupted, self.expected(images)).square()
        known = torch.where(corrupted.isnan(), 0, error / variance + variance.log())
        return known.flatten(1).sum(1) / 2


class Speckle(SignalDependent):
    """Multiplicative Gaussian noise: its standard deviation is `severity` times the pixel."""

    name = "speckle"
    most = 3.0
    examples = ("0.35", "0.6")
    trained = (0.1, 1.0)

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        return (images + images * self.broadcast_severity(images) * noise).clamp(0, 1)

    def variance_of(self, images: Tensor) -> Tensor:
        return (images * self.broadcast_severity(images)).square()


class Poisson(SignalDependent):
    """Shot noise: a white pixel receives `severity` photons on average."""

    name = "poisson"
    least, most = 0.5, 200.0
    unit = " photons"
    examples = ("12", "3")
    trained = (60.0, 1.0)
    is_estimated = True

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Draw photon counts by inverting the distribution function, divide, and clip."""
        photons = self.broadcast_severity(images)
        rate = (images * photons).clamp(min=0)
        log_rate, quantile = rate.log(), torch.special.ndtr(noise)
        cumulative, count = (-rate).exp(), torch.zeros_like(rate)  # P(photons < number)
        # Less than one pixel in a million has more photons. Without this bound rounding errors of
        # the sum let one in 100,000 count to the last number, and a dark pixel become white.
        most = rate + 5 * rate.sqrt() + 5
        for number in range(1, int(most.max()) + 1 if rate.numel() else 1):
            count += (quantile > cumulative) & (number <= most)
            # By logarithms, since exp(-rate) would be 0 for more than 87 photons.
            cumulative += (number * log_rate - rate - math.lgamma(number + 1)).exp()
        return (count / photons).clamp(0, 1)

    def expected(self, images: Tensor) -> Tensor:
        """x F(n - 1) + 1 - F(n) for a pixel x: the mean of a count, cut off at white, over white.

        F is the distribution function of the count, n the largest number below that of white.
        """
        photons = self.broadcast_severity(images)
        number = (photons.ceil() - 1).expand_as(images)
        rate = (images * photons + 1e-6).clamp(min=1e-7)  # so that 0 has a gradient, too
        fewer, at_most = (torch.special.gammaincc(number + i, rate) for i in (0, 1))
        return images * fewer + 1 - at_most

    def variance_of(self, images: Tensor) -> Tensor:
        """pixel / severity: that of a Poisson count over its white level."""
        return images.clamp(min=0) / self.broadcast_severity(images)


def clipped_mean(images: Tensor, sigma: Tensor) -> Tensor:
    """The mean of clip(x + sigma n, 0, 1), n standard normal, for every pixel x of `images`.

    The mean of a censored normal distribution: Greene, "Econometric Analysis", theorem 19.3.
    sigma: broadcast over images.
    """
    sigma = sigma.clamp(min=1e-3)
    low, high = -images / sigma, (1 - images) / sigma
    below, above = torch.special.ndtr(low), torch.special.ndtr(-high)
    bell_low, bell_high = ((-0.5 * x**2).exp() / math.sqrt(2 * math.pi) for x in (low, high))
    return images * (1 - below - above) + sigma * (bell_low - bell_high) + above
