"""Make the bundled sample: the first 10,000 training and 2,000 test images of each full set.

    python lab/data/sample/make_sample.py --data-dir FOLDER_WITH_BOTH_FULL_SETS

The files are ordinary gzip IDX files, read by the same code as the full sets. Every run writes the
same bytes; their checksums are in `SHA256SUMS`.
"""

import gzip
import hashlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # finds the lab from any working directory

from lab.data.datasets import load
from lab.data.writers import WRITERS, Contents
from lab.errors import Mistake, run_script
from lab.options import option, parse

SETS = ("mnist", "fashion")
TRAIN_COUNT, TEST_COUNT = 10_000, 2_000


@dataclass(frozen=True)
class Options:
    """The command-line options."""

    data_dir: Path | None = option(None, "folder with the IDX files of both sets", folder=True)


def main() -> None:
    """Write both samples and their checksums beside this file."""
    data_dir = parse(Options).data_dir
    if not data_dir:
        raise Mistake("--data-dir: is missing; name the folder with the IDX files of both sets")
    here, sums = Path(__file__).parent, []
    for full in [load(name, data_dir) for name in SETS]:
        (here / full.name).mkdir(exist_ok=True)
        contents = Contents(full.spec, (TRAIN_COUNT, TEST_COUNT), labelled=True)
        with tempfile.TemporaryDirectory() as folder:
            with WRITERS["idx"].open(Path(folder), contents) as add:
                labels = full.train_labels[:TRAIN_COUNT].tolist()
                add(0, full.train_images[:TRAIN_COUNT], [], labels)
                add(1, full.test_images[:TEST_COUNT], [], full.test_labels[:TEST_COUNT].tolist())
            raw = Path(folder, "raw")
            for file in (*sorted(raw.glob("train-*")), *sorted(raw.glob("t10k-*"))):
                # mtime=0: the time of day must not change the file's checksum.
                packed = gzip.compress(file.read_bytes(), compresslevel=9, mtime=0)
                (here / full.name / f"{file.name}.gz").write_bytes(packed)
                sums.append(f"{hashlib.sha256(packed).hexdigest()}  {full.name}/{file.name}.gz\n")
    (here / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    run_script(main)
