"""Still pictures of a finished run: a walk between latents, and the nearest training images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lab import seeding as chance
from lab.data.datasets import ImageSet
from lab.models import networks as models
from lab.report import figures as images

WALKS = 4
STEPS = 11  # images of a walk, both ends included
NEIGHBOURS = 10
CHUNK = 10_000  # training images compared at once: 31 MB as float32


def write(run: Path, generator: nn.Module, image_set: ImageSet) -> None:
    """Write latent_walk.png and nearest_training_images.png into `run`.

    The latents are the same for every run with as many numbers in a latent.
    """
    ends = _latents(generator, 2 * WALKS, "walk ends")
    shares = torch.linspace(0, 1, STEPS)
    rows = []
    for number, (start, end) in enumerate(zip(ends[::2], ends[1::2], strict=True), 1):
        walk = models.generate(generator, slerp(start, end, shares))  # (STEPS, 1, 28, 28)
        rows.append((f"walk {number}", walk))
    title = f"{image_set.title}: from one latent to another, along the sphere"
    images.save_sheet(run / "latent_walk.png", rows, title, image_set.footnote())

    generated = models.generate(generator, _latents(generator, NEIGHBOURS, "nearest"))
    found = nearest(generated, image_set.train_images)
    images.save_sheet(
        run / "nearest_training_images.png",
        [("generated", generated.cpu()), ("nearest real", image_set.train_images[found])],
        f"{image_set.title}: generated images, and the training image nearest to each",
        image_set.footnote(),
    )


def slerp(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """Spherical interpolation of two latents (D,) at shares (N,) of the way -> (N, D).

    Shoemake 1985, "Animating rotation with quaternion curves"; for latents, White 2016.
    """
    cosine = torch.dot(start, end) / (start.norm() * end.norm()).clamp(min=1e-12)
    angle = torch.acos(cosine.clamp(-1, 1))
    shares = shares.to(start.device)[:, None]
    if angle.sin() < 1e-4:  # along one line there is no arc to follow
        return torch.lerp(start, end, shares)
    weights = torch.sin((1 - shares) * angle), torch.sin(shares * angle)
    return (weights[0] * start + weights[1] * end) / angle.sin()


def nearest(found: Tensor, among: Tensor) -> Tensor:
    """Which of `among` is nearest, by squared distance over the pixels, to each of `found`.

    found: uint8 (N, 1, 28, 28); among: uint8 (M, 1, 28, 28). Returns int64 (N,) on the CPU.
    """
    wanted = found.flatten(1).float().cpu()
    distances = [
        torch.cdist(wanted, part.flatten(1).float().cpu()) for part in among.split(CHUNK)
    ]  # (N, CHUNK) each
    return torch.cat(distances, 1).argmin(1)


def _latents(generator: nn.Module, count: int, purpose: str) -> Tensor:
    """Latents (count, latent_dim) on the generator's device."""
    noise = torch.randn(count, generator.config["latent_dim"], generator=chance.stream(0, purpose))
    return noise.to(next(generator.parameters()).device)
