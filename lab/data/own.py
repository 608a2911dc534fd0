"""A set of one's own: pictures in a folder or a zip, an npz, IDX files.

However the same pixels are packed, they become the same set: images lie in the order of a hash of
their pixels, classes in that of their names, and where no test half is given, the hash picks a
tenth, so that pictures that are added move no other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
import torch
from torch import Tensor

from lab.data import arrays, listing
from lab.data.conversion import SIDES, Heap, of_arrays, of_pictures
from lab.data.sources import Part
from lab.data.specs import MOST_CLASSES
from lab.errors import Mistake
from lab.files import cache_folder, write_whole
from lab.text import listed

FEW = 500  # images
VERSION = 2  # of how pictures are converted and kept
MOST_KEPT = 8  # sets

OwnSet = tuple[tuple[Part, Part], tuple[str, ...], tuple[str, ...]]  # halves, classes, notices


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
    kept = _place_in_cache(path, files, side, colour)
    if made := _read_kept(kept):
        return made
    with listing.open_zip(path, said) if is_zip else contextlib.nullcontext() as archive:
        found = found or listing.in_zip(archive, said)
        made = _in_order(of_pictures(found, side, colour, said), said)
    if keep:
        _keep(kept, made)
    return made


# In order


def _in_order(heap: Heap, said: str) -> OwnSet:
    """The halves of a set, each in the order of its images' hashes."""
    images, notices = heap.images, heap.notices
    if not any(bool((image != image[:, :1, :1]).any()) for image in images):
        raise Mistake(f"{said}: each of its images is of one colour; name a set of pictures")
    names = sorted(set(heap.classes), key=_numbers_by_size)
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
    halves = (slice(train), slice(train, None))
    parts = (Part.of(images[half], labelled[half] if names else None) for half in halves)
    return tuple(parts), tuple(names), tuple(notices)


def _numbers_by_size(name: str) -> tuple[bool, int, str]:
    """The key by which the names of classes are sorted: numbers first, others by their letters."""
    return not name.isdecimal(), int(name) if name.isdecimal() else 0, name


def _tenth(hashes: Sequence[bytes]) -> list[bool]:
    """Which images are the test half: about a tenth, by what they are themselves; at least one."""
    found = [int.from_bytes(digest[-4:], "big") % 10 == 0 for digest in hashes]
    return found if any(found) else [digest == min(hashes) for digest in hashes]


def _rearrange(images: Tensor, order: Sequence[int]) -> None:
    """Put images (N, ...) in order without a second copy: some columns of bytes at a time."""
    flat, places = images.view(len(images), -1), torch.tensor(order)
    for columns in flat.split(256, dim=1):
        columns.copy_(columns[places])


# Converted pictures, kept between runs: reading them anew takes long


def _place_in_cache(path: Path, *how: object) -> Path:
    """The set's file in the cache: another one if its files, or how they are read, change."""
    facts = [VERSION, PIL.__version__, os.path.realpath(path), *how]
    key = hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_folder() / "pictures" / f"{key}.npz"


def _read_kept(kept: Path) -> OwnSet | None:
    """The set that is kept there; None if there is none, or it is damaged."""
    try:
        with np.load(kept, allow_pickle=False) as content:
            words, *values = (content[name] for name in content.files)
        class_names, notices = map(tuple, json.loads(str(words)))
        train, test, *labels = map(torch.from_numpy, values)
        os.utime(kept)  # the one used last is removed last
    except Exception:  # numpy raises anything for a damaged file; what it held is made anew
        return None
    parts = zip((train, test), labels or (None, None), strict=True)
    return tuple(Part.of(*part) for part in parts), class_names, notices


def _keep(kept: Path, made: OwnSet) -> None:
    """Keep a set, if that can be; of those that are kept, the ones unused for longest make room."""
    (train, test), *words = made
    values = (train.images, test.images, train.labels, test.labels)
    content = [each.numpy() for each in values if each is not None]
    with contextlib.suppress(OSError):  # a full disk, a home that is not ours
        kept.parent.mkdir(parents=True, exist_ok=True)
        others = sorted(kept.parent.glob("*.npz"), key=lambda path: path.stat().st_mtime)
        for path in others[: max(0, len(others) - MOST_KEPT + 1)]:
            path.unlink()
        write_whole(kept, lambda file: np.savez(file, np.array(json.dumps(words)), *content))
