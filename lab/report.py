"""One self-contained report.html from a run folder, and an index of all runs.

What stands in the folder is shown, what is missing is left out: a report can be made again at any
time, also of a run under way. Names, options and figures come from files that anyone may have
written: Jinja2 escapes them all, and the page's content security policy runs no script but ours.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lab import album, curves, live, models, readings, runs, storage, tables
from lab.data import IMAGE_SIDE, SETS
from lab.errors import Fault, printable

PAGE_FOLDER = Path(__file__).parent / "page"
INDEX_MARK = b'<meta name="generator" content="GAN Lab">'  # in index.html.jinja
SCRIPTS = ("film.js", "generator.js", "play.js")
# Room for pictures in the page, as text; with film and weights it stays below 12 MB.
STILLS_ROOM, SHEETS_ROOM = 600_000, 1_400_000
STILLS = {
    "latent_walk.png": "Each row walks from one latent to another along the sphere. Smooth "
    "change means that images were learned, not stored.",
    "nearest_training_images.png": "Ten generated images, and below each the training image "
    "that is nearest to it pixel by pixel. Near, yet not the same, is what one hopes for.",
}


def write(run: Path) -> Path:
    """Make `run`/report.html and return its path. Raises Fault if config.json is damaged."""
    config = storage.read_json(run / "config.json")
    options, facts = _dict(config.get("options")), _dict(config.get("data"))
    history, evaluation = _history(run), _evaluation(run)
    known, status = SETS.get(str(options.get("dataset"))), _status(run, config)
    generator, refusal = _generator(run)
    html = render(
        "page.html.jinja",
        name=run.resolve().name,
        title=str(facts.get("title") or (known.title if known else "unknown set")),
        dataset=options.get("dataset"),
        config=config,
        options=options,
        facts=facts,
        machine=_dict(config.get("machine")),
        when=_when(run),
        verdict=readings.verdict(status, options, history, evaluation),
        figures=readings.key_figures(options, history, evaluation, generator),
        finished=status == "finished",
        final=album.final_grid(run) if status == "finished" else None,  # else of older weights
        **_film_part(run, options, history),
        **_live_part(generator, refusal),
        quality=tables.results(evaluation, _classic(run, options, evaluation), known),
        words=readings.sentences(evaluation),
        anchors=tables.anchors(str(options.get("dataset")), evaluation),
        stills=_stills(run) if status == "finished" else [],
        **_restoration_part(run),
    )
    path = run / "report.html"
    storage.write_text(path, html)
    return path


def write_index(outputs: Path) -> None:
    """Make `outputs`/index.html, a card a run with its thumbnail; a page that is not ours stays."""
    path = outputs / "index.html"
    if path.is_file() and INDEX_MARK not in path.read_bytes()[:1000]:
        print(f"note: {path} was not made by the lab and stays as it is")
        return
    rows = [
        {
            **row,
            "thumbnail": album.thumbnail(outputs / row["name"]),
            "link": quote(row["name"]) + "/report.html"
            if (outputs / row["name"] / "report.html").is_file()
            else None,
        }
        for row in _rows(outputs)
    ]
    try:
        storage.write_text(path, render("index.html.jinja", rows=rows, note=readings.QUICK_NOTE))
    except PermissionError:  # a run may be ours in a folder that is not
        print(f"note: {path} could not be written, the page of all runs stays as it is")


def list_runs(outputs: Path) -> str:
    """A table of the runs in `outputs`, the newest first, for the screen."""
    rows = [{name: printable(text) for name, text in row.items()} for row in _rows(outputs)]
    if not rows:
        return f"no runs in {outputs}; make one: python gan_lab.py"
    columns = {name: name for name in rows[0]} | {"fcd": "FCD"}
    width = {name: max(len(row[name]) for row in [columns, *rows]) for name in columns}
    lines = []
    for row in [columns, *rows]:
        cells = (
            row[name].rjust(width[name])
            if name in ("seed", "epochs", "fcd")
            else row[name].ljust(width[name])
            for name in columns
        )
        lines.append("  ".join(cells).rstrip())
    if any("~" in row["fcd"] for row in rows):
        lines.append(f"~ {readings.QUICK_NOTE}")
    return "\n".join(lines)


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
        return storage.load_weights(run / "generator.pth", models.Generator)[0], ""
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


def _restoration_part(run: Path) -> dict[str, Any]:
    """What denoise_images.py made with the run's generator: its sheets and scores."""
    restored = _restored(run)
    sheets = _dict(restored.get("sheets"))
    # By noise level; what has none, as cleaned images, comes last.
    levels = {name: readings.number(_dict(facts).get("sigma")) for name, facts in sheets.items()}
    names = sorted(sheets, key=lambda name: (levels[name] is None, levels[name] or 0.0, name))
    paths = [run / "denoising_results" / name for name in names]
    sheets, left_out = album.embedded(paths, SHEETS_ROOM)
    return {"sheets": sheets, "left_out": left_out, "scores": tables.scores(restored)}


