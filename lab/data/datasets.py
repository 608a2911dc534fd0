"""The image sets: what is known of each, and a set that has been read, held whole in memory.

A set is a row of DATASETS; nothing outside this folder knows one by its name. Networks, grids and
pages take their shapes from its spec.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lab.data.sources import IdxFiles, NoDownload
from lab.errors import Mistake
from lab.text import printable

DOWNLOAD_FOLDER = Path(__file__).parents[2] / "data"
SAMPLE_FOLDER = Path(__file__).parent / "sample"
MOST_SIDE, MOST_CLASSES = 512, 1_000  # bounds for what files from elsewhere say of their images

SAMPLE_NOTICE = (
    "*** This is the BUNDLED SAMPLE: 10,000 of 60,000 training images. Figures from it are not\n"
    "*** comparable with the full set's. For that: train a new run where there is a network, or\n"
    "*** with the set's IDX files (raw or .gz) in a folder that --data-dir names."
)
SAMPLE_EPOCHS = 6  # of the bundled sample are as many steps as one epoch of the full set


@dataclass(frozen=True)
class DatasetSpec:
    """What is known of a set before any file of it is read. Weights files carry it.

    shape: (channels, height, width) of an image. class_names: by label; () without labels.
    files: where its images come from. published_fid: (what, Inception FID, 10,000 generated images
    against 10,000 test images) of generators in the literature.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    class_names: tuple[str, ...] = ()
    files: IdxFiles | None = field(default=None, compare=False)
    published_fid: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def as_facts(self) -> dict[str, Any]:
        """Name, title, shape and classes as plain values, for a file."""
        words = {"name": self.name, "title": self.title}
        return {**words, "shape": list(self.shape), "class_names": list(self.class_names)}

    @classmethod
    def from_facts(cls, facts: Any) -> DatasetSpec:
        """The spec that `as_facts` was of; ValueError, in a few words, for anything else.

        A name alone, as files of the lab's first version have it, is that of a row of DATASETS.
        """
        if isinstance(facts, str) and facts in DATASETS:
            return DATASETS[facts]
        if not isinstance(facts, Mapping):
            raise ValueError("does not say which set it was trained on")
        shape, names = facts.get("shape"), facts.get("class_names", ())
        texts = [facts.get("name"), facts.get("title"), *_as_list(names)]
        if not all(isinstance(text, str) and 0 < len(text) <= 200 for text in texts):
            raise ValueError("the name, title or classes of its set are damaged")
        sides = _as_list(shape)
        if len(sides) != 3 or not all(type(s) is int and 1 <= s <= MOST_SIDE for s in sides):
            raise ValueError("the shape of its images is damaged")
        if len(names) > MOST_CLASSES:
            raise ValueError(f"its set has more than {MOST_CLASSES:,} classes")
        known = DATASETS.get(facts["name"])
        spec = cls(facts["name"], facts["title"], tuple(sides), tuple(names))
        return known if known == spec else spec


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [None]


