"""Shared by several test files: ways to run the scripts, and a tiny finished run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import settings

import gan_lab
from lab import files
from lab.evaluation import evaluator, metrics, reference, subject

# One thread per process, since pytest's processes share the machine.
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("lab", deadline=None)  # on a busy machine any example may take long
settings.load_profile("lab")

# In the background of a shell script Ctrl-C is ignored, and would be by the scripts that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parent.parent
SAMPLE = REPOSITORY / "lab" / "data" / "sample"
# Small networks and batches, so that a run takes seconds.
TINY = (
    *("--data-dir", str(SAMPLE), "--hidden-g", "32", "--hidden-d", "32"),
    *("--batch-size", "500", "--latent-dim", "16", "--device", "cpu", "--no-quality"),
)


def start(script: str, *arguments: object, cwd: Path, **environment: str) -> subprocess.Popen:
    """Start a script in a subprocess."""
    return subprocess.Popen(
        [sys.executable, str(REPOSITORY / script), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def run(script: str, *arguments: object, cwd: Path, **environment: str):
    """Run a script in a subprocess to its end."""
    process = start(script, *arguments, cwd=cwd, **environment)
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def call(script: ModuleType, *arguments: object) -> None:
    """Run a script in this process, which saves another import of torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{script.__name__}.py", *map(str, arguments)])
        script.main()


def score_few(patch: pytest.MonkeyPatch) -> None:
    """Compute scores from 400 images only."""
    for module in (evaluator, reference, subject):
        patch.setattr(module, "FULL_COUNT", 400)
    patch.setattr(evaluator, "QUICK_COUNT", 400)
    patch.setattr(reference, "COPIES_COUNT", 20)
    patch.setattr(evaluator, "COPIES_COUNT", 20)
    patch.setattr(metrics, "KERNEL_SUBSETS", 2)


@pytest.fixture(autouse=True)
def denormals() -> None:
    """A script that was called in this process flushes them, which hypothesis does not expect."""
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is kept between runs is kept apart from the user's, in the scripts' processes, too."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of one tiny finished run; tests that change it work on a copy."""
    own = tmp_path_factory.getbasetemp()
    outputs = (own if worker_id == "master" else own.parent) / "tiny" / "outputs"
    outputs.parent.mkdir(exist_ok=True)
    with files.locked(outputs.parent):  # of pytest's processes the first to come makes it for all
        if not outputs.exists():
            with pytest.MonkeyPatch.context() as patch:
                score_few(patch)
                more = ("--epochs", 3, "--sample-every", 2, "--seed", 5, *TINY, "--quality")
                call(gan_lab, "--out", outputs, *more)
    return outputs / "fashion-001"
