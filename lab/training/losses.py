"""Adversarial losses, one entry of LOSSES each, and the R1 gradient penalty.

Logits are (N,), positive for "real". `discriminator(real, fake, label_smoothing)` and
`generator(real, fake)` return the scalar that each network minimises, a mean over the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus


@dataclass(frozen=True)
class Loss:
    """The loss of the discriminator, the loss of the generator, and facts about the pair."""

    discriminator: Callable[[Tensor, Tensor, float], Tensor]
    generator: Callable[[Tensor | None, Tensor], Tensor]
    # Whether it has targets, of which those of real images can be smoothed (one-sided: Salimans et
    # al. 2016, section 3.4).
    has_labels: bool
    d_is_probability: bool = False  # whether D(x), the sigmoid of a logit, is a probability
    balance: tuple[float, float] | None = None  # the two losses when D(x) is 1/2 for every image
    needs_real_logits: bool = False  # whether the generator's loss uses them; else it gets None
    most: float = 1_000.0  # training with larger losses has diverged; healthy ones stay below 10


LOSSES = {
    # Goodfellow et al. 2014, "Generative Adversarial Nets", section 3: binary cross-entropy with
    # the non-saturating loss of the generator. softplus(-logit) = -log sigmoid(logit).
    "non-saturating": Loss(
        discriminator=lambda real, fake, smoothing: (
            binary_cross_entropy_with_logits(real, torch.full_like(real, 1 - smoothing))
            + softplus(fake).mean()
        ),
        generator=lambda real, fake: softplus(-fake).mean(),
        has_labels=True,
        d_is_probability=True,
        balance=(2 * log(2), log(2)),
    ),
    # Mao et al. 2017, "Least Squares GANs", equation 9.
    "least-squares": Loss(
        discriminator=lambda real, fake, smoothing: (
            ((real - (1 - smoothing)).square().mean() + fake.square().mean()) / 2
        ),
        generator=lambda real, fake: (fake - 1).square().mean() / 2,
        has_labels=True,
    ),
    # Lim and Ye 2017, "Geometric GAN".
    "hinge": Loss(
        discriminator=lambda real, fake, _: relu(1 - real).mean() + relu(1 + fake).mean(),
        generator=lambda real, fake: -fake.mean(),
        has_labels=False,
    ),
}


def gradient_penalty(
    discriminator: Callable[[Tensor, Tensor | None], Tensor],
    images: Tensor,
    labels: Tensor | None = None,
) -> Tensor:
    """R1 of Mescheder et al. 2018, "Which training methods for GANs do actually converge?", eq. 9.

    images: float32 (N, C, H, W). labels: (N,), for a conditional discriminator. Returns the mean
    of |grad_x D(x)|^2 over the images, a scalar, which the caller multiplies by gamma / 2. The
    penalty keeps the discriminator flat around the data.
    """
    images = images.detach().requires_grad_()
    logits = discriminator(images, labels)
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()
