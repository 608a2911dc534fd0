"""The run that --resume names, and its options."""

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


def resume_options(kind: type[Options], given: dict[str, Any]) -> tuple[Options, Run]:
    """The run that --resume names and its options, with changes of those in MAY_CHANGE.

    kind: the Options class of gan_lab.py. given: the options on the command line. Raises Mistake
    or Fault if the run cannot be resumed with them.
    """
    cure = "a resumed run keeps its own; only {} may be given"
    refuse_others(given, ("resume", *MAY_CHANGE), cure)
    outputs = given.get("out", OUTPUTS)
    if given["resume"] == "newest":
        run = Run.newest_unfinished(outputs)
    else:
        run = Run.open("--resume", Path(given["resume"]), outputs)
        if run.is_locked:
            raise Mistake(f"--resume {run}: is being trained; wait for that, or stop it first")
    stored = _stored_options(kind, given, run)
    options = dataclasses.replace(stored, **given)
    if options.epochs < stored.epochs:
        what = f"the run has {stored.epochs}"
        raise Mistake(f"--epochs {options.epochs}: {what}; give more, or leave it out")
    status = run.config.status
    if status == "finished" and options.epochs == stored.epochs:
        cure = f"raise --epochs above {stored.epochs} to continue"
        raise Mistake(f"--resume {run}: has finished; {cure}")
    # A killed run may have none yet; for others, training from the start would overwrite the run.
    if status in ("finished", "stopped") and not run.checkpoint_path.is_file():
        raise Fault(f"{run.checkpoint_path}: is missing; the run cannot be resumed without it")
    return options, run


def _stored_options(kind: type[Options], given: dict[str, Any], run: Run) -> Options:
    """The options in the run's config.json, checked like those on the command line."""
    content = dict(run.config.options)
    data_dir = given.get("data_dir", content.get("data_dir"))
    if isinstance(data_dir, str) and not at_home(data_dir).is_dir():
        what = f"its images were in {data_dir}, which no longer exists"
        raise Mistake(f"--resume {run}: {what}; say with --data-dir where they are now")
    content["data_dir"] = data_dir
    content.pop("out", None)  # the run may have been moved
    stored = options_from_config(kind, content if run.config.options else None, run.config_path)
    if stored.epochs is None:
        raise Fault(f"{run.config_path}: does not say how many epochs the run has")
    return stored
