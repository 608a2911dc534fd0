"""lab/data/sources.py: clear messages for damaged files, and for every kind of network failure."""

from __future__ import annotations

import hashlib
import http.server
import math
import pickle
import socket
import struct
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from idx_files import idx, write_set, zipped

from lab import device
from lab.data import datasets, load, sources
from lab.data import idx as idx_module
from lab.data.idx import read_idx
from lab.data.sources import NoDownload
from lab.errors import Fault, Mistake

SIDES = (28, 28)


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
        (idx(torch.zeros(2, 28, 28, dtype=torch.uint8)) + b"!", "more bytes"),
        (idx(torch.zeros(2, 28, 28, dtype=torch.uint8))[:-5], "1,568 bytes expected, 1,563 found"),
        (zipped(idx(torch.ones(2, 28, 28, dtype=torch.uint8))[:-5]), "1,563 found"),
        (b"\x1f\x8b" + b"garbage" * 9, "damaged gzip"),
        (zipped(idx(torch.zeros(9, 28, 28, dtype=torch.uint8)))[:-12], "damaged gzip"),
    ],
)
def test_each_kind_of_damage_is_named(tmp_path, content, says):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(Fault, match=says) as caught:
        read_idx(path, SIDES)
    assert str(path) in str(caught.value)


def test_images_of_other_sides_are_read_on_request(tmp_path):
    images = torch.arange(2 * 20 * 24).remainder(256).byte().view(2, 20, 24)
    (tmp_path / "file").write_bytes(idx(images))
    assert torch.equal(read_idx(tmp_path / "file", (20, 24)), images)
    with pytest.raises(Fault, match=r"expected 1 to 300,000 x 28 x 28, .* 2 x 20 x 24"):
        read_idx(tmp_path / "file", SIDES)


def test_a_false_header_allocates_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(idx_module, "bytearray", pytest.fail, raising=False)  # what is read into
    (tmp_path / "file").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 200_000, 28, 28))
    with pytest.raises(Fault, match="truncated"):
        read_idx(tmp_path / "file", SIDES)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_named_set_larger_than_memory_is_refused_before_it_is_read(name, tmp_path, monkeypatch):
    spec = datasets.DATASETS[name]
    home = tmp_path / spec.files.folders[0]
    home.mkdir(parents=True)
    content = struct.pack(">4B3I", 0, 0, 8, 3, 60_000, 28, 28) + bytes(60_000 * 784)
    (home / "train-images-idx3-ubyte").write_bytes(content)
    (home / "train-labels-idx1-ubyte").write_bytes(idx(torch.zeros(60_000, dtype=torch.uint8)))
    monkeypatch.setattr(device, "free_memory", lambda: 10_000_000)
    monkeypatch.setattr(datasets, "DOWNLOAD_FOLDER", tmp_path)
    monkeypatch.setattr(idx_module, "bytearray", pytest.fail, raising=False)
    monkeypatch.setattr(sources, "_torchvision_class", pytest.fail)
    fit = f"60,000 images take .* {6_000_000 // math.prod(spec.shape):,} of them would fit"
    for place in (tmp_path, None):  # named, or found
        with pytest.raises(Mistake, match=f"--dataset: {tmp_path}.*{fit}"):
            load(name, place)


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
        images = read_idx(path, SIDES)
    except Fault as fault:
        assert "\n" not in str(fault)
    else:
        assert images.shape[1:] == SIDES and images.dtype == torch.uint8


@pytest.mark.parametrize("kind", ["raw", "gzip"])
def test_bytes_after_a_gzip_file_are_ignored(tmp_path, kind):
    images = torch.arange(3 * 784).remainder(251).byte().view(3, 28, 28)
    (tmp_path / "file").write_bytes(GOOD[kind] + b"ab")
    if kind == "gzip":
        assert torch.equal(read_idx(tmp_path / "file", SIDES), images)
        halves = zipped(idx(images)[:900]) + zipped(idx(images)[900:])  # as pigz and cat make them
        (tmp_path / "file").write_bytes(halves)
        assert torch.equal(read_idx(tmp_path / "file", None), images)
        broken = bytearray(GOOD[kind])
        broken[-6] ^= 1  # of the sum at its end
        (tmp_path / "file").write_bytes(broken)
    with pytest.raises(Fault, match=f"{tmp_path}/file: damaged"):
        read_idx(tmp_path / "file", SIDES)


# Sets that torchvision reads


