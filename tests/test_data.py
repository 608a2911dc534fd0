"""lab/data.py: the right images from the right place, and a clear line for every damaged file."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import socket
import struct
import threading
import urllib.error
from pathlib import Path

import pytest
import torch
from conftest import SAMPLE
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.data import datasets as data
from lab.data import download
from lab.data.download import NoDownload
from lab.errors import Fault, Mistake


def idx(values: torch.Tensor) -> bytes:
    """uint8 values as the bytes of an IDX file."""
    header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.numpy().tobytes()


def zipped(content: bytes) -> bytes:
    """The same bytes at any time: pytest names tests after them, in each of its processes."""
    return gzip.compress(content, mtime=0)


def write_set(folder: Path, count: int = 20, ending: str = "", joint: str = "-") -> Path:
    """A tiny set of random images in torchvision's spelling of the file names."""
    folder.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(count)
    for part in ("train", "t10k"):
        images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=random)
        labels = torch.randint(0, 10, (count,), dtype=torch.uint8, generator=random)
        for stem, values in (("images", images), ("labels", labels)):
            content = idx(values)
            content = zipped(content) if ending == ".gz" else content
            (folder / f"{part}-{stem}{joint}idx{values.ndim}-ubyte{ending}").write_bytes(content)
    return folder


@pytest.mark.parametrize("name", data.SETS)
def test_the_bundled_sample_is_what_its_checksums_say(name):
    for line in (SAMPLE / "SHA256SUMS").read_text().splitlines():
        digest, file = line.split()
        assert hashlib.sha256((SAMPLE / file).read_bytes()).hexdigest() == digest
    sample = data.read_folder(name, SAMPLE / name)
    assert sample.is_sample
    assert sample.train_images.shape == (10_000, 1, 28, 28)
    assert sample.test_images.shape == (2_000, 1, 28, 28)
    assert sample.train_images.dtype == torch.uint8 and sample.train_labels.dtype == torch.int64
    assert sample.train_labels.unique().tolist() == list(range(10))
    assert len(sample.class_names) == 10


def test_the_sample_weighs_at_most_eight_megabytes():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*")) <= 8_000_000


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("joint", ["-", "."])
@pytest.mark.parametrize("below", ["FashionMNIST/raw", "fashion", "raw", "."])
def test_every_usual_layout_is_read(tmp_path, ending, joint, below):
    write_set(tmp_path / below, ending=ending, joint=joint)
    image_set = data.load("fashion", tmp_path)
    assert image_set.train_images.shape == (20, 1, 28, 28)
    assert not image_set.is_sample
    assert str(tmp_path) in image_set.source


def test_raw_and_gzip_give_the_same_images(tmp_path):
    raw = data.read_folder("mnist", write_set(tmp_path / "raw"))
    packed = data.read_folder("mnist", write_set(tmp_path / "packed", ending=".gz"))
    assert torch.equal(raw.train_images, packed.train_images)
    assert raw.fingerprint == packed.fingerprint


def test_the_fingerprint_tells_one_byte_of_any_file(tmp_path):
    before = data.read_folder("mnist", write_set(tmp_path)).fingerprint
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert data.read_folder("mnist", tmp_path).fingerprint != before, path.name
        path.write_bytes(content)


def test_another_sets_images_are_refused(tmp_path):
    shutil.copytree(SAMPLE / "mnist", tmp_path / "raw")
    with pytest.raises(Mistake, match=r"images of MNIST, those of Fashion-MNIST are wanted"):
        data.load("fashion", tmp_path)


def test_another_sets_images_where_nobody_named_them_are_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DOWNLOAD_FOLDER", tmp_path)
    shutil.copytree(SAMPLE / "mnist", tmp_path / "raw")
    assert data.load("mnist", download=False).source == str(tmp_path / "raw")
    assert data.load("fashion", download=False).source != str(tmp_path / "raw")


def test_a_missing_file_is_named(tmp_path):
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(Fault, match=r"t10k-labels-idx1-ubyte .* is missing"):
        data.load("mnist", tmp_path)


def test_labels_must_fit_images(tmp_path):
    write_set(tmp_path, count=20)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(torch.zeros(19, dtype=torch.uint8)))
    with pytest.raises(Fault, match="19 labels for 20 images"):
        data.load("mnist", tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(torch.full((20,), 10).byte()))
    with pytest.raises(Fault, match="label 10 found"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not an IDX file"),
        (b"GIF89a" + b"\0" * 40, "not an IDX file"),
        (struct.pack(">4B3I", 0, 0, 13, 3, 20, 28, 28), "found type 13"),
        (struct.pack(">4B1I", 0, 0, 8, 1, 20) + b"\0" * 20, "in 1"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 20, 32, 32), "20 x 32 x 32"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 28, 28), "4,294,967,295"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 0, 28, 28), "wrong size"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 200_000, 28, 28), "truncated"),
        (idx(torch.zeros(2, 28, 28, dtype=torch.uint8)) + b"!", "more bytes"),
        (b"\x1f\x8b" + b"garbage" * 9, "damaged gzip"),
        (zipped(idx(torch.zeros(9, 28, 28, dtype=torch.uint8)))[:-12], "damaged gzip"),
    ],
)
def test_each_kind_of_damage_is_named(tmp_path, content, says):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(Fault, match=says) as caught:
        data.read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_a_header_that_promises_too_much_is_given_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "bytearray", pytest.fail, raising=False)  # where a file is read into
    (tmp_path / "file").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 200_000, 28, 28))
    with pytest.raises(Fault, match="truncated"):
        data.read_idx(tmp_path / "file", 3)


