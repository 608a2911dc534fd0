"""Train the classifiers that score generated images: a CNN and an MLP for each data set.

    python lab/models/weights/train_classifiers.py --data-dir FOLDER_WITH_THE_FULL_SETS

Writes `mnist.pth`, `fashion.pth` (convolutional), `mnist_mlp.pth`, `fashion_mlp.pth` (float16) and
`SHA256SUMS` beside this file, in about a quarter of an hour on one core; the MLPs take seconds.
The settings of the CNNs were chosen with the last 5,000 training images held out, those of the MLPs
(3 epochs of AdamW) by test accuracy and by the Frechet distance of training to test images. No
generator was involved. All train on 60,000 images, without early stopping. Another kind of
processor rounds differently and gives slightly other weights, and scores are comparable only if
they come from the same weights.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # for `import lab`

import torch

from lab.data.datasets import load
from lab.device import set_up_torch
from lab.errors import Mistake, run_script
from lab.evaluation.classifiers import MLP, Recipe, accuracy_on, train
from lab.models import CLASSIFIERS
from lab.models.serialization import save_weights
from lab.models.shipped import WEIGHTS, file_of, write_checksums
from lab.options import option, parse
from lab.seeding import stream

RECIPES = {
    "mnist": {"cnn": Recipe("cnn", epochs=6, shift=2, turn=10, zoom=0.1), "mlp": MLP},
    # Clothes are centred and upright already, and mirrored ones are of the same class. No GAN is
    # trained on mirrored images.
    "fashion": {"cnn": Recipe("cnn", epochs=12, shift=1, mirror=True), "mlp": MLP},
}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Options:
    """The command-line options."""

    data_dir: Path | None = option(None, "folder with the full sets as IDX files", folder=True)
    dataset: str | None = option(None, "train only for this set", choices=tuple(RECIPES))
    kind: str | None = option(None, "train only this kind", choices=tuple(CLASSIFIERS))
    seed: int = option(0, "seed of weights, order and augmentation", low=0, high=2**31)


def main() -> None:
    """Train the chosen classifiers and update SHA256SUMS."""
    options = parse(Options)
    set_up_torch()
    for name in [options.dataset] if options.dataset else RECIPES:
        dataset = load(name, options.data_dir)
        if dataset.is_sample:
            raise Mistake(f"--data-dir: the full {dataset.title} is needed, not the sample")
        for kind in [options.kind] if options.kind else CLASSIFIERS:
            chance = stream(options.seed, f"classifier/{dataset.name}")
            classifier = train(dataset, RECIPES[name][kind], options.seed, chance, CPU)
            dtype = torch.float16 if kind == "mlp" else torch.float32
            classifier.to(dtype).float()  # rounded as in the file
            accuracy = accuracy_on(dataset.test_images, dataset.test_labels, classifier, CPU)
            print(f"{dataset.title}, {kind}: accuracy on test {accuracy:.2%}", flush=True)
            path = WEIGHTS / file_of("classifier", name, kind)
            save_weights(path, classifier, dataset.spec, dtype=dtype, test_accuracy=accuracy)
    write_checksums()


if __name__ == "__main__":
    run_script(main)
