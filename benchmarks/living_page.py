"""What the page of a run under way takes of the run, in processor time.

    python benchmarks/living_page.py --epochs 3 --data-dir FOLDER

Trains as `gan_lab.py --dataset fashion` does, in this process. Processor time, because it says
the same on a machine that is busy; OMP_NUM_THREADS=1 keeps threads that wait for each other from
being counted as work. Writes its section of benchmarks/REPORT.md.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import torch
from pages import write_section
from report import INTRODUCTION, REPORT

import gan_lab
from lab.device import describe_machine
from lab.errors import run_script
from lab.options import option, parse
from lab.report import Recorder

PAGE = 0.01  # seconds: what takes less was no page, only the question whether one is due


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    dataset: str = option("fashion", "set that is trained on")
    data_dir: Path | None = option(None, "folder with the set's files")
    epochs: int = option(3, "epochs of the run", 1, 1_000)


def pages_of(words: list[str]) -> list[float]:
    """Train by a command's words: the seconds of each page that was made before the run's end."""
    costs, update_page = [], Recorder.update_page

    def timed(recorder: Recorder) -> None:
        began = time.process_time()
        update_page(recorder)
        costs.append(time.process_time() - began)

    Recorder.update_page, sys.argv = timed, words
    gan_lab.main()
    return [cost for cost in costs if cost > PAGE]


def main() -> None:
    """Train, add up, write."""
    options = parse(Options)
    words = ["gan_lab.py", "--dataset", options.dataset, "--epochs", str(options.epochs)]
    if options.data_dir:
        words += ["--data-dir", str(options.data_dir)]
    with tempfile.TemporaryDirectory() as folder:
        costs = pages_of([*words, "--out", folder])
    whole = time.process_time()
    later = f"{sum(costs[1:]) / len(costs[1:]):.2f} s" if costs[1:] else "-"
    facts = describe_machine(torch.device("cpu"))
    rows = {
        "the run, from its imports to its end": f"{whole:.0f} s",
        "pages made while it ran": str(len(costs)),
        "the first, with the imports it needs": f"{costs[0]:.2f} s" if costs else "-",
        "a later one": later,
        "their share of the run; at most 3 % is allowed": f"{sum(costs) / whole:.2%}",
        "machine": f"{facts['processor']}, torch {facts['torch']}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    text = (
        f"Processor time, measured by `OMP_NUM_THREADS=1 python benchmarks/living_page.py --epochs "
        f"{options.epochs} --data-dir FOLDER`: the default recipe on the full set.\n\n"
        f"| what | measured |\n| --- | --- |\n{table}"
    )
    write_section(REPORT, INTRODUCTION, "While a run is training", text)
    print(table)


if __name__ == "__main__":
    run_script(main)
