"""Projection of corrupted images onto a generator.

Images here are float32 (N, C, H, W) on the [0, 1] scale; corrupted ones may leave it. Latents of a
conditional generator have one number more, the label of the class, which a descent leaves alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lab.models.layers import classes_in_turn
from lab.restoration.corruption import Corruption, filled
from lab.seeding import stream
from lab.text import progress_bar

BANK = 4_000  # generated images among which projections find their starts
MISFIT = 0.07  # standard deviation a pixel of what even the best latent cannot explain
BATCH_PIXELS = 2_000 * 28 * 28  # of the images of a batch: more gain no speed and cost memory
FINALISTS = 3  # starts of an image that are followed to the end
LBFGS_MEMORY = 10  # steps that are remembered
FIRST_STEP = 0.02  # its first, in lengths of the gradient
LEAST_GAIN = 1e-4  # share of the objective that 20 steps must gain for it to go on


class Objective:
    """What a latent should minimise for a corrupted image: -log posterior, up to a constant.

        -log p(y | G(z)) + |z|^2 / 2

    The first term is the likelihood, which the corruption knows: the weaker the more noise there
    is, so that noise is not fitted, and for Gaussian noise |y - G(z)|^2 / (2 (sigma^2 + MISFIT^2)).
    The second is the prior that the generator was trained with.
    """

    def __init__(self, generator: nn.Module, corrupted: Tensor, corruption: Corruption) -> None:
        """corruption: with severities (N,), one for each of the N images."""
        self.generator, self.corruption, self.corrupted = generator, corruption, corrupted

    def __call__(self, latents: Tensor) -> Tensor:
        """(N R, latent_dim), the R latents of an image together -> (N R,)."""
        repeats = len(latents) // len(self.corrupted)
        corruption, shown = self.corruption.repeated(repeats), pixels(self.generator, latents)
        misfit = corruption.misfit(self.corrupted.repeat_interleave(repeats, 0), shown, MISFIT)
        return misfit + latents[:, : self.generator.latent_dim].square().sum(1) / 2

    def gradient(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The objective (N R,) and its gradient (N R, latent_dim)."""
        latents = latents.detach().requires_grad_()
        value = self(latents)
        (gradient,) = torch.autograd.grad(value.sum(), latents)
        return value.detach(), gradient

    @torch.no_grad()
    def of_bank(self, shown: Tensor) -> Tensor:
        """(N, B): how far each image is from what is seen of each of the bank's (B, C, H, W).

        Squared distances, up to what is the same for all of an image's latents.
        """
        # At the mean severity for all: only the starts of the descent depend on it.
        shown = self.corruption.averaged().expected(shown).flatten(1)  # (B, pixels)
        seen = (~self.corrupted.isnan()).to(shown.dtype).flatten(1)
        sums = torch.cat([seen @ part.square().T for part in shown.split(500)], 1)
        return sums - 2 * filled(self.corrupted).flatten(1) @ shown.T


def project(
    generator: nn.Module,
    corrupted: Tensor,
    corruption: Corruption,
    restarts: int = 10,
    steps: int = 500,
) -> Tensor:
    """The generator's images (N, C, H, W) in [0, 1] that explain `corrupted` best."""
    return shown(generator, latents_of(generator, corrupted, corruption, restarts, steps))


