"""Images with the outputs of all judges, and the real images with which they are compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from lab.data.datasets import Dataset
from lab.evaluation import metrics
from lab.evaluation.judges import JudgeOutput
from lab.evaluation.metrics import Moments, PrecisionRecall
from lab.seeding import stream

FULL_COUNT = 10_000  # generated images in a full evaluation, and training images in `train`
COPIES_COUNT = 1_000  # generated images that are compared with all training images


@dataclass(frozen=True, eq=False)
class Sample:
    """N images, and the output of each judge for them."""

    images: Tensor  # uint8 (N, C, H, W)
    outputs: Mapping[str, JudgeOutput]  # by the judge's name
    labels: Tensor | None = None  # (N,) int64: the class asked for, or that of a real image
    precision_recall: dict[str, PrecisionRecall] = field(default_factory=dict)  # cache, by judge

    @property
    def classes(self) -> Tensor | None:
        """(N,) int64 on the CPU: the classes that the classifier predicts; None without one."""
        return self.outputs["cnn"].classes if "cnn" in self.outputs else None

    @cached_property
    def class_moments(self) -> list[Moments]:
        """Moments of the classifier's features for the images of each label."""
        features = self.outputs["cnn"].features
        labels = self.labels.to(features.device)
        return [metrics.moments(features[labels == each]) for each in labels.unique()]

    def share_as_asked(self) -> float:
        """The share of images whose predicted class is their label."""
        return float((self.classes == self.labels.cpu()).double().mean())


@dataclass(frozen=True, eq=False)
class Reference:
    """The real images of a set; their features are computed when first needed.

    Methods take a half of the set, "train" or "test", and a judge by its name.
    """

    dataset: Dataset
    device: torch.device
    read: Callable[[Tensor, Tensor | None], Sample]  # of images and labels: `Evaluator.sample`

    classes = property(lambda self: len(self.dataset.spec.class_names))

    @cached_property
    def train(self) -> Sample:
        """10,000 training images drawn with a fixed seed, or all of a smaller set."""
        images, labels = self.dataset.train_images, self.dataset.train_labels
        drawn = torch.randperm(len(images), generator=stream(0, "metrics/reference"))[:FULL_COUNT]
        return self.read(images[drawn], labels if labels is None else labels[drawn])

    @cached_property
    def test(self) -> Sample:
        return self.read(self.dataset.test_images, self.dataset.test_labels)

    @cached_property
    def variance(self) -> float:
        """The variance of a pixel over the training images, averaged over all pixels; not 0."""
        return max(metrics.variance(self.train.images), 1e-6)

    @cached_property
    def own_shares(self) -> list[float]:
        """The share of each class among the training images; equal ones if they have no labels."""
        labels = self.dataset.train_labels
        if labels is None:
            return [1 / self.classes] * self.classes
        return metrics.class_shares(labels, self.classes)

    def count(self, half: str) -> int:
        return len(getattr(self.dataset, f"{half}_images"))

    def distance(self, sample: Sample, half: str, judge: str) -> float:
        """The Frechet distance of a sample to a half of the set in the features of a judge."""
        real = getattr(self, half)
        return metrics.frechet_distance(sample.outputs[judge].moments, real.outputs[judge].moments)

    def class_distances(self, sample: Sample) -> list[float]:
        """For each class, the distance of the images asked for as it to its test images."""
        pairs = zip(sample.class_moments, self.test.class_moments, strict=True)
        return [metrics.frechet_distance(*pair) for pair in pairs]

    def smallest_class_size(self, labels: Tensor | None) -> int:
        """The size of the smallest class among `labels` or in the test half; -1 without labels."""
        if labels is None:
            return -1
        both = (labels, self.dataset.test_labels)
        return min(int(each.bincount(minlength=self.classes).min()) for each in both)

    def precision_recall(self, sample: Sample, judge: str) -> PrecisionRecall:
        """Precision, recall, density and coverage of a sample, computed once for all four."""
        if judge not in sample.precision_recall:
            pair = self.test.outputs[judge].features, sample.outputs[judge].features
            sample.precision_recall[judge] = metrics.precision_recall(*pair)
        return sample.precision_recall[judge]

    def near_copies(self, images: Tensor) -> float:
        """The share of the first 1,000 `images` that are near-copies of training images."""
        pixels = self.dataset.train_images.numpy()
        # Equal images count once, or the nearest would be no nearer than the second nearest.
        different = [*{image.tobytes(): row for row, image in enumerate(pixels)}.values()]
        training_images = self.dataset.train_images[different].to(self.device)
        return metrics.near_copies(images[:COPIES_COUNT].to(self.device), training_images)

    def shares(self, sample: Sample) -> list[float]:
        return metrics.class_shares(sample.classes, self.classes)


def labels_to_ask(generator: nn.Module, dataset: Dataset, count: int) -> Tensor | None:
    """int64 (count,): labels for a conditional generator, as frequent as in the training images.

    None for an unconditional generator, or if its classes are not those of the set.
    """
    classes, labels = getattr(generator, "classes", 0), dataset.train_labels
    if not classes or labels is None or classes != len(dataset.spec.class_names):
        return None
    order = torch.randperm(len(labels), generator=stream(0, "metrics/labels"))
    return labels[order.repeat(-(-count // len(labels)))[:count]]
