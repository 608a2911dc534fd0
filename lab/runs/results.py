"""Output of denoise_images.py: sheets of restored images, and scores.json with their scores.

Results of networks that have been replaced are removed, so that nobody takes them for results of
the present ones.
"""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab import files
from lab.errors import Mistake
from lab.models.shipped import WEIGHTS
from lab.runs import schema
from lab.runs.layout import check_pictures
from lab.runs.schema import Scores, Sheet
from lab.text import listed

RESULTS = "denoising_results"  # folder name, in a run folder or in outputs
OWN_FOLDERS = ("denoised", "projected", "samples")  # restored pictures of --images


@dataclass(frozen=True)
class Networks:
    """The networks that restored the images, and the name of their data set."""

    dataset: str
    generator: Path
    generator_sha256: str
    denoiser_sha256: str | None = None  # None without a denoiser
    sampler_sha256: str | None = None

    @property
    def restorers(self) -> dict[str, str | None]:
        """The digests of denoiser and sampler, by their keys in scores.json."""
        return {"denoiser_sha256": self.denoiser_sha256, "sampler_sha256": self.sampler_sha256}


class RestorationResults:
    """A folder with sheets of restored images, and those of --images in OWN_FOLDERS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remarks: list[str] = []  # about damaged files

    def __str__(self) -> str:
        return str(self.folder)

    # A description and the scores of every sheet.
    scores_path = property(lambda results: results.folder / "scores.json")

    def network_path(self, generator: Path, role: str) -> Path:
        """The path of a trained denoiser or sampler: beside the generator, if that is writable.

        Otherwise, or if the generator ships with the lab, it is in this folder.
        """
        path = generator.parent / f"{role}.pth"
        is_writable = os.access(path.parent, os.W_OK) and not path.parent.samefile(WEIGHTS)
        return path if path.is_file() or is_writable else self.folder / path.name

    def check_images(self, folder: Path) -> None:
        """Mistake if --images is a run folder, or one whose pictures would be overwritten."""
        check_pictures(folder)
        written = (self.folder, *(self.folder / own for own in OWN_FOLDERS))
        if folder.resolve() in [path.resolve() for path in written]:
            raise Mistake(f"--images {folder}: would be overwritten; give another --out")

    @cached_property
    def scores(self) -> Scores:
        """scores.json, read once; empty if the file is missing or damaged."""
        return schema.read_if_sound(self.scores_path, Scores, self.remarks) or Scores()

    def save(
        self, name: str, sheet: Sheet, networks: Networks, draw: Callable[[Path], object]
    ) -> None:
        """Have `draw` write a sheet, add it to scores.json, and remove results of other networks.

        name: the sheet's file name. The folder is locked meanwhile, so that two programs can write
        results for the same run.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            sheets = self._remove_outdated(networks, keep=sheet.pictures)
            draw(self.folder / name)
            sheets[name] = sheet.model_copy(update=networks.restorers)
            self.scores = Scores(
                dataset=networks.dataset,
                generator=str(networks.generator),
                generator_sha256=networks.generator_sha256,
                sheets=dict(sorted(sheets.items())),
            )
            files.write_json(self.scores_path, self.scores.model_dump(exclude_unset=True))

    def remove_pictures(self, name: str) -> None:
        """Remove the restored pictures of an earlier sheet, before they are restored anew."""
        if self.folder.is_dir():
            with self._locked():
                self._remove_pictures(self.scores.sheets.get(name, Sheet()), keep=())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder and read its scores again, since another program may have written it."""
        with files.locked(self.folder):
            self.__dict__.pop("scores", None)
            yield

    def _remove_outdated(self, networks: Networks, keep: Collection[str]) -> dict[str, Sheet]:
        """Remove the sheets of other networks, except pictures in `keep`; returns the rest."""
        same_generator = self.scores.generator_sha256 == networks.generator_sha256
        kept, removed = {}, []
        for name, sheet in self.scores.sheets.items():
            pairs = [(getattr(sheet, key), sha256) for key, sha256 in networks.restorers.items()]
            if same_generator and all(None in pair or pair[0] == pair[1] for pair in pairs):
                kept[name] = sheet
                continue
            removed.append(name)
            self._remove_pictures(sheet, keep)
            if _is_picture(name) and (self.folder / name).is_file():
                (self.folder / name).unlink()
        if removed:
            print(f"removed, because they were made by other networks: {listed(removed)}")
        return kept

    def _remove_pictures(self, sheet: Sheet, keep: Collection[str]) -> None:
        """Remove the restored pictures of a sheet, except those in `keep`, which are new."""
        for name in sheet.pictures:
            if _is_picture(name) and name not in keep:
                for own in OWN_FOLDERS:
                    (self.folder / own / name).unlink(missing_ok=True)


def _is_picture(name: str) -> bool:
    """Whether an untrusted name is that of a PNG file, without a path."""
    return files.is_plain_name(name) and name.lower().endswith(".png")
