"""lab/data/pixels.py: conversions between pixel ranges, and back."""

from __future__ import annotations

import pytest
import torch

from lab.data.pixels import to_float, to_levels, to_unit, unit_to_levels

LEVELS = torch.arange(256, dtype=torch.uint8)


def test_pixels_become_numbers_from_minus_one_to_one():
    shown = to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert shown.tolist() == [-1.0, pytest.approx(-0.6), 1.0]
    assert shown.dtype == torch.float32


def test_pixels_become_numbers_from_zero_to_one():
    shown = to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert shown.tolist() == [0.0, pytest.approx(0.2), 1.0]
    assert shown.dtype == torch.float32


def test_every_level_survives_a_round_trip():
    assert torch.equal(to_levels(to_float(LEVELS)), LEVELS)
    assert torch.equal(unit_to_levels(to_unit(LEVELS)), LEVELS)


@pytest.mark.parametrize("off", [-0.4, 0.0, 0.4])
def test_levels_are_the_nearest_of_256(off):
    levels = torch.arange(256.0)
    assert to_levels((levels + off) / 127.5 - 1).tolist() == list(range(256))
    assert unit_to_levels((levels + off) / 255).tolist() == list(range(256))


def test_values_out_of_range_are_clipped():
    assert to_levels(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]
    assert unit_to_levels(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]


def test_only_to_levels_overwrites_its_argument():
    images, unit = LEVELS.clone(), to_unit(LEVELS)
    to_float(images), to_unit(images), unit_to_levels(unit)
    assert torch.equal(images, LEVELS) and torch.equal(unit, to_unit(LEVELS))
