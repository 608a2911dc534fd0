"""Projection of corrupted images onto a generator: the search for the latent that explains each.

Images are float32 (N, C, H, W) in [0, 1]; corrupted ones may lie outside. For a conditional
generator a latent has one more column, the class label, which the optimisation does not change.
"""

from collections import deque

import torch
from torch import Tensor, nn

from lab.models.layers import classes_in_turn
from lab.models.sampling import random_latents
from lab.restoration.corruption import Corruption, filled
from lab.text import progress_bar

BANK_SIZE = 4_000  # generated images from which the starting latents are chosen
BATCH_PIXELS = 1_568_000  # in a batch; more is no faster and costs memory
FINALISTS = 3  # starts of each image that are optimised to the end
LBFGS_MEMORY = 10  # steps that L-BFGS remembers
FIRST_STEP = 0.02  # length of the first step, as a multiple of the gradient
LEAST_GAIN = 1e-4  # relative decrease of the objective in 20 steps below which the search ends


class Objective:
    """The negative log posterior of latents z given corrupted images y, up to a constant.

        -log p(y | G(z)) + |z|^2 / 2

    The corruption supplies the likelihood, for Gaussian noise |y - G(z)|^2 / (2 (sigma^2 +
    MODEL_ERROR^2)). The more noise, the less it weighs against the standard normal prior of z, so
    that noise is not fitted.
    """

    def __init__(self, generator: nn.Module, corrupted: Tensor, corruption: Corruption) -> None:
        """corruption: with severities (N,), one for each corrupted image."""
        self.generator, self.corruption, self.corrupted = generator, corruption, corrupted

    def __call__(self, latents: Tensor) -> Tensor:
        """The objective (N R,) of latents (N R, latent_dim), R consecutive ones per image."""
        repeats = len(latents) // len(self.corrupted)
        severity = self.corruption.severity.repeat_interleave(repeats)
        corruption = self.corruption.with_severity(severity)
        corrupted = self.corrupted.repeat_interleave(repeats, 0)
        images, z = decode(self.generator, latents), latents[:, : self.generator.latent_dim]
        likelihood = corruption.negative_log_likelihood(corrupted, images)
        return likelihood + z.square().sum(1) / 2

    def gradient(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The objective (N R,) and its gradient (N R, latent_dim)."""
        latents = latents.detach().requires_grad_()
        value = self(latents)
        (gradient,) = torch.autograd.grad(value.sum(), latents)
        return value.detach(), gradient

    @torch.no_grad()
    def bank_distances(self, bank_images: Tensor) -> Tensor:
        """(N, B): squared distances of corrupted images to corrupted bank images (B, C, H, W).

        Missing pixels are left out, and so is the square of the image itself, a constant per row.
        """
        # One severity for the whole bank is accurate enough to choose starts.
        typical = self.corruption.with_severity(self.corruption.severity.median())
        expected = typical.expected(bank_images).flatten(1)
        known = (~self.corrupted.isnan()).to(expected.dtype).flatten(1)  # (N, pixels)
        squares = torch.cat([known @ part.square().T for part in expected.split(500)], 1)
        return squares - 2 * filled(self.corrupted).flatten(1) @ expected.T


def find_latents(
    generator: nn.Module,
    corrupted: Tensor,
    corruption: Corruption,
    restarts: int = 10,
    steps: int = 250,
) -> Tensor:
    """The latents (N, latent_dim) whose images explain `corrupted` (N, C, H, W) best.

    Optimising the latent follows Bora et al. 2017, "Compressed Sensing using Generative Models"
    (CSGM); several starts per image follow Samangouei et al. 2018, "Defense-GAN". Unlike there, the
    starts are the nearest of a bank of generated images instead of random latents, and after a
    fifth of the steps only the best FINALISTS of each image are continued. With a conditional
    generator the starts are spread over the classes.
    """
    bank = _bank(generator, corrupted.device)
    bank_images, latents = decode_in_batches(generator, bank), []
    batch = max(1, BATCH_PIXELS // (corrupted[0].numel() * restarts))
    severities = corruption.per_image(corrupted).severity.split(batch)
    with progress_bar(total=len(corrupted), desc="projection", unit=" images", leave=False) as bar:
        for images, severity in zip(corrupted.split(batch), severities, strict=True):
            objective = Objective(generator, images, corruption.with_severity(severity))
            distances = objective.bank_distances(bank_images)
            nearest = _nearest(distances, restarts, bank[:, generator.latent_dim :])
            found, values = _descend(objective, bank[nearest.flatten()], steps // 5)
            found = _best(found, values, len(images), FINALISTS)
            found, values = _descend(objective, found, steps - steps // 5)
            latents.append(_best(found, values, len(images), 1))
            bar.update(len(images))
    return torch.cat(latents)


def _nearest(distances: Tensor, count: int, labels: Tensor) -> Tensor:
    """Indices (N, count) of the smallest of distances (N, B).

    With labels (B, 1) of the bank (else (B, 0)), the nearest of every class comes before the second
    nearest of any class.
    """
    if not labels.shape[1]:
        return distances.topk(count, dim=1, largest=False).indices
    ranks = torch.empty_like(distances)  # rank among the images of its class, from 0
    for label in labels.unique():
        of_class = (labels[:, 0] == label).nonzero().squeeze(1)
        ranks[:, of_class] = distances[:, of_class].argsort(1).argsort(1).to(ranks)
    order = distances.argsort(1)
    return order.gather(1, ranks.gather(1, order).argsort(dim=1, stable=True))[:, :count]


def _best(latents: Tensor, values: Tensor, images: int, count: int) -> Tensor:
    """For each of N images, the `count` of its R latents (N R, latent_dim) with lowest values."""
    ranked = values.view(images, -1).argsort(dim=1)[:, :count, None]
    latents = latents.view(images, -1, latents.shape[1])
    return latents.gather(1, ranked.expand(-1, -1, latents.shape[2])).flatten(0, 1)


def decode(generator: nn.Module, latents: Tensor) -> Tensor:
    """The generator's images (N, C, H, W) in [0, 1], with gradients."""
    z, labels = latents[:, : generator.latent_dim], class_labels(generator, latents)
    return (generator(z, labels) + 1) / 2


def class_labels(generator: nn.Module, latents: Tensor) -> Tensor | None:
    """int64 (N,): the class labels in latents; None for an unconditional generator."""
    labels = latents[:, generator.latent_dim :]
    return labels[:, 0].detach().long() if labels.shape[1] else None


def _bank(generator: nn.Module, device: torch.device) -> Tensor:
    """Fixed random latents (BANK_SIZE, latent_dim)."""
    latents = random_latents(generator, BANK_SIZE, "bank")
    if classes := getattr(generator, "classes", 0):
        latents = torch.cat((latents, classes_in_turn(BANK_SIZE, classes)[:, None]), 1)
    return latents.to(device)


@torch.no_grad()
def decode_in_batches(generator: nn.Module, latents: Tensor) -> Tensor:
    """The generator's images (N, C, H, W) in [0, 1], without gradients, for any N."""
    images = latents.new_empty(len(latents), *generator.config["shape"])
    size = max(1, BATCH_PIXELS // 2 // images[0].numel())
    for batch, batch_latents in zip(images.split(size), latents.split(size), strict=True):
        batch.copy_(decode(generator, batch_latents))
    return images


def _descend(objective: Objective, latents: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Minimise the objective by L-BFGS for each row of latents (N R, latent_dim) separately.

    Returns the latents and their objective. Nocedal and Wright 2006, "Numerical Optimization",
    algorithm 7.4, with its names s for a step and y for the change of the gradient, but one step
    length per row: a step that does not lower a row's objective (nor does NaN) is rejected and the
    row's next step is half as long, but the curvature found is kept. Ends early when no row
    improves any more.
    """
    value, gradient = objective.gradient(latents)
    length = torch.ones_like(value)
    scale = torch.full_like(value, FIRST_STEP)
    history: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=LBFGS_MEMORY)
    checked = value
    for step in range(steps):
        proposed = latents - length[:, None] * _direction(gradient, scale, history)
        new_value, new_gradient = objective.gradient(proposed)
        s, y = proposed - latents, new_gradient - gradient  # both (N R, latent_dim)
        curvature, size = (s * y).sum(1), y.square().sum(1)
        known = curvature > 1e-10 * size  # false for NaN and negative curvature
        s, y = (torch.where(known[:, None], each, 0) for each in (s, y))
        history.append((s, y, torch.where(known, 1 / curvature, 0)))
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
    """The approximate inverse Hessian of `history` times `gradient` (N R, latent_dim)."""
    direction, products = gradient, []
    for s, y, inverse in reversed(history):
        product = inverse * (s * direction).sum(1)
        direction = direction - product[:, None] * y
        products.append(product)
    direction = scale[:, None] * direction
    for (s, y, inverse), product in zip(history, reversed(products), strict=True):
        factor = product - inverse * (y * direction).sum(1)
        direction = direction + factor[:, None] * s
    return direction
