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
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from restoration_plan import CLASSICAL, SIGMAS, TITLES, Options
from restoration_table import write_report
from rivals import apply_classical, train_autoencoder, tuned_strength

from lab import device as machine
from lab import files as storage
from lab import seeding as chance
from lab.data import datasets as data
from lab.errors import Mistake, run_script
from lab.models import networks as models
from lab.models import serialization as tensors
from lab.options import parse
from lab.report import figures as images
from lab.restoration import corruptions as restore
from lab.restoration import denoising as denoiser
from lab.restoration import projection

STEPS = (50, 125, 250, 500, 1_000)  # of projection, tried on training images
SLOW = ("nlm", "bm3d", "projection")


def denoiser_seconds(train_images: Tensor, images_shown: int) -> float:
    """Processor time that the CNN's training takes, from a hundred of its own steps."""
    steps = 100
    denoiser.train(train_images, 0, 10 * denoiser.BATCH)  # warm up
    began = time.process_time()
    denoiser.train(train_images, 0, steps * denoiser.BATCH)
    return (time.process_time() - began) / (steps * denoiser.BATCH) * images_shown


# Every method on one set


def restorers(
    options: Options, image_set: data.ImageSet, run: Path
) -> Iterator[tuple[str, Callable[[Tensor, float], Tensor], dict[str, Any]]]:
    """Every method: name, (noisy, sigma) -> restored, facts about it.

    Made when asked for, so that the autoencoder is trained only if it is needed.
    """
    yield "noisy", lambda noisy, sigma: noisy, {}
    tuning = restore.to_unit(image_set.train_images[: options.tuning_count])
    for name in CLASSICAL:
        strengths: dict[float, float] = {}

        def classical(
            noisy: Tensor, sigma: float, name: str = name, strengths: dict = strengths
        ) -> Tensor:
            return apply_classical(name, noisy, sigma, strengths[sigma])

        needed = name not in options.leave_out
        if needed and not restored_path(options, image_set.name, name).is_file():
            for sigma in SIGMAS:
                strengths[sigma] = tuned_strength(name, tuning, sigma, options.seed)
        yield name, classical, {"strengths": strengths}
    network, _ = denoiser.load(run / "denoiser.pth", image_set.name)
    yield "cnn", lambda noisy, sigma: denoiser.denoise(network, noisy, sigma), {}
    generator, _ = tensors.load_weights(run / "generator.pth", models.Generator)
    yield "projection", lambda noisy, sigma: projection.project(generator, noisy, sigma), {}
    path = restored_path(options, image_set.name, "autoencoder")
    if not path.is_file() and "autoencoder" not in options.leave_out:
        seconds = denoiser_seconds(image_set.train_images, options.denoiser_images)
        autoencoder, shown = train_autoencoder(image_set.train_images, seconds, options.seed)
        facts = {"processor_seconds": seconds, "images_shown": shown}
        yield "autoencoder", lambda noisy, sigma: autoencoder(noisy).sigmoid(), facts


def restored_path(options: Options, dataset: str, name: str) -> Path:
    """Where the images that a method restored are kept."""
    return options.work / f"{dataset}-{name}.pth"


def restore_set(options: Options, image_set: data.ImageSet, run: Path) -> None:
    """Run every method that has no file yet, on noise that is the same for all."""
    clean = restore.to_unit(image_set.test_images[: options.count])
    for name, method, facts in restorers(options, image_set, run):
        path = restored_path(options, image_set.name, name)
        if path.is_file() or name in options.leave_out:
            continue
        count = options.slow_count if name in SLOW else options.count
        restored, seconds = [], 0.0
        for sigma in SIGMAS:
            noisy = restore.add_noise(clean[:count], sigma, options.seed)
            began = time.process_time()
            restored.append(method(noisy, sigma).half())
            seconds += time.process_time() - began
        rate = count * len(SIGMAS) / max(seconds, 1e-9)
        content = {
            "images": torch.stack(restored),  # (6, N, 1, 28, 28)
            "facts": {**facts, "images_per_second": rate},
        }
        storage.write_whole(path, lambda file, content=content: torch.save(content, file))
        print(f"{image_set.title}: {TITLES[name]}, {rate:,.1f} images/s", flush=True)


