"""Checks of gan_lab.py's options, defaults that depend on the data set, and the printed plan.

`options` is the Options dataclass of gan_lab.py throughout.
"""

import dataclasses
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lab.data.datasets import SAMPLE_EPOCHS, SAMPLE_NOTICE, Dataset
from lab.device import available_cores, processes
from lab.errors import Fault, Mistake
from lab.models import count_parameters
from lab.options import as_typed, flag_of
from lab.text import counted
from lab.training.augmentation import FEW
from lab.training.length import MAX_EPOCHS, Length
from lab.training.losses import LOSSES
from lab.training.networks import check_networks, suited_to
from lab.training.progress import tensorboard_refusal
from lab.training.state import TrainingState, load_checkpoint

NOT_STORED = {"minutes", "resume", "dry_run", "report", "list"}  # options of a single command
SHOWN_BY_PLAN = {  # options that are not changes of the recipe
    *("dataset", "image_size", "grey", "colour", "data_dir", "out", "recipe", "epochs"),
    *("images_shown", "batch_size", "sample_every", "seed", "device", "augment"),
}
RECIPE_SIDE = 32  # recipes show a third as many images if the side is twice this one
MAX_LR_DECAY = 0.9  # largest --lr-decay with --minutes
REQUIRES = {"r1_every": "r1_gamma", "lr_floor": "lr_decay"}  # no effect if the second is 0


def check_options(options: Any, given: dict[str, Any]) -> Any:
    """Check options that do not depend on the data set; `given` are those on the command line.

    Returns the options, without --tensorboard if a resumed run cannot use it. Raises Mistake for
    options that contradict each other or have no effect, and if --tensorboard does not work.
    """
    if options.tensorboard and (refusal := tensorboard_refusal()):
        if not options.resume:
            cure = "install it (pip install tensorboard) or leave the option out"
            raise Mistake(f"--tensorboard: {refusal}; {cure}")
        print(f"note: {refusal}; the run continues without events")
        options = dataclasses.replace(options, tensorboard=False)
    deciding = [name for name in ("minutes", "images_shown", "epochs") if name in given]
    if len(deciding) > 1:
        typed, other = as_typed(deciding[0], given), flag_of(deciding[1])
        raise Mistake(f"{typed}: {other} sets the length, too; give one of them")
    _check_processes(options)
    if "minutes" in given and options.lr_decay > MAX_LR_DECAY:
        why = "--minutes measures the speed before the rates fall"
        raise Mistake(f"{as_typed('lr_decay', vars(options))}: {why}; give {MAX_LR_DECAY} at most")
    for name, other in REQUIRES.items():
        if name in given and getattr(options, other) == 0:
            why = f"has no effect while {flag_of(other)} is 0; raise that, too, or leave it out"
            raise Mistake(f"{as_typed(name, given)}: {why}")
    return options


def _check_processes(options: Any) -> None:
    """Mistake for options that do not work with several processes."""
    count = processes()
    if options.batch_size % count:
        what = f"{count} processes cannot share it evenly"
        cure = f"give a multiple of {count}, or start another number of processes"
        raise Mistake(f"--batch-size {options.batch_size}: {what}; {cure}")
    for name in ("batch_norm", "dropout"):
        if count > 1 and getattr(options, name):
            why = f"would differ between {count} processes"
            cure = "leave it out, or train in one process"
            raise Mistake(f"{as_typed(name, vars(options))}: {why}; {cure}")


def stored_options(options: Any) -> dict[str, Any]:
    """The options of a run, for its config.json."""
    stored = {name: value for name, value in vars(options).items() if name not in NOT_STORED}
    if options.data_dir:  # other commands may run in other folders
        stored["data_dir"] = options.data_dir.resolve()
    return stored


def continue_from(checkpoint: Path, state: TrainingState, options: Any, dataset: Dataset) -> None:
    """Load the checkpoint into `state`; without a checkpoint the training starts again.

    Raises Fault if the checkpoint is damaged, or of a longer run than the options describe.
    """
    if not checkpoint.is_file():
        return
    load_checkpoint(checkpoint, state)
    length = Length.of(options, len(dataset.train_images))
    if state.epoch > length.epochs or state.step > length.steps_of(state.epoch):
        raise Fault(f"{checkpoint}: is of a longer run than this one")


