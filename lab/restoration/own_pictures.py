"""The user's own pictures: what is wrong with each is estimated, or given, and put right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lab.data.image_folder import Picture, save_pictures
from lab.data.pixels import unit_to_levels
from lab.restoration.corruption import Corruption, filled
from lab.restoration.estimation import estimate
from lab.restoration.restorers import RESTORERS, Context, Restorer, classes_won
from lab.restoration.sheets import MOST_SHOWN, Sheets
from lab.text import counted, listed, printable


def restore_own(
    context: Context,
    sheets: Sheets,
    pictures: Sequence[Picture],
    tiles: Tensor,
    restorers: Sequence[str],
    samples: int,
    given: Sequence[Corruption],
) -> None:
    """Restore each picture, in its tiles, into denoised/, projected/ and samples/, by its name.

    tiles: of all of them, (N, C, H, W) in [0, 1]. samples: of each. given: what is wrong with all
    of them; empty if that is to be estimated.
    """
    sizes = [len(picture.tiles) for picture in pictures]
    names = [picture.name for picture in pictures]
    wrong = [*given] * len(pictures) or estimate(context.denoiser, tiles, sizes)
    tiles = given[0].marked(tiles) if given else tiles
    rows, written = {"yours": filled(tiles)}, list(names)
    for name in restorers:
        restorer, count = RESTORERS[name], samples if RESTORERS[name].sample else 1
        if not restorer.own_folder or not count or getattr(context, restorer.needs) is None:
            continue
        made = restore_tiles(restorer, context, tiles, wrong, sizes, count)  # (N, count, C, H, W)
        folder = sheets.results.own_folder(restorer.own_folder)
        for index in range(count):
            ending = f"_{index + 1}" * bool(restorer.sample)
            version = unit_to_levels(made[:, index].clone())
            written += save_pictures(folder, pictures, version, ending)
        rows[restorer.own_folder] = made[:, 0]
    words = {name: str(what or "none") for name, what in zip(names, wrong, strict=True)}
    how = "given" if given else "estimated"
    for what in dict.fromkeys(words.values()):
        these = [name for name in names if words[name] == what]
        kept = ": kept as they are" if what == "none" else ""
        print(f"{what:<22}{how}, {counted(len(these), 'image')}: {printable(listed(these))}{kept}")
    if won := classes_won(context, sheets.dataset.spec.class_names):
        print(f"projected as {listed(won, 16)}")
    first = f" (the first {MOST_SHOWN} of {len(tiles)})" if len(tiles) > MOST_SHOWN else ""
    columns = [name for name, size in zip(names, sizes, strict=True) for _ in range(size)]
    facts = {"pictures": sorted(set(written))}
    sheets.save(
        "own_images.png",
        f"your own images{first}, restored as {sheets.dataset.title}",
        list(rows.items()),
        {**facts, "wrong": words, "wrong_was": how},
        columns,
        sample_part="by networks trained on",
    )


def restore_tiles(
    restorer: Restorer,
    context: Context,
    tiles: Tensor,
    wrong: Sequence[Corruption | None],
    sizes: Sequence[int],
    count: int,
) -> Tensor:
    """`count` restorations of the tiles (N, C, H, W) of pictures, each with what is wrong with it.

    (N, count, C, H, W); tiles of pictures that nothing is wrong with stay as they are. Those that
    suffer of one kind are restored together.
    """
    made = filled(tiles)[:, None].repeat(1, count, 1, 1, 1)
    each = [what for what, size in zip(wrong, sizes, strict=True) for _ in range(size)]
    for kind in dict.fromkeys(type(what) for what in each if what):
        rows = [index for index, what in enumerate(each) if type(what) is kind]
        severities = torch.tensor([float(each[row].severity) for row in rows]).to(tiles)
        given = (context, tiles[rows], each[rows[0]].with_severity(severities))
        sample = restorer.sample
        made[rows] = sample(*given, count) if sample else restorer.restore(*given)[:, None]
    return made
