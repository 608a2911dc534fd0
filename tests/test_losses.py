"""lab/losses.py against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lab.models import networks as models
from lab.training import losses

REAL, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def test_non_saturating_is_binary_cross_entropy():
    loss = losses.non_saturating()
    real = -(math.log(sigmoid(2)) + math.log(sigmoid(-1))) / 2
    fake = -(math.log(1 - sigmoid(0.5)) + math.log(1 - sigmoid(-3))) / 2
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(real + fake)
    made = -(math.log(sigmoid(0.5)) + math.log(sigmoid(-3))) / 2
    assert loss.generator(FAKE).item() == pytest.approx(made)


def test_at_balance_the_losses_are_two_and_one_log_two():
    loss, nothing = losses.non_saturating(), torch.zeros(4)
    assert loss.discriminator(nothing, nothing).item() == pytest.approx(2 * math.log(2))
    assert loss.generator(nothing).item() == pytest.approx(math.log(2))


def test_label_smoothing_moves_only_the_real_target():
    loss = losses.non_saturating(label_smoothing=0.1)
    real = -(0.9 * math.log(sigmoid(2)) + 0.1 * math.log(1 - sigmoid(2)))
    fake = -math.log(1 - sigmoid(-3))
    found = loss.discriminator(torch.tensor([2.0]), torch.tensor([-3.0])).item()
    assert found == pytest.approx(real + fake)
    assert loss.generator(FAKE) == losses.non_saturating().generator(FAKE)


def test_least_squares():
    loss = losses.least_squares()
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx((2.5 + 4.625) / 2)
    assert loss.generator(FAKE).item() == pytest.approx((0.25 + 16) / 4)
    smoothed = losses.least_squares(label_smoothing=0.1)  # real targets are 0.9
    found = smoothed.discriminator(REAL, FAKE).item()
    assert found == pytest.approx(((1.1**2 + 1.9**2) / 2 + 4.625) / 2)
    assert smoothed.generator(FAKE) == loss.generator(FAKE)


def test_hinge():
    loss = losses.hinge()
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx((0 + 2) / 2 + (1.5 + 0) / 2)
    assert loss.generator(FAKE).item() == pytest.approx(1.25)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_pulls_the_right_way(name):
    loss = losses.LOSSES[name](0.0)
    real = torch.full((1,), 0.5, requires_grad=True)
    fake = torch.full((1,), 0.5, requires_grad=True)
    loss.discriminator(real, fake).backward()
    assert real.grad < 0 < fake.grad  # descending raises D(x) and lowers D(G(z))
    made = torch.zeros(1, requires_grad=True)
    loss.generator(made).backward()
    assert made.grad < 0


def test_the_gradient_penalty_of_a_linear_discriminator_is_its_weights_norm():
    discriminator = models.Discriminator(hidden=())
    images = torch.rand(6, 1, 28, 28)
    penalty = losses.gradient_penalty(discriminator, images)
    assert penalty.item() == pytest.approx(discriminator.layers[0].weight.square().sum().item())
    penalty.backward()
    weight = discriminator.layers[0].weight
    assert torch.allclose(weight.grad, 2 * weight, rtol=1e-4)
