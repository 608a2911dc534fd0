"""A quick sample of every fault that benchmarks/faults.py injects.

It is run in a process of its own, which forks one for each try: this one has threads already.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY

FAULTS = REPOSITORY / "benchmarks" / "faults.py"


def titles() -> list[str]:
    """The first docstring line of each function that is entered into the script's table."""
    parts = sorted(FAULTS.parent.glob("faults*.py"))
    lines = [line for path in parts for line in path.read_text(encoding="utf-8").splitlines()]
    entered = [index for index, line in enumerate(lines) if line == "@row"]
    return [lines[index + 2].strip().strip('"').rstrip(".") for index in entered]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What came of each row."""
    path = tmp_path_factory.mktemp("faults") / "results.json"
    done = subprocess.run(
        [sys.executable, str(FAULTS), "--quick", "--json", str(path)],
        cwd=path.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return {result["row"]: result for result in json.loads(path.read_text())}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the faults are injected into forks")
@pytest.mark.parametrize("title", titles())
def test_a_sample_of_the_row_survives(results, title):
    result = results[title]
    if result["untried"]:
        pytest.skip(result["untried"])
    assert result["tried"] > 0
    assert result["wrong"] == []


def test_the_table_has_every_row_and_all_survived():
    lines = (FAULTS.parent / "FAULTS.md").read_text(encoding="utf-8").splitlines()
    found = {cells[1].strip(): cells[2:-1] for line in lines if len(cells := line.split("|")) > 3}
    for title in titles():
        tries = [cell.strip() for cell in found[title]]  # or one cell: why it was not tried
        assert len(tries) == 1 or tries[0] == tries[1] != "0", title
