"""Train the conditional generators that ship with the lab, one for each set.

    python lab/models/weights/train_generators.py --data-dir FOLDER_WITH_THE_FULL_SETS

It starts gan_lab.py as anybody would, and keeps the generator, as float16, as `generator_mnist.pth`
and `generator_fashion.pth` beside this file, with `SHA256SUMS`. Another processor, or another
number of threads, rounds differently and so ends at slightly other weights. The command that made a
file stands in its facts.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # the lab, wherever this is started from

import torch

from lab.errors import Fault, Mistake, run_script
from lab.models.serialization import save_weights
from lab.models.shipped import WEIGHTS, file_of, write_checksums
from lab.options import option, parse
from lab.runs import Run
from lab.text import command_line

LAB = Path(__file__).parents[3]
NAMES = ("mnist", "fashion")
RECIPE = ("--recipe", "best", "--conditional", "--final-images", "0")
MOST_BYTES = 5_000_000


@dataclass(frozen=True)
class Options:
    """What can be asked for on the command line."""

    data_dir: Path | None = option(None, "folder with the full sets as IDX files", folder=True)
    dataset: str | None = option(None, "train only this one; else both", choices=NAMES)
    images_shown: int = option(1_800_000, "how long, in images", low=1, high=10**9)
    seed: int = option(0, "decides weights, order and latents", low=0, high=2**31)
    run: Path | None = option(None, "keep the generator of this run instead of training one")


def main() -> None:
    """Train the generators asked for, then list the checksums of the files that are there."""
    options = parse(Options)
    if options.run:
        keep(Run.open("--run", options.run))
    else:
        for name in [options.dataset] if options.dataset else NAMES:
            with tempfile.TemporaryDirectory() as outputs:
                keep(train(name, options, Path(outputs)))
    write_checksums()


def train(name: str, options: Options, outputs: Path) -> Run:
    """A run of gan_lab.py in `outputs`; Fault if it fails."""
    how_long = ("--images-shown", str(options.images_shown), "--seed", str(options.seed))
    where = ("--data-dir", str(options.data_dir)) if options.data_dir else ()
    words = ["gan_lab.py", "--dataset", name, *RECIPE, *how_long]
    print(command_line(["python", *words]), flush=True)
    done = subprocess.run([sys.executable, *words, *where, "--out", str(outputs)], cwd=LAB)
    if done.returncode:
        raise Fault(f"gan_lab.py ended with {done.returncode}")
    return Run.newest(outputs)


def keep(run: Run) -> None:
    """Put the run's generator among the weights that ship, as float16."""
    if run.config.data.is_sample:
        raise Mistake("--data-dir: the full set is needed, not the sample")
    weights = run.load_generator()
    name = weights.spec.name
    if name not in NAMES or not getattr(weights.network, "classes", 0):
        raise Mistake(f"--run {run}: has no conditional generator of {' or '.join(NAMES)}")
    path = WEIGHTS / file_of("generator", name)
    chosen, config = run.options, run.config  # without the folders of the machine that made it
    how = f"--images-shown {chosen['images_shown']} --seed {chosen['seed']}"
    words = f"--dataset {name} --recipe {chosen['recipe']} {config.other_than_recipe} {how}"
    facts = {**weights.facts, "command": f"python gan_lab.py {words}"}
    save_weights(path, weights.network, weights.spec, dtype=torch.float16, **facts)
    if path.stat().st_size > MOST_BYTES:
        raise Fault(f"{path}: has {path.stat().st_size:,} bytes, at most {MOST_BYTES:,} ship")


if __name__ == "__main__":
    run_script(main)
