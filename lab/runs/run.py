"""Run folders: where a run lives, its config, its history, its checkpoint."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import files as storage
from lab import lock, places
from lab.data.datasets import SETS
from lab.errors import Fault, Mistake
from lab.models import networks as models
from lab.models import serialization as tensors

OUTPUTS = Path(__file__).parents[2] / "outputs"
RESULTS = "denoising_results"  # in a run folder: what denoise_images.py makes with it
GRID_NAME = re.compile(r"epoch_([0-9]+)\.png")
RUN_NAME = re.compile(rf"({'|'.join(SETS)})-([0-9]+)")


def new_run(outputs: Path, name: str) -> Path:
    """Make and return the next free folder, `outputs/fashion-001` and on.

    name: a set, runs of all sets being numbered together, or what else is kept in numbered folders.
    Two programs that ask at once get two folders: making a folder is atomic, looking is not.
    Raises Mistake where no folder can be made, though `check_writable` saw nothing against it.
    """
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        number = 1
        if name in SETS:
            number += max((number for number, _ in _numbered(outputs)), default=0)
        while True:
            run = outputs / f"{name}-{number:03d}"
            try:
                run.mkdir()
                return run
            except FileExistsError:
                number += 1
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # a full disk is the world's fault
        raise Mistake(f"--out {outputs}: {error.strerror}; name another folder") from None


def all_runs(outputs: Path) -> list[Path]:
    """Every run folder in `outputs`, the newest, that is the highest number, first.

    By number, not by date: clocks go backwards and copying changes dates. Runs that were given
    names of their own follow.
    """
    if not outputs.is_dir():
        return []
    numbers = {run: number for number, run in _numbered(outputs)}
    runs = [path for path in outputs.iterdir() if _is_run(path)]
    return sorted(runs, key=lambda run: (numbers.get(run, -1), run.name), reverse=True)


def _is_run(path: Path) -> bool:
    """Whether there is a config that this user may see; in a shared folder not all are."""
    try:
        return (path / "config.json").is_file() and os.access(path, os.R_OK | os.X_OK)
    except PermissionError:
        return False


def _numbered(outputs: Path) -> list[tuple[int, Path]]:
    """What in `outputs` is named like a run, with its number."""
    if not outputs.is_dir():
        return []
    named = [(RUN_NAME.fullmatch(path.name), path) for path in outputs.iterdir()]
    return [(int(match[2]), path) for match, path in named if match]


def newest_run(outputs: Path) -> Path:
    """The newest run with a generator.pth, if there is one that was trained for an epoch.

    Says so of one that has not finished; Mistake with the command that makes one if there is none.
    """
    found = [run for run in all_runs(outputs) if (run / "generator.pth").is_file()]
    if not found:
        raise Mistake(f"no run with a generator.pth in {outputs}; make one: python gan_lab.py")
    trained = [run for run in found if (run / "history.csv").is_file() and _said(run) != "diverged"]
    run = (trained or found)[0]
    if _said(run) != "finished":
        print(f"note: {run.name} has not finished its training; --run names another run")
    return run


def _said(run: Path) -> Any:
    """The status in a run's config.json; None of a damaged one, about which others complain."""
    try:
        return storage.read_json(run / "config.json").get("status")
    except Fault:
        return None


def newest_unfinished_run(outputs: Path) -> Path:
    """The newest run that was stopped and that nobody is training; Mistake if there is none."""
    for run in all_runs(outputs):
        try:
            status = storage.read_json(run / "config.json").get("status")
        except Fault as fault:
            print(f"note: passed over, {fault}")
            continue
        if status in ("running", "stopped") and not lock.is_held(run):
            return run
    raise Mistake(
        f"--resume: no unfinished run in {outputs}; name a finished one with a higher --epochs, or "
        "begin one: python gan_lab.py"
    )


