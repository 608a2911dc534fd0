"""Lists the pictures in a folder or a zip file that stays packed. Contents may be hostile."""

import contextlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from lab.data.pictures import ENDINGS, RESIZED, Unreadable
from lab.errors import Mistake
from lab.text import counted, printable, sized

# Left in folders by operating systems; names that begin with a dot are skipped, too.
SYSTEM_NAMES = {
    *("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN"),
    "System Volume Information",  # on every stick that was in a computer with Windows
}
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
MAX_BYTES = 200_000_000  # in the file of a picture
MAX_DEFLATE_RATIO = 1_032  # decompressed bytes per byte that Deflate can reach
MAX_FILES = 3_000_000
MAX_LEVELS = 100  # of nested folders
MAX_NAME = 200  # characters in the name of a class
NAMED = 3  # files that a remark names
UNREAD = "left out, cannot be read"
HIDDEN = "left out, hidden files and folders of the system"


class Remarks:
    """Collects remarks about files, for one line each with their count and the first names."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, str], list[str]] = defaultdict(list)  # by remark and noun

    def add(self, remark: str, name: object, noun: str = "file") -> None:
        """Record that the remark applies to a file, or to what `noun` says."""
        self.names[remark, noun].append(printable(str(name)))

    def note(self, line: str) -> None:
        """Record a remark that applies to the set as a whole."""
        self.names[line, ""] = []

    def merge_sizes(self, shape: Sequence[int]) -> None:
        """Merge more than three remarks that a picture was resized to `shape` (C, H, W)."""
        several = [key for key in self.names if key[0].startswith(RESIZED)]
        if len(several) > NAMED:
            names = [name for key in several for name in self.names.pop(key)]
            self.names[f"{RESIZED} {len(several):,} sizes to {sized(shape)}", "file"] = names

    def lines(self) -> list[str]:
        """`resized from 40 x 40 to 28 x 28: 7 files (a.png, b.png, c.png, ...)`."""
        lines = []
        for (remark, noun), names in self.names.items():
            shown = names[:NAMED] + ["..."] * (len(names) > NAMED)
            which = f": {counted(len(names), noun)} ({', '.join(shown)})" if names else ""
            lines.append(remark + which)
        return lines


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that may be a picture, or an image of an array."""

    place: PurePosixPath  # its path relative to the folder, or its index in the array
    stamp: tuple[int, ...]  # size and times of change, to recognise a change; () in a zip
    source: Callable[[], Path | io.BytesIO | Image.Image]  # its content; raises Unreadable
    is_test: bool = False  # of a file set from its folders by `conversion`, as is its class
    class_name: str = ""  # "" for none
    noun: str = "file"


@dataclass
class Listing:
    """Pictures sorted by path, all folders, and remarks on what was left out."""

    entries: list[Entry] = field(default_factory=list)
    folders: set[PurePosixPath] = field(default_factory=set)
    remarks: Remarks = field(default_factory=Remarks)

    def facts(self) -> list[Any]:
        """Everything on which the converted images depend, for the name of the cache file."""
        files = [(str(entry.place), entry.stamp) for entry in self.entries]
        return [files, sorted(map(str, self.folders)), self.remarks.lines()]

    def accepts(self, place: PurePosixPath) -> bool:
        """Whether a file's ending is that of a picture; adds a remark if not."""
        if place.suffix.lower() in ENDINGS:
            return True
        self.remarks.add("left out, not of a kind that is read", place)
        return False


def is_hidden(name: str) -> bool:
    """Whether the name is that of a hidden file or folder, or of one made by the system."""
    return name.startswith(".") or name in SYSTEM_NAMES


def list_folder(folder: Path, below: bool = True) -> Listing:
    """List a folder, with its sub-folders if `below`; follows links, each folder once.

    Raises OSError for a folder that cannot be read, since skipping it would change the results.
    """
    found = Listing()
    _walk(folder, PurePosixPath(), found, {os.path.realpath(folder)} if below else None)
    return found


