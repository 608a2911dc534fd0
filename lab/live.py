"""The generator as a short list of operations that a web page can run without a library.

`torch.fx` reads the network, whatever its forward pass looks like; each step becomes one of a
handful of operations that `page/generator.js` knows forwards and backwards. What it does not know
is refused with the reason (`Unsuited`), and what it makes of the weights is held against the
network itself before it is handed out.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from lab import chance, models

MOST_BYTES = 5_500_000  # of weights at 16 bits: 7.4 MB once written as text
MOST_LEVELS_OFF = 2  # grey levels between the page's pixels and the network's
DIRECTIONS = 8
PROBES = 4_000  # latents the principal directions are found from

# What only changes shape or type: the page holds every result as a row of 32-bit numbers.
RESHAPES = {
    "float",
    "view",
    "reshape",
    "flatten",
    "contiguous",
    nn.Flatten,
    nn.Unflatten,
    torch.flatten,
}
SKIPPED = {nn.Dropout, nn.Identity}
ACTIVITIES = {"silu": functional.silu, "tanh": torch.tanh, "clip": models.Clip()}


class Unsuited(Exception):
    """This network cannot run in a page; the message says why, for people."""


@dataclass
class Operation:
    """One step: reads earlier results (0 is the latent, i the result of operation i - 1).

    kind and weights: linear (weight (out, in), bias (out,)), affine (scale and shift, (width,)),
    doubling (weight (maps in, maps out, 4, 4), bias (maps out,)), add, leaky_relu (slope), silu,
    tanh, clip, layer_norm and rms_norm (eps). Maps are rows of numbers, too: one map after another.
    """

    kind: str
    inputs: list[int]
    facts: dict[str, float] = field(default_factory=dict)
    weights: list[Tensor] = field(default_factory=list)


@dataclass
class Live:
    """What the page needs. weights: all operations' numbers as float16, little-endian, in order."""

    operations: list[dict[str, Any]]
    weights: bytes
    directions: list[list[float]]  # (DIRECTIONS, latent_dim): one standard deviation each
    shares: list[float]  # of the first hidden layer's variance along each direction
    levels_off: int  # the largest difference found from the network, in grey levels


def export(generator: nn.Module) -> Live:
    """The page's copy of `generator`; raises Unsuited, with the reason, where there is none."""
    operations = operations_of(generator)
    size = 2 * sum(weight.numel() for step in operations for weight in step.weights)
    if size > MOST_BYTES:
        raise Unsuited(
            f"its weights take {size / 1e6:.1f} MB, and a page of at most 12 MB has room for "
            f"{MOST_BYTES / 1e6:.1f} MB"
        )
    for step in operations:
        step.weights = [weight.half().float() for weight in step.weights]
    latent_dim = generator.config["latent_dim"]
    latents = torch.randn(64, latent_dim, generator=chance.stream(0, "page check"))
    wanted = models.generate(generator, latents).flatten(1)
    pixels = evaluate(operations, latents)[-1]
    levels_off = int((models.to_levels(pixels.clone()).int() - wanted.int()).abs().max())
    if levels_off > MOST_LEVELS_OFF:
        raise Unsuited(f"at 16 bits its images differ by up to {levels_off} of 256 grey levels")
    directions, shares = principal_directions(operations, latent_dim)
    if not all(torch.isfinite(part).all() for part in (pixels, directions, shares)):
        raise Unsuited("at 16 bits its images are not numbers")
    return Live(
        operations=[
            {
                "kind": step.kind,
                "inputs": step.inputs,
                "shapes": [list(weight.shape) for weight in step.weights],
                **step.facts,
            }
            for step in operations
        ],
        weights=b"".join(
            weight.half().numpy().astype("<f2").tobytes()
            for step in operations
            for weight in step.weights
        ),
        directions=[[round(value, 5) for value in row] for row in directions.tolist()],
        shares=[round(value, 4) for value in shares.tolist()],
        levels_off=levels_off,
    )


class Tracer(fx.Tracer):
    """Takes `models.Clip` as a whole: its gradient is not that of the steps it is written with."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether a module is one operation."""
        return isinstance(module, models.Clip) or super().is_leaf_module(module, name)


