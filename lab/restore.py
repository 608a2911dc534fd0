"""Restoration: noise, its level, what restored images score, and projection onto a generator.

Images here are float32 (N, 1, 28, 28) on the [0, 1] scale; noisy ones leave it unless clipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lab import chance

BANK = 4_000  # generated images among which projections find their starts
MISFIT = 0.07  # standard deviation a pixel of what even the best latent cannot explain
AT_ONCE = 2_000  # latents in one batch: more gain no speed and cost memory
RATE = 0.03  # Adam's learning rate on latents, whose elements are of size 1


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

    psnr = peak_signal_noise_ratio(images, clean, data_range=1.0, dim=(1, 2, 3))
    ssim = structural_similarity_index_measure(images, clean, data_range=1.0)
    return {"psnr": round(float(psnr), 3), "ssim": round(float(ssim), 4)}


@dataclass(frozen=True)
class Projection:
    """Where the projections of N images with R starts each ended, the best start first."""

    images: Tensor  # (N, R, 1, 28, 28) in [0, 1]
    latents: Tensor  # (N, R, latent_dim)

    @property
    def best(self) -> Tensor:
        """(N, 1, 28, 28): the image of each one's best latent."""
        return self.images[:, 0]


def project(
    generator: nn.Module,
    noisy: Tensor,
    sigma: Tensor | float,
    restarts: int = 10,
    steps: int = 300,
) -> Projection:
    """Find the latents whose images are nearest to `noisy`, all images and starts in one batch.

    noisy: (N, 1, 28, 28) on the [0, 1] scale; sigma: its noise level, one for all or (N,).
    Gradient descent on the latent is that of Bora et al. 2017, "Compressed Sensing using Generative
    Models" (CSGM), several starts are that of Samangouei et al. 2018, "Defense-GAN". Here the
    starts are the nearest of a bank of generated images instead of random ones, and the objective
    is minus the logarithm of the posterior, so that noise is not fitted when there is much of it:

        |y - G(z)|^2 / (2 (sigma^2 + MISFIT^2)) + |z|^2 / 2
    """
    sigma = torch.as_tensor(sigma, dtype=noisy.dtype, device=noisy.device).expand(len(noisy))
    bank = torch.randn(BANK, generator.latent_dim, generator=chance.stream(0, "bank"))
    bank = bank.to(noisy.device)
    with torch.no_grad():
        bank_images = torch.cat([pixels(generator, part) for part in bank.split(1_000)])
    parts = []
    for some, level in zip(
        noisy.flatten(1).split(max(1, AT_ONCE // restarts)),
        sigma.split(max(1, AT_ONCE // restarts)),
        strict=True,
    ):
        distances = bank_images.square().sum(1) - 2 * some @ bank_images.T  # (n, BANK), + |y|^2
        nearest = distances.topk(restarts, dim=1, largest=False).indices  # (n, R)
        parts.append(_descend(generator, some, level, bank[nearest], steps))
    latents = torch.cat(parts)
    with torch.no_grad():
        images = pixels(generator, latents.flatten(0, 1))
    return Projection(images.view(*latents.shape[:2], *noisy.shape[1:]), latents)


def pixels(generator: nn.Module, latents: Tensor) -> Tensor:
    """The generator's images of latents (N, latent_dim), flat: (N, 784) in [0, 1]."""
    return (generator(latents).flatten(1) + 1) / 2


def _descend(
    generator: nn.Module, noisy: Tensor, sigma: Tensor, starts: Tensor, steps: int
) -> Tensor:
    """Adam from `starts` (n, R, latent_dim); returns each start's best latent, best start first.

    noisy: (n, 784); sigma: (n,).
    """
    count, restarts, _ = starts.shape
    wanted = noisy.repeat_interleave(restarts, 0)  # (n R, 784)
    weight = (0.5 / (sigma**2 + MISFIT**2)).repeat_interleave(restarts)  # (n R,)
    latents = starts.flatten(0, 1).clone().requires_grad_()
    best, lowest = latents.detach().clone(), torch.full_like(weight, math.inf)
    adam = torch.optim.Adam([latents], lr=RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=max(1, steps))
    for step in range(steps + 1):
        error = (wanted - pixels(generator, latents)).square().sum(1)
        objective = weight * error + latents.square().sum(1) / 2
        # Whatever the descent does, each start keeps the best it has met; NaN is never better.
        better = objective.detach() < lowest
        lowest = torch.where(better, objective.detach(), lowest)
        best[better] = latents.detach()[better]
        if step < steps:
            (latents.grad,) = torch.autograd.grad(objective.sum(), latents)
            adam.step()
            schedule.step()
    order = lowest.view(count, restarts).argsort(dim=1)  # (n, R)
    return best.view(count, restarts, -1).gather(1, order[:, :, None].expand_as(starts))
