"""Restoration on both sets at six noise levels: classical, learned and generative methods.

    pip install -r benchmarks/requirements.txt
    python benchmarks/restoration.py --mnist-run outputs/mnist-001 --fashion-run outputs/fashion-002

Every classical method gets its best strength, found on training images for each set and noise
level. What was restored is kept in --work, so that a run that was stopped goes on where it was;
the table, the plot and benchmarks/RESTORATION.md are then made from it.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from restoration_plan import CLASSICAL, OURS, SIGMAS, TITLES, Options
from restoration_table import write_report
from rivals import apply_classical, train_autoencoder, tuned_strength

from lab.data import DATASETS, Dataset, load, to_float
from lab.data.pixels import to_unit, unit_to_levels
from lab.device import set_up_torch
from lab.errors import Mistake, run_script
from lab.files import write_whole
from lab.models.shipped import load_classifier
from lab.options import flag_of, parse
from lab.restoration import denoising, projection
from lab.restoration.corruptions import Gaussian
from lab.restoration.restorers import RESTORERS, Context
from lab.restoration.scoring import scores
from lab.runs import Run
from lab.seeding import seed_for

STEPS = (50, 125, 250, 500, 1_000)  # of projection, tried on training images
SLOW = ("nlm", "bm3d", "projection")

Method = Callable[[Tensor, float], Tensor]  # (noisy images, sigma) -> restored


def denoiser_seconds(train_images: Tensor, images_shown: int) -> float:
    """Processor time that the CNN's training takes, from a hundred of its own steps."""
    shown = 100 * denoising.BATCH
    denoising.train(train_images, 0, 10 * denoising.BATCH)  # warm up
    began = time.process_time()
    denoising.train(train_images, 0, shown)
    return (time.process_time() - began) / shown * images_shown


# Every method on one set


def restorers(
    options: Options, dataset: Dataset, context: Context, wanted: set[str]
) -> Iterator[tuple[str, Method, dict[str, Any]]]:
    """Every method that is `wanted`: name, (noisy, sigma) -> restored, facts about it.

    Made when asked for, so that strengths are sought and the autoencoder is trained only if need
    be.
    """
    if "noisy" in wanted:
        yield "noisy", lambda noisy, sigma: noisy, {}
    tuning = to_unit(dataset.train_images[: options.tuning_count])
    for name in (name for name in CLASSICAL if name in wanted):
        strengths = {sigma: tuned_strength(name, tuning, sigma, options.seed) for sigma in SIGMAS}

        def classical(
            noisy: Tensor, sigma: float, name: str = name, strengths: dict = strengths
        ) -> Tensor:
            return apply_classical(name, noisy, sigma, strengths[sigma])

        yield name, classical, {"strengths": strengths}
    for name in (name for name in OURS if name in wanted):

        def ours(noisy: Tensor, sigma: float, name: str = name) -> Tensor:
            return RESTORERS[name].restore(context, noisy, Gaussian(sigma))

        yield name, ours, {}
    if "autoencoder" in wanted:
        seconds = denoiser_seconds(dataset.train_images, options.denoiser_images)
        autoencoder, shown = train_autoencoder(dataset.train_images, seconds, options.seed)
        facts = {"processor_seconds": seconds, "images_shown": shown}
        yield "autoencoder", lambda noisy, sigma: autoencoder(noisy).sigmoid(), facts


def restored_path(options: Options, dataset: Dataset, name: str) -> Path:
    """Where the images that a method restored are kept."""
    return options.work / f"{dataset.name}-{name}.pth"


def restore_set(options: Options, dataset: Dataset, context: Context) -> None:
    """Run every method that has no file yet, on noise that is the same for all."""
    clean = to_unit(dataset.test_images[: options.count])
    missing = {name for name in TITLES if not restored_path(options, dataset, name).is_file()}
    wanted = missing - set(options.leave_out)
    for name, method, facts in restorers(options, dataset, context, wanted):
        count = options.slow_count if name in SLOW else options.count
        restored, seconds = [], 0.0
        for sigma in SIGMAS:
            noisy = Gaussian(sigma).apply(clean[:count], options.seed)
            began = time.process_time()
            restored.append(method(noisy, sigma).half())
            seconds += time.process_time() - began
        rate = count * len(SIGMAS) / max(seconds, 1e-9)
        content = {
            "images": torch.stack(restored),  # (6, N, C, H, W)
            "facts": {**facts, "images_per_second": rate},
        }
        path = restored_path(options, dataset, name)
        write_whole(path, lambda file, content=content: torch.save(content, file))
        print(f"{dataset.title}: {TITLES[name]}, {rate:,.1f} images/s", flush=True)


