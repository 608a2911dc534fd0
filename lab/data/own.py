"""A set of one's own: pictures in a folder or a zip, an npz, IDX files.

However the same pixels are packed, they become the same set: images lie in the order of a hash of
their pixels, classes in that of their names, and where no test half is given, the hash picks a
tenth, so that pictures that are added move no other.
"""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from lab.data import arrays, cache, listing
from lab.data.classes import Place, in_order, sorted_into
from lab.data.listing import Listing, Remarks
from lab.data.pictures import FORMATS, RESIZED, Unreadable, converted, opened, size_and_mode
from lab.data.sources import OwnSet, Part
from lab.data.specs import MOST_CLASSES
from lab.device import check_memory
from lab.errors import Mistake
from lab.text import listed

SIDES = range(16, 65, 4)  # that images may have
USUAL_SIDE = 32  # where the pictures' own sizes differ, or do not fit
FEWEST, FEW = 64, 500
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


def plain_name(path: Path) -> str:
    """What runs on the set are called: the folder's name in plain letters."""
    name = path.stem if path.is_file() else path.resolve().name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", letters).strip("-")[:60] or "pictures"


def read(path: Path, side: int | None, colour: bool | None, keep: bool = True) -> OwnSet:
    """The set at `path`; Mistake, naming --dataset, for what is none.

    side, colour: of its images; None: as most of the pictures have it. keep: what was converted.
    """
    said = f"--dataset {path}"
    if side is not None and side not in SIDES:
        sides = f"a multiple of 4 from {SIDES[0]} to {SIDES[-1]}"
        raise Mistake(f"--image-size {side}: images have {sides} pixels a side; give such a number")
    with ExitStack() as to_close:
        if path.is_dir():
            if home := arrays.idx_folder(path):
                heap = _of_arrays(arrays.read_idx_folder(home, said), side, colour, said)
                return _in_order(heap, said)
            found, stamp = listing.in_folder(path), ()
        elif zipfile.is_zipfile(path):
            if path.suffix.lower() == ".npz":
                return _in_order(_of_arrays(arrays.read_npz(path, said), side, colour, said), said)
            archive = to_close.enter_context(listing.open_zip(path, said))
            facts = path.stat()
            found, stamp = listing.in_zip(archive, said), (facts.st_mtime_ns, facts.st_ctime_ns)
        else:
            raise Mistake(f"{said}: is neither a folder nor a zip or npz; unpack it, and name that")
        key = cache.key(path, stamp, found, side, colour)
        if kept := cache.read(key):
            return kept
        made = _in_order(_of_pictures(found, side, colour, said), said)
        if keep:
            cache.write(key, made)
        return made


# From pictures or arrays to images


def _of_pictures(found: Listing, side: int | None, colour: bool | None, said: str) -> Heap:
    """Pictures as images; those that cannot be read are left out and named."""
    places, notices = sorted_into(found, said)
    _check_count(len(places), "pictures", said)
    if side is None or colour is None:
        own_side, may_be_colour = _sizes_and_modes(places)
        side, channels = side or own_side, 3 if may_be_colour and colour is not False else 1
    if colour is not None:
        channels = 3 if colour else 1
    check_memory(len(places), channels * side * side, said)
    images = torch.empty(len(places), channels, side, side, dtype=torch.uint8)
    taken, remarks = [], Remarks()
    for place in _with_bar(places):
        try:
            picture = opened(place.entry.source(), FORMATS, side=side)
            images[len(taken)], changes = converted(picture, images.shape[1:])
        except Unreadable as reason:
            remarks.add("left out, cannot be read", f"{place.entry.place}: {reason}")
            continue
        taken.append(place)
        for change in changes:
            remarks.add(change, str(place.entry.place))
    _check_count(len(taken), f"pictures that can be read of {len(places):,}", said)
    for emptied in sorted({place.name for place in places} - {place.name for place in taken}):
        raise Mistake(f"{said}: no picture of the class {emptied} can be read; remove its folder")
    remarks.merge(RESIZED, f"{RESIZED} {{}} sizes to {side} x {side}")
    notices += [*found.remarks.lines(), *remarks.lines()]
    is_test = [place.is_test for place in taken] if any(p.is_test for p in taken) else None
    images, lines = _in_channels(images[: len(taken)], colour)
    return Heap(images, [place.name for place in taken], is_test, notices + lines)


