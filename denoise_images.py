"""Restore noisy images with a generator that gan_lab.py has trained, and score the result.

    python denoise_images.py

Takes the newest run in outputs/ and real test images of its set, or your own with --images; what it
makes goes into the run's denoising_results/.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import environment

if __name__ == "__main__":
    environment.prepare()

import torch
from torch import Tensor

from lab import device as machine
from lab import places
from lab import seeding as chance
from lab.data import datasets as data
from lab.data import image_folder as folder
from lab.errors import Fault, Mistake, going_on, made_good, run_script
from lab.evaluation.evaluator import QUICK_COUNT, Judge, can_score, generated_images
from lab.models import networks as models
from lab.models import serialization as tensors
from lab.options import flag_of, option, parse
from lab.report import figures as images
from lab.report import report
from lab.restoration import corruptions as restore
from lab.restoration import denoising as denoiser
from lab.restoration import projection, sheets
from lab.restoration.sheets import MOST_SHOWN, OWN_FOLDERS, Sheet
from lab.runs import provenance, records
from lab.runs import run as runs
from lab.text import counted, listed, printable

COUNT = 16  # test images that are restored, unless --count says otherwise
MOST_REGENERATED = 8  # rows of the sheet of --regenerate
EXAMPLES = 200  # training images that show how clipping hides noise
CLEANING_SIGMA = 0.1  # the noise level the denoiser is told of generated images


@dataclass(frozen=True)
class Options:
    """Every option of a restoration."""

    run: Path | None = option(None, "run folder whose generator is used; else the newest")
    generator: Path | None = option(None, "generator.pth to use instead of a run's")
    data_dir: Path | None = option(None, "folder with the set's IDX files", folder=True)
    out: Path | None = option(
        None,
        "folder for the results; else denoising_results in the run, or with --generator in outputs",
    )
    images: Path | None = option(
        None,
        "folder of your own noisy pictures to restore; trains the denoiser first if there is none",
        folder=True,
    )
    invert: bool = option(False, "your own images are dark on light: turn that round", only_on=True)
    sigma: tuple[float, ...] | None = option(
        None,
        "noise levels, pixels being 0 to 1; else 0.1 0.3 0.5, of your own images estimated",
        low=0,
        high=1,
        most=12,
    )
    clip: bool = option(False, "cut noisy pixels off at 0 and 1, as a file would")
    count: int | None = option(None, f"test images to restore; else {COUNT}", low=1, high=2_000)
    restarts: int = option(10, "starts of a projection", low=1, high=100)
    steps: int = option(500, "steps of a projection", low=0, high=100_000)
    regenerate: int = option(
        0,
        "different restorations of each image, at the highest --sigma (without it, at 0.7)",
        low=0,
        high=20,
    )
    train_denoiser: bool = option(
        False, "train the convolutional denoiser, even if there is one", only_on=True
    )
    seed: int = option(0, "decides noise, fresh samples and training", low=0, high=2**63 - 1)
    device: str = option("auto", "where to compute", choices=machine.DEVICES)


@dataclass(frozen=True)
class Source:
    """The generator that restores, where it comes from and where its results go."""

    path: Path
    generator: models.Generator
    dataset: str
    digest: str  # SHA-256 of its file
    data_dir: Path | None  # where the run found its images
    results: Path
    stage: str = ""  # how long it was trained, for the screen

    @property
    def denoiser_path(self) -> Path:
        """The denoiser of the set lies beside the generator; where it cannot, with the results."""
        beside = self.path.parent / "denoiser.pth"
        can = beside.is_file() or os.access(beside.parent, os.W_OK)
        return beside if can else self.results / "denoiser.pth"

    @property
    def denoiser_digest(self) -> str | None:
        """SHA-256 of the denoiser's file; None if there is none."""
        path = self.denoiser_path
        return tensors.digest(path) if path.is_file() else None


# What is restored, and with what


def completed(options: Options) -> Options:
    """Put in what was left out; Mistake for options that do not go together."""
    if options.invert and not options.images:
        raise Mistake("--invert: is for your own images; leave it out without --images")
    if options.images:
        for name in ("regenerate", "clip", "count"):
            if getattr(options, name):
                raise Mistake(f"{flag_of(name)}: is for test images; leave it out with --images")
        if options.sigma and len(options.sigma) > 1:
            raise Mistake("--sigma: your own images have one noise level each; give one, or none")
    # Each once, of those that are written the same; -0 is 0.
    levels = options.sigma and {f"{sigma + 0.0:g}": sigma + 0.0 for sigma in options.sigma}
    return dataclasses.replace(options, sigma=levels and tuple(levels.values()))


