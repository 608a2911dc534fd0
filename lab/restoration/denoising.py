"""The convolutional denoiser: its training, and its use.

Images are float32 (N, C, H, W) on the [0, 1] scale, NaN where pixels are missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, smooth_l1_loss

from lab.device import bfloat16_is_fast
from lab.errors import Fault
from lab.models import DENOISERS, build
from lab.restoration.examples import BATCH, GROUP, KINDS, Examples, draw
from lab.seeding import seed_for, stream
from lab.text import progress_bar
from lab.training.muon import Muon
from lab.training.optim import Adam

# Under half the multiplications of the widths that the class has by default.
SIZES = {"width": 32, "inner_width": 64, "overview_width": 256}
IMAGES_SHOWN = 190_000  # whatever the set's size
ESTIMATOR_IMAGES = 400_000  # at most: told the truth, a denoiser restores hardly better
LR = 2e-3  # Adam's learning rate at its highest
# And Muon's, for the convolutions between the first and the last: after 60,000 images these restore
# 0.26 to 0.52 dB better than with Adam.
LR_HIDDEN = 0.01
LR_ESTIMATOR = 5e-3
LEAST_ERROR = 0.01  # added to an error before its logarithm, so that easy images do not decide all
FAINT = 0.06  # restored pixels below it, or below half the noise level, are background


def untrained(shape: Sequence[int], seed: int) -> nn.Module:
    """A denoiser for images of `shape` (C, H, W); Fault where there can be none."""
    with torch.random.fork_rng(devices=[]):  # initialisation draws from the global stream
        torch.manual_seed(seed_for(seed, "denoiser weights"))
        try:
            return build(DENOISERS, "blind", shape=tuple(shape), corruptions=len(KINDS), **SIZES)
        except ValueError as error:
            raise Fault(f"no denoiser can be trained: {error}") from None


def train(images: Tensor, seed: int, images_shown: int) -> nn.Module:
    """A denoiser trained on uint8 images (N, C, H, W), on their device, with a bar to watch.

    Each time an image is shown it is corrupted anew, see `examples`. A CPU with matrix units for
    bfloat16 computes in that: more than twice the images a second.
    """
    device = images.device
    network = untrained(images.shape[1:], seed)
    network.to(device, memory_format=torch.channels_last)
    rng = stream(seed, "denoiser training", device)
    train_estimator(network.estimator, images, rng, min(images_shown, ESTIMATOR_IMAGES))
    muon, adam = optimizers(network)
    for step, done in progress("training the denoiser, part 2 of 2", images_shown, BATCH):
        adam.lr, muon.lr = (lr * one_cycle(done) for lr in (LR, LR_HIDDEN))
        loss = train_step(network, draw(images, rng), told=step % 2 == 0)
        network.zero_grad()
        loss.backward()
        adam.step()
        muon.step()
    return network.eval().requires_grad_(False)


def train_estimator(
    estimator: nn.Module, images: Tensor, rng: torch.Generator, images_shown: int
) -> None:
    """Have it learn what was done to images, as far as that can be seen, and then keep it."""
    adam = Adam(list(estimator.parameters()), LR_ESTIMATOR, betas=(0.9, 0.99))
    for _, done in progress("training the denoiser, part 1 of 2", images_shown, BATCH):
        adam.lr = LR_ESTIMATOR * one_cycle(done)
        examples = draw(images, rng)
        logits, strengths, level = estimator(examples.corrupted)
        strength = strengths.gather(1, examples.kinds[:, None]).squeeze(1)
        loss = cross_entropy(logits, examples.kinds) + 2 * (
            smooth_l1_loss(level, examples.levels.clamp(min=0.01).log(), beta=0.1)
            + smooth_l1_loss(strength, examples.strengths, beta=0.1)
        )
        adam.zero_grad()
        loss.backward()
        adam.step()
    estimator.requires_grad_(False)


def optimizers(network: nn.Module) -> tuple[Muon, Adam]:
    """Muon for the convolutions between the denoiser's first and its last, Adam for the rest."""
    parts = [network.enter, network.down, network.inner, network.up]
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Conv2d)]
    layers += [network.overview.layers[-1], *network.leave[0].layers[::2]]
    muon = Muon([layer.weight for layer in layers[1:]], LR_HIDDEN)
    kept = {*muon.weights, *network.estimator.parameters()}
    rest = [weight for weight in network.parameters() if weight not in kept]
    return muon, Adam(rest, LR, betas=(0.9, 0.99))


def progress(what: str, images: int, batch: int) -> Iterator[tuple[int, float]]:
    """Each step and the share that is behind, with a bar; without a terminal a line a tenth."""
    steps = -(-images // batch)
    with progress_bar(
        total=steps * batch,
        desc=what,
        unit=" images",
        unit_scale=True,
    ) as bar:
        for step in range(steps):
            yield step, step / steps
            bar.update(batch)
            if bar.disable and (10 * step + 10) % steps < 10:
                share = f"{(step + 1) / steps:.0%} of {steps * batch:,} images"
                print(f"{what}: {share}", flush=True)


def one_cycle(done: float) -> float:
    """The share of the highest learning rate when a share `done` of the training is behind.

    Up in the first twentieth, then down to nothing: Smith and Topin 2018, "Super-convergence", but
    along cosines rather than straight lines.
    """
    up = 0.05
    way = done / up if done < up else (1 - done) / (1 - up)  # from 0 to 1 and back to 0
    return (1 - math.cos(math.pi * way)) / 2


def train_step(network: nn.Module, examples: Examples, told: bool = True) -> Tensor:
    """The loss, a scalar, on a batch.

    The squared error of each image is divided by the square of what the network's answer is scaled
    with, so that every level weighs the same (Karras et al. 2022, eq. 8, lambda = 1 / c_out^2). Of
    each group, which was corrupted in one way, the logarithm of the mean counts, so that every
    corruption weighs the same (Kendall et al. 2018, "Multi-task learning using uncertainty to weigh
    losses", eq. 7 at its best sigma). Else the error in holes, which nobody can fill for certain,
    is most of the loss, and noise is restored up to half a decibel worse. told: whether the
    denoiser is told what was done, or what is estimated.
    """
    with torch.no_grad():
        facts = examples.facts if told else network.estimator.facts(examples.corrupted)
    device = examples.clean.device
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device)):
        restored = network(examples.corrupted, facts)
    error = ((restored - examples.clean) / network.scale(facts)).square().flatten(1).mean(1)
    of_groups = error.view(-1, GROUP).mean(1)  # (batch / GROUP,)
    return (of_groups[examples.kinds[::GROUP] > 0] + LEAST_ERROR).log().mean()


@torch.no_grad()
def denoise(network: nn.Module, corrupted: Tensor, facts: Tensor | None = None) -> Tensor:
    """Restored images (N, C, H, W) in [0, 1] of corrupted ones; facts as the network takes them."""
    facts = network.estimator.facts(corrupted) if facts is None else facts
    parts = zip(corrupted.split(500), facts.split(500), strict=True)
    return without_haze(torch.cat([network(*part) for part in parts]), facts)


def without_haze(restored: Tensor, facts: Tensor) -> Tensor:
    """Restored images in [0, 1], what is faint for the level of what was done to them black.

    Half of all pixels are black, and a network that is taught to expect the mean leaves a haze
    there. Without it PSNR is no lower and SSIM up to 0.16 higher, on training images.
    """
    faint = (facts[:, 0] / 2).clamp(max=FAINT).view(-1, 1, 1, 1)
    return torch.where(restored < faint, 0.0, restored.clamp(max=1))
