"""The evaluator recognises planted faults, on the bundled sample and on a toy set."""

import dataclasses
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lab.data import DATASETS, Dataset, DatasetSpec, load_sample
from lab.errors import Fault
from lab.evaluation import Evaluator, classifiers, diagnosis, evaluator, metrics
from lab.evaluation import reference as real_images
from lab.evaluation.catalogue import METRICS, Metric
from lab.models import CLASSIFIERS, GENERATORS, build, shipped
from lab.models.serialization import save_weights
from lab.runs.schema import Comparison, Evaluation

CPU = torch.device("cpu")
MLP_FLOOR = 0.5555  # on the bundled sample
TOY = DatasetSpec("toy", "Toy", shape=(3, 20, 20), class_names=("red", "green", "blue", "grey"))


@pytest.fixture(scope="module")
def fashion() -> Dataset:
    return load_sample("fashion")


@pytest.fixture(scope="module")
def referee(fashion: Dataset) -> Evaluator:
    return Evaluator(fashion, CPU)


def toy(spec: DatasetSpec = TOY, count: int = 400) -> Dataset:
    """Noise images with the labels 0 to 3 in turn."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2 * count, *spec.shape), generator=rng).to(torch.uint8)
    labels = torch.arange(count) % 4
    return Dataset(spec, images[:count], labels, images[count:], labels, "nowhere", False, "f")


def judged(referee: Evaluator, images: torch.Tensor) -> tuple[dict, list[str]]:
    """The figures of images, and their diagnosis."""
    record = referee.full_of_images(images).record
    return record.figures, diagnosis.after([], record, {})


def test_planted_faults_are_told_apart(
    fashion: Dataset, referee: Evaluator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics, "KERNEL_SUBSETS", 10)
    count = 1500
    collapse = fashion.train_images[fashion.train_labels == 8][:30].repeat(count // 30, 1, 1, 1)
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (count, *fashion.spec.shape), generator=rng)
    plants = {
        "new": fashion.test_images[:count],
        "collapse": (collapse.float() * 0.8).to(torch.uint8),  # darker: no exact copies
        "copies": fashion.train_images[:count],
        "noise": noise.to(torch.uint8),
    }
    found = {name: judged(referee, images) for name, images in plants.items()}
    new, collapse, copies, noise = (figures for figures, _ in found.values())

    assert 0.9 < new["variance"] < 1.1 and collapse["variance"] < 0.6
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
    fashion: Dataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evaluator, "QUICK_COUNT", 500)
    monkeypatch.setattr(real_images, "FULL_COUNT", 500)  # of the training images, those it draws
    referee, another = (Evaluator(fashion, CPU) for _ in "12")
    torch.manual_seed(1)
    generator = build(GENERATORS, "mlp", shape=fashion.spec.shape, latent_dim=8, hidden=[16])
    found = referee.quick(generator)
    torch.manual_seed(2)  # the evaluator has streams of its own
    assert referee.quick(generator) == found
    distances = ("fcd_train_5k", "fcd_mlp_train_5k")
    assert tuple(found) == (*distances, "confidence", "smallest_class", "thin_classes")
    assert referee.quick_distance == "fcd_train_5k"
    assert another.quick(generator) == found
    one, two = (each.reference.train.outputs["mlp"].features for each in (referee, another))
    assert torch.equal(one, two) and len(one) == 500


def test_full_uses_10000_images_and_quick_5000(referee: Evaluator, monkeypatch):
    asked = []

    def few(generator, count, *_) -> torch.Tensor:
        asked.append(count)
        return referee.dataset.test_images[:9]

    monkeypatch.setattr(evaluator, "generated_images", few)
    generator = build(GENERATORS, "mlp", shape=referee.dataset.spec.shape)
    assert referee.full(generator).record.figures["images"] == 9
    referee.quick(generator)
    assert asked == [10_000, 5_000] and len(referee.reference.train.images) == 10_000


def test_the_time_of_a_score_is_that_of_5000_images(fashion: Dataset, monkeypatch):
    referee, seconds = Evaluator(fashion, CPU), [0.0]
    monkeypatch.setattr(evaluator, "time", SimpleNamespace(monotonic=lambda: seconds[0]))

    def sample(images: torch.Tensor) -> None:
        seconds[0] += len(images) / 100

    monkeypatch.setattr(referee, "sample", sample)
    assert referee.seconds_to_score() == pytest.approx(50)


def test_each_figure_uses_the_half_of_the_set_in_its_name(
    fashion: Dataset, referee: Evaluator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics, "KERNEL_SUBSETS", 2)
    real, test = referee.real_figures, referee.full_of_images(fashion.test_images).record.figures
    # On the bundled sample, in the lab's own features: another figure is another metric.
    to_training = pytest.approx(0.1379, abs=1e-3)
    assert real["fcd_train"] == real["fcd_test"] == to_training
    assert test["fcd_train"] == to_training and test["fcd_real"] == to_training
    assert test["fcd_test"] == pytest.approx(0, abs=1e-6)
    assert test["precision"] == test["recall"] == test["coverage"] == 1 > real["recall"]
    assert test["fcd_mlp_test"] == pytest.approx(0, abs=1e-6)
    assert test["fcd_mlp_train"] == pytest.approx(MLP_FLOOR, rel=0.01)
    assert test["fcd_mlp_real"] == pytest.approx(MLP_FLOOR, rel=0.01)
    features = referee.sample(fashion.test_images).outputs["cnn"].features
    assert test["kernel_distance"] == metrics.kernel_distance(features, features)
    assert real["near_copies"] == test["near_copies"] < 0.01
    assert referee.quick_of_images(fashion.test_images)["fcd_train_5k"] == to_training


def test_with_too_few_images_figures_are_left_out_and_named(fashion: Dataset, referee: Evaluator):
    found = referee.full_of_images(fashion.test_images[:1])
    assert set(found.record.figures) == {"images", "confidence", "near_copies"}
    assert len(found.record.class_histogram) == 10
    assert found.left_out == (
        "1 image: FCD, class imbalance, rarest class and rare classes need 256; MLP FCD needs 128; "
        "kernel distance, precision, recall, density, coverage and variance need 100"
    )
    words = diagnosis.after([], found.record, {})
    assert "Too few images" in words[0] and not any("collapse" in line for line in words)


def test_a_record_says_what_the_images_were_compared_with(fashion: Dataset, referee: Evaluator):
    content = referee.full_of_images(fashion.test_images[:9]).record.as_json()
    assert content["images"] == 9 and sum(content["class_histogram"].values()) == pytest.approx(1)
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
    record = Evaluation(
        figures={"fcd_test": 20.0, "fcd_real": 0.1, "recall": 0.25},
        real={"fcd_test": 0.1, "recall": 0.875},
        class_histogram={"0": 1.0},
    )
    lines = evaluator.Judgement(fashion.test_images[:1], None, record).table().splitlines()
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert ["FCD, test images", "20.00", "0.10", "lower"] in cells
    assert ["Recall", "0.250", "0.875", "higher"] in cells
    assert ["classes: 0 100.0%"] in cells and lines[-1].startswith("note: fewer than 10,000")
    assert not any(line.startswith("FCD of real images") for line in lines)  # it has a column
    enough = fashion.test_images[:1].expand(10_000, -1, -1, -1)
    assert "note" not in evaluator.Judgement(enough, None, record).table()


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({}, {"fid": 12.5}),
        ({"compared_with": Comparison(fingerprint="another set")}, {}),
        ({"generator_sha256": None}, {}),
    ],
)
def test_slow_figures_are_kept_for_the_same_weights_and_images(changed, kept, fashion):
    compared = {"compared_with": Comparison(fingerprint=fashion.fingerprint)}
    before = Evaluation(
        **compared,
        figures={"fid": 12.5, "fcd_test": 3.0},
        real={"fid": 12.5, "fcd_test": 0.1},
        generator_sha256="abc",
    ).model_copy(update=changed)
    found = evaluator.Judgement(fashion.test_images[:1], None, Evaluation(**compared))
    found.keep_slow_figures(before)
    found.keep_slow_figures(None)
    assert found.record.figures == found.record.real == kept


def test_labels_of_metrics_are_unique():
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)


def test_a_small_set_is_scored_by_the_metrics_it_suffices_for(fashion: Dataset, quickly):
    counts = {"train_images": 600, "train_labels": 600, "test_images": 130, "test_labels": 130}
    halves = {name: getattr(fashion, name)[:count] for name, count in counts.items()}
    few = dataclasses.replace(fashion, **halves)
    referee = Evaluator(few, CPU)
    found = referee.full_of_images(fashion.train_images[:300])
    assert {"fcd_train", "fcd_mlp_test", "recall"} <= set(found.record.figures)
    assert (
        "fcd_test" not in found.record.figures
        and "FCD needs 256 in both halves of the set" in found.left_out
    )
    assert {"fcd_mlp_train"} == {key for key in referee.real_figures if key.endswith("_train")}
    tiny = dataclasses.replace(few, train_images=few.train_images[:99])
    assert Evaluator(tiny, CPU).quick_distance == ""


def test_copies_of_images_that_are_in_the_set_twice_are_seen():
    once = toy(count=200)
    twice = dataclasses.replace(once, train_images=once.train_images.repeat(2, 1, 1, 1))
    for dataset in (once, twice):
        reference = Evaluator(dataset, CPU).reference
        assert reference.near_copies(dataset.train_images[:100]) == 1
        assert reference.near_copies(dataset.test_images[:100]) == 0


def test_the_accuracy_on_a_test_half_of_one_class_is_that_of_chance():
    dataset, rows = toy(), slice(2, None, 4)
    images, labels = dataset.test_images[rows], dataset.test_labels[rows]
    one = dataclasses.replace(dataset, test_images=images, test_labels=labels)
    for answer, accuracy in ((2, 0.25), (1, 0.0)):

        def always(images: torch.Tensor, answer: int = answer) -> torch.Tensor:
            return torch.eye(4)[[answer] * len(images)]

        assert classifiers.accuracy_on(one, always, CPU) == accuracy


# The shipped classifiers


def test_an_altered_shipped_classifier_is_refused(tmp_path: Path, monkeypatch):
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


@pytest.mark.parametrize(
    ("name", "least"),
    [("mnist", {"cnn": 0.993, "mlp": 0.97}), ("fashion", {"cnn": 0.925, "mlp": 0.87})],
)
def test_the_shipped_classifiers_are_accurate(name: str, least: dict[str, float]):
    dataset = load_sample(name)
    outputs = Evaluator(dataset, CPU).sample(dataset.test_images).outputs
    for kind, asked in least.items():
        # The bundled 2,000 test images are a part of the 10,000 that the figure is asked of.
        accuracy = float((outputs[kind].classes == dataset.test_labels).double().mean())
        assert accuracy > asked - 3 * math.sqrt(asked * (1 - asked) / 2000)
        file = shipped.WEIGHTS / shipped.file_of(kind, name)
        assert kind == "cnn" or file.stat().st_size < 500_000


# Other sets, other metrics


def squares(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Squares of four colours, half of them red, labelled by colour."""
    rng = torch.Generator().manual_seed(seed)
    labels = (torch.randint(6, (count,), generator=rng) - 2).clamp(min=0)
    images = torch.randint(40, (count, *TOY.shape), generator=rng, dtype=torch.uint8)
    colours = torch.tensor([[200, 0, 0], [0, 200, 0], [0, 0, 200], [200, 200, 200]])
    images[:, :, 5:15, 5:15] += colours[labels].byte()[:, :, None, None]
    return images, labels


