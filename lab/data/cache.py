"""Converted pictures, kept between runs in the system's cache: reading them anew takes long.

An entry is known by the names, sizes and times of all files and by how they were to be converted.
Where nothing can be kept the lab goes on without.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from lab.data.sources import OwnSet, Part
from lab.files import cache_folder, write_whole

VERSION = 1  # of how pictures are converted
MOST_KEPT = 8  # sets


def key(path: Path, files: Any, *how: Any) -> str:
    """What changes whenever another set would come of it. files: what is known of its files."""
    facts = [VERSION, PIL.__version__, os.path.realpath(path), files, how]
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()


def read(key: str) -> OwnSet | None:
    """What is kept under a key; None if it is not there, or damaged."""
    path = _path(key)
    try:
        with np.load(path, allow_pickle=False) as kept:
            facts = json.loads(str(kept["facts"]))
            halves = []
            for half in ("train", "test"):
                labels = torch.from_numpy(kept[f"{half}_labels"]) if facts["class_names"] else None
                halves.append(Part.of(torch.from_numpy(kept[half]), labels, Path()))
        os.utime(path)  # the one used last is removed last
    except Exception:  # numpy raises anything for a damaged file; what it held is made anew
        return None
    return OwnSet(*halves, tuple(facts["class_names"]), tuple(facts["notices"]))


def write(key: str, made: OwnSet) -> None:
    """Keep a set; of those that are kept, the ones unused for longest make room."""
    facts = {"class_names": made.class_names, "notices": made.notices}
    content: dict[str, Any] = {"facts": np.array(json.dumps(facts))}
    for half, part in (("train", made.train), ("test", made.test)):
        content[half] = part.images.numpy()
        if part.labels is not None:
            content[f"{half}_labels"] = part.labels.numpy()
    folder = _path(key).parent
    with contextlib.suppress(OSError):  # a full disk, a home that is not ours
        folder.mkdir(parents=True, exist_ok=True)
        kept = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)
        for path in kept[: max(0, len(kept) - MOST_KEPT + 1)]:
            path.unlink()
        write_whole(_path(key), lambda file: np.savez(file, **content))


def _path(key: str) -> Path:
    return cache_folder() / "pictures" / f"{key}.npz"
