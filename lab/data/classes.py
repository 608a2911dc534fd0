"""Which half and which class a picture belongs to, by the folders that it lies in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from lab.data.listing import Entry, Listing
from lab.errors import Mistake
from lab.text import counted, listed, printable

TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first that is there
MOST_NAME = 200  # letters of a class


@dataclass(frozen=True, slots=True)
class Place:
    """A picture in its half, and the name of its class; "" without."""

    entry: Entry
    is_test: bool
    name: str


def sorted_into(found: Listing, said: str) -> tuple[list[Place], list[str]]:
    """Every picture in its half and class; what is to be said of it. Mistake for a muddle.

    A single folder around everything is stepped into; `train` beside `test` or `val` are halves;
    else, and within these, either all pictures lie loose or each in the folder of its class.
    """
    top = _step_in(found, PurePosixPath())
    below = {folder.name.lower(): folder for folder in found.folders if folder.parent == top}
    train = next((below[name] for name in TRAIN if name in below), None)
    test = next((below[name] for name in TEST if name in below), None)
    if not (train and test) or any(entry.place.parent == top for entry in found.entries):
        return _in_classes(found, top, False, said), []
    notices = []
    if others := sorted(folder.name for folder in below.values() if folder not in (train, test)):
        notices.append(
            f"left out, neither {train.name} nor {test.name}: {printable(listed(others))}"
        )
    halves = [_in_classes(found, top, top == test, said) for top in (train, test)]
    counts = [len({place.name for place in half} - {""}) for half in halves]
    if all(halves) and bool(counts[0]) != bool(counts[1]):
        with_classes, without = (train, test) if counts[0] else (test, train)
        raise Mistake(f"{said}: {with_classes.name} has classes, {without.name} none; sort both")
    return halves[0] + halves[1], notices


def _step_in(found: Listing, top: PurePosixPath) -> PurePosixPath:
    """The folder that the pictures lie in, past those that hold but one folder."""
    while True:
        inside = [folder for folder in found.folders if folder.parent == top]
        if len(inside) != 1 or any(entry.place.parent == top for entry in found.entries):
            return top
        top = inside[0]


def _in_classes(found: Listing, top: PurePosixPath, is_test: bool, said: str) -> list[Place]:
    """The pictures below a folder, in the classes that its sub-folders are."""
    top = _step_in(found, top)
    depth = len(top.parts)
    entries = [entry for entry in found.entries if top in entry.place.parents]
    loose = [entry for entry in entries if entry.place.parent == top]
    if len(loose) == len(entries):
        return [Place(entry, is_test, "") for entry in entries]
    if loose:
        raise Mistake(
            f"{said}: {counted(len(loose), 'picture')} beside {len(entries) - len(loose):,} in "
            "sub-folders; sort all of them into classes, or none"
        )
    filled = Counter(entry.place.parts[depth] for entry in entries)
    for folder in sorted(found.folders):
        if folder.parent == top and not filled[folder.name]:
            name = printable(str(folder))
            raise Mistake(f"{said}: the class {name} has no pictures; fill its folder or remove it")
    return [Place(entry, is_test, _class_name(entry.place.parts[depth])) for entry in entries]


def _class_name(folder: str) -> str:
    text = folder.encode("utf-8", "replace").decode()  # a folder's name need not be valid text
    return printable(text)[:MOST_NAME]


def in_order(names: Iterable[str]) -> list[str]:
    """The names of classes in their order: numbers by size, others by their letters."""
    return sorted(
        names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
    )
