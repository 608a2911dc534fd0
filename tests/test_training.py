"""The training step against a plain restatement of it, and what chance and resuming promise."""

from __future__ import annotations

import copy
import dataclasses
import math
from functools import partial

import pytest
import torch
from conftest import SAMPLE
from torch import nn

import gan_lab
from lab import device as machine
from lab import seeding as chance
from lab.data import datasets as data
from lab.errors import Fault, Mistake
from lab.models import networks as models
from lab.models import serialization as tensors
from lab.options import parse
from lab.training import cuda_graph as graphs
from lab.training import losses
from lab.training import progress as screen
from lab.training import state as checkpoint
from lab.training.optim import Adam

MAPS = ("--channels-g", "6", "4", "--channels-d", "4", "6")
SMALL = ["--hidden-g", "24", "32", "--hidden-d", "32", "24", "--latent-dim", "8", "--batch-size"]


def small_options(recipe: str, *more: str) -> gan_lab.Options:
    return parse(
        gan_lab.Options,
        [*SMALL, "50", "--recipe", recipe, "--device", "cpu", *more],
        gan_lab.RECIPES,
    )


@pytest.fixture(scope="module")
def real_images() -> torch.Tensor:
    return data.read_folder("fashion", SAMPLE / "fashion").train_images


def plain_step(options, state, optimizers, real, latent, step) -> None:
    """The same update in the most literal terms: two passes, no reuse, Adam from torch's loop."""
    generator, discriminator, average = state
    optimizer_g, optimizer_d = optimizers
    criterion = nn.BCELoss()
    ones, zeros = torch.ones(len(real)), torch.zeros(len(real))

    fake = generator(latent).detach()
    d_loss = criterion(torch.sigmoid(discriminator(real)), ones * (1 - options.label_smoothing))
    d_loss = d_loss + criterion(torch.sigmoid(discriminator(fake)), zeros)
    if options.r1_gamma and step % options.r1_every == 0:
        for_penalty = real.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(
            discriminator(for_penalty).sum(), for_penalty, create_graph=True
        )
        penalty = gradient.flatten(1).norm(dim=1).pow(2).mean()
        d_loss = d_loss + options.r1_gamma / 2 * options.r1_every * penalty
    optimizer_d.zero_grad()
    d_loss.backward()
    optimizer_d.step()

    g_loss = criterion(torch.sigmoid(discriminator(generator(latent))), ones)
    optimizer_g.zero_grad()
    g_loss.backward()
    optimizer_g.step()
    if options.average:
        decay = min(options.average, (step + 2) / (step + 11))  # the first update is number 1
        for mean, weight in zip(average.parameters(), generator.parameters(), strict=True):
            mean.data = decay * mean.data + (1 - decay) * weight.data


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("modern", ()),
        ("classic", ()),
        ("dcgan", MAPS),
        ("classic", ("--batch-norm", "--label-smoothing", "0.1", "--activation", "relu")),
    ],
)
def test_the_step_computes_what_a_plain_one_does(real_images, recipe, more):
    options = small_options(recipe, *more)
    training = gan_lab.begin(options, torch.device("cpu"))
    state = tuple(
        copy.deepcopy(net).requires_grad_(True)
        for net in (training.generator, training.discriminator, training.average)
    )
    optimizers = tuple(
        torch.optim.Adam(net.parameters(), rate, (options.beta1, options.beta2), foreach=False)
        for net, rate in zip(state, (options.lr_g, options.lr_d), strict=False)
    )
    latents = chance.stream(options.seed, "latents")
    for step in range(20):
        real = data.to_float(real_images[step * 50 : step * 50 + 50])
        latent = torch.randn(50, options.latent_dim, generator=latents)
        plain_step(options, state, optimizers, real, latent, step)
        gan_lab.train_step(options, training, real, gan_lab.penalty_is_due(options, training))
        gan_lab.finish_step(options, training)
    networks = (training.generator, training.discriminator)
    networks += (training.average,) if options.average else ()
    for ours, plain in zip(networks, state, strict=False):
        for name, weight in ours.named_parameters():
            assert torch.allclose(weight, plain.get_parameter(name), atol=1e-5), name


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_steps_figures_are_its_losses_and_opinions(real_images, name):
    options = small_options("classic", "--loss", name)
    training, loss = gan_lab.begin(options, torch.device("cpu")), losses.LOSSES[name]()
    latents = chance.stream(options.seed, "latents")
    real = data.to_float(real_images[:50])
    with torch.no_grad():
        made = training.generator(torch.randn(50, 8, generator=latents))
        opinions = training.discriminator(real), training.discriminator(made)
    figures = gan_lab.train_step(options, training, real, penalised=False)
    with torch.no_grad():  # the generator is told what the discriminator thinks by now
        g_loss = loss.generator(training.discriminator(made))
    expected = (
        *(loss.discriminator(*opinions), g_loss),
        *(opinion.sigmoid().mean() for opinion in opinions),
    )
    assert torch.allclose(figures, torch.stack(expected), atol=1e-5)


