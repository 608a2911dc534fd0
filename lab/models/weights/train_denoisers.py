"""Train the denoisers that ship with the lab, one for each set.

    python lab/models/weights/train_denoisers.py --data-dir FOLDER_WITH_THE_FULL_SETS

Writes `denoiser_mnist.pth`, `denoiser_fashion.pth` (float16) and `SHA256SUMS` beside this file. It
is the training of `denoise_images.py --train-denoiser`, but longer. Settings were chosen with the
last 2,000 training images of Fashion-MNIST held out; the denoisers that ship then learn from all
60,000. Test images are not looked at. It takes some eight minutes on one core with AMX and a
quarter of an hour on two without. Another kind of processor, or another number of threads, rounds
differently and so ends at slightly other weights: those that ship are of one thread
(OMP_NUM_THREADS=1) of an Intel Xeon with AMX.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # the lab, wherever this is started from

import torch

from lab.data.datasets import load
from lab.device import set_up_torch
from lab.errors import Mistake, run_script
from lab.models.serialization import save_weights
from lab.models.shipped import WEIGHTS, denoiser_file, write_checksums
from lab.options import option, parse
from lab.restoration import denoising

NAMES = ("mnist", "fashion")


@dataclass(frozen=True)
class Options:
    """What can be asked for on the command line."""

    data_dir: Path | None = option(None, "folder with the full sets as IDX files", folder=True)
    dataset: str | None = option(None, "train only this one; else both", choices=NAMES)
    images_shown: int = option(320_000, "how long, in images", low=1, high=10**9)
    seed: int = option(0, "decides weights, order and noise", low=0, high=2**31)


def main() -> None:
    """Train the denoisers asked for, then list the checksums of the files that are there."""
    chosen = parse(Options)
    set_up_torch()
    for name in [chosen.dataset] if chosen.dataset else NAMES:
        dataset = load(name, chosen.data_dir)
        if dataset.is_sample:
            raise Mistake(f"--data-dir: the full {dataset.title} is needed, not the sample")
        print(f"{dataset.title}: {chosen.images_shown:,} images", flush=True)
        network = denoising.train(dataset.train_images, chosen.seed, chosen.images_shown)
        facts = {"fingerprint": dataset.fingerprint, "images_shown": chosen.images_shown}
        path = WEIGHTS / denoiser_file(name)
        save_weights(path, network, dataset.spec, dtype=torch.float16, **facts)
    write_checksums()


if __name__ == "__main__":
    run_script(main)
