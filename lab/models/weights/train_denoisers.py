"""Train the denoisers and the samplers that ship with the lab, one of each for each set.

    python lab/models/weights/train_denoisers.py --data-dir FOLDER_WITH_THE_FULL_SETS

Writes `denoiser_mnist.pth`, `sampler_mnist.pth` and those of Fashion-MNIST (float16), and
`SHA256SUMS`, beside this file. It is the training of `denoise_images.py --train-denoiser` and
`--train-sampler`. Settings were chosen with the last 2,000 training images held out; the networks
that ship then learn from all 60,000. Test images are not looked at. Another kind of processor, or
another number of threads, rounds differently and so ends at slightly other weights.

--begin FOLDER: begin at the denoisers for Gaussian noise alone that the lab shipped before, the
files of those names in commit 75439fa. They go on with all corruptions, the new inputs at zero.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # the lab, wherever this is started from

import torch
from torch import nn

from lab.data.datasets import Dataset, load
from lab.device import set_up_torch
from lab.errors import Mistake, run_script
from lab.models.serialization import save_weights
from lab.models.shipped import WEIGHTS, file_of, load_restorer, write_checksums
from lab.models.tensor_files import FORMAT_VERSION, read_tensors
from lab.options import option, parse
from lab.restoration import denoising, posterior
from lab.restoration.examples import KINDS

NAMES = ("mnist", "fashion")


@dataclass(frozen=True)
class Options:
    """What can be asked for on the command line."""

    data_dir: Path | None = option(None, "folder with the full sets as IDX files", folder=True)
    dataset: str | None = option(None, "train only for this one; else both", choices=NAMES)
    begin: Path | None = option(None, "folder with the denoisers of 75439fa", folder=True)
    denoiser_images: int = option(400_000, "how long, in images; 0 keeps it", low=0, high=10**9)
    sampler_images: int = option(100_000, "how long, in images; 0 keeps it", low=0, high=10**9)
    rate: float = option(1.0, "the denoiser's learning rates, times that", low=0, high=2)
    seed: int = option(0, "decides weights, order and noise", low=0, high=2**31)


def begun_by(path: Path, dataset: Dataset, seed: int) -> nn.Module:
    """A denoiser that does what one for Gaussian noise alone does; it knew sigma and clipping."""
    network = denoising.untrained(dataset.spec.shape, seed)
    old = read_tensors(path, "gan-lab denoiser", versions=(FORMAT_VERSION,))["state_dict"]
    state, channels = network.state_dict(), dataset.spec.shape[0]
    pixels = dataset.train_images[0].numel()
    starts = {  # where the old inputs stand in the new
        "enter.0.weight": (4 * channels, 4 * channels + 4),
        "overview.layers.0.weight": (pixels, pixels + pixels // channels // 16),
    }
    for name, weight in old.items():
        if name not in starts:
            state[name] = weight
            continue
        images, facts = starts[name]
        state[name].zero_()
        state[name][:, :images] = weight[:, :images]
        state[name][:, facts] = weight[:, images]  # the level
        state[name][:, facts + 1 + KINDS.index("gaussian-clipped")] = weight[:, images + 1]
    network.load_state_dict(state)
    return network


def train(options: Options, dataset: Dataset) -> None:
    """A denoiser, and the sampler that begins as it does."""
    images, spec, facts = dataset.train_images, dataset.spec, {"fingerprint": dataset.fingerprint}
    if shown := options.denoiser_images:
        path = WEIGHTS / file_of("denoiser", spec.name)
        old = options.begin and begun_by(options.begin / path.name, dataset, options.seed)
        denoiser = denoising.train(images, options.seed, shown, old, options.rate)
        save_weights(path, denoiser, spec, dtype=torch.float16, images_shown=shown, **facts)
        write_checksums()
    if shown := options.sampler_images:
        denoiser = load_restorer(spec, "denoiser").network
        sampler = posterior.train(images, denoiser, options.seed, shown)
        path = WEIGHTS / file_of("sampler", spec.name)
        save_weights(path, sampler, spec, dtype=torch.float16, images_shown=shown, **facts)
        write_checksums()


def main() -> None:
    """Train what is asked for, for each set."""
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