def count_of(options: Options, image_set: data.ImageSet) -> int:
    """How many test images there are to restore; Mistake for more than the set has."""
    most = len(image_set.test_images)
    if options.count and options.count > most:
        raise Mistake(f"--count {options.count}: the set has {most:,} test images; give fewer")
    return options.count or min(COUNT, most)


def find_source(options: Options) -> Source:
    """The generator that the options name, or that of the newest run; checked and loaded."""
    path = runs.find_generator(options.run, options.generator)
    home = runs.OUTPUTS if options.generator else path.parent
    results = options.out or home / runs.RESULTS
    flag = "--out" if options.out or options.generator else "--run"
    if options.out:
        places.check_out(options.out)
    places.check_writable(flag, results, cure="name a folder for the results with --out")
    places.check_closed(flag, results)
    generator, facts, digest = runs.load_generator(path, typed=bool(options.generator))
    kept = records.content(results / "scores.json")
    if flag == "--out" and kept.get("generator_sha256", digest) != digest:
        raise Mistake(
            f"--out {results}: has the results of another generator, {kept.get('generator')}; name "
            "a folder of their own for these"
        )
    dataset = runs.dataset_of(path, facts)
    data_dir = options.data_dir or provenance.data_dir_around(path)
    return Source(path, generator, dataset, digest, data_dir, results, runs.stage_of(facts))


def find_denoiser(
    options: Options, source: Source, image_set: data.ImageSet, device: torch.device
) -> denoiser.Denoiser | None:
    """The run's denoiser; trained if asked for, or if --images needs one; None if there is none."""
    path = source.denoiser_path
    if path.exists() and not path.is_file():
        raise Fault(f"{path}: is in the way of the denoiser's file; remove it")
    if options.train_denoiser or (options.images and not path.is_file()):
        print(
            f"training the denoiser on {len(image_set.train_images):,} images, once for this "
            "generator's folder: some three minutes on two cores",
            flush=True,
        )
        shown = image_set.train_images.to(device)
        with going_on("a denoiser half trained is not kept, --train-denoiser begins anew"):
            network = denoiser.train(shown, options.seed, denoiser.IMAGES_SHOWN)
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"dataset": source.dataset, "fingerprint": image_set.fingerprint}
        tensors.save_weights(path, network, **facts)
        print(f"denoiser: {path}", flush=True)
    if not path.is_file():
        print("no denoiser yet: --train-denoiser trains one, in some three minutes")
        return None
    network, facts = denoiser.load(path, source.dataset)
    if facts.get("fingerprint", image_set.fingerprint) != image_set.fingerprint:
        print(
            "note: the denoiser was trained on other images of the set than these; "
            "--train-denoiser trains a new one"
        )
    return network.to(device)


# Test images


def restore_test_images(
    options: Options,
    source: Source,
    network: denoiser.Denoiser | None,
    image_set: data.ImageSet,
    device: torch.device,
) -> list[Sheet]:
    """Noise on clean test images, every restoration of it, and its scores on the screen."""
    clean = restore.to_unit(image_set.test_images[: options.count]).to(device)
    print(f"{'sigma':>5}  {'image':<14}{'PSNR/dB':>8}{'SSIM':>8}")
    made = []
    for sigma in options.sigma or (0.1, 0.3, 0.5):
        rows = restorations(options, source, network, clean, sigma)
        scores = {label: restore.scores(row, clean) for label, row in rows[1:]}
        for label, score in scores.items():
            line = f"{sigma:5g}  {label:<14}{score['psnr']:8.2f}{score['ssim']:8.3f}"
            print(line, flush=True)
        labelled = [(with_psnr(label, scores), row) for label, row in rows]
        title = f"{image_set.title}, noise of sigma {sigma:g}" + " clipped" * options.clip
        facts = {"sigma": sigma, "clipped": options.clip, "images": options.count}
        facts |= {"seed": options.seed, "restarts": options.restarts, "steps": options.steps}
        facts["scores"] = {label: in_json(score) for label, score in scores.items()}
        name = f"sigma_{sigma:g}{'_clipped' * options.clip}.png"
        made.append(Sheet(name, title, labelled, facts))
    return made


def in_json(score: dict[str, float]) -> dict[str, float | str | None]:
    """A score as JSON has it: equal images have an infinite PSNR, for which it has no word."""

    def worded(value: float) -> float | str | None:
        if math.isnan(value):
            return "not a number"  # of weights that overflow
        return None if math.isinf(value) else value

    return {name: worded(value) for name, value in score.items()}


