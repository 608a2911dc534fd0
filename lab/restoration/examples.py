"""Training examples of the denoiser and the sampler: clean images, and corrupted ones of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lab.data.pixels import to_unit
from lab.restoration.corruption import Corruption, filled, quantised
from lab.restoration.corruptions import CORRUPTIONS

# In the order of a network's condition: "none", a clean picture, and each corruption.
KINDS = ("none", *(name for name, kind in CORRUPTIONS.items() if kind.trained))
BATCH = 32  # at equal cost, many small steps restore a decibel better than few large ones
GROUP = 4  # images of a batch that have the same kind of corruption
# The kinds of the first groups of a batch; those of the others are drawn at random.
ALWAYS = ("gaussian", "gaussian", "gaussian", "gaussian-clipped")
# Standard deviation of the mildest and of the strongest Gaussian noise, which the file of a
# trained network keeps: they are what its estimator calls strengths of 0 and of 1.
NOISE_RANGE = list(CORRUPTIONS["gaussian"].trained)


@dataclass(frozen=True)
class Examples:
    """A training batch: clean and corrupted images (N, C, H, W), and how they were corrupted."""

    clean: Tensor
    corrupted: Tensor
    kinds: Tensor  # (N,), indices of KINDS
    strengths: Tensor  # (N,), 0 to 1
    levels: Tensor  # (N,), the noise's standard deviation; of other kinds, the RMS error

    @property
    def condition(self) -> Tensor:
        """What a network is conditioned on, (N, 1 + kinds)."""
        return condition_for(self.kinds, self.levels)


def condition_for(kinds: Tensor, levels: Tensor) -> Tensor:
    """The condition (N, 1 + kinds) of a network: the level (N,), and the kind (N,) as one-hot."""
    certain = torch.nn.functional.one_hot(kinds, len(KINDS)).to(levels.dtype)
    return torch.cat((levels.clamp(0.01, 1.5)[:, None], certain), 1)


def given_condition(estimator: nn.Module, corrupted: Tensor, corruption: Corruption) -> Tensor:
    """The condition for a corruption that the user named; the level of most kinds is estimated."""
    kinds = torch.full((len(corrupted),), KINDS.index(corruption.name), device=corrupted.device)
    if corruption.name in ALWAYS:
        return condition_for(kinds, corruption.per_image(corrupted).severity)
    return condition_for(kinds, estimator(corrupted)[2].exp())


def draw(
    images: Tensor, rng: torch.Generator, batch: int = BATCH, always: Sequence[str] = ALWAYS
) -> Examples:
    """`batch` examples drawn from uint8 `images` (M, C, H, W); high strengths are more frequent."""
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
            parts.append(quantised(some))
            levels.append(0 * strength)
            continue
        corruption = CORRUPTIONS[name].of_strength(strength, some.shape[2], variant)
        parts.append(corruption.with_noise(some, its_noise))
        error = (filled(parts[-1]) - some).square().flatten(1).mean(1).sqrt()
        levels.append(corruption.severity if name in ALWAYS else error)
    return Examples(clean, torch.cat(parts), torch.cat(kinds), strengths, torch.cat(levels))
