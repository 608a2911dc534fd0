"""Which restorer can undo which corruption, and its result."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import ImageFilter
from torch import Tensor, nn

from lab.data.pictures import as_image
from lab.data.pixels import to_unit
from lab.data.writers import as_picture
from lab.models import DENOISERS, GENERATORS, SAMPLERS, build
from lab.models.sampling import generate
from lab.restoration import classical, denoising, posterior, projection
from lab.restoration.corruption import Corruption, filled
from lab.restoration.corruptions import Gaussian, examples, parse
from lab.restoration.examples import KINDS, condition_for
from lab.restoration.operators import Separable
from lab.restoration.restorers import RESTORERS, SAMPLES, Context, applicable
from lab.runs.results import OWN_FOLDERS
from lab.seeding import per_image_noise, stream

SHAPE = (3, 20, 20)


@pytest.fixture(scope="module")
def context() -> Context:
    """Small networks of random weights for colour images."""
    torch.manual_seed(0)
    generator = build(GENERATORS, "mlp", shape=SHAPE, latent_dim=4, hidden=(16,)).eval()
    given = {"shape": SHAPE, "corruptions": len(KINDS), "width": 8, "inner_width": 8}
    denoiser = build(DENOISERS, "blind", **given).eval()
    sampler = build(SAMPLERS, "posterior", **given).eval()
    for network in (generator, denoiser, sampler):
        network.requires_grad_(False)
    return Context(generator, denoiser, sampler, seed=3, restarts=2, steps=5)


class Cut(Corruption):
    """A corruption that no network was trained on."""

    name = "cut"

    def apply(self, images: Tensor, seed: int) -> Tensor:
        return images.round()


def test_inapplicable_restorers_are_left_out(context: Context) -> None:
    alone = Context(context.generator)
    for corruption in examples():
        with_operator = {"consistent"} if isinstance(corruption, Separable) else set()
        assert (
            set(applicable(context, corruption)) == set(RESTORERS) - {"consistent"} | with_operator
        )
        assert set(applicable(alone, corruption)) == {"regeneration", "projection"}
    assert set(applicable(context, Cut(1))) == {"regeneration", "projection"}


@pytest.mark.parametrize("typed", ["gaussian-clipped:0.3", "mask:box8", "blur:1"])
def test_every_restorer_does_what_its_name_says(context: Context, typed: str) -> None:
    corruption = parse(typed)
    noisy = corruption.apply(torch.rand(3, *SHAPE), 0)
    can = applicable(context, corruption)
    made = {name: row.restore(context, noisy, corruption) for name, row in can.items()}
    for images in made.values():
        assert images.shape == noisy.shape and 0 <= images.min() <= images.max() <= 1
    latents = per_image_noise(3, (4,), 3, "regeneration")
    assert torch.equal(made["regeneration"], to_unit(generate(context.generator, latents)))
    latents = projection.find_latents(context.generator, noisy, corruption, restarts=2, steps=5)
    projected = projection.decode_in_batches(context.generator, latents)
    assert torch.equal(made["projection"], projected)
    answers = {
        "denoiser": denoising.denoise(context.denoiser, noisy),
        "sampler": posterior.sample(context.sampler, noisy, SAMPLES, 3).mean(1),
    }
    missing = noisy.isnan()
    found = missing if missing.any() else torch.ones_like(missing)
    for name, answer in answers.items():
        torch.testing.assert_close(made[name][found], answer[found], rtol=0, atol=1e-6)
        kept = made[name][~found]  # of a picture with a hole the rest is as it was given
        torch.testing.assert_close(kept, noisy[~found], rtol=0, atol=1e-6)


def test_denoiser_and_sampler_can_be_given_the_corruption(context: Context) -> None:
    noisy, noise = torch.rand(3, *SHAPE), parse("gaussian:0.4")
    given = replace(context, corruption_is_given=True)
    one = RESTORERS["denoiser"].restore(given, noisy, noise)
    condition = condition_for(torch.full((3,), KINDS.index("gaussian")), torch.full((3,), 0.4))
    assert torch.equal(one, denoising.denoise(context.denoiser, noisy, condition))
    several = RESTORERS["sampler"].sample(given, noisy, noise, 2)
    assert torch.equal(several, posterior.sample(context.sampler, noisy, 2, 3, condition))


class AddsLatents(nn.Module):
    """A sampler whose answer is linear in its latents."""

    latent_shape = (1, 20, 20)

    def forward(self, corrupted: Tensor, _: Tensor, latents: Tensor) -> Tensor:
        return corrupted + latents / 100


def test_two_samples_have_opposite_latents_and_the_next_two_have_others() -> None:
    grey, condition = torch.full((2, 1, 20, 20), 0.5), torch.zeros(2, 1)
    samples = posterior.sample(AddsLatents(), grey, 5, 0, condition)
    for pair in (samples[:, :2], samples[:, 2:4]):
        torch.testing.assert_close(pair.mean(1), grey)
    first, _, third, _, fifth = (samples - 0.5).unbind(1)
    for one, other in ((first, third), (third, fifth), (first[:1], first[1:])):
        assert abs(torch.corrcoef(torch.stack((one.flatten(), other.flatten())))[0, 1]) < 0.2
    assert 0.009 < first.std() < 0.011


@pytest.mark.parametrize("typed", ["blur:1", "motion-blur:5", "downsample:2"])
@pytest.mark.parametrize("each_its_own", [False, True])
def test_a_known_operator_explains_the_corrupted_picture(typed: str, each_its_own: bool) -> None:
    clean = torch.zeros(2, 1, 20, 20)
    clean[0, :, 5:15, 8:12] = clean[1, :, 3:6, 2:18] = 1.0
    corruption = parse(typed)
    corrupted = corruption.apply(clean, 0)
    known = corruption.per_image(clean) if each_its_own else corruption
    start = (clean + 0.2 * torch.randn(clean.shape, generator=stream(0, "test"))).clamp(0, 1)
    found = known.consistent(start, corrupted)
    assert found.min() >= 0 and found.max() <= 1
    error = [(known.expected(images) - corrupted).square().mean() for images in (start, found)]
    assert error[1] < error[0] / 20
    assert (found - clean).square().mean() < (start - clean).square().mean() * 0.8


def test_singular_vectors_are_computed_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apple's MPS computes them wrongly, which no test can show on another machine."""
    moved, compute = [], torch.linalg.svd

    def svd(matrices: Tensor) -> object:
        assert any(matrices is each for each in moved)
        return compute(matrices)

    monkeypatch.setattr(Tensor, "cpu", lambda part: moved.append(part.clone()) or moved[-1])
    monkeypatch.setattr(torch.linalg, "svd", svd)
    grey = torch.full((2, 1, 20, 20), 0.5)
    assert parse("blur:1").consistent(grey, grey).shape == grey.shape


