"""Finished run folders, for the tests of this folder."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lab import files
from lab.data.datasets import DATASETS, DatasetSpec
from lab.data.writers import write_png
from lab.models import GENERATORS, build
from lab.models.sampling import generate
from lab.models.serialization import save_weights
from lab.report import figures, report
from lab.runs.run import Run
from lab.runs.schema import Config, Evaluation

EVIL = "<script>document.title='run'</script>"
HOSTILE_COLUMN = "</script><script>alert(1)</script>"
HISTORY = [
    {"epoch": n, "seconds": 2.0, "images_per_second": 900, "d_loss": 1.2 + n / 10, "g_loss": 0.9}
    | {"d_real": 0.7 - n / 20, "d_fake": 0.3 + n / 20}
    | ({"fcd_train_5k": 90.0 / n} if n % 2 else {})
    for n in range(1, 5)
]
OPTIONS = {"dataset": "fashion", "epochs": 4, "hidden_g": [32, 48], "loss": "non-saturating"}
EVALUATION = {
    "images": 10_000,
    "fcd_test": 31.4159,
    "fcd_train": 30.0,
    "precision": 0.75,
    "recall": 0.5,
    "thin_classes": 0,
    "class_histogram": {f"class {n}": 0.1 for n in range(10)},
    "words": ["Healthy.", EVIL],
    "compared_with": {"fingerprint": "the full set's"},
    "real": {"fcd_test": 0.05, "precision": 0.9324},
    "a_new_figure": 7,
    EVIL: 3.5,
    "broken": math.nan,
    "endless": 10**400,
}
GREY, COLOUR = (1, 28, 28), (3, 20, 20)
TOY = DatasetSpec("toy", "Toy set", COLOUR, ("red", "green", "blue", "none"))


def network(kind: str = "mlp", shape: tuple[int, ...] = GREY, **config: Any) -> nn.Module:
    """A small untrained generator."""
    offered = {"latent_dim": 16, "hidden": (32,), **config}
    return build(GENERATORS, kind, shape=shape, **offered).eval()


def loud(generator: nn.Module, factor: float = 2.0) -> nn.Module:
    """Enlarge the initial weights, so that the images differ."""
    for weight in generator.parameters():
        weight.data.mul_(factor)
    return generator


def make_run(
    outputs: Path,
    name: str = "fashion-001",
    recipe: str = "modern",
    spec: DatasetSpec = DATASETS["fashion"],
    generator: nn.Module | None = None,
) -> Run:
    """A finished run with an untrained generator."""
    run = Run(outputs / name)
    run.grid_folder.mkdir(parents=True)
    torch.manual_seed(3)
    generator = generator or loud(network(hidden=(32, 48), batch_norm=True, output="clip"))
    run.save_network("generator", generator, spec, epoch=4)
    for epoch in (0, 1, 3, 4):
        images = generate(generator, torch.randn(25, 16) + epoch)
        write_png(run.grid_path(epoch), figures.grid(images, 5))
    figures.save_images(run.final_folder, images[:20])
    run.save_history(HISTORY)
    config = Config(
        status="finished",
        written="2026-03-01 14:05",
        options={**OPTIONS, "dataset": spec.name, "recipe": recipe},
        data={"title": spec.title, "source": EVIL, "is_sample": True},
        machine={"cores": 2},
        command=f"python gan_lab.py --out '{EVIL}'",
        started_in="/home/me/my lab",
        other_than_recipe=f"--dropout 0.3 {EVIL}",
    )
    save_config(run, config)
    return run


def save_config(run: Run, config: Config) -> None:
    """Write config.json."""
    files.write_json(run.config_path, config.model_dump(exclude_none=True))


def again(run: Run) -> Run:
    """A new Run object, without cached properties."""
    return Run(run.path)


def a_run(
    folder: Path,
    status: str = "finished",
    options: Mapping[str, Any] = OPTIONS,
    history: list[dict[str, float]] = HISTORY,
    **evaluation: Any,
) -> Run:
    """A run folder with config, history and evaluation only."""
    run = Run(folder)
    folder.mkdir(exist_ok=True)
    save_config(run, Config(status=status, options=dict(options)))
    run.save_history(history)
    if evaluation:
        files.write_json(run.evaluation_path, evaluation)
    return again(run)


def save_weights_of(run: Run, generator: nn.Module) -> None:
    """Replace the run's generator."""
    save_weights(run.generator_path, generator, DATASETS["fashion"])


def text_of(run: Run) -> str:
    """The text of the existing page."""
    return run.report_path.read_text(encoding="utf-8")


def page_of(run: Run) -> str:
    """The text of a newly written page."""
    return report.write(again(run)).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A complete run, other runs, and its report."""
    outputs = tmp_path_factory.mktemp("outputs")
    made = make_run(outputs)
    made.save_history([row | {HOSTILE_COLUMN: 1} for row in HISTORY])
    files.write_json(made.evaluation_path, EVALUATION)
    classic = make_run(outputs, "fashion-002", "classic")
    compared = EVALUATION["compared_with"]
    classic.save_evaluation(Evaluation(figures={"fcd_test": 271.8}, compared_with=compared))
    sampled = make_run(outputs, "fashion-003", "classic")  # newer, but of other images
    others = {"fingerprint": "the sample's"}
    sampled.save_evaluation(Evaluation(figures={"fcd_test": 314.2}, compared_with=others))
    restored = {"noisy": {"psnr": 6.02}, "projection": {"psnr": 17.25}}
    sheets = {"sigma_0.5.png": {"title": "noise", "sigma": 0.5, "scores": restored}}
    save_scores(made, sheets)
    report.write(again(made))
    return again(made)


def save_scores(run: Run, sheets: Mapping[str, Any], sha256: str | None = None) -> None:
    """Write scores.json; sha256: of the generator, by default the run's."""
    results = run.restorations
    results.folder.mkdir(exist_ok=True)
    made_by = sha256 or again(run).generator_sha256
    files.write_json(results.scores_path, {"sheets": sheets, "generator_sha256": made_by})
