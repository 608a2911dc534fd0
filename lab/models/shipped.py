"""The weights that ship with the lab: a classifier and a denoiser for some of the sets."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from lab.data.datasets import DATASETS, DatasetSpec
from lab.errors import Fault
from lab.files import read_text, write_text
from lab.models.serialization import Weights, load_weights
from lab.models.tensor_files import digest

WEIGHTS = Path(__file__).parent / "weights"
CHECKSUMS = "SHA256SUMS"


def has_classifier(spec: DatasetSpec) -> bool:
    """Whether a classifier ships for the set; its file is not looked at."""
    return _ships(spec, f"{spec.name}.pth")


def load_classifier(spec: DatasetSpec) -> nn.Module | None:
    """The classifier that images of the set are measured with; None if none ships for it.

    Fault unless its file has the checksum that is listed beside it.
    """
    cure = "figures from another classifier could not be compared: put the lab's own back"
    found = _load(spec, f"{spec.name}.pth", "classifier", cure)
    return found and found.network


def load_denoiser(spec: DatasetSpec) -> Weights | None:
    """The denoiser that ships for the set; None if none does.

    Fault unless its file has the checksum that is listed beside it.
    """
    return _load(spec, denoiser_file(spec.name), "denoiser", "put the lab's own back")


def denoiser_file(name: str) -> str:
    """What the file of the denoiser that ships for a set is called."""
    return f"denoiser_{name}.pth"


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
