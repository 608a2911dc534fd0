"""gan_lab.py's training step and loop against a literal implementation."""

from __future__ import annotations

import copy
import dataclasses
from itertools import pairwise

import pytest
import torch
from small_trainings import CPU, MAPS, images, small_options, small_state, trained
from torch import nn

import gan_lab
from lab.data import DatasetSpec, to_float
from lab.seeding import stream
from lab.training import LOSSES, STEP_FIGURES


@pytest.fixture
def float64(monkeypatch):
    """Use float64, because Adam makes full steps even for gradients that are rounding errors."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    monkeypatch.setattr(gan_lab, "to_float", lambda shown: to_float(shown).double())
    yield
    torch.set_default_dtype(torch.float32)


def plain_step(options, networks, optimizers, real, labels, latent, step) -> None:
    """The same update without optimisations, and with torch's Adam."""
    generator, discriminator, ema = networks
    optimizer_g, optimizer_d = optimizers
    criterion = nn.BCELoss()
    ones, zeros = torch.ones(len(real)), torch.zeros(len(real))

    fake = generator(latent, labels).detach()
    d_loss = criterion(
        torch.sigmoid(discriminator(real, labels)), ones * (1 - options.label_smoothing)
    )
    d_loss = d_loss + criterion(torch.sigmoid(discriminator(fake, labels)), zeros)
    if options.r1_gamma and step % options.r1_every == 0:
        for_penalty = real.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(
            discriminator(for_penalty, labels).sum(), for_penalty, create_graph=True
        )
        penalty = gradient.flatten(1).norm(dim=1).pow(2).mean()
        d_loss = d_loss + options.r1_gamma / 2 * options.r1_every * penalty
    optimizer_d.zero_grad()
    d_loss.backward()
    optimizer_d.step()

    g_loss = criterion(torch.sigmoid(discriminator(generator(latent, labels), labels)), ones)
    optimizer_g.zero_grad()
    g_loss.backward()
    optimizer_g.step()
    if options.ema_decay:
        decay = min(options.ema_decay, (step + 2) / (step + 11))  # the first update is number 1
        for mean, weight in zip(ema.parameters(), generator.parameters(), strict=True):
            mean.data = decay * mean.data + (1 - decay) * weight.data


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("modern", ()),
        ("classic", ()),
        ("dcgan", MAPS),
        ("classic", ("--batch-norm", "--label-smoothing", "0.1", "--activation", "relu")),
        ("modern", ("--conditional",)),
        ("dcgan", (*MAPS, "--conditional")),
    ],
)
def test_the_loop_equals_plain_steps(recipe, more, float64):
    options, dataset = small_options(recipe, *more), images(1000)
    state = small_state(options)
    networks = tuple(
        copy.deepcopy(net).requires_grad_(True)
        for net in (state.generator, state.discriminator, state.ema)
    )
    optimizers = tuple(
        torch.optim.Adam(net.parameters(), rate, (options.beta1, options.beta2), foreach=False)
        for net, rate in zip(networks, (options.lr_g, options.lr_d), strict=False)
    )
    latents = stream(options.seed, "latents")
    order = torch.randperm(1000, generator=stream(options.seed, "order"))
    for step, batch in enumerate(order.split(50)):
        latent = torch.randn(50, options.latent_dim, generator=latents)
        real = to_float(dataset.train_images[batch]).double()
        labels = dataset.train_labels[batch] if options.conditional else None
        for optimizer, rate in zip(optimizers, (options.lr_g, options.lr_d), strict=True):
            optimizer.param_groups[0]["lr"] = rate * state.length.lr_factor(step, options)
        plain_step(options, networks, optimizers, real, labels, latent, step)
    trained(options, state, dataset)
    assert state.updates == 20
    ours = (state.generator, state.discriminator, *([state.ema] if options.ema_decay else []))
    for network, plain in zip(ours, networks, strict=False):
        for name, weight in network.named_parameters():
            assert torch.allclose(weight, plain.get_parameter(name), atol=1e-9), name
    assert (state.ema is state.generator) == (not options.ema_decay)


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_returns_its_losses_and_discriminator_outputs(name):
    options, loss = small_options("classic", "--loss", name), LOSSES[name]
    state = small_state(options)
    real = to_float(images(1000).train_images[:50])
    with torch.no_grad():
        latents = stream(options.seed, "latents")
        made = state.generator(torch.randn(50, 8, generator=latents))
        logits = state.discriminator(real), state.discriminator(made)
    figures = gan_lab.train_step(options, state, real, None, penalised=False)
    with torch.no_grad():  # the generator's loss uses the updated discriminator
        real_logits = state.discriminator(real) if loss.needs_real_logits else None
        g_loss = loss.generator(real_logits, state.discriminator(made))
    expected = (
        *(loss.discriminator(*logits, options.label_smoothing), g_loss),
        *(each.sigmoid().mean() for each in logits),
    )
    assert torch.allclose(figures, torch.stack(expected), atol=1e-5)
    assert not figures.requires_grad


def test_the_penalty_changes_the_discriminator_only_if_due():
    options = small_options("modern", "--r1-gamma", "100")
    found = []
    for penalised in (True, False):
        state = small_state(options)
        real = to_float(images(1000).train_images[:50])
        gan_lab.train_step(options, state, real, None, penalised)
        found.append(state.discriminator.layers[0].weight.clone())
    assert not torch.allclose(*found, atol=1e-4)


