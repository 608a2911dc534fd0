"""What restores corrupted images: a row each.

for name, restorer in able(context, corruption).items():
    restored = restorer.restore(context, corrupted, corruption)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from lab.data.pixels import to_unit
from lab.models.sampling import generate
from lab.restoration import denoising, projection
from lab.restoration.corruptions import Corruption, Gaussian
from lab.seeding import per_image_noise


@dataclass(frozen=True)
class Context:
    """What restorers may use: networks on the device of the images, and what the user decided."""

    generator: nn.Module
    denoiser: nn.Module | None = None
    seed: int = 0
    restarts: int = 10  # of a projection
    steps: int = 500  # of a projection
    classes: dict[str, Tensor] = field(default_factory=dict)  # (N,), by a restorer that found them


@dataclass(frozen=True)
class Restorer:
    """One way to restore images.

    label: its name over and beside images. needs: the field of a context that it cannot do without.
    is_learned: whether it restores by what a network has learnt, and so is to beat the corrupted
    picture. own_folder: where one's own pictures go that it has restored; "" if they are not.
    restore: (context, corrupted images, corruption) -> images (N, C, H, W) in [0, 1].
    can: whether it can undo a corruption. sample: as `restore`, but with a count of different
    restorations of each image, (N, count, C, H, W).
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


def sample(context: Context, corrupted: Tensor, corruption: Corruption, count: int) -> Tensor:
    """Several images of the generator that explain each corrupted one."""
    settings = {"steps": context.steps, "seed": context.seed}
    return projection.sample(context.generator, corrupted, corruption, count, **settings)


def denoise(context: Context, corrupted: Tensor, corruption: Gaussian) -> Tensor:
    """The answers of the convolutional denoiser."""
    return denoising.denoise(context.denoiser, corrupted, corruption)


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
        can=lambda corruption: corruption.is_differentiable,
        own_folder="projected",
        sample=sample,
    ),
    "denoiser": Restorer(
        label="denoiser",
        needs="denoiser",
        restore=denoise,
        can=lambda corruption: isinstance(corruption, Gaussian),  # all that it is trained on
        own_folder="denoised",
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