def own_set(spec: DatasetSpec = TOY) -> Dataset:
    """A set without a shipped classifier; without class names it has no labels, either."""
    (train, train_labels), (test, test_labels) = squares(500, 0), squares(300, 1)
    if not spec.class_names:
        train_labels = test_labels = None
    return Dataset(spec, train, train_labels, test, test_labels, "nowhere", False, "0123" * 16)


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "MAX_EPOCHS", 6)
    monkeypatch.setattr(metrics, "KERNEL_SUBSETS", 2)


def test_classifiers_of_an_own_set_are_trained_once(quickly, monkeypatch, capsys):
    state = torch.get_rng_state()
    found = Evaluator(own_set(), CPU).full_of_images(squares(400, 2)[0])
    assert torch.equal(torch.get_rng_state(), state)  # a GAN's dropout may be drawing from it
    assert "no cnn classifier yet" in capsys.readouterr().out
    assert found.record.figures["fcd_test"] < 2 and not found.left_out
    # Half of the set is red: so are half of the images, and no class is thin.
    assert found.record.own_shares["red"] == pytest.approx(0.5, abs=0.05)
    assert found.record.figures["class_kl"] < 0.02 and found.record.figures["thin_classes"] == 0
    assert "test accuracy 100.0%" in found.record.judges["cnn"]
    assert found.record.judges["cnn"] in found.table()
    # Red ones alone are a collapse; of the same fingerprint, the next evaluator trains nothing.
    monkeypatch.setattr(classifiers, "train", None)
    again = Evaluator(own_set(), CPU)
    assert again.full_of_images(squares(400, 2)[0]).record.figures == found.record.figures
    images, labels = squares(800, 3)
    red = again.full_of_images(images[labels == 0])
    assert red.record.figures["thin_classes"] == 3 and red.record.figures["fcd_mlp_test"] > 1
    words = diagnosis.after([], red.record, None)
    assert red.record.figures["fcd_test"] > 50 or "(fair would be 1" in words[1]


