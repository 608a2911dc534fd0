"""The networks: a class and a row each, and how one is built from its config.

    generator = build(GENERATORS, "mlp", shape=(1, 28, 28), latent_dim=100, hidden=[512, 512])

A network keeps what rebuilds it: `kind`, the name of its row, and `config`, the keyword arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from lab.models.classifier import Classifier, MLPClassifier
from lab.models.dcgan import DCGANDiscriminator, DCGANGenerator, channels_for
from lab.models.denoiser import Denoiser, Sampler
from lab.models.mlp import MLPDiscriminator, MLPGenerator
from lab.models.sampling import generate

__all__ = [
    "CLASSIFIERS",
    "DENOISERS",
    "DISCRIMINATORS",
    "GENERATORS",
    "ROLES",
    "SAMPLERS",
    "build",
    "channels_for",
    "count_parameters",
    "generate",
    "is_convolutional",
    "parameters_of",
]

GENERATORS: dict[str, type[nn.Module]] = {"mlp": MLPGenerator, "dcgan": DCGANGenerator}
DISCRIMINATORS: dict[str, type[nn.Module]] = {"mlp": MLPDiscriminator, "dcgan": DCGANDiscriminator}
DENOISERS: dict[str, type[nn.Module]] = {"blind": Denoiser}
SAMPLERS: dict[str, type[nn.Module]] = {"posterior": Sampler}
CLASSIFIERS: dict[str, type[nn.Module]] = {"cnn": Classifier, "mlp": MLPClassifier}
ROLES = {  # what a weights file may hold
    "generator": GENERATORS,
    "discriminator": DISCRIMINATORS,
    "denoiser": DENOISERS,
    "sampler": SAMPLERS,
    "classifier": CLASSIFIERS,
}


def build(kinds: Mapping[str, type[nn.Module]], kind: str, **offered: Any) -> nn.Module:
    """A new network of a row of `kinds`, given what its class takes of `offered`.

    ValueError for an unknown kind or for arguments that build none; the message says why.
    """
    if kind not in kinds:
        raise ValueError(f"{kind!r} is none of {', '.join(kinds)}")
    taken = parameters_of(kinds, kind)
    config = {name: value for name, value in offered.items() if name in taken}
    network = kinds[kind](**config)
    network.kind = kind
    network.config = {
        name: list(value) if isinstance(value, tuple) else value for name, value in config.items()
    }
    return network


def parameters_of(kinds: Mapping[str, type[nn.Module]], kind: str) -> set[str]:
    """The names of the arguments that build a network of a row of `kinds`."""
    return set(inspect.signature(kinds[kind]).parameters)


def is_convolutional(*networks: nn.Module) -> bool:
    """Whether any of the networks has convolutions."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return any(isinstance(layer, kinds) for network in networks for layer in network.modules())


def count_parameters(network: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(parameter.numel() for parameter in network.parameters())
