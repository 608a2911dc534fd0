"""Train a GAN, fully connected or convolutional, on a set of images: a known one, or your own.

    python gan_lab.py --dataset fashion

Each run gets a folder of its own in outputs/, with sample grids, weights, curves and a history.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__" and getattr(sys.flags, "safe_path", False):
    # Python has not looked beside the script.
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab import errors

if __name__ == "__main__":
    BEGAN = time.monotonic()
    errors.prepare_script()

import torch
from torch import Tensor

from lab import device, models, report, training
from lab.data import MOST_IMAGES, OF_SETS, Dataset, colour_asked, load, to_float
from lab.evaluation import Evaluator
from lab.files import check_apart
from lab.models import DISCRIMINATORS, GENERATORS, layers
from lab.options import given_options, option, parse, refuse_others
from lab.runs import OUTPUTS, Run, check_out, load_own_dataset, resumed
from lab.seeding import seed_for, stream
from lab.training import LOSSES, MOST_EPOCHS, Adam, TrainingState, distributed

WIDTHS = {"low": 1, "high": layers.MOST_WIDTH, "most": layers.MOST_LAYERS}
CHANNELS = {"low": 1, "high": layers.MOST_CHANNELS, "most": layers.MOST_CONVOLUTIONS}

RECIPES: dict[str, dict[str, Any]] = {
    "modern": {},
    "classic": {
        "images_shown": 1_920_000,
        "hidden_g": (256, 512, 1024),
        "hidden_d": (512, 256),
        "output": "tanh",
        "pyramid": False,
        "precision": "float32",
        "lr_g": 2e-4,
        "lr_d": 2e-4,
        "lr_decay": 0.0,
        "beta1": 0.5,
        "beta2": 0.999,
        "r1_gamma": 0.0,
        "ema_decay": 0.0,
    },
    "dcgan": {
        "images_shown": 300_000,
        "batch_size": 64,
        "hidden_g": (512, 512, 512),
        "channels_g": None,
        "output": "tanh",
        "lr_decay": 0.8,
        "hidden_d": (256,),
        "channels_d": None,
    },
}
LONGER = {"images_shown": 1_800_000, "full_maps": 32, "ema_decay": 0.9998}
RECIPES["best"] = RECIPES["dcgan"] | LONGER


@dataclass(frozen=True)
class Options:
    """Every option of a training, with the modern recipe's values as defaults."""

    dataset: str = option(
        "fashion", f"the set to learn: {OF_SETS}", heading="what is learned, how long"
    )
    image_size: int | None = option(None, "side of your own pictures; else theirs, or 32", 16, 64)
    grey: bool = option(False, "your own pictures are made grey", only_on=True)
    colour: bool = option(False, "your own pictures keep colour, even if few have", only_on=True)
    data_dir: Path | None = option(
        None, "folder with the files of a named set; left out, the lab looks around", folder=True
    )
    out: Path = option(OUTPUTS, "folder that run folders are made in")
    recipe: str = option("modern", "defaults of all options below", choices=RECIPES)
    epochs: int | None = option(
        None, "passes over the images; left out, as many as show --images-shown", 1, MOST_EPOCHS
    )
    images_shown: int = option(
        1_680_000,
        "images shown in all, without --epochs; a recipe shows fewer of images over 32 x 32",
        1,
        MOST_EPOCHS * MOST_IMAGES,
    )
    minutes: float | None = option(
        None, "end the whole command in about so many: the speed decides the images", 0.5, 10_000
    )
    batch_size: int = option(128, "images a step", 2, 60_000)
    latent_dim: int = option(
        100, "numbers a latent has", 1, layers.MOST_LATENT, heading="the networks"
    )
    network_g: str | None = option(
        None,
        "the generator's architecture; left out, dcgan with --channels-g, else the recipe's",
        choices=GENERATORS,
    )
    network_d: str | None = option(
        None,
        "the discriminator's; left out, dcgan with --channels-d, else the recipe's",
        choices=DISCRIMINATORS,
    )
    hidden_g: tuple[int, ...] = option(
        (256, 384, 512), "widths of the generator's hidden layers", **WIDTHS
    )
    hidden_d: tuple[int, ...] = option(
        (512, 128), "widths of the discriminator's hidden layers", **WIDTHS
    )
    channels_g: tuple[int, ...] | None = option(
        (), "maps of the generator's transposed convolutions, after its hidden layers", **CHANNELS
    )
    channels_d: tuple[int, ...] | None = option(
        (), "maps of the discriminator's convolutions, before its hidden layers", **CHANNELS
    )
    full_maps: int = option(0, "maps of convolutions at the whole side", 0, layers.MOST_CHANNELS)
    activation: str = option(
        "leaky-relu", "activation of the generator", choices=layers.ACTIVATIONS
    )
    batch_norm: bool = option(False, "batch normalisation in the generator")
    output: str = option(
        "clip", "what keeps the generator's pixels in range", choices=layers.OUTPUTS
    )
    dropout: float = option(0.0, "dropout in the discriminator", 0, 0.9)
    conditional: bool = option(
        False, "learn the classes by their labels, so that one can ask for them", only_on=True
    )
    pyramid: bool = option(True, "layers of the discriminator see bands of detail, not pixels")
    loss: str = option("non-saturating", "adversarial loss", choices=LOSSES, heading="the training")
    label_smoothing: float = option(0.0, "how far below 1 the targets of real images lie", 0, 0.5)
    lr_g: float = option(1e-3, "Adam's learning rate, generator", 1e-8, 100)
    lr_d: float = option(1e-3, "Adam's learning rate, discriminator", 1e-8, 100)
    beta1: float = option(0.0, "Adam's first decay rate", 0, 0.999)
    beta2: float = option(0.99, "Adam's second decay rate", 0, 0.99999)
    lr_decay: float = option(0.3, "last share of the run, over which both rates fall", 0, 1)
    lr_floor: float = option(0.1, "what share of the rates they fall towards", 0, 1)
    r1_gamma: float = option(1.0, "weight of the R1 gradient penalty", 0, 10_000)
    r1_every: int = option(8, "steps from one penalty to the next", 1, 1_000)
    ema_decay: float = option(
        0.9995,
        "decay of the generator's moving average (EMA) a step, at most; 0 is none",
        0,
        0.99999,
        was="average",
    )
    augment: bool | None = option(
        None, "show the discriminator augmented images; left out, of a set below 5,000 images"
    )
    precision: str = option(
        "bfloat16", "rounding of matrix products, if the processor can", choices=device.PRECISIONS
    )
    quality: bool = option(
        True, "score the images at each sample grid and at the end", heading="what is recorded"
    )
    sample_every: int | None = option(
        None, "epochs from one sample grid to the next; left out, for ten grids", 1, 100_000
    )
    final_images: int = option(100, "images made at the end", 0, 100_000)
    tensorboard: bool = option(
        False, "also write events for TensorBoard, if it is installed", only_on=True
    )
    seed: int = option(
        0,
        "decides everything that is left to chance",
        0,
        2**63 - 1,
        heading="chance, machine, and runs that are there",
    )
    device: str = option("auto", "where to compute", choices=device.DEVICES)
    resume: str | None = option(
        None, "go on with this run folder; without a name the newest unfinished", bare="newest"
    )
    dry_run: bool = option(False, "print the plan and write nothing", only_on=True)
    report: Path | None = option(None, "make report.html of this run folder again, no training")
    list: bool = option(False, "print a table of the runs there are, no training", only_on=True)

    @property
    def generator(self) -> str:
        """Which row of GENERATORS: by its name, else convolutional unless it has no channels."""
        return self.network_g or ("mlp" if self.channels_g == () else "dcgan")

    @property
    def discriminator(self) -> str:
        """Which row of DISCRIMINATORS, likewise."""
        return self.network_d or ("mlp" if self.channels_d == () else "dcgan")


