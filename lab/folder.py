"""A folder of the user's own pictures, as 28 x 28 grey images and back.

Grey 28 x 28 pictures are taken as they are. Of others it is said what was done with them: colour is
turned to grey, 16 bits to 8; a picture whose sides are multiples of 28 is cut into tiles, which are
joined again afterwards; any other is resized to 28 x 28.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from lab import images
from lab.data import IMAGE_SIDE
from lab.errors import Mistake
from lab.pictures import ENDINGS, FORMATS, Unreadable, opened, to_grey, to_size

OTHER_KINDS = (".gif", ".tif", ".tiff")
MOST_TILES = 10_000  # in a folder; a picture alone may have as many


@dataclass(frozen=True)
class Picture:
    """One picture of the folder."""

    name: str  # of the PNG that it becomes: its own, with .png added to that of another kind
    tiles: Tensor  # uint8 (rows * columns, 1, 28, 28)
    columns: int
    notices: tuple[str, ...]  # what had to be done to it


def read_pictures(flag: str, folder: Path, invert: bool = False) -> tuple[list[Picture], list[str]]:
    """Every readable picture in `folder`, by name, and a line for each that is left out.

    flag: the option that named the folder. invert: dark becomes light. Raises Mistake if there is
    nothing to restore in it.
    """
    if (folder / "config.json").is_file():
        raise Mistake(
            f"{flag} {folder}: is a run folder, with grids and curves; name the "
            "final_generated_images in it, or a folder of your own"
        )
    files = sorted(path for path in folder.iterdir() if path.is_file())
    paths = [path for path in files if path.suffix.lower() in ENDINGS]
    kinds = ", ".join(ENDINGS)
    if not paths:
        raise Mistake(f"{flag} {folder}: no pictures in it ({kinds}); name a folder that has some")
    pictures, unreadable, tiles = [], [], 0
    for path in paths:
        try:
            picture = _read(path, invert)
        except Unreadable as reason:
            unreadable.append(f"{path.name}: left out, cannot be read ({reason})")
            continue
        pictures.append(picture)
        tiles += len(picture.tiles)
        if tiles > MOST_TILES:
            raise Mistake(
                f"{flag} {folder}: more than {MOST_TILES:,} images of 28 x 28 up to {path.name}; "
                "give fewer at a time"
            )
    if not pictures:
        raise Mistake(f"{flag} {folder}: no picture in it can be read, e.g. {unreadable[0]}")
    others = [path.name for path in files if path.suffix.lower() in OTHER_KINDS]
    unreadable += [f"{name}: left out, not one of {kinds}" for name in others]
    return pictures, unreadable


def save_picture(path: Path, picture: Picture, tiles: Tensor) -> None:
    """Write uint8 `tiles`, in the order of the picture's own, as one PNG."""
    rows = len(tiles) // picture.columns
    joined = tiles.view(rows, picture.columns, IMAGE_SIDE, IMAGE_SIDE).transpose(1, 2)
    joined = joined.reshape(rows * IMAGE_SIDE, picture.columns * IMAGE_SIDE)
    images.save(path, Image.fromarray(joined.cpu().numpy()))


def _read(path: Path, invert: bool) -> Picture:
    """One picture; raises Unreadable for a damaged one."""
    found = opened(path, FORMATS, most_pixels=MOST_TILES * IMAGE_SIDE**2)
    picture, notices = to_grey(found, invert)
    width, height = picture.size
    if width % IMAGE_SIDE or height % IMAGE_SIDE:
        picture, resized = to_size(picture)
        notices += resized
    elif (width, height) != (IMAGE_SIDE, IMAGE_SIDE):
        notices.append(f"{width} x {height}, restored in tiles of 28 x 28")
    columns, rows = picture.width // IMAGE_SIDE, picture.height // IMAGE_SIDE
    values = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    tiles = values.view(rows, IMAGE_SIDE, columns, IMAGE_SIDE).transpose(1, 2)
    tiles = tiles.reshape(-1, 1, IMAGE_SIDE, IMAGE_SIDE)
    name = path.name if path.suffix.lower() == ".png" else f"{path.name}.png"
    return Picture(name, tiles, columns, tuple(notices))
