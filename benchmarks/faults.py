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
import io
import json
import os
import platform
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import faults_of_files  # noqa: F401  enters its rows
import faults_of_people  # noqa: F401  enters its rows
import faults_of_sets  # noqa: F401  enters its rows
from faults_of_runs import mounted
from planting import (
    MAINS,
    REPOSITORY,
    ROWS,
    SLOWEST,
    Complaint,
    Place,
    Tries,
    Untried,
    at_step,
    begin,
    damage,
    note_after,
    resume,
    row,
    save_generator,
    signal_self,
    train,
)

from lab.errors import run_script
from lab.options import flag_of, given_options
from lab.runs import Run

# Several at once, long and odd


@row
def two_at_once(place: Place) -> Tries:
    """Two trainings, and two denoise_images.py on one run, at the same time."""
    for _ in range(place.count(3, 1)):
        out = Path(tempfile.mkdtemp(dir=place.folder))
        both = [begin("gan_lab.py", *place.tiny("--out", out), at=place.folder) for _ in "ab"]
        ended = [child.wait() for child in both]
        names = [run.name for run in Run.all_in(out)]
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
        kept = Run(run).restorations.scores.sheets
        missing = {f"sigma_{sigma}.png" for sigma in sigmas} - set(kept)
        yield complaint or (f"{missing} missing" if missing else "")


@row
def long_run(place: Place) -> Tries:
    """A thousand epochs: no growth of memory (10 MB) or open files."""
    epochs = place.count(1_000, 60)
    notes = place.folder / "notes"

    def plant() -> None:
        def held() -> str:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            files = len(list(Path("/proc/self/fd").iterdir()))
            return f"{pages * os.sysconf('SC_PAGE_SIZE')} {files}"

        note_after((epochs // 5, epochs - 1), notes, held)

    ended = train(place, "--out", place.folder, "--epochs", epochs, first=plant)
    if complaint := ended.complaint(0):
        yield complaint
        return
    early, late = ([int(word) for word in line.split()] for line in notes.open())
    grown = f"memory {early[0]} -> {late[0]}, files {early[1]} -> {late[1]}"
    fine = late[0] - early[0] < 10_000_000 and late[1] == early[1]
    print(f"    {grown}")
    yield "" if fine else grown


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
    for name in names[: place.count(5, 1)]:
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
    yield "" if Run.all_in(out)[0].name == "fashion-002" else "the newest is not the newest"


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
        for name in MAINS:
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
BATTERY += ["x" * 300, "two\nlines"]


@row
def battery(place: Place) -> Tries:
    """Every option of every script fed nonsense: exit 2, one line naming it, nothing written."""
    good = str(place.folder / "good.pth")
    save_generator(Path(good), latent_dim=8, hidden=(16,))
    for script, main in MAINS.items():
        kind = main.__globals__["Options"]
        fields = [field for field in kind.__dataclass_fields__.values() if field.type is not bool]
        for field in fields:
            flag = flag_of(field.name)
            for value in BATTERY:
                try:
                    given_options(kind, [f"{flag}={value}"])
                    if field.type not in (Path, Path | None, str | None):
                        continue  # it is in range: no nonsense
                    if field.name in ("out", "report", "resume", "list") and value != "/dev/null":
                        continue  # any name will do, but one that is too long
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


def write_set(folder: Path) -> Path:
    """A set of 200 random images, in IDX files."""
    folder.mkdir()
    noise = torch.Generator().manual_seed(1)
    for part in ("train", "t10k"):
        shown = torch.randint(0, 256, (200, 28, 28), dtype=torch.uint8, generator=noise)
        labels = torch.randint(0, 10, (200,), dtype=torch.uint8, generator=noise)
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
        "# Injected faults",
        "",
        "Made by `OMP_NUM_THREADS=1 python benchmarks/faults.py` on "
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}. Every try is a process of "
        "the real scripts or, for mutated files, a call of the real reader; signals, full disks "
        "and read-only mounts are real. The code of the rows is in `benchmarks/faults*.py`.",
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
