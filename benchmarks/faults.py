"""Injects faults for real and counts what survives them; the whole writes FAULTS.md beside it.

    OMP_NUM_THREADS=1 python benchmarks/faults.py
    OMP_NUM_THREADS=1 python benchmarks/faults.py --row "disk full"
    OMP_NUM_THREADS=1 python benchmarks/faults.py --quick --json sample.json

Each try runs a script of the lab in a process of its own: forked from this one, which has the
libraries loaded, or started afresh where it is the start that is tried. Signals, full disks and
read-only mounts are real. --quick tries a few of each row; the test suite looks at those.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import platform
import random
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401  loaded once here, not in each process
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import denoise_images  # noqa: E402
import evaluate_images  # noqa: E402
import gan_lab  # noqa: E402
from lab import checkpoint, data, models, options, runs, stills, storage  # noqa: E402
from lab.errors import Fault, run_script  # noqa: E402

MAINS = {
    "gan_lab.py": gan_lab.main,
    "denoise_images.py": denoise_images.main,
    "evaluate_images.py": evaluate_images.main,
}
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
        """Whether it left with one of `codes`, and after a fault with one line that `says`."""
        if self.code not in codes:
            return f"exit code {self.code}, not {codes}: {self.err[-300:]!r}"
        if "Traceback" in self.err or (self.code > 0 and self.err.count("\n") != 1):
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


def train(place: Place, *arguments: object, first: Callable[[], object] = lambda: None) -> Ended:
    """A tiny training from beginning to end."""
    return begin("gan_lab.py", *place.tiny(*arguments), at=place.folder, first=first).wait()


def resume(place: Place, run: Path, first: Callable[[], object] = lambda: None) -> Ended:
    """A run taken up again."""
    return begin("gan_lab.py", "--resume", run, at=place.folder, first=first).wait()


# Faults, planted in the process that is to meet them


def eager_checkpoints() -> None:
    """Have a checkpoint written after each step, so that a tiny run writes many."""
    checkpoint.Clock.is_due = lambda self, end_of_epoch: True


def at_step(number: int, act: Callable[[checkpoint.Training], object]) -> None:
    """Do `act` before the training's so-many-th step of this process."""
    step, done = gan_lab.train_step, iter(range(1, 10**9))

    def stepping(options: Any, training: checkpoint.Training, real: torch.Tensor) -> torch.Tensor:
        if next(done) == number:
            act(training)
        return step(options, training, real)

    gan_lab.train_step = stepping


def at_write(number: int, byte: int, act: Callable[[], object]) -> None:
    """Do `act` when the so-many-th file of this process has been written up to `byte`."""
    write_whole, done = storage.write_whole, iter(range(1, 10**9))

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

    storage.write_whole = writing


def before(module: Any, name: str, act: Callable[[], object]) -> None:
    """Do `act` before the function `name` of `module` runs."""
    function = getattr(module, name)

    def acting(*arguments: Any, **keywords: Any) -> Any:
        act()
        return function(*arguments, **keywords)

    setattr(module, name, acting)


def signal_self(number: int) -> Callable[..., None]:
    """What sends this process a signal, as a key or another process would."""
    return lambda *_: os.kill(os.getpid(), number)


# What a run must look like afterwards


def differences(one: Path, two: Path) -> Complaint:
    """Everything but times, dates and the pictures that tell them is equal, bit for bit."""
    names = ["generator.pth", "discriminator.pth", "training.gif", "loss_curves.png"]
    for folder in ("generated_samples", "final_generated_images"):
        names += sorted(f"{folder}/{path.name}" for path in (one / folder).iterdir())
        if len(list((one / folder).iterdir())) != len(list((two / folder).iterdir())):
            return f"other files in {folder}"
    for name in names:
        if (one / name).read_bytes() != (two / name).read_bytes():
            return f"{name} differs"
    rows = []
    for run in (one, two):
        with (run / "history.csv").open() as file:
            rows.append(list(csv.DictReader(file)))
        for row in rows[-1]:
            del row["seconds"], row["images_per_second"]
    return "" if rows[0] == rows[1] else "history differs"


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
                runs.read_history(path)
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


