"""A run folder as one object, which reads each file once; file names are in `layout`."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from lab import files
from lab.data.datasets import DATASETS, Dataset, DatasetSpec
from lab.errors import Fault, Mistake
from lab.models.serialization import Weights, load_weights, save_weights
from lab.models.tensor_files import digest
from lab.runs import schema
from lab.runs.layout import OUTPUTS, RunFiles, is_run_folder, new_folder
from lab.runs.results import RESULTS, RestorationResults
from lab.runs.schema import Config, DataFacts, Evaluation
from lab.text import command_line, printable

RUN_NAME = re.compile(r"(.+)-([0-9]+)")


class Run(RunFiles):
    """A run folder and its contents."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.remarks: list[str] = []  # about damaged files that are not essential

    name = property(lambda run: run.path.resolve().name)  # `fashion-001`
    outputs = property(lambda run: run.path.resolve().parent)
    is_locked = property(lambda run: files.is_locked(run.path))  # whether another program uses it
    options = property(lambda run: run.config_or_default.options)  # unchecked, may be {}
    figures = property(lambda run: run.evaluation.figures if run.evaluation else {})

    @classmethod
    def create(cls, outputs: Path, name: str) -> Run:
        """Make the next free folder, such as `outputs/fashion-001`; all sets share the numbers."""
        last = max(map(_number_of, _paths_in(outputs)), default=0)
        return cls(new_folder(outputs, name, first=last + 1))

    @classmethod
    def open(cls, flag: str, path: Path, outputs: Path = OUTPUTS) -> Run:
        """The run folder at `path`, or the one of that name in `outputs`.

        flag: the option with the path. Mistake if there is no run, or a link points out of it.
        """
        files.check_path(flag, path)
        by_name = (outputs.parent / path, outputs / path)  # `outputs/fashion-001`, `fashion-001`
        if not path.exists() and len(path.parts) <= 2:
            path = next((found for found in by_name if is_run_folder(found)), path)
        if not is_run_folder(path):
            foreign = "is not a run folder (no config.json of a run in it)"
            what = foreign if path.exists() else "does not exist"
            cure = "name one that gan_lab.py made (its --list shows them)"
            raise Mistake(f"{flag} {path}: {what}; {cure}")
        files.check_closed(flag, path)
        return cls(path)

    @classmethod
    def all_in(cls, outputs: Path) -> list[Run]:
        """Every run in `outputs`, the highest number first, runs without a number last."""
        found = [path for path in _paths_in(outputs) if is_run_folder(path)]
        found.sort(key=lambda path: (_number_of(path), path.name), reverse=True)
        return [cls(path) for path in found]

    @classmethod
    def newest(cls, outputs: Path = OUTPUTS) -> Run:
        """The newest run with a generator, if possible one that was trained for an epoch.

        Prints a note if its training has not finished. Mistake if there is no such run.
        """
        found = [run for run in cls.all_in(outputs) if run.generator_path.is_file()]
        if not found:
            raise Mistake(f"no run with a generator.pth in {outputs}; train one: python gan_lab.py")
        sound = (run for run in found if run.config_or_default.status != "diverged")
        run = next((run for run in sound if run.history), found[0])
        if run.config_or_default.status != "finished":
            print(f"note: {run.name} has not finished its training; --run names another run")
        return run

    @classmethod
    def newest_unfinished(cls, outputs: Path = OUTPUTS) -> Run:
        """The newest unfinished run that no program is training; Mistake if there is none."""
        for run in cls.all_in(outputs):
            try:
                status = run.config.status
            except (Fault, OSError) as error:
                print(f"note: skipped, {printable(str(error))}")
                continue
            if status in ("running", "stopped") and not run.is_locked:
                files.check_closed("--resume", run.path)
                return run
        cure = "name a finished one with a higher --epochs, or train one: python gan_lab.py"
        raise Mistake(f"--resume: no unfinished run in {outputs}; {cure}")

    def check_writable(self, flag: str) -> None:
        """Mistake if the run folder is not writable. flag: the option that named the run."""
        files.check_writable(flag, self.path, cure="change its permissions, or copy the run")

    def command(self, option: str) -> str:
        """The command that calls this script with `option` and this run, from any folder."""
        script, folder = (str(Path(path).absolute()) for path in (sys.argv[0], self.path))
        return command_line(["python", script, option, folder])

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run and remove temporary files of a killed training; Fault if it is locked.

        Temporary folders are kept: generate_images.py, which takes no lock, may be writing them.
        """
        with files.locked(self.path, wait=False):
            for folder in (self.path, self.grid_folder, self.final_folder):
                for path in filter(Path.is_file, folder.glob(".*.part")):
                    path.unlink(missing_ok=True)
            yield

    @cached_property
    def config(self) -> Config:
        """config.json; Fault if it is not a JSON object."""
        return schema.read(self.config_path, Config, self.remarks)

    @property
    def config_or_default(self) -> Config:
        """config.json; if it is damaged, defaults with the status `damaged`."""
        try:
            return self.config
        except (Fault, OSError):
            return Config(status="damaged")

    @cached_property
    def status(self) -> str:
        """`finished`, `running`, `stopped`, `diverged`, or `damaged`."""
        stated = self.config_or_default.status
        is_known = stated in ("finished", "stopped", "diverged", "damaged")
        return stated if is_known else "running" if self.is_locked else "stopped"

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """The rows of history.csv, one per epoch; [] if the file is missing or damaged."""
        if not self.history_path.is_file():
            return []
        try:
            return schema.history_from_csv(files.read_text(self.history_path))
        except (ValueError, Fault, OSError) as error:
            self.remarks.append(f"{self.history_path}: damaged, ignored ({error})")
            return []

    @cached_property
    def generator_sha256(self) -> str | None:
        """SHA-256 of generator.pth; None if it cannot be read."""
        with contextlib.suppress(Fault, OSError):
            return digest(self.generator_path)
        return None

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """evaluation.json; None if it evaluates other weights than the present generator.pth."""
        found = schema.read_if_sound(self.evaluation_path, Evaluation, self.remarks)
        is_current = found and found.generator_sha256 in (None, self.generator_sha256)
        return found if is_current else None

    @cached_property
    def restorations(self) -> RestorationResults:
        """The output of denoise_images.py for this run."""
        return RestorationResults(self.path / RESULTS)

    def load_generator(self) -> Weights:
        """The generator; Fault if it is damaged or missing."""
        return load_weights(self.generator_path, "generator")

    def was_trained_on(self, dataset: Dataset) -> bool:
        """Whether `dataset` has the run's images; True if config.json has no fingerprint."""
        return self.config.data.fingerprint in ("", dataset.fingerprint)

    def write_config(
        self, options: dict[str, Any], other_than_recipe: str, dataset: Dataset, machine: dict
    ) -> None:
        """Write config.json with the options, the data, the machine and the command of the run.

        A resumed run keeps its first command, and the present one becomes `resumed_by`.
        """
        command = command_line(["python", *sys.argv])
        first = self.config.command if self.config_path.is_file() else ""
        self.config = Config(
            options=options,
            other_than_recipe=other_than_recipe,
            data=DataFacts(
                title=dataset.title,
                source=dataset.source,
                fingerprint=dataset.fingerprint,
                is_sample=dataset.is_sample,
                training_images=len(dataset.train_images),
                notices=list(dataset.notices),
            ),
            machine=machine,
            command=first or command,
            started_in=self.config.started_in if first else str(Path.cwd()),
            resumed_by=command if first else "",
        )
        self.save_status("running")

    def save_status(self, status: str) -> None:
        """Write config.json with this status, one of those in `Config`, and the time."""
        self.config.status = status
        self.__dict__.pop("status", None)  # clears the cached property
        self.config.written = time.strftime("%Y-%m-%d %H:%M")
        files.write_json(self.config_path, self.config.model_dump(exclude_defaults=True))

    def save_options(self, options: dict[str, Any]) -> None:
        """Write config.json with options that changed during the training."""
        self.config.options = options
        self.save_status(self.config.status)

    def save_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.__dict__.pop("history", None)  # clears the cached property
        files.write_text(self.history_path, schema.history_as_csv(rows))

    def save_network(self, role: str, network: nn.Module, spec: DatasetSpec, epoch: int) -> None:
        """Write generator.pth or discriminator.pth; `epoch`: the number of completed epochs."""
        self.__dict__.pop("generator_sha256", None)
        images = self.config_or_default.data.fingerprint
        save_weights(self.path / f"{role}.pth", network, spec, epoch=epoch, fingerprint=images)


def _paths_in(outputs: Path) -> list[Path]:
    return list(outputs.iterdir()) if outputs.is_dir() else []


def _number_of(path: Path) -> int:
    """The number in a run's name; 0 for anything else."""
    match = RUN_NAME.fullmatch(path.name)
    return int(match[2]) if match and (match[1] in DATASETS or is_run_folder(path)) else 0
