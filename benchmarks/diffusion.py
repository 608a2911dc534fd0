"""A small diffusion model of a public library, to compare the lab's GANs with.

It is examples/fashion_mnist_unet.py of smalldiffusion (pip install smalldiffusion): its U-Net,
noise levels, moving average and sampler, which takes 20 steps. For a few minutes on a processor
batches have 128 images instead of 1,024, and products are bfloat16 where that is fast. Images are
not flipped, because no shoe of the set points to the right. All compute where the images are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from lab.data import to_float
from lab.data.pixels import to_levels
from lab.device import bfloat16_is_fast

BATCH = 128
SAMPLING_BATCHES = {"cpu": 250, "cuda": 1_000}
STEPS = 20  # of the sampler
EMA_DECAY = 0.999
LR = 7e-4  # of the example


def images_per_minute(images: Tensor) -> float:
    """How many images a minute of training sees."""
    began, shown = time.monotonic(), 0
    for _ in training(images, LR, 0):
        shown += BATCH
        if time.monotonic() - began > 60:
            return 60 * shown / (time.monotonic() - began)


def trained(images: Tensor, counts: Sequence[int], lr: float, seed: int) -> list[nn.Module]:
    """Moving averages of a U-Net after each of so many uint8 images (N, C, S, S).

    One training has them all, because its learning rate stays as it is.
    """
    shown, found = 0, []
    for average in training(images, lr, seed):
        shown += BATCH
        found += [deepcopy(average.module) for count in counts if shown - BATCH < count <= shown]
        if len(found) == len(counts):
            return found


def training(images: Tensor, lr: float, seed: int) -> Iterator[AveragedModel]:
    """The moving average of the U-Net after each step, without end."""
    import smalldiffusion  # late: other benchmarks are used without it

    torch.manual_seed(seed)
    channels, side = images.shape[1:3]
    unet = smalldiffusion.Scaled(smalldiffusion.Unet)
    model = unet(side, channels, channels, ch=64, ch_mult=(1, 1, 2), attn_resolutions=(side // 2,))
    model.to(images.device)
    average = AveragedModel(model, multi_avg_fn=_average)
    loader = DataLoader(to_float(images.cpu()), BATCH, shuffle=True, drop_last=True)
    accelerator = _accelerator(images.device)
    steps = smalldiffusion.training_loop(
        loader, model, _schedule(), accelerator, epochs=100_000, lr=lr
    )
    for _ in steps:
        average.update_parameters(model)
        yield average


def _average(averages: list[Tensor], weights: list[Tensor], count: Tensor | int) -> None:
    """Update averages, shorter ones at the start: as torch_ema, which the example uses."""
    decay = min(EMA_DECAY, (1 + int(count)) / (10 + int(count)))
    torch._foreach_lerp_(averages, weights, 1 - decay)


@torch.inference_mode()
def samples(model: nn.Module, count: int, seed: int) -> Tensor:
    """uint8 images (count, C, S, S) that the model draws from noise."""
    import smalldiffusion

    torch.manual_seed(seed)
    device = next(model.parameters()).device
    sigmas, parts, most = _schedule().sample_sigmas(STEPS), [], SAMPLING_BATCHES[device.type]
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device)):
        for first in range(0, count, most):
            batch = min(most, count - first)
            path = smalldiffusion.samples(
                model, sigmas, gam=1.6, batchsize=batch, accelerator=_accelerator(device)
            )
            *_, images = path
            parts.append(to_levels(images).cpu())
    return torch.cat(parts)


def _schedule() -> Any:
    import smalldiffusion

    return smalldiffusion.ScheduleLogLinear(sigma_min=0.01, sigma_max=20, N=800)


def _accelerator(device: torch.device) -> Any:
    from accelerate import Accelerator

    precision = "bf16" if bfloat16_is_fast(device) else "no"
    return Accelerator(cpu=device.type == "cpu", mixed_precision=precision)