def latents_of(
    generator: nn.Module,
    corrupted: Tensor,
    corruption: Corruption,
    restarts: int = 10,
    steps: int = 500,
) -> Tensor:
    """The latents (N, latent_dim) whose images explain `corrupted` (N, C, H, W) best.

    Descent on the latent is that of Bora et al. 2017, "Compressed Sensing using Generative Models"
    (CSGM), several starts are that of Samangouei et al. 2018, "Defense-GAN". Here the starts are
    the nearest of a bank of generated images instead of random ones, all images and starts are one
    batch, and after a fifth of the steps only the best FINALISTS of each image go on. Of a
    conditional generator the classes share the starts.
    """
    bank = _bank(generator, corrupted.device)
    bank_shown, latents = shown(generator, bank), []
    with _bar("projection", len(corrupted)) as bar:
        for some, part in _portions(corrupted, corruption, restarts):
            objective = Objective(generator, some, part)
            nearest = _nearest(
                objective.of_bank(bank_shown), restarts, bank[:, generator.latent_dim :]
            )
            found, values = _descend(objective, bank[nearest.flatten()], steps // 5)
            found = _best(found, values, len(some), FINALISTS)
            found, values = _descend(objective, found, steps - steps // 5)
            latents.append(_best(found, values, len(some), 1))
            bar.update(len(some))
    return torch.cat(latents)


def _nearest(distances: Tensor, count: int, labels: Tensor) -> Tensor:
    """Of distances (N, B) the places (N, count) of the least; shared among labels (B, 1), if any.

    The nearest of each class comes before the second of any.
    """
    if not labels.shape[1]:
        return distances.topk(count, dim=1, largest=False).indices
    ranks = torch.empty_like(distances)  # which of its class it is: the nearest, the second, ...
    for label in labels.unique():
        of_class = (labels[:, 0] == label).nonzero().squeeze(1)
        ranks[:, of_class] = distances[:, of_class].argsort(1).argsort(1).to(ranks)
    order = distances.argsort(1)
    return order.gather(1, ranks.gather(1, order).argsort(dim=1, stable=True))[:, :count]


def _best(latents: Tensor, values: Tensor, images: int, count: int) -> Tensor:
    """Of latents (N R, latent_dim) the `count` with the lowest values for each of N images."""
    ranked = values.view(images, -1).argsort(dim=1)[:, :count, None]
    latents = latents.view(images, -1, latents.shape[1])
    return latents.gather(1, ranked.expand(-1, -1, latents.shape[2])).flatten(0, 1)


def pixels(generator: nn.Module, latents: Tensor) -> Tensor:
    """The generator's images (N, C, H, W) of latents (N, latent_dim), in [0, 1]."""
    labels = labels_of(generator, latents)
    latents = latents[:, : generator.latent_dim]
    return ((generator(latents) if labels is None else generator(latents, labels)) + 1) / 2


def labels_of(generator: nn.Module, latents: Tensor) -> Tensor | None:
    """int64 (N,): the classes of latents; None of an unconditional generator."""
    labels = latents[:, generator.latent_dim :]
    return labels[:, 0].detach().long() if labels.shape[1] else None


def _bar(what: str, images: int) -> tqdm:
    """A bar over the images, on a terminal, that is gone when they are done."""
    return progress_bar(total=images, desc=what, unit=" images", leave=False)


def _bank(generator: nn.Module, device: torch.device) -> Tensor:
    """Latents (BANK, latent_dim), always the same."""
    latents = torch.randn(BANK, generator.latent_dim, generator=stream(0, "bank"))
    if classes := getattr(generator, "classes", 0):
        latents = torch.cat((latents, classes_in_turn(BANK, classes)[:, None]), 1)
    return latents.to(device)


def _portions(
    corrupted: Tensor, corruption: Corruption, repeats: int
) -> Iterator[tuple[Tensor, Corruption]]:
    """Images and what was done to them, in batches."""
    size = max(1, BATCH_PIXELS // (corrupted[0].numel() * repeats))
    parts = corruption.of_each(corrupted).split(size)
    return zip(corrupted.split(size), parts, strict=True)


@torch.no_grad()
def shown(generator: nn.Module, latents: Tensor) -> Tensor:
    """The images (N, C, H, W) of latents (N, latent_dim)."""
    images = latents.new_empty(len(latents), *generator.config["shape"])
    size = max(1, BATCH_PIXELS // 2 // images[0].numel())
    for some, part in zip(images.split(size), latents.split(size), strict=True):
        some.copy_(pixels(generator, part))
    return images


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