def _sizes_and_modes(places: Sequence[Place]) -> tuple[int, bool]:
    """The side of all pictures if they agree and it fits, else 32; whether one may have colour."""
    sizes, may_be_colour = set(), False
    for place in places:
        try:
            size, mode = size_and_mode(place.entry.source())
        except Unreadable:
            continue
        sizes.add(size)
        may_be_colour |= mode not in ("L", "1", "LA", "F") and not mode.startswith("I")
        if len(sizes) > 1 and may_be_colour:
            break
    return _side_of(sizes), may_be_colour


def _side_of(sizes: Iterable[tuple[int, int]]) -> int:
    """The side that all `sizes` have, if that is one which images may have; else 32."""
    (size, *others) = sizes or [(0, 0)]
    return size[0] if not others and size[0] == size[1] and size[0] in SIDES else USUAL_SIDE


def _with_bar(places: Sequence[Place]) -> Iterable[Place]:
    """The pictures under a bar; with no terminal a line, if there are many."""
    if not sys.stderr.isatty() and len(places) >= LINE_FROM:
        print(f"reading {len(places):,} pictures ...", flush=True)
    return tqdm(places, desc="pictures", unit="", disable=None, leave=False)


def _of_arrays(found: arrays.Arrays, side: int | None, colour: bool | None, said: str) -> Heap:
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


# In order


def _in_order(heap: Heap, said: str) -> OwnSet:
    """The halves of a set, each in the order of its images' hashes."""
    images, notices = heap.images, heap.notices
    if bool((images == images[..., :1, :1]).all()):
        raise Mistake(f"{said}: each of its images is of one colour; name a set of pictures")
    names = in_order(set(heap.classes))
    if len(names) > MOST_CLASSES:
        notices = [*notices, f"{len(names):,} classes are too many, and count as none"]
    if not 2 <= len(names) <= MOST_CLASSES:
        names = []
    label_of = {name: label for label, name in enumerate(names)}
    labels = [label_of.get(name, 0) for name in heap.classes]
    hashes = [hashlib.sha256(image.numpy()).digest() for image in images]
    is_test = heap.is_test or _tenth(hashes)
    order = sorted(range(len(images)), key=lambda i: (is_test[i], hashes[i], labels[i]))
    _rearrange(images, order)
    labelled = torch.tensor([labels[index] for index in order])
    train = is_test.count(False)
    only_test = {*labels} - {labels[index] for index in order[:train]}
    if heap.is_test and only_test:
        names_of = listed([names[label] for label in sorted(only_test)] if names else ["any kind"])
        raise Mistake(f"{said}: has no training images of {names_of}; add some, or remove the rest")
    if doubles := len(hashes) - len(set(hashes)):
        notices = [*notices, f"{doubles:,} images are exact duplicates of others"]
    if len(images) < FEW:
        notices = [*notices, f"only {len(images):,} images: a GAN learns little from so few"]
    parts = [
        Part.of(images[half], labelled[half] if names else None, Path())
        for half in (slice(train), slice(train, None))
    ]
    return OwnSet(*parts, tuple(names), tuple(notices))


def _tenth(hashes: Sequence[bytes]) -> list[bool]:
    """Which images are the test half: about a tenth, by what they are themselves; at least one."""
    found = [int.from_bytes(digest[-4:], "big") % 10 == 0 for digest in hashes]
    return found if any(found) else [digest == min(hashes) for digest in hashes]


def _rearrange(images: Tensor, order: Sequence[int]) -> None:
    """Put images (N, ...) in order without a second copy: some columns of bytes at a time."""
    flat, places = images.view(len(images), -1), torch.tensor(order)
    for columns in flat.split(256, dim=1):
        columns.copy_(columns[places])