def _walk(folder: Path, place: PurePosixPath, found: Listing, seen: set[str] | None) -> None:
    """Add one folder to `found`. seen: real paths of folders listed; None to skip sub-folders."""
    with os.scandir(folder) as content:
        items = sorted(content, key=lambda item: item.name)
    for item in items:
        here = place / item.name
        if is_hidden(item.name):
            found.remarks.add(HIDDEN, here)
            continue
        try:
            facts = item.stat()
        except OSError as error:
            if isinstance(error, PermissionError) and not item.is_symlink():
                raise
            found.remarks.add("left out, links that lead nowhere", here, "link")
            continue
        if stat.S_ISDIR(facts.st_mode):
            if seen is None or len(here.parts) > MAX_LEVELS:
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
        elif found.accepts(here):
            found.entries.append(Entry(here, stamp_of(facts), lambda path=Path(item.path): path))


def stamp_of(facts: os.stat_result) -> tuple[int, ...]:
    """Size and times of change of a file."""
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def open_zip(path: Path, flag: str) -> zipfile.ZipFile:
    """Open a zip file; Mistake, about `flag`, if it is damaged, encrypted or has unsafe names."""
    try:
        archive = zipfile.ZipFile(path)
    except OSError:
        raise
    except Exception as error:  # zipfile may raise anything for a damaged file
        what = f"is not a valid zip or npz file ({_error_text(error)})"
        raise Mistake(f"{flag}: {what}; name one, or a folder") from None
    _check_names(archive, flag)
    return archive


def _check_names(archive: zipfile.ZipFile, flag: str) -> None:
    infos, cure = archive.infolist(), "unpack it, and name the folder"
    if len(infos) > MAX_FILES:
        raise Mistake(f"{flag}: announces {len(infos):,} files, at most {MAX_FILES:,} are read")
    for info in infos:
        name, place = printable(info.filename), path_in_zip(info)
        if info.flag_bits & 1:
            raise Mistake(f"{flag}: {name} in it is encrypted; {cure}")
        if ".." in place.parts or place.is_absolute() or ":" in str(place).partition("/")[0]:
            raise Mistake(f"{flag}: {name} in it is a path outside the zip; {cure}")
        if len(place.parts) > MAX_LEVELS:  # a single name might take gigabytes of memory
            raise Mistake(f"{flag}: {name} in it is in more than {MAX_LEVELS} folders; {cure}")
        is_packed = place.suffix.lower() in ARCHIVES and not _is_folder(info)
        if is_packed and not any(map(is_hidden, place.parts)):
            raise Mistake(f"{flag}: {name} in it is an archive, too; {cure}")


def path_in_zip(info: zipfile.ZipInfo) -> PurePosixPath:
    """The path of a file in a zip; some made on Windows have backslashes."""
    name = info.filename
    with contextlib.suppress(UnicodeError):  # macOS writes UTF-8, which zipfile reads as cp437
        name = name.encode("cp437").decode()
    return PurePosixPath(name.replace("\\", "/"))


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith("/")  # `is_dir` of Python 3.11 fails for an empty name


def list_zip(archive: zipfile.ZipFile, flag: str) -> Listing:
    """List the pictures in a zip. flag: `--dataset PATH` as given, for messages."""
    found, hidden = Listing(), set()
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        place = path_in_zip(info)
        chain = [*reversed(place.parents), place][1:]  # its folders from the top, then the file
        if hidden_one := next((each for each in chain if is_hidden(each.name)), None):
            if hidden_one not in hidden:
                found.remarks.add(HIDDEN, hidden_one)
            hidden.add(hidden_one)
            continue
        found.folders.update(chain if _is_folder(info) else chain[:-1])
        if _is_folder(info):
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            found.remarks.add("left out, links", place, "link")
        elif found.accepts(place):
            found.entries.append(Entry(place, (), lambda info=info: _read(archive, info, flag)))
    return found


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, flag: str) -> io.BytesIO:
    """The content of a file in a zip; Unreadable if damaged, Mistake if its size is false."""
    if info.file_size > MAX_BYTES:
        raise Unreadable(f"{info.file_size:,} bytes is too large")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unreadable("is packed by a method that is not read")
    short = f"{flag}: is shorter than its header says ({printable(info.filename)}); create it again"
    if info.file_size > MAX_DEFLATE_RATIO * info.compress_size:
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
        raise Unreadable(_error_text(error)) from None
    if len(content) < info.file_size:
        raise Mistake(short)
    return io.BytesIO(content)


def _error_text(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:80] or type(error).__name__
