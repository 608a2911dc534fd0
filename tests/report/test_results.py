"""lab/report/results.py: the figures of a finished run."""

import warnings
from dataclasses import replace
from pathlib import Path

from PIL import Image
from report_runs import HISTORY, make_run, network

from lab.data.datasets import load_sample
from lab.report import results


def test_curves_film_walks_and_nearest_images_are_written(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    generator = run.load_generator().network
    dataset = load_sample("fashion")
    results.save_pictures(run, generator, HISTORY, dataset, "title", "non-saturating")
    for path in (run.curves_path, run.film_path, run.latent_walk_path, run.nearest_path):
        with Image.open(path) as picture:
            assert picture.width > 500


def test_long_names_of_classes_leave_room_for_the_walks(tmp_path: Path) -> None:
    dataset = load_sample("fashion")
    dataset = replace(dataset, spec=replace(dataset.spec, class_names=("n" * 200,) * 10))
    run, generator = make_run(tmp_path), network(classes=10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # without room for the images, matplotlib warns
        results.save_pictures(run, generator, HISTORY, dataset, "title", "non-saturating")
