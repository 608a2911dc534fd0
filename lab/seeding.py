"""Independent random generators, one for each purpose, all from one seed.

Because they are independent, drawing more numbers for one purpose (more sample grids, for example)
does not change another (the initial weights).
"""

import hashlib

import torch


def seed_for(seed: int, purpose: str) -> int:
    """A 63-bit seed, the SHA-256 hash of `seed` and `purpose`."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, purpose: str, device: str | torch.device = "cpu") -> torch.Generator:
    """A random generator for `purpose` on `device`."""
    return torch.Generator(device=device).manual_seed(seed_for(seed, purpose))


def per_image_noise(count: int, shape: tuple[int, ...], seed: int, purpose: str) -> torch.Tensor:
    """Standard normal noise (count, *shape); row i does not depend on `count`."""
    streams = (stream(seed, f"{purpose}/{index}") for index in range(count))
    return torch.stack([torch.randn(shape, generator=each) for each in streams])
