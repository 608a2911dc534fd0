"""The images of --images: read for scoring, or read for restoration in tiles and written back.

Notices name the files that cannot be read. `shape` is that (C, H, W) of the set's images.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lab.data import listing
from lab.data.arrays import list_arrays
from lab.data.listing import UNREAD, Entry, Listing, Remarks, open_zip
from lab.data.pictures import Unreadable, converted, has_light_border, opened
from lab.data.writers import as_picture, write_png
from lab.errors import Mistake
from lab.seeding import stream
from lab.text import sized

LIGHT = "light background, unlike the set's; --invert exchanges dark and light"
MAX_TILES_PER_SIDE = 8
MAX_TILES = 10_000  # in a folder
PNG = ".png"
MAX_NAME = 250  # bytes in a file's name, to which an ending such as _8 may be added


def list_images(path: Path) -> Listing:
    """The images at --images; Mistake for none.

    They are pictures in a folder or a zip file, IDX files in a folder, or the array of an npz file.
    The class of a picture is the name of its sub-folder.
    """
    flag = f"--images {path}"
    if found := list_arrays(path, flag):
        return found
    is_zip = path.is_file()
    found = listing.list_zip(open_zip(path, flag), flag) if is_zip else listing.list_folder(path)
    found.entries = [replace(each, class_name=each.place.parent.name) for each in found.entries]
    return _checked(found, path)


def _checked(found: Listing, path: Path) -> Listing:
    if not found.entries:
        others = "".join(f"; {line}" for line in found.remarks.lines())
        raise Mistake(f"--images {path}: no pictures in it{others}; name a folder of them")
    return found


def _read(
    entry: Entry, shape: Sequence[int], invert: bool, remarks: Remarks, tiled: bool = False
) -> tuple[Tensor, int] | None:
    """A picture as tiles, uint8 (N, *shape), and their number of columns; None if unreadable.

    It becomes a single tile unless `tiled`, and its sides are small multiples of those of `shape`.
    Changes to the picture are added to the remarks.
    """
    channels, height, width = shape
    try:
        picture = opened(entry.source(), side=None if tiled else max(height, width))
        rows, columns = picture.height // height, picture.width // width
        is_whole = picture.size == (columns * width, rows * height)
        if not (tiled and is_whole and max(rows, columns) <= MAX_TILES_PER_SIDE):
            rows, columns = 1, 1
        image, changes = converted(picture, (channels, rows * height, columns * width), invert)
    except Unreadable as reason:
        remarks.add(UNREAD, f"{entry.place}: {reason}", entry.noun)
        return None
    if channels == 1 and has_light_border(image):
        changes.append(LIGHT)
    if rows * columns > 1:
        found = f"{picture.width} x {picture.height} restored in {rows * columns} tiles of"
        changes.append(f"{found} {sized(shape)}; resize it to {sized(shape)} if it is one image")
    for change in changes:
        remarks.add(change, entry.place, entry.noun)
    cut = image.view(channels, rows, height, columns, width)
    return cut.permute(1, 3, 0, 2, 4).reshape(-1, *shape), columns


def read_images(
    found: Listing, most: int, shape: Sequence[int], invert: bool = False
) -> tuple[Tensor, list[str], list[str]]:
    """Read at most `most` pictures as uint8 images (N, *shape); also returns classes and notices.

    The order is shuffled with a fixed seed, since names are often sorted by class and some metrics
    use only the first images. Raises Unreadable if no picture can be read.
    """
    shuffle = torch.randperm(len(found.entries), generator=stream(0, "gallery")).tolist()
    remarks = Remarks()
    images, classes = [], []
    for entry in (found.entries[index] for index in shuffle):
        if len(images) < most and (read := _read(entry, shape, invert, remarks)):
            images.append(read[0])
            classes.append(entry.class_name)
    remarks.merge_sizes(shape)
    notices = [*found.remarks.lines(), *remarks.lines()]
    if not images:
        raise Unreadable(notices[-1])
    if len(images) == most < len(found.entries):
        notices.append(f"{most:,} of {len(found.entries):,} pictures were taken at random")
    return torch.cat(images), classes, notices


@dataclass(frozen=True)
class Picture:
    """A picture in tiles."""

    name: str  # of the PNG to write: the picture's name, with .png added unless it has that
    tiles: Tensor  # uint8 (rows * columns, *shape)
    columns: int


def read_pictures(
    folder: Path, shape: Sequence[int], invert: bool = False
) -> tuple[list[Picture], list[str]]:
    """Read all pictures in `folder`, sorted by name; also returns notices.

    A picture whose sides are multiples of the set's, up to 8, is cut into tiles; any other one is
    resized. invert: exchange dark and light. Raises Mistake if no picture can be read.
    """
    found = _checked(listing.list_folder(folder, below=False), folder)
    pictures, remarks, tiles, names = [], Remarks(), 0, {}
    for entry in found.entries:
        read = _read(entry, shape, invert, remarks, tiled=True)
        if not read:
            continue
        file = entry.place.name
        name = file if entry.place.suffix.lower() == PNG else file + PNG
        other = names.setdefault(name, file)
        if other != file:
            raise Mistake(f"--images {folder}: {other} and {file} become {name}; rename one")
        if len(os.fsencode(name)) > MAX_NAME:
            raise Mistake(f"--images {folder}: {file}: give it a shorter name, .png is added")
        pictures.append(Picture(name, *read))
        tiles += len(read[0])
        if tiles > MAX_TILES:
            many = f"more than {MAX_TILES:,} images of {sized(shape)} up to {file}"
            raise Mistake(f"--images {folder}: {many}; give fewer at a time")
    remarks.merge_sizes(shape)
    if not pictures:
        raise Mistake(f"--images {folder}: {remarks.lines()[0]}; name a folder of pictures")
    return pictures, [*found.remarks.lines(), *remarks.lines()]


def save_pictures(
    folder: Path, pictures: Sequence[Picture], tiles: Tensor, ending: str = ""
) -> list[str]:
    """Join the tiles of all pictures, uint8 (N, C, H, W), and write one PNG for each picture.

    Returns the files' names: those of the pictures, with `ending` before `.png`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cut = -len(PNG)  # which may be in capitals
    names = [picture.name[:cut] + ending + picture.name[cut:] for picture in pictures]
    parts = tiles.split([len(picture.tiles) for picture in pictures])
    channels, _, width = tiles.shape[1:]
    for name, picture, part in zip(names, pictures, parts, strict=True):
        rows = part.unflatten(0, (-1, picture.columns)).permute(2, 0, 3, 1, 4)
        joined = rows.reshape(channels, -1, picture.columns * width)
        write_png(folder / name, as_picture(joined))
    return names
