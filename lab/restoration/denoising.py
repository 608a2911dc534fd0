"""The convolutional denoiser: the one that ships for the set, or one that the user trains.

Images are float32 (N, C, H, W) on the [0, 1] scale, as in `corruptions`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lab.bars import progress_bar
from lab.data.datasets import Dataset, DatasetSpec
from lab.data.pixels import to_unit
from lab.device import bfloat16_is_fast
from lab.errors import Fault, going_on
from lab.models import DENOISERS, build
from lab.models.serialization import Weights, load_weights, save_weights
from lab.models.shipped import load_denoiser
from lab.restoration.corruptions import Gaussian
from lab.seeding import seed_for, stream
from lab.training.muon import Muon
from lab.training.optim import Adam

# Under half the multiplications of the widths that the class has by default.
SIZES = {"width": 32, "inner_width": 64, "overview_width": 256}
IMAGES_SHOWN = 190_000  # whatever the set's size
DURATION = "some five minutes on two cores"
BATCH = 32  # at equal cost, many small steps restore a decibel better than few large ones
LR = 2e-3  # Adam's learning rate at its highest
# And Muon's, for the convolutions between the first and the last: after 60,000 images these restore
# 0.26 to 0.52 dB better than with Adam.
LR_HIDDEN = 0.01
FAINT = 0.06  # restored pixels below it, or below half the noise level, are background
CLIPPED_SHARE = 0.3  # of the images are clipped to 0..1 after noise was added, and say so


def find(
    path: Path,
    dataset: Dataset,
    device: torch.device,
    seed: int,
    must: bool = False,
    anew: bool = False,
) -> Weights | None:
    """The denoiser of a set, its network on `device`; None if there is none.

    The user's own is at `path` and goes before the one that ships with the lab.
    must: one is trained and stored there if there is neither; anew: in any case.
    """
    if path.exists() and not path.is_file():
        raise Fault(f"{path}: is in the way of the denoiser's file; remove it")
    weights = None
    if not anew and not path.is_file():
        weights = _shipped(dataset.spec, must)
    if anew or (must and not weights and not path.is_file()):
        _train_and_store(path, dataset, device, seed)
    if path.is_file():
        weights = load(path, dataset.spec)
        if weights.facts.get("fingerprint", dataset.fingerprint) != dataset.fingerprint:
            print(
                "note: the denoiser was trained on other images of the set than these; "
                "--train-denoiser trains a new one"
            )
    if weights:
        weights.network.to(device)
    return weights


def _shipped(spec: DatasetSpec, must: bool) -> Weights | None:
    """The denoiser that ships for a set, None if there is none; says which in a line.

    must: one is trained if there is none.
    """
    weights, reason = None, f"none ships for {spec.title}"
    try:
        weights = load_denoiser(spec)
    except (Fault, OSError) as error:
        reason = str(error)
    if weights:
        print(
            f"denoiser: the lab's own for {spec.title}, {weights.path.name}; "
            "--train-denoiser trains one of yours"
        )
    else:
        cure = "" if must else f"; --train-denoiser trains one, in {DURATION}"
        print(f"no denoiser ({reason}){cure}")
    return weights


def _train_and_store(path: Path, dataset: Dataset, device: torch.device, seed: int) -> None:
    print(
        f"training a denoiser on {len(dataset.train_images):,} images, once for this "
        f"generator's folder: {DURATION}",
        flush=True,
    )
    with going_on("a denoiser half trained is not kept, --train-denoiser begins anew"):
        network = train(dataset.train_images.to(device), seed, IMAGES_SHOWN)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, network, dataset.spec, fingerprint=dataset.fingerprint)
    print(f"denoiser: {path}", flush=True)


def load(path: Path, spec: DatasetSpec) -> Weights:
    """The denoiser in a file; Fault if it is damaged, or for another set than `spec`."""
    try:
        weights = load_weights(path, "denoiser")
    except Fault as fault:
        raise Fault(f"{fault}; delete it, or train a new one with --train-denoiser") from None
    if weights.spec != spec:
        raise Fault(
            f"{path}: a denoiser of {weights.spec.title}, {spec.title} is needed; "
            "delete it, or train a new one with --train-denoiser"
        )
    return weights


def untrained(shape: Sequence[int], seed: int) -> nn.Module:
    """A denoiser for images of `shape` (C, H, W); Fault where there can be none."""
    with torch.random.fork_rng(devices=[]):  # initialisation draws from the global stream
        torch.manual_seed(seed_for(seed, "denoiser weights"))
        try:
            return build(DENOISERS, "unet", shape=tuple(shape), **SIZES)
        except ValueError as error:
            raise Fault(f"no denoiser can be trained: {error}") from None


def train(images: Tensor, seed: int, images_shown: int) -> nn.Module:
    """A denoiser trained on uint8 images (N, C, H, W), on their device, with a bar to watch.

    Without a terminal a line a tenth takes the bar's place. Each time an image is shown it has new
    Gaussian noise, sigma uniform in (0, 1]. A CPU with matrix units for bfloat16 computes in that:
    more than twice the images a second.
    """
    device = images.device
    network = untrained(images.shape[1:], seed).to(device, memory_format=torch.channels_last)
    rng = stream(seed, "denoiser training", device)
    steps = -(-images_shown // BATCH)
    convolutions = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    muon = Muon(convolutions[1:-1], LR_HIDDEN)
    by_muon = set(muon.weights)
    rest = [weight for weight in network.parameters() if weight not in by_muon]
    adam = Adam(rest, LR, betas=(0.9, 0.99))
    with progress_bar(
        total=steps * BATCH,
        desc="training the denoiser",
        unit=" images",
        unit_scale=True,
    ) as bar:
        for step in range(steps):
            adam.lr = LR * one_cycle(step / steps)
            muon.lr = LR_HIDDEN * one_cycle(step / steps)
            loss = train_step(network, images, rng)
            network.zero_grad()
            loss.backward()
            adam.step()
            muon.step()
            bar.update(BATCH)
            if step % 50 == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            if bar.disable and (10 * step + 10) % steps < 10:
                print(f"{(step + 1) / steps:4.0%} of {steps * BATCH:,} images", flush=True)
    return network.eval().requires_grad_(False)


def one_cycle(done: float) -> float:
    """The share of the highest learning rate when a share `done` of the training is behind.

    Up in the first twentieth, then down to nothing: Smith and Topin 2018, "Super-convergence", but
    along cosines rather than straight lines.
    """
    up = 0.05
    way = done / up if done < up else (1 - done) / (1 - up)  # from 0 to 1 and back to 0
    return (1 - math.cos(math.pi * way)) / 2


def train_step(network: nn.Module, images: Tensor, rng: torch.Generator) -> Tensor:
    """The loss, a scalar, on one batch of `images` with fresh noise.

    The squared error, divided by the square of what the network's answer is scaled with, so that
    every noise level weighs the same (Karras et al. 2022, eq. 8, lambda = 1 / c_out^2).
    """
    device = images.device
    rows = torch.randint(len(images), (BATCH,), generator=rng, device=device)
    clean = to_unit(images[rows])
    sigma = 1 - torch.rand(BATCH, generator=rng, device=device)  # (0, 1]
    clipped = torch.rand(BATCH, generator=rng, device=device) < CLIPPED_SHARE
    noise = torch.randn(clean.shape, generator=rng, device=device)
    noisy = clean + sigma.view(-1, 1, 1, 1) * noise
    noisy = torch.where(clipped.view(-1, 1, 1, 1), noisy.clamp(0, 1), noisy)
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device)):
        restored = network(noisy, sigma, clipped)
    return ((restored - clean) / network.scale(sigma)).square().mean()


@torch.no_grad()
def denoise(network: nn.Module, noisy: Tensor, noise: Gaussian) -> Tensor:
    """Restored images (N, C, H, W) in [0, 1] of `noisy` ones; the network is told of the noise.

    Half of all pixels are black, and a network that is taught to expect the mean leaves a haze
    there. Without it PSNR is no lower and SSIM up to 0.16 higher, on training images.
    """
    sigma = noise.of_each(noisy).severity  # (N,)
    parts = [
        network(some, level.clamp(1e-3, 1), torch.full_like(level, noise.clips))
        for some, level in zip(noisy.split(500), sigma.split(500), strict=True)
    ]
    restored = torch.cat(parts).clamp(0, 1)
    faint = (sigma / 2).clamp(max=FAINT).view(-1, 1, 1, 1)
    return torch.where(restored < faint, 0.0, restored)
