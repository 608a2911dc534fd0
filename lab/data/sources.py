"""The sources of named sets: torchvision's classes, or IDX files that are read here."""

import hashlib
import http.client
import math
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

NETWORK_PATIENCE = 4.0  # seconds to wait for an answer from the network


@dataclass(frozen=True)
class Part:
    """One half of a set: images uint8 (N, *shape), labels int64 (N,) or None, SHA-256 of each."""

    images: Tensor
    labels: Tensor | None
    image_digest: str
    label_digest: str

    @classmethod
    def of(cls, images: Tensor, labels: Tensor | None) -> "Part":
        """Compute the digests; labels may have any integer type."""
        values = (images.numpy(), b"" if labels is None else labels.numpy())
        digests = (hashlib.sha256(each).hexdigest() for each in values)
        return cls(images, None if labels is None else labels.to(torch.int64), *digests)


@dataclass(frozen=True)
class TorchvisionSet:
    """A set that a class of torchvision downloads and reads.

    folders: the folder that the class creates; for IdxFiles, all that the files may be in, relative
    to a data folder. options: keyword arguments of the class. images: the number of images, to
    check memory before reading. transposed: whether rows and columns are exchanged in the files.
    system_folder: where a package of the operating system installs the files. published: SHA-256
    of the pixels of known images -> "full" or "sample".
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
        """What the user would have to download, in words."""
        options = "".join(f"{name}={value!r}, " for name, value in self.options.items())
        maker = f"torchvision.datasets.{self.torchvision_class}(FOLDER, {options}download=True)"
        return f"{self.folders[0]}, which {maker} makes on a machine with internet access"

    def find(self, place: Path) -> Path | None:
        """`place` or its data/, whichever contains the set's folder; None if neither does."""
        homes = (place, place / "data")
        return next((home for home in homes if (home / self.folders[0]).is_dir()), None)

    def read(self, folder: Path, shape: Sequence[int], classes: int) -> tuple[Part, Part]:
        """Read the training and the test half; Fault for a missing, damaged or wrong file.

        shape: (C, H, W) of an image. classes: their number.
        """
        check_memory(self.images, math.prod(shape), f"--dataset: {folder / self.folders[0]}")
        return tuple(self._half(folder, shape, classes, train) for train in (True, False))

    def _half(self, folder: Path, shape: Sequence[int], classes: int, train: bool) -> Part:
        kind = _torchvision_class(self.torchvision_class)
        try:
            found = kind(folder, train=train, download=False, **self.options)
            images, labels = torch.as_tensor(found.data), torch.as_tensor(found.targets)
            images = images.permute(0, 3, 1, 2) if images.ndim == 4 else images.unsqueeze(1)
            images = (images.mT if self.transposed else images).contiguous()
            if images.shape[1:] != tuple(shape) or len(labels) != len(images):
                raise ValueError("other images than the set has")
            if not 0 <= labels.min() <= labels.max() < classes:
                raise ValueError(f"labels {labels.min()} to {labels.max()} found")
        except MemoryError:
            raise
        except Exception as error:  # torchvision may raise anything for a damaged file
            damaged = f"is damaged ({_reason(error)}); remove it, and download it again"
            raise Fault(f"{folder / self.folders[0]}: {damaged}") from None
        return Part.of(images, labels)

    def download(self, folder: Path) -> None:
        """Let torchvision download the set into `folder`; NoDownload if that fails.

        The files are downloaded into a temporary folder and moved when complete, so that an
        interrupted download leaves nothing that a later run would take for a damaged set.
        """
        kind = _torchvision_class(self.torchvision_class)
        url = getattr(kind, "url", None)  # of sets with a single archive
        await_answer(url or kind.mirrors[0] + kind.resources[0][0])
        patience = socket.getdefaulttimeout()
        socket.setdefaulttimeout(2 * NETWORK_PATIENCE)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
                kind(temporary, download=True, **self.options)
                # The training images are moved last, since a set without them counts as missing.
                files = [path for path in Path(temporary).rglob("*") if path.is_file()]
                for file in sorted(files, key=lambda path: path.name.startswith("train-images")):
                    home = folder / file.relative_to(temporary)
                    home.parent.mkdir(parents=True, exist_ok=True)
                    file.replace(home)
        # RuntimeError: every mirror failed; a login page in place of files may cause any of these.
        except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
            raise NoDownload(_reason(error)) from None
        finally:
            socket.setdefaulttimeout(patience)


class IdxFiles(TorchvisionSet):
    """The four IDX files of a set of the MNIST family."""

    wanted = "train-images-idx3-ubyte, raw or .gz"

    def find(self, place: Path) -> Path | None:
        """The folder at or below `place` or its data/ that contains the training images."""
        folders = (home / below for home in (place, place / "data") for below in self.folders)
        return next((folder for folder in folders if find_file(folder, "train", "images")), None)

    def _half(self, folder: Path, shape: Sequence[int], classes: int, train: bool) -> Part:
        paths, part = [], "train" if train else "t10k"
        for what, axes in (("images", 3), ("labels", 1)):
            paths.append(find_file(folder, part, what))
            if not paths[-1]:
                file = f"{part}-{what}-idx{axes}-ubyte (or .gz)"
                raise Fault(f"{folder}: {file} is missing; download it")
        images, labels = read_idx(paths[0], shape[1:]).unsqueeze(1), read_idx(paths[1], ())
        if len(images) != len(labels):
            raise Fault(f"{paths[1]}: {len(labels):,} labels for {len(images):,} images")
        if labels.max() >= classes:
            raise Fault(f"{paths[1]}: label {labels.max()} found, 0 to {classes - 1} expected")
        return Part.of(images, labels)


def _torchvision_class(name: str) -> Any:
    from torchvision import datasets  # this import takes a second and is seldom needed

    return getattr(datasets, name)


class NoDownload(Exception):
    """The download failed: no network, a full disk, or an unexpected answer."""


def await_answer(url: str) -> None:
    """Return once the server has answered; NoDownload if it refuses, or takes too long.

    Requests the first byte with GET, since many proxies refuse HEAD. Runs in a thread, since a name
    look-up without a network can take longer than any time-out that Python offers.
    """
    refusal = "no answer from the server"

    def ask() -> None:
        nonlocal refusal
        request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})
        try:
            with urllib.request.urlopen(request, timeout=NETWORK_PATIENCE):
                refusal = ""
        # ValueError: a malformed proxy.
        except (OSError, ValueError, http.client.HTTPException) as error:
            refusal = _reason(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(NETWORK_PATIENCE)
    if refusal:
        raise NoDownload(refusal)


def _reason(error: Exception) -> str:
    """The text of an error in one line; that of its cause, which urllib wraps."""
    inner = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    text = getattr(inner, "strerror", None) or str(inner) or type(error).__name__
    return text.splitlines()[0]
