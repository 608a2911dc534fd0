"""What a run folder says of itself, for those who only look: the page, the index, the list.

Anyone may have written these files, and a training may be at work on them: what is missing or
damaged is passed over, and so is what is of other weights than the run has now.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lab import files as storage
from lab import lock
from lab.errors import Fault
from lab.models import serialization as tensors
from lab.runs import run as runs


def status(run: Path, config: dict[str, Any]) -> str:
    """`finished`, `running`, `stopped`, `diverged`, or `damaged`."""
    said = config.get("status")
    if said in ("finished", "stopped", "diverged"):
        return said
    if not config:
        return "damaged"
    return "running" if lock.is_held(run) else "stopped"


def history(run: Path) -> Sequence[dict[str, float]]:
    """The rows of history.csv; none before the first epoch has ended."""
    try:
        rows = runs.read_history(run / "history.csv")
    except (Fault, OSError):
        return []
    sane = (
        {name: round(cell, 30) for name, cell in row.items() if abs(cell) < 1e30} for row in rows
    )
    return [row for row in sane if row.get("epoch", -1) >= 0]


def content(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty if it is missing or damaged."""
    try:
        return storage.read_json(path)
    except (Fault, OSError):
        return {}


def when(run: Path, config: dict[str, Any]) -> str:
    """When the run began, or ended if it has: local time, `2026-03-01 14:05`.

    Of runs that do not say it, when their history was last written; copying changes that.
    """
    said = config.get("written")
    if isinstance(said, str) and re.fullmatch(r"[0-9: -]{16}", said):
        return said
    file = run / "history.csv"
    seconds = (file if file.is_file() else run / "config.json").stat().st_mtime
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # a file's date may lie beyond the year 9999
        return "?"


def evaluation(run: Path) -> dict[str, Any]:
    """What evaluation.json says, unless it is of other weights than the run has now."""
    found = content(run / "evaluation.json")
    digest = found.get("generator_sha256")
    return found if digest is None or digest == _digest(run) else {}


def restored(run: Path) -> dict[str, Any]:
    """What scores.json says, if it is of the generator that the run has now."""
    found = content(run / runs.RESULTS / "scores.json")
    sheets = storage.as_dict(found.get("sheets"))
    own = {name: facts for name, facts in sheets.items() if storage.is_plain_name(name)}
    return {"sheets": own} if own and found.get("generator_sha256") == _digest(run) else {}


def _digest(run: Path) -> str | None:
    """That of the run's generator; None without one."""
    try:
        return tensors.digest(run / "generator.pth")
    except (Fault, OSError):
        return None
