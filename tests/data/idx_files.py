"""IDX files for tests of lab/data: tiny sets of random images."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import torch


def idx(values: torch.Tensor) -> bytes:
    """uint8 values as the bytes of an IDX file."""
    header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.numpy().tobytes()


def zipped(content: bytes) -> bytes:
    """Compress with gzip without a date: pytest names tests after the bytes, in each process."""
    return gzip.compress(content, mtime=0)


def write_set(folder: Path, count: int = 20, ending: str = "", joint: str = "-") -> Path:
    """Write a tiny set of random images, with torchvision's names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(count)
    for part in ("train", "t10k"):
        images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=random)
        labels = torch.randint(0, 10, (count,), dtype=torch.uint8, generator=random)
        for stem, values in (("images", images), ("labels", labels)):
            content = idx(values)
            content = zipped(content) if ending == ".gz" else content
            (folder / f"{part}-{stem}{joint}idx{values.ndim}-ubyte{ending}").write_bytes(content)
    return folder
