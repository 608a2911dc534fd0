"""Images of any program, read from a folder of pictures.

Pictures from elsewhere are not trusted: their size is looked at before they are unpacked, and what
cannot be read is named, not skipped in silence.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lab import chance
from lab.errors import Mistake
from lab.pictures import ENDINGS, FORMATS, RESIZED, Unreadable, opened, to_grey, to_size
from lab.text import listed

MOST_SIZES = 3  # that have a line of their own


@dataclass(frozen=True)
class Gallery:
    """What was found in a folder: uint8 images (N, 1, 28, 28), and what was done to them."""

    images: Tensor
    notices: list[str]


def picture_files(folder: Path) -> list[Path]:
    """Every picture in `folder` and below, by name; Mistake if there is none."""
    if (folder / "config.json").is_file():
        raise Mistake(
            f"--images {folder}: is a run folder, with grids and curves; give it as --run, or name "
            "the final_generated_images in it"
        )

    def closed(error: OSError) -> None:
        raise error  # a folder that is passed over in silence would change every figure

    walked = os.walk(folder, onerror=closed)
    found = (Path(place, name) for place, _, names in walked for name in names)
    files = sorted(path for path in found if path.suffix.lower() in ENDINGS and path.is_file())
    if not files:
        raise Mistake(f"--images {folder}: no pictures in it; name a folder of PNG files")
    return files


def read(folder: Path, files: list[Path], most: int, invert: bool = False) -> Gallery:
    """Read `files` of `folder` as grey images of 28 x 28, at most `most`, in random order.

    The order is shuffled by a fixed seed, since names often go by class and the first images stand
    for all where a figure needs fewer. Mistake if none can be read.
    """
    shuffle = torch.randperm(len(files), generator=chance.stream(0, "gallery")).tolist()
    images, changes, unreadable = [], Counter(), []
    for index in shuffle[:most]:
        try:
            image, changed = read_picture(files[index], invert)
        except Unreadable as reason:
            unreadable.append(f"{files[index].name} ({reason})")
            continue
        images.append(image)
        changes.update(changed)
    sizes = [change for change in changes if change.startswith(RESIZED)]
    if len(sizes) > MOST_SIZES:
        changes[f"{RESIZED} {len(sizes):,} sizes to 28 x 28"] = sum(map(changes.pop, sizes))
    notices = [
        f"{count:,} of {len(images):,} images: {change}" for change, count in changes.items()
    ]
    if len(files) > most:
        notices.append(f"{most:,} of {len(files):,} images were taken at random")
    if unreadable:
        notices.append(f"unreadable: {listed(sorted(unreadable))}")
    if not images:
        raise Mistake(f"--images {folder}: {notices[-1]}; name a folder of pictures")
    return Gallery(torch.stack(images), notices)


def read_picture(path: Path, invert: bool = False) -> tuple[Tensor, list[str]]:
    """One picture as uint8 (1, 28, 28), and what had to be done for that; raises Unreadable.

    invert: dark becomes light.
    """
    grey, changes = to_grey(opened(path, FORMATS), invert)
    small, resized = to_size(grey)
    return torch.from_numpy(np.array(small)).unsqueeze(0), changes + resized
