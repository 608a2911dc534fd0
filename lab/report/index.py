"""All runs of an outputs folder at a glance: index.html, and the table of `gan_lab.py --list`."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from lab import files as storage
from lab.report import album, report
from lab.report import summary as readings
from lab.runs import records
from lab.runs import run as runs
from lab.text import printable

OWN_MARK = b'<meta name="generator" content="GAN Lab">'  # in index.html.jinja


def write(outputs: Path) -> None:
    """Make `outputs`/index.html, a card a run with its thumbnail; a page that is not ours stays."""
    path = outputs / "index.html"
    if not _is_ours(path):
        print(f"note: {path} was not made by the lab and stays as it is")
        return
    rows = [
        {
            **row,
            "thumbnail": album.thumbnail(outputs / row["name"]),
            "link": quote(os.fsencode(row["name"])) + "/report.html"
            if (outputs / row["name"] / "report.html").is_file()
            else None,
        }
        for row in _rows(outputs)
    ]
    try:
        page = report.render("index.html.jinja", rows=rows, note=readings.QUICK_NOTE)
        storage.write_text(path, page)
    except PermissionError:  # a run may be ours in a folder that is not
        print(f"note: {path} could not be written, the page of all runs stays as it is")


def _is_ours(path: Path) -> bool:
    """Whether `path` may be written over."""
    if not path.is_file():
        return True
    with path.open("rb") as file:
        return OWN_MARK in file.read(1000)


def table(outputs: Path) -> str:
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


def _rows(outputs: Path) -> list[dict[str, str]]:
    """A row of text a run, the newest first; a damaged run is listed, not fatal."""
    rows = []
    for run in runs.all_runs(outputs):
        config = records.content(run / "config.json")
        options, history = storage.as_dict(config.get("options")), records.history(run)
        rows.append(
            {
                "name": run.name,
                "set": str(options.get("dataset", "?"))
                + (" (sample)" if storage.as_dict(config.get("data")).get("is_sample") else ""),
                "recipe": str(options.get("recipe", "?")),
                "seed": str(options.get("seed", "?")),
                "epochs": f"{len(history)}/{options.get('epochs', '?')}",
                "status": records.status(run, config),
                "fcd": readings.fcd(records.evaluation(run), history),
                "when": records.when(run, config),
                "other than the recipe": str(config.get("other_than_recipe", "")),
            }
        )
    return rows