def random_death(chance: random.Random) -> Callable[[], None]:
    """Plant one kill -9: before a step, within the writing of a file, or after some time."""
    kind = chance.choice(("step", "write", "write", "time"))
    kill, number = signal_self(signal.SIGKILL), chance.randint(2, 9)
    byte = int(10 ** chance.uniform(0, 5.5))

    def plant() -> None:
        eager_checkpoints()
        if kind == "step":
            at_step(number, kill)
        elif kind == "write":
            at_write(number, byte if number < 8 else 100, kill)
        else:
            signal.signal(signal.SIGALRM, kill)
            signal.setitimer(signal.ITIMER_REAL, number / 20)

    return plant


@row
def killed(place: Place) -> Tries:
    """Kill -9 at a random moment (steps, half-written files), then --resume: bit for bit."""
    chance = random.Random(6)
    for recipe in ("modern", "classic"):
        more = ["--recipe", recipe] + (["--dropout", "0.2"] if recipe == "classic" else [])
        done = train(place, "--out", place.folder / f"whole-{recipe}", *more)
        whole = place.folder / f"whole-{recipe}" / "fashion-001"
        yield done.complaint(0)
        left = place.count(18, 1)
        while left > 0:
            out = Path(tempfile.mkdtemp(dir=place.folder))
            deaths, code = 0, -9
            while code == -9:
                run = next(out.glob("fashion-*"), None)
                arguments = ["--resume", run] if run else place.tiny("--out", out, *more)
                if run and not (run / "config.json").exists():
                    run.rmdir()  # killed before it wrote a word: nothing to go on with
                    arguments = place.tiny("--out", out, *more)
                plant = random_death(chance) if deaths < 6 and deaths < left else lambda: None
                ended = begin("gan_lab.py", *arguments, at=place.folder, first=plant).wait()
                code = ended.code
                deaths += code == -9
            complaint = ended.complaint(0) or differences(whole, out / "fashion-001")
            yield from [complaint] * max(1, deaths)
            left -= max(1, deaths)


@row
def interrupted(place: Place) -> Tries:
    """Ctrl-C and SIGTERM anywhere: one line, exit 130 / 143, under 5 s; --resume bit for bit."""
    whole = place.folder / "whole" / "fashion-001"
    yield train(place, "--out", whole.parent).complaint(0)
    moments = [
        lambda act: at_step(1, act),
        lambda act: before(gan_lab.images, "save_curves", act),
        lambda act: before(data, "read_folder", act),
        lambda act: before(gan_lab, "finish_epoch", act),
        lambda act: at_write(3, 100, act),
        lambda act: at_step(11, act),
        lambda act: at_step(24, act),
        lambda act: before(stills, "write", act),
        lambda act: at_write(14, 500, act),
    ]
    for index, moment in enumerate(moments[: place.count(9, 2)]):
        for number in (signal.SIGINT, signal.SIGTERM)[:: 1 if index % 2 else -1][
            : place.count(2, 1)
        ]:
            out = Path(tempfile.mkdtemp(dir=place.folder))
            stamp = out / "sent"

            def act(*_: Any, stamp: Path = stamp, number: int = number) -> None:
                if not stamp.exists():
                    stamp.write_text(str(time.monotonic()))
                    os.kill(os.getpid(), number)

            def plant(moment: Callable = moment, act: Callable = act) -> None:
                moment(act)

            ended = train(place, "--out", out, first=plant)
            complaint = ended.complaint(128 + number)
            if not complaint and ended.ended - float(stamp.read_text()) > 5:
                complaint = "took more than 5 s"
            run = next(out.glob("fashion-*"), None)
            if not complaint and run:
                words = shlex.split(ended.err.partition("go on with: python gan_lab.py ")[2])
                if words != ["--resume", str(run)]:
                    complaint = f"does not say how to go on: {ended.err!r}"
                complaint = complaint or resume(place, run).complaint(0) or differences(whole, run)
            yield complaint


@row
def twice(place: Place) -> Tries:
    """A second Ctrl-C stops at once."""

    def plant() -> None:
        def act(_: Any) -> None:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)

        at_step(3, act)

    yield train(place, "--out", place.folder / "out", first=plant).complaint(-signal.SIGINT)


