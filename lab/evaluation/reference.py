"""A sample of images as the judges see them, and the real images that others are compared with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from lab.data.datasets import Dataset
from lab.evaluation import metrics
from lab.evaluation.judges import View
from lab.evaluation.metrics import Moments, Support
from lab.seeding import stream

FULL_COUNT = 10_000  # images of a full evaluation; training images taken as a reference
COPIES_COUNT = 1_000  # images that are looked for among all training images


@dataclass(frozen=True, eq=False)
class Sample:
    """N images, and what each judge makes of them, by its name."""

    images: Tensor  # uint8 (N, C, H, W)
    views: Mapping[str, View]
    labels: Tensor | None = None  # (N,) int64: the class asked for, of real images their own
    support: dict[str, Support] = field(default_factory=dict)  # of `Reference.support`, by judge

    @property
    def classes(self) -> Tensor | None:
        """(N,) int64 on the CPU: the class that the classifier sees; None if the set has none."""
        return self.views["cnn"].classes if "cnn" in self.views else None

    @cached_property
    def class_moments(self) -> list[Moments]:
        """Mean and covariance of what the classifier makes of the images of each label."""
        features = self.views["cnn"].features
        labels = self.labels.to(features.device)
        return [metrics.moments(features[labels == each]) for each in labels.unique()]

    def share_as_asked(self) -> float:
        """The share of images in which the classifier sees the class of their label."""
        return float((self.classes == self.labels.cpu()).double().mean())


class Reference:
    """The real images of a set; what is known of them is computed when first asked for.

    Its halves are called "train" and "test", its judges as in `judges`.
    """

    def __init__(
        self,
        dataset: Dataset,
        device: torch.device,
        read: Callable[[Tensor, Tensor | None], Sample],
    ) -> None:
        """read: shows images, and their labels if they have some, to the set's judges."""
        self.dataset, self.device, self._read = dataset, device, read
        self.classes = len(dataset.spec.class_names)

    @cached_property
    def train(self) -> Sample:
        """10,000 training images drawn by a fixed seed, or all of a smaller set."""
        images, labels = self.dataset.train_images, self.dataset.train_labels
        drawn = torch.randperm(len(images), generator=stream(0, "metrics/reference"))[:FULL_COUNT]
        return self._read(images[drawn], labels if labels is None else labels[drawn])

    @cached_property
    def test(self) -> Sample:
        """The test images."""
        return self._read(self.dataset.test_images, self.dataset.test_labels)

    @cached_property
    def own_shares(self) -> list[float]:
        """The share of each class among the training images; equal ones if they have no labels."""
        labels = self.dataset.train_labels
        if labels is None:
            return [1 / self.classes] * self.classes
        return metrics.class_shares(labels, self.classes)

    def count(self, half: str) -> int:
        """How many images of a half there are to compare with."""
        return len(getattr(self.dataset, f"{half}_images"))

    def distance(self, sample: Sample, half: str, judge: str) -> float:
        """The Frechet distance of a sample to a half of the set, as a judge sees them."""
        real = getattr(self, half)
        return metrics.frechet_distance(sample.views[judge].moments, real.views[judge].moments)

    def floor(self, judge: str) -> float:
        """That of training to test images: what a perfect generator would have."""
        return self.distance(self.train, "test", judge)

    def class_distances(self, sample: Sample) -> list[float]:
        """Frechet distance within each class, of the images asked for as it to its test images."""
        pairs = zip(sample.class_moments, self.test.class_moments, strict=True)
        return [metrics.frechet_distance(*pair) for pair in pairs]

    def smallest_class(self, sample: Sample) -> int:
        """How many images the smallest class has, of these or the test ones; -1 without labels."""
        if sample.labels is None:
            return -1
        both = (each.labels.bincount(minlength=self.classes) for each in (sample, self.test))
        return min(int(count.min()) for count in both)

    def support(self, sample: Sample, judge: str) -> Support:
        """Precision, recall, density and coverage of a sample; one computation gives all four."""
        if judge not in sample.support:
            pair = self.test.views[judge].features, sample.views[judge].features
            sample.support[judge] = metrics.support(*pair)
        return sample.support[judge]

    def near_copies(self, images: Tensor) -> float:
        """The share of near-copies of training images among the first 1,000 `images`."""
        training_images = self.dataset.train_images.to(self.device)
        return metrics.near_copies(images[:COPIES_COUNT].to(self.device), training_images)

    def shares(self, sample: Sample) -> list[float]:
        """The share of each class that is seen in a sample."""
        return metrics.class_shares(sample.classes, self.classes)


def labels_to_ask(generator: nn.Module, dataset: Dataset, count: int) -> Tensor | None:
    """int64 (count,): the classes that a conditional generator is asked for.

    They are as frequent as among the training images. None for an unconditional generator, and for
    one of other classes than the set's.
    """
    classes, labels = getattr(generator, "classes", 0), dataset.train_labels
    if not classes or labels is None or classes != len(dataset.spec.class_names):
        return None
    order = torch.randperm(len(labels), generator=stream(0, "metrics/labels"))
    return labels[order.repeat(-(-count // len(labels)))[:count]]
