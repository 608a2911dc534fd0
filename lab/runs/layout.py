"""Where the files of a run folder lie, and how a new folder gets its number."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
from pathlib import Path

from lab import files
from lab.errors import Mistake
from lab.runs.schema import Evaluation

OUTPUTS = Path(__file__).parents[2] / "outputs"
GRID_NAME = re.compile(r"epoch_([0-9]+)\.png")


def _file(name: str) -> property:
    """The path of a file or folder in the folder of results."""
    return property(lambda folder: folder.path / name)


class RunFiles:
    """The paths in a folder of results; nothing outside lab/runs spells a file's name."""

    config_path = _file("config.json")  # every option, where the images came from, versions
    history_path = _file("history.csv")  # a row an epoch
    generator_path = _file("generator.pth")  # the averaged weights, and what rebuilds the network
    checkpoint_path = _file("checkpoint.pth")  # what --resume needs
    denoiser_path = _file("denoiser.pth")  # of this run's set, the user's own
    sampler_path = _file("sampler.pth")  # and that
    evaluation_path = _file("evaluation.json")  # the final figures
    class_sheet_path = _file("evaluation.png")  # the class histogram beside samples of each class
    grid_folder = _file("generated_samples")
    final_folder = _file("final_generated_images")
    generated_folder = _file("generated_images")  # what generate_images.py made
    export_folder = _file("exported")  # the generator for other programs, a folder a format
    curves_path = _file("loss_curves.png")
    film_path = _file("training.gif")  # the sample grids, one after another
    latent_walk_path = _file("latent_walk.png")
    nearest_path = _file("nearest_training_images.png")  # beside generated images
    report_path = _file("report.html")
    tensorboard_folder = _file("tensorboard")

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def grid_path(self, epoch: int) -> Path:
        """The sample grid of an epoch."""
        return self.grid_folder / f"epoch_{epoch:03d}.png"

    def grids(self) -> list[tuple[int, Path]]:
        """The sample grids by epoch, in order."""
        named = [(GRID_NAME.fullmatch(path.name), path) for path in self.grid_folder.glob("*")]
        return sorted((int(match[1]), path) for match, path in named if match)

    def final_images(self) -> list[Path]:
        """The final images, in order."""
        return sorted(self.final_folder.glob("img_*.png"))

    def save_evaluation(self, evaluation: Evaluation) -> None:
        self.__dict__.pop("evaluation", None)  # what was read before is no longer there
        files.write_json(self.evaluation_path, evaluation.as_json())


def final_name(number: int, class_name: str = "") -> str:
    """What a final image is called: `img_007.png`, of a class `img_007_sneaker.png`."""
    letters = re.sub(r"[^a-z0-9]+", "-", class_name.lower()).strip("-")
    return f"img_{number:03d}{'_' * bool(letters)}{letters}.png"


def new_folder(outputs: Path, name: str, first: int = 1) -> Path:
    """Make and return the next free folder `outputs/name-001` and on, from number `first`.

    Two programs that ask at once get two folders: making a folder is atomic, looking is not.
    Raises Mistake where no folder can be made.
    """
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(first):
            path = outputs / f"{name}-{number:03d}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # a full disk is the world's fault
        raise Mistake(f"--out {outputs}: {error.strerror}; name another folder") from None


def is_run_folder(path: Path) -> bool:
    """Whether there is a config.json that this user may see; in a shared folder not all are."""
    try:
        return RunFiles(path).config_path.is_file() and os.access(path, os.R_OK | os.X_OK)
    except PermissionError:
        return False


def holds_a_run(path: Path) -> bool:
    """Whether a folder is a run's, not one of pictures that happens to hold a config.json."""
    files = RunFiles(path)
    parts = (files.generator_path, files.checkpoint_path, files.history_path, files.grid_folder)
    return is_run_folder(path) and any(part.exists() for part in parts)


def check_out(folder: Path) -> None:
    """Mistake if --out is a run folder, whose files are its own, or cannot be written to."""
    if RunFiles(folder).config_path.is_file():
        raise Mistake(f"--out {folder}: is a run folder; name another")
    files.check_writable("--out", folder)
