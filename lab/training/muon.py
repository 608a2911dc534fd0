"""Muon, an optimizer for the matrices inside a network: Jordan et al. 2024, "Muon"."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
# Of the odd polynomial that drives singular values between 0 and 1 to about 1 in five steps.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon:
    """Moves `weights` along their gradients' nearest orthogonal matrices. `lr` may be changed.

    All directions that a gradient has are then moved along equally far, where Adam follows the few
    that are strongest. For weights (out, in, ...) of hidden layers; biases and the first and last
    layer are not for it.
    """

    def __init__(self, weights: Iterable[Tensor], lr: float) -> None:
        self.weights = list(weights)
        self.lr = lr
        self.means = [torch.zeros_like(weight) for weight in self.weights]

    @torch.no_grad()
    def step(self) -> None:
        """One update, with Nesterov's momentum; every weight must have its gradient."""
        for weight, mean in zip(self.weights, self.means, strict=True):
            mean.lerp_(weight.grad, 1 - MOMENTUM)
            ahead = weight.grad.lerp(mean, MOMENTUM)
            weight.sub_(orthogonalised(ahead.flatten(1)).view_as(weight), alpha=self.lr)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About the nearest orthogonal matrix of one (M, N), times sqrt(M / N) if that is above 1.

    By Newton and Schulz's iteration, X <- (a + b X X' + c (X X')^2) X, here on X X', which is the
    smaller matrix: the factors are gathered and meet X once.
    """
    rows, columns = matrix.shape
    wide = matrix if rows <= columns else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    square = wide @ wide.T
    one = torch.eye(len(square), device=square.device)
    factor = one
    first, third, fifth = COEFFICIENTS
    for _ in range(5):
        step = first * one + third * square + fifth * square @ square
        factor = step @ factor
        square = step @ square @ step
    wide = factor @ wide
    return max(1, rows / columns) ** 0.5 * (wide if rows <= columns else wide.T)
