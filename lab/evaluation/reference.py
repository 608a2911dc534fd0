"""Images as the classifier sees them, and the real images that others are compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lab.data.datasets import Dataset
from lab.evaluation import metrics
from lab.evaluation.metrics import Moments, Support
from lab.seeding import stream

FULL_COUNT = 10_000  # images of a full evaluation; training images taken as a reference
COPIES_COUNT = 1_000  # images that are looked for among all training images


@dataclass(frozen=True, eq=False)
class Sample:
    """N images, and what the set's classifier makes of them, if the set has one."""

    images: Tensor  # uint8 (N, C, H, W)
    features: Tensor | None = None  # (N, F) on the evaluator's device
    classes: Tensor | None = None  # (N,) int64 on the CPU: the class seen
    confidence: float | None = None  # mean probability of the class seen

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of the features."""
        return metrics.moments(self.features)


class Reference:
    """The real images of a set; what is known of them is computed when first asked for."""

    def __init__(
        self, dataset: Dataset, device: torch.device, read: Callable[[Tensor], Sample]
    ) -> None:
        """read: shows images to the set's classifier."""
        self.dataset, self.device, self._read = dataset, device, read
        self.classes = len(dataset.spec.class_names)
        self._supported: tuple[Sample, Support] | None = None

    @cached_property
    def training(self) -> Sample:
        """10,000 training images drawn by a fixed seed, or all of a smaller set."""
        count = len(self.dataset.train_images)
        order = torch.randperm(count, generator=stream(0, "metrics/reference"))
        return self._read(self.dataset.train_images[order[:FULL_COUNT]])

    @cached_property
    def test(self) -> Sample:
        """The test images."""
        return self._read(self.dataset.test_images)

    @cached_property
    def fcd(self) -> float:
        """The Frechet distance of training and test images: what a perfect generator would have."""
        return metrics.frechet_distance(self.training.moments, self.test.moments)

    def support(self, sample: Sample) -> Support:
        """Precision, recall, density and coverage of a sample; one computation gives all four."""
        if self._supported is None or self._supported[0] is not sample:
            self._supported = sample, metrics.support(self.test.features, sample.features)
        return self._supported[1]

    def near_copies(self, images: Tensor) -> float:
        """The share of near-copies of training images among the first 1,000 `images`."""
        training_images = self.dataset.train_images.to(self.device)
        return metrics.near_copies(images[:COPIES_COUNT].to(self.device), training_images)

    def shares(self, sample: Sample) -> list[float]:
        """The share of each class that is seen in a sample."""
        return metrics.class_shares(sample.classes, self.classes)
