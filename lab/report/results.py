"""What is written of a finished run, and of images that were scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from lab.data import Dataset
from lab.evaluation import Evaluator, Judgement, diagnosis, latent_space
from lab.report import charts, figures
from lab.runs import Run
from lab.runs.layout import RunFiles

GIF_FRAMES = 80  # all of them are in memory at once


def save_pictures(
    run: Run, generator: nn.Module, history: charts.History, dataset: Dataset, title: str, loss: str
) -> None:
    """Write loss curves under `title`, the film, latent walks, and nearest training images."""
    footnote = dataset.footnote()
    figures.save_curves(run.curves_path, history, title, loss, footnote)
    figures.save_gif(run.film_path, run.grids(GIF_FRAMES))
    title = f"{dataset.title}: from one latent to another, along the sphere"
    rows = latent_space.walks(generator, dataset.spec.class_names)
    figures.save_sheet(run.latent_walk_path, rows, title, footnote)
    title = f"{dataset.title}: generated images, and the training image nearest to each"
    rows = latent_space.nearest_training(generator, dataset)
    figures.save_sheet(run.nearest_path, rows, title, footnote)


def save_evaluation(
    folder: RunFiles,
    evaluator: Evaluator,
    judgement: Judgement,
    title: str,
    words: Sequence[str],
    **facts: Any,
) -> None:
    """Write evaluation.json, with `words` and other facts, and a sheet where classes are known."""
    dataset = evaluator.dataset
    folder.save_evaluation(evaluator.record(judgement, words, **facts))
    if judgement.classes is not None:
        figures.save_class_sheet(
            *(folder.class_sheet_path, judgement.images, judgement.classes),
            *(dataset.spec.class_names, title, dataset.footnote("compared with")),
        )


def save_verdict(
    run: Run,
    evaluator: Evaluator,
    generator: nn.Module,
    history: charts.History,
    options: Mapping[str, Any],
    title: str,
) -> str:
    """Score the generator of a run that has ended, write that down, and say it in words."""
    judgement = evaluator.full(generator)
    words = diagnosis.after(
        *(history, judgement.figures, judgement.class_histogram, options, judgement.own_shares)
    )
    digest = {"generator_sha256": run.generator_sha256}
    save_evaluation(run, evaluator, judgement, title, words, **digest)
    return "\n".join(words)
