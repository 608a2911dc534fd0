"""What faults.py needs to plant faults: processes to meet them, and what must hold afterwards."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401  loaded once here, not in each process
import torch

import denoise_images
import evaluate_images
import gan_lab
import generate_images
import lab.files
from lab.data import DATASETS
from lab.errors import run_script
from lab.models import GENERATORS, build
from lab.models.serialization import save_weights
from lab.report.recorder import Recorder
from lab.runs import Run
from lab.runs.schema import history_from_csv
from lab.training.pace import CheckpointClock
from lab.training.state import TrainingState

REPOSITORY = Path(__file__).resolve().parent.parent
MAINS = {
    "gan_lab.py": gan_lab.main,
    "denoise_images.py": denoise_images.main,
    "evaluate_images.py": evaluate_images.main,
    "generate_images.py": generate_images.main,
}
OURS = {"lab", *(script.removesuffix(".py") for script in MAINS)}  # modules
SLOWEST = 300  # seconds until a process counts as hanging
Complaint = str  # what was wrong with a try; "" for nothing
Tries = Iterator[Complaint]


class Untried(Exception):
    """This machine does not allow the row to be tried."""


@dataclass(frozen=True)
class Place:
    """Where a row works: an empty folder of its own, a set of 200 images, how much to try."""

    folder: Path
    set_folder: Path
    quick: bool

    def count(self, full: int, quick: int) -> int:
        """How many tries."""
        return quick if self.quick else full

    def tiny(self, *more: object) -> list[str]:
        """Options of a training that takes a second."""
        return [
            *("--data-dir", str(self.set_folder), "--hidden-g", "32", "--hidden-d", "32"),
            *("--batch-size", "50", "--latent-dim", "16", "--device", "cpu", "--no-quality"),
            *("--final-images", "5", "--epochs", "6", "--sample-every", "2", *map(str, more)),
        ]


# Processes


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal that killed it) and what it said."""

    code: int
    out: str
    err: str
    peak: int  # bytes of memory
    ended: float  # time.monotonic()

    def complaint(self, *codes: int, says: str = "") -> Complaint:
        """Whether it left with one of `codes`, and after a fault with one line that `says`.

        A reader that went away, 141, is told nothing.
        """
        if self.code not in codes:
            return f"exit code {self.code}, not {codes}: {self.err[-300:]!r}"
        if "Traceback" in self.err or (
            self.code > 0 and self.code != 141 and self.err.count("\n") != 1
        ):
            return f"not one line: {self.err[-300:]!r}"
        return "" if says in self.err else f"{says!r} is not said: {self.err[-300:]!r}"


@dataclass
class Child:
    """A process that runs a script's main, forked from this one."""

    pid: int
    out: Path
    err: Path

    def wait(self, seconds: float = SLOWEST) -> Ended:
        """Wait for its end; kill it if that does not come."""
        until = time.monotonic() + seconds
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                until = float("inf")
            time.sleep(0.01)
        code = os.waitstatus_to_exitcode(status)
        out, err = (path.read_text("utf-8", "replace") for path in (self.out, self.err))
        return Ended(code, out, err, usage.ru_maxrss * 1024, time.monotonic())


def begin(
    script: str, *arguments: object, at: Path, first: Callable[[], object] = lambda: None
) -> Child:
    """Fork a process that runs `script` in the folder `at`, after doing `first`."""
    handle, out = tempfile.mkstemp(dir=at, prefix="said-")
    err = Path(out + "-err")
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(handle)
        return Child(pid, Path(out), err)
    code = 70
    try:
        os.dup2(handle, 1)
        os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(at)
        sys.argv = [script, *map(str, arguments)]
        first()
        run_script(MAINS[script])
        code = 0
    except SystemExit as left:
        code = left.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def save_generator(path: Path, **config: Any) -> None:
    """A generator.pth of MNIST with random weights. config: what is other than by default."""
    spec = DATASETS["mnist"]
    save_weights(path, build(GENERATORS, "mlp", shape=spec.shape, **config), spec)


def train(place: Place, *arguments: object, first: Callable[[], object] = lambda: None) -> Ended:
    """A tiny training from beginning to end."""
    return begin("gan_lab.py", *place.tiny(*arguments), at=place.folder, first=first).wait()


def resume(place: Place, run: Path) -> Ended:
    """A run taken up again."""
    return begin("gan_lab.py", "--resume", run, at=place.folder).wait()


# Faults, planted in the process that is to meet them


def eager_checkpoints() -> None:
    """Have a checkpoint written after each step, so that a tiny run writes many."""
    CheckpointClock.is_due = lambda self, end_of_epoch: True


