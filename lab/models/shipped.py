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
    return {kind: found for kind in CLASSIFIERS if (found := load_shipped(kind, spec))}


def load_classifier(spec: DatasetSpec) -> nn.Module | None:
    """The convolutional classifier for the data set; None if none ships."""
    found = load_shipped("cnn", spec)
    return found and found.network


def sets_with_generator() -> list[DatasetSpec]:
    """The data sets for which a generator ships."""
    return [spec for spec in DATASETS.values() if _listed(file_of("generator", spec.name), spec)]


def file_of(network: str, name: str) -> str:
    """The file name of a network for the data set `name`: a kind of classifier, or another role."""
    stems = {"cnn": name, "mlp": f"{name}_mlp"}
    return f"{stems.get(network, f'{network}_{name}')}.pth"


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


def load_shipped(network: str, spec: DatasetSpec) -> Weights | None:
    """The network for the data set, as `file_of` names it; None if none ships."""
    path = WEIGHTS / file_of(network, spec.name)
    if not (listed := _listed(path.name, spec)):
        return None
    if not listed.startswith(digest(path)):
        cure = "restore the original file; scores from another are not comparable"
        raise Fault(f"{path}: is not the file that {CHECKSUMS} beside it lists; {cure}")
    return load_weights(path, "classifier" if network in CLASSIFIERS else network)
