"""The networks by role and kind, and how to build one.

    generator = build(GENERATORS, "mlp", shape=(1, 28, 28), latent_dim=100, hidden=[512, 512])

A network keeps its `kind`, a key of the table, and its `config`, the keyword arguments, so that it
can be rebuilt from a file.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from lab.models.classifier import Classifier, MLPClassifier
from lab.models.dcgan import DCGANDiscriminator, DCGANGenerator, channels_for, full_maps_for
from lab.models.denoiser import Denoiser, Sampler
from lab.models.mlp import MLPDiscriminator, MLPGenerator
from lab.models.sampling import generate

GENERATORS: dict[str, type[nn.Module]] = {"mlp": MLPGenerator, "dcgan": DCGANGenerator}
DISCRIMINATORS: dict[str, type[nn.Module]] = {"mlp": MLPDiscriminator, "dcgan": DCGANDiscriminator}
DENOISERS: dict[str, type[nn.Module]] = {"blind": Denoiser}
SAMPLERS: dict[str, type[nn.Module]] = {"posterior": Sampler}
CLASSIFIERS: dict[str, type[nn.Module]] = {"cnn": Classifier, "mlp": MLPClassifier}
ROLES = {  # of the network in a weights file
    "generator": GENERATORS,
    "discriminator": DISCRIMINATORS,
    "denoiser": DENOISERS,
    "sampler": SAMPLERS,
    "classifier": CLASSIFIERS,
}


def build(kinds: Mapping[str, type[nn.Module]], kind: str, **arguments: Any) -> nn.Module:
    """A new network of class `kinds[kind]`; arguments that the class does not have are ignored.

    ValueError for an unknown kind or for invalid arguments, with the reason.
    """
    if kind not in kinds:
        raise ValueError(f"{kind!r} is none of {', '.join(kinds)}")
    parameters = parameters_of(kinds, kind)
    config = {name: value for name, value in arguments.items() if name in parameters}
    network = kinds[kind](**config)
    network.kind = kind
    network.config = {
        name: list(value) if isinstance(value, tuple) else value for name, value in config.items()
    }
    return network


def parameters_of(kinds: Mapping[str, type[nn.Module]], kind: str) -> set[str]:
    """The names of the arguments of class `kinds[kind]`."""
    return set(inspect.signature(kinds[kind]).parameters)


def is_convolutional(*networks: nn.Module) -> bool:
    """Whether any of the networks has convolutions."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return any(isinstance(layer, kinds) for network in networks for layer in network.modules())


def count_parameters(network: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
