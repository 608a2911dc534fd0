"""Atomic writing, reading of untrusted files, locks on folders, and checks of paths in options."""

import contextlib
import errno
import io
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lab.errors import Fault, Mistake
from lab.text import shortened

MAX_TEXT_BYTES = 2**26  # of a JSON or CSV file
MAX_LEVELS = 20  # of nested JSON
RENAME_ATTEMPTS = 20 if os.name == "nt" else 1  # Windows cannot replace a file while it is open
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
LOCK_FILE = ".lock"
LOCK_TIMEOUT = 0.1  # seconds; `is_locked` of another program holds a lock for a moment


def write_whole(path: Path, write: Callable[[io.BufferedWriter], object]) -> None:
    """Write a file atomically: write another file in the same folder, then rename it to `path`."""
    with atomic_path(path) as part, part.open("xb") as file:
        write(file)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path for a file or folder, which replaces `path` at the end of the block.

    A file replaces a file, a folder a folder. If the block raises an error, `path` stays as it was
    and the temporary file or folder is removed.
    """
    # Random, since processes in other containers may have the same number; without the name of
    # `path`, which may already have the greatest length.
    part = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.part")
    old = part.with_suffix(".old")
    try:
        yield part
        if part.is_file():
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        if part.is_dir() and path.is_dir():  # a folder cannot be renamed to an existing one
            _rename(path, old)
        _rename(part, path)
        if old.exists():
            shutil.rmtree(old)
    except BaseException as error:
        if old.exists() and not path.exists():
            old.rename(path)
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # a read-only file system refuses even this
                part.unlink()
        if isinstance(error, OSError) and error.errno:  # messages must not name `part`
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def _rename(part: Path, path: Path) -> None:
    """Rename `part` to `path`, with repeated attempts while `path` is in use."""
    for _ in range(RENAME_ATTEMPTS - 1):
        try:
            part.replace(path)
            return
        except PermissionError:
            time.sleep(0.1)
    part.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    # The text may have file names with invalid characters.
    content = text.encode("utf-8", "backslashreplace")
    write_whole(path, lambda file: file.write(content))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, one line per entry."""
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def read_text(path: Path) -> str:
    """Read UTF-8 text without its byte-order mark; Fault if damaged, too large or missing."""
    check_room(path, MAX_TEXT_BYTES)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fault(f"{path}: damaged ({error})") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; Fault if the file is damaged or has something else."""
    try:
        content = json.loads(read_text(path))
        levels = _depth(content)
    except (ValueError, RecursionError) as error:
        raise Fault(f"{path}: damaged JSON ({error})") from None
    if not isinstance(content, dict) or levels > MAX_LEVELS:
        raise Fault(f"{path}: a JSON object of at most {MAX_LEVELS} levels was expected")
    return content


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def is_plain_name(name: Any) -> bool:
    """Whether an untrusted value is a printable file name without a path."""
    is_text = isinstance(name, str) and name.isprintable() and len(os.fsencode(name)) <= 255
    return is_text and name not in ("", "..") and Path(name).name == name


def check_room(path: Path, most: int) -> None:
    """Fault if `path` is not a file, or has more than `most` bytes."""
    if not path.is_file():
        raise Fault(f"{path}: {'is not a file' if path.exists() else 'does not exist'}")
    if path.stat().st_size > most:
        raise Fault(f"{path}: {path.stat().st_size:,} bytes is too large, {most:,} at most")


def cache_folder() -> Path:
    """The lab's folder in the cache of this system, which may not exist yet."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():  # the standard ignores relative paths
        return given / "gan-lab"
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  Path.expanduser raises without a home
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "gan-lab"
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "gan-lab"


@contextlib.contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Lock `folder` for this process during the block.

    wait: wait for another program's lock; otherwise it raises Fault. On a file system without locks
    nothing is locked.
    """
    lock = FileLock(folder / LOCK_FILE, timeout=-1 if wait else LOCK_TIMEOUT)
    try:
        lock.acquire(poll_interval=LOCK_TIMEOUT / 10)
    except Timeout:
        raise Fault(f"{folder}: is in use by another program of the lab") from None
    except NotImplementedError:  # a file system without locks
        pass
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether another program has locked `folder`; False without permission to look."""
    if not (folder / LOCK_FILE).exists():
        return False
    try:
        with locked(folder, wait=False):
            return False
    except Fault:
        return True
    except OSError:
        return False


def at_home(text: str) -> Path:
    """The path `text` with `~` expanded to the home folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or no home
        return Path(text)


def check_path(flag: str, path: Path, folder: bool = False) -> None:
    """Mistake if `path` is inaccessible, or with `folder` if it is not a readable folder."""
    try:
        exists = path.exists()
    except OSError as error:  # too long, or in a folder without permission
        name = shortened(str(path), 80)
        raise Mistake(f"{flag} {name}: {error.strerror}; give another") from None
    if folder and not path.is_dir():
        kind = "is a file, not a folder" if exists else "does not exist"
        raise Mistake(f"{flag} {path}: {kind}; name an existing folder or leave the option out")
    if folder and not os.access(path, os.R_OK | os.X_OK):
        raise Mistake(f"{flag} {path}: is not readable; change its permissions, or name another")


def check_writable(flag: str, folder: Path, cure: str = "name another folder") -> None:
    """Mistake if `folder` is a file, not writable, or cannot be created."""
    for path in (folder, *folder.parents):
        _refuse_broken_link(flag, path)
    there = filter(Path.exists, (folder, *folder.absolute().parents))
    if not (existing := next(there, None)):  # on Windows
        raise Mistake(f"{flag} {folder}: {folder.absolute().anchor} does not exist, {cure}")
    what = "is" if existing == folder else f"{existing} is"
    if not existing.is_dir():
        raise Mistake(f"{flag} {folder}: {what} a file, name a folder")
    try:  # permissions do not tell: by them, root may write to /proc
        with tempfile.TemporaryDirectory(dir=existing, prefix=".trial-"):
            pass
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise Mistake(f"{flag} {folder}: {what} not writable, {cure}") from None


def check_apart(out: Path, source_flag: str, source: Path) -> None:
    """Mistake if --out is inside the folder of input pictures."""
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(source)):
        raise Mistake(
            f"--out {out}: lies in {source_flag} {source}, and what is written there would be "
            "read as its pictures; name another folder"
        )


def check_closed(flag: str, folder: Path) -> None:
    """Mistake if a sub-folder is a link out of `folder`, where files would be overwritten."""
    root = os.path.realpath(folder)  # Path.resolve raises on circular links
    for parent, names, files in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if not Path(os.path.realpath(path)).is_relative_to(root):
                inside = path.relative_to(folder)
                raise Mistake(f"{flag} {folder}: {inside} is a link out of it; remove it")
        for name in files:
            _refuse_broken_link(flag, Path(parent, name))


def _refuse_broken_link(flag: str, path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise Mistake(f"{flag} {path}: is a broken link; remove it")
