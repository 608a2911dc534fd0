"""What is wrong with a picture, and how much, estimated from the picture alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.restoration.corruption import Corruption
from lab.restoration.corruptions import CORRUPTIONS
from lab.restoration.examples import KINDS


@torch.no_grad()
def estimate(denoiser: nn.Module, tiles: Tensor, sizes: Sequence[int]) -> list[Corruption | None]:
    """What was done to pictures cut into tiles (N, C, H, W), those of a picture in one way.

    sizes: how many tiles each picture has. None for nothing. Only rows are looked for that say so.
    """
    logits, strengths, _ = denoiser.estimator(tiles)
    unwanted = [name in CORRUPTIONS and not CORRUPTIONS[name].is_estimated for name in KINDS]
    logits = logits.masked_fill(torch.tensor(unwanted, device=tiles.device), -torch.inf)
    parts = (part.split(list(sizes)) for part in (logits.log_softmax(1), strengths))
    return [_of_one(*each) for each in zip(*parts, strict=True)]


def _of_one(shares: Tensor, strengths: Tensor) -> Corruption | None:
    """Of one picture's tiles: the kind most likely of all of them, the mean strength."""
    kind = int(shares.sum(0).argmax())
    if KINDS[kind] not in CORRUPTIONS:
        return None
    found = CORRUPTIONS[KINDS[kind]]
    strength = strengths[:, kind].mean().clamp(0, 1)
    return found(round(float(found.of_strength(strength).severity), 3))
