"""An evaluator that tells planted faults apart, on the bundled sample and on a toy set."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import pytest
import torch

from lab.data import DATASETS, Dataset, DatasetSpec, load_sample
from lab.errors import Fault
from lab.evaluation import Evaluator, diagnosis, evaluator, metrics
from lab.evaluation import reference as real_images
from lab.evaluation.catalogue import METRICS, Metric
from lab.evaluation.evaluator import can_score
from lab.models import CLASSIFIERS, GENERATORS, build, shipped
from lab.models.serialization import save_weights

CPU = torch.device("cpu")
TOY = DatasetSpec("toy", "Toy", shape=(3, 20, 20), class_names=("red", "green", "blue", "grey"))


@pytest.fixture(scope="module")
def fashion() -> Dataset:
    return load_sample("fashion")


@pytest.fixture(scope="module")
def referee(fashion: Dataset) -> Evaluator:
    return Evaluator(fashion, CPU)


def toy(spec: DatasetSpec = TOY, count: int = 400) -> Dataset:
    """Noise of 3 x 20 x 20 with labels that go round."""
    chance = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2 * count, *spec.shape), generator=chance).to(torch.uint8)
    labels = torch.arange(count) % 4
    return Dataset(spec, images[:count], labels, images[count:], labels, "nowhere", False, "f")


def judged(referee: Evaluator, images: torch.Tensor) -> tuple[dict, list[str]]:
    """The figures of images, and what a diagnosis says of them."""
    found = referee.full_of_images(images)
    return found.figures, diagnosis.after([], found.figures, found.class_histogram, {})


def test_planted_faults_are_told_apart(
    fashion: Dataset, referee: Evaluator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics, "KERNEL_SUBSETS", 10)
    count = 1500
    collapse = fashion.train_images[fashion.train_labels == 8][:30].repeat(count // 30, 1, 1, 1)
    chance = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (count, *fashion.spec.shape), generator=chance)
    plants = {
        "new": fashion.test_images[:count],
        "collapse": (collapse.float() * 0.8).to(torch.uint8),  # darker: no exact copies
        "copies": fashion.train_images[:count],
        "noise": noise.to(torch.uint8),
    }
    found = {name: judged(referee, images) for name, images in plants.items()}
    new, collapse, copies, noise = (figures for figures, _ in found.values())

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

    words = {name: " ".join(lines) for name, (_, lines) in found.items()}
    assert "Healthy" in words["new"]
    assert "Memorising" in words["copies"]
    assert "(the classifier sees Bag in " in words["collapse"]
    assert "Mode collapse" not in words["noise"]


def test_the_same_generator_scores_the_same_to_the_last_digit(
    fashion: Dataset, referee: Evaluator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evaluator, "QUICK_COUNT", 500)
    torch.manual_seed(1)
    generator = build(GENERATORS, "mlp", shape=fashion.spec.shape, latent_dim=8, hidden=[16])
    found = referee.quick(generator)
    torch.manual_seed(2)  # the evaluator has streams of its own
    assert referee.quick(generator) == found
    assert tuple(found) == ("fcd_train_5k", "confidence", "smallest_class", "thin_classes")
    assert Evaluator(fashion, CPU).quick(generator) == found
    monkeypatch.setattr(real_images, "FULL_COUNT", 500)  # of the training images, those it draws
    one, two = (Evaluator(fashion, CPU).reference.training.features for _ in range(2))
    assert torch.equal(one, two) and len(one) == 500


def test_each_figure_is_held_against_the_images_that_its_name_says(
    fashion: Dataset, referee: Evaluator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics, "KERNEL_SUBSETS", 2)
    real, test = referee.real_figures, referee.full_of_images(fashion.test_images).figures
    # On the bundled sample, in the lab's own features: another figure is another metric.
    to_training = pytest.approx(0.1379, abs=1e-3)
    assert real["fcd_train"] == real["fcd_test"] == to_training
    assert test["fcd_train"] == to_training and test["fcd_real"] == to_training
    assert test["fcd_test"] == pytest.approx(0, abs=1e-6)
    assert test["precision"] == test["recall"] == test["coverage"] == 1 > real["recall"]
    features = referee.sample(fashion.test_images).features
    assert test["kernel_distance"] == metrics.kernel_distance(features, features)
    assert real["near_copies"] == test["near_copies"] < 0.01
    assert referee.quick_of_images(fashion.test_images)["fcd_train_5k"] == to_training


def test_classes_bear_their_own_names(fashion: Dataset, referee: Evaluator):
    bags = fashion.test_images[fashion.test_labels == 8][:50]
    shares = referee.full_of_images(bags).class_histogram
    assert max(shares, key=shares.get) == "Bag"


def test_too_few_images_leave_figures_out_and_say_so(fashion: Dataset, referee: Evaluator):
    found = referee.full_of_images(fashion.test_images[:1])
    assert set(found.figures) == {"images", "confidence", "near_copies"}
    assert len(found.class_histogram) == 10
    assert found.left_out == (
        "1 image: FCD, class imbalance, rarest class and thin classes need 256; kernel distance, "
        "precision, recall, density and coverage need 100"
    )
    words = diagnosis.after([], found.figures, found.class_histogram, {})
    assert "Too few images" in words[0] and not any("collapse" in line for line in words)


def test_a_record_says_what_the_images_were_compared_with(fashion: Dataset, referee: Evaluator):
    found = referee.full_of_images(fashion.test_images[:9])
    record = referee.record(found, ["a word"], evaluated="something")
    content = record.as_json()
    assert content["images"] == 9 and content["class_histogram"] == found.class_histogram
    assert (content["words"], content["evaluated"]) == (["a word"], "something")
    assert content["dataset"] == "fashion" and content["machine"]["torch"] == torch.__version__
    assert content["compared_with"] == {
        "set": "Fashion-MNIST",
        "source": fashion.source,
        "fingerprint": fashion.fingerprint,
        "is_sample": True,
        "training_images_for_fcd_train": 10_000,
        "test_images": 2_000,
        "images_looked_for_as_copies": 9,
    }


def test_the_table_has_these_images_before_real_ones(fashion: Dataset):
    figures = {"fcd_test": 20.0, "recall": 0.25}
    found = evaluator.Judgement(fashion.test_images[:1], None, figures, {"0": 1.0})
    lines = found.table({"fcd_test": 0.1, "recall": 0.875}).splitlines()
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert ["FCD, test images", "20.00", "0.10", "lower"] in cells
    assert ["Recall", "0.250", "0.875", "higher"] in cells
    assert ["classes: 0 100.0%"] in cells and lines[-1].startswith("note: fewer than 10,000")


def test_every_figure_has_a_name_of_its_own():
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)


def test_a_set_too_small_to_score_with_is_said_so(fashion: Dataset):
    few = dataclasses.replace(fashion, test_images=fashion.test_images[:4])
    assert can_score(fashion) and not can_score(few)
    assert not can_score(dataclasses.replace(fashion, train_images=fashion.train_images[:99]))
    with pytest.raises(Fault, match=r"4 test images.*--no-quality"):
        Evaluator(few, CPU)


# The shipped classifiers


def test_a_classifier_that_is_not_the_labs_own_is_refused(tmp_path: Path, monkeypatch):
    for name in ("fashion.pth", "SHA256SUMS"):
        shutil.copy(shipped.WEIGHTS / name, tmp_path)
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    assert shipped.load_classifier(DATASETS["fashion"]) is not None
    content = bytearray((tmp_path / "fashion.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "fashion.pth").write_bytes(content)
    with pytest.raises(Fault, match="SHA256SUMS"):
        shipped.load_classifier(DATASETS["fashion"])
    (tmp_path / "fashion.pth").unlink()
    with pytest.raises(Fault, match="does not exist"):
        shipped.load_classifier(DATASETS["fashion"])


@pytest.mark.parametrize(("name", "least"), [("mnist", 0.993), ("fashion", 0.925)])
def test_the_classifiers_are_as_good_as_they_must_be(name: str, least: float):
    dataset = load_sample(name)
    seen = Evaluator(dataset, CPU).sample(dataset.test_images).classes
    # The bundled 2,000 test images are a part of the 10,000 that the figure is asked of.
    accuracy = float((seen == dataset.test_labels).double().mean())
    assert accuracy > least - 3 * math.sqrt(least * (1 - least) / 2000)


# Other sets, other metrics


@pytest.mark.parametrize("spec", [TOY, dataclasses.replace(TOY, class_names=())])
def test_a_set_without_a_classifier_is_scored_by_what_needs_none(spec: DatasetSpec):
    dataset = toy(spec, count=40)
    assert can_score(dataset)
    referee = Evaluator(dataset, CPU)
    found = referee.full_of_images(dataset.train_images[:10])
    assert found.figures == {"images": 10, "near_copies": 1.0}
    assert found.classes is None and found.class_histogram == {}
    assert found.left_out.startswith("10 images: FCD, kernel distance, ")
    assert found.left_out.endswith("need a classifier of this set, and none ships with the lab")
    assert referee.real_figures == {"near_copies": 0.0}
    assert "Near-copies" in found.table(referee.real_figures)
    generator = build(GENERATORS, "mlp", shape=spec.shape, latent_dim=8, hidden=[16])
    assert referee.quick(generator) == {}
    assert referee.record(found, []).as_json()["near_copies"] == 1.0


def test_another_set_of_a_known_name_has_no_classifier():
    namesake = dataclasses.replace(DATASETS["mnist"], shape=(3, 28, 28))
    assert shipped.load_classifier(namesake) is None


def test_a_classifier_of_four_classes_in_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(DATASETS, "toy", TOY)
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    monkeypatch.setattr(metrics, "KERNEL_SUBSETS", 2)
    torch.manual_seed(0)
    classifier = build(CLASSIFIERS, "cnn", shape=TOY.shape, classes=4)
    save_weights(tmp_path / "toy.pth", classifier, TOY)
    shipped.write_checksums()
    dataset = toy()
    found = Evaluator(dataset, CPU).full_of_images(dataset.test_images)
    assert set(METRICS) - set(found.figures) == {"fid"} and not found.left_out
    assert list(found.class_histogram) == ["red", "green", "blue", "grey"]
    shares = list(found.class_histogram.values())
    assert found.figures["smallest_class"] == min(shares) and sum(shares) == pytest.approx(1)
    assert found.figures["thin_classes"] == sum(share < 0.075 for share in shares)


def test_a_metric_is_a_row(fashion: Dataset, monkeypatch: pytest.MonkeyPatch):
    row = Metric(
        "Brightness",
        "higher",
        ".1f",
        "Mean level of a pixel.",
        lambda sample, reference: float(sample.images.float().mean()),
        quick_name="brightness_5k",
        fewest=5,
    )
    monkeypatch.setitem(METRICS, "brightness", row)
    dataset = toy(count=40)
    referee = Evaluator(dataset, CPU)
    images = torch.full((9, *TOY.shape), 7, dtype=torch.uint8)
    found = referee.full_of_images(images)
    assert found.figures["brightness"] == 7.0
    assert referee.real_figures["brightness"] == pytest.approx(127.5, abs=2)
    assert referee.quick_of_images(images) == {"brightness_5k": 7.0}
    assert "Brightness" in found.table(referee.real_figures)
    assert "brightness need 5" in referee.full_of_images(images[:4]).left_out