@row
def checkpoint_cost(place: Place) -> Tries:
    """Checkpoint of the default networks: under 2 s, so at most 2 % of the time and 2 min lost."""
    training = gan_lab.begin(gan_lab.Options(), torch.device("cpu"))
    gan_lab.train_step(gan_lab.Options(), training, torch.zeros(64, 1, 28, 28))  # fills Adam
    for _ in range(place.count(5, 1)):
        began = time.monotonic()
        checkpoint.save(place.folder / "checkpoint.pth", training, training.order.get_state())
        cost = time.monotonic() - began
        clock = checkpoint.Clock()
        clock.saved(cost)
        clock.saved_at -= max(10, 60 * cost) - 0.1
        early = clock.is_due(end_of_epoch=True)
        share = cost / (cost + max(10, 60 * cost))
        print(f"    a checkpoint takes {cost:.3f} s: {share:.2%} of the time")
        yield "" if share < 0.02 and cost < 2 and not early else f"{cost:.2f} s, {share:.1%}"


def mounted(place: Place, size: str) -> Path:
    """A small disk of its own; Untried where mounting is not allowed."""
    disk = Path(tempfile.mkdtemp(dir=place.folder))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True
    )
    if done.returncode:
        raise Untried("mounting a tmpfs is not permitted here")
    return disk


@row
def disk_full(place: Place) -> Tries:
    """Disk full: one line, nothing half-written, and --resume once there is room."""
    whole = place.folder / "whole" / "fashion-001"
    yield train(place, "--out", whole.parent).complaint(0)
    for size in ["400k", "8k", "64k", "160k", "700k", "900k", "1000k", "1100k"][
        : place.count(8, 1)
    ]:
        disk = mounted(place, size)
        try:
            ended = train(place, "--out", disk, first=eager_checkpoints)
            complaint = ended.complaint(1, says="No space left")
            run = disk / "fashion-001"
            complaint = complaint or damage(disk)
            subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
            if not complaint and (run / "config.json").exists():
                complaint = resume(place, run).complaint(0) or differences(whole, run)
            yield complaint and f"{size}: {complaint}"
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=False)


@row
def folder_gone(place: Place) -> Tries:
    """Run folder made read-only, or deleted, in mid-run: one line."""
    for number in [5, 1, 9, 24][: place.count(4, 1)]:
        disk = mounted(place, "50m")
        command = ["mount", "-o", "remount,ro", str(disk)]

        def plant(number: int = number, command: list[str] = command) -> None:
            eager_checkpoints()
            at_step(number, lambda _: subprocess.run(command, check=True))

        try:
            ended = train(place, "--out", disk, first=plant)
            yield ended.complaint(1, says="Read-only file system") or damage(disk)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=False)
        out = Path(tempfile.mkdtemp(dir=place.folder))

        def delete(number: int = number, out: Path = out) -> None:
            at_step(number, lambda _: shutil.rmtree(out))

        yield train(place, "--out", out, first=delete).complaint(1, says="No such file")


@row
def divergence(place: Place) -> Tries:
    """Divergence (lr 10; NaN or infinity planted in a weight): stopped, good weights kept."""

    def poison(name: str, value: float, number: int) -> Callable[[], None]:
        def act(training: checkpoint.Training) -> None:
            with torch.no_grad():
                next(getattr(training, name).parameters()).view(-1)[7] = value

        def plant() -> None:
            eager_checkpoints()
            at_step(number, act)

        return plant

    cases: list[tuple[list, Callable]] = []
    for recipe in ("modern", "classic"):
        cases.append((["--recipe", recipe, "--lr-g", 10, "--lr-d", 10], lambda: None))
        for name in ("generator", "discriminator"):
            for value in (float("nan"), float("inf")):
                cases.append((["--recipe", recipe], poison(name, value, random.randint(5, 24))))
    for index, (arguments, plant) in enumerate(cases[:: place.count(1, 4)]):
        out = place.folder / str(index)
        ended = train(place, "--out", out, *arguments, first=plant)
        complaint = ended.complaint(1, says="lower --lr-g and --lr-d")
        if not complaint:
            storage.load_weights(out / "fashion-001" / "generator.pth", models.Generator)
            path = out / "fashion-001" / "checkpoint.pth"
            content = torch.load(path, weights_only=True) if path.exists() else {"networks": {}}
            weights = [w for net in content["networks"].values() for w in net.values()]
            if not all(torch.isfinite(weight).all() for weight in weights):
                complaint = "the checkpoint holds NaN"
        yield complaint


# Files from strangers


