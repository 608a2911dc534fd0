"""lab/models/sampling.py: generation from latents and from seeds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import Fault
from lab.models import GENERATORS, build, generate, sampling
from lab.models.request import Request
from lab.models.sampling import (
    Batch,
    generate_batches,
    generate_parts,
    latents_of,
    select_classes,
)


def small(shape=(1, 28, 28)) -> torch.nn.Module:
    return build(GENERATORS, "mlp", shape=shape, latent_dim=4, hidden=(8,), batch_norm=True)


def test_generate_rounds_to_bytes_and_restores_the_mode():
    generator = small().train()
    latents = torch.randn(10, 4)
    whole = generate(generator, latents)
    assert generator.training
    assert whole.dtype == torch.uint8 and not whole.requires_grad
    parts = generate(generator, latents, batch_size=3)
    assert (
        whole.int() - parts.int()
    ).abs().max() <= 1  # the rounding of sums depends on the batch size
    generator.eval().train = (
        None  # to go through all layers takes a tenth of a small network's time
    )
    generate(generator, latents)
    assert not generator.training


@pytest.mark.parametrize("mode", [True, False])
def test_images_are_those_of_evaluation(mode):
    generator, latents = small(), 3 + torch.randn(10, 4)
    generator(latents)  # changes the batch-norm statistics
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    made = generate(generator.train(mode), latents)
    with torch.no_grad():
        exact = (generator.eval()(latents) + 1) * 127.5
    assert (made - exact).abs().max() <= 0.5 + 1e-3
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


@pytest.mark.parametrize("shape", [(3, 20, 20), (3, 32, 32), (1, 8, 12)])
def test_images_have_the_shape_of_their_set(shape):
    assert generate(small(shape), torch.randn(5, 4), batch_size=2).shape == (5, *shape)


# Seeds


def conditional() -> torch.nn.Module:
    torch.manual_seed(0)
    shape = (1, 8, 8)
    return build(GENERATORS, "mlp", shape=shape, latent_dim=4, hidden=(64,), classes=3).eval()


def images_by_seed(request: Request) -> dict[tuple[int, int], bytes]:
    found = {}
    for batch in generate_batches(conditional(), request, truncation=0.7):
        for image, seed, label in zip(batch.images, batch.seeds, batch.labels, strict=True):
            found[seed, label] = image.numpy().tobytes()
    return found


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=20), st.integers(1, 700))
def test_the_image_of_a_seed_does_not_depend_on_the_batch(seeds, count):
    every = images_by_seed(Request((range(701),), (0, 1, 2), every_class=True))
    assert len(set(every.values())) > 2_000
    few = images_by_seed(Request(tuple(range(seed, seed + 1) for seed in set(seeds)), (2, 1)))
    many = images_by_seed(Request((range(count),), (0, 1, 2)))
    for found in (few, many):
        assert found and all(every[key] == image for key, image in found.items())


def test_a_seed_has_the_same_latent_in_every_version():
    first = latents_of([0, 257, 123_456], 100)[:, 0].tolist()
    assert first == pytest.approx([1.825155, -1.111068, -1.829354], abs=1e-4)


def test_latents_are_standard_normal_and_truncation_shrinks_them():
    latents = latents_of(range(5_000), 20)
    assert latents.mean().abs() < 0.02 and (latents.std() - 1).abs() < 0.02
    assert len(latents.unique(dim=0)) == 5_000
    (mean,) = (
        batch.images for batch in generate_batches(conditional(), [(0, 1), (9, 1)], truncation=0)
    )
    assert torch.equal(mean[0], mean[1])


class Brightness(torch.nn.Module):
    """A classifier of two classes: dark and bright."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean((1, 2, 3))
        return torch.stack((-mean, mean), 1)


def test_a_classifier_selects_the_wanted_number_of_each_class():
    generator, classifier = small().eval(), Brightness()
    parts = [Request((range(30),), (1, 0)), Request((range(10),), (1, 0))]
    found = list(generate_parts(generator, parts, 1.0, classifier, ("dark", "bright")))
    for part, size in ((0, 15), (1, 5)):
        labels = [label for number, batch in found for label in batch.labels if number == part]
        assert sorted(labels) == [0] * size + [1] * size
    seeds = [seed for _, batch in found for seed in batch.seeds]
    assert len(set(seeds)) == 40  # the test part has other seeds
    seen = classifier(torch.cat([batch.images for _, batch in found]) / 127.5 - 1).argmax(1)
    assert seen.tolist() == [label for _, batch in found for label in batch.labels]


def test_batches_without_a_wanted_class_are_left_out(monkeypatch):
    monkeypatch.setattr(sampling, "MAX_REJECTED", 4)  # in a row
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    labels = ([0, 0], [0, 1], [0, 0], [1, 1])
    batches = [Batch(images, [2 * n, 2 * n + 1], each) for n, each in enumerate(labels)]
    one, two = select_classes(batches, {1: 2}, ("dark", "bright"))
    assert one.seeds == [3] and two.seeds == [6] and one.labels == two.labels == [1]


def test_the_noise_of_a_corrupted_copy_depends_on_seed_and_class():
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    assert Batch(images, [7, 7], [0, 1]).names == ["7/0", "7/1"]
    assert Batch(images, [7, 8], None).names == ["7/7", "8/8"]


def test_a_class_that_is_never_generated_is_a_fault():
    class Dark(torch.nn.Module):
        def forward(self, images):
            return torch.tensor([[1.0, 0.0]]).expand(len(images), 2)

    found = generate_parts(
        small().eval(), [Request((range(4),), (0, 1))], 1.0, Dark(), ("dark", "bright")
    )
    with pytest.raises(Fault, match="sees none as bright"):
        list(found)
