"""The judges: networks in whose features generated and real images are compared.

"cnn" and "mlp" are two classifiers of the set. The first is sensitive to texture, the second to
shapes; better images are better by both. A classifier of low accuracy is not used. Where one is
missing, "random" is used too: features of a network with random weights, which need no labels.
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

BATCH = 100  # larger batches are no faster on a CPU, and take 150 MB more
STANDARD_COUNT = 1_000  # training images over which random features get mean 0 and deviation 1
NAMES = {"cnn": "convolutional classifier", "mlp": "MLP classifier"}


@dataclass(frozen=True, eq=False)
class JudgeOutput:
    """The output of one judge for N images."""

    features: Tensor  # (N, F) on the evaluator's device
    classes: Tensor | None = None  # (N,) int64 on the CPU: the predicted class
    confidence: float | None = None  # mean probability of the predicted class

    @cached_property
    def moments(self) -> Moments:
        return metrics.moments(self.features)


@dataclass(frozen=True)
class Judge:
    """A feature network."""

    network: nn.Module  # with a method `features_and_logits`
    description: str  # in words, for evaluation.json and tables
    is_usable: bool = True  # whether its accuracy suffices

    @torch.inference_mode()
    @full_precision()
    def apply(self, images: Tensor, device: torch.device) -> JudgeOutput:
        """Its output for uint8 images (N, C, H, W)."""
        show = self.network.features_and_logits
        found = [show(to_float(batch.to(device))) for batch in images.split(BATCH)]
        features, logits = zip(*found, strict=True)
        if logits[0] is None:
            return JudgeOutput(torch.cat(features))
        probabilities, classes = torch.cat(logits).softmax(1).max(1)
        confidence = float(probabilities.cpu().double().mean())
        return JudgeOutput(torch.cat(features), classes.cpu(), confidence)


def find_judges(dataset: Dataset, device: torch.device, most_seconds: float) -> dict[str, Judge]:
    """All judges of a set by name, including unusable ones; most_seconds as `classifiers_of`."""
    judges = {
        kind: Judge(
            network.to(device),
            f"{NAMES[kind]}, test accuracy {accuracy:.1%}",
            accuracy >= LEAST_ACCURACY,
        )
        for kind, (network, accuracy) in classifiers_of(dataset, device, most_seconds).items()
    }
    if sum(judge.is_usable for judge in judges.values()) < 2:
        description = "random features, of a network that learned nothing"
        judges["random"] = Judge(_random_features(dataset).to(device), description)
    return judges


@full_precision()
def _random_features(dataset: Dataset) -> RandomFeatures:
    """A random network, the same for all sets of a shape, standardised on training images."""
    network = RandomFeatures(dataset.spec.shape, stream(0, "random features")).eval()
    rng = stream(0, "random features/standard")
    chosen = torch.randperm(len(dataset.train_images), generator=rng)[:STANDARD_COUNT]
    network.standardise(to_float(dataset.train_images[chosen]))
    return network.requires_grad_(False)
