"""The weights that ship with the lab: classifiers, a generator and what restores.

A file is loaded only if it has the checksum that is listed beside it; else it is a Fault.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from lab.data.datasets import DATASETS, DatasetSpec
from lab.errors import Fault
from lab.files import read_text, write_text
from lab.models import CLASSIFIERS
from lab.models.serialization import Weights, load_weights
from lab.models.tensor_files import digest

WEIGHTS = Path(__file__).parent / "weights"
CHECKSUMS = "SHA256SUMS"


def load_classifiers(spec: DatasetSpec) -> dict[str, Weights]:
    """The classifiers that images of the set are measured with, by kind; {} if none ships."""
    found = {kind: _load("classifier", spec, kind) for kind in CLASSIFIERS}
    return {kind: weights for kind, weights in found.items() if weights}


def load_classifier(spec: DatasetSpec) -> nn.Module | None:
    """The convolutional one of them; None if none ships for the set."""
    found = _load("classifier", spec)
    return found and found.network


def load_restorer(spec: DatasetSpec, role: str) -> Weights | None:
    """The denoiser or the sampler that ships for the set; None if none does."""
    return _load(role, spec)


def load_generator(spec: DatasetSpec) -> Weights | None:
    """The conditional generator that ships for the set; None if none does."""
    return _load("generator", spec)


def sets_with_generator() -> list[DatasetSpec]:
    """The sets that a generator ships for."""
    return [spec for spec in DATASETS.values() if _ships("generator", spec)]


def file_of(role: str, name: str, kind: str = "cnn") -> str:
    """What the file of that network for a set is called; kind: of a classifier."""
    stem = name if role == "classifier" else f"{role}_{name}"
    return f"{stem}.pth" if kind == "cnn" else f"{stem}_{kind}.pth"


def write_checksums() -> None:
    """List the weights files, as the program sha256sum does."""
    lines = [f"{digest(path)}  {path.name}\n" for path in sorted(WEIGHTS.glob("*.pth"))]
    write_text(WEIGHTS / CHECKSUMS, "".join(lines))


def _ships(role: str, spec: DatasetSpec, kind: str = "cnn") -> str | None:
    """The checksum of that network for a set; None if none ships for it."""
    lines = (line.split() for line in read_text(WEIGHTS / CHECKSUMS).splitlines())
    checksums = {name: digest for digest, name in lines if DATASETS.get(spec.name) == spec}
    return checksums.get(file_of(role, spec.name, kind))


def _load(role: str, spec: DatasetSpec, kind: str = "cnn") -> Weights | None:
    path, checksum = WEIGHTS / file_of(role, spec.name, kind), _ships(role, spec, kind)
    if checksum and digest(path) != checksum:
        cure = "put the lab's own back: figures from another could not be compared"
        raise Fault(f"{path}: is not the file that {CHECKSUMS} beside it lists; {cure}")
    return load_weights(path, role) if checksum else None