def test_the_options_of_both_networks_reach_them():
    more = ("--batch-norm", "--activation", "relu", "--output", "clip", "--dropout", "0.3")
    for recipe, maps in (("modern", ()), ("dcgan", MAPS)):
        options = small_options(recipe, *maps, *more)
        training = gan_lab.begin(options, torch.device("cpu"))
        given = vars(options)
        for network, end in ((training.generator, "_g"), (training.discriminator, "_d")):
            for name, value in network.config.items():
                wanted = given.get(name, given.get(name + end))
                assert value == (list(wanted) if isinstance(wanted, tuple) else wanted), name


def test_the_seed_decides_first_weights_and_dropout():
    found = []
    for seed in ("0", "1"):
        training = gan_lab.begin(small_options("modern", "--seed", seed), torch.device("cpu"))
        weights = (training.generator.layers[0].weight, training.discriminator.layers[0].weight)
        found.append((*weights, torch.rand(3)))  # dropout knows only the global stream
    assert not any(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_adam_is_torchs_adam_bit_for_bit():
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(30, 40), nn.Tanh(), nn.Linear(40, 3))
    theirs = copy.deepcopy(ours)
    optimizers = (
        Adam(ours.parameters(), 1e-2, (0.5, 0.99)),
        torch.optim.Adam(theirs.parameters(), 1e-2, (0.5, 0.99), fused=True),
    )
    for _ in range(5):
        inputs = torch.randn(16, 30)
        for network, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            network(inputs).square().mean().backward()
            optimizer.step()
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_rates_fall_at_the_end_only_and_not_to_nothing():
    options = small_options("modern", "--lr-d", "5e-4")
    options = dataclasses.replace(options, epochs=10, lr_decay=0.4, lr_floor=0.1)
    training = gan_lab.begin(options, torch.device("cpu"))
    rates = []
    for training.epoch in range(10):
        gan_lab.set_rates(options, training)
        rates.append(training.optimizer_g.rate / options.lr_g)
        assert training.optimizer_d.rate / options.lr_d == pytest.approx(rates[-1])
    assert rates[:7] == pytest.approx([1] * 7)
    quarters = [(1 + math.cos(math.pi * way)) / 2 for way in (0.25, 0.5, 0.75)]
    assert rates[7:] == pytest.approx([0.1 + 0.9 * share for share in quarters])


def trained(options, real_images, steps, after=None, path=None):
    """A training `steps` steps on, saved to and loaded from `path` after `after` of them."""
    training = gan_lab.begin(options, torch.device("cpu"))
    order_state = training.order.get_state()
    for step in range(steps):
        batch = torch.randperm(200, generator=training.order)[: options.batch_size]
        real, due = data.to_float(real_images[batch]), gan_lab.penalty_is_due(options, training)
        training.totals += gan_lab.train_step(options, training, real, due)
        gan_lab.finish_step(options, training)
        if step == after:
            order_state = training.order.get_state()
            checkpoint.save(path, training, order_state)
            torch.manual_seed(99)  # what a new process would have
            training = gan_lab.begin(options, torch.device("cpu"))
            checkpoint.load(path, training)
    return training


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("modern", ()),
        ("classic", ("--batch-norm", "--dropout", "0.3")),
        ("dcgan", (*MAPS, "--batch-norm")),
    ],
)
def test_a_checkpoint_holds_everything(tmp_path, real_images, recipe, more):
    options = small_options(recipe, *more)
    straight = trained(options, real_images, 12)
    broken = trained(options, real_images, 12, after=5, path=tmp_path / "checkpoint.pth")
    for name in ("generator", "discriminator", "average"):
        one, two = getattr(straight, name).state_dict(), getattr(broken, name).state_dict()
        assert all(torch.equal(one[key], two[key]) for key in one), name
    assert torch.equal(straight.totals, broken.totals)
    assert straight.step == broken.step


