"""The scripts on a set of the user's own: the same pixels give the same weights in any form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import call
from PIL import Image

import evaluate_images
import gan_lab
from lab.data import load
from lab.data.datasets import load_pictures
from lab.errors import Mistake
from lab.report.index import table
from lab.runs import Run

TINY = (
    *("--epochs", 1, "--batch-size", 16, "--hidden-g", 16, "--hidden-d", 16, "--no-quality"),
    *("--latent-dim", 4, "--final-images", 0, "--device", "cpu", "--no-pyramid"),
)


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    """Eighty pictures in two classes, and a file that is no picture."""
    images = np.random.default_rng(0).integers(0, 256, (80, 20, 20, 3), np.uint8)
    for index, image in enumerate(images):
        (home := tmp_path / "Leaves" / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(home / f"{index}.jpg")
    (tmp_path / "Leaves" / "a" / "broken.jpg").write_bytes(b"none")
    return tmp_path / "Leaves"


def test_the_same_pixels_give_the_same_weights(leaves, tmp_path):
    dataset = load(str(leaves), image_size=16)
    images = torch.cat((dataset.test_images, dataset.train_images))
    labels = torch.cat((dataset.test_labels, dataset.train_labels))
    np.savez(tmp_path / "leaves.npz", images=images.permute(0, 2, 3, 1), labels=labels)
    outputs = tmp_path / "outputs"
    for path in (leaves, tmp_path / "leaves.npz"):
        size = ("--image-size", 16) if path == leaves else ()
        call(gan_lab, "--dataset", path, "--out", outputs, *size, *TINY)
    of_folder, of_arrays = (Run(outputs / f"leaves-00{number}") for number in (1, 2))
    one, two = (run.load_generator().network.state_dict() for run in (of_folder, of_arrays))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert of_folder.options["dataset"] == str(leaves) and of_folder.options["image_size"] == 16
    assert any("a/broken.jpg" in line for line in of_folder.config.data.notices)
    assert "a/broken.jpg" in of_folder.report_path.read_text(encoding="utf-8")

    call(gan_lab, "--resume", of_folder, "--epochs", 2)
    assert len(Run(of_folder.path).history) == 2
    with pytest.raises(Mistake, match=r"--out .* lies in --dataset"):
        call(gan_lab, "--dataset", leaves, "--out", leaves / "a", *TINY)
    there = ("--images", tmp_path / "Leaves" / "b", "--dataset", leaves, "--out", leaves / "new")
    with pytest.raises(Mistake, match=r"--out .* lies in --dataset"):
        call(evaluate_images, *there)
    foliage = leaves.rename(tmp_path / "Foliage")
    call(gan_lab, "--resume", of_folder, "--epochs", 3, "--data-dir", foliage)
    assert len(Run(of_folder.path).history) == 3
    config = of_folder.config_path.read_text(encoding="utf-8")  # as if trained on Windows
    there = json.dumps("C:\\Users\\Anna\\Leaves")
    of_folder.config_path.write_text(config.replace(json.dumps(str(foliage)), there))
    assert " Leaves " in table(outputs)
    with pytest.raises(Mistake, match=r"Anna.Leaves, which no longer exists; say with --data-dir"):
        call(gan_lab, "--resume", of_folder, "--epochs", 4)
    call(gan_lab, "--resume", of_folder, "--epochs", 4, "--data-dir", foliage)
    moved = load_pictures(tmp_path, (3, 16, 16), "C:\\Users\\Anna\\leaves.npz")
    assert moved.path == tmp_path / "leaves.npz"
