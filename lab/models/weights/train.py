"""Train the networks that ship with the lab for each data set.

    python lab/models/weights/train.py --data-dir FOLDER_WITH_THE_FULL_SETS

Writes each network's file, and `SHA256SUMS`, beside this file. All train on all 60,000 images.
Another kind of processor, or another number of threads, rounds differently and gives slightly other
weights, and scores are comparable only if they come from the same classifiers.

cnn and mlp are the classifiers that score generated images; the CNNs take a quarter of an hour on
one core, the MLPs seconds. The settings of the CNNs were chosen with the last 5,000 training images
held out, those of the MLPs (3 epochs of AdamW) by test accuracy and by the Frechet distance of
training to test images. No generator was involved.

denoiser and sampler are trained as by `denoise_images.py --train-denoiser` and `--train-sampler`.
The settings were chosen with the last 2,000 training images held out. Test images are not used.

generator is a conditional one from a run of gan_lab.py. It takes three to four minutes a set on an
H100 GPU, and many hours on a CPU. The facts in the file have its command.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))  # for `import lab`

import torch
from torch import nn

from lab.data.datasets import DATASETS, Dataset, load
from lab.device import set_up_torch
from lab.errors import Fault, Mistake, run_script
from lab.evaluation.classifiers import MLP, Recipe, accuracy_on, train
from lab.models import CLASSIFIERS
from lab.models.serialization import save_weights
from lab.models.shipped import WEIGHTS, file_of, load_shipped, write_checksums
from lab.options import option, parse
from lab.restoration import denoising, posterior
from lab.runs import Run
from lab.seeding import stream
from lab.text import command_line

LAB = Path(__file__).parents[3]
SETS = ("mnist", "fashion")
NETWORKS = ("cnn", "mlp", "denoiser", "sampler", "generator")  # the sampler needs the denoiser
DTYPES = {network: torch.float32 if network == "cnn" else torch.float16 for network in NETWORKS}
CNN_RECIPES = {
    "mnist": Recipe("cnn", epochs=6, shift=2, turn=10, zoom=0.1),
    # Clothes are centred and upright already, and mirrored ones are of the same class. No GAN is
    # trained on mirrored images.
    "fashion": Recipe("cnn", epochs=12, shift=1, mirror=True),
}
DENOISER_IMAGES, SAMPLER_IMAGES = 1_500_000, 100_000  # shown in all
GENERATOR_IMAGES = {"mnist": 17_000_000, "fashion": 25_000_000}
GENERATOR_RECIPE = ("--recipe", "best", "--conditional", "--full-maps", "32", "--batch-size", "256")


@dataclass(frozen=True)
class Options:
    """The command-line options."""

    data_dir: Path | None = option(None, "folder with the full sets as IDX files", folder=True)
    dataset: str | None = option(None, "train only for this set", choices=SETS)
    network: str | None = option(None, "train only this network", choices=NETWORKS)
    images_shown: int | None = option(
        None, "images shown to denoiser, sampler or generator; default: its own", low=1, high=10**9
    )
    seed: int = option(0, "seed of weights, order, augmentation and noise", low=0, high=2**31)
    run: Path | None = option(None, "use the generator of this run instead of training any network")


def main() -> None:
    """Train the chosen networks and update SHA256SUMS."""
    options = parse(Options)
    set_up_torch()
    if options.run:
        keep_generator(Run.open("--run", options.run))
        return
    for name in [options.dataset] if options.dataset else SETS:
        dataset = load(name, options.data_dir)
        if dataset.is_sample:
            raise Mistake(f"--data-dir: the full {dataset.title} is needed, not the sample")
        for network in [options.network] if options.network else NETWORKS:
            print(f"{dataset.title}, {network}", flush=True)
            if network in CLASSIFIERS:
                train_classifier(network, options, dataset)
            elif network == "generator":
                with tempfile.TemporaryDirectory() as outputs:
                    keep_generator(train_generator(options, dataset, Path(outputs)))
            else:
                train_restorer(network, options, dataset)


def train_classifier(kind: str, options: Options, dataset: Dataset) -> None:
    """Train a classifier and print its accuracy on the test images."""
    chance, cpu = stream(options.seed, f"classifier/{dataset.name}"), torch.device("cpu")
    recipe = MLP if kind == "mlp" else CNN_RECIPES[dataset.name]
    classifier = train(dataset, recipe, options.seed, chance, cpu)
    classifier.to(DTYPES[kind]).float()  # rounded as in the file
    accuracy = accuracy_on(dataset, classifier, cpu)
    print(f"accuracy on test {accuracy:.2%}", flush=True)
    keep(kind, classifier, dataset.name, test_accuracy=accuracy)


def train_restorer(role: str, options: Options, dataset: Dataset) -> None:
    """Train a denoiser, or a sampler that is initialised with the weights of the shipped one."""
    images, seed = dataset.train_images, options.seed
    if role == "denoiser":
        shown = options.images_shown or DENOISER_IMAGES
        network = denoising.train(images, seed, shown)
    else:
        shown = options.images_shown or SAMPLER_IMAGES
        denoiser = load_shipped("denoiser", dataset.spec).network
        network = posterior.train(images, denoiser, seed, shown)
    keep(role, network, dataset.name, images_shown=shown, fingerprint=dataset.fingerprint)


def train_generator(options: Options, dataset: Dataset, outputs: Path) -> Run:
    """Run gan_lab.py in `outputs`; Fault if it fails."""
    images_shown = options.images_shown or GENERATOR_IMAGES[dataset.name]
    length = ("--images-shown", str(images_shown), "--seed", str(options.seed))
    data = ("--data-dir", str(options.data_dir)) if options.data_dir else ()
    words = ["gan_lab.py", "--dataset", dataset.name, *GENERATOR_RECIPE, *length]
    words += ["--final-images", "0"]
    print(command_line(["python", *words]), flush=True)
    process = subprocess.run([sys.executable, *words, *data, "--out", str(outputs)], cwd=LAB)
    if process.returncode:
        raise Fault(f"gan_lab.py ended with {process.returncode}")
    return Run.newest(outputs)


def keep_generator(run: Run) -> None:
    """Keep the run's generator, with the command of the run without folders of this machine."""
    weights = run.load_generator()
    name = weights.spec.name
    if run.config.data.is_sample:
        raise Mistake("--data-dir: the full set is needed, not the sample")
    if name not in SETS or not getattr(weights.network, "classes", 0):
        raise Mistake(f"--run {run}: has no conditional generator of {' or '.join(SETS)}")
    options, changes = run.options, run.config.other_than_recipe
    words = (
        f"--dataset {name} --recipe {options['recipe']} {changes} --batch-size "
        f"{options['batch_size']} --images-shown {options['images_shown']} --seed {options['seed']}"
    )
    facts = {**weights.facts, "command": f"python gan_lab.py {words}"}
    keep("generator", weights.network, name, **facts)


def keep(which: str, network: nn.Module, name: str, **facts: Any) -> None:
    """Save a network, one of NETWORKS, for the set `name` and update SHA256SUMS."""
    path = WEIGHTS / file_of(which, name)
    save_weights(path, network, DATASETS[name], DTYPES[which], **facts)
    write_checksums()


if __name__ == "__main__":
    run_script(main)
