"""One self-contained page of a run, report.html, and what shows runs that are there.

What stands in the run is shown, what is missing is left out: the page can be made again at any
time, also of a run under way; such a page loads itself again now and then (templates/live.js), and
the reader keeps what he was looking at. What one can do with the generator is told in
templates/play.js (steer, walk), restore.js (noise) and fill.js (a mask drawn by hand).
Names, options and figures come from files that anyone may have written: Jinja2 escapes them all,
and the page's content security policy runs no script but ours.
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
from lab.report.figures import MOST_ROWS
from lab.report.page import render
from lab.runs.run import Run
from lab.runs.schema import Evaluation, Scores
from lab.text import printable

# Room in the page, as text, for pictures, and for sheets together with the generator's weights;
# with the film it stays below 12 MB.
STILLS_ROOM, SHEETS_AND_WEIGHTS_ROOM = 1_000_000, 8_700_000
STAGES = {
    "finished": "at the end of the run",
    "running": "of a run that has not ended",
    "stopped": "of a run that was stopped",
    "diverged": "of a run that diverged, as it was at its last sample grid",
}
WALK_CAPTION = (
    "Each row walks from one latent to another along the sphere. Smooth change means that images "
    "were learned, not stored."
)
NEAREST_CAPTION = (
    "Generated images, and below each the training image that is nearest to it pixel by pixel. "
    "Similar but not equal is good."
)


def look_at_runs(outputs: Path, run: Path | None, list_runs: bool) -> None:
    """What --report (its `run`) and --list ask for: a page made anew, the table of the runs.

    The table is of the runs beside `run`, else in `outputs`. Mistake where nothing is there.
    """
    if run:
        shown = Run.open("--report", run, outputs)
        shown.check_writable("--report")
        show(shown)
        outputs = shown.outputs
        print(f"done: {shown.report_path}")
    elif not outputs.is_dir():
        what = "is not a folder" if outputs.exists() else "there is no such folder"
        raise Mistake(f"--out {outputs}: {what}; name one that runs were made in")
    if list_runs:
        if index.path_in(outputs).is_file():  # a run may have been deleted since
            index.write(outputs)
        print(index.table(outputs))


def show(run: Run) -> None:
    """Make the run's page as it stands, and the page of all runs; say what was damaged."""
    run = Run(run.path)  # what lies there now: the caller may have written since it read
    write(run)
    index.write(run.outputs)
    for remark in run.remarks:
        print(f"note: {printable(remark)}")


def write(run: Run) -> Path:
    """Make the page of `run` and return its path. Raises Fault if config.json is damaged."""
    config = run.config
    weights, live = _live_part(run)
    spec = weights.spec if weights else DATASETS.get(str(run.options.get("dataset")))
    evaluation = run.evaluation or Evaluation()
    has_ended, classes = run.status == "finished", _classes(weights)
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
        final=embedding.final_grid(run) if has_ended else None,  # else of older weights
        in_turn=classes if has_ended else [],
        rows=classes if len(classes) <= MOST_ROWS else [],
        **_film_part(run, spec),
        **live,
        quality=tables.results(evaluation, _classic(run), spec.class_names if spec else ()),
        words=evaluation.words,
        published=tables.published(spec, evaluation.figures),
        stills=_stills(run) if has_ended else [],
        **_restoration_part(run, SHEETS_AND_WEIGHTS_ROOM - len(live["weights"])),
    )
    write_text(run.report_path, html)
    return run.report_path


# The parts of the page


def _film_part(run: Run, spec: DatasetSpec | None) -> dict[str, Any]:
    """The training: its frames, each with what is seen there, and its charts."""
    epochs = run.options.get("epochs")
    planned = {**run.options, "epochs": epochs if type(epochs) is int else len(run.history)}
    frames = embedding.film(run, spec.shape if spec else None)
    for frame in frames:
        frame["sentence"] = summary.of_epoch(frame["epoch"], run.history, planned)
    shown = {frame["epoch"]: frame["sentence"] for frame in frames}
    film = {
        "history": [row for row in run.history if row["epoch"] in shown],
        "frames": [{"epoch": epoch, "sentence": said} for epoch, said in shown.items()],
    }
    plots = charts.plots(run.history, str(run.options.get("loss")))
    return {"frames": frames, "plots": plots, "film": film}


def _live_part(run: Run) -> tuple[Weights | None, dict[str, Any]]:
    """The generator, and its copy for the page; where there is none, `refusal` says why."""
    weights, nothing = None, {"live": None, "weights": "", "shares": []}
    try:
        weights = run.load_generator()
        live = web_export.export(weights.network)
    except (Fault, OSError) as error:
        return None, {"refusal": f"The generator could not be read: {error}", **nothing}
    except web_export.Unsuited as reason:
        refusal = f"This generator does not run in the page: {reason}."
        return weights, {"refusal": refusal, **nothing}
    live |= {"shape": weights.spec.shape, "classes": _classes(weights)}
    numbers = base64.b64encode(live.pop("weights")).decode()
    return weights, {"refusal": "", "weights": numbers, "shares": live.pop("shares"), "live": live}


def _classes(weights: Weights | None) -> list[str]:
    """The names of the classes that a conditional generator can be asked for."""
    classes = getattr(weights.network, "classes", 0) if weights else 0
    names = weights.spec.class_names if classes else ()
    return list(names) if len(names) == classes else [str(label) for label in range(classes)]


def _stills(run: Run) -> list[dict[str, str]]:
    """The latent walk and the nearest training images, where they are there, with captions."""
    captions = {run.latent_walk_path: WALK_CAPTION, run.nearest_path: NEAREST_CAPTION}
    found, _ = embedding.embedded(captions, STILLS_ROOM)
    return [still | {"caption": captions[run.path / still["name"]]} for still in found]


def _restoration_part(run: Run, room: int) -> dict[str, Any]:
    """What denoise_images.py made with the run's generator: scores, and the sheets that fit."""
    results = run.restorations
    found = results.scores
    run.remarks.extend(results.remarks)
    if found.generator_sha256 != run.generator_sha256:  # of other weights than there are now
        found = Scores()
    sheets = tables.in_order(found.sheets)
    embedded, left_out = embedding.embedded(list(map(results.sheet_path, sheets)), room)
    for sheet in embedded:
        sheet["caption"] = sheets[sheet["name"]].title or sheet["name"]
    return {
        "sheets": embedded,
        "left_out": left_out,
        "restoration_folder": results.folder.name,
        "scores": tables.scores(found),
    }


def _classic(run: Run) -> Run | None:
    """The newest classic run beside `run` that was compared with the same images."""
    images = run.evaluation.compared_with.fingerprint if run.evaluation else ""
    if run.options.get("recipe") == "classic" or not images:
        return None
    for other in Run.all_in(run.outputs):
        scored = other.options.get("recipe") == "classic" and other.evaluation
        if scored and scored.compared_with.fingerprint == images:
            return other
    return None
