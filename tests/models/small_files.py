"""Weights files for the tests of lab/models: small, changed, and of format version 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lab.data import DATASETS
from lab.errors import Fault
from lab.models import GENERATORS, ROLES, build
from lab.models.serialization import load_weights, save_weights
from lab.models.tensor_files import plain_state

MNIST = DATASETS["mnist"]


def small(**config: Any) -> nn.Module:
    """A small fully connected generator for MNIST."""
    config = {"latent_dim": 8, "hidden": (16,), **config}
    return build(GENERATORS, "mlp", shape=MNIST.shape, **config)


def saved(path: Path, **changes: Any) -> Path:
    """A small generator's file, with some of its entries replaced."""
    save_weights(path, small(), MNIST)
    if changes:
        content = {**torch.load(path, weights_only=True), **changes}
        torch.save(content, path)
    return path


def refused(path: Path, role: str = "generator") -> str:
    """The error message for a file."""
    with pytest.raises(Fault) as caught:
        load_weights(path, role)
    assert str(path) in str(caught.value)
    return str(caught.value)


def saved_as_version_1(
    path: Path, role: str, config: dict[str, Any], facts: Any = None, **built: Any
) -> nn.Module:
    """Write a file as the lab's first version did; the network in it.

    config: what that version wrote down, which had no shape. built: what else the network needs.
    """
    kind = built.pop("kind")
    network = build(ROLES[role], kind, **{"shape": MNIST.shape, **config, **built}).eval()
    state = plain_state(network)
    if config.get("pyramid"):  # its first layer was transposed
        state["layers.0.weight"] = state["layers.0.weight"].T.contiguous()
    content = {
        "format": f"gan-lab {role}",
        "version": 1,
        "config": config,
        "facts": {"dataset": "mnist", "epoch": 3} if facts is None else facts,
        "state_dict": state,
    }
    torch.save(content, path)
    return network
