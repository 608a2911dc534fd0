"""What --resume asks for: the run that goes on, and the options it began with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from lab.errors import Fault, Mistake
from lab.files import at_home
from lab.options import options_from_config, refuse_others
from lab.runs.layout import OUTPUTS
from lab.runs.run import Run

MAY_CHANGE = ("epochs", "data_dir", "device", "out", "dry_run")

Options = TypeVar("Options")


def resumed(kind: type[Options], given: dict[str, Any]) -> tuple[Options, Run]:
    """The options of the run that --resume names, and the run; --epochs may be raised.

    kind: the Options of gan_lab.py. given: those that were typed.
    """
    cure = "a resumed run keeps its own; with --resume only {} may be given"
    refuse_others(given, ("resume", *MAY_CHANGE), cure)
    outputs = given.get("out", OUTPUTS)
    if given["resume"] == "newest":
        run = Run.newest_unfinished(outputs)
    else:
        run = Run.open("--resume", Path(given["resume"]), outputs)
        if run.is_held:
            raise Mistake(f"--resume {run}: is being trained; wait for that, or stop it first")
    stored = _stored_options(kind, given, run)
    options = dataclasses.replace(stored, **given)
    if options.epochs < stored.epochs:
        what = f"the run has {stored.epochs}"
        raise Mistake(f"--epochs {options.epochs}: {what}; give more, or leave it out")
    if run.config.status == "finished":
        if options.epochs == stored.epochs:
            cure = f"raise --epochs above {stored.epochs} to go on"
            raise Mistake(f"--resume {run}: has finished; {cure}")
        if not run.checkpoint_path.is_file():  # to begin again would destroy what it has
            raise Fault(f"{run.checkpoint_path}: is missing, without it the run cannot go on")
    return options, run


def _stored_options(kind: type[Options], given: dict[str, Any], run: Run) -> Options:
    """The options in the run's config.json, checked as if they had been typed."""
    content = dict(run.config.options)
    where = given.get("data_dir", content.get("data_dir"))
    if isinstance(where, str) and not at_home(where).is_dir():  # it may be gone
        what = f"its images were in {where}, which is gone"
        raise Mistake(f"--resume {run}: {what}; say with --data-dir where they are now")
    content["data_dir"] = where
    content.pop("out", None)  # where runs were made then; this one has its folder
    stored = options_from_config(kind, content if run.config.options else None, run.config_path)
    if stored.epochs is None:
        raise Fault(f"{run.config_path}: does not say how many epochs the run has")
    return stored
