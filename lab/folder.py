"""A folder of the user's own pictures, as 28 x 28 grey images and back.

Grey 28 x 28 PNGs are taken as they are. Of others it is said what was done with them: colour is
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

OTHER_KINDS = (".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
MOST_TILES = 10_000  # in a folder; a picture alone may have as many


@dataclass(frozen=True)
class Picture:
    """One PNG of the folder."""

    name: str
    tiles: Tensor  # uint8 (rows * columns, 1, 28, 28)
    columns: int
    notices: tuple[str, ...]  # what had to be done to it


def read_pictures(flag: str, folder: Path) -> tuple[list[Picture], list[str]]:
    """Every readable PNG in `folder`, by name, and a line for each other picture.

    flag: the option that named the folder. Raises Mistake if there is nothing to restore in it.
    """
    if (folder / "config.json").is_file():
        raise Mistake(
            f"{flag} {folder}: is a run folder, with grids and curves; name the "
            "final_generated_images in it, or a folder of your own"
        )
    files = sorted(path for path in folder.iterdir() if path.is_file())
    paths = [path for path in files if path.suffix.lower() == ".png"]
    if not paths:
        raise Mistake(f"{flag} {folder}: there is no .png in it; name a folder of PNG images")
    pictures, unreadable, tiles = [], [], 0
    for path in paths:
        try:
            picture = _read(path)
        except images.Unreadable as reason:
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
        raise Mistake(f"{flag} {folder}: no .png in it can be read, e.g. {unreadable[0]}")
    others = [path.name for path in files if path.suffix.lower() in OTHER_KINDS]
    return pictures, [*unreadable, *(f"{name}: left out, is not a PNG" for name in others)]


def save_picture(path: Path, picture: Picture, tiles: Tensor) -> None:
    """Write uint8 `tiles`, in the order of the picture's own, as one PNG."""
    rows = len(tiles) // picture.columns
    joined = tiles.view(rows, picture.columns, IMAGE_SIDE, IMAGE_SIDE).transpose(1, 2)
    joined = joined.reshape(rows * IMAGE_SIDE, picture.columns * IMAGE_SIDE)
    images.save(path, Image.fromarray(joined.cpu().numpy()))


def _read(path: Path) -> Picture:
    """One PNG; raises Unreadable for a damaged one."""
    opened = images.opened(path, most_pixels=MOST_TILES * IMAGE_SIDE**2)
    picture, notices = images.to_grey(opened)
    width, height = picture.size
    if width % IMAGE_SIDE or height % IMAGE_SIDE:
        picture, resized = images.to_size(picture)
        notices += resized
    elif (width, height) != (IMAGE_SIDE, IMAGE_SIDE):
        notices.append(f"{width} x {height}, restored in tiles of 28 x 28")
    columns, rows = picture.width // IMAGE_SIDE, picture.height // IMAGE_SIDE
    values = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    tiles = values.view(rows, IMAGE_SIDE, columns, IMAGE_SIDE).transpose(1, 2)
    tiles = tiles.reshape(-1, 1, IMAGE_SIDE, IMAGE_SIDE)
    return Picture(path.name, tiles, columns, tuple(notices))
