"""lab/report/web_export.py: the generator as operations for a page."""

import math

import pytest
import torch
from report_runs import COLOUR, GREY, network
from torch import nn

from lab.report import web_export


def unsettled(generator: nn.Module) -> nn.Module:
    """Change the batch-norm statistics."""
    generator.train()
    for _ in range(5):
        generator(3 + 2 * torch.randn(20, generator.latent_dim))
    return generator.eval()


@pytest.mark.parametrize("shape", [GREY, COLOUR, (3, 20, 12)])
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("mlp", {"hidden": (32, 48)}),
        ("mlp", {"batch_norm": True, "activation": "relu"}),
        ("dcgan", {"channels": (6, 4)}),
        ("mlp", {"output": "clip"}),
        ("dcgan", {"channels": (6, 4), "batch_norm": True, "activation": "relu"}),
        ("dcgan", {"channels": (6, 4), "classes": 3}),
        ("dcgan", {"channels": (6, 4), "full_maps": 5}),
    ],
    ids=["plain", "batch norm", "convolutions", "clipped", "both", "conditional", "full maps"],
)
def test_operations_reproduce_the_networks_images(kind, config, shape, monkeypatch) -> None:
    torch.manual_seed(1)
    monkeypatch.setattr(web_export, "TOLERANCE", 1)
    generator = unsettled(network(kind, shape, **config))
    exported = web_export.export(generator)  # compares the two: NotExportable beyond that
    numbers = sum(math.prod(s) for step in exported["operations"] for s in step["shapes"])
    assert len(exported["weights"]) == 2 * numbers
    assert len(exported["directions"]) == web_export.DIRECTIONS
    assert exported["shares"] == sorted(exported["shares"], reverse=True)


def test_a_wrong_export_is_refused(monkeypatch) -> None:
    def nothing(operations: list, latents: torch.Tensor) -> torch.Tensor:
        return torch.zeros(64, math.prod(GREY))

    monkeypatch.setattr(web_export, "evaluate", nothing)
    with pytest.raises(web_export.NotExportable, match="differ by up to"):
        web_export.export(network())


def test_directions_change_the_first_layer_most() -> None:
    torch.manual_seed(0)
    operations = web_export.operations_of(network(hidden=(32, 48)))
    directions, _ = web_export.principal_directions(operations, 16)
    random = torch.nn.functional.normalize(torch.randn(200, 16), dim=1)
    towards = torch.nn.functional.normalize(directions[:1], dim=1)
    latents = torch.randn(500, 16)

    def moved(ways: torch.Tensor) -> torch.Tensor:
        results = [
            web_export.evaluate(operations[:2], latents + step * ways) for step in (0.5, -0.5)
        ]
        return (results[0] - results[1]).norm(dim=1).mean()

    assert moved(towards) > 1.2 * torch.stack([moved(way[None]) for way in random]).mean()


def test_a_first_layer_without_variance_has_shares_of_it() -> None:
    dead = network(hidden=(32, 48))
    for parameter in dead.layers[0].parameters():
        parameter.data.zero_()
    exported = web_export.export(dead)
    assert all(0 <= share <= 1 for share in exported["shares"])
    assert all(math.isfinite(value) for row in exported["directions"] for value in row)


def test_unknown_networks_are_refused_with_the_reason() -> None:
    odd = network()
    odd.layers[1] = nn.SiLU()
    with pytest.raises(web_export.NotExportable, match="SiLU"):
        web_export.export(odd)
    with pytest.raises(web_export.NotExportable, match="does not support Linear"):
        web_export.export(nn.Linear(16, 10))
    with pytest.raises(web_export.NotExportable, match="MB"):
        web_export.export(network(latent_dim=100, hidden=(2048, 2048)))
    loud = network()
    loud.layers[0].weight.data.mul_(1e9)  # too large for 16 bits
    with pytest.raises(web_export.NotExportable, match="not finite"):
        web_export.export(loud)


def test_layers_in_another_order_than_they_are_listed_are_refused() -> None:
    crossed = network(hidden=(32, 48))
    crossed.layers[0], crossed.layers[2] = crossed.layers[2], crossed.layers[0]
    crossed.forward = lambda latents: torch.zeros(len(latents), *GREY)
    with pytest.raises(web_export.NotExportable, match="one after another"):
        web_export.export(crossed)
