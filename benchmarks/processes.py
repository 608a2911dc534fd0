"""What several processes make of the same cores: images/s of two processes over those of one.

    python benchmarks/processes.py --data-dir FOLDER

Two processes of one thread each, as torchrun starts them, beside one of two threads: the dcgan
recipe at the same total batch, in turn (A B A B ...), after a warm-up. Each trains by
`gan_lab.train` itself, averaging and all. Writes benchmarks/PROCESSES.md.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

from pages import write_section
from training import CPU, serve, spread, training_options

import gan_lab
from lab.device import describe_machine
from lab.errors import run_script
from lab.options import option, parse
from lab.training.distributed import run_distributed

REPORT = Path(__file__).parent / "PROCESSES.md"
INTRODUCTION = """# Several processes on the same cores

Images/s of `gan_lab.train` with the dcgan recipe and a total batch of 64: one process of two threads, and two processes of one
thread each that average their gradients, as `torchrun --nproc-per-node 2 gan_lab.py --recipe dcgan` starts them. Each figure is
the median over the rounds, with minimum and maximum in brackets; the two took turns, after a warm-up.
"""  # noqa: E501
SECTION = """`python benchmarks/processes.py --data-dir FOLDER --rounds {rounds} --steps {steps}`, {cores} cores, Python {python},
torch {torch}.

| one process, two threads | two processes, one thread each | two over one |
| --- | --- | --- |
| {one} | {two} | **{gain}** |
"""  # noqa: E501


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with the set's IDX files", folder=True)
    rounds: int = option(7, "timed rounds of each side", low=5, high=100)
    steps: int = option(60, "steps a round", low=8, high=10_000)


class Processes:
    """So many processes that train as one, and stand still unless it is their turn."""

    def __init__(self, count: int, threads: int, own: gan_lab.Options, data: Path | None) -> None:
        context = multiprocessing.get_context("spawn")  # nothing of this process goes along
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(found.getsockname()[1])}
        self.pipes, self.processes = [], []
        for number in range(count):
            told = {"RANK": number, "WORLD_SIZE": count}
            told |= {f"LOCAL_{name}": value for name, value in told.items()}
            os.environ.update({**place, **{name: str(value) for name, value in told.items()}})
            os.environ["OMP_NUM_THREADS"] = str(threads)
            near, far = context.Pipe()
            process = context.Process(target=take_turns, args=(own, data, far), daemon=True)
            process.start()
            far.close()  # so that the end of the process is noticed here
            self.pipes.append(near)
            self.processes.append(process)

    def __call__(self, steps: int) -> None:
        """Train `steps` steps, one at least; with 0, end."""
        for pipe in self.pipes:
            pipe.send(steps)
        if steps:
            for pipe in self.pipes:
                pipe.recv()
        else:
            for process in self.processes:
                process.join()


def take_turns(options: gan_lab.Options, data_dir: Path | None, pipe: Connection) -> None:
    """The life of one of the processes."""
    run_distributed(partial(serve, "lab", options, data_dir, pipe))


def main() -> None:
    """Measure and write the report."""
    options = parse(Options)
    own, facts = training_options("--recipe", "dcgan"), describe_machine(CPU)
    sides = {
        "one": Processes(1, 2, own, options.data_dir),
        "two": Processes(2, 1, own, options.data_dir),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side(max(8, options.steps // 5))
    for _ in range(options.rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            side(options.steps)
            shown = options.steps * own.batch_size
            rates[name].append(shown / (time.perf_counter() - began))
    for side in sides.values():
        side(0)
    text = SECTION.format(
        rounds=options.rounds,
        steps=options.steps,
        one=spread(rates["one"], ",.0f"),
        two=spread(rates["two"], ",.0f"),
        gain=spread([two / one for one, two in zip(*rates.values(), strict=True)], ".2f"),
        **facts,
    )
    write_section(REPORT, INTRODUCTION, facts["processor"], text)
    print(f"done: {REPORT}")


if __name__ == "__main__":
    run_script(main)