def restorations(
    options: Options,
    source: Source,
    network: denoiser.Denoiser | None,
    clean: Tensor,
    sigma: float,
) -> list[tuple[str, Tensor]]:
    """Labelled rows of images (N, 1, 28, 28) on the [0, 1] scale, the clean ones first."""
    noisy = restore.add_noise(clean, sigma, options.seed, options.clip)
    projected = projection.project(
        source.generator, noisy, sigma, options.restarts, options.steps, options.clip
    )
    rows = [
        ("clean", clean),
        ("noisy", noisy),
        ("regeneration", restore.to_unit(fresh_samples(options, source, clean.device))),
        ("projection", projected),
    ]
    if network:
        rows.append(("denoiser", denoiser.denoise(network, noisy, sigma, options.clip)))
    return rows


def fresh_samples(options: Options, source: Source, device: torch.device) -> Tensor:
    """uint8 (count, 1, 28, 28): new images of the generator; the lab sheet says regeneration."""
    shape = (source.generator.latent_dim,)
    latents = chance.per_image_noise(options.count, shape, options.seed, "regeneration")
    return models.generate(source.generator, latents.to(device))


def with_psnr(label: str, scores: dict[str, dict[str, float]]) -> str:
    """A row's label with its mean PSNR below it."""
    return f"{label}\n{scores[label]['psnr']:.1f} dB" if label in scores else label


def regenerate(
    options: Options, source: Source, image_set: data.ImageSet, device: torch.device
) -> Sheet:
    """Several restorations of each of the first test images, as different as the noise allows."""
    sigma = max(options.sigma or (0.7,))
    clean = restore.to_unit(image_set.test_images[: min(options.count, MOST_REGENERATED)])
    noisy = restore.add_noise(clean, sigma, options.seed, options.clip).to(device)
    found = projection.regenerate(
        *(source.generator, noisy, sigma, options.regenerate),
        *(options.steps, options.clip, options.seed),
    )
    columns = torch.cat((clean.to(device)[:, None], noisy[:, None], found), 1)
    rows = [(f"image {index}", row) for index, row in enumerate(columns)]
    mean_score = restore.scores(found.mean(1), clean.to(device))
    print(
        f"{sigma:5g}  mean of {options.regenerate} regenerated, {counted(len(clean), 'image')}: "
        f"{mean_score['psnr']:.2f} dB, SSIM {mean_score['ssim']:.3f}"
    )
    clipped = ", clipped" if options.clip else ""
    return Sheet(
        "regenerated.png",
        f"clean, noisy (sigma {sigma:g}{clipped}), and {options.regenerate} restorations to "
        "choose from",
        rows,
        {
            **{"images": len(clean), "sigma": sigma, "clipped": options.clip},
            **{"seed": options.seed, "steps": options.steps, "mean": mean_score},
        },
        most=2 + options.regenerate,
        columns=("clean", "noisy", *map(str, range(1, options.regenerate + 1))),
    )


# Generated images


def clean_generated(
    options: Options,
    source: Source,
    network: denoiser.Denoiser,
    image_set: data.ImageSet,
    device: torch.device,
) -> Sheet:
    """Lab sheet (c): generated images through the denoiser, and what that does to their FCD."""
    judge = Judge(image_set, device)
    made = generated_images(source.generator, QUICK_COUNT, device)
    cleaned = denoiser.denoise(network, restore.to_unit(made), CLEANING_SIGMA)
    before, after = (
        judge.training_distance(judge.read(each)) for each in (made, images.to_uint8(cleaned))
    )
    verdict = "better" if after < before else "worse"
    print(f"generated images through the denoiser: FCD {before:.2f} -> {after:.2f}, {verdict}")
    generated = fresh_samples(options, source, device)
    passed = denoiser.denoise(network, restore.to_unit(generated), CLEANING_SIGMA)
    return Sheet(
        "generated_denoised.png",
        f"{image_set.title}, generated images through the denoiser",
        [
            (f"generated\nFCD {before:.1f}", restore.to_unit(generated)),
            (f"denoised\nFCD {after:.1f}", passed),
        ],
        {"told_sigma": CLEANING_SIGMA, "fcd_train_5k": {"generated": before, "denoised": after}},
    )


# Your own images


