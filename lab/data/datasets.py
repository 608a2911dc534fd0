"""Finds and loads a set: a row of DATASETS, or a folder, zip or npz file of the user's own.

Code outside lab/data does not depend on particular sets; it takes shapes and classes from the spec.
"""

import contextlib
import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from torch import Tensor

from lab.data import own
from lab.data.sources import NoDownload, Part
from lab.data.specs import DATASETS, SAMPLE_FOLDER, DatasetSpec
from lab.errors import Fault, Mistake
from lab.files import at_home
from lab.text import printable, shortened, sized

DOWNLOAD_FOLDER = Path(__file__).parents[2] / "data"

SAMPLE_NOTICE = (
    "*** This is the BUNDLED SAMPLE: 10,000 of 60,000 training images. Figures from it are not\n"
    "*** comparable with the full set's. To train on the full set, start a new run with internet\n"
    "*** access, or name the folder with its IDX files (raw or .gz) by --data-dir."
)
SAMPLE_EPOCHS = 6  # epochs of the bundled sample with as many steps as one of the full set


class WrongSet(Mistake):
    """A folder contains the images of another set than the one asked for."""


@dataclass(frozen=True)
class Dataset:
    """A set in memory: images uint8 (N, *spec.shape), labels int64 (N,) or None."""

    spec: DatasetSpec
    train_images: Tensor
    train_labels: Tensor | None
    test_images: Tensor
    test_labels: Tensor | None
    source: str  # where the images were read from, in words
    is_sample: bool
    fingerprint: str  # SHA-256 of the digests of images and labels, hexadecimal
    notices: tuple[str, ...] = ()  # how pictures of the user's own were converted or left out
    path: Path | None = None  # of a set of the user's own

    name = property(lambda dataset: dataset.spec.name)  # for the command line
    title = property(lambda dataset: dataset.spec.title)  # for texts

    @property
    def options(self) -> dict[str, Any]:
        """The options that load a set of the user's own again; {} for a named set."""
        if not self.path:
            return {}
        channels, side, _ = self.spec.shape
        shape = {"image_size": side, "grey": channels == 1, "colour": channels == 3}
        return {"dataset": str(self.path), **shape}

    def footnote(self, relation: str = "from") -> str:
        """`from the BUNDLED SAMPLE, ...`, a footnote for figures; "" for any other set."""
        return f"{relation} the BUNDLED SAMPLE, not the full set" if self.is_sample else ""


def load(
    dataset: str,
    data_dir: Path | None = None,
    download: bool = True,
    image_size: int | None = None,
    colour: bool | None = None,
) -> Dataset:
    """Load the set that `dataset` names: a key of DATASETS, or the path of the user's own set.

    download: whether a missing set may be downloaded, and converted pictures may be cached.
    image_size, colour: those of a set of the user's own; None to choose by its pictures.
    Raises Mistake if there is no such set, Fault if its files are damaged.
    """
    if dataset in DATASETS:
        if Path(dataset).is_dir():
            print(f"note: {dataset} is the set of that name; for the folder say ./{dataset}")
        _refuse_shape(DATASETS[dataset], image_size, colour)
        return _load_named(dataset, data_dir, download)
    path = _find_own(dataset)
    if data_dir:
        raise Mistake(f"--data-dir {data_dir}: is for named sets only; leave it out")
    parts, class_names, notices = own.read(path, image_size, colour, keep=download)
    name = own.run_name(path)
    spec = DatasetSpec(
        name=f"{name}-pictures" if name in DATASETS else name,
        title=printable(path.name)[:200] or str(path),
        shape=tuple(parts[0].images.shape[1:]),
        class_names=class_names,
    )
    return _from_parts(spec, parts, str(path), notices=notices, path=path)


def check_exists(dataset: str) -> None:
    """Mistake unless `dataset` is a key of DATASETS or an existing path."""
    if dataset not in DATASETS:
        _find_own(dataset)


def load_pictures(place: Path, shape: Sequence[int], name: str, download: bool = True) -> Dataset:
    """Load a set of the user's own as images of the shape (C, S, S) of a network, as `load` does.

    place: the set, or the folder that its zip or npz `name` is in.
    """
    file = place / PureWindowsPath(name).name  # understands the paths of any system
    path = file if file.is_file() and place != Path(name) else place
    return load(str(path.absolute()), None, download, shape[-1], shape[0] == 3)


