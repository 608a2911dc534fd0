"""What the restoration benchmark compares: methods, noise levels, and its options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.options import option
from lab.restoration import denoising
from lab.runs import OUTPUTS

SIGMAS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
TITLES = {
    "noisy": "noisy",
    "median": "median filter",
    "tv": "total variation",
    "nlm": "non-local means",
    "bm3d": "BM3D",
    "autoencoder": "Keras autoencoder",
    "projection": "projection (ours)",
    "denoiser": "CNN (ours)",
}
CLASSICAL = ("median", "tv", "nlm", "bm3d")
OURS = ("projection", "denoiser")  # rows of RESTORERS


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with the sets' IDX files", folder=True)
    mnist_run: Path | None = option(None, "run with generator and denoiser", folder=True)
    fashion_run: Path | None = option(None, "run with generator and denoiser", folder=True)
    work: Path = option(OUTPUTS / "restoration-benchmark", "where restored images are kept")
    report: Path = option(Path(__file__).parent, "folder for RESTORATION.md and its plot")
    count: int = option(1_000, "test images for fast methods", low=49, high=10_000)
    slow_count: int = option(200, "test images for slow methods", low=49, high=10_000)
    tuning_count: int = option(49, "training images that strengths are tuned on", low=2, high=1_000)
    denoiser_images: int = option(
        denoising.IMAGES_SHOWN, "images the CNN was shown; the autoencoder gets that time", low=100
    )
    leave_out: tuple[str, ...] = option((), "methods to leave out", choices=tuple(TITLES))
    seed: int = option(0, "decides the noise and the autoencoder", low=0, high=2**63 - 1)
