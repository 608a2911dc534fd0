"""The definitions of metrics, on features (N, F) or on images, with their source papers.

`catalogue` says on which images they are computed, and under which names.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lab.seeding import stream

NEIGHBOURS = 5  # k of precision, recall, density and coverage
KERNEL_SUBSETS, KERNEL_SUBSET_SIZE = 100, 1_000
COPY_RATIO = 0.5
THIN = 0.3  # a class below this fraction of its fair share counts as missing
FEWEST_A_CLASS = 25  # expected images; with fewer, chance alone could take a class below THIN
CHUNK = 1_000  # rows of a distance matrix in memory at a time


class Moments(NamedTuple):
    """The float64 mean (F,) and covariance (F, F) of features, for the Frechet distance."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor) -> Moments:
    """The moments of features (N, F), on the CPU, since Apple's GPUs have no float64."""
    features = features.cpu().double()
    return Moments(features.mean(0), torch.cov(features.T))


def frechet_distance(first: Moments, second: Moments) -> float:
    """Squared Frechet distance of two normal distributions.

    |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)); Heusel et al. 2017, "GANs trained by a two
    time-scale update rule", eq. 6. The trace of the root equals that of the symmetric matrix
    (S1^(1/2) S2 S1^(1/2))^(1/2), whose eigenvalues are accurate and real even for a collapsed
    generator. torchmetrics' FrechetInceptionDistance takes the eigenvalues of S1 S2 itself: twice
    as slow with 2048 features, and importing it takes as long as three evaluations. Tests compare
    the two.
    """
    values, vectors = torch.linalg.eigh(first.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    values = torch.linalg.eigvalsh(root @ second.covariance @ root)
    root_trace = values.clamp(min=0).sqrt().sum()
    traces = first.covariance.trace() + second.covariance.trace()
    distance = (first.mean - second.mean).square().sum() + traces - 2 * root_trace
    return max(0.0, float(distance))


def kernel_distance(real: Tensor, generated: Tensor) -> float:
    """Kernel distance of features (N, F) and (M, F): squared maximum mean discrepancy, unbiased.

    Binkowski et al. 2018, "Demystifying MMD GANs", section 4: the mean over 100 pairs of random
    subsets of 1,000 (of all, where there are fewer), drawn with a fixed seed. Tests compare it with
    torchmetrics' KernelInceptionDistance, whose import takes two seconds and 250 MB, a quarter of
    the memory of a whole run.
    """
    real, generated = real.cpu(), generated.cpu()
    size = min(KERNEL_SUBSET_SIZE, len(real), len(generated))
    draw = stream(0, "metrics/kernel distance")
    found = 0.0
    for _ in range(KERNEL_SUBSETS):
        some_real = real[torch.randperm(len(real), generator=draw)[:size]]
        some_generated = generated[torch.randperm(len(generated), generator=draw)[:size]]
        within = _unlike_pairs(_kernel(some_real, some_real))
        within += _unlike_pairs(_kernel(some_generated, some_generated))
        found += float(within - 2 * _kernel(some_real, some_generated).mean())
    return found / KERNEL_SUBSETS


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    """(N, F), (M, F) -> (N, M): the polynomial kernel (x.y / F + 1)^3."""
    return (first @ second.T / first.shape[1] + 1) ** 3


def _unlike_pairs(kernel: Tensor) -> Tensor:
    """The mean of a square kernel matrix without its diagonal."""
    count = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))


