"""The pictures of a run folder, as `data:` addresses that a page can hold.

What is missing or damaged is passed over: a report does without it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lab.data import pictures
from lab.data.datasets import IMAGE_SIDE
from lab.report import figures as images
from lab.runs import run as runs

MOST_FRAMES = 80  # of the film
GRID_PIXELS = 600 * 600  # more than a sample grid has
PRINTED = 5  # frames that stay where a film cannot run


def film(run: Path) -> list[dict[str, Any]]:
    """The sample grids in order, at most MOST_FRAMES: epoch, data address, whether on paper too."""
    found = runs.grids(run, MOST_FRAMES)
    frames = ((epoch, _opened(path, GRID_PIXELS)) for epoch, path in found)
    sources = [(epoch, data_url(_compact(picture))) for epoch, picture in frames if picture]
    printed = {round(index * (len(sources) - 1) / (PRINTED - 1)) for index in range(PRINTED)}
    return [
        {"epoch": epoch, "source": source, "printed": index in printed}
        for index, (epoch, source) in enumerate(sources)
    ]


def final_grid(run: Path) -> str | None:
    """Up to a hundred of the final images as one picture, its gaps transparent."""
    columns = 10
    paths = sorted((run / "final_generated_images").glob("img_*.png"))[: columns * columns]
    tiles = [tile for tile in map(_opened, paths) if tile and tile.size == (IMAGE_SIDE, IMAGE_SIDE)]
    tiles = tiles[: len(tiles) // columns * columns]  # whole rows
    if not tiles:
        return None
    levels = torch.stack([torch.from_numpy(np.array(tile.convert("L"))) for tile in tiles])
    return data_url(_with_clear_gaps(images.grid(levels[:, None], columns, scale=1)))


def data_url(picture: Image.Image) -> str:
    """The picture as a PNG inside a `data:` address."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return _png_url(buffer.getvalue())


def _png_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _compact(picture: Image.Image) -> Image.Image:
    """A grid of `images.grid` at its own size: one pixel a pixel, the gaps transparent."""
    width, height = (max(1, side // images.SCALE) for side in picture.size)
    small = picture.convert("L").resize((width, height), Image.Resampling.NEAREST)
    if any(side == 1 or (side - 1) % (IMAGE_SIDE + 1) for side in small.size):
        return small  # not one of our grids: shown as it is
    return _with_clear_gaps(small)


def _with_clear_gaps(grid: Image.Image) -> Image.Image:
    """A grid, one pixel a pixel, with transparent gaps and without the border."""
    opacity = np.full((grid.height, grid.width), 255, np.uint8)
    opacity[:: IMAGE_SIDE + 1] = opacity[:, :: IMAGE_SIDE + 1] = 0
    grid.putalpha(Image.fromarray(opacity))
    return grid.crop((1, 1, grid.width - 1, grid.height - 1))


def _opened(path: Path, most_pixels: int = pictures.MOST_PIXELS) -> Image.Image | None:
    """The picture, or None if it cannot be read, or is a link: pages are passed on to others."""
    if path.is_symlink():
        return None
    try:
        return pictures.opened(path, most_pixels=most_pixels)
    except pictures.Unreadable:
        return None


def embedded(paths: Sequence[Path], room: int) -> tuple[list[dict[str, str]], list[str]]:
    """Name and data address of each picture, and the names of those there is no room for."""
    shown, left_out = [], []
    for path in paths:
        if not _opened(path):
            continue
        if path.stat().st_size * 4 / 3 > room:
            left_out.append(path.name)
            continue
        source = _png_url(path.read_bytes())
        room -= len(source)
        shown.append({"name": path.name, "source": source})
    return shown, left_out


def thumbnail(run: Path) -> str | None:
    """The newest sample grid of a run, small."""
    found = runs.grids(run)
    picture = _opened(found[-1][1], GRID_PIXELS) if found else None
    return data_url(_compact(picture)) if picture else None
