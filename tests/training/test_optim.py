"""lab/training/optim.py against torch's Adam and average; learning rates computed by hand."""

from __future__ import annotations

import copy
import math
import types

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lab.models import GENERATORS, build
from lab.training.length import Length
from lab.training.optim import Adam, ema_decay, update_ema


def test_adam_equals_torchs_adam_bit_for_bit():
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(30, 40), nn.Tanh(), nn.Linear(40, 3))
    theirs = copy.deepcopy(ours)
    optimizers = (
        Adam(ours.parameters(), 1e-2, (0.5, 0.99)),
        torch.optim.Adam(theirs.parameters(), 1e-2, (0.5, 0.99), fused=True),
    )
    for number in range(5):
        inputs = torch.randn(16, 30)
        if number == 3:  # the rate falls
            optimizers[0].lr = optimizers[1].param_groups[0]["lr"] = 1e-3
        for network, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            network(inputs).square().mean().backward()
            optimizer.step()
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, two)
    assert optimizers[0].steps == 5


def test_adams_state_has_torchs_format_and_can_be_loaded():
    torch.manual_seed(0)
    network = nn.Linear(6, 4)
    ours = Adam(network.parameters(), 1e-2, (0.5, 0.99))
    theirs = torch.optim.Adam(copy.deepcopy(network).parameters(), 1e-2, (0.5, 0.99), fused=True)
    for _ in range(3):
        gradients = [torch.randn_like(weight) for weight in network.parameters()]
        for weights in (ours.weights, theirs.param_groups[0]["params"]):
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient.clone()
        ours.step(), theirs.step()
    found, wanted = ours.state_dict(), theirs.state_dict()["state"]
    assert found.keys() == wanted.keys()
    for index, moments in wanted.items():
        assert found[index].keys() == moments.keys()
        assert all(torch.equal(found[index][name], moments[name]) for name in moments)
    again = Adam(network.parameters(), 1e-2, (0.5, 0.99))
    again.load_state_dict(found)
    for one, two in zip(again.means + again.squares, ours.means + ours.squares, strict=True):
        assert torch.equal(one, two) and one is not two
    assert again.steps == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.pop(1), "another network"),
        (lambda state: state[0].pop("step"), "weight 0 is not Adam's"),
        (lambda state: state[0].update(exp_avg=torch.zeros(2)), "exp_avg of weight 0"),
        (lambda state: state[1].update(exp_avg=torch.full((4,), math.nan)), "exp_avg of weight 1"),
        (lambda state: state[1].update(exp_avg=torch.zeros(4).double()), "exp_avg of weight 1"),
        (lambda state: state[1].update(exp_avg=torch.zeros(1).expand(4)), "exp_avg of weight 1"),
        (lambda state: state[1].update(exp_avg_sq=-torch.ones(4)), "exp_avg_sq of weight 1"),
        (lambda state: state[1].update(step=torch.tensor(7.0)), "count of steps"),
        (lambda state: [m.update(step=torch.tensor(-1.0)) for m in state.values()], "count of"),
        (lambda state: [m.update(step=torch.tensor(0.5)) for m in state.values()], "count of"),
    ],
)
def test_a_damaged_optimizer_state_is_refused(change, says):
    adam = Adam(nn.Linear(6, 4).parameters(), 1e-2, (0.5, 0.99))
    state = adam.state_dict()
    change(state)
    with pytest.raises(ValueError, match=says):
        adam.load_state_dict(state)


def lr_factor(step: int, steps: int, decay: float, floor: float, epoch_steps: int = 1) -> float:
    """The factor in a step of a run of `steps`."""
    options = types.SimpleNamespace(lr_decay=decay, lr_floor=floor)
    return Length(epoch_steps, 1, steps).lr_factor(step, options)


def test_learning_rates_fall_at_the_end_and_not_to_zero():
    factors = [lr_factor(step, 10, decay=0.4, floor=0.1) for step in range(10)]
    assert factors[:7] == pytest.approx([1] * 7)
    quarters = [(1 + math.cos(math.pi * way)) / 2 for way in (0.25, 0.5, 0.75)]
    assert factors[7:] == pytest.approx([0.1 + 0.9 * share for share in quarters])
    assert [lr_factor(step, 5, decay=0, floor=0.1) for step in range(5)] == [1] * 5
    assert lr_factor(0, 1, decay=1, floor=0) == 1
    # However long an epoch is.
    assert lr_factor(30, 37, 0.3, 0.1, epoch_steps=10) == lr_factor(30, 37, 0.3, 0.1) < 1


def test_ema_decay_rises_to_its_limit():
    decays = [ema_decay(0.999, updates) for updates in (1, 100, 10**6)]
    assert decays == pytest.approx([2 / 11, 101 / 110, 0.999])


def small() -> nn.Module:
    return build(GENERATORS, "mlp", shape=(1, 28, 28), latent_dim=4, hidden=(8,), batch_norm=True)


def moved(network: nn.Module) -> None:
    """Change weights and statistics, as a training step does."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight))
    network.train()(torch.randn(16, 4))


def test_ema_follows_its_decay_and_copies_running_statistics():
    network = small()
    ema = copy.deepcopy(network)
    before = [weight.clone() for weight in ema.parameters()]
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1)
        network.layers[1].running_mean.fill_(3)
        network.layers[1].num_batches_tracked.fill_(7)
    update_ema(ema, network, decay=0.9)
    for old, new in zip(before, ema.parameters(), strict=True):
        assert torch.allclose(new, old + 0.1, atol=1e-6)
    assert torch.equal(ema.layers[1].running_mean, network.layers[1].running_mean)
    assert ema.layers[1].num_batches_tracked == 7


@pytest.mark.parametrize("decay", [0.0, 0.25, 0.9, 0.9995])
def test_ema_equals_torchs_bit_for_bit(decay):
    torch.manual_seed(0)
    network = small()
    ours = copy.deepcopy(network).requires_grad_(False)
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
    theirs.update_parameters(network)  # its first update is a copy
    for _ in range(5):
        moved(network)
        update_ema(ours, network, decay)
        theirs.update_parameters(network)
    for name, value in theirs.module.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
