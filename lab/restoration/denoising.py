"""The convolutional denoiser of a run: the network, trained on first use, stored, used.

Images are float32 (N, 1, 28, 28) on the [0, 1] scale, as in `restore`.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle
from tqdm import tqdm

from lab import device as machine
from lab import seeding as chance
from lab.data.datasets import SETS
from lab.errors import Fault
from lab.models import serialization as tensors
from lab.runs import run as runs
from lab.training.optim import Adam

IMAGES_SHOWN = 400_000  # whatever the set's size
BATCH = 32  # at equal cost, many small steps restore a decibel better than few large ones
RATE = 2e-3  # Adam's learning rate at its highest
FAINT = 0.06  # restored pixels below it, or below half the noise level, are background
CLIPPED_SHARE = 0.3  # of the images are clipped to 0..1 after noise was added, and say so


class Denoiser(nn.Module):
    """Convolutional denoiser: noisy images (N, 1, 28, 28), 0 to 1 but for the noise -> clean ones.

    Given the noise level as a map and at work on pixel-unshuffled images, as Zhang et al. 2018,
    "FFDNet"; here with a second, 7 x 7 scale, where each place sees the whole image. What it adds
    to its input is scaled with the noise level as in Karras et al. 2022, "Elucidating the design
    space of diffusion-based generative models", table 1: it predicts the noise where there is
    little of it and the image where there is much.
    """

    SPREAD = 0.35  # standard deviation of Fashion-MNIST's pixels; MNIST's is 0.31

    def __init__(self, width: int = 48, inner_width: int = 96) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"width": width, "inner_width": inner_width}
        self.enter = nn.Sequential(
            nn.Conv2d(4 + 2, width, 3, padding=1), ResidualConvolutions(width)
        )
        self.down = nn.Conv2d(width, inner_width, 2, stride=2)
        self.inner = nn.Sequential(
            ResidualConvolutions(inner_width), ResidualConvolutions(inner_width)
        )
        self.up = nn.Sequential(nn.Conv2d(inner_width, 4 * width, 1), nn.PixelShuffle(2))
        self.leave = nn.Sequential(
            ResidualConvolutions(width), nn.Conv2d(width, 4, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(self, noisy: Tensor, sigma: Tensor, clipped: Tensor) -> Tensor:
        """(N, 1, 28, 28) from `noisy`, its noise levels (N,) and whether it was clipped (N,)."""
        level = sigma.view(-1, 1, 1, 1)
        total = (level**2 + self.SPREAD**2).sqrt()  # standard deviation of image and noise
        answer = self.body(noisy / total, sigma, clipped).float()
        return (self.SPREAD / total) ** 2 * noisy + self.scale(sigma) * answer

    def scale(self, sigma: Tensor) -> Tensor:
        """(N,) -> (N, 1, 1, 1): what the network's answer is multiplied with."""
        level = sigma.view(-1, 1, 1, 1)
        return level * self.SPREAD / (level**2 + self.SPREAD**2).sqrt()

    def body(self, images: Tensor, sigma: Tensor, clipped: Tensor) -> Tensor:
        """The network itself, on images of standard deviation 1."""
        small = pixel_unshuffle(images, 2)  # (N, 4, 14, 14)
        facts = torch.stack((sigma, clipped.to(sigma.dtype)), 1)  # (N, 2)
        maps = facts[:, :, None, None].expand(-1, -1, *small.shape[2:])
        outer = self.enter(torch.cat((small, maps), 1))  # (N, width, 14, 14)
        return self.leave(outer + self.up(self.inner(self.down(outer))))


class ResidualConvolutions(nn.Module):
    """x + conv(relu(conv(x))) on maps (N, width, H, W): He et al. 2016, "ResNet"."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        return maps + self.layers(maps)


def train(images: Tensor, seed: int, images_shown: int) -> Denoiser:
    """A denoiser trained on uint8 images (N, 1, 28, 28), on their device, with a bar to watch.

    Without a terminal a line a tenth takes the bar's place. Each time an image is shown it has new
    Gaussian noise, sigma uniform in (0, 1]. A CPU with matrix units for bfloat16 computes in that:
    more than twice the images a second.
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
    """Restored images (N, 1, 28, 28) in [0, 1]. sigma: noise level, one for all or (N,).

    Half of all pixels are black, and a network that is taught to expect the mean leaves a haze
    there. Without it PSNR is no lower and SSIM up to 0.16 higher, on training images.
    """
    sigma = torch.as_tensor(sigma, dtype=noisy.dtype, device=noisy.device).expand(len(noisy))
    parts = [
        network(some, level.clamp(1e-3, 1), torch.full_like(level, clipped))
        for some, level in zip(noisy.split(500), sigma.split(500), strict=True)
    ]
    restored = torch.cat(parts).clamp(0, 1)
    faint = (sigma / 2).clamp(max=FAINT).view(-1, 1, 1, 1)
    return torch.where(restored < faint, 0.0, restored)


def load(path: Path, dataset: str) -> tuple[Denoiser, dict[str, Any]]:
    """Read a denoiser's file, with its facts; Fault if damaged or trained on another set."""
    try:
        network, facts = tensors.load_weights(path, Denoiser)
    except Fault as fault:
        raise Fault(f"{fault}; delete it, or train a new one with --train-denoiser") from None
    trained = runs.dataset_of(path, facts)
    if trained != dataset:
        raise Fault(
            f"{path}: a denoiser of {SETS[trained].title}, {SETS[dataset].title} is needed; "
            "delete it, or train a new one with --train-denoiser"
        )
    return network, facts
