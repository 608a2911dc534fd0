"""Folders of pictures from elsewhere: read to be scored, or to be restored in tiles, and back.

What cannot be read is named, not skipped in silence.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lab import seeding as chance
from lab.data.datasets import IMAGE_SIDE
from lab.data.pictures import ENDINGS, FORMATS, RESIZED, Unreadable, opened, to_grey, to_size
from lab.errors import Mistake
from lab.report import figures as images
from lab.text import listed

OTHER_KINDS = (".gif", ".tif", ".tiff")
MOST_TILES = 10_000  # in a folder; a picture alone may have as many
MOST_NAME = 255  # bytes of a file's name
MOST_SIZES = 3  # that have a line of their own


def files_in(folder: Path, below: bool) -> list[Path]:
    """The pictures in the folder that --images names, by name, and those `below` it.

    Mistake if there are none.
    """
    if (folder / "config.json").is_file():
        raise Mistake(
            f"--images {folder}: is a run folder, with grids and curves; name the "
            "final_generated_images in it, or a folder of your own"
        )

    def closed(error: OSError) -> None:
        raise error  # a folder that is passed over in silence would change every figure

    walked = islice(os.walk(folder, onerror=closed), None if below else 1)
    found = (Path(place, name) for place, _, names in walked for name in names)
    files = sorted(path for path in found if path.suffix.lower() in ENDINGS and path.is_file())
    if not files:
        kinds = ", ".join(ENDINGS)
        raise Mistake(f"--images {folder}: no pictures in it ({kinds}); name a folder of them")
    return files


# To be scored


def read_images(
    folder: Path, files: list[Path], most: int, invert: bool = False
) -> tuple[Tensor, list[str]]:
    """`files` of `folder` as uint8 images (N, 1, 28, 28), at most `most`; what was done to them.

    The order is shuffled by a fixed seed, since names often go by class and the first images stand
    for all where a figure needs fewer. Mistake if none can be read.
    """
    shuffle = torch.randperm(len(files), generator=chance.stream(0, "gallery")).tolist()
    found, changes, unreadable = [], Counter(), []
    for index in shuffle[:most]:
        try:
            image, changed = read_image(files[index], invert)
        except Unreadable as reason:
            unreadable.append(f"{files[index].name} ({reason})")
            continue
        found.append(image)
        changes.update(changed)
    sizes = [change for change in changes if change.startswith(RESIZED)]
    if len(sizes) > MOST_SIZES:
        changes[f"{RESIZED} {len(sizes):,} sizes to 28 x 28"] = sum(map(changes.pop, sizes))
    notices = [f"{count:,} of {len(found):,} images: {change}" for change, count in changes.items()]
    if len(files) > most:
        notices.append(f"{most:,} of {len(files):,} images were taken at random")
    if unreadable:
        notices.append(f"unreadable: {listed(sorted(unreadable))}")
    if not found:
        raise Mistake(f"--images {folder}: {notices[-1]}; name a folder of pictures")
    return torch.stack(found), notices


def read_image(path: Path, invert: bool = False) -> tuple[Tensor, list[str]]:
    """One picture as uint8 (1, 28, 28), and what had to be done for that; raises Unreadable.

    invert: dark becomes light.
    """
    grey, changes = to_grey(opened(path, FORMATS), invert)
    small, resized = to_size(grey)
    return torch.from_numpy(np.array(small)).unsqueeze(0), changes + resized


# To be restored


@dataclass(frozen=True)
class Picture:
    """One picture, in tiles."""

    file: str  # its name
    name: str  # of the PNG that it becomes: its own, with .png added to that of another kind
    tiles: Tensor  # uint8 (rows * columns, 1, 28, 28)
    columns: int
    notices: tuple[str, ...]  # what had to be done to it


def read_pictures(folder: Path, invert: bool = False) -> tuple[list[Picture], list[str]]:
    """Every readable picture in `folder`, by name, and a line for each that is left out.

    Grey 28 x 28 pictures are taken as they are; one whose sides are multiples of 28 is cut into
    tiles; any other is resized. invert: dark becomes light. Mistake if there is nothing to restore.
    """
    paths = files_in(folder, below=False)
    pictures, unreadable, tiles, names = [], [], 0, {}
    for path in paths:
        try:
            picture = _read(path, invert)
        except Unreadable as reason:
            unreadable.append(f"{path.name}: left out, cannot be read ({reason})")
            continue
        other = names.setdefault(picture.name, path.name)
        if other != path.name:
            raise Mistake(f"--images {folder}: {other} and {path.name} become the same; rename one")
        if len(os.fsencode(picture.name)) > MOST_NAME:
            raise Mistake(f"--images {folder}: {path.name}: give it a shorter name, .png is added")
        pictures.append(picture)
        tiles += len(picture.tiles)
        if tiles > MOST_TILES:
            raise Mistake(
                f"--images {folder}: more than {MOST_TILES:,} images of 28 x 28 up to {path.name}; "
                "give fewer at a time"
            )
    if not pictures:
        raise Mistake(f"--images {folder}: no picture in it can be read, e.g. {unreadable[0]}")
    others = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in OTHER_KINDS)
    unreadable += [f"{name}: left out, not one of {', '.join(ENDINGS)}" for name in others]
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
    values = torch.from_numpy(np.array(picture)).view(rows, IMAGE_SIDE, columns, IMAGE_SIDE)
    tiles = values.transpose(1, 2).reshape(-1, 1, IMAGE_SIDE, IMAGE_SIDE)
    name = path.name if path.suffix.lower() == ".png" else f"{path.name}.png"
    return Picture(path.name, name, tiles, columns, tuple(notices))
