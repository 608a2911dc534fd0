"""DATASETS, the named sets, one row each: a set's name, image shape, classes and source.

A set of the user's own has a DatasetSpec, too, but no row.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.data.idx import MAX_SIDE
from lab.data.sources import IdxFiles, TorchvisionSet
from lab.files import is_plain_name
from lab.text import printable

SAMPLE_FOLDER = Path(__file__).parent / "sample"
MAX_CLASSES = 1_000  # in a spec that is read from a file


@dataclass(frozen=True)
class DatasetSpec:
    """The description of a set, also stored in weights files.

    shape: (channels, height, width) of an image. class_names: by label; () without labels.
    files: where the images come from; None for a set of the user's own. published_fid: (generator,
    Inception FID of 10,000 generated images against 10,000 test images) from the literature.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    class_names: tuple[str, ...] = ()
    files: TorchvisionSet | None = field(default=None, compare=False)
    published_fid: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def as_facts(self) -> dict[str, Any]:
        """Name, title, shape and classes as plain values, to be stored in a file."""
        lists = {"shape": list(self.shape), "class_names": list(self.class_names)}
        return {"name": self.name, "title": self.title, **lists}

    @classmethod
    def from_facts(cls, facts: Any) -> "DatasetSpec":
        """The spec from the result of `as_facts`; ValueError with a short reason if it is invalid.

        Also accepts the name of a row of DATASETS, as stored by the first version of the lab.
        """
        if isinstance(facts, str) and facts in DATASETS:
            return DATASETS[facts]
        if not isinstance(facts, Mapping):
            raise ValueError("does not say which set it was trained on")
        name, title, shape = map(facts.get, ("name", "title", "shape"))
        names = facts.get("class_names", ())
        sides, texts = (list(v) if isinstance(v, list | tuple) else [None] for v in (shape, names))
        texts += [name, title]
        are_texts = all(isinstance(text, str) and 0 < len(text) <= 200 for text in texts)
        are_plain = are_texts and all(printable(text) == text for text in texts)
        if not are_plain or not is_plain_name(name):  # it becomes the name of folders
            raise ValueError("the name, title or classes of its set are damaged")
        sound = len(sides) == 3 and all(type(s) is int and 1 <= s <= MAX_SIDE for s in sides)
        if not sound or sides[0] not in (1, 3):
            raise ValueError("the shape of its images is damaged")
        if len(names) > MAX_CLASSES:
            raise ValueError(f"its set has more than {MAX_CLASSES:,} classes")
        spec, known = cls(name, title, tuple(sides), tuple(names)), DATASETS.get(name)
        return known if known == spec else spec


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
    "kmnist": DatasetSpec(
        name="kmnist",
        title="KMNIST",
        shape=(1, 28, 28),
        class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        files=TorchvisionSet("KMNIST", ("KMNIST",), images=70_000),
    ),
    "emnist": DatasetSpec(
        name="emnist",
        title="EMNIST (balanced)",
        shape=(1, 28, 28),
        class_names=tuple(f"{string.digits}{string.ascii_uppercase}abdefghnqrt"),
        files=TorchvisionSet(
            "EMNIST", ("EMNIST",), {"split": "balanced"}, 131_600, transposed=True
        ),
    ),
    "cifar10": DatasetSpec(
        name="cifar10",
        title="CIFAR-10",
        shape=(3, 32, 32),
        class_names=(
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ),
        files=TorchvisionSet("CIFAR10", ("cifar-10-batches-py",), images=60_000),
    ),
}
