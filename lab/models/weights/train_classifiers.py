"""Train the two classifiers that measure generated images, one for each set.

    python lab/models/weights/train_classifiers.py --data-dir FOLDER_WITH_THE_FULL_SETS

Writes `mnist.pth`, `fashion.pth` and `SHA256SUMS` beside this file, in about a quarter of an hour
on one core. Settings were chosen with the last 5,000 training images held out; the classifiers that
ship then learn from all 60,000 and are kept as the last epoch leaves them. Test images only give
the accuracy printed at the end. Another kind of processor rounds differently and so ends at
slightly other weights: figures compare only between runs that use the same files.
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # the lab, wherever this is started from

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from lab.data.datasets import Dataset, load
from lab.data.pixels import to_float
from lab.device import set_up_torch
from lab.errors import Mistake, run_script
from lab.models import CLASSIFIERS, build
from lab.models.serialization import save_weights
from lab.models.shipped import WEIGHTS, write_checksums
from lab.options import option, parse
from lab.seeding import stream

BATCH_SIZE = 200
PEAK_LEARNING_RATE = 6e-3
WEIGHT_DECAY = 0.05


@dataclass(frozen=True)
class Recipe:
    """How one set is trained: how long, and how far training images are moved at random."""

    epochs: int
    shift: float  # pixels, the most in each direction
    turn: float  # degrees, the most either way
    zoom: float  # the most, as a fraction of the size
    mirror: bool  # whether left and right may be exchanged


RECIPES = {
    "mnist": Recipe(epochs=6, shift=2, turn=10, zoom=0.1, mirror=False),
    # Clothes are centred and upright already, and mirrored ones are still the same clothes. This
    # mirroring is for the classifier alone: no GAN of the lab ever sees a mirrored image.
    "fashion": Recipe(epochs=12, shift=1, turn=0, zoom=0, mirror=True),
}


@dataclass(frozen=True)
class Options:
    """What can be asked for on the command line."""

    data_dir: Path | None = option(None, "folder with the full sets as IDX files", folder=True)
    dataset: str | None = option(None, "train only this one; else both", choices=tuple(RECIPES))
    seed: int = option(0, "decides weights, order and augmentation", low=0, high=2**31)


def main() -> None:
    """Train the classifiers asked for, then list the checksums of those that are there."""
    chosen = parse(Options)
    set_up_torch()
    for name in [chosen.dataset] if chosen.dataset else RECIPES:
        dataset = load(name, chosen.data_dir)
        if dataset.is_sample:
            raise Mistake(f"--data-dir: the full {dataset.title} is needed, not the sample")
        classifier = train(dataset, RECIPES[name], chosen.seed)
        accuracy = accuracy_on(dataset.test_images, dataset.test_labels, classifier)
        print(f"{dataset.title}: accuracy on test {accuracy:.2%}", flush=True)
        save_weights(WEIGHTS / f"{name}.pth", classifier, dataset.spec, test_accuracy=accuracy)
    write_checksums()


def train(dataset: Dataset, recipe: Recipe, seed: int) -> nn.Module:
    """Train a classifier on all training images and return it in evaluation mode.

    AdamW (Loshchilov and Hutter 2019) under a one-cycle learning rate (Smith and Topin 2018),
    which ends near zero and so leaves weights that need no averaging.
    """
    torch.manual_seed(seed)  # for the initial weights, which torch draws from its global stream
    classifier = build(
        CLASSIFIERS, "cnn", shape=dataset.spec.shape, classes=len(dataset.spec.class_names)
    ).to(memory_format=torch.channels_last)  # faster on a CPU
    chance = stream(seed, f"classifier/{dataset.name}")
    optimizer = AdamW(classifier.parameters(), PEAK_LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches = math.ceil(len(dataset.train_images) / BATCH_SIZE)
    schedule = OneCycleLR(
        optimizer,
        PEAK_LEARNING_RATE,
        total_steps=recipe.epochs * batches,
        pct_start=0.2,
        div_factor=10,
        final_div_factor=1000,
        cycle_momentum=False,
    )
    start = time.perf_counter()
    for epoch in range(1, recipe.epochs + 1):
        classifier.train()
        total_loss = 0.0
        for images, labels in shuffled_batches(dataset, chance):
            loss = cross_entropy(classifier(augment(images, recipe, chance)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total_loss += loss.item()
        print(
            f"{dataset.title}: epoch {epoch} of {recipe.epochs}, "
            f"loss {total_loss / batches:.4f}, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return classifier.eval()


def shuffled_batches(dataset: Dataset, chance: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: every training image once, in random order, as float32 (B, C, H, W)."""
    order = torch.randperm(len(dataset.train_images), generator=chance)
    for rows in order.split(BATCH_SIZE):
        yield to_float(dataset.train_images[rows]), dataset.train_labels[rows]


def augment(images: Tensor, recipe: Recipe, chance: torch.Generator) -> Tensor:
    """Shift, turn, zoom and mirror each image at random; (N, C, H, W) in [-1, 1] stays so."""
    count, _, height, width = images.shape

    def between(most: float, *shape: int) -> Tensor:
        return torch.empty(count, *shape).uniform_(-most, most, generator=chance)

    angle = torch.deg2rad(between(recipe.turn))
    size = 1 + between(recipe.zoom)
    side = 1.0 - 2 * recipe.mirror * torch.randint(2, (count,), generator=chance)
    cosine, sine = size * angle.cos(), size * angle.sin()
    # Each row maps a point of the new image to where it is read in the old one; both axes run
    # from -1 to 1, so that a pixel is 2 / width wide.
    moves = torch.empty(count, 2, 3)
    moves[:, 0, 0], moves[:, 0, 1] = side * cosine, -side * sine
    moves[:, 1, 0], moves[:, 1, 1] = sine, cosine
    moves[:, :, 2] = between(recipe.shift, 2).round() * 2 / torch.tensor([width, height])
    grid = affine_grid(moves, list(images.shape), align_corners=False)
    # Outside the image grid_sample reads 0: black, which is -1, has to be 0 while it works.
    return grid_sample(images + 1, grid, align_corners=False) - 1


@torch.inference_mode()
def accuracy_on(images: Tensor, labels: Tensor, classifier: nn.Module) -> float:
    """The fraction of uint8 `images` (N, C, H, W) to which the classifier gives its label."""
    guesses = [classifier(to_float(batch)).argmax(1) for batch in images.split(250)]
    return (torch.cat(guesses) == labels).double().mean().item()


if __name__ == "__main__":
    run_script(main)
