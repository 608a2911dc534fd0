"""Rows of faults.py: what happens to a training while it runs."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from planting import (
    Place,
    Tries,
    Untried,
    at_step,
    at_write,
    before,
    begin,
    damage,
    differences,
    eager_checkpoints,
    resume,
    row,
    signal_self,
    train,
)

import gan_lab
from lab.data import datasets, to_float
from lab.evaluation import latent_space
from lab.report import charts
from lab.report.recorder import Recorder
from lab.runs import Run
from lab.training.pace import CheckpointClock
from lab.training.state import TrainingState, save_checkpoint


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
    for recipe in ("modern", "classic")[: place.count(2, 1)]:
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
                elif run and Run(run).config_or_default.status == "finished":
                    arguments = ["--report", run]  # all that was left to do
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
        lambda act: before(charts, "save_curves", act),
        lambda act: before(datasets, "read_folder", act),
        lambda act: before(Recorder, "after_epoch", act),
        lambda act: at_write(3, 100, act),
        lambda act: at_step(11, act),
        lambda act: at_step(24, act),
        lambda act: before(latent_space, "walks", act),
        lambda act: at_write(9, 500, act),
    ]
    for index, moment in enumerate(moments[: place.count(9, 1)]):
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
            if not (complaint or place.quick) and ended.ended - float(stamp.read_text()) > 5:
                complaint = "took more than 5 s"
            run = next(out.glob("fashion-*"), None)
            if not complaint and run:
                words = shlex.split(ended.err.partition("continue with: python ")[2])
                if words[1:] != ["--resume", str(run)]:
                    complaint = f"does not say how to continue: {ended.err!r}"
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
    options, dataset = gan_lab.Options(), datasets.load("fashion", place.set_folder)
    state = gan_lab.initial_state(options, dataset, torch.device("cpu"))
    gan_lab.train_step(
        options, state, to_float(dataset.train_images[:64]), None, True
    )  # fills Adam
    for _ in range(place.count(5, 1)):
        clock = CheckpointClock()
        with clock.timed():
            save_checkpoint(place.folder / "checkpoint.pth", state)
        cost = clock.cost
        clock.last_run -= max(10, 60 * cost) - 0.1
        early = clock.is_due(end_of_epoch=True)
        share = cost / (cost + max(10, 60 * cost))
        print(f"    a checkpoint takes {cost:.3f} s: {share:.2%} of the time")
        slow = cost >= 2 and not place.quick
        yield "" if share < 0.02 and not slow and not early else f"{cost:.2f} s, {share:.1%}"


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
        # Mounted once more, over itself: a disk with a file open for writing, such as the run's
        # lock, cannot become read-only.
        commands = (["--bind", disk, disk], ["-o", "remount,bind,ro", disk])

        def shut(_: Any, commands: tuple = commands) -> None:
            for words in commands:
                subprocess.run(["mount", *map(str, words)], check=True)

        def plant(number: int = number, shut: Callable = shut) -> None:
            eager_checkpoints()
            at_step(number, shut)

        try:
            ended = train(place, "--out", disk, first=plant)
            yield ended.complaint(1, says="Read-only file system") or damage(disk)
        finally:
            for _ in commands:
                subprocess.run(["umount", "-l", str(disk)], check=False)
        out = Path(tempfile.mkdtemp(dir=place.folder))

        def delete(number: int = number, out: Path = out) -> None:
            at_step(number, lambda _: shutil.rmtree(out))

        yield train(place, "--out", out, first=delete).complaint(1, says="No such file")


@row
def divergence(place: Place) -> Tries:
    """Divergence (lr 10; NaN or infinity planted in a weight): stopped, good weights kept."""

    def poison(name: str, value: float, number: int) -> Callable[[], None]:
        def act(state: TrainingState) -> None:
            with torch.no_grad():
                next(getattr(state, name).parameters()).view(-1)[7] = value

        def plant() -> None:
            eager_checkpoints()
            at_step(number, act)

        return plant

    chance = random.Random(7)
    cases: list[tuple[list, Callable]] = []
    for recipe in ("modern", "classic"):
        cases.append((["--recipe", recipe, "--lr-g", 10, "--lr-d", 10], lambda: None))
        for name in ("generator", "discriminator"):
            for value in (float("nan"), float("inf")):
                cases.append((["--recipe", recipe], poison(name, value, chance.randint(5, 24))))
    for index, (arguments, plant) in enumerate(cases[:: place.count(1, 4)]):
        out = place.folder / str(index)
        ended = train(place, "--out", out, *arguments, first=plant)
        complaint = ended.complaint(1, says="lower --lr-g and --lr-d")
        if not complaint:
            run = Run(out / "fashion-001")
            run.load_generator()
            path = run.checkpoint_path
            content = torch.load(path, weights_only=True) if path.exists() else {"networks": {}}
            weights = [w for net in content["networks"].values() for w in net.values()]
            if not all(torch.isfinite(weight).all() for weight in weights):
                complaint = "the checkpoint holds NaN"
        yield complaint
