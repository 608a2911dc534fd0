"""Muon, an optimizer for the weight matrices of hidden layers: Jordan et al. 2024, "Muon"."""

from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
# Coefficients of an odd polynomial that, applied five times, maps singular values in (0, 1] to
# about 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon:
    """Updates each weight by the orthogonal matrix nearest to its averaged gradient.

    All singular directions of a gradient then get a step of the same length, whereas Adam mostly
    follows the strongest ones. weights: (out, in, ...) of hidden layers; biases and the first and
    last layer need another optimizer. lr may be changed between steps.
    """

    def __init__(self, weights: Iterable[Tensor], lr: float) -> None:
        self.weights = list(weights)
        self.lr = lr
        self.means = [torch.zeros_like(weight) for weight in self.weights]

    @torch.no_grad()
    def step(self) -> None:
        """One update with Nesterov momentum; every weight must have a gradient."""
        for weight, mean in zip(self.weights, self.means, strict=True):
            mean.lerp_(weight.grad, 1 - MOMENTUM)
            ahead = weight.grad.lerp(mean, MOMENTUM)
            weight.sub_(orthogonalised(ahead.flatten(1)).view_as(weight), alpha=self.lr)


def orthogonalised(matrix: Tensor) -> Tensor:
    """The orthogonal matrix nearest to a matrix (M, N), approximately, times max(1, sqrt(M / N)).

    Newton-Schulz iteration X <- (a + b X X' + c (X X')^2) X. It runs on X X', the smaller matrix,
    and the accumulated factor is multiplied with X once.
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
