"""lab/models.py: shapes, pinned parameter counts, and that a config rebuilds its network."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import SAMPLE

from lab.data import datasets as data
from lab.models import networks as models


def test_parameter_counts_are_pinned():
    # 100*512+512 + 2*(512*512+512) + 512*784+784
    assert models.count_parameters(models.Generator()) == 979_216
    # ... with a scale and a shift in place of the bias of each of 3 * 512 units
    assert models.count_parameters(models.Generator(batch_norm=True)) == 979_216 + 1536
    # 784*512+512 + 512*256+256 + 256+1
    assert models.count_parameters(models.Discriminator()) == 533_505
    # 100*8+8 + 8*49*6+49*6 + 6*4*16+4 + 4*16+1
    maps = models.Generator(hidden=(8,), channels=(6, 4))
    assert models.count_parameters(maps) == 808 + 2_646 + 388 + 65
    # 16*4+4 + 4*6*16+6 + 49*6*8+8 + 8+1
    maps = models.Discriminator((8,), channels=(4, 6))
    assert models.count_parameters(maps) == 68 + 390 + 2_360 + 9


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", models.ACTIVATIONS)
@pytest.mark.parametrize("channels", [(), (5,), (6, 5)])
@pytest.mark.parametrize("output", models.OUTPUTS)
def test_the_generator_makes_images_between_minus_one_and_one(
    batch_norm, activation, channels, output
):
    generator = models.Generator(7, (16, 24), batch_norm, activation, channels, output)
    made = generator(torch.randn(5, 7) * 10)
    assert made.shape == (5, 1, 28, 28)
    assert made.abs().max() <= 1


def test_clipped_pixels_reach_black_and_learn_like_tanh():
    pixels = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.999, 7.0], requires_grad=True)
    made = models.Clip()(pixels)
    assert made.tolist() == [-1, -1, -0.5, 0, pytest.approx(0.999), 1]
    made.sum().backward()
    assert torch.allclose(pixels.grad, 1 - pixels.detach().tanh() ** 2)


def test_the_leaky_slope_is_the_one_that_weights_files_were_made_with():
    below = models.ACTIVATIONS["leaky-relu"]()(torch.tensor(-1.0))
    assert below.item() == pytest.approx(-0.2)  # no config says it


def test_the_discriminator_gives_one_logit_an_image():
    shown = torch.zeros(4, 1, 28, 28)
    assert models.Discriminator((16,), dropout=0.5)(shown).shape == (4,)
    assert models.Discriminator((), channels=(3,))(shown).shape == (4,)
    assert models.Discriminator((8,), channels=(3, 5))(shown).shape == (4,)


def test_dropout_is_there_in_training_only():
    discriminator, shown = models.Discriminator((16,), dropout=0.5), torch.ones(1, 1, 28, 28)
    discriminator.layers[0].bias.data.fill_(1)  # so that there is something to drop
    assert len({discriminator(shown).item() for _ in range(20)}) > 1
    discriminator.eval()
    assert len({discriminator(shown).item() for _ in range(20)}) == 1


def test_more_convolutions_than_halve_the_side_are_refused():
    for kind in (models.Generator, models.Discriminator):
        with pytest.raises(ValueError, match="at most 2"):
            kind(channels=(2, 2, 2))
    with pytest.raises(ValueError, match="pyramid"):
        models.Discriminator(pyramid=True, channels=(2,))


@pytest.mark.parametrize(
    "network",
    [
        models.Generator(9, (8, 12), True, "relu"),
        models.Generator(9, (8,), True, "relu", (6, 4)),
        models.Discriminator((8, 4), 0.25),
        models.Discriminator((8, 4), pyramid=True),
        models.Discriminator((8,), channels=(4, 6)),
    ],
)
def test_a_config_rebuilds_its_network(network):
    again = type(network)(**network.config)
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in network.state_dict().items()
    }
    assert str(again) == str(network)


def test_the_pyramid_splits_an_image_and_keeps_all_of_it():
    bands = models.laplacian_pyramid()
    assert bands.shape == (784, 784 + 196 + 49)
    assert torch.linalg.matrix_rank(bands) == 784  # nothing of the image is lost
    flat, speckle = torch.ones(784), torch.ones(28, 28)
    speckle[::2, ::2] = speckle[1::2, 1::2] = -1
    assert (flat @ bands)[: 784 + 196].abs().max() < 1e-5  # an even image has only the coarse band
    assert (speckle.flatten() @ bands)[784:].abs().max() < 1e-5  # speckle only the fine one
    assert models.Discriminator((8,), pyramid=True)(torch.zeros(3, 1, 28, 28)).shape == (3,)


def test_the_bands_of_both_sets_are_of_a_like_strength():
    for name in data.SETS:
        shown = data.to_float(data.read_folder(name, SAMPLE / name).test_images).flatten(1)
        bands = (shown @ models.laplacian_pyramid()).split((784, 196, 49), dim=1)
        assert all(0.45 < band.std() < 0.75 for band in bands)


def test_levels_are_the_nearest_of_256():
    levels = torch.arange(256.0)
    for off in (-0.4, 0.0, 0.4):
        assert models.to_levels((levels + off) / 127.5 - 1).tolist() == list(range(256))


def test_generate_rounds_to_bytes_and_leaves_the_mode_alone():
    generator = models.Generator(4, (8,), batch_norm=True).train()
    latents = torch.randn(10, 4)
    whole = models.generate(generator, latents)
    assert generator.training
    assert whole.dtype == torch.uint8
    parts = models.generate(generator, latents, batch_size=3)
    assert (whole.int() - parts.int()).abs().max() <= 1  # sums may be taken in another order


def test_the_average_is_short_at_first_and_then_as_long_as_asked():
    decays = [models.average_decay(0.999, updates) for updates in (1, 100, 10**6)]
    assert decays == pytest.approx([2 / 11, 101 / 110, 0.999])


def test_the_average_moves_by_its_decay_and_copies_running_statistics():
    network = models.Generator(4, (8,), batch_norm=True)
    average = copy.deepcopy(network)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1)
        network.layers[1].running_mean.fill_(3)
    before = [weight.clone() for weight in average.parameters()]
    models.update_average(average, network, decay=0.9)
    for old, new in zip(before, average.parameters(), strict=True):
        assert torch.allclose(new, old + 0.1, atol=1e-6)
    assert torch.equal(average.layers[1].running_mean, network.layers[1].running_mean)
