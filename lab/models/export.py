"""Export of a generator to ONNX and safetensors, whose packages are optional."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from lab import files
from lab.errors import Fault, Mistake
from lab.models import GENERATORS, build
from lab.models.layers import classes_in_turn
from lab.models.sampling import random_latents
from lab.models.serialization import Weights
from lab.models.tensor_files import plain_state

LATENTS = 1_000  # random latents with which an exported file is compared to its generator
TOLERANCE = 1e-4  # largest difference of a pixel in [-1, 1]

Images = Callable[..., Tensor]  # (latents) or (latents, labels) -> pixels


@dataclass(frozen=True)
class Export:
    """A format: `write` saves a generator to a file, `read` returns a function that runs it."""

    packages: tuple[str, ...]
    write: Callable[[nn.Module, Path], object]
    read: Callable[[Path], Images]


def check_installed(kind: str) -> None:
    """Mistake, with the install command, if a package of the format is not installed."""
    missing = [name for name in EXPORTS[kind].packages if find_spec(name) is None]
    if missing:
        raise Mistake(f"--export {kind}: needs other packages; pip install {' '.join(missing)}")


def export(weights: Weights, kind: str, folder: Path) -> float:
    """Write `generator.KIND`, and its facts as `generator.json`, into a new `folder`.

    Returns the largest difference between pixels of the file's and the generator's images. If it
    exceeds TOLERANCE, raises Fault and leaves no files.
    """
    generator, row = weights.network.cpu().eval(), EXPORTS[kind]
    with files.atomic_path(folder) as part:
        part.mkdir()
        file = part / f"generator.{kind}"
        row.write(generator, file)
        inputs = tuple(_inputs(generator, LATENTS).values())
        with torch.inference_mode():
            difference = float((row.read(file)(*inputs) - generator(*inputs)).abs().max())
        if not difference <= TOLERANCE:  # NaN, too
            raise Fault(f"{file.name}: its pixels differ by {difference:.1e}, so it was not kept")
        files.write_json(part / "generator.json", _facts(weights, file.name, difference))
    return difference


def _inputs(generator: nn.Module, count: int) -> dict[str, Tensor]:
    """Random inputs of the generator for `count` images, by name."""
    latents = random_latents(generator, count, "export")
    classes = getattr(generator, "classes", 0)
    labels = {"labels": classes_in_turn(count, classes)} if classes else {}
    return {"latents": latents, **labels}


def _facts(weights: Weights, file: str, difference: float) -> dict[str, object]:
    generator = weights.network
    types = (f"float32 (N, {generator.latent_dim}), standard normal", "int64 (N,)")
    return {
        **weights.facts,
        "file": file,
        "network": generator.kind,
        "config": generator.config,
        "dataset": weights.spec.as_facts(),
        "inputs": dict(zip(_inputs(generator, 1), types, strict=False)),
        "outputs": {"images": "float32 (N, C, H, W) in [-1, 1]; a level is (x + 1) * 127.5"},
        "largest_difference": difference,
        "generator_sha256": weights.sha256,
    }


def _write_onnx(generator: nn.Module, path: Path) -> None:
    inputs = _inputs(generator, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch recommends the newer exporter
        # That one takes five seconds, needs two more packages and writes two files.
        torch.onnx.export(
            *(generator, tuple(inputs.values()), str(path)),
            input_names=list(inputs),
            output_names=["images"],
            dynamic_axes={name: {0: "N"} for name in (*inputs, "images")},
            dynamo=False,
        )


def _read_onnx(path: Path) -> Images:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(*inputs: Tensor) -> Tensor:
        arrays = {name: values.numpy() for name, values in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0])

    return run


def _write_safetensors(generator: nn.Module, path: Path) -> None:
    from safetensors.torch import save

    facts = {"kind": generator.kind, "config": json.dumps(generator.config)}
    path.write_bytes(save(plain_state(generator), metadata=facts))


def _read_safetensors(path: Path) -> Images:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        facts, names = file.metadata(), file.keys()
        with torch.random.fork_rng(devices=[]):  # initialisation uses the global generator
            generator = build(GENERATORS, facts["kind"], **json.loads(facts["config"])).eval()
        generator.load_state_dict({name: file.get_tensor(name) for name in names})
    return generator


EXPORTS = {
    "onnx": Export(("onnx", "onnxruntime"), _write_onnx, _read_onnx),
    "safetensors": Export(("safetensors",), _write_safetensors, _read_safetensors),
}
