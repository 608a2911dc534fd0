"""Projection onto a generator."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from torch import Tensor, nn

from lab.models import GENERATORS, build
from lab.restoration import projection
from lab.restoration.corruption import MODEL_ERROR, filled
from lab.restoration.corruptions import Gaussian, GaussianClipped, parse
from lab.seeding import stream


def small_generator(shape: tuple[int, int, int]) -> nn.Module:
    """A generator with random weights, whose images are very different."""
    torch.manual_seed(3)
    network = build(GENERATORS, "mlp", shape=shape, latent_dim=8, hidden=(64,))
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(2)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def generator() -> nn.Module:
    """A generator of images of 28 x 28."""
    return small_generator((1, 28, 28))


@pytest.fixture(scope="module")
def made(generator: nn.Module) -> Tensor:
    """Five images of the generator, (5, 1, 28, 28) in [0, 1]."""
    latents = torch.randn(5, 8, generator=stream(1, "test"))
    return (generator(latents) + 1) / 2


def project(network: nn.Module, corrupted: Tensor, *given, **settings) -> Tensor:
    """The projections of images, (N, C, H, W) in [0, 1]."""
    latents = projection.find_latents(network, corrupted, *given, **settings)
    return projection.decode_in_batches(network, latents)


def test_projection_finds_what_the_generator_made(generator: nn.Module, made: Tensor) -> None:
    error = (project(generator, made, Gaussian(0.0)) - made).square().mean()
    nearest = (project(generator, made, Gaussian(0.0), steps=0) - made).square().mean()
    assert error < 2e-4
    assert error < nearest / 10


def test_images_of_the_bank_are_nearest_to_themselves(generator: nn.Module) -> None:
    bank = projection._bank(generator, torch.device("cpu"))
    shown = projection.decode_in_batches(generator, bank)
    objective = projection.Objective(generator, shown[:5], Gaussian(torch.full((5,), 0.1)))
    assert objective.bank_distances(shown).argmin(dim=1).tolist() == [0, 1, 2, 3, 4]
    for typed in ("mask:top20", "mask:0.8"):
        mask = parse(typed)
        objective = projection.Objective(
            generator, mask.apply(shown[:5], 0), mask.per_image(shown[:5])
        )
        assert objective.bank_distances(shown).argmin(dim=1).tolist() == [0, 1, 2, 3, 4]


def test_the_objective_weighs_the_error_against_the_length_of_the_latent(generator) -> None:
    latents = torch.randn(6, 8, generator=stream(2, "test"))  # two for each of three images
    corrupted, sigmas = torch.rand(3, 1, 28, 28), torch.tensor([0.1, 0.3, 0.5])
    found = projection.Objective(generator, corrupted, Gaussian(sigmas))(latents)
    error = (projection.decode(generator, latents) - corrupted.repeat_interleave(2, 0)).square()
    variance = sigmas.square() + MODEL_ERROR**2
    weighed = error.sum((1, 2, 3)) / variance.repeat_interleave(2)
    assert torch.allclose(found, (weighed + latents.square().sum(1)) / 2, rtol=1e-4)


@pytest.mark.parametrize(("shape", "most"), [((1, 28, 28), 300), ((3, 64, 64), 120)])
def test_batches_of_large_images_are_smaller(shape, most, monkeypatch) -> None:
    generator, sizes, banks = small_generator(shape), [], []
    descend, bank = projection._descend, projection._bank
    monkeypatch.setattr(
        projection, "_descend", lambda *given: sizes.append(len(given[1])) or descend(*given)
    )
    monkeypatch.setattr(projection, "_bank", lambda *given: banks.append(1) or bank(*given))
    made = projection.decode_in_batches(generator, torch.randn(30, 8, generator=stream(1, "test")))
    project(generator, made, Gaussian(0.3), restarts=10, steps=5)
    assert max(sizes) == most and sum(sizes[::2]) == 300 and len(banks) == 1


def test_the_number_of_starts_is_as_asked_for(
    generator: nn.Module, made: Tensor, monkeypatch
) -> None:
    followed, descend = [], projection._descend
    monkeypatch.setattr(
        projection, "_descend", lambda *given: followed.append(len(given[1])) or descend(*given)
    )
    project(generator, made, Gaussian(0.3), restarts=7, steps=10)
    assert followed == [5 * 7, 5 * projection.FINALISTS]


def test_the_best_start_of_each_image_is_kept() -> None:
    latents, values = torch.arange(6.0)[:, None], torch.tensor([3.0, 1, 2, 5, 6, 4])
    assert projection._best(latents, values, images=2, count=1).tolist() == [[1], [5]]


def test_projection_takes_noise_away(generator: nn.Module, made: Tensor) -> None:
    noisy = Gaussian(0.3).apply(made, 0)
    restored = project(generator, noisy, Gaussian(0.3))
    assert (restored - made).square().mean() < (noisy - made).square().mean() / 5
    clipped = GaussianClipped(0.3).apply(made, 0)
    aware = project(generator, clipped, GaussianClipped(0.3))
    unaware = project(generator, clipped, Gaussian(0.3))
    assert (aware - made).square().mean() < (unaware - made).square().mean()


def test_projection_is_the_same_twice_and_of_fewer_images(
    generator: nn.Module, made: Tensor
) -> None:
    first = project(generator, made, Gaussian(0.1), restarts=4, steps=30)
    assert torch.equal(first, project(generator, made, Gaussian(0.1), restarts=4, steps=30))
    alone = project(generator, made[:2], Gaussian(0.1), restarts=4, steps=30)
    assert torch.allclose(first[:2], alone, atol=1e-3)


def test_noise_levels_may_differ_from_image_to_image(generator: nn.Module, made: Tensor) -> None:
    levels = torch.tensor([0.1, 0.1, 0.1, 0.1, 1.0])
    mixed = project(generator, made, Gaussian(levels), steps=50)
    same = project(generator, made, Gaussian(0.1), steps=50)
    assert torch.allclose(mixed[0], same[0], atol=1e-3)
    assert not torch.allclose(mixed[4], same[4], atol=1e-3)


def test_descent_never_ends_above_its_start(generator: nn.Module) -> None:
    noisy = torch.rand(3, 1, 28, 28)
    noisy[1] = torch.nan  # an image that no step can improve leaves the others alone
    objective = projection.Objective(generator, noisy, Gaussian(torch.full((3,), 0.1)))
    starts = torch.randn(3, 8, generator=stream(0, "test"))
    latents, values = projection._descend(objective, starts, 40)
    assert torch.isfinite(latents).all()
    assert (values[[0, 2]] < objective(starts)[[0, 2]]).all()


def test_the_direction_is_the_bfgs_matrix_times_the_gradient() -> None:
    draw = stream(0, "test")
    steps, noise = torch.randn(2, 3, 2, 5, dtype=torch.float64, generator=draw)
    pairs = list(zip(steps, steps + noise / 4, strict=True))  # of three steps, in two searches
    history = deque((s, y, 1 / (s * y).sum(1)) for s, y in pairs)
    gradient, scale = torch.randn(2, 5, dtype=torch.float64, generator=draw), torch.tensor([0.5, 2])
    found = projection._direction(gradient, scale, history)
    for row in range(2):  # Nocedal and Wright, equation 6.17
        inverse = scale[row] * torch.eye(5, dtype=torch.float64)
        for s, y, rho in ((s[row], y[row], rho[row]) for s, y, rho in history):
            change = torch.eye(5) - rho * torch.outer(y, s)
            inverse = change.T @ inverse @ change + rho * torch.outer(s, s)
        assert torch.allclose(found[row], inverse @ gradient[row])


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 24)])
@pytest.mark.parametrize("typed", ["mask:top10", "mask:0.8", "downsample:2", "salt-pepper:0.3"])
def test_projection_inverts_a_known_operator(shape, typed: str) -> None:
    network = small_generator(shape)
    clean = projection.decode(network, torch.randn(3, 8, generator=stream(1, "test")))
    corruption = parse(typed)
    corrupted = corruption.apply(clean, 0)
    found = project(network, corrupted, corruption)
    assert found.shape == clean.shape
    error = (found - clean).square().mean()
    assert error < (filled(corrupted) - clean).square().mean() / 10


# Classes


def test_starts_are_spread_over_classes_and_the_right_one_wins() -> None:
    torch.manual_seed(3)
    asked = build(GENERATORS, "mlp", shape=(1, 16, 16), latent_dim=4, hidden=(64,), classes=3)
    with torch.no_grad():
        for weight in asked.parameters():
            weight.mul_(2)
    asked.eval().requires_grad_(False)
    labels = torch.tensor([2, 0, 1, 1])
    made = (asked(torch.randn(4, 4), labels) + 1) / 2
    latents = projection.find_latents(asked, made, Gaussian(0.0), restarts=4)
    assert projection.class_labels(asked, latents).tolist() == labels.tolist()
    assert (projection.decode_in_batches(asked, latents) - made).square().mean() < 1e-3

    distances = torch.tensor([[5.0, 1.0, 2.0, 3.0, 4.0, 0.0]])
    of = torch.tensor([[0.0], [1.0], [1.0], [2.0], [1.0], [1.0]])
    assert projection._nearest(distances, 4, of).tolist() == [[5, 3, 0, 1]]
    assert projection._nearest(distances, 4, of[:, :0]).tolist() == [[5, 1, 2, 3]]
