"""Classical methods, without a network, for comparison in `--corruption all`: one row each.

The strength of each method is chosen on a few training images. scikit-image and bm3d are used where
they are installed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from lab.restoration.corruption import Corruption, filled, residual
from lab.restoration.corruptions import Downsample
from lab.restoration.masks import Mask
from lab.restoration.operators import Separable

TUNING_COUNT = 16  # training images on which strengths are chosen
TV_STEPS, TV_LR = 120, 0.05


@dataclass(frozen=True)
class Classical:
    """A method."""

    label: str
    restore: Callable[[Tensor, Corruption, float], Tensor]  # the float: its strength
    can_undo: Callable[[Corruption], bool]
    strengths: Sequence[float] = (0.0,)  # to choose from
    package: str = ""  # a module it needs, a key of PACKAGES

    @property
    def is_installed(self) -> bool:
        return not self.package or find_spec(self.package) is not None


def median(corrupted: Tensor, _: Corruption, size: float) -> Tensor:
    """The median over a square of `size` pixels a side."""
    size = int(size)
    padded = pad(corrupted, (size // 2,) * 4, mode="replicate")
    windows = padded.unfold(2, size, 1).unfold(3, size, 1).flatten(4)
    return windows.median(4).values


def total_variation(corrupted: Tensor, corruption: Corruption, weight: float) -> Tensor:
    """The image x that minimises |y - A x|^2 / 2 + weight TV(x), found by Adam.

    Rudin et al. 1992, with the known operator A, so that it also deblurs, enlarges and inpaints.
    """
    operator = corruption.per_image(corrupted)
    image = filled(corrupted).clamp(0, 1).requires_grad_()
    adam = torch.optim.Adam([image], TV_LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, TV_STEPS)
    for _ in range(TV_STEPS):
        error = residual(corrupted, operator.expected(image))
        down, right = image.diff(dim=2), image.diff(dim=3)
        down, right = pad(down, (0, 0, 0, 1)), pad(right, (0, 1))
        variation = (down.square() + right.square() + 1e-6).sqrt()
        adam.zero_grad()
        (error.square().sum() / 2 + weight * variation.sum()).backward()
        adam.step()
        schedule.step()
    return image.detach()


def richardson_lucy(corrupted: Tensor, corruption: Corruption, steps: float) -> Tensor:
    """Richardson 1972 and Lucy 1974; the transposed operator comes from automatic derivatives."""
    operator = corruption.per_image(corrupted)
    image = corrupted.clamp(min=1e-3).requires_grad_()

    def transposed(values: Tensor) -> Tensor:
        return torch.autograd.grad(operator.expected(image), image, values)[0]

    ones = transposed(torch.ones_like(image)).clamp(min=1e-6)
    for _ in range(int(steps)):
        ratio = corrupted / operator.expected(image).detach().clamp(min=1e-4)
        image = (image.detach() * transposed(ratio) / ones).requires_grad_()
    return image.detach()


def bicubic(corrupted: Tensor, corruption: Downsample, _: float) -> Tensor:
    """Bicubic interpolation between the centres of the squares."""
    step = int(corruption.severity)
    small = corrupted[:, :, ::step, ::step]
    return interpolate(small, corrupted.shape[2:], mode="bicubic", align_corners=False)


def for_each_image(restore: Callable[[Any, float], Any]) -> Callable[..., Tensor]:
    """Apply a method for numpy arrays (H, W, C) to each of the images (N, C, H, W)."""

    def restored(corrupted: Tensor, _: Corruption, strength: float) -> Tensor:
        arrays = corrupted.permute(0, 2, 3, 1).cpu().double().numpy()
        made = [torch.as_tensor(restore(each, strength)).view(each.shape) for each in arrays]
        return torch.stack(made).permute(0, 3, 1, 2).to(corrupted)

    return restored


def non_local_means(image: Any, strength: float) -> Any:
    """Buades et al. 2005, by scikit-image."""
    from skimage.restoration import denoise_nl_means

    settings = {"patch_size": 5, "patch_distance": 9, "fast_mode": False}
    if image.shape[2] == 1:  # scikit-image 0.26 fails on an axis of one channel
        return denoise_nl_means(image[..., 0], h=strength, sigma=strength, **settings)
    return denoise_nl_means(image, h=strength, sigma=strength, channel_axis=2, **settings)


def biharmonic(image: Any, _: float) -> Any:
    """Inpainting by biharmonic functions, by scikit-image."""
    import numpy
    from skimage.restoration import inpaint_biharmonic

    hole, black = numpy.isnan(image[..., 0]), numpy.nan_to_num(image)
    if hole.all():  # scikit-image fails where nothing is known
        return black
    return inpaint_biharmonic(black, hole, channel_axis=2)


def bm3d(corrupted: Tensor, _: Corruption, strength: float) -> Tensor:
    """Dabov et al. 2007, by the authors' package, on a mosaic of all images, channel by channel.

    A call costs half a second, however small its image is.
    """
    import bm3d as package
    from torchvision.utils import make_grid

    count, channels, height, width = corrupted.shape
    mosaic = make_grid(corrupted, nrow=math.ceil(count**0.5), padding=0)  # three channels of grey
    planes = mosaic[:channels].cpu().double().numpy()
    made = torch.stack([torch.as_tensor(package.bm3d(plane, strength)) for plane in planes])
    tiles = made.unfold(1, height, height).unfold(2, width, width)  # (C, rows, columns, H, W)
    return tiles.permute(1, 2, 0, 3, 4).flatten(0, 1)[:count].to(corrupted)


def is_noise(corruption: Corruption) -> bool:
    """Whether the corruption neither mixes pixels linearly nor removes them."""
    return not isinstance(corruption, Mask | Separable)


LEVELS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.65)
PACKAGES = {"skimage": "scikit-image", "bm3d": "bm3d"}  # module -> name for pip
CLASSICAL: dict[str, Classical] = {
    "median": Classical("median", median, is_noise, (3, 5, 7)),
    "tv": Classical(
        *("total variation", total_variation, lambda each: each.is_differentiable),
        (0.003, 0.01, 0.03, 0.1, 0.3, 0.7),
    ),
    "nlm": Classical(
        "non-local means", for_each_image(non_local_means), is_noise, LEVELS, "skimage"
    ),
    "bm3d": Classical("BM3D", bm3d, is_noise, LEVELS, "bm3d"),
    "richardson-lucy": Classical(
        *("Richardson-Lucy", richardson_lucy, lambda each: isinstance(each, Separable)),
        (5, 15, 40, 100),
    ),
    "biharmonic": Classical(
        *("biharmonic", for_each_image(biharmonic), lambda each: isinstance(each, Mask)),
        package="skimage",
    ),
    "bicubic": Classical("bicubic", bicubic, lambda each: isinstance(each, Downsample)),
}


def applicable(corruption: Corruption) -> dict[str, Classical]:
    """The rows of CLASSICAL that can undo the corruption and are installed."""
    rows = CLASSICAL.items()
    return {name: row for name, row in rows if row.can_undo(corruption) and row.is_installed}


def restore(row: Classical, corrupted: Tensor, corruption: Corruption, clean: Tensor) -> Tensor:
    """Restore with the strength of least error on `clean` training images (M, C, H, W)."""
    example = corruption.apply(clean, seed=1)

    def error(strength: float) -> float:
        restored = row.restore(example, corruption, strength).clamp(0, 1)
        return float((restored - clean).square().mean())

    best = min(row.strengths, key=error) if len(row.strengths) > 1 else row.strengths[0]
    return row.restore(corrupted, corruption, best).clamp(0, 1)


def missing() -> str:
    """A line that names the methods whose packages are missing, and how to install these."""
    absent = [row for row in CLASSICAL.values() if not row.is_installed]
    if not absent:
        return "classical methods, for comparison: all are installed"
    labels = ", ".join(row.label for row in absent)
    packages = " ".join(dict.fromkeys(PACKAGES[row.package] for row in absent))
    return f"left out, because packages are missing: {labels} (pip install {packages})"
