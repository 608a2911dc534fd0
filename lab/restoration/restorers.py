"""The ways to restore corrupted images, one row each.

for name, restorer in applicable(context, corruption).items():
    restored = restorer.restore(context, corrupted, corruption)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lab.data.pixels import to_unit
from lab.errors import Mistake
from lab.models.sampling import generate
from lab.restoration import denoising, posterior, projection
from lab.restoration.corruption import Corruption
from lab.restoration.examples import KINDS, given_condition
from lab.restoration.operators import Separable
from lab.seeding import per_image_noise

SAMPLES = 8  # the sampler's answer is the mean of this many


@dataclass
class Context:
    """What restorers work with: networks on the device of the images, and the user's settings."""

    generator: nn.Module
    denoiser: nn.Module | None = None
    sampler: nn.Module | None = None
    seed: int = 0
    restarts: int = 10  # of a projection
    steps: int = 250  # of a projection
    corruption_is_given: bool = False  # else denoiser and sampler estimate it
    class_names: Sequence[str] = ()  # of a conditional generator, by label
    # The class of each image in the last projection; [] for an unconditional generator.
    projected: list[str] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return next(self.generator.parameters()).device

    def condition(
        self, network: nn.Module, corrupted: Tensor, corruption: Corruption
    ) -> Tensor | None:
        """The network's condition for the corruption that the user named; None: it estimates."""
        if not self.corruption_is_given:
            return None
        return given_condition(network.estimator, corrupted, corruption)


@dataclass(frozen=True)
class Restorer:
    """One way to restore images."""

    label: str  # its name in tables and beside images
    needs: str  # the field of Context that must not be None
    restore: Callable[[Context, Tensor, Corruption], Tensor]  # -> (N, C, H, W) in [0, 1]
    can_undo: Callable[[Corruption], bool]
    own_folder: str = ""  # for restored pictures of the user; "" if it does not restore them
    # -> (N, count, C, H, W): different restorations, whose mean `restore` returns; None: one only.
    sample: Callable[[Context, Tensor, Corruption, int], Tensor] | None = None


def regenerate(context: Context, corrupted: Tensor, _: Corruption) -> Tensor:
    """New images, unrelated to the corrupted ones: a baseline, lab sheet (c)'s regeneration."""
    shape = (context.generator.latent_dim,)
    latents = per_image_noise(len(corrupted), shape, context.seed, "regeneration")
    return to_unit(generate(context.generator, latents))


def project(context: Context, corrupted: Tensor, corruption: Corruption) -> Tensor:
    """The generator's images that explain the corrupted ones best; also sets context.projected."""
    generator = context.generator
    settings = (context.restarts, context.steps)
    latents = projection.find_latents(generator, corrupted, corruption, *settings)
    labels = projection.class_labels(generator, latents)
    if labels is not None:
        context.projected = [context.class_names[label] for label in labels.tolist()]
    return projection.decode_in_batches(generator, latents)


def denoise(context: Context, corrupted: Tensor, corruption: Corruption) -> Tensor:
    """The denoiser's restorations."""
    condition = context.condition(context.denoiser, corrupted, corruption)
    restored = denoising.denoise(context.denoiser, corrupted, condition)
    return keep_known_pixels(corrupted, restored)


def denoise_consistently(context: Context, corrupted: Tensor, corruption: Separable) -> Tensor:
    """The denoiser's restorations, corrected until the known operator explains the images."""
    return corruption.consistent(denoise(context, corrupted, corruption), corrupted)


def sample(context: Context, corrupted: Tensor, corruption: Corruption, count: int) -> Tensor:
    """`count` possible clean images of each corrupted one, (N, count, C, H, W)."""
    condition = context.condition(context.sampler, corrupted, corruption)
    found = posterior.sample(context.sampler, corrupted, count, context.seed, condition=condition)
    return keep_known_pixels(corrupted[:, None], found)


def keep_known_pixels(corrupted: Tensor, restored: Tensor) -> Tensor:
    """Restored images; where pixels were missing (NaN), the other pixels are the given ones.

    Only masks make pixels missing, and they do not change the others.
    """
    missing = corrupted.isnan()
    return torch.where(missing, restored, corrupted) if missing.any() else restored


def is_trained_on(corruption: Corruption) -> bool:
    """Whether the denoiser and the sampler are trained on this corruption."""
    return corruption.name in KINDS


RESTORERS: dict[str, Restorer] = {
    "regeneration": Restorer("regeneration", "generator", regenerate, lambda _: True),
    "projection": Restorer("projection", "generator", project, lambda _: True, "projected"),
    "denoiser": Restorer("denoiser", "denoiser", denoise, is_trained_on, "denoised"),
    "consistent": Restorer(
        *("known operator", "denoiser", denoise_consistently),
        lambda corruption: isinstance(corruption, Separable) and is_trained_on(corruption),
    ),
    "sampler": Restorer(
        *("mean of samples", "sampler", lambda *given: sample(*given, SAMPLES).mean(1)),
        *(is_trained_on, "samples", sample),
    ),
}


def applicable(context: Context, corruption: Corruption) -> dict[str, Restorer]:
    """The rows of RESTORERS that can undo the corruption with the networks in `context`."""
    return {
        name: row
        for name, row in RESTORERS.items()
        if getattr(context, row.needs) is not None and row.can_undo(corruption)
    }


def select(
    wanted: Sequence[str], usable: Mapping[str, Restorer], what: object, samples: int = 0
) -> dict[str, Restorer]:
    """The rows of `usable` that --restorer names. what: is to be restored.

    Raises Mistake if there are none, or if no row can make the `samples` of --samples.
    """
    if samples and not any(row.sample for row in usable.values()):
        cure = "--train-sampler trains one"
        raise Mistake(f"--samples {samples}: there is no sampler for {what}; {cure}")
    found = {name: row for name, row in usable.items() if name in wanted}
    if not found:
        names = f"cannot restore {what} here; {', '.join(usable)} can"
        raise Mistake(f"--restorer {' '.join(wanted)}: {names}")
    return found


def check_possible(
    wanted: Sequence[str], corruptions: Sequence[Corruption], samples: int, has_sampler: bool
) -> None:
    """Mistake, before any training, if no network could do what --restorer and --samples ask for.

    has_sampler: whether there is or will be a sampler. There will be a denoiser.
    """
    rows = {name: row for name, row in RESTORERS.items() if has_sampler or row.needs != "sampler"}
    select(rows, rows, "this set", samples)
    for corruption in corruptions:
        able = {name: row for name, row in rows.items() if row.can_undo(corruption)}
        select(wanted, able, corruption)


def names_for_own(rows: Mapping[str, Restorer]) -> str:
    """`projection, denoiser, sampler with --samples`: the rows that restore one's own pictures."""
    own = {name: row for name, row in rows.items() if row.own_folder}
    return ", ".join(name + " with --samples" * bool(row.sample) for name, row in own.items())


def select_for_own(
    wanted: Sequence[str], samples: int, usable: Mapping[str, Restorer] = RESTORERS
) -> dict[str, Restorer]:
    """The rows of `usable` that restore the user's own pictures and that the options ask for.

    A sampler is asked for by --samples, the others by --restorer. Raises Mistake as `select`.
    """
    own = {name: row for name, row in usable.items() if row.own_folder}
    asked = [name for name, row in own.items() if (samples if row.sample else name in wanted)]
    if not asked and not samples:
        can = f"cannot restore your own pictures; {names_for_own(own)} can"
        raise Mistake(f"--restorer {' '.join(wanted)}: {can}")
    return select(asked, own, "your own pictures", samples)
