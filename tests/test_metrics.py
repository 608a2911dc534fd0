"""Metrics with known answers, and a judge that tells planted faults apart."""

from __future__ import annotations

import math
import shutil
import warnings

import pytest
import torch
from conftest import SAMPLE
from torch import Tensor

from lab import seeding as chance
from lab.data import datasets as data
from lab.errors import Fault
from lab.evaluation import diagnosis as advice
from lab.evaluation import evaluator as judge
from lab.evaluation import metrics
from lab.models import classifier
from lab.models import networks as models
from lab.report import figures as images


def normal(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


# Definitions


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


def test_support_of_two_equal_normal_sets():
    # The values that Naeem et al. print for their own code, 10,000 samples of 1,000 numbers, k = 5.
    found = metrics.support(normal(10_000, 1_000, 0), normal(10_000, 1_000, 1), neighbours=5)
    assert found.precision == pytest.approx(0.48, abs=0.03)
    assert found.recall == pytest.approx(0.48, abs=0.03)
    assert found.density == pytest.approx(1.06, abs=0.06)
    assert found.coverage == pytest.approx(0.97, abs=0.01)


def test_support_of_points_counted_by_hand():
    real = torch.tensor([[0.0], [1.0], [3.0], [10.0]])  # reach to the next: 1, 1, 2, 7
    made = torch.tensor([[0.5], [0.6], [20.0]])  # reach: 0.1, 0.1, 19.4
    found = metrics.support(real, made, neighbours=1)
    assert found.precision == pytest.approx(2 / 3)  # 0.5 and 0.6 lie in balls, 20 in none
    assert found.density == pytest.approx((2 + 2 + 0 + 0) / 3)  # not within 2 of 3, nor 7 of 10
    assert found.coverage == pytest.approx(2 / 4)
    assert found.recall == pytest.approx(3 / 4)  # all but 0 lie within 19.4 of 20


def test_kernel_distance_is_zero_for_equal_sets_and_leaves_global_chance_alone():
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
        torch.manual_seed(chance.seed_for(0, "metrics/kernel distance"))
        expected = float(theirs.compute()[0])
    assert metrics.kernel_distance(real, made) == pytest.approx(expected, rel=1e-4)


def test_near_copies_counts_exact_and_noisy_ones_only():
    image_set = data.read_folder("mnist", SAMPLE / "mnist")
    training = image_set.train_images[:3000]
    noise = torch.randn(50, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    noisy = (training[:50] + 5 * noise).round().clamp(0, 255).to(torch.uint8)
    assert metrics.near_copies(training[100:150], training) == 1
    assert metrics.near_copies(noisy, training) > 0.95
    assert metrics.near_copies(image_set.test_images[:500], training) < 0.01


def test_class_figures():
    assert metrics.class_shares(torch.tensor([0, 1, 1, 9])) == [0.25, 0.5, *[0] * 7, 0.25]
    assert metrics.divergence_from_uniform([0.1] * 10) == pytest.approx(0)
    assert metrics.divergence_from_uniform([1.0, *[0.0] * 9]) == pytest.approx(math.log(10))
    assert metrics.thin_classes([0.029, 0.031, 0.94, 0.0]) == 2


# The judge


@pytest.fixture(scope="module")
def fashion() -> data.ImageSet:
    return data.read_folder("fashion", SAMPLE / "fashion")


@pytest.fixture(scope="module")
def referee(fashion: data.ImageSet) -> judge.Judge:
    return judge.Judge(fashion, torch.device("cpu"))


def test_planted_faults_are_told_apart(
    fashion: data.ImageSet, referee: judge.Judge, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics, "KERNEL_SUBSETS", 10)
    count = 1500
    collapse = fashion.train_images[fashion.train_labels == 8][:30].repeat(count // 30, 1, 1, 1)
    noise = torch.randint(0, 256, (count, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    plants = {
        "new": fashion.test_images[:count],
        "collapse": (collapse.float() * 0.8).to(torch.uint8),  # darker: no exact copies
        "copies": fashion.train_images[:count],
        "noise": noise.to(torch.uint8),
    }
    found = {name: referee.full_of_images(made).figures for name, made in plants.items()}
    new, collapse, copies, noise = found.values()

    assert new["fcd_train"] < 2 and new["thin_classes"] == 0 and new["near_copies"] < 0.02
    assert new["precision"] > 0.9 and new["recall"] > 0.9
    assert copies["near_copies"] == 1 and copies["fcd_train"] < 2
    assert collapse["fcd_train"] > 50 and collapse["near_copies"] < 0.5
    assert collapse["thin_classes"] == 9 and collapse["class_kl"] > 2
    assert collapse["coverage"] < 0.1 and collapse["recall"] < 0.1
    assert noise["fcd_train"] > collapse["fcd_train"]
    # Precision is fooled: a single stray shirt of the test images has all the noise in its reach.
    assert noise["density"] < 0.3 < collapse["density"]
    assert noise["coverage"] < 0.01 and noise["near_copies"] == 0

    assert any("Healthy" in line for line in advice.after([], new, {}))
    assert any("Memorising" in line for line in advice.after([], copies, {}))
    assert any("(the classifier sees Bag in " in line for line in advice.after([], collapse, {}))
    assert not any("Mode collapse" in line for line in advice.after([], noise, {}))


def test_the_same_generator_scores_the_same_to_the_last_digit(
    fashion: data.ImageSet, referee: judge.Judge, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(judge, "QUICK_COUNT", 500)
    torch.manual_seed(1)
    generator = models.Generator(latent_dim=8, hidden=(16,))
    found = referee.quick(generator)
    torch.manual_seed(2)  # the judge has streams of its own
    assert referee.quick(generator) == found
    assert tuple(found) == judge.QUICK_COLUMNS
    assert judge.Judge(fashion, torch.device("cpu")).quick(generator) == found
    monkeypatch.setattr(judge, "FULL_COUNT", 500)  # of the training images, those it draws
    one, two = (judge.Judge(fashion, torch.device("cpu"))._training.features for _ in range(2))
    assert torch.equal(one, two) and len(one) == 500


def test_each_figure_is_held_against_the_images_that_its_name_says(
    fashion: data.ImageSet, referee: judge.Judge, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics, "KERNEL_SUBSETS", 2)
    real, test = referee.real_figures, referee.full_of_images(fashion.test_images).figures
    # On the bundled sample, in the lab's own features: another figure is another metric.
    to_training = pytest.approx(0.1379, abs=1e-3)
    assert real["fcd_train"] == real["fcd_test"] == to_training
    assert test["fcd_train"] == to_training and test["fcd_real"] == to_training
    assert test["fcd_test"] == pytest.approx(0, abs=1e-6)
    assert test["precision"] == test["recall"] == test["coverage"] == 1 > real["recall"]
    features = referee.read(fashion.test_images).features
    assert test["kernel_distance"] == metrics.kernel_distance(features, features)
    assert real["near_copies"] == test["near_copies"] < 0.01
    monkeypatch.setattr(judge, "generated_images", lambda *_: fashion.test_images)
    assert referee.quick(None)["fcd_train_5k"] == to_training


def test_classes_bear_their_own_names(fashion: data.ImageSet, referee: judge.Judge):
    bags = fashion.test_images[fashion.test_labels == 8][:50]
    shares = referee.full_of_images(bags).figures["class_histogram"]
    assert max(shares, key=shares.get) == "Bag"


def test_the_sheet_of_classes_says_what_it_was_compared_with(
    fashion: data.ImageSet, referee: judge.Judge, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    drawn = []
    monkeypatch.setattr(images, "save_class_sheet", lambda *given: drawn.append(given))
    referee.save(tmp_path, referee.full_of_images(fashion.test_images[:9]), "title")
    assert drawn[0][-1] == "compared with the BUNDLED SAMPLE, not the full set"


def test_too_few_images_leave_figures_out_and_say_so(fashion: data.ImageSet, referee: judge.Judge):
    evaluation = referee.full_of_images(fashion.test_images[:1])
    assert {"confidence", "near_copies", "class_histogram"} < set(evaluation.figures)
    assert not {"fcd_train", "fcd_test", "precision", "kernel_distance"} & set(evaluation.figures)
    assert "1 image: FCD needs 256" in evaluation.left_out
    assert not any("collapse" in line for line in advice.after([], evaluation.figures, {}))


def test_a_classifier_that_is_not_the_labs_own_is_refused(tmp_path, monkeypatch):
    for name in ("fashion.pth", "SHA256SUMS"):
        shutil.copy(classifier.WEIGHTS / name, tmp_path)
    monkeypatch.setattr(classifier, "WEIGHTS", tmp_path)
    classifier.load("fashion")
    content = bytearray((tmp_path / "fashion.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "fashion.pth").write_bytes(content)
    with pytest.raises(Fault, match="SHA256SUMS"):
        classifier.load("fashion")


def test_the_classifiers_are_as_good_as_they_must_be():
    for name, least in (("mnist", 0.993), ("fashion", 0.925)):
        image_set = data.read_folder(name, SAMPLE / name)
        reading = judge.Judge(image_set, torch.device("cpu")).read(image_set.test_images)
        # The bundled 2,000 test images are a part of the 10,000 that the figure is asked of.
        accuracy = float((reading.classes == image_set.test_labels).double().mean())
        assert accuracy > least - 3 * math.sqrt(least * (1 - least) / 2000)


# Plain words


def row(epoch: int, **changes: float) -> dict[str, float]:
    healthy = {"d_loss": 1.1, "g_loss": 0.9, "d_real": 0.6, "d_fake": 0.4}
    return {"epoch": epoch, **healthy, **changes}


@pytest.mark.parametrize(
    ("changes", "word", "option"),
    [
        ({"d_real": 0.99, "d_fake": 0.01, "d_loss": 0.02}, "winning", "--r1-gamma"),
        ({"d_loss": 0.01}, "winning", "--lr-d"),  # least squares and hinge have other opinions
        ({"d_loss": 80.0, "g_loss": 90.0}, "diverging", "--lr-g"),
        ({"fcd_train_5k": 90.0}, "getting worse", "--lr-g"),
        ({"thin_classes": 2}, "Mode collapse", "--r1-gamma"),
        ({"thin_classes": 2, "fcd_train_5k": 51.0}, "trained too little, or", "--r1-gamma"),
    ],
)
def test_each_trouble_is_named_once_with_its_cure(changes, word: str, option: str):
    history = [row(epoch, fcd_train_5k=40.0, thin_classes=0) for epoch in range(1, 7)]
    history += [row(epoch, **changes) for epoch in range(7, 13)]
    options = {"epochs": 12, "r1_gamma": 0.0, "average": 0.9995}
    said = [advice.during(history[:end], options) for end in range(1, 13)]
    lines = [line for lines in said for line in lines]
    assert len(lines) == 1
    assert word in lines[0] and option in lines[0]
    assert not any(said[:6])


def test_a_healthy_run_is_not_alarmed():
    history = [
        row(1, d_real=0.97, d_fake=0.04, fcd_train_5k=200.0, thin_classes=8),  # a rough start
        *(row(epoch, fcd_train_5k=200 / epoch, thin_classes=0) for epoch in range(2, 20)),
        row(20, fcd_train_5k=14.0),  # a little more than 200 / 19
    ]
    assert not any(advice.during(history[:end], {"epochs": 20}) for end in range(1, 21))
    figures = {
        "images": 10_000,
        "fcd_test": 10.2,
        "fcd_real": 0.1,
        "near_copies": 0.005,
        "class_histogram": {str(label): 0.1 for label in range(10)},
    }
    first, second = advice.after(history, figures, {})
    assert first.startswith("FCD 10.2 ")
    figures["class_histogram"] |= {"1": 0.19, "7": 0.01}
    assert "rare: digit 7 1.0% (fair" in advice.after(history, figures, {})[1]
    assert second.startswith("Healthy: ") and "D(x) 0.60, D(G(z)) 0.40" in second
