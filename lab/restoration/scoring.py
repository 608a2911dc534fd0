"""What restored images score against the clean ones."""

from __future__ import annotations

import math

from torch import Tensor

from lab.device import full_precision


def scores(images: Tensor, clean: Tensor) -> dict[str, float]:
    """Mean PSNR (dB) and mean SSIM of images (N, C, H, W) against `clean`, both of range 1.

    By torchmetrics. PSNR is taken image by image and then averaged, as denoising papers do; SSIM is
    that of Wang et al. 2004, with an 11 x 11 Gaussian window of standard deviation 1.5.
    """
    # Imported late: torchmetrics costs seconds.
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    with full_precision():
        psnr = peak_signal_noise_ratio(images, clean, data_range=1.0, dim=(1, 2, 3))
        ssim = structural_similarity_index_measure(images, clean, data_range=1.0)
    return {"psnr": round(float(psnr), 3), "ssim": round(float(ssim), 4)}


def in_json(score: dict[str, float]) -> dict[str, float | str | None]:
    """A score as JSON has it: equal images have an infinite PSNR, for which it has no word."""

    def worded(value: float) -> float | str | None:
        if math.isnan(value):
            return "not a number"  # of weights that overflow
        return None if math.isinf(value) else value

    return {name: worded(value) for name, value in score.items()}