def test_regeneration_does_not_depend_on_the_images(context: Context) -> None:
    fresh = RESTORERS["regeneration"]
    one, other = (fresh.restore(context, torch.rand(2, *SHAPE), Gaussian(0.1)) for _ in range(2))
    assert torch.equal(one, other)


def test_samples_are_as_many_as_asked_for(context: Context) -> None:
    (sampler,) = [row for row in RESTORERS.values() if row.sample]
    noisy = torch.rand(2, *SHAPE)
    found = sampler.sample(context, noisy, Gaussian(0.9), 3)
    assert found.shape == (2, 3, *SHAPE) and not torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, :2], sampler.sample(context, noisy, Gaussian(0.9), 2))
    alone = sampler.sample(context, noisy[:1], Gaussian(0.9), 3)
    assert torch.allclose(found[:1], alone, atol=1e-5)


def test_every_folder_for_own_pictures_belongs_to_a_restorer() -> None:
    assert sorted(row.own_folder for row in RESTORERS.values() if row.own_folder) == list(
        OWN_FOLDERS
    )


def test_a_new_restorer_is_one_row(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    row = RESTORERS["regeneration"]
    monkeypatch.setitem(RESTORERS, "mine", row)
    assert applicable(context, Gaussian(0.1))["mine"] is row
    assert isinstance(context.generator, nn.Module)


def test_an_image_of_which_nothing_is_left_is_inpainted_in_black() -> None:
    pytest.importorskip("skimage")
    corrupted = torch.full((2, 3, 8, 8), torch.nan)
    corrupted[1, :, 2:5] = 0.5
    restored = classical.CLASSICAL["biharmonic"].restore(corrupted, parse("mask:0.9"), 0)
    assert not restored[0].any() and torch.allclose(restored[1], torch.tensor(0.5), atol=0.2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", ["nlm", "bm3d", "biharmonic"])
def test_methods_of_other_packages_restore_grey_and_colour(method: str, channels: int) -> None:
    row = classical.CLASSICAL[method]
    pytest.importorskip(row.package)
    corruption = parse("mask:0.5" if method == "biharmonic" else "gaussian:0.3")
    clean = torch.zeros(3, channels, 20, 20)
    for index, image in enumerate(clean):
        image[:, 5 : 12 + index, 4:15] = 1.0
    corrupted = corruption.apply(clean, 0)
    restored = row.restore(corrupted, corruption, 0.3)
    assert restored.shape == clean.shape
    error = [(images - clean).square().mean() for images in (filled(corrupted), restored)]
    assert error[1] < error[0] / 4


def test_the_median_is_pillows() -> None:
    levels = torch.randint(0, 256, (2, 3, 8, 12), generator=stream(0, "test")).byte()
    for size in (3, 5):
        found = classical.CLASSICAL["median"].restore(to_unit(levels), Gaussian(0.3), float(size))
        for image, plane in zip(found.flatten(0, 1), levels.flatten(0, 1), strict=True):
            wanted = as_picture(plane[None]).filter(ImageFilter.MedianFilter(size))
            assert torch.equal(image[None], to_unit(as_image(wanted)))


@pytest.mark.parametrize("step", [2, 4])
def test_bicubic_interpolation_moves_nothing(step: int) -> None:
    across = torch.linspace(0, 1, 32)
    slopes = torch.stack((across.expand(32, 32), across[:, None].expand(32, 32)))[None]
    corruption = parse(f"downsample:{step}")
    restored = classical.CLASSICAL["bicubic"].restore(corruption.apply(slopes, 0), corruption, 0)
    inside = slice(3 * step, -3 * step)
    assert (restored - slopes)[:, :, inside, inside].abs().max() < 0.01  # of 0.032 a pixel


@pytest.mark.parametrize(
    ("method", "typed", "strength", "share"),
    [
        ("tv", "gaussian:0.3", 0.3, 0.3),
        ("tv", "mask:0.5", 0.01, 0.2),
        ("tv", "downsample:2", 0.01, 0.7),
        ("richardson-lucy", "blur:1", 40, 0.4),
    ],
)
def test_methods_of_the_lab_restore(method: str, typed: str, strength: float, share: float) -> None:
    corruption, clean = parse(typed), torch.zeros(2, 1, 20, 20)
    clean[0, :, 5:14, 3:12] = clean[1, :, 3:16, 9:12] = 1.0
    corrupted = corruption.apply(clean, 0)
    restored = classical.CLASSICAL[method].restore(corrupted, corruption, strength)
    error = [(images - clean).square().mean() for images in (filled(corrupted), restored)]
    assert error[1] < share * error[0]


def test_the_strength_of_least_error_on_training_images_is_used() -> None:
    even = classical.Classical(
        "even", lambda images, _, level: torch.full_like(images, level), bool, (0.1, 0.5, 2.0)
    )
    training = torch.full((2, 1, 8, 8), 0.4)
    found = classical.restore(even, torch.zeros(3, 1, 8, 8), Gaussian(0.3), training)
    assert torch.equal(found, torch.full((3, 1, 8, 8), 0.5))
