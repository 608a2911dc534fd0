"""Pixel ranges: 0..255 in files, [-1, 1] for the GAN, [0, 1] for corruptions."""

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 0..255 of any shape -> float32 in [-1, 1], the range of generator and discriminator."""
    return images.to(torch.float32).mul_(2 / 255).sub_(1)


def to_unit(images: Tensor) -> Tensor:
    """uint8 images of any shape -> float32 in [0, 1], the range in which noise is specified."""
    return images.to(torch.float32) / 255


def to_levels(pixels: Tensor) -> Tensor:
    """[-1, 1] -> uint8, rounded to the nearest of 256 levels; `pixels` is overwritten."""
    return pixels.add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def unit_to_levels(images: Tensor) -> Tensor:
    """float32 in [0, 1] of any shape -> uint8, rounded to the nearest of 256 levels."""
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)