GOOD = {
    "raw": idx(torch.arange(3 * 784).remainder(251).byte().view(3, 28, 28)),
    "gzip": zipped(idx(torch.arange(3 * 784).remainder(251).byte().view(3, 28, 28))),
}


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(sorted(GOOD)),
    keep=st.integers(0, 3000),
    flips=st.lists(st.tuples(st.integers(0, 2999), st.integers(1, 255)), max_size=6),
)
def test_a_mutated_file_is_read_or_refused_but_never_crashes(tmp_path_factory, kind, keep, flips):
    content = bytearray(GOOD[kind][:keep])
    for place, change in flips:
        if place < len(content):
            content[place] ^= change
    path = tmp_path_factory.getbasetemp() / "mutated"
    path.write_bytes(content)
    try:
        images = data.read_idx(path, 3)
    except Fault as fault:
        assert "\n" not in str(fault)
    else:
        assert images.shape[1:] == (28, 28) and images.dtype == torch.uint8


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_what_is_written_is_read_back(tmp_path_factory, count, seed):
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=random)
    path = tmp_path_factory.getbasetemp() / "whole"
    path.write_bytes(idx(images))
    assert torch.equal(data.read_idx(path, 3), images)


def test_without_files_and_network_the_sample_is_used(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "DOWNLOAD_FOLDER", tmp_path / "none")

    def refuse(request, timeout):
        raise urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    assert data.load("mnist").is_sample
    assert capsys.readouterr().out == "note: MNIST could not be downloaded (Connection refused)\n"
    assert list(tmp_path.iterdir()) == []


def test_a_named_folder_without_the_set_is_a_mistake(tmp_path):
    write_set(tmp_path)
    next(tmp_path.glob("train-images*")).unlink()
    with pytest.raises(Mistake, match=r"--data-dir .* no training images of MNIST"):
        data.load("mnist", tmp_path)


def test_a_download_ends_beside_what_is_already_there(tmp_path, monkeypatch):
    stray = tmp_path / "MNIST" / "raw" / "stray"
    stray.parent.mkdir(parents=True)
    stray.touch()

    class Downloaded:
        mirrors, resources = ("https://dataset.invalid/",), (("file", "digest"),)
        __name__ = "MNIST"

        def __call__(self, place, download):
            shutil.copytree(data.SAMPLE_FOLDER / "mnist", Path(place) / "MNIST" / "raw")

    monkeypatch.setattr(download, "await_answer", lambda url: None)
    monkeypatch.setattr("torchvision.datasets.MNIST", Downloaded())
    monkeypatch.setattr(data, "DOWNLOAD_FOLDER", tmp_path)
    moved, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda *paths: moved.append(paths[1]) or replace(*paths))
    assert data.load("mnist").source == str(stray.parent)
    assert moved[-1].name.startswith("train-images")  # without them the set counts as not there
    assert stray.exists() and not list(tmp_path.glob(".download-*"))


def test_a_proxy_without_a_name_is_no_network(monkeypatch, capfd):
    monkeypatch.setenv("https_proxy", "http://.x:80")
    with pytest.raises(NoDownload, match="label empty"):
        download.await_answer("https://dataset.invalid/file")
    assert capfd.readouterr().err == ""


def test_a_download_that_fails_counts_as_no_network(tmp_path, monkeypatch):
    class Failing:
        mirrors, resources = ("https://dataset.invalid/",), (("file", "digest"),)

        def __call__(self, place, download):
            raise RuntimeError("Error downloading")  # torchvision's, when every mirror failed

    monkeypatch.setattr(download, "await_answer", lambda url: None)
    monkeypatch.setattr("torchvision.datasets.MNIST", Failing())
    before = socket.getdefaulttimeout()
    with pytest.raises(NoDownload, match="Error downloading"):
        download.download_set("MNIST", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert socket.getdefaulttimeout() == before


def test_a_silent_network_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(download, "NETWORK_PATIENCE", 0.2)
    hanging = threading.Event()  # never set: the server neither answers nor refuses
    monkeypatch.setattr(download.urllib.request, "urlopen", lambda *_, **__: hanging.wait())
    with pytest.raises(NoDownload, match="no answer"):  # and it does not wait for ever
        download.await_answer("https://dataset.invalid/file")


def test_a_page_that_answers_anything_is_no_network(monkeypatch, capfd):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(b"welcome to our hotel\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        port = server.getsockname()[1]
        with pytest.raises(NoDownload, match="welcome to our hotel"):
            download.await_answer(f"http://127.0.0.1:{port}/file")
    assert capfd.readouterr().err == ""


def test_pixels_become_numbers_from_minus_one_to_one():
    assert data.to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == [
        -1.0,
        pytest.approx(-0.6),
        1.0,
    ]
