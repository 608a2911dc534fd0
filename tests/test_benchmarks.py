"""benchmarks/: each script can be imported: it finds what it uses of the lab and of the others."""

import subprocess
import sys

from conftest import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"


def test_every_benchmark_can_be_imported():
    names = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
    assert "training" in names
    imports = "\n".join(f"import {name}" for name in names)
    found = subprocess.run(
        [sys.executable, "-c", imports], cwd=BENCHMARKS, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
