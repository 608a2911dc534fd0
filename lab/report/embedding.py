"""The pictures of a run as `data:` addresses; what is missing or damaged is passed over."""

import base64
import functools
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lab.data import pictures
from lab.report.charts import thinned
from lab.report.figures import grid, scale_of
from lab.runs.run import Run

MOST_FRAMES = 80  # of the film
GRID_PIXELS = 4_000_000  # more than a sample grid has
COLUMNS = 10  # of the grid of final images, which has as many rows at most
PRINTED = 5  # frames that stay where a film cannot run
FILM_ROOM, FINAL_ROOM = 1_500_000, 700_000  # in the page, as text

Shape = Sequence[int]  # (C, H, W) of a run's images


def film(run: Run, shape: Shape | None) -> list[dict[str, Any]]:
    """Sample grids in order, as many as there is room for: epoch, data address, if printed too."""
    grids = thinned(run.grids(), MOST_FRAMES)
    found = [(epoch, source) for epoch, path in grids if (source := _frame(path, shape))]
    size = sum(len(source) for _, source in found)
    sources = thinned(found, len(found) * FILM_ROOM // max(1, size))
    printed = {round(index * (len(sources) - 1) / (PRINTED - 1)) for index in range(PRINTED)}
    return [
        {"epoch": epoch, "source": source, "printed": index in printed}
        for index, (epoch, source) in enumerate(sources)
    ]


def thumbnail(run: Run, shape: Shape | None) -> str | None:
    """The newest sample grid of a run, small."""
    grids = run.grids()
    return _frame(grids[-1][1], shape) if grids else None


def _frame(path: Path, shape: Shape | None) -> str | None:
    """A sample grid as a data address; None if it cannot be read."""
    return _read_frame(path, path.stat().st_mtime_ns, shape) if path.is_file() else None


@functools.lru_cache(MOST_FRAMES)  # a page of a run under way has most of them again
def _read_frame(path: Path, changed: int, shape: Shape | None) -> str | None:
    picture = _opened(path, GRID_PIXELS)
    return data_url(_compact(picture, shape)) if picture else None


def final_grid(run: Run) -> str | None:
    """The final images, a hundred if there is room, as one picture, its gaps transparent."""
    found = (_opened(path, GRID_PIXELS) for path in run.final_images()[: COLUMNS * COLUMNS])
    tiles = [_grey_or_rgb(tile) for tile in found if tile]
    tiles = [tile for tile in tiles if (tile.size, tile.mode) == (tiles[0].size, tiles[0].mode)]
    tiles = tiles[: len(tiles) // COLUMNS * COLUMNS]  # whole rows
    if not tiles:
        return None
    levels = torch.stack([torch.from_numpy(np.array(tile)) for tile in tiles])
    images = levels[:, None] if levels.dim() == 3 else levels.permute(0, 3, 1, 2)  # (N, C, H, W)
    while True:
        source = data_url(_with_clear_gaps(grid(images, COLUMNS, scale=1), images.shape))
        if len(source) <= FINAL_ROOM or len(images) == COLUMNS:
            return source
        images = images[: max(1, len(images) // COLUMNS // 2) * COLUMNS]  # half of the rows


def embedded(paths: Iterable[Path], room: int) -> tuple[list[dict[str, str]], list[str]]:
    """Name and data address of each picture, and the names of those there is no room for."""
    shown, left_out = [], []
    for path in filter(_opened, paths):
        source = _png_url(path.read_bytes())
        if len(source) <= room:
            room -= len(source)
            shown.append({"name": path.name, "source": source})
        else:
            left_out.append(path.name)
    return shown, left_out


def data_url(picture: Image.Image) -> str:
    """The picture as a PNG inside a `data:` address."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return _png_url(buffer.getvalue())


def _png_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _compact(picture: Image.Image, shape: Shape | None) -> Image.Image:
    """A grid of `figures.grid` at one pixel a pixel, the gaps transparent; else it stays."""
    picture = _grey_or_rgb(picture)
    if shape is None:
        return picture
    scale, (height, width) = scale_of(shape), shape[-2:]
    for pixels, side in ((picture.width, width), (picture.height, height)):
        if pixels % scale or pixels == scale or (pixels // scale - 1) % (side + 1):
            return picture
    small = (picture.width // scale, picture.height // scale)
    return _with_clear_gaps(picture.resize(small, Image.Resampling.NEAREST), shape)


def _with_clear_gaps(picture: Image.Image, shape: Shape) -> Image.Image:
    """A grid, one pixel a pixel, with transparent gaps and without the border."""
    height, width = shape[-2:]
    opacity = np.full((picture.height, picture.width), 255, np.uint8)
    opacity[:: height + 1] = opacity[:, :: width + 1] = 0
    picture.putalpha(Image.fromarray(opacity))
    return picture.crop((1, 1, picture.width - 1, picture.height - 1))


def _grey_or_rgb(picture: Image.Image) -> Image.Image:
    return picture if picture.mode == "L" else picture.convert("RGB")


def _opened(path: Path, most_pixels: int = pictures.MOST_PIXELS) -> Image.Image | None:
    """The picture, or None if it cannot be read, or is a link: pages are passed on to others."""
    if path.is_symlink():
        return None
    try:
        return pictures.opened(path, most_pixels=most_pixels)
    except pictures.Unreadable:
        return None
