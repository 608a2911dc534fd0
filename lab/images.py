"""Pictures: grids, sheets, curves and the GIF, all through Pillow and matplotlib."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lab import storage
from lab.data import IMAGE_SIDE
from lab.losses import gives_probabilities
from lab.text import printable, shortened

SCALE = 4  # screen pixels a side for one pixel of an image
GAP = SCALE  # screen pixels between the images of a grid: one pixel of theirs (album relies on it)
PAPER = 255  # the grey between them
SAMPLES = 10  # images of a class in a sheet of classes
FRAME_TIME = 400  # milliseconds of a GIF's frame
MOST_PIXELS = 20_000_000  # of a picture that is read
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")  # of pictures from elsewhere
LIGHT = "light background, the sets' is black; --invert turns dark to light"
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")  # what they may be, whatever their names say


class Unreadable(Exception):
    """A picture that is damaged, hostile or none at all; the message says which, briefly."""


def opened(path: Path, formats: Sequence[str] = ("PNG",), most_pixels: int = MOST_PIXELS) -> Any:
    """The picture in a file, loaded; raises Unreadable.

    formats: the only ones that Pillow tries. Of its own accord it takes any, whatever the file is
    called, and has Ghostscript run the programs in some.
    """
    if not path.is_file():
        raise Unreadable("no file")  # a pipe would be waited for
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # hence `most_pixels`
            picture = Image.open(path, formats=formats)
        with picture:
            width, height = picture.size
            if width * height > most_pixels:
                raise Unreadable(f"{width} x {height} pixels is too large")
            picture.load()
            loaded = picture.copy()
            loaded.info["frames"] = getattr(picture, "n_frames", 1)  # a copy has only this one
            return loaded
    except (Unreadable, MemoryError):
        raise
    except UnidentifiedImageError:
        raise Unreadable(f"not a picture of the kind {', '.join(formats)}") from None
    except Exception as error:  # Pillow's readers raise anything for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(shortened(reason, 80)) from None


def to_grey(picture: Image.Image, invert: bool = False) -> tuple[Image.Image, list[str]]:
    """A picture that `opened` gave, as a grey one of 8 bits, and what is to be said of that.

    invert: dark becomes light.
    """
    lost = []
    if picture.info.get("frames", 1) > 1:
        lost.append("only the first of its frames taken")
    if picture.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
        lost.append("16 bits turned to 8")
    if picture.has_transparency_data:
        picture, ground = _on_ground(picture.convert("RGBA"))
        lost.append(f"transparency filled with {ground}")
    if picture.mode not in ("L", "1"):
        red, green, blue = (band.tobytes() for band in picture.convert("RGB").split())
        if not red == green == blue:
            lost.append("colour turned to grey")
        picture = picture.convert("RGB")
    grey = picture.convert("L")
    if invert:
        grey = ImageOps.invert(grey)
    return grey, lost + _about_background(np.asarray(grey))


def _on_ground(picture: Image.Image) -> tuple[Image.Image, str]:
    """An RGBA picture on the one of black and white that shows more of it, and which that is."""
    alpha = np.asarray(picture.getchannel("A"), dtype=float)
    ink = (np.asarray(picture.convert("RGB").convert("L")) * alpha).sum() / max(1.0, alpha.sum())
    ground = "white" if ink < 128 and alpha.any() else "black"
    return Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture), ground


def _about_background(levels: np.ndarray) -> list[str]:
    """A word of warning if the border of a picture (H, W) is light: the sets' is black."""
    border = np.concatenate((levels[0], levels[-1], levels[:, 0], levels[:, -1]))
    return [LIGHT] if np.median(border) > 127 else []


def to_size(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """A picture at the size of the sets' images, and whether it was resized, in words."""
    if picture.size == (IMAGE_SIDE, IMAGE_SIDE):
        return picture, []
    width, height = picture.size
    resized = picture.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC)
    return resized, [f"resized from {width} x {height} to {IMAGE_SIDE} x {IMAGE_SIDE}"]


