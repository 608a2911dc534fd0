"""lab/models/sampling.py: bytes as a PNG holds them, and a generator left as it was."""

from __future__ import annotations

import pytest
import torch

from lab.models import GENERATORS, build, generate


def small(shape=(1, 28, 28)) -> torch.nn.Module:
    return build(GENERATORS, "mlp", shape=shape, latent_dim=4, hidden=(8,), batch_norm=True)


def test_generate_rounds_to_bytes_and_leaves_the_mode_alone():
    generator = small().train()
    latents = torch.randn(10, 4)
    whole = generate(generator, latents)
    assert generator.training
    assert whole.dtype == torch.uint8 and not whole.requires_grad
    parts = generate(generator, latents, batch_size=3)
    assert (whole.int() - parts.int()).abs().max() <= 1  # sums may be taken in another order
    generate(generator.eval(), latents)
    assert not generator.training


@pytest.mark.parametrize("mode", [True, False])
def test_images_are_those_of_evaluation(mode):
    generator, latents = small(), 3 + torch.randn(10, 4)
    generator(latents)  # normalisations have seen something
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    made = generate(generator.train(mode), latents)
    with torch.no_grad():
        exact = (generator.eval()(latents) + 1) * 127.5
    assert (made - exact).abs().max() <= 0.5 + 1e-3
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


@pytest.mark.parametrize("shape", [(3, 20, 20), (3, 32, 32), (1, 8, 12)])
def test_images_have_the_shape_of_their_set(shape):
    assert generate(small(shape), torch.randn(5, 4), batch_size=2).shape == (5, *shape)
