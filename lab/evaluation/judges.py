"""The judges: the networks that images are measured through, and what each makes of images.

"cnn" and "mlp" are the set's two classifiers. They differ on purpose: the first sees texture, the
second shapes, and better images are better by both. A classifier that knows too little of the
classes is no judge; where one is missing, "random" features stand in, which need no labels.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from lab.data.datasets import Dataset
from lab.data.pixels import to_float
from lab.device import full_precision
from lab.evaluation import metrics
from lab.evaluation.classifiers import LEAST_ACCURACY, classifiers_of
from lab.evaluation.metrics import Moments
from lab.models.classifier import RandomFeatures
from lab.seeding import stream

BATCH = 100  # as fast on a CPU as more, and takes 150 MB less
STANDARD_COUNT = 1_000  # training images among which random features have mean 0 and spread 1
NAMES = {"cnn": "convolutional classifier", "mlp": "MLP classifier"}


@dataclass(frozen=True, eq=False)
class View:
    """What a judge makes of N images."""

    features: Tensor  # (N, F) on the evaluator's device
    classes: Tensor | None = None  # (N,) int64 on the CPU: the class seen
    confidence: float | None = None  # mean probability of the class seen

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of the features."""
        return metrics.moments(self.features)


@dataclass(frozen=True)
class Judge:
    """A network that images are seen through."""

    network: nn.Module  # with a method `features_and_logits`
    about: str  # for people
    able: bool = True  # whether it knows enough to judge

    @torch.inference_mode()
    def view(self, images: Tensor, device: torch.device) -> View:
        """Show it uint8 images (N, C, H, W)."""
        show = self.network.features_and_logits
        with full_precision():
            found = [show(to_float(batch.to(device))) for batch in images.split(BATCH)]
        features, logits = zip(*found, strict=True)
        if logits[0] is None:
            return View(torch.cat(features))
        probabilities, classes = torch.cat(logits).softmax(1).max(1)
        confidence = float(probabilities.cpu().double().mean())
        return View(torch.cat(features), classes.cpu(), confidence)


def find_judges(dataset: Dataset, device: torch.device) -> dict[str, Judge]:
    """By name, the judges of a set, those that are not able among them."""
    judges = {
        kind: Judge(
            network.to(device),
            f"{NAMES[kind]}, right about {accuracy:.1%} of the test images",
            accuracy >= LEAST_ACCURACY,
        )
        for kind, (network, accuracy) in classifiers_of(dataset, device).items()
    }
    if sum(judge.able for judge in judges.values()) < 2:
        about = "random features, of a network that learned nothing"
        judges["random"] = Judge(_random_features(dataset).to(device), about)
    return judges


def _random_features(dataset: Dataset) -> RandomFeatures:
    """The same weights for every set of a shape; features are standardised by training images."""
    network = RandomFeatures(dataset.spec.shape, stream(0, "random features")).eval()
    chance = stream(0, "random features/standard")
    chosen = torch.randperm(len(dataset.train_images), generator=chance)[:STANDARD_COUNT]
    with full_precision():
        network.standardise(to_float(dataset.train_images[chosen]))
    return network.requires_grad_(False)
