"""How soon images are good: the Frechet classifier distance over training time.

    python benchmarks/convergence.py --data-dir FOLDER

Three trainings of Fashion-MNIST: the textbook loop, and `gan_lab.train` with the classic and with
the modern recipe. Each is scored as it goes along, against training images. A score depends on
the epochs only, so the trainings may share the machine with other work; what an epoch takes is
then measured for all three in turn, each in a process of its own. Writes benchmarks/CONVERGENCE.md
and its plot. Curves that are in --out already, with the same points, are not made again.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

from training import CPU, LOOPS, timed, training_options

import gan_lab
from lab.data import Dataset, load
from lab.device import describe_machine, set_up_torch
from lab.errors import run_script
from lab.evaluation import Evaluator
from lab.files import read_json, write_json, write_text
from lab.options import option, parse
from lab.report import figures
from lab.training.plan import complete_options

HERE = Path(__file__).parent
GOALS = (12, 60)  # epochs of the textbook loop whose images are to be reached
TRAININGS = {  # which of LOOPS, and the arguments of gan_lab.py
    "textbook": ("textbook", "--recipe classic --batch-size 64"),  # the batch of PyTorch-GAN
    "classic": ("lab", "--recipe classic"),
    "modern": ("lab", "--recipe modern"),
}
# Epochs after which a training is scored: often at first, where the curves are steep, and most
# often the modern one, which is there before the others have begun.
EARLY = tuple(quarter / 4 for quarter in range(1, 16))
EARLIEST = {"modern": (1 / 8, 3 / 8, 5 / 8, 7 / 8)}
LATE = (4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60)


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with the set's IDX files", folder=True)
    out: Path = option(Path("outputs/convergence"), "folder for the curves")
    rounds: int = option(7, "timed rounds of each loop", low=5, high=100)
    steps: int = option(100, "steps a round", low=8, high=10_000)
    seed: int = option(0, "decides weights and order", low=0, high=2**63 - 1)


Curve = list[tuple[float, float]]  # (epochs, Frechet classifier distance), in order


def settings_of(name: str, seed: int) -> tuple[str, gan_lab.Options]:
    """Which of LOOPS one of TRAININGS is, and its options."""
    loop, arguments = TRAININGS[name]
    return loop, training_options(*arguments.split(), "--seed", seed)


def curve_of(name: str, options: Options, dataset: Dataset, evaluator: Evaluator) -> Curve:
    """The curve of one training, made now unless it is there."""
    loop, settings = settings_of(name, options.seed)
    settings = complete_options(settings, dataset)
    if name != "modern":  # whose learning rates fall towards its end
        settings = replace(settings, epochs=max(GOALS))
    points = sorted(
        (*EARLIEST.get(name, ()), *EARLY, *(late for late in LATE if late <= settings.epochs))
    )
    path = options.out / f"{name}-{options.seed}.json"
    if path.is_file():
        curve = [tuple(point) for point in read_json(path)["curve"]]
        if [point for point, _ in curve] == points:
            return curve
    steps_an_epoch = len(dataset.train_images) // settings.batch_size
    due = {round(point * steps_an_epoch): point for point in points}
    state = gan_lab.initial_state(settings, dataset, CPU)
    judged = state.generator if loop == "textbook" else state.ema
    curve: Curve = []

    def after_step() -> None:
        if point := due.get(state.updates):
            distance = evaluator.quick(judged)["fcd_train_5k"]
            curve.append((point, distance))
            print(f"{name}: epoch {point:g}, FCD {distance:.2f}", flush=True)

    LOOPS[loop](settings, state, dataset, after_step)
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(path, {"curve": curve})
    return curve


def seconds_an_epoch(options: Options, image_count: int) -> dict[str, float]:
    """Wall seconds that an epoch of each training takes: medians of rounds in turn."""
    settings = {name: settings_of(name, options.seed) for name in TRAININGS}
    a_step = timed(settings, options.data_dir, options.rounds, options.steps)
    return {
        name: statistics.median(a_step[name]) * (image_count // settings[name][1].batch_size)
        for name in TRAININGS
    }


def reached(curve: Curve, goal: float) -> float | None:
    """Epochs until the distance is `goal` or less for the first time; None if it never is."""
    return next((epochs for epochs, distance in curve if distance <= goal), None)


def report(options: Options, curves: dict[str, Curve], an_epoch: dict[str, float]) -> str:
    """CONVERGENCE.md."""
    facts = describe_machine(CPU)
    lines = [
        "# How soon the images are good",
        "",
        f"`python benchmarks/convergence.py --data-dir FOLDER --rounds {options.rounds} --steps "
        f"{options.steps} --seed {options.seed}`: Fashion-MNIST, {facts['cores']} cores of an "
        f"{facts['processor']}, torch {facts['torch']}. FCD is the Frechet classifier distance of "
        "5,000 generated images to training images, lower is better. Times exclude the scoring: "
        "seconds are the number of epochs times the time of one epoch, which was measured for the "
        "three trainings in turn.",
        "",
        "![FCD over training time](figures/convergence.png)",
        "",
        "| training | seconds an epoch |",
        "| --- | --- |",
        *(f"| {name} | {seconds:.2f} |" for name, seconds in an_epoch.items()),
        "",
        "| FCD of the textbook loop after | FCD | textbook, s | classic, s | modern, s "
        "| modern over textbook |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for goal in GOALS:
        distance = dict(curves["textbook"])[goal]
        textbook = goal * an_epoch["textbook"]
        cells = []
        for name in ("classic", "modern"):
            epochs = reached(curves[name], distance)
            cells.append(epochs and epochs * an_epoch[name])
        shown = " | ".join("never" if cell is None else f"{cell:.1f}" for cell in cells)
        ratio = f"1/{textbook / cells[1]:.0f}" if cells[1] else "never"
        lines.append(f"| {goal} epochs | {distance:.1f} | {textbook:.0f} | {shown} | **{ratio}** |")
    lines += ["", "| training | best FCD | after epochs | after seconds |", "| --- " * 4 + "|"]
    for name, curve in curves.items():
        epochs, distance = min(curve, key=lambda point: point[1])
        lines.append(f"| {name} | {distance:.1f} | {epochs:g} | {epochs * an_epoch[name]:.0f} |")
    return "\n".join(lines) + "\n"


def plot(curves: dict[str, Curve], an_epoch: dict[str, float]) -> None:
    """FCD over seconds, both on logarithmic scales."""
    figure, (axis,) = figures.new_figure(1, width=7, height=4.2)
    for name, curve in curves.items():
        axis.loglog(
            [epochs * an_epoch[name] for epochs, _ in curve],
            [distance for _, distance in curve],
            marker=".",
            label=name,
        )
    axis.set_xlabel("training time, s")
    axis.set_ylabel("Frechet classifier distance")
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    figures.save_figure(HERE / "figures" / "convergence.png", figure)


def main() -> None:
    """Train, score, time, report."""
    options = parse(Options)
    set_up_torch()
    dataset = load("fashion", options.data_dir)
    evaluator = Evaluator(dataset, CPU)
    curves = {name: curve_of(name, options, dataset, evaluator) for name in TRAININGS}
    an_epoch = seconds_an_epoch(options, len(dataset.train_images))
    write_text(HERE / "CONVERGENCE.md", report(options, curves, an_epoch))
    plot(curves, an_epoch)
    print(f"done: {HERE / 'CONVERGENCE.md'}")


if __name__ == "__main__":
    run_script(main)