def project_clean(options: Options, image_set: data.ImageSet, run: Path) -> dict[str, float]:
    """Mean squared error a pixel of clean test images, and the time that ten of them take."""
    generator, _ = tensors.load_weights(run / "generator.pth", models.Generator)
    clean = restore.to_unit(image_set.test_images[: options.slow_count])
    projection.project(generator, clean[:2], 0.0, steps=10)  # warm up
    began, wall = time.process_time(), time.monotonic()
    projection.project(generator, clean[:10], 0.0)
    seconds, wall = time.process_time() - began, time.monotonic() - wall
    error = (projection.project(generator, clean, 0.0) - clean).square().mean()
    return {"mse": float(error), "processor_seconds_of_10": seconds, "seconds_of_10": wall}


def project_training_images(
    options: Options, image_set: data.ImageSet, run: Path
) -> dict[str, dict[str, float]]:
    """By number of steps: what projection reaches on training images, clean and at sigma 0.5."""
    generator, _ = tensors.load_weights(run / "generator.pth", models.Generator)
    clean = restore.to_unit(image_set.train_images[: options.tuning_count])
    noisy = restore.add_noise(clean, 0.5, chance.seed_for(options.seed, "tuning"))
    found = {}
    for steps in STEPS:
        began = time.process_time()
        error = (projection.project(generator, clean, 0.0, steps=steps) - clean).square().mean()
        seconds = time.process_time() - began
        restored = projection.project(generator, noisy, 0.5, steps=steps)
        found[str(steps)] = {
            "mse": float(error),
            "psnr": restore.scores(restored, clean)["psnr"],
            "images_per_second": len(clean) / seconds,
        }
    return found


# Scores


def score_set(options: Options, image_set: data.ImageSet) -> dict[str, Any]:
    """By method: psnr, ssim and accuracy at each sigma, of `slow_count` and of all images."""
    from lab import classifier as classifiers

    classifier = classifiers.load(image_set.name)
    clean = restore.to_unit(image_set.test_images[: options.count])
    labels = image_set.test_labels[: options.count]

    def accuracy(shown: Tensor) -> float:
        seen = classifier(data.to_float(images.to_uint8(shown))).argmax(1)
        return float((seen == labels[: len(seen)]).float().mean())

    table: dict[str, Any] = {"clean": {"accuracy": accuracy(clean[: options.slow_count])}}
    for name in TITLES:
        path = restored_path(options, image_set.name, name)
        if not path.is_file():
            continue
        content = torch.load(path, weights_only=True)
        table[name] = {"facts": content["facts"]}
        for count in (options.slow_count, options.count):
            restored = content["images"].float()[:, :count]
            if restored.shape[1] < count:
                continue
            table[name][count] = [
                {**restore.scores(shown, clean[:count]), "accuracy": accuracy(shown)}
                for shown in restored
            ]
    return table


def main() -> None:
    """Restore with every method, score, report."""
    options = parse(Options)
    if not (options.mnist_run or options.fashion_run):
        raise Mistake("--mnist-run: is missing, and so is --fashion-run; name a run of one or both")
    machine.prepare()
    options.work.mkdir(parents=True, exist_ok=True)
    tables = {}
    for dataset in data.SETS:
        run = getattr(options, f"{dataset}_run")
        if run is None:
            continue
        image_set = data.load(dataset, options.data_dir)
        count = min(options.count, len(image_set.test_images))
        options = dataclasses.replace(options, count=count)
        restore_set(options, image_set, run)
        tables[dataset] = score_set(options, image_set)
        if "projection" not in options.leave_out:
            found = tables[dataset]["projection"]
            found["clean"] = project_clean(options, image_set, run)
            found["steps"] = project_training_images(options, image_set, run)
    write_report(options, tables)


if __name__ == "__main__":
    run_script(main)
