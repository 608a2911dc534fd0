"""Images of MNIST and Fashion-MNIST as one uint8 tensor, from the first source that has them.

Sources in order: IDX files in a named folder, an earlier download in data/, the copy Debian's
`dataset-fashion-mnist` installs, torchvision's download, the sample of 12,000 images that comes
with the lab. The IDX format is the one of http://yann.lecun.com/exdb/mnist: a big-endian header of
a type byte, a dimension count and the dimensions, then the bytes. Files from elsewhere are not
trusted: sizes are checked before memory is asked for.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lab.data.download import NoDownload, download_set
from lab.errors import Fault, Mistake
from lab.text import printable

IMAGE_SIDE = 28
SAMPLE_FOLDER = Path(__file__).parent / "sample"
DOWNLOAD_FOLDER = Path(__file__).parents[2] / "data"
MOST_IMAGES = 300_000  # no set of this family is larger; a bound for hostile headers
SAMPLE_EPOCHS = 6  # of the bundled sample are as many steps as one epoch of the full set

SAMPLE_NOTICE = (
    "*** This is the BUNDLED SAMPLE: 10,000 of 60,000 training images. Figures from it are not\n"
    "*** comparable with the full set's. For that: train a new run where there is a network, or\n"
    "*** with the set's IDX files (raw or .gz) in a folder that --data-dir names."
)


@dataclass(frozen=True)
class SetFacts:
    """What is known of a set before any file of it is read."""

    title: str
    torchvision_class: str
    folders: tuple[str, ...]  # where its files usually lie below a data folder
    system_folder: str | None
    class_names: tuple[str, ...]


SETS = {
    "mnist": SetFacts(
        title="MNIST",
        torchvision_class="MNIST",
        folders=("MNIST/raw", "MNIST", "mnist", "raw", "."),
        system_folder=None,
        class_names=tuple("0123456789"),
    ),
    "fashion": SetFacts(
        title="Fashion-MNIST",
        torchvision_class="FashionMNIST",
        folders=(
            *("FashionMNIST/raw", "FashionMNIST", "fashion-mnist", "fashion_mnist", "fashion"),
            *("fashion-mnist/data/fashion", "raw", "."),
        ),
        system_folder="/usr/share/datasets/fashion-mnist",
        class_names=(
            *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ),
}

# SHA-256 of the published image bytes (what follows the IDX header), and whose they are.
PUBLISHED_IMAGES = {
    "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757": ("mnist", "full"),
    "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161": ("mnist", "full"),
    "2f7182bf021ffc5c1f62db987487f14d899b5c639f421a80f3095affc09a7db2": ("mnist", "sample"),
    "170ff6838184f9ec6aaa1bbb5932ed59b7463585418d2da081525165ef21edae": ("mnist", "sample"),
    "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012": ("fashion", "full"),
    "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a": ("fashion", "full"),
    "2929ae1c7b89e0ee6587bbe4911fd5f0a5dafe21ae6ed9b737173cbfe20c12c9": ("fashion", "sample"),
    "09bbac78738f0229a68f7ca74e62665d7fb34f45ea7a3509ab5c4a202c1370de": ("fashion", "sample"),
}


@dataclass(frozen=True)
class ImageSet:
    """One set, held whole: images uint8 (N, 1, 28, 28), labels int64 (N,)."""

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    source: str  # for people: where the images were read from
    is_sample: bool
    fingerprint: str  # SHA-256 over the digests of images and labels, hexadecimal

    @property
    def title(self) -> str:
        """The set's published name."""
        return SETS[self.name].title

    def footnote(self, part: str = "from") -> str:
        """What stands under pictures in which the bundled sample has a part; else nothing."""
        return f"{part} the BUNDLED SAMPLE, not the full set" if self.is_sample else ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Ten names, by label."""
        return SETS[self.name].class_names


def to_float(images: Tensor) -> Tensor:
    """uint8 0..255 of any shape -> float32 in [-1, 1], what every network of the lab sees."""
    return images.to(torch.float32).mul_(2 / 255).sub_(1)


def load(name: str, data_dir: Path | None = None, download: bool = True) -> ImageSet:
    """The set `name` ("mnist" or "fashion") from the first source that has it.

    data_dir: a folder with IDX files, raw or .gz, in any of the usual layouts.
    download: whether the network may be asked.
    Raises Mistake when `data_dir` does not have the set, or has the other one: to train on other
    images than those that were named would be worse. Raises Fault when a file of the set is found
    but is damaged: it never falls back past one.
    """
    facts = SETS[name]
    if data_dir:
        folder = find_folder(name, data_dir)
        if not folder:
            raise Mistake(
                f"--data-dir {data_dir}: has no training images of {facts.title} "
                "(train-images-idx3-ubyte, raw or .gz); name another folder, or leave it out"
            )
        return read_folder(name, folder)
    for place in filter(None, (DOWNLOAD_FOLDER, facts.system_folder)):
        folder = find_folder(name, Path(place))
        if folder:
            with contextlib.suppress(Mistake):  # nobody named it, and it has the other set
                return read_folder(name, folder)
    if download:
        try:
            download_set(facts.torchvision_class, DOWNLOAD_FOLDER)
            return load(name, download=False)
        except NoDownload as reason:
            print(f"note: {facts.title} could not be downloaded ({printable(str(reason))})")
    return read_folder(name, SAMPLE_FOLDER / name)


def find_folder(name: str, place: Path) -> Path | None:
    """The folder at or below `place`, or its data/, that holds training images of the set."""
    folders = (home / below for home in (place, place / "data") for below in SETS[name].folders)
    return next((folder for folder in folders if _find_file(folder, "train", "images")), None)


def read_folder(name: str, folder: Path) -> ImageSet:
    """Read the four IDX files in `folder`; Fault if one is missing or damaged.

    Mistake if they are of another set.
    """
    train_images, train_labels, train_digests = _read_part(name, folder, "train")
    test_images, test_labels, test_digests = _read_part(name, folder, "t10k")
    return ImageSet(
        name=name,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        source=str(folder),
        is_sample=PUBLISHED_IMAGES.get(train_digests[0]) == (name, "sample"),
        fingerprint=hashlib.sha256("".join(train_digests + test_digests).encode()).hexdigest(),
    )


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read one IDX file of bytes, raw or gzip, as a uint8 tensor with `dimensions` axes.

    Raises Fault naming the file, what was expected and what was found.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        size = file.seek(0, 2)
    # Deflate packs at most 1032:1, so the file's size bounds what it can honestly hold.
    most_bytes = size * 1032 if packed else size
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            shape = _read_idx_header(path, file.read(4 + 4 * dimensions), dimensions)
            count = math.prod(shape)
            if count > most_bytes:
                raise Fault(
                    f"{path}: truncated: too short for the {count:,} bytes it announces; "
                    "fetch it again"
                )
            content = bytearray(count)
            found = file.readinto(content)
            if found < count:
                raise Fault(
                    f"{path}: truncated: {count:,} bytes expected, {found:,} found; fetch it again"
                )
            if file.read(1):
                raise Fault(f"{path}: damaged: more bytes than the {count:,} its header announces")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Fault(f"{path}: damaged gzip file ({error}); fetch it again") from None
    return torch.frombuffer(content, dtype=torch.uint8).reshape(shape)


def _read_idx_header(path: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    """The dimensions an IDX header announces, once they are believable."""
    if len(header) < 4 + 4 * dimensions or header[:2] != b"\0\0":
        raise Fault(f"{path}: not an IDX file: it begins with {header[:4].hex(' ') or 'nothing'}")
    if header[2] != 8 or header[3] != dimensions:
        raise Fault(
            f"{path}: wrong IDX file: expected bytes (type 8) in {dimensions} dimensions, "
            f"found type {header[2]} in {header[3]}"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if not 1 <= shape[0] <= MOST_IMAGES or any(side != IMAGE_SIDE for side in shape[1:]):
        wanted = " x ".join(["1 to 300,000", *["28"] * (dimensions - 1)])
        found = " x ".join(f"{side:,}" for side in shape)
        raise Fault(f"{path}: wrong size: expected {wanted}, its header says {found}")
    return shape


def _read_part(name: str, folder: Path, part: str) -> tuple[Tensor, Tensor, tuple[str, str]]:
    """One half of a set: images (N, 1, 28, 28), labels (N,) and the SHA-256 of each."""
    paths = {what: _find_file(folder, part, what) for what in ("images", "labels")}
    for what, path in paths.items():
        if path is None:
            file = f"{part}-{what}-idx{3 if what == 'images' else 1}-ubyte"
            raise Fault(
                f"{folder}: {file} (or .gz) is missing beside the set's other files; fetch it"
            )
    images = read_idx(paths["images"], 3).unsqueeze(1)
    labels = read_idx(paths["labels"], 1)
    if len(images) != len(labels):
        raise Fault(f"{paths['labels']}: {len(labels):,} labels for {len(images):,} images")
    if labels.max() > 9:
        raise Fault(f"{paths['labels']}: label {labels.max()} found, 0 to 9 expected")
    digest = hashlib.sha256(images.numpy()).hexdigest()
    owner, _ = PUBLISHED_IMAGES.get(digest, (name, ""))
    if owner != name:
        raise Mistake(
            f"--data-dir: {paths['images']} has the images of {SETS[owner].title}, those of "
            f"{SETS[name].title} are wanted; name another folder, or ask for that set"
        )
    digests = digest, hashlib.sha256(labels.numpy()).hexdigest()
    return images, labels.to(torch.int64), digests


def _find_file(folder: Path, part: str, what: str) -> Path | None:
    """`train-images-idx3-ubyte` in the spellings it is met in, raw first."""
    axes = 3 if what == "images" else 1
    for joint in ("-", "."):
        for ending in ("", ".gz"):
            path = folder / f"{part}-{what}{joint}idx{axes}-ubyte{ending}"
            if path.is_file():
                return path
    return None
