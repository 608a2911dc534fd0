"""lab/data/writers.py: other programs can read what it writes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import MNIST, FashionMNIST, ImageFolder

from lab.data import DATASETS, DatasetSpec, load
from lab.data.arrays import list_arrays
from lab.data.pictures import opened
from lab.data.writers import WRITERS, Contents, class_folders, kind_of
from lab.errors import Mistake

COLOUR = DatasetSpec("own", "Own", (3, 8, 12), ("cat", "dog"))


def random_images(count: int, shape, seed: int = 0) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=chance)


def write(kind: str, path: Path, spec: DatasetSpec, parts, batch: int = 7) -> None:
    """Write parts of (images, labels or None); seeds count through all parts."""
    counts = tuple(len(images) for images, _ in parts)
    labelled = parts[0][1] is not None
    first = 0
    with WRITERS[kind].open(path, Contents(spec, counts, labelled)) as add:
        for number, (images, labels) in enumerate(parts):
            for start in range(0, len(images), batch):
                some = slice(start, start + batch)
                rows = images[some]
                seeds = range(first + start, first + start + len(rows))
                add(number, rows, seeds, labels[some] if labels else None)
            first += len(images)


@pytest.mark.parametrize(("name", "torchvision_set"), [("mnist", MNIST), ("fashion", FashionMNIST)])
def test_idx_is_read_by_torchvision_and_by_the_lab(name, torchvision_set, tmp_path):
    spec = DATASETS[name]
    train, test = random_images(60, spec.shape), random_images(10, spec.shape, seed=1)
    labels = [number % 10 for number in range(60)]
    place = tmp_path / WRITERS["idx"].below(spec)
    write("idx", place, spec, [(train, labels), (test, labels[:10])])
    for is_train, images in ((True, train), (False, test)):
        found = torchvision_set(str(tmp_path), train=is_train)
        assert torch.equal(found.data, images[:, 0])
        assert found.targets.tolist() == labels[: len(images)]
    own = load(name, tmp_path)
    assert torch.equal(own.train_images, train) and torch.equal(own.test_images, test)
    assert own.train_labels.tolist() == labels


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 30),
    channels=st.sampled_from([1, 3]),
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    labelled=st.booleans(),
    batch=st.integers(1, 31),
)
def test_npz_round_trip(tmp_path_factory, count, channels, sides, labelled, batch):
    path = tmp_path_factory.getbasetemp() / "any.npz"
    spec = DatasetSpec("own", "Own", (channels, *sides), ("a", "b"))
    images = random_images(count, spec.shape, seed=count)
    labels = [number % 2 for number in range(count)] if labelled else None
    write("npz", path, spec, [(images, labels)], batch)
    found = np.load(path)
    wanted = images[:, 0] if channels == 1 else images.permute(0, 2, 3, 1)
    assert np.array_equal(found["images"], wanted.numpy())
    assert found["seeds"].tolist() == list(range(count))
    assert (found["labels"].tolist() if "labels" in found else None) == labels


def test_pictures_are_sorted_by_class_and_seed(tmp_path):
    images = random_images(9, COLOUR.shape)
    labels = [number % 2 for number in range(9)]
    write("png", tmp_path / "by class", COLOUR, [(images, labels)])
    write("zip", tmp_path / "by class.zip", COLOUR, [(images, labels)])
    write("png", tmp_path / "without", COLOUR, [(images, None)])
    found = ImageFolder(str(tmp_path / "by class"))
    assert found.classes == ["0_cat", "1_dog"] and sorted(found.targets) == sorted(labels)
    with zipfile.ZipFile(tmp_path / "by class.zip") as archive:
        for seed, image in enumerate(images):
            name = f"{found.classes[seed % 2]}/seed{seed:06d}.png"
            picture = Image.open(io.BytesIO(archive.read(name)))
            assert np.array_equal(np.asarray(picture), image.permute(1, 2, 0).numpy())
            for path in (f"by class/{name}", f"without/seed{seed:06d}.png"):
                assert opened(tmp_path / path).tobytes() == picture.tobytes()


def test_folders_of_classes_sort_by_label_and_name_each_number_once():
    assert class_folders(DATASETS["mnist"].class_names) == [*"0123456789"]
    folders = class_folders(DATASETS["emnist"].class_names)
    assert folders[9:11] == ["09", "10_a"] and folders == sorted(folders)


def test_the_bytes_of_a_zip_repeat(tmp_path):
    spec = DatasetSpec("own", "Own", (1, 2, 2), ("猫", "dog"))
    images, labels = random_images(20, spec.shape), [number % 2 for number in range(20)]
    paths = (tmp_path / "a.zip", tmp_path / "b.zip")
    for path in paths:
        write("zip", path, spec, [(images, labels)])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with zipfile.ZipFile(paths[0]) as found:
        assert found.namelist()[:2] == ["0_猫/seed000000.png", "1_dog/seed000001.png"]
        assert {info.date_time for info in found.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_idx_cannot_hold_is_refused():
    refusal = WRITERS["idx"].refusal
    assert "colour" in refusal(Contents(COLOUR, (1, 1), True))
    assert "8 x 12" in refusal(Contents(DatasetSpec("own", "Own", (1, 8, 12)), (1, 1), True))
    assert "--label-by-classifier" in refusal(Contents(DATASETS["mnist"], (1, 1), False))
    without_labels = DatasetSpec("own", "Own", (1, 8, 8))  # no classifier can label these
    assert refusal(Contents(without_labels, (1, 1), False)).endswith("; choose another format")
    assert not refusal(Contents(DATASETS["mnist"], (1, 1), True))
    assert "IDX files of its own kind" in refusal(Contents(DATASETS["emnist"], (1, 1), True))
    assert WRITERS["idx"].below(without_labels) == "own"


def test_classes_whose_names_are_numbers_keep_them(tmp_path):
    spec = DatasetSpec("own", "Own", (1, 16, 16), ("1", "2", "26"))
    train, test = random_images(3, spec.shape), random_images(1, spec.shape, seed=1)
    write("npz", tmp_path / "a.npz", spec, [(train, [0, 2, 1])])
    write("idx", tmp_path / "a", spec, [(train, [0, 2, 1]), (test, [2])])
    assert np.load(tmp_path / "a.npz")["labels"].tolist() == [1, 26, 2]
    found = list_arrays(tmp_path / "a", "--dataset a").entries
    assert [entry.class_name for entry in found] == ["1", "26", "2", "26"]
    for names in (("1", "256"), [f"{number}th" for number in range(257)]):
        own = DatasetSpec("own", "Own", (1, 16, 16), tuple(names))
        assert "beyond 255" in WRITERS["idx"].refusal(Contents(own, (1, 1), True))
        less = DatasetSpec("own", "Own", (1, 16, 16), own.class_names[:-1])
        assert not WRITERS["idx"].refusal(Contents(less, (1, 1), True))


def test_the_ending_says_the_format(tmp_path):
    kinds = [kind_of(Path(name)) for name in ("a", "a.npz", "a.ZIP")]
    assert kinds == ["png", "npz", "zip"]
    with pytest.raises(Mistake, match=r"a\.jpg: ends in none of"):
        kind_of(Path("a.jpg"))
    (tmp_path / "v1.2").mkdir()
    assert kind_of(tmp_path / "v1.2") == "png"
