"""lab/training/augmentation.py: the size of the changes, and gradients through them."""

from __future__ import annotations

import pytest
import torch
from small_trainings import CPU, images, small_options, small_state

import gan_lab
from lab.data import to_float
from lab.training.augmentation import Augmentation, cutout, recolour, translate

ENDS = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.999, 0.0, 0.0]])


def test_translation_moves_images_by_at_most_an_eighth_and_fills_with_grey():
    image = torch.arange(1.0, 257.0).view(1, 1, 16, 16)
    up_left, still, down = translate(image.expand(3, -1, -1, -1), ENDS)
    assert torch.equal(still, image[0])
    assert torch.equal(up_left[0, :14, :14], image[0, 0, 2:, 2:])
    assert (up_left[0, 14:] == 0).all() and (up_left[0, :, 14:] == 0).all()
    assert torch.equal(down[0, 2:, :14], image[0, 0, :14, 2:])


def test_cutout_removes_a_square_of_half_the_sides():
    corner, middle, lower = cutout(torch.ones(3, 3, 16, 16), ENDS)
    assert (corner[:, :4, :4] == 0).all() and corner.sum() == 3 * (256 - 16)
    assert (lower[:, 12:, :4] == 0).all() and lower.sum() == 3 * (256 - 16)
    assert (middle[:, 4:12, 4:12] == 0).all() and middle.sum() == 3 * (256 - 64)


def test_recolour_changes_brightness_saturation_and_contrast_each_around_its_middle():
    colour = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    grey, mean = colour.mean(1, keepdim=True).expand_as(colour), colour.mean()
    for uniform, wanted in (
        ((0.5, 0.5, 0.5), colour),
        ((1.0, 0.5, 0.5), colour + 0.5),
        ((0.0, 0.5, 0.5), colour - 0.5),
        ((0.5, 1.0, 0.5), 2 * colour - grey),
        ((0.5, 0.0, 0.5), grey),
        ((0.5, 0.5, 1.0), 1.5 * colour - 0.5 * mean),
        ((0.5, 0.5, 0.0), 0.5 * colour + 0.5 * mean),
    ):
        assert torch.allclose(recolour(colour, torch.tensor([uniform])), wanted, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_augmented_differently_and_second_derivatives_exist(channels):
    augmentation = Augmentation(small_options("modern", "--augment"), channels, CPU)
    same = torch.full((50, channels, 16, 16), 0.7, requires_grad=True)
    changed = augmentation(same)
    assert len(changed.detach().flatten(1).unique(dim=0)) > 40
    assert (len(changed.unique()) > 2) is (channels > 1)  # grey images keep their level, and gaps
    (gradient,) = torch.autograd.grad(changed.square().sum(), same, create_graph=True)
    gradient.square().sum().backward()
    assert torch.isfinite(same.grad).all() and same.grad.abs().sum() > 0


def test_every_input_of_the_discriminator_is_augmented():
    found = []
    for more in (("--no-augment",), ("--augment",)):
        options = small_options("modern", *more)
        state, shown = small_state(options), []
        state.discriminator.register_forward_pre_hook(
            lambda _, given, to=shown: to.append(given[0])
        )
        real = to_float(images(1000).train_images[:50])
        gan_lab.train_step(options, state, real, None, penalised=True)
        found.append([each.detach() for each in shown])
    plain, changed = found
    assert [len(each) for each in changed] == [100, 50, 50]  # both, penalty, generated
    assert all(not torch.equal(*pair) for pair in zip(plain, changed, strict=True))
    assert not torch.equal(changed[0][:50], changed[1])  # new random numbers each time
