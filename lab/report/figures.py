"""Image files: grids, sheets and the GIF, drawn with Pillow and matplotlib.

Images are uint8 tensors (N, C, H, W): grey ones have one channel, colour ones have three.
"""

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor
from torch.nn.functional import pad

from lab.data.pictures import Unreadable, opened
from lab.data.writers import as_picture, write_png
from lab.evaluation.metrics import class_shares
from lab.files import write_whole
from lab.runs.layout import final_name
from lab.text import printable, shortened

GRID_SIDE, SHEET_SIDE = 128, 96  # largest side of an image in a grid or a sheet, in pixels
PAPER = 255  # grey level between the images of a grid
MAX_ROWS, FEWEST_COLUMNS = 10, 5  # of a grid with one row per class
MOST_SHOWN = 196  # classes in a grid, which report pages leave out if it is larger
SAMPLES = 10  # images of each class in a class sheet
CLASS_ROW, TALLEST = 0.44, 20  # height of a row in a class sheet, and of the sheet, in inches
SHORT = 5  # longer column names are rotated
MAX_LABEL = 24  # characters of a column's or a class's name
MAX_TITLE = 100  # characters of a title
FRAME_TIME = 400  # milliseconds per frame of a GIF
CAPTION_SIZE = 18  # font size of its captions
DPI = 120


