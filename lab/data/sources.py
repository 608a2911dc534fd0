"""Where the images of a named set come from: IDX files in a folder, or torchvision's download.

The IDX format is the one of http://yann.lecun.com/exdb/mnist: a big-endian header of a type byte, a
dimension count and the dimensions, then the bytes. Files from elsewhere are not trusted: sizes are
checked before memory is asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import math
import queue
import socket
import struct
import tempfile
import threading
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lab.errors import Fault

NETWORK_PATIENCE = 4.0  # seconds until a silent network counts as none
MOST_IMAGES = 300_000  # no set of this family is larger; a bound for hostile headers


@dataclass(frozen=True)
class Part:
    """One half of a set: images uint8 (N, *shape), labels int64 (N,), and the SHA-256 of each."""

    images: Tensor
    labels: Tensor
    image_file: Path
    image_digest: str
    label_digest: str


@dataclass(frozen=True)
class IdxFiles:
    """The four IDX files of a set of the MNIST family.

    torchvision_class: that downloads them. folders: where they usually lie below a data folder.
    system_folder: where a system's package puts them. published: SHA-256 of the pixels of known
    images -> `full` or `sample`. wanted: the file that a set is known by, in words. Files of
    another kind need the last three, and the three methods.
    """

    torchvision_class: str
    folders: tuple[str, ...]
    system_folder: str | None = None
    published: Mapping[str, str] = field(default_factory=dict)
    wanted: str = "train-images-idx3-ubyte, raw or .gz"

    def find(self, place: Path) -> Path | None:
        """The folder at or below `place`, or its data/, that holds training images of the set."""
        folders = (home / below for home in (place, place / "data") for below in self.folders)
        return next((folder for folder in folders if _find_file(folder, "train", "images")), None)

    def read(self, folder: Path, shape: Sequence[int], classes: int) -> tuple[Part, Part]:
        """Training and test half; Fault for a file that is missing or damaged."""
        return tuple(read_part(folder, part, shape, classes) for part in ("train", "t10k"))

    def download(self, folder: Path) -> None:
        """Fetch the set into `folder`, whole; NoDownload if that fails."""
        download_set(self.torchvision_class, folder)


def read_part(folder: Path, part: str, shape: Sequence[int], classes: int) -> Part:
    """Read `train` or `t10k` of a set; Fault for a file that is missing, damaged or another's.

    shape: (1, H, W) of its images. classes: how many there are.
    """
    paths = {what: _find_file(folder, part, what) for what in ("images", "labels")}
    for what, path in paths.items():
        if path is None:
            file = f"{part}-{what}-idx{3 if what == 'images' else 1}-ubyte"
            missing = f"{file} (or .gz) is missing beside the set's other files"
            raise Fault(f"{folder}: {missing}; fetch it")
    images = read_idx(paths["images"], shape[1:]).unsqueeze(1)
    labels = read_idx(paths["labels"], ())
    if len(images) != len(labels):
        raise Fault(f"{paths['labels']}: {len(labels):,} labels for {len(images):,} images")
    if labels.max() >= classes:
        raise Fault(f"{paths['labels']}: label {labels.max()} found, 0 to {classes - 1} expected")
    digests = (hashlib.sha256(values.numpy()).hexdigest() for values in (images, labels))
    return Part(images, labels.to(torch.int64), paths["images"], *digests)


def read_idx(path: Path, sides: Sequence[int]) -> Tensor:
    """Read one IDX file of bytes, raw or gzip, as a uint8 tensor (N, *sides).

    Raises Fault naming the file, what was expected and what was found.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        size = file.seek(0, 2)
    # Deflate packs at most 1032:1, so the file's size bounds what it can honestly hold.
    most_bytes = size * 1032 if packed else size
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            shape = _read_idx_header(path, file.read(8 + 4 * len(sides)), sides)
            count = math.prod(shape)
            if count > most_bytes:
                what = f"too short for the {count:,} bytes it announces"
                raise Fault(f"{path}: truncated: {what}; fetch it again")
            content = bytearray(count)
            found = file.readinto(content)
            if found < count:
                what = f"{count:,} bytes expected, {found:,} found"
                raise Fault(f"{path}: truncated: {what}; fetch it again")
            if file.read(1):
                raise Fault(f"{path}: damaged: more bytes than the {count:,} its header announces")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Fault(f"{path}: damaged gzip file ({error}); fetch it again") from None
    return torch.frombuffer(content, dtype=torch.uint8).reshape(shape)


