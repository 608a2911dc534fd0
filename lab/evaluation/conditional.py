"""What a conditional generator is asked for, and whether it makes that."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lab.data.datasets import Dataset
from lab.evaluation import metrics
from lab.evaluation.reference import Sample
from lab.seeding import stream


def labels_to_ask(generator: nn.Module, dataset: Dataset, count: int) -> Tensor | None:
    """int64 (count,): classes as frequent as among the training images, in an order of their own.

    None for an unconditional generator, and for one of other classes than the set's.
    """
    classes = getattr(generator, "classes", 0)
    if not classes or dataset.train_labels is None or classes != len(dataset.spec.class_names):
        return None
    labels = dataset.train_labels
    order = torch.randperm(len(labels), generator=stream(0, "metrics/labels"))
    return labels[order.repeat(-(-count // len(labels)))[:count]]


def share_as_asked(sample: Sample) -> float:
    """The share of images in which the classifier sees the class of their label."""
    return float((sample.classes == sample.labels.cpu()).double().mean())


def class_distances(sample: Sample, real: Sample) -> list[float]:
    """Frechet distance within each class: of the images asked for as it to the real ones of it."""
    return [
        metrics.frechet_distance(made, wanted)
        for made, wanted in zip(sample.class_moments, real.class_moments, strict=True)
    ]


def fewest_of_a_class(classes: int, *samples: Sample) -> int:
    """How many images the smallest class has in any of the samples."""
    counts = (torch.bincount(sample.labels, minlength=classes) for sample in samples)
    return min(int(count.min()) for count in counts)