def colour_asked(grey: bool, colour: bool) -> bool | None:
    """True for --colour, False for --grey, None if neither was given; Mistake if both were."""
    if grey and colour:
        raise Mistake("--grey --colour: contradict each other; give only one of them, or none")
    return colour if grey or colour else None


def _find_own(dataset: str) -> Path:
    """The absolute path of a set of the user's own; Mistake if it does not exist."""
    path = at_home(dataset)
    try:
        if path.is_dir() or path.is_file():
            return path.absolute()
        what = "is neither a file nor a folder" if path.exists() else "does not exist"
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or "cannot be a path"
    near = difflib.get_close_matches(dataset.lower(), DATASETS, n=1)
    guess = f"did you mean {near[0]}?" if near else f"name a path, or {', '.join(DATASETS)}"
    raise Mistake(f"--dataset {shortened(dataset, 80)}: {what}; {guess}")


def _refuse_shape(spec: DatasetSpec, image_size: int | None, colour: bool | None) -> None:
    if image_size not in (None, spec.shape[-1]):
        flag, what = f"--image-size {image_size}", f"are {sized(spec.shape)}"
    elif colour not in (None, spec.shape[0] == 3):
        flag, what = ("--colour", "are grey") if colour else ("--grey", "are in colour")
    else:
        return
    raise Mistake(f"{flag}: the images of {spec.title} {what}; leave it out")


def _load_named(name: str, data_dir: Path | None, download: bool) -> Dataset:
    """Load a row of DATASETS from the first source that has it.

    The sources are `data_dir`, an earlier download, the system's copy, torchvision's download (if
    `download` allows it) and the bundled sample, in this order. Raises Mistake if `data_dir` is
    given but does not hold the set, Fault if the files found are damaged (later sources are then
    not tried) or if no source has the set.
    """
    spec, reason = DATASETS[name], "was not downloaded"
    if data_dir:
        folder = spec.files.find(data_dir)
        if not folder:
            wanted = f"training images of {spec.title} ({spec.files.wanted})"
            cure = "name another folder, or leave it out"
            raise Mistake(f"--data-dir {data_dir}: has no {wanted}; {cure}")
        return read_folder(spec, folder)
    for place in filter(None, (DOWNLOAD_FOLDER, spec.files.system_folder)):
        if folder := spec.files.find(Path(place)):
            with contextlib.suppress(WrongSet):  # try the next source
                return read_folder(spec, folder)
    if download:
        try:
            spec.files.download(DOWNLOAD_FOLDER)
            return _load_named(name, None, download=False)
        except NoDownload as error:
            reason = f"could not be downloaded ({printable(str(error))})"
    if (SAMPLE_FOLDER / name).is_dir():
        if download:
            print(f"note: {spec.title} {reason}")
        return load_sample(name)
    raise Fault(
        f"{spec.title} is not on this machine and {reason}; copy {spec.files.wanted}, into "
        f"{DOWNLOAD_FOLDER}, or into a folder that --data-dir names"
    )


def load_sample(name: str) -> Dataset:
    """Load the bundled sample of a row of DATASETS."""
    return read_folder(DATASETS[name], SAMPLE_FOLDER / name)


def read_folder(spec: DatasetSpec, folder: Path) -> Dataset:
    """Read the set in `folder`; Fault for missing or damaged files, WrongSet for another set."""
    parts = spec.files.read(folder, spec.shape, len(spec.class_names))
    for part in parts:
        owner = _known_images(part.image_digest)
        if owner and owner[0] != spec.name:
            raise WrongSet(
                f"--data-dir: {folder} has the images of {DATASETS[owner[0]].title}, those of "
                f"{spec.title} are wanted; name another folder, or another --dataset"
            )
    return _from_parts(spec, parts, str(folder))


def _from_parts(spec: DatasetSpec, parts: tuple[Part, Part], source: str, **more: Any) -> Dataset:
    train, test = parts
    digests = "".join(part.image_digest + part.label_digest for part in parts)
    return Dataset(
        spec,
        *(train.images, train.labels, test.images, test.labels),
        source=source,
        is_sample=_known_images(train.image_digest) == (spec.name, "sample"),
        fingerprint=hashlib.sha256(digests.encode()).hexdigest(),
        **more,
    )


def _known_images(image_digest: str) -> tuple[str, str] | None:
    """(set, "full" or "sample") if the digest is that of known images; else None."""
    for name, spec in DATASETS.items():
        if spec.files and image_digest in spec.files.published:
            return name, spec.files.published[image_digest]
    return None
