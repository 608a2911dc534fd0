"""Restoration: noise, its level, what restored images score, and projection onto a generator.

Images here are float32 (N, 1, 28, 28) on the [0, 1] scale; noisy ones leave it unless clipped.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lab import chance
from lab.data import IMAGE_SIDE

BANK = 4_000  # generated images among which projections find their starts
MISFIT = 0.07  # standard deviation a pixel of what even the best latent cannot explain
AT_ONCE = 2_000  # latents in one batch: more gain no speed and cost memory
LANGEVIN = 0.01  # step size of Langevin dynamics where the likelihood is weak
FINALISTS = 3  # starts of an image that are followed to the end
MEMORY = 10  # steps that L-BFGS remembers
FIRST_STEP = 0.02  # its first, in lengths of the gradient
LEAST_GAIN = 1e-4  # share of the objective that 20 steps must gain for it to go on


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


class Objective:
    """What a latent should minimise for a noisy image: -log posterior, up to a constant.

        |y - G(z)|^2 / (2 (sigma^2 + MISFIT^2)) + |z|^2 / 2

    The first term is the likelihood of the noise, weaker the more noise there is, so that noise is
    not fitted; the second is the prior that the generator was trained with. Of clipped noise, y is
    compared with the mean of what clipping makes of G(z).
    """

    def __init__(self, generator: nn.Module, noisy: Tensor, sigma: Tensor, clipped: bool) -> None:
        """noisy: (N, 784) on the [0, 1] scale; sigma: (N,)."""
        self.generator, self.noisy, self.sigma, self.clipped = generator, noisy, sigma, clipped
        self.weight = 0.5 / (sigma**2 + MISFIT**2)  # (N,)

    def __call__(self, latents: Tensor) -> Tensor:
        """(N R, latent_dim), the R latents of an image together -> (N R,)."""
        repeats = len(latents) // len(self.noisy)
        shown = pixels(self.generator, latents)
        if self.clipped:
            shown = clipped_mean(shown, self.sigma.repeat_interleave(repeats)[:, None])
        error = (self.noisy.repeat_interleave(repeats, 0) - shown).square().sum(1)
        return self.weight.repeat_interleave(repeats) * error + latents.square().sum(1) / 2

    def gradient(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The objective (N R,) and its gradient (N R, latent_dim)."""
        latents = latents.detach().requires_grad_()
        value = self(latents)
        (gradient,) = torch.autograd.grad(value.sum(), latents)
        return value.detach(), gradient

    @torch.no_grad()
    def of_bank(self, bank: Tensor) -> Tensor:
        """The likelihood's term of every image with every latent of `bank` (B, latent_dim): (N, B).

        By one matrix product; |y|^2, the same for all latents, is left out.
        """
        shown = torch.cat([pixels(self.generator, part) for part in bank.split(1_000)])  # (B, 784)
        if self.clipped:
            shown = clipped_mean(shown, self.sigma.mean())
        distance = shown.square().sum(1) - 2 * self.noisy @ shown.T
        return self.weight[:, None] * distance