DATASETS = {
    "mnist": DatasetSpec(
        name="mnist",
        title="MNIST",
        shape=(1, 28, 28),
        class_names=tuple("0123456789"),
        files=IdxFiles(
            torchvision_class="MNIST",
            folders=("MNIST/raw", "MNIST", "mnist", "raw", "."),
            published={
                "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757": "full",
                "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161": "full",
                "2f7182bf021ffc5c1f62db987487f14d899b5c639f421a80f3095affc09a7db2": "sample",
                "170ff6838184f9ec6aaa1bbb5932ed59b7463585418d2da081525165ef21edae": "sample",
            },
        ),
        published_fid=(
            ("NS GAN, convolutional, wide search (Lucic et al. 2018)", "6.8 ± 0.5"),
            ("WGAN, convolutional, wide search (Lucic et al. 2018)", "6.7 ± 0.4"),
            ("PA-NS-GAN, convolutional (Zhang and Khoreva 2019)", "6.6 ± 0.8"),
            ("HypGAN, fully connected, 400 epochs (Lazcano et al. 2021)", "7.87"),
        ),
    ),
    "fashion": DatasetSpec(
        name="fashion",
        title="Fashion-MNIST",
        shape=(1, 28, 28),
        class_names=(
            *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        files=IdxFiles(
            torchvision_class="FashionMNIST",
            folders=(
                *("FashionMNIST/raw", "FashionMNIST", "fashion-mnist", "fashion_mnist"),
                *("fashion", "fashion-mnist/data/fashion", "raw", "."),
            ),
            system_folder="/usr/share/datasets/fashion-mnist",
            published={
                "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012": "full",
                "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a": "full",
                "2929ae1c7b89e0ee6587bbe4911fd5f0a5dafe21ae6ed9b737173cbfe20c12c9": "sample",
                "09bbac78738f0229a68f7ca74e62665d7fb34f45ea7a3509ab5c4a202c1370de": "sample",
            },
        ),
        published_fid=(
            ("NS GAN, convolutional, wide search (Lucic et al. 2018)", "26.5 ± 1.6"),
            ("WGAN, convolutional, wide search (Lucic et al. 2018)", "21.5 ± 1.6"),
            ("PA-NS-GAN, convolutional (Zhang and Khoreva 2019)", "15.8 ± 1.1"),
        ),
    ),
}


@dataclass(frozen=True)
class Dataset:
    """One set, held whole: images uint8 (N, *spec.shape), labels int64 (N,) or None."""

    spec: DatasetSpec
    train_images: Tensor
    train_labels: Tensor | None
    test_images: Tensor
    test_labels: Tensor | None
    source: str  # for people: where the images were read from
    is_sample: bool
    fingerprint: str  # SHA-256 over the digests of images and labels, hexadecimal

    @property
    def name(self) -> str:
        """The set's name on the command line."""
        return self.spec.name

    @property
    def title(self) -> str:
        """The set's published name."""
        return self.spec.title

    def footnote(self, part: str = "from") -> str:
        """What stands under pictures in which the bundled sample has a part; else nothing."""
        return f"{part} the BUNDLED SAMPLE, not the full set" if self.is_sample else ""


def load(name: str, data_dir: Path | None = None, download: bool = True) -> Dataset:
    """The set of that name in DATASETS from the first source that has it.

    Sources in order: `data_dir`, an earlier download, the system's copy, torchvision's download (if
    `download` allows it), the bundled sample. Mistake when `data_dir` does not have the set, or has
    another one: to train on other images than those that were named would be worse. Fault when a
    file of the set is found but damaged: it never falls back past one.
    """
    spec = DATASETS[name]
    if data_dir:
        folder = spec.files.find(data_dir)
        if not folder:
            wanted = f"training images of {spec.title} ({spec.files.wanted})"
            cure = "name another folder, or leave it out"
            raise Mistake(f"--data-dir {data_dir}: has no {wanted}; {cure}")
        return read_folder(spec, folder)
    for place in filter(None, (DOWNLOAD_FOLDER, spec.files.system_folder)):
        folder = spec.files.find(Path(place))
        if folder:
            with contextlib.suppress(Mistake):  # nobody named it, and it has another set
                return read_folder(spec, folder)
    if download:
        try:
            spec.files.download(DOWNLOAD_FOLDER)
            return load(name, download=False)
        except NoDownload as reason:
            print(f"note: {spec.title} could not be downloaded ({printable(str(reason))})")
    return load_sample(name)


def load_sample(name: str) -> Dataset:
    """The bundled sample of the set of that name in DATASETS."""
    return read_folder(DATASETS[name], SAMPLE_FOLDER / name)


def read_folder(spec: DatasetSpec, folder: Path) -> Dataset:
    """Read the set in `folder`; Fault if a file is missing or damaged, Mistake for another set."""
    parts = spec.files.read(folder, spec.shape, len(spec.class_names))
    for part in parts:
        owner = _published_by(part.image_digest)
        if owner and owner[0] != spec.name:
            raise Mistake(
                f"--data-dir: {part.image_file} has the images of {DATASETS[owner[0]].title}, "
                f"those of {spec.title} are wanted; name another folder, or ask for that set"
            )
    train, test = parts
    digests = "".join(part.image_digest + part.label_digest for part in parts)
    return Dataset(
        spec=spec,
        train_images=train.images,
        train_labels=train.labels,
        test_images=test.images,
        test_labels=test.labels,
        source=str(folder),
        is_sample=_published_by(train.image_digest) == (spec.name, "sample"),
        fingerprint=hashlib.sha256(digests.encode()).hexdigest(),
    )


def _published_by(image_digest: str) -> tuple[str, str] | None:
    """Whose published images have this SHA-256, and whether they are `full` or the `sample`."""
    for name, spec in DATASETS.items():
        if spec.files and image_digest in spec.files.published:
            return name, spec.files.published[image_digest]
    return None
