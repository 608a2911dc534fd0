"""The classifiers of a set: those that ship, or else those trained when it is first scored.

Trained ones, a convolutional and a fully connected network, are cached by the set's fingerprint.
"""

import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from lab.data.datasets import Dataset, DatasetSpec
from lab.data.pixels import to_float
from lab.errors import Fault
from lab.files import cache_folder
from lab.models import CLASSIFIERS, build
from lab.models.classifier import LARGE
from lab.models.serialization import load_weights, save_weights
from lab.models.shipped import load_classifiers
from lab.runs.schema import DataFacts
from lab.seeding import stream
from lab.text import print_line, progress_bar

BATCH_SIZE = 200
# Shown to a convolutional classifier: about two and a half minutes on two cores with AVX2.
PIXELS_SHOWN = 170_000_000
MAX_EPOCHS = 30
LEAST_ACCURACY = 0.6  # below it a classifier is not used as a judge
MAX_LINES = 6  # of progress, printed if there is no terminal
MEASURED_STEPS = 20  # after which the time of a training is estimated


class TooSlow(Exception):
    """The training of a classifier would take longer than allowed; args: its seconds."""


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained, with random transformations of the images."""

    kind: str  # the key of CLASSIFIERS
    epochs: int
    learning_rate: float = 6e-3  # at the peak of the schedule
    weight_decay: float = 0.05
    shift: float = 0  # at most, in pixels
    turn: float = 0  # at most, in degrees
    zoom: float = 0  # at most, as a fraction of the size
    mirror: bool = False  # whether to flip horizontally at random
    most_images: int | None = None  # shown in an epoch


MLP = Recipe("mlp", epochs=3, learning_rate=2e-3, weight_decay=0.01)


def classifiers_of(
    dataset: Dataset, device: torch.device, most_seconds: float = math.inf
) -> dict[str, tuple[nn.Module, float]]:
    """The classifiers of a set by kind, with their test accuracy; {} for a set without labels.

    most_seconds: those whose training would take longer are left out, with a note. Raises Fault if
    the file of a shipped one is damaged.
    """
    if shipped := load_classifiers(dataset.spec):
        return {kind: (each.network, each.facts["test_accuracy"]) for kind, each in shipped.items()}
    kinds = CLASSIFIERS if _is_labelled(dataset) else ()
    found = {kind: _cached_or_trained(dataset, kind, device, most_seconds) for kind in kinds}
    return {kind: each for kind, each in found.items() if each}


def kinds_to_train(dataset: Dataset) -> list[str]:
    """The kinds of classifiers that `classifiers_of` has to train, which takes minutes."""
    if load_classifiers(dataset.spec) or not _is_labelled(dataset):
        return []
    spec, data = dataset.spec, _facts(dataset)
    return [kind for kind in CLASSIFIERS if not load_cached_classifier(spec, data, kind)]


def _is_labelled(dataset: Dataset) -> bool:
    has_labels = dataset.train_labels is not None and dataset.test_labels is not None
    return has_labels and len(dataset.spec.class_names) > 1


def _facts(dataset: Dataset) -> DataFacts:
    images = len(dataset.train_images)
    return DataFacts(fingerprint=dataset.fingerprint, training_images=images)


def load_cached_classifier(
    spec: DatasetSpec, data: DataFacts, kind: str = "cnn"
) -> tuple[nn.Module, float] | None:
    """The classifier cached for a set, and its test accuracy; None if there is none.

    data: the number and fingerprint of the training images, as a run's config.json has them.
    """
    if not (data.training_images and data.fingerprint.isalnum()):
        return None
    recipe = asdict(_own_recipe(kind, spec, data.training_images))
    wanted = {"shape": list(spec.shape), "classes": len(spec.class_names)}
    wanted |= {"fingerprint": data.fingerprint, "recipe": recipe}
    try:
        weights = load_weights(_cache_path(kind, data.fingerprint), "classifier")
        accuracy = float(weights.facts["test_accuracy"])
    except (Fault, OSError, KeyError, TypeError, ValueError):
        return None
    same = wanted.items() <= {**weights.facts, **weights.network.config}.items()
    return (weights.network, accuracy) if same else None


def _cache_path(kind: str, fingerprint: str) -> Path:
    return cache_folder() / f"classifier-{kind}-{fingerprint[:32]}.pth"


def _own_recipe(kind: str, spec: DatasetSpec, images: int) -> Recipe:
    """The recipe for a set without shipped classifiers; larger sets get fewer epochs."""
    _, height, width = spec.shape
    pixels = min(height, LARGE) * min(width, LARGE)
    shown = MLP.epochs * 60_000 if kind == "mlp" else PIXELS_SHOWN // pixels
    epochs = max(1, min(MAX_EPOCHS, shown // images))
    recipe = MLP if kind == "mlp" else Recipe(kind, epochs, shift=width // 14)
    return replace(recipe, epochs=epochs, most_images=shown)


def _cached_or_trained(
    dataset: Dataset, kind: str, device: torch.device, most_seconds: float
) -> tuple[nn.Module, float] | None:
    """The cached classifier of a set with its test accuracy, or a new one, which is cached."""
    spec, fingerprint, images = dataset.spec, dataset.fingerprint, len(dataset.train_images)
    if cached := load_cached_classifier(spec, _facts(dataset), kind):
        return cached
    print_line(f"{dataset.title} has no {kind} classifier yet; training one to score images")
    recipe, path = _own_recipe(kind, spec, images), _cache_path(kind, fingerprint)
    rng = stream(0, "classifier")  # not seeded by the set's name, which may change
    try:
        classifier = train(dataset, recipe, 0, rng, device, most_seconds)
    except TooSlow as slow:
        what = f"that would take {slow.args[0]:.0f} seconds, too much of --minutes"
        print_line(f"note: {what}; the scores leave it out (evaluate_images.py trains it later)")
        return None
    accuracy = accuracy_on(dataset, classifier, device)
    facts = {"fingerprint": fingerprint, "recipe": asdict(recipe), "test_accuracy": accuracy}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, classifier, spec, **facts)
    except OSError as error:
        print_line(f"note: {path}: the classifier could not be kept ({error.strerror})")
    return classifier, accuracy


def new_classifier(
    kind: str, spec: DatasetSpec, seed: int, device: torch.device, **config: Any
) -> nn.Module:
    """An untrained classifier in training mode; its weights depend on the seed only."""
    config |= {"shape": spec.shape, "classes": len(spec.class_names)}
    with torch.random.fork_rng(devices=[]):  # a GAN in training may be using the global stream
        torch.default_generator.manual_seed(seed)
        network = build(CLASSIFIERS, kind, **config)
    return network.to(device, memory_format=torch.channels_last).train()  # faster on a CPU


def train(
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    rng: torch.Generator,
    device: torch.device,
    most_seconds: float = math.inf,
) -> nn.Module:
    """Train a classifier on the training images and return it in evaluation mode.

    AdamW (Loshchilov and Hutter 2019) with a one-cycle learning rate (Smith and Topin 2018), which
    ends near zero, so that the weights need no averaging. Shows a progress bar, or prints lines if
    there is no terminal. rng: for order and augmentation. Raises TooSlow after a few steps if it
    would take more than `most_seconds`.
    """
    classifier = new_classifier(recipe.kind, dataset.spec, seed, device)
    rate = recipe.learning_rate
    augments = recipe.shift or recipe.turn or recipe.zoom or recipe.mirror
    optimizer = AdamW(classifier.parameters(), rate, weight_decay=recipe.weight_decay)
    count = min(len(dataset.train_images), recipe.most_images or len(dataset.train_images))
    steps = recipe.epochs * math.ceil(count / BATCH_SIZE)
    cycle = {"pct_start": 0.2, "div_factor": 10, "final_div_factor": 1000, "cycle_momentum": False}
    # At least 6 steps: OneCycleLR divides by 0 if its first phase, a fifth of them, has one step.
    schedule = OneCycleLR(optimizer, rate, total_steps=max(6, steps), **cycle)
    title, began = f"{recipe.kind} classifier of {dataset.title}", time.monotonic()
    with progress_bar(total=recipe.epochs * count, desc=title, unit=" images") as bar:
        for epoch in range(1, recipe.epochs + 1):
            order = torch.randperm(len(dataset.train_images), generator=rng)[:count]
            for rows in order.split(BATCH_SIZE):
                images, labels = to_float(dataset.train_images[rows]), dataset.train_labels[rows]
                images = augment(images, recipe, rng) if augments else images
                loss = cross_entropy(classifier(images.to(device)), labels.to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update(len(images))
                if schedule.last_epoch == MEASURED_STEPS:
                    seconds = (time.monotonic() - began) * steps / MEASURED_STEPS
                    if seconds > most_seconds:
                        raise TooSlow(seconds)
            if bar.disable and epoch % math.ceil(recipe.epochs / MAX_LINES) == 0:
                print_line(f"{title}: epoch {epoch} of {recipe.epochs}, loss {loss:.3f}")
    return classifier.eval().requires_grad_(False)


def augment(images: Tensor, recipe: Recipe, rng: torch.Generator) -> Tensor:
    """Shift, turn, zoom and mirror each image (N, C, H, W) in [-1, 1] at random."""
    count, _, height, width = images.shape

    def between(most: float, *shape: int) -> Tensor:
        return torch.empty(count, *shape).uniform_(-most, most, generator=rng)

    angle = torch.deg2rad(between(recipe.turn))
    size = 1 + between(recipe.zoom)
    side = 1.0 - 2 * recipe.mirror * torch.randint(2, (count,), generator=rng)
    cosine, sine = size * angle.cos(), size * angle.sin()
    # Each matrix maps a point of the new image to the point of the old one that is read there.
    # Both axes run from -1 to 1, so a pixel is 2 / width wide.
    moves = torch.empty(count, 2, 3)
    moves[:, 0, 0], moves[:, 0, 1] = side * cosine, -side * sine
    moves[:, 1, 0], moves[:, 1, 1] = sine, cosine
    moves[:, :, 2] = between(recipe.shift, 2).round() * 2 / torch.tensor([width, height])
    grid = affine_grid(moves, list(images.shape), align_corners=False)
    # Outside the image grid_sample reads 0, so black, which is -1, is made 0 for the moment.
    return grid_sample(images + 1, grid, align_corners=False) - 1


@torch.inference_mode()
def accuracy_on(dataset: Dataset, classifier: nn.Module, device: torch.device) -> float:
    """Balanced accuracy on the test images: the mean of the accuracies of all classes.

    A classifier that always predicts the same class has the accuracy of chance: classes without
    test images count as wrong.
    """
    parts, labels = dataset.test_images.split(250), dataset.test_labels
    guesses = [classifier(to_float(part.to(device))).argmax(1).cpu() for part in parts]
    right = (torch.cat(guesses) == labels).double()
    accuracies = [right[labels == label].mean() for label in labels.unique()]
    return float(sum(accuracies)) / len(dataset.spec.class_names)
