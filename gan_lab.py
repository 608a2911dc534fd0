"""Train a GAN, fully connected or convolutional, on a known image set or on your own pictures.

    python gan_lab.py --dataset fashion

Each run gets its own folder in outputs/, with sample grids, weights, loss curves and a history.
"""

import contextlib
import copy
import math
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__" and getattr(sys.flags, "safe_path", False):
    # With -P or PYTHONSAFEPATH, Python does not add the script's folder to its path.
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab import errors

if __name__ == "__main__":
    BEGAN = time.monotonic()
    errors.prepare_script()

import torch
from torch import Tensor

from lab import device, models, report, training
from lab.data import MAX_IMAGES, OF_SETS, Dataset, colour_asked, load, to_float
from lab.evaluation import Evaluator
from lab.files import check_apart
from lab.models import DISCRIMINATORS, GENERATORS, layers
from lab.options import given_options, option, parse, refuse_others
from lab.runs import OUTPUTS, Run, check_out, load_training_dataset, resume_options
from lab.seeding import seed_for, stream
from lab.text import command_line
from lab.training import LOSSES, MAX_EPOCHS, Adam, TrainingState, distributed, follower, plan

WIDTHS = {"low": 1, "high": layers.MAX_WIDTH, "most": layers.MAX_LAYERS}
CHANNELS = {"low": 1, "high": layers.MAX_CHANNELS, "most": layers.MAX_CONVOLUTIONS}

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
        "images_shown": 450_000,
        "batch_size": 64,
        "hidden_g": (512, 512, 512),
        "channels_g": None,
        "output": "tanh",
        "lr_decay": 0.8,
        "hidden_d": (256,),
        "channels_d": None,
        "full_maps": None,
        "r1_gamma": None,
    },
}
RECIPES["best"] = RECIPES["dcgan"] | {"images_shown": 3_000_000, "ema_decay": 0.9998}


