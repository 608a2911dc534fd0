"""Muon in lab/training/optim.py: orthogonalised gradients."""

from __future__ import annotations

import pytest
import torch

from lab.training.optim import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_singular_values_become_about_equal(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, found, right = torch.linalg.svd(orthogonalised(matrix), full_matrices=False)
    scale = max(1, shape[0] / shape[1]) ** 0.5
    assert 0.6 * scale < found.min() and found.max() < 1.25 * scale
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    agreement = torch.trace(v @ right.T @ left.T @ u) / min(shape)
    assert agreement > 0.99  # with the nearest orthogonal matrix


def test_iterating_on_the_square_matrix_equals_iterating_on_the_matrix() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(6, 30)
    wide = matrix / matrix.norm()
    for _ in range(5):
        square = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * square + 2.0315 * square @ square) @ wide
    assert torch.allclose(orthogonalised(matrix), wide, atol=1e-5)


def test_weights_stay_without_a_gradient_or_a_learning_rate() -> None:
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last).requires_grad_()
    before = weight.detach().clone()
    muon = Muon([weight], lr=0.1)
    weight.grad = torch.zeros_like(weight)
    muon.step()
    assert torch.equal(weight, before)
    weight.grad = torch.randn_like(weight)
    muon.lr = 0.0
    muon.step()
    assert torch.equal(weight, before)


def test_a_step_follows_the_average_of_the_gradients_and_a_little_of_the_last() -> None:
    torch.manual_seed(0)
    weight, mean, wanted = (torch.zeros(4, 6) for _ in "123")
    muon = Muon([weight], lr=0.1)
    for gradient in torch.randn(3, 4, 6):
        weight.grad = gradient
        muon.step()
        mean = 0.95 * mean + 0.05 * gradient
        wanted = wanted - 0.1 * orthogonalised(0.95 * mean + 0.05 * gradient)
    assert torch.allclose(weight, wanted, atol=1e-5)


def test_it_minimises_a_quadratic() -> None:
    torch.manual_seed(0)
    target, weight = torch.randn(6, 10), torch.zeros(6, 10, requires_grad=True)
    muon = Muon([weight], lr=0.0)
    for step in range(300):
        weight.grad = None
        (weight - target).square().sum().backward()
        muon.lr = 0.1 * (1 - step / 300)
        muon.step()
    assert (weight - target).abs().max() < 0.05
