"""lab/models/export.py: exported files make the generator's images."""

from __future__ import annotations

import json

import pytest
import torch
from small_files import saved

from lab.data import DATASETS
from lab.errors import Fault, Mistake
from lab.models import GENERATORS, build, export
from lab.models.serialization import Weights, load_weights, save_weights

FASHION = DATASETS["fashion"]


def conditional(path) -> Weights:
    sizes = {"latent_dim": 8, "hidden": (16,), "channels": (4, 4), "batch_norm": True}
    generator = build(GENERATORS, "dcgan", shape=FASHION.shape, classes=10, **sizes)
    save_weights(path, generator, FASHION, epoch=3, generator_sha256="of another")
    return load_weights(path, "generator")


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
@pytest.mark.parametrize("with_classes", [True, False])
def test_the_file_makes_the_same_images(kind, with_classes, tmp_path):
    for package in export.EXPORTS[kind].packages:
        pytest.importorskip(package)
    path = tmp_path / "generator.pth"
    weights = conditional(path) if with_classes else load_weights(saved(path), "generator")
    assert export.export(weights, kind, tmp_path / "out") <= 1e-4
    facts = json.loads((tmp_path / "out" / "generator.json").read_text())
    assert facts["generator_sha256"] == weights.sha256 and facts["config"]["latent_dim"] == 8
    assert ("labels" in facts["inputs"]) == with_classes
    latents = torch.randn(3, 8)
    inputs = (latents, torch.tensor([7, 0, 2])) if with_classes else (latents,)
    read = export.EXPORTS[kind].read(tmp_path / "out" / facts["file"])
    assert torch.allclose(read(*inputs), weights.network(*inputs), atol=1e-5)


@pytest.mark.parametrize("worth", [1e-3, float("nan")])
def test_a_file_that_makes_other_images_is_removed(worth, tmp_path, monkeypatch):
    weights = conditional(tmp_path / "generator.pth")

    def read(path):
        return lambda latents, labels: weights.network(latents, labels) + worth

    row = export.Export((), lambda generator, path: path.write_bytes(b"1"), read)
    monkeypatch.setitem(export.EXPORTS, "odd", row)
    with pytest.raises(Fault, match="pixels differ by"):
        export.export(weights, "odd", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["generator.pth"]


def test_a_missing_package_is_named_with_its_install_command(monkeypatch):
    row = export.Export(("no_such_package",), None, None)
    monkeypatch.setitem(export.EXPORTS, "odd", row)
    with pytest.raises(Mistake, match="pip install no_such_package"):
        export.check_installed("odd")