@dataclass(frozen=True)
class Options:
    """The options of a training; the defaults are those of the modern recipe."""

    dataset: str = option(
        "fashion", f"training images: {OF_SETS}", heading="data and length of the training"
    )
    image_size: int | None = option(
        None, "side of your own pictures (default: theirs, or 32), a multiple of 4", 16, 64
    )
    grey: bool = option(False, "convert your own pictures to grey", switch=True)
    colour: bool = option(False, "keep your own pictures in colour", switch=True)
    data_dir: Path | None = option(
        None, "folder with the files of a named set (default: found or downloaded)", folder=True
    )
    out: Path = option(OUTPUTS, "folder in which run folders are made")
    recipe: str = option("modern", "default values of all options below", choices=RECIPES)
    epochs: int | None = option(
        None, "passes over the training images (default: by --images-shown)", 1, MAX_EPOCHS
    )
    images_shown: int = option(
        1_800_000,
        "training images shown over all epochs; recipes show fewer if images exceed 32 x 32",
        1,
        MAX_EPOCHS * MAX_IMAGES,
    )
    minutes: float | None = option(
        None, "choose the length so that the command takes about so many minutes", 0.5, 10_000
    )
    batch_size: int = option(128, "images per step", 2, 60_000)
    latent_dim: int = option(
        100, "dimension of the latent vectors", 1, layers.MAX_LATENT, heading="the networks"
    )
    network_g: str | None = option(
        None,
        "architecture of the generator (default: dcgan with --channels-g, else the recipe's)",
        choices=GENERATORS,
    )
    network_d: str | None = option(
        None,
        "architecture of the discriminator (default: dcgan with --channels-d, else the recipe's)",
        choices=DISCRIMINATORS,
    )
    hidden_g: tuple[int, ...] = option(
        (256, 384, 512), "widths of the generator's hidden layers", **WIDTHS
    )
    hidden_d: tuple[int, ...] = option(
        (512, 128), "widths of the discriminator's hidden layers", **WIDTHS
    )
    channels_g: tuple[int, ...] | None = option(
        (), "channels of the generator's transposed convolutions, after --hidden-g", **CHANNELS
    )
    channels_d: tuple[int, ...] | None = option(
        (), "channels of the discriminator's convolutions, before --hidden-d", **CHANNELS
    )
    full_maps: int | None = option(
        0, "channels of one more convolution at full resolution; 0: none", 0, layers.MAX_CHANNELS
    )
    activation: str = option(
        "leaky-relu", "activation of the generator", choices=layers.ACTIVATIONS
    )
    batch_norm: bool = option(False, "batch normalisation in the generator")
    output: str = option("clip", "output activation of the generator", choices=layers.OUTPUTS)
    dropout: float = option(0.0, "dropout in the discriminator", 0, 0.9)
    conditional: bool = option(False, "condition both networks on the class labels", switch=True)
    pyramid: bool = option(True, "feed the discriminator the bands of a Laplacian pyramid")
    loss: str = option("non-saturating", "adversarial loss", choices=LOSSES, heading="the training")
    label_smoothing: float = option(0.0, "lower the targets of real images by so much", 0, 0.5)
    lr_g: float = option(1e-3, "Adam's learning rate for the generator", 1e-8, 100)
    lr_d: float = option(1e-3, "Adam's learning rate for the discriminator", 1e-8, 100)
    beta1: float = option(0.0, "Adam's beta1", 0, 0.999)
    beta2: float = option(0.99, "Adam's beta2", 0, 0.99999)
    lr_decay: float = option(0.3, "last share of the run, in which the learning rates fall", 0, 1)
    lr_floor: float = option(0.1, "final learning rate, as a share of the first", 0, 1)
    r1_gamma: float | None = option(1.0, "weight of the R1 gradient penalty", 0, 10_000)
    r1_every: int = option(8, "compute the penalty every so many steps", 1, 1_000)
    ema_decay: float = option(
        0.9995,
        "highest decay of the moving average (EMA) of the generator's weights; 0: no average",
        0,
        0.99999,
        old_name="average",
    )
    augment: bool | None = option(
        None, "augment the discriminator's inputs (default: with fewer than 5,000 images)"
    )
    precision: str = option(
        "bfloat16", "precision of matrix products, where supported", choices=device.PRECISIONS
    )
    quality: bool = option(
        True, "compute scores with each sample grid and at the end", heading="output"
    )
    sample_every: int | None = option(
        None, "epochs between sample grids (default: about ten grids in all)", 1, 100_000
    )
    final_images: int = option(100, "images generated at the end", 0, 100_000)
    tensorboard: bool = option(False, "also write events for TensorBoard", switch=True)
    seed: int = option(
        0, "seed of all random numbers", 0, 2**63 - 1, heading="seed, device and existing runs"
    )
    device: str = option("auto", "where to compute", choices=device.DEVICES)
    resume: str | None = option(
        None, "continue this run; without a name, the newest unfinished one", const="newest"
    )
    dry_run: bool = option(False, "print the plan and write nothing", switch=True)
    report: Path | None = option(None, "make report.html of this run again, without training")
    list: bool = option(False, "print a table of all runs, without training", switch=True)


def initial_state(options: Options, dataset: Dataset, where: torch.device) -> TrainingState:
    """The state of a training before its first step, with newly initialised networks."""
    with torch.random.fork_rng(devices=[]):  # initialisation uses torch's global generator
        torch.manual_seed(seed_for(options.seed, "weights"))
        generator, discriminator = training.build_networks(options, dataset.spec)
    for network in (generator, discriminator):  # channels last: convolutions are a tenth faster
        network.to(where, memory_format=torch.channels_last)
    torch.manual_seed(seed_for(options.seed, "dropout"))  # dropout uses the global generator too
    set_name = "" if dataset.path else f"{dataset.name}, "  # one's own may be renamed
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
        origin=f"{set_name}seed {options.seed}",
    )