def test_kmnist_and_emnist_are_read_in_torchvisions_layout(tmp_path):
    raw = write_set(tmp_path / "KMNIST" / "raw")
    found = load("kmnist", tmp_path)
    assert torch.equal(found.train_images[:, 0], read_idx(raw / "train-images-idx3-ubyte", SIDES))
    assert torch.equal(found.test_labels, read_idx(raw / "t10k-labels-idx1-ubyte", ()).long())
    (home := tmp_path / "data" / "EMNIST" / "raw").mkdir(parents=True)
    for path in raw.iterdir():
        name = path.name.replace("t10k", "test")
        (home / f"emnist-balanced-{name}").write_bytes(path.read_bytes())
    lying = load("emnist", tmp_path)  # stored transposed, shown upright
    assert torch.equal(lying.train_images.mT, found.train_images)
    assert len(lying.spec.class_names) == 47 and lying.spec.class_names[36:38] == ("a", "b")
    (home / "emnist-balanced-test-labels-idx1-ubyte").write_bytes(b"none")
    with pytest.raises(Fault, match=r"EMNIST: is damaged .*download it again"):
        load("emnist", tmp_path)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(torch.arange(20).byte()))
    with pytest.raises(Fault, match=r"KMNIST: is damaged \(labels 0 to 19 found\)"):
        load("kmnist", tmp_path)


def test_cifar10_is_read_in_torchvisions_layout(tmp_path, monkeypatch):
    (home := tmp_path / "cifar-10-batches-py").mkdir()
    chance, listed = np.random.default_rng(0), []
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        values = chance.integers(0, 256, (9, 3072), np.uint8)
        content = {"data": values, "labels": [1] * 9, "label_names": []}
        (home / name).write_bytes(pickle.dumps(content))
        listed.append([name, hashlib.md5((home / name).read_bytes()).hexdigest()])
        monkeypatch.setattr("torchvision.datasets.CIFAR10.train_list", listed[:1])
        monkeypatch.setattr("torchvision.datasets.CIFAR10.test_list", listed[1:2])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": listed[2][1]}
    monkeypatch.setattr("torchvision.datasets.CIFAR10.meta", meta)
    found = load("cifar10", tmp_path)
    first = pickle.loads((home / "data_batch_1").read_bytes())["data"]
    assert torch.equal(found.train_images.flatten(1), torch.from_numpy(first))
    assert found.train_images.shape == (9, 3, 32, 32) and found.test_labels.tolist() == [1] * 9
    (home / "data_batch_1").write_bytes(b"none")
    with pytest.raises(Fault, match="is damaged"):  # and what is in it is not unpickled
        load("cifar10", tmp_path)


def test_a_set_without_sample_and_network_says_what_to_fetch(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "DOWNLOAD_FOLDER", tmp_path / "data")

    def refuse(*_: object) -> None:
        raise NoDownload("no answer from the server")

    monkeypatch.setattr(sources, "await_answer", refuse)
    with pytest.raises(Fault) as caught:
        load("cifar10")
    for words in ("no answer", "CIFAR10(FOLDER, download=True)", str(tmp_path), "--data-dir"):
        assert words in str(caught.value)
    with pytest.raises(Fault, match=r"EMNIST\(FOLDER, split='balanced', download=True\)"):
        load("emnist")
    assert not (tmp_path / "data").exists()


# The network


def test_a_proxy_without_a_name_is_no_network(monkeypatch, capfd):
    monkeypatch.setenv("https_proxy", "http://.x:80")
    monkeypatch.setattr("urllib.request._opener", None)  # made once, with the proxies of then
    with pytest.raises(NoDownload, match="label empty"):
        sources.await_answer("https://dataset.invalid/file")
    assert capfd.readouterr().err == ""


def test_a_download_that_fails_counts_as_no_network(tmp_path, monkeypatch):
    class Failing:
        mirrors, resources = ("https://dataset.invalid/",), (("file", "digest"),)

        def __call__(self, place, download):
            raise RuntimeError("Error downloading")  # torchvision's, when every mirror failed

    monkeypatch.setattr(sources, "await_answer", lambda url: None)
    monkeypatch.setattr("torchvision.datasets.MNIST", Failing())
    before = socket.getdefaulttimeout()
    with pytest.raises(NoDownload, match="Error downloading"):
        sources.TorchvisionSet("MNIST", ()).download(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert socket.getdefaulttimeout() == before


def test_a_silent_network_times_out(monkeypatch):
    monkeypatch.setattr(sources, "NETWORK_PATIENCE", 0.2)
    hanging = threading.Event()  # never set: the server neither answers nor refuses
    monkeypatch.setattr(sources.urllib.request, "urlopen", lambda *_, **__: hanging.wait())
    with pytest.raises(NoDownload, match="no answer"):  # and it does not wait for ever
        sources.await_answer("https://dataset.invalid/file")


def test_a_proxy_that_refuses_head_counts_as_a_network(capfd):
    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(405)

        def do_GET(self) -> None:
            self.send_response(206 if self.path == "/set" else 407)
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}"
        sources.await_answer(f"{home}/set")
        with pytest.raises(NoDownload, match="Proxy Authentication Required"):
            sources.await_answer(f"{home}/closed")
        server.shutdown()


def test_a_login_page_is_no_network(monkeypatch, capfd):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(b"welcome to our hotel\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        port = server.getsockname()[1]
        with pytest.raises(NoDownload, match="welcome to our hotel"):
            sources.await_answer(f"http://127.0.0.1:{port}/file")
    assert capfd.readouterr().err == ""
