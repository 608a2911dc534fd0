"""Export of a generator to a list of operations that a web page can run without a library.

Each layer becomes an operation whose forward and backward pass are in templates/generator.js. Other
layers raise `NotExportable`. The images of the exported operations, with weights rounded to 16
bits, are compared with those of the generator.
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
from lab.models.sampling import generate, random_latents
from lab.seeding import stream

MAX_BYTES = 6_500_000  # of float16 weights; 8.7 MB in base64
TOLERANCE = 2  # largest difference of a pixel, of 256 levels
DIRECTIONS = 8  # principal directions in latent space
PROBES = 4_000  # random latents for their computation

ACTIVATIONS = {"tanh": torch.tanh, "clip": Clip()}


class NotExportable(Exception):
    """The generator cannot run in a page; the message is the reason."""


@dataclass
class Operation:
    """An operation on the result of the previous one; the first input is the latent.

    For a conditional generator the input is the latent followed by the one-hot class. Feature maps
    are flattened: every result is (N, width).

    Kinds, with weights and facts: linear (weight (out, in), bias (out,)); affine (scale (width,),
    shift (width,)); transposed convolution (weight (in, out, 4, 4), bias (out,); height and width
    of its inputs, stride); leaky_relu (slope); tanh; clip.
    """

    kind: str
    facts: dict[str, float] = field(default_factory=dict)
    weights: list[Tensor] = field(default_factory=list)


def export(generator: nn.Module) -> dict[str, Any]:
    """Export `generator` for a page; raises NotExportable, with the reason, if that is impossible.

    The dictionary has latent: the latent dimension; operations: kind, shapes and facts of each;
    weights: all weights as little-endian float16 bytes; directions: at most DIRECTIONS vectors in
    latent space, one standard deviation long; shares: the share of the first hidden layer's
    variance along each direction.
    """
    operations = operations_of(generator)
    size = 2 * sum(weight.numel() for step in operations for weight in step.weights)
    if size > MAX_BYTES:
        room = f"a page of at most 12 MB has room for {MAX_BYTES / 1e6:.1f} MB"
        raise NotExportable(f"its weights take {size / 1e6:.1f} MB, and {room}")
    for step in operations:
        step.weights = [weight.half().float() for weight in step.weights]
        if not all(torch.isfinite(weight).all() for weight in step.weights):
            raise NotExportable("at 16 bits its weights are not finite")
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
    """NotExportable if the operations do not reproduce the generator's images."""
    latents = random_latents(generator, 64, "page check")
    wanted = generate(generator, latents).flatten(1)
    if classes := getattr(generator, "classes", 0):
        in_turn = one_hot(classes_in_turn(len(latents), classes), classes)
        latents = torch.cat((latents, in_turn), 1)
    try:
        pixels = evaluate(operations, latents)
    except RuntimeError:  # shapes that do not fit together
        raise NotExportable("its layers do not follow one after another") from None
    if not torch.isfinite(pixels).all():
        raise NotExportable("at 16 bits its images are not finite")
    difference = int((to_levels(pixels).int() - wanted.int()).abs().max())
    if difference > TOLERANCE:
        raise NotExportable(f"at 16 bits its images differ by up to {difference} of 256 levels")


def operations_of(generator: nn.Module) -> list[Operation]:
    """The operations of the generator's layers; NotExportable if it has other parts."""
    if not (hasattr(generator, "layers") and hasattr(generator, "output")):
        raise NotExportable(f"the page does not support {type(generator).__name__}")
    operations: list[Operation] = []
    height, width = 1, 1  # of the feature maps; 1 x 1 after a linear layer
    for layer in (*generator.layers, generator.output):
        if type(layer) is nn.Unflatten:
            _, height, width = layer.unflattened_size
            continue
        operations.append(operation_of(layer, height, width))
        stride = operations[-1].facts.get("stride", 1)
        height, width = stride * height, stride * width
    if getattr(generator, "classes", 0):
        # Multiply the label embeddings by their weights in the first layer: one column per class.
        weight, width = operations[0].weights[0], generator.latent_dim
        columns = weight[:, width:] @ generator.labelled.weight.detach().T
        operations[0].weights[0] = torch.cat((weight[:, :width], columns), 1)
    return operations


