"""Writes images in formats that other programs read: WRITERS, one row for each format.

    with WRITERS["npz"].open(path, Contents(spec, (100,), labelled=True)) as add:
        add(0, images, seeds, labels)

`add` takes the part (0, or 1 for the test part of a format that has one), uint8 images
(N, C, H, W), the seed of each, and their labels or None. Images are written at once, not collected
in memory.
"""

import contextlib
import io
import re
import struct
import zipfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from lab.data.specs import DatasetSpec
from lab.errors import Mistake
from lab.files import write_whole
from lab.text import as_word

Add = Callable[[int, Tensor, Sequence[int], Sequence[int] | None], None]


def as_picture(image: Tensor) -> Image.Image:
    """A uint8 image (C, H, W) as a picture, grey for one channel and RGB for three."""
    levels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    return Image.fromarray(levels.contiguous().cpu().numpy())


def write_png(path: Path, picture: Image.Image) -> None:
    """Write a PNG file, which appears when it is complete."""
    write_whole(path, lambda file: picture.save(file, format="PNG"))


@dataclass(frozen=True)
class Contents:
    """A description of what will be written."""

    spec: DatasetSpec  # of the images
    counts: tuple[int, ...]  # images in each part
    labelled: bool


@dataclass(frozen=True)
class Writer:
    """A format.

    open: creates a file or folder at a path that does not exist yet. suffix: of the file; "" if it
    is a folder. names: a regular expression for the files in that folder. below: the folder under
    --out. refusal: why the format cannot hold the contents; "" if it can.
    """

    open: Callable[[Path, Contents], contextlib.AbstractContextManager[Add]]
    suffix: str = ""
    names: str = ""
    has_test_part: bool = False
    below: Callable[[DatasetSpec], str] = lambda spec: ""
    refusal: Callable[[Contents], str] = lambda contents: ""


@contextlib.contextmanager
def folder_of_pictures(path: Path, contents: Contents) -> Iterator[Add]:
    """`seed000042.png`; with labels in one folder per class: `3/`, `5_sandal/`."""
    path.mkdir()

    def save(name: str, picture: bytes) -> None:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(picture)

    yield _png_writer(contents, save)


@contextlib.contextmanager
def zip_of_pictures(path: Path, contents: Contents) -> Iterator[Add]:
    """The same files in a zip archive; their date is fixed, so equal images give equal bytes."""
    with zipfile.ZipFile(path, "w") as archive:

        def save(name: str, picture: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name), picture)

        yield _png_writer(contents, save)


def class_folders(names: Sequence[str]) -> list[str]:
    """The folder of each class: `3`, `5_sandal`."""
    digits = len(str(max(0, len(names) - 1)))  # leading zeros, so that folders sort by label
    words = ["" if name == str(label) else f"_{as_word(name)}" for label, name in enumerate(names)]
    return [f"{label:0{digits}d}{word}" for label, word in enumerate(words)]


def class_numbers(names: Sequence[str]) -> list[int]:
    """The number of each class in arrays: its name if all names are numbers, else its label."""
    are_numbers = all(re.fullmatch("0|[1-9][0-9]{0,17}", name) for name in names)
    return [int(name) if are_numbers else label for label, name in enumerate(names)]


def _png_writer(contents: Contents, save: Callable[[str, bytes], object]) -> Add:
    """An `add` that calls `save` with the name and the bytes of a PNG file for each image."""
    folders = class_folders(contents.spec.class_names)

    def add(part, images, seeds, labels) -> None:
        for index, (image, seed) in enumerate(zip(images, seeds, strict=True)):
            folder = "" if labels is None else f"{folders[labels[index]]}/"
            picture = io.BytesIO()
            as_picture(image).save(picture, format="PNG", compress_level=1)
            save(f"{folder}seed{seed:06d}.png", picture.getvalue())

    return add


@contextlib.contextmanager
def npz(path: Path, contents: Contents) -> Iterator[Add]:
    """NumPy's .npz: `images` (N, H, W) or in colour (N, H, W, 3), `seeds` and `labels` (N,)."""
    numbers = class_numbers(contents.spec.class_names)
    channels, *sides = contents.spec.shape
    shape = (sum(contents.counts), *sides, *((channels,) if channels > 1 else ()))
    all_seeds, all_labels = array("q"), array("q")
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open(zipfile.ZipInfo("images.npy"), "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)

            def add(part, images, seeds, labels) -> None:
                file.write(images.permute(0, 2, 3, 1).numpy().tobytes())
                all_seeds.extend(seeds)
                all_labels.extend(numbers[label] for label in labels or ())

            yield add
        for name, values in (("seeds", all_seeds), ("labels", all_labels)):
            if values:
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as file:
                    np.lib.format.write_array(file, np.frombuffer(values, dtype=np.int64))


@contextlib.contextmanager
def idx(path: Path, contents: Contents) -> Iterator[Add]:
    """The four files of the MNIST family in `raw`: images and labels, training and test part."""
    raw, numbers = path / "raw", class_numbers(contents.spec.class_names)
    raw.mkdir(parents=True)
    with contextlib.ExitStack() as closing:
        files = []
        for part, count in zip(("train", "t10k"), contents.counts, strict=True):
            for what, sides in (("images", contents.spec.shape[1:]), ("labels", ())):
                axes = 1 + len(sides)
                place = raw / f"{part}-{what}-idx{axes}-ubyte"
                files.append(closing.enter_context(place.open("wb")))
                files[-1].write(struct.pack(f">4B{axes}I", 0, 0, 8, axes, count, *sides))

        def add(part, images, seeds, labels) -> None:
            files[2 * part].write(images.numpy())
            files[2 * part + 1].write(bytes(numbers[label] for label in labels))

        yield add


def _not_idx(contents: Contents) -> str:
    channels, height, width = contents.spec.shape
    if channels > 1:
        return "IDX files hold grey images, these have colour"
    if height != width:
        return f"IDX files hold square images, these are {height} x {width}"
    if max(class_numbers(contents.spec.class_names), default=0) > 255:
        return "IDX labels are bytes, and the set has classes beyond 255"
    if getattr(contents.spec.files, "transposed", False):
        return f"{contents.spec.title} has IDX files of its own kind; choose another format"
    cure = "add --label-by-classifier" if contents.spec.class_names else "choose another format"
    return "" if contents.labelled else f"IDX files have labels, these images have none; {cure}"


def _torchvision_folder(spec: DatasetSpec) -> str:
    """The folder in which torchvision's class looks for the set; for an own set, its name."""
    return getattr(spec.files, "torchvision_class", spec.name)


WRITERS = {
    "png": Writer(folder_of_pictures, names=r"([^/]+/)?seed\d+\.png"),
    "npz": Writer(npz, suffix=".npz"),
    "zip": Writer(zip_of_pictures, suffix=".zip"),
    "idx": Writer(
        idx,
        names=r"raw/(train|t10k)-(images-idx3|labels-idx1)-ubyte",
        has_test_part=True,
        below=_torchvision_folder,
        refusal=_not_idx,
    ),
}


def kind_of(out: Path) -> str:
    """The format for --out by its ending, a folder of PNG files for none; Mistake if unknown."""
    ends = {writer.suffix: kind for kind, writer in WRITERS.items() if writer.suffix}
    if out.suffix and out.suffix.lower() not in ends and not out.is_dir():
        cure = "for a folder of that name give --format png"
        raise Mistake(f"--out {out}: ends in none of {', '.join(ends)}; {cure}")
    return ends.get(out.suffix.lower(), "png")
