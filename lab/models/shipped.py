"""The weights that ship with the lab: classifiers, a generator and what restores."""

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
    """The classifiers that images of the set are measured with, by kind; {} if none ships for it.

    Fault unless their files have the checksums that are listed beside them.
    """
    found = {kind: _classifier(spec, kind) for kind in CLASSIFIERS}
    return {kind: weights for kind, weights in found.items() if weights}


def load_classifier(spec: DatasetSpec) -> nn.Module | None:
    """The convolutional one of them; None if none ships for the set."""
    found = _classifier(spec, "cnn")
    return found and found.network


def _classifier(spec: DatasetSpec, kind: str) -> Weights | None:
    cure = "figures from another classifier could not be compared: put the lab's own back"
    return _load(spec, classifier_file(spec.name, kind), "classifier", cure)


def classifier_file(name: str, kind: str) -> str:
    """What the file of a classifier that ships for a set is called."""
    return f"{name}.pth" if kind == "cnn" else f"{name}_{kind}.pth"


def load_restorer(spec: DatasetSpec, role: str) -> Weights | None:
    """The denoiser or the sampler that ships for the set; None if none does.

    Fault unless its file has the checksum that is listed beside it.
    """
    return _load(spec, restorer_file(spec.name, role), role, "put the lab's own back")


def load_generator(spec: DatasetSpec) -> Weights | None:
    """The conditional generator that ships for the set; None if none does.

    Fault unless its file has the checksum that is listed beside it.
    """
    return _load(spec, generator_file(spec.name), "generator", "put the lab's own back")


def sets_with_generator() -> list[DatasetSpec]:
    """The sets that a generator ships for."""
    return [spec for spec in DATASETS.values() if _ships(spec, generator_file(spec.name))]


def generator_file(name: str) -> str:
    """What the file of the generator that ships for a set is called."""
    return f"generator_{name}.pth"


def restorer_file(name: str, role: str) -> str:
    """What the file of the denoiser or the sampler that ships for a set is called."""
    return f"{role}_{name}.pth"


def write_checksums() -> None:
    """List the weights files, as the program sha256sum does."""
    lines = [f"{digest(path)}  {path.name}\n" for path in sorted(WEIGHTS.glob("*.pth"))]
    write_text(WEIGHTS / CHECKSUMS, "".join(lines))


def _ships(spec: DatasetSpec, file: str) -> bool:
    return DATASETS.get(spec.name) == spec and file in _checksums()


def _load(spec: DatasetSpec, file: str, role: str, cure: str) -> Weights | None:
    """The weights of a set in a file that ships; None if it does not."""
    if not _ships(spec, file):
        return None
    path = WEIGHTS / file
    if digest(path) != _checksums()[file]:
        raise Fault(f"{path}: is not the file that {CHECKSUMS} beside it lists; {cure}")
    return load_weights(path, role)


def _checksums() -> dict[str, str]:
    """SHA-256 by the names of the weights files that ship."""
    lines = (line.split() for line in read_text(WEIGHTS / CHECKSUMS).splitlines())
    return {name: digest for digest, name in lines}
