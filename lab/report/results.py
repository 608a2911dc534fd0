"""The figures of a finished run, and the evaluation of images."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from lab.data import Dataset
from lab.evaluation import Judgement, diagnosis, latent_space
from lab.report import charts, figures
from lab.runs import Run
from lab.runs.layout import RunFiles
from lab.text import shortened

GIF_FRAMES = 80  # all of them are in memory at once


def save_pictures(
    run: Run, generator: nn.Module, history: charts.History, dataset: Dataset, title: str, loss: str
) -> None:
    """Write loss curves with `title`, the film, latent walks and nearest training images."""
    footnote = dataset.footnote()
    charts.save_curves(run.curves_path, history, title, loss, footnote)
    figures.save_gif(run.film_path, charts.evenly_spaced(run.grids(), GIF_FRAMES))
    title = f"{dataset.title}: from one latent to another, along the sphere"
    names = [shortened(name, figures.MAX_LABEL) for name in dataset.spec.class_names]
    rows = latent_space.walks(generator, names)
    figures.save_sheet(run.latent_walk_path, rows, title, footnote)
    title = f"{dataset.title}: generated images, and the training image nearest to each"
    rows = latent_space.nearest_training(generator, dataset)
    figures.save_sheet(run.nearest_path, rows, title, footnote)


def save_evaluation(
    folder: RunFiles,
    judgement: Judgement,
    dataset: Dataset,
    title: str,
    history: charts.History,
    options: Mapping[str, Any] | None,
    **facts: Any,
) -> list[str]:
    """Write evaluation.json and, if there are classes, a class sheet; returns the diagnosis.

    history, options: of the run, for `diagnosis.after`. facts: further fields of the file.
    """
    words = diagnosis.after(history, judgement.record, options)
    folder.save_evaluation(judgement.record.model_copy(update={"words": words, **facts}))
    if judgement.classes is not None:
        figures.save_class_sheet(
            *(folder.class_sheet_path, judgement.images, judgement.classes),
            *(judgement.record.own_shares, title, dataset.footnote("compared with")),
        )
    return words