def watched(monkeypatch, *typed: str) -> list[tuple]:
    """The arguments of each step: images, whether penalised, learning rates, precision."""
    steps = []

    def step(options, state, real, labels, penalised):
        rates = state.optimizer_g.lr, state.optimizer_d.lr
        steps.append((real, penalised, rates, torch.get_float32_matmul_precision()))
        return torch.tensor([1.0, 2.0, 0.6, 0.4]) * (1 + state.step % 2)

    monkeypatch.setattr(gan_lab, "train_step", step)
    options = small_options("modern", *typed)
    rows = trained(options, small_state(options), images(1020))
    return steps, rows


def test_each_epoch_shows_every_image_once_in_a_new_order(monkeypatch):
    steps, _ = watched(monkeypatch, "--epochs", "3")
    marks = to_float(images(1020).train_images).flatten(1).sum(1)
    epochs = torch.cat([real for real, *_ in steps]).flatten(1).sum(1).view(3, -1)
    assert epochs.shape == (3, 1000)  # 20 do not fill a batch
    for epoch in epochs:
        assert len(epoch.unique()) == len(set(epoch.tolist()))
        assert set(epoch.tolist()) <= set(marks.tolist())
        counts = {mark: marks.tolist().count(mark) for mark in epoch.tolist()}
        assert all(epoch.tolist().count(mark) <= most for mark, most in counts.items())
    assert not torch.equal(epochs[0], epochs[1]) and not torch.equal(epochs[1], epochs[2])


def test_the_penalty_comes_in_the_first_step_of_an_epoch_and_every_few_steps(monkeypatch):
    steps, _ = watched(monkeypatch, "--epochs", "2", "--r1-every", "7")
    due = [step for step, (_, penalised, *_) in enumerate(steps) if penalised]
    assert due == [0, 7, 14, 20, 27, 34]
    steps, _ = watched(monkeypatch, "--r1-gamma", "0")
    assert not any(penalised for _, penalised, *_ in steps)


def test_rates_and_precision_reach_every_step(monkeypatch):
    monkeypatch.setattr("lab.device._instructions", lambda: "AVX512")
    typed = ("--epochs", "4", "--lr-d", "5e-4", "--precision", "bfloat16")
    steps, _ = watched(monkeypatch, *typed)
    rates = [rates for *_, rates, _ in steps]  # of 80 steps, falling in the last 24
    assert rates[:56] == [(1e-3, 5e-4)] * 56
    assert all(after < before for before, after in pairwise(rates[56:]))
    assert all(rate_d == pytest.approx(rate_g / 2) for rate_g, rate_d in rates)
    assert {precision for *_, precision in steps} == {"medium"}  # bfloat16, where it is fast
    assert torch.get_float32_matmul_precision() == "highest"


def test_history_has_the_mean_of_each_epochs_steps(monkeypatch):
    _, rows = watched(monkeypatch, "--epochs", "2")
    assert [row["epoch"] for row in rows] == [1, 2]
    for row in rows:
        assert [row[name] for name in STEP_FIGURES] == pytest.approx([1.5, 3, 0.9, 0.6])


# The initial state


def test_the_options_of_both_networks_reach_them():
    more = ("--batch-norm", "--activation", "relu", "--output", "clip", "--dropout", "0.3")
    for recipe, maps in (("modern", ()), ("dcgan", MAPS)):
        options = small_options(recipe, *maps, *more)
        state = small_state(options)
        given = {**vars(options), "shape": (1, 28, 28)}
        for network, end in ((state.generator, "_g"), (state.discriminator, "_d")):
            assert {"shape", "hidden"} < set(network.config)
            assert network.kind == ("dcgan" if maps else "mlp")
            for name, value in network.config.items():
                wanted = given.get(name, given.get(name + end))
                assert value == (list(wanted) if isinstance(wanted, tuple) else wanted), name


def test_networks_are_chosen_by_name_one_by_one():
    maps = ("--channels-g", "6", "4")
    state = small_state(small_options("modern", *maps))
    assert (state.generator.kind, state.discriminator.kind) == ("dcgan", "mlp")
    state = small_state(small_options("modern", *maps, "--network-g", "mlp"))
    assert state.generator.kind == "mlp"


def test_networks_are_of_the_sets_shape():
    spec = DatasetSpec("birds", "Birds", (3, 20, 20))
    colour = torch.randint(0, 256, (100, *spec.shape), dtype=torch.uint8)
    dataset = dataclasses.replace(images(100), spec=spec, train_images=colour)
    for recipe, maps in (("modern", ()), ("dcgan", MAPS)):
        options = small_options(recipe, *maps)
        state = gan_lab.initial_state(options, dataset, CPU)
        (row,) = trained(options, state, dataset)
        assert row["d_loss"] > 0
        assert state.ema(torch.zeros(2, 8)).shape == (2, *spec.shape)


def test_the_seed_decides_initial_weights_and_dropout():
    found = []
    for seed in ("0", "1"):
        state = small_state(small_options("modern", "--seed", seed))
        weights = (state.generator.layers[0].weight, state.discriminator.layers[0].weight)
        found.append((*weights, torch.rand(3)))  # dropout uses the global generator
    assert not any(torch.equal(one, two) for one, two in zip(*found, strict=True))