def archive(path: Path, pickled: bytes, **more: bytes) -> Path:
    """A file as torch.save makes them, around any pickle."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {"data.pkl": pickled, "byteorder": b"little", **more}.items():
            file.writestr(f"archive/{name}", content)
    return path


class Canary:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def hostile_weights(place: Place, good: Path) -> Iterator[tuple[str, Path]]:
    """Files that pretend to be a generator.pth, each with what is wrong with it."""
    content = torch.load(good, weights_only=True)
    config, state = content["config"], content["state_dict"]
    name = next(iter(state))
    path = place.folder / "hostile.pth"
    changes = {
        "canary": {"config": Canary(place.folder / "canary")},
        "million wide": {"config": {**config, "hidden": [1_000_000]}},
        "deep": {"config": {**config, "hidden": [64] * 100}},
        "huge latent": {"config": {**config, "latent_dim": 10**12}},
        "NaN latent": {"config": {**config, "latent_dim": float("nan")}},
        "text": {"config": {**config, "hidden": "abc"}},
        "config climbs": {"facts": {"dataset": "../../etc/passwd"}},
        "wrong shape": {"state_dict": {**state, name: torch.zeros(3)}},
        "wrong type": {"state_dict": {**state, name: state[name].double()}},
        "NaN weight": {"state_dict": {**state, name: state[name] * float("nan")}},
        "stride 0": {"state_dict": {**state, name: torch.zeros(1).expand(state[name].shape)}},
        "no state": {"state_dict": None},
        "version": {"version": 99},
    }
    for wrong, change in changes.items():
        torch.save({**content, **change}, path)
        yield wrong, path
    torch.save({**content, **changes["canary"]}, path, _use_new_zipfile_serialization=False)
    yield "canary, old format", path
    huge = b"\x8a\x06" + (20 * 10**9).to_bytes(6, "little")
    yield "20 GB bytearray", archive(path, b"\x80\x02cbuiltins\nbytearray\n" + huge + b"\x85R.")
    nested = b"\x80\x02)q\x01" + b"h\x01h\x01\x86q\x01" * 60
    yield "tuples nested 60 deep as a key", archive(path, nested + b"}h\x01K\x01s.")
    yield (
        "the same as its format",
        archive(path, nested + b"}X\x06\x00\x00\x00formath\x01s."),
    )
    yield "entry that climbs", archive(path, b"\x80\x02}.", **{"../../climbed": b"x"})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\0" * 100_000_000)
    yield "zip bomb", path
    path.unlink()
    os.mkfifo(path)
    yield "fifo", path
    path.unlink()
    path.symlink_to("/dev/zero")
    yield "link to /dev/zero", path
    path.unlink()
    path.symlink_to(path)
    yield "link to itself", path
    path.unlink()
    whole = good.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // place.count(200, 10))):
        path.write_bytes(whole[:length])
        yield f"cut at {length}", path


@row
def hostile_weights_row(place: Place) -> Tries:
    """Hostile weights: refused in one line, no code run, under 100 MB more memory."""
    good = place.folder / "good.pth"
    storage.save_weights(good, models.Generator(8, (16,)), dataset="mnist")
    idle = begin("gan_lab.py", "--help", at=place.folder).wait().peak
    for index, (wrong, path) in enumerate(hostile_weights(place, good)):
        if wrong.startswith("cut"):  # many: in this process
            try:
                storage.load_weights(path, models.Generator)
                yield f"{wrong}: was read"
            except Fault:
                yield ""
            continue
        if place.quick and index % 4:
            continue
        arguments = ("--generator", path, "--out", place.folder / "out")
        ended = begin("denoise_images.py", *arguments, at=place.folder).wait(60)
        complaint = ended.complaint(1, 2, says="hostile.pth")
        if ended.peak > idle + 100_000_000:
            complaint = f"{(ended.peak - idle) / 1e6:.0f} MB more memory"
        if (place.folder / "canary").exists() or list(place.folder.rglob("climbed")):
            complaint = "code was run"
        yield complaint and f"{wrong}: {complaint}"


def hostile_checkpoints(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes to a checkpoint that must be refused."""
    rows = content["history"]
    adam = content["optimizers"]["generator"]
    order = content["streams"]["order"]
    yield "no history", {"history": None}
    yield "history of text", {"history": ["text"]}
    yield "a column missing", {"history": [{"epoch": 1}] * len(rows)}
    yield "text in a row", {"history": [{**each, "d_loss": "text"} for each in rows]}
    yield "NaN in a row", {"history": [{**each, "d_loss": float("nan")} for each in rows]}
    yield "a row lost", {"history": rows[:-1]}
    yield "epochs doubled", {"history": [rows[0]] * len(rows)}
    yield "billionth epoch", {"epoch": 10**9}
    yield "negative epoch", {"epoch": -1, "history": []}
    yield "negative step", {"step": -3}
    yield "NaN seconds", {"seconds": float("nan")}
    yield "no streams", {"streams": {}}
    yield "short stream", {"streams": {**content["streams"], "order": order[:100]}}
    yield "noise for a stream", {"streams": {**content["streams"], "order": ~order}}
    yield "NaN totals", {"totals": torch.full((4,), float("nan"))}
    yield "long totals", {"totals": torch.zeros(9)}
    for wrong, moments in (
        ("of other names", {"exp_avg": adam[0]["exp_avg"]}),
        ("of doubles", {**adam[0], "exp_avg": adam[0]["exp_avg"].double()}),
        ("of text", {**adam[0], "exp_avg": "text"}),
        ("of stride 0", {**adam[0], "exp_avg": torch.zeros(1).expand(adam[0]["exp_avg"].shape)}),
    ):
        changed = {**content["optimizers"], "generator": {**adam, 0: moments}}
        yield f"moments {wrong}", {"optimizers": changed}


