"""The user's own sets in the form of arrays: an npz file, or IDX files of any size."""

import math
import zipfile
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from lab.data.idx import find_file, read_idx
from lab.data.listing import MAX_DEFLATE_RATIO, MAX_NAME, Entry, Listing, Remarks, open_zip
from lab.data.pictures import SLACK
from lab.device import check_memory
from lab.errors import Mistake
from lab.text import printable

NAMES = (  # of the arrays in an npz: (images, labels) of the whole set, or of each half
    (("images", "labels"),),
    (("arr_0", "arr_1"),),  # of savez without names, as by the evaluator of guided-diffusion
    (("x_train", "y_train"), ("x_test", "y_test")),
)


# Images uint8 (N, H, W) or (N, H, W, 3) and labels (N,) or None of the training half, and of the
# test half if there is one.
Halves = list[tuple[np.ndarray, np.ndarray | None]]


def list_arrays(path: Path, flag: str) -> Listing | None:
    """The images of an npz file, or of a folder of IDX files; None if it is neither.

    flag: `--dataset PATH`, for the Mistake. Raises Fault for damaged IDX files.
    """
    found = Listing()
    if home := idx_folder(path):
        halves = _read_idx_folder(home, flag)
    elif path.is_file() and path.suffix.lower() == ".npz":
        halves = _read_npz(path, flag, found.remarks)
    else:
        return None
    has_labels = {labels is not None for _, labels in halves}
    if len(has_labels) == 2:
        found.remarks.note("labels of one half only: the set counts as unlabelled")
    for half, (images, labels) in enumerate(halves):
        for index, pixels in enumerate(images):
            name = (printable(str(labels[index]))[:MAX_NAME] or "?") if has_labels == {True} else ""
            place, source = PurePosixPath(str(len(found.entries))), partial(_picture, pixels)
            found.entries.append(Entry(place, (), source, half > 0, name, "image"))
    return found


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels))


def _read_npz(path: Path, flag: str, remarks: Remarks) -> Halves:
    """The halves in an npz file; adds to the remarks how their values were read."""
    found = []
    with open_zip(path, flag) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        halves = next((halves for halves in NAMES if halves[0][0] in members), None)
        if halves is None:
            there = ", ".join(map(printable, sorted(members)[:5])) or "nothing"
            raise Mistake(f"{flag}: has {there}; images, or x_train and x_test, are expected")
        for images, labels in halves:
            if images not in members:
                continue
            values, changes = _levels(_array(archive, members[images], flag), f"{flag}: {images}")
            for change in changes:
                remarks.note(f"{images}: {change}")
            classes = _array(archive, members[labels], flag) if labels in members else None
            found.append((values, _labels(classes, len(values), flag)))
    return found


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, flag: str) -> np.ndarray:
    """Read an array of an npz file after checking that its header and its sizes agree."""
    name = printable(info.filename)
    if info.file_size > MAX_DEFLATE_RATIO * info.compress_size:
        raise Mistake(f"{flag}: is shorter than its header says ({name}); create it again")
    try:
        with archive.open(info) as file:
            version = 1 if np.lib.format.read_magic(file) == (1, 0) else 2
            shape, _, kind = getattr(np.lib.format, f"read_array_header_{version}_0")(file)
            if kind.hasobject:
                raise Mistake(f"{flag}: {name} is pickled, which is unsafe; save plain numbers")
            check_memory(max([1, *shape[:1]]), math.prod(shape[1:]) * kind.itemsize, flag)
            if file.tell() + math.prod(shape) * kind.itemsize != info.file_size:
                raise Mistake(f"{flag}: {name} is not as long as its header says; create it again")
        with archive.open(info) as file:
            return np.atleast_1d(np.lib.format.read_array(file, allow_pickle=False))
    except (Mistake, MemoryError):
        raise
    except Exception as error:  # numpy may raise anything for a damaged header
        raise Mistake(f"{flag}: {name} is damaged ({printable(str(error))[:80]})") from None


