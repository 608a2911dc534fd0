"""What restores corrupted images: a row each.

for name, restorer in able(context, corruption).items():
    restored = restorer.restore(context, corrupted, corruption)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lab.data.pixels import to_unit
from lab.errors import Mistake
from lab.models.sampling import generate
from lab.restoration import denoising, posterior, projection
from lab.restoration.corruption import Corruption
from lab.restoration.examples import KINDS, facts_of
from lab.restoration.operators import Separable
from lab.seeding import per_image_noise

SAMPLES = 8  # whose mean is the sampler's answer


@dataclass(frozen=True)
class Context:
    """What restorers may use: networks on the device of the images, and what the user decided."""

    generator: nn.Module
    denoiser: nn.Module | None = None
    sampler: nn.Module | None = None
    seed: int = 0
    restarts: int = 10  # of a projection
    steps: int = 500  # of a projection
    classes: dict[str, Tensor] = field(default_factory=dict)  # (N,), by a restorer that found them
    is_told: bool = False  # whether the denoiser is told what was done, or finds out by itself


@dataclass(frozen=True)
class Restorer:
    """One way to restore images.

    label: its name over and beside images. needs: the field of a context that it cannot do without.
    is_learned: whether it restores by what a network has learnt, and so is to beat the corrupted
    picture. own_folder: where one's own pictures go that it has restored; "" if they are not.
    restore: (context, corrupted images, corruption) -> images (N, C, H, W) in [0, 1].
    can: whether it can undo a corruption. sample: as `restore`, but with a count of different
    restorations of each image, (N, count, C, H, W); what `restore` gives is their mean.
    """

    label: str
    needs: str
    restore: Callable[[Context, Tensor, Corruption], Tensor]
    can: Callable[[Corruption], bool]
    is_learned: bool = True
    own_folder: str = ""
    sample: Callable[[Context, Tensor, Corruption, int], Tensor] | None = None


def regenerate(context: Context, corrupted: Tensor, _: Corruption) -> Tensor:
    """As many new images of the generator, whatever the corrupted ones show.

    What the lab sheet calls regeneration: the others are to do better.
    """
    shape = (context.generator.latent_dim,)
    latents = per_image_noise(len(corrupted), shape, context.seed, "regeneration")
    return to_unit(generate(context.generator, latents.to(corrupted.device)))


def project(context: Context, corrupted: Tensor, corruption: Corruption) -> Tensor:
    """The generator's images that explain the corrupted ones best."""
    settings = {"restarts": context.restarts, "steps": context.steps}
    if not getattr(context.generator, "classes", 0):
        return projection.project(context.generator, corrupted, corruption, **settings)
    latents = projection.latents_of(context.generator, corrupted, corruption, **settings)
    context.classes["projection"] = projection.labels_of(context.generator, latents).cpu()
    return projection.shown(context.generator, latents)


def denoise(context: Context, corrupted: Tensor, corruption: Corruption) -> Tensor:
    """The answers of the denoiser."""
    network = context.denoiser
    known = facts_of(network.estimator, corrupted, corruption) if context.is_told else None
    return with_what_is_seen(corrupted, denoising.denoise(network, corrupted, known))


def denoise_consistently(context: Context, corrupted: Tensor, corruption: Separable) -> Tensor:
    """The denoiser's answers, moved until the known operator makes the corrupted images of them."""
    return corruption.consistent(denoise(context, corrupted, corruption), corrupted)


def sample(context: Context, corrupted: Tensor, _: Corruption, count: int) -> Tensor:
    """Several pictures that each corrupted one may be of."""
    found = posterior.sample(context.sampler, corrupted, count, context.seed)
    return with_what_is_seen(corrupted[:, None], found)


def mean_of_samples(context: Context, corrupted: Tensor, corruption: Corruption) -> Tensor:
    """What all of them have in common."""
    return sample(context, corrupted, corruption, SAMPLES).mean(1)


def with_what_is_seen(corrupted: Tensor, restored: Tensor) -> Tensor:
    """Restored pictures with the given pixels in place, where others are missing (NaN).

    Masks are the only corruptions that leave pixels out, and they leave the rest as it was.
    """
    missing = corrupted.isnan()
    return torch.where(missing, restored, corrupted) if missing.any() else restored


def is_trained_on(corruption: Corruption) -> bool:
    """Whether the networks that ship were shown such pictures."""
    return corruption.name in KINDS


RESTORERS: dict[str, Restorer] = {
    "regeneration": Restorer(
        label="regeneration",
        needs="generator",
        restore=regenerate,
        can=lambda corruption: True,
        is_learned=False,
    ),
    "projection": Restorer(
        label="projection",
        needs="generator",
        restore=project,
        can=lambda corruption: corruption.is_known,
        own_folder="projected",
    ),
    "denoiser": Restorer(
        label="denoiser",
        needs="denoiser",
        restore=denoise,
        can=is_trained_on,
        own_folder="denoised",
    ),
    "consistent": Restorer(
        label="known operator",
        needs="denoiser",
        restore=denoise_consistently,
        can=lambda corruption: isinstance(corruption, Separable) and is_trained_on(corruption),
    ),
    "sampler": Restorer(
        label="mean of samples",
        needs="sampler",
        restore=mean_of_samples,
        can=is_trained_on,
        own_folder="samples",
        sample=sample,
    ),
}


def classes_won(context: Context, class_names: Sequence[str]) -> list[str]:
    """The class of each image's last projection; none of an unconditional generator."""
    found = context.classes.get("projection")
    return [] if found is None else [class_names[label] for label in found.tolist()]


def able(context: Context, corruption: Corruption) -> dict[str, Restorer]:
    """The rows of RESTORERS that can undo the corruption with the networks there are."""
    return {
        name: row
        for name, row in RESTORERS.items()
        if getattr(context, row.needs) is not None and row.can(corruption)
    }


def chosen(wanted: Sequence[str], context: Context, corruption: Corruption) -> dict[str, Restorer]:
    """The rows of --restorer that can undo a corruption; Mistake if there is none."""
    can = able(context, corruption)
    found = {name: row for name, row in can.items() if name in wanted}
    if not found:
        names = f"cannot undo {corruption} here; {', '.join(can)} can"
        raise Mistake(f"--restorer {' '.join(wanted)}: {names}")
    return found
