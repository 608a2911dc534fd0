"""File names in a run folder, and the number of a new folder."""

import contextlib
import itertools
import os
import re
from pathlib import Path

from lab import files
from lab.errors import Fault, Mistake
from lab.runs.schema import Config, Evaluation
from lab.text import as_word

OUTPUTS = Path(__file__).parents[2] / "outputs"
GRID_NAME = re.compile(r"epoch_([0-9]+)\.png")


def _file(name: str) -> property:
    """A property with the path of a file or folder in the run folder."""
    return property(lambda folder: folder.path / name)


class RunFiles:
    """The paths in a run folder; no code outside lab/runs has these file names."""

    config_path = _file("config.json")  # options, source of the images, versions
    history_path = _file("history.csv")  # one row per epoch
    generator_path = _file("generator.pth")  # averaged weights and config of the network
    checkpoint_path = _file("checkpoint.pth")  # for --resume
    evaluation_path = _file("evaluation.json")  # the final scores
    class_sheet_path = _file("evaluation.png")  # the class histogram beside samples of each class
    grid_folder = _file("generated_samples")
    final_folder = _file("final_generated_images")
    generated_folder = _file("generated_images")  # by generate_images.py
    export_folder = _file("exported")  # one folder per format of generate_images.py --export
    curves_path = _file("loss_curves.png")
    film_path = _file("training.gif")  # the sample grids as an animation
    latent_walk_path = _file("latent_walk.png")
    nearest_path = _file("nearest_training_images.png")  # below generated images
    report_path = _file("report.html")
    tensorboard_folder = _file("tensorboard")

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def grid_path(self, epoch: int) -> Path:
        return self.grid_folder / f"epoch_{epoch:03d}.png"

    def grids(self) -> list[tuple[int, Path]]:
        """Epoch and path of each sample grid, in order."""
        named = [(GRID_NAME.fullmatch(path.name), path) for path in self.grid_folder.glob("*")]
        return sorted((int(match[1]), path) for match, path in named if match)

    def final_images(self) -> list[Path]:
        return sorted(self.final_folder.glob("img_*.png"))

    def save_evaluation(self, evaluation: Evaluation) -> None:
        self.__dict__.pop("evaluation", None)  # clears Run's cached property
        files.write_json(self.evaluation_path, evaluation.as_json())


def final_name(number: int, class_name: str) -> str:
    """The file name of a final image: `img_007.png`, with a class `img_007_sneaker.png`."""
    word = as_word(class_name)
    return f"img_{number:03d}_{word}.png" if word else f"img_{number:03d}.png"


def new_folder(outputs: Path, name: str, first: int = 1) -> Path:
    """Make and return the next free folder of `outputs/name-001`, ..., from number `first`.

    Making a folder is atomic, so two programs never get the same one. Raises Mistake if no folder
    can be made.
    """
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(first):
            path = outputs / f"{name}-{number:03d}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
    except OSError as error:
        if error.errno in files.FULL_DISK:
            raise  # a full disk is not the user's mistake
        raise Mistake(f"--out {outputs}: {error.strerror}; name another folder") from None


def is_run_folder(path: Path) -> bool:
    """Whether this user may read the folder, and its config.json is of a run, or damaged."""
    config = RunFiles(path).config_path
    if not (os.access(path, os.R_OK | os.X_OK) and config.is_file()):
        return False
    try:
        return not Config.model_fields.keys().isdisjoint(files.read_json(config))
    except (Fault, OSError):
        return True


def check_pictures(folder: Path) -> None:
    """Mistake if --images is a run, and not a folder of pictures with some config.json in it."""
    run = RunFiles(folder)
    parts = (run.generator_path, run.checkpoint_path, run.history_path, run.grid_folder)
    if is_run_folder(folder) and any(part.exists() for part in parts):
        cure = f"name the {run.final_folder.name} in it, or a folder of your own"
        raise Mistake(f"--images {folder}: is a run folder, with grids and curves; {cure}")


def check_out(folder: Path) -> None:
    """Mistake if --out is a run folder, or cannot be written to."""
    if is_run_folder(folder):
        raise Mistake(f"--out {folder}: is a run folder; name another")
    files.check_writable("--out", folder)
