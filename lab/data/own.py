"""A set of the user's own: pictures in a folder or zip, an npz file, or IDX files.

The same pixels give the same set, however they are packed: images are sorted by a hash of their
pixels, classes by their names. If there is no test half, the hash selects a tenth of the images, so
that adding pictures does not move others from one half to the other.
"""

import contextlib
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
import torch

from lab.data import arrays, listing
from lab.data.conversion import SIDES, UnsortedSet, assign_halves, convert
from lab.data.sources import Part
from lab.data.specs import MAX_CLASSES
from lab.device import check_memory
from lab.errors import Mistake
from lab.files import cache_folder, write_whole
from lab.text import counted, listed

FEW = 500  # images below which a notice says that there are few
CACHE_VERSION = 5  # changes whenever pictures are converted or cached in another way
MAX_KEPT = 16  # files in the cache, at most two names for a set

OwnSet = tuple[tuple[Part, Part], tuple[str, ...], tuple[str, ...]]  # halves, classes, notices


def run_name(path: Path) -> str:
    """The name of runs on the set: the name of its folder or file in ASCII letters and digits."""
    name = path.stem if path.is_file() else path.resolve().name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", letters).strip("-")[:60] or "pictures"


def read(path: Path, side: int | None, colour: bool | None, keep: bool = True) -> OwnSet:
    """Read the set at `path`; Mistake, naming --dataset, if it is none.

    side, colour: those of the images; None to choose by the pictures. keep: whether converted
    pictures are cached.
    """
    flag = f"--dataset {path}"
    if side is not None and side not in SIDES:
        raise Mistake(f"--image-size {side}: give a multiple of 4 from {SIDES[0]} to {SIDES[-1]}")
    if found := arrays.list_arrays(path, flag):
        lines = found.remarks.lines()
        return _sorted_set(convert(found.entries, lines, side, colour, flag), flag)
    is_zip = path.is_file()
    files = None if is_zip else listing.list_folder(path)
    facts = files.facts() if files else listing.stamp_of(path.stat())
    cache = _cache_path(path, facts, side, colour)
    if cached := _read_cache(cache):
        return cached
    with listing.open_zip(path, flag) if is_zip else contextlib.nullcontext() as archive:
        files = files or listing.list_zip(archive, flag)
        own_set = _sorted_set(convert(*assign_halves(files, flag), side, colour, flag), flag)
    if keep:
        channels, *_, chosen = own_set[0][0].images.shape[1:]
        # The other scripts ask for the run's side and colour, whoever chose them.
        _write_cache(cache, _cache_path(path, facts, chosen, channels == 3), own_set)
    return own_set


def _sorted_set(found: UnsortedSet, flag: str) -> OwnSet:
    """Sort the images by their hashes, in two halves, with labels by the names of classes."""
    images, notices = found.images, found.notices
    if not any(bool((image != image[:, :1, :1]).any()) for image in images):
        raise Mistake(f"{flag}: all of its images are blank; name a set of pictures")
    names = sorted(set(found.classes))
    numbers = sorted(filter(str.isdecimal, names), key=int)
    names = [*numbers, *(name for name in names if not name.isdecimal())]
    if len(names) > MAX_CLASSES:
        notices = [*notices, f"{len(names):,} classes are too many: the set counts as unlabelled"]
    if not 2 <= len(names) <= MAX_CLASSES:
        names = []
    label_of = {name: label for label, name in enumerate(names)}
    labels = [label_of.get(name, 0) for name in found.classes]
    hashes = [hashlib.sha256(image.numpy()).digest() for image in images]
    if (distinct := len(set(hashes))) == 1:
        raise Mistake(f"{flag}: all of its images are equal; name a set of pictures")
    is_test = found.is_test or _select_test(hashes)
    order = sorted(range(len(images)), key=lambda i: (is_test[i], hashes[i], labels[i]))
    indices, labelled = torch.tensor(order), torch.tensor([labels[index] for index in order])
    for columns in images.view(len(images), -1).split(256, dim=1):  # to copy few of them at a time
        columns.copy_(columns[indices])
    train = is_test.count(False)
    only_test = {*labels} - {labels[index] for index in order[:train]}
    if only_test:
        which = listed([names[label] for label in sorted(only_test)] if names else ["any kind"])
        missing = f"no training images of {which}"
        if found.is_test:
            raise Mistake(f"{flag}: has {missing}; add some, or remove the rest")
        notices = [*notices, f"{missing}, since all are test images; add some"]
    if found.is_test and names and (untested := {*labels} - {*labelled[train:].tolist()}):
        which = listed([names[label] for label in sorted(untested)])
        notices = [*notices, f"no test images of {which}: scores against them say less"]
    if duplicates := len(hashes) - distinct:
        notices = [*notices, f"{counted(duplicates, 'exact duplicate')} of other images"]
    if len(images) < FEW:
        notices = [*notices, f"only {len(images):,} images: a GAN learns little from so few"]
    halves = (slice(train), slice(train, None))
    parts = (Part.of(images[half], labelled[half] if names else None) for half in halves)
    return tuple(parts), tuple(names), tuple(notices)


def _select_test(hashes: Sequence[bytes]) -> list[bool]:
    """Whether each image is in the test half: a tenth by hash, not none and not all."""
    is_test = [int.from_bytes(digest[-4:], "big") % 10 == 0 for digest in hashes]
    return is_test if len({*is_test}) == 2 else [digest == min(hashes) for digest in hashes]


def _cache_path(path: Path, *how: object) -> Path:
    """The set's file in the cache, named by its path, its files and how they are converted."""
    facts = [CACHE_VERSION, PIL.__version__, os.path.realpath(path), *how]
    key = hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_folder() / "pictures" / f"{key}.npz"


def _read_cache(kept: Path) -> OwnSet | None:
    """The cached set; None if there is none, or if it is damaged."""
    try:
        check_memory(1, kept.stat().st_size, "")  # refused with its count by `convert`
        with np.load(kept, allow_pickle=False) as content:
            words, *values = (content[name] for name in content.files)
        class_names, notices = map(tuple, json.loads(str(words)))
        train, test, *labels = map(torch.from_numpy, values)
        with contextlib.suppress(OSError):  # the cache may be read-only
            os.utime(kept)  # marks it as used recently
    except Exception:  # numpy may raise anything for a damaged file
        return None
    parts = zip((train, test), labels or (None, None), strict=True)
    return tuple(Part.of(*part) for part in parts), class_names, notices


def _write_cache(kept: Path, alias: Path, own_set: OwnSet) -> None:
    """Cache a set under two names if possible; removes those unused for longest."""
    (train, test), *words = own_set
    values = (train.images, test.images, train.labels, test.labels)
    content = [each.numpy() for each in values if each is not None]
    with contextlib.suppress(OSError):  # a full disk, a read-only home
        kept.parent.mkdir(parents=True, exist_ok=True)
        others = sorted(kept.parent.glob("*.npz"), key=lambda path: path.stat().st_mtime)
        for path in others[: max(0, len(others) - MAX_KEPT + 2)]:
            path.unlink(missing_ok=True)
        write_whole(kept, lambda file: np.savez(file, np.array(json.dumps(words)), *content))
        if alias != kept:
            os.link(kept, alias)
