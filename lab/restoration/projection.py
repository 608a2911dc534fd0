"""Projection of noisy images onto a generator, and regeneration: samples of what they show.

Images here are float32 (N, 1, 28, 28) on the [0, 1] scale; noisy ones leave it unless clipped.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lab import seeding as chance
from lab.data.datasets import IMAGE_SIDE
from lab.restoration import corruptions as restore

BANK = 4_000  # generated images among which projections find their starts
MISFIT = 0.07  # standard deviation a pixel of what even the best latent cannot explain
BATCH = 2_000  # latents: more gain no speed and cost memory
LANGEVIN_STEP = 0.01  # step size of Langevin dynamics where the likelihood is weak
FINALISTS = 3  # starts of an image that are followed to the end
LBFGS_MEMORY = 10  # steps that are remembered
FIRST_STEP = 0.02  # its first, in lengths of the gradient
LEAST_GAIN = 1e-4  # share of the objective that 20 steps must gain for it to go on


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
            shown = restore.clipped_mean(shown, self.sigma.repeat_interleave(repeats)[:, None])
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
            # At the mean level for all: only the starts of the descent depend on it.
            shown = restore.clipped_mean(shown, self.sigma.mean())
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
    with _bar("projection", len(noisy)) as bar:
        for some, level in _portions(noisy, sigma, restarts):
            objective = Objective(generator, some, level, clipped)
            nearest = objective.of_bank(bank).topk(restarts, dim=1, largest=False).indices  # (n, R)
            found, values = _descend(objective, bank[nearest.flatten()], steps // 5)
            found = _best(found, values, len(some), FINALISTS)
            found, values = _descend(objective, found, steps - steps // 5)
            latents.append(_best(found, values, len(some), 1))
            bar.update(len(some))
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
    steps: int = 500,
    clipped: bool = False,
    seed: int = 0,
) -> Tensor:
    """`count` different restorations of each noisy image, (N, count, 1, 28, 28) in [0, 1].

    Samples of the posterior, in no order; other shapes as in `project`. The starts are drawn from
    the bank in proportion to their likelihood (with the Gumbel trick, without repetition), then
    follow Langevin dynamics: Roberts and Tweedie 1996, "Exponential convergence of Langevin
    distributions and their discrete approximations".
    """
    bank = _bank(generator, noisy.device)
    noise_source = chance.stream(seed, "regenerate")  # on the CPU: the same on every device
    parts = []
    with _bar("regeneration", len(noisy)) as bar:
        for some, level in _portions(noisy, sigma, count):
            objective = Objective(generator, some, level, clipped)
            uniform = torch.rand(len(some), len(bank), generator=noise_source).to(noisy.device)
            gumbel = -(-uniform.clamp(1e-9, 1 - 1e-7).log()).log()
            drawn = (gumbel - objective.of_bank(bank)).topk(count, dim=1).indices  # (n, count)
            latents = bank[drawn.flatten()]
            # Stable where the likelihood is steepest: its curvature is proportional to its weight.
            size = (LANGEVIN_STEP / objective.weight).clamp(max=LANGEVIN_STEP)
            size = size.repeat_interleave(count)[:, None]
            for _ in range(steps):
                _, gradient = objective.gradient(latents)
                noise = torch.randn(latents.shape, generator=noise_source).to(noisy.device)
                latents = latents - size * gradient + (2 * size).sqrt() * noise
            parts.append(latents)
            bar.update(len(some))
    return _shown(generator, torch.cat(parts)).unflatten(0, (-1, count))


def pixels(generator: nn.Module, latents: Tensor) -> Tensor:
    """The generator's images of latents (N, latent_dim), flat: (N, 784) in [0, 1]."""
    return (generator(latents).flatten(1) + 1) / 2


def _bar(what: str, images: int) -> tqdm:
    """A bar over the images, on a terminal, that is gone when they are done."""
    return tqdm(
        total=images, desc=what, unit=" images", leave=False, disable=not sys.stderr.isatty()
    )


def _bank(generator: nn.Module, device: torch.device) -> Tensor:
    """Latents (BANK, latent_dim), always the same."""
    return torch.randn(BANK, generator.latent_dim, generator=chance.stream(0, "bank")).to(device)


def _portions(
    noisy: Tensor, sigma: Tensor | float, repeats: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Flat images (n, 784) and their noise levels (n,), in batches."""
    sigma = torch.as_tensor(sigma, dtype=noisy.dtype, device=noisy.device).expand(len(noisy))
    size = max(1, BATCH // repeats)
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
    history: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=LBFGS_MEMORY)
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
