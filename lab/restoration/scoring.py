"""Scores of restored images against the clean ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq

import torch
from torch import Tensor, nn

from lab.data.datasets import Dataset
from lab.data.pixels import to_float, to_unit, unit_to_levels
from lab.device import full_precision
from lab.errors import Fault
from lab.models.shipped import load_classifier
from lab.text import listed

UNSURE = 0.05  # standard deviation of its samples above which a pixel counts as unsure


def scores(images: Tensor, clean: Tensor) -> dict[str, float]:
    """Mean PSNR (dB) and mean SSIM of images (N, C, H, W) against `clean`, both of range 1.

    SSIM is that of Wang et al. 2004, with an 11 x 11 Gaussian window of standard deviation 1.5.
    """
    # Imported here because loading torchmetrics takes seconds.
    from torchmetrics.functional.image import structural_similarity_index_measure

    with full_precision():
        ssim = structural_similarity_index_measure(images, clean, data_range=1.0)
    error = (images - clean).square().flatten(1).mean(1)
    return {"psnr": mean_psnr(error), "ssim": round(float(ssim), 4)}


def mean_psnr(error: Tensor) -> float:
    """The mean PSNR in dB of images with these mean squared errors: per image, as in most papers.

    Images without error, whose PSNR is infinite, are left out, unless there are no others.
    """
    psnr = -10 * error.log10()
    finite = psnr[~psnr.isinf()]
    return round(float((finite if len(finite) else psnr).mean()), 3)


@dataclass(frozen=True)
class CleanImages:
    """Clean images (N, C, H, W) in [0, 1], their labels (N,), and the classifier of their set."""

    clean: Tensor
    labels: Tensor | None = None
    classifier: nn.Module | None = None

    @classmethod
    def of(cls, dataset: Dataset, count: int, device: torch.device) -> "CleanImages":
        """The first `count` test images of a set; a damaged classifier is left out with a note."""
        classifier, clean = None, to_unit(dataset.test_images[:count]).to(device)
        try:
            classifier = load_classifier(dataset.spec)
        except (Fault, OSError) as error:
            print(f"note: accuracies were left out ({error})")
        labels = dataset.test_labels
        labels = None if labels is None else labels[: len(clean)].to(device)
        return cls(clean, labels, classifier and classifier.to(device))

    @property
    def have_accuracy(self) -> bool:
        """Whether scores have an accuracy: there are labels, and a classifier ships."""
        return self.classifier is not None and self.labels is not None

    @property
    def table_head(self) -> str:
        """The head of the printed table; `table_row` makes its lines."""
        head = f"{'corruption':<22}{'image':<20}{'PSNR/dB':>8}{'SSIM':>8}"
        return head + (f"{'accuracy':>10}" if self.have_accuracy else "")

    def class_row(self, found: Sequence[str], class_names: Sequence[str]) -> str:
        """A line of the printed table: the class found for each image, and how many are right."""
        line = f"{'':22}projected as {listed(found, 16)}"
        if self.labels is None:
            return line
        true = [class_names[label] for label in self.labels.tolist()]
        return f"{line}: right {sum(map(eq, found, true))} of {len(true)} times"

    @torch.no_grad()
    def scores(self, images: Tensor) -> dict[str, float]:
        """PSNR, SSIM, and the accuracy of the classifier on the restored images."""
        found = scores(images, self.clean)
        if self.have_accuracy:
            seen = self.classifier(to_float(unit_to_levels(images))).argmax(1)
            found["accuracy"] = round(float((seen == self.labels).float().mean()), 4)
        return found

    def scores_of_samples(self, samples: Tensor) -> dict[str, float]:
        """Scores of samples (N, count, C, H, W): those of their mean, and three of the samples.

        psnr_of_one, psnr_of_best: mean PSNR of a single sample, and of each image's best. within:
        the share of unsure pixels whose clean value lies between the smallest and the largest
        sample. If samples and clean value have the same distribution, that is a share of
        (count - 1) / (count + 1) for independent samples, up to count / (count + 2) for antithetic
        ones.
        """
        error = (samples - self.clean[:, None]).square().flatten(2).mean(2)  # (N, count)
        low, high = samples.amin(1), samples.amax(1)
        unsure = samples.std(1, correction=0) > UNSURE
        within = ((self.clean >= low) & (self.clean <= high))[unsure].float()
        return {
            **self.scores(samples.mean(1)),
            "psnr_of_one": mean_psnr(error),
            "psnr_of_best": mean_psnr(error.amin(1)),
            **({"within": round(float(within.mean()), 4)} if len(within) else {}),
        }


def table_row(corruption: str, label: str, score: dict[str, float]) -> str:
    """A line of the printed table, below `CleanImages.table_head`."""
    right = f"{score['accuracy']:10.1%}" if "accuracy" in score else ""
    within = f"  truth within the spread: {score['within']:.0%}" if "within" in score else ""
    names = f"{corruption + ' ':<22}{label:<20}"
    return f"{names}{score['psnr']:8.2f}{score['ssim']:8.3f}{right}{within}"


def json_values(score: dict[str, float]) -> dict[str, float | str | None]:
    """A score as JSON can hold it: null for infinity (the PSNR of equal images), a text for NaN."""
    return {
        name: "not a number" if math.isnan(value) else None if math.isinf(value) else value
        for name, value in score.items()
    }