def test_a_classifier_that_would_take_too_long_is_left_out(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(metrics, "KERNEL_SUBSETS", 2)
    assert Evaluator(own_set(), CPU).seconds_to_score() == 0  # they are trained later
    referee = Evaluator(own_set(), CPU, most_seconds=0.001)
    assert referee.seconds_to_score() > 0 and list(referee.judges) == ["random"]
    said = capsys.readouterr().out
    assert said.count("too much of --minutes; the scores leave it out") == 2
    assert not list(tmp_path.rglob("*.pth"))
    assert list(referee.quick_of_images(squares(400, 2)[0])) == ["frd_train_5k"]
    record = referee.full_of_images(squares(400, 2)[0]).record
    assert "frd_test" in record.figures and diagnosis.after([], record, {})


@pytest.mark.parametrize("steps", [1, 5])
def test_a_classifier_is_trained_in_very_few_steps(steps):
    dataset, rng = toy(count=100), torch.Generator()
    network = classifiers.train(dataset, classifiers.Recipe("mlp", epochs=steps), 0, rng, CPU)
    assert all(torch.isfinite(weight).all() for weight in network.parameters())


def test_a_cached_classifier_of_another_set_is_not_used(quickly, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = Evaluator(own_set(), CPU).judges
    paths = sorted(tmp_path.rglob("*.pth"))
    assert [path.name.split("-")[1] for path in paths] == ["cnn", "mlp"]
    paths[0].write_bytes(b"damaged")
    other = build(CLASSIFIERS, "mlp", shape=TOY.shape, classes=7)
    save_weights(paths[1], other, TOY, test_accuracy=1.0)
    after = Evaluator(own_set(), CPU).judges
    for name, judge in before.items():
        again = after[name].network.state_dict()
        assert all(
            torch.equal(each, again[key]) for key, each in judge.network.state_dict().items()
        )
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # nothing can be kept
    assert set(Evaluator(own_set(), CPU).judges) == {"cnn", "mlp"}


def test_a_classifier_of_random_labels_is_not_used(quickly, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dataset = toy(count=300)
    found = Evaluator(dataset, CPU).full_of_images(dataset.train_images)
    assert list(found.record.judges) == ["random"] and found.classes is None
    assert "need a better convolutional classifier, test accuracy" in found.left_out
    assert {"frd_test", "frd_real", "precision_random"} < set(found.record.figures)


def test_without_labels_random_features_are_used(quickly):
    dataset = own_set(dataclasses.replace(TOY, class_names=()))
    referee = Evaluator(dataset, CPU)
    real = referee.full_of_images(squares(400, 2)[0])
    assert real.classes is None and real.record.class_histogram == {}
    assert "FCD" in real.left_out and real.left_out.endswith(
        "need a classifier, which takes labels"
    )
    noisy = squares(400, 2)[0].roll(3, 2)
    worse = referee.full_of_images(noisy)
    assert real.record.figures["frd_test"] < 2 * referee.real_figures["frd_test"]
    assert worse.record.figures["frd_test"] > 5 * real.record.figures["frd_test"]
    assert worse.record.figures["recall_random"] < real.record.figures["recall_random"]
    assert list(referee.quick_of_images(noisy)) == ["frd_train_5k"]
    assert "FRD, test images" in worse.table()
    words = diagnosis.after([], worse.record, {})
    assert words[0].startswith("FRD ")


def test_another_set_of_a_known_name_has_no_classifier():
    namesake = dataclasses.replace(DATASETS["mnist"], shape=(3, 28, 28))
    assert shipped.load_classifier(namesake) is None


def test_a_metric_is_a_row(fashion: Dataset, monkeypatch: pytest.MonkeyPatch):
    row = Metric(
        "Brightness",
        "higher",
        ".1f",
        "Mean level of a pixel.",
        lambda sample, reference: float(sample.images.float().mean()),
        history_column="brightness_5k",
        min_images=5,
    )
    monkeypatch.setitem(METRICS, "brightness", row)
    dataset = toy(dataclasses.replace(TOY, class_names=()), count=40)
    referee = Evaluator(dataset, CPU)
    images = torch.full((9, *TOY.shape), 7, dtype=torch.uint8)
    found = referee.full_of_images(images)
    assert found.record.figures["brightness"] == 7.0
    assert referee.real_figures["brightness"] == pytest.approx(127.5, abs=2)
    assert referee.quick_of_images(images) == {"brightness_5k": 7.0}
    assert "Brightness" in found.table()
    assert "brightness needs 5" in referee.full_of_images(images[:4]).left_out


@pytest.mark.parametrize("side", [16, 32, 64])
def test_an_mlp_classifier_is_shown_as_many_images_whatever_their_size(side):
    recipe = classifiers._own_recipe("mlp", DatasetSpec("own", "own", (3, side, side)), 60_000)
    assert (recipe.epochs, recipe.most_images) == (3, 180_000)
