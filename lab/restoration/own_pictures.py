"""Restores the user's own pictures; the corruption of each is given, or else estimated."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.data.image_folder import Picture, save_pictures
from lab.data.pixels import unit_to_levels
from lab.restoration.corruption import Corruption, filled
from lab.restoration.corruptions import CORRUPTIONS
from lab.restoration.examples import KINDS
from lab.restoration.restorers import RESTORERS, Context, Restorer, projected_classes
from lab.restoration.sheets import MAX_SHOWN, Sheets
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
    """Restore each picture into denoised/, projected/ and samples/, under its own name.

    tiles: those of all pictures, (N, C, H, W) in [0, 1]. restorers: keys of RESTORERS. samples: how
    many per picture. given: the corruption of all pictures; empty to estimate that of each.
    """
    sizes = [len(picture.tiles) for picture in pictures]
    names = [picture.name for picture in pictures]
    found = [*given] * len(pictures) or estimate(context.denoiser, tiles, sizes)
    tiles = given[0].mark_missing(tiles) if given else tiles
    rows, written = {"yours": filled(tiles)}, list(names)
    for name in restorers:
        restorer, count = RESTORERS[name], samples if RESTORERS[name].sample else 1
        if not restorer.own_folder or not count or getattr(context, restorer.needs) is None:
            continue
        restored = restore_tiles(restorer, context, tiles, found, sizes, count)
        folder = sheets.results.folder / restorer.own_folder
        for index in range(count):
            ending = f"_{index + 1}" if restorer.sample else ""
            version = unit_to_levels(restored[:, index].clone())
            written += save_pictures(folder, pictures, version, ending)
        rows[restorer.own_folder] = restored[:, 0]
    corruption_of = {name: str(each or "none") for name, each in zip(names, found, strict=True)}
    how = "given" if given else "estimated"
    for corruption in dict.fromkeys(corruption_of.values()):
        these = [name for name in names if corruption_of[name] == corruption]
        kept = ": kept as they are" if corruption == "none" else ""
        which = f"{counted(len(these), 'image')}: {printable(listed(these))}{kept}"
        print(f"{corruption:<22}{how}, {which}")
    if classes := projected_classes(context, sheets.dataset.spec.class_names):
        print(f"projected as {listed(classes, 16)}")
    first = f" (the first {MAX_SHOWN} of {len(tiles)})" if len(tiles) > MAX_SHOWN else ""
    columns = [name for name, size in zip(names, sizes, strict=True) for _ in range(size)]
    sheets.save(
        "own_images.png",
        f"your own images{first}, restored as {sheets.dataset.title}",
        list(rows.items()),
        {"pictures": sorted(set(written)), "wrong": corruption_of, "wrong_was": how},
        columns,
        sample_part="by networks trained on",
    )


def restore_tiles(
    restorer: Restorer,
    context: Context,
    tiles: Tensor,
    corruptions: Sequence[Corruption | None],
    sizes: Sequence[int],
    count: int,
) -> Tensor:
    """`count` restorations (N, count, C, H, W) of each tile (N, C, H, W).

    corruptions, sizes: of each picture, its corruption and its number of tiles. Tiles of pictures
    without a corruption stay as they are; those with the same kind are restored in one batch.
    """
    restored = filled(tiles)[:, None].repeat(1, count, 1, 1, 1)
    of_tile = [each for each, size in zip(corruptions, sizes, strict=True) for _ in range(size)]
    for kind in dict.fromkeys(type(each) for each in of_tile if each):
        rows = [index for index, each in enumerate(of_tile) if type(each) is kind]
        severities = torch.tensor([float(of_tile[row].severity) for row in rows]).to(tiles)
        batch = (context, tiles[rows], of_tile[rows[0]].with_severity(severities))
        sample = restorer.sample
        restored[rows] = sample(*batch, count) if sample else restorer.restore(*batch)[:, None]
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
