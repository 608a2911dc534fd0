"""A run folder as one object, which reads each of its files once; where they lie, `layout` says."""

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
from lab.data import datasets
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
    """A run folder, and what is in it.

    remarks: what was found damaged in files that a run can do without, a line each.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.remarks: list[str] = []

    @property
    def name(self) -> str:
        """The folder's own name, `fashion-001`."""
        return self.path.resolve().name

    @property
    def outputs(self) -> Path:
        """The folder that the run folder lies in."""
        return self.path.resolve().parent

    # Made and found

    @classmethod
    def create(cls, outputs: Path, name: str) -> Run:
        """Make the next free folder, `outputs/fashion-001` and on; runs of all sets count together.

        Mistake where no folder can be made.
        """
        last = max(map(_number_of, _paths_in(outputs)), default=0)
        return cls(new_folder(outputs, name, first=max(0, last) + 1))

    @classmethod
    def open(cls, flag: str, path: Path, outputs: Path = OUTPUTS) -> Run:
        """The run folder at `path`, or the one of that name in `outputs`.

        flag: the option it was given with. Raises Mistake if there is none, or a link leads out.
        """
        files.check_path(flag, path)
        by_name = (outputs.parent / path, outputs / path)  # README's spelling, and that of --list
        if not path.exists() and len(path.parts) <= 2:
            path = next((found for found in by_name if is_run_folder(found)), path)
        if not is_run_folder(path):
            foreign = "is not a run folder (no config.json in it)"
            what = foreign if path.exists() else "does not exist"
            raise Mistake(
                f"{flag} {path}: {what}; name one that gan_lab.py made (its --list shows them)"
            )
        files.check_closed(flag, path)
        return cls(path)

    @classmethod
    def around(cls, weights: Path) -> Run | None:
        """The run folder that a weights file lies in, if it lies in one."""
        return cls(weights.parent) if is_run_folder(weights.parent) else None

    @classmethod
    def all_in(cls, outputs: Path) -> list[Run]:
        """Every run in `outputs`, the highest number first; those with names of their own follow.

        By number, not by date: clocks go backwards and copying changes dates.
        """
        found = [path for path in _paths_in(outputs) if is_run_folder(path)]
        found.sort(key=lambda path: (_number_of(path), path.name), reverse=True)
        return [cls(path) for path in found]

    @classmethod
    def newest(cls, outputs: Path = OUTPUTS) -> Run:
        """The newest run with a generator, trained for an epoch if there is such; says if not done.

        Mistake with the command that makes one if there is none.
        """
        found = [run for run in cls.all_in(outputs) if run.generator_path.is_file()]
        if not found:
            raise Mistake(f"no run with a generator.pth in {outputs}; make one: python gan_lab.py")
        trained = [run for run in found if run.history and run.readable_config.status != "diverged"]
        run = (trained or found)[0]
        if run.readable_config.status != "finished":
            print(f"note: {run.name} has not finished its training; --run names another run")
        return run

    @classmethod
    def newest_unfinished(cls, outputs: Path = OUTPUTS) -> Run:
        """The newest run that was stopped and that nobody is training; Mistake if there is none."""
        for run in cls.all_in(outputs):
            try:
                status = run.config.status
            except (Fault, OSError) as error:
                print(f"note: passed over, {printable(str(error))}")
                continue
            if status in ("running", "stopped") and not run.is_held:
                files.check_closed("--resume", run.path)
                return run
        raise Mistake(
            f"--resume: no unfinished run in {outputs}; name a finished one with a higher "
            "--epochs, or begin one: python gan_lab.py"
        )

    def check_writable(self, flag: str) -> None:
        """Mistake, naming the option that led here, if nothing can be written into the run."""
        files.check_writable(flag, self.path, cure="make it so, or copy the run")

    def command(self, option: str) -> str:
        """The command that calls this script with `option` for the run, fit for a shell."""
        return command_line(["python", sys.argv[0], option, str(self)])

    # Held

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run; Fault if another program holds it. Clears away what a killed one left."""
        with files.held(self.path, wait=False):
            for folder in (self.path, self.grid_folder, self.final_folder):
                for path in folder.glob(".*.part"):
                    path.unlink(missing_ok=True)
            yield

    @property
    def is_held(self) -> bool:
        """Whether another program is at work in the run."""
        return files.is_held(self.path)

    # Read

    @cached_property
    def config(self) -> Config:
        """config.json; Fault if it is no JSON object."""
        found, damaged = schema.read(self.config_path, Config)
        self._remark(self.config_path, damaged)
        return found

    @property
    def readable_config(self) -> Config:
        """config.json; where it is damaged, one without anything in it but status `damaged`."""
        try:
            return self.config
        except (Fault, OSError):
            return Config(status="damaged")

    @property
    def options(self) -> dict[str, Any]:
        """The options in config.json, as far as it has any; they are not checked."""
        return self.readable_config.options

    @cached_property
    def status(self) -> str:
        """`finished`, `running`, `stopped`, `diverged`, or `damaged`."""
        stated = self.readable_config.status
        if stated in ("finished", "stopped", "diverged", "damaged"):
            return stated
        return "running" if self.is_held else "stopped"

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """The rows of history.csv, one an epoch; none before the first has ended."""
        if not self.history_path.is_file():
            return []
        try:
            return schema.history_from_csv(files.read_text(self.history_path))
        except (ValueError, Fault, OSError) as error:
            self._remark(self.history_path, [str(error)])
            return []

    @cached_property
    def generator_sha256(self) -> str | None:
        """SHA-256 of generator.pth; None without one."""
        try:
            return digest(self.generator_path)
        except (Fault, OSError):
            return None

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """evaluation.json, unless it is of other weights than the run has now."""
        if not self.evaluation_path.is_file():
            return None
        try:
            found, damaged = schema.read(self.evaluation_path, Evaluation)
        except (Fault, OSError) as error:
            self.remarks.append(f"{error}: passed over")
            return None
        self._remark(self.evaluation_path, damaged)
        return found if found.generator_sha256 in (None, self.generator_sha256) else None

    @property
    def figures(self) -> dict[str, float]:
        """The figures of its evaluation; none where there is none."""
        return self.evaluation.figures if self.evaluation else {}

    @cached_property
    def restorations(self) -> RestorationResults:
        """What denoise_images.py made with this run."""
        return RestorationResults(self.path / RESULTS)

    def load_generator(self) -> Weights:
        """The generator; Fault if it is damaged or missing."""
        return load_weights(self.generator_path, "generator")

    def _remark(self, path: Path, damaged: Sequence[str]) -> None:
        if damaged:
            self.remarks.append(f"{path}: damaged, passed over ({', '.join(damaged)})")

    # The images that it was trained on

    def load_dataset(self, data_dir: Path | None = None, name: Any = None) -> Dataset:
        """Images of the run's set, or the set `name`; raises as `datasets.load`.

        Of a run on the bundled sample they are that sample, also where the full set has come since.
        """
        name = name or self.options.get("dataset")
        if not isinstance(name, str) or not (name in DATASETS or Path(name).is_absolute()):
            raise Fault(f"{self.config_path}: does not say which set the run was trained on")
        if name not in DATASETS:
            return self._load_pictures(data_dir, name)
        if self.config.data.is_sample and not data_dir:
            return datasets.load_sample(name)
        return datasets.load(name, data_dir or self.data_dir)

    def _load_pictures(self, data_dir: Path | None, path: str) -> Dataset:
        """A set of one's own, in `data_dir` if it has moved there since, converted as it was then.

        Fault if it is no longer there.
        """
        if not data_dir and not datasets.exists(path):
            raise Fault(
                f"{self}: its pictures were {printable(path)}, which is gone; "
                "say with --data-dir where they are now"
            )
        side, colour = (self.options.get(name) for name in ("image_size", "colour"))
        if type(side) is not int or type(colour) is not bool:
            raise Fault(f"{self.config_path}: does not say of what shape the run's images are")
        return datasets.load_pictures(data_dir or Path(path), (3 if colour else 1, side, side))

    def load_own_dataset(self, data_dir: Path | None = None) -> Dataset:
        """The very images that the run was trained on, from `data_dir` if that is given.

        Mistake if a full set is given for a run on the sample; Fault for any other images.
        """
        dataset = self.load_dataset(data_dir)
        if self.config.data.is_sample and not dataset.is_sample:
            raise Mistake(
                f"--data-dir {data_dir}: {self} was trained on the bundled sample and is held "
                "against it; leave --data-dir out, or train a new run on these images"
            )
        if not self.was_trained_on(dataset):
            raise Fault(
                f"{self} was trained on other images (from {self.config.data.source}) than those "
                f"found in {dataset.source}; name its own with --data-dir"
            )
        return dataset

    def was_trained_on(self, dataset: Dataset) -> bool:
        """Whether these are the run's images; true where config.json does not say."""
        return self.config.data.fingerprint in ("", dataset.fingerprint)

    @property
    def data_dir(self) -> Path | None:
        """The --data-dir of the run, if there is such a folder here."""
        stored = self.options.get("data_dir")
        path = files.at_home(stored) if isinstance(stored, str) else None
        return path if path and path.is_dir() else None

    # Written

    def begin(
        self,
        options: Mapping[str, Any],
        other_than_recipe: str,
        dataset: Dataset,
        machine: Mapping[str, str | int],
    ) -> None:
        """Write config.json: everything that decides the run, and the command that begins it.

        Of a run that goes on, the command it began with stays beside the one that took it up.
        """
        command = command_line(["python", *sys.argv])
        first = self.config.command if self.config_path.is_file() else ""
        self.config = Config(
            options=dict(options),
            other_than_recipe=other_than_recipe,
            data=DataFacts(
                title=dataset.title,
                source=dataset.source,
                fingerprint=dataset.fingerprint,
                is_sample=dataset.is_sample,
                training_images=len(dataset.train_images),
                notices=list(dataset.notices),
            ),
            machine=dict(machine),
            command=first or command,
            resumed_by=command if first else "",
        )
        self.save_status("running")

    def save_status(self, status: str) -> None:
        """Write config.json with this status, as in `Config`, and the time."""
        self.config.status = status
        self.__dict__.pop("status", None)  # what was read before is no longer so
        self.config.written = time.strftime("%Y-%m-%d %H:%M")
        files.write_json(self.config_path, self.config.model_dump(exclude_defaults=True))

    def save_options(self, options: Mapping[str, Any]) -> None:
        """Write config.json with options that were decided while it trains."""
        self.config.options = dict(options)
        self.save_status(self.config.status)

    def save_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write history.csv."""
        self.__dict__.pop("history", None)  # what was read before is no longer there
        files.write_text(self.history_path, schema.history_as_csv(rows))

    def save_network(self, role: str, network: nn.Module, spec: DatasetSpec, epoch: int) -> None:
        """Write generator.pth or discriminator.pth; `epoch` is how many were completed."""
        self.__dict__.pop("generator_sha256", None)
        save_weights(self.path / f"{role}.pth", network, spec, epoch=epoch)


def _paths_in(outputs: Path) -> list[Path]:
    return list(outputs.iterdir()) if outputs.is_dir() else []


def _number_of(path: Path) -> int:
    """The number of what is named like a run of a set; -1 of anything else."""
    match = RUN_NAME.fullmatch(path.name)
    return int(match[2]) if match and (match[1] in DATASETS or is_run_folder(path)) else -1