def to_uint8(images: Tensor) -> Tensor:
    """float32 in [0, 1] of any shape -> uint8, rounded to the nearest of 256 levels."""
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def grid(images: Tensor, columns: int, scale: int = SCALE) -> Image.Image:
    """Lay uint8 images (N, 1, H, W) out in rows of `columns`, enlarged without smoothing."""
    count, _, height, width = images.shape
    rows = -(-count // columns)
    step_y, step_x = height * scale + GAP, width * scale + GAP
    canvas = torch.full((rows * step_y + GAP, columns * step_x + GAP), PAPER, dtype=torch.uint8)
    enlarged = images[:, 0].cpu().repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    for index, image in enumerate(enlarged):
        top, left = GAP + index // columns * step_y, GAP + index % columns * step_x
        canvas[top : top + height * scale, left : left + width * scale] = image
    return Image.fromarray(canvas.numpy())


def save(path: Path, picture: Image.Image) -> None:
    """Write a PNG, whole."""
    storage.write_whole(path, lambda file: picture.save(file, format="PNG"))


def save_each(folder: Path, images: Tensor) -> None:
    """Write uint8 images (N, 1, H, W) as `img_000.png` and on, at their own size."""
    folder.mkdir(exist_ok=True)
    for index, image in enumerate(images[:, 0].cpu()):
        save(folder / f"img_{index:03d}.png", Image.fromarray(image.numpy()))


def save_gif(path: Path, frames: Sequence[Path]) -> None:
    """Join PNG frames into an endless GIF that rests on its last frame; damaged ones are left out.

    Without a single frame there is no GIF.
    """
    pictures = []
    for frame in frames:
        with contextlib.suppress(Unreadable):
            pictures.append(opened(frame).convert("L"))
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


def save_curves(
    path: Path, history: Sequence[Mapping[str, Any]], title: str, loss: str = "non-saturating"
) -> None:
    """Draw losses and the discriminator's opinion over the epochs of `history`. loss: the run's."""
    figure, (losses, opinions) = new_figure(1, 2, width=10, height=3.8)
    epochs = [row["epoch"] for row in history]
    for axes, columns in (
        (losses, {"d_loss": "discriminator", "g_loss": "generator"}),
        (opinions, {"d_real": "D(x), real images", "d_fake": "D(G(z)), generated"}),
    ):
        for column, label in columns.items():
            axes.plot(epochs, [row[column] for row in history], label=label, marker=".")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.legend()
        axes.grid(alpha=0.3)
    losses.set_title("loss")
    certain = gives_probabilities(loss)
    opinions.set_title(f"mean {'probability of being real' if certain else 'sigmoid of D'}")
    opinions.set_ylim(0, 1)
    figure.suptitle(title, parse_math=False)
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
    height = 0.6 + sheet.height / 120 + 0.085 * max(map(len, labels), default=0)
    figure, (axis,) = new_figure(1, 1, width=width, height=height)
    axis.imshow(sheet, cmap="gray", vmin=0, vmax=255)
    height = (sheet.height - GAP) / len(rows)
    middles = [GAP / 2 + (index + 0.5) * height for index in range(len(rows))]
    axis.set_yticks(middles, [label for label, _ in rows], fontsize=9)
    width = (sheet.width - GAP) / columns
    middles = [GAP / 2 + (index + 0.5) * width for index in range(len(names))]
    axis.set_xticks(middles, labels, rotation=90, fontsize=7, parse_math=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=11, parse_math=False)
    if footnote:
        figure.supxlabel(footnote, fontsize=9, fontweight="bold", color="crimson")
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

    figure, (bars, samples) = new_figure(1, 2, width=10.5, height=5.4)
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
    bars.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
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
    if footnote:
        figure.supxlabel(footnote, fontsize=8)
    save_figure(path, figure)


def _readable(name: str) -> str:
    """A file's name, which may be $x$ or in any bytes, as text that can be drawn."""
    return printable(name.encode("utf-8", "backslashreplace").decode())


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    """A matplotlib figure without a screen, and its axes; sizes in inches."""
    # Imported late: matplotlib costs a second, and a training that has just begun needs no curve.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns)
    return figure, axes if rows * columns > 1 else [axes]


def save_figure(path: Path, figure: Any) -> None:
    """Write a matplotlib figure as PNG, whole."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of a script that the font lacks: boxes do
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    storage.write_whole(path, lambda file: file.write(buffer.getvalue()))
