"""The files in a folder or in a zip, listed without trust: what may be a picture, what is left out.

A zip is read where it lies; nothing of it is ever written to disk.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from lab.data.pictures import ENDINGS, Unreadable
from lab.errors import Mistake
from lab.text import counted, printable

# What systems and programs leave in folders; so is all whose name begins with a dot.
OF_THE_SYSTEM = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN"}
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
MOST_BYTES = 200_000_000  # of a picture's file
MOST_PACKED = 1_032  # bytes that Deflate makes of one
MOST_FILES = 3_000_000
MOST_LEVELS = 100  # of folders in one another
NAMED = 3  # of the files that a remark is about
UNREAD = "left out, cannot be read"
IS_HIDDEN = "left out, hidden files and folders of the system"


class Remarks:
    """Notices about files, gathered: a line for each matter, with the count and first names."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self.nouns: dict[str, str] = {}

    def add(self, matter: str, name: object, noun: str = "file") -> None:
        """The matter concerns one file more, or whatever `noun` says."""
        self.nouns[matter] = noun
        self.counts[matter] += 1
        if self.counts[matter] <= NAMED:
            self.names[matter].append(printable(str(name)))

    def merge(self, start: str, into: str) -> None:
        """Make one of the matters that begin with `start`, if they are many."""
        several = [matter for matter in self.counts if matter.startswith(start)]
        if len(several) > NAMED:
            whole = into.format(f"{len(several):,}")
            self.counts[whole] = sum(map(self.counts.pop, several))
            names = [name for matter in several for name in self.names.pop(matter)]
            self.names[whole] = names[:NAMED]

    def lines(self) -> list[str]:
        """`resized from 40 x 40 to 28 x 28: 7 files (a.png, b.png, c.png, ...)`."""
        return [
            f"{matter}: {counted(count, self.nouns.get(matter, 'file'))} "
            f"({', '.join(self.names[matter] + ['...'] * (count > NAMED))})"
            for matter, count in self.counts.items()
        ]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: where it stands below the folder, what changes when it changes, how to read it."""

    place: PurePosixPath
    stamp: tuple[int, ...]  # its size, and when it was changed; that of a zip is its files'
    source: Callable[[], Path | io.BytesIO]  # raises Unreadable
    is_test: bool = False  # both as its folders say: its half, and its class, "" without
    name: str = ""


@dataclass
class Listing:
    """The pictures, by their names; every folder; what was left out."""

    entries: list[Entry] = field(default_factory=list)
    folders: set[PurePosixPath] = field(default_factory=set)
    remarks: Remarks = field(default_factory=Remarks)

    def facts(self) -> list[Any]:
        """What changes whenever other images would come of it."""
        files = [(str(entry.place), entry.stamp) for entry in self.entries]
        return [files, sorted(map(str, self.folders)), self.remarks.lines()]

    def is_taken(self, place: PurePosixPath) -> bool:
        """Whether a file is to be read as a picture; if not, that is remarked on."""
        if place.suffix.lower() in ENDINGS:
            return True
        self.remarks.add("left out, not of a kind that is read", place)
        return False


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is the system's own, not the user's."""
    return name.startswith(".") or name in OF_THE_SYSTEM


def in_folder(folder: Path, below: bool = True) -> Listing:
    """The files in a folder, and those `below` it; links are followed, but never in a circle.

    Raises OSError for a folder that may not be read: one that is passed over in silence would
    change every figure.
    """
    found = Listing()
    _walk(folder, PurePosixPath(), found, {os.path.realpath(folder)} if below else None)
    return found


