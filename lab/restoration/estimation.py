"""How strong the noise in an image is, read from the image alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lab.data.pixels import to_unit
from lab.restoration.corruptions import GaussianClipped

EXAMPLES = 200  # clean images that show how clipping hides noise


def noise_of_pictures(noisy: Tensor, sizes: Sequence[int], clean: Tensor) -> GaussianClipped:
    """The noise of pictures cut into tiles (N, C, H, W): one level a picture, written to each tile.

    sizes: how many tiles each picture has. clean: uint8 images of the set (M, C, H, W). Files clip
    at black and white, and it is estimated accordingly.
    """
    examples = to_unit(clean[:EXAMPLES]).to(noisy.device)
    parts = estimate_clipped_sigma(noisy, examples).split(list(sizes))
    return GaussianClipped(torch.cat([part.mean().expand(len(part)) for part in parts]))


def estimate_sigma(noisy: Tensor) -> Tensor:
    """The noise level (N,) of images (N, C, H, W) whose noise has not been clipped.

    Donoho and Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage": the median absolute
    value of the finest diagonal Haar coefficients, divided by 0.6745, that of a standard normal.
    Every position is used, not every second.
    """
    rows = noisy[..., 1:, :] - noisy[..., :-1, :]
    details = (rows[..., 1:] - rows[..., :-1]) / 2  # (N, C, H - 1, W - 1), variance sigma^2
    return details.flatten(1).abs().median(dim=1).values / 0.6745


def estimate_clipped_sigma(noisy: Tensor, examples: Tensor) -> Tensor:
    """The noise level (N,) of images (N, C, H, W) that were clipped to 0..1 after noise came.

    Clipping takes half of the noise out of black, so that `estimate_sigma` reads too little; how
    much is seen from clean `examples` (M, C, H, W) of the set, noised and clipped on a ladder of
    levels, and put right by interpolation.
    """
    ladder = torch.linspace(0, 1, 41)
    noised = (GaussianClipped(float(level)).apply(examples, seed=0) for level in ladder)
    readings = torch.stack([estimate_sigma(images).mean() for images in noised])
    readings = readings.cummax(0)[0].cpu()
    found = estimate_sigma(noisy).cpu()
    above = torch.searchsorted(readings, found).clamp(1, len(ladder) - 1)
    low, high = readings[above - 1], readings[above]
    share = ((found - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return ladder[above - 1].lerp(ladder[above], share).to(noisy.device)
