"""The user's own sets: equal pixels give equal sets; odd input is read, or refused in one line."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import struct
import zipfile
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from own_sets import mutated, pixels, write_idx, write_pictures, write_zip
from PIL import Image

from lab import device, files
from lab.data import DatasetSpec, colour_asked, conversion, load, own
from lab.data.datasets import load_pictures
from lab.data.listing import list_folder
from lab.errors import Fault, Mistake

IMAGES = pixels()
CLASSES = ("Ahorn", "Buche", "Eiche")


@pytest.fixture(scope="module")
def leaves(tmp_path_factory) -> Path:
    """A folder of 80 colour pictures in three classes; tests must not change it."""
    return write_pictures(tmp_path_factory.mktemp("own") / "Große Blätter", IMAGES, CLASSES)


@pytest.fixture
def copied(leaves, tmp_path) -> Path:
    return Path(shutil.copytree(leaves, tmp_path / "leaves"))


def refusal(path: Path, **how) -> str:
    """The line with which a set is refused."""
    with pytest.raises(Mistake) as caught:
        load(str(path), **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def notice(path: Path, **how) -> str:
    return "\n".join(load(str(path), **how).notices)


# The same set


def test_a_folder_of_classes_is_a_set(leaves):
    found = load(str(leaves))
    assert found.name == "groe-blatter"
    assert found.title == "Große Blätter" and found.spec.class_names == CLASSES
    assert found.spec.shape == (3, 20, 20) and found.path == leaves
    both = torch.cat((found.train_images, found.test_images))
    own = {image.transpose(2, 0, 1).tobytes(): index % 3 for index, image in enumerate(IMAGES)}
    labels = torch.cat((found.train_labels, found.test_labels)).tolist()
    assert [own[image.numpy().tobytes()] for image in both] == labels
    assert 2 <= len(found.test_images) <= 16
    assert found.notices == ("only 80 images: a GAN learns little from so few",)


def test_the_same_pixels_are_the_same_set_however_they_are_packed(leaves, tmp_path):
    labels = np.arange(80) % 3
    shuffle = np.random.default_rng(1).permutation(80)
    npz = {"images": IMAGES[shuffle], "labels": labels[shuffle]}
    np.savez(tmp_path / "last.npz", **npz)
    columns = {"labels": labels[shuffle][:, None]}
    first = {**columns, "images": IMAGES[shuffle].transpose(0, 3, 1, 2)}
    np.savez_compressed(tmp_path / "first.npz", **first)
    opaque = np.pad(first["images"], ((0, 0), (0, 1), (0, 0), (0, 0)), constant_values=255)
    np.savez(tmp_path / "opaque.npz", **{**first, "images": opaque})
    fractions = (IMAGES[shuffle] / 255).astype(np.float32)
    np.savez(tmp_path / "names.npz", images=fractions, labels=np.array(CLASSES)[labels[shuffle]])
    np.savez(tmp_path / "tanh.npz", **{**npz, "images": fractions * 2 - 1})
    wanted = load(str(leaves))
    for path in (write_zip(tmp_path / "a.zip", leaves), *tmp_path.glob("*.npz")):
        found = load(str(path))
        assert torch.equal(found.train_images, wanted.train_images), path
        assert torch.equal(found.test_labels, wanted.test_labels), path
        assert found.fingerprint == wanted.fingerprint, path
    assert "read with the channels first" in notice(tmp_path / "first.npz")
    assert "transparency left out" in notice(tmp_path / "opaque.npz")
    assert "read as fractions of 0 to 1" in notice(tmp_path / "names.npz")
    assert "read as fractions of -1 to 1" in notice(tmp_path / "tanh.npz")
    np.savez(tmp_path / "bits.npz", images=(IMAGES > 127).astype(np.uint8))
    assert load(str(tmp_path / "bits.npz")).train_images.unique().tolist() == [0, 255]
    resized = notice(tmp_path / "last.npz", image_size=16)
    assert f"to 16 x 16: {len(IMAGES)} images (0, 1, 2, ...)" in resized


@pytest.mark.parametrize("most", [4_095, 65_535])
def test_pictures_and_arrays_of_more_bits_are_the_same_set(tmp_path, most):
    deep = np.random.default_rng(2).integers(0, most + 1, (70, 20, 20)).astype(np.uint16)
    deep[0, 0, 0] = most
    deep[5:] //= 300  # dark pictures of the same camera
    np.savez(tmp_path / "deep.npz", images=deep)
    (folder := tmp_path / "deep").mkdir()
    for index, image in enumerate(deep):
        Image.fromarray(image).save(folder / f"{index}.png")
    Image.new("I", (20, 20), 70_000).save(folder / "counts.tif")
    assert "has values above 65,535" in notice(folder)
    packed, unpacked = load(str(tmp_path / "deep.npz")), load(str(folder))
    assert packed.fingerprint == unpacked.fingerprint and unpacked.train_images.max() == 255
    assert f"whole numbers of 0 to {most:,}" in notice(tmp_path / "deep.npz")


def test_fractions_slightly_above_one_are_not_dark(tmp_path):
    fractions = np.random.default_rng(2).random((70, 20, 20)).astype(np.float32) * 1.004
    fractions[:, 0, 0] = 1.004
    np.savez(tmp_path / "a.npz", images=fractions)
    (folder := tmp_path / "a").mkdir()
    for index, image in enumerate(fractions):
        Image.fromarray(image).save(folder / f"{index}.tif")
    for path in (tmp_path / "a.npz", folder):
        found = load(str(path)).train_images
        assert found.float().mean() > 120 and (found[:, 0, 0, 0] == 255).all()


def test_a_folder_with_a_file_of_its_name_is_found_again(tmp_path):
    (folder := tmp_path / "leaf").mkdir()
    for index, image in enumerate(IMAGES):
        Image.fromarray(image).save(folder / f"{index}.png")
    (folder / "leaf").write_text("notes")
    found = load(str(folder))
    assert load_pictures(folder, found.spec.shape, str(folder)).fingerprint == found.fingerprint


def test_idx_files_of_any_size_are_read(tmp_path):
    images, labels = pixels(80, 24, 1), (np.arange(80) % 12).astype(np.uint8)
    found = load(str(write_idx(tmp_path / "idx", images, labels)))
    assert found.spec.shape == (1, 24, 24) and found.spec.class_names == tuple(map(str, range(12)))
    below = load(str(write_idx(tmp_path / "above/FashionMNIST/raw", images, labels).parents[1]))
    assert below.fingerprint == found.fingerprint
    write_pictures(tmp_path / "flat", images)
    assert torch.equal(load(str(tmp_path / "flat")).train_images, found.train_images)
    assert load(str(tmp_path / "flat")).train_labels is None
    oblong = write_idx(tmp_path / "oblong", images[:, :20])
    write_pictures(tmp_path / "pictures", images[:, :20])
    same = load(str(tmp_path / "pictures")), load(str(oblong))
    assert same[0].spec.shape == (1, 32, 32)
    assert torch.equal(same[0].train_images, same[1].train_images)
    write_idx(tmp_path / "wide", pixels(2, 600, 1)[:, :20])
    with pytest.raises(Fault, match="x 1 to 512, its header says 2 x 20 x 600"):
        load(str(tmp_path / "wide"))


def test_added_pictures_do_not_move_others(copied):
    before = load(str(copied))
    write_pictures(copied / CLASSES[0] / "more", pixels(40, seed=2))
    after = load(str(copied))
    for half in ("train_images", "test_images"):
        kept = {image.numpy().tobytes() for image in getattr(before, half)}
        assert kept < {image.numpy().tobytes() for image in getattr(after, half)}


@pytest.mark.parametrize("other", ["test", "Val"])
def test_train_and_test_folders_are_the_halves(tmp_path, other):
    write_pictures(tmp_path / "all" / "in" / "train", IMAGES[:70], CLASSES)
    write_pictures(tmp_path / "all" / "in" / other, IMAGES[70:], CLASSES)
    (tmp_path / "all" / "in" / "more").mkdir()
    found = load(str(tmp_path / "all"))
    assert (len(found.train_images), len(found.test_images)) == (70, 10)
    assert found.spec.class_names == CLASSES and "neither train nor" in found.notices[0]
    write_pictures(tmp_path / "all" / "in" / other / "Fichte", IMAGES[:1])
    assert "no training images of Fichte" in refusal(tmp_path / "all")
    Image.fromarray(IMAGES[0]).save(tmp_path / "all" / "in" / "loose.png")
    assert "1 picture beside 81 in sub-folders; sort all" in refusal(tmp_path / "all")


def test_a_half_may_hold_a_single_class(tmp_path):
    write_pictures(tmp_path / "train", IMAGES[:70], CLASSES)
    write_pictures(tmp_path / "test" / CLASSES[1], IMAGES[70:])
    found = load(str(tmp_path))
    assert found.spec.class_names == CLASSES and found.test_labels.tolist() == [1] * 10
    assert f"no test images of {CLASSES[0]}, {CLASSES[2]}: scores" in found.notices[0]
    shutil.move(tmp_path / "test" / CLASSES[1], tmp_path / "only")
    (tmp_path / "test").rmdir()
    (tmp_path / "only").rename(tmp_path / "test")
    assert "only one of train and test has classes; sort both" in refusal(tmp_path)
    for half, inside in (("train", CLASSES), ("test", CLASSES[:1])):
        shutil.rmtree(tmp_path / half)
        write_pictures(tmp_path / half / "images", IMAGES[: 70 if half == "train" else 10], inside)
    assert "only one of train and test has classes; sort both" in refusal(tmp_path)


def test_halves_that_differ_by_case_or_are_empty_do_not_go_unsaid(tmp_path):
    for name in ("Train", "test"):
        write_pictures(tmp_path / name, IMAGES)
    (tmp_path / "train").mkdir()
    assert "left out, neither Train nor test: train" in notice(tmp_path)
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "test").mkdir()
    assert "test has no pictures; fill it, or remove it" in refusal(tmp_path)
    (tmp_path / "test" / "a.png").write_bytes(b"none")
    assert "no picture of its test half can be read" in refusal(tmp_path)


def test_a_class_of_which_all_images_are_test_images_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES)
    chosen = load(str(tmp_path / "a.npz")).test_images[0].permute(1, 2, 0).numpy()
    labels = (chosen == IMAGES).all((1, 2, 3))
    np.savez(tmp_path / "b.npz", images=IMAGES, labels=labels)
    assert "no training images of True, since all are test images" in notice(tmp_path / "b.npz")


def test_names_in_a_zip_of_macos_are_read_as_utf_8(tmp_path):
    path = write_zip(tmp_path / "a.zip", write_pictures(tmp_path / "in", IMAGES, ("Ähre", "Nuß")))
    assert load(str(path)).spec.class_names == ("Nuß", "Ähre")
    content = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # of a file, and in the directory
        for found in re.finditer(re.escape(mark), content):
            content[found.start() + flags + 1] &= ~8  # which says that names are UTF-8
    path.write_bytes(content)
    assert load(str(path)).spec.class_names == ("Nuß", "Ähre")


def test_an_npz_of_two_halves(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=IMAGES[:70], x_test=IMAGES[70:], y_train=np.arange(70) % 2)
    found = load(str(tmp_path / "a.npz"))
    assert (len(found.train_images), len(found.test_images)) == (70, 10)
    assert found.train_labels is None and "labels of one half" in found.notices[0]


def test_class_names_of_an_npz_can_be_stored(tmp_path):
    names = np.array(["", "a\nb", "9" * 5_000])
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=names[np.arange(80) % 3])
    spec = load(str(tmp_path / "a.npz")).spec
    assert spec.class_names == ("9" * 200, "?", "a?b")
    assert DatasetSpec.from_facts(spec.as_facts()) == spec
    encoded = np.array(["Nuß".encode(), b"Buche"])
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=encoded[np.arange(80) % 2])
    assert load(str(tmp_path / "a.npz")).spec.class_names == ("Buche", "Nuß")


def test_neither_half_is_empty():
    tens = [number.to_bytes(4, "big") for number in (10, 20, 20)]  # all would be test images
    assert own._select_test(tens) == [True, False, False]
    hundred = [number.to_bytes(4, "big") for number in range(100)]
    assert own._select_test(hundred).count(True) == 10


def test_a_set_that_was_moved_is_found(leaves, tmp_path, monkeypatch):
    (tmp_path / "new").mkdir()
    packed = write_zip(tmp_path / "new" / "leaves.zip", leaves)
    assert load_pictures(tmp_path / "new", (3, 20, 20), "/old/leaves.zip").path == packed
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("mnist"), IMAGES)
    assert load_pictures(Path("mnist"), (3, 20, 20), "/old/leaves").path == tmp_path / "mnist"


# Shape


def test_the_shape_is_that_of_most_pictures_or_as_asked_for(tmp_path):
    assert load(str(write_pictures(tmp_path / "a", pixels(70, 28, 1)))).spec.shape == (1, 28, 28)
    write_pictures(tmp_path / "a" / "in", pixels(1, 30, 3))
    (tmp_path / "a" / "in" / "0000.png").rename(tmp_path / "a" / "colour.png")
    shutil.rmtree(tmp_path / "a" / "in")
    assert load(str(tmp_path / "a")).spec.shape == (1, 32, 32)  # of two sizes, all but one grey
    assert "1 in colour were made grey" in notice(tmp_path / "a")
    assert load(str(tmp_path / "a"), image_size=64, colour=True).spec.shape == (3, 64, 64)
    assert load(str(tmp_path / "a"), image_size=28).spec.shape == (1, 28, 28)  # not of all
    said = "resized from 28 x 28 to 64 x 64: 70 files (0000.png, 0001.png, 0002.png, ...)"
    assert said in notice(tmp_path / "a", image_size=64)
    grey_in_colour = pixels(70, 20, 1)[..., None].repeat(3, 3)
    found = load(str(write_pictures(tmp_path / "b", grey_in_colour)))
    assert found.spec.shape == (1, 20, 20) and len(found.notices) == 1
    again = load(str(tmp_path / "a"), image_size=32, colour=False)  # as a run asks for it
    assert again.fingerprint == load(str(tmp_path / "a")).fingerprint
    write_pictures(tmp_path / "c", pixels(70, 32))
    Image.fromarray(pixels(1, 40)[0]).save(tmp_path / "c" / "large.png")
    assert load(str(tmp_path / "c")).spec.shape == (3, 32, 32)
    assert load(str(tmp_path / "c"), colour=False).spec.shape == (1, 32, 32)
    grey_in_colour[:35, ..., 2] //= 2  # half of them are no longer grey
    assert load(str(write_pictures(tmp_path / "d", grey_in_colour))).spec.shape == (3, 20, 20)
    assert load(str(write_pictures(tmp_path / "e", pixels(70, 24)[:, 4:]))).spec.shape == (
        3,
        32,
        32,
    )


def test_invalid_shapes_are_refused(leaves):
    assert "multiple of 4 from 16 to 64" in refusal(leaves, image_size=18)
    assert "the images of MNIST are 28 x 28" in refusal(Path("mnist"), image_size=32)
    assert "the images of MNIST are grey" in refusal(Path("mnist"), colour=True)
    with pytest.raises(Mistake, match="--grey --colour"):
        colour_asked(True, True)


# Odd input that is taken


def test_unreadable_files_do_not_affect_others(copied):
    fingerprint = load(str(copied)).fingerprint
    there = copied / CLASSES[0]
    whole = next(there.glob("*.png")).read_bytes()
    huge = bytearray(whole)
    huge[16:24] = struct.pack(">II", 60_000, 60_000)
    write_pictures(there / "large", pixels(1, 40))
    large = (there / "large" / "0000.png").read_bytes()
    shutil.rmtree(there / "large")
    for name, content in (
        ("0.png", large[:100]),  # the first one, and of another size
        *(("broken.png", whole[:100]), ("empty.png", b""), ("bomb.png", bytes(huge))),
        *(("other.txt", b"text"), (".hidden.png", whole), ("text.jpg", b"text")),
    ):
        (there / name).write_bytes(content)
    (there / "nowhere.png").symlink_to(copied / "none")
    (there / "circle").symlink_to(copied)
    (copied / "__MACOSX").mkdir()
    (copied / "__MACOSX" / "a.png").write_bytes(whole)
    (copied / "System Volume Information").mkdir()
    (copied / "System Volume Information" / "WPSettings.dat").touch()
    os.mkfifo(there / "pipe.png")
    found = load(str(copied))
    assert found.fingerprint == fingerprint
    text = "\n".join(found.notices)
    for words in (
        *("cannot be read: 5 files (Ahorn/0.png", "not of a kind that is read: 1 file"),
        *("hidden files and folders of the system: 3 files", "lead nowhere: 1 link"),
        *("read already: 1 link", "pipes and devices: 1 file (Ahorn/pipe.png)"),
    ):
        assert words in text
    assert len(found.notices) == 7


@pytest.mark.parametrize(("count", "words"), [(1, "1 exact duplicate of"), (5, "5 exact dupl")])
def test_duplicates_are_reported(count, words, copied):
    for path in list(copied.rglob("*.png"))[:count]:
        shutil.copy(path, path.with_name(f"again-{path.name}"))
    assert words in notice(copied)


def test_duplicates_in_several_classes_are_the_same_set_in_any_order(tmp_path):
    twice, labels = np.concatenate((IMAGES, IMAGES)), np.arange(160) // 80
    for name, order in (("a", slice(None)), ("b", slice(None, None, -1))):
        np.savez(tmp_path / name, images=twice[order], labels=labels[order])
    one, two = (load(str(tmp_path / name)) for name in ("a.npz", "b.npz"))
    assert torch.equal(one.train_labels, two.train_labels) and one.train_labels.sum() > 60


def test_the_name_of_a_set_is_the_set_and_a_path_the_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("mnist"), IMAGES)
    assert load("mnist", download=False).title == "MNIST"
    assert capsys.readouterr().out.endswith("for the folder say ./mnist\n")
    found = load("./mnist")
    assert found.title == "mnist" and found.name == "mnist-pictures"  # a run is called after it
    assert found.path == tmp_path / "mnist"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("~/mnist").fingerprint == found.fingerprint


# Odd input that is refused


def test_anything_but_a_set_is_refused_in_one_line(tmp_path, leaves):
    assert "did you mean fashion?" in refusal(Path("fashoin"))
    assert "did you mean mnist?" in refusal(Path("MNIST"))
    assert "does not exist" in refusal(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "has 0 pictures, at least 64" in refusal(tmp_path / "empty")
    write_pictures(tmp_path / "few", IMAGES[:63])
    (tmp_path / "few" / "broken.png").write_bytes(b"none")
    said = refusal(tmp_path / "few")
    assert "has 63 pictures that can be read of 64, at least 64" in said
    assert "(left out, cannot be read: 1 file (broken.png: not a picture" in said
    (tmp_path / "few" / "broken.png").rename(tmp_path / "few" / "photo.heic")
    assert "not of a kind that is read: 1 file (photo.heic)" in refusal(tmp_path / "few")
    write_pictures(tmp_path / "plain", np.full((64, 16, 16), 9, np.uint8))
    assert "are blank" in refusal(tmp_path / "plain")
    write_pictures(tmp_path / "equal", IMAGES[:1].repeat(64, 0))
    assert "are equal" in refusal(tmp_path / "equal")
    (tmp_path / "a.tar").write_bytes(b"text")
    assert "is not a valid zip or npz" in refusal(tmp_path / "a.tar")
    assert "--data-dir" in refusal(leaves, data_dir=tmp_path)


def test_inconsistent_classes_are_refused(copied):
    write_pictures(copied, IMAGES[:2])
    assert "2 pictures beside 80 in sub-folders" in refusal(copied)
    for path in copied.glob("*.png"):
        path.unlink()
    (copied / "Fichte").mkdir()
    assert "the class Fichte has no pictures" in refusal(copied)
    (copied / "Fichte" / "a.png").write_bytes(b"none")
    assert "no picture of the class Fichte can be read" in refusal(copied)
    for number in "12":  # the names of folders are longer than those of classes may be
        write_pictures(copied / ("F" * 200 + number), IMAGES[:1])
    assert f"2 classes would have the name {'F' * 200}; rename" in refusal(copied)


def hostile_zips(place: Path, leaves: Path):
    """Zip files that are refused, each with a part of the message."""
    good = write_zip(place / "good.zip", leaves).read_bytes()
    inside = f"{leaves.name}/{CLASSES[0]}/0000.png"

    def with_file(name: str, content: bytes = b"") -> bytes:
        write_zip(place / "more.zip", leaves)
        with zipfile.ZipFile(place / "more.zip", "a") as archive:
            archive.writestr(name, content)
        return (place / "more.zip").read_bytes()

    directory = good.rindex(b"PK\1\2", 0, good.index(inside.encode(), good.index(b"PK\1\2")))
    encrypted, short = bytearray(good), bytearray(good)
    encrypted[directory + 8] |= 1
    short[directory + 24 : directory + 28] = struct.pack("<I", 50_000_000)
    yield bytes(encrypted), "is encrypted"
    yield bytes(short), "is shorter than its header says"
    yield with_file("in/more.zip", good[:100]), "is an archive, too"
    yield with_file("../a.png"), "is a path outside the zip"
    yield with_file("a/..\\..\\a.png"), "is a path outside the zip"
    yield with_file("/etc/a.png"), "is a path outside the zip"
    yield with_file("C:/a.png"), "is a path outside the zip"
    yield with_file("a/" * 200 + "a.png"), "is in more than 100 folders"
    yield good[: len(good) // 2], "is not a valid zip or npz"


def test_hostile_zips_are_refused_and_nothing_is_written(leaves, tmp_path):
    (there := tmp_path / "there").mkdir()
    for content, says in hostile_zips(tmp_path, leaves):
        (there / "a.zip").write_bytes(content)
        assert says in refusal(there / "a.zip")
        assert [path.name for path in there.iterdir()] == ["a.zip"]


def test_a_decompression_bomb_in_a_zip_is_left_out(leaves, tmp_path, monkeypatch):
    path = write_zip(tmp_path / "a.zip", leaves)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{leaves.name}/{CLASSES[0]}/bomb.png", bytes(2_000_000))
        archive.writestr("__MACOSX/._a.png", b"of macOS")
        archive.writestr(no_name := zipfile.ZipInfo("a"), b"")
        no_name.filename = ""
    monkeypatch.setattr("lab.data.listing.MAX_BYTES", 1_000_000)
    found = load(str(path))
    assert found.fingerprint == load(str(leaves)).fingerprint
    assert "bomb.png: 2,000,000 bytes is too large" in "\n".join(found.notices)
    assert "left out, not of a kind that is read: 1 file (.)" in found.notices


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"images": np.array([{}] * 70)}, "is pickled"),
        ({"images": IMAGES, "labels": np.arange(79)}, "79 labels for 80 images"),
        ({"images": IMAGES, "labels": np.full(80, 0.5)}, "its labels are fractions or objects"),
        ({"images": IMAGES, "labels": np.full(80, np.inf)}, "its labels are fractions or objects"),
        ({"images": IMAGES, "labels": np.full(80, 1e300)}, "its labels are fractions or objects"),
        ({"pictures": IMAGES}, "has pictures; images, or x_train"),
        ({"images": IMAGES[0, 0]}, "images is 20 x 3; images x height x width"),
        ({"images": IMAGES * np.float64(3)}, "has values of"),
        ({"images": np.full((70, 16, 16), np.nan)}, "has values of nan"),
        ({"images": IMAGES[:63]}, "has 63 pictures"),
        ({"images": IMAGES.astype("<U3")}, "has values of type <U3"),
        ({"images": IMAGES[:, :0]}, "images is 80 x 0 x 20 x 3; images x height x width"),
        ({"images": np.uint8(3)}, "images is 1; images x height x width"),
        ({"images": IMAGES, "labels": np.int64(3)}, "1 labels for 80 images"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_an_npz_of_something_else_is_refused(tmp_path, content, says):
    np.savez(tmp_path / "a.npz", **content)
    assert says in refusal(tmp_path / "a.npz")


def test_an_npz_with_a_false_header_allocates_no_memory(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES)
    content = (tmp_path / "a.npz").read_bytes()
    more = content.replace(b"(80, 20, 20, 3), }  ", b"(9980, 20, 20, 3), }")
    assert more != content
    (tmp_path / "a.npz").write_bytes(more)
    assert "is not as long as its header says" in refusal(tmp_path / "a.npz")


def test_what_this_user_may_not_read_is_not_called_damaged(leaves, tmp_path, monkeypatch):
    denied = Mock(side_effect=PermissionError(13, "Permission denied"))
    path = write_zip(tmp_path / "a.zip", leaves)
    with monkeypatch.context() as changed, pytest.raises(PermissionError):
        changed.setattr("builtins.open", denied)
        changed.setattr("io.open", denied)
        load(str(path), download=False)
    item = Mock(stat=denied, is_symlink=lambda: False)
    item.name = "a.png"
    monkeypatch.setattr(os, "scandir", lambda folder: contextlib.nullcontext([item]))
    with pytest.raises(PermissionError):
        list_folder(leaves)


def test_a_set_larger_than_memory_is_refused(leaves, monkeypatch):
    load(str(leaves), image_size=64)  # now it is cached
    monkeypatch.setattr(device, "free_memory", lambda: 100_000)
    said = refusal(leaves, image_size=64)
    assert "80 images take" in said and "4 of them would fit" in said  # 60,000 // (3 * 64 * 64)


# The cache


def test_converted_pictures_are_cached_until_a_file_or_option_changes(copied, monkeypatch):
    converted = []
    convert = conversion.convert
    monkeypatch.setattr(
        "lab.data.own.convert", lambda *given: converted.append(1) or convert(*given)
    )
    first, again = load(str(copied)), load(str(copied))
    assert len(converted) == 1 and again.notices == first.notices
    assert again.fingerprint == first.fingerprint and again.spec == first.spec
    shape = (3, 20, 20)  # as the other scripts ask for the set of a run
    assert load_pictures(copied, shape, "copied").fingerprint == first.fingerprint
    assert len(converted) == 1
    load(str(copied), image_size=16)
    path = next(copied.rglob("*.png"))
    os.utime(path, ns=(1, 1))
    load(str(copied))
    path.rename(path.with_name("renamed.png"))
    load(str(copied))
    assert len(converted) == 4
    for kept in (files.cache_folder() / "pictures").iterdir():
        kept.write_bytes(kept.read_bytes()[:-30])
    assert load(str(copied)).fingerprint == first.fingerprint and len(converted) == 5
    monkeypatch.setattr(os, "utime", Mock(side_effect=PermissionError))  # a read-only cache
    assert load(str(copied)).fingerprint == first.fingerprint and len(converted) == 5


def test_the_lab_works_without_a_cache(copied, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load(str(copied)).spec.shape == (3, 20, 20)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "unused"))
    load(str(copied), download=False)  # as a dry run asks for it
    assert not (tmp_path / "unused").exists()
    monkeypatch.setattr(own, "MAX_KEPT", 4)  # two sets with two names each
    for side in (16, 20, 24, 28):
        load(str(copied), image_size=side)
    assert len(list((tmp_path / "unused").rglob("*.npz"))) == 4
    monkeypatch.setattr(own, "convert", pytest.fail)
    for side in (24, 28):  # the last two are the ones that are kept
        load(str(copied), image_size=side)


# Mutations


def targets(place: Path) -> list[tuple[Path, Path]]:
    """A folder, a zip and an npz of pictures, and for each the file to mutate."""
    folder = write_pictures(place / "folder", pixels(66, 16), ("a", "b"))
    np.savez(place / "a.npz", images=pixels(66, 16), labels=np.arange(66) % 2)
    some = [next(folder.rglob("*.png")), write_zip(place / "a.zip", folder), place / "a.npz"]
    return list(zip([folder, *some[1:]], some, strict=True))


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_mutated_sets_are_read_or_refused_in_one_line(tmp_path, kind):
    path, file = targets(tmp_path)[kind]
    content, chance = file.read_bytes(), random.Random(kind)
    before = len(list(tmp_path.rglob("*")))
    for _ in range(50):
        file.write_bytes(mutated(content, chance))
        try:
            found = load(str(path), download=False)
            assert found.spec.shape[1] % 4 == 0 and len(found.train_images) >= 40
        except (Mistake, Fault) as refused:
            assert "\n" not in str(refused)
    assert len(list(tmp_path.rglob("*"))) == before


def test_a_folder_is_listed_in_order_to_a_limited_depth(tmp_path):
    deep = tmp_path.joinpath(*["d"] * 120)
    deep.mkdir(parents=True)
    Image.new("L", (4, 4)).save(deep / "a.png")
    found = list_folder(tmp_path)
    assert not found.entries and "left out, sub-folders" in found.remarks.lines()[0]
