"""Reads one picture and converts it to an image of a given shape.

Files may be hostile: the size is checked before the pixels are decoded, and any error of Pillow
becomes Unreadable. A picture is read even if its metadata (EXIF, texts, profiles) is damaged.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from lab.text import shortened, sized

MAX_PIXELS = 50_000_000  # in a picture
SLACK = 0.01  # by how much fractions may be beyond 0 and 1, as after resizing
Image.init()  # loads all of Pillow's formats; some builds have no AVIF
# Formats of pictures whose decoders run no other program, as that of EPS runs Ghostscript.
KNOWN = "PNG JPEG BMP DIB WEBP GIF TIFF AVIF JPEG2000 PPM ICO PCX QOI SGI PSD DDS TGA"
FORMATS = tuple(name for name in KNOWN.split() if name in Image.OPEN)
# MPO files contain several JPEG pictures, of which the first is read.
ENDINGS = [end for end, kind in Image.registered_extensions().items() if kind in (*FORMATS, "MPO")]
Turn = Image.Transpose
TURNS = {  # EXIF orientation -> the operation that turns the picture upright
    **{2: Turn.FLIP_LEFT_RIGHT, 3: Turn.ROTATE_180, 4: Turn.FLIP_TOP_BOTTOM, 5: Turn.TRANSPOSE},
    **{6: Turn.ROTATE_270, 7: Turn.TRANSVERSE, 8: Turn.ROTATE_90},
}
DEPTHS = {  # white in a file of 16 bits -> remark; cameras of 12 bits write such files, too
    255: "16 bits, with values of 8 only",
    4_095: "16 bits, with values of 12, turned to 8",
    65_535: "16 bits turned to 8",
}
RESIZED = "resized from"
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # reads pictures with long texts


class Unreadable(Exception):
    """A file that is damaged, hostile or no picture; the message briefly says why."""


@contextlib.contextmanager
def _errors_as_unreadable() -> Iterator[None]:
    """Suppress Pillow's warnings, and turn whatever it raises into Unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `most_pixels` replaces that on decompression bombs
            yield
    except (Unreadable, MemoryError):
        raise
    except UnidentifiedImageError:
        raise Unreadable(f"not a picture of the kind {', '.join(FORMATS[:4])}") from None
    except Exception as error:  # Pillow may raise anything for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(shortened(reason, 80)) from None


def opened(
    file: Path | io.BytesIO | Image.Image,
    most_pixels: int = MAX_PIXELS,
    side: int | None = None,
    formats: Sequence[str] = FORMATS,
) -> Image.Image:
    """Load a picture and turn it upright; raises Unreadable.

    formats: the ones that Pillow may try; with all of them it might run Ghostscript. side: that of
    the image to which the picture will be reduced; lets a JPEG be decoded at a smaller size, of at
    least twice that side.
    """
    if isinstance(file, Image.Image):
        file.info["size"] = file.size
        return file
    if isinstance(file, Path) and not file.is_file():
        raise Unreadable("no file")  # reading a pipe might wait for ever
    with _errors_as_unreadable(), Image.open(file, formats=formats) as picture:
        width, height = picture.size
        if width * height > most_pixels:
            raise Unreadable(f"{width} x {height} pixels is too large")
        if side:
            picture.draft(None, (2 * side, 2 * side))
        picture.load()
        turn = None
        with contextlib.suppress(Exception):  # damaged EXIF data may raise anything
            turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
        loaded = picture.transpose(turn) if turn else picture.copy()
        animated = getattr(picture, "is_animated", False)  # a copy loses it
        loaded.info.update(turned=bool(turn), animated=animated, size=(width, height))
        return loaded


def white_of(picture: Image.Image) -> int:
    """The white of a picture of whole numbers of 16 bits: that of 8, 12 or 16 bits; 0 of others."""
    if not picture.mode.startswith("I"):
        return 0
    most = int(np.asarray(picture).max())
    return next((white for white in DEPTHS if most <= white), 0)


