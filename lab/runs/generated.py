"""Output of generate_images.py: images, and beside them a preview and dataset.json."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import files
from lab.data.datasets import DatasetSpec
from lab.data.listing import is_hidden
from lab.data.writers import WRITERS
from lab.errors import Fault, Mistake
from lab.text import printable

FORMAT = "gan-lab generated images"


@dataclass(frozen=True)
class GeneratedImages:
    """A folder or file that contains only generated images."""

    path: Path
    kind: str  # the format, a key of WRITERS

    def __str__(self) -> str:
        return str(self.path)

    # A preview of the first images and of their corrupted copies.
    sheet_path = property(lambda output: output.path.parent / "made.png")
    # How each output in the same folder was generated, by its name.
    facts_path = property(lambda output: output.path.parent / "dataset.json")

    def check(self, flag: str) -> None:
        """Mistake if the path cannot be written to, or has files of other programs.

        flag: the option that decided the path.
        """
        files.check_path(flag, self.path)
        cure = "name another folder" if flag == "--out" else "name one for the images with --out"
        files.check_writable(flag, self.path.parent, cure)
        if self.path in (self.sheet_path, self.facts_path):
            raise Mistake(f"{flag} {self}: a file of this name describes the images; {cure}")
        above = GeneratedImages(self.path.parent, self.kind)
        if above.path.name in (above._recorded() or {}):
            raise Mistake(f"{flag} {above}: has images of another format; {cure}")
        recorded = self._recorded()
        foreign = self.facts_path if recorded is None else self.sheet_path
        if not recorded and foreign.exists():
            what = f"{foreign} was written by another program"
            raise Mistake(f"{flag} {self}: {what}; {cure}")
        is_folder = not WRITERS[self.kind].suffix
        is_empty = is_folder and self.path.is_dir() and not any(self.path.iterdir())
        if self.path.exists() and recorded.get(self.path.name) != self.kind and not is_empty:
            what = f"exists and is not {self.kind} output of generate_images.py"
            raise Mistake(f"{flag} {self}: {what}; {cure}")
        if self.path.is_dir() and (name := self._foreign_file()):
            what = f"has {printable(name)}, which would be deleted; move it"
            raise Mistake(f"{flag} {self}: {what}, or {cure}")

    def _foreign_file(self) -> str:
        """The first file in the folder that the lab has not written, nor the system; else ""."""
        own = re.compile(WRITERS[self.kind].names)
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if not (path.is_dir() or is_hidden(path.name) or own.fullmatch(name)):
                return name
        return ""

    def record(self, facts: Mapping[str, Any]) -> None:
        """Add this output to dataset.json, with `facts` about how it was generated."""
        made = files.read_json(self.facts_path)["made"] if self._recorded() else {}
        made[self.path.name] = {"kind": self.kind, **facts}
        files.write_json(self.facts_path, {"format": FORMAT, "made": made})

    def _recorded(self) -> dict[str, str] | None:
        """The kinds in dataset.json, by name; None if another program wrote the file."""
        if not self.facts_path.exists():
            return {}
        try:
            content = files.read_json(self.facts_path)
            if content["format"] == FORMAT:
                return {name: facts["kind"] for name, facts in content["made"].items()}
        except (Fault, KeyError, TypeError, AttributeError):
            pass
        return None


def locate_outputs(
    flag: str, out: Path, kind: str, spec: DatasetSpec, endings: Sequence[str]
) -> list[GeneratedImages]:
    """The outputs at `out`, one for each of `endings`, which are appended to the name.

    flag: the option that decided `out`. kind: the format. Mistake if one cannot be written.
    """
    writer = WRITERS[kind]
    out = Path(os.path.realpath(out))
    has_suffix = writer.suffix and out.suffix.lower() == writer.suffix
    stem = out.stem if has_suffix else out.name
    outputs = [
        GeneratedImages(out.parent / (stem + ending + writer.suffix) / writer.below(spec), kind)
        for ending in endings
    ]
    for output in outputs:
        output.check(flag)
    return outputs
