"""From latents to images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lab.data.pixels import to_levels


@torch.no_grad()
def generate(generator: nn.Module, latents: Tensor, batch_size: int = 1000) -> Tensor:
    """uint8 images (N, *shape) of `latents` (N, latent_dim), in evaluation mode.

    They have 256 levels, as a PNG would hold them. The generator's mode is put back afterwards.
    """
    was_training = generator.training
    generator.eval()
    parts = [to_levels(generator(batch)) for batch in latents.split(batch_size)]
    generator.train(was_training)
    return torch.cat(parts)
