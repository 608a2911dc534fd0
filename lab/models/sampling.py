"""From latents to images, and from seeds to latents: a seed's image is the same in any company."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice

import torch
from torch import Tensor, nn

from lab.data.pixels import to_float, to_levels
from lab.errors import Fault
from lab.models.layers import classes_in_turn
from lab.models.request import Request
from lab.seeding import stream
from lab.text import listed

BATCH = 256  # seeds whose latents are drawn at a time, and images that are made at a time
MOST_IN_VAIN = 20_000  # images in a row without one of a class that is looked for


@torch.no_grad()
def generate(
    generator: nn.Module, latents: Tensor, labels: Tensor | None = None, batch_size: int = 1000
) -> Tensor:
    """uint8 images (N, *shape) of `latents` (N, latent_dim), in evaluation mode.

    labels: int64 (N,), for a conditional generator; left out, it takes the classes in turn. Images
    have 256 levels, as a PNG would hold them. The generator's mode is put back afterwards.
    """
    classes = getattr(generator, "classes", 0)
    if classes and labels is None:
        labels = classes_in_turn(len(latents), classes).to(latents.device)
    if was_training := generator.training:
        generator.eval()
    inputs = (latents, labels) if classes else (latents,)
    parts = zip(*(each.split(batch_size) for each in inputs), strict=True)
    images = torch.cat([to_levels(generator(*part)) for part in parts])
    if was_training:
        generator.train()
    return images


def latents_of(seeds: Sequence[int], latent_dim: int) -> Tensor:
    """(N, latent_dim): the latent of each seed, whatever other seeds there are.

    A seed is a row of a block of BATCH latents, since a stream for each would take longer than a
    small generator.
    """
    wanted = torch.tensor(seeds)
    blocks, place = (wanted // BATCH).unique(return_inverse=True)
    streams = (stream(block, "latents by seed") for block in blocks.tolist())
    drawn = [torch.randn(BATCH, latent_dim, generator=each) for each in streams]
    return torch.stack(drawn)[place, wanted % BATCH]


@dataclass(frozen=True)
class Batch:
    """Images, uint8 (N, C, H, W) on the CPU, the seed of each, and its class if it is known."""

    images: Tensor
    seeds: list[int]
    labels: list[int] | None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> list[str]:
        """Seed and class of each image, by which its corruption is drawn."""
        pairs = zip(self.seeds, self.labels or self.seeds, strict=True)
        return [f"{seed}/{label}" for seed, label in pairs]


@torch.no_grad()
def batches(
    generator: nn.Module,
    asked: Iterable[tuple[int, int | None]],
    truncation: float = 1.0,
    classifier: nn.Module | None = None,
) -> Iterator[Batch]:
    """Make the images of (seed, class) pairs, BATCH at a time: memory does not grow with them.

    truncation: what latents are multiplied with. Below 1 images are more alike, and more typical.
    classifier: says the classes, where the generator is not told them.
    """
    device = next(generator.parameters()).device
    asked = iter(asked)
    while some := list(islice(asked, BATCH)):
        # Filled up to one size: sums are taken in an order that depends on it.
        seeds, labels = zip(*some, *[some[-1]] * (BATCH - len(some)), strict=True)
        latents = truncation * latents_of(seeds, generator.latent_dim)
        told = None if labels[0] is None else torch.tensor(labels, device=device)
        images = generate(generator, latents.to(device), told, BATCH)
        if classifier:
            told = classifier(to_float(images)).argmax(1)
        labels = None if told is None else told[: len(some)].tolist()
        yield Batch(images[: len(some)].cpu(), list(seeds[: len(some)]), labels)


def chosen(
    found: Iterable[Batch], wanted: Mapping[int, int], names: Sequence[str]
) -> Iterator[Batch]:
    """Of the images that are `found`, as many of each class as are `wanted`.

    Fault if a class does not come. names: the classes', by label.
    """
    left, in_vain = Counter(wanted), 0
    for batch in found:
        kept = []
        for index, label in enumerate(batch.labels):
            if left[label]:
                left[label] -= 1
                kept.append(index)
        in_vain = 0 if kept else in_vain + len(batch)
        if in_vain >= MOST_IN_VAIN:
            missing = listed([names[label] for label in +left])
            raise Fault(f"of {in_vain:,} images in a row the classifier sees none as {missing}")
        lists = ([values[index] for index in kept] for values in (batch.seeds, batch.labels))
        yield Batch(batch.images[kept], *lists)
        if not +left:
            return


def batches_of(
    generator: nn.Module,
    parts: Sequence[Request],
    truncation: float,
    classifier: nn.Module | None,
    names: Sequence[str],
) -> Iterator[tuple[int, Batch]]:
    """The batches of each part, with the part's number.

    Where a classifier says the classes, seeds are tried in order until there are enough of each.
    """
    tried = ((seed, None) for seed in count())
    for number, request in enumerate(parts):
        if classifier and request.classes != (None,):
            wanted = Counter(label for _, label in request)
            found = chosen(batches(generator, tried, truncation, classifier), wanted, names)
        else:
            found = batches(generator, request, truncation, classifier)
        yield from ((number, batch) for batch in found)
