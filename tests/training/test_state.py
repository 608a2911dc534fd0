"""lab/training/state.py: resumed trainings equal uninterrupted ones; checkpoints are checked."""

from __future__ import annotations

import dataclasses
import math
import time

import pytest
import torch
from small_trainings import (
    MAPS,
    are_equal,
    images,
    small_options,
    small_state,
    stopped_after,
    trained,
    weights_of,
)

from lab.errors import Fault
from lab.models.tensor_files import read_tensors, write_tensors
from lab.training import LOSSES
from lab.training import state as states
from lab.training.length import Length
from lab.training.pace import CheckpointClock
from lab.training.state import COLUMNS, load_checkpoint, save_checkpoint

THREE = ("--epochs", "3")  # of 4 steps each, with 200 images


@pytest.mark.parametrize("after", [1, 5, 8])  # within the first epoch, the second, at its end
@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("modern", ()),
        ("classic", ("--batch-norm", "--dropout", "0.3")),
        ("dcgan", (*MAPS, "--batch-norm")),
        ("modern", ("--conditional", "--augment")),
    ],
)
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path, recipe, more, after):
    options, path = small_options(recipe, *THREE, *more), tmp_path / "checkpoint.pth"
    straight = small_state(options)
    trained(options, straight, images(200))
    stopped_after(after, options, path)
    torch.manual_seed(99)  # what a new process would have
    broken = small_state(options)
    load_checkpoint(path, broken)
    assert broken.updates == after and broken.history == broken.history[: after // 4]
    trained(options, broken, images(200))
    assert are_equal(weights_of(straight), weights_of(broken))
    for stream in ("order", "latents"):
        one, two = (getattr(state, stream).get_state() for state in (straight, broken))
        assert torch.equal(one, two), stream
    assert (broken.epoch, broken.updates, broken.step) == (3, 12, 0)
    rows = [
        [{name: row[name] for name in row if "second" not in name} for row in state.history]
        for state in (straight, broken)
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 3


@pytest.mark.parametrize("after", [5, 8, 9])  # before, at and within the short last epoch
def test_a_run_with_a_short_last_epoch_can_be_resumed(tmp_path, after):
    short = dataclasses.replace(small_options(), epochs=3, images_shown=200 + 200 + 100)
    path, straight, broken = tmp_path / "checkpoint.pth", small_state(short), small_state(short)
    rows = trained(short, straight, images(200))
    assert (straight.epoch, straight.updates, len(rows)) == (3, 10, 3)
    stopped_after(after, short, path)
    load_checkpoint(path, broken)
    trained(short, broken, images(200))
    assert are_equal(weights_of(straight), weights_of(broken))
    # The rates fall by the place in the run, and a longer run goes on at the fourth epoch.
    assert (broken.epoch, broken.updates, broken.schedule_step) == (3, 10, 12)


def test_a_run_stopped_between_two_epochs_can_be_resumed(tmp_path):
    options, path = small_options("modern", *THREE), tmp_path / "checkpoint.pth"
    longer = dataclasses.replace(options, epochs=5, lr_decay=0.0)
    state = small_state(longer)
    trained(dataclasses.replace(longer, epochs=3), state, images(200))
    save_checkpoint(path, state)
    again = small_state(longer)
    load_checkpoint(path, again)
    assert (again.epoch, again.step, again.updates) == (3, 0, 12)
    for each in (state, again):
        trained(longer, each, images(200))
    assert are_equal(weights_of(state), weights_of(again))


def test_a_checkpoint_stores_its_position(tmp_path):
    options, path = small_options("modern", *THREE), tmp_path / "checkpoint.pth"
    state = small_state(options)
    state.epoch, state.step, state.seconds = 1, 3, 1.5
    state.history = [dict.fromkeys(COLUMNS, 0.5) | {"epoch": 1}]
    epoch_began = state.order.get_state()
    first = next(state.batches_left(200, 50))  # shuffles the images
    save_checkpoint(path, state)
    again = small_state(options)
    load_checkpoint(path, again)
    for name in ("epoch", "step", "seconds", "history"):
        assert getattr(again, name) == getattr(state, name), name
    assert torch.equal(again.order.get_state(), epoch_began)
    assert torch.equal(next(again.batches_left(200, 50)), first)  # the same order
    again.count_step()
    assert 1.5 < again.seconds < 60  # time before the checkpoint counts


def test_images_after_the_last_full_batch_are_left_out():
    state = small_state(small_options())
    batches = list(state.batches_left(230, 50))
    assert [len(batch) for batch in batches] == [50] * 4
    assert len(torch.cat(batches).unique()) == 200
    state.step = 3
    assert [len(batch) for batch in state.batches_left(230, 50)] == [50]


def test_a_short_last_epoch_has_the_first_batches_of_a_whole_one():
    whole, short = small_state(small_options()), small_state(small_options())
    short.length = Length(images=230, batch_size=50, steps=6)
    assert torch.equal(*(torch.cat(list(state.batches_left(230, 50))) for state in (whole, short)))
    whole.length = Length(images=230, batch_size=50, steps=8)
    whole.epoch = short.epoch = 1
    batches = [list(state.batches_left(230, 50)) for state in (whole, short)]
    assert [len(each) for each in batches] == [4, 2]
    assert torch.equal(torch.cat(batches[0][:2]), torch.cat(batches[1]))


def test_the_length_may_change_during_an_epoch():
    state = small_state(small_options())
    state.length = Length(images=500, batch_size=50, steps=4)
    seen = []
    for batch in state.batches_left(500, 50):
        seen.append(batch)
        if len(seen) == 3:
            state.length.steps = 7
    assert len(seen) == 7


def test_an_epochs_row_is_the_mean_of_its_steps():
    state = small_state(small_options())
    state.totals += torch.tensor([3.0, 6.0, 1.5, 0.75])
    state.step, state.seconds = 3, 2.0
    row = state.end_epoch(batch_size=50)
    assert tuple(row) == COLUMNS
    assert row == {
        **{"epoch": 1, "seconds": 2.0, "images_per_second": 75},
        **{"d_loss": 1.0, "g_loss": 2.0, "d_real": 0.5, "d_fake": 0.25},
    }
    assert state.history == [row]
    assert (state.epoch, state.step, state.seconds) == (1, 0, 0.0) and not state.totals.any()


# Divergence


@pytest.mark.parametrize("loss", [5000.0, -5000.0, math.nan, math.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_too_large_losses_count_as_divergence(loss, which):
    state = small_state(small_options())
    state.step = 2
    state.totals += torch.tensor([1.4, 1.4, 1.0, 1.0])
    state.check_divergence(LOSSES["non-saturating"])
    state.totals[which] = 2 * loss
    with pytest.raises(Fault, match=r"diverged in epoch 1 "):
        state.check_divergence(LOSSES["non-saturating"])
    state.epoch = 4
    with pytest.raises(Fault, match=r"diverged in epoch 5 "):
        state.check_divergence(LOSSES["non-saturating"])


def test_the_limit_of_divergence_is_that_of_the_loss():
    state = small_state(small_options())
    state.step = 1
    state.totals += torch.tensor([1.4, -5000.0, 1.0, 1.0])
    state.check_divergence(dataclasses.replace(LOSSES["hinge"], most=10_000.0))


@pytest.mark.parametrize("network", ["generator", "discriminator", "ema"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_weight_that_is_not_finite_counts_as_divergence(network, value):
    state = small_state(small_options())
    state.totals += torch.tensor([0.7, 0.7, 0.5, 0.5])
    state.step = 1
    getattr(state, network).layers[0].bias.data[3] = value
    with pytest.raises(Fault, match="diverged in epoch 1"):
        state.check_divergence(LOSSES["non-saturating"])


# Damaged and hostile checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of the small training of the modern recipe, after 3 of 4 steps."""
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.pth"
    stopped_after(3, small_options("modern", *THREE), path)
    return path


def refused(checkpoint, path, options=None, **changes) -> str:
    """The error message for a changed checkpoint, written to `path`."""
    torch.save({**torch.load(checkpoint, weights_only=True), **changes}, path)
    with pytest.raises(Fault) as caught:
        load_checkpoint(path, small_state(options or small_options("modern", *THREE)))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_another_kind_of_device_continues_with_other_latents(checkpoint, tmp_path):
    options, path = small_options("modern", *THREE), tmp_path / "checkpoint.pth"
    content = read_tensors(checkpoint, states.FORMAT)
    content["streams"]["device"] = "cuda"
    content["streams"]["latents"] = torch.zeros(16, dtype=torch.uint8)  # as CUDA's states are
    write_tensors(path, content)
    drawn = []
    for _ in range(2):
        state = small_state(options)
        first, seed = state.latents.get_state(), state.latents.initial_seed()
        load_checkpoint(path, state)
        assert state.latents.initial_seed() == (seed + 3) % 2**63  # others after other steps
        assert not torch.equal(state.latents.get_state(), first)
        drawn.append(torch.randn(4, generator=state.latents))
    assert torch.equal(*drawn)


def test_a_checkpoint_of_another_network_is_refused(checkpoint, tmp_path):
    other = dataclasses.replace(small_options(), hidden_g=(24, 33))
    assert "has shape" in refused(checkpoint, tmp_path / "c.pth", other)
    other = small_options("modern", "--activation", "relu", "--batch-norm")
    assert "weights are not those" in refused(checkpoint, tmp_path / "c.pth", other)


def test_a_checkpoint_of_another_run_is_refused(checkpoint, tmp_path):
    said = refused(checkpoint, tmp_path / "c.pth", origin="mnist, seed 7")
    assert "is of another run (mnist, seed 7, not fashion, seed 0)" in said
    assert "is of another run" in refused(
        checkpoint, tmp_path / "c.pth", origin="x-fashion, seed 0"
    )
    own = dataclasses.replace(images(200), path=tmp_path)  # the folder's name does not count
    load_checkpoint(checkpoint, small_state(small_options("modern", *THREE), own))


def test_a_checkpoint_of_the_first_version_is_refused_in_a_line(checkpoint, tmp_path):
    said = refused(checkpoint, tmp_path / "c.pth", version=1)
    assert said.endswith("is of another version of the lab; this one reads version 2")


def test_a_checkpoints_optimizer_is_checked_too(checkpoint, tmp_path):
    for name, value, says in (
        ("exp_avg", torch.zeros(2), "exp_avg of weight 0"),
        ("exp_avg", torch.full((24, 8), math.nan), "exp_avg of weight 0"),
        ("exp_avg_sq", -torch.ones(24, 8), "exp_avg_sq of weight 0"),
        ("step", torch.tensor(-11.0), "count of steps"),
        ("step", torch.tensor(7.0), "count of steps"),  # differs from the other weights
    ):
        optimizers = torch.load(checkpoint, weights_only=True)["optimizers"]
        optimizers["generator"][0][name] = value
        assert says in refused(checkpoint, tmp_path / "c.pth", optimizers=optimizers)


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": 10**400},
        {"seconds": math.nan},
        {"epoch": 10**400},
        {"epoch": 3},  # not in the history
        {"step": -3},
        {"step": "3"},
        {"networks": torch.zeros(2)},
        {"networks": {}},
        {"optimizers": []},
        {"streams": 0},
        {"streams": {"order": torch.zeros(3)}},
        {"history": [[]]},
        {"history": [{"epoch": 1}], "epoch": 1},
        {"history": [dict.fromkeys((*COLUMNS, "<b>"), 1)], "epoch": 1},
        {"history": None},
        {"totals": None},
        {"totals": torch.full((4,), math.nan)},
    ],
)
def test_a_damaged_checkpoint_is_refused(checkpoint, tmp_path, change):
    assert "damaged checkpoint" in refused(checkpoint, tmp_path / "c.pth", **change)


def test_totals_of_any_length_are_refused_at_once(checkpoint, tmp_path):
    totals = torch.zeros(1).expand(10**7)
    assert "totals" in refused(checkpoint, tmp_path / "c.pth", totals=totals)


# When a checkpoint is written


@pytest.mark.parametrize("cost", [0.0, 0.05, 0.5, 2.0])
def test_a_slow_epoch_loses_two_minutes_at_most_and_saving_two_percent(monkeypatch, cost):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock, costs, last, longest = CheckpointClock(), 0.0, 0.0, 0.0
    while now[0] < 4000:
        now[0] += 0.25
        if clock.is_due(end_of_epoch=False):
            longest = max(longest, now[0] - last)
            with clock.timed():
                now[0] += cost
            costs, last = costs + cost, now[0]
    assert 0 < longest <= 120.5
    # The cost of the first one is not known before.
    assert (costs - cost) / now[0] < 0.02


def test_at_the_end_of_an_epoch_a_checkpoint_is_due_sooner(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock, found = CheckpointClock(), []
    for now[0] in (5.0, 11.0, 61.0):
        found.append((clock.is_due(end_of_epoch=True), clock.is_due(end_of_epoch=False)))
    assert found == [(False, False), (True, False), (True, True)]
