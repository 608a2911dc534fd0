"""The convolutional denoiser: its training, and its use.

Images are float32 (N, C, H, W) on the [0, 1] scale, NaN where pixels are missing.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, smooth_l1_loss

from lab.device import bfloat16_is_fast
from lab.errors import Fault
from lab.models import DENOISERS, build
from lab.models.denoiser import in_batches
from lab.restoration.examples import BATCH, GROUP, KINDS, Examples, draw
from lab.seeding import seed_for, stream
from lab.text import progress
from lab.training.optim import Adam, Muon

# The widths that the class has by default; given, so that they stand in the file.
SIZES = {"width": 32, "inner_width": 64, "overview_width": 256}
IMAGES_SHOWN = 310_000  # in training, for sets of any size
# The estimator's share of these; with the true corruption in place of its estimate, denoisers are
# hardly better.
ESTIMATOR_SHARE, MOST_ESTIMATOR_IMAGES = 0.6, 400_000
LR = 2e-3  # Adam's learning rate at its highest
# Muon's learning rate, for all convolutions but the first and the last: after 60,000 images the
# denoiser restores 0.26 to 0.52 dB better than with Adam.
LR_HIDDEN = 0.01
LR_ESTIMATOR = 5e-3
LEAST_ERROR = 0.01  # added to errors before the logarithm, or easy images would dominate
FAINT = 0.06  # restored pixels below this, or below half the noise level, are set to 0


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

    Each time an image is shown, it gets a new corruption, see `examples`. A CPU computes in
    bfloat16 where that is fast; with AMX it more than doubles the images per second.
    """
    device = images.device
    network = untrained(images.shape[1:], seed)
    network.to(device, memory_format=torch.channels_last)
    rng = stream(seed, "denoiser training", device)
    estimator_images = min(round(ESTIMATOR_SHARE * images_shown), MOST_ESTIMATOR_IMAGES)
    train_estimator(network.estimator, images, rng, estimator_images)
    muon, adam = optimizers(network)
    for step, done in progress("training the denoiser, part 2 of 2", images_shown, BATCH):
        adam.lr, muon.lr = (lr * one_cycle(done) for lr in (LR, LR_HIDDEN))
        loss = train_step(network, draw(images, rng), known=step % 2 == 0)
        network.zero_grad()
        loss.backward()
        adam.step()
        muon.step()
    return network.eval().requires_grad_(False)


def train_estimator(
    estimator: nn.Module, images: Tensor, rng: torch.Generator, images_shown: int
) -> None:
    """Train the estimator to see kind, strength and level of a corruption; then freeze it."""
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
    """Muon for all convolutions but the first and the last, Adam for the other weights."""
    parts = [network.enter, network.down, network.inner, network.up]
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Conv2d)]
    layers += [network.overview.layers[-1], *network.leave[0].layers[::2]]
    muon = Muon([layer.weight for layer in layers[1:]], LR_HIDDEN)
    kept = {*muon.weights, *network.estimator.parameters()}
    rest = [weight for weight in network.parameters() if weight not in kept]
    return muon, Adam(rest, LR, betas=(0.9, 0.99))


def one_cycle(done: float) -> float:
    """The share of the peak learning rate after a share `done` of the training.

    It rises in the first twentieth, then falls to 0: Smith and Topin 2018, "Super-convergence",
    along cosines instead of straight lines.
    """
    up = 0.05
    way = done / up if done < up else (1 - done) / (1 - up)  # from 0 to 1 and back to 0
    return (1 - math.cos(math.pi * way)) / 2


def train_step(network: nn.Module, examples: Examples, known: bool = True) -> Tensor:
    """The loss of a batch, a scalar.

    The squared error of each image is divided by the square of the output's scale, so that every
    noise level has the same weight (Karras et al. 2022, eq. 8, lambda = 1 / c_out^2). The loss is
    the mean over the groups of the logarithm of their mean error, so that every kind of corruption
    has the same weight (Kendall et al. 2018, "Multi-task learning using uncertainty to weigh
    losses", eq. 7 at its best sigma). Without the logarithm the error in holes, which cannot be
    known, dominates the loss, and noisy images are restored up to half a decibel worse. known:
    whether the condition is the true one, or the estimator's.
    """
    with torch.no_grad():
        condition = examples.condition if known else network.estimator.condition(examples.corrupted)
    device = examples.clean.device
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device)):
        restored = network(examples.corrupted, condition)
    error = ((restored - examples.clean) / network.scale(condition)).square().flatten(1).mean(1)
    of_groups = error.view(-1, GROUP).mean(1)  # (batch / GROUP,)
    return (of_groups[examples.kinds[::GROUP] > 0] + LEAST_ERROR).log().mean()


@torch.no_grad()
def denoise(network: nn.Module, corrupted: Tensor, condition: Tensor | None = None) -> Tensor:
    """Restored images (N, C, H, W) in [0, 1]. condition: (N, 1 + kinds); None: it is estimated."""
    condition = network.estimator.condition(corrupted) if condition is None else condition
    return without_haze(in_batches(network, corrupted, condition), condition)


def without_haze(restored: Tensor, condition: Tensor) -> Tensor:
    """Restored images in [0, 1], with pixels set to 0 that are faint for the noise level.

    Half of all pixels are black, where a network trained on the squared error leaves a haze.
    Without the haze, PSNR is no lower and SSIM up to 0.16 higher, on training images.
    """
    faint = (condition[:, 0] / 2).clamp(max=FAINT).view(-1, 1, 1, 1)
    return torch.where(restored < faint, 0.0, restored.clamp(max=1))
