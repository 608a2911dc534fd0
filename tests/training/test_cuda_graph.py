"""lab/training/cuda_graph.py: replayed steps equal plain steps; wrong recordings are not used."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from small_trainings import CPU, MAPS, are_equal, images, small_options, small_state

import gan_lab
from lab.data import to_float
from lab.training import cuda_graph
from lab.training.cuda_graph import WARM_UP, GraphedStep

STEPS = 30


def graphed(options, device=CPU):
    """A training and its GraphedStep."""
    state = small_state(options, device=device)
    return state, GraphedStep(partial(gan_lab.train_step, options, state), state)


def as_if_on_cuda(options, monkeypatch, record):
    """A training and its step, with `record` instead of a CUDA recording."""
    state, step = graphed(options)
    monkeypatch.setattr(cuda_graph, "record", record)
    step.enabled = True
    return state, step


def weights_after(options, state, step):
    """The weights and totals after STEPS steps."""
    dataset = images(STEPS * options.batch_size)
    order = torch.arange(len(dataset.train_images)).split(options.batch_size)
    for number, batch in enumerate(order):
        penalised = options.r1_gamma > 0 and number % options.r1_every == 0
        real = to_float(dataset.train_images[batch].to(state.device))
        labels = dataset.train_labels[batch].to(state.device) if options.conditional else None
        state.totals += step(real, labels, penalised)
    found = state.discriminator.state_dict() | state.generator.state_dict()
    return found | {"totals": state.totals}


def test_a_process_with_the_second_gpu_replays_nothing(monkeypatch):
    monkeypatch.setattr(cuda_graph, "processes", lambda: 2)
    streams = SimpleNamespace(stream=None)
    state = SimpleNamespace(device=torch.device("cuda", 1), latents=None, augmentation=streams)
    assert not GraphedStep(print, state).enabled


def test_replayed_steps_equal_plain_steps(monkeypatch):
    options, calls = small_options("modern", "--dropout", "0.3", "--conditional", "--augment"), []

    def faithful(step, real, labels, generators):
        calls.append("recorded")
        return lambda *batch: calls.append("replayed") or step(*batch)

    state, step = as_if_on_cuda(options, monkeypatch, faithful)
    found = weights_after(options, state, step)
    assert are_equal(found, weights_after(options, *graphed(options)))
    assert calls.count("recorded") == 2  # with the penalty and without
    assert calls.count("replayed") == STEPS - 2 * WARM_UP
    assert set(step.recorded) == {False, True}


def test_on_a_cpu_nothing_is_recorded(monkeypatch):
    monkeypatch.setattr(cuda_graph, "record", lambda *_: pytest.fail("it was"))
    options = small_options()
    state, step = graphed(options)
    weights_after(options, state, step)
    assert not step.enabled and not step.recorded


@pytest.mark.parametrize(
    "how",
    ["does something else", "forgets its input", "keeps its latents", "draws in vain", "refuses"],
)
def test_a_wrong_recording_is_never_used(monkeypatch, capsys, how):
    options = small_options("modern")

    def stale(step, real, labels, generators):
        if how == "refuses":
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        kept, latents = torch.zeros_like(real), state.latents
        recorded = latents.get_state()

        def replay(real, labels):
            before = latents.get_state()
            if how == "keeps its latents":
                latents.set_state(recorded)
            given = {"does something else": real * 0.5, "forgets its input": kept}
            figures = step(given.get(how, real), labels)
            if how == "draws in vain":
                latents.set_state(before)
            return figures

        return replay

    state, step = as_if_on_cuda(options, monkeypatch, stale)
    found = weights_after(options, state, step)
    assert are_equal(found, weights_after(options, *graphed(options)))
    assert capsys.readouterr().out.count("not replayed as CUDA graphs") == 1
    assert not step.recorded


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("more", [(), ("--conditional", "--augment")])
@pytest.mark.parametrize("recipe", ["modern", "classic", "dcgan"])
def test_recorded_steps_equal_plain_steps_on_a_gpu(recipe, more):
    maps = MAPS if recipe == "dcgan" else ()
    options = small_options(recipe, *maps, *more, "--dropout", "0.3")
    found = []
    for recording in (True, False):
        state, step = graphed(options, torch.device("cuda"))
        torch.manual_seed(0)
        step.enabled = recording
        weights = weights_after(options, state, step)
        kinds = {False} if recipe == "classic" else {False, True}  # without and with the penalty
        assert set(step.recorded) == (kinds if recording else set())
        assert state.optimizer_g.steps == STEPS
        found.append((weights, state.latents.get_state()))
    (replayed_weights, replayed_latents), (plain_weights, plain_latents) = found
    for name, weight in plain_weights.items():
        # Adam moves weights whose gradients are mere rounding errors by nearly the learning rate.
        difference = (replayed_weights[name] - weight).norm()
        assert difference < 0.05 * weight.norm() + 1e-3, name
    assert torch.equal(replayed_latents, plain_latents)
