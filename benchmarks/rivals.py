"""What the lab's restoration is compared with: classical methods, and the Keras autoencoder.

The packages that this needs are in benchmarks/requirements.txt.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from lab.data.pixels import to_unit
from lab.device import bfloat16_is_fast
from lab.restoration.corruptions import Gaussian
from lab.seeding import seed_for

MOSAIC = 7  # BM3D sees MOSAIC x MOSAIC images as one


# Classical methods: (noisy image or mosaic, sigma, strength) -> restored; numpy float arrays


def median(noisy: Any, sigma: float, strength: float) -> Any:
    """Median over a square of `strength` pixels a side."""
    from scipy.ndimage import median_filter

    return median_filter(noisy, size=int(strength))


def total_variation(noisy: Any, sigma: float, strength: float) -> Any:
    """Chambolle 2004; weight `strength` sigma."""
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(noisy, weight=strength * sigma)


def non_local_means(noisy: Any, sigma: float, strength: float) -> Any:
    """Buades et al. 2005, exact, told sigma; h = `strength` sigma."""
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(
        noisy, patch_size=5, patch_distance=9, h=strength * sigma, sigma=sigma, fast_mode=False
    )


def bm3d(noisy: Any, sigma: float, strength: float) -> Any:
    """Dabov et al. 2007 by the authors' package, told `strength` sigma."""
    import bm3d as package

    return package.bm3d(noisy, strength * sigma)


STRENGTHS = {
    "median": (median, (3, 5, 7, 9, 11)),
    "tv": (total_variation, (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)),
    "nlm": (non_local_means, (0.6, 0.8, 1.0, 1.3, 1.7, 2.2)),
    "bm3d": (bm3d, (0.5, 0.65, 0.8, 1.0, 1.25, 1.6)),
}


def apply_classical(name: str, noisy: Tensor, sigma: float, strength: float) -> Tensor:
    """Restore grey images (N, 1, H, W) one by one; BM3D as mosaics of them.

    A call of the bm3d package costs about as much for a mosaic as for one small image; and in a
    mosaic blocks find partners in the neighbouring images too, which helps.
    """
    method, _ = STRENGTHS[name]
    if name != "bm3d":
        restored = [torch.tensor(method(one.numpy(), sigma, strength)) for one in noisy[:, 0]]
        return torch.stack(restored)[:, None].float().clamp(0, 1)
    (height, width), area = noisy.shape[2:], MOSAIC * MOSAIC
    whole = len(noisy) + -len(noisy) % area  # mosaics have no gaps: the first images come again
    padded = noisy[torch.arange(whole) % len(noisy)]
    parts = []
    for tiles in padded.split(area):
        joined = tiles.view(MOSAIC, MOSAIC, height, width).transpose(1, 2)
        restored = method(joined.reshape(MOSAIC * height, -1).numpy(), sigma, strength)
        cut = torch.tensor(restored).view(MOSAIC, height, MOSAIC, width).transpose(1, 2)
        parts.append(cut.reshape(area, 1, height, width))
    return torch.cat(parts)[: len(noisy)].float().clamp(0, 1)


def tuned_strength(name: str, clean: Tensor, sigma: float, seed: int) -> float:
    """The strength with the highest PSNR on `clean` training images."""
    noisy = Gaussian(sigma).apply(clean, seed_for(seed, "tuning"))
    _, strengths = STRENGTHS[name]
    found = {}
    for strength in strengths:
        error = (apply_classical(name, noisy, sigma, strength) - clean).square().mean((1, 2, 3))
        found[strength] = float(-10 * error.log10().mean())
    return max(found, key=found.get)


# The autoencoder of the Keras tutorial


class Autoencoder(nn.Module):
    """keras.io, "Convolutional autoencoder for image denoising" (2021), layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.ConvTranspose2d(32, 32, 3, 2, padding=1, output_padding=1), nn.ReLU()),
            *(nn.ConvTranspose2d(32, 32, 3, 2, padding=1, output_padding=1), nn.ReLU()),
            nn.Conv2d(32, 1, 3, padding=1),
        )

    def forward(self, noisy: Tensor) -> Tensor:
        """(N, 1, H, W) -> logits of the same shape; its last layer is a sigmoid."""
        return self.layers(noisy)


def train_autoencoder(train_images: Tensor, seconds: float, seed: int) -> tuple[Autoencoder, int]:
    """Train for `seconds` of processor time as the tutorial does: Adam 1e-3, cross-entropy.

    Batch 128 as there; noise as the CNN's: its sigma uniform in (0, 1], where the tutorial has 0.4
    alone. In bfloat16 where the CNN is. Returns the number of images it was shown, too.
    """
    torch.manual_seed(seed_for(seed, "autoencoder"))
    network = Autoencoder().to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(network.parameters(), 1e-3)
    fast = bfloat16_is_fast(torch.device("cpu"))
    began, shown = time.process_time(), 0
    while time.process_time() - began < seconds:
        clean = to_unit(train_images[torch.randint(len(train_images), (128,))])
        noisy = clean + (1 - torch.rand(128, 1, 1, 1)) * torch.randn(clean.shape)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            logits = network(noisy.to(memory_format=torch.channels_last))
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), clean)
        adam.zero_grad()
        loss.backward()
        adam.step()
        shown += 128
    return network.eval().requires_grad_(False), shown
