"""Finds or trains the denoiser and the sampler of a set; prefers the user's own to shipped ones."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from lab.data.datasets import Dataset, DatasetSpec
from lab.errors import Fault, on_interrupt
from lab.models.serialization import Weights, load_weights, save_weights
from lab.models.shipped import load_shipped
from lab.restoration import denoising, posterior
from lab.restoration.examples import NOISE_RANGE

DURATION = "about ten minutes on two cores"  # of training either


def find(
    role: str,
    path: Path,
    dataset: Dataset,
    device: torch.device,
    seed: int,
    required: bool = False,
    retrain: bool = False,
    denoiser: nn.Module | None = None,
) -> Weights | None:
    """The network of a set on `device`: the user's own at `path`, else the one that ships.

    role: "denoiser", or "sampler", which is trained from `denoiser`. required: if there is neither,
    one is trained and stored at `path`; without it, returns None. retrain: one is trained in any
    case.
    """
    if path.exists() and not path.is_file():
        raise Fault(f"{path}: is not a file, so no {role} can be stored there; remove it")
    weights = None
    if not retrain and not path.is_file():
        weights = _load_shipped(role, dataset.spec, required)
    if retrain or (required and not weights and not path.is_file()):
        _train_and_store(role, path, dataset, device, seed, denoiser)
    if path.is_file():
        weights = load(role, path, dataset.spec)
        if weights.facts.get("fingerprint", dataset.fingerprint) != dataset.fingerprint:
            other = "was trained on other images of the set than these"
            print(f"note: the {role} {other}; --train-{role} trains a new one")
        if role == "denoiser" and weights.facts.get("noise_range") != NOISE_RANGE:
            print(
                f"note: {path} is of an earlier version of the lab, which trained on other noise "
                "levels; the levels it estimates are too high by up to 40 %, and --train-denoiser "
                "trains a new one"
            )
    if weights:
        weights.network.to(device)
    return weights


def _load_shipped(role: str, spec: DatasetSpec, required: bool) -> Weights | None:
    """The network that ships for a set, None if there is none; prints which.

    required: one will be trained if there is none, so the hint to do so is left out.
    """
    weights, reason = None, f"none is pretrained on {spec.title}"
    try:
        weights = load_shipped(role, spec)
    except (Fault, OSError) as error:
        reason = str(error)
    if weights:
        own = f"pretrained on {spec.title}, {weights.path.name}"
        print(f"{role}: {own}; --train-{role} trains your own")
    else:
        cure = "" if required else f"; --train-{role} trains one, in {DURATION}"
        print(f"no {role} ({reason}){cure}")
    return weights


def _train_and_store(
    role: str,
    path: Path,
    dataset: Dataset,
    device: torch.device,
    seed: int,
    denoiser: nn.Module | None,
) -> None:
    where = f"once for this generator's folder; takes {DURATION}"
    print(f"training a {role} on {len(dataset.train_images):,} images, {where}", flush=True)
    images = dataset.train_images.to(device)
    with on_interrupt(f"the unfinished {role} was not kept; --train-{role} starts again"):
        if role == "denoiser":
            network = denoising.train(images, seed, denoising.IMAGES_SHOWN)
        elif denoiser:
            network = posterior.train(images, denoiser, seed, posterior.IMAGES_SHOWN)
        else:
            raise Fault("training a sampler starts from a denoiser: add --train-denoiser")
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"fingerprint": dataset.fingerprint, "noise_range": NOISE_RANGE}
    save_weights(path, network, dataset.spec, **facts)
    print(f"{role}: {path}", flush=True)


def load(role: str, path: Path, spec: DatasetSpec) -> Weights:
    """The network in a file; Fault if it is damaged or belongs to another set than `spec`."""
    cure = f"train a new one with --train-{role}"
    try:
        weights = load_weights(path, role)
    except Fault as fault:
        raise Fault(f"{fault}; delete it, or {cure}") from None
    if weights.spec != spec:
        others = f"a {role} of {weights.spec.title}, {spec.title} is needed"
        raise Fault(f"{path}: {others}; delete it, or {cure}")
    if weights.network.config.get("corruptions") != len(denoising.KINDS):
        raise Fault(f"{path}: was trained on other corruptions; {cure}")
    return weights


def find_both(
    path_of: Callable[[str], Path],
    dataset: Dataset,
    device: torch.device,
    seed: int,
    needs_denoiser: bool,
    retrain: tuple[bool, bool],
) -> tuple[Weights | None, Weights | None]:
    """The denoiser and the sampler of a set; None in place of one that does not exist.

    path_of: role -> the path of the user's own network. needs_denoiser: a denoiser is trained if
    there is none. retrain: whether each is trained in any case.
    """
    common = (dataset, device, seed)
    denoiser = find("denoiser", path_of("denoiser"), *common, needs_denoiser, retrain[0])
    start = denoiser and denoiser.network
    return denoiser, find("sampler", path_of("sampler"), *common, False, retrain[1], start)
