"""Adversarial losses on logits: one pair of functions each, with the paper it comes from.

Every pair has one signature: `discriminator(real, fake)` and `generator(fake)` take logits (N,),
positive for "real", and give the scalar to minimise, a mean over the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus


class Loss(NamedTuple):
    """What the discriminator and the generator each minimise."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def non_saturating(label_smoothing: float = 0.0) -> Loss:
    """Goodfellow et al. 2014, "Generative Adversarial Nets", section 3: binary cross-entropy.

    The discriminator maximises log D(x) + log(1 - D(G(z))), with D = sigmoid(logit); the generator
    maximises log D(G(z)) rather than minimising log(1 - D(G(z))), which saturates.
    label_smoothing: real targets are 1 - label_smoothing (one-sided; Salimans et al. 2016, 3.4).
    """

    def discriminator(real: Tensor, fake: Tensor) -> Tensor:
        targets = torch.full_like(real, 1 - label_smoothing)
        return binary_cross_entropy_with_logits(real, targets) + softplus(fake).mean()

    def generator(fake: Tensor) -> Tensor:
        return softplus(-fake).mean()  # softplus(-logit) = -log sigmoid(logit)

    return Loss(discriminator, generator)


def least_squares(label_smoothing: float = 0.0) -> Loss:
    """Mao et al. 2017, "Least Squares GANs", equation 9: targets 1 and 0, squared distance."""

    def discriminator(real: Tensor, fake: Tensor) -> Tensor:
        return ((real - (1 - label_smoothing)).square().mean() + fake.square().mean()) / 2

    def generator(fake: Tensor) -> Tensor:
        return (fake - 1).square().mean() / 2

    return Loss(discriminator, generator)


def hinge(label_smoothing: float = 0.0) -> Loss:
    """Lim and Ye 2017, "Geometric GAN": margins of 1; label smoothing has no place in it."""

    def discriminator(real: Tensor, fake: Tensor) -> Tensor:
        return relu(1 - real).mean() + relu(1 + fake).mean()

    def generator(fake: Tensor) -> Tensor:
        return -fake.mean()

    return Loss(discriminator, generator)


LOSSES = {
    "non-saturating": non_saturating,
    "least-squares": least_squares,
    "hinge": hinge,
}


def gives_probabilities(loss: object) -> bool:
    """Whether D(x), the sigmoid of a logit, is a probability under the loss of this name."""
    return loss == "non-saturating"


def gradient_penalty(discriminator: nn.Module, images: Tensor) -> Tensor:
    """R1 of Mescheder et al. 2018, "Which training methods for GANs do actually converge?", eq. 9.

    images: float32 (N, 1, 28, 28). Returns the mean over images of |grad_x D(x)|^2, a scalar; the
    caller multiplies by gamma / 2. It keeps the discriminator flat around the data.
    """
    images = images.detach().requires_grad_()
    logits = discriminator(images)
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()
