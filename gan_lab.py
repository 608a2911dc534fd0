"""Train a GAN, fully connected or convolutional, on MNIST or Fashion-MNIST.

    python gan_lab.py --dataset fashion

Each run gets a folder of its own in outputs/, with sample grids, weights, curves and a history.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lab import environment

if __name__ == "__main__":
    environment.prepare()

import torch
from torch import Tensor

from lab import device as machine
from lab import files as storage
from lab import lock, places
from lab import seeding as chance
from lab.data import datasets as data
from lab.errors import (
    Fault,
    Interrupted,
    Mistake,
    StopSwitch,
    going_on,
    made_good,
    run_script,
    signals_call,
)
from lab.evaluation import diagnosis as advice
from lab.evaluation import latent_space as stills
from lab.evaluation.evaluator import Judge
from lab.models import networks as models
from lab.models import serialization as tensors
from lab.options import flag_of, given_options, option, parse, restored, said
from lab.report import figures as images
from lab.report import index, report
from lab.runs import provenance
from lab.runs import run as runs
from lab.text import counted
from lab.training import cuda_graph as graphs
from lab.training import losses
from lab.training import state as checkpoint
from lab.training import tensorboard as board
from lab.training.optim import Adam
from lab.training.progress import Screen
from lab.training.state import TOTALS, Clock, Training

GRID = 25  # sample grids are 5x5
GIF_FRAMES = 80  # all of them are in memory at once
MOST_EPOCHS = 100_000
OF_THE_CALL = {"resume", "dry_run", "report", "list"}  # options that are not the run's
OF_THE_PLAN = {  # options that the plan does not list as changes of the recipe
    *("dataset", "data_dir", "out", "recipe", "epochs", "images_shown", "batch_size"),
    *("sample_every", "seed", "device"),
}
NEEDS = {"r1_every": "r1_gamma", "lr_floor": "lr_decay"}  # no effect where the other is 0
ABSURD_LOSS = 1_000  # healthy losses stay below 10; Adam's bounded steps seldom reach infinity

RECIPES: dict[str, dict[str, Any]] = {
    "modern": {},
    "classic": {
        "hidden_g": (256, 512, 1024),
        "output": "tanh",
        "pyramid": False,
        "precision": "float32",
        "lr_g": 2e-4,
        "lr_d": 2e-4,
        "lr_decay": 0.0,
        "beta1": 0.5,
        "beta2": 0.999,
        "r1_gamma": 0.0,
        "average": 0.0,
    },
    "dcgan": {
        "images_shown": 720_000,
        "batch_size": 64,
        "channels_g": (64, 32),
        "output": "tanh",
        "hidden_d": (256,),
        "channels_d": (32, 64),
        "pyramid": False,
    },
}


@dataclass(frozen=True)
class Options:
    """Every option of a training, with the modern recipe's values as defaults."""

    dataset: str = option(
        "fashion", "the set to learn", choices=tuple(data.SETS), heading="what is learned, how long"
    )
    data_dir: Path | None = option(
        None, "folder with the set's IDX files; left out, the lab looks around", folder=True
    )
    out: Path = option(runs.OUTPUTS, "folder that run folders are made in")
    recipe: str = option("modern", "defaults of all options below", choices=tuple(RECIPES))
    epochs: int | None = option(
        None,
        "passes over the images; left out, as many as show --images-shown",
        low=1,
        high=MOST_EPOCHS,
    )
    images_shown: int = option(
        1_920_000,
        "images shown in all, where --epochs is not given",
        low=1,
        high=MOST_EPOCHS * data.MOST_IMAGES,
    )
    batch_size: int = option(128, "images a step", low=2, high=60_000)
    latent_dim: int = option(
        100, "numbers a latent has", low=1, high=models.MOST_LATENT, heading="the networks"
    )
    hidden_g: tuple[int, ...] = option(
        (512, 512, 512),
        "widths of the generator's hidden layers",
        low=1,
        high=models.MOST_WIDTH,
        most=models.MOST_LAYERS,
    )
    hidden_d: tuple[int, ...] = option(
        (512, 256),
        "widths of the discriminator's hidden layers",
        low=1,
        high=models.MOST_WIDTH,
        most=models.MOST_LAYERS,
    )
    channels_g: tuple[int, ...] = option(
        (),
        "maps of the generator's transposed convolutions, after its hidden layers",
        low=1,
        high=models.MOST_CHANNELS,
        most=models.MOST_CONVOLUTIONS,
    )
    channels_d: tuple[int, ...] = option(
        (),
        "maps of the discriminator's convolutions, before its hidden layers",
        low=1,
        high=models.MOST_CHANNELS,
        most=models.MOST_CONVOLUTIONS,
    )
    activation: str = option(
        "leaky-relu", "activation of the generator", choices=tuple(models.ACTIVATIONS)
    )
    batch_norm: bool = option(False, "batch normalisation in the generator")
    output: str = option(
        "clip", "what keeps the generator's pixels in range", choices=tuple(models.OUTPUTS)
    )
    dropout: float = option(0.0, "dropout in the discriminator", low=0, high=0.9)
    pyramid: bool = option(True, "show the discriminator bands of detail instead of pixels")
    loss: str = option(
        "non-saturating", "adversarial loss", choices=tuple(losses.LOSSES), heading="the training"
    )
    label_smoothing: float = option(
        0.0, "how far below 1 the targets of real images lie", low=0, high=0.5
    )
    lr_g: float = option(1e-3, "Adam's learning rate, generator", low=1e-8, high=100)
    lr_d: float = option(1e-3, "Adam's learning rate, discriminator", low=1e-8, high=100)
    beta1: float = option(0.0, "Adam's first decay rate", low=0, high=0.999)
    beta2: float = option(0.99, "Adam's second decay rate", low=0, high=0.99999)
    lr_decay: float = option(
        0.3, "last share of the epochs, over which both rates fall", low=0, high=1
    )
    lr_floor: float = option(0.1, "what share of the rates they fall towards", low=0, high=1)
    r1_gamma: float = option(1.0, "weight of the R1 gradient penalty", low=0, high=10_000)
    r1_every: int = option(8, "steps from one penalty to the next", low=1, high=1_000)
    average: float = option(
        0.9995,
        "decay of the generator's moving average a step, at most; 0 is none",
        low=0,
        high=0.99999,
    )
    precision: str = option(
        "bfloat16",
        "what matrix products are rounded to, where the processor can",
        choices=machine.PRECISIONS,
    )
    sample_every: int | None = option(
        None,
        "epochs from one sample grid to the next; left out, for ten grids",
        low=1,
        high=100_000,
        heading="what is recorded",
    )
    quality: bool = option(True, "score the images at each sample grid and at the end")
    final_images: int = option(100, "images made at the end", low=0, high=100_000)
    tensorboard: bool = option(
        False, "also write events for TensorBoard, if it is installed", only_on=True
    )
    seed: int = option(
        0,
        "decides everything that is left to chance",
        low=0,
        high=2**63 - 1,
        heading="chance, machine, and runs that are there",
    )
    device: str = option("auto", "where to compute", choices=machine.DEVICES)
    resume: str | None = option(
        None, "go on with this run folder; without a name the newest unfinished", bare="newest"
    )
    dry_run: bool = option(False, "print the plan and write nothing", only_on=True)
    report: Path | None = option(None, "make report.html of this run folder again, no training")
    list: bool = option(False, "print a table of the runs there are, no training", only_on=True)

    @property
    def convolutional(self) -> bool:
        """Whether any of the networks has convolutions."""
        return bool(self.channels_g or self.channels_d)


