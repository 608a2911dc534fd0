"""What every restoration needs: noise, its level, and what restored images score.

Images here are float32 (N, 1, 28, 28) on the [0, 1] scale; noisy ones leave it unless clipped.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lab import device as machine
from lab import seeding as chance


def to_unit(images: Tensor) -> Tensor:
    """uint8 images of any shape -> float32 in [0, 1]."""
    return images.to(torch.float32) / 255


def add_noise(images: Tensor, sigma: float, seed: int, clip: bool = False) -> Tensor:
    """Add Gaussian noise of standard deviation `sigma` to images (N, 1, 28, 28) in [0, 1].

    The noise of an image is decided by the seed and its index alone: asking for more images, or
    for another sigma, gives the same pattern. clip: cut the result off at 0 and 1, as a file would.
    """
    noise = chance.per_image_noise(len(images), images.shape[1:], seed, "noise").to(images.device)
    noisy = images + sigma * noise
    return noisy.clamp(0, 1) if clip else noisy


def scores(images: Tensor, clean: Tensor) -> dict[str, float]:
    """Mean PSNR (dB) and mean SSIM of images (N, 1, 28, 28) against `clean`, both of range 1.

    By torchmetrics. PSNR is taken image by image and then averaged, as denoising papers do; SSIM is
    that of Wang et al. 2004, with an 11 x 11 Gaussian window of standard deviation 1.5.
    """
    # Imported late: torchmetrics costs seconds.
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    with machine.full_precision():
        psnr = peak_signal_noise_ratio(images, clean, data_range=1.0, dim=(1, 2, 3))
        ssim = structural_similarity_index_measure(images, clean, data_range=1.0)
    return {"psnr": round(float(psnr), 3), "ssim": round(float(ssim), 4)}


def estimate_sigma(noisy: Tensor) -> Tensor:
    """The noise level (N,) of images (N, 1, H, W) whose noise has not been clipped.

    Donoho and Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage": the median absolute
    value of the finest diagonal Haar coefficients, divided by 0.6745, that of a standard normal.
    Every position is used, not every second.
    """
    rows = noisy[..., 1:, :] - noisy[..., :-1, :]
    details = (rows[..., 1:] - rows[..., :-1]) / 2  # (N, 1, H - 1, W - 1), variance sigma^2
    return details.flatten(1).abs().median(dim=1).values / 0.6745


def estimate_clipped_sigma(noisy: Tensor, examples: Tensor) -> Tensor:
    """The noise level (N,) of images (N, 1, 28, 28) that were clipped to 0..1 after noise came.

    Clipping takes half of the noise out of black, so that `estimate_sigma` reads too little; how
    much is seen from clean `examples` (M, 1, 28, 28) of the set, noised and clipped on a ladder of
    levels, and put right by interpolation.
    """
    ladder = torch.linspace(0, 1, 41)
    readings = torch.stack(
        [
            estimate_sigma(add_noise(examples, float(level), seed=0, clip=True)).mean()
            for level in ladder
        ]
    ).cummax(0)[0]
    found = estimate_sigma(noisy).cpu()
    above = torch.searchsorted(readings.cpu(), found).clamp(1, len(ladder) - 1)
    low, high = readings.cpu()[above - 1], readings.cpu()[above]
    share = ((found - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return ladder[above - 1].lerp(ladder[above], share).to(noisy.device)


def clipped_mean(images: Tensor, sigma: Tensor) -> Tensor:
    """The mean of clip(x + sigma n, 0, 1), n standard normal, for every pixel x of `images`.

    The mean of a censored normal distribution: Greene, "Econometric Analysis", theorem 19.3.
    sigma: broadcast over images.
    """
    sigma = sigma.clamp(min=1e-3)
    low, high = -images / sigma, (1 - images) / sigma
    below, above = torch.special.ndtr(low), torch.special.ndtr(-high)
    bell_low, bell_high = (
        (-0.5 * bound**2).exp() / math.sqrt(2 * math.pi) for bound in (low, high)
    )
    return images * (1 - below - above) + sigma * (bell_low - bell_high) + above
