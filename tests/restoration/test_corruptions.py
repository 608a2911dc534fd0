"""Corruptions, their severities, and the scores of restored images."""

from __future__ import annotations

import math

import pytest
import torch

from lab.data.pixels import to_unit, unit_to_levels
from lab.errors import Mistake
from lab.restoration.corruption import MODEL_ERROR, Corruption, filled, residual
from lab.restoration.corruptions import Gaussian, GaussianClipped, examples, parse, requested
from lab.restoration.noises import clipped_mean
from lab.restoration.operators import Downsample, Jpeg, Separable
from lab.restoration.scoring import CleanImages, json_values, scores, table_row
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


def test_images_without_error_do_not_make_the_mean_psnr_infinite() -> None:
    clean = torch.zeros(2, 1, 28, 28)
    shown = torch.stack((clean[0] + 0.1, clean[0]))
    assert scores(shown, clean)["psnr"] == pytest.approx(20, abs=0.01)
    assert scores(clean, clean)["psnr"] == math.inf
    of_samples = CleanImages(clean).scores_of_samples(torch.stack((shown, clean + 0.01), 1))
    assert of_samples["psnr_of_one"] == pytest.approx((20 + 40 + 40) / 3, abs=0.01)
    assert of_samples["psnr_of_best"] == pytest.approx(40, abs=0.01)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 0.9])
def test_clipped_mean_agrees_with_sampling(sigma: float) -> None:
    images, level = torch.tensor([0.0, 0.2, 0.7, 1.0]), torch.tensor(sigma)
    noise = torch.randn(200_000, 1, generator=stream(0, "test"))
    drawn = (images + sigma * noise).clamp(0, 1)
    assert torch.allclose(clipped_mean(images, level), drawn.mean(0), atol=5e-3)


@pytest.mark.parametrize("photons", [0.5, 1, 2.5, 3, 12, 200])
def test_the_mean_of_few_photons_agrees_with_sampling(photons: float) -> None:
    images = torch.tensor([0.0, 0.1, 0.5, 1.0]).view(1, 1, 1, 4).requires_grad_()
    noise = torch.randn(100_000, 1, 1, 4, generator=stream(0, "test"))
    corruption = parse(f"poisson:{photons}")
    drawn = corruption.with_noise(images.detach().expand_as(noise), noise)
    expected = corruption.expected(images)
    assert torch.allclose(expected, drawn.mean(0), atol=5e-3)
    (slope,) = torch.autograd.grad(expected.sum(), images)
    assert (slope.flatten() > 0.3 * min(1, photons))[:3].all()  # a black pixel's, too


def test_nan_and_infinite_scores_differ_in_json() -> None:
    found = {"psnr": math.inf, "ssim": math.nan, "other": 0.5}
    assert json_values(found) == {"psnr": None, "ssim": "not a number", "other": 0.5}


@pytest.mark.parametrize("corruption", examples(), ids=str)
def test_every_corruption_has_the_properties_of_its_row(corruption: Corruption) -> None:
    clean = torch.rand(6, 3, 24, 28)
    assert str(parse(str(corruption))) == str(corruption) == corruption.facts()["corruption"]
    corrupted = corruption.apply(clean, 5)
    assert corrupted.shape == clean.shape
    few = corruption.apply(clean[:2], 5)
    assert torch.equal(filled(corrupted[:2]), filled(few))  # decided by the index
    assert not torch.equal(filled(corrupted), clean)
    if isinstance(corruption, Separable | Jpeg):  # as a file stores them
        assert torch.equal(to_unit(unit_to_levels(corrupted)), corrupted)
    is_fixed = isinstance(corruption, Separable | Jpeg) or getattr(corruption, "pattern", "")
    if not is_fixed:
        assert not torch.equal(filled(corrupted), filled(corruption.apply(clean, 6)))
    drawn = torch.stack([corruption.with_noise(clean, torch.randn_like(clean)) for _ in range(500)])
    if corruption.name != "jpeg":  # whose mean is not known
        left = residual(drawn.nanmean(0), corruption.expected(clean))
        assert left.abs().max() < 0.15
    if corruption.name in ("gaussian", "mask") or isinstance(corruption, Separable):
        expected = corruption.expected(clean[:2] + 2 * clean[2:4])
        parts = corruption.expected(clean[:2]), corruption.expected(clean[2:4])
        assert torch.allclose(expected, parts[0] + 2 * parts[1], atol=1e-5)
    wrong = corruption.negative_log_likelihood(corrupted, clean.flip(3))
    assert (corruption.negative_log_likelihood(corrupted, clean) < wrong).all()


def test_likelihoods_are_what_the_formulas_say() -> None:
    clean, error = torch.full((1, 1, 2, 2), 0.5), MODEL_ERROR
    for typed, variance in (("gaussian:0.3", 0.09), ("poisson:4", 0.125), ("speckle:0.4", 0.04)):
        corruption = parse(typed)
        found = corruption.negative_log_likelihood(corruption.expected(clean) + 0.2, clean)
        variance += error**2
        scale = 0 if "gaussian" in typed else math.log(variance)  # a constant is left out
        assert found.tolist() == pytest.approx([4 * (0.2**2 / variance + scale) / 2], rel=1e-4)
    for seen, outlier in ((0.7, 0), (1, 0.1), (0, 0.1)):  # of a share of 0.2, half are white
        found = parse("salt-pepper:0.2").negative_log_likelihood(clean * 0 + seen, clean)
        chance = 0.8 * math.exp(-((seen - 0.5) ** 2) / (2 * error**2)) + outlier
        assert found.tolist() == pytest.approx([-4 * math.log(chance)], rel=1e-4)


