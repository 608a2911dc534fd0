"""The weights that ship with the lab: a small fixed classifier for some of the sets."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from lab.data.datasets import DATASETS, DatasetSpec
from lab.errors import Fault
from lab.files import read_text, write_text
from lab.models.serialization import load_weights
from lab.models.tensor_files import digest

WEIGHTS = Path(__file__).parent / "weights"
CHECKSUMS = "SHA256SUMS"


def has_classifier(spec: DatasetSpec) -> bool:
    """Whether a classifier ships for the set; its file is not looked at."""
    return DATASETS.get(spec.name) == spec and _file_of(spec) in _checksums()


def load_classifier(spec: DatasetSpec) -> nn.Module | None:
    """The classifier that images of the set are measured with; None if none ships for it.

    Fault unless its file has the checksum that is listed beside it.
    """
    if not has_classifier(spec):
        return None
    path = WEIGHTS / _file_of(spec)
    if digest(path) != _checksums()[path.name]:
        raise Fault(
            f"{path}: is not the file that {CHECKSUMS} beside it lists; figures from another "
            "classifier could not be compared: put the lab's own back"
        )
    return load_weights(path, "classifier").network


def write_checksums() -> None:
    """List the weights files, as the program sha256sum does."""
    lines = [f"{digest(path)}  {path.name}\n" for path in sorted(WEIGHTS.glob("*.pth"))]
    write_text(WEIGHTS / CHECKSUMS, "".join(lines))


def _file_of(spec: DatasetSpec) -> str:
    return f"{spec.name}.pth"


def _checksums() -> dict[str, str]:
    """SHA-256 by the names of the weights files that ship."""
    lines = (line.split() for line in read_text(WEIGHTS / CHECKSUMS).splitlines())
    return {name: digest for digest, name in lines}