class PrecisionRecall(NamedTuple):
    """How far generated and real features cover each other; all are shares but the density.

    precision, recall: Kynkaanniemi et al. 2019, "Improved precision and recall metric for assessing
    generative models", section 2. density, coverage: Naeem et al. 2020, "Reliable fidelity and
    diversity metrics for generative models", eq. 4 and 5.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall(
    real: Tensor, generated: Tensor, neighbours: int = NEIGHBOURS
) -> PrecisionRecall:
    """Compare features (N, F) and (M, F) by balls that reach to each point's k-th neighbour."""
    centre = real.mean(0)  # centring keeps distances, and loses fewer digits in float32
    real, generated = real - centre, generated - centre
    real_reach = _squared_reach(real, neighbours)  # (N,)
    generated_reach = _squared_reach(generated, neighbours)  # (M,)

    precise = torch.zeros(len(generated), dtype=torch.bool, device=real.device)
    inside = recalled = covered = 0
    for rows, reach in zip(real.split(CHUNK), real_reach.split(CHUNK), strict=True):
        distance = squared_distances(rows, generated)  # (chunk, M)
        within = distance < reach[:, None]  # generated image j lies in real image i's ball
        precise |= within.any(0)
        inside += int(within.count_nonzero())
        covered += int(within.any(1).sum())
        recalled += int((distance < generated_reach).any(1).sum())
    return PrecisionRecall(
        precision=float(precise.cpu().double().mean()),
        recall=recalled / len(real),
        density=inside / (neighbours * len(generated)),
        coverage=covered / len(real),
    )


def _squared_reach(points: Tensor, neighbours: int) -> Tensor:
    """(N,): the squared distance of each of (N, F) points to its k-th nearest other point."""
    # k + 1, since the nearest is the point itself.
    parts = (squared_distances(rows, points) for rows in points.split(CHUNK))
    return torch.cat([part.topk(neighbours + 1, largest=False).values.amax(1) for part in parts])


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """(N, F), (M, F) -> (N, M) squared Euclidean distances, by one matrix product."""
    squares = first.square().sum(1)[:, None] + second.square().sum(1)
    return squares.addmm_(first, second.T, alpha=-2).clamp_(min=0)


def near_copies(images: Tensor, training_images: Tensor) -> float:
    """The share of uint8 images (N, C, H, W) that repeat one of (M, C, H, W) training images.

    An image is a copy if, in pixels, its nearest training image is at most half as far away as the
    second nearest: the ratio test of Yoon et al. 2023, "Diffusion probabilistic models generalize
    when they fail to memorize", who require a third. With a half, none of MNIST's test images and
    0.25 % of Fashion-MNIST's (first 2,000) count as copies of training images, and 95 % of training
    images with added noise of standard deviation 0.05.
    """
    queries = images.flatten(1).float()
    nearest = torch.full((len(queries), 2), math.inf, device=queries.device)
    for chunk in training_images.split(CHUNK):
        distance = squared_distances(queries, chunk.flatten(1).float())  # (N, chunk)
        found = distance.topk(min(2, len(chunk)), largest=False).values
        nearest = torch.cat((nearest, found), 1).topk(2, largest=False).values
    copied = nearest[:, 0] <= COPY_RATIO**2 * nearest[:, 1]
    return float(copied.cpu().double().mean())  # Apple's MPS has no float64


def variance(images: Tensor) -> float:
    """The mean over pixels of the variance over uint8 images (N, C, H, W)."""
    return float(images.cpu().float().var(0).mean())


def class_shares(labels: Tensor, classes: int) -> list[float]:
    """The share of each class, 0 to classes - 1, among labels (N,)."""
    return [number / len(labels) for number in torch.bincount(labels, minlength=classes).tolist()]


def divergence(shares: Sequence[float], fair: Sequence[float]) -> float:
    """Kullback-Leibler divergence of `shares` from `fair` ones, in nats; 0 where they are equal."""
    pairs = zip(shares, fair, strict=True)
    known = [(share, own) for share, own in pairs if share > 0 and own > 0]
    return max(0.0, sum(share * math.log(share / own) for share, own in known))


def thin_classes(shares: Sequence[float], fair: Sequence[float], images: int) -> list[int]:
    """The classes with less than three tenths of their fair share.

    images: their number. A class whose fair share is fewer than 25 images is not counted, since it
    may fall short by chance.
    """
    pairs = enumerate(zip(shares, fair, strict=True))
    return [
        label
        for label, (share, own) in pairs
        if share < THIN * own and own * images >= FEWEST_A_CLASS
    ]
