"""The convolutional denoiser: its training, its use, its file."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from lab.data import datasets
from lab.data.pixels import to_unit
from lab.errors import Fault
from lab.models import DENOISERS, build, count_parameters, shipped
from lab.models.denoiser import Denoiser
from lab.models.serialization import save_weights
from lab.restoration import denoising
from lab.restoration.corruptions import Gaussian, GaussianClipped
from lab.restoration.scoring import scores
from lab.seeding import stream

SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def squares() -> torch.Tensor:
    """uint8 (64, 1, 28, 28): a bright square somewhere, which is soon learnt."""
    images = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    for index, image in enumerate(images):
        image[:, index % 8 + 4 :, index // 8 + 4 :][:, :12, :12] = 255
    return images


def test_denoiser_has_the_parameters_it_is_meant_to_have() -> None:
    assert count_parameters(Denoiser(SHAPE)) == 456_820
    overview = 786 * 256 + 256 + 257 * 16 * 49 + 17 * 64
    convolutions = count_parameters(Denoiser(SHAPE, 32, 64))
    places = 32 * 14 * 14
    trained = denoising.untrained(SHAPE, 0)
    assert count_parameters(trained) == convolutions + overview + places
    assert isinstance(trained.leave[1], nn.Conv2d)  # the last one, which Muon leaves alone
    assert [*trained.modules()][-2] is trained.leave[1]


def test_an_overview_lets_every_place_see_all_of_the_image() -> None:
    network = build(DENOISERS, "unet", shape=(3, 20, 24), width=8, inner_width=8, overview_width=9)
    noisy = torch.rand(1, 3, 20, 24, requires_grad=True)
    facts = torch.tensor([0.5]), torch.tensor([False])
    network(noisy, *facts)[0, 0, 0, 0].backward()
    assert (noisy.grad[0, :, -1, -1] != 0).all()
    with torch.no_grad():
        before = network(noisy, *facts)
        network.places[0, :, 0, 0] += 1
        moved = (network(noisy, *facts) - before).abs().sum(1)[0] > 0
    assert moved[:2, :2].all() and not moved[8:, 8:].any()


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_a_denoiser_that_answers_nothing_shrinks_towards_black(sigma: float) -> None:
    network = Denoiser(SHAPE, 8, 8)
    nn.init.zeros_(network.leave[1].weight)
    nn.init.zeros_(network.leave[1].bias)
    noisy = torch.full((1, 1, 28, 28), 0.5)
    denoised = network(noisy, torch.tensor([sigma]), torch.tensor([False]))
    c_skip = 0.35**2 / (sigma**2 + 0.35**2)  # Karras et al. 2022, table 1
    assert torch.allclose(denoised, c_skip * noisy)
    c_out = sigma * 0.35 / math.hypot(sigma, 0.35)
    assert network.scale(torch.tensor([sigma])).item() == pytest.approx(c_out)


def test_the_learning_rate_goes_up_and_down_once() -> None:
    assert [denoising.one_cycle(done) for done in (0, 0.05, 1)] == pytest.approx([0, 1, 0])
    assert denoising.one_cycle(0.025) == pytest.approx(0.5)


def test_training_learns_and_is_decided_by_the_seed(squares: torch.Tensor) -> None:
    network = denoising.train(squares, 0, 40 * denoising.BATCH)
    again = denoising.train(squares, 0, 40 * denoising.BATCH)
    for weight, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(weight, other)
    clean = to_unit(squares)
    noisy = Gaussian(0.5).apply(clean, 0)
    restored = denoising.denoise(network, noisy, Gaussian(0.5))
    assert restored.min() >= 0
    assert restored.max() <= 1
    assert (restored - clean).square().mean() < (noisy - clean).square().mean() / 2


def test_what_is_faint_for_its_noise_is_background() -> None:
    restored = torch.tensor([0.0, 0.009, 0.011, 0.059, 0.061, 1.0]).expand(2, 1, 1, -1)
    denoised = denoising.denoise(lambda *_: restored, restored, Gaussian(torch.tensor([0.02, 1.0])))
    at_little_noise, at_much = denoised.flatten(1)
    assert at_little_noise.tolist() == pytest.approx([0, 0, 0.011, 0.059, 0.061, 1])
    assert at_much.tolist() == pytest.approx([0, 0, 0, 0, 0.061, 1])


def test_the_denoiser_is_told_what_was_clipped(squares: torch.Tensor) -> None:
    class Told(Denoiser):
        """Answers with its input, and notes what it was told."""

        def forward(self, noisy, sigma, clipped) -> torch.Tensor:
            in_range = (noisy >= 0) & (noisy <= 1)
            found.append((clipped.bool(), in_range.flatten(1).all(1)))
            return noisy

    found, network = [], Told(SHAPE, 8, 8)
    denoising.train_step(network, squares, stream(0, "test"))
    told, in_range = found.pop()
    assert torch.equal(told, in_range) and 0 < told.sum() < denoising.BATCH
    for kind, clipped in ((GaussianClipped, True), (Gaussian, False)):
        denoising.denoise(network, torch.zeros(2, 1, 28, 28), kind(0.3))
        assert found.pop()[0].tolist() == [clipped] * 2


def test_the_denoisers_chance_is_decided_by_the_seed(squares, monkeypatch) -> None:
    one, two = (denoising.train(squares, seed, 0).enter[0].weight for seed in (0, 1))
    assert not torch.equal(one, two)  # first weights
    drawn = []

    def train_step(network, images, rng) -> torch.Tensor:
        drawn.append(torch.rand(3, generator=rng))
        return sum(weight.sum() for weight in network.parameters())

    monkeypatch.setattr(denoising, "train_step", train_step)
    for seed in (0, 1):
        denoising.train(squares, seed, 1)
    assert not torch.equal(*drawn)  # noise


def test_the_denoiser_is_shown_pixels_from_zero_to_one() -> None:
    class Perfect(Denoiser):
        def forward(self, noisy, sigma, clipped) -> torch.Tensor:
            return torch.full_like(noisy, 0.2)

    grey = torch.full((4, 1, 28, 28), 51).byte()
    loss = denoising.train_step(Perfect(SHAPE, 8, 8), grey, stream(0, "test"))
    assert loss.item() == pytest.approx(0, abs=1e-9)


def test_the_denoiser_learns_at_the_rate_of_its_cycle(squares, monkeypatch) -> None:
    monkeypatch.setattr(denoising, "one_cycle", lambda done: 0.0)
    fresh, trained = (denoising.train(squares, 0, count).enter[0].weight for count in (0, 64))
    assert torch.equal(fresh, trained)


def test_colour_is_restored_too() -> None:
    colours = torch.randint(0, 2, (40, 3, 1, 1)).mul(255).byte().expand(-1, 3, 20, 20)
    network = denoising.train(colours, 0, 60 * denoising.BATCH)
    clean = to_unit(colours)
    noisy = Gaussian(0.5).apply(clean, 0)
    restored = denoising.denoise(network, noisy, Gaussian(0.5))
    assert (restored - clean).square().mean() < (noisy - clean).square().mean() / 4


def test_sides_that_cannot_be_halved_twice_are_refused_before_training() -> None:
    with pytest.raises(Fault, match=r"no denoiser can be trained.* 18 x 20"):
        denoising.train(torch.zeros(8, 1, 18, 20, dtype=torch.uint8), 0, 32)


def test_the_denoiser_is_trained_once_stored_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(denoising, "IMAGES_SHOWN", 2 * denoising.BATCH)
    monkeypatch.setattr(denoising, "load_denoiser", lambda spec: None)
    dataset, device = datasets.load_sample("mnist"), torch.device("cpu")
    path = tmp_path / "denoiser.pth"
    assert denoising.find(path, dataset, device, seed=7) is None
    said = capsys.readouterr().out
    assert said.startswith("no denoiser (none ships for MNIST); --train-denoiser trains one, in")
    trained = denoising.find(path, dataset, device, seed=7, must=True).network
    of_its_seed = denoising.train(dataset.train_images, 7, denoising.IMAGES_SHOWN)
    for weight, other in zip(trained.parameters(), of_its_seed.parameters(), strict=True):
        assert torch.equal(weight, other)
    written = path.read_bytes()
    loaded = denoising.find(path, dataset, device, seed=8, must=True).network
    assert path.read_bytes() == written
    for weight, other in zip(trained.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(weight, other)
    assert capsys.readouterr().out.count("training a denoiser") == 1
    fewer = dataclasses.replace(dataset, fingerprint="of fewer images")
    denoising.find(path, fewer, device, seed=7)
    assert "trained on other images" in capsys.readouterr().out
    denoising.find(path, dataset, device, seed=8, anew=True)
    assert path.read_bytes() != written


def test_the_denoiser_that_ships_is_used_where_the_user_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(denoising, "IMAGES_SHOWN", denoising.BATCH)
    dataset, device = datasets.load_sample("fashion"), torch.device("cpu")
    path = tmp_path / "denoiser.pth"
    for must in (False, True):
        found = denoising.find(path, dataset, device, 0, must)
        assert found.path == shipped.WEIGHTS / "denoiser_fashion.pth" and not path.exists()
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("denoiser: the lab's own for Fashion-MNIST, denoiser_fashion.pth;")
    assert denoising.find(path, dataset, device, 0, anew=True).path == path
    capsys.readouterr()
    own = denoising.find(path, dataset, device, 0)
    assert own.path == path and not capsys.readouterr().out


@pytest.mark.parametrize("damage", ["altered", "missing", "no list"])
def test_a_denoiser_that_ships_but_is_damaged_is_one_line(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(shipped.WEIGHTS, weights)
    monkeypatch.setattr(shipped, "WEIGHTS", weights)
    monkeypatch.setattr(denoising, "IMAGES_SHOWN", denoising.BATCH)
    file = weights / "denoiser_mnist.pth"
    if damage == "altered":
        file.write_bytes(b"altered")
    else:
        (file if damage == "missing" else weights / "SHA256SUMS").unlink()
    path, dataset = tmp_path / "denoiser.pth", datasets.load_sample("mnist")
    assert denoising.find(path, dataset, torch.device("cpu"), 0) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("no denoiser (") and str(weights) in line
    trained = denoising.find(path, dataset, torch.device("cpu"), 0, must=True)
    assert trained.path == path and path.is_file()


@pytest.mark.parametrize(("name", "least"), [("mnist", (30, 20.5)), ("fashion", (27.2, 19.7))])
def test_the_denoisers_that_ship_restore(name: str, least: tuple[float, float]) -> None:
    dataset = datasets.load_sample(name)
    found = shipped.load_denoiser(dataset.spec)
    assert found.path.stat().st_size < 1_500_000
    assert found.spec == dataset.spec
    clean = to_unit(dataset.train_images[:50])
    for sigma, psnr in zip((0.1, 0.5), least, strict=True):
        noise = Gaussian(sigma)
        restored = denoising.denoise(found.network, noise.apply(clean, 0), noise)
        assert scores(restored, clean)["psnr"] > psnr


def test_what_is_in_the_denoisers_place_is_seen_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "denoiser.pth").mkdir()
    monkeypatch.setattr(denoising, "train", None)  # calling it would raise something else
    with pytest.raises(Fault, match="in the way of the denoiser"):
        denoising.find(
            *(tmp_path / "denoiser.pth", datasets.load_sample("mnist"), torch.device("cpu"), 0),
            anew=True,
        )


def test_the_denoiser_of_another_set_is_refused(tmp_path: Path) -> None:
    network = build(DENOISERS, "unet", shape=SHAPE, width=8, inner_width=8)
    save_weights(tmp_path / "denoiser.pth", network, datasets.DATASETS["fashion"])
    with pytest.raises(Fault, match=r"denoiser of Fashion-MNIST, MNIST is needed"):
        denoising.load(tmp_path / "denoiser.pth", datasets.DATASETS["mnist"])
