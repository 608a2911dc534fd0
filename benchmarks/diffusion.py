"""A small diffusion model of a public library, to compare the lab's GANs with.

It is examples/fashion_mnist_unet.py of smalldiffusion (pip install smalldiffusion): its U-Net,
noise levels, moving average and sampler, which takes 20 steps. For a few minutes on a processor
batches have 128 images instead of 1,024, and products are bfloat16 where that is fast. Images are
not flipped, because no shoe of the set points to the right.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from lab.data import to_float
from lab.data.pixels import to_levels
from lab.device import bfloat16_is_fast

BATCH, SAMPLING_BATCH = 128, 250
STEPS = 20  # of the sampler
EMA_DECAY = 0.999
CPU = torch.device("cpu")


def trained(images: Tensor, minutes: float, lr: float, seed: int) -> nn.Module:
    """The moving average of a U-Net trained on uint8 images (N, C, S, S) for so many minutes."""
    import smalldiffusion  # late: other benchmarks are used without it

    end = time.monotonic() + 60 * minutes
    torch.manual_seed(seed)
    channels, side = images.shape[1:3]
    unet = smalldiffusion.Scaled(smalldiffusion.Unet)
    model = unet(side, channels, channels, ch=64, ch_mult=(1, 1, 2), attn_resolutions=(side // 2,))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
    loader = DataLoader(to_float(images), BATCH, shuffle=True, drop_last=True)
    steps = smalldiffusion.training_loop(
        loader, model, _schedule(), _accelerator(), epochs=100_000, lr=lr
    )
    for _ in steps:
        average.update_parameters(model)
        if time.monotonic() > end:
            break
    return average.module


@torch.inference_mode()
def samples(model: nn.Module, count: int, seed: int) -> Tensor:
    """uint8 images (count, C, S, S) that the model draws from noise."""
    import smalldiffusion

    torch.manual_seed(seed)
    sigmas, parts = _schedule().sample_sigmas(STEPS), []
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16_is_fast(CPU)):
        for first in range(0, count, SAMPLING_BATCH):
            batch = min(SAMPLING_BATCH, count - first)
            path = smalldiffusion.samples(
                model, sigmas, gam=1.6, batchsize=batch, accelerator=_accelerator()
            )
            *_, images = path
            parts.append(to_levels(images))
    return torch.cat(parts)


def _schedule() -> Any:
    import smalldiffusion

    return smalldiffusion.ScheduleLogLinear(sigma_min=0.01, sigma_max=20, N=800)


def _accelerator() -> Any:
    from accelerate import Accelerator

    return Accelerator(cpu=True, mixed_precision="bf16" if bfloat16_is_fast(CPU) else "no")