def test_a_checkpoint_knows_its_place(tmp_path):
    options, path = small_options("modern"), tmp_path / "checkpoint.pth"
    training = gan_lab.begin(options, torch.device("cpu"))
    training.epoch, training.step, training.seconds = 1, 3, 1.5
    training.history = [dict.fromkeys(checkpoint.COLUMNS, 0.5) | {"epoch": 1}]
    epoch_began = training.order.get_state()
    torch.randperm(9, generator=training.order)
    checkpoint.save(path, training, epoch_began)
    again = gan_lab.begin(options, torch.device("cpu"))
    checkpoint.load(path, again)
    for name in ("epoch", "step", "seconds", "history"):
        assert getattr(again, name) == getattr(training, name), name
    assert torch.equal(again.order.get_state(), epoch_began)  # to draw its order from again


# Replayed steps: on a machine without CUDA, all but the recording itself


def replayed(options, monkeypatch, record):
    """A training and its step that is replayed, with `record` for CUDA's recording."""
    training = gan_lab.begin(options, torch.device("cpu"))
    monkeypatch.setattr(graphs, "record", record)
    step = graphs.Replayed(partial(gan_lab.train_step, options, training), training)
    step.possible = True
    return training, step


def weights_after(options, training, step, real_images):
    """The discriminator's weights after 30 steps."""
    for number in range(30):
        real = data.to_float(real_images[number * 50 : number * 50 + 50])
        training.totals += step(real, gan_lab.penalty_is_due(options, training))
        gan_lab.finish_step(options, training)
    return training.discriminator.state_dict()


def test_replayed_steps_are_the_steps(real_images, monkeypatch):
    options, calls = small_options("modern", "--dropout", "0.3"), []

    def faithful(step, real):
        calls.append("recorded")
        return lambda real: calls.append("replayed") or step(real)

    training, step = replayed(options, monkeypatch, faithful)
    found = weights_after(options, training, step, real_images)
    plain = trained_straight(options, real_images)
    assert all(torch.equal(found[name], plain[name]) for name in plain)
    assert calls.count("recorded") == 2  # with the penalty and without
    assert calls.count("replayed") == 30 - 2 * graphs.WARM_UP
    assert set(step.recorded) == {False, True}


def trained_straight(options, real_images):
    training = gan_lab.begin(options, torch.device("cpu"))
    return weights_after(
        options,
        training,
        graphs.Replayed(partial(gan_lab.train_step, options, training), training),
        real_images,
    )


@pytest.mark.parametrize(
    "how",
    ["does something else", "forgets its input", "keeps its latents", "draws in vain", "refuses"],
)
def test_a_recording_that_is_no_good_is_never_used(real_images, monkeypatch, capsys, how):
    options = small_options("modern")

    def stale(step, real):
        if how == "refuses":
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        kept, latents = torch.zeros_like(real), training.latents
        recorded = latents.get_state()

        def replay(real):
            before = latents.get_state()
            if how == "keeps its latents":
                latents.set_state(recorded)
            given = {"does something else": real * 0.5, "forgets its input": kept}
            figures = step(given.get(how, real))
            if how == "draws in vain":
                latents.set_state(before)
            return figures

        return replay

    training, step = replayed(options, monkeypatch, stale)
    found = weights_after(options, training, step, real_images)
    plain = trained_straight(options, real_images)
    assert all(torch.equal(found[name], plain[name]) for name in plain)
    assert capsys.readouterr().out.count("not replayed as CUDA graphs") == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("recipe", ["modern", "classic", "dcgan"])
