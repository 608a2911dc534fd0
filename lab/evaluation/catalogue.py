"""The metrics: a row each, which the evaluator computes and screen, files and page read.

A new metric is a row of METRICS and its function of a sample and the real images. Seeds and counts
are fixed: a figure of another count or in other features gets another key. FCD, the Frechet
classifier distance, is what FID is with the set's own small classifier in Inception's place; MLP
FCD takes a second classifier without convolutions, FRD a network with random weights. Their scales
are their own, and none is that of FID.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

from lab.evaluation import metrics
from lab.evaluation.metrics import FEWEST_A_CLASS, Support
from lab.evaluation.reference import Reference, Sample

FEWEST_FOR_FRECHET = 256  # twice the classifier's features: below, a covariance means nothing
FEWEST_FOR_NEIGHBOURS = 100
FEWEST_WITHIN = 150  # of a class: more than features; real images beside it are as few


@dataclass(frozen=True)
class Metric:
    """A figure of images, and what people are told about it."""

    label: str
    better: str  # "lower", "higher", or "" for what has no direction and no value for real images
    format: str
    meaning: str
    compute: Callable[[Sample, Reference], float] | None  # None: it is measured elsewhere
    fewest: int = 1  # images that it takes, also of the halves that it compares with
    quick_name: str = ""  # its column in history.csv; "" for none
    needs_labels: bool = False  # whether it is of images that were asked for by class
    judge: str = ""  # whose features it is of; "" if it takes none
    against: tuple[str, ...] = ()  # the halves of the set, "train" and "test", it compares with
    # Of real images; None if the 10,000 training images simply stand for generated ones.
    of_real: Callable[[Reference], float] | None = None
    fewest_a_class: int = 0  # images that it takes for each class of the set
    quick_digits: int = 6  # of its column in history.csv

    def fewest_images(self, classes: int) -> int:
        """How many images it takes in a set of so many classes."""
        return max(self.fewest, self.fewest_a_class * classes)

    def shown(self, value: float) -> str:
        """The value as screen and page have it."""
        return format(value, self.format)


def _distances(key: str, label: str, judge: str, seen: str, fewest: int) -> dict[str, Metric]:
    """The Frechet distances in the features of a judge: two, and the floor of one."""
    needs = {"judge": judge, "fewest": fewest}
    return {
        f"{key}_test": Metric(
            *(f"{label}, test images", "lower", ".2f"),
            f"Fréchet distance between 10,000 generated and the test images, seen through {seen}. "
            "Not an Inception FID.",
            lambda sample, real: real.distance(sample, "test", judge),
            against=("test",),
            **needs,
        ),
        f"{key}_real": Metric(
            *(f"{label} of real images", "", ".2f"),
            "What training images score against the test images: the floor of the line above.",
            lambda sample, real: real.floor(judge),
            against=("train", "test"),
            **needs,
        ),
        f"{key}_train": Metric(
            *(f"{label}, training images", "lower", ".2f"),
            "Fréchet distance to 10,000 training images, or to all of a smaller set, seen "
            f"through {seen}: what recipes are chosen by.",
            lambda sample, real: real.distance(sample, "train", judge),
            of_real=lambda real: real.floor(judge),
            quick_name=f"{key}_train_5k",
            quick_digits=4,
            against=("train",),
            **needs,
        ),
    }


def _neighbours(judge: str, ending: str, through: str) -> dict[str, Metric]:
    """How the samples lie among the test images in the features of a judge."""
    needs = {"judge": judge, "fewest": FEWEST_FOR_NEIGHBOURS, "against": ("test",)}
    suffix = ending.replace("_", ", ")
    rows = {
        f"kernel_distance{ending}": Metric(
            *(f"Kernel distance{suffix}", "lower", ".4f"),
            "The same question asked with a polynomial kernel, without assuming a bell curve.",
            lambda sample, real: metrics.kernel_distance(
                real.test.views[judge].features, sample.views[judge].features
            ),
            **needs,
        )
    }
    meanings = Support(
        precision=f"Share of generated images that lie among the real ones, as {through} sees "
        "them; far from real images it means little.",
        recall="Share of real images that the generator comes close to.",
        density="Precision that counts how many real images are near; 1 for real images.",
        coverage="Share of real images with a generated one nearby; misses show dropped modes.",
    )
    for name, meaning in meanings._asdict().items():
        rows[f"{name}{ending}"] = Metric(
            *(f"{name.capitalize()}{suffix}", "higher", ".3f", meaning),
            lambda sample, real, name=name: getattr(real.support(sample, judge), name),
            **needs,
        )
    return rows


# What the metrics of classes need.
WITHIN_CLASSES = {"judge": "cnn", "needs_labels": True, "fewest_a_class": FEWEST_WITHIN}
OF_CLASSES = {"judge": "cnn", "fewest": FEWEST_FOR_FRECHET, "fewest_a_class": FEWEST_A_CLASS}

METRICS = {
    **_distances("fcd", "FCD", "cnn", "the lab’s own small classifier", FEWEST_FOR_FRECHET),
    **_distances(
        *("fcd_mlp", "MLP FCD", "mlp"),
        "a second classifier, without convolutions, which sees shapes more than texture",
        FEWEST_FOR_FRECHET // 2,
    ),
    **_distances(
        *("frd", "FRD", "random"),
        "a network with random weights, which needs no labels (Naeem et al. 2020)",
        FEWEST_FOR_FRECHET // 2,
    ),
    "fid": Metric(
        *("Inception FID", "lower", ".2f"),
        "Fréchet Inception distance by the protocol of Lucic et al. 2018; comparable with "
        "published tables.",
        None,  # it takes long and a package of its own: `inception` measures it when asked to
    ),
    **_neighbours("cnn", "", "the classifier"),
    **_neighbours("random", "_random", "a network with random weights"),
    "confidence": Metric(
        *("Confidence", "higher", ".3f"),
        "How sure the classifier is of the class it sees, on average.",
        lambda sample, real: round(sample.views["cnn"].confidence, 6),
        quick_name="confidence",
        judge="cnn",
    ),
    "class_kl": Metric(
        *("Class imbalance", "lower", ".4f"),
        "Kullback–Leibler divergence of the class histogram from that of the set, in nats.",
        lambda sample, real: metrics.divergence(real.shares(sample), real.own_shares),
        **OF_CLASSES,
    ),
    "smallest_class": Metric(
        *("Rarest class", "higher", ".1%"),
        "The share of the samples that the class with the fewest has.",
        lambda sample, real: min(real.shares(sample)),
        quick_name="smallest_class",
        **OF_CLASSES,
    ),
    "thin_classes": Metric(
        *("Thin classes", "lower", ".0f"),
        "How many classes have less than three tenths of their share in the set.",
        lambda sample, real: len(
            metrics.thin_classes(real.shares(sample), real.own_shares, len(sample.images))
        ),
        quick_name="thin_classes",
        **OF_CLASSES,
    ),
    "asked_class": Metric(
        *("Asked-for class", "higher", ".1%"),
        "Share of images in which the classifier sees the class that was asked for; of real test "
        "images, their own.",
        lambda sample, real: sample.share_as_asked(),
        of_real=lambda real: real.test.share_as_asked(),
        quick_name="asked_class",
        judge="cnn",
        needs_labels=True,
    ),
    "class_fcd": Metric(
        *("FCD within a class", "lower", ".2f"),
        "FCD of the images asked for as one class to the test images of it; mean of the classes.",
        lambda sample, real: mean(real.class_distances(sample)),
        **WITHIN_CLASSES,
    ),
    "worst_class_fcd": Metric(
        *("FCD of the worst class", "lower", ".2f"),
        "The same of the class that has the highest.",
        lambda sample, real: max(real.class_distances(sample)),
        **WITHIN_CLASSES,
    ),
    "cas": Metric(
        *("Accuracy score (CAS)", "higher", ".1%"),
        "Classification accuracy score (Ravuri and Vinyals 2019): how often a small classifier is "
        "right of real test images that was trained on 60,000 generated ones; beside it, of one "
        "trained on real images.",
        None,  # it takes long: `cas` measures it when asked to
    ),
    "near_copies": Metric(
        *("Near-copies", "lower", ".1%"),
        "Share of samples that are training images again.",
        lambda sample, real: real.near_copies(sample.images),
        of_real=lambda real: real.near_copies(real.dataset.test_images),
    ),
}
