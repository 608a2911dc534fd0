"""Rows of faults.py: how people start the scripts, what they type, what they look at meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from planting import (
    MAINS,
    REPOSITORY,
    SLOWEST,
    Complaint,
    Place,
    Tries,
    Untried,
    at_step,
    at_write,
    begin,
    note_after,
    replace,
    resume,
    row,
    save_generator,
    signal_self,
    train,
)

import gan_lab
import lab.training.pace
from lab.errors import Mistake
from lab.options import flag_of, given_options
from lab.runs import Run
from lab.training.progress import tensorboard_refusal

HOSTILE = {"PYTHONWARNINGS": "error", "PYTHONSAFEPATH": "1"}
HOSTILE |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def at_work(place: Place) -> list[tuple[str, list[str]]]:
    """Each script asked for --help, and at work."""
    good = place.folder / "good.pth"
    save_generator(good, latent_dim=8, hidden=(16,))
    of_generator = ["--generator", str(good), "--device", "cpu", "--out", str(place.folder)]
    work = [
        ("gan_lab.py", place.tiny("--out", place.folder)),
        ("denoise_images.py", [*of_generator, "--count", "2", "--steps", "3"]),
        ("evaluate_images.py", of_generator),
        ("generate_images.py", [*of_generator[:4], "--out", str(place.folder / "made.npz")]),
    ]
    return [(script, ["--help"]) for script in MAINS] + work[: place.count(len(work), 0)]


def full_disk() -> None:
    """A disk without room for what is said."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def closed_pipe() -> None:
    """A reader that went away."""
    reads, writes = os.pipe()
    os.close(reads)
    os.dup2(writes, 1)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  the old one takes it for a file


@row
def all_scripts(place: Place) -> Tries:
    """All scripts, --help too: warnings are errors, LC_ALL=C, safe path, full disk, closed pipe."""
    for script, words in at_work(place):
        ended = begin(script, *words, at=place.folder, first=full_disk).wait()
        yield ended.complaint(1, says="No space left")
        yield begin(script, *words, at=place.folder, first=closed_pipe).wait().complaint(141)
        if place.quick:
            continue
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / script), *words],
            cwd=place.folder,
            env={**os.environ, **HOSTILE},
            capture_output=True,
            timeout=SLOWEST,
        )
        fine = done.returncode == 0 and not done.stderr
        yield "" if fine else f"{script} {words}: {done.returncode}, {done.stderr[-300:]!r}"


@row
def ignored(place: Place) -> Tries:
    """Started with a signal ignored, as nohup and a script's background do: it passes by."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[: place.count(3, 1)]:

        def plant(number: int = number) -> None:
            signal.signal(number, signal.SIG_IGN)
            at_step(3, signal_self(number))

        yield train(place, "--out", place.folder, first=plant).complaint(0)


@row
def typed(place: Place) -> Tries:
    """A decimal comma, and `~`, in each option of each script that takes a number, or a path."""
    home = Path(tempfile.mkdtemp(dir=place.folder))
    (home / "there").mkdir()
    os.environ["HOME"], before = str(home), os.environ.get("HOME")
    try:
        for main in MAINS.values():
            kind = main.__globals__["Options"]
            for field in kind.__dataclass_fields__.values():
                if "float" in str(field.type):
                    yield refused_with_a_point(kind, flag_of(field.name))
                if "Path" in str(field.type):
                    given = given_options(kind, [f"{flag_of(field.name)}=~/there"])
                    yield "" if given[field.name] == home / "there" else f"{given}"
    finally:
        os.environ.pop("HOME")
        os.environ |= {"HOME": before} if before is not None else {}


def refused_with_a_point(kind: type, flag: str) -> Complaint:
    """Whether `0,5` is refused with what was meant."""
    try:
        return f"taken as {given_options(kind, [flag, '0,5'])}"
    except Mistake as mistake:
        return "" if f"{flag} '0,5': write 0.5" in str(mistake) else str(mistake)


@row
def events(place: Place) -> Tries:
    """TensorBoard: each epoch once after kill -9 and --resume; a broken package is one line."""
    if tensorboard_refusal():
        raise Untried("tensorboard is not installed here")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for step in (9, 14, 22)[: place.count(3, 1)]:
        out = Path(tempfile.mkdtemp(dir=place.folder))

        def plant(step: int = step) -> None:
            at_step(step, signal_self(signal.SIGKILL))

        ended = train(place, "--out", out, "--tensorboard", first=plant)
        run = Run(out / "fashion-001")
        complaint = ended.complaint(-9) or resume(place, run.path).complaint(0)
        found = EventAccumulator(str(run.tensorboard_folder))
        found.Reload()
        epochs = [event.step for event in found.Scalars("d_loss")]
        yield complaint or ("" if epochs == list(range(1, 7)) else f"epochs {epochs}")

    def broken() -> None:
        for name in [name for name in sys.modules if "tensorboard" in name]:
            if not name.startswith("lab."):
                sys.modules.pop(name)
        (place.folder / "tensorboard.py").write_text("import nothing_of_this_name")
        sys.path.insert(0, str(place.folder))

    ended = train(place, "--out", place.folder / "none", "--tensorboard", first=broken)
    made = (place.folder / "none").exists()
    yield ended.complaint(2, says="--tensorboard: ") or ("a folder was made" if made else "")


@row
def page(place: Place) -> Tries:
    """The page of a run under way: whole after kill -9; after --resume it says the end."""

    def death(number: int, byte: int) -> Callable[[], None]:
        def plant() -> None:
            lab.training.pace.Pace.is_due = lambda *_, **__: True
            at_write(number, byte, signal_self(signal.SIGKILL))

        return plant

    # Files are written in this order: config, grid, generator, history, page; history, ...
    for number, byte in ((5, 90_000), (5, 1), (6, 10), (9, 1), (12, 50))[: place.count(5, 1)]:
        out = Path(tempfile.mkdtemp(dir=place.folder))
        ended = train(place, "--out", out, first=death(number, byte))
        run = Run(out / "fashion-001")
        shown = run.report_path.read_text() if run.report_path.exists() else None
        complaint = ended.complaint(-9)
        if shown is not None and not (shown.endswith("</html>") and 'id="alive"' in shown):
            complaint = complaint or "the page is not whole"
        complaint = complaint or resume(place, run.path).complaint(0)
        if 'id="alive"' in run.report_path.read_text():
            complaint = complaint or "the page of a finished run renews itself"
        yield complaint


@row
def ten_thousand(place: Place) -> Tries:
    """Ten thousand short epochs: a later four thousand take no more processor time than earlier."""
    epochs = place.count(10_000, 60)
    notes = place.folder / "notes"

    def plant() -> None:
        parts = [epochs * share // 10 for share in (1, 5, 9)]
        note_after(parts, notes, lambda: f"{time.process_time()}")
        # What is between the epochs is looked at, not what is in them.
        replace(gan_lab, "train_step", lambda *_, **__: torch.full((4,), 0.5))

    words = ("--epochs", epochs, "--sample-every", epochs // 2, "--batch-size", 200)
    ended = train(place, "--out", place.folder, *words, first=plant)
    if complaint := ended.complaint(0):
        yield complaint
        return
    began, half, late = map(float, notes.read_text().split())
    grown = f"{half - began:.2f} s -> {late - half:.2f} s"
    print(f"    four tenths of the epochs: {grown}")
    fine = place.quick or late - half < 1.25 * (half - began)
    yield "" if fine else grown
