"""Missing pixels."""

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from lab.restoration.corruption import Corruption
from lab.text import sized


class Mask(Corruption):
    """Pixels are missing: a share `severity` of them, or patterns of `severity` pixels."""

    name = "mask"
    severities = "a share from 0 to 1, boxN, topN or stripes"
    examples = ("0.5", "box14", "top20", "stripes")
    trained = (0.05, 0.95)

    def __init__(self, severity: float | Tensor, pattern: str = "") -> None:
        super().__init__(severity)
        self.pattern = pattern

    def __str__(self) -> str:
        size = "" if self.pattern == "stripes" else f"{self.severity:g}"
        return f"{self.name}:{self.pattern}{size}"

    @classmethod
    def parsed(cls, text: str) -> Corruption:
        """A share, as `0.5`, or a pattern, as `box14`, `top20`, `stripes`."""
        if text == "stripes":
            return cls(4, text)
        if found := re.fullmatch(r"(box|top)([1-9][0-9]{0,4})", text):
            return cls(int(found[2]), found[1])
        return super().parsed(text)

    @classmethod
    def of_strength(cls, strength: Tensor, side: int = 0, variant: int = 0) -> Corruption:
        """`variant` selects the pattern; boxes and rows take up to 0.9 of the side."""
        pattern = ("", "box", "top", "stripes")[variant % 4]
        low, high = cls.trained
        sizes = {"": low + (high - low) * strength, "stripes": torch.full_like(strength, 4)}
        return cls(sizes.get(pattern, 1 + (0.9 * side - 1) * strength), pattern)

    @property
    def title(self) -> str:
        shapes = {
            "": f"{100 * self.severity:g}% of the pixels",
            "box": f"a box of {self.severity:g} pixels",
            "top": f"the top {self.severity:g} rows",
            "stripes": "stripes",
        }
        return f"{shapes[self.pattern]} missing"

    def refusal(self, shape: Sequence[int]) -> str:
        """A mask that would leave no pixel is refused."""
        sizes = {"": 1, "box": min(shape[1:]), "top": shape[1], "stripes": math.inf}
        fits = self.severity < sizes[self.pattern]
        return "" if fits else f"leaves none of the {sized(shape)} pixels; give less"

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Make all channels of the missing pixels NaN."""
        size, (height, width) = self.broadcast_severity(images), images.shape[2:]
        rows = torch.arange(height, device=images.device).view(-1, 1)
        columns = torch.arange(width, device=images.device)
        if self.pattern == "box":
            top, left = (torch.floor((side - size) / 2) for side in (height, width))
            missing = (rows >= top) & (rows < top + size)
            missing = missing & (columns >= left) & (columns < left + size)
        elif self.pattern == "top":
            missing = rows < size
        elif self.pattern == "stripes":
            missing = (rows // size) % 2 == 1
        else:
            missing = torch.special.ndtr(noise[:, :1]) < size
        return torch.where(missing, math.nan, images)

    def mark_missing(self, images: Tensor) -> Tensor:
        """Patterns are known; of a random share every black pixel counts as missing."""
        if not self.pattern:
            return torch.where((images <= 0).all(1, keepdim=True), math.nan, images)
        return self.with_noise(images, images)
