"""Where the images of a named set come from: torchvision's classes, or IDX files read here.

A kind of source finds its files below a folder, reads them, and fetches them.
"""

from __future__ import annotations

import hashlib
import http.client
import math
import queue
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab.data.idx import find_file, read_idx
from lab.device import check_memory
from lab.errors import Fault

NETWORK_PATIENCE = 4.0  # seconds until a silent network counts as none


@dataclass(frozen=True)
class Part:
    """One half of a set: images uint8 (N, *shape), labels int64 (N,) or None, SHA-256 of each."""

    images: Tensor
    labels: Tensor | None
    image_digest: str
    label_digest: str

    @classmethod
    def of(cls, images: Tensor, labels: Tensor | None) -> Part:
        """A half whose digests are computed; labels of any type."""
        values = (images.numpy(), b"" if labels is None else labels.numpy())
        digests = (hashlib.sha256(each).hexdigest() for each in values)
        return cls(images, None if labels is None else labels.to(torch.int64), *digests)


@dataclass(frozen=True)
class TorchvisionSet:
    """A set that a class of torchvision's downloads, and reads in the folder that it makes.

    folders: that one; of IdxFiles, all that the files usually lie in below a data folder. options:
    of the class. images: how many it has; files of IdxFiles say it. transposed: the images lie on
    their sides in the files, and are shown upright. system_folder: where a system's package puts
    them. published: SHA-256 of the pixels of known images -> `full` or `sample`.
    """

    torchvision_class: str
    folders: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    images: int = 0
    transposed: bool = False
    system_folder: str | None = None
    published: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> str:
        """What there is to fetch, in words."""
        maker = f"torchvision.datasets.{self.torchvision_class}(FOLDER, download=True)"
        return f"{self.folders[0]}, which {maker} makes where there is a network"

    def find(self, place: Path) -> Path | None:
        """The folder that holds the set: `place`, its data/, or one below these."""
        homes = (place, place / "data")
        return next((home for home in homes if (home / self.folders[0]).is_dir()), None)

    def read(self, folder: Path, shape: Sequence[int], classes: int) -> tuple[Part, Part]:
        """Training and test half; Fault for a file that is missing or damaged.

        shape: (C, H, W) of its images. classes: how many there are.
        """
        check_memory(self.images, math.prod(shape), f"--dataset: {folder / self.folders[0]}")
        return self._half(folder, shape, True), self._half(folder, shape, False)

    def _half(self, folder: Path, shape: Sequence[int], train: bool) -> Part:
        kind = _torchvision_class(self.torchvision_class)
        try:
            found = kind(folder, train=train, download=False, **self.options)
            images, labels = torch.as_tensor(found.data), torch.as_tensor(found.targets)
            images = images.permute(0, 3, 1, 2) if images.ndim == 4 else images.unsqueeze(1)
            images = (images.mT if self.transposed else images).contiguous()
            if images.shape[1:] != tuple(shape) or len(labels) != len(images):
                raise ValueError("other images than the set has")
        except MemoryError:
            raise
        except Exception as error:  # it raises anything for a file that is damaged
            home, reason = folder / self.folders[0], _reason(error)
            raise Fault(f"{home}: is not whole ({reason}); remove it, and fetch it again") from None
        return Part.of(images, labels)

    def download(self, folder: Path) -> None:
        """Fetch the set into `folder`, whole; NoDownload if that fails."""
        download_set(self.torchvision_class, folder, self.options)


class IdxFiles(TorchvisionSet):
    """The four IDX files of a set of the MNIST family."""

    wanted = "train-images-idx3-ubyte, raw or .gz"

    def find(self, place: Path) -> Path | None:
        """The folder at or below `place`, or its data/, that holds training images of the set."""
        folders = (home / below for home in (place, place / "data") for below in self.folders)
        return next((folder for folder in folders if find_file(folder, "train", "images")), None)

    def read(self, folder: Path, shape: Sequence[int], classes: int) -> tuple[Part, Part]:
        """Training and test half; Fault for a file that is missing, damaged or another's."""
        return tuple(_idx_half(folder, part, shape, classes) for part in ("train", "t10k"))


def _idx_half(folder: Path, part: str, shape: Sequence[int], classes: int) -> Part:
    paths = []
    for what, axes in (("images", 3), ("labels", 1)):
        paths.append(find_file(folder, part, what))
        if not paths[-1]:
            file = f"{part}-{what}-idx{axes}-ubyte (or .gz)"
            raise Fault(f"{folder}: {file} is missing beside the set's other files; fetch it")
    images, labels = read_idx(paths[0], shape[1:]).unsqueeze(1), read_idx(paths[1], ())
    if len(images) != len(labels):
        raise Fault(f"{paths[1]}: {len(labels):,} labels for {len(images):,} images")
    if labels.max() >= classes:
        raise Fault(f"{paths[1]}: label {labels.max()} found, 0 to {classes - 1} expected")
    return Part.of(images, labels)


def _torchvision_class(name: str) -> Any:
    from torchvision import datasets  # imported late: it costs a second and is seldom needed

    return getattr(datasets, name)


# The network


class NoDownload(Exception):
    """Why the set did not come: no network, no room, or a server that has something else."""


def download_set(
    torchvision_class: str, folder: Path, options: Mapping[str, str] | None = None
) -> None:
    """Let torchvision fetch a set, by its class, into `folder`. NoDownload if that fails.

    It is fetched beside and moved when whole, so that an interrupted download leaves no files that
    a later run would take for a damaged set.
    """
    torchvision_set = _torchvision_class(torchvision_class)
    url = getattr(torchvision_set, "url", None)  # of those whose files come in one
    await_answer(url or torchvision_set.mirrors[0] + torchvision_set.resources[0][0])
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(2 * NETWORK_PATIENCE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as beside:
            torchvision_set(beside, download=True, **(options or {}))
            # The training images last: a set without them counts as not there.
            files = [path for path in Path(beside).rglob("*") if path.is_file()]
            for file in sorted(files, key=lambda path: path.name.startswith("train-images")):
                home = folder / file.relative_to(beside)
                home.parent.mkdir(parents=True, exist_ok=True)
                file.replace(home)
    # torchvision raises RuntimeError when every mirror failed; a hotel's page may answer anything.
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        raise NoDownload(_reason(error)) from None
    finally:
        socket.setdefaulttimeout(patience)


def await_answer(url: str) -> None:
    """Return once `url` has been answered; NoDownload if it is refused, or takes too long.

    Its first byte is asked for, as the download will ask for all: many a proxy refuses HEAD. In a
    thread of its own, since a name look-up without a network can hang longer than any time-out that
    Python lets one set.
    """
    answers: queue.Queue[str] = queue.Queue()  # "", or what went wrong

    def ask() -> None:
        request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})
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