def read_own(options: Options, source: Source) -> list[folder.Picture]:
    """The pictures in --images; says what had to be done to those that are not grey 28 x 28."""
    pictures, notices = folder.read_pictures(options.images, options.invert)
    written = [source.results / name for name in ("", *OWN_FOLDERS)]
    if options.images.resolve() in [path.resolve() for path in written]:
        raise Mistake(f"--images {options.images}: could be written over; give another --out")
    changed = defaultdict(list)
    for picture in pictures:
        for notice in picture.notices:
            changed[notice].append(picture.file)
    for line in notices + [f"{listed(names)}: {notice}" for notice, names in changed.items()]:
        print(printable(line))
    return pictures


def restore_own(
    options: Options,
    source: Source,
    network: denoiser.Denoiser,
    image_set: data.ImageSet,
    pictures: Sequence[folder.Picture],
    device: torch.device,
) -> Sheet:
    """Restore each picture into denoised/ and projected/, under its own name."""
    noisy = restore.to_unit(torch.cat([picture.tiles for picture in pictures])).to(device)
    sizes = [len(picture.tiles) for picture in pictures]
    examples = restore.to_unit(image_set.train_images[:EXAMPLES]).to(device)
    sigma = own_sigma(options, noisy, examples, sizes)
    denoised = denoiser.denoise(network, noisy, sigma, clipped=True)
    projected = projection.project(
        source.generator, noisy, sigma, options.restarts, options.steps, clipped=True
    )
    restored = dict(zip(OWN_FOLDERS, (denoised, projected), strict=True))
    for name, tiles in restored.items():
        (source.results / name).mkdir(parents=True, exist_ok=True)
        for picture, part in zip(pictures, images.to_uint8(tiles).split(sizes), strict=True):
            folder.save_picture(source.results / name / picture.name, picture, part)
    levels = {
        picture.name: round(float(part[0]), 4)
        for picture, part in zip(pictures, sigma.split(sizes), strict=True)
    }
    how = "given" if options.sigma else "estimated"
    first = f" (the first {MOST_SHOWN} of {len(noisy)})" if len(noisy) > MOST_SHOWN else ""
    low, high = f"{min(levels.values()):.2f}", f"{max(levels.values()):.2f}"
    print(
        f"{counted(len(pictures), 'image')} of your own, noise level {how}: "
        + (low if low == high else f"{low} to {high}")
    )
    return Sheet(
        "own_images.png",
        f"your own images{first}, restored as {data.SETS[source.dataset].title}",
        [("yours", noisy), *restored.items()],
        {
            "folder": str(options.images),
            "sigma": levels,
            "sigma_was": how,
        },
        pictures=[name for name, size in zip(levels, sizes, strict=True) for _ in range(size)],
        sample_part="by networks trained on",
    )


def own_sigma(options: Options, noisy: Tensor, examples: Tensor, sizes: list[int]) -> Tensor:
    """(N,): the noise level of each tile: given, or estimated for each picture as a whole."""
    if options.sigma:
        return torch.full_like(noisy[:, 0, 0, 0], options.sigma[0])
    estimates = restore.estimate_clipped_sigma(noisy, examples)
    parts = [part.mean().expand(len(part)) for part in estimates.split(sizes)]
    return torch.cat(parts)


# The script


def main() -> None:
    """Find the generator, restore, score, save."""
    options = completed(parse(Options))
    device = machine.pick_device(options.device)
    source = find_source(options)
    pictures = read_own(options, source) if options.images else []
    machine.prepare()
    source.generator.to(device)
    image_set = provenance.load_images(source.path.parent, source.dataset, source.data_dir)
    options = dataclasses.replace(options, count=count_of(options, image_set))
    print(f"{image_set.title} from {image_set.source}, generator {source.path}{source.stage}")
    if image_set.is_sample:
        print(data.SAMPLE_NOTICE)
    if not provenance.is_of(source.path.parent, image_set):
        print("note: the generator was trained on other images of the set than these")
    network = find_denoiser(options, source, image_set, device)
    with machine.full_precision(), going_on("nothing of it is kept, the same command begins anew"):
        if pictures:
            made = [restore_own(options, source, network, image_set, pictures, device)]
        else:
            made = restore_test_images(options, source, network, image_set, device)
            if options.regenerate:
                made.append(regenerate(options, source, image_set, device))
            if network and can_score(image_set):
                made.append(clean_generated(options, source, network, image_set, device))
    restorers = sheets.Restorers(source.path, source.digest, source.denoiser_digest)
    sheets.save(source.results, restorers, image_set, made)
    run = source.path.parent
    if source.results == run / runs.RESULTS and (run / "config.json").is_file():
        with made_good(f"all but {run / 'report.html'} is saved: gan_lab.py --report makes that"):
            report.write(run)  # with the new sheets in it
    print(f"done: {source.results}")


if __name__ == "__main__":
    run_script(main)