# The training


def begin(options: Options, dataset: Dataset, where: torch.device) -> TrainingState:
    """A training before its first step: networks freshly initialised, chance by the seed."""
    with torch.random.fork_rng(devices=[]):  # initialisation draws from the global stream
        torch.manual_seed(seed_for(options.seed, "weights"))
        generator, discriminator = training.build_networks(options, dataset.spec)
    for network in (generator, discriminator):  # channels last: convolutions are a tenth faster
        network.to(where, memory_format=torch.channels_last)
    torch.manual_seed(seed_for(options.seed, "dropout"))  # it knows only the global stream
    betas = (options.beta1, options.beta2)
    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        ema=copy.deepcopy(generator).requires_grad_(False) if options.ema_decay else generator,
        optimizer_g=Adam(generator.parameters(), options.lr_g, betas),
        optimizer_d=Adam(discriminator.parameters(), options.lr_d, betas),
        order=stream(options.seed, "order"),
        latents=stream(options.seed, "latents", where),
        totals=torch.zeros(len(training.STEP_FIGURES), device=where),
        length=training.Length.of(options, len(dataset.train_images)),
        augmentation=training.Augmentation(options, dataset.spec.shape[0], where),
        origin=f"{dataset.name}, seed {options.seed}",
    )


def train(
    options: Options, state: TrainingState, dataset: Dataset, recorder: report.Recorder
) -> None:
    """Train until `state.length` is completed, recording the epochs as they go by.

    Raises Interrupted on Ctrl-C and SIGTERM, and Fault on divergence; a checkpoint is kept.
    """
    real_images = dataset.train_images.to(state.device)  # uint8 (N, *shape)
    labels = dataset.train_labels.to(state.device) if options.conditional else None  # (N,)
    if state.epoch == 0 and state.step == 0:
        recorder.save_samples()
    step = training.GraphedStep(partial(train_step, options, state), state)
    convolutional = models.is_convolutional(state.generator, state.discriminator)
    while state.epoch < state.length.epochs:
        for batch in state.batches_left(len(real_images), options.batch_size):
            batch = distributed.share(batch)  # this process's; of a single one, all of it
            state.set_rates(options)
            real = to_float(real_images.index_select(0, batch))
            told = labels.index_select(0, batch) if options.conditional else None
            penalised = options.r1_gamma > 0 and state.step % options.r1_every == 0
            with device.matrix_products(options.precision, real.device, convolutional):
                state.totals += step(real, told, penalised)
            state.count_step()
            if options.ema_decay:
                decay = training.ema_decay(options.ema_decay, state.updates)
                training.update_ema(state.ema, state.generator, decay)
            recorder.after_step()
        recorder.after_epoch()