# Facts


def _restored(run: Path) -> dict[str, Any]:
    """What scores.json says, if it is of the generator that the run has now."""
    content = _optional_json(run / "denoising_results" / "scores.json")
    sheets = _dict(content.get("sheets"))
    own = {name: facts for name, facts in sheets.items() if Path(name).name == name}
    return {"sheets": own} if own and content.get("generator_sha256") == _digest(run) else {}


def _evaluation(run: Path) -> dict[str, Any]:
    """What evaluation.json says, unless it is of other weights than the run has now."""
    content = _optional_json(run / "evaluation.json")
    digest = content.get("generator_sha256")
    return content if digest is None or digest == _digest(run) else {}


def _digest(run: Path) -> str | None:
    """That of the run's generator; None without one."""
    try:
        return storage.digest(run / "generator.pth")
    except (Fault, OSError):
        return None


def _rows(outputs: Path) -> list[dict[str, str]]:
    """A row of text a run, the newest first; a damaged run is listed, not fatal."""
    rows = []
    for run in runs.all_runs(outputs):
        config = _optional_json(run / "config.json")
        options, history = _dict(config.get("options")), _history(run)
        rows.append(
            {
                "name": run.name,
                "set": str(options.get("dataset", "?"))
                + (" (sample)" if _dict(config.get("data")).get("is_sample") else ""),
                "recipe": str(options.get("recipe", "?")),
                "seed": str(options.get("seed", "?")),
                "epochs": f"{len(history)}/{options.get('epochs', '?')}",
                "status": _status(run, config),
                "fcd": readings.fcd(_evaluation(run), history),
                "when": _when(run),
            }
        )
    return rows


def _status(run: Path, config: dict[str, Any]) -> str:
    """`finished`, `running`, `stopped`, `diverged`, or `damaged`."""
    status = config.get("status")
    if status in ("finished", "diverged"):
        return status
    if not config:
        return "damaged"
    return "running" if runs.is_locked(run) else "stopped"


def _classic(run: Path, options: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    """The evaluation of the newest classic run beside `run`, and its name.

    Only one that was compared with the same images: the sample's figures say nothing of the set's.
    """
    images = _dict(evaluation.get("compared_with")).get("fingerprint")
    if options.get("recipe") == "classic" or not images:
        return {}
    for other in runs.all_runs(run.resolve().parent):
        theirs = _dict(_optional_json(other / "config.json").get("options"))
        found = _evaluation(other)
        same_images = _dict(found.get("compared_with")).get("fingerprint") == images
        if theirs.get("recipe") == "classic" and found and same_images:
            return {"name": other.name, "evaluation": found}
    return {}


def _history(run: Path) -> Sequence[dict[str, float]]:
    """The rows of history.csv; none before the first epoch has ended."""
    try:
        rows = runs.read_history(run / "history.csv")
    except (Fault, OSError):
        return []
    sane = ({name: cell for name, cell in row.items() if abs(cell) < 1e30} for row in rows)
    return [row for row in sane if row.get("epoch", -1) >= 0]


def _optional_json(path: Path) -> dict[str, Any]:
    """The file's content; empty if it is missing or damaged: a report does without it."""
    try:
        return storage.read_json(path)
    except (Fault, OSError):
        return {}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _when(run: Path) -> str:
    """When the run last wrote its history, or its config: local time, `2026-03-01 14:05`."""
    file = run / "history.csv"
    seconds = (file if file.is_file() else run / "config.json").stat().st_mtime
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
