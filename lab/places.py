"""Places that a user names for files: looked at before any work, refused with the option's name."""

from __future__ import annotations

import os
from pathlib import Path

from lab.errors import Mistake
from lab.text import shortened


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
    """Mistake if `folder` is a file, or if nothing can be written there (or made there).

    flag: the option that led there.
    """
    for path in (folder, *folder.parents):
        _refuse_blind(flag, path)
    standing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not standing.is_dir():
        what = "is" if standing == folder else f"{standing} is"
        raise Mistake(f"{flag} {folder}: {what} a file, name a folder")
    if not os.access(standing, os.W_OK | os.X_OK):
        what = "is" if standing == folder else f"{standing} is"
        raise Mistake(f"{flag} {folder}: {what} not writable, {cure}")


def check_out(folder: Path) -> None:
    """Mistake if --out is a run folder, whose files are its own, or cannot be written to."""
    if (folder / "config.json").is_file():
        raise Mistake(f"--out {folder}: is a run folder; name another")
    check_writable("--out", folder)


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
        for path in (Path(place, name) for name in files):
            _refuse_blind(flag, path)


def _refuse_blind(flag: str, path: Path) -> None:
    """Mistake if `path` is a link to nothing, where a folder could not be made."""
    if path.is_symlink() and not path.exists():
        raise Mistake(f"{flag} {path}: is a link to nothing; remove it")
