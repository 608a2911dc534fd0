"""The image sets: one that has been read, held whole in memory, and where it is looked for.

A set is a row of DATASETS, or a folder, zip or npz of one's own; nothing outside this folder knows
one by its name. Networks, grids and pages take their shapes from its spec.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lab.data import own
from lab.data.sources import NoDownload, Part
from lab.data.specs import DATASETS, SAMPLE_FOLDER, DatasetSpec
from lab.errors import Fault, Mistake
from lab.text import printable, shortened, sized

DOWNLOAD_FOLDER = Path(__file__).parents[2] / "data"

SAMPLE_NOTICE = (
    "*** This is the BUNDLED SAMPLE: 10,000 of 60,000 training images. Figures from it are not\n"
    "*** comparable with the full set's. For that: train a new run where there is a network, or\n"
    "*** with the set's IDX files (raw or .gz) in a folder that --data-dir names."
)
SAMPLE_EPOCHS = 6  # of the bundled sample are as many steps as one epoch of the full set


class OtherSet(Mistake):
    """A folder has the images of another set than the one that is wanted."""


@dataclass(frozen=True)
class Dataset:
    """One set, held whole: images uint8 (N, *spec.shape), labels int64 (N,) or None."""

    spec: DatasetSpec
    train_images: Tensor
    train_labels: Tensor | None
    test_images: Tensor
    test_labels: Tensor | None
    source: str  # for people: where the images were read from
    is_sample: bool
    fingerprint: str  # SHA-256 over the digests of images and labels, hexadecimal
    notices: tuple[str, ...] = ()  # what was done to pictures of one's own, and what left out
    path: Path | None = None  # of a set of one's own

    name = property(lambda dataset: dataset.spec.name)  # on the command line
    title = property(lambda dataset: dataset.spec.title)  # the published one

    @property
    def options(self) -> dict[str, Any]:
        """What loads a set of one's own again, from any folder; {} for a set that has a name."""
        if not self.path:
            return {}
        channels, side, _ = self.spec.shape
        shape = {"image_size": side, "grey": channels == 1, "colour": channels == 3}
        return {"dataset": str(self.path), **shape}

    def footnote(self, part: str = "from") -> str:
        """What stands under pictures in which the bundled sample has a part; else nothing."""
        return f"{part} the BUNDLED SAMPLE, not the full set" if self.is_sample else ""


def load(
    dataset: str,
    data_dir: Path | None = None,
    download: bool = True,
    image_size: int | None = None,
    colour: bool | None = None,
) -> Dataset:
    """The set of that name in DATASETS, or the one of one's own at that path.

    download: what is not there may be fetched, and pictures that were converted be kept.
    image_size, colour: of a set of one's own; None: as most of its pictures have it.
    Mistake where there is no such set.
    """
    if dataset in DATASETS:
        if Path(dataset).is_dir():
            print(f"note: {dataset} is the set of that name; for the folder say ./{dataset}")
        _refuse_shape(DATASETS[dataset], image_size, colour)
        return _load_named(dataset, data_dir, download)
    path = _find_own(dataset)
    if data_dir:
        raise Mistake(f"--data-dir {data_dir}: is for sets that have a name; leave it out")
    parts, class_names, notices = own.read(path, image_size, colour, keep=download)
    name = own.plain_name(path)
    spec = DatasetSpec(
        name=f"{name}-pictures" if name in DATASETS else name,
        title=printable(path.name)[:200] or str(path),
        shape=tuple(parts[0].images.shape[1:]),
        class_names=class_names,
    )
    return _of_parts(spec, parts, str(path), notices=notices, path=path)


def check_exists(dataset: str) -> None:
    """Mistake unless there is a set of that name in DATASETS, or something at that path."""
    if dataset not in DATASETS:
        _find_own(dataset)


def exists(dataset: str) -> bool:
    """Whether there is a set of that name in DATASETS, or anything at that path."""
    with contextlib.suppress(Mistake):
        check_exists(dataset)
        return True
    return False


def load_pictures(path: Path, shape: Sequence[int]) -> Dataset:
    """A set of one's own, as images of a shape (C, S, S) that a network has."""
    return load(str(path), image_size=shape[-1], colour=shape[0] == 3)


def colour_asked(grey: bool, colour: bool) -> bool | None:
    """Whether --colour or --grey was given; None if neither, Mistake if both."""
    if grey and colour:
        raise Mistake("--grey --colour: contradict each other; give one of them, or none")
    return colour if grey or colour else None


