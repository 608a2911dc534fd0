"""lab/models/bands.py: the layer equals a linear layer on a Laplacian pyramid."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from lab.data.datasets import DATASETS, SAMPLE_FOLDER, load_sample
from lab.data.pixels import to_float
from lab.models.bands import BandLinear, laplacian_pyramid


def test_the_pyramid_separates_frequencies_and_loses_nothing():
    bands = laplacian_pyramid(28)
    assert bands.shape == (784, 784 + 196 + 49)
    assert torch.linalg.matrix_rank(bands) == 784  # invertible
    flat, speckle = torch.ones(784), torch.ones(28, 28)
    speckle[::2, ::2] = speckle[1::2, 1::2] = -1
    assert (flat @ bands)[: 784 + 196].abs().max() < 1e-5  # a constant image
    assert (speckle.flatten() @ bands)[784:].abs().max() < 1e-5  # noise in the finest band
    assert laplacian_pyramid(20).shape == (400, 400 + 100 + 25)


def test_the_bands_of_both_sets_have_similar_variances():
    for name in (name for name in DATASETS if (SAMPLE_FOLDER / name).is_dir()):
        shown = to_float(load_sample(name).test_images).flatten(1)
        bands = (shown @ laplacian_pyramid(28)).split((784, 196, 49), dim=1)
        assert all(0.45 < band.std() < 0.75 for band in bands)


@pytest.fixture(params=[(1, 28), (3, 20), (2, 36)], ids=["grey", "colour", "pooled"])
def layer(request) -> BandLinear:
    torch.manual_seed(0)
    return BandLinear(*request.param, width=6)


def plainly(layer: BandLinear, images: torch.Tensor) -> torch.Tensor:
    """The definition of the layer: the bands of each channel, then a linear layer."""
    pyramid = laplacian_pyramid(layer.side)
    bands = torch.cat([part @ pyramid for part in images.chunk(layer.channels, dim=1)], dim=1)
    return bands @ layer.weight + layer.bias


def shown(layer: BandLinear) -> torch.Tensor:
    return torch.randn(5, layer.channels * layer.side**2, requires_grad=True)


def test_it_equals_a_linear_layer_on_the_bands(layer):
    images = shown(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.allclose(layer(images), plainly(layer, images), atol=1e-4)


def test_its_gradients_and_those_of_a_penalty_equal_theirs(layer):
    images = shown(layer)

    def gradients(function) -> list[torch.Tensor]:
        logits = (
            function(images).square().sum(1)
        )  # not linear, so that the penalty depends on the weights
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        loss = logits.sum() + slope.square().sum()
        return torch.autograd.grad(loss, (images, layer.weight, layer.bias))

    for found, wanted in zip(gradients(layer), gradients(lambda x: plainly(layer, x)), strict=True):
        assert (found - wanted).norm() < 1e-5 * wanted.norm()


def test_it_uses_the_present_weights(layer):
    images = shown(layer)
    before = layer(images).detach()
    layer.weight.data *= 2  # in place and unknown to autograd, as by a fused optimizer
    after = layer(images)
    assert torch.allclose(after - layer.bias, 2 * (before - layer.bias), atol=1e-4)
    other = copy.deepcopy(layer)
    other.load_state_dict(
        {name: torch.zeros_like(value) for name, value in layer.state_dict().items()}
    )
    assert not other(images).any()
    assert torch.equal(layer(images), after)
    assert layer.double()(images.double()).dtype == torch.float64
