"""The page of a run, report.html, which is self-contained.

The page shows whatever the run folder has, so it can be written at any time, even during the
training; it then reloads itself regularly (templates/live.js). The interactive parts are in
templates/play.js (latent directions and walks), restore.js (denoising) and fill.js (inpainting).
The files of a run are not trusted: Jinja2 escapes all values, and the page's content security
policy allows no other scripts.
"""

import base64
import time
from pathlib import Path
from typing import Any

from lab.data.datasets import DATASETS, DatasetSpec
from lab.errors import Fault, Mistake
from lab.files import write_text
from lab.models.serialization import Weights
from lab.report import charts, embedding, index, summary, tables, web_export
from lab.report.figures import MAX_ROWS
from lab.report.page import render
from lab.runs.run import Run
from lab.runs.schema import Evaluation, Scores
from lab.text import listed, printable

# Bytes in the page for figures, and for sheets and the generator's weights together; with the film
# the page has less than 12 MB.
STILLS_BYTES, SHEETS_AND_WEIGHTS_BYTES = 1_000_000, 8_700_000
MAX_LISTED = 50  # names of classes below the first picture
STAGES = {
    "finished": "after training",
    "running": "during training",
    "stopped": "of a stopped run",
    "diverged": "of a diverged run, from its last sample grid",
}
WALK_CAPTION = (
    "Each row interpolates between two latents along the sphere. If images change smoothly, the "
    "generator has not memorised training images."
)
NEAREST_CAPTION = (
    "Generated images, and below each the nearest training image by pixel distance. They should be "
    "similar but not equal."
)


def look_at_runs(outputs: Path, run: Path | None, list_runs: bool) -> None:
    """Carry out --report, whose value is `run`, and --list.

    The table has the runs in the folder of `run`, else those in `outputs`. Mistake if the run or
    the folder does not exist.
    """
    if run:
        opened = Run.open("--report", run, outputs)
        opened.check_writable("--report")
        write_pages(opened)
        outputs = opened.outputs
        print(f"done: {opened.report_path}")
    elif not outputs.is_dir():
        what = "is not a folder" if outputs.exists() else "there is no such folder"
        raise Mistake(f"--out {outputs}: {what}; name one that runs were made in")
    if list_runs:
        print(index.table(outputs), flush=True)  # seen even if the disk is full
        if index.path_in(outputs).is_file():  # a run may have been deleted
            index.write(outputs)


def write_pages(run: Run) -> None:
    """Write the run's page and the page of all runs, and print notes about damaged files."""
    run = Run(run.path)  # reads the files again, which may have changed
    write(run)
    index.write(run.outputs)
    for remark in run.remarks:
        print(f"note: {printable(remark)}")


def write(run: Run) -> Path:
    """Write the page of `run` and return its path. Raises Fault if config.json is damaged."""
    config = run.config
    weights, live = _live_part(run)
    spec = weights.spec if weights else DATASETS.get(str(run.options.get("dataset")))
    evaluation = run.evaluation or Evaluation()
    has_ended, classes = run.status == "finished", _classes(weights)
    final = embedding.final_grid(run) if has_ended else None  # a resumed run has old images
    captions = {run.latent_walk_path: WALK_CAPTION, run.nearest_path: NEAREST_CAPTION}
    stills, _ = embedding.embed_pictures(captions if has_ended else {}, STILLS_BYTES)
    html = render(
        "page.html.jinja",
        name=run.name,
        title=config.data.title or (spec.title if spec else "unknown set"),
        config=config,
        options=config.options,
        verdict=summary.verdict(run),
        figures=summary.key_figures(run, weights.network if weights else None),
        stage=STAGES.get(run.status, "of this run"),
        written=round(time.time()) if run.status == "running" else None,
        final=final,
        in_turn=listed(classes, MAX_LISTED) if final else "",
        rows=classes if len(classes) <= MAX_ROWS else [],
        **_film_part(run, spec),
        **live,
        quality=tables.metrics_table(evaluation, _classic(run), spec.class_names if spec else ()),
        words=evaluation.words,
        published=tables.published(spec, evaluation.figures),
        stills=stills,
        **_restoration_part(run, SHEETS_AND_WEIGHTS_BYTES - len(live["weights"])),
    )
    write_text(run.report_path, html)
    return run.report_path


def _film_part(run: Run, spec: DatasetSpec | None) -> dict[str, Any]:
    """The sample grids, a sentence about the epoch of each, and the charts."""
    planned = run.options.get("epochs")
    options = {**run.options, "epochs": planned if type(planned) is int else len(run.history)}
    frames = embedding.film(run, spec.shape if spec else None)
    epochs = [frame["epoch"] for frame in frames]
    film = {
        "history": [row for row in run.history if row["epoch"] in epochs],
        "frames": [
            {"epoch": epoch, "sentence": summary.epoch_sentences(epoch, run.history, options)}
            for epoch in epochs
        ],
    }
    plots = charts.plots(run.history, str(run.options.get("loss")))
    return {"frames": frames, "plots": plots, "film": film}


def _live_part(run: Run) -> tuple[Weights | None, dict[str, Any]]:
    """The generator, and its export for the page; without one, `refusal` is the reason."""
    nothing = {"live": None, "weights": "", "shares": []}
    try:
        weights = run.load_generator()
        live = web_export.export(weights.network)
    except (Fault, OSError) as error:
        return None, {"refusal": f"The generator could not be read: {error}", **nothing}
    except web_export.NotExportable as reason:
        refusal = f"This generator does not run in the page: {reason}."
        return weights, {"refusal": refusal, **nothing}
    live |= {"shape": weights.spec.shape, "classes": _classes(weights)}
    numbers = base64.b64encode(live.pop("weights")).decode()
    return weights, {"refusal": "", "weights": numbers, "shares": live.pop("shares"), "live": live}


def _classes(weights: Weights | None) -> list[str]:
    """The class names of a conditional generator, else []."""
    is_conditional = weights and getattr(weights.network, "classes", 0)
    return list(weights.spec.class_names) if is_conditional else []


def _restoration_part(run: Run, most_bytes: int) -> dict[str, Any]:
    """The results of denoise_images.py for the run: scores, and sheets up to `most_bytes`."""
    results = run.restorations
    scores = results.scores
    run.remarks.extend(results.remarks)
    if scores.generator_sha256 != run.generator_sha256:  # results of older weights
        scores = Scores()
    sheets = tables.sorted_sheets(scores.sheets)
    captions = {results.folder / name: sheet.title or name for name, sheet in sheets.items()}
    embedded, left_out = embedding.embed_pictures(captions, most_bytes)
    return {
        "sheets": embedded,
        "left_out": left_out,
        "restoration_folder": results.folder.name,
        "scores": tables.scores_table(scores),
    }


def _classic(run: Run) -> Run | None:
    """The newest run with the classic recipe that was evaluated with the same images as `run`."""
    images = run.evaluation.compared_with.fingerprint if run.evaluation else ""
    if run.options.get("recipe") == "classic" or not images:
        return None
    for other in Run.all_in(run.outputs):
        scored = other.options.get("recipe") == "classic" and other.evaluation
        if scored and scored.compared_with.fingerprint == images:
            return other
    return None
