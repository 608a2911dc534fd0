"""Weights files: a network with the config that rebuilds it, and the set that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lab.data.datasets import DATASETS, DatasetSpec
from lab.errors import Fault
from lab.models import ROLES, build, layers, parameters_of
from lab.models.tensor_files import (
    FORMAT_VERSION,
    check_state,
    digest,
    plain_state,
    read_tensors,
    write_tensors,
)
from lab.text import listed


@dataclass(frozen=True)
class Weights:
    """A network from a weights file, on the CPU, in evaluation mode, and what the file says of it.

    spec: the set it was trained on. facts: plain values about its origin. sha256: of the file, by
    which figures of these weights are told from those of others.
    """

    network: nn.Module
    spec: DatasetSpec
    facts: dict[str, Any]
    path: Path
    sha256: str


def save_weights(
    path: Path,
    network: nn.Module,
    spec: DatasetSpec,
    dtype: torch.dtype = torch.float32,
    **facts: Any,
) -> None:
    """Save a network with the config that rebuilds it, its set, and plain facts about its origin.

    network: made by `lab.models.build`, which gave it kind and config. dtype: float16 makes a file
    of half the size; `load_weights` gives float32 again.
    """
    content = {
        "format": f"gan-lab {role_of(network)}",
        "version": FORMAT_VERSION,
        "kind": network.kind,
        "config": network.config,
        "dataset": spec.as_facts(),
        "facts": facts,
        "state_dict": plain_state(network, dtype),
    }
    write_tensors(path, content)


def role_of(network: nn.Module) -> str:
    """The key of ROLES under which the network's class stands: `generator`, ..."""
    return next(role for role, kinds in ROLES.items() if type(network) in kinds.values())


def load_weights(path: Path, role: str) -> Weights:
    """Rebuild the network in a weights file, which must be of this role (a key of ROLES).

    Files of the lab's first version load, too. Raises Fault, in one line that says what is wrong,
    for anything but such a file. Digest and weights are of one file, also where a training is about
    to replace it.
    """
    while True:
        sha256 = digest(path)
        content = read_tensors(path, f"gan-lab {role}", versions=(1, FORMAT_VERSION))
        if digest(path) == sha256:
            break
    if content["version"] == 1:
        content = _from_version_1(role, content)
    try:
        spec = DatasetSpec.from_facts(content.get("dataset"))
    except ValueError as error:
        raise Fault(f"{path}: {error}; train with gan_lab.py") from None
    network = _rebuilt(path, role, content, spec)
    facts = content.get("facts")
    return Weights(network, spec, facts if isinstance(facts, dict) else {}, path, sha256)


def _from_version_1(role: str, content: dict[str, Any]) -> dict[str, Any]:
    """What a file of the first version says, in the words of the second.

    It named its set among the facts, had no kinds of networks, and left sizes out that were fixed.
    """
    parts = (content.get(part) for part in ("facts", "config", "state_dict"))
    facts, config, state = (part if isinstance(part, dict) else {} for part in parts)
    name = facts.get("dataset")
    spec = DATASETS.get(name) if isinstance(name, str) else None
    if not spec:
        return {**content, "dataset": None}
    kinds = {"denoiser": "unet", "classifier": "cnn"}
    kind = kinds.get(role, "dcgan" if config.get("channels") else "mlp")
    if kind not in ROLES[role]:  # a denoiser of then
        return {**content, "kind": kind, "dataset": name}
    taken = parameters_of(ROLES[role], kind)  # of both architectures it said what they had of them
    config = {name: value for name, value in config.items() if name in taken or value}
    config = {"shape": list(spec.shape), **config}
    if role == "classifier":
        config["classes"] = len(spec.class_names)
    first = state.get("layers.0.weight")
    if config.get("pyramid") and isinstance(first, torch.Tensor) and first.ndim == 2:
        state = {**state, "layers.0.weight": first.T.contiguous()}  # it lay the other way round
    return {**content, "kind": kind, "config": config, "dataset": name, "state_dict": state}


def _rebuilt(path: Path, role: str, content: dict[str, Any], spec: DatasetSpec) -> nn.Module:
    """The network that `content`, read from `path`, describes, with its weights."""
    kind, config, state = (content.get(name) for name in ("kind", "config", "state_dict"))
    if not isinstance(config, dict) or not isinstance(kind, str):
        raise Fault(f"{path}: its network's config is missing")
    if kind not in ROLES[role]:
        raise Fault(f"{path}: no {role} is called {kind!r}")
    for name, value in config.items():
        _check_size(path, name, value)
    if config.get("shape") != list(spec.shape):
        raise Fault(f"{path}: its network is for other images than those of {spec.title}")
    if unknown := set(config) - parameters_of(ROLES[role], kind):
        names = listed(sorted(map(str, unknown)))
        raise Fault(f"{path}: its config has {names}, which {kind} does not take")
    try:
        with torch.device("meta"):  # shapes without memory: the config is not trusted yet
            check_state(path, build(ROLES[role], kind, **config), state, halves=True)
        with torch.random.fork_rng(devices=[]):  # a training may be drawing from the global stream
            network = build(ROLES[role], kind, **config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Fault(f"{path}: its config builds no {role} ({error})") from None
    network.load_state_dict(state)  # halves become float32
    network.to(memory_format=torch.channels_last)  # convolutions are up to twice as fast
    return network.eval().requires_grad_(False)


def _check_size(path: Path, name: str, value: Any) -> None:
    """Refuse a width, a depth or a latent dimension that no option would allow."""
    if not isinstance(value, (list, int, float, str)):
        raise Fault(f"{path}: {name} is a {type(value).__name__}, a number or a list is expected")
    widths = value if isinstance(value, list) else [value]
    most_layers, most = layers.MOST_LAYERS, layers.MOST_WIDTH
    if name in ("channels", "full_maps"):
        most_layers, most = layers.MOST_CONVOLUTIONS, layers.MOST_CHANNELS
    if len(widths) > most_layers:
        raise Fault(f"{path}: {name} has {len(widths)} layers, at most {most_layers}")
    for width in widths:
        # Dropout may be 0, and so may what is off.
        least = 1 if type(width) is int and name != "full_maps" else 0
        if isinstance(width, (int, float)) and not least <= width <= most:
            raise Fault(f"{path}: {name} {width:,} is out of range, {least} to {most:,}")
