"""What is done to images, how strong it is, and what restored ones score."""

from __future__ import annotations

import math

import pytest
import torch

from lab.restoration.corruptions import CORRUPTIONS, Gaussian, GaussianClipped, clipped_mean
from lab.restoration.estimation import estimate_clipped_sigma, estimate_sigma, noise_of_pictures
from lab.restoration.scoring import in_json, scores
from lab.seeding import stream


def test_noise_of_an_image_does_not_depend_on_how_many_there_are() -> None:
    clean = torch.rand(9, 1, 28, 28)
    many, few = Gaussian(0.3).apply(clean, 5), Gaussian(0.3).apply(clean[:8], 5)
    assert torch.equal(many[7], few[7])
    assert not torch.allclose(many[7] - clean[7], many[6] - clean[6], atol=0.1)
    assert not torch.equal(many[7], Gaussian(0.3).apply(clean, 6)[7])
    assert float((many - clean).std()) == pytest.approx(0.3, rel=0.05)


def test_clipped_noise_stays_in_range() -> None:
    noisy = GaussianClipped(1.0).apply(torch.rand(3, 1, 28, 28), 0)
    assert noisy.min() == 0
    assert noisy.max() == 1


def test_scores_are_what_the_formulas_say() -> None:
    clean = torch.rand(4, 1, 28, 28)
    score = scores(clean + 0.1, clean)
    assert score["psnr"] == pytest.approx(20, abs=0.01)  # 10 log10(1 / 0.01)
    assert scores(clean.clone(), clean)["ssim"] == pytest.approx(1, abs=1e-3)


def test_ssim_of_two_even_images_is_what_the_formula_says() -> None:
    dark, light = torch.full((1, 1, 28, 28), 0.5), torch.full((1, 1, 28, 28), 0.6)
    expected = (2 * 0.5 * 0.6 + 0.01**2) / (0.5**2 + 0.6**2 + 0.01**2)  # for a range of 1
    assert scores(light, dark)["ssim"] == pytest.approx(expected, abs=1e-4)


def test_mean_of_scores_is_over_images_not_pixels() -> None:
    clean = torch.zeros(2, 1, 28, 28)
    shown = torch.stack((clean[0] + 0.1, clean[0] + 0.01))
    assert scores(shown, clean)["psnr"] == pytest.approx(30, abs=0.01)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 0.9])
def test_clipped_mean_agrees_with_drawing(sigma: float) -> None:
    images, level = torch.tensor([0.0, 0.2, 0.7, 1.0]), torch.tensor(sigma)
    noise = torch.randn(200_000, 1, generator=stream(0, "test"))
    drawn = (images + sigma * noise).clamp(0, 1)
    assert torch.allclose(clipped_mean(images, level), drawn.mean(0), atol=5e-3)


@pytest.mark.parametrize("sigma", [0.05, 0.4])
def test_sigma_is_estimated_from_what_an_image_shows(sigma: float) -> None:
    ramp = torch.linspace(0, 1, 28).expand(6, 1, 28, 28)
    estimate = estimate_sigma(Gaussian(sigma).apply(ramp, 0))
    assert estimate.shape == (6,)
    assert float(estimate.mean()) == pytest.approx(sigma, rel=0.1)


def test_sigma_of_clipped_noise_is_put_right_by_examples() -> None:
    ramp = (torch.linspace(-0.5, 1, 28).clamp(min=0)).expand(40, 1, 28, 28)  # a third is black
    noisy = GaussianClipped(0.4).apply(ramp, 1)
    assert float(estimate_sigma(noisy).mean()) < 0.33
    estimate = estimate_clipped_sigma(noisy, ramp[:10])
    assert float(estimate.mean()) == pytest.approx(0.4, rel=0.1)


def test_a_score_that_is_no_number_is_not_a_perfect_one() -> None:
    found = {"psnr": math.inf, "ssim": math.nan, "other": 0.5}
    assert in_json(found) == {"psnr": None, "ssim": "not a number", "other": 0.5}


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_every_corruption_is_what_its_row_promises(name: str) -> None:
    corruption, clean = CORRUPTIONS[name](0.3), torch.rand(6, 3, 12, 20)
    assert corruption.name == name and str(corruption) == f"{name}:0.3"
    assert corruption.facts()["corruption"] == str(corruption)
    corrupted = corruption.apply(clean, 5)
    assert torch.equal(corrupted[:2], corruption.apply(clean[:2], 5))  # decided by the index
    assert not torch.equal(corrupted, corruption.apply(clean, 6))
    if corruption.is_differentiable:
        drawn = torch.stack([corruption.apply(clean, seed) for seed in range(2_000)])
        assert torch.allclose(corruption.expected(clean), drawn.mean(0), atol=0.05)


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_a_severity_may_be_one_for_each_image(name: str) -> None:
    clean = torch.rand(4, 1, 12, 12)
    levels = torch.tensor([0.1, 0.2, 0.1, 0.5])
    each = CORRUPTIONS[name](levels).of_each(clean)
    for index, level in enumerate(levels):
        alone = CORRUPTIONS[name](float(level))
        for mine, theirs in (
            (each.apply(clean, 0), alone.apply(clean, 0)),
            (each.expected(clean), alone.of_each(clean).expected(clean)),
        ):
            assert torch.allclose(mine[index], theirs[index], atol=1e-6)
    parts = [part.severity.tolist() for part in each.split(3)]
    assert parts == [levels[:3].tolist(), levels[3:].tolist()]
    assert each.repeated(2).severity.tolist() == levels.repeat_interleave(2).tolist()
    assert float(each.averaged().severity) == pytest.approx(0.225)


def test_each_picture_has_a_noise_level_of_its_own() -> None:
    clean = torch.linspace(0, 1, 28).expand(3, 1, 28, 28)
    noisy = GaussianClipped(torch.tensor([0.1, 0.1, 0.5])).apply(clean, 0)
    noise = noise_of_pictures(noisy, [2, 1], clean.mul(255).byte())
    one, same, other = noise.severity.tolist()
    assert one == same < other / 2