def train_step(
    options: Options, state: TrainingState, real: Tensor, labels: Tensor | None, penalised: bool
) -> Tensor:
    """One update of each network; returns this step's (d_loss, g_loss, D(x), D(G(z))).

    On a GPU this is recorded and replayed: it may read nothing back from there.

    real: float32 (B, *shape) in [-1, 1]. labels: int64 (B,), of the real images and of as many
    generated ones; None without --conditional. penalised: whether this step has the penalty.
    """
    generator, discriminator = state.generator, state.judged
    loss = LOSSES[options.loss]
    size = (options.batch_size, options.latent_dim)
    latent = distributed.share(torch.randn(size, generator=state.latents, device=real.device))
    fake = generator(latent, labels)  # (B, *shape), made once and shown to both updates

    # (1) Update the discriminator: maximise log D(x) + log(1 - D(G(z))).
    both = labels if labels is None else labels.repeat(2)
    logits = discriminator(torch.cat((real, fake.detach())), both)
    real_logits, fake_logits = logits.chunk(2)  # (B,) each
    d_loss = loss.discriminator(real_logits, fake_logits, options.label_smoothing)
    penalty = 0.0
    if penalised:
        # Applied lazily, so multiplied by its interval (Karras et al. 2020, "StyleGAN2", app. B).
        weight = options.r1_gamma / 2 * options.r1_every
        penalty = weight * training.gradient_penalty(discriminator, real, labels)
    state.optimizer_d.zero_grad()
    (d_loss + penalty).backward()
    distributed.average_gradients(state.discriminator)  # over the processes, if there are several
    state.optimizer_d.step()

    # (2) Update the generator: maximise log D(G(z)).
    real_logits_now = discriminator(real, labels) if loss.needs_real_logits else None
    g_loss = loss.generator(real_logits_now, discriminator(fake, labels))
    state.optimizer_g.zero_grad()
    g_loss.backward(inputs=list(generator.parameters()))  # the discriminator's are not needed
    distributed.average_gradients(generator)
    state.optimizer_g.step()

    d_real, d_fake = real_logits.detach().sigmoid().mean(), fake_logits.detach().sigmoid().mean()
    return distributed.average(torch.stack((d_loss.detach(), g_loss.detach(), d_real, d_fake)))


