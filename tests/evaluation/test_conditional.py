"""What a conditional generator is asked for, its figures by class, and the accuracy score."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lab.data import Dataset, load_sample
from lab.data.pixels import to_float
from lab.errors import Mistake
from lab.evaluation import Evaluator, cas, classifiers, metrics
from lab.evaluation.catalogue import METRICS
from lab.evaluation.reference import labels_to_ask

CPU = torch.device("cpu")


class Copier(nn.Module):
    """Makes real images of the class asked for; `off` classes further where that is given."""

    latent_dim, classes = 2, 10

    def __init__(self, dataset: Dataset, off: int = 0) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))  # on the device of the images
        self.images, self.labels, self.off = dataset.train_images, dataset.train_labels, off

    def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        made = torch.empty(len(labels), *self.images.shape[1:])
        for label in labels.unique():
            own = self.images[self.labels == (label + self.off) % 10]
            at = (labels == label).nonzero().squeeze(1)
            made[at] = own[torch.arange(len(at)) % len(own)].float() / 127.5 - 1
        return made


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load_sample("mnist")


def test_labels_are_as_frequent_as_in_the_training_images(mnist: Dataset):
    labels = torch.tensor([0] * 6 + [1] * 2)
    spec = dataclasses.replace(mnist.spec, class_names=("a", "b"))
    few = dataclasses.replace(mnist, spec=spec, train_labels=labels)
    asked = labels_to_ask(SimpleNamespace(classes=2), few, 20)
    assert len(asked) == 20 and torch.bincount(asked[:16]).tolist() == [12, 4]
    assert labels_to_ask(nn.Linear(1, 1), few, 20) is None
    assert labels_to_ask(SimpleNamespace(classes=3), few, 20) is None


def test_class_metrics_show_whether_a_generator_uses_its_labels(
    mnist: Dataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics, "KERNEL_SUBSETS", 2)
    for module in ("evaluator", "reference"):
        monkeypatch.setattr(f"lab.evaluation.{module}.FULL_COUNT", 2_000)
    referee = Evaluator(mnist, CPU)
    minds, ignores = (referee.full(Copier(mnist, off)) for off in (0, 1))
    right, wrong = minds.record.figures, ignores.record.figures
    assert right["asked_class"] > 0.97 > 0.03 > wrong["asked_class"]
    assert right["class_fcd"] < right["worst_class_fcd"] < 10 < wrong["class_fcd"]
    assert wrong["class_fcd"] > 10 * right["class_fcd"]
    assert wrong["fcd_test"] == pytest.approx(right["fcd_test"], abs=1)
    own = referee.sample(mnist.test_images).classes == mnist.test_labels
    assert referee.real_figures["asked_class"] == float(own.double().mean())
    assert "Requested class" in minds.table() and not minds.left_out
    few = referee.full_of_images(mnist.test_images[:300], mnist.test_labels[:300])
    assert "FCD within a class and FCD of the worst class need 1,500" in few.left_out
    part = {"test_images": mnist.test_images[:300], "test_labels": mnist.test_labels[:300]}
    small_half = Evaluator(dataclasses.replace(mnist, **part), CPU)
    assert "worst_class_fcd" not in (found := small_half.full(Copier(mnist))).record.figures
    assert "FCD of the worst class need 150 of each class, also in the test" in found.left_out
    alone = referee.full_of_images(mnist.test_images[:300])
    assert "asked_class" not in alone.record.figures and "asked" not in alone.left_out


def test_the_accuracy_score_is_high_for_copies_and_low_for_wrong_labels(
    mnist: Dataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cas, "COUNT", 500)
    monkeypatch.setattr(cas, "SHOWN", 2_500)
    monkeypatch.setattr(cas, "BATCH", 20)
    monkeypatch.setattr(cas, "WIDTHS", (8, 8, 16, 16))
    few = dataclasses.replace(
        mnist, test_images=mnist.test_images[:300], test_labels=mnist.test_labels[:300]
    )
    right, real = cas.scores(Copier(mnist), few, CPU)
    wrong, _ = cas.scores(Copier(mnist, 1), few, CPU)
    assert min(right, real) > 0.7 and wrong < 0.1


def test_the_accuracy_score_shows_whole_batches_in_random_order(
    mnist: Dataset, monkeypatch: pytest.MonkeyPatch
):
    assert f"{cas.COUNT:,} generated" in METRICS["cas"].meaning
    shown = []

    def new_classifier(*given: object, **config: object) -> nn.Module:
        network = classifiers.new_classifier(*given, **config)
        network.register_forward_pre_hook(lambda _, batch: shown.append((*batch, network.training)))
        return network

    monkeypatch.setattr(cas, "new_classifier", new_classifier)
    for name, value in {"COUNT": 50, "SHOWN": 200, "BATCH": 20}.items():
        monkeypatch.setattr(cas, name, value)
    halves = {"train_images": 8, "train_labels": 8, "test_images": 20, "test_labels": 20}
    few = {name: getattr(mnist, name)[:count] for name, count in halves.items()}
    state = torch.get_rng_state()
    cas.scores(Copier(mnist), dataclasses.replace(mnist, **few), CPU)
    assert torch.equal(torch.get_rng_state(), state)
    of_each = [*[(20, True)] * 10, (20, False)]  # ten steps, then the test images
    assert [(len(images), training) for images, training in shown] == 2 * of_each
    first, real = shown[11][0][:8], to_float(few["train_images"])
    assert not torch.equal(first, real)
    assert torch.equal(first.flatten(1).sum(1).sort().values, real.flatten(1).sum(1).sort().values)


def test_cas_needs_a_conditional_generator(mnist: Dataset):
    with pytest.raises(Mistake, match="--cas: needs a conditional generator"):
        cas.check(None, mnist)
    plain = SimpleNamespace(network=nn.Linear(1, 1), path=Path("generator.pth"))
    with pytest.raises(Mistake, match=r"--cas: generator.pth is no conditional generator .*train"):
        cas.check(plain, mnist)
    with pytest.raises(Mistake, match=r"leave it out$"):  # without labels none can be trained
        cas.check(plain, dataclasses.replace(mnist, train_labels=None))