@contextlib.contextmanager
def default_style() -> Iterator[None]:
    """Use matplotlib's default settings inside the block instead of the user's."""
    import matplotlib  # late, because the import takes a second

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def scale_of(shape: Sequence[int], most: int = GRID_SIDE) -> int:
    """The factor by which images of shape (..., H, W) are enlarged to a side of about `most`."""
    return max(1, most // max(shape[-2:]))


def grid(images: Tensor, columns: int, scale: int | None = None) -> Image.Image:
    """Arrange images (N, C, H, W) in full rows of `columns`, enlarged by `scale` or `scale_of`.

    Before the enlargement there is one pixel of PAPER between and around them.
    """
    tiles = pad(images.cpu(), (1, 0, 1, 0), value=PAPER)  # (N, C, H + 1, W + 1)
    rows = tiles.unflatten(0, (-1, columns)).permute(2, 0, 3, 1, 4)
    sheet = pad(rows.flatten(3).flatten(1, 2), (0, 1, 0, 1), value=PAPER)  # (C, height, width)
    return ImageOps.scale(as_picture(sheet), scale or scale_of(images.shape), Image.NEAREST)


def rows_of_classes(classes: int) -> tuple[Tensor, int]:
    """The labels (N,) of a grid with one row per class, and its number of columns.

    With more than MAX_ROWS classes the grid has one image per class, of the first MOST_SHOWN.
    """
    if classes <= MAX_ROWS:
        columns = max(FEWEST_COLUMNS, classes)
        return torch.arange(classes).repeat_interleave(columns), columns
    shown = min(classes, MOST_SHOWN)
    columns = math.isqrt(shown - 1) + 1
    return torch.arange(columns * -(-shown // columns)) % classes, columns


def save_preview(path: Path, kinds: Sequence[Tensor], labels: Sequence[int]) -> None:
    """Write a grid of images, sorted by label if there are labels, then of their corrupted copies.

    kinds: the images (N, C, H, W), then the same images under each corruption.
    """
    order = torch.tensor(labels).argsort(stable=True) if labels else slice(None)
    columns = min(SAMPLES, len(kinds[0]))
    sheets = [_with_blanks(images[order], -len(images) % columns) for images in kinds]
    write_png(path, grid(torch.cat(sheets), columns))


def _with_blanks(images: Tensor, blanks: int) -> Tensor:
    """Images (N, C, H, W) followed by `blanks` blank images."""
    return pad(images, (0,) * 7 + (blanks,), value=PAPER)


def save_images(folder: Path, images: Tensor, in_turn: Sequence[str] = ()) -> None:
    """Write images (N, C, H, W) as `img_000.png`, `img_001.png`, ...

    in_turn: names of the classes that the images have in turn, for the file names.
    """
    folder.mkdir(exist_ok=True)
    for index, image in enumerate(images):
        class_name = in_turn[index % len(in_turn)] if in_turn else ""
        write_png(folder / final_name(index, class_name), as_picture(image))


def save_gif(path: Path, frames: Sequence[tuple[int, Path]]) -> None:
    """Join PNG files, each with its epoch, into an endless GIF; damaged files are left out."""
    pictures = []
    for epoch, frame in frames:
        with contextlib.suppress(Unreadable):
            pictures.append(_captioned(opened(frame, formats=("PNG",)), f"epoch {epoch}"))
    if pictures:
        first, *others = pictures
        durations = [FRAME_TIME] * len(others) + [5 * FRAME_TIME]
        settings = {"save_all": True, "append_images": others, "duration": durations, "loop": 0}
        write_whole(path, lambda file: first.save(file, format="GIF", **settings))


def _captioned(picture: Image.Image, text: str) -> Image.Image:
    """A picture with a line of text below it."""
    font = ImageFont.load_default(CAPTION_SIZE)
    height = CAPTION_SIZE + 10
    canvas = ImageOps.expand(grey_or_rgb(picture), (0, 0, 0, height), "white")
    middle = (picture.width / 2, picture.height + height / 2 - 2)
    ImageDraw.Draw(canvas).text(middle, text, fill="black", anchor="mm", font=font)
    return canvas


def grey_or_rgb(picture: Image.Image) -> Image.Image:
    """The picture in mode L, if it has that, or in RGB."""
    return picture if picture.mode == "L" else picture.convert("RGB")


@default_style()
def save_sheet(
    path: Path,
    rows: Sequence[tuple[str, Tensor]],
    title: str,
    footnote: str = "",
    names: Sequence[str] = (),
) -> None:
    """Draw labelled rows of images (N, C, H, W) of equal length; `names`: of the columns."""
    columns = len(rows[0][1])
    scale = scale_of(rows[0][1].shape, SHEET_SIDE)
    sheet = grid(torch.cat([images for _, images in rows]), columns, scale)
    labels = [shortened(printable(name), MAX_LABEL) for name in names]
    longest = max(map(len, labels), default=0)
    title = shortened(title, MAX_TITLE)
    width = max(5, 0.085 * len(title), 1.6 + sheet.width / DPI)  # wide enough for all text
    figure, (axis,) = new_figure(1, width, 0.6 + sheet.height / DPI + 0.065 * longest)
    axis.imshow(sheet, cmap="gray", vmin=0, vmax=255)

    def middles(pixels: int, parts: int) -> list[float]:
        return [scale / 2 + (index + 0.5) * (pixels - scale) / parts for index in range(parts)]

    beside = [label for label, _ in rows]
    axis.set_yticks(middles(sheet.height, len(rows)), beside, fontsize=9, parse_math=False)
    rotation, positions = 90 * (longest > SHORT), middles(sheet.width, columns)[: len(names)]
    axis.set_xticks(positions, labels, rotation=rotation, fontsize=7, parse_math=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.set_layout_engine("compressed")  # for the fixed aspect ratio of the images
    finish(path, figure, title, footnote)


@default_style()
def save_class_sheet(
    path: Path,
    images: Tensor,
    classes: Tensor,
    own_shares: Mapping[str, float],
    title: str,
    footnote: str = "",
) -> None:
    """Draw a histogram of `classes` (N,), and the first ten `images` (N, C, H, W) of each.

    own_shares: the share of each class in the data set, by name.
    """
    from matplotlib.ticker import PercentFormatter

    count, fair = len(own_shares), list(own_shares.values())
    figure, (bars, samples) = new_figure(2, 10.5, height=min(TALLEST, 1 + CLASS_ROW * count))
    rows, shares = range(count), class_shares(classes, count)
    widest = 1.25 * max(*shares, *fair)
    bars.barh(rows, shares, color="0.6")
    ends = ([row + side for row in rows] for side in (-0.5, 0.5))
    bars.vlines(fair, *ends, color="tab:blue", linestyle="--")
    for row, share in zip(rows, shares, strict=True):
        bars.text(widest, row, f"{share:.1%} ", ha="right", va="center", fontsize=9)
    labels = [shortened(name, MAX_LABEL) for name in own_shares]
    bars.set_yticks(rows, labels, parse_math=False)  # a class may be called $5_to_$9
    bars.set_ylim(count - 0.5, -0.5)  # the first class at the top, as in the images
    bars.set_xlim(0, widest)
    bars.set_xticks([tick for tick in bars.get_xticks() if tick <= min(1, widest)])
    bars.xaxis.set_major_formatter(PercentFormatter(1))
    bars.set_xlabel("share of the images")
    bars.set_title("classes by the lab's classifier; dashed: in the data set", fontsize=9)

    by_class = [images[classes == label][:SAMPLES] for label in rows]
    examples = torch.cat([_with_blanks(some, SAMPLES - len(some)) for some in by_class])
    extent = (0, SAMPLES, count - 0.5, -0.5)  # aligns the rows with the bars
    visible = int(TALLEST * DPI) // (count * (images.shape[2] + 1))  # more would take gigabytes
    sheet = grid(examples, SAMPLES, min(scale_of(images.shape), max(1, visible)))
    samples.imshow(sheet, cmap="gray", vmin=0, vmax=255, extent=extent)
    samples.set_axis_off()
    samples.set_title("the first ten of each", fontsize=9)
    finish(path, figure, shortened(title, MAX_TITLE), footnote)


def finish(path: Path, figure: Any, title: str, footnote: str, fontsize: int = 11) -> None:
    """Write a figure with an emphasised footnote, and a title that may be any file's name."""
    figure.suptitle(printable(title), fontsize=fontsize, parse_math=False)
    if footnote:
        figure.supxlabel(footnote, fontsize=9, fontweight="bold", color="crimson")
    save_figure(path, figure)


def new_figure(columns: int, width: float, height: float, rows: int = 1) -> tuple[Any, Any]:
    """A matplotlib figure and its axes, row by row; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def save_figure(path: Path, figure: Any) -> None:
    """Write a matplotlib figure as PNG, atomically."""
    settings = {"format": "png", "dpi": DPI, "metadata": {"Software": None}}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a character that the font does not have
        write_whole(path, lambda file: figure.savefig(file, **settings))