def operation_of(layer: nn.Module, height: int, width: int) -> Operation:
    """The operation of a layer whose inputs are feature maps of this size; else NotExportable."""
    if type(layer) in (nn.Linear, nn.ConvTranspose2d, nn.Conv2d):
        outputs = layer.weight.shape[1 if type(layer) is nn.ConvTranspose2d else 0]
        bias = torch.zeros(outputs) if layer.bias is None else layer.bias.detach()
        weight = layer.weight.detach()
        if type(layer) is nn.Linear:
            return Operation("linear", weights=[weight, bias])
        if type(layer) is nn.Conv2d:  # a transposed convolution with the kernel rotated by 180°
            if layer.kernel_size != (3, 3):
                raise NotExportable(f"the page has no convolutions of {layer.kernel_size}")
            weight = functional.pad(weight.flip(2, 3).transpose(0, 1), (0, 1, 0, 1)).contiguous()
        facts = {"height": height, "width": width, "stride": layer.stride[0]}
        return Operation("transposed", facts, [weight, bias])
    if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d):
        scale = layer.weight.detach() * (layer.running_var + layer.eps).rsqrt()
        rows = [scale, layer.bias.detach() - layer.running_mean * scale]
        # Repeat the scale of each feature map for all its pixels.
        return Operation("affine", weights=[row.repeat_interleave(height * width) for row in rows])
    if type(layer) in (nn.LeakyReLU, nn.ReLU):
        return Operation("leaky_relu", {"slope": getattr(layer, "negative_slope", 0.0)})
    if type(layer) in (nn.Tanh, Clip):
        return Operation(type(layer).__name__.lower())
    raise NotExportable(f"the page does not support {type(layer).__name__}")


def evaluate(operations: Sequence[Operation], latents: Tensor) -> Tensor:
    """The result (N, width) of the operations on latents (N, latent_dim), as in a page."""
    result = latents
    for step in operations:
        if step.kind == "linear":
            result = functional.linear(result, *step.weights)
        elif step.kind == "transposed":
            (weight, bias), (height, width, stride) = step.weights, step.facts.values()
            maps = result.view(-1, len(weight), height, width)
            maps = functional.conv_transpose2d(maps, weight, bias, stride, padding=1)
            result = maps[:, :, : stride * height, : stride * width].flatten(1)
        elif step.kind == "affine":
            result = result * step.weights[0] + step.weights[1]
        elif step.kind == "leaky_relu":
            result = functional.leaky_relu(result, step.facts["slope"])
        else:
            result = ACTIVATIONS[step.kind](result)
    return result


def principal_directions(
    operations: Sequence[Operation], latent_dim: int, classes: int = 0
) -> tuple[Tensor, Tensor]:
    """Directions (at most DIRECTIONS, latent_dim) in latent space, and their shares of variance.

    The principal components of the first hidden layer over random latents, mapped to the latents by
    linear regression: Härkönen et al. 2020, "GANSpace", section 2.2.
    """
    latents = torch.randn(PROBES, latent_dim, generator=stream(0, "page directions"))
    activations = {"leaky_relu", *ACTIVATIONS}
    first = next(i for i, step in enumerate(operations, 1) if step.kind in activations)
    shares = torch.full((PROBES, classes), 1 / max(1, classes))  # the mean over all classes
    activity = evaluate(operations[:first], torch.cat((latents, shares), 1))  # (PROBES, width)
    activity = activity - activity.mean(0)
    variances, axes = torch.linalg.eigh(activity.T @ activity / PROBES)  # ascending
    count = min(DIRECTIONS, len(variances), latent_dim)
    variances, axes = variances.flip(0).clamp(min=1e-12), axes.flip(1)[:, :count]  # divisors
    # The sign of an eigenvector is arbitrary; make its largest entry positive on every machine.
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    coordinates = activity @ axes / variances[:count].sqrt()  # (PROBES, count)
    return coordinates.T @ latents / PROBES, variances[:count] / variances.sum()