def complete_options(options: Any, dataset: Dataset, given: Collection[str] = ()) -> Any:
    """The options with all defaults that depend on the data set.

    given: the options that were on the command line. Raises Mistake for options that do not suit
    the data set.
    """
    image_count = len(dataset.train_images)
    if image_count < 2:  # the smallest batch
        raise Mistake(f"--dataset {options.dataset}: has a single training image; give more")
    if options.batch_size > image_count and "batch_size" not in given and not options.resume:
        fitting = 2 ** (image_count.bit_length() - 1)  # the largest power of two that fits
        options = dataclasses.replace(options, batch_size=fitting)
    if options.batch_size > image_count:
        what = f"the set has {image_count:,} training images"
        raise Mistake(f"--batch-size {options.batch_size}: {what}; give a smaller batch")
    if options.conditional and dataset.train_labels is None:
        cure = "leave it out, or name a set with labels"
        raise Mistake(f"--conditional: {dataset.title} has no labels; {cure}")
    options = suited_to(options, dataset.spec.shape, given)
    check_networks(options, dataset.spec.shape)
    if options.label_smoothing and not LOSSES[options.loss].has_labels:
        what = f"the {options.loss} loss has no targets; leave it out, or choose another --loss"
        raise Mistake(f"--label-smoothing {options.label_smoothing:g}: {what}")
    if not options.resume:  # config.json of a resumed run has the final number
        shown = options.images_shown
        if options.epochs:
            shown = options.epochs * image_count
        elif "images_shown" not in given:
            times_larger = max(RECIPE_SIDE, *dataset.spec.shape[1:]) / RECIPE_SIDE
            shown = round(shown / 3 ** math.log2(times_larger))
            shown = min(shown, MAX_EPOCHS * image_count)
        options = dataclasses.replace(options, images_shown=shown)
    length = Length.of(options, image_count)
    if length.epochs > MAX_EPOCHS:
        what = f"is {length.epochs:,} epochs, at most {MAX_EPOCHS:,}"
        raise Mistake(f"--images-shown {options.images_shown:,}: {what}; show fewer")
    return dataclasses.replace(
        options,
        **dataset.options,
        epochs=length.epochs,
        images_shown=length.images_shown,
        sample_every=options.sample_every or (None if options.minutes else length.sample_every),
        # Every epoch begins with a penalty step, if any, whose weight is that of `r1_every` steps.
        r1_every=min(options.r1_every, length.epoch_steps if options.r1_gamma else math.inf),
        augment=image_count < FEW if options.augment is None else options.augment,
    )


def recipe_changes(options: Any, recipe: dict[str, Any], shape: tuple[int, int, int]) -> str:
    """The options that differ from the recipe's values for `shape`, as typed."""
    usual, chosen = vars(suited_to(type(options)(**recipe), shape)), vars(options)
    omitted = NOT_STORED | SHOWN_BY_PLAN
    names = [name for name in chosen if name not in omitted and chosen[name] != usual[name]]
    return " ".join(as_typed(name, chosen) for name in names)


def print_plan(
    options: Any, recipe: dict[str, Any], dataset: Dataset, state: TrainingState
) -> None:
    """Print what the training will do. recipe: the recipe's entry in RECIPES."""
    threads = counted(available_cores(), "thread")
    workers = f"{processes()} processes of {threads}" if processes() > 1 else threads
    print(
        f"{dataset.title}: {len(dataset.train_images):,} training images from {dataset.source}\n"
        f"{options.recipe} recipe: {_length_in_words(options, state.length)}, batch "
        f"{options.batch_size}, seed {options.seed}, on {state.device.type} with {workers}\n"
        f"generator {count_parameters(state.generator):,} parameters, "
        f"discriminator {count_parameters(state.discriminator):,}"
    )
    shapes = ("channels_g", "channels_d", "full_maps")
    channels = [name for name in shapes if getattr(options, name)]
    if channels:
        print("convolutions:", *(as_typed(name, vars(options)) for name in channels))
    elif dataset.spec.shape[0] > 1:
        print("note: fully connected networks blur colour photographs; try --recipe dcgan")
    for notice in dataset.notices:
        print(f"note: {notice}")
    if changes := recipe_changes(options, recipe, dataset.spec.shape):
        print(f"changes to the recipe: {changes}")
    if options.augment:
        print("the discriminator's inputs are augmented; --no-augment turns this off")
    if dataset.is_sample:
        print(SAMPLE_NOTICE)
        usual = type(options)(**recipe)
        if not options.minutes and options.images_shown < usual.images_shown:
            epochs, more = counted(options.epochs, "epoch"), SAMPLE_EPOCHS * options.epochs
            print(f"*** Its epochs are short: --epochs {more} has as many steps as {epochs}")
            print("*** of the full set.")
    if dataset.is_sample and options.dry_run and not (options.data_dir or options.resume):
        print("a real run first tries to download the full set")
    if options.resume:
        print(f"resuming after epoch {state.epoch}, step {state.step}")


def _length_in_words(options: Any, length: Length) -> str:
    """`12 epochs of 468 steps, the last of 40`; with --minutes the length is not yet known."""
    steps, last = counted(length.epoch_steps, "step"), length.steps_of(length.epochs - 1)
    if options.minutes:
        return f"as many epochs of {steps} as the speed allows in {options.minutes:g} minutes"
    if length.epochs == 1:
        return f"1 epoch of {counted(last, 'step')}"
    short = "" if last == length.epoch_steps else f", the last of {last:,}"
    return f"{counted(length.epochs, 'epoch')} of {steps}{short}"
