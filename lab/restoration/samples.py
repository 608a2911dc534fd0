"""The sheet of `--samples N`: several restorations of each image, their mean and their spread."""

import torch
from torch import Tensor

from lab.errors import Mistake
from lab.restoration.corruption import Corruption, filled
from lab.restoration.restorers import Context, applicable
from lab.restoration.scoring import CleanImages, json_values, table_row
from lab.restoration.sheets import Sheets

MAX_SAMPLED = 8  # rows of the sheet


def show_samples(
    context: Context, sheets: Sheets, corruption: Corruption, clean: Tensor, count: int
) -> None:
    """Draw `count` restorations of each image beside their mean and twice their deviation."""
    clean = clean[:MAX_SAMPLED]
    samplers = [row for row in applicable(context, corruption).values() if row.sample]
    if not samplers:
        raise Mistake(
            f"--samples {count}: there is no sampler for {corruption}; "
            f"--train-sampler trains a network that can"
        )
    corrupted = corruption.apply(clean, context.seed)
    found = samplers[0].sample(context, corrupted, corruption, count)  # (N, count, C, H, W)
    score = CleanImages(clean).scores_of_samples(found)
    print(table_row(str(corruption), f"mean of {count} samples", score), flush=True)
    spread = found.std(1, correction=0)
    parts = (clean, filled(corrupted), found.mean(1), (2 * spread).clamp(max=1))
    rows = torch.cat([*(part[:, None] for part in parts), found], 1)
    sheets.save(
        f"samples_{corruption.file_stem}.png",
        f"{sheets.dataset.title}, {corruption.title}: {count} restorations to choose from",
        [(f"image {index}", row) for index, row in enumerate(rows)],
        {
            **corruption.facts(),
            **{"images": len(clean), "seed": context.seed},
            "of_samples": json_values(score),
        },
        columns=("clean", "given", "mean", "spread", *map(str, range(1, count + 1))),
        most=4 + count,
    )
