"""The metrics, one row each: how each is computed, and how tables and pages describe it.

To add a metric, add a row to METRICS with a function of a sample and the real images. A key always
means the same count and features; another count or other features get another key. FCD, the Frechet
classifier distance, is computed as FID is, but with a small classifier of the set in place of
Inception; MLP FCD uses a second classifier, without convolutions, and FRD a network with random
weights. The values of these distances, and of FID, cannot be compared with each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

from lab.evaluation import metrics
from lab.evaluation.metrics import FEWEST_A_CLASS, PrecisionRecall
from lab.evaluation.reference import Reference, Sample

FEWEST_FOR_FRECHET = 256  # images: twice the classifier's features, for a useful covariance
FEWEST_FOR_NEIGHBOURS = 100
FEWEST_WITHIN = 150  # images in a class, a few more than features


@dataclass(frozen=True)
class Metric:
    """How a figure is computed, and its descriptions for people."""

    label: str
    better: str  # "lower" or "higher"; "" for a figure of the real images alone
    format: str
    meaning: str
    compute: Callable[[Sample, Reference], float] | None  # None: computed on request only
    min_images: int = 1  # generated images needed, and real ones in each of `real_halves`
    history_column: str = ""  # its column in history.csv; "" for none
    needs_labels: bool = False  # whether it needs the classes that were asked for
    judge: str = ""  # the judge whose output it needs; "" for none
    real_halves: tuple[str, ...] = ()  # the halves of the set, "train" or "test", that it needs
    # Its value for real images; None to compute it with training images as the generated ones.
    real_value: Callable[[Reference], float] | None = None
    min_per_class: int = 0  # generated images needed per class of the set
    history_digits: int = 6  # of its column in history.csv

    def images_needed(self, classes: int) -> int:
        return max(self.min_images, self.min_per_class * classes)

    def shown(self, value: float) -> str:
        return format(value, self.format)


def _distances(key: str, label: str, judge: str, seen: str, fewest: int) -> dict[str, Metric]:
    """Frechet distances to both halves of the set in a judge's features, and of real images."""
    needs = {"judge": judge, "min_images": fewest}
    return {
        f"{key}_test": Metric(
            *(f"{label}, test images", "lower", ".2f"),
            f"Fréchet distance between 10,000 generated and the test images, seen through {seen}. "
            "Not an Inception FID.",
            lambda sample, real: real.distance(sample, "test", judge),
            real_halves=("test",),
            **needs,
        ),
        f"{key}_real": Metric(
            *(f"{label} of real images", "", ".2f"),
            "The distance of training images to the test images: the least one can hope for.",
            lambda sample, real: real.distance(real.train, "test", judge),
            real_halves=("train", "test"),
            **needs,
        ),
        f"{key}_train": Metric(
            *(f"{label}, training images", "lower", ".2f"),
            "Fréchet distance to 10,000 training images, or to all of a smaller set, seen "
            f"through {seen}. Recipes were chosen by it.",
            lambda sample, real: real.distance(sample, "train", judge),
            real_value=lambda real: real.distance(real.train, "test", judge),
            history_column=f"{key}_train_5k",
            history_digits=4,
            real_halves=("train",),
            **needs,
        ),
    }


def _neighbours(judge: str, ending: str, through: str) -> dict[str, Metric]:
    """The kernel distance, precision, recall, density and coverage in the features of a judge."""
    needs = {"judge": judge, "min_images": FEWEST_FOR_NEIGHBOURS, "real_halves": ("test",)}
    suffix = ending.replace("_", ", ")
    rows = {
        f"kernel_distance{ending}": Metric(
            *(f"Kernel distance{suffix}", "lower", ".4f"),
            "A distance like the FCD, by a polynomial kernel; assumes no normal distribution.",
            lambda sample, real: metrics.kernel_distance(
                real.test.outputs[judge].features, sample.outputs[judge].features
            ),
            **needs,
        )
    }
    meanings = PrecisionRecall(
        precision=f"Share of generated images that lie among the real ones, as {through} sees "
        "them; far from real images it means little.",
        recall="Share of real images that the generator comes close to.",
        density="Precision that counts how many real images are near; 1 for real images.",
        coverage="Share of real images with a generated one nearby; misses show dropped modes.",
    )
    for name, meaning in meanings._asdict().items():
        rows[f"{name}{ending}"] = Metric(
            *(f"{name.capitalize()}{suffix}", "higher", ".3f", meaning),
            lambda sample, real, name=name: getattr(real.precision_recall(sample, judge), name),
            **needs,
        )
    return rows


# The needs of metrics of classes.
WITHIN_CLASSES = {"judge": "cnn", "needs_labels": True, "min_per_class": FEWEST_WITHIN}
OF_CLASSES = {"judge": "cnn", "min_images": FEWEST_FOR_FRECHET, "min_per_class": FEWEST_A_CLASS}

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
        None,  # slow, and needs another package: see `inception`
    ),
    **_neighbours("cnn", "", "the classifier"),
    **_neighbours("random", "_random", "a network with random weights"),
    "confidence": Metric(
        *("Confidence", "higher", ".3f"),
        "How sure the classifier is of the class it sees, on average.",
        lambda sample, real: round(sample.outputs["cnn"].confidence, 6),
        history_column="confidence",
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
        "The share of the samples that are of the rarest class.",
        lambda sample, real: min(real.shares(sample)),
        history_column="smallest_class",
        **OF_CLASSES,
    ),
    "thin_classes": Metric(
        *("Rare classes", "lower", ".0f"),
        "How many classes have less than three tenths of their share in the set.",
        lambda sample, real: len(
            metrics.thin_classes(real.shares(sample), real.own_shares, len(sample.images))
        ),
        history_column="thin_classes",
        **OF_CLASSES,
    ),
    "asked_class": Metric(
        *("Requested class", "higher", ".1%"),
        "Share of images in which the classifier sees the class that was asked for; for real "
        "images, the share of test images in which it sees their own class.",
        lambda sample, real: sample.share_as_asked(),
        real_value=lambda real: real.test.share_as_asked(),
        history_column="asked_class",
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
        "The highest FCD within a class.",
        lambda sample, real: max(real.class_distances(sample)),
        **WITHIN_CLASSES,
    ),
    "cas": Metric(
        *("Accuracy score (CAS)", "higher", ".1%"),
        "Classification accuracy score (Ravuri and Vinyals 2019): the accuracy on real test images "
        "of a small classifier trained on 60,000 generated ones; for real images, of one trained "
        "on these.",
        None,  # slow: see `cas`
    ),
    "variance": Metric(
        *("Variance", "higher", ".2f"),
        "Variance of a pixel from image to image, as a share of that of the training images; "
        "images that look alike have a low one.",
        lambda sample, real: metrics.variance(sample.images) / real.variance,
        min_images=FEWEST_FOR_NEIGHBOURS,
    ),
    "near_copies": Metric(
        *("Near-copies", "lower", ".1%"),
        "Share of samples that are nearly identical to a training image.",
        lambda sample, real: real.near_copies(sample.images),
        real_value=lambda real: real.near_copies(real.dataset.test_images),
    ),
}
