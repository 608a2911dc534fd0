"""The overview of all runs: outputs/index.html, and the table of `gan_lab.py --list`."""

import errno
import os
from pathlib import Path, PureWindowsPath
from urllib.parse import quote

from lab.data.datasets import DATASETS
from lab.errors import Fault
from lab.files import write_text
from lab.report import embedding, summary
from lab.report.page import render
from lab.runs.run import Run
from lab.text import printable

OWN_MARK = b'<meta name="generator" content="GAN Lab">'  # in index.html.jinja
RIGHT_ALIGNED = ("seed", "epochs", "fcd")  # columns


def write(outputs: Path) -> None:
    """Write the page of all runs; an index.html of another program is kept."""
    path = path_in(outputs)
    if path.is_file() and OWN_MARK not in path.read_bytes()[:1000]:
        print(f"note: {path} was not written by the lab, so it was not replaced")
        return
    cards = []
    for run in Run.all_in(outputs):
        link = f"{quote(os.fsencode(run.path.name))}/{run.report_path.name}"
        card = {"link": link if run.report_path.is_file() else None}
        cards.append(_row(run) | card | {"thumbnail": embedding.thumbnail(run, _shape_of(run))})
    try:
        write_text(path, render("index.html.jinja", rows=cards, note=summary.QUICK_NOTE))
    except OSError as error:  # `outputs` may belong to another user, or be mounted read-only
        if not isinstance(error, PermissionError) and error.errno != errno.EROFS:
            raise
        print(f"note: {path} could not be written, so the page of all runs is not up to date")


def path_in(outputs: Path) -> Path:
    """The path of the page of all runs."""
    return outputs / "index.html"


def _shape_of(run: Run) -> tuple[int, int, int] | None:
    """The shape of a run's images; None if neither its options nor its generator have it."""
    if spec := DATASETS.get(str(run.options.get("dataset"))):  # faster than reading the weights
        return spec.shape
    try:
        return run.load_generator().spec.shape
    except (Fault, OSError):
        return None


def table(outputs: Path) -> str:
    """A text table of the runs in `outputs`, the newest first."""
    runs = map(_row, Run.all_in(outputs))
    rows = [{name: printable(text) for name, text in row.items()} for row in runs]
    if not rows:
        return f"no runs in {outputs}; train one: python gan_lab.py"
    rows.insert(0, {name: name for name in rows[0]} | {"fcd": "FCD"})
    width = {name: max(len(row[name]) for row in rows) for name in rows[0]}
    form = {name: f"{'>' if name in RIGHT_ALIGNED else '<'}{most}" for name, most in width.items()}
    cells = ([format(text, form[name]) for name, text in row.items()] for row in rows)
    lines = ["  ".join(row).rstrip() for row in cells]
    quick = any("~" in row["fcd"] for row in rows)
    return "\n".join(lines + [f"~ {summary.QUICK_NOTE}"] * quick)


def _row(run: Run) -> dict[str, str]:
    """The cells of a run in the table and on the page; damaged runs are listed too."""
    config, options = run.config_or_default, run.options
    dataset = str(options.get("dataset", "?"))  # a name, or a path of any system
    return {
        "name": run.path.name,
        "set": PureWindowsPath(dataset).name + " (sample)" * config.data.is_sample,
        "recipe": str(options.get("recipe", "?")),
        "seed": str(options.get("seed", "?")),
        "epochs": f"{len(run.history)}/{options.get('epochs', '?')}",
        "status": run.status,
        "fcd": summary.fcd_text(run),
        "when": config.written or "?",
        "changes to the recipe": config.other_than_recipe,
    }