def train(
    options: Options, state: TrainingState, dataset: Dataset, recorder: report.Recorder
) -> None:
    """Train all remaining epochs; `recorder` saves samples, history and checkpoints.

    Raises Interrupted on Ctrl-C and SIGTERM, after saving a checkpoint, and Fault on divergence.
    """
    real_images = dataset.train_images.to(state.device)  # uint8 (N, *shape)
    labels = dataset.train_labels.to(state.device) if options.conditional else None  # (N,)
    if state.epoch == 0 and state.step == 0:
        recorder.save_samples()
    step = training.GraphedStep(partial(train_step, options, state), state)
    convolutional = models.is_convolutional(state.generator, state.discriminator)
    while state.epoch < state.length.epochs:
        for batch in state.batches_left(len(real_images), options.batch_size):
            batch = distributed.shard(batch)  # the whole batch, unless there are several processes
            state.set_rates(options)
            real = to_float(real_images.index_select(0, batch))
            real_labels = labels.index_select(0, batch) if options.conditional else None
            penalised = options.r1_gamma > 0 and state.step % options.r1_every == 0
            with device.matrix_products(options.precision, real.device, convolutional):
                state.totals += step(real, real_labels, penalised)
            state.count_step()
            if options.ema_decay:
                decay = training.ema_decay(options.ema_decay, state.updates)
                training.update_ema(state.ema, state.generator, decay)
            recorder.after_step()
        recorder.after_epoch()


def train_step(
    options: Options, state: TrainingState, real: Tensor, labels: Tensor | None, penalised: bool
) -> Tensor:
    """Update the discriminator, then the generator; returns (4,): d_loss, g_loss, D(x), D(G(z)).

    real: float32 (B, *shape) in [-1, 1]. labels: int64 (B,) of the real images, used for the
    generated ones too; None without --conditional. penalised: whether to add the R1 penalty.
    The step must not copy values from the GPU, since it is recorded as a CUDA graph.
    """
    generator, discriminator = state.generator, state.discriminate
    loss = LOSSES[options.loss]
    size = (options.batch_size, options.latent_dim)
    latent = distributed.shard(torch.randn(size, generator=state.latents, device=real.device))
    fake = generator(latent, labels)  # (B, *shape), used in both updates

    # (1) Update the discriminator: maximise log D(x) + log(1 - D(G(z))).
    both = labels if labels is None else labels.repeat(2)
    logits = discriminator(torch.cat((real, fake.detach())), both)
    real_logits, fake_logits = logits.chunk(2)  # (B,) each
    d_loss = loss.discriminator(real_logits, fake_logits, options.label_smoothing)
    penalty = 0.0
    if penalised:
        # Lazy regularisation: Karras et al. 2020, "StyleGAN2", appendix B.
        weight = options.r1_gamma / 2 * options.r1_every
        penalty = weight * training.gradient_penalty(discriminator, real, labels)
    state.optimizer_d.zero_grad()
    (d_loss + penalty).backward()
    distributed.average_gradients(state.discriminator)  # over all processes
    state.optimizer_d.step()

    # (2) Update the generator: maximise log D(G(z)).
    new_real_logits = discriminator(real, labels) if loss.needs_real_logits else None
    g_loss = loss.generator(new_real_logits, discriminator(fake, labels))
    state.optimizer_g.zero_grad()
    g_loss.backward(inputs=list(generator.parameters()))  # no gradients for the discriminator
    distributed.average_gradients(generator)
    state.optimizer_g.step()

    d_real, d_fake = real_logits.detach().sigmoid().mean(), fake_logits.detach().sigmoid().mean()
    return distributed.average(torch.stack((d_loss.detach(), g_loss.detach(), d_real, d_fake)))


def save_results(
    options: Options, state: TrainingState, dataset: Dataset, recorder: report.Recorder
) -> None:
    """Save the final images, the discriminator, figures and the evaluation of a finished run."""
    run = recorder.run
    run.save_history(state.history)
    if options.final_images:
        images = recorder.generate(options.final_images, "final")
        classes = dataset.spec.class_names if options.conditional else ()
        report.save_images(run.final_folder, images, in_turn=classes)
    run.save_network("discriminator", state.discriminator, dataset.spec, state.epoch)
    title = f"{run.name}: {dataset.title}, {options.recipe} recipe, seed {options.seed}"
    report.save_pictures(run, state.ema, state.history, dataset, title, options.loss)
    if recorder.evaluator:
        judgement = recorder.evaluator.full(state.ema)
        facts = (dataset, title, state.history, asdict(options))
        sha256 = run.generator_sha256
        print(*report.save_evaluation(run, judgement, *facts, generator_sha256=sha256), sep="\n")


