"""Make the bundled sample: the first 10,000 training and 2,000 test images of each full set.

    python lab/sample/make_sample.py FOLDER_WITH_BOTH_FULL_SETS

The files it writes are ordinary gzip IDX files, read by the same code as the full sets, and come
out byte for byte the same each time; their checksums go into `SHA256SUMS` beside them.
"""

import gzip
import hashlib
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the lab, wherever this is started from

from torch import Tensor

from lab import data

TRAIN_COUNT, TEST_COUNT = 10_000, 2_000


def write_idx(path: Path, values: Tensor) -> str:
    """Write uint8 `values` as a gzip IDX file and return its SHA-256."""
    header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    # mtime=0: the time of day must not change the file's checksum.
    packed = gzip.compress(header + values.numpy().tobytes(), compresslevel=9, mtime=0)
    path.write_bytes(packed)
    return hashlib.sha256(packed).hexdigest()


def main() -> None:
    """Write both samples and their checksums beside this file."""
    here = Path(__file__).parent
    sums = []
    for name in data.SETS:
        full = data.read_folder(name, data.find_folder(name, Path(sys.argv[1])))
        parts = {
            "train-images-idx3": full.train_images[:TRAIN_COUNT, 0],
            "train-labels-idx1": full.train_labels[:TRAIN_COUNT].byte(),
            "t10k-images-idx3": full.test_images[:TEST_COUNT, 0],
            "t10k-labels-idx1": full.test_labels[:TEST_COUNT].byte(),
        }
        (here / name).mkdir(exist_ok=True)
        for stem, values in parts.items():
            digest = write_idx(here / name / f"{stem}-ubyte.gz", values)
            sums.append(f"{digest}  {name}/{stem}-ubyte.gz\n")
    (here / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    main()