def save_results(
    options: Options, state: TrainingState, dataset: Dataset, recorder: report.Recorder
) -> None:
    """What a finished run is remembered by: final images, weights, pictures and the verdict."""
    run = recorder.run
    run.save_history(state.history)
    if options.final_images:
        images = recorder.generate(options.final_images, "final")
        classes = dataset.spec.class_names if options.conditional else ()
        report.save_each(run.final_folder, images, in_turn=classes)
    run.save_network("discriminator", state.discriminator, dataset.spec, state.epoch)
    title = f"{run.name}: {dataset.title}, {options.recipe} recipe, seed {options.seed}"
    report.save_pictures(run, state.ema, state.history, dataset, title, options.loss)
    if recorder.evaluator:
        judgement = recorder.evaluator.full(state.ema)
        facts = (dataset, title, state.history, asdict(options))
        digest = {"generator_sha256": run.generator_sha256}
        print(*report.save_evaluation(run, judgement, *facts, **digest), sep="\n")


def main(began: float | None = None) -> None:
    """Parse, plan, train, save. began: the time.monotonic() at which the command began."""
    began = began or time.monotonic()
    given = distributed.agreed(given_options(Options, recipes=RECIPES))
    if "list" in given or "report" in given:
        refuse_others(given, ("list", "report", "out"), "has no effect with --list or --report")
        report.look_at_runs(given.get("out", OUTPUTS), given.get("report"), "list" in given)
        return
    if "resume" in given:
        options, run = distributed.from_first(partial(resumed, Options, given))
    else:
        options, run = parse(Options, recipes=RECIPES), None
    options = training.checked(options, given)
    where = distributed.own_device(options.device)
    if not run:
        check_out(options.out)
    elif distributed.is_first() and not options.dry_run:
        run.check_writable("--resume")
    device.set_up_torch()
    with distributed.first_on_machine() as may_download:
        if run:
            dataset = load_own_dataset(run, options.data_dir)
        else:
            asked = (options.image_size, colour_asked(options.grey, options.colour))
            may_download = may_download and not options.dry_run
            dataset = load(options.dataset, options.data_dir, may_download, *asked)
    if dataset.path and not run:
        check_apart("--out", options.out, "--dataset", dataset.path)
    options = training.planned(options, dataset, given)
    state = begin(options, dataset, where)
    if run and distributed.is_first():
        training.go_on(run.checkpoint_path, state, options, dataset)
    distributed.broadcast_state(state, dataset)
    training.print_plan(options, RECIPES[options.recipe], dataset, state)
    if options.dry_run:
        return
    if distributed.is_first():
        carry_out(options, state, dataset, run, began)
    else:  # another of torchrun's processes: it trains with the first, which writes
        distributed.follow(train, options, state, dataset)


def carry_out(
    options: Options, state: TrainingState, dataset: Dataset, run: Run | None, began: float
) -> None:
    """Train and save. run: the one that is resumed; None for a new one."""
    evaluator = Evaluator(dataset, state.device) if options.quality else None
    seconds = evaluator.seconds_to_score() if evaluator else 0.0
    budget = training.TimeBudget(options, state, seconds, began, sys.argv)
    stop = errors.StopSwitch(distributed.most)
    with contextlib.ExitStack() as to_the_end:
        with errors.signals_call(stop.note):
            run = run or Run.create(options.out, dataset.name)
            again = f"go on with: {run.command('--resume')}"
            to_the_end.enter_context(run.held())
            recipe, machine = RECIPES[options.recipe], device.describe_machine(state.device)
            changes = training.changes_of_recipe(options, recipe, dataset.spec.shape)
            run.begin(training.of_the_run(options), changes, dataset, machine)
            to_the_end.enter_context(errors.made_good(again))
            print(f"run folder: {run}", flush=True)
            recorder = report.Recorder(run, options, state, dataset, evaluator, budget, stop, again)
            with recorder:
                train(options, state, dataset, recorder)
        stop.requested = stop.heard  # it came while the bar was closed
        stop.raise_if_requested(again)
        with errors.going_on(again):
            save_results(options, state, dataset, recorder)
            run.save_status("finished")
        rest = f"all is saved but the report: {run.command('--report')}"
        with errors.going_on(rest), errors.made_good(rest):
            report.show(run)
    if options.tensorboard:
        print(f"events: {training.tensorboard_command(run.outputs)}")
    print(f"done: {run.report_path}")


if __name__ == "__main__":
    errors.run_script(partial(distributed.take_part, partial(main, BEGAN)))
