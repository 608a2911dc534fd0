"""The weights in lab/models/weights: classifiers, generators, denoisers and samplers.

A file is loaded only if its checksum is the one listed in SHA256SUMS; otherwise a Fault is raised.
"""

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
    """The classifiers for the data set, by kind; {} if none ships."""
    found = {kind: load_shipped("classifier", spec, kind) for kind in CLASSIFIERS}
    return {kind: weights for kind, weights in found.items() if weights}


def load_classifier(spec: DatasetSpec) -> nn.Module | None:
    """The convolutional classifier for the data set; None if none ships."""
    found = load_shipped("classifier", spec)
    return found and found.network


def sets_with_generator() -> list[DatasetSpec]:
    """The data sets for which a generator ships."""
    return [spec for spec in DATASETS.values() if _listed(file_of("generator", spec.name), spec)]


def file_of(role: str, name: str, kind: str = "cnn") -> str:
    """The file name of the network for a data set; `kind` is used for classifiers only."""
    stem = name if role == "classifier" else f"{role}_{name}"
    return f"{stem}.pth" if kind == "cnn" else f"{stem}_{kind}.pth"


def write_checksums() -> None:
    """Write SHA256SUMS, in the format of the program sha256sum."""
    lines = [f"{digest(path)}  {path.name}\n" for path in sorted(WEIGHTS.glob("*.pth"))]
    write_text(WEIGHTS / CHECKSUMS, "".join(lines))


def _listed(file: str, spec: DatasetSpec) -> str:
    """The line of SHA256SUMS about a file for a data set; "" if none ships."""
    if DATASETS.get(spec.name) != spec:
        return ""
    lines = read_text(WEIGHTS / CHECKSUMS).splitlines()
    return next((line for line in lines if line.endswith(f" {file}")), "")


def load_shipped(role: str, spec: DatasetSpec, kind: str = "cnn") -> Weights | None:
    """The network for the data set, in a role of `models.ROLES`; None if none ships."""
    path = WEIGHTS / file_of(role, spec.name, kind)
    listed = _listed(path.name, spec)
    if not listed:
        return None
    if not listed.startswith(digest(path)):
        cure = "restore the original file; scores from another are not comparable"
        raise Fault(f"{path}: is not the file that {CHECKSUMS} beside it lists; {cure}")
    return load_weights(path, role)
