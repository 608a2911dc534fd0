"""Walks through a latent space, and the training images nearest to generated ones."""

import dataclasses

import pytest
import torch

from lab.data import load_sample
from lab.evaluation import latent_space
from lab.models import GENERATORS, build


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 20)])
def test_walks_are_rows_of_the_sets_shape_and_always_the_same(shape: tuple[int, int, int]):
    torch.manual_seed(0)
    generator = build(GENERATORS, "mlp", shape=shape, latent_dim=8, hidden=[16])
    rows = latent_space.walks(generator)
    assert [label for label, _ in rows] == ["walk 1", "walk 2", "walk 3", "walk 4"]
    assert {images.shape for _, images in rows} == {(11, *shape)}
    again = latent_space.walks(generator)
    pairs = zip(rows, again, strict=True)
    assert all(torch.equal(one, two) for (_, one), (_, two) in pairs)
    assert not torch.equal(rows[0][1][0], rows[1][1][0])


def test_the_nearest_image_is_found_across_chunks(monkeypatch: pytest.MonkeyPatch):
    images = load_sample("mnist").train_images[:100]
    wanted = torch.tensor([99, 0, 42])
    dimmed = (images[wanted].float() * 0.97).to(torch.uint8)
    monkeypatch.setattr(latent_space, "MAX_NUMBERS", 7 * 784)
    assert torch.equal(latent_space.nearest(dimmed, images), wanted)


def test_generated_images_stand_above_the_nearest_of_the_training_set():
    sample = load_sample("mnist")
    generator = build(GENERATORS, "mlp", shape=sample.spec.shape, latent_dim=8, hidden=[16])
    (_, generated), _ = latent_space.nearest_training(generator, sample)
    planted = sample.train_images.clone()
    planted[-10:] = generated
    rows = latent_space.nearest_training(
        generator, dataclasses.replace(sample, train_images=planted)
    )
    assert [label for label, _ in rows] == ["generated", "nearest real"]
    assert torch.equal(rows[0][1], rows[1][1])


def test_slerp_stays_on_the_sphere():
    start, end = torch.eye(2)
    walk = latent_space.slerp(start, end, torch.linspace(0, 1, 5))
    assert torch.allclose(walk.norm(dim=1), torch.ones(5))
    assert torch.allclose(walk[[0, -1]], torch.eye(2), atol=1e-6)
    assert torch.allclose(latent_space.slerp(start, 2 * start, torch.tensor([0.5])), 1.5 * start)
