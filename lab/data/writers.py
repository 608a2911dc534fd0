"""Images written to files that other programs read."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor

from lab.files import write_whole


def as_picture(image: Tensor) -> Image.Image:
    """A uint8 image (C, H, W) as a picture: grey of one channel, RGB of three."""
    levels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    return Image.fromarray(levels.contiguous().cpu().numpy())


def write_png(path: Path, picture: Image.Image) -> None:
    """Write a PNG, whole."""
    write_whole(path, lambda file: picture.save(file, format="PNG"))
