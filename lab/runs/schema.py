"""The contents of a run's JSON and CSV files, as pydantic models.

The files are not trusted. Missing or damaged parts get their default values, and `read` adds a
remark about damaged parts. A file that is not a JSON object raises Fault.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, OnErrorOmit, ValidationError, field_validator

from lab.errors import Fault
from lab.files import is_plain_name, read_json

MAX_FIGURE = 1e30  # larger losses or scores are damage

Number = Annotated[int | float, Field(gt=-MAX_FIGURE, lt=MAX_FIGURE)]  # not NaN either
Figures = dict[str, OnErrorOmit[Number]]  # without entries that are no finite numbers


class Record(BaseModel):
    """A JSON object whose damaged parts are replaced by their defaults."""

    model_config = ConfigDict(extra="ignore", strict=True)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Convert the content of a file to the fields of the record."""
        return content

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_where_damaged(cls, value: Any, check: Callable[[Any], Any], info: Any) -> Any:
        try:
            return check(value)
        except ValidationError:
            if info.context is not None:
                info.context.append(info.field_name)
            return cls.model_fields[info.field_name].get_default(call_default_factory=True)


Kind = TypeVar("Kind", bound=Record)


def read(path: Path, kind: type[Kind], remarks: list[str]) -> Kind:
    """Read a JSON file, with a remark on damaged parts; Fault if it is not a JSON object."""
    damaged: list[str] = []
    found = kind.model_validate(kind.from_json(read_json(path)), context=damaged)
    if damaged:
        names = ", ".join(dict.fromkeys(damaged))
        remarks.append(f"{path}: damaged, ignored ({names})")
    return found


def read_if_sound(path: Path, kind: type[Kind], remarks: list[str]) -> Kind | None:
    """Read a JSON file; None if it is missing or, with a remark, if `read` fails."""
    if not path.is_file():
        return None
    try:
        return read(path, kind, remarks)
    except (Fault, OSError) as error:
        remarks.append(f"{error}; ignored")
        return None


class DataFacts(Record):
    """The training images of a run."""

    title: str = ""
    source: str = ""
    fingerprint: str = ""
    is_sample: bool = False
    training_images: int | None = None
    notices: list[str] = Field(default_factory=list)  # how the user's pictures were converted


class Config(Record):
    """config.json: options, data, machine, command and status of a run."""

    status: str = ""  # running, finished, stopped or diverged
    written: Annotated[str, Field(pattern=r"^[0-9: -]{16}$")] | None = None  # local time
    options: dict[str, Any] = Field(default_factory=dict)
    other_than_recipe: str = ""
    data: DataFacts = Field(default_factory=DataFacts)
    machine: dict[str, str | int | float] = Field(default_factory=dict)
    command: str = ""
    started_in: str = ""  # working directory of the command
    resumed_by: str = ""


class Comparison(Record):
    """The real images that an evaluation compared with."""

    set: str = ""
    source: str = ""
    fingerprint: str = ""
    is_sample: bool = False
    training_images_for_fcd_train: int | None = None
    test_images: int | None = None
    images_looked_for_as_copies: int | None = None


class Evaluation(Record):
    """evaluation.json: scores of generated images, and the images they were compared with.

    In the file the scores are at the top level, beside the other fields.
    """

    figures: Figures = Field(default_factory=dict)  # the scores, by their keys in METRICS
    class_histogram: Figures = Field(default_factory=dict)
    own_shares: Figures = Field(default_factory=dict)  # shares of the classes in the data set
    judges: dict[str, str] = Field(default_factory=dict)  # the networks that were used
    real: Figures = Field(default_factory=dict)  # the scores of real images
    words: list[str] = Field(default_factory=list)  # interpretation of the scores
    generator_sha256: str | None = None
    compared_with: Comparison = Field(default_factory=Comparison)
    evaluated: str = ""
    dataset: str = ""
    machine: dict[str, str | int | float] = Field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        rest = self.model_dump(exclude={"figures"}, exclude_defaults=True)
        return {**self.figures, **rest}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Collect all entries that are not fields as figures."""
        figures = {name: each for name, each in content.items() if name not in cls.model_fields}
        return {**content, "figures": figures}


Score = dict[str, Number | str | None]  # None: infinite, as the PSNR of equal images


class Sheet(Record):
    """The entry of a sheet of restored images in scores.json."""

    model_config = ConfigDict(extra="allow")  # some kinds of sheets have further entries

    title: str = ""
    corruption: str = ""
    sigma: Number | dict[str, Number] | None = None  # with --images one level per picture
    clipped: bool = False
    images: int | None = None
    scores: dict[str, Score] = Field(default_factory=dict)  # by restorer
    pictures: list[str] = Field(default_factory=list)  # file names of --images
    denoiser_sha256: str | None = None
    sampler_sha256: str | None = None
    bundled_sample: bool = False


class Scores(Record):
    """scores.json: the generator, and the sheets by file name."""

    dataset: str = ""
    generator: str = ""
    generator_sha256: str | None = None
    sheets: dict[str, Sheet] = Field(default_factory=dict)

    @field_validator("sheets", mode="after")
    @classmethod
    def _plain_names_only(cls, sheets: dict[str, Sheet]) -> dict[str, Sheet]:
        return {name: sheet for name, sheet in sheets.items() if is_plain_name(name)}


def history_as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of a history, one per epoch; columns in the order of their first appearance."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def history_from_csv(text: str) -> list[dict[str, float]]:
    """The rows with an epoch, without cells that are not finite; ValueError if damaged."""
    try:
        rows = [
            {
                column: round(float(cell), 30)
                for column, cell in row.items()
                if cell and abs(float(cell)) < MAX_FIGURE
            }
            for row in csv.DictReader(io.StringIO(text))
        ]
    except (TypeError, csv.Error) as error:
        raise ValueError(str(error)) from None
    return [row for row in rows if row.get("epoch", -1) >= 0]
