"""The denoiser and the sampler of a set: those that ship with the lab, or the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lab.data.datasets import Dataset, DatasetSpec
from lab.errors import Fault, going_on
from lab.models.serialization import Weights, load_weights, save_weights
from lab.models.shipped import load_restorer
from lab.restoration import denoising, posterior


@dataclass(frozen=True)
class Kind:
    """A network that restores. train: (uint8 images, seed, denoiser or None) -> network."""

    role: str
    duration: str
    train: Callable[[torch.Tensor, int, nn.Module | None], nn.Module]

    @property
    def option(self) -> str:
        """What has one trained."""
        return f"--train-{self.role}"


def train_denoiser(images: torch.Tensor, seed: int, _: nn.Module | None) -> nn.Module:
    """A denoiser of one's own."""
    return denoising.train(images, seed, denoising.IMAGES_SHOWN)


def train_sampler(images: torch.Tensor, seed: int, denoiser: nn.Module | None) -> nn.Module:
    """A sampler of one's own, which begins as the denoiser that there is."""
    if denoiser is None:
        raise Fault("a sampler begins as a denoiser, and there is none: add --train-denoiser")
    return posterior.train(images, denoiser, seed, posterior.IMAGES_SHOWN)


DENOISER = Kind("denoiser", "some ten minutes on two cores", train_denoiser)
SAMPLER = Kind("sampler", "some ten minutes on two cores", train_sampler)


def find(
    kind: Kind,
    path: Path,
    dataset: Dataset,
    device: torch.device,
    seed: int,
    must: bool = False,
    anew: bool = False,
    denoiser: nn.Module | None = None,
) -> Weights | None:
    """The network of a set, on `device`; None if there is none.

    The user's own is at `path` and goes before the one that ships with the lab.
    must: one is trained and stored there if there is neither; anew: in any case.
    """
    if path.exists() and not path.is_file():
        raise Fault(f"{path}: is in the way of the {kind.role}'s file; remove it")
    weights = None
    if not anew and not path.is_file():
        weights = _shipped(kind, dataset.spec, must)
    if anew or (must and not weights and not path.is_file()):
        _train_and_store(kind, path, dataset, device, seed, denoiser)
    if path.is_file():
        weights = load(kind, path, dataset.spec)
        if weights.facts.get("fingerprint", dataset.fingerprint) != dataset.fingerprint:
            print(
                f"note: the {kind.role} was trained on other images of the set than these; "
                f"{kind.option} trains a new one"
            )
    if weights:
        weights.network.to(device)
    return weights


def _shipped(kind: Kind, spec: DatasetSpec, must: bool) -> Weights | None:
    """The network that ships for a set, None if there is none; says which in a line.

    must: one is trained if there is none.
    """
    weights, reason = None, f"none ships for {spec.title}"
    try:
        weights = load_restorer(spec, kind.role)
    except (Fault, OSError) as error:
        reason = str(error)
    if weights:
        print(
            f"{kind.role}: the lab's own for {spec.title}, {weights.path.name}; "
            f"{kind.option} trains one of yours"
        )
    else:
        cure = "" if must else f"; {kind.option} trains one, in {kind.duration}"
        print(f"no {kind.role} ({reason}){cure}")
    return weights


def _train_and_store(
    kind: Kind,
    path: Path,
    dataset: Dataset,
    device: torch.device,
    seed: int,
    denoiser: nn.Module | None,
) -> None:
    print(
        f"training a {kind.role} on {len(dataset.train_images):,} images, once for this "
        f"generator's folder: {kind.duration}",
        flush=True,
    )
    with going_on(f"a {kind.role} half trained is not kept, {kind.option} begins anew"):
        network = kind.train(dataset.train_images.to(device), seed, denoiser)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, network, dataset.spec, fingerprint=dataset.fingerprint)
    print(f"{kind.role}: {path}", flush=True)


def load(kind: Kind, path: Path, spec: DatasetSpec) -> Weights:
    """The network in a file; Fault if it is damaged, or for another set than `spec`."""
    try:
        weights = load_weights(path, kind.role)
    except Fault as fault:
        raise Fault(f"{fault}; delete it, or train a new one with {kind.option}") from None
    if weights.spec != spec:
        raise Fault(
            f"{path}: a {kind.role} of {weights.spec.title}, {spec.title} is needed; "
            f"delete it, or train a new one with {kind.option}"
        )
    if weights.network.config.get("corruptions") != len(denoising.KINDS):
        raise Fault(f"{path}: knows other corruptions; train a new one with {kind.option}")
    return weights


def find_both(
    path_of: Callable[[str], Path],
    dataset: Dataset,
    device: torch.device,
    seed: int,
    must: bool,
    anew: Sequence[str],
) -> tuple[Weights | None, Weights | None]:
    """The denoiser and the sampler of a set, None for what there is none of.

    path_of: where the user's own lies, by its role. must: a denoiser is trained if there is none.
    anew: the roles that are trained in any case.
    """
    given = (dataset, device, seed)
    path = path_of(DENOISER.role)
    denoiser = find(DENOISER, path, *given, must, DENOISER.role in anew)
    path, begun = path_of(SAMPLER.role), denoiser and denoiser.network
    return denoiser, find(SAMPLER, path, *given, False, SAMPLER.role in anew, begun)
