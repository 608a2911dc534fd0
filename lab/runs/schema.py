"""What the files of a run hold: one schema for those who write them and those who read them.

Anyone may have written these files. A part that is missing has its default; a part that is damaged
has it too, and is remarked on (`read`). Where a file as a whole is no JSON object, that is a Fault.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from lab.errors import Fault
from lab.files import is_plain_name, read_json

MOST_FIGURE = 1e30  # no loss or score that one would show is beyond


def _showable(value: float) -> float:
    if not abs(value) < MOST_FIGURE:  # NaN fails every comparison and ends here too
        raise ValueError("is not a number one can show")
    return value


def _showable_only(figures: Any) -> Any:
    """A dictionary without the entries that hold no number one can show."""
    if not isinstance(figures, dict):
        return figures
    return {
        name: value
        for name, value in figures.items()
        if type(value) in (int, float) and abs(value) < MOST_FIGURE
    }


Number = Annotated[int | float, AfterValidator(_showable)]
Figures = Annotated[dict[str, Number], BeforeValidator(_showable_only)]


class Record(BaseModel):
    """A JSON object of which damaged parts are replaced by their defaults."""

    model_config = ConfigDict(extra="ignore", strict=True)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> dict[str, Any]:
        """The record's fields, from what a file holds."""
        return content

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_where_damaged(
        cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        try:
            return check(value)
        except ValidationError:
            if info.context is not None:
                info.context.append(info.field_name)
            return cls.model_fields[info.field_name].get_default(call_default_factory=True)


Kind = TypeVar("Kind", bound=Record)


def read(path: Path, kind: type[Kind], remarks: list[str]) -> Kind:
    """What a JSON file holds, with a remark on its damaged parts; Fault if it is no object."""
    damaged: list[str] = []
    content = kind.from_json(read_json(path))
    try:
        found = kind.model_validate(content, context=damaged)
    except ValidationError as error:
        raise Fault(f"{path}: damaged ({error.errors()[0]['msg']})") from None
    if damaged:
        names = ", ".join(dict.fromkeys(damaged))
        remarks.append(f"{path}: damaged, passed over ({names})")
    return found


def read_if_sound(path: Path, kind: type[Kind], remarks: list[str]) -> Kind | None:
    """The same; None where there is no such file, or, with a remark, where `read` fails."""
    if not path.is_file():
        return None
    try:
        return read(path, kind, remarks)
    except (Fault, OSError) as error:
        remarks.append(f"{error}: passed over")
        return None


class DataFacts(Record):
    """Which images a run was trained on."""

    title: str = ""
    source: str = ""
    fingerprint: str = ""
    is_sample: bool = False
    training_images: int | None = None
    notices: list[str] = Field(default_factory=list)  # what was done to one's own pictures


class Config(Record):
    """config.json: everything that decided a run, the command that began it, how it has ended."""

    status: str = ""  # running, finished, stopped or diverged
    written: Annotated[str, Field(pattern=r"^[0-9: -]{16}$")] | None = None  # local time
    options: dict[str, Any] = Field(default_factory=dict)
    other_than_recipe: str = ""
    data: DataFacts = Field(default_factory=DataFacts)
    machine: dict[str, str | int | float] = Field(default_factory=dict)
    command: str = ""
    started_in: str = ""  # the folder that paths in the command begin at
    resumed_by: str = ""


class Comparison(Record):
    """Which images an evaluation compared with."""

    set: str = ""
    source: str = ""
    fingerprint: str = ""
    is_sample: bool = False
    training_images_for_fcd_train: int | None = None
    test_images: int | None = None
    images_looked_for_as_copies: int | None = None


class Evaluation(Record):
    """evaluation.json: the figures of images by their key, and what they were compared with.

    Figures stand at the top level of the file, beside what is not a figure.
    """

    figures: Figures = Field(default_factory=dict)
    class_histogram: Figures = Field(default_factory=dict)
    own_shares: Figures = Field(default_factory=dict)  # of the classes in the set
    judges: dict[str, str] = Field(default_factory=dict)  # who the figures are of, by name
    real: Figures = Field(default_factory=dict)  # the figures of real images
    words: list[str] = Field(default_factory=list)
    generator_sha256: str | None = None
    compared_with: Comparison = Field(default_factory=Comparison)
    evaluated: str = ""
    dataset: str = ""
    machine: dict[str, str | int | float] = Field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What the file holds."""
        rest = self.model_dump(exclude={"figures"}, exclude_defaults=True)
        return {**self.figures, **rest}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Every figure that can be shown, under whatever name, is one of the figures."""
        figures = {name: each for name, each in content.items() if name not in cls.model_fields}
        return {**content, "figures": figures}


Score = dict[str, Number | str | None]  # null: infinite, as the PSNR of equal images


class Sheet(Record):
    """What scores.json says of one sheet of restored images."""

    model_config = ConfigDict(extra="allow")  # each kind of sheet has facts of its own

    title: str = ""
    corruption: str = ""
    sigma: Number | dict[str, Number] | None = None  # of one's own pictures a level each
    clipped: bool = False
    images: int | None = None
    scores: dict[str, Score] = Field(default_factory=dict)  # by restorer
    pictures: list[str] = Field(default_factory=list)  # restored files, one's own
    denoiser_sha256: str | None = None
    sampler_sha256: str | None = None
    bundled_sample: bool = False


class Scores(Record):
    """scores.json: which generator restored, and a record for each sheet by its file's name."""

    dataset: str = ""
    generator: str = ""
    generator_sha256: str | None = None
    sheets: dict[str, Sheet] = Field(default_factory=dict)

    @field_validator("sheets", mode="after")
    @classmethod
    def _plain_names_only(cls, sheets: dict[str, Sheet]) -> dict[str, Sheet]:
        return {name: sheet for name, sheet in sheets.items() if is_plain_name(name)}


# history.csv


def history_as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of a history, one an epoch; columns in the order they first appear."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def history_from_csv(text: str) -> list[dict[str, float]]:
    """The rows that have an epoch, with cells that hold a number one can show; or a ValueError."""
    try:
        rows = [
            {
                column: round(float(cell), 30)
                for column, cell in row.items()
                if cell and abs(float(cell)) < MOST_FIGURE
            }
            for row in csv.DictReader(io.StringIO(text))
        ]
    except (TypeError, csv.Error) as error:
        raise ValueError(str(error)) from None
    return [row for row in rows if row.get("epoch", -1) >= 0]
