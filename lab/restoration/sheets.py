"""Sheets of restored images: draws them and records their scores in scores.json."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lab.data.datasets import Dataset
from lab.data.pixels import unit_to_levels
from lab.restoration.corruption import Corruption, filled
from lab.restoration.restorers import Context, applicable
from lab.restoration.scoring import CleanImages, json_values, table_row
from lab.runs.results import Networks, RestorationResults
from lab.runs.schema import Sheet
from lab.text import counted

MAX_SHOWN = 16  # images in a row of a sheet; all images are scored
MAX_SAMPLED = 8  # rows of the sheet of --samples


@dataclass(frozen=True)
class Sheets:
    """Writes sheets into a folder of results."""

    results: RestorationResults
    dataset: Dataset  # of the images
    networks: Networks  # that restored them
    footnote: str  # on the bundled sample, if figures or networks are from it
    draw: Callable[..., object]  # report.figures.save_sheet, which this package may not import

    def save(
        self,
        name: str,
        title: str,
        rows: Sequence[tuple[str, Tensor]],
        facts: dict[str, Any],
        columns: Sequence[str] = (),
        most: int = MAX_SHOWN,
    ) -> None:
        """Draw labelled rows of images (N, C, H, W) in [0, 1], and record `facts` about them.

        name: of the file. columns: names of the columns, if any. most: the number of images shown
        in a row.
        """
        shown = [(label, unit_to_levels(row[:most])) for label, row in rows]
        sheet = Sheet(title=title, bundled_sample=bool(self.footnote), **{"pictures": [], **facts})
        self.results.save(
            *(name, sheet, self.networks),
            draw=lambda path: self.draw(path, shown, title, self.footnote, columns[:most]),
        )


def show_samples(
    context: Context, sheets: Sheets, corruption: Corruption, clean: Tensor, count: int
) -> None:
    """The sheet of --samples: `count` restorations of each image, their mean and their spread.

    clean: (N, C, H, W). The spread is twice the standard deviation of a pixel. `restorers.select`
    says whether there is a sampler.
    """
    clean = clean[:MAX_SAMPLED]
    sampler = next(row for row in applicable(context, corruption).values() if row.sample)
    corrupted = corruption.apply(clean, context.seed)
    found = sampler.sample(context, corrupted, corruption, count)  # (N, count, C, H, W)
    score = CleanImages(clean).scores_of_samples(found)
    print(table_row(str(corruption), f"mean of {counted(count, 'sample')}", score), flush=True)
    spread = found.std(1, correction=0)
    parts = (clean, filled(corrupted), found.mean(1), (2 * spread).clamp(max=1))
    rows = torch.cat([*(part[:, None] for part in parts), found], 1)
    sheets.save(
        f"samples_{corruption.file_stem}.png",
        f"{sheets.dataset.title}, {corruption.title}: {counted(count, 'possible restoration')}",
        [(f"image {index}", row) for index, row in enumerate(rows)],
        {
            **corruption.facts(),
            **{"images": len(clean), "seed": context.seed, "of_samples": json_values(score)},
        },
        columns=("clean", "given", "mean", "spread", *map(str, range(1, count + 1))),
        most=4 + count,
    )
