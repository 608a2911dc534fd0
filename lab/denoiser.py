"""The convolutional denoiser of a run: trained on first use, stored, used.

Images are float32 (N, 1, 28, 28) on the [0, 1] scale, as in `restore`.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lab import chance, machine, runs, storage
from lab.adam import Adam
from lab.data import SETS
from lab.errors import Fault
from lab.models import Denoiser

IMAGES_SHOWN = 400_000  # whatever the set's size
BATCH = 32  # at equal cost, many small steps restore a decibel better than few large ones
RATE = 2e-3  # Adam's learning rate at its highest
CLIPPED_SHARE = 0.3  # of the images are clipped to 0..1 after noise was added, and say so


def train(images: Tensor, seed: int, images_shown: int) -> Denoiser:
    """A denoiser trained on uint8 images (N, 1, 28, 28), on their device.

    Each time an image is shown it has new Gaussian noise, sigma uniform in (0, 1]. A CPU with
    matrix units for bfloat16 computes in that: more than twice the images a second.
    """
    device = images.device
    with torch.random.fork_rng(devices=[]):  # initialisation draws from the global stream
        torch.manual_seed(chance.seed_for(seed, "denoiser weights"))
        network = Denoiser().to(device, memory_format=torch.channels_last)
    stream = chance.stream(seed, "denoiser training", device)
    steps = -(-images_shown // BATCH)
    adam = Adam(network.parameters(), RATE, betas=(0.9, 0.99))
    with tqdm(
        total=steps * BATCH,
        desc="training the denoiser",
        unit=" images",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        for step in range(steps):
            adam.rate = RATE * one_cycle(step / steps)
            loss = train_step(network, images, stream)
            adam.zero_grad()
            loss.backward()
            adam.step()
            bar.update(BATCH)
            if step % 50 == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return network.eval().requires_grad_(False)


def one_cycle(done: float) -> float:
    """The share of the highest learning rate when a share `done` of the training is behind.

    Up in the first twentieth, then down to nothing, both along a cosine: Smith and Topin 2018,
    "Super-convergence".
    """
    up = 0.05
    way = done / up if done < up else (1 - done) / (1 - up)  # from 0 to 1 and back to 0
    return (1 - math.cos(math.pi * way)) / 2


def train_step(network: Denoiser, images: Tensor, stream: torch.Generator) -> Tensor:
    """The loss, a scalar, on one batch of `images` with fresh noise.

    The squared error, divided by the square of what the network's answer is scaled with, so that
    every noise level weighs the same (Karras et al. 2022, eq. 8, lambda = 1 / c_out^2).
    """
    device = images.device
    rows = torch.randint(len(images), (BATCH,), generator=stream, device=device)
    clean = images[rows].float() / 255
    sigma = 1 - torch.rand(BATCH, generator=stream, device=device)  # (0, 1]
    clipped = torch.rand(BATCH, generator=stream, device=device) < CLIPPED_SHARE
    noise = torch.randn(clean.shape, generator=stream, device=device)
    noisy = clean + sigma.view(-1, 1, 1, 1) * noise
    noisy = torch.where(clipped.view(-1, 1, 1, 1), noisy.clamp(0, 1), noisy)
    with torch.autocast(device.type, torch.bfloat16, enabled=machine.bfloat16_is_fast(device)):
        restored = network(noisy, sigma, clipped)
    return ((restored - clean) / network.scale(sigma)).square().mean()


@torch.no_grad()
def denoise(
    network: Denoiser, noisy: Tensor, sigma: Tensor | float, clipped: bool = False
) -> Tensor:
    """Restored images (N, 1, 28, 28) in [0, 1]. sigma: noise level, one for all or (N,)."""
    sigma = torch.as_tensor(sigma, dtype=noisy.dtype, device=noisy.device).expand(len(noisy))
    parts = [
        network(some, level.clamp(1e-3, 1), torch.full_like(level, clipped))
        for some, level in zip(noisy.split(500), sigma.split(500), strict=True)
    ]
    return torch.cat(parts).clamp(0, 1)


class Cleaned(nn.Module):
    """A generator whose images pass through the denoiser: lab sheet (c) as one network."""

    def __init__(self, generator: nn.Module, network: Denoiser, sigma: float) -> None:
        super().__init__()
        self.generator, self.network, self.sigma = generator, network, sigma
        self.latent_dim = generator.latent_dim

    def forward(self, latents: Tensor) -> Tensor:
        """(N, latent_dim) -> (N, 1, 28, 28) in [-1, 1]."""
        return denoise(self.network, (self.generator(latents) + 1) / 2, self.sigma) * 2 - 1


def load(path: Path, dataset: str) -> Denoiser:
    """Read a denoiser's file; Fault if it is damaged or was trained on another set."""
    network, facts = storage.load_weights(path, Denoiser)
    trained = runs.dataset_of(path, facts)
    if trained != dataset:
        raise Fault(
            f"{path}: a denoiser of {SETS[trained].title}, {SETS[dataset].title} is needed; "
            "delete it, or train a new one with --train-denoiser"
        )
    return network
