"""Images of any program: read from a folder of pictures, and hung by class.

Pictures from elsewhere are not trusted: their size is looked at before they are unpacked, and what
cannot be read is named, not skipped in silence.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lab import chance, metrics
from lab.data import IMAGE_SIDE
from lab.errors import Mistake
from lab.images import PAPER, Unreadable, grid, new_figure, opened, save_figure, to_grey

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")  # whatever the file's name says
NAMED = 3  # unreadable files that are named before the rest is counted
SHOWN = 10  # images of a class in the picture


@dataclass(frozen=True)
class Gallery:
    """What was found in a folder: uint8 images (N, 1, 28, 28), and what was done to them."""

    images: Tensor
    notices: list[str]


def picture_files(folder: Path) -> list[Path]:
    """Every picture in `folder` and below, by name; Mistake if there is none."""
    if (folder / "config.json").is_file():
        raise Mistake(
            f"--images {folder}: is a run folder, with grids and curves; give it as --run, or name "
            "the final_generated_images in it"
        )
    found = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    files = sorted(path for path in found if path.is_file())
    if not files:
        raise Mistake(f"--images {folder}: no pictures in it; name a folder of PNG files")
    return files


def read(files: list[Path], most: int) -> Gallery:
    """Read pictures as grey ones of 28 x 28, at most so many, in an order without meaning.

    The order is shuffled by a fixed seed, since names often go by class and the first images stand
    for all where a figure needs fewer. Mistake if none can be read.
    """
    shuffle = torch.randperm(len(files), generator=chance.stream(0, "gallery")).tolist()
    images, changes, unreadable = [], Counter(), []
    for index in shuffle[:most]:
        try:
            image, changed = read_picture(files[index])
        except Unreadable as reason:
            unreadable.append(f"{files[index].name} ({reason})")
            continue
        images.append(image)
        changes.update(changed)
    notices = [
        f"{count:,} of {len(images):,} images: {change}" for change, count in changes.items()
    ]
    if len(files) > most:
        notices.append(f"{most:,} of {len(files):,} images were taken at random")
    if unreadable:
        others = f" and {len(unreadable) - NAMED:,} more" if len(unreadable) > NAMED else ""
        notices.append(f"unreadable: {', '.join(sorted(unreadable)[:NAMED])}{others}")
    if not images:
        raise Mistake(f"--images {files[0].parent}: {notices[-1]}; name a folder of PNG files")
    return Gallery(torch.stack(images), notices)


def read_picture(path: Path) -> tuple[Tensor, list[str]]:
    """One picture as uint8 (1, 28, 28), and what had to be done for that; raises Unreadable."""
    grey, changes = to_grey(opened(path, FORMATS))
    if grey.size != (IMAGE_SIDE, IMAGE_SIDE):
        width, height = grey.size
        grey = grey.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC)
        changes.append(f"resized from {width} x {height} to {IMAGE_SIDE} x {IMAGE_SIDE}")
    return torch.from_numpy(np.array(grey)).unsqueeze(0), changes


def save_class_sheet(
    path: Path,
    images: Tensor,
    classes: Tensor,
    names: tuple[str, ...],
    title: str,
    footnote: str = "",
) -> None:
    """Draw how many of uint8 images (N, 1, 28, 28) are of each class, the first ten beside it.

    classes: (N,) labels; names: theirs, by label.
    """
    figure, (bars, samples) = new_figure(1, 2, width=10.5, height=5.4)
    rows = range(len(names))
    percent = [100 * share for share in metrics.class_shares(classes, len(names))]
    fair = 100 / len(names)
    widest = 1.25 * max(*percent, fair)
    bars.barh(rows, percent, color="0.6")
    bars.axvline(fair, color="tab:blue", linestyle="--")
    for row, value in zip(rows, percent, strict=True):
        bars.text(widest, row, f"{value:.1f}% ", ha="right", va="center", fontsize=9)
    bars.set_yticks(rows, names)
    bars.set_ylim(len(names) - 0.5, -0.5)  # the first class at the top, as in the rows beside
    bars.set_xlim(0, widest)
    bars.set_xlabel("% of the images")
    bars.set_title("classes as the lab's classifier sees them; dashed: equal shares", fontsize=9)

    columns = []
    for label in rows:
        found = images[classes == label][:SHOWN]
        blank = torch.full((SHOWN - len(found), *found.shape[1:]), PAPER, dtype=torch.uint8)
        columns.append(torch.cat((found, blank)))
    sheet = grid(torch.cat(columns), columns=SHOWN)
    extent = (0, SHOWN, len(names) - 0.5, -0.5)  # so that a row stands beside its bar
    samples.imshow(sheet, cmap="gray", vmin=0, vmax=255, extent=extent)
    samples.set_axis_off()
    samples.set_title("the first ten of each", fontsize=9)
    figure.suptitle(title, fontsize=11, parse_math=False)  # a folder may be called $x$
    if footnote:
        figure.supxlabel(footnote, fontsize=8)
    save_figure(path, figure)
