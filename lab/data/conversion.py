"""Pictures and arrays as images of one shape: the one that is asked for, or that most have."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lab.bars import progress_bar
from lab.data.arrays import Arrays
from lab.data.classes import Place, sorted_into
from lab.data.listing import Listing, Remarks
from lab.data.pictures import FORMATS, RESIZED, Unreadable, converted, opened, size_and_mode
from lab.device import check_memory
from lab.errors import Mistake
from lab.text import sized

SIDES = range(16, 65, 4)  # that images may have
USUAL_SIDE = 32  # where the pictures' own sizes differ, or do not fit
GREY_MODES = ("L", "1", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")  # Pillow's
FEWEST = 64
LINE_FROM = 5_000  # pictures: so many take some seconds


@dataclass
class Heap:
    """Images as they were found, before they are put in order.

    classes: the name of each image's, "" without. is_test: of each, if its half was given.
    """

    images: Tensor  # uint8 (N, C, S, S)
    classes: list[str]
    is_test: list[bool] | None
    notices: list[str] = field(default_factory=list)


class OtherShape(Exception):
    """A picture shows that the set's images are of another shape than the first one let expect."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape


def of_pictures(found: Listing, side: int | None, colour: bool | None, said: str) -> Heap:
    """Pictures as images; those that cannot be read are left out and named."""
    places, notices = sorted_into(found, said)
    others = "".join(f" ({line})" for line in found.remarks.lines() if not places)
    _check_count(len(places), f"pictures{others}", said)
    size, grey = _first(places)
    side_now = side or _side_of({size})
    channels = 1 if colour is False or (colour is None and grey) else 3
    shape, remarks = (channels, side_now, side_now), Remarks()
    while True:
        check_memory(len(places), shape[0] * shape[1] * shape[2], said)
        expected = size if side is None and shape[1] == size[0] else None
        try:
            images, taken = _converted(places, shape, expected, colour is None, remarks)
            break
        except OtherShape as other:
            shape, remarks = other.shape, Remarks()
    _check_count(len(taken), f"pictures that can be read of {len(places):,}", said)
    for emptied in sorted({place.name for place in places} - {place.name for place in taken}):
        raise Mistake(f"{said}: no picture of the class {emptied} can be read; remove its folder")
    remarks.merge(RESIZED, f"{RESIZED} {{}} sizes to {sized(shape)}")
    notices += [*found.remarks.lines(), *remarks.lines()]
    is_test = [place.is_test for place in taken]
    images, lines = _in_channels(images[: len(taken)], colour)
    names = [place.name for place in taken]
    return Heap(images, names, is_test if any(is_test) else None, notices + lines)


def _first(places: Sequence[Place]) -> tuple[tuple[int, int], bool]:
    """The size of the first picture that has one, and whether it is grey by its kind."""
    for place in places:
        with contextlib.suppress(Unreadable):
            size, mode = size_and_mode(place.entry.source())
            return size, mode in GREY_MODES
    return (0, 0), True


def _converted(
    places: Sequence[Place],
    shape: tuple[int, int, int],
    size: tuple[int, int] | None,
    may_turn_out_colour: bool,
    remarks: Remarks,
) -> tuple[Tensor, list[Place]]:
    """Pictures as uint8 images (N, *shape), and those that could be read.

    Raises OtherShape where one is not of the `size` all should have, or may have colour after all.
    """
    images, taken = torch.empty(len(places), *shape, dtype=torch.uint8), []
    for place in _with_bar(places):
        try:
            picture = opened(place.entry.source(), FORMATS, side=shape[1])
            if size and picture.info["size"] != size:
                raise OtherShape((shape[0], USUAL_SIDE, USUAL_SIDE))
            if may_turn_out_colour and shape[0] == 1 and picture.mode not in GREY_MODES:
                raise OtherShape((3, *shape[1:]))
            images[len(taken)], changes = converted(picture, shape)
        except Unreadable as reason:
            remarks.add("left out, cannot be read", f"{place.entry.place}: {reason}")
            continue
        taken.append(place)
        for change in changes:
            remarks.add(change, str(place.entry.place))
    return images, taken


def _side_of(sizes: Iterable[tuple[int, int]]) -> int:
    """The side that all `sizes` have, if that is one which images may have; else 32."""
    size, *others = sizes
    return size[0] if not others and size[0] == size[1] and size[0] in SIDES else USUAL_SIDE


def _with_bar(places: Sequence[Place]) -> Iterable[Place]:
    """The pictures under a bar; with no terminal a line, if there are many."""
    if not sys.stderr.isatty() and len(places) >= LINE_FROM:
        print(f"reading {len(places):,} pictures ...", flush=True)
    return progress_bar(iterable=places, desc="pictures", unit="", leave=False)


def of_arrays(found: Arrays, side: int | None, colour: bool | None, said: str) -> Heap:
    """Arrays as images, as if each were a picture."""
    halves = [half for half in (found.images, found.test_images) if half is not None]
    count = sum(map(len, halves))
    _check_count(count, "images", said)
    side = side or _side_of({half.shape[1:3] for half in halves})
    channels = 3 if any(half.ndim == 4 for half in halves) and colour is not False else 1
    if colour:
        channels = 3
    check_memory(count, channels * side * side, said)
    images, remarks = torch.empty(count, channels, side, side, dtype=torch.uint8), Remarks()
    for index, pixels in enumerate(_each(halves)):
        images[index], changes = converted(Image.fromarray(pixels), images.shape[1:])
        for change in changes:
            remarks.add(change, f"image {index}")
    labels = [half for half in (found.labels, found.test_labels) if half is not None]
    classes = [str(label) for half in labels for label in half.tolist()]
    images, lines = _in_channels(images, colour)
    if labels and len(classes) != count:
        classes = []
        lines.append("labels of one half only count as none")
    is_test = [half > 0 for half, its in enumerate(halves) for _ in its] if halves[1:] else None
    return Heap(images, classes or [""] * count, is_test, found.notices + remarks.lines() + lines)


def _each(halves: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    for half in halves:
        yield from map(np.ascontiguousarray, half)


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
