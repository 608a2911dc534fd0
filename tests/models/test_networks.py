"""lab/models: shapes, pinned parameter counts, configs that rebuild the networks."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from lab.device import matrix_products
from lab.models import (
    CLASSIFIERS,
    DENOISERS,
    DISCRIMINATORS,
    GENERATORS,
    build,
    channels_for,
    count_parameters,
    full_maps_for,
    is_convolutional,
    parameters_of,
)
from lab.models.dcgan import smallest_maps
from lab.models.layers import ACTIVATIONS, OUTPUTS, Clip

GREY, TWENTY, COLOUR = (1, 28, 28), (3, 20, 20), (3, 32, 32)


def generator(kind: str = "mlp", shape=GREY, **config) -> nn.Module:
    return build(GENERATORS, kind, shape=shape, **config)


def discriminator(kind: str = "mlp", shape=GREY, **config) -> nn.Module:
    return build(DISCRIMINATORS, kind, shape=shape, **config)


def test_parameter_counts_are_pinned():
    # 100*512+512 + 2*(512*512+512) + 512*784+784
    assert count_parameters(generator()) == 979_216
    # ... with a scale and a shift in place of the bias of each of 3 * 512 units
    assert count_parameters(generator(batch_norm=True)) == 979_216 + 1536
    # 784*512+512 + 512*256+256 + 256+1
    assert count_parameters(discriminator()) == 533_505
    # ... with 784+196+49 inputs instead of 784
    assert count_parameters(discriminator(pyramid=True)) == 533_505 + 245 * 512
    # 100*8+8 + 8*49*6+49*6 + 6*4*16+4 + 4*16+1
    assert count_parameters(generator("dcgan", hidden=(8,), channels=(6, 4))) == 3_907
    # 16*4+4 + 4*6*16+6 + 49*6*8+8 + 8+1
    assert count_parameters(discriminator("dcgan", hidden=(8,), channels=(4, 6))) == 2_827


def test_parameter_counts_of_colour_are_pinned():
    # 100*8+8 + 8*1200+1200
    assert count_parameters(generator(shape=TWENTY, hidden=(8,))) == 808 + 10_800
    # 1200*8+8 + 8+1; with the pyramid 3 * (400+100+25) numbers in place of 1200
    assert count_parameters(discriminator(shape=TWENTY, hidden=(8,))) == 9_617
    assert count_parameters(discriminator(shape=TWENTY, hidden=(8,), pyramid=True)) == 12_617
    # 100*8+8 + 8*64*6+64*6 + 6*4*16+4 + 4*3*16+3
    network = generator("dcgan", COLOUR, hidden=(8,), channels=(6, 4))
    assert count_parameters(network) == 808 + 3_456 + 388 + 195
    # 3*4*16+4 + 4*6*16+6 + 64*6*8+8 + 8+1
    network = discriminator("dcgan", COLOUR, hidden=(8,), channels=(4, 6))
    assert count_parameters(network) == 196 + 390 + 3_080 + 9


@pytest.mark.parametrize(
    ("shape", "channels", "full_maps", "of_dcgan", "of_mlp"),
    [
        (GREY, (64, 32), 0, (2_219_105, 1_429_858), (979_216, 658_945)),
        (COLOUR, (192, 96, 48), 32, (2_547_219, 3_312_082), (2_152_960, 2_196_481)),
        ((3, 64, 64), (192, 96, 48, 24), 16, (2_546_795, 9_504_810), (6_880_768, 8_389_633)),
    ],
    ids=str,
)
def test_networks_suit_the_shape_and_their_parameter_counts_are_pinned(
    shape, channels, full_maps, of_dcgan, of_mlp
):
    assert (channels_for(shape), full_maps_for(shape)) == (channels, full_maps)
    made = generator("dcgan", shape, channels=channels, full_maps=full_maps)
    wide = {"channels": channels[::-1], "full_maps": full_maps}
    judge = discriminator("dcgan", shape, hidden=(256,), pyramid=True, **wide)
    assert (count_parameters(made), count_parameters(judge)) == of_dcgan
    assert judge(made(torch.randn(2, 100))).shape == (2,)
    made, judge = generator(shape=shape), discriminator(shape=shape, pyramid=True)
    assert (count_parameters(made), count_parameters(judge)) == of_mlp
    assert judge(made(torch.randn(2, 100))).shape == (2,)


@pytest.mark.parametrize("side", range(16, 65, 4))
def test_the_sides_are_halved_down_to_four_pixels(side):
    for maps in (1, 3):
        channels = channels_for((maps, side, side))
        height, width = smallest_maps((maps, side, side), channels)
        assert height == width >= 4 and (height % 2 or height < 8)
        assert all(wide == 2 * narrow for wide, narrow in pairwise(channels))
    assert channels > channels_for((1, side, side))  # more channels for colour


def test_parameter_counts_of_the_other_networks_are_pinned():
    # 9 * (1*32 + 32*64 + 64*128 + 128*128), 2 * (32+64+128+128), 128*10+10
    assert count_parameters(build(CLASSIFIERS, "cnn", shape=GREY, classes=10)) == 241_898
    # 20*32*9+32 + 4*(32*32*9+32) + 32*64*4+64 + 4*(64*64*9+64) + 64*128+128 + 32*4*9+4, places
    # 32*196, overview 845*256+256 + 256*784+784 + 16*64+64, estimator 20_711
    assert count_parameters(build(DENOISERS, "blind", shape=GREY, corruptions=11)) == 654_363


@pytest.mark.parametrize("shape", [GREY, TWENTY, COLOUR, (2, 12, 8)], ids=str)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("channels", [(), (5,), (6, 5)])
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_generator_makes_images_between_minus_one_and_one(
    shape, batch_norm, activation, channels, output
):
    network = generator(
        "dcgan" if channels else "mlp",
        shape,
        **{"latent_dim": 7, "hidden": (16, 24), "batch_norm": batch_norm},
        **{"activation": activation, "output": output, "channels": channels},
    )
    made = network(torch.randn(5, 7) * 10)
    assert made.shape == (5, *shape)
    assert made.abs().max() <= 1
    assert network.latent_dim == 7
    assert is_convolutional(network) == bool(channels)


@pytest.mark.parametrize("shape", [GREY, TWENTY, COLOUR], ids=str)
def test_a_discriminator_gives_one_logit_an_image(shape):
    shown = torch.rand(4, *shape)
    assert discriminator(shape=shape, hidden=(16,), dropout=0.5)(shown).shape == (4,)
    assert discriminator(shape=shape, hidden=(16,), pyramid=True)(shown).shape == (4,)
    assert discriminator("dcgan", shape, hidden=(), channels=(3,))(shown).shape == (4,)


@pytest.mark.parametrize("shape", [GREY, TWENTY, COLOUR], ids=str)
def test_classifier_and_denoiser_take_any_shape(shape):
    images = torch.rand(4, *shape)
    classifier = build(CLASSIFIERS, "cnn", shape=shape, classes=7)
    features, logits = classifier.features_and_logits(images)
    assert features.shape == (4, 128) and logits.shape == classifier(images).shape == (4, 7)
    denoiser = build(DENOISERS, "blind", shape=shape, corruptions=3, width=4, inner_width=6)
    assert denoiser(images, torch.rand(4, 4)).shape == images.shape


def test_the_estimator_works_in_batches(monkeypatch):
    monkeypatch.setattr("lab.models.denoiser.MOST_AT_ONCE", 3)
    estimator, sizes = build(DENOISERS, "blind", shape=GREY, corruptions=3).estimator, []
    estimator.layers.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    logits, strengths, level = estimator(torch.rand(7, *GREY))
    assert sizes == [3, 3, 1]
    assert logits.shape == strengths.shape == (7, 3) and level.shape == (7,)


def test_clipped_pixels_reach_black_and_learn_like_tanh():
    pixels = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.999, 7.0], requires_grad=True)
    made = Clip()(pixels)
    assert made.tolist() == [-1, -1, -0.5, 0, pytest.approx(0.999), 1]
    made.sum().backward()
    assert torch.allclose(pixels.grad, 1 - pixels.detach().tanh() ** 2)


def test_activations_and_outputs_are_those_of_existing_weights_files():
    layers = {**ACTIVATIONS, **OUTPUTS}  # of which the config has the names only
    found = {name: layer()(torch.tensor([-1.0, 0.5])).tolist() for name, layer in layers.items()}
    assert found["leaky-relu"] == pytest.approx([-0.2, 0.5]) and found["relu"] == [0, 0.5]
    assert found["tanh"] == pytest.approx([math.tanh(-1), math.tanh(0.5)])


def test_dropout_is_active_in_training_only():
    network, shown = discriminator(hidden=(16,), dropout=0.5), torch.ones(1, *GREY)
    network.layers[0].bias.data.fill_(1)  # so that there is something to drop
    assert len({network(shown).item() for _ in range(20)}) > 1
    network.eval()
    assert len({network(shown).item() for _ in range(20)}) == 1


def test_unsuitable_sides_are_refused():
    for kinds in (GENERATORS, DISCRIMINATORS):
        with pytest.raises(ValueError, match="28 x 28 cannot be halved 3 times"):
            build(kinds, "dcgan", shape=GREY, channels=(2, 2, 2))
        with pytest.raises(ValueError, match="20 x 30 cannot be halved 2 times"):
            build(kinds, "dcgan", shape=(1, 20, 30), channels=(2, 2))
        with pytest.raises(ValueError, match="no channels"):
            build(kinds, "dcgan", shape=GREY, channels=())
    for shape, says in (
        ((1, 20, 24), "square images, not 20 x 24"),
        ((1, 30, 30), "which 30 does not allow"),
        ((1, 128, 128), "128 is too large, 64 at most"),
    ):
        with pytest.raises(ValueError, match=says):
            discriminator(shape=shape, pyramid=True)
    with pytest.raises(ValueError, match="30 x 28 refuses"):
        build(DENOISERS, "blind", shape=(1, 30, 28), corruptions=3)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'transformer' is none of mlp, dcgan"):
        generator("transformer")
    with pytest.raises(ValueError, match="'swish' is none of leaky-relu, relu"):
        generator(activation="swish")
    with pytest.raises(ValueError, match="'sine' is none of tanh, clip"):
        generator("dcgan", output="sine")


def test_build_ignores_arguments_that_a_network_does_not_have():
    offered = {"shape": GREY, "hidden": (8,), "channels": (4,), "pyramid": True, "loss": "hinge"}
    fully_connected = build(DISCRIMINATORS, "mlp", **offered)
    convolutional = build(DISCRIMINATORS, "dcgan", **offered)
    assert fully_connected.config == {"shape": [1, 28, 28], "hidden": [8], "pyramid": True}
    assert convolutional.config == {**fully_connected.config, "channels": [4]}
    assert (fully_connected.kind, convolutional.kind) == ("mlp", "dcgan")
    assert "channels" not in parameters_of(DISCRIMINATORS, "mlp")


def test_the_branch_on_bands_adds_its_logits():
    shown, labels = torch.rand(4, *COLOUR), torch.arange(4)
    network = discriminator("dcgan", COLOUR, channels=(3, 5), pyramid=True, classes=4)
    both, beside = network(shown, labels), network.beside(shown, labels)
    network.beside = None
    assert torch.allclose(both, network(shown, labels) + beside) and beside.abs().min() > 0


def test_low_precision_uses_the_present_weights(monkeypatch):
    # Within one step the discriminator is updated and then used again.
    monkeypatch.setattr("lab.device.bfloat16_is_fast", lambda device: True)
    network = discriminator("dcgan", hidden=(4,), channels=(3,))
    shown = torch.randn(2, *GREY)
    with matrix_products("bfloat16", torch.device("cpu"), convolutions=True):
        before = network(shown)
        with torch.no_grad():
            for weight in network.parameters():
                weight.mul_(2)
        assert not torch.allclose(network(shown), before, rtol=0.1)
        assert before.dtype == torch.float32