def _find_own(dataset: str) -> Path:
    """The path of a set of one's own; Mistake if nothing is there."""
    path = Path(os.path.expanduser(dataset))  # noqa: PTH111  Path's raises where there is no home
    try:
        if path.is_dir() or path.is_file():
            return path.absolute()
        what = "is neither a file nor a folder" if path.exists() else "does not exist"
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or "cannot be a path"
    near = difflib.get_close_matches(dataset, DATASETS, n=1)
    guess = f"did you mean {near[0]}?" if near else f"name a path, or {', '.join(DATASETS)}"
    raise Mistake(f"--dataset {shortened(dataset, 80)}: {what}; {guess}")


def _refuse_shape(spec: DatasetSpec, image_size: int | None, colour: bool | None) -> None:
    """Mistake if images of a named set are asked for in another shape than theirs."""
    if image_size not in (None, spec.shape[-1]):
        said, what = f"--image-size {image_size}", f"are {sized(spec.shape)}"
    elif colour not in (None, spec.shape[0] == 3):
        said, what = ("--colour", "are grey") if colour else ("--grey", "are in colour")
    else:
        return
    raise Mistake(f"{said}: the images of {spec.title} {what}; leave it out")


def _load_named(name: str, data_dir: Path | None, download: bool) -> Dataset:
    """The set of that name in DATASETS from the first source that has it.

    Sources in order: `data_dir`, an earlier download, the system's copy, torchvision's download (if
    `download` allows it), the bundled sample. Mistake when `data_dir` does not have the set, or has
    another one: to train on other images than those that were named would be worse. Fault when a
    file of the set is found but damaged: it never falls back past one, and where no source has it.
    """
    spec, reason = DATASETS[name], "was not to be downloaded"
    if data_dir:
        folder = spec.files.find(data_dir)
        if not folder:
            wanted = f"training images of {spec.title} ({spec.files.wanted})"
            cure = "name another folder, or leave it out"
            raise Mistake(f"--data-dir {data_dir}: has no {wanted}; {cure}")
        return read_folder(spec, folder)
    for place in filter(None, (DOWNLOAD_FOLDER, spec.files.system_folder)):
        if folder := spec.files.find(Path(place)):
            with contextlib.suppress(OtherSet):  # nobody named it, and it has another set
                return read_folder(spec, folder)
    if download:
        try:
            spec.files.download(DOWNLOAD_FOLDER)
            return _load_named(name, None, download=False)
        except NoDownload as error:
            reason = f"could not be downloaded ({printable(str(error))})"
    if spec.has_sample:
        if download:
            print(f"note: {spec.title} {reason}")
        return load_sample(name)
    raise Fault(
        f"{spec.title} is not here and {reason}; fetch {spec.files.wanted}, into "
        f"{DOWNLOAD_FOLDER}, or name that FOLDER with --data-dir"
    )


def load_sample(name: str) -> Dataset:
    """The bundled sample of the set of that name in DATASETS."""
    return read_folder(DATASETS[name], SAMPLE_FOLDER / name)


def read_folder(spec: DatasetSpec, folder: Path) -> Dataset:
    """Read the set in `folder`; Fault if a file is missing or damaged, OtherSet for another's."""
    parts = spec.files.read(folder, spec.shape, len(spec.class_names))
    for part in parts:
        owner = _published_by(part.image_digest)
        if owner and owner[0] != spec.name:
            raise OtherSet(
                f"--data-dir: {folder} has the images of {DATASETS[owner[0]].title}, those of "
                f"{spec.title} are wanted; name another folder, or ask for that set"
            )
    return _of_parts(spec, parts, str(folder))


def _of_parts(spec: DatasetSpec, parts: tuple[Part, Part], source: str, **more: Any) -> Dataset:
    train, test = parts
    digests = "".join(part.image_digest + part.label_digest for part in parts)
    return Dataset(
        spec,
        *(train.images, train.labels, test.images, test.labels),
        source=source,
        is_sample=_published_by(train.image_digest) == (spec.name, "sample"),
        fingerprint=hashlib.sha256(digests.encode()).hexdigest(),
        **more,
    )


def _published_by(image_digest: str) -> tuple[str, str] | None:
    """Whose published images have this SHA-256, and whether they are `full` or the `sample`."""
    for name, spec in DATASETS.items():
        if spec.files and image_digest in spec.files.published:
            return name, spec.files.published[image_digest]
    return None
