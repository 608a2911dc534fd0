"""A new data set, network, loss, corruption, metric or format needs one entry in its table."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from conftest import call, score_few
from PIL import Image
from torch import nn

import denoise_images
import evaluate_images
import gan_lab
import generate_images
from lab.data.datasets import DATASETS, DatasetSpec
from lab.data.sources import Part
from lab.data.writers import WRITERS, Writer
from lab.evaluation import classifiers
from lab.evaluation.catalogue import METRICS, Metric
from lab.models import DISCRIMINATORS
from lab.models.serialization import load_weights
from lab.restoration.corruptions import CORRUPTIONS, Corruption
from lab.training.losses import LOSSES, Loss

SHAPE, CLASSES = (3, 20, 20), 4


class ToyFiles:
    """A data set of random squares in four colours."""

    wanted = "nothing"
    system_folder = None
    published: ClassVar[dict[str, str]] = {}

    def find(self, place: Path) -> Path:
        return place

    def read(self, folder: Path, shape, classes: int) -> tuple[Part, Part]:
        return self.half(shape, classes, 400, 0), self.half(shape, classes, 300, 1)

    def half(self, shape, classes: int, count: int, seed: int) -> Part:
        chance = torch.Generator().manual_seed(seed)
        labels = torch.randint(classes, (count,), generator=chance)
        images = torch.randint(40, (count, *shape), generator=chance, dtype=torch.uint8)
        colours = torch.tensor([[200, 0, 0], [0, 200, 0], [0, 0, 200], [200, 200, 0]])
        images[:, :, 5:15, 5:15] += colours[labels].byte()[:, :, None, None]
        return Part(images, labels, f"images {seed}", f"labels {seed}")


class LinearDiscriminator(nn.Module):
    """The smallest discriminator there is."""

    def __init__(self, shape) -> None:
        super().__init__()
        self.layer = nn.Linear(shape[0] * shape[1] * shape[2], 1)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return self.layer(images.flatten(1)).squeeze(1)


class Darkened(Corruption):
    """Multiplies the brightness of all pixels."""

    name = "darkened"

    def apply(self, images: torch.Tensor, seed: int) -> torch.Tensor:
        return images * (1 - self.broadcast_severity(images))

    def expected(self, images: torch.Tensor) -> torch.Tensor:
        return self.apply(images, 0)

    @property
    def variance(self) -> float | torch.Tensor:
        return 0.01 + 0 * self.severity


@contextlib.contextmanager
def plain_bytes(path: Path, contents):
    """A format: the bytes of all images."""
    with path.open("wb") as file:
        yield lambda part, images, seeds, labels: file.write(images.numpy().tobytes())


@pytest.fixture
def rows(monkeypatch) -> None:
    """Add one entry to each table."""
    spec = DatasetSpec("toy", "Toy squares", SHAPE, ("red", "green", "blue", "yellow"), ToyFiles())
    wasserstein = Loss(
        discriminator=lambda real, fake, _: fake.mean() - real.mean(),
        generator=lambda real, fake: -fake.mean(),
        has_labels=False,
    )
    brightness = Metric(
        "Brightness",
        "higher",
        ".1f",
        "Mean pixel.",
        compute=lambda sample, reference: float(sample.images.float().mean()),
    )
    monkeypatch.setitem(DATASETS, "toy", spec)
    monkeypatch.setitem(DISCRIMINATORS, "linear", LinearDiscriminator)
    monkeypatch.setitem(LOSSES, "wasserstein", wasserstein)
    monkeypatch.setitem(CORRUPTIONS, "darkened", Darkened)
    monkeypatch.setitem(METRICS, "brightness", brightness)
    monkeypatch.setitem(WRITERS, "bytes", Writer(plain_bytes, suffix=".bytes"))


@pytest.fixture
def few_images(monkeypatch) -> None:
    """Use few images and short classifier trainings for the scores."""
    score_few(monkeypatch)
    monkeypatch.setattr(classifiers, "MAX_EPOCHS", 4)


@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_a_new_choice_needs_one_entry(rows, few_images, tmp_path, capsys, network):
    call(
        *(gan_lab, "--dataset", "toy", "--data-dir", tmp_path, "--out", tmp_path),
        *("--network-d", "linear", "--no-pyramid", "--loss", "wasserstein", "--r1-gamma", 0),
        *("--epochs", 2, "--batch-size", 50, "--hidden-g", 32, "--device", "cpu"),
        *("--latent-dim", 8, "--final-images", 3, "--network-g", network),
    )
    run = tmp_path / "toy-001"
    weights = load_weights(run / "generator.pth", "generator")
    assert weights.spec.shape == SHAPE and weights.spec.title == "Toy squares"
    assert weights.network(torch.zeros(2, 8)).shape == (2, *SHAPE)
    assert load_weights(run / "discriminator.pth", "discriminator").network.kind == "linear"
    with Image.open(run / "final_generated_images" / "img_002.png") as picture:
        assert picture.size == (20, 20) and picture.mode == "RGB"
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert 0 < evaluation["brightness"] < 255 and "near_copies" in evaluation
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Toy squares" in page and "Brightness" in page and "Mean pixel." in page

    call(evaluate_images, "--run", run)
    assert "Brightness" in capsys.readouterr().out

    arguments = ("--count", 2, "--steps", 5, "--restarts", 2, "--device", "cpu")
    call(denoise_images, "--run", run, "--corruption", "darkened:0.5", *arguments)
    scores = json.loads((run / "denoising_results" / "scores.json").read_text())
    (sheet,) = scores["sheets"].values()
    assert sheet["corruption"] == "darkened:0.5" and "projection" in sheet["scores"]

    made = ("--count", 5, "--out", tmp_path / "made.bytes", "--corruption", "darkened:1")
    call(generate_images, "--run", run, *made)
    assert (tmp_path / "made.bytes").stat().st_size == 5 * 3 * 20 * 20
    assert not any((tmp_path / "made_darkened_1.bytes").read_bytes())