def _walk(folder: Path, place: PurePosixPath, found: Listing, seen: set[str] | None) -> None:
    """List one folder. seen: the true paths of those that were listed; None to list no other."""
    with os.scandir(folder) as content:
        items = sorted(content, key=lambda item: item.name)
    for item in items:
        here = place / item.name
        if is_hidden(item.name):
            found.remarks.add(IS_HIDDEN, here)
            continue
        try:
            facts = item.stat()
        except OSError:
            found.remarks.add("left out, links that lead nowhere", here, "link")
            continue
        if stat.S_ISDIR(facts.st_mode):
            if seen is None or len(here.parts) > MOST_LEVELS:
                found.remarks.add("left out, sub-folders", here, "folder")
                continue
            true_path = os.path.realpath(item.path)
            if true_path in seen:
                found.remarks.add("left out, links to a folder that is read already", here, "link")
                continue
            seen.add(true_path)
            found.folders.add(here)
            _walk(Path(item.path), here, found, seen)
        elif not stat.S_ISREG(facts.st_mode):
            found.remarks.add("left out, pipes and devices", here)
        elif found.is_taken(here):
            found.entries.append(Entry(here, stamp_of(facts), lambda path=Path(item.path): path))


def stamp_of(facts: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does."""
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


# Zips


@contextlib.contextmanager
def open_zip(path: Path, said: str) -> Iterator[zipfile.ZipFile]:
    """A zip with names that lead nowhere else; Mistake for any other.

    said: the option and its value, as the user gave them.
    """
    try:
        archive = zipfile.ZipFile(path)
    except OSError:
        raise
    except Exception as error:  # a damaged directory raises anything
        raise Mistake(f"{said}: is a damaged zip ({_words(error)}); make it anew") from None
    with archive:
        _check_names(archive, said)
        yield archive


def _check_names(archive: zipfile.ZipFile, said: str) -> None:
    infos = archive.infolist()
    if len(infos) > MOST_FILES:
        raise Mistake(f"{said}: announces {len(infos):,} files, at most {MOST_FILES:,} are read")
    for info in infos:
        name, place = printable(info.filename), place_of(info)
        if info.flag_bits & 1:
            raise Mistake(f"{said}: {name} in it is encrypted; unpack it, and name the folder")
        if ".." in place.parts or place.is_absolute() or ":" in (*place.parts, "")[0]:
            raise Mistake(f"{said}: {name} in it leads out of it; such a zip is not read")
        is_packed = place.suffix.lower() in ARCHIVES and not info.is_dir()
        if is_packed and not any(map(is_hidden, place.parts)):
            raise Mistake(f"{said}: {name} in it is packed itself; unpack it, and name the folder")


def place_of(info: zipfile.ZipInfo) -> PurePosixPath:
    """Where a file of a zip stands; some of Windows have backslashes."""
    return PurePosixPath(info.filename.replace("\\", "/"))


def in_zip(archive: zipfile.ZipFile, said: str) -> Listing:
    """The files in a zip. said: the option that named it, for a Mistake."""
    found, hidden = Listing(), set()
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        place = place_of(info)
        chain = [*reversed(place.parents), place][1:]  # folders from the top, and itself
        if hidden_one := next((each for each in chain if is_hidden(each.name)), None):
            if hidden_one not in hidden:
                found.remarks.add(IS_HIDDEN, hidden_one)
            hidden.add(hidden_one)
            continue
        found.folders.update(chain if info.is_dir() else chain[:-1])
        if info.is_dir():
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            found.remarks.add("left out, links", place, "link")
        elif found.is_taken(place):
            read = lambda info=info: io.BytesIO(unpacked(archive, info, said))  # noqa: E731
            found.entries.append(Entry(place, (), read))
    return found


def unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, said: str) -> bytes:
    """One file of a zip; Unreadable if it is damaged, Mistake if it is shorter than announced."""
    if info.file_size > MOST_BYTES:
        raise Unreadable(f"{info.file_size:,} bytes is too large")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unreadable("is packed by a method that is not read")
    short = f"{said}: holds less than it announces ({printable(info.filename)}); make it anew"
    if info.file_size > MOST_PACKED * info.compress_size:
        raise Mistake(short)
    try:
        with archive.open(info) as file:
            content = file.read(info.file_size + 1)
    except EOFError:
        raise Mistake(short) from None
    except (
        *(zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError),
        *(RuntimeError, ValueError, OverflowError, OSError),
    ) as error:
        raise Unreadable(_words(error)) from None
    if len(content) < info.file_size:
        raise Mistake(short)
    return content


def _words(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:80] or type(error).__name__
