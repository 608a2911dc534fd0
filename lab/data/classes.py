"""Which half and which class a picture belongs to, by the folders that it lies in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from lab.data.listing import Entry, Listing
from lab.errors import Mistake
from lab.text import counted, listed, printable

TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first that is there
MOST_NAME = 200  # letters of a class


def sorted_into(found: Listing, said: str) -> tuple[list[Entry], list[str]]:
    """Every picture with its half and class; what is to be said of it. Mistake for a muddle.

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
        left_out = printable(listed(others))
        notices.append(f"left out, neither {train.name} nor {test.name}: {left_out}")
    halves = [_in_classes(found, half, half == test, said) for half in (train, test)]
    has_classes = [any(entry.name for entry in half) for half in halves]
    if all(halves) and has_classes[0] != has_classes[1]:
        sorted_half, other = (train, test) if has_classes[0] else (test, train)
        raise Mistake(f"{said}: {sorted_half.name} has classes, {other.name} none; sort both")
    return halves[0] + halves[1], notices


def _step_in(found: Listing, top: PurePosixPath) -> PurePosixPath:
    """The folder that the pictures lie in, past those that hold but one folder."""
    inside = [folder for folder in found.folders if folder.parent == top]
    if len(inside) != 1 or any(entry.place.parent == top for entry in found.entries):
        return top
    return _step_in(found, inside[0])


def _in_classes(found: Listing, top: PurePosixPath, is_test: bool, said: str) -> list[Entry]:
    """The pictures below a folder, in the classes that its sub-folders are."""
    top = _step_in(found, top)
    depth = len(top.parts)
    entries = [entry for entry in found.entries if top in entry.place.parents]
    loose = sum(entry.place.parent == top for entry in entries)
    if loose == len(entries):
        return [replace(entry, is_test=is_test) for entry in entries]
    if loose:
        raise Mistake(
            f"{said}: {counted(loose, 'picture')} beside {len(entries) - loose:,} in sub-folders; "
            "sort all of them into classes, or none"
        )
    folders = [entry.place.parts[depth] for entry in entries]
    for empty in sorted(f for f in found.folders if f.parent == top and f.name not in {*folders}):
        name = printable(str(empty))
        raise Mistake(f"{said}: the class {name} has no pictures; fill its folder or remove it")
    names = (printable(folder)[:MOST_NAME] for folder in folders)
    return [
        replace(entry, is_test=is_test, name=name)
        for entry, name in zip(entries, names, strict=True)
    ]


def in_order(names: Iterable[str]) -> list[str]:
    """The names of classes in their order: numbers by size, others by their letters."""
    return sorted(
        names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
    )
