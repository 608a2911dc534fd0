"""Pictures from elsewhere, read as images of a set's shape: grey or colour, of its size.

They are not trusted: their size is looked at before they are unpacked, and whatever Pillow makes of
a damaged one is `Unreadable`. Damage beside the pixels (EXIF, texts, profiles) costs no picture.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from lab.text import shortened, sized

MOST_PIXELS = 50_000_000  # of a picture that is read
Image.init()  # or Pillow knows only some of its formats; this one may lack AVIF
# Those that hold pictures and run no other program, as EPS has Ghostscript do.
KNOWN_FORMATS = (
    *("PNG", "JPEG", "BMP", "DIB", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO"),
    *("PCX", "QOI", "SGI", "PSD", "DDS", "TGA"),
)
FORMATS = tuple(name for name in KNOWN_FORMATS if name in Image.OPEN)
# MPO is two JPEG files in one, of which the first is read.
ENDINGS = [end for end, kind in Image.registered_extensions().items() if kind in (*FORMATS, "MPO")]
Turn = Image.Transpose
TURNS = {  # what brings a picture upright, by the orientation that its camera noted
    **{2: Turn.FLIP_LEFT_RIGHT, 3: Turn.ROTATE_180, 4: Turn.FLIP_TOP_BOTTOM, 5: Turn.TRANSPOSE},
    **{6: Turn.ROTATE_270, 7: Turn.TRANSVERSE, 8: Turn.ROTATE_90},
}
RESIZED = "resized from"
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # a long text is no damage


class Unreadable(Exception):
    """A picture that is damaged, hostile or none at all; the message says which, briefly."""


@contextlib.contextmanager
def without_trust(formats: Sequence[str]) -> Iterator[None]:
    """Within it Pillow warns of nothing, and whatever it raises becomes Unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs, hence `most_pixels`, and of trifles
            yield
    except (Unreadable, MemoryError):
        raise
    except UnidentifiedImageError:
        named = ", ".join(formats[:4])
        raise Unreadable(f"not a picture of the kind {named}") from None
    except Exception as error:  # Pillow's readers raise anything for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(shortened(reason, 80)) from None


def opened(
    file: Path | io.BytesIO,
    formats: Sequence[str] = ("PNG",),
    most_pixels: int = MOST_PIXELS,
    side: int | None = None,
) -> Any:
    """The picture in a file, loaded and upright; raises Unreadable.

    formats: the only ones that Pillow tries. Of its own accord it takes any, whatever the file is
    called, and has Ghostscript run the programs in some. side: of the image that it will be reduced
    to; a JPEG is then unpacked at the smallest size that has twice as many pixels a side.
    """
    if isinstance(file, Path) and not file.is_file():
        raise Unreadable("no file")  # a pipe would be waited for
    with without_trust(formats), Image.open(file, formats=formats) as picture:
        width, height = picture.size
        if width * height > most_pixels:
            raise Unreadable(f"{width} x {height} pixels is too large")
        if side:
            picture.draft(None, (2 * side, 2 * side))
        picture.load()
        turn = None
        with contextlib.suppress(Exception):  # damaged EXIF raises anything; the pixels are intact
            turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
        loaded = picture.transpose(turn) if turn else picture.copy()
        animated = getattr(picture, "is_animated", False)  # which a copy does not know
        loaded.info.update(turned=bool(turn), animated=animated, size=(width, height))
        return loaded


def size_and_mode(file: Path | io.BytesIO) -> tuple[tuple[int, int], str]:
    """What a picture's header says of it, without unpacking it; raises Unreadable."""
    with without_trust(FORMATS), Image.open(file, formats=FORMATS) as picture:
        return picture.size, picture.mode


def converted(
    picture: Image.Image, shape: Sequence[int], invert: bool = False
) -> tuple[Tensor, list[str]]:
    """A picture that `opened` gave as uint8 (*shape), and what had to be done; raises Unreadable.

    Edges are cut off where it has other proportions. It is made grey after it was resized, so that
    an image is the same however its set came to be grey. invert: dark becomes light.
    """
    channels, height, width = shape
    with without_trust(FORMATS):
        image, changes = flattened(picture)
        if image.size != (width, height):
            changes.append("{} {} x {}".format(RESIZED, *picture.info.get("size", image.size)))
            changes[-1] += f" to {sized(shape)}"
            image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
        if channels == 1 and image.mode == "RGB" and not is_grey(image):
            changes.append("colour turned to grey")
        image = image.convert("L" if channels == 1 else "RGB")
        return as_image(ImageOps.invert(image) if invert else image), changes


def flattened(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """A picture that `opened` gave as one of 8 bits, L or RGB, opaque; what was done to it."""
    changes = []
    if picture.info.get("turned"):
        changes.append("turned upright, as its camera noted")
    if picture.info.get("animated"):
        changes.append("only the first of its frames taken")
    if picture.mode == "F" or picture.mode.startswith("I"):  # Pillow would cut it off at 255
        picture, depth = _of_8_bits(np.asarray(picture))
        changes.append(depth)
    if picture.has_transparency_data:
        picture, ground = _on_ground(picture.convert("RGBA"))
        if ground:
            changes.append(f"transparency filled with {ground}")
    return picture.convert("L" if picture.mode in ("L", "1") else "RGB"), changes


def _of_8_bits(values: np.ndarray) -> tuple[Image.Image, str]:
    """Whole numbers of more bits, or fractions, as levels; and how they were read."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise Unreadable("has pixels that are no numbers")
        levels, words = values * (255 if values.max() <= 1 else 1), "fractions turned to 8 bits"
    elif values.max() > 255:
        levels, words = values.clip(0, 65535) // 257, "16 bits turned to 8"
    else:
        levels, words = values, "16 bits of which it needs 8, read as 8"
    return Image.fromarray(levels.clip(0, 255).round().astype(np.uint8)), words


def _on_ground(picture: Image.Image) -> tuple[Image.Image, str]:
    """An RGBA picture on an opaque ground, and on which: "" if it was opaque all over.

    It is the colour of its corner, or where that is transparent the one of black and white that
    shows more of the picture.
    """
    alpha = np.asarray(picture.getchannel("A"), dtype=float)
    if alpha.min() == 255:
        return picture.convert("RGB"), ""
    corner = picture.getpixel((0, 0))
    if corner[3] == 255:
        ground, name = corner[:3], "the colour of its corner"
    else:
        ink = (np.asarray(picture.convert("RGB").convert("L")) * alpha).sum() / max(1, alpha.sum())
        ground = name = "white" if ink < 128 and alpha.any() else "black"
    opaque = Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture)
    return opaque.convert("RGB"), name


def is_grey(picture: Image.Image) -> bool:
    """Whether an RGB picture has no colour in it."""
    red, green, blue = (band.tobytes() for band in picture.split())
    return red == green == blue


def has_light_border(image: Tensor) -> bool:
    """Whether the border of a uint8 image (C, H, W) is light; that of the sets' images is black."""
    border = (image[..., 0, :], image[..., -1, :], image[..., 0], image[..., -1])
    return bool(torch.cat([edge.flatten() for edge in border]).float().median() > 127)


def as_image(picture: Image.Image) -> Tensor:
    """A grey or RGB picture as a uint8 image (C, H, W)."""
    levels = torch.from_numpy(np.array(picture))
    return levels[None] if levels.ndim == 2 else levels.permute(2, 0, 1).contiguous()
