"""Pictures and arrays as images of one shape: the one that is asked for, or that most have.

Pictures lie in folders, which say the half and the class that each belongs to.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lab.data.arrays import Arrays
from lab.data.listing import UNREAD, Entry, Listing, Remarks
from lab.data.pictures import FORMATS, RESIZED, Unreadable, converted, opened, size_and_mode
from lab.device import check_memory
from lab.errors import Mistake
from lab.text import counted, listed, printable, progress_bar, sized

SIDES = range(16, 65, 4)  # that images may have
USUAL_SIDE = 32  # where the pictures' own sizes differ, or do not fit
GREY_MODES = ("L", "1", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")  # Pillow's
FEWEST = 64
TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first that is there
MOST_NAME = 200  # letters of a class
LINE_FROM = 5_000  # pictures: so many take some seconds


@dataclass
class Heap:
    """Images as they were found, before they are put in order.

    classes: the name of each image's, "" without. is_test: of each, if its half was given.
    """

    images: Tensor  # uint8 (N, C, S, S)
    classes: list[str]
    is_test: list[bool] | None
    notices: list[str]


class OtherShape(Exception):
    """A picture shows that the set needs another shape than its first picture suggested."""


def of_pictures(found: Listing, side: int | None, colour: bool | None, said: str) -> Heap:
    """Pictures as images; those that cannot be read are left out and named."""
    entries, notices = _sorted_into(found, said)
    others = "".join(f" ({line})" for line in found.remarks.lines() if not entries)
    _check_count(len(entries), f"pictures{others}", said)
    size, is_grey = _first(entries)
    side_now = side or _side_of({size})
    shape = (3 if colour or (colour is None and not is_grey) else 1, side_now, side_now)
    while True:
        check_memory(len(entries), math.prod(shape), said)
        expected = size if side is None and shape[1] == size[0] else None
        remarks = Remarks()
        try:
            images, taken = _converted(entries, shape, expected, colour is None, remarks)
            break
        except OtherShape as other:
            (shape,) = other.args
    _check_count(len(taken), f"pictures that can be read of {len(entries):,}", said)
    for emptied in sorted({entry.name for entry in entries} - {entry.name for entry in taken}):
        raise Mistake(f"{said}: no picture of the class {emptied} can be read; remove its folder")
    remarks.merge(RESIZED, f"{RESIZED} {{}} sizes to {sized(shape)}")
    images, lines = _in_channels(images[: len(taken)], colour)
    notices += [*found.remarks.lines(), *remarks.lines(), *lines]
    is_test = [entry.is_test for entry in taken]
    return Heap(images, [entry.name for entry in taken], is_test if any(is_test) else None, notices)


def _first(entries: Sequence[Entry]) -> tuple[tuple[int, int], bool]:
    """The size of the first picture that has one, and whether it is grey by its kind."""
    for entry in entries:
        with contextlib.suppress(Unreadable):
            size, mode = size_and_mode(entry.source())
            return size, mode in GREY_MODES
    return (0, 0), True


def _converted(
    entries: Sequence[Entry],
    shape: tuple[int, int, int],
    size: tuple[int, int] | None,
    may_turn_out_colour: bool,
    remarks: Remarks,
) -> tuple[Tensor, list[Entry]]:
    """Pictures as uint8 images (N, *shape), and those that could be read.

    Raises OtherShape where one is not of the `size` all should have, or may have colour after all.
    """
    images, taken = torch.empty(len(entries), *shape, dtype=torch.uint8), []
    if not sys.stderr.isatty() and len(entries) >= LINE_FROM:  # where no bar is seen
        print(f"reading {len(entries):,} pictures ...", flush=True)
    for entry in progress_bar(iterable=entries, desc="pictures", unit="", leave=False):
        try:
            picture = opened(entry.source(), FORMATS, side=shape[1])
            if size and picture.info["size"] != size:
                raise OtherShape((shape[0], USUAL_SIDE, USUAL_SIDE))
            if may_turn_out_colour and shape[0] == 1 and picture.mode not in GREY_MODES:
                raise OtherShape((3, *shape[1:]))
            images[len(taken)], changes = converted(picture, shape)
        except Unreadable as reason:
            remarks.add(UNREAD, f"{entry.place}: {reason}")
            continue
        taken.append(entry)
        for change in changes:
            remarks.add(change, entry.place)
    return images, taken


def _sorted_into(found: Listing, said: str) -> tuple[list[Entry], list[str]]:
    """Every picture with its half and class; what is to be said of it. Mistake for a muddle.

    A single folder around everything is stepped into; `train` beside `test` or `val` are halves;
    else, and within these, either all pictures lie loose or each in the folder of its class.
    """
    top = _step_in(found, PurePosixPath())
    below = {folder.name.lower(): folder for folder in found.folders if folder.parent == top}
    train = next((below[name] for name in TRAIN if name in below), None)
    test = next((below[name] for name in TEST if name in below), None)
    if not (train and test) or any(entry.place.parent == top for entry in found.entries):
        return _in_classes(found, top, False, said), []
    notices = []
    if others := sorted(folder.name for folder in below.values() if folder not in (train, test)):
        left_out = printable(listed(others))
        notices.append(f"left out, neither {train.name} nor {test.name}: {left_out}")
    halves = [_in_classes(found, half, half == test, said) for half in (train, test)]
    has_classes = [any(entry.name for entry in half) for half in halves]
    if all(halves) and has_classes[0] != has_classes[1]:
        sorted_half, other = (train, test) if has_classes[0] else (test, train)
        raise Mistake(f"{said}: {sorted_half.name} has classes, {other.name} none; sort both")
    return halves[0] + halves[1], notices


def _step_in(found: Listing, top: PurePosixPath) -> PurePosixPath:
    """The folder that the pictures lie in, past those that hold but one folder."""
    inside = [folder for folder in found.folders if folder.parent == top]
    if len(inside) != 1 or any(entry.place.parent == top for entry in found.entries):
        return top
    return _step_in(found, inside[0])


def _in_classes(found: Listing, top: PurePosixPath, is_test: bool, said: str) -> list[Entry]:
    """The pictures below a folder, in the classes that its sub-folders are."""
    top = _step_in(found, top)
    depth = len(top.parts)
    entries = [entry for entry in found.entries if top in entry.place.parents]
    loose = sum(entry.place.parent == top for entry in entries)
    if loose == len(entries):
        return [replace(entry, is_test=is_test) for entry in entries]
    if loose:
        raise Mistake(
            f"{said}: {counted(loose, 'picture')} beside {len(entries) - loose:,} in sub-folders; "
            "sort all of them into classes, or none"
        )
    folders = [entry.place.parts[depth] for entry in entries]
    for empty in sorted(f for f in found.folders if f.parent == top and f.name not in {*folders}):
        name = printable(str(empty))
        raise Mistake(f"{said}: the class {name} has no pictures; fill its folder or remove it")
    names = (printable(folder)[:MOST_NAME] for folder in folders)
    return [
        replace(entry, is_test=is_test, name=name)
        for entry, name in zip(entries, names, strict=True)
    ]


# Arrays


def of_arrays(found: Arrays, side: int | None, colour: bool | None, said: str) -> Heap:
    """Arrays as images, as if each were a picture."""
    halves = [images for images, _ in found.halves]
    count = sum(map(len, halves))
    _check_count(count, "images", said)
    side = side or _side_of({half.shape[1:3] for half in halves})
    has_colour = any(half.ndim == 4 for half in halves) if colour is None else colour
    shape, remarks = (3 if has_colour else 1, side, side), Remarks()
    check_memory(count, math.prod(shape), said)
    images = torch.empty(count, *shape, dtype=torch.uint8)
    for index, pixels in enumerate(itertools.chain(*halves)):
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        images[index], changes = converted(picture, shape)
        for change in changes:
            remarks.add(change, index, "image")
    images, lines = _in_channels(images, colour)
    labels = [labels.tolist() for _, labels in found.halves if labels is not None]
    classes = [str(label) for label in itertools.chain(*labels)]
    if labels and len(classes) != count:
        classes = []
        lines.append("labels of one half only count as none")
    is_test = [index >= len(halves[0]) for index in range(count)] if halves[1:] else None
    return Heap(images, classes or [""] * count, is_test, found.notices + remarks.lines() + lines)


# Both


def _side_of(sizes: Iterable[tuple[int, int]]) -> int:
    """The side that all `sizes` have, if that is one which images may have; else 32."""
    size, *others = sizes
    return size[0] if not others and size[0] == size[1] and size[0] in SIDES else USUAL_SIDE


def _in_channels(images: Tensor, colour: bool | None) -> tuple[Tensor, list[str]]:
    """Colour images made grey if nobody asked for colour and most of them have none."""
    if images.shape[1] == 1 or colour is not None:
        return images, []
    red, green, blue = images.unbind(1)
    grey = ((red == green) & (green == blue)).flatten(1).all(1)
    if 2 * int(grey.sum()) <= len(grey):
        return images, []
    made = torch.empty(len(images), 1, *images.shape[2:], dtype=torch.uint8)
    for index, image in enumerate(images):
        made[index], _ = converted(Image.fromarray(image.permute(1, 2, 0).numpy()), made.shape[1:])
    count = len(grey) - int(grey.sum())
    return made, [f"most pictures are grey, so {count:,} in colour were made grey"] * bool(count)


def _check_count(count: int, noun: str, said: str) -> None:
    if count < FEWEST:
        raise Mistake(f"{said}: has {count:,} {noun}, at least {FEWEST} are needed; give more")
