"""The metrics: a row each, which the evaluator computes and screen, files and page read.

A new metric is a row of METRICS and its function of a sample and the real images. Seeds and counts
are fixed: a figure of another count or in other features gets another key. FCD, the Frechet
classifier distance, is Frechet's in the features of the set's own small classifier; its scale is
its own and not that of FID.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.evaluation import metrics
from lab.evaluation.reference import Reference, Sample

FEWEST_FOR_FRECHET = 256  # twice the classifier's features: below, a covariance means nothing
FEWEST_FOR_NEIGHBOURS = 100
FEWEST_A_CLASS = 25  # of which a fair class hardly ever has fewer than the 8 that are thin


@dataclass(frozen=True)
class Metric:
    """A figure of images, and what people are told about it.

    better: "lower", "higher", or "" for what has no direction and no value for real images.
    compute: of a sample; None for a figure that is measured elsewhere.
    of_real: of real images; None if the 10,000 training images simply stand for generated ones.
    fewest, fewest_a_class: images that it takes, in all and for each class of the set.
    quick_name: its column in history.csv, rounded to quick_digits; "" for none.
    """

    label: str
    better: str
    format: str
    meaning: str
    compute: Callable[[Sample, Reference], float] | None
    fewest: int = 1
    quick_name: str = ""
    needs_classifier: bool = False
    of_real: Callable[[Reference], float] | None = None
    fewest_a_class: int = 0
    quick_digits: int = 6

    def fewest_images(self, classes: int) -> int:
        """How many images it takes in a set of so many classes."""
        return max(self.fewest, self.fewest_a_class * classes)

    def shown(self, value: float) -> str:
        """The value as screen and page have it."""
        return format(value, self.format)


# What the metrics of a kind need.
OF_FEATURES = {"needs_classifier": True, "fewest": FEWEST_FOR_FRECHET}
OF_NEIGHBOURS = {"needs_classifier": True, "fewest": FEWEST_FOR_NEIGHBOURS}
OF_CLASSES = {**OF_FEATURES, "fewest_a_class": FEWEST_A_CLASS}

METRICS = {
    "fcd_test": Metric(
        *("FCD, test images", "lower", ".2f"),
        "Fréchet distance between 10,000 generated and the test images, seen through the lab’s "
        "own small classifier. Not an Inception FID.",
        lambda sample, real: metrics.frechet_distance(sample.moments, real.test.moments),
        **OF_FEATURES,
    ),
    "fcd_real": Metric(
        *("FCD of real images", "", ".2f"),
        "What training images score against the test images: the floor of the line above.",
        lambda sample, real: real.fcd,
        **OF_FEATURES,
    ),
    "fcd_train": Metric(
        *("FCD, training images", "lower", ".2f"),
        "The same against 10,000 training images: what recipes are chosen by.",
        lambda sample, real: metrics.frechet_distance(sample.moments, real.training.moments),
        of_real=lambda real: real.fcd,
        quick_name="fcd_train_5k",
        quick_digits=4,
        **OF_FEATURES,
    ),
    "fid": Metric(
        *("Inception FID", "lower", ".2f"),
        "Fréchet Inception distance by the protocol of Lucic et al. 2018; comparable with "
        "published tables.",
        None,  # it takes long and a package of its own: `inception` measures it when asked to
    ),
    "kernel_distance": Metric(
        *("Kernel distance", "lower", ".4f"),
        "The same question asked with a polynomial kernel, without assuming a bell curve.",
        lambda sample, real: metrics.kernel_distance(real.test.features, sample.features),
        **OF_NEIGHBOURS,
    ),
    "precision": Metric(
        *("Precision", "higher", ".3f"),
        "Share of generated images that lie among the real ones, as the classifier sees them; far "
        "from real images it means little.",
        lambda sample, real: real.support(sample).precision,
        **OF_NEIGHBOURS,
    ),
    "recall": Metric(
        *("Recall", "higher", ".3f"),
        "Share of real images that the generator comes close to.",
        lambda sample, real: real.support(sample).recall,
        **OF_NEIGHBOURS,
    ),
    "density": Metric(
        *("Density", "higher", ".3f"),
        "Precision that counts how many real images are near; 1 for real images.",
        lambda sample, real: real.support(sample).density,
        **OF_NEIGHBOURS,
    ),
    "coverage": Metric(
        *("Coverage", "higher", ".3f"),
        "Share of real images with a generated one nearby; misses show dropped modes.",
        lambda sample, real: real.support(sample).coverage,
        **OF_NEIGHBOURS,
    ),
    "confidence": Metric(
        *("Confidence", "higher", ".3f"),
        "How sure the classifier is of the class it sees, on average.",
        lambda sample, real: round(sample.confidence, 6),
        quick_name="confidence",
        needs_classifier=True,
    ),
    "class_kl": Metric(
        *("Class imbalance", "lower", ".4f"),
        "Kullback–Leibler divergence of the class histogram from uniform, in nats; 0 is even.",
        lambda sample, real: metrics.divergence_from_uniform(real.shares(sample)),
        **OF_CLASSES,
    ),
    "smallest_class": Metric(
        *("Rarest class", "higher", ".1%"),
        "Its share of the samples; an equal share would be fair.",
        lambda sample, real: min(real.shares(sample)),
        quick_name="smallest_class",
        **OF_CLASSES,
    ),
    "thin_classes": Metric(
        *("Thin classes", "lower", ".0f"),
        "How many classes have less than three tenths of an equal share of the samples.",
        lambda sample, real: metrics.thin_classes(real.shares(sample)),
        quick_name="thin_classes",
        **OF_CLASSES,
    ),
    "near_copies": Metric(
        *("Near-copies", "lower", ".1%"),
        "Share of samples that are training images again.",
        lambda sample, real: real.near_copies(sample.images),
        of_real=lambda real: real.near_copies(real.dataset.test_images),
    ),
}