def _levels(values: np.ndarray, flag: str) -> tuple[np.ndarray, list[str]]:
    """Images in any usual layout and range as uint8 (N, H, W) or (N, H, W, 3), with notices."""
    notices = []
    if values.ndim == 4 and values.shape[3] not in (1, 3, 4) and values.shape[1] in (1, 3, 4):
        values = values.transpose(0, 2, 3, 1)
        notices.append("read with the channels first")
    if not values.size or (values.ndim, *values.shape[3:]) not in ((3,), (4, 1), (4, 3), (4, 4)):
        found = " x ".join(map(str, values.shape))
        raise Mistake(f"{flag} is {found}; images x height x width (x 1 or 3 channels) is expected")
    if values.dtype != np.uint8 or values.max() <= 1:
        values, scale = _scaled(values, flag)
        notices.append(f"read as {scale}")
    if values.shape[3:] == (4,):
        notices.append("transparency left out")
        values = values[..., :3]
    return values[..., 0] if values.shape[3:] == (1,) else values, notices


def _scaled(values: np.ndarray, flag: str) -> tuple[np.ndarray, str]:
    """Numbers scaled to 0..255, and their range in words."""
    kind = values.dtype.kind
    low, high = (float(values.min()), float(values.max())) if kind in "fiu" else (0.0, 1.0)
    scales = [(0, 1), (-1, 1), (0, 255), *([(0, 4_095), (0, 65_535)] if kind in "iu" else [])]
    slack = SLACK if kind == "f" else 0
    fitting = [(b, t) for b, t in scales if b - slack <= low and high <= t + slack]
    if kind not in "fiub" or not fitting:  # NaN fits no range
        found = f"{low:g} to {high:g}" if kind in "fiub" else f"type {values.dtype}"
        raise Mistake(f"{flag} has values of {found}; give 0 to 255, or 0 to 1")
    bottom, top = fitting[0]
    levels = np.empty(values.shape, np.uint8)
    for index, image in enumerate(values):  # one by one, to save memory
        scaled = (image.astype(float) - bottom) * (255 / (top - bottom))
        levels[index] = np.rint(scaled).clip(0, 255)
    noun = {"f": "fractions", "b": "bits"}.get(kind, "whole numbers")
    return levels, f"{noun} of {bottom} to {top:,}"


def _labels(values: np.ndarray | None, count: int, flag: str) -> np.ndarray | None:
    """Labels (count,) as integers or names; Mistake if they are anything else."""
    if values is None:
        return None
    flat = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if flat.shape != (count,):
        found = " x ".join(map(str, values.shape))
        raise Mistake(f"{flag}: {found} labels for {count:,} images; give one each, or none")
    if flat.dtype.kind == "S":
        flat = np.char.decode(flat, "utf-8", "replace")
    if flat.dtype.kind == "f" and (abs(flat.astype(float)) < 2**53).all() and not (flat % 1).any():
        flat = flat.astype(np.int64)
    if flat.dtype.kind not in "iubU":
        raise Mistake(f"{flag}: its labels are fractions or objects; give whole numbers, or names")
    return flat


def idx_folder(folder: Path) -> Path | None:
    """The folder, its raw/ or that of a sub-folder, which has IDX files; else None.

    May raise OSError.
    """
    places = (folder, folder / "raw", *sorted(folder.glob("*/raw")))
    return next((place for place in places if find_file(place, "train", "images")), None)


def _read_idx_folder(folder: Path, flag: str) -> Halves:
    """Read IDX files of any size; labels and test half are optional. Raises Fault."""
    found = []
    for part in ("train", "t10k"):
        if images := find_file(folder, part, "images"):
            pixels, labels = read_idx(images, None, flag), find_file(folder, part, "labels")
            classes = labels and read_idx(labels, (), flag).numpy()
            found.append((pixels.numpy(), _labels(classes, len(pixels), flag)))
    return found
