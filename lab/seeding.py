"""Seeds: one stream of random numbers a purpose, all of them decided by one seed.

Streams are independent, so that drawing more from one (asking for more sample grids, say) changes
nothing that another decides (the weights).
"""

from __future__ import annotations

import hashlib

import torch


def seed_for(seed: int, purpose: str) -> int:
    """A 63-bit seed for `purpose`, unrelated to those of other purposes and of other seeds."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, purpose: str, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator of random numbers for `purpose` on `device`."""
    return torch.Generator(device=device).manual_seed(seed_for(seed, purpose))


def per_image_noise(count: int, shape: tuple[int, ...], seed: int, purpose: str) -> torch.Tensor:
    """Standard normal noise (count, *shape) in which row i is the same whatever `count` is."""
    streams = (stream(seed, f"{purpose}/{index}") for index in range(count))
    return torch.stack([torch.randn(shape, generator=each) for each in streams])
