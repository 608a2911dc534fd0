"""Time and memory of whole commands: wall time and peak memory of the scripts, all included.

    python benchmarks/end_to_end.py --data-dir FOLDER --out FOLDER

A default training of the full set, then denoise_images.py on it with 16 images and 3 noise levels,
with the denoiser that ships and with one that it trains first. Writes benchmarks/END_TO_END.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import torch
from pages import SETS, write_section

from lab.data import DATASETS
from lab.device import describe_machine
from lab.errors import Fault, run_script
from lab.options import option, parse
from lab.runs import Run

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with both full sets", folder=True)
    dataset: str | None = option(None, "only this set; left out, both", choices=SETS)
    out: Path = option(Path("outputs/end-to-end"), "folder for the runs")


@dataclass(frozen=True)
class Measured:
    """What one whole process took."""

    seconds: float
    peak_megabytes: float


def measured(script: str, *arguments: object) -> Measured:
    """Run a script of the lab to its end; Fault if it fails."""
    command = [sys.executable, str(HERE.parent / script), *map(str, arguments)]
    print("$", *command[1:], flush=True)
    began = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        raise Fault(f"{script} failed, see above")
    return Measured(seconds, usage.ru_maxrss / 1024)


def rows_of(options: Options, dataset: str) -> list[str]:
    """The table's rows for one set."""
    source = ("--data-dir", options.data_dir) if options.data_dir else ()
    outputs = options.out / dataset
    title = DATASETS[dataset].title
    trained = measured("gan_lab.py", "--dataset", dataset, "--out", outputs, *source)
    run = Run.all_in(outputs)[0]
    share = 1 - sum(row["seconds"] for row in run.history) / trained.seconds
    distance = run.evaluation.figures["fcd_test"]
    rows = [
        f"| {title}: `python gan_lab.py --dataset {dataset}` | {trained.seconds:.0f} "
        f"| {trained.peak_megabytes:.0f} | FCD {distance:.2f}; {share:.1%} outside training steps |"
    ]
    outputs = options.out / f"{dataset}-dcgan"
    arguments = ("--recipe", "dcgan", "--dataset", dataset)
    convolutional = measured("gan_lab.py", *arguments, "--out", outputs, *source)
    distance = Run.all_in(outputs)[0].evaluation.figures["fcd_test"]
    rows.append(
        f"| {title}: `python gan_lab.py {' '.join(arguments)}` | {convolutional.seconds:.0f} "
        f"| {convolutional.peak_megabytes:.0f} | FCD {distance:.2f} |"
    )
    for label, arguments in (
        ("with the denoiser that ships", ()),
        ("training a denoiser first", ("--train-denoiser",)),
    ):
        command = ("--run", run, "--count", 16, "--sigma", 0.1, 0.3, 0.5, *arguments)
        taken = measured("denoise_images.py", *command, *source)
        rows.append(
            f"| {title}: `python denoise_images.py`, {label} | {taken.seconds:.0f} "
            f"| {taken.peak_megabytes:.0f} | 16 images, 3 noise levels |"
        )
    return rows


def main() -> None:
    """Measure both sets, then write the report."""
    options = parse(Options)
    datasets = (options.dataset,) if options.dataset else SETS
    rows = [row for dataset in datasets for row in rows_of(options, dataset)]
    only = f" --dataset {options.dataset}" if options.dataset else ""
    facts = describe_machine(torch.device("cpu"))
    introduction = (
        "# Time and memory of whole commands\n\n"
        "Full sets, seed 0, one run each. Seconds are the wall time of the whole process, from the "
        "start of the command to its end; peak memory is as the system counts it. A processor with "
        "more instructions is limited to AVX2 by `ONEDNN_MAX_CPU_ISA=AVX2 "
        "ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2`. Each row is timed by `time`, or a "
        "whole section by `python benchmarks/end_to_end.py --data-dir FOLDER`."
    )
    text = (
        f"`python benchmarks/end_to_end.py{only} --data-dir FOLDER`, {facts['cores']} cores, torch "
        f"{facts['torch']}.\n\n| command | seconds | peak MB | |\n| --- | --- | --- | --- |\n"
        + "\n".join(rows)
    )
    write_section(HERE / "END_TO_END.md", introduction, facts["processor"], text)
    print(f"done: {HERE / 'END_TO_END.md'}")


if __name__ == "__main__":
    run_script(main)
