"""lab/report/results.py: the figures of a finished run."""

from pathlib import Path

from PIL import Image
from report_runs import HISTORY, make_run

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