def hostile_configs(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Contents of config.json that must be refused."""
    for name, value in (
        *(("hidden_g", [1_000_000]), ("hidden_g", "abc"), ("latent_dim", 10**9), ("lr_g", None)),
        *(("batch_size", True), ("batch_norm", "yes"), ("epochs", None), ("epochs", [1])),
        *(("data_dir", "/none/../none"), ("dataset", "../../etc"), ("lr_g", {}), ("seed", "1e9")),
    ):
        changed = {**config, "options": {**config["options"], name: value}}
        yield f"{name} {value}", json.dumps(changed)
    yield "options of text", json.dumps({**config, "options": "text"})
    yield "no object", "[1]"
    yield "deep", "[" * 100_000
    yield "binary", "\0\1"


@row
def hostile_run(place: Place) -> Tries:
    """Hostile checkpoint, config.json and links in a run folder: --resume refuses in one line."""
    yield train(place, "--out", place.folder / "good").complaint(0)
    good = place.folder / "good" / "fashion-001"
    content = torch.load(good / "checkpoint.pth", weights_only=True)
    config = json.loads((good / "config.json").read_text())
    cases: list[tuple[str, str, Any]] = [
        *((wrong, "checkpoint.pth", change) for wrong, change in hostile_checkpoints(content)),
        *((wrong, "config.json", text) for wrong, text in hostile_configs(config)),
        ("link that climbs", "generated_samples", place.folder),
        ("truncated", "checkpoint.pth", None),
    ]
    for wrong, name, change in cases[:: place.count(1, 12)]:
        run = Path(tempfile.mkdtemp(dir=place.folder)) / "fashion-001"
        shutil.copytree(good, run)
        target = run / name
        if name == "config.json":
            target.write_text(change)
        elif name == "generated_samples":
            shutil.rmtree(target)
            target.symlink_to(change)
        elif change is None:
            target.write_bytes(target.read_bytes()[:-1000])
        else:
            torch.save({**content, **change}, target)
        arguments = ("--resume", run, "--epochs", 7)
        ended = begin("gan_lab.py", *arguments, at=place.folder).wait(60)
        yield (complaint := ended.complaint(1, 2)) and f"{wrong}: {complaint}"


@row
def hostile_history(place: Place) -> Tries:
    """Hostile history.csv: read or refused in one line."""
    path = place.folder / "history.csv"
    head = b"epoch,d_loss\n"
    for content in (
        *(b"", b"\0\0\0", b"\xff\xfe", head + b"1,text\n", head + b"1\n", head + b"1,2,3\n"),
        *(head + b"1," + b"9" * 10_000 + b"\n", b'"' + b"x" * 200_000, head + b"nan,inf\n"),
    ):
        path.write_bytes(content)
        try:
            runs.read_history(path)
            yield ""
        except Fault as fault:
            yield "" if "\n" not in str(fault) else "not one line"
        except Exception as error:
            yield f"{content[:30]!r}: {type(error).__name__}: {error}"


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A file with bytes flipped, cut off, doubled or put in."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(changed) + 1)
        kind = chance.random()
        if kind < 0.6 and place < len(changed):
            changed[place] ^= chance.randint(1, 255)
        elif kind < 0.75:
            changed = changed[:place] or bytearray(b"\0")
        elif kind < 0.9:
            changed[place:place] = chance.randbytes(chance.randint(1, 8))
        else:
            changed[place:place] = changed[: chance.randint(1, 200)]
    return bytes(changed)


@row
def fuzzed(place: Place) -> Tries:
    """Mutated IDX files (raw and gzip) and weights: read or refused in one line, none slow."""
    chance = random.Random(2_000)
    images = torch.arange(3 * 784).remainder(251).byte()
    raw = struct.pack(">4B3I", 0, 0, 8, 3, 3, 28, 28) + images.numpy().tobytes()
    weights = place.folder / "good.pth"
    storage.save_weights(weights, models.Generator(2, (3,)), dataset="mnist")
    readers = (
        (raw, lambda path: data.read_idx(path, 3)),
        (gzip.compress(raw), lambda path: data.read_idx(path, 3)),
        (weights.read_bytes(), lambda path: storage.load_weights(path, models.Generator)),
    )
    path = place.folder / "mutated"
    for content, read in readers:
        for _ in range(place.count(1_000, 60)):
            path.write_bytes(mutated(content, chance))
            began = time.monotonic()
            try:
                read(path)
                complaint = ""
            except Fault as fault:
                complaint = "" if "\n" not in str(fault) else f"not one line: {fault}"
            except Exception as error:
                complaint = f"{type(error).__name__}: {error}"
            slow = time.monotonic() - began > 5
            yield complaint or ("more than 5 s" if slow else "")


# Several at once, long and odd


@row
def two_at_once(place: Place) -> Tries:
    """Two trainings, and two denoise_images.py on one run, at the same time."""
    for _ in range(place.count(3, 1)):
        out = Path(tempfile.mkdtemp(dir=place.folder))
        both = [begin("gan_lab.py", *place.tiny("--out", out), at=place.folder) for _ in "ab"]
        ended = [child.wait() for child in both]
        names = [path.name for path in runs.all_runs(out)]
        complaint = ended[0].complaint(0) or ended[1].complaint(0)
        yield complaint or ("" if len(names) == 2 else f"run folders {names}")
        run = out / "fashion-001"
        sigmas = ("0.1", "0.3")
        small = ("--run", run, "--count", 2, "--steps", 3, "--restarts", 1, "--device", "cpu")
        both = [
            begin("denoise_images.py", *small, "--sigma", sigma, at=place.folder)
            for sigma in sigmas
        ]
        ended = [child.wait() for child in both]
        complaint = ended[0].complaint(0) or ended[1].complaint(0) or damage(run)
        kept = runs.storage.read_json(run / "denoising_results" / "scores.json")["sheets"]
        missing = {f"sigma_{sigma}.png" for sigma in sigmas} - set(kept)
        yield complaint or (f"{missing} missing" if missing else "")


@row
def long_run(place: Place) -> Tries:
    """A thousand epochs: no growth of memory (10 MB) or open files."""
    epochs = place.count(1_000, 60)
    notes = place.folder / "notes"

    def plant() -> None:
        finish = gan_lab.finish_epoch

        def noting(options: Any, training: checkpoint.Training, *more: Any) -> None:
            finish(options, training, *more)
            if training.epoch in (epochs // 5, epochs - 1):
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                files = len(list(Path("/proc/self/fd").iterdir()))
                with notes.open("a") as file:
                    file.write(f"{pages * os.sysconf('SC_PAGE_SIZE')} {files}\n")

        gan_lab.finish_epoch = noting

    ended = train(place, "--out", place.folder, "--epochs", epochs, first=plant)
    early, late = ([int(word) for word in line.split()] for line in notes.open())
    grown = f"memory {early[0]} -> {late[0]}, files {early[1]} -> {late[1]}"
    fine = late[0] - early[0] < 10_000_000 and late[1] == early[1]
    print(f"    {grown}")
    yield ended.complaint(0) or ("" if fine else grown)


def backwards() -> None:
    """A clock that goes back an hour each time it is asked."""
    now = iter(range(4 * 10**9, 0, -3600))
    time.time = lambda: float(next(now))


def leave_home() -> None:
    """No HOME, and no other word of where a home could be."""
    for name in [name for name in os.environ if name == "HOME" or name.startswith("XDG_")]:
        del os.environ[name]


@row
def odd_places(place: Place) -> Tries:
    """Odd places: blanks, non-ASCII, invalid UTF-8, long names; no HOME; clock backwards; cwd /."""
    long = "/".join(["long" * 50] * 12)
    names = ("not-utf8-\udcff", "ünï çödé 数", "a name with blanks", "$(touch x)'\"&", long)
    plants = (leave_home, backwards, lambda: os.chdir("/"), os.setsid)
    for name in names[: place.count(5, 2)]:
        out = place.folder / name
        ended = train(place, "--out", out, first=lambda: at_step(6, signal_self(signal.SIGINT)))
        run = out / "fashion-001"
        complaint = ended.complaint(130)
        yield complaint or resume(place, run).complaint(0)
    for plant in plants[: place.count(4, 1)]:
        out = Path(tempfile.mkdtemp(dir=place.folder))
        yield train(place, "--out", out, first=plant).complaint(0)
        os.utime(out / "fashion-001" / "config.json", (4e9, 4e9))  # written in the year 2096
    yield train(place, "--out", out).complaint(0)
    yield "" if runs.all_runs(out)[0].name == "fashion-002" else "the newest is not the newest"


@row
def odd_starts(place: Place) -> Tries:
    """Odd starts: PYTHONWARNINGS=error, LC_ALL=C, closed pipe, closed streams, other folder."""

    def fresh(shell: str, code: int, **environment: str) -> Complaint:
        out = Path(tempfile.mkdtemp(dir=place.folder))
        script = shlex.join([sys.executable, str(REPOSITORY / "gan_lab.py")])
        words = shlex.join(place.tiny("--out", str(out)))
        done = subprocess.run(
            ["bash", "-c", shell.format(script=script, words=words)],
            cwd=out,
            env={**os.environ, **environment},
            capture_output=True,
            timeout=SLOWEST,
        )
        said = done.stderr.decode("utf-8", "replace")
        if done.returncode != code or "Traceback" in said or said.count("\n") > (code > 0):
            return f"{shell} {environment}: exit {done.returncode}, {said[-400:]!r}"
        return ""

    yield fresh("{script} {words}", 0, PYTHONWARNINGS="error")
    if place.quick:
        return
    yield fresh("{script} {words}", 0, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    yield fresh("{script} {words} | true; exit ${{PIPESTATUS[0]}}", 141)
    yield fresh("{script} {words} 2>&-", 0)
    yield fresh("{script} {words} >&-", 0)
    yield fresh("{script} {words} >/dev/full", 1)


@row
def read_only_checkout(place: Place) -> Tries:
    """Read-only checkout with --out elsewhere."""
    copy = mounted(place, "50m")
    try:
        for name in ("gan_lab.py", "denoise_images.py", "evaluate_images.py"):
            shutil.copy(REPOSITORY / name, copy)
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "lab", copy / "lab", ignore=left_out)
        subprocess.run(["mount", "-o", "remount,ro", str(copy)], check=True)
        command = [sys.executable, str(copy / "gan_lab.py"), *place.tiny("--out", place.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SLOWEST)
        yield "" if done.returncode == 0 and not done.stderr else done.stderr[-300:]
        if place.quick:
            return
        done = subprocess.run(
            [sys.executable, str(copy / "gan_lab.py"), *place.tiny()],
            capture_output=True,
            text=True,
            timeout=SLOWEST,
        )
        fine = done.returncode in (1, 2) and done.stderr.count("\n") == 1
        yield "" if fine else f"without --out: {done.stderr[-300:]!r}"
    finally:
        subprocess.run(["umount", "-l", str(copy)], check=False)


BATTERY = ["", " ", "-1", "0", "9" * 40, "nan", "inf", "-inf", "text", "ünïcode", "/dev/null"]


@row
def battery(place: Place) -> Tries:
    """Every option of every script fed nonsense: exit 2, one line naming it, nothing written."""
    good = str(place.folder / "good.pth")
    storage.save_weights(Path(good), models.Generator(8, (16,)), dataset="mnist")
    kinds = (gan_lab.Options, denoise_images.Options, evaluate_images.Options)
    for (script, main), kind in zip(MAINS.items(), kinds, strict=True):
        fields = [field for field in kind.__dataclass_fields__.values() if field.type != "bool"]
        for field in fields:
            flag = options.flag_of(field.name)
            for value in BATTERY[:: place.count(1, 5)]:
                try:
                    options.given_options(kind, [f"{flag}={value}"])
                    if field.type not in ("Path", "Path | None", "str | None"):
                        continue  # it is in range: no nonsense
                    if field.name in ("out", "report", "resume", "list") and value != "/dev/null":
                        continue  # any name will do
                except Exception:  # what is refused there is tried for real below
                    pass
                also = [] if flag != "--out" or script == "gan_lab.py" else ["--generator", good]
                yield refusal(place, script, main, [*also, f"{flag}={value}"])


def refusal(place: Place, script: str, main: Callable, arguments: list[str]) -> Complaint:
    """How `script` refuses an option's value; in this process, since nothing is started."""
    stage = Path(tempfile.mkdtemp(dir=place.folder))
    said, stderr, argv = io.StringIO(), sys.stderr, sys.argv
    code = 0
    os.chdir(stage)
    try:
        sys.stderr = said
        sys.argv = [script, *arguments]
        run_script(main)
    except SystemExit as left:
        code = left.code
    except BaseException as error:
        return f"{script} {arguments}: {type(error).__name__} {error}"
    finally:
        sys.stderr, sys.argv = stderr, argv
        os.chdir(REPOSITORY)
    line = said.getvalue()
    flag = arguments[-1].partition("=")[0]
    fine = code == 2 and line.count("\n") == 1 and flag in line and not list(stage.iterdir())
    return "" if fine else f"{script} {arguments}: exit {code}, {line[-200:]!r}"


# The table


def write_set(folder: Path, count: int = 200) -> Path:
    """A set of random images, in IDX files."""
    folder.mkdir()
    noise = torch.Generator().manual_seed(1)
    for part in ("train", "t10k"):
        shown = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=noise)
        labels = torch.randint(0, 10, (count,), dtype=torch.uint8, generator=noise)
        for what, values in (("images", shown), ("labels", labels)):
            header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
            path = folder / f"{part}-{what}-idx{values.ndim}-ubyte"
            path.write_bytes(header + values.numpy().tobytes())
    return folder


