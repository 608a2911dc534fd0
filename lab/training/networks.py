"""The two networks that the options of gan_lab.py describe; channels that suit the images."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from lab.data.datasets import DatasetSpec
from lab.errors import Mistake
from lab.models import DISCRIMINATORS, GENERATORS, build, channels_for, parameters_of
from lab.options import said


def with_channels(options: Any, shape: tuple[int, int, int]) -> Any:
    """The options with the channels that suit images of `shape`, where they are left out."""
    suited, filled = channels_for(shape), {}
    for end, widths in {"g": suited, "d": suited[::-1]}.items():
        if not vars(options)[f"channels_{end}"]:
            takes = "channels" in parameters_of(*_architecture(options, end))
            filled[f"channels_{end}"] = widths if takes else ()
    return dataclasses.replace(options, **filled)


def build_networks(options: Any, spec: DatasetSpec) -> tuple[nn.Module, nn.Module]:
    """The generator and the discriminator that the options describe, freshly initialised."""
    classes = {"classes": len(spec.class_names)} if options.conditional else {}
    return _build(options, "g", spec.shape, **classes), _build(options, "d", spec.shape, **classes)


def _architecture(options: Any, end: str) -> tuple[dict[str, type[nn.Module]], str]:
    """The table, and the name of its row, of the generator "g" or the discriminator "d"."""
    if end == "g":
        return GENERATORS, options.generator
    return DISCRIMINATORS, options.discriminator


def _build(options: Any, end: str, shape: tuple[int, int, int], **classes: int) -> nn.Module:
    """A network of the options; ValueError if they build none."""
    own = {part: vars(options)[f"{part}_{end}"] for part in ("hidden", "channels")}
    offered = {**vars(options), "shape": shape, **classes, **own}
    return build(*_architecture(options, end), **offered)


def check_networks(options: Any, shape: tuple[int, int, int]) -> None:
    """Mistake for channels or a pyramid that an architecture or the images' `shape` refuse."""
    for end in ("g", "d"):
        kinds, kind = _architecture(options, end)
        channels, is_said = vars(options)[f"channels_{end}"], said(f"channels_{end}", vars(options))
        taken = parameters_of(kinds, kind)
        if channels and "channels" not in taken:
            cure = f"give --channels-{end} none, or another --network-{end}"
            raise Mistake(f"{is_said}: the network {kind} has no convolutions; {cure}")
        if options.full_maps and "full_maps" not in taken:
            cure = f"leave it out, or give --network-{end} dcgan"
            raise Mistake(f"--full-maps {options.full_maps}: the network {kind} has none; {cure}")
        if end == "d" and options.pyramid and "pyramid" not in taken:
            raise Mistake(
                f"--network-d {kind}: sees pixels, not --pyramid's bands; add --no-pyramid"
            )
        try:
            with torch.device("meta"):  # without memory
                _build(options, end, shape)
        except ValueError as error:
            is_about_bands = not channels or "pyramid" in str(error)
            flag, cure = (
                ("--pyramid", "add --no-pyramid") if is_about_bands else (is_said, "give fewer")
            )
            raise Mistake(f"{flag}: {error}; {cure}") from None
