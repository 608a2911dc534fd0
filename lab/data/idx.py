"""IDX files, the format of http://yann.lecun.com/exdb/mnist, raw or compressed with gzip.

A big-endian header holds a type byte, the number of dimensions and the dimensions; the values
follow. Files may be hostile, so sizes are checked before memory is allocated.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from lab.device import check_memory
from lab.errors import Fault

MAX_SIDE = 512  # pixels, of images whose size is read from a file
MAX_IMAGES = 300_000  # more than any set of the MNIST family has


def read_idx(path: Path, sides: Sequence[int] | None, flag: str = "--dataset") -> Tensor:
    """Read an IDX file of bytes, raw or gzip, as a uint8 tensor (N, *sides).

    sides: the required ones; None for images of any size. Raises Fault, which says what was
    expected and what was found, and Mistake, about `flag`, if the images do not fit into memory.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        size = file.seek(0, 2)
        file.seek(0)
        content = gzip.GzipFile(fileobj=file) if packed else file
        try:
            # Deflate compresses by at most 1032:1, which bounds the size of the content.
            return _read_idx(path, content, sides, flag, size * 1032 if packed else size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Fault(f"{path}: damaged gzip file ({error}); download it again") from None


def _read_idx(
    path: Path, file: BinaryIO, sides: Sequence[int] | None, flag: str, most_bytes: int
) -> Tensor:
    length = 4 * (4 if sides is None else 2 + len(sides))
    shape = _read_idx_header(path, file.read(length), sides)
    count = math.prod(shape)
    if count > most_bytes:
        what = f"too short for the {count:,} bytes it announces"
        raise Fault(f"{path}: truncated: {what}; download it again")
    check_memory(shape[0], count // shape[0], f"{flag}: {path}")
    content = bytearray(count)
    found = file.readinto(content)
    if found < count:
        what = f"{count:,} bytes expected, {found:,} found"
        raise Fault(f"{path}: truncated: {what}; download it again")
    try:
        has_more = file.read(1)  # at the end gzip compares the checksums
    except gzip.BadGzipFile as error:
        if not str(error).startswith("Not a gzipped file"):  # bytes after the end are harmless
            raise
        has_more = False
    if has_more:
        raise Fault(f"{path}: damaged: more bytes than the {count:,} its header announces")
    return torch.frombuffer(content, dtype=torch.uint8).reshape(shape)


def _read_idx_header(path: Path, header: bytes, sides: Sequence[int] | None) -> tuple[int, ...]:
    """The dimensions in an IDX header; Fault unless they are valid."""
    dimensions = 3 if sides is None else 1 + len(sides)
    if len(header) < 4 + 4 * dimensions or header[:2] != b"\0\0":
        raise Fault(f"{path}: not an IDX file: it begins with {header[:4].hex(' ') or 'nothing'}")
    if header[2] != 8 or header[3] != dimensions:
        raise Fault(
            f"{path}: wrong IDX file: expected bytes (type 8) in {dimensions} dimensions, "
            f"found type {header[2]} in {header[3]}"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    lengths = [(1, MAX_SIDE)] * 2 if sides is None else [(side, side) for side in sides]
    valid = [(1, MAX_IMAGES), *lengths]
    if not all(least <= size <= most for size, (least, most) in zip(shape, valid, strict=True)):
        wanted = " x ".join(f"{a:,}" if a == b else f"{a} to {b:,}" for a, b in valid)
        found = " x ".join(f"{side:,}" for side in shape)
        raise Fault(f"{path}: wrong size: expected {wanted}, its header says {found}")
    return shape


def find_file(folder: Path, part: str, what: str) -> Path | None:
    """The file `train-images-idx3-ubyte` (and so on) under any of its usual names, raw first."""
    axes = 3 if what == "images" else 1
    endings = (f"{joint}idx{axes}-ubyte{ending}" for joint in "-." for ending in ("", ".gz"))
    paths = (folder / f"{part}-{what}{ending}" for ending in endings)
    return next((path for path in paths if path.is_file()), None)
