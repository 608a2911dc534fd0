"""What generate_images.py makes: samples, and beside them a sheet and dataset.json."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import files
from lab.data.datasets import DatasetSpec
from lab.data.writers import WRITERS
from lab.errors import Fault, Mistake

FORMAT = "gan-lab generated images"


@dataclass(frozen=True)
class GeneratedImages:
    """A folder or file of samples; nothing but samples is in it."""

    path: Path
    kind: str  # the format, a row of WRITERS

    def __str__(self) -> str:
        return str(self.path)

    # A look at the first of them, and of their twins.
    sheet_path = property(lambda made: made.path.parent / "made.png")
    # How each of the samples that lie beside each other was made, by its name.
    facts_path = property(lambda made: made.path.parent / "dataset.json")

    def check(self, flag: str) -> None:
        """Mistake if they cannot be written, or if what is there was not made by the lab.

        flag: the option that led there.
        """
        files.check_path(flag, self.path)
        files.check_writable(flag, self.path.parent)
        above = GeneratedImages(self.path.parent, self.kind)
        if above.path.name in (above._made() or {}):
            raise Mistake(f"{flag} {above}: holds samples of another format; name another folder")
        made = self._made()
        if made is None or (self.sheet_path.exists() and not made):
            other = self.sheet_path if made is not None else self.facts_path
            raise Mistake(f"{flag} {self}: {other} is of another program; name another folder")
        is_empty = self.path.is_dir() and not any(self.path.iterdir())
        if self.path.exists() and made.get(self.path.name) != self.kind and not is_empty:
            what = f"is there already, and is not {self.kind} that generate_images.py has made"
            raise Mistake(f"{flag} {self}: {what}; name another")

    def record(self, facts: Mapping[str, Any]) -> None:
        """Write down how they were made."""
        made = files.read_json(self.facts_path)["made"] if self._made() else {}
        made[self.path.name] = {"kind": self.kind, **facts}
        files.write_json(self.facts_path, {"format": FORMAT, "made": made})

    def _made(self) -> dict[str, str] | None:
        """The kind of everything in dataset.json, by name; None if that is not the lab's."""
        if not self.facts_path.exists():
            return {}
        try:
            content = files.read_json(self.facts_path)
            if content["format"] == FORMAT:
                return {name: facts["kind"] for name, facts in content["made"].items()}
        except (Fault, KeyError, TypeError, AttributeError):
            pass
        return None


def places(
    flag: str, out: Path, kind: str, spec: DatasetSpec, endings: Sequence[str]
) -> list[GeneratedImages]:
    """Where samples of that kind go that are asked for at `out`, by the option `flag`.

    endings: of the name, one for each kind of images. Mistake where one cannot be written.
    """
    writer = WRITERS[kind]
    out = Path(os.path.realpath(out))
    has_suffix = writer.suffix and out.suffix.lower() == writer.suffix
    stem = out.stem if has_suffix else out.name
    found = [
        GeneratedImages(out.parent / (stem + ending + writer.suffix) / writer.below(spec), kind)
        for ending in endings
    ]
    for each in found:
        each.check(flag)
    return found