def test_recorded_steps_are_the_steps_on_a_gpu(real_images, recipe):
    options = small_options(recipe, *(MAPS if recipe == "dcgan" else ()), "--dropout", "0.3")
    found = []
    for recording in (True, False):
        training = gan_lab.begin(options, torch.device("cuda"))
        torch.manual_seed(0)
        step = graphs.Replayed(partial(gan_lab.train_step, options, training), training)
        step.possible = recording
        weights = weights_after(options, training, step, real_images.cuda())
        kinds = {False} if recipe == "classic" else {False, True}  # without and with the penalty
        assert set(step.recorded) == (kinds if recording else set())
        assert training.optimizer_g.steps == 30
        found.append((weights, training.latents.get_state()))
    (replayed_weights, replayed_latents), (plain_weights, plain_latents) = found
    for name, weight in plain_weights.items():
        torch.testing.assert_close(replayed_weights[name], weight, rtol=1e-2, atol=1e-3)
    assert torch.equal(replayed_latents, plain_latents)


def test_a_checkpoint_goes_on_with_other_latents_on_another_kind_of_device(tmp_path, real_images):
    options, path = small_options("modern"), tmp_path / "checkpoint.pth"
    trained(options, real_images, 3, after=1, path=path)
    content = tensors.read_tensors(path, checkpoint.FORMAT)
    content["streams"]["device"] = "cuda"
    content["streams"]["latents"] = torch.zeros(16, dtype=torch.uint8)  # as CUDA's states are
    tensors.write_tensors(path, content)
    drawn = []
    for _ in range(2):
        training = gan_lab.begin(options, torch.device("cpu"))
        first = training.latents.get_state()
        checkpoint.load(path, training)
        assert not torch.equal(training.latents.get_state(), first)
        drawn.append(torch.randn(4, generator=training.latents))
    assert torch.equal(*drawn)


def test_a_checkpoint_of_another_network_is_refused(tmp_path, real_images):
    path = tmp_path / "checkpoint.pth"
    trained(small_options("modern"), real_images, 3, after=1, path=path)
    other = dataclasses.replace(small_options("modern"), hidden_g=(24, 33))
    with pytest.raises(Fault, match="has shape"):
        checkpoint.load(path, gan_lab.begin(other, torch.device("cpu")))


def test_a_checkpoint_of_another_run_is_refused(tmp_path, real_images):
    training = gan_lab.begin(small_options("modern"), torch.device("cpu"))
    checkpoint.save(tmp_path / "c.pth", training, training.order.get_state())
    training.origin = "mnist, seed 7"
    with pytest.raises(Fault, match=r"is of another run \(.*, not mnist, seed 7\)"):
        checkpoint.load(tmp_path / "c.pth", training)


def test_a_checkpoints_optimizer_is_checked_too(tmp_path, real_images):
    path = tmp_path / "checkpoint.pth"
    options = small_options("modern")
    trained(options, real_images, 3, after=1, path=path)
    for name, value, says in (
        ("exp_avg", torch.zeros(2), "exp_avg of weight 0"),
        ("exp_avg", torch.full((24, 8), math.nan), "exp_avg of weight 0"),
        ("exp_avg_sq", -torch.ones(24, 8), "exp_avg_sq of weight 0"),
        ("step", torch.tensor(-11.0), "count of steps"),
        ("step", torch.tensor(7.0), "count of steps"),  # another than the other weights'
    ):
        content = torch.load(path, weights_only=True)
        content["optimizers"]["generator"][0][name] = value
        torch.save(content, tmp_path / "changed.pth")
        with pytest.raises(Fault, match=says):
            checkpoint.load(tmp_path / "changed.pth", gan_lab.begin(options, torch.device("cpu")))


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": 10**400},
        {"epoch": 10**400},
        {"epoch": 3},  # the history has none
        {"step": -3},
        {"networks": torch.zeros(2)},
        {"optimizers": []},
        {"streams": 0},
        {"history": [[]]},
    ],
)
def test_a_checkpoint_of_other_things_is_refused(tmp_path, real_images, change):
    path = tmp_path / "checkpoint.pth"
    options = small_options("modern")
    trained(options, real_images, 3, after=1, path=path)
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    with pytest.raises(Fault, match="damaged checkpoint"):
        checkpoint.load(path, gan_lab.begin(options, torch.device("cpu")))


def test_totals_that_claim_any_length_are_refused_at_once(tmp_path, real_images):
    path = tmp_path / "checkpoint.pth"
    options = small_options("modern")
    trained(options, real_images, 3, after=1, path=path)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "totals": torch.zeros(1).expand(10**7)}, path)
    with pytest.raises(Fault, match="totals"):
        checkpoint.load(path, gan_lab.begin(options, torch.device("cpu")))


