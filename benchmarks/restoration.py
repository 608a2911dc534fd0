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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from rivals import apply_classical, train_autoencoder, tuned_strength

from lab import chance, data, denoiser, images, machine, models, projection, restore, runs, storage
from lab.errors import run_script
from lab.options import flag_of, option, parse

SIGMAS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
STEPS = (50, 125, 250, 500, 1_000)  # of projection, tried on training images
TITLES = {
    "noisy": "noisy",
    "median": "median filter",
    "tv": "total variation",
    "nlm": "non-local means",
    "bm3d": "BM3D",
    "autoencoder": "Keras autoencoder",
    "projection": "projection (ours)",
    "cnn": "CNN (ours)",
}
SLOW = ("nlm", "bm3d", "projection")
CLASSICAL = ("median", "tv", "nlm", "bm3d")


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    data_dir: Path | None = option(None, "folder with the sets' IDX files", folder=True)
    mnist_run: Path | None = option(None, "run with generator and denoiser", folder=True)
    fashion_run: Path | None = option(None, "run with generator and denoiser", folder=True)
    work: Path = option(runs.OUTPUTS / "restoration-benchmark", "where restored images are kept")
    report: Path = option(Path(__file__).parent, "folder for RESTORATION.md and its plot")
    count: int = option(1_000, "test images for fast methods", low=49, high=10_000)
    slow_count: int = option(200, "test images for slow methods", low=49, high=10_000)
    tuning_count: int = option(49, "training images that strengths are tuned on", low=2, high=1_000)
    denoiser_images: int = option(
        denoiser.IMAGES_SHOWN, "images the CNN was shown; the autoencoder gets that time", low=100
    )
    leave_out: tuple[str, ...] = option((), "methods to leave out", choices=tuple(TITLES))
    seed: int = option(0, "decides the noise and the autoencoder", low=0, high=2**63 - 1)


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
    """Methods in the order of their cost: name, (noisy, sigma) -> restored, facts about it.

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
    network = denoiser.load(run / "denoiser.pth", image_set.name)
    yield "cnn", lambda noisy, sigma: denoiser.denoise(network, noisy, sigma), {}
    generator, _ = storage.load_weights(run / "generator.pth", models.Generator)
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
    generator, _ = storage.load_weights(run / "generator.pth", models.Generator)
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
    generator, _ = storage.load_weights(run / "generator.pth", models.Generator)
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
    from lab.judge import load_classifier

    classifier = load_classifier(image_set.name)
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


def write_report(options: Options, tables: dict[str, dict[str, Any]]) -> None:
    """RESTORATION.md, its plot, and the figures as JSON."""
    few, many = options.slow_count, options.count
    lines = [
        "# Restoration of MNIST and Fashion-MNIST under Gaussian noise",
        "",
        f"The first {few} test images of each set, the same noise for every method: unclipped, of",
        "standard deviation sigma on the 0 to 1 scale. PSNR (dB, mean over images) and SSIM by",
        "torchmetrics, data range 1; accuracy is that of the lab's fixed classifier on what was",
        "restored. Each classical method has, for each set and sigma, the strength that is best on",
        f"the first {options.tuning_count} training images. Best in **bold**. The fast methods on",
        f"the first {many:,}: further down.",
        "",
        "No method was trained or tuned on a test image: projection's number of steps, the CNN's",
        "layers, batch size and length of training were chosen on training images, too.",
        "",
        "![PSNR by noise level](restoration.png)",
        "",
    ]
    for measure, title, digits in (
        ("psnr", "PSNR, dB", 2),
        ("ssim", "SSIM", 3),
        ("accuracy", "accuracy of the classifier", 3),
    ):
        for dataset, table in tables.items():
            lines += [f"## {data.SETS[dataset].title}: {title}", ""]
            if measure == "accuracy":
                lines += [f"On the clean images: {table['clean']['accuracy']:.3f}.", ""]
            lines += [*table_lines(table, few, measure, digits), ""]
    for dataset, table in tables.items():
        lines += [f"## {data.SETS[dataset].title}: PSNR, dB, on {many:,} images", ""]
        lines += [*table_lines(table, many, "psnr", 2), ""]
    lines += margin_lines(tables, few) + speed_lines(tables) + projection_lines(options, tables)
    lines += how_lines(options, tables)
    storage.write_text(options.report / "RESTORATION.md", "\n".join(lines) + "\n")
    storage.write_json(options.report / "restoration.json", tables)
    plot(options.report / "restoration.png", tables, few)


def table_lines(table: dict[str, Any], count: int, measure: str, digits: int) -> list[str]:
    """A Markdown table, a row a method, a column a sigma."""
    lines = [
        "| sigma | " + " | ".join(map(str, SIGMAS)) + " |",
        "| --- |" + " ---: |" * len(SIGMAS),
    ]
    rows = {
        name: [round(score[measure], digits) for score in table[name][count]]
        for name in TITLES
        if name in table and count in table[name]
    }
    best = [max(column) for column in zip(*rows.values(), strict=True)]
    for name, values in rows.items():
        cells = (
            f"**{value:.{digits}f}**" if value == top else f"{value:.{digits}f}"
            for value, top in zip(values, best, strict=True)
        )
        lines.append(f"| {TITLES[name]} | " + " | ".join(cells) + " |")
    return lines


def margin_lines(tables: dict[str, dict[str, Any]], count: int) -> list[str]:
    """How far the CNN is ahead in PSNR."""
    lines = [
        "## The CNN's lead in PSNR, dB",
        "",
        "| sigma | " + " | ".join(map(str, SIGMAS)) + " |",
    ]
    lines.append("| --- |" + " ---: |" * len(SIGMAS))
    for dataset, table in tables.items():
        for rivals, label in (
            (CLASSICAL, "best classical method"),
            (("autoencoder",), TITLES["autoencoder"]),
        ):
            present = [name for name in rivals if count in table.get(name, {})]
            if not present or count not in table.get("cnn", {}):
                continue
            leads = [
                table["cnn"][count][index]["psnr"]
                - max(table[name][count][index]["psnr"] for name in present)
                for index in range(len(SIGMAS))
            ]
            cells = " | ".join(f"{lead:+.2f}" for lead in leads)
            lines.append(f"| {data.SETS[dataset].title}, over the {label} | {cells} |")
    return [*lines, ""]


def projection_lines(options: Options, tables: dict[str, dict[str, Any]]) -> list[str]:
    """How the number of projection's steps was chosen."""
    lines = [
        f"## Projection by its number of steps, {options.tuning_count} training images",
        "",
        "| set | steps | mean squared error, clean | PSNR at sigma 0.5, dB | images/s, clean |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for dataset, table in tables.items():
        for steps, found in table.get("projection", {}).get("steps", {}).items():
            lines.append(
                f"| {data.SETS[dataset].title} | {steps} | {found['mse']:.4f} "
                f"| {found['psnr']:.2f} | {found['images_per_second']:.1f} |"
            )
    return [*lines, ""]


def speed_lines(tables: dict[str, dict[str, Any]]) -> list[str]:
    """Images a second of processor time, restoring alone."""
    lines = ["## Images a second of processor time", "", "| | " + " | ".join(tables) + " |"]
    lines.append("| --- |" + " ---: |" * len(tables))
    for name in TITLES:
        if name != "noisy" and all(name in table for table in tables.values()):
            rates = (table[name]["facts"]["images_per_second"] for table in tables.values())
            lines.append(f"| {TITLES[name]} | " + " | ".join(f"{r:,.1f}" for r in rates) + " |")
    return [*lines, ""]


def how_lines(options: Options, tables: dict[str, dict[str, Any]]) -> list[str]:
    """Command, machine, seeds, and what was tuned and trained."""
    facts = machine.description(torch.device("cpu"))
    command = "python benchmarks/restoration.py --mnist-run RUN --fashion-run RUN"
    for name in ("count", "slow_count", "tuning_count", "seed"):
        command += f" {flag_of(name)} {getattr(options, name)}"
    if options.leave_out:
        command += f" --leave-out {' '.join(options.leave_out)}"
    lines = [
        "## How it was made",
        "",
        f"    {command}",
        "",
        f"On {facts['cores']} cores ({facts['device']}), torch {facts['torch']}. Rates are of",
        f"processor time; NLM, BM3D and projection were run on {options.slow_count} images.",
        "BM3D is given the images in mosaics of 7 x 7,",
        "where its blocks find partners in neighbouring images too.",
        "",
    ]
    for dataset in tables:
        run = getattr(options, f"{dataset}_run")
        trained = storage.read_json(run / "config.json")["options"]
        lines.append(
            f"- {data.SETS[dataset].title}: generator by `python gan_lab.py --dataset {dataset} "
            f"--recipe {trained['recipe']} --epochs {trained['epochs']} --seed {trained['seed']}`, "
            f"CNN by `python denoise_images.py --train-denoiser`"
        )
    for dataset, table in tables.items():
        title = data.SETS[dataset].title
        for name in CLASSICAL:
            if name in table:
                strengths = ", ".join(f"{s:g}" for s in table[name]["facts"]["strengths"].values())
                lines.append(f"- {title}, {TITLES[name]}: strengths {strengths}")
        clean = table.get("projection", {}).get("clean")
        if clean:
            lines.append(
                f"- {title}, projection of the {options.slow_count} clean test images: "
                f"mean squared error {clean['mse']:.4f} a pixel with 10 restarts; 10 images take "
                f"{clean['processor_seconds_of_10']:.1f} s of processor time"
            )
        trained = table.get("autoencoder", {}).get("facts")
        if trained:
            lines.append(
                f"- {title}, autoencoder: {trained['processor_seconds']:.0f} s of processor time, "
                f"the same as the CNN's {options.denoiser_images:,} images take; it was shown "
                f"{trained['images_shown']:,}"
            )
    return lines


def plot(path: Path, tables: dict[str, dict[str, Any]], count: int) -> None:
    """PSNR over sigma, a panel a set."""
    figure, axes = images.new_figure(1, len(tables), width=5.2 * len(tables), height=4.2)
    for axis, (dataset, table) in zip(axes, tables.items(), strict=True):
        for name, title in TITLES.items():
            if count in table.get(name, {}):
                ours = name in ("projection", "cnn")
                values = [score["psnr"] for score in table[name][count]]
                style = {"linewidth": 2.4, "marker": "o"} if ours else {"marker": "."}
                colour = "0.6" if name == "noisy" else None
                axis.plot(SIGMAS, values, label=title, color=colour, **style)
        axis.set_title(data.SETS[dataset].title)
        axis.set_xlabel("noise level sigma")
        axis.set_ylabel("PSNR, dB")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    images.save_figure(path, figure)


def main() -> None:
    """Restore with every method, score, report."""
    options = parse(Options)
    machine.prepare(torch.device("cpu"))
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