# The plan


def refuse_contradictions(given: dict[str, Any], options: Options) -> None:
    """Mistake if of the `given` options one leaves another without effect."""
    if {"epochs", "images_shown"} <= given.keys():
        raise Mistake(
            f"{said('images_shown', given)}: --epochs decides that, too; give one of them"
        )
    for name, other in NEEDS.items():
        if name in given and not getattr(options, other):
            raise Mistake(
                f"{said(name, given)}: has no effect while {flag_of(other)} is 0; raise that, too, "
                "or leave it out"
            )


def planned(options: Options, image_count: int) -> Options:
    """Fill in what depends on the size of the set, and refuse what does not fit it."""
    if options.batch_size > image_count:
        raise Mistake(
            f"--batch-size {options.batch_size}: the set has {image_count:,} training images; "
            "give a smaller batch"
        )
    if options.pyramid and options.channels_d:
        raise Mistake(
            f"{said('channels_d', vars(options))}: convolutions are shown pixels, not --pyramid's "
            "bands; add --no-pyramid, or --channels-d none"
        )
    if options.label_smoothing and options.loss == "hinge":
        raise Mistake(
            f"--label-smoothing {options.label_smoothing:g}: the hinge loss has no labels; "
            "leave it out, or choose another --loss"
        )
    epochs = options.epochs or max(1, round(options.images_shown / image_count))
    if epochs > MOST_EPOCHS:
        raise Mistake(
            f"--images-shown {options.images_shown:,}: is {epochs:,} epochs, at most "
            f"{MOST_EPOCHS:,}; show fewer"
        )
    sample_every = options.sample_every or max(1, epochs // 10)
    # Each epoch begins with a penalty, of the weight of `r1_every` steps: no more than it has.
    r1_every = min(options.r1_every, image_count // options.batch_size)
    return dataclasses.replace(
        options,
        epochs=epochs,
        images_shown=epochs * image_count,
        sample_every=sample_every,
        r1_every=r1_every,
    )


def begin(options: Options, device: torch.device) -> Training:
    """A training before its first step: networks freshly initialised, chance by the seed."""
    with torch.random.fork_rng(devices=[]):  # initialisation draws from the global stream
        torch.manual_seed(chance.seed_for(options.seed, "weights"))
        generator = models.Generator(
            options.latent_dim,
            options.hidden_g,
            options.batch_norm,
            options.activation,
            options.channels_g,
            options.output,
        )
        discriminator = models.Discriminator(
            options.hidden_d, options.dropout, options.pyramid, options.channels_d
        )
    for network in (generator, discriminator):  # channels last: convolutions are a tenth faster
        network.to(device, memory_format=torch.channels_last)
    torch.manual_seed(chance.seed_for(options.seed, "dropout"))  # it knows only the global stream
    betas = (options.beta1, options.beta2)
    return Training(
        generator=generator,
        discriminator=discriminator,
        average=copy.deepcopy(generator).requires_grad_(False) if options.average else generator,
        optimizer_g=Adam(generator.parameters(), options.lr_g, betas),
        optimizer_d=Adam(discriminator.parameters(), options.lr_d, betas),
        order=chance.stream(options.seed, "order"),
        latents=chance.stream(options.seed, "latents", device),
        totals=torch.zeros(len(TOTALS), device=device),
        origin=f"{options.dataset}, seed {options.seed}",
    )


def changed(options: Options) -> str:
    """The options that are not as the recipe has them, as they may be typed."""
    recipe, chosen = dataclasses.asdict(Options(**RECIPES[options.recipe])), vars(options)
    told = OF_THE_CALL | OF_THE_PLAN
    names = [name for name in chosen if name not in told and chosen[name] != recipe[name]]
    return " ".join(said(name, chosen) for name in names)


def print_plan(options: Options, image_set: data.ImageSet, training: Training) -> None:
    """Say what is about to happen, before it does."""
    count = len(image_set.train_images)
    print(
        f"{image_set.title}: {count:,} training images from {image_set.source}\n"
        f"{options.recipe} recipe: {counted(options.epochs, 'epoch')} of "
        f"{counted(count // options.batch_size, 'step')}, "
        f"batch {options.batch_size}, seed {options.seed}, "
        f"on {training.device.type} with {counted(machine.available_cores(), 'thread')}\n"
        f"generator {models.count_parameters(training.generator):,} parameters, "
        f"discriminator {models.count_parameters(training.discriminator):,}"
    )
    if changes := changed(options):
        print(f"other than the recipe: {changes}")
    if image_set.is_sample:
        print(data.SAMPLE_NOTICE)
        if options.images_shown < Options(**RECIPES[options.recipe]).images_shown:
            print(
                f"*** Its epochs are short: as many steps as {counted(options.epochs, 'epoch')} of "
                f"the full set\n*** are had with --epochs {data.SAMPLE_EPOCHS * options.epochs}."
            )
    if image_set.is_sample and options.dry_run and not (options.data_dir or options.resume):
        print("a real run first tries to download the full set")
    if options.resume:
        print(f"going on after epoch {training.epoch}, step {training.step}")


# The training


@dataclass(frozen=True)
class Recorder:
    """Where a run is written down: its folder, the screen, the judge, TensorBoard."""

    folder: Path
    screen: Screen
    clock: Clock
    judge: Judge | None
    board: board.Board | None


def train(
    options: Options, training: Training, real_images: Tensor, recorder: Recorder, stop: StopSwitch
) -> None:
    """Train until `options.epochs` are completed, recording the epochs as they go by.

    real_images: uint8 (N, 1, 28, 28) on the training device.
    Raises Interrupted on Ctrl-C and SIGTERM, and Fault on divergence; a checkpoint is kept.
    """
    if training.epoch == 0 and training.step == 0:
        save_samples(options, training, recorder, real_images)
    step = graphs.Replayed(partial(train_step, options, training), training)
    while training.epoch < options.epochs:
        train_epoch(options, training, step, real_images, recorder, stop)
        finish_epoch(options, training, real_images, recorder)
        is_last = training.epoch == options.epochs
        if is_last or stop.requested or recorder.clock.is_due(end_of_epoch=True):
            save_checkpoint(training, recorder)
            stop.raise_if_requested(how_to_go_on(recorder.folder))


def train_epoch(
    options: Options,
    training: Training,
    step: graphs.Replayed,
    real_images: Tensor,
    recorder: Recorder,
    stop: StopSwitch,
) -> None:
    """The rest of the epoch under way: full batches of the images, in an order of its own."""
    set_rates(options, training)
    order_state = training.order.get_state()
    order = torch.randperm(len(real_images), generator=training.order).to(real_images.device)
    batches = order.split(options.batch_size)
    began = time.monotonic() - training.seconds
    for batch in batches[training.step : steps_of(options, real_images)]:
        real = data.to_float(real_images.index_select(0, batch))
        with machine.matrix_products(options.precision, real.device, options.convolutional):
            training.totals += step(real, penalty_is_due(options, training))
        finish_step(options, training)
        training.seconds = time.monotonic() - began
        recorder.screen.advance(training)
        if stop.requested or recorder.clock.is_due(end_of_epoch=False):
            refuse_divergence(training, training.totals / training.step, recorder.folder)
            save_checkpoint(training, recorder, order_state)
            stop.raise_if_requested(how_to_go_on(recorder.folder))
    training.totals.tolist()  # a GPU may still be at work on steps that were only sent to it
    training.seconds = time.monotonic() - began


def how_to_go_on(run: Path) -> str:
    """The command that takes a run up again, as a shell wants it where this one was typed."""
    return f"go on with: {machine.command_line(['python', sys.argv[0], '--resume', str(run)])}"


def set_rates(options: Options, training: Training) -> None:
    """Both learning rates for the epoch under way: full, then down half a cosine towards the floor.

    Loshchilov and Hutter 2017, "SGDR", eq. 5, over the last `lr_decay` of the epochs, but changed
    once an epoch: the floor is where an epoch after the last would be. It is not 0: the average is
    better over weights that still move.
    """
    left = 1 - training.epoch / options.epochs  # 1 in the first epoch, 1/epochs in the last
    fall = 1 - left / options.lr_decay if left < options.lr_decay else 0.0  # from 0 towards 1
    factor = options.lr_floor + (1 - options.lr_floor) * (1 + math.cos(math.pi * fall)) / 2
    training.optimizer_g.rate = options.lr_g * factor
    training.optimizer_d.rate = options.lr_d * factor


def steps_of(options: Options, real_images: Tensor) -> int:
    """Steps an epoch; what is left of the shuffle after the last full batch is left out."""
    return len(real_images) // options.batch_size


def train_step(options: Options, training: Training, real: Tensor, penalised: bool) -> Tensor:
    """One update of each network; returns this step's (d_loss, g_loss, D(x), D(G(z))).

    On a GPU this is recorded and replayed: it may read nothing back from there.

    real: float32 (B, 1, 28, 28) in [-1, 1]. penalised: whether this step has the gradient penalty.
    """
    generator, discriminator = training.generator, training.discriminator
    loss = losses.LOSSES[options.loss](options.label_smoothing)
    latent = torch.randn(
        len(real), options.latent_dim, generator=training.latents, device=real.device
    )
    fake = generator(latent)  # (B, 1, 28, 28), made once and shown to both updates

    # (1) Update the discriminator: maximise log D(x) + log(1 - D(G(z))).
    real_logits, fake_logits = discriminator(torch.cat((real, fake.detach()))).chunk(2)  # (B,) each
    d_loss = loss.discriminator(real_logits, fake_logits)
    penalty = 0.0
    if penalised:
        # Applied lazily, so multiplied by its interval (Karras et al. 2020, "StyleGAN2", app. B).
        weight = options.r1_gamma / 2 * options.r1_every
        penalty = weight * losses.gradient_penalty(discriminator, real)
    training.optimizer_d.zero_grad()
    (d_loss + penalty).backward()
    training.optimizer_d.step()

    # (2) Update the generator: maximise log D(G(z)).
    g_loss = loss.generator(discriminator(fake))
    training.optimizer_g.zero_grad()
    g_loss.backward(inputs=list(generator.parameters()))  # the discriminator's are not needed
    training.optimizer_g.step()

    d_real, d_fake = real_logits.detach().sigmoid().mean(), fake_logits.detach().sigmoid().mean()
    return torch.stack((d_loss.detach(), g_loss.detach(), d_real, d_fake))


def penalty_is_due(options: Options, training: Training) -> bool:
    """Whether this step has the gradient penalty: the first of each epoch, and on from there."""
    return options.r1_gamma > 0 and training.step % options.r1_every == 0


def finish_step(options: Options, training: Training) -> None:
    """Let the average follow the generator, and count."""
    training.step += 1
    training.updates += 1
    if options.average:
        decay = models.average_decay(options.average, training.updates)
        models.update_average(training.average, training.generator, decay)


def finish_epoch(
    options: Options, training: Training, real_images: Tensor, recorder: Recorder
) -> None:
    """Close the books of an epoch: a row of history, a grid and a score when it is time."""
    steps = steps_of(options, real_images)
    means = refuse_divergence(training, training.totals / steps, recorder.folder)
    training.epoch += 1
    row = {
        "epoch": training.epoch,
        "seconds": round(training.seconds, 3),
        "images_per_second": round(steps * options.batch_size / max(training.seconds, 1e-3)),
        **{name: round(value, 6) for name, value in means.items()},
    }
    training.history.append(row)
    training.step, training.seconds = 0, 0.0
    training.totals.zero_()
    if training.epoch % options.sample_every == 0 or training.epoch == options.epochs:
        save_samples(options, training, recorder, real_images)
        if recorder.judge:
            row.update(recorder.judge.quick(training.average))
    notes = advice.during(training.history, dataclasses.asdict(options))
    try:
        runs.write_history(recorder.folder / "history.csv", training.history)
    except PermissionError as error:  # on Windows while a spreadsheet shows it; tried again later
        notes.append(f"history.csv was not written ({error.strerror}): is it open in a program?")
    if recorder.board:
        recorder.board.row(row)
    recorder.screen.epoch(row, notes)


def refuse_divergence(training: Training, figures: Tensor, run: Path) -> dict[str, float]:
    """TOTALS a step (4,) by name; Fault if a loss is absurd or a weight is not finite."""
    means = dict(zip(TOTALS, figures.tolist(), strict=True))
    networks = (training.generator, training.discriminator, training.average)
    weights = sum(weight.detach().sum() for net in networks for weight in net.parameters())
    losses_are_sane = all(abs(means[name]) < ABSURD_LOSS for name in ("d_loss", "g_loss"))
    if not (losses_are_sane and math.isfinite(weights)):
        raise Fault(
            f"training diverged in epoch {training.epoch + 1} (d_loss {means['d_loss']:.3g}, "
            f"g_loss {means['g_loss']:.3g}); {run} keeps the "
            f"{'last good' if training.epoch else 'untrained'} weights; "
            "begin anew with lower --lr-g and --lr-d"
        )
    return means


# What is saved when


def save_samples(
    options: Options, training: Training, recorder: Recorder, real_images: Tensor
) -> None:
    """The 5x5 grid of the same noise each time, and the weights that made it."""
    generated = generate(options, training, GRID, "grid")
    grid = images.grid(generated, columns=5)
    folder = recorder.folder / "generated_samples"
    folder.mkdir(exist_ok=True)
    images.save(folder / f"epoch_{training.epoch:03d}.png", grid)
    save_generator(options, training, recorder.folder)
    if recorder.board:
        recorder.board.grid(training.epoch, grid)
        shown = generate(options, training, 1_000, "opinions")
        recorder.board.opinions(
            training.epoch, training.discriminator, real_images[: len(shown)], shown
        )


def save_generator(options: Options, training: Training, run: Path) -> None:
    """The weights that one uses; `epoch` is how many were completed."""
    facts = {"dataset": options.dataset, "epoch": training.epoch}
    tensors.save_weights(run / "generator.pth", training.average, **facts)


def generate(options: Options, training: Training, count: int, purpose: str) -> Tensor:
    """uint8 (count, 1, 28, 28) from the averaged generator; a purpose has its noise for good."""
    noise = torch.randn(count, options.latent_dim, generator=chance.stream(options.seed, purpose))
    with machine.full_precision():
        return models.generate(training.average, noise.to(training.device))


def save_checkpoint(
    training: Training, recorder: Recorder, order_state: Tensor | None = None
) -> None:
    """What --resume needs. order_state: the order's state as the epoch under way began."""
    began = time.monotonic()
    if order_state is None:
        order_state = training.order.get_state()
    checkpoint.save(recorder.folder / "checkpoint.pth", training, order_state)
    recorder.clock.saved(time.monotonic() - began)


def save_results(
    options: Options, training: Training, image_set: data.ImageSet, recorder: Recorder
) -> None:
    """What a finished run is remembered by: final images, weights, pictures and the verdict."""
    run = recorder.folder
    title = f"{run.name}: {image_set.title}, {options.recipe} recipe, seed {options.seed}"
    runs.write_history(run / "history.csv", training.history)
    if options.final_images:
        final = generate(options, training, options.final_images, "final")
        images.save_each(run / "final_generated_images", final)
    tensors.save_weights(
        run / "discriminator.pth",
        training.discriminator,
        dataset=options.dataset,
        epoch=training.epoch,
    )
    curves = (run / "loss_curves.png", training.history, title, options.loss)
    images.save_curves(*curves, image_set.footnote())
    images.save_gif(run / "training.gif", runs.grids(run, GIF_FRAMES))
    stills.write(run, training.average, image_set)
    if recorder.judge:
        evaluation = recorder.judge.full(training.average)
        words = advice.after(training.history, evaluation.figures, dataclasses.asdict(options))
        weights = tensors.digest(run / "generator.pth")
        recorder.judge.save(run, evaluation, title, words=words, generator_sha256=weights)
        print(*words, sep="\n")


def save_config(
    options: Options, image_set: data.ImageSet, run: Path, device: torch.device, status: str
) -> None:
    """Everything that decided this run, the command that began it, and whether it has ended."""
    path = run / "config.json"
    command = machine.command_line(["python", *sys.argv])
    commands = {"command": command}
    if options.resume:
        commands = {"command": storage.read_json(path).get("command"), "resumed_by": command}
    decided = dataclasses.asdict(options)
    for name in OF_THE_CALL:
        del decided[name]
    if options.data_dir:  # scripts are started from other folders, too
        decided["data_dir"] = options.data_dir.resolve()
    config = {
        "status": status,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "options": decided,
        "other_than_recipe": changed(options),
        "data": {
            "title": image_set.title,
            "source": image_set.source,
            "fingerprint": image_set.fingerprint,
            "is_sample": image_set.is_sample,
            "training_images": len(image_set.train_images),
        },
        "machine": machine.description(device),
        **commands,
    }
    storage.write_json(path, config)


# The script


def resumed(given: dict[str, Any]) -> tuple[Options, Path]:
    """The options of the run that --resume names, and its folder; --epochs may be raised."""
    may_change = ("epochs", "data_dir", "device", "out", "dry_run")
    for name in given:
        if name not in ("resume", *may_change):
            allowed = ", ".join(map(flag_of, may_change))
            raise Mistake(
                f"{said(name, given)}: a resumed run keeps its own; with --resume only {allowed} "
                "may be given"
            )
    if given["resume"] == "newest":
        run = runs.newest_unfinished_run(given.get("out", runs.OUTPUTS))
        places.check_closed("--resume", run)
    else:
        places.check_path("--resume", Path(given["resume"]))
        run = runs.check_run("--resume", Path(given["resume"]), given.get("out", runs.OUTPUTS))
        if lock.is_held(run):
            raise Mistake(f"--resume {run}: is being trained; wait for that, or stop it first")
    config = storage.read_json(run / "config.json")
    stored_options = config.get("options")
    if isinstance(stored_options, dict):  # its data folder may be gone
        where = given.get("data_dir", stored_options.get("data_dir"))
        if isinstance(where, str) and not Path(where).is_dir():
            raise Mistake(
                f"--resume {run}: its images were in {where}, which is gone; "
                "say with --data-dir where they are now"
            )
        stored_options = {**stored_options, "data_dir": where}
        stored_options.pop("out", None)  # where runs were made then; this one has its folder
    stored = restored(Options, stored_options, run / "config.json")
    if stored.epochs is None:
        raise Fault(f"{run / 'config.json'}: does not say how many epochs the run has")
    options = dataclasses.replace(stored, **given)
    if options.epochs < stored.epochs:
        raise Mistake(
            f"--epochs {options.epochs}: the run has {stored.epochs}; give more, or leave it out"
        )
    if config.get("status") == "finished":
        if options.epochs == stored.epochs:
            raise Mistake(
                f"--resume {run}: has finished; raise --epochs above {stored.epochs} to go on"
            )
        if not (run / "checkpoint.pth").is_file():  # to begin again would destroy what it has
            raise Fault(f"{run / 'checkpoint.pth'}: is missing, without it the run cannot go on")
    return options, run


def main() -> None:
    """Parse, plan, train, save."""
    given = given_options(Options, recipes=RECIPES)
    if "list" in given or "report" in given:
        look_at(given)
        return
    options, run = resumed(given) if "resume" in given else (parse(Options, recipes=RECIPES), None)
    refuse_contradictions(given, options)
    device = machine.pick_device(options.device)
    if options.tensorboard and run and not board.is_installed():
        print("note: the tensorboard package is not installed here, the run goes on without events")
        options = dataclasses.replace(options, tensorboard=False)
    if options.tensorboard:
        board.check()
    if not run:
        places.check_out(options.out)
    elif not options.dry_run:
        places.check_writable("--resume", run, cure="make it so, or copy the run")
    machine.prepare()
    if run:
        image_set = provenance.images_of(run, options.dataset, options.data_dir)
    else:
        image_set = data.load(options.dataset, options.data_dir, download=not options.dry_run)
    options = planned(options, len(image_set.train_images))
    training = begin(options, device)
    # Stopped before its first checkpoint, it begins again: the same seed gives the same run.
    if run and (run / "checkpoint.pth").is_file():
        checkpoint.load(run / "checkpoint.pth", training)
        steps = steps_of(options, image_set.train_images)
        if training.epoch > options.epochs or training.step > steps:
            raise Fault(f"{run / 'checkpoint.pth'}: is of a longer run than this one")
    print_plan(options, image_set, training)
    if not options.dry_run:
        carry_out(options, training, image_set, run)


def carry_out(
    options: Options, training: Training, image_set: data.ImageSet, run: Path | None
) -> None:
    """Train and save. run: the folder of the run that is resumed; None for a new one."""
    device = training.device
    real_images = image_set.train_images.to(device)
    judge = Judge(image_set, device) if options.quality else None
    with contextlib.ExitStack() as to_the_end:
        with contextlib.ExitStack() as while_training:
            stop = StopSwitch()
            while_training.enter_context(signals_call(stop.note))
            run = run or runs.new_run(options.out, options.dataset)
            to_the_end.enter_context(lock.held(run, wait=False))
            runs.remove_leftovers(run)
            save_config(options, image_set, run, device, status="running")
            to_the_end.enter_context(made_good(how_to_go_on(run)))
            print(f"run folder: {run}", flush=True)
            events = while_training.enter_context(board.Board(run)) if options.tensorboard else None
            screen = Screen(
                training, options.epochs, steps_of(options, real_images), options.batch_size
            )
            recorder = Recorder(run, while_training.enter_context(screen), Clock(), judge, events)
            try:
                train(options, training, real_images, recorder, stop)
            except Interrupted:
                save_generator(options, training, run)
                save_config(options, image_set, run, device, status="stopped")
                show(run)
                raise
            except Fault:
                save_config(options, image_set, run, device, status="diverged")
                show(run)
                raise
        stop.raise_if_requested(how_to_go_on(run))  # it came while the screen was closed
        with going_on(how_to_go_on(run)):
            save_results(options, training, image_set, recorder)
            save_config(options, image_set, run, device, status="finished")
        again = machine.command_line(["python", sys.argv[0], "--report", str(run)])
        rest = f"all is saved but the report: {again}"
        with going_on(rest), made_good(rest):
            show(run)
    if options.tensorboard:
        print(f"events: {machine.command_line(['tensorboard', '--logdir', str(run.parent)])}")
    print(f"done: {run / 'report.html'}")


def show(run: Path) -> None:
    """The run's page as it stands, and the page of all runs."""
    report.write(run)
    index.write(run.resolve().parent)


def look_at(given: dict[str, Any]) -> None:
    """What --list and --report ask for: look at runs that are there instead of training one."""
    outputs = given.get("out", runs.OUTPUTS)
    for name in given:
        if name not in ("list", "report", "out"):
            raise Mistake(
                f"{said(name, given)}: has no effect with --list or --report; leave it out"
            )
    if "report" in given:
        run = runs.check_run("--report", given["report"], outputs)
        places.check_writable("--report", run, cure="make it so, or copy the run")
        show(run)
        outputs = run.resolve().parent
        print(f"done: {run / 'report.html'}")
    elif not outputs.is_dir():
        what = "is not a folder" if outputs.exists() else "there is no such folder"
        raise Mistake(f"--out {outputs}: {what}; name one that runs were made in")
    if given.get("list"):
        if (outputs / "index.html").is_file():  # a run may have been deleted since
            index.write(outputs)
        print(index.table(outputs))


if __name__ == "__main__":
    run_script(main)
