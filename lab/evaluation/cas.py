"""The classification accuracy score (CAS): how useful generated images are as training images.

Ravuri and Vinyals 2019, "Classification accuracy score for conditional generative models": a
classifier is trained on generated images, labelled with the classes they were asked for, and tested
on real ones. They use a ResNet-50; here it is the lab's small classifier at half its width, with a
fixed recipe and fixed seeds, so that generators of the same set can be compared.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lab.data.datasets import Dataset
from lab.data.pixels import to_float
from lab.device import full_precision
from lab.errors import Mistake
from lab.evaluation.classifiers import new_classifier
from lab.evaluation.reference import labels_to_ask
from lab.models.sampling import generate, random_latents
from lab.runs.generators import TrainedGenerator
from lab.seeding import seed_for, stream
from lab.text import progress_bar

COUNT = 60_000  # generated images
WIDTHS = (16, 32, 64, 64)
SHOWN = 300_000  # training images shown, with repetitions
BATCH = 100
LEARNING_RATE = 0.01  # the peak of a one-cycle schedule (Smith and Topin 2018)


def check(trained: TrainedGenerator | None, dataset: Dataset) -> None:
    """Mistake unless there is a conditional generator with the classes of the set."""
    if trained is None:
        raise Mistake("--cas: needs a conditional generator; leave it out with --images")
    if labels_to_ask(trained.network, dataset, 1) is None:
        what = f"{trained.path} is no conditional generator of {dataset.title}"
        train = ", or train one with gan_lab.py --conditional" * (dataset.train_labels is not None)
        raise Mistake(f"--cas: {what}; leave it out{train}")


@full_precision()
def scores(generator: nn.Module, dataset: Dataset, device: torch.device) -> tuple[float, float]:
    """The accuracy on test images after training on generated images, and on real ones."""
    labels = labels_to_ask(generator, dataset, COUNT)
    images = generate(generator, random_latents(generator, COUNT, "cas/latents"), labels)
    generated = _accuracy(images, labels, dataset, device, "generated images")
    real = _accuracy(dataset.train_images, dataset.train_labels, dataset, device, "real images")
    return generated, real


def _accuracy(
    images: Tensor, labels: Tensor, dataset: Dataset, device: torch.device, what: str
) -> float:
    """The accuracy on test images of a classifier trained on uint8 images (N, C, H, W)."""
    images, labels = images.to(device), labels.to(device)
    seed, steps = seed_for(0, "cas/weights"), SHOWN // BATCH
    network = new_classifier("cnn", dataset.spec, seed, device, widths=WIDTHS)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    order, drawn = stream(0, "cas/order"), torch.empty(0, dtype=torch.long)
    for _ in progress_bar(iterable=range(steps), desc=f"CAS, {what}", unit=" steps"):
        while len(drawn) < BATCH:
            drawn = torch.cat((drawn, torch.randperm(len(images), generator=order)))
        batch, drawn = drawn[:BATCH].to(device), drawn[BATCH:]
        loss = cross_entropy(network(to_float(images[batch])), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.inference_mode():
        parts = dataset.test_images.split(BATCH)
        seen = torch.cat([network(to_float(part.to(device))).argmax(1).cpu() for part in parts])
    return float((seen == dataset.test_labels).double().mean())
