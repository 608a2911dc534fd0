"""Train the conditional generators that ship with the lab, one for each data set.

    python lab/models/weights/train_generators.py --data-dir FOLDER_WITH_THE_FULL_SETS

Runs gan_lab.py and writes the generators, as float16, to `generator_mnist.pth` and
`generator_fashion.pth` beside this file, and `SHA256SUMS`. It takes three to four minutes a set on
an H100 GPU, and many hours on a CPU. Another device rounds differently and gives slightly other
weights. The facts in a file have its command.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # for `import lab`

import torch

from lab.errors import Fault, Mistake, run_script
from lab.models.serialization import save_weights
from lab.models.shipped import WEIGHTS, file_of, write_checksums
from lab.options import option, parse
from lab.runs import Run
from lab.text import command_line

LAB = Path(__file__).parents[3]
IMAGES_SHOWN = {"mnist": 17_000_000, "fashion": 25_000_000}
RECIPE = ("--recipe", "best", "--conditional", "--full-maps", "32", "--batch-size", "256")


@dataclass(frozen=True)
class Options:
    """The command-line options."""

    data_dir: Path | None = option(None, "folder with the full sets as IDX files", folder=True)
    dataset: str | None = option(None, "train only for this set", choices=IMAGES_SHOWN)
    images_shown: int | None = option(
        None, "training images over all epochs; default: the set's number", low=1, high=10**9
    )
    seed: int = option(0, "seed of the run", low=0, high=2**31)
    run: Path | None = option(None, "use the generator of this run instead of training one")


def main() -> None:
    """Train the chosen generators and update SHA256SUMS."""
    options = parse(Options)
    if options.run:
        keep(Run.open("--run", options.run))
    else:
        for name in [options.dataset] if options.dataset else IMAGES_SHOWN:
            with tempfile.TemporaryDirectory() as outputs:
                keep(train(name, options, Path(outputs)))
    write_checksums()


def train(name: str, options: Options, outputs: Path) -> Run:
    """Run gan_lab.py in `outputs`; Fault if it fails."""
    images_shown = options.images_shown or IMAGES_SHOWN[name]
    length = ("--images-shown", str(images_shown), "--seed", str(options.seed))
    data = ("--data-dir", str(options.data_dir)) if options.data_dir else ()
    words = ["gan_lab.py", "--dataset", name, *RECIPE, *length, "--final-images", "0"]
    print(command_line(["python", *words]), flush=True)
    process = subprocess.run([sys.executable, *words, *data, "--out", str(outputs)], cwd=LAB)
    if process.returncode:
        raise Fault(f"gan_lab.py ended with {process.returncode}")
    return Run.newest(outputs)


def keep(run: Run) -> None:
    """Save the run's generator to lab/models/weights, as float16."""
    if run.config.data.is_sample:
        raise Mistake("--data-dir: the full set is needed, not the sample")
    weights = run.load_generator()
    name = weights.spec.name
    if name not in IMAGES_SHOWN or not getattr(weights.network, "classes", 0):
        raise Mistake(f"--run {run}: has no conditional generator of {' or '.join(IMAGES_SHOWN)}")
    path = WEIGHTS / file_of("generator", name)
    options, changes = run.options, run.config.other_than_recipe
    words = (  # the run's command without folders of this machine
        f"--dataset {name} --recipe {options['recipe']} {changes} --batch-size "
        f"{options['batch_size']} --images-shown {options['images_shown']} --seed {options['seed']}"
    )
    facts = {**weights.facts, "command": f"python gan_lab.py {words}"}
    save_weights(path, weights.network, weights.spec, dtype=torch.float16, **facts)


if __name__ == "__main__":
    run_script(main)
