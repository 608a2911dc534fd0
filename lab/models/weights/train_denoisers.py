"""Train the denoiser and the sampler that ship with the lab for each data set.

    python lab/models/weights/train_denoisers.py --data-dir FOLDER_WITH_THE_FULL_SETS

Writes `denoiser_mnist.pth`, `sampler_mnist.pth` and those of Fashion-MNIST (float16), and
`SHA256SUMS`, beside this file. The training is that of `denoise_images.py --train-denoiser` and
`--train-sampler`. The settings were chosen with the last 2,000 training images held out; the
networks that ship train on all 60,000. Test images are not used. Another kind of processor, or
another number of threads, rounds differently and gives slightly other weights.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # for `import lab`

import torch

from lab.data.datasets import Dataset, load
from lab.device import set_up_torch
from lab.errors import Mistake, run_script
from lab.models.serialization import save_weights
from lab.models.shipped import WEIGHTS, file_of, load_shipped, write_checksums
from lab.options import option, parse
from lab.restoration import denoising, posterior

NAMES = ("mnist", "fashion")


@dataclass(frozen=True)
class Options:
    """The command-line options."""

    data_dir: Path | None = option(None, "folder with the full sets as IDX files", folder=True)
    dataset: str | None = option(None, "train only for this set", choices=NAMES)
    denoiser_images: int = option(1_500_000, "images shown; 0: no training", low=0, high=10**9)
    sampler_images: int = option(100_000, "images shown; 0: no training", low=0, high=10**9)
    seed: int = option(0, "seed of weights, order and noise", low=0, high=2**31)


def train(options: Options, dataset: Dataset) -> None:
    """Train a denoiser, and the sampler that is initialised with its weights."""
    images, spec, facts = dataset.train_images, dataset.spec, {"fingerprint": dataset.fingerprint}
    if shown := options.denoiser_images:
        path = WEIGHTS / file_of("denoiser", spec.name)
        denoiser = denoising.train(images, options.seed, shown)
        save_weights(path, denoiser, spec, dtype=torch.float16, images_shown=shown, **facts)
        write_checksums()
    if shown := options.sampler_images:
        denoiser = load_shipped("denoiser", spec).network
        sampler = posterior.train(images, denoiser, options.seed, shown)
        path = WEIGHTS / file_of("sampler", spec.name)
        save_weights(path, sampler, spec, dtype=torch.float16, images_shown=shown, **facts)
        write_checksums()


def main() -> None:
    """Train the chosen networks for each data set."""
    options = parse(Options)
    set_up_torch()
    for name in [options.dataset] if options.dataset else NAMES:
        dataset = load(name, options.data_dir)
        if dataset.is_sample:
            raise Mistake(f"--data-dir: the full {dataset.title} is needed, not the sample")
        print(dataset.title, flush=True)
        train(options, dataset)


if __name__ == "__main__":
    run_script(main)
