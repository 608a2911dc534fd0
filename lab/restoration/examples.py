"""What the denoiser and the sampler are trained on: clean images, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lab.data.pixels import to_unit
from lab.restoration.corruption import Corruption, filled, in_levels
from lab.restoration.corruptions import CORRUPTIONS

# By their place in what a network is told: "none", a picture as it was, and the rows.
KINDS = ("none", *(name for name, kind in CORRUPTIONS.items() if kind.trained))
CLEANING = 0.1  # the noise that the denoiser is told of in generated images
BATCH = 32  # at equal cost, many small steps restore a decibel better than few large ones
GROUP = 4  # images of a batch that are corrupted in one way
# Of the first groups; others at random.
ALWAYS = ("gaussian", "gaussian", "gaussian", "gaussian-clipped")


@dataclass(frozen=True)
class Examples:
    """A batch for training: corrupted images (N, C, H, W), the clean ones, and what was done.

    kinds: (N,), indices of KINDS. strengths: (N,), 0 to 1. levels: (N,), the standard deviation of
    noise, of other kinds the root of the mean squared error.
    """

    clean: Tensor
    corrupted: Tensor
    kinds: Tensor
    strengths: Tensor
    levels: Tensor

    @property
    def facts(self) -> Tensor:
        """What a network may be told, (N, 1 + kinds)."""
        return told(self.kinds, self.levels)


def told(kinds: Tensor, levels: Tensor) -> Tensor:
    """Kinds (N,) and levels (N,) as a network is told of them, (N, 1 + kinds)."""
    certain = torch.nn.functional.one_hot(kinds, len(KINDS)).to(levels.dtype)
    return torch.cat((levels.clamp(0.01, 1.5)[:, None], certain), 1)


def facts_of(estimator: nn.Module, corrupted: Tensor, corruption: Corruption) -> Tensor:
    """What a network is told of a corruption that is known; the level of most is estimated."""
    kinds = torch.full((len(corrupted),), KINDS.index(corruption.name), device=corrupted.device)
    if corruption.name in ALWAYS:
        return told(kinds, corruption.of_each(corrupted).severity)
    return told(kinds, estimator(corrupted)[2].exp())


def cleaning(images: Tensor) -> Tensor:
    """What the denoiser is told of generated images (N, C, H, W): a little Gaussian noise."""
    kinds = torch.full((len(images),), KINDS.index("gaussian"), device=images.device)
    return told(kinds, torch.full((len(images),), CLEANING, device=images.device))


def draw(
    images: Tensor, rng: torch.Generator, batch: int = BATCH, always: Sequence[str] = ALWAYS
) -> Examples:
    """`batch` of uint8 `images` (M, C, H, W), corrupted in many ways, often strongly."""
    device = images.device
    rows = torch.randint(len(images), (batch,), generator=rng, device=device)
    clean = to_unit(images[rows])
    noise = torch.randn(clean.shape, generator=rng, device=device)
    strengths = torch.rand(batch, generator=rng, device=device).sqrt()
    choices = torch.randint(1_000, (batch // GROUP, 2), generator=rng, device=device).tolist()
    groups = zip(clean.split(GROUP), noise.split(GROUP), strengths.split(GROUP), strict=True)
    parts, kinds, levels = [], [], []
    others = [name for name in KINDS if name not in always]
    for index, (some, its_noise, strength) in enumerate(groups):
        choice, variant = choices[index]
        name = always[index] if index < len(always) else others[choice % len(others)]
        kinds.append(torch.full((GROUP,), KINDS.index(name), device=device))
        if name == "none":
            parts.append(in_levels(some))
            levels.append(0 * strength)
            continue
        corruption = CORRUPTIONS[name].of_strength(strength, some.shape[2], variant)
        made = corruption.with_noise(some, its_noise)
        parts.append(made)
        error = (filled(made) - some).square().flatten(1).mean(1).sqrt()
        levels.append(corruption.severity if name in ALWAYS else error)
    joined = (torch.cat(each) for each in (parts, kinds))
    return Examples(clean, *joined, strengths, torch.cat(levels))
