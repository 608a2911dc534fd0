"""Sheets of restored images: draws them and records their scores in scores.json."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lab.data.datasets import Dataset
from lab.data.pixels import unit_to_levels
from lab.runs.results import Networks, RestorationResults
from lab.runs.schema import Sheet

MAX_SHOWN = 16  # images in a row of a sheet; all images are scored


@dataclass(frozen=True)
class Sheets:
    """Writes sheets into a folder of results.

    dataset, networks: the images' set, and the networks that restored them. draw: a function of
    (path, labelled rows of uint8 images, title, footnote, names of the columns).
    """

    results: RestorationResults
    dataset: Dataset
    networks: Networks
    draw: Callable[..., object]

    def save(
        self,
        name: str,
        title: str,
        rows: Sequence[tuple[str, Tensor]],
        facts: dict[str, Any],
        columns: Sequence[str] = (),
        most: int = MAX_SHOWN,
        sample_part: str = "from",
    ) -> None:
        """Draw labelled rows of images (N, C, H, W) in [0, 1], and record `facts` about them.

        name: of the file. columns: names of the columns, if any. most: the number of images shown
        in a row. sample_part: begins the footnote on the bundled sample, where that is the set.
        """
        footnote = self.dataset.footnote(sample_part)
        shown = [(label, unit_to_levels(row[:most])) for label, row in rows]
        sheet = Sheet(title=title, bundled_sample=bool(footnote), **{"pictures": [], **facts})
        self.results.save(
            *(name, sheet, self.networks),
            draw=lambda path: self.draw(path, shown, title, footnote, columns[:most]),
        )
