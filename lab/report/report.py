"""One self-contained report.html from a run folder.

What stands in the folder is shown, what is missing is left out: a report can be made again at any
time, also of a run under way. Names, options and figures come from files that anyone may have
written: Jinja2 escapes them all, and the page's content security policy runs no script but ours.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import files as storage
from lab.data.datasets import IMAGE_SIDE, SETS
from lab.errors import Fault
from lab.models import networks as models
from lab.models import serialization as tensors
from lab.report import album, tables
from lab.report import charts as curves
from lab.report import summary as readings
from lab.report import web_export as live
from lab.runs import records
from lab.runs import run as runs

PAGE_FOLDER = Path(__file__).parent / "templates"
SCRIPTS = ("film.js", "generator.js", "play.js")
# Room in the page, as text, for pictures, and for sheets together with the generator's weights;
# with the film it stays below 12 MB.
STILLS_ROOM, SHEETS_AND_WEIGHTS_ROOM = 600_000, 8_800_000
STAGES = {
    "finished": "at the end of the run",
    "running": "of a run that has not ended",
    "stopped": "of a run that was stopped",
    "diverged": "of a run that diverged, as it was at its last sample grid",
}
STILLS = {
    "latent_walk.png": "Each row walks from one latent to another along the sphere. Smooth "
    "change means that images were learned, not stored.",
    "nearest_training_images.png": "Ten generated images, and below each the training image "
    "that is nearest to it pixel by pixel. Similar but not equal is good.",
}


def write(run: Path) -> Path:
    """Make `run`/report.html and return its path. Raises Fault if config.json is damaged."""
    config = storage.read_json(run / "config.json")
    options, facts = storage.as_dict(config.get("options")), storage.as_dict(config.get("data"))
    history, evaluation = records.history(run), records.evaluation(run)
    known, status = SETS.get(str(options.get("dataset"))), records.status(run, config)
    generator, refusal = _generator(run)
    live_part = _live_part(generator, refusal)
    html = render(
        "page.html.jinja",
        name=run.resolve().name,
        title=str(facts.get("title") or (known.title if known else "unknown set")),
        dataset=options.get("dataset"),
        config=config,
        options=options,
        facts=facts,
        machine=storage.as_dict(config.get("machine")),
        when=records.when(run, config),
        verdict=readings.verdict(status, options, history, evaluation),
        figures=readings.key_figures(options, history, evaluation, generator),
        stage=STAGES.get(status, "of this run"),
        final=album.final_grid(run) if status == "finished" else None,  # else of older weights
        **_film_part(run, options, history),
        **live_part,
        quality=tables.results(evaluation, _classic(run, options, evaluation), known),
        words=readings.sentences(evaluation),
        anchors=tables.anchors(str(options.get("dataset")), evaluation),
        stills=_stills(run) if status == "finished" else [],
        **_restoration_part(run, SHEETS_AND_WEIGHTS_ROOM - len(live_part["weights"])),
    )
    path = run / "report.html"
    storage.write_text(path, html)
    return path


def render(template: str, **context: Any) -> str:
    """A page from its Jinja2 template, with the style and the script it carries inside."""
    # Imported late: a training that has just begun needs no page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(PAGE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = "\n".join((PAGE_FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        style=Markup((PAGE_FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        **context,
    )


# The parts of the page


def _film_part(
    run: Path, options: dict[str, Any], history: Sequence[dict[str, float]]
) -> dict[str, Any]:
    """The training: its frames, each with what is seen there, and its curves."""
    epochs = options.get("epochs") if isinstance(options.get("epochs"), int) else len(history)
    planned = {**options, "epochs": epochs}
    frames = [
        frame | {"sentence": readings.of_epoch(frame["epoch"], history, planned)}
        for frame in album.film(run)
    ]
    shown = {frame["epoch"] for frame in frames}
    return {
        "frames": frames,
        "charts": curves.charts(history, options.get("loss", "non-saturating")),
        "film": {
            "history": [row for row in history if row["epoch"] in shown],
            "frames": [{key: frame[key] for key in ("epoch", "sentence")} for frame in frames],
        },
    }


def _generator(run: Path) -> tuple[Any, str]:
    """The run's generator, or None and the reason."""
    try:
        return tensors.load_weights(run / "generator.pth", models.Generator)[0], ""
    except (Fault, OSError) as error:
        return None, f"The generator could not be read: {error}"


def _live_part(generator: Any, refusal: str) -> dict[str, Any]:
    """The generator's copy for the page; where there is none, `refusal` says why."""
    nothing = {"live": None, "weights": "", "shares": []}
    if refusal:
        return {"refusal": refusal, **nothing}
    try:
        copy = live.export(generator)
    except live.Unsuited as reason:
        return {"refusal": f"This generator does not run in the page: {reason}.", **nothing}
    return {
        "refusal": "",
        "live": {
            "operations": copy.operations,
            "directions": copy.directions,
            "latent": generator.config["latent_dim"],
            "side": IMAGE_SIDE,
        },
        "weights": base64.b64encode(copy.weights).decode(),
        "shares": copy.shares,
    }


def _stills(run: Path) -> list[dict[str, str]]:
    """The pictures of STILLS that there are, each with its caption."""
    found, _ = album.embedded([run / name for name in STILLS], STILLS_ROOM)
    return [still | {"caption": STILLS[still["name"]]} for still in found]


def _restoration_part(run: Path, room: int) -> dict[str, Any]:
    """What denoise_images.py made with the run's generator: scores, and the sheets that fit."""
    restored = records.restored(run)
    sheets = storage.as_dict(restored.get("sheets"))
    # By noise level; what has none, as cleaned images, comes last.
    levels = {
        name: readings.number(storage.as_dict(facts).get("sigma")) for name, facts in sheets.items()
    }
    names = sorted(sheets, key=lambda name: (levels[name] is None, levels[name] or 0.0, name))
    paths = [run / runs.RESULTS / name for name in names]
    embedded, left_out = album.embedded(paths, room)
    titles = {name: storage.as_dict(facts).get("title", name) for name, facts in sheets.items()}
    sheets = [sheet | {"caption": titles[sheet["name"]]} for sheet in embedded]
    return {"sheets": sheets, "left_out": left_out, "scores": tables.scores(restored)}


def _classic(run: Path, options: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    """The evaluation of the newest classic run beside `run`, and its name.

    Only one that was compared with the same images: the sample's figures say nothing of the set's.
    """
    images = storage.as_dict(evaluation.get("compared_with")).get("fingerprint")
    if options.get("recipe") == "classic" or not images:
        return {}
    for other in runs.all_runs(run.resolve().parent):
        theirs = storage.as_dict(records.content(other / "config.json").get("options"))
        if theirs.get("recipe") != "classic":
            continue
        found = records.evaluation(other)
        if storage.as_dict(found.get("compared_with")).get("fingerprint") == images:
            return {"name": other.name, "evaluation": found}
    return {}
