"""Files and folders: written whole or not at all, read without trust, held by one program at once.

Folders that a user names are looked at before any work, and refused with the option's name.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lab.errors import Fault, Mistake
from lab.text import shortened

MOST_TEXT_BYTES = 2**26  # of JSON or CSV: a line an epoch, for more epochs than anybody trains
MOST_LEVELS = 20  # of JSON
# Windows renames over no file that another program has open; most close it soon.
RENAMES_TRIED = 20 if os.name == "nt" else 1
LOCK_FILE = ".lock"
PATIENCE = 0.1  # seconds: somebody may only be asking whether the lock is held


def write_whole(path: Path, write: Callable[[io.BufferedWriter], object]) -> None:
    """Write a file beside `path`, then rename it there: nobody sees `path` half-written."""
    with appearing(path) as beside, beside.open("xb") as file:
        write(file)


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A place beside `path` for a file or folder that is renamed to `path` if all goes well.

    A file replaces a file, a folder a folder; if anything goes wrong what stood there stays, and
    what is half-written goes.
    """
    # Under another name than that of another container's process of the same number; not made from
    # the file's own, which may be too long to add to.
    beside = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield beside
        if beside.is_file():
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
        aside = beside.with_suffix(".old")
        if beside.is_dir() and path.is_dir():  # a folder takes no other's place
            path.rename(aside)
        _rename(beside, path)
        if aside.exists():
            shutil.rmtree(aside)
    except BaseException as error:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
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


def is_plain_name(name: Any) -> bool:
    """Whether a name, as files from elsewhere have it, is a file's: no path, nothing odd in it."""
    is_text = isinstance(name, str) and name.isprintable() and len(os.fsencode(name)) <= 255
    return is_text and name not in ("", "..") and Path(name).name == name


def check_room(path: Path, most: int) -> None:
    """Fault if `path` is not a file (a pipe would be waited for), or has more bytes."""
    if not path.is_file():
        raise Fault(f"{path}: {'is not a file' if path.exists() else 'does not exist'}")
    if path.stat().st_size > most:
        raise Fault(f"{path}: {path.stat().st_size:,} bytes is too large for what it should be")


def cache_folder() -> Path:
    """Where this system keeps what programs can make anew; nothing is made there yet."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():  # the standard passes over any other
        return given / "gan-lab"
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  Path's raises where there is none
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "gan-lab"
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "gan-lab"


# Folders that are held


@contextlib.contextmanager
def held(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold `folder` against other programs of the lab until this one ends or leaves the block.

    wait: until it is free; without it, a folder that is held is a Fault. Where a file system has no
    locks nothing is held: files still appear whole, the last writer's stay.
    """
    lock = FileLock(folder / LOCK_FILE, timeout=-1 if wait else PATIENCE)
    try:
        lock.acquire(poll_interval=PATIENCE / 10)
    except Timeout:
        raise Fault(f"{folder}: another program of the lab is at work in it") from None
    except NotImplementedError:  # filelock's word for a file system without locks
        pass
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether another program holds `folder`; False where this user may not ask."""
    if not (folder / LOCK_FILE).exists():
        return False
    try:
        with FileLock(folder / LOCK_FILE).acquire(timeout=PATIENCE, poll_interval=PATIENCE / 10):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False


# Folders that a user names


def at_home(text: str) -> Path:
    """The path of a text in which `~` is the home folder, whoever has not replaced it yet."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # there is no such user, or no home
        return Path(text)


def check_path(flag: str, path: Path, folder: bool = False) -> None:
    """Mistake if the system will not look at `path`, or if it must be a `folder` and is none."""
    try:
        there = path.exists()
    except OSError as error:  # too long, or in a folder that is closed to us
        name = shortened(str(path), 80)
        raise Mistake(f"{flag} {name}: {error.strerror}; give another") from None
    if folder and not path.is_dir():
        kind = "is a file, not a folder" if there else "does not exist"
        raise Mistake(f"{flag} {path}: {kind}; name an existing folder or leave the option out")
    if folder and not os.access(path, os.R_OK | os.X_OK):
        raise Mistake(f"{flag} {path}: may not be read; open it to yourself, or name another")


def check_writable(flag: str, folder: Path, cure: str = "name another folder") -> None:
    """Mistake if `folder` is a file, or if nothing can be written there, or made there."""
    for path in (folder, *folder.parents):
        _refuse_blind(flag, path)
    standing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    what = "is" if standing == folder else f"{standing} is"
    if not standing.is_dir():
        raise Mistake(f"{flag} {folder}: {what} a file, name a folder")
    if not os.access(standing, os.W_OK | os.X_OK):
        raise Mistake(f"{flag} {folder}: {what} not writable, {cure}")


def check_apart(flag: str, out: Path, source_flag: str, source: Path) -> None:
    """Mistake if what is written into `out` would lie among the pictures that are read."""
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(source)):
        raise Mistake(
            f"{flag} {out}: lies in {source_flag} {source}, and what is written there would be "
            "read as its pictures; name another folder"
        )


def check_closed(flag: str, folder: Path) -> None:
    """Mistake if a link leads out of `folder`; what is not there yet is closed.

    Files are replaced, not written into, but a folder that is a link would be written through.
    """
    home = os.path.realpath(folder)  # Path.resolve raises where links go round in a circle
    for place, names, files in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if not Path(os.path.realpath(path)).is_relative_to(home):
                inside = path.relative_to(folder)
                raise Mistake(f"{flag} {folder}: {inside} leads out of it; remove that link")
        for name in files:
            _refuse_blind(flag, Path(place, name))


def _refuse_blind(flag: str, path: Path) -> None:
    """Mistake if `path` is a link to nothing, where a folder could not be made."""
    if path.is_symlink() and not path.exists():
        raise Mistake(f"{flag} {path}: is a link to nothing; remove it")