def converted(
    picture: Image.Image, shape: Sequence[int], invert: bool = False, white: int = 0
) -> tuple[Tensor, list[str]]:
    """Convert a picture from `opened` to uint8 (*shape); also returns the changes, in words.

    Borders are cropped if the proportions differ. Colour is converted to grey after resizing, so
    that the result does not depend on how the set came to be grey. invert: exchange dark and light.
    white: that of all pictures of 16 bits; by default that of this one. Raises Unreadable.
    """
    channels, height, width = shape
    with _errors_as_unreadable():
        image, changes = flattened(picture, white)
        if image.size != (width, height):
            changes.append("{} {} x {}".format(RESIZED, *picture.info.get("size", image.size)))
            changes[-1] += f" to {sized(shape)}"
            image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
        if channels == 1 and len({band.tobytes() for band in image.split()}) > 1:
            changes.append("colour turned to grey")
        image = image.convert("L" if channels == 1 else "RGB")
        return as_image(ImageOps.invert(image) if invert else image), changes


def flattened(picture: Image.Image, white: int = 0) -> tuple[Image.Image, list[str]]:
    """A picture from `opened` as an opaque one of mode L or RGB, and the changes, in words."""
    changes = []
    if picture.info.get("turned"):
        changes.append("turned upright, as its camera noted")
    if picture.info.get("animated"):
        changes.append("only the first of its frames taken")
    if picture.mode == "F" or picture.mode.startswith("I"):  # Pillow would clip at 255
        own_white = white_of(picture)
        picture, depth = _to_8_bits(np.asarray(picture), own_white and max(white, own_white))
        changes.append(depth)
    if picture.has_transparency_data:
        picture, ground = _on_background(picture.convert("RGBA"))
        if ground:
            changes.append(f"transparency filled with {ground}")
    return picture.convert("L" if picture.mode in ("L", "1") else "RGB"), changes


def _to_8_bits(values: np.ndarray, white: int) -> tuple[Image.Image, str]:
    """Whole numbers of 16 bits, or fractions, as 8-bit levels; the change in words."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise Unreadable("has pixels that are no numbers")
        is_unit = values.max() <= 1 + SLACK
        levels, words = values * (255 if is_unit else 1), "fractions turned to 8 bits"
    elif not white:
        raise Unreadable("has values above 65,535")
    else:
        levels, words = values * (255 / white), DEPTHS[white]
    return Image.fromarray(levels.clip(0, 255).round().astype(np.uint8)), words


def _on_background(picture: Image.Image) -> tuple[Image.Image, str]:
    """An RGBA picture on an opaque background, and the name of that; "" if it was opaque.

    The background is the colour of the corner or, if that is transparent, black or white, whichever
    has more contrast to the picture.
    """
    alpha = np.asarray(picture.getchannel("A"))
    if alpha.min() == 255:
        return picture.convert("RGB"), ""
    corner = picture.getpixel((0, 0))
    if corner[3] == 255:
        ground, name = corner[:3], "the colour of its corner"
    else:
        grey = np.asarray(picture.convert("RGB").convert("L"))
        # einsum converts the numbers in small parts; a whole large picture would take gigabytes.
        ink = np.einsum("ij,ij", grey, alpha, dtype=np.int64) / max(1, alpha.sum(dtype=np.int64))
        ground = name = "white" if ink < 128 and alpha.any() else "black"
    opaque = Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture)
    return opaque.convert("RGB"), name


def has_light_border(image: Tensor) -> bool:
    """Whether the border of a uint8 image (C, H, W) is light, unlike that of the sets' images."""
    border = (image[..., 0, :], image[..., -1, :], image[..., 0], image[..., -1])
    return bool(torch.cat([edge.flatten() for edge in border]).float().median() > 127)


def as_image(picture: Image.Image) -> Tensor:
    """A picture of mode L or RGB as a uint8 tensor (C, H, W)."""
    return torch.from_numpy(np.atleast_3d(np.array(picture))).permute(2, 0, 1).contiguous()
