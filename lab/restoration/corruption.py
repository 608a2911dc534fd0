"""The base class of all corruptions.

Clean images are float32 (N, C, H, W) in [0, 1]. The pixels of corrupted images may lie outside that
range, and missing pixels are NaN, so that no separate mask has to be passed around.
"""

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lab.seeding import per_image_noise

# Standard deviation per pixel of what even the best image of a generator cannot reproduce.
MODEL_ERROR = 0.07


class Corruption:
    """A random or fixed map from clean to corrupted images. A subclass says which.

    severity: its strength, in units of the subclass; one number for all images, or one each (N,).
    """

    name = ""  # the key in CORRUPTIONS
    least, most = 0.0, 1.0  # the range of severities that may be asked for
    severities = ""  # those that may be asked for, in words; "": all in that range
    unit = ""  # follows the severity in a title
    # A mild and a strong severity: those of MNIST-C (Mu and Gilmer 2019) where it has them.
    examples: tuple[str, ...] = ("0.3",)
    # The mildest and the strongest that networks are trained on; None: they are not trained on it.
    trained: ClassVar[tuple[float, float] | None] = None
    is_differentiable = True  # whether `expected` is the true mean, with gradients
    is_estimated = False  # whether `estimate` looks for it in the user's own pictures

    def __init__(self, severity: float | Tensor) -> None:
        self.severity = severity

    def __str__(self) -> str:
        return f"{self.name}:{self.severity:g}"

    @classmethod
    def parsed(cls, text: str) -> "Corruption":
        """The corruption whose severity is written in `text`; ValueError if it is invalid."""
        severity = float(text) + 0.0  # -0 is 0
        if not cls.least <= severity <= cls.most:  # NaN fails every comparison
            raise ValueError(text)
        return cls(severity)

    def refusal(self, shape: Sequence[int]) -> str:
        """Why images of `shape` (C, H, W) cannot be corrupted in this way; "" if they can."""
        return ""

    def mark_missing(self, images: Tensor) -> Tensor:
        """Images from files, which were corrupted in this way, with NaN for missing pixels."""
        return images

    def apply(self, images: Tensor, seed: int) -> Tensor:
        """Corrupt images with noise that depends on the seed and the index of each image only.

        So the noise pattern is the same for more images, or for another severity.
        """
        noise = per_image_noise(len(images), images.shape[1:], seed, "noise").to(images.device)
        return self.with_noise(images, noise)

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Corrupt images; all randomness comes from `noise`, standard normal, of their shape."""
        raise NotImplementedError

    def expected(self, images: Tensor) -> Tensor:
        """The mean corrupted image of each clean one; the clean image unless overridden."""
        return images

    @property
    def variance(self) -> float | Tensor:
        """The variance of a corrupted pixel about `expected`."""
        return 0.0 * self.severity

    def negative_log_likelihood(self, corrupted: Tensor, images: Tensor) -> Tensor:
        """-log p(corrupted | images), (N,), up to a constant; missing pixels are left out.

        The square of MODEL_ERROR is added to the variance.
        """
        weight = 0.5 / (torch.as_tensor(self.variance).to(corrupted) + MODEL_ERROR**2)
        return weight * residual(corrupted, self.expected(images)).square().flatten(1).sum(1)

    @property
    def title(self) -> str:
        """The title of a sheet of restored images, as `noise of sigma 0.3`."""
        return f"{self.name} {self.severity:g}{self.unit}"

    @property
    def file_stem(self) -> str:
        """The name of the sheet's file, without `.png`."""
        return str(self).replace(":", "_")

    def facts(self) -> dict[str, Any]:
        """The entries that scores.json has about the corruption."""
        return {"corruption": str(self)}

    @classmethod
    def of_strength(cls, strength: Tensor, side: int = 0, variant: int = 0) -> "Corruption":
        """Severities for strengths (N,): the first of `trained` for 0, the second for 1, geometric.

        side: of the images, in pixels. variant: any integer; selects one of several patterns.
        """
        mildest, strongest = cls.trained
        return cls(mildest * (strongest / mildest) ** strength)

    def with_severity(self, severity: float | Tensor) -> "Corruption":
        other = copy.copy(self)
        other.severity = severity
        return other

    def per_image(self, images: Tensor) -> "Corruption":
        """A copy with one severity for each of N images, on their device."""
        severity = torch.as_tensor(self.severity, dtype=images.dtype, device=images.device)
        return self.with_severity(severity.expand(len(images)))

    def broadcast_severity(self, images: Tensor) -> Tensor:
        """The severity as a tensor that broadcasts with images: () or (N, 1, 1, 1)."""
        severity = torch.as_tensor(self.severity, dtype=images.dtype, device=images.device)
        return severity.view(-1, 1, 1, 1) if severity.ndim else severity


def residual(corrupted: Tensor, expected: Tensor) -> Tensor:
    """The difference of corrupted and expected images; 0 where a pixel is missing."""
    return torch.where(corrupted.isnan(), 0, corrupted - expected)


def filled(corrupted: Tensor) -> Tensor:
    """Corrupted images with missing pixels in black, as a file would show them."""
    return corrupted.nan_to_num(nan=0.0)


def quantised(images: Tensor) -> Tensor:
    """Images as a file stores them: clipped to [0, 1] and rounded to 256 levels."""
    return images.clamp(0, 1).mul(255).round() / 255
