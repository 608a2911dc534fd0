"""From latents to images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lab.data.pixels import to_levels
from lab.models.layers import classes_in_turn


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
    was_training = generator.training
    generator.eval()
    parts = []
    for first in range(0, len(latents), batch_size):
        some = slice(first, first + batch_size)
        pixels = generator(latents[some], labels[some]) if classes else generator(latents[some])
        parts.append(to_levels(pixels))
    generator.train(was_training)
    return torch.cat(parts)
