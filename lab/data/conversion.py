"""Converts pictures and arrays to images of one shape: that asked for, or a common one."""

import contextlib
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from lab.data.listing import MAX_NAME, UNREAD, Entry, Listing, Remarks
from lab.data.pictures import Unreadable, converted, opened, white_of
from lab.device import check_memory
from lab.errors import Mistake
from lab.text import counted, listed, printable, progress_bar

SIDES = range(16, 65, 4)  # valid sides of images
USUAL_SIDE = 32  # if the sizes of the pictures differ, or are not valid
GREY_MODES = ("L", "1", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")  # Pillow's
FEWEST = 64  # images in a set
TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # in order of preference
LINE_FROM = 5_000  # pictures that take long enough for a message


@dataclass
class UnsortedSet:
    """Converted images, not sorted yet.

    classes: the name of each image's class, "" for none. is_test: whether each is in the test half;
    None if no halves are given.
    """

    images: Tensor  # uint8 (N, C, S, S)
    classes: list[str]
    is_test: list[bool] | None
    notices: list[str]


class ShapeMismatch(Exception):
    """A picture is not as those before; args: shape, size and white for another `_convert_all`."""


def convert(
    entries: Sequence[Entry], notices: list[str], side: int | None, colour: bool | None, flag: str
) -> UnsortedSet:
    """Convert pictures or arrays; pictures that cannot be read are left out with a notice."""
    _check_count(len(entries), "pictures", flag, notices)
    size, is_grey = _first_size(entries)
    is_valid = size[0] == size[1] and size[0] in SIDES
    side_now = side or (size[0] if is_valid else USUAL_SIDE)
    shape = (3 if colour or (colour is None and not is_grey) else 1, side_now, side_now)
    expected, white = size if side is None and size == shape[1:] else None, 0
    while True:  # until no picture contradicts what was assumed from the first one
        check_memory(len(entries), math.prod(shape), flag)
        remarks = Remarks()
        try:
            images, taken = _convert_all(entries, shape, expected, white, colour is None, remarks)
            break
        except ShapeMismatch as mismatch:
            shape, expected, white = mismatch.args
    _check_count(
        len(taken), f"pictures that can be read of {len(entries):,}", flag, remarks.lines()
    )
    classes = [entry.class_name for entry in taken]
    if lost := {entry.class_name for entry in entries}.difference(classes):
        raise Mistake(f"{flag}: no picture of the class {min(lost)} can be read; remove its folder")
    remarks.merge_sizes(shape)
    images, lines = _reduce_to_grey(images[: len(taken)], colour)
    notices = [*notices, *remarks.lines(), *lines]
    is_test = [entry.is_test for entry in taken]
    if any(entry.is_test for entry in entries) and not any(is_test):
        raise Mistake(f"{flag}: no picture of its test half can be read; give others, or remove it")
    return UnsortedSet(images, classes, is_test if any(is_test) else None, notices)


def _first_size(entries: Sequence[Entry]) -> tuple[tuple[int, int], bool]:
    """The size of the first readable picture, and whether its mode is a grey one."""
    for entry in entries:
        with contextlib.suppress(Unreadable):
            picture = opened(entry.source())
            return picture.info["size"], picture.mode in GREY_MODES
    return (0, 0), True


def _convert_all(
    entries: Sequence[Entry],
    shape: tuple[int, int, int],
    size: tuple[int, int] | None,
    white: int,
    may_turn_out_colour: bool,
    remarks: Remarks,
) -> tuple[Tensor, list[Entry]]:
    """Convert pictures to uint8 (N, *shape); also returns the entries that could be read.

    Raises ShapeMismatch at a picture that is not of the expected `size` (None for any), that has
    levels above `white` in 16 bits, or that may have colour although `shape` is grey and nobody
    asked for that.
    """
    images, taken = torch.empty(len(entries), *shape, dtype=torch.uint8), []
    if not sys.stderr.isatty() and len(entries) >= LINE_FROM:  # no bar is shown
        print(f"reading {len(entries):,} pictures ...", flush=True)
    for entry in progress_bar(iterable=entries, desc="pictures", unit="", leave=False):
        try:
            picture = opened(entry.source(), side=shape[1])
            if size and picture.info["size"] != size:
                raise ShapeMismatch((shape[0], USUAL_SIDE, USUAL_SIDE), None, white)
            if may_turn_out_colour and shape[0] == 1 and picture.mode not in GREY_MODES:
                raise ShapeMismatch((3, *shape[1:]), size, white)
            if (own_white := white_of(picture)) > white:
                raise ShapeMismatch(shape, size, own_white)
            images[len(taken)], changes = converted(picture, shape, white=white)
        except Unreadable as reason:
            remarks.add(UNREAD, f"{entry.place}: {reason}")
            continue
        taken.append(entry)
        for change in changes:
            remarks.add(change, entry.place, entry.noun)
    return images, taken


def assign_halves(found: Listing, flag: str) -> tuple[list[Entry], list[str]]:
    """Assign a half and a class to every picture; also returns notices. May raise Mistake.

    A single folder around everything is skipped. Folders `train` and `test` or `val` are the halves
    if both exist. In each half, or else at the top, either all pictures are in one folder, without
    classes, or each is in a sub-folder named by its class.
    """
    top = _innermost_folder(found, PurePosixPath())
    below = sorted(folder for folder in found.folders if folder.parent == top)
    train, test = (
        next((folder for name in names for folder in below if folder.name.lower() == name), None)
        for names in (TRAIN, TEST)
    )
    if not (train and test) or any(entry.place.parent == top for entry in found.entries):
        return _assign_classes(found, top, False, flag), found.remarks.lines()
    others = printable(listed([folder.name for folder in below if folder not in (train, test)]))
    for skips in (True, False):  # the only folder of a half may be that of its only class
        halves = [_assign_classes(found, half, half == test, flag, skips) for half in (train, test)]
        names = [{entry.class_name for entry in half} - {""} for half in halves]
        fit = bool(names[0]) == bool(names[1]) and (skips or len(names[0] | names[1]) > 1)
        if fit:
            break
    if found.entries and not all(halves):
        empty = test if halves[0] else train
        raise Mistake(f"{flag}: {printable(str(empty))} has no pictures; fill it, or remove it")
    if not fit:
        raise Mistake(f"{flag}: only one of {train.name} and {test.name} has classes; sort both")
    notices = [f"left out, neither {train.name} nor {test.name}: {others}"] if others else []
    return halves[0] + halves[1], notices + found.remarks.lines()


def _innermost_folder(found: Listing, top: PurePosixPath) -> PurePosixPath:
    """The folder below `top` that holds more than a single sub-folder."""
    inside = [folder for folder in found.folders if folder.parent == top]
    if len(inside) != 1 or any(entry.place.parent == top for entry in found.entries):
        return top
    return _innermost_folder(found, inside[0])


def _assign_classes(
    found: Listing, top: PurePosixPath, is_test: bool, flag: str, skips: bool = True
) -> list[Entry]:
    """The pictures below a folder, with its sub-folders as classes. May raise Mistake.

    skips: whether a single folder around all of them is skipped.
    """
    top = _innermost_folder(found, top) if skips else top
    depth = len(top.parts)
    entries = [entry for entry in found.entries if top in entry.place.parents]
    loose = sum(entry.place.parent == top for entry in entries)
    if loose == len(entries):
        return [replace(entry, is_test=is_test) for entry in entries]
    if loose:
        mixed = f"{counted(loose, 'picture')} beside {len(entries) - loose:,} in sub-folders"
        raise Mistake(f"{flag}: {mixed}; sort all of them into classes, or none")
    folders = [entry.place.parts[depth] for entry in entries]
    below = {folder for folder in found.folders if folder.parent == top}
    if empty := below - {top / folder for folder in {*folders}}:
        name = printable(str(min(empty)))
        raise Mistake(f"{flag}: the class {name} has no pictures; fill its folder or remove it")
    names = {folder: printable(folder)[:MAX_NAME] for folder in folders}
    ((name, count),) = Counter(names.values()).most_common(1)
    if count > 1:  # their names differ in bytes that are not UTF-8, or at their ends
        raise Mistake(f"{flag}: {count} classes would have the name {name}; rename their folders")
    return [
        replace(entry, is_test=is_test, class_name=names[folder])
        for entry, folder in zip(entries, folders, strict=True)
    ]


def _reduce_to_grey(images: Tensor, colour: bool | None) -> tuple[Tensor, list[str]]:
    """Convert colour images to grey if most of them are grey and `colour` is None; a notice."""
    if images.shape[1] == 1 or colour is not None:
        return images, []
    red, green, blue = images.unbind(1)
    grey = ((red == green) & (green == blue)).flatten(1).all(1)  # (N,)
    if 2 * int(grey.sum()) <= len(grey):
        return images, []
    greys = torch.empty(len(images), 1, *images.shape[2:], dtype=torch.uint8)
    for index, image in enumerate(images):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        greys[index], _ = converted(picture, greys.shape[1:])
    count = len(grey) - int(grey.sum())
    notice = f"most pictures are grey, so {count:,} in colour were made grey"
    return greys, [notice] if count else []


def _check_count(count: int, noun: str, flag: str, notices: Sequence[str]) -> None:
    if count < FEWEST:
        others = "".join(f" ({line})" for line in notices if line.startswith("left out"))
        enough = f"at least {FEWEST} are needed; give more"
        raise Mistake(f"{flag}: has {count:,} {noun}, {enough}{others}")
