"""A set of one's own: pictures in a folder or a zip, an npz, IDX files.

However the same pixels are packed, they become the same set: images lie in the order of a hash of
their pixels, classes in that of their names, and where no test half is given, the hash picks a
tenth, so that pictures that are added move no other.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lab.data import arrays, cache, listing
from lab.data.classes import in_order
from lab.data.conversion import SIDES, Heap, of_arrays, of_pictures
from lab.data.sources import OwnSet, Part
from lab.data.specs import MOST_CLASSES
from lab.errors import Mistake
from lab.text import listed

FEW = 500  # images


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
    is_zip = path.is_file() and zipfile.is_zipfile(path)
    if path.is_file() and not is_zip:
        raise Mistake(f"{said}: is no zip or npz, whole as it should be; or name a folder")
    if home := path.is_dir() and arrays.idx_folder(path):
        return _in_order(of_arrays(arrays.read_idx_folder(home, said), side, colour, said), said)
    if is_zip and path.suffix.lower() == ".npz":
        return _in_order(of_arrays(arrays.read_npz(path, said), side, colour, said), said)
    found = None if is_zip else listing.in_folder(path)
    files = found.facts() if found else listing.stamp_of(path.stat())
    key = cache.key(path, files, side, colour)
    if kept := cache.read(key):
        return kept
    with listing.open_zip(path, said) if is_zip else contextlib.nullcontext() as archive:
        found = found or listing.in_zip(archive, said)
        made = _in_order(of_pictures(found, side, colour, said), said)
    if keep:
        cache.write(key, made)
    return made


# In order


def _in_order(heap: Heap, said: str) -> OwnSet:
    """The halves of a set, each in the order of its images' hashes."""
    images, notices = heap.images, heap.notices
    if not any(bool((image != image[:, :1, :1]).any()) for image in images):
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
