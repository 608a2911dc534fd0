"""Pictures from elsewhere, read as images of a set's shape: grey or colour, of its size.

They are not trusted: their size is looked at before they are unpacked.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lab.text import shortened, sized

MOST_PIXELS = 20_000_000  # of a picture that is read
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")  # whatever the names end in
MODES = {1: "L", 3: "RGB"}  # Pillow's word for pictures of so many channels
ORIENTATION = ExifTags.Base.Orientation
RESIZED = "resized from"
LIGHT = "light background, the sets' is black; --invert turns dark to light"


class Unreadable(Exception):
    """A picture that is damaged, hostile or none at all; the message says which, briefly."""


def opened(path: Path, formats: Sequence[str] = ("PNG",), most_pixels: int = MOST_PIXELS) -> Any:
    """The picture in a file, loaded; raises Unreadable.

    formats: the only ones that Pillow tries. Of its own accord it takes any, whatever the file is
    called, and has Ghostscript run the programs in some.
    """
    if not path.is_file():
        raise Unreadable("no file")  # a pipe would be waited for
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs, hence `most_pixels`, and of trifles
            with Image.open(path, formats=formats) as picture:
                width, height = picture.size
                if width * height > most_pixels:
                    raise Unreadable(f"{width} x {height} pixels is too large")
                picture.load()
                loaded = picture.copy()
                loaded.info["frames"] = getattr(picture, "n_frames", 1)  # a copy has only this one
                return loaded
    except (Unreadable, MemoryError):
        raise
    except UnidentifiedImageError:
        raise Unreadable(f"not a picture of the kind {', '.join(formats)}") from None
    except Exception as error:  # Pillow's readers raise anything for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(shortened(reason, 80)) from None


def to_channels(
    picture: Image.Image, channels: int, invert: bool = False
) -> tuple[Image.Image, list[str]]:
    """A picture that `opened` gave, as one of 8 bits with 1 channel (grey) or 3 (RGB).

    invert: dark becomes light. With it comes what is to be said of the change.
    """
    lost = []
    if picture.getexif().get(ORIENTATION, 1) != 1:  # a camera that was held on its side
        picture = ImageOps.exif_transpose(picture)
        lost.append("turned upright, as its camera noted")
    if picture.info.get("frames", 1) > 1:
        lost.append("only the first of its frames taken")
    if picture.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
        lost.append("16 bits turned to 8")
    if picture.has_transparency_data:
        picture, ground = _on_ground(picture.convert("RGBA"))
        lost.append(f"transparency filled with {ground}")
    if picture.mode not in ("L", "1"):
        picture = picture.convert("RGB")
        if channels == 1 and not _is_grey(picture):
            lost.append("colour turned to grey")
    picture = picture.convert(MODES[channels])
    if invert:
        picture = ImageOps.invert(picture)
    if channels == 1 and _has_light_border(np.asarray(picture)):
        lost.append(LIGHT)
    return picture, lost


def _is_grey(picture: Image.Image) -> bool:
    """Whether an RGB picture has no colour in it."""
    red, green, blue = (band.tobytes() for band in picture.split())
    return red == green == blue


def _on_ground(picture: Image.Image) -> tuple[Image.Image, str]:
    """An RGBA picture on the one of black and white that shows more of it, and which that is."""
    alpha = np.asarray(picture.getchannel("A"), dtype=float)
    ink = (np.asarray(picture.convert("RGB").convert("L")) * alpha).sum() / max(1.0, alpha.sum())
    ground = "white" if ink < 128 and alpha.any() else "black"
    return Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture), ground


def _has_light_border(levels: np.ndarray) -> bool:
    """Whether the border of a grey picture (H, W) is light; that of the sets' images is black."""
    border = np.concatenate((levels[0], levels[-1], levels[:, 0], levels[:, -1]))
    return np.median(border) > 127


def to_size(picture: Image.Image, shape: Sequence[int]) -> tuple[Image.Image, list[str]]:
    """A picture at the size of `shape` (C, H, W), and whether it was resized, in words."""
    height, width = shape[1:]
    if picture.size == (width, height):
        return picture, []
    found = f"{picture.width} x {picture.height}"
    resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    return resized, [f"{RESIZED} {found} to {sized(shape)}"]


def as_image(picture: Image.Image) -> Tensor:
    """A grey or RGB picture as a uint8 image (C, H, W)."""
    levels = torch.from_numpy(np.array(picture))
    return levels[None] if levels.ndim == 2 else levels.permute(2, 0, 1).contiguous()
