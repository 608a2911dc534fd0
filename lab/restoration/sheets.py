"""The sheets that denoise_images.py makes, and scores.json beside them, which says what they show.

What networks have made that have been replaced since would be taken for the work of those that
there are now: it is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lab import files as storage
from lab import lock
from lab.data.datasets import ImageSet
from lab.report import figures as images
from lab.runs import records
from lab.text import listed

MOST_SHOWN = 16  # images a row
OWN_FOLDERS = ("denoised", "projected")  # beside the sheets: the user's own images, restored


@dataclass(frozen=True)
class Sheet:
    """A picture of labelled rows (N, 1, 28, 28), and what scores.json says of it."""

    name: str
    title: str
    rows: Sequence[tuple[str, Tensor]]  # on the [0, 1] scale
    facts: dict[str, Any]
    most: int = MOST_SHOWN  # images a row that are shown; all of them are scored
    columns: Sequence[str] = ()  # their names, if they have any
    pictures: Sequence[str] = ()  # the user's own, a name a column; they lie in OWN_FOLDERS
    sample_part: str = "from"  # what the bundled sample has to do with it, if it was used


@dataclass(frozen=True)
class Restorers:
    """The networks that sheets are made with."""

    generator: Path
    generator_sha256: str
    denoiser_sha256: str | None  # None if there was none


def save(folder: Path, by: Restorers, image_set: ImageSet, made: Sequence[Sheet]) -> None:
    """Write sheets and scores.json into `folder`; what is there of the same networks is kept."""
    path = folder / "scores.json"
    folder.mkdir(parents=True, exist_ok=True)
    with lock.held(folder):
        entries = _kept_entries(path, by, made)
        for sheet in made:
            _remove_pictures(folder, entries.get(sheet.name), made)
            footnote = image_set.footnote(sheet.sample_part)
            rows = [(label, images.to_uint8(row[: sheet.most])) for label, row in sheet.rows]
            names = (sheet.columns or sheet.pictures)[: sheet.most]
            images.save_sheet(folder / sheet.name, rows, sheet.title, footnote, names)
            entries[sheet.name] = {
                "title": sheet.title,
                **sheet.facts,
                "pictures": sorted(set(sheet.pictures)),
                "denoiser_sha256": by.denoiser_sha256,
                "bundled_sample": bool(footnote),
            }
        content = {
            "dataset": image_set.name,
            "generator": str(by.generator),
            "generator_sha256": by.generator_sha256,
            "sheets": dict(sorted(entries.items())),
        }
        storage.write_json(path, content)


def _kept_entries(path: Path, by: Restorers, made: Sequence[Sheet]) -> dict[str, Any]:
    """What scores.json says of sheets by the same networks; those by others are removed."""
    found = records.content(path)
    entries = dict(storage.as_dict(found.get("sheets")))
    same_generator = found.get("generator_sha256") == by.generator_sha256
    old = [
        name
        for name, entry in entries.items()
        if not (same_generator and _same_denoiser(entry, by.denoiser_sha256))
    ]
    for name in old:
        _remove_pictures(path.parent, entries.pop(name), made)
        if _is_picture(name) and (path.parent / name).is_file():
            (path.parent / name).unlink()
    if old:
        print(f"removed, since these networks did not make them: {listed(old)}")
    return entries


def _same_denoiser(entry: Any, digest: str | None) -> bool:
    """Whether a sheet was made with the denoiser there is now, or one of the two is none."""
    shown = storage.as_dict(entry).get("denoiser_sha256")
    return None in (shown, digest) or shown == digest


def _remove_pictures(folder: Path, entry: Any, made: Sequence[Sheet]) -> None:
    """Remove the user's restored pictures that a sheet showed, but for those just made."""
    pictures = storage.as_dict(entry).get("pictures")
    new = {name for sheet in made for name in sheet.pictures}
    for name in pictures if isinstance(pictures, list) else []:
        if _is_picture(name) and name not in new:
            for own in OWN_FOLDERS:
                (folder / own / name).unlink(missing_ok=True)


def _is_picture(name: Any) -> bool:
    """Whether a name from a file, which anyone may have written, is that of a PNG in its folder."""
    return storage.is_plain_name(name) and name.lower().endswith(".png")
