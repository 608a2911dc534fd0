"""Generator and discriminator built from the options of gan_lab.py.

`end` is "g" for the generator or "d" for the discriminator, as in --hidden-g and --hidden-d.
"""

import dataclasses
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from lab.data.datasets import DatasetSpec
from lab.errors import Mistake
from lab.models import DISCRIMINATORS, GENERATORS, build, channels_for, full_maps_for, parameters_of
from lab.options import as_typed

GREY_GAMMA, COLOUR_GAMMA = 1.0, 2.0  # of the R1 penalty: benchmarks/CIFAR10.md


def suited_to(options: Any, shape: tuple[int, int, int], given: Collection[str] = ()) -> Any:
    """The options with the defaults that depend on the `shape` of the images.

    given: the options that were on the command line. Mistake for "none" where some are needed.
    """
    parameters = {end: parameters_of(*architecture(options, end)) for end in "gd"}
    filled: dict[str, Any] = {}
    if options.r1_gamma is None:
        filled["r1_gamma"] = GREY_GAMMA if shape[0] == 1 else COLOUR_GAMMA
    both = all("full_maps" in names for names in parameters.values())
    if not both and "full_maps" not in given:  # the recipe's may be of other networks
        filled["full_maps"] = 0
    elif options.full_maps is None:
        filled["full_maps"] = full_maps_for(shape)
    default = channels_for(shape)
    for end, channels in {"g": default, "d": default[::-1]}.items():
        if not vars(options)[name := f"channels_{end}"]:
            has_channels = "channels" in parameters[end]
            if has_channels and name in given:
                kind, cure = architecture(options, end)[1], f"give --network-{end} mlp"
                what = f"the network {kind} needs some; leave it out, or {cure}"
                raise Mistake(f"--channels-{end} none: {what}")
            filled[name] = channels if has_channels else ()
    return dataclasses.replace(options, **filled)


def build_networks(options: Any, spec: DatasetSpec) -> tuple[nn.Module, nn.Module]:
    """The generator and the discriminator that the options describe, freshly initialised."""
    classes = {"classes": len(spec.class_names)} if options.conditional else {}
    return _build(options, "g", spec.shape, **classes), _build(options, "d", spec.shape, **classes)


def architecture(options: Any, end: str) -> tuple[dict[str, type[nn.Module]], str]:
    """GENERATORS or DISCRIMINATORS, and the key of the network: dcgan if there are channels."""
    if end == "g":
        kinds, kind, channels = GENERATORS, options.network_g, options.channels_g
    else:
        kinds, kind, channels = DISCRIMINATORS, options.network_d, options.channels_d
    return kinds, kind or ("mlp" if channels == () else "dcgan")


def _build(options: Any, end: str, shape: tuple[int, int, int], **classes: int) -> nn.Module:
    """The generator or the discriminator; ValueError for options that do not fit together."""
    own = {part: vars(options)[f"{part}_{end}"] for part in ("hidden", "channels")}
    arguments = {**vars(options), "shape": shape, **classes, **own}
    return build(*architecture(options, end), **arguments)


def check_networks(options: Any, shape: tuple[int, int, int]) -> None:
    """Mistake for channels or a pyramid that do not suit the architecture or the image shape."""
    for end in ("g", "d"):
        kinds, kind = architecture(options, end)
        channels = vars(options)[f"channels_{end}"]
        typed = as_typed(f"channels_{end}", vars(options))
        parameters = parameters_of(kinds, kind)
        if channels and "channels" not in parameters:
            cure = f"give --channels-{end} none, or another --network-{end}"
            raise Mistake(f"{typed}: the network {kind} has no convolutions; {cure}")
        if options.full_maps and "full_maps" not in parameters:
            cure = f"give --full-maps 0, or --network-{end} dcgan"
            raise Mistake(f"--full-maps {options.full_maps}: the network {kind} has none; {cure}")
        if end == "d" and options.pyramid and "pyramid" not in parameters:
            raise Mistake(f"--network-d {kind}: has no layers for --pyramid; add --no-pyramid")
        try:
            with torch.device("meta"):  # shapes only, no memory
                _build(options, end, shape)
        except ValueError as error:
            if not channels or "pyramid" in str(error):
                raise Mistake(f"--pyramid: {error}; add --no-pyramid") from None
            raise Mistake(f"{typed}: {error}; give fewer") from None