@pytest.mark.parametrize(
    ("whole", "idle", "own", "crowded"),
    [
        (20.0, 0.5, 10.0, True),  # two trainings at once
        (20.0, 0.5, 19.0, False),  # alone
        (20.0, 10.0, 9.5, False),  # alone, networks too small for two threads
        (20.0, 10.0, 1.0, False),  # others, but there is room for them
        (0.5, 0.0, 0.1, False),  # too soon to say
    ],
)
def test_other_programs_on_the_cores_are_noticed(monkeypatch, whole, idle, own, crowded):
    readings = iter([(1000.0, 500.0, 7.0), (1000.0 + whole, 500.0 + idle, 7.0 + own), None])
    monkeypatch.setattr(machine, "cpu_seconds", lambda: next(readings))
    contention = machine.Contention()
    assert contention.is_crowded() is crowded
    assert not contention.is_crowded()  # where nothing can be read nothing is said


def test_a_coarse_clock_stops_no_bar(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    training = gan_lab.begin(small_options("modern"), torch.device("cpu"))
    training.step = 1  # in no time, says a clock that ticks every 16 ms
    with screen.Screen(training, epochs=1, steps=2, batch_size=50) as bar:
        bar.looked_at = -math.inf
        bar.advance(training)


@pytest.mark.skipif(machine.cpu_seconds() is None, reason="needs Linux")
def test_what_a_process_uses_is_part_of_what_all_use():
    before = machine.cpu_seconds()
    while machine.cpu_seconds()[2] < before[2] + 0.3:
        pass
    whole, idle, own = (now - then for now, then in zip(machine.cpu_seconds(), before, strict=True))
    assert own >= 0.3
    assert whole - idle > own - 0.1  # the system counts in hundredths of a second, for each core


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_gpu_that_torch_cannot_use_is_passed_over(monkeypatch, capsys):
    with pytest.raises(Mistake, match="--device cuda: this machine has none"):
        machine.pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # too old a one says so, too
    assert machine.pick_device("auto").type in ("mps", "cpu")
    assert "note: cuda: torch cannot use it (" in capsys.readouterr().out
    with pytest.raises(Mistake, match=r"--device cuda: torch cannot use it \(.*--device auto"):
        machine.pick_device("cuda")


def test_streams_are_apart_and_repeat():
    one = torch.randn(4, generator=chance.stream(3, "latents"))
    assert torch.equal(one, torch.randn(4, generator=chance.stream(3, "latents")))
    assert not torch.equal(one, torch.randn(4, generator=chance.stream(3, "order")))
    assert not torch.equal(one, torch.randn(4, generator=chance.stream(4, "latents")))


def test_matrices_are_multiplied_as_asked_and_only_where_asked():
    before = torch.get_float32_matmul_precision()
    for precision, wanted in (("bfloat16", "medium"), ("float32", "highest")):
        with machine.matrix_products(precision, torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == wanted
            with machine.full_precision():  # scores and pictures
                assert torch.get_float32_matmul_precision() == "highest"
            assert torch.get_float32_matmul_precision() == wanted
        assert torch.get_float32_matmul_precision() == before


def test_only_convolutions_keep_bfloat16_between_them(monkeypatch):
    monkeypatch.setattr(machine, "bfloat16_is_fast", lambda device: True)
    for convolutions in (True, False):
        with machine.matrix_products("bfloat16", torch.device("cpu"), convolutions):
            assert torch.is_autocast_enabled("cpu") is convolutions


def test_the_number_of_threads_is_the_users_if_they_say_so(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "37")
    assert machine.available_cores() == 37


def test_low_precision_goes_on_with_the_weights_as_they_are_now(monkeypatch):
    # Within one step the discriminator is updated and then asked again.
    monkeypatch.setattr(machine, "bfloat16_is_fast", lambda device: True)
    network = models.Discriminator((4,), channels=(3,))
    shown = torch.randn(2, 1, 28, 28)
    with machine.matrix_products("bfloat16", torch.device("cpu"), convolutions=True):
        before = network(shown)
        with torch.no_grad():
            for weight in network.parameters():
                weight.mul_(2)
        assert not torch.allclose(network(shown), before, rtol=0.1)
        assert before.dtype == torch.float32
