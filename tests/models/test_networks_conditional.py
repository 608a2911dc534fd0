"""Conditional networks: the effect of labels, saving and loading."""

from __future__ import annotations

import pytest
import torch

from lab.data import DATASETS
from lab.models import DISCRIMINATORS, GENERATORS, build, generate
from lab.models.layers import LabelProjection
from lab.models.serialization import load_weights, save_weights

SHAPE = (1, 28, 28)


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_a_generator_makes_another_image_for_another_label(kind):
    generator = build(GENERATORS, kind, shape=SHAPE, latent_dim=4, hidden=[8], classes=3)
    latent = torch.randn(1, 4).expand(3, 4)
    images = generator(latent, torch.tensor([0, 1, 1]))
    # Not equal to the last bit: some processors round the rows of a batch differently.
    torch.testing.assert_close(images[1], images[2])
    assert not torch.allclose(images[0], images[1], atol=1e-3)


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_a_discriminator_adds_the_projection_of_the_label(kind):
    network = build(DISCRIMINATORS, kind, shape=SHAPE, hidden=[8], classes=3)
    images = torch.randn(5, *SHAPE)
    labels = torch.tensor([0, 1, 2, 0, 1])
    with torch.no_grad():
        before = network(images, labels)
        network.projection.weight[0] = 0
        after = network(images, labels)
    assert torch.equal(before[labels != 0], after[labels != 0])
    assert not torch.equal(before[labels == 0], after[labels == 0])


def test_the_projection_is_the_product_of_embedding_and_features():
    weight = (projection := LabelProjection(300, 4)).weight
    found = projection(2 * torch.eye(4)[:3], torch.tensor([7, 0, 7])).squeeze(1)
    assert torch.equal(found, 2 * torch.stack((weight[7, 0], weight[0, 1], weight[7, 2])))
    assert weight.std().item() == pytest.approx(0.5, rel=0.1)  # so that its terms are about 1


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_a_conditional_generator_is_rebuilt_and_takes_the_classes_in_turn(kind, tmp_path):
    generator = build(GENERATORS, kind, shape=SHAPE, latent_dim=4, hidden=[8], classes=10).eval()
    save_weights(tmp_path / "generator.pth", generator, DATASETS["mnist"])
    rebuilt = load_weights(tmp_path / "generator.pth", "generator").network
    latents = torch.randn(23, 4)
    wanted = generate(generator, latents, torch.arange(23) % 10)
    assert rebuilt.classes == 10
    assert torch.equal(generate(rebuilt, latents, batch_size=7), wanted)
