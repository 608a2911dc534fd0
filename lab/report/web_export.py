"""The generator as a short list of operations that a web page can run without a library.

Each of its layers becomes one of a handful of operations that templates/generator.js knows forwards
and backwards. What it does not know is refused with the reason (`Unsuited`), and what it makes of
the weights is held against the network itself before it is handed out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import one_hot

from lab.data.pixels import to_levels
from lab.models.layers import Clip, classes_in_turn
from lab.models.sampling import generate
from lab.seeding import stream

MOST_BYTES = 6_500_000  # of weights at 16 bits: 8.7 MB once written as text
MOST_LEVELS_OFF = 2  # levels of 256 between the page's pixels and the network's
DIRECTIONS = 8
PROBES = 4_000  # latents the principal directions are found from

ACTIVATIONS = {"tanh": torch.tanh, "clip": Clip()}


class Unsuited(Exception):
    """This network cannot run in a page; the message says why, for people."""


@dataclass
class Operation:
    """One step, from the result of the one before; the first reads the latent.

    Of a conditional generator it reads the latent and a number a class: 1 for the one asked for.

    kind and weights: linear (weight (out, in), bias (out,)), affine (scale and shift, (width,)),
    transposed (convolution: height and width of the maps, stride; weight (maps in, maps out, 4, 4),
    bias (maps out,)),
    leaky_relu (slope), tanh, clip. Results are rows of numbers, maps too: one map after another.
    """

    kind: str
    facts: dict[str, float] = field(default_factory=dict)
    weights: list[Tensor] = field(default_factory=list)


def export(generator: nn.Module) -> dict[str, Any]:
    """The page's copy of `generator`; raises Unsuited, with the reason, where there is none.

    latent: how many random numbers it takes. operations: kind, shapes and facts of each. weights:
    the bytes of all their numbers as float16, little-endian, in order. directions: at most
    DIRECTIONS lists of `latent` numbers, one standard deviation each. shares: of the first hidden
    layer's variance along each direction.
    """
    operations = operations_of(generator)
    size = 2 * sum(weight.numel() for step in operations for weight in step.weights)
    if size > MOST_BYTES:
        raise Unsuited(
            f"its weights take {size / 1e6:.1f} MB, and a page of at most 12 MB has room for "
            f"{MOST_BYTES / 1e6:.1f} MB"
        )
    for step in operations:
        step.weights = [weight.half().float() for weight in step.weights]
        if not all(torch.isfinite(weight).all() for weight in step.weights):
            raise Unsuited("at 16 bits its weights are not numbers")
    _check_images(operations, generator)
    classes = getattr(generator, "classes", 0)
    directions, shares = principal_directions(operations, generator.latent_dim, classes)
    weights = [each.half().numpy().astype("<f2") for step in operations for each in step.weights]
    return {
        "latent": generator.latent_dim,
        "operations": [
            {"kind": step.kind, "shapes": [list(each.shape) for each in step.weights], **step.facts}
            for step in operations
        ],
        "weights": b"".join(numbers.tobytes() for numbers in weights),
        "directions": [[round(value, 5) for value in row] for row in directions.tolist()],
        "shares": [round(value, 4) for value in shares.tolist()],
    }


def _check_images(operations: Sequence[Operation], generator: nn.Module) -> None:
    """Unsuited if the operations do not make the images that the generator makes."""
    latents = torch.randn(64, generator.latent_dim, generator=stream(0, "page check"))
    wanted = generate(generator, latents).flatten(1)
    if classes := getattr(generator, "classes", 0):
        in_turn = one_hot(classes_in_turn(len(latents), classes), classes)
        latents = torch.cat((latents, in_turn), 1)
    try:
        pixels = evaluate(operations, latents)[-1]
    except RuntimeError:  # of shapes that do not fit together
        raise Unsuited("its layers do not follow one after another") from None
    if not torch.isfinite(pixels).all():
        raise Unsuited("at 16 bits its images are not numbers")
    levels_off = int((to_levels(pixels).int() - wanted.int()).abs().max())
    if levels_off > MOST_LEVELS_OFF:
        raise Unsuited(f"at 16 bits its images differ by up to {levels_off} of 256 levels")


def operations_of(generator: nn.Module) -> list[Operation]:
    """The generator layer by layer; Unsuited if it is not a row of layers and an output."""
    if not (hasattr(generator, "layers") and hasattr(generator, "output")):
        raise Unsuited(f"the page knows no {type(generator).__name__}")
    operations: list[Operation] = []
    height, width = 1, 1  # of the maps between two layers; rows of numbers are maps of one place
    for layer in (*generator.layers, generator.output):
        if type(layer) is nn.Unflatten:  # maps stay rows of numbers
            _, height, width = layer.unflattened_size
            continue
        operations.append(operation_of(layer, height, width))
        stride = operations[-1].facts.get("stride", 1)
        height, width = stride * height, stride * width
    if getattr(generator, "classes", 0):
        # A label's embedding times the first layer's weights for it: a column a class.
        weight, width = operations[0].weights[0], generator.latent_dim
        columns = weight[:, width:] @ generator.labelled.weight.detach().T
        operations[0].weights[0] = torch.cat((weight[:, :width], columns), 1)
    return operations


def operation_of(layer: nn.Module, height: int, width: int) -> Operation:
    """What a layer becomes, given maps of this size; Unsuited if the page does not know it."""
    if type(layer) in (nn.Linear, nn.ConvTranspose2d, nn.Conv2d):
        numbers = layer.weight.shape[1 if type(layer) is nn.ConvTranspose2d else 0]
        bias = torch.zeros(numbers) if layer.bias is None else layer.bias.detach()
        weight = layer.weight.detach()
        if type(layer) is nn.Linear:
            return Operation("linear", weights=[weight, bias])
        if type(layer) is nn.Conv2d:  # a transposed one with the kernel turned round
            if layer.kernel_size != (3, 3):
                raise Unsuited(f"the page knows no convolution of {layer.kernel_size}")
            weight = functional.pad(weight.flip(2, 3).transpose(0, 1), (0, 1, 0, 1)).contiguous()
        facts = {"height": height, "width": width, "stride": layer.stride[0]}
        return Operation("transposed", facts, [weight, bias])
    if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d):
        scale = layer.weight.detach() * (layer.running_var + layer.eps).rsqrt()
        rows = [scale, layer.bias.detach() - layer.running_mean * scale]
        # One scale a map: the same for all its places.
        return Operation("affine", weights=[row.repeat_interleave(height * width) for row in rows])
    if type(layer) in (nn.LeakyReLU, nn.ReLU):
        return Operation("leaky_relu", {"slope": getattr(layer, "negative_slope", 0.0)})
    if type(layer) in (nn.Tanh, Clip):
        return Operation(type(layer).__name__.lower())
    raise Unsuited(f"the page knows no {type(layer).__name__}")


def evaluate(operations: Sequence[Operation], latents: Tensor) -> list[Tensor]:
    """Every result of `operations` on latents (N, latent_dim): (N, width) each, as in a page."""
    results = [latents]
    for step in operations:
        before = results[-1]
        if step.kind == "linear":
            result = functional.linear(before, *step.weights)
        elif step.kind == "transposed":
            (weight, bias), (height, width, stride) = step.weights, step.facts.values()
            maps = before.view(-1, len(weight), height, width)
            maps = functional.conv_transpose2d(maps, weight, bias, stride, padding=1)
            result = maps[:, :, : stride * height, : stride * width].flatten(1)
        elif step.kind == "affine":
            result = before * step.weights[0] + step.weights[1]
        elif step.kind == "leaky_relu":
            result = functional.leaky_relu(before, step.facts["slope"])
        else:
            result = ACTIVATIONS[step.kind](before)
        results.append(result)
    return results


def principal_directions(
    operations: Sequence[Operation], latent_dim: int, classes: int = 0
) -> tuple[Tensor, Tensor]:
    """Rows (at most DIRECTIONS, latent_dim) that move the first hidden layer most; their shares.

    Principal components of its activity over random latents, carried back to the latents by linear
    regression: Härkönen et al. 2020, "GANSpace", section 2.2.
    """
    latents = torch.randn(PROBES, latent_dim, generator=stream(0, "page directions"))
    activations = {"leaky_relu", *ACTIVATIONS}
    first = next(i for i, step in enumerate(operations, 1) if step.kind in activations)
    shares = torch.full((PROBES, classes), 1 / max(1, classes))  # the mean of all classes
    activity = evaluate(operations[:first], torch.cat((latents, shares), 1))[-1]  # (PROBES, width)
    activity = activity - activity.mean(0)
    variances, axes = torch.linalg.eigh(activity.T @ activity / PROBES)  # ascending
    count = min(DIRECTIONS, len(variances), latent_dim)
    variances, axes = variances.flip(0), axes.flip(1)[:, :count]
    # An axis has no sign of its own: its largest entry shall be positive, on every machine.
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    coordinates = activity @ axes / variances[:count].clamp(min=1e-12).sqrt()  # (PROBES, count)
    return coordinates.T @ latents / PROBES, variances[:count] / variances.sum()