def _read_idx_header(path: Path, header: bytes, sides: Sequence[int]) -> tuple[int, ...]:
    """The dimensions an IDX header announces, once they are believable."""
    dimensions = 1 + len(sides)
    if len(header) < 4 + 4 * dimensions or header[:2] != b"\0\0":
        raise Fault(f"{path}: not an IDX file: it begins with {header[:4].hex(' ') or 'nothing'}")
    if header[2] != 8 or header[3] != dimensions:
        raise Fault(
            f"{path}: wrong IDX file: expected bytes (type 8) in {dimensions} dimensions, "
            f"found type {header[2]} in {header[3]}"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if not 1 <= shape[0] <= MOST_IMAGES or shape[1:] != tuple(sides):
        wanted = " x ".join([f"1 to {MOST_IMAGES:,}", *map(str, sides)])
        found = " x ".join(f"{side:,}" for side in shape)
        raise Fault(f"{path}: wrong size: expected {wanted}, its header says {found}")
    return shape


def _find_file(folder: Path, part: str, what: str) -> Path | None:
    """`train-images-idx3-ubyte` in the spellings it is met in, raw first."""
    axes = 3 if what == "images" else 1
    endings = (f"{joint}idx{axes}-ubyte{ending}" for joint in "-." for ending in ("", ".gz"))
    paths = (folder / f"{part}-{what}{ending}" for ending in endings)
    return next((path for path in paths if path.is_file()), None)


# The network


class NoDownload(Exception):
    """Why the set did not come: no network, no room, or a server that has something else."""


def download_set(torchvision_class: str, folder: Path) -> None:
    """Let torchvision fetch a set, by its class, into `folder`. NoDownload if that fails.

    It is fetched beside and moved when whole, so that an interrupted download leaves no files that
    a later run would take for a damaged set.
    """
    from torchvision import datasets  # imported late: it costs a second and is seldom needed

    torchvision_set = getattr(datasets, torchvision_class)
    await_answer(torchvision_set.mirrors[0] + torchvision_set.resources[0][0])
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(2 * NETWORK_PATIENCE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as beside:
            torchvision_set(beside, download=True)
            whole = Path(beside) / torchvision_set.__name__
            home = folder / torchvision_set.__name__ / "raw"
            home.mkdir(parents=True, exist_ok=True)
            # The training images last: a set without them counts as not there.
            files = (whole / "raw").iterdir()
            for file in sorted(files, key=lambda path: path.name.startswith("train-images")):
                file.replace(home / file.name)
    # torchvision raises RuntimeError when every mirror failed; a hotel's page may answer anything.
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        raise NoDownload(_reason(error)) from None
    finally:
        socket.setdefaulttimeout(patience)


def await_answer(url: str) -> None:
    """Return once the server behind `url` has answered; NoDownload after NETWORK_PATIENCE seconds.

    In a thread of its own, since a name look-up without a network can hang longer than any
    time-out that Python lets one set.
    """
    answers: queue.Queue[str] = queue.Queue()  # "", or what went wrong

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=NETWORK_PATIENCE):
                answers.put("")
        except (OSError, ValueError, http.client.HTTPException) as error:  # a proxy called .x
            answers.put(_reason(error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        refusal = answers.get(timeout=NETWORK_PATIENCE)
    except queue.Empty:
        refusal = "no answer from the network"
    if refusal:
        raise NoDownload(refusal)


def _reason(error: Exception) -> str:
    """What an error says, in a line; urllib wraps the one that tells."""
    inner = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    text = getattr(inner, "strerror", None) or str(inner) or type(error).__name__
    return text.splitlines()[0]
