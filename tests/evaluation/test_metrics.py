"""Metrics with known answers."""

import math
import warnings

import pytest
import torch
from torch import Tensor

from lab.data import load_sample
from lab.evaluation import metrics
from lab.seeding import seed_for


def normal(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_frechet_distance_of_two_normals_in_closed_form():
    # For diagonal covariances it is |m1 - m2|^2 + sum (s1 - s2)^2; a rotation changes nothing.
    m1, m2, s1, s2 = (normal(1, 16, seed)[0].double() for seed in range(4))
    rotation, _ = torch.linalg.qr(normal(16, 16, 4).double())
    first, second = (
        metrics.Moments(rotation @ mean, rotation @ torch.diag(scale**2) @ rotation.T)
        for mean, scale in ((m1, s1), (m2, s2))
    )
    expected = (m1 - m2).square().sum() + (s1.abs() - s2.abs()).square().sum()
    assert metrics.frechet_distance(first, second) == pytest.approx(float(expected), rel=1e-9)


def test_frechet_distance_of_covariances_that_do_not_commute():
    # In two dimensions Tr sqrt(A B) = sqrt(Tr(A B) + 2 sqrt(det(A B))).
    a = torch.tensor([[2.0, 0.5], [0.5, 1.0]]).double()
    b = torch.tensor([[1.0, -0.8], [-0.8, 3.0]]).double()
    product = a @ b
    root = math.sqrt(product.trace() + 2 * math.sqrt(torch.linalg.det(product)))
    zero = torch.zeros(2).double()
    found = metrics.frechet_distance(metrics.Moments(zero, a), metrics.Moments(zero, b))
    assert found == pytest.approx(3 + 4 - 2 * root, rel=1e-9)


def test_frechet_distance_is_torchmetrics_own():
    from torchmetrics.image.fid import FrechetInceptionDistance

    real, made = normal(600, 24, 0), 1.2 * normal(500, 24, 1) + 0.1
    theirs = FrechetInceptionDistance(feature=_Features(), input_img_size=(24,))
    theirs.update(real.double(), real=True)
    theirs.update(made.double(), real=False)
    ours = metrics.frechet_distance(metrics.moments(real), metrics.moments(made))
    assert ours == pytest.approx(float(theirs.compute()), rel=1e-9)


class _Features(torch.nn.Identity):
    num_features = 24


def test_frechet_distance_of_a_generator_that_makes_one_image():
    constant = metrics.moments(torch.full((300, 8), 2.0))
    real = metrics.Moments(torch.zeros(8).double(), torch.eye(8).double())
    assert metrics.frechet_distance(constant, constant) == 0
    assert metrics.frechet_distance(real, constant) == pytest.approx(8 * 4 + 8)
    # Eigenvalues that are 0 but for rounding, of whose roots some would be NaN.
    few, others = (metrics.moments(normal(20, 64, seed).repeat(10, 1)) for seed in (0, 1))
    assert 0 <= metrics.frechet_distance(few, few) < 1e-4
    assert metrics.frechet_distance(few, others) > 10


def test_precision_recall_of_two_equal_normal_sets():
    # The values that Naeem et al. print for their own code, 10,000 samples of 1,000 numbers, k = 5.
    found = metrics.precision_recall(
        normal(10_000, 1_000, 0), normal(10_000, 1_000, 1), neighbours=5
    )
    assert found.precision == pytest.approx(0.48, abs=0.03)
    assert found.recall == pytest.approx(0.48, abs=0.03)
    assert found.density == pytest.approx(1.06, abs=0.06)
    assert found.coverage == pytest.approx(0.97, abs=0.01)


def test_precision_recall_of_points_counted_by_hand():
    real = torch.tensor([[0.0], [1.0], [3.0], [10.0]])  # reach to the next: 1, 1, 2, 7
    made = torch.tensor([[0.5], [0.6], [20.0]])  # reach: 0.1, 0.1, 19.4
    for far in (0, 3_000):  # where float32 has few digits left for squares
        found = metrics.precision_recall(real + far, made + far, neighbours=1)
        assert found.precision == pytest.approx(2 / 3)  # 0.5 and 0.6 lie in balls, 20 in none
        assert found.density == pytest.approx((2 + 2 + 0 + 0) / 3)  # not within 2 of 3, 7 of 10
        assert found.coverage == pytest.approx(2 / 4)
        assert found.recall == pytest.approx(3 / 4)  # all but 0 lie within 19.4 of 20


def test_kernel_distance_is_zero_for_equal_sets_and_does_not_draw_from_the_global_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = metrics.kernel_distance(normal(1500, 16, 0), normal(1500, 16, 1))
        moved = metrics.kernel_distance(normal(1500, 16, 0), normal(1500, 16, 1) + 0.5)
    assert abs(same) < 0.02
    assert moved > 20 * abs(same)
    assert torch.equal(before, torch.get_rng_state())


def test_kernel_distance_is_torchmetrics_own():
    from torchmetrics.image.kid import KernelInceptionDistance

    real, made = normal(600, 24, 0), 1.2 * normal(500, 24, 1) + 0.1
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # it warns that it keeps all features
        theirs = KernelInceptionDistance(feature=_Features(), subsets=100, subset_size=500)
        theirs.update(real, real=True)
        theirs.update(made, real=False)
        torch.manual_seed(seed_for(0, "metrics/kernel distance"))
        expected = float(theirs.compute()[0])
    assert metrics.kernel_distance(real, made) == pytest.approx(expected, rel=1e-4)


def test_near_copies_counts_exact_and_noisy_ones_only():
    dataset = load_sample("mnist")
    training = dataset.train_images[:3001]  # the last is compared alone
    noise = torch.randn(50, *dataset.spec.shape, generator=torch.Generator().manual_seed(0))
    noisy = (training[:50] + 5 * noise).round().clamp(0, 255).to(torch.uint8)
    assert metrics.near_copies(training[100:150], training) == 1
    assert metrics.near_copies(noisy, training) > 0.95
    assert metrics.near_copies(dataset.test_images[:500], training) < 0.01


def test_near_copies_of_colour_images():
    training = torch.randint(0, 256, (200, 3, 20, 20), generator=torch.Generator().manual_seed(0))
    training = training.to(torch.uint8)
    swapped = training[:9].flip(1)  # red for blue: another image
    assert metrics.near_copies(torch.cat((training[:1], swapped)), training) == 0.1


def test_a_near_copy_is_at_most_half_as_far_from_one_image_as_from_the_next():
    training, made = (
        torch.tensor(each).byte().view(-1, 1, 1, 1) for each in ((0, 30), (9, 10, 11))
    )
    assert [metrics.near_copies(image[None], training) for image in made] == [1, 1, 0]


def test_class_figures():
    assert metrics.class_shares(torch.tensor([0, 1, 1, 9]), 10) == [0.25, 0.5, *[0] * 7, 0.25]
    assert metrics.class_shares(torch.tensor([0, 1, 1, 1]), 4) == [0.25, 0.75, 0, 0]
    for classes in (4, 10, 47):
        even = [1 / classes] * classes
        assert metrics.divergence(even, even) == 0
        lone = [1.0, *[0.0] * (classes - 1)]
        assert metrics.divergence(lone, even) == pytest.approx(math.log(classes))
    assert metrics.divergence([0.9, 0.1], [1.0, 0.0]) == 0  # a class of test images only
    uneven = [0.5, 0.3, 0.19, 0.01]
    assert metrics.divergence(uneven, uneven) == 0 < metrics.divergence([0.25] * 4, uneven)
    ten, four = [0.1] * 10, [0.25] * 4
    assert metrics.thin_classes([0.029, 0.03, 0.941, *[0.0] * 7], ten, 250) == [0, *range(3, 10)]
    assert metrics.thin_classes([0.074, 0.075, 0.4, 0.451], four, 250) == [0]
    assert metrics.thin_classes([0.5, 0.45, 0.05, 0.0], uneven, 1_000) == [2]  # 10 may be rng
    assert metrics.thin_classes([0.5, 0.45, 0.05, 0.0], uneven, 5_000) == [2, 3]
