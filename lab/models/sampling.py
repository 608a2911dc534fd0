"""Generation of images from latents, and of latents from seeds.

The image of a seed is the same whatever other seeds are in its batch.
"""

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

BATCH = 256  # images per batch, and consecutive seeds whose latents are drawn together
MAX_REJECTED = 20_000  # images in a row without one of a wanted class


@torch.no_grad()
def generate(
    generator: nn.Module, latents: Tensor, labels: Tensor | None = None, batch_size: int = 1000
) -> Tensor:
    """Images, uint8 (N, *shape), of `latents` (N, latent_dim), in evaluation mode.

    labels: int64 (N,), for a conditional generator; by default the classes in turn. The inputs may
    be on any device; the images are on the generator's, which is in its former mode afterwards.
    """
    classes, device = getattr(generator, "classes", 0), next(generator.parameters()).device
    if classes and labels is None:
        labels = classes_in_turn(len(latents), classes)
    if was_training := generator.training:  # switching takes a tenth of a small network's time
        generator.eval()
    inputs = (latents, labels) if classes else (latents,)
    parts = zip(*(each.to(device).split(batch_size) for each in inputs), strict=True)
    images = torch.cat([to_levels(generator(*part)) for part in parts])
    if was_training:
        generator.train()
    return images


def random_latents(generator: nn.Module, count: int, purpose: str, seed: int = 0) -> Tensor:
    """Latents (count, latent_dim), on the CPU, always the same for a purpose and a seed."""
    return torch.randn(count, generator.latent_dim, generator=stream(seed, purpose))


def latents_of(seeds: Sequence[int], latent_dim: int) -> Tensor:
    """(N, latent_dim): the latent of each seed.

    Latents are drawn in blocks of BATCH consecutive seeds, since a random generator for each seed
    would take longer than a small network.
    """
    wanted = torch.tensor(seeds)
    blocks, block_index = (wanted // BATCH).unique(return_inverse=True)
    streams = (stream(block, "latents by seed") for block in blocks.tolist())
    drawn = [torch.randn(BATCH, latent_dim, generator=each) for each in streams]
    return torch.stack(drawn)[block_index, wanted % BATCH]


@dataclass(frozen=True)
class Batch:
    """Images, uint8 (N, C, H, W) on the CPU, with their seeds, and their labels if known."""

    images: Tensor
    seeds: list[int]
    labels: list[int] | None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> list[str]:
        """A name for each image, which seeds its corruption."""
        pairs = zip(self.seeds, self.labels or self.seeds, strict=True)
        return [f"{seed}/{label}" for seed, label in pairs]


@torch.no_grad()
def generate_batches(
    generator: nn.Module,
    request: Iterable[tuple[int, int | None]],
    truncation: float = 1.0,
    classifier: nn.Module | None = None,
) -> Iterator[Batch]:
    """Generate the images of (seed, class) pairs in batches.

    truncation: factor on the latents; below 1, images are more typical and less diverse.
    classifier: labels the images of an unconditional generator.
    """
    request = iter(request)
    while pairs := list(islice(request, BATCH)):
        # Padded to BATCH, because the rounding of a matrix product depends on its size.
        seeds, labels = zip(*pairs, *[pairs[-1]] * (BATCH - len(pairs)), strict=True)
        latents = truncation * latents_of(seeds, generator.latent_dim)
        label_tensor = None if labels[0] is None else torch.tensor(labels)
        images = generate(generator, latents, label_tensor, BATCH)
        if classifier:
            label_tensor = classifier(to_float(images)).argmax(1)
        labels = None if label_tensor is None else label_tensor[: len(pairs)].tolist()
        yield Batch(images[: len(pairs)].cpu(), list(seeds[: len(pairs)]), labels)


def select_classes(
    batches: Iterable[Batch], wanted: Mapping[int, int], names: Sequence[str]
) -> Iterator[Batch]:
    """Keep the first `wanted[label]` images of each class.

    names: of the classes, by label. Fault after MAX_REJECTED images without a wanted one.
    """
    left, rejected = Counter(wanted), 0
    for batch in batches:
        kept = []
        for index, label in enumerate(batch.labels):
            if left[label]:
                left[label] -= 1
                kept.append(index)
        rejected = 0 if kept else rejected + len(batch)
        if rejected >= MAX_REJECTED:
            missing = listed([names[label] for label in +left])
            raise Fault(f"of {rejected:,} images in a row the classifier sees none as {missing}")
        if kept:
            lists = ([values[index] for index in kept] for values in (batch.seeds, batch.labels))
            yield Batch(batch.images[kept], *lists)
        if not +left:
            return


def generate_parts(
    generator: nn.Module,
    parts: Sequence[Request],
    truncation: float,
    classifier: nn.Module | None,
    names: Sequence[str],
) -> Iterator[tuple[int, Batch]]:
    """Pairs of part number and batch, for each of `parts`.

    If a classifier labels the images and classes are wanted, seeds are tried in order until there
    are enough images of each class.
    """
    all_seeds = ((seed, None) for seed in count())
    for number, request in enumerate(parts):
        if classifier and request.classes != (None,):
            wanted = Counter(label for _, label in request)
            batches = generate_batches(generator, all_seeds, truncation, classifier)
            batches = select_classes(batches, wanted, names)
        else:
            batches = generate_batches(generator, request, truncation, classifier)
        yield from ((number, batch) for batch in batches)
