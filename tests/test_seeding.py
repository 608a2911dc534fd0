"""lab/seeding.py: independent and reproducible random generators."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from lab.seeding import per_image_noise, seed_for, stream


def test_streams_are_independent_and_reproducible():
    one = torch.randn(4, generator=stream(3, "latents"))
    assert torch.equal(one, torch.randn(4, generator=stream(3, "latents")))
    assert not torch.equal(one, torch.randn(4, generator=stream(3, "order")))
    assert not torch.equal(one, torch.randn(4, generator=stream(4, "latents")))


@given(st.integers(0, 2**63 - 1), st.text(max_size=20))
def test_seeds_are_valid_for_torch(seed, purpose):
    assert 0 <= seed_for(seed, purpose) < 2**63
    stream(seed, purpose)


def test_seeds_equal_those_of_version_1():
    assert (
        seed_for(0, "weights") == 133_441_691_874_178_746
    )  # as the lab's first version computed it


def test_the_noise_of_an_image_does_not_depend_on_the_count():
    few, many = (per_image_noise(count, (3, 4, 5), 7, "noise") for count in (2, 6))
    assert many.shape == (6, 3, 4, 5)
    assert torch.equal(few, many[:2])
    assert len({image.sum().item() for image in many}) == 6
    assert not torch.equal(few, per_image_noise(2, (3, 4, 5), 8, "noise"))
    assert not torch.equal(few, per_image_noise(2, (3, 4, 5), 7, "masks"))
