"""Restores the user's own pictures; the corruption of each is given, or else estimated."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lab.data.image_folder import Picture, save_pictures
from lab.data.pixels import to_unit, unit_to_levels
from lab.restoration.corruption import Corruption, filled
from lab.restoration.corruptions import CORRUPTIONS, Gaussian, GaussianClipped
from lab.restoration.examples import KINDS
from lab.restoration.restorers import (
    RESTORERS,
    Context,
    Restorer,
    applicable,
    names_for_own,
    select_for_own,
)
from lab.restoration.sheets import MAX_SHOWN, Sheets
from lab.text import counted, listed, printable

SHEET = "own_images.png"


def restore_own(
    context: Context,
    sheets: Sheets,
    pictures: Sequence[Picture],
    restorers: Sequence[str],
    samples: int,
    given: Corruption | None = None,
) -> None:
    """Restore each picture into denoised/, projected/ and samples/, under its own name.

    restorers: keys of RESTORERS. samples: how many per picture. given: the corruption of all
    pictures; None to estimate that of each. Raises Mistake if no restorer can do it, before
    anything is written.
    """
    if type(given) is Gaussian:
        given = GaussianClipped(given.severity)  # files hold no value outside [0, 1]
    estimated = GaussianClipped(0.1)  # what undoes it undoes all that are estimated
    usable = applicable(context, given or estimated)
    chosen = select_for_own(restorers, samples, usable)
    unused = [name for name in restorers if name not in chosen]
    if unused and tuple(restorers) != tuple(RESTORERS):  # not the default
        can = f"{names_for_own(usable)} can restore your own pictures"
        print(f"note: --restorer {listed(unused)}: left out; {can}")
    sizes = [len(picture.tiles) for picture in pictures]
    names = [picture.name for picture in pictures]
    tiles = to_unit(torch.cat([picture.tiles for picture in pictures])).to(context.device)
    found = [given] * len(pictures) if given else estimate(context.denoiser, tiles, sizes)
    corruption_of = {name: str(each or "none") for name, each in zip(names, found, strict=True)}
    how = "given" if given else "estimated"
    print_corruptions(corruption_of, how)
    tiles = given.mark_missing(tiles) if given else tiles
    rows, written = {"yours": filled(tiles)}, set(names)
    columns = [name for name, size in zip(names, sizes, strict=True) for _ in range(size)]
    of_tile = [each for each, size in zip(found, sizes, strict=True) for _ in range(size)]
    sheets.results.remove_pictures(SHEET)  # other restorers may have made some
    for restorer in chosen.values():
        count = samples if restorer.sample else 1
        restored = restore_tiles(restorer, context, tiles, of_tile, columns, count)
        folder = sheets.results.folder / restorer.own_folder
        for index in range(count):
            ending = f"_{index + 1}" if restorer.sample else ""
            levels = unit_to_levels(restored[:, index])
            written.update(save_pictures(folder, pictures, levels, ending))
        rows[restorer.own_folder] = restored[:, 0]
    first = f" (the first {MAX_SHOWN} of {len(tiles)})" if len(tiles) > MAX_SHOWN else ""
    sheets.save(
        SHEET,
        f"your own images{first}, restored as {sheets.dataset.title}",
        list(rows.items()),
        {"pictures": sorted(written), "wrong": corruption_of, "wrong_was": how},
        columns,
    )


def print_corruptions(corruption_of: Mapping[str, str], how: str) -> None:
    """Print which pictures have which corruption. how: it was found."""
    for corruption in dict.fromkeys(corruption_of.values()):
        these = [name for name, each in corruption_of.items() if each == corruption]
        kept = ": kept as they are" if corruption == "none" else ""
        which = f"{counted(len(these), 'image')}: {printable(listed(these))}{kept}"
        print(f"{corruption + ' ':<22}{how}, {which}", flush=True)


def restore_tiles(
    restorer: Restorer,
    context: Context,
    tiles: Tensor,
    of_tile: Sequence[Corruption | None],
    names: Sequence[str],
    count: int,
) -> Tensor:
    """`count` restorations (N, count, C, H, W) of each tile (N, C, H, W).

    of_tile, names: of each tile, its corruption and its picture's name. Tiles without a corruption
    stay as they are; those with the same kind are restored in one batch. Prints in which class a
    conditional generator explains each best.
    """
    restored = filled(tiles)[:, None].repeat(1, count, 1, 1, 1)
    for kind in dict.fromkeys(type(each) for each in of_tile if each):
        rows = [index for index, each in enumerate(of_tile) if type(each) is kind]
        severities = torch.tensor([float(of_tile[row].severity) for row in rows]).to(tiles)
        batch = (context, tiles[rows], of_tile[rows[0]].with_severity(severities))
        sample = restorer.sample
        context.projected = []
        restored[rows] = sample(*batch, count) if sample else restorer.restore(*batch)[:, None]
        if context.projected:
            pairs = zip((names[row] for row in rows), context.projected, strict=True)
            line = listed([f"{name} as {found}" for name, found in pairs], 16)
            print(f"projected: {printable(line)}")
    return restored


@torch.no_grad()
def estimate(denoiser: nn.Module, tiles: Tensor, sizes: Sequence[int]) -> list[Corruption | None]:
    """The corruption of each picture, None where it has none, from its tiles (N, C, H, W).

    sizes: how many tiles each picture has. Only corruptions with `is_estimated` are considered.
    """
    logits, strengths, _ = denoiser.estimator(tiles)
    excluded = [name in CORRUPTIONS and not CORRUPTIONS[name].is_estimated for name in KINDS]
    logits = logits.masked_fill(torch.tensor(excluded, device=tiles.device), -torch.inf)
    parts = (part.split(list(sizes)) for part in (logits.log_softmax(1), strengths))
    return [_estimate_one(*each) for each in zip(*parts, strict=True)]


def _estimate_one(log_probabilities: Tensor, strengths: Tensor) -> Corruption | None:
    """The most likely corruption of all tiles of a picture, at their mean strength."""
    kind = int(log_probabilities.sum(0).argmax())
    if KINDS[kind] not in CORRUPTIONS:
        return None
    found = CORRUPTIONS[KINDS[kind]]
    strength = strengths[:, kind].mean().clamp(0, 1)
    severity = float(found.of_strength(strength).severity)
    return found(round(min(severity, found.most), 3))  # networks are trained on stronger ones, too
