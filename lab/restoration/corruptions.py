"""The corruptions by name, one row each, and how they are parsed from the command line.

corruption = CORRUPTIONS["gaussian"](0.3)
corrupted = corruption.apply(images, seed=0)
"""

import difflib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lab.data.pixels import to_unit, unit_to_levels
from lab.errors import Mistake
from lab.restoration.corruption import Corruption, filled
from lab.restoration.masks import Mask
from lab.restoration.noises import Gaussian, GaussianClipped, Poisson, SaltPepper, Speckle
from lab.restoration.operators import Blur, Downsample, Jpeg, MotionBlur
from lab.seeding import seed_for
from lab.text import shortened

ALL = "all"  # --corruption all: every row at its examples
NOISES = (Gaussian, GaussianClipped, SaltPepper, Speckle, Poisson)
OPERATORS = (Blur, MotionBlur, Downsample, Mask, Jpeg)
CORRUPTIONS: dict[str, type[Corruption]] = {kind.name: kind for kind in (*NOISES, *OPERATORS)}


def parse(text: str) -> Corruption:
    """The corruption that `--corruption gaussian:0.3` names; Mistake if there is none."""
    typed = shortened(text, 80)
    name, _, severity = text.partition(":")
    if name not in CORRUPTIONS:
        near = difflib.get_close_matches(name, CORRUPTIONS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise Mistake(f"--corruption {typed!r}: choose {ALL}, {', '.join(CORRUPTIONS)}{meant}")
    kind = CORRUPTIONS[name]
    try:
        return kind.parsed(severity)
    except ValueError:
        example = f"{name}:{kind.examples[0]}"
        levels = level_hint(severity) if issubclass(kind, Gaussian) else ""
        severities = kind.severities or f"a number from {kind.least:g} to {kind.most:g}"
        words = f"give its severity, {severities}, as in {example}{levels}"
        raise Mistake(f"--corruption {typed!r}: {words}") from None


def corrupted_copies(corruption: Corruption, images: Tensor, names: Iterable[str]) -> Tensor:
    """uint8 images (N, C, H, W), corrupted; the noise of each depends on its name only."""
    each = zip(to_unit(images).split(1), names, strict=True)
    rows = [corruption.apply(image, seed_for(0, f"twin of {name}")) for image, name in each]
    return unit_to_levels(filled(torch.cat(rows)))


def level_hint(severity: str) -> str:
    """A hint for a noise level given on the scale of 0 to 255; "" if it is not on that scale."""
    try:
        level = float(severity)
    except ValueError:
        return ""
    return f"; of levels 0 to 255 that is {level / 255:.3f}" if 1 < level <= 255 else ""


def examples() -> list[Corruption]:
    """Every corruption at its example severities."""
    return [kind.parsed(text) for kind in CORRUPTIONS.values() for text in kind.examples]


def requested(
    texts: Iterable[str], sigmas: Iterable[float], shape: Sequence[int]
) -> list[Corruption]:
    """The corruptions of --corruption and --sigma, each once.

    Of `all` those are left out that do not fit images of `shape` (C, H, W). Raises Mistake if
    another does not fit, or does not exist.
    """
    found: list[Corruption] = []
    for text in texts:
        fitting = [each for each in examples() if not each.refusal(shape)]
        found += fitting if text == ALL else [parse(text)]
    found += [Gaussian(sigma + 0.0) for sigma in sigmas]  # -0 is 0
    for corruption in found:
        if why := corruption.refusal(shape):
            raise Mistake(f"--corruption {corruption}: {why}")
    return list({str(corruption): corruption for corruption in found}.values())
