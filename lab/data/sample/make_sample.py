"""Make the bundled sample: the first 10,000 training and 2,000 test images of each full set.

    python lab/data/sample/make_sample.py --data-dir FOLDER_WITH_BOTH_FULL_SETS

The files are ordinary gzip IDX files, read by the same code as the full sets. Every run writes the
same bytes; their checksums are in `SHA256SUMS`.
"""

import gzip
import hashlib
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # finds the lab from any working directory

from torch import Tensor

from lab.data.datasets import load
from lab.errors import Mistake, run_script
from lab.options import option, parse

SETS = ("mnist", "fashion")
TRAIN_COUNT, TEST_COUNT = 10_000, 2_000


@dataclass(frozen=True)
class Options:
    """The command-line options."""

    data_dir: Path | None = option(None, "folder with the IDX files of both sets", folder=True)


def write_idx(path: Path, values: Tensor) -> str:
    """Write uint8 `values` as a gzip IDX file and return its SHA-256."""
    header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    # mtime=0: the time of day must not change the file's checksum.
    packed = gzip.compress(header + values.numpy().tobytes(), compresslevel=9, mtime=0)
    path.write_bytes(packed)
    return hashlib.sha256(packed).hexdigest()


def main() -> None:
    """Write both samples and their checksums beside this file."""
    data_dir = parse(Options).data_dir
    if not data_dir:
        raise Mistake("--data-dir: is missing; name the folder with the IDX files of both sets")
    here = Path(__file__).parent
    sums = []
    for full in [load(name, data_dir) for name in SETS]:
        parts = {
            "train-images-idx3": full.train_images[:TRAIN_COUNT, 0],
            "train-labels-idx1": full.train_labels[:TRAIN_COUNT].byte(),
            "t10k-images-idx3": full.test_images[:TEST_COUNT, 0],
            "t10k-labels-idx1": full.test_labels[:TEST_COUNT].byte(),
        }
        (here / full.name).mkdir(exist_ok=True)
        for stem, values in parts.items():
            digest = write_idx(here / full.name / f"{stem}-ubyte.gz", values)
            sums.append(f"{digest}  {full.name}/{stem}-ubyte.gz\n")
    (here / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    run_script(main)
