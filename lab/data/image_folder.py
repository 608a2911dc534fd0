"""Folders of pictures from elsewhere: read to be scored, or to be restored in tiles, and back.

What cannot be read is named, not skipped in silence. `shape` (C, H, W) is that of the set's images.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from lab.data.pictures import (
    ENDINGS,
    FORMATS,
    RESIZED,
    Unreadable,
    as_image,
    opened,
    to_channels,
    to_size,
)
from lab.data.writers import as_picture, write_png
from lab.errors import Mistake
from lab.seeding import stream
from lab.text import listed, sized

OTHER_KINDS = (".gif", ".tif", ".tiff")
MOST_TILES = 10_000  # in a folder; a picture alone may have as many
MOST_NAME = 255  # bytes of a file's name
MOST_SIZES = 3  # that have a line of their own


def files_in(folder: Path, below: bool) -> list[Path]:
    """The pictures in the folder of --images, by name, and those `below` it; Mistake if none."""

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
    folder: Path, files: Sequence[Path], most: int, shape: Sequence[int], invert: bool = False
) -> tuple[Tensor, list[str]]:
    """`files` of `folder` as uint8 images (N, *shape), at most `most`; what was done to them.

    The order is shuffled by a fixed seed, since names often go by class and the first images stand
    for all where a figure needs fewer. Mistake if none can be read.
    """
    shuffle = torch.randperm(len(files), generator=stream(0, "gallery")).tolist()
    found, changes, unreadable = [], Counter(), []
    for index in shuffle[:most]:
        try:
            image, changed = read_image(files[index], shape, invert)
        except Unreadable as reason:
            unreadable.append(f"{files[index].name} ({reason})")
            continue
        found.append(image)
        changes.update(changed)
    sizes = [change for change in changes if change.startswith(RESIZED)]
    if len(sizes) > MOST_SIZES:
        line = f"{RESIZED} {len(sizes):,} sizes to {sized(shape)}"
        changes[line] = sum(map(changes.pop, sizes))
    notices = [f"{count:,} of {len(found):,} images: {change}" for change, count in changes.items()]
    if len(files) > most:
        notices.append(f"{most:,} of {len(files):,} images were taken at random")
    if unreadable:
        notices.append(f"unreadable: {listed(sorted(unreadable))}")
    if not found:
        raise Mistake(f"--images {folder}: {notices[-1]}; name a folder of pictures")
    return torch.stack(found), notices


def read_image(path: Path, shape: Sequence[int], invert: bool = False) -> tuple[Tensor, list[str]]:
    """One picture as uint8 (*shape), and what had to be done for that; raises Unreadable."""
    picture, changes = to_channels(opened(path, FORMATS), shape[0], invert)
    small, resized = to_size(picture, shape)
    return as_image(small), changes + resized


# To be restored


@dataclass(frozen=True)
class Picture:
    """One picture, in tiles."""

    file: str  # its name
    name: str  # of the PNG that it becomes: its own, with .png added to that of another kind
    tiles: Tensor  # uint8 (rows * columns, *shape)
    columns: int
    notices: tuple[str, ...]  # what had to be done to it


def read_pictures(
    folder: Path, shape: Sequence[int], invert: bool = False
) -> tuple[list[Picture], list[str]]:
    """Every readable picture in `folder`, by name; a line for what is left out or was changed.

    Pictures of the set's size are taken as they are; one whose sides are multiples of the set's is
    cut into tiles; any other is resized. invert: dark becomes light. Mistake if there is none.
    """
    pictures, unreadable, tiles, names = [], [], 0, {}
    for path in files_in(folder, below=False):
        try:
            picture = _read(path, shape, invert)
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
            many = f"more than {MOST_TILES:,} images of {sized(shape)} up to {path.name}"
            raise Mistake(f"--images {folder}: {many}; give fewer at a time")
    if not pictures:
        raise Mistake(f"--images {folder}: no picture in it can be read, e.g. {unreadable[0]}")
    others = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in OTHER_KINDS)
    unreadable += [f"{name}: left out, not one of {', '.join(ENDINGS)}" for name in others]
    changed = defaultdict(list)
    for picture in pictures:
        for notice in picture.notices:
            changed[notice].append(picture.file)
    return pictures, unreadable + [f"{listed(who)}: {what}" for what, who in changed.items()]


def _read(path: Path, shape: Sequence[int], invert: bool) -> Picture:
    """One picture; raises Unreadable for a damaged one."""
    channels, height, width = shape
    found = opened(path, FORMATS, most_pixels=MOST_TILES * height * width)
    picture, notices = to_channels(found, channels, invert)
    if picture.width % width or picture.height % height:
        picture, resized = to_size(picture, shape)
        notices += resized
    elif picture.size != (width, height):
        size = f"{picture.width} x {picture.height}"
        notices.append(f"{size}, restored in tiles of {sized(shape)}")
    columns, rows = picture.width // width, picture.height // height
    tiles = as_image(picture).view(channels, rows, height, columns, width)
    tiles = tiles.permute(1, 3, 0, 2, 4).reshape(-1, *shape)
    name = path.name if path.suffix.lower() == ".png" else f"{path.name}.png"
    return Picture(path.name, name, tiles, columns, tuple(notices))


def save_pictures(folder: Path, pictures: Sequence[Picture], tiles: Tensor) -> None:
    """Write the tiles of all pictures, uint8 (N, C, H, W), as one PNG a picture, by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = tiles.split([len(picture.tiles) for picture in pictures])
    channels, _, width = tiles.shape[1:]
    for picture, part in zip(pictures, parts, strict=True):
        rows = part.unflatten(0, (-1, picture.columns)).permute(2, 0, 3, 1, 4)
        joined = rows.reshape(channels, -1, picture.columns * width)
        write_png(folder / picture.name, as_picture(joined))
