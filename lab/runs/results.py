"""What denoise_images.py makes: sheets of restored images, and scores.json, which says what of.

What networks have made that have been replaced since would be taken for the work of those that
there are now: it is removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab import files
from lab.errors import Mistake
from lab.models.shipped import WEIGHTS
from lab.runs import schema
from lab.runs.layout import RunFiles, holds_a_run
from lab.runs.schema import Scores, Sheet
from lab.text import listed

RESULTS = "denoising_results"  # the folder's name, in a run folder or in outputs
# Beside the sheets: the user's own images, restored.
OWN_FOLDERS = ("denoised", "projected", "samples")


@dataclass(frozen=True)
class Networks:
    """The networks that sheets are made with, and the name of the set they were trained on."""

    dataset: str
    generator: Path
    generator_sha256: str
    denoiser_sha256: str | None = None  # None if there was none
    sampler_sha256: str | None = None

    @property
    def restorers(self) -> dict[str, str | None]:
        """The digests of those that restore, as a sheet records them."""
        return {"denoiser_sha256": self.denoiser_sha256, "sampler_sha256": self.sampler_sha256}


class RestorationResults:
    """A folder of restored images, and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remarks: list[str] = []  # what was found damaged

    def __str__(self) -> str:
        return str(self.folder)

    # What every sheet shows, and what the images in it score.
    scores_path = property(lambda results: results.folder / "scores.json")

    def sheet_path(self, name: str) -> Path:
        """A sheet: rows of images, clean, corrupted, restored."""
        return self.folder / name

    def own_folder(self, name: str) -> Path:
        """One's own images, restored; name: one of OWN_FOLDERS."""
        return self.folder / name

    def network_path(self, generator: Path, role: str) -> Path:
        """The denoiser or the sampler lies beside its generator; where it cannot, with results.

        Nothing is put among the weights that ship.
        """
        beside = getattr(RunFiles(generator.parent), f"{role}_path")
        is_open = os.access(beside.parent, os.W_OK) and beside.parent != WEIGHTS
        return beside if beside.is_file() or is_open else self.folder / beside.name

    def check_images(self, folder: Path) -> None:
        """Mistake if --images is a run folder, or one whose pictures could be written over."""
        if holds_a_run(folder):
            cure = "name the final_generated_images in it, or a folder of your own"
            raise Mistake(f"--images {folder}: is a run folder, with grids and curves; {cure}")
        written = (self.folder, *map(self.own_folder, OWN_FOLDERS))
        if folder.resolve() in [path.resolve() for path in written]:
            raise Mistake(f"--images {folder}: could be written over; give another --out")

    @cached_property
    def scores(self) -> Scores:
        """scores.json; without one, or of a damaged one, an empty record."""
        return self._read()

    def _read(self) -> Scores:
        return schema.read_if_sound(self.scores_path, Scores, self.remarks) or Scores()

    def save(
        self, name: str, sheet: Sheet, networks: Networks, draw: Callable[[Path], object]
    ) -> None:
        """Have `draw` write a sheet, and record it; what is there of the same networks is kept.

        name: the sheet's file. The folder is held meanwhile: two programs that restore with one run
        both keep what they made.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with files.held(self.folder):
            sheets = self._kept_sheets(networks, but=sheet.pictures)
            if name in sheets:
                self._remove_pictures(sheets[name], but=sheet.pictures)
            draw(self.sheet_path(name))
            sheets[name] = sheet.model_copy(update=networks.restorers)
            self.scores = Scores(
                dataset=networks.dataset,
                generator=str(networks.generator),
                generator_sha256=networks.generator_sha256,
                sheets=dict(sorted(sheets.items())),
            )
            files.write_json(self.scores_path, self.scores.model_dump(exclude_unset=True))

    def _kept_sheets(self, networks: Networks, but: Collection[str]) -> dict[str, Sheet]:
        """The sheets in scores.json that the same networks made; those by others are removed."""
        found = self._read()
        same_generator = found.generator_sha256 == networks.generator_sha256
        kept, removed = {}, []
        for name, sheet in found.sheets.items():
            pairs = [(getattr(sheet, role), now) for role, now in networks.restorers.items()]
            if same_generator and all(None in pair or pair[0] == pair[1] for pair in pairs):
                kept[name] = sheet
                continue
            removed.append(name)
            self._remove_pictures(sheet, but)
            if _is_picture(name) and self.sheet_path(name).is_file():
                self.sheet_path(name).unlink()
        if removed:
            print(f"removed, since these networks did not make them: {listed(removed)}")
        return kept

    def _remove_pictures(self, sheet: Sheet, but: Collection[str]) -> None:
        """Remove the user's restored pictures that a sheet showed, `but` for those just made."""
        for name in sheet.pictures:
            if _is_picture(name) and name not in but:
                for own in OWN_FOLDERS:
                    (self.own_folder(own) / name).unlink(missing_ok=True)


def _is_picture(name: str) -> bool:
    """Whether a name from a file, which anyone may have written, is that of a PNG in its folder."""
    return files.is_plain_name(name) and name.lower().endswith(".png")
