"""Files that appear whole or not at all; text and JSON from elsewhere, which is never trusted."""

from __future__ import annotations

import io
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.errors import Fault

MOST_TEXT_BYTES = 2**26  # of JSON or CSV: a line an epoch, for more epochs than anybody trains
MOST_LEVELS = 20  # of JSON
# Windows renames over no file that another program has open; most close it soon.
RENAMES_TRIED = 20 if os.name == "nt" else 1


def write_whole(path: Path, write: Callable[[io.BufferedWriter], object]) -> None:
    """Write a file beside `path`, then rename it there: `path` is never seen half-written."""
    # Beside it, under another name than that of another container's process of the same number;
    # not made from the file's own, which may be too long to add to.
    beside = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with beside.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        _rename(beside, path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:  # "No space left" where? Not `beside`
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def _rename(beside: Path, path: Path) -> None:
    """Rename over `path`, a tenth of a second later if it is in use."""
    for _ in range(RENAMES_TRIED - 1):
        try:
            beside.replace(path)
            return
        except PermissionError:
            time.sleep(0.1)
    beside.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole."""
    # A file's name need not be valid text, and may be part of this one.
    content = text.encode("utf-8", "backslashreplace")
    write_whole(path, lambda file: file.write(content))


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole, with a line an entry so that people can read it."""
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def read_text(path: Path) -> str:
    """Read UTF-8 text; Fault if it is none, too much, or no file. Notepad's mark is passed over."""
    check_room(path, MOST_TEXT_BYTES)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fault(f"{path}: damaged ({error})") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; Fault if it is damaged or something else."""
    try:
        content = json.loads(read_text(path))
        levels = _depth(content)
    except (ValueError, RecursionError) as error:
        raise Fault(f"{path}: damaged JSON ({error})") from None
    if not isinstance(content, dict) or levels > MOST_LEVELS:
        raise Fault(f"{path}: a JSON object of at most {MOST_LEVELS} levels was expected")
    return content


def _depth(value: Any) -> int:
    """How many levels a JSON value has."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def as_dict(value: Any) -> dict[str, Any]:
    """The value if it is a dictionary, else an empty one: files from elsewhere hold anything."""
    return value if isinstance(value, dict) else {}


def is_plain_name(name: Any) -> bool:
    """Whether a name, as files from elsewhere have it, is a file's: no path, nothing odd in it."""
    is_text = isinstance(name, str) and name.isprintable() and len(os.fsencode(name)) <= 255
    return is_text and name != "" and Path(name).name == name


def check_room(path: Path, most: int) -> None:
    """Fault if `path` is not a file (a pipe would be waited for), or has more bytes."""
    if not path.is_file():
        raise Fault(f"{path}: {'is not a file' if path.exists() else 'does not exist'}")
    if path.stat().st_size > most:
        raise Fault(f"{path}: {path.stat().st_size:,} bytes is too large for what it should be")
