"""Views of a generator's latent space: walks between latents, and nearest training images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.data.datasets import Dataset
from lab.models.sampling import generate, random_latents

WALKS = 4
STEPS = 11  # images in a walk, including both ends
NEIGHBOURS = 10
MAX_NUMBERS = 8_000_000  # pixels of training images compared at a time: 32 MB as float32

Rows = list[tuple[str, Tensor]]  # rows of a sheet: a label and uint8 images (N, C, H, W)


def walks(generator: nn.Module, class_names: Sequence[str] = ()) -> Rows:
    """Four walks between fixed latents by spherical interpolation, a row of 11 images each.

    With a conditional generator each walk stays in one class: the first four classes.
    """
    ends = random_latents(generator, 2 * WALKS, "walk ends")
    classes, rows = getattr(generator, "classes", 0), []
    for number in range(WALKS):
        latents = slerp(*ends[2 * number : 2 * number + 2], torch.linspace(0, 1, STEPS))
        labels = torch.full((STEPS,), number % classes) if classes else None
        name = class_names[number % classes] if classes and class_names else f"walk {number + 1}"
        rows.append((name, generate(generator, latents, labels)))
    return rows


def nearest_training(generator: nn.Module, dataset: Dataset) -> Rows:
    """Ten generated images, and the nearest training image of each, in two rows."""
    generated = generate(generator, random_latents(generator, NEIGHBOURS, "nearest"))
    found = nearest(generated, dataset.train_images)
    return [("generated", generated.cpu()), ("nearest real", dataset.train_images[found])]


def slerp(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """Spherical interpolation of two latents (D,) at fractions (N,) of the way -> (N, D).

    Shoemake 1985, "Animating rotation with quaternion curves"; for latents, White 2016.
    """
    cosine = torch.dot(start, end) / (start.norm() * end.norm()).clamp(min=1e-12)
    angle = torch.acos(cosine.clamp(-1, 1))
    shares = shares[:, None]
    if angle.sin() < 1e-4:  # parallel latents span no arc
        return torch.lerp(start, end, shares)
    weights = torch.sin((1 - shares) * angle), torch.sin(shares * angle)
    return (weights[0] * start + weights[1] * end) / angle.sin()


def nearest(queries: Tensor, images: Tensor) -> Tensor:
    """int64 (N,) on the CPU: for each query, the index of the nearest image in pixels.

    queries: uint8 (N, C, H, W); images: uint8 (M, C, H, W).
    """
    flat = queries.flatten(1).float().cpu()
    chunk = max(1, MAX_NUMBERS // flat.shape[1])
    parts = (part.flatten(1).float().cpu() for part in images.split(chunk))
    return torch.cat([torch.cdist(flat, part) for part in parts], 1).argmin(1)