def project_clean(options: Options, dataset: Dataset, generator: nn.Module) -> dict[str, float]:
    """Mean squared error a pixel of clean test images, and the time that ten of them take."""
    clean, none = to_unit(dataset.test_images[: options.slow_count]), Gaussian(0.0)
    projection.project(generator, clean[:2], none, steps=10)  # warm up
    began, wall = time.process_time(), time.monotonic()
    projection.project(generator, clean[:10], none)
    seconds, wall = time.process_time() - began, time.monotonic() - wall
    error = (projection.project(generator, clean, none) - clean).square().mean()
    return {"mse": float(error), "processor_seconds_of_10": seconds, "seconds_of_10": wall}


def project_training_images(
    options: Options, dataset: Dataset, generator: nn.Module
) -> dict[str, dict[str, float]]:
    """By number of steps: what projection reaches on training images, clean and at sigma 0.5."""
    clean, none, half = (
        to_unit(dataset.train_images[: options.tuning_count]),
        Gaussian(0.0),
        Gaussian(0.5),
    )
    noisy = half.apply(clean, seed_for(options.seed, "tuning"))
    found = {}
    for steps in STEPS:
        began = time.process_time()
        error = (projection.project(generator, clean, none, steps=steps) - clean).square().mean()
        seconds = time.process_time() - began
        restored = projection.project(generator, noisy, half, steps=steps)
        found[str(steps)] = {
            "mse": float(error),
            "psnr": scores(restored, clean)["psnr"],
            "images_per_second": len(clean) / seconds,
        }
    return found


# Scores


def score_set(options: Options, dataset: Dataset) -> dict[str, Any]:
    """By method: psnr, ssim and accuracy at each sigma, of `slow_count` and of all images."""
    classifier = load_classifier(dataset.spec)
    clean = to_unit(dataset.test_images[: options.count])
    labels = dataset.test_labels[: options.count]

    def accuracy(shown: Tensor) -> float:
        seen = classifier(to_float(unit_to_levels(shown))).argmax(1)
        return float((seen == labels[: len(seen)]).float().mean())

    table: dict[str, Any] = {"clean": {"accuracy": accuracy(clean[: options.slow_count])}}
    for name in TITLES:
        path = restored_path(options, dataset, name)
        if not path.is_file():
            continue
        content = torch.load(path, weights_only=True)
        table[name] = {"facts": content["facts"]}
        for count in (options.slow_count, options.count):
            restored = content["images"].float()[:, :count]
            if restored.shape[1] < count:
                continue
            table[name][count] = [
                {**scores(shown, clean[:count]), "accuracy": accuracy(shown)} for shown in restored
            ]
    return table


def table_of(options: Options, dataset: Dataset, run: Run) -> dict[str, Any]:
    """Restore one set with every method, and score it."""
    context = Context(
        generator=run.load_generator().network,
        denoiser=denoising.load(run.denoiser_path, dataset.spec).network,
    )
    restore_set(options, dataset, context)
    table = score_set(options, dataset)
    if "projection" not in options.leave_out:
        found = table["projection"]
        found["clean"] = project_clean(options, dataset, context.generator)
        found["steps"] = project_training_images(options, dataset, context.generator)
    return table


def main() -> None:
    """Restore with every method, score, report."""
    options = parse(Options)
    folders = {name: getattr(options, f"{name}_run") for name in DATASETS}
    runs = {name: Run.open(flag_of(f"{name}_run"), path) for name, path in folders.items() if path}
    if not runs:
        raise Mistake("--mnist-run: is missing, and so is --fashion-run; name a run of one or both")
    set_up_torch()
    options.work.mkdir(parents=True, exist_ok=True)
    datasets = {name: load(name, options.data_dir) for name in runs}
    most = min(len(dataset.test_images) for dataset in datasets.values())
    options = dataclasses.replace(options, count=min(options.count, most))
    tables = {name: table_of(options, datasets[name], run) for name, run in runs.items()}
    write_report(options, tables)


if __name__ == "__main__":
    run_script(main)
