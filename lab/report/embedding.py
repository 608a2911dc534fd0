"""The images of a run as `data:` URLs for a page; missing or damaged files are skipped."""

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lab.data import pictures
from lab.report.charts import evenly_spaced
from lab.report.figures import grey_or_rgb, grid, scale_of
from lab.runs.run import Run

MAX_FRAMES = 80  # of the film of sample grids
GRID_PIXELS = 4_000_000  # larger images are no sample grids
COLUMNS = 10  # of the grid of final images, which has at most as many rows
PRINTED = 5  # frames of the film that are printed on paper
FILM_BYTES, FINAL_BYTES = 1_500_000, 700_000  # of the URLs

Shape = Sequence[int]  # (C, H, W) of a run's images


def film(run: Run, shape: Shape | None) -> list[dict[str, Any]]:
    """Sample grids in order, at most FILM_BYTES or a single one.

    Each has its epoch, its URL, and whether to print it on paper.
    """
    grids = evenly_spaced(run.grids(), MAX_FRAMES)
    frames = [(epoch, source) for epoch, path in grids if (source := _frame(path, shape))]
    sources = frames
    while len(sources) > 1 and sum(len(source) for _, source in sources) > FILM_BYTES:
        sources = evenly_spaced(frames, len(sources) - 1)
    printed = {round(index * (len(sources) - 1) / (PRINTED - 1)) for index in range(PRINTED)}
    return [
        {"epoch": epoch, "source": source, "printed": index in printed}
        for index, (epoch, source) in enumerate(sources)
    ]


def thumbnail(run: Run, shape: Shape | None) -> str | None:
    """The URL of a run's newest sample grid."""
    grids = run.grids()
    return _frame(grids[-1][1], shape) if grids else None


def _frame(path: Path, shape: Shape | None) -> str | None:
    """The URL of a sample grid; None if it cannot be read."""
    return _read_frame(path, path.stat().st_mtime_ns, shape) if path.is_file() else None


@functools.lru_cache(MAX_FRAMES)  # a page is written repeatedly while the run goes on
def _read_frame(path: Path, modified: int, shape: Shape | None) -> str | None:
    picture = _opened(path, GRID_PIXELS)
    return data_url(_compact(picture, shape)) if picture else None


def final_grid(run: Run) -> str | None:
    """The URL of a grid of up to a hundred final images, at most FINAL_BYTES."""
    opened = (_opened(path, GRID_PIXELS) for path in run.final_images()[: COLUMNS * COLUMNS])
    tiles = [grey_or_rgb(tile) for tile in opened if tile]
    tiles = [tile for tile in tiles if (tile.size, tile.mode) == (tiles[0].size, tiles[0].mode)]
    tiles = tiles[: len(tiles) // COLUMNS * COLUMNS]  # whole rows
    if not tiles:
        return None
    levels = torch.stack([torch.from_numpy(np.array(tile)) for tile in tiles])
    images = levels[:, None] if levels.dim() == 3 else levels.permute(0, 3, 1, 2)  # (N, C, H, W)
    while True:
        source = data_url(_with_clear_gaps(grid(images, COLUMNS, scale=1), images.shape))
        if len(source) <= FINAL_BYTES or len(images) == COLUMNS:
            return source
        images = images[: max(1, len(images) // COLUMNS // 2) * COLUMNS]  # half of the rows


def embed_pictures(
    captions: Mapping[Path, str], limit: int
) -> tuple[list[dict[str, str]], list[str]]:
    """Name, caption and URL of pictures, at most `limit` bytes, and the names of the others."""
    shown, left_out = [], []
    for path in filter(_opened, captions):
        source = _png_url(path.read_bytes())
        if len(source) <= limit:
            limit -= len(source)
            shown.append({"name": path.name, "caption": captions[path], "source": source})
        else:
            left_out.append(path.name)
    return shown, left_out


def data_url(picture: Image.Image) -> str:
    """The picture as a PNG in a `data:` URL."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return _png_url(buffer.getvalue())


def _png_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _compact(picture: Image.Image, shape: Shape | None) -> Image.Image:
    """A grid of `figures.grid` at scale 1, with transparent gaps; another picture as it is."""
    picture = grey_or_rgb(picture)
    if shape is None:
        return picture
    scale, (height, width) = scale_of(shape), shape[-2:]
    for pixels, side in ((picture.width, width), (picture.height, height)):
        if pixels % scale or pixels == scale or (pixels // scale - 1) % (side + 1):
            return picture
    small = (picture.width // scale, picture.height // scale)
    return _with_clear_gaps(picture.resize(small, Image.Resampling.NEAREST), shape)


def _with_clear_gaps(picture: Image.Image, shape: Shape) -> Image.Image:
    """A grid at scale 1, with transparent gaps and without its border."""
    height, width = shape[-2:]
    opacity = np.full((picture.height, picture.width), 255, np.uint8)
    opacity[:: height + 1] = opacity[:, :: width + 1] = 0
    picture.putalpha(Image.fromarray(opacity))
    return picture.crop((1, 1, picture.width - 1, picture.height - 1))


def _opened(path: Path, most_pixels: int = pictures.MAX_PIXELS) -> Image.Image | None:
    """The picture; None if it cannot be read or is a link, which could expose other files."""
    if path.is_symlink():
        return None
    try:
        return pictures.opened(path, most_pixels, formats=("PNG",))
    except pictures.Unreadable:
        return None
