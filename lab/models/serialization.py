"""Weights files: a network, the config that rebuilds it, and the data set it was trained on."""

import json
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
    """A network from a weights file, on the CPU in evaluation mode, and the rest of the file.

    spec: of the data set it was trained on. facts: plain values about its origin. sha256: of the
    file, stored with scores so that they are not shown for other weights.
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
    """Save a network with its config, the spec of its data set, and plain facts about its origin.

    network: built by `lab.models.build`, which sets its kind and config. dtype: float16 halves the
    file; `load_weights` converts back to float32.
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
    """The role of the network, a key of ROLES: `generator`, ..."""
    return next(role for role, kinds in ROLES.items() if type(network) in kinds.values())


def load_weights(path: Path, role: str) -> Weights:
    """Load a weights file whose network has this role, a key of ROLES.

    Also reads files of format version 1. Raises Fault, with the reason in one line, for any other
    file.
    """
    while True:  # a training may replace the file between the digest and the reading
        sha256 = digest(path)
        content = read_tensors(path, f"gan-lab {role}", versions=(1, FORMAT_VERSION))
        if digest(path) == sha256:
            break
    if not isinstance(config := content.get("config"), dict):
        raise Fault(f"{path}: its network's config is missing")
    for name, value in config.items():
        _check_size(path, name, value)
    if content["version"] == 1:
        content = _from_version_1(role, content)
    try:
        spec = DatasetSpec.from_facts(content.get("dataset"))
    except ValueError as error:
        raise Fault(f"{path}: {error}; train with gan_lab.py") from None
    network = _rebuilt(path, role, content, spec)
    return Weights(network, spec, _plain(content.get("facts")), path, sha256)


def _plain(facts: Any) -> dict[str, Any]:
    """The facts in a file; {} unless they are a dictionary that JSON could hold."""
    try:
        json.dumps(facts)
    except (TypeError, ValueError, RecursionError):  # tensors, for example
        return {}
    return facts if isinstance(facts, dict) else {}


def _from_version_1(role: str, content: dict[str, Any]) -> dict[str, Any]:
    """Convert the content of a file of format version 1 to version 2.

    Version 1 stored the data set in the facts, had no kinds, and left out sizes that were fixed.
    """
    config, state = content["config"], content.get("state_dict")
    name = _plain(content.get("facts")).get("dataset")
    spec = DATASETS.get(name) if isinstance(name, str) else None
    if not spec:
        return {**content, "dataset": None}
    kinds = {"denoiser": "unet", "classifier": "cnn"}
    kind = kinds.get(role, "dcgan" if config.get("channels") else "mlp")
    if kind not in ROLES[role]:  # an old denoiser
        return {**content, "kind": kind, "dataset": name}
    parameters = parameters_of(ROLES[role], kind)  # version 1 stored those of both architectures
    config = {name: value for name, value in config.items() if name in parameters or value}
    config = {"shape": list(spec.shape), **config}
    if role == "classifier":
        config["classes"] = len(spec.class_names)
    first = state.get("layers.0.weight") if isinstance(state, dict) else None
    is_matrix = isinstance(first, torch.Tensor) and first.ndim == 2 and first.is_contiguous()
    if config.get("pyramid") and is_matrix:
        state = {**state, "layers.0.weight": first.T.contiguous()}  # was stored transposed
    return {**content, "kind": kind, "config": config, "dataset": name, "state_dict": state}


def _rebuilt(path: Path, role: str, content: dict[str, Any], spec: DatasetSpec) -> nn.Module:
    """The network in `content`, read from `path`; Fault if config or weights do not fit."""
    kind, config, state = (content.get(name) for name in ("kind", "config", "state_dict"))
    if not isinstance(kind, str) or kind not in ROLES[role]:
        raise Fault(f"{path}: no {role} is called {kind!r}")
    if config.get("shape") != list(spec.shape):
        raise Fault(f"{path}: its network is for other images than those of {spec.title}")
    if config.get("classes", 0) not in (0, len(spec.class_names)):
        raise Fault(f"{path}: its network has other classes than {spec.title}")
    if unknown := set(config) - parameters_of(ROLES[role], kind):
        names = listed(sorted(map(str, unknown)))
        raise Fault(f"{path}: its config has {names}, which {kind} does not take")
    try:
        with torch.device("meta"):  # compares shapes before any memory is allocated
            check_state(path, build(ROLES[role], kind, **config), state)
        with torch.random.fork_rng(devices=[]):  # a training may be using the global generator
            network = build(ROLES[role], kind, **config)  # not to_empty, which loses plain tensors
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise Fault(f"{path}: its config builds no {role} ({error})") from None
    network.load_state_dict(state)  # converts float16 to float32
    network.to(memory_format=torch.channels_last)  # convolutions are up to twice as fast
    return network.eval().requires_grad_(False)


def _check_size(path: Path, name: str, value: Any) -> None:
    """Fault for a width, a depth or a latent dimension beyond the limits of the options."""
    if not isinstance(value, (list, int, float, str)):
        raise Fault(f"{path}: {name} is a {type(value).__name__}, a number or a list is expected")
    widths = value if isinstance(value, list) else [value]
    if not all(isinstance(width, (int, float, str)) for width in widths):
        raise Fault(f"{path}: {name} has entries that are neither numbers nor text")
    most_layers, most = layers.MAX_LAYERS, layers.MAX_WIDTH
    if name in ("channels", "full_maps"):
        most_layers, most = layers.MAX_CONVOLUTIONS, layers.MAX_CHANNELS
    if len(widths) > most_layers:
        raise Fault(f"{path}: {name} has {len(widths)} layers, at most {most_layers}")
    for width in widths:
        # Dropout, switches and full_maps may be 0.
        least = 1 if type(width) is int and name != "full_maps" else 0
        if isinstance(width, (int, float)) and not least <= width <= most:
            raise Fault(f"{path}: {name} {width:,} is out of range, {least} to {most:,}")