def project(
    generator: nn.Module,
    noisy: Tensor,
    sigma: Tensor | float,
    restarts: int = 10,
    steps: int = 500,
    clipped: bool = False,
) -> Tensor:
    """The generator's images (N, 1, 28, 28) in [0, 1] that explain `noisy` best.

    noisy: (N, 1, 28, 28) on the [0, 1] scale; sigma: its noise level, one for all or (N,).
    Descent on the latent is that of Bora et al. 2017, "Compressed Sensing using Generative Models"
    (CSGM), several starts are that of Samangouei et al. 2018, "Defense-GAN". Here the starts are
    the nearest of a bank of generated images instead of random ones, all images and starts are one
    batch, and after a fifth of the steps only the best FINALISTS of each image go on.
    """
    bank = _bank(generator, noisy.device)
    latents = []
    for some, level in _portions(noisy, sigma, restarts):
        objective = Objective(generator, some, level, clipped)
        nearest = objective.of_bank(bank).topk(restarts, dim=1, largest=False).indices  # (n, R)
        found, values = _descend(objective, bank[nearest.flatten()], steps // 5)
        found = _best(found, values, len(some), FINALISTS)
        found, values = _descend(objective, found, steps - steps // 5)
        latents.append(_best(found, values, len(some), 1))
    return _shown(generator, torch.cat(latents))


def _best(latents: Tensor, values: Tensor, images: int, count: int) -> Tensor:
    """Of latents (N R, latent_dim) the `count` with the lowest values for each of N images."""
    ranked = values.view(images, -1).argsort(dim=1)[:, :count, None]
    latents = latents.view(images, -1, latents.shape[1])
    return latents.gather(1, ranked.expand(-1, -1, latents.shape[2])).flatten(0, 1)


def regenerate(
    generator: nn.Module,
    noisy: Tensor,
    sigma: Tensor | float,
    count: int,
    steps: int = 400,
    clipped: bool = False,
    seed: int = 0,
) -> Tensor:
    """`count` different restorations of each noisy image, (N, count, 1, 28, 28) in [0, 1].

    Samples of the posterior, in no order; other shapes as in `project`. The starts are drawn from
    the bank in proportion to their likelihood (with the Gumbel trick, without repetition), then
    follow Langevin dynamics: Welling and Teh 2011, "Bayesian learning via stochastic gradient
    Langevin dynamics".
    """
    bank = _bank(generator, noisy.device)
    chance_of_all = chance.stream(seed, "regenerate")  # on the CPU: the same on every device
    parts = []
    for some, level in _portions(noisy, sigma, count):
        objective = Objective(generator, some, level, clipped)
        uniform = torch.rand(len(some), len(bank), generator=chance_of_all).to(noisy.device)
        gumbel = -(-uniform.clamp(1e-9, 1 - 1e-7).log()).log()
        drawn = (gumbel - objective.of_bank(bank)).topk(count, dim=1).indices  # (n, count)
        latents = bank[drawn.flatten()]
        # Stable where the likelihood is steepest: its curvature is proportional to its weight.
        size = (LANGEVIN / objective.weight).clamp(max=LANGEVIN).repeat_interleave(count)[:, None]
        for _ in range(steps):
            _, gradient = objective.gradient(latents)
            noise = torch.randn(latents.shape, generator=chance_of_all).to(noisy.device)
            latents = latents - size * gradient + (2 * size).sqrt() * noise
        parts.append(latents)
    return _shown(generator, torch.cat(parts)).unflatten(0, (-1, count))


def pixels(generator: nn.Module, latents: Tensor) -> Tensor:
    """The generator's images of latents (N, latent_dim), flat: (N, 784) in [0, 1]."""
    return (generator(latents).flatten(1) + 1) / 2


def _bank(generator: nn.Module, device: torch.device) -> Tensor:
    """Latents (BANK, latent_dim), always the same."""
    return torch.randn(BANK, generator.latent_dim, generator=chance.stream(0, "bank")).to(device)


def _portions(
    noisy: Tensor, sigma: Tensor | float, repeats: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Flat images (n, 784) and their noise levels (n,), so many at once as memory likes."""
    sigma = torch.as_tensor(sigma, dtype=noisy.dtype, device=noisy.device).expand(len(noisy))
    size = max(1, AT_ONCE // repeats)
    return zip(noisy.flatten(1).split(size), sigma.split(size), strict=True)


@torch.no_grad()
def _shown(generator: nn.Module, latents: Tensor) -> Tensor:
    """The images (N, 1, 28, 28) of latents (N, latent_dim)."""
    parts = [pixels(generator, part) for part in latents.split(1_000)]
    return torch.cat(parts).view(-1, 1, IMAGE_SIDE, IMAGE_SIDE)


def _descend(objective: Objective, latents: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """L-BFGS on each row of latents (N R, latent_dim): where it ends and the objective there.

    Nocedal and Wright 2006, "Numerical optimization", algorithm 7.4, for all rows at once. A step
    that would not lower a row's objective (NaN does not) is not taken and the row's next is half as
    long, but what it told of the curvature is kept. Ends early when no row gains any more.
    """
    value, gradient = objective.gradient(latents)
    length = torch.ones_like(value)
    scale = torch.full_like(value, FIRST_STEP)
    history: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=MEMORY)
    checked = value
    for step in range(steps):
        proposed = latents - length[:, None] * _direction(gradient, scale, history)
        new_value, new_gradient = objective.gradient(proposed)
        moved, bent = proposed - latents, new_gradient - gradient  # both (N R, latent_dim)
        curvature, size = (moved * bent).sum(1), bent.square().sum(1)
        known = curvature > 1e-10 * size  # NaN and concave places tell nothing
        moved, bent = (torch.where(known[:, None], part, 0) for part in (moved, bent))
        history.append((moved, bent, torch.where(known, 1 / curvature, 0)))
        scale = torch.where(known, curvature / size, scale)
        better = new_value < value
        latents = torch.where(better[:, None], proposed, latents)
        gradient = torch.where(better[:, None], new_gradient, gradient)
        value = torch.where(better, new_value, value)
        length = torch.where(better, (2 * length).clamp(max=1), length / 2)
        if step % 20 == 19:
            if ((checked - value) < LEAST_GAIN * checked.abs()).all():
                break
            checked = value
    return latents, value


def _direction(
    gradient: Tensor, scale: Tensor, history: deque[tuple[Tensor, Tensor, Tensor]]
) -> Tensor:
    """The inverse Hessian, as far as `history` knows it, times `gradient` (N R, latent_dim)."""
    direction, products = gradient, []
    for moved, bent, inverse in reversed(history):
        product = inverse * (moved * direction).sum(1)
        direction = direction - product[:, None] * bent
        products.append(product)
    direction = scale[:, None] * direction
    for (moved, bent, inverse), product in zip(history, reversed(products), strict=True):
        factor = product - inverse * (bent * direction).sum(1)
        direction = direction + factor[:, None] * moved
    return direction