def tried(title: str, folder: Path, set_folder: Path, quick: bool) -> dict[str, Any]:
    """Run one row; what failed is printed."""
    began = sum(os.times()[:4])
    complaints, untried = [], ""
    try:
        complaints = list(ROWS[title](Place(folder, set_folder, quick)))
    except Untried as reason:
        untried = str(reason)
    survived = sum(not complaint for complaint in complaints)
    seconds = sum(os.times()[:4]) - began  # of processors, own and children's
    print(f"{survived:5}/{len(complaints):<5} {title} {untried} ({seconds:.1f} s)", flush=True)
    wrong = [complaint for complaint in complaints if complaint]
    for complaint in wrong[:12]:
        print(f"      {complaint}", flush=True)
    return {
        "row": title,
        "tried": len(complaints),
        "survived": survived,
        "untried": untried,
        "wrong": wrong,
        "seconds": seconds,
    }


def write_table(path: Path, results: list[dict[str, Any]]) -> None:
    """FAULTS.md; rows that were not run this time keep the figures they have there."""
    kept = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    figures = {line.split(" | ")[0]: line for line in kept}
    for result in results:
        tries = f"{result['tried']:,} | {result['survived']:,}"
        figures[f"| {result['row']}"] = f"| {result['row']} | {result['untried'] or tries} |"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        "# Faults injected, and survived",
        "",
        "Made by `OMP_NUM_THREADS=1 python benchmarks/faults.py` on "
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}. Every try is a process of "
        "the real scripts, or a call of the real reader for mutated files; signals, full disks and "
        "read-only mounts are real. What each row does stands in that file.",
        "",
        "| what was done, and what must hold | tried | survived |",
        "| --- | ---: | ---: |",
    ]
    lines += [figures[f"| {title}"] for title in ROWS if f"| {title}" in figures]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Run the rows that were asked for."""
    parser = argparse.ArgumentParser(description="Inject faults and count what survives them.")
    parser.add_argument("--quick", action="store_true", help="a few tries of each row")
    parser.add_argument("--row", default="", help="only rows with this in their name")
    parser.add_argument("--json", type=Path, help="write the results here, and no FAULTS.md")
    given = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="faults-") as temporary:
        set_folder = write_set(Path(temporary) / "set")
        for number, title in enumerate(ROWS):
            if given.row.lower() in title.lower():
                folder = Path(temporary) / str(number)
                folder.mkdir()
                results.append(tried(title, folder, set_folder, given.quick))
    if given.json:
        given.json.write_text(json.dumps(results), encoding="utf-8")
    elif not given.quick:
        write_table(Path(__file__).with_name("FAULTS.md"), results)


if __name__ == "__main__":
    main()
