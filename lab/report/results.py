"""The pictures and figures that a finished run is remembered by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from lab.data import Dataset
from lab.evaluation import latent_space
from lab.evaluation.evaluator import Evaluator, Judgement
from lab.report import figures
from lab.runs import Run
from lab.runs.layout import RunFiles

GIF_FRAMES = 80  # all of them are in memory at once


def save_pictures(
    run: Run,
    generator: nn.Module,
    history: Sequence[Mapping[str, Any]],
    dataset: Dataset,
    title: str,
    loss: str,
) -> None:
    """Write loss curves, the film, walks through the latent space, and nearest training images.

    title: over the curves. loss: its name in LOSSES.
    """
    footnote = dataset.footnote()
    figures.save_curves(run.curves_path, history, title, loss, footnote)
    figures.save_gif(run.film_path, run.grids(GIF_FRAMES))
    figures.save_sheet(
        run.latent_walk_path,
        latent_space.walks(generator),
        f"{dataset.title}: from one latent to another, along the sphere",
        footnote,
    )
    figures.save_sheet(
        run.nearest_path,
        latent_space.nearest_training(generator, dataset),
        f"{dataset.title}: generated images, and the training image nearest to each",
        footnote,
    )


def save_evaluation(
    folder: RunFiles,
    evaluator: Evaluator,
    judgement: Judgement,
    title: str,
    words: Sequence[str],
    **facts: Any,
) -> None:
    """Write evaluation.json, and evaluation.png where classes are known.

    words: what the figures mean. facts: other fields of `schema.Evaluation`.
    """
    dataset = evaluator.dataset
    folder.save_evaluation(evaluator.record(judgement, words, **facts))
    if judgement.classes is not None:
        figures.save_class_sheet(
            folder.class_sheet_path,
            judgement.images,
            judgement.classes,
            dataset.spec.class_names,
            title,
            dataset.footnote("compared with"),
        )
