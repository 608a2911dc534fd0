"""Finds or trains the denoiser and the sampler of a set; prefers the user's own to shipped ones."""

from pathlib import Path

import torch

from lab.data.datasets import Dataset, DatasetSpec
from lab.errors import Fault, Mistake, on_interrupt
from lab.models.serialization import Weights, load_weights, save_weights
from lab.models.shipped import load_shipped
from lab.restoration import denoising, posterior
from lab.restoration.examples import NOISE_RANGE

DURATION = "three to ten minutes on two cores"  # of training either


def find(
    role: str,
    path: Path,
    dataset: Dataset,
    device: torch.device,
    seed: int,
    required: bool = False,
    retrain: bool = False,
    denoiser: Weights | None = None,
) -> Weights | None:
    """The network of a set on `device`: the user's own at `path`, else the one that ships.

    role: "denoiser", or "sampler", which is trained from `denoiser`. required: if there is neither,
    one is trained and stored at `path`; without it, returns None. retrain: one is trained in any
    case; raises Mistake for a sampler if there is no denoiser.
    """
    if retrain and role == "sampler" and not denoiser:
        raise Mistake("--train-sampler: starts from a denoiser; add --train-denoiser to have one")
    if path.exists() and not path.is_file():
        raise Fault(f"{path}: is not a file, so no {role} can be stored there; remove it")
    weights = None
    if not (retrain or path.is_file()):
        weights = _load_shipped(role, dataset.spec, required)
        retrain = required and not weights
    if retrain:
        images = dataset.train_images.to(device)
        print(f"training a {role} on {len(images):,} images takes {DURATION}", flush=True)
        with on_interrupt(f"the unfinished {role} was not kept; --train-{role} starts again"):
            if role == "denoiser":
                network = denoising.train(images, seed, denoising.IMAGES_SHOWN)
            else:
                network = posterior.train(images, denoiser.network, seed, posterior.IMAGES_SHOWN)
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"fingerprint": dataset.fingerprint, "noise_range": NOISE_RANGE}
        save_weights(path, network, dataset.spec, **facts)
        print(f"{role}: {path}", flush=True)
    if path.is_file():
        weights = load(role, path, dataset)
    if weights:
        weights.network.to(device)
    return weights


def _load_shipped(role: str, spec: DatasetSpec, required: bool) -> Weights | None:
    """The network that ships for a set, None if there is none; prints which.

    required: one will be trained if there is none, so the hint to do so is left out.
    """
    reason = f"none is pretrained on {spec.title}"
    try:
        if weights := load_shipped(role, spec):
            own = f"pretrained on {spec.title}, {weights.path.name}"
            print(f"{role}: {own}; --train-{role} trains your own")
            return weights
    except (Fault, OSError) as error:
        reason = str(error)
    cure = "" if required else f"; --train-{role} trains one, in {DURATION}"
    print(f"no {role} ({reason}){cure}")
    return None


def load(role: str, path: Path, dataset: Dataset) -> Weights:
    """The network in a file, with a note if it was trained on other images or noise levels.

    Fault if it is damaged or belongs to another set. A set of the user's own is known by its
    images, since its folder may have been renamed.
    """
    cure = f"train a new one with --train-{role}"
    try:
        weights = load_weights(path, role)
    except Fault as fault:
        raise Fault(f"{fault}; delete it, or {cure}") from None
    spec, fingerprint = dataset.spec, weights.facts.get("fingerprint")
    same_images = weights.spec.shape == spec.shape and fingerprint == dataset.fingerprint
    if weights.spec != spec and not same_images:
        others = f"a {role} of {weights.spec.title}, {spec.title} is needed"
        raise Fault(f"{path}: {others}; delete it, or {cure}")
    if weights.network.config.get("corruptions") != len(denoising.KINDS):
        raise Fault(f"{path}: was trained on other corruptions; {cure}")
    if fingerprint not in (None, dataset.fingerprint):
        print(f"note: the {role} was trained on other images of the set than these; {cure}")
    if role == "denoiser" and weights.facts.get("noise_range") != NOISE_RANGE:
        print(
            f"note: {path} is of an earlier version of the lab, which trained on other noise "
            f"levels; the levels it estimates are too high by up to 40 %; {cure}"
        )
    return weights