def find_generator(run: Path | None, generator: Path | None) -> Path:
    """The generator.pth that --run or --generator names, else that of the newest run.

    Raises Mistake if both are given, or if it is not there.
    """
    if run and generator:
        raise Mistake(f"--generator {generator}: give --run or --generator, not both")
    if generator:
        if not generator.is_file():
            kind = "is a folder" if generator.is_dir() else "is not a file"
            what = kind if generator.exists() else "does not exist"
            raise Mistake(
                f"--generator {generator}: {what}; name a generator.pth that gan_lab.py made"
            )
        return generator
    run = check_run("--run", run or newest_run(OUTPUTS))
    if not (run / "generator.pth").is_file():
        raise Mistake(f"--run {run}: has no generator.pth yet; wait, or name another run")
    return run / "generator.pth"


def load_generator(path: Path, typed: bool) -> tuple[models.Generator, dict[str, Any], str]:
    """A generator, the facts of its file, and the SHA-256 of it, for a script that needs one.

    typed: the path was given with --generator, so that another kind of file is a Mistake. Digest
    and weights are of one file, also where a training is about to replace it.
    """
    while True:
        digest = tensors.digest(path)
        try:
            generator, facts = tensors.load_weights(path, models.Generator)
        except Fault as fault:
            if not typed:
                raise
            raise Mistake(f"--generator {fault}; name a generator.pth of gan_lab.py") from None
        if tensors.digest(path) == digest:
            return generator, facts, digest


def check_run(flag: str, run: Path, outputs: Path = OUTPUTS) -> Path:
    """`run` if it is a run folder, or the one of that name in `outputs`.

    Mistake, naming the option it was given with, if there is none.
    """
    by_name = (outputs.parent / run, outputs / run)  # README's spelling, and that of --list
    if not run.exists() and len(run.parts) <= 2:
        run = next((path for path in by_name if (path / "config.json").is_file()), run)
    if not (run / "config.json").is_file():
        what = "is not a run folder (no config.json in it)" if run.exists() else "does not exist"
        raise Mistake(
            f"{flag} {run}: {what}; name one that gan_lab.py made (its --list shows them)"
        )
    places.check_closed(flag, run)
    return run


def remove_leftovers(run: Path) -> None:
    """Remove what a training that was killed while it wrote has left beside its files."""
    for folder in (run, run / "generated_samples", run / "final_generated_images"):
        for path in folder.glob(".*.part"):
            path.unlink(missing_ok=True)


def stage_of(facts: Mapping[str, Any]) -> str:
    """`, after epoch 12`, as far as the facts of a weights file say it."""
    epoch = facts.get("epoch")
    if epoch == 0:
        return ", untrained or nearly so"
    return f", after epoch {epoch}" if isinstance(epoch, int) else ""


def dataset_of(weights: Path, facts: Mapping[str, Any]) -> str:
    """The set that the facts of a weights file name; Fault if they name none."""
    dataset = facts.get("dataset")
    if not isinstance(dataset, str) or dataset not in SETS:
        raise Fault(f"{weights}: does not say which set it was trained on; train with gan_lab.py")
    return dataset


def grids(run: Path, most: int | None = None) -> list[tuple[int, Path]]:
    """The sample grids of a run, each with its epoch, in order.

    most: if there are more, they are thinned out evenly; the first and the last always stay.
    """
    found = (run / "generated_samples").glob("*")
    named = [(GRID_NAME.fullmatch(path.name), path) for path in found]
    ordered = sorted((int(match[1]), path) for match, path in named if match)
    if most is None or len(ordered) <= most:
        return ordered
    step = (len(ordered) - 1) / (most - 1)
    return [ordered[round(index * step)] for index in range(most)]


def write_history(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `history.csv`, a row an epoch; columns in the order they first appear."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    storage.write_text(path, text.getvalue())


def read_history(path: Path) -> list[dict[str, float]]:
    """Read `history.csv` back; cells that were left empty are absent from their row."""
    text = io.StringIO(storage.read_text(path))
    try:
        return [
            {column: float(cell) for column, cell in row.items() if cell}
            for row in csv.DictReader(text)
        ]
    except (ValueError, TypeError, csv.Error) as error:
        raise Fault(f"{path}: damaged ({error})") from None