def operations_of(generator: nn.Module) -> list[Operation]:
    """Read the network's forward pass; its last operation makes the pixels."""
    try:
        graph = Tracer().trace(generator)
    except Exception as error:  # a forward pass may hold anything, and tracing raises as freely
        raise Unsuited(f"its forward pass cannot be read ({type(error).__name__})") from None
    modules = dict(generator.named_modules())
    operations: list[Operation] = []
    place: dict[fx.Node, int] = {}  # which result a node of the graph is

    for node in graph.nodes:
        if node.op == "placeholder":
            place[node] = 0
        elif node.op == "output":
            if place[node.args[0]] != len(operations):
                raise Unsuited("its last step is not the one that makes the image")
        elif node.op != "get_attr":  # constants are fetched where they are used
            inputs = [place[arg] for arg in node.args if arg in place]
            target = modules[node.target] if node.op == "call_module" else node.target
            for kind, facts, weights in operations_for(target, node, generator):
                if type(target) is nn.BatchNorm2d:  # one scale a map: the same for all its places
                    latent = torch.zeros(1, generator.config["latent_dim"])
                    width = evaluate(operations, latent)[inputs[0]].shape[1]
                    weights = [row.repeat_interleave(width // len(row)) for row in weights]
                operations.append(Operation(kind, inputs, facts, weights))
                inputs = [len(operations)]
            place[node] = inputs[0]
    return operations


def operations_for(
    target: Any, node: fx.Node, generator: nn.Module
) -> list[tuple[str, dict[str, float], list[Tensor]]]:
    """The operations, (kind, facts, weights) each, that a node of the graph becomes."""
    name = type(target) if isinstance(target, nn.Module) else target
    if name in RESHAPES or name in SKIPPED:
        return []
    if name is nn.Linear:
        bias = torch.zeros(target.out_features) if target.bias is None else target.bias
        return [("linear", {}, [target.weight.detach(), bias.detach()])]
    if name is nn.ConvTranspose2d and _doubles(target):
        bias = torch.zeros(target.out_channels) if target.bias is None else target.bias
        return [("doubling", {}, [target.weight.detach(), bias.detach()])]
    if name in (torch.matmul, operator.matmul) and node.args[1].op == "get_attr":
        matrix = operator.attrgetter(node.args[1].target)(generator).detach()
        return [("linear", {}, [matrix.T, torch.zeros(matrix.shape[1])])]
    if name in (nn.BatchNorm1d, nn.BatchNorm2d):
        scale, shift = _gain(target)
        scale = scale * (target.running_var + target.eps).rsqrt()
        return [("affine", {}, [scale, shift - target.running_mean * scale])]
    if name in (nn.LayerNorm, nn.RMSNorm):
        kind = "layer_norm" if name is nn.LayerNorm else "rms_norm"
        eps = torch.finfo(torch.float32).eps if target.eps is None else target.eps
        return [(kind, {"eps": eps}, []), ("affine", {}, list(_gain(target)))]
    if name in (nn.LeakyReLU, nn.ReLU, functional.relu, torch.relu, "relu"):
        return [("leaky_relu", {"slope": getattr(target, "negative_slope", 0.0)}, [])]
    if name in (nn.SiLU, functional.silu):
        return [("silu", {}, [])]
    if name in (nn.Tanh, torch.tanh, "tanh"):
        return [("tanh", {}, [])]
    if name is models.Clip:
        return [("clip", {}, [])]
    if name in (operator.add, torch.add) and all(
        isinstance(arg, fx.Node) and arg.op != "get_attr" for arg in node.args
    ):
        return [("add", {}, [])]
    raise Unsuited(f"the page knows no {getattr(name, '__name__', name)!r}")


def _doubles(layer: nn.ConvTranspose2d) -> bool:
    """Whether it is the transposed convolution that `models.Generator` has."""
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.output_padding, layer.groups)
    return shape == ((4, 4), (2, 2), (1, 1), (0, 0), 1)


def _gain(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """A normalisation's learned scale and shift, where it has them."""
    width = getattr(norm, "num_features", None) or norm.normalized_shape[0]
    scale, shift = norm.weight, getattr(norm, "bias", None)
    return (
        torch.ones(width) if scale is None else scale.detach(),
        torch.zeros(width) if shift is None else shift.detach(),
    )


def evaluate(operations: list[Operation], latents: Tensor) -> list[Tensor]:
    """Every result of `operations` on latents (N, latent_dim): (N, width) each, as in a page."""
    results = [latents]
    for step in operations:
        first, *others = (results[index] for index in step.inputs)
        if step.kind == "linear":
            result = functional.linear(first, *step.weights)
        elif step.kind == "doubling":
            weight, bias = step.weights
            side = math.isqrt(first.shape[1] // len(weight))
            maps = first.view(-1, len(weight), side, side)
            result = functional.conv_transpose2d(maps, weight, bias, stride=2, padding=1).flatten(1)
        elif step.kind == "affine":
            result = first * step.weights[0] + step.weights[1]
        elif step.kind == "add":
            result = first + others[0]
        elif step.kind == "leaky_relu":
            result = functional.leaky_relu(first, step.facts["slope"])
        elif step.kind == "layer_norm":
            result = functional.layer_norm(first, first.shape[1:], eps=step.facts["eps"])
        elif step.kind == "rms_norm":
            result = functional.rms_norm(first, first.shape[1:], eps=step.facts["eps"])
        else:
            result = ACTIVITIES[step.kind](first)
        results.append(result)
    return results


def principal_directions(operations: list[Operation], latent_dim: int) -> tuple[Tensor, Tensor]:
    """Directions (DIRECTIONS, latent_dim) that move the first hidden layer most, and their shares.

    Principal components of its activity over random latents, carried back to the latents by linear
    regression: Härkönen et al. 2020, "GANSpace", section 2.2.
    """
    latents = torch.randn(PROBES, latent_dim, generator=chance.stream(0, "page directions"))
    activities = {"leaky_relu", *ACTIVITIES}
    first = next(i for i, step in enumerate(operations, 1) if step.kind in activities)
    activity = evaluate(operations[:first], latents)[-1]  # (PROBES, width)
    activity = activity - activity.mean(0)
    variances, axes = torch.linalg.eigh(activity.T @ activity / PROBES)  # ascending
    count = min(DIRECTIONS, len(variances), latent_dim)
    variances, axes = variances.flip(0), axes.flip(1)[:, :count]
    # An axis has no sign of its own: its largest entry shall be positive, on every machine.
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    coordinates = activity @ axes / variances[:count].clamp(min=1e-12).sqrt()  # (PROBES, count)
    return coordinates.T @ latents / PROBES, variances[:count] / variances.sum()
