"""The convolutional denoiser: its training, its use, its file."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lab.data import datasets
from lab.data.pixels import to_unit
from lab.errors import Fault
from lab.models import DENOISERS, build, shipped
from lab.models.serialization import save_weights
from lab.restoration import denoising, networks, posterior
from lab.restoration.corruption import filled, quantised
from lab.restoration.corruptions import Gaussian, examples, parse
from lab.restoration.examples import KINDS, NOISE_RANGE, Examples, condition_for, draw
from lab.restoration.own_pictures import estimate
from lab.restoration.scoring import scores
from lab.seeding import stream
from lab.training.optim import Adam

SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def squares() -> torch.Tensor:
    """uint8 (64, 1, 28, 28): a bright square somewhere, which is soon learnt."""
    images = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    for index, image in enumerate(images):
        image[:, index % 8 + 4 :, index // 8 + 4 :][:, :12, :12] = 255
    return images


def network_of(shape=SHAPE, kinds=DENOISERS, kind="blind", **sizes: int) -> nn.Module:
    given = {"width": 8, "inner_width": 8, "overview_width": 9, **sizes}
    return build(kinds, kind, shape=shape, corruptions=len(KINDS), **given)


def test_the_convolutions_but_the_first_and_the_last_are_muons() -> None:
    network = denoising.untrained(SHAPE, 0)
    muon, adam = denoising.optimizers(network)
    assert network.enter[0].weight in set(adam.weights)
    assert network.leave[1].weight in set(adam.weights)
    assert network.inner[0].layers[0].weight in set(muon.weights)
    trained = {*muon.weights, *adam.weights}
    assert trained == {*network.parameters()} - {*network.estimator.parameters()}


def test_every_place_sees_all_of_the_image_and_its_holes() -> None:
    network = network_of((3, 20, 24))
    noisy = torch.rand(1, 3, 20, 24)
    condition = torch.full((1, 1 + len(KINDS)), 0.5)
    with torch.no_grad():
        before = network(noisy, condition)[0, 0, 0, 0]
        noisy[0, :, -1, -1] = torch.nan
        holed = network(noisy, condition)
    assert holed.isfinite().all() and holed[0, 0, 0, 0] != before


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_a_denoiser_that_answers_nothing_shrinks_towards_black(sigma: float) -> None:
    network = network_of()
    nn.init.zeros_(network.leave[1].weight)
    nn.init.zeros_(network.leave[1].bias)
    noisy = torch.full((1, 1, 28, 28), 0.5)
    condition = condition_for(torch.tensor([1]), torch.tensor([sigma]))
    c_skip = 0.35**2 / (sigma**2 + 0.35**2)  # Karras et al. 2022, table 1
    assert torch.allclose(network(noisy, condition), c_skip * noisy)
    c_out = sigma * 0.35 / math.hypot(sigma, 0.35)
    assert network.scale(condition).item() == pytest.approx(c_out)


def test_examples_are_of_every_kind_and_decided_by_their_chance(squares: torch.Tensor) -> None:
    drawn = [draw(squares, stream(seed, "test")) for seed in range(40)]
    again = draw(squares, stream(7, "test"))
    assert torch.equal(filled(again.corrupted), filled(drawn[7].corrupted))
    seen = torch.cat([each.kinds for each in drawn]).bincount(minlength=len(KINDS))
    assert (seen > 0).all() and seen[KINDS.index("gaussian")] == 40 * 12
    for each in drawn:
        holes = each.corrupted.isnan().flatten(1).any(1)
        assert (each.kinds[holes] == KINDS.index("mask")).all()
        assert (each.condition[:, 1:].argmax(1) == each.kinds).all()
        noise = each.kinds == KINDS.index("gaussian")
        level = (each.corrupted - each.clean)[noise].flatten(1).std(1)
        assert torch.allclose(each.condition[noise, 0], level, rtol=0.15)


def test_a_sampler_begins_as_its_denoiser_and_learns_to_differ(
    squares: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoiser = network_of().eval().requires_grad_(False)
    begun = posterior.from_denoiser(denoiser, 0)
    noisy = Gaussian(0.5).apply(to_unit(squares[:4]), 0)
    condition = denoiser.estimator.condition(noisy)
    assert torch.allclose(begun(noisy, condition), denoiser(noisy, condition), atol=1e-6)
    latents = torch.randn(4, *begun.latent_shape)
    assert not torch.allclose(begun(noisy, condition, latents), begun(noisy, condition), atol=1e-6)
    one, other = (posterior.train(squares, denoiser, seed, 4 * posterior.BATCH) for seed in (0, 1))
    again = posterior.train(squares, denoiser, 0, 4 * posterior.BATCH)
    assert torch.equal(one.enter[0].weight, again.enter[0].weight)
    assert not torch.equal(one.enter[0].weight, other.enter[0].weight)
    assert torch.equal(one.estimator.layers[0].weight, denoiser.estimator.layers[0].weight)
    monkeypatch.setattr(posterior, "one_cycle", lambda done: 0.0)
    still = posterior.train(squares, denoiser, 0, posterior.BATCH)
    assert torch.equal(still.enter[0].weight, begun.enter[0].weight)
    assert not torch.equal(one.enter[0].weight, begun.enter[0].weight)


class Spread(nn.Module):
    """A sampler of even grey images: a mean, and a spread times the latent."""

    latent_shape = (1, 1, 1)

    def __init__(self, mean: float, spread: float) -> None:
        super().__init__()
        self.mean, self.spread = (nn.Parameter(torch.tensor([each])) for each in (mean, spread))

    def scale(self, condition: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(condition), 1, 1, 1)

    def forward(self, corrupted: torch.Tensor, _, latents: torch.Tensor) -> torch.Tensor:
        return (self.mean + self.spread * latents).expand_as(corrupted)


class Brightness(nn.Module):
    """A discriminator whose logit is a factor times the brightness."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor([factor]))

    def forward(self, pictures: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return self.factor * pictures.mean((1, 2, 3))


def train_on_greys(sampler: Spread, judge: Brightness, steps: int, lr: float, judge_lr: float):
    """Steps of the sampler on images of one grey each, of mean 0.5 and deviation 0.2."""
    denoiser = OffBy(torch.zeros(posterior.BATCH, 1, 2, 2), [0.0] * posterior.BATCH)
    denoiser.estimator = SimpleNamespace(condition=lambda images: torch.zeros(len(images), 1))
    rng = stream(0, "test")
    adams = [
        Adam(list(network.parameters()), rate, betas=(0.5, 0.99))
        for network, rate in ((sampler, lr), (judge, judge_lr))
    ]
    for _ in range(steps):
        greys = 0.5 + 0.2 * torch.randn(posterior.BATCH, 1, 1, 1, generator=rng)
        clean = greys.expand(-1, 1, 2, 2)
        examples = Examples(clean, clean, *[torch.zeros(posterior.BATCH)] * 3)
        posterior.train_step(sampler, judge, denoiser, examples, *adams, rng)


def test_samples_spread_as_clean_images_do() -> None:
    sampler = Spread(mean=0.0, spread=0.05)
    train_on_greys(sampler, Brightness(0.0), steps=300, lr=0.01, judge_lr=0.0)
    assert sampler.mean.item() == pytest.approx(0.5, abs=0.06)
    assert abs(sampler.spread.item()) == pytest.approx(0.2, abs=0.06)


def test_a_sampler_and_its_discriminator_are_opponents() -> None:
    judge = Brightness(0.0)
    train_on_greys(Spread(mean=0.0, spread=0.05), judge, steps=1, lr=0.01, judge_lr=0.01)
    assert judge.factor.item() == pytest.approx(0.01)  # clean images are brighter
    for factor in (-1000.0, 1000.0):  # far more than the distance to clean images
        sampler = Spread(mean=0.5, spread=0.05)
        train_on_greys(sampler, Brightness(factor), steps=1, lr=0.01, judge_lr=0.01)
        assert sampler.mean.item() == pytest.approx(0.5 + math.copysign(0.01, factor))


def test_the_learning_rate_goes_up_and_down_once() -> None:
    assert [denoising.one_cycle(done) for done in (0, 0.05, 1)] == pytest.approx([0, 1, 0])
    assert denoising.one_cycle(0.025) == pytest.approx(0.5)


@pytest.fixture(scope="module")
def learnt(squares: torch.Tensor) -> nn.Module:
    """A denoiser of the squares."""
    return denoising.train(squares, 0, 60 * denoising.BATCH)


def test_training_learns(squares: torch.Tensor, learnt: nn.Module) -> None:
    clean = to_unit(squares)
    noisy = Gaussian(0.5).apply(clean, 0)
    restored = denoising.denoise(learnt, noisy)
    assert restored.min() >= 0
    assert restored.max() <= 1
    assert (restored - clean).square().mean() < (noisy - clean).square().mean() / 2


def test_what_is_faint_for_its_noise_is_background() -> None:
    restored = torch.tensor([0.0, 0.009, 0.011, 0.059, 0.061, 1.0]).expand(2, 1, 1, -1)
    condition = condition_for(torch.tensor([1, 1]), torch.tensor([0.02, 1.0]))
    at_little_noise, at_much = denoising.denoise(lambda *_: restored, restored, condition).flatten(
        1
    )
    assert at_little_noise.tolist() == pytest.approx([0, 0, 0.011, 0.059, 0.061, 1])
    assert at_much.tolist() == pytest.approx([0, 0, 0, 0, 0.061, 1])


def test_what_was_done_is_learnt(squares: torch.Tensor, learnt: nn.Module) -> None:
    clean = to_unit(squares)
    mild, strong = (Gaussian(sigma).apply(clean, 0) for sigma in (0.05, 0.8))
    levels = [float(learnt.estimator.condition(noisy)[:, 0].mean()) for noisy in (mild, strong)]
    assert levels[0] < 0.3 < levels[1]


def test_the_denoisers_chance_is_decided_by_the_seed(squares, monkeypatch) -> None:
    one, two = (denoising.train(squares, seed, 0).enter[0].weight for seed in (0, 1))
    assert not torch.equal(one, two)  # first weights
    drawn = []

    def drawing(images, rng) -> None:
        drawn.append(torch.rand(3, generator=rng))

    def train_step(network, examples, known) -> torch.Tensor:
        return sum(weight.sum() for weight in network.parameters())

    monkeypatch.setattr(denoising, "draw", drawing)
    monkeypatch.setattr(denoising, "train_estimator", lambda *_: None)
    monkeypatch.setattr(denoising, "train_step", train_step)
    for seed in (0, 1):
        denoising.train(squares, seed, 1)
    assert not torch.equal(*drawn)  # noise


class OffBy(nn.Module):
    """A denoiser whose answer is off by a number of its own for each image."""

    def __init__(self, clean: torch.Tensor, errors: list[float]) -> None:
        super().__init__()
        self.answer = clean + torch.tensor(errors).view(-1, 1, 1, 1)

    def scale(self, condition: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(condition), 1, 1, 1)

    def forward(self, corrupted: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return self.answer


def test_every_corruption_weighs_the_same_in_the_loss(squares: torch.Tensor) -> None:
    examples = draw(squares, torch.Generator().manual_seed(0), batch=8)  # two groups of noise
    errors = [0.5, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1]
    loss = denoising.train_step(OffBy(examples.clean, errors), examples)
    of_each = [math.log(0.5**2 + denoising.LEAST_ERROR), math.log(0.1**2 + denoising.LEAST_ERROR)]
    assert float(loss) == pytest.approx(sum(of_each) / 2, rel=1e-3)


def test_pictures_that_are_clean_are_not_in_the_loss(squares: torch.Tensor) -> None:
    examples = draw(squares, torch.Generator().manual_seed(0), batch=8)
    clean = dataclasses.replace(examples, kinds=torch.tensor([1, 1, 1, 1, 0, 0, 0, 0]))
    loss = denoising.train_step(OffBy(clean.clean, [0.1] * 4 + [9.0] * 4), clean)
    assert float(loss) == pytest.approx(math.log(0.1**2 + denoising.LEAST_ERROR), rel=1e-3)


def test_the_denoiser_learns_at_the_rate_of_its_cycle(squares, monkeypatch) -> None:
    monkeypatch.setattr(denoising, "one_cycle", lambda done: 0.0)
    fresh, trained = (denoising.train(squares, 0, count).enter[0].weight for count in (0, 64))
    assert torch.equal(fresh, trained)


def test_the_lines_of_a_training_say_which_part_of_it_they_count(squares, capsys) -> None:
    denoising.train(squares, 0, 2 * denoising.BATCH)
    first, second = (f"training the denoiser, part {part} of 2: " for part in (1, 2))
    said = [f"{share}% of {2 * denoising.BATCH} images" for share in (50, 100)]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [part + share for part in (first, second) for share in said]


def test_colour_is_restored_too() -> None:
    colours = torch.randint(0, 2, (40, 3, 1, 1)).mul(255).byte().expand(-1, 3, 20, 20)
    network = denoising.train(colours, 0, 250 * denoising.BATCH)
    clean = to_unit(colours)
    noisy = Gaussian(0.5).apply(clean, 0)
    restored = denoising.denoise(network, noisy)
    assert (restored - clean).square().mean() < (noisy - clean).square().mean() / 3


def test_sides_that_cannot_be_halved_twice_are_refused_before_training() -> None:
    with pytest.raises(Fault, match=r"no denoiser can be trained.* 18 x 20"):
        denoising.train(torch.zeros(8, 1, 18, 20, dtype=torch.uint8), 0, 32)


def test_the_denoiser_is_trained_once_stored_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(denoising, "IMAGES_SHOWN", 2 * denoising.BATCH)
    monkeypatch.setattr(networks, "load_shipped", lambda *_: None)
    dataset, device = datasets.load_sample("mnist"), torch.device("cpu")
    path = tmp_path / "new" / "denoiser.pth"
    assert networks.find("denoiser", path, dataset, device, seed=7) is None
    said = capsys.readouterr().out
    assert said.startswith("no denoiser (none is pretrained on MNIST); --train-denoiser trains one")
    trained = networks.find("denoiser", path, dataset, device, seed=7, required=True).network
    of_its_seed = denoising.train(dataset.train_images, 7, denoising.IMAGES_SHOWN)
    for weight, other in zip(trained.parameters(), of_its_seed.parameters(), strict=True):
        assert torch.equal(weight, other)
    written = path.read_bytes()
    loaded = networks.find("denoiser", path, dataset, device, seed=8, required=True).network
    assert path.read_bytes() == written
    for weight, other in zip(trained.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(weight, other)
    assert capsys.readouterr().out.count("training a denoiser") == 1
    fewer = dataclasses.replace(dataset, fingerprint="of fewer images")
    networks.find("denoiser", path, fewer, device, seed=7)
    assert "trained on other images" in capsys.readouterr().out
    networks.find("denoiser", path, dataset, device, seed=8, retrain=True)
    assert path.read_bytes() != written


def test_an_older_file_of_other_noise_levels_is_remarked_on(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    dataset, path = datasets.load_sample("mnist"), tmp_path / "denoiser.pth"
    for facts in ({}, {"noise_range": [0.02, 1.0]}):
        save_weights(path, network_of(), dataset.spec, **facts)
        assert networks.find("denoiser", path, dataset, torch.device("cpu"), seed=0)
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(f"note: {path} is of an earlier version of the lab")
        assert "--train-denoiser" in line
    save_weights(path, network_of(), dataset.spec, noise_range=NOISE_RANGE)
    networks.find("denoiser", path, dataset, torch.device("cpu"), seed=0)
    assert not capsys.readouterr().out


def test_the_denoiser_that_ships_is_used_where_the_user_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(denoising, "IMAGES_SHOWN", denoising.BATCH)
    dataset, device = datasets.load_sample("fashion"), torch.device("cpu")
    path = tmp_path / "denoiser.pth"
    for must in (False, True):
        found = networks.find("denoiser", path, dataset, device, 0, must)
        assert found.path == shipped.WEIGHTS / "denoiser_fashion.pth" and not path.exists()
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("denoiser: pretrained on Fashion-MNIST, denoiser_fashion.pth;")
    assert networks.find("denoiser", path, dataset, device, 0, retrain=True).path == path
    capsys.readouterr()
    own = networks.find("denoiser", path, dataset, device, 0)
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
    assert networks.find("denoiser", path, dataset, torch.device("cpu"), 0) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("no denoiser (") and str(weights) in line
    trained = networks.find("denoiser", path, dataset, torch.device("cpu"), 0, required=True)
    assert trained.path == path and path.is_file()


LEAST = {"mnist": (29.0, 20.0), "fashion": (26.5, 19.2)}  # dB at sigma 0.1 and 0.5


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_the_networks_that_ship_restore_everything(name: str) -> None:
    dataset = datasets.load_sample(name)
    found = [shipped.load_shipped(role, dataset.spec) for role in ("denoiser", "sampler")]
    for weights, most in zip(found, (1_500_000, 2_000_000), strict=True):
        assert weights.path.stat().st_size < most and weights.spec == dataset.spec
    denoiser, sampler = (weights.network for weights in found)
    clean = to_unit(dataset.train_images[:50])
    for sigma, psnr in zip((0.1, 0.5), LEAST[name], strict=True):
        restored = denoising.denoise(denoiser, Gaussian(sigma).apply(clean, 0))
        assert scores(restored, clean)["psnr"] > psnr
    for corruption in examples():
        corrupted = corruption.apply(clean, 0)
        before = scores(filled(corrupted), clean)["psnr"]
        assert scores(denoising.denoise(denoiser, corrupted), clean)["psnr"] > before
        mean = posterior.sample(sampler, corrupted, 4, 0).mean(1)
        assert scores(mean, clean)["psnr"] > before


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_what_is_wrong_with_a_picture_is_estimated(name: str) -> None:
    dataset = datasets.load_sample(name)
    denoiser = shipped.load_shipped("denoiser", dataset.spec).network
    clean, right, near = to_unit(dataset.train_images[100:140]), 0, 0
    typed = ("gaussian-clipped:0.3", "salt-pepper:0.2", "poisson:5", "blur:1.5")
    for corruption in map(parse, typed):
        tiles = quantised(corruption.apply(clean, 0))
        found = estimate(denoiser, tiles, [1] * len(tiles))
        same = [each for each in found if each and each.name == corruption.name]
        right += len(same)
        near += sum(abs(each.severity / corruption.severity - 1) < 0.2 for each in same)
    found = estimate(denoiser, clean, [1] * len(clean))
    right += found.count(None)
    assert right / (5 * len(clean)) > 0.8
    assert near / (4 * len(clean)) > 0.5


def test_what_is_in_the_denoisers_place_is_seen_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "denoiser.pth").mkdir()
    monkeypatch.setattr(denoising, "train", None)  # calling it would raise something else
    with pytest.raises(Fault, match="is not a file, so no denoiser"):
        networks.find(
            *(
                "denoiser",
                tmp_path / "denoiser.pth",
                datasets.load_sample("mnist"),
                torch.device("cpu"),
                0,
            ),
            retrain=True,
        )


def test_the_denoiser_of_another_set_is_refused(tmp_path: Path) -> None:
    network = network_of()
    save_weights(tmp_path / "denoiser.pth", network, datasets.DATASETS["fashion"])
    with pytest.raises(Fault, match=r"denoiser of Fashion-MNIST, MNIST is needed"):
        networks.load("denoiser", tmp_path / "denoiser.pth", datasets.load_sample("mnist"))


def test_a_denoiser_of_other_corruptions_is_refused(tmp_path: Path) -> None:
    network = build(DENOISERS, "blind", shape=SHAPE, corruptions=len(KINDS) - 1, width=8)
    save_weights(tmp_path / "denoiser.pth", network, datasets.DATASETS["mnist"])
    with pytest.raises(Fault, match=r"was trained on other corruptions; train a new one with --tr"):
        networks.load("denoiser", tmp_path / "denoiser.pth", datasets.load_sample("mnist"))


def test_the_denoiser_of_a_set_whose_folder_was_renamed_is_used(tmp_path: Path, capsys) -> None:
    path, dataset = tmp_path / "denoiser.pth", datasets.load_sample("mnist")
    facts = {"fingerprint": dataset.fingerprint, "noise_range": NOISE_RANGE}
    before, other = (datasets.DatasetSpec("digits", "Digits", (1, side, side)) for side in (28, 16))
    save_weights(path, network_of(), before, **facts)
    assert networks.load("denoiser", path, dataset).spec == before
    assert not capsys.readouterr().out
    save_weights(path, network_of(other.shape), other, **facts)
    with pytest.raises(Fault, match="denoiser of Digits, MNIST is needed"):
        networks.load("denoiser", path, dataset)
