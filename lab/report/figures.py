"""Pictures: grids, sheets, curves and the GIF, all through Pillow and matplotlib."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor
from torch.nn.functional import pad

from lab import files as storage
from lab.data.pictures import Unreadable, opened
from lab.text import printable, shortened
from lab.training.losses import gives_probabilities

SCALE = 4  # screen pixels a side for one pixel of an image
PAPER = 255  # the grey between the images of a grid
SAMPLES = 10  # images of a class in a sheet of classes
SHORT = 5  # letters of a column's name that fit over it
FRAME_TIME = 400  # milliseconds of a GIF's frame
BALANCE = (2 * math.log(2), math.log(2))  # the losses where D says 1/2 to everything


def to_uint8(images: Tensor) -> Tensor:
    """float32 in [0, 1] of any shape -> uint8, rounded to the nearest of 256 levels."""
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def grid(images: Tensor, columns: int, scale: int = SCALE) -> Image.Image:
    """Lay uint8 images (N, 1, H, W) out in full rows of `columns`, enlarged without smoothing.

    Between and around them is one pixel of PAPER, enlarged as theirs are.
    """
    tiles = pad(images[:, 0].cpu(), (1, 0, 1, 0), value=PAPER)  # (N, H + 1, W + 1)
    rows = tiles.unflatten(0, (-1, columns)).transpose(1, 2).flatten(2).flatten(0, 1)
    sheet = Image.fromarray(pad(rows, (0, 1, 0, 1), value=PAPER).numpy())
    return ImageOps.scale(sheet, scale, Image.Resampling.NEAREST)


def save(path: Path, picture: Image.Image) -> None:
    """Write a PNG, whole."""
    storage.write_whole(path, lambda file: picture.save(file, format="PNG"))


def save_each(folder: Path, images: Tensor) -> None:
    """Write uint8 images (N, 1, H, W) as `img_000.png` and on, at their own size."""
    folder.mkdir(exist_ok=True)
    for index, image in enumerate(images[:, 0].cpu()):
        save(folder / f"img_{index:03d}.png", Image.fromarray(image.numpy()))


def save_gif(path: Path, frames: Sequence[tuple[int, Path]]) -> None:
    """Join PNG frames, each with its epoch, into an endless GIF that rests on its last frame.

    Damaged ones are left out; without a single one there is no GIF.
    """
    pictures = []
    for epoch, frame in frames:
        with contextlib.suppress(Unreadable):
            pictures.append(_captioned(opened(frame).convert("L"), f"epoch {epoch}"))
    if not pictures:
        return
    durations = [FRAME_TIME] * (len(pictures) - 1) + [5 * FRAME_TIME]
    first, *others = pictures
    storage.write_whole(
        path,
        lambda file: first.save(
            file, format="GIF", save_all=True, append_images=others, duration=durations, loop=0
        ),
    )


def _captioned(picture: Image.Image, text: str) -> Image.Image:
    """A grey picture with a line of text below it."""
    height = 28
    canvas = Image.new("L", (picture.width, picture.height + height), PAPER)
    canvas.paste(picture)
    middle = (picture.width / 2, picture.height + height / 2 - 2)
    ImageDraw.Draw(canvas).text(middle, text, fill=0, anchor="mm", font=ImageFont.load_default(18))
    return canvas


def save_curves(
    path: Path,
    history: Sequence[Mapping[str, Any]],
    title: str,
    loss: str = "non-saturating",
    footnote: str = "",
) -> None:
    """Draw losses, the discriminator's opinion, and FCD if there is one, over the epochs.

    history: the rows of history.csv. loss: the run's. Dotted lines: what it is where D(x) = 1/2.
    """
    scored = [row for row in history if "fcd_train_5k" in row]
    figure, panels = new_figure(3 if scored else 2, width=14 if scored else 10, height=3.8)
    certain = gives_probabilities(loss)
    for axes, rows, columns, undecided in (
        (panels[0], history, {"d_loss": "discriminator", "g_loss": "generator"}, BALANCE),
        (panels[1], history, {"d_real": "D(x), real images", "d_fake": "D(G(z))"}, [0.5]),
        *([(panels[2], scored, {"fcd_train_5k": "training images"}, [])] if scored else []),
    ):
        for (column, label), style in zip(columns.items(), ("-", "--"), strict=False):
            values = [row[column] for row in rows]
            axes.plot([row["epoch"] for row in rows], values, style, label=label, marker=".")
        for level in undecided if certain else []:
            axes.axhline(level, color="0.5", linestyle=":", linewidth=1)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.legend()
        axes.grid(alpha=0.3)
    panels[0].set_title("loss" + "; dotted: at balance" * certain)
    panels[1].set_title(f"mean {'probability of being real' if certain else 'sigmoid of D'}")
    panels[1].set_ylim(0, 1)
    if scored:
        panels[2].set_title("FCD, distance to real images: less is better")
        panels[2].set_yscale("log")
        panels[2].yaxis.set_major_formatter("{x:g}")
        panels[2].yaxis.set_minor_formatter("{x:g}")
    figure.suptitle(title, parse_math=False)
    _add_footnote(figure, footnote)
    save_figure(path, figure)


def save_sheet(
    path: Path,
    rows: Sequence[tuple[str, Tensor]],
    title: str,
    footnote: str = "",
    names: Sequence[str] = (),
) -> None:
    """Draw labelled rows of uint8 images (N, 1, H, W), one column an image, all of one length.

    names: of the columns, if they have any.
    """
    columns = len(rows[0][1])
    scale = 3
    sheet = grid(torch.cat([images for _, images in rows]), columns, scale)
    width = max(5, 1.6 + sheet.width / 120)  # room for title and footnote over a few images too
    labels = [shortened(_readable(name), 24) for name in names]
    longest = max(map(len, labels), default=0)
    height = 0.6 + sheet.height / 120 + 0.085 * longest
    figure, (axis,) = new_figure(1, width=width, height=height)
    axis.imshow(sheet, cmap="gray", vmin=0, vmax=255)
    row_height, column_width = (sheet.height - scale) / len(rows), (sheet.width - scale) / columns
    rows_at = [scale / 2 + (index + 0.5) * row_height for index in range(len(rows))]
    columns_at = [scale / 2 + (index + 0.5) * column_width for index in range(len(names))]
    axis.set_yticks(rows_at, [label for label, _ in rows], fontsize=9)
    turned = 90 * (longest > SHORT)
    axis.set_xticks(columns_at, labels, rotation=turned, fontsize=7, parse_math=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=11, parse_math=False)
    _add_footnote(figure, footnote)
    save_figure(path, figure)


def save_class_sheet(
    path: Path,
    shown: Tensor,
    classes: Tensor,
    names: tuple[str, ...],
    title: str,
    footnote: str = "",
) -> None:
    """Draw how many of `shown`, uint8 (N, 1, 28, 28), are of each class, the first ten beside it.

    classes: (N,) labels; names: theirs, by label.
    """
    from matplotlib.ticker import PercentFormatter

    figure, (bars, samples) = new_figure(2, width=10.5, height=5.4)
    rows = range(len(names))
    counts = torch.bincount(classes, minlength=len(names)).tolist()
    shares = [count / len(classes) for count in counts]
    fair = 1 / len(names)
    widest = 1.25 * max(*shares, fair)
    bars.barh(rows, shares, color="0.6")
    bars.axvline(fair, color="tab:blue", linestyle="--")
    for row, share in zip(rows, shares, strict=True):
        bars.text(widest, row, f"{share:.1%} ", ha="right", va="center", fontsize=9)
    bars.set_yticks(rows, names)
    bars.set_ylim(len(names) - 0.5, -0.5)  # the first class at the top, as in the rows beside
    bars.set_xlim(0, widest)
    bars.xaxis.set_major_formatter(PercentFormatter(1))
    bars.set_xlabel("share of the images")
    bars.set_title("classes as the lab's classifier sees them; dashed: equal shares", fontsize=9)

    examples = []
    for label in rows:
        found = shown[classes == label][:SAMPLES]
        blank = torch.full((SAMPLES - len(found), *found.shape[1:]), PAPER, dtype=torch.uint8)
        examples.append(torch.cat((found, blank)))
    sheet = grid(torch.cat(examples), columns=SAMPLES)
    extent = (0, SAMPLES, len(names) - 0.5, -0.5)  # so that a row stands beside its bar
    samples.imshow(sheet, cmap="gray", vmin=0, vmax=255, extent=extent)
    samples.set_axis_off()
    samples.set_title("the first ten of each", fontsize=9)
    figure.suptitle(shortened(_readable(title), 100), fontsize=11, parse_math=False)
    _add_footnote(figure, footnote)
    save_figure(path, figure)


def _add_footnote(figure: Any, text: str) -> None:
    """What must not be overlooked."""
    if text:
        figure.supxlabel(text, fontsize=9, fontweight="bold", color="crimson")


def _readable(name: str) -> str:
    """A file's name, which may be $x$ or in any bytes, as text that can be drawn."""
    return printable(name.encode("utf-8", "backslashreplace").decode())


def new_figure(columns: int, width: float, height: float) -> tuple[Any, Any]:
    """A matplotlib figure without a screen, and its axes side by side; sizes in inches."""
    # Imported late: matplotlib costs a second, and a training that has just begun needs no curve.
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcdefaults()  # the settings of a user may ask for LaTeX, or make other bytes
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def save_figure(path: Path, figure: Any) -> None:
    """Write a matplotlib figure as PNG, whole."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of a script that the font lacks: boxes do
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    storage.write_whole(path, lambda file: file.write(buffer.getvalue()))