@pytest.mark.parametrize("corruption", examples(), ids=str)
def test_a_severity_may_be_one_for_each_image(corruption: Corruption) -> None:
    clean = torch.rand(3, 1, 12, 12)
    other = corruption.with_severity(corruption.severity / 2 if corruption.severity > 3 else 2)
    levels = torch.tensor([float(corruption.severity), float(other.severity)])
    each = corruption.with_severity(levels).per_image(clean[:2])
    for mine, first, second in (
        (each.apply(clean[:2], 0), corruption.apply(clean[:2], 0), other.apply(clean[:2], 0)),
        (each.expected(clean[:2]), corruption.expected(clean[:2]), other.expected(clean[:2])),
    ):
        assert torch.allclose(mine[0], first[0], atol=1e-5, equal_nan=True)
        assert torch.allclose(mine[1], second[1], atol=1e-5, equal_nan=True)


def test_known_answers() -> None:
    square = torch.zeros(1, 1, 8, 8)
    square[..., 2:4, 4:6] = 1
    assert parse("downsample:2").apply(square, 0).equal(square)
    assert parse("downsample:4").apply(square, 0)[0, 0, 0, 4:].mul(255).round().tolist() == [64] * 4
    assert parse("motion-blur:3").apply(square, 0)[0, 0, 2].mul(255).tolist() == pytest.approx(
        [0, 0, 0, 85, 170, 170, 85, 0]
    )
    blurred = parse("blur:1").apply(torch.ones(1, 1, 8, 8), 0)
    assert torch.allclose(blurred, torch.ones(1))  # no dark border
    strengths = torch.tensor([0.0, 0.49, 0.5, 1.0])
    assert Downsample.of_strength(strengths).severity.tolist() == [2, 2, 4, 4]
    missing = parse("mask:box4").apply(square, 0).isnan()[0, 0]
    assert missing.sum() == 16 and missing[2:6, 2:6].all()
    for size in (1, 3, 5):
        missing = parse(f"mask:box{size}").apply(square, 0).isnan()[0, 0]
        assert missing.sum() == size**2 and missing[:, 3].sum() == missing[3].sum() == size
    assert parse("mask:top3").apply(square, 0).isnan()[0, 0].sum() == 24
    share = parse("salt-pepper:0.2").apply(torch.full((50, 1, 8, 8), 0.5), 0)
    assert float((share != 0.5).float().mean()) == pytest.approx(0.2, abs=0.02)
    photons = parse("poisson:4").apply(torch.full((50, 1, 8, 8), 0.25), 0) * 4
    assert torch.equal(photons, photons.round())
    assert float(photons.mean()) == pytest.approx(1, abs=0.05)
    assert float((photons == 0).float().mean()) == pytest.approx(math.exp(-1), abs=0.02)
    bright = parse("poisson:200").apply(torch.full((50, 1, 8, 8), 0.6), 0)
    assert float(bright.mean()) == pytest.approx(0.6, abs=0.005)
    assert float(bright.std()) == pytest.approx((0.6 / 200) ** 0.5, rel=0.05)
    levels = torch.linspace(0, 1, 1001)  # none of the dark ones becomes white by any noise
    made = parse("poisson:200").with_noise(levels, torch.full_like(levels, 6.0))
    assert made[:601].max() < 0.9


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("blurr:2", "did you mean blur?"),
        ("blur", "give its severity, a number from 0.1 to 20, as in blur:1"),
        ("gaussian:25", "of levels 0 to 255 that is 0.098"),
        ("downsample:3", "2 or 4"),
        ("mask:bx14", "a share from 0 to 1, boxN, topN or stripes"),
        ("mask:box0", "boxN"),
        ("jpeg:0", "a number from 1 to 95"),
        ("salt-pepper:nan", "a number from 0 to 1"),
    ],
)
def test_invalid_corruptions_are_mistakes(typed: str, said: str) -> None:
    with pytest.raises(Mistake) as caught:
        parse(typed)
    assert said in str(caught.value)


def test_a_mask_that_leaves_no_pixel_is_a_mistake() -> None:
    for typed in ("mask:box99", "mask:top28", "mask:1"):
        with pytest.raises(Mistake, match=f"{typed}: leaves none of the 28 x 28 pixels; give less"):
            requested([typed], (), (1, 28, 28))
    found = requested(["blur:2", "mask:top20", "blur:2.0"], (), (1, 28, 28))
    assert [str(corruption) for corruption in found] == ["blur:2", "mask:top20"]


def test_all_leaves_out_what_does_not_fit_small_images() -> None:
    every, of_small = (
        [str(each) for each in requested(["all"], (), (3, side, side))] for side in (28, 16)
    )
    assert set(every) - set(of_small) == {"mask:top20"} and set(of_small) < set(every)


def test_samples_of_the_true_distribution_are_calibrated() -> None:
    drawn = torch.rand(60, 9, 1, 16, 16, generator=stream(0, "test"))
    score = CleanImages(drawn[:, 8]).scores_of_samples(drawn[:, :8])
    assert score["within"] == pytest.approx(7 / 9, abs=0.01)
    assert score["psnr_of_one"] < score["psnr_of_best"] < score["psnr"]


def test_the_table_has_a_column_of_accuracies_where_there_are_some() -> None:
    clean, labels, classifier = torch.rand(2, 1, 28, 28), torch.zeros(2), torch.nn.Flatten()
    for facts in ((labels, classifier), (None, classifier), (labels, None)):
        test = CleanImages(clean, *facts)
        line = table_row("blur:2", "corrupted", test.scores(1 - clean))
        assert len(line) == len(test.table_head)
        assert ("accuracy" in test.table_head) == ("%" in line) == (None not in facts)
        longest = table_row("gaussian-clipped:0.947", "corrupted", test.scores(clean))
        assert longest.startswith("gaussian-clipped:0.947 corrupted ")
