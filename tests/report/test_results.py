"""The pictures that a finished run is remembered by."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from report_runs import HISTORY, make_run

from lab.data.datasets import load_sample
from lab.evaluation.latent_space import nearest
from lab.report import figures, results


def test_curves_film_walks_and_nearest_images_are_written(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    generator = run.load_generator().network
    dataset = load_sample("fashion")
    results.save_pictures(run, generator, HISTORY, dataset, "title", "non-saturating")
    for path in (run.curves_path, run.film_path, run.latent_walk_path, run.nearest_path):
        with Image.open(path) as picture:
            assert picture.width > 500


def test_the_nearest_training_images_stand_below_what_they_are_near_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {}
    monkeypatch.setattr(figures, "save_sheet", lambda path, rows, *_: drawn.update({path: rows}))
    run, dataset = make_run(tmp_path), load_sample("fashion")
    generator = run.load_generator().network
    results.save_pictures(run, generator, HISTORY, dataset, "title", "non-saturating")
    (above, made), (below, near) = drawn[run.nearest_path]
    assert (above, below) == ("generated", "nearest real")
    assert torch.equal(near, dataset.train_images[nearest(made, dataset.train_images)])
