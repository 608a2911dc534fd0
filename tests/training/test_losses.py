"""lab/training/losses.py against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lab.models import DISCRIMINATORS, build
from lab.training.losses import LOSSES, gradient_penalty

REAL, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def d_loss(name: str, real=REAL, fake=FAKE, smoothing: float = 0.0) -> float:
    return LOSSES[name].discriminator(real, fake, smoothing).item()


def g_loss(name: str, fake=FAKE) -> float:
    real = torch.zeros_like(fake) if LOSSES[name].needs_real_logits else None
    return LOSSES[name].generator(real, fake).item()


def test_non_saturating_is_binary_cross_entropy():
    real = -(math.log(sigmoid(2)) + math.log(sigmoid(-1))) / 2
    fake = -(math.log(1 - sigmoid(0.5)) + math.log(1 - sigmoid(-3))) / 2
    assert d_loss("non-saturating") == pytest.approx(real + fake)
    made = -(math.log(sigmoid(0.5)) + math.log(sigmoid(-3))) / 2
    assert g_loss("non-saturating") == pytest.approx(made)


def test_label_smoothing_moves_only_the_real_target():
    real = -(0.9 * math.log(sigmoid(2)) + 0.1 * math.log(1 - sigmoid(2)))
    fake = -math.log(1 - sigmoid(-3))
    found = d_loss("non-saturating", torch.tensor([2.0]), torch.tensor([-3.0]), smoothing=0.1)
    assert found == pytest.approx(real + fake)


def test_least_squares():
    assert d_loss("least-squares") == pytest.approx((2.5 + 4.625) / 2)
    assert g_loss("least-squares") == pytest.approx((0.25 + 16) / 4)
    smoothed = d_loss("least-squares", smoothing=0.1)  # real targets are 0.9
    assert smoothed == pytest.approx(((1.1**2 + 1.9**2) / 2 + 4.625) / 2)


def test_hinge():
    assert d_loss("hinge") == pytest.approx((0 + 2) / 2 + (1.5 + 0) / 2)
    assert g_loss("hinge") == pytest.approx(1.25)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_gradients_of_the_right_sign(name):
    loss = LOSSES[name]
    real = torch.full((1,), 0.5, requires_grad=True)
    fake = torch.full((1,), 0.5, requires_grad=True)
    loss.discriminator(real, fake, 0.0).backward()
    assert real.grad < 0 < fake.grad  # descending raises D(x) and lowers D(G(z))
    made = torch.zeros(1, requires_grad=True)
    loss.generator(torch.zeros(1) if loss.needs_real_logits else None, made).backward()
    assert made.grad < 0


@pytest.mark.parametrize("name", LOSSES)
def test_facts_about_each_loss_are_true(name):
    loss, nothing = LOSSES[name], torch.zeros(4)
    if loss.balance:  # D(x) = 1/2 is a logit of 0
        found = (d_loss(name, nothing, nothing), g_loss(name, nothing))
        assert found == pytest.approx(loss.balance)
    assert (d_loss(name, smoothing=0.1) != d_loss(name)) is loss.has_labels
    if loss.d_is_probability:  # the best D for 3 real and 1 generated image is 3/4
        logits = torch.linspace(-4, 4, 8001)
        sums = [
            3 * loss.discriminator(logit, torch.tensor(-1e4), 0.0)
            + loss.discriminator(torch.tensor(1e4), logit, 0.0)
            for logit in logits[:, None]
        ]
        best = logits[torch.stack(sums).argmin()]
        assert best.sigmoid().item() == pytest.approx(0.75, abs=1e-3)
    assert loss.most > 10 * max(abs(d_loss(name)), abs(g_loss(name)))


def test_d_is_a_probability_with_cross_entropy_only():
    assert [name for name, loss in LOSSES.items() if loss.d_is_probability] == ["non-saturating"]


def test_the_gradient_penalty_of_a_linear_discriminator_is_its_weights_norm():
    discriminator = build(DISCRIMINATORS, "mlp", shape=(3, 20, 20), hidden=())
    images = torch.rand(6, 3, 20, 20)
    penalty = gradient_penalty(discriminator, images)
    assert penalty.item() == pytest.approx(discriminator.layers[0].weight.square().sum().item())
    penalty.backward()
    weight = discriminator.layers[0].weight
    assert torch.allclose(weight.grad, 2 * weight, rtol=1e-4)
    assert not images.requires_grad