def at_step(number: int, act: Callable[[TrainingState], object]) -> None:
    """Do `act` before the training's so-many-th step of this process."""
    step, done = gan_lab.train_step, iter(range(1, 10**9))

    def stepping(options: Any, state: TrainingState, *given: Any, **named: Any) -> Any:
        if next(done) == number:
            act(state)
        return step(options, state, *given, **named)

    replace(gan_lab, "train_step", stepping)


def note_after(epochs: Collection[int], notes: Path, what: Callable[[], str]) -> None:
    """Add a line that `what` gives to the file `notes` after each of these epochs."""
    after_epoch = Recorder.after_epoch

    def noting(recorder: Recorder) -> None:
        after_epoch(recorder)
        if recorder.state.epoch in epochs:
            with notes.open("a") as file:
                file.write(f"{what()}\n")

    replace(Recorder, "after_epoch", noting)


def at_write(number: int, byte: int, act: Callable[[], object]) -> None:
    """Do `act` when the so-many-th file of this process has been written up to `byte`."""
    write_whole, done = lab.files.write_whole, iter(range(1, 10**9))

    class Watched:
        def __init__(self, file: io.BufferedWriter) -> None:
            self.file, self.left = file, byte

        def write(self, content: bytes) -> int:
            size = len(memoryview(content).cast("B"))
            if 0 <= self.left < size:
                self.file.write(memoryview(content).cast("B")[: self.left])
                self.file.flush()
                content, size = memoryview(content).cast("B")[self.left :], size - self.left
                self.left = 0
                act()
            self.left -= size
            return self.file.write(content)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    def writing(path: Path, write: Callable[[Any], object]) -> None:
        hit = next(done) == number
        write_whole(path, (lambda file: write(Watched(file))) if hit else write)

    replace(lab.files, "write_whole", writing)


def before(owner: Any, name: str, act: Callable[[], object]) -> None:
    """Do `act` before the function `name` of a module, or of a class, runs."""
    function = getattr(owner, name)

    def acting(*arguments: Any, **keywords: Any) -> Any:
        act()
        return function(*arguments, **keywords)

    replace(owner, name, acting)


def replace(owner: Any, name: str, by: Callable) -> None:
    """Put `by` in the place of a function, also where a module of the lab imported it by name."""
    function = getattr(owner, name)
    setattr(owner, name, by)
    for module in [module for key, module in sys.modules.items() if key.partition(".")[0] in OURS]:
        for key, value in list(vars(module).items()):
            if value is function:
                setattr(module, key, by)


def signal_self(number: int) -> Callable[..., None]:
    """What sends this process a signal, as a key or another process would."""
    return lambda *_: os.kill(os.getpid(), number)


# What a run must look like afterwards


def differences(one: Path, two: Path) -> Complaint:
    """Everything but times, dates and the pictures that tell them is equal, bit for bit."""
    files, histories = [], []
    for run in (Run(one), Run(two)):
        weights = [run.generator_path, run.path / "discriminator.pth"]
        grids = [path for _, path in run.grids()]
        pictures = [*grids, *run.final_images(), run.film_path, run.curves_path]
        files.append({path.relative_to(run.path): path.read_bytes() for path in weights + pictures})
        rows = [dict(row) for row in run.history]
        for row in rows:
            del row["seconds"], row["images_per_second"]
        histories.append(rows)
    if files[0].keys() != files[1].keys():
        return f"other files: {files[0].keys() ^ files[1].keys()}"
    for name, content in files[0].items():
        if content != files[1][name]:
            return f"{name} differs"
    return "" if histories[0] == histories[1] else "history differs"


def damage(run: Path) -> Complaint:
    """What in a run folder cannot be read or stands half-written under its final name."""
    from PIL import Image

    for path in run.rglob("*"):
        try:
            if path.name.endswith(".pth") and not path.name.startswith("."):
                torch.load(path, weights_only=True)
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".csv":
                history_from_csv(path.read_text())
            elif path.suffix in (".png", ".gif"):
                Image.open(path).load()
            elif path.name.endswith(".part"):
                return f"{path.name} is left"
        except Exception as error:
            return f"{path.name}: {error}"
    return ""


# Rows: each yields "" for a try survived, else what was wrong

ROWS: dict[str, Callable[[Place], Tries]] = {}


def row(function: Callable[[Place], Tries]) -> Callable[[Place], Tries]:
    """Enter a function into the table under its own first line."""
    ROWS[(function.__doc__ or "").splitlines()[0].rstrip(".")] = function
    return function
