"""Restore noisy images with a generator that gan_lab.py has trained, and score the result.

    python denoise_images.py

Takes the newest run in outputs/ and real test images of its set; what it makes goes into the run's
denoising_results/.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lab import chance, data, images, machine, models, restore, runs, storage
from lab.errors import Fault, Mistake, run_script
from lab.options import option, parse

RESULTS = "denoising_results"
MOST_ON_SHEET = 16  # images that a sheet shows; all of them are scored


@dataclass(frozen=True)
class Options:
    """Every option of a restoration."""

    run: Path | None = option(None, "run folder whose generator is used; default the newest")
    generator: Path | None = option(None, "generator.pth to use instead of a run's")
    data_dir: Path | None = option(None, "folder with the set's IDX files", folder=True)
    out: Path | None = option(None, "folder for the results; default the run's own")
    sigma: tuple[float, ...] = option(
        (0.1, 0.3, 0.5), "noise levels, pixels being 0 to 1", low=0, high=1, most=12
    )
    clip: bool = option(False, "cut noisy pixels off at 0 and 1, as a file would")
    count: int = option(16, "test images to restore", low=1, high=2_000)
    restarts: int = option(10, "starts of a projection", low=1, high=100)
    steps: int = option(300, "gradient steps of a projection", low=0, high=100_000)
    seed: int = option(0, "decides the noise and the fresh samples", low=0, high=2**63 - 1)
    device: str = option("auto", "where to compute", choices=machine.DEVICES)


@dataclass(frozen=True)
class Source:
    """The generator that restores, where it comes from and where its results go."""

    path: Path
    generator: nn.Module
    dataset: str
    data_dir: Path | None  # where the run found its images
    results: Path

    @property
    def digest(self) -> str:
        """SHA-256 of the weights' file: it tells results of these weights from older ones."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def find_source(options: Options) -> Source:
    """The generator that the options name, or that of the newest run; checked and loaded."""
    if options.run and options.generator:
        raise Mistake(f"--generator {options.generator}: give --run or --generator, not both")
    if options.generator:
        path, results = options.generator, options.out or runs.OUTPUTS / RESULTS
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise Mistake(f"--generator {path}: {what}; name a generator.pth that gan_lab.py made")
    else:
        if options.run:
            run = runs.check_run("--run", options.run)
        else:
            run = runs.newest_run(runs.OUTPUTS, having="generator.pth")
        path, results = run / "generator.pth", options.out or run / RESULTS
        if not path.is_file():
            raise Mistake(f"--run {run}: has no generator.pth yet; wait, or name another run")
    runs.check_writable("--out", results)
    generator, facts = storage.load_weights(path, models.Generator)
    dataset = facts.get("dataset")
    if dataset not in data.SETS:
        raise Fault(f"{path}: does not say which set it was trained on; train one with gan_lab.py")
    return Source(path, generator, dataset, options.data_dir or run_data_dir(path), results)


def run_data_dir(path: Path) -> Path | None:
    """The --data-dir that the run around `path` was given, if there is such a folder here."""
    config = path.parent / "config.json"
    stored = storage.read_json(config).get("options") if config.is_file() else None
    folder = stored.get("data_dir") if isinstance(stored, dict) else None
    return Path(folder) if isinstance(folder, str) and Path(folder).is_dir() else None


# The work


def restore_all(
    options: Options, source: Source, clean: Tensor, sigma: float
) -> list[tuple[str, Tensor]]:
    """Labelled rows of images (N, 1, 28, 28) in [0, 1], the clean ones first."""
    noisy = restore.add_noise(clean, sigma, options.seed, options.clip)
    latents = chance.per_image_noise(
        len(clean), (source.generator.latent_dim,), options.seed, "regeneration"
    )
    fresh = models.generate(source.generator, latents.to(clean.device))
    projected = restore.project(
        source.generator, noisy, sigma, restarts=options.restarts, steps=options.steps
    )
    return [
        ("clean", clean),
        ("noisy", noisy),
        ("regeneration", restore.to_unit(fresh)),  # the lab sheet's word: a fresh sample
        ("projection", projected.best),
    ]


def print_scores(sigma: float, rows: dict[str, dict[str, float]]) -> None:
    """A line of the table for each row of the sheet."""
    for name, score in rows.items():
        print(f"{sigma:5.2f}  {name:<14}{score['psnr']:8.2f}{score['ssim']:8.3f}", flush=True)


# What is saved


def save_results(
    options: Options, source: Source, title: str, is_sample: bool, sheets: dict[float, Any]
) -> None:
    """Write a sheet a sigma and scores.json; what it holds of other sigmas is kept.

    sheets: by sigma, the labelled rows of images and their scores.
    """
    source.results.mkdir(parents=True, exist_ok=True)
    path = source.results / "scores.json"
    with lock(source.results):
        found = storage.read_json(path) if path.is_file() else {}
        digest = source.digest
        results = found.get("results") if found.get("generator_sha256") == digest else None
        results = {
            item["sheet"]: item
            for item in (results if isinstance(results, list) else [])
            if isinstance(item, dict) and (source.results / str(item.get("sheet"))).is_file()
        }
        for sigma, (rows, scores) in sheets.items():
            name = f"sigma_{sigma:.2f}.png" if round(sigma, 2) == sigma else f"sigma_{sigma:g}.png"
            images.save_sheet(
                source.results / name,
                [(label, images.to_uint8(row[:MOST_ON_SHEET])) for label, row in rows],
                f"{title}, noise sigma {sigma:g}",
                data.SAMPLE_NOTICE.splitlines()[0].strip("* ") if is_sample else "",
            )
            results[name] = {
                "sheet": name,
                "sigma": sigma,
                "clipped": options.clip,
                "images": options.count,
                "seed": options.seed,
                "restarts": options.restarts,
                "steps": options.steps,
                "bundled_sample": is_sample,
                "scores": scores,
            }
        content = {
            "dataset": source.dataset,
            "generator": str(source.path),
            "generator_sha256": digest,
            "results": [results[name] for name in sorted(results)],
        }
        storage.write_json(path, content)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` against other restorations that save into it at the same moment."""
    try:
        import fcntl
    except ImportError:  # Windows: files still appear whole, the last writer's scores stay
        yield
        return
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Find the generator, make noise, restore, score, save."""
    options = parse(Options)
    device = machine.pick_device(options.device)
    source = find_source(options)
    machine.prepare(device)
    source.generator.to(device)
    image_set = data.load(source.dataset, source.data_dir)
    if options.count > len(image_set.test_images):
        raise Mistake(
            f"--count {options.count}: the set has {len(image_set.test_images):,} test images"
        )
    clean = restore.to_unit(image_set.test_images[: options.count]).to(device)
    print(
        f"{image_set.title}: {len(clean)} test images from {image_set.source}\n"
        f"generator {source.path}"
    )
    if image_set.is_sample:
        print(data.SAMPLE_NOTICE)
    print(f"{'sigma':>5}  {'image':<14}{'PSNR/dB':>8}{'SSIM':>8}")
    sheets = {}
    for sigma in options.sigma:
        rows = restore_all(options, source, clean, sigma)
        scores = {label: restore.scores(row, clean) for label, row in rows[1:]}
        print_scores(sigma, scores)
        sheets[sigma] = rows, scores
    save_results(options, source, image_set.title, image_set.is_sample, sheets)
    print(f"done: {source.results}")


if __name__ == "__main__":
    run_script(main)
