"""The user's own sets, for tests: the same random pictures as a folder, zip, npz or IDX files."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import numpy as np
from idx_files import idx
from PIL import Image
from torch import from_numpy


def pixels(count: int = 80, side: int = 20, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random images (N, side, side), or with 3 channels last."""
    shape = (count, side, side, *([channels] if channels > 1 else []))
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_pictures(folder: Path, images: np.ndarray, classes: tuple[str, ...] = ("",)) -> Path:
    """Write one PNG for each image, with the classes in turn."""
    for index, image in enumerate(images):
        home = folder / classes[index % len(classes)]
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(home / f"{index:04d}.png", compress_level=1)
    return folder


def write_zip(path: Path, folder: Path) -> Path:
    """Pack the files of a folder into a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


def write_idx(folder: Path, images: np.ndarray, labels: np.ndarray | None = None) -> Path:
    """Write the IDX files of a training half."""
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(from_numpy(images)))
    if labels is not None:
        (folder / "train-labels-idx1-ubyte").write_bytes(idx(from_numpy(labels)))
    return folder


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The bytes of a file with some flipped, cut off or inserted."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        place, kind = chance.randrange(len(changed) + 1), chance.random()
        if kind < 0.7 and place < len(changed):
            changed[place] ^= chance.randint(1, 255)
        elif kind < 0.8:
            changed = changed[:place] or bytearray(b"\0")
        else:
            changed[place:place] = chance.randbytes(chance.randint(1, 8))
    return bytes(changed)
