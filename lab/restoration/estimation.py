"""Estimates which corruption a picture has, and how severe it is, from the picture alone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lab.restoration.corruption import Corruption
from lab.restoration.corruptions import CORRUPTIONS
from lab.restoration.examples import KINDS


@torch.no_grad()
def estimate(denoiser: nn.Module, tiles: Tensor, sizes: Sequence[int]) -> list[Corruption | None]:
    """The corruption of each picture, None where it has none, from its tiles (N, C, H, W).

    sizes: how many tiles each picture has. Only corruptions with `is_estimated` are considered.
    """
    logits, strengths, _ = denoiser.estimator(tiles)
    excluded = [name in CORRUPTIONS and not CORRUPTIONS[name].is_estimated for name in KINDS]
    logits = logits.masked_fill(torch.tensor(excluded, device=tiles.device), -torch.inf)
    parts = (part.split(list(sizes)) for part in (logits.log_softmax(1), strengths))
    return [_estimate_one(*each) for each in zip(*parts, strict=True)]


def _estimate_one(log_probabilities: Tensor, strengths: Tensor) -> Corruption | None:
    """The most likely corruption of all tiles of a picture, at their mean strength."""
    kind = int(log_probabilities.sum(0).argmax())
    if KINDS[kind] not in CORRUPTIONS:
        return None
    found = CORRUPTIONS[KINDS[kind]]
    strength = strengths[:, kind].mean().clamp(0, 1)
    severity = float(found.of_strength(strength).severity)
    return found(round(min(severity, found.most), 3))  # networks are trained on stronger ones, too