def main(began: float | None = None) -> None:
    """Run the command line. began: the time.monotonic() at which the command began."""
    began = began or time.monotonic()
    given = distributed.check_same_options(given_options(Options, recipes=RECIPES))
    if "list" in given or "report" in given:
        refuse_others(given, ("list", "report", "out"), "has no effect with --list or --report")
        report.look_at_runs(given.get("out", OUTPUTS), given.get("report"), "list" in given)
        return
    if "resume" in given:
        options, run = distributed.broadcast_object(partial(resume_options, Options, given))
        # Process 0 has decided, but each machine has its own folder of images.
        options = replace(options, data_dir=given.get("data_dir", options.data_dir))
    else:
        options, run = parse(Options, recipes=RECIPES), None
    options = plan.check_options(options, given)
    where = distributed.pick_local_device(options.device)
    if distributed.is_first() and not run:
        check_out(options.out)
    elif distributed.is_first() and not options.dry_run:
        run.check_writable("--resume")
    device.set_up_torch()
    with distributed.first_on_machine() as may_download:
        may_download = may_download and not options.dry_run
        if run:
            dataset = load_training_dataset(run, options.data_dir, may_download)
        else:
            wanted = (options.image_size, colour_asked(options.grey, options.colour))
            dataset = load(options.dataset, options.data_dir, may_download, *wanted)
    if dataset.path and not run:
        check_apart(options.out, "--dataset", dataset.path)
    options = plan.complete_options(options, dataset, given)
    state = initial_state(options, dataset, where)
    if run and distributed.is_first():
        plan.continue_from(run.checkpoint_path, state, options, dataset)
    follower.broadcast_state(state, dataset)
    plan.print_plan(options, RECIPES[options.recipe], dataset, state)
    if options.dry_run:
        return
    if distributed.is_first():
        train_and_save(options, state, dataset, run, began)
    else:  # only the first of torchrun's processes writes files
        follower.follow(train, options, state, dataset)


def train_and_save(
    options: Options, state: TrainingState, dataset: Dataset, run: Run | None, began: float
) -> None:
    """Train and write the run folder. run: the run that is resumed; None for a new one."""
    # With --minutes, half of the time left is the most for training a classifier of the set.
    most_seconds = (60 * (options.minutes or math.inf) - (time.monotonic() - began)) / 2
    evaluator = Evaluator(dataset, state.device, most_seconds) if options.quality else None
    seconds = evaluator.seconds_to_score() if evaluator else 0.0
    budget = training.TimeBudget(options, state, seconds, began, sys.argv)
    stop = errors.StopSwitch(distributed.all_reduce_max)
    with contextlib.ExitStack() as stack:
        with errors.handle_signals(stop.receive):
            run = run or Run.create(options.out, dataset.name)
            hint = f"continue with: {run.command('--resume')}"
            stack.enter_context(run.locked())
            recipe, machine = RECIPES[options.recipe], device.describe_machine(state.device)
            changes = plan.recipe_changes(options, recipe, dataset.spec.shape)
            run.write_config(plan.stored_options(options), changes, dataset, machine)
            stack.enter_context(errors.os_errors_as_faults(hint))
            print(f"run folder: {run}", flush=True)
            recorder = report.Recorder(run, options, state, dataset, evaluator, budget, stop, hint)
            with recorder:
                train(options, state, dataset, recorder)
        stop.requested = stop.received  # a signal may have arrived after the last step
        stop.raise_if_requested(hint)
        with errors.on_interrupt(hint):
            save_results(options, state, dataset, recorder)
            run.save_status("finished")
        hint = f"everything but the report is saved: {run.command('--report')}"
        with errors.on_interrupt(hint), errors.os_errors_as_faults(hint):
            report.write_pages(run)
    if options.tensorboard:
        print("events:", command_line(["tensorboard", "--logdir", str(run.outputs)]))
    print(f"done: {run.report_path}")


if __name__ == "__main__":
    errors.run_script(partial(distributed.run_distributed, partial(main, BEGAN)))
