"""Restore noisy images with a generator that gan_lab.py has trained, and score the result.

    python denoise_images.py

Takes the newest run in outputs/, the denoiser that ships for its set and real test images, or your
own pictures with --images; what it makes goes into the run's denoising_results/.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__" and getattr(sys.flags, "safe_path", False):
    # Python has not looked beside the script.
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab.errors import Fault, Mistake, going_on, made_good, prepare_script, run_script

if __name__ == "__main__":
    prepare_script()

import torch
from torch import Tensor

from lab.data.datasets import SAMPLE_NOTICE, Dataset
from lab.data.image_folder import Picture, read_pictures, save_pictures
from lab.data.pixels import to_unit, unit_to_levels
from lab.device import DEVICES, full_precision, pick_device, set_up_torch
from lab.evaluation.evaluator import QUICK_COUNT, Evaluator, generated_images
from lab.options import flag_of, option, parse
from lab.report import report
from lab.report.figures import save_sheet
from lab.restoration import denoising
from lab.restoration.corruptions import CORRUPTIONS, Corruption, Gaussian, GaussianClipped
from lab.restoration.corruptions import parse as parse_corruption
from lab.restoration.estimation import noise_of_pictures
from lab.restoration.restorers import Context, able, classes_won, regenerate
from lab.restoration.scoring import in_json, scores
from lab.restoration.sheets import MOST_SHOWN, Sheets
from lab.runs.generators import find_generator, find_results
from lab.runs.results import Networks
from lab.text import counted, listed, printable

COUNT = 16  # test images that are restored, unless --count says otherwise
MOST_SAMPLED = 8  # rows of the sheet of --regenerate
CLEANING = Gaussian(0.1)  # the noise that the denoiser is told of in generated images


@dataclass(frozen=True)
class Options:
    """Every option of a restoration."""

    run: Path | None = option(None, "run folder whose generator is used; else the newest")
    generator: Path | None = option(None, "generator.pth to use instead of a run's")
    pretrained: str | None = option(None, "use the generator that ships for this set, as mnist")
    data_dir: Path | None = option(
        None, "folder with the files of a named set, or where your own pictures are", folder=True
    )
    out: Path | None = option(
        None, "folder for the results; else denoising_results in the run, or beside the runs"
    )
    images: Path | None = option(
        None, "folder of your own noisy pictures to restore; how noisy, is estimated", folder=True
    )
    invert: bool = option(False, "your own images are dark on light: turn that round", only_on=True)
    sigma: tuple[float, ...] | None = option(
        None, "noise levels, pixels being 0 to 1; else 0.1 0.3 0.5", low=0, high=1, most=12
    )
    corruption: tuple[str, ...] | None = option(
        None, f"what is done to test images, as gaussian:0.3: {', '.join(CORRUPTIONS)}", most=12
    )
    clip: bool = option(False, "cut noisy pixels off at 0 and 1, as a file would")
    count: int | None = option(None, f"test images to restore; else {COUNT}", low=1, high=2_000)
    restarts: int = option(10, "starts of a projection", low=1, high=100)
    steps: int = option(500, "steps of a projection", low=0, high=100_000)
    regenerate: int = option(
        0, "restorations of each image, at the highest --sigma, else at 0.7", low=0, high=20
    )
    train_denoiser: bool = option(
        False, "train a denoiser of your own and keep it; else the lab's is used", only_on=True
    )
    seed: int = option(0, "decides noise, fresh samples and training", low=0, high=2**63 - 1)
    device: str = option("auto", "where to compute", choices=DEVICES)


def check(options: Options) -> None:
    """Mistake for options that do not go together."""
    if options.invert and not options.images:
        raise Mistake("--invert: is for your own images; leave it out without --images")
    if options.images:
        for name in ("corruption", "regenerate", "clip", "count"):
            if getattr(options, name):
                raise Mistake(f"{flag_of(name)}: is for test images; leave it out with --images")
        if options.sigma and len(options.sigma) > 1:
            raise Mistake("--sigma: your own images have one noise level each; give one, or none")
    if options.corruption and (options.sigma or options.clip):
        raise Mistake("--corruption: says all that is done to images; leave --sigma and --clip out")


def corruptions_of(options: Options, sigmas: tuple[float, ...]) -> list[Corruption]:
    """What is done to test images, each once; noise of `sigmas` if the options do not say."""
    if options.corruption:
        found = [parse_corruption(text) for text in options.corruption]
    else:
        noise = CORRUPTIONS["gaussian-clipped" if options.clip else "gaussian"]
        found = [noise(sigma + 0.0) for sigma in options.sigma or sigmas]  # -0 is 0
    return list({str(corruption): corruption for corruption in found}.values())


# Test images


def restore_test_images(
    context: Context, sheets: Sheets, corruption: Corruption, clean: Tensor
) -> None:
    """Corrupt clean images, (N, C, H, W) in [0, 1]; restore them in every way, score each."""
    corrupted = corruption.apply(clean, context.seed)
    rows = {"noisy": corrupted}
    for restorer in able(context, corruption).values():
        rows[restorer.label] = restorer.restore(context, corrupted, corruption)
    found = {label: scores(row, clean) for label, row in rows.items()}
    for label, score in found.items():
        print(f"{corruption!s:<22}{label:<14}{score['psnr']:8.2f}{score['ssim']:8.3f}", flush=True)
    shown = [(f"{label}\n{found[label]['psnr']:.1f} dB", row) for label, row in rows.items()]
    won = classes_won(context, sheets.dataset.spec.class_names)
    if won:
        right = int((context.classes["projection"] == sheets.dataset.test_labels[: len(won)]).sum())
        print(f"{'':22}projected as {listed(won, 16)}: right {right} of {len(won)} times")
    sheets.save(
        f"{corruption.file_stem}.png",
        f"{sheets.dataset.title}, {corruption.title}{'; below, the class projected' * bool(won)}",
        [("clean", clean), *shown],
        {
            **corruption.facts(),
            **{"images": len(clean), "seed": context.seed},
            **{"restarts": context.restarts, "steps": context.steps},
            "scores": {label: in_json(score) for label, score in found.items()},
            **({"classes": won} if won else {}),
        },
        columns=won,
    )


def sample_restorations(
    context: Context, sheets: Sheets, corruption: Corruption, clean: Tensor, count: int
) -> None:
    """`count` restorations of each image, as different as what was done to it allows."""
    corrupted = corruption.apply(clean, context.seed)
    samplers = [row for row in able(context, corruption).values() if row.sample]
    if not samplers:
        raise Mistake(f"--regenerate {count}: nothing here can sample what {corruption} hides")
    found = samplers[0].sample(context, corrupted, corruption, count)  # (N, count, C, H, W)
    score = scores(found.mean(1), clean)
    print(
        f"{corruption!s:<22}mean of {count} restorations, {counted(len(clean), 'image')}: "
        f"{score['psnr']:.2f} dB, SSIM {score['ssim']:.3f}"
    )
    facts = {"images": len(clean), "seed": context.seed, "steps": context.steps}
    rows = torch.cat((clean[:, None], corrupted[:, None], found), 1)
    sheets.save(
        "regenerated.png",
        f"clean, with {corruption.title}, and {count} restorations to choose from",
        [(f"image {index}", row) for index, row in enumerate(rows)],
        {**corruption.facts(), **facts, "mean": in_json(score)},
        columns=("clean", "noisy", *map(str, range(1, count + 1))),
        most=2 + count,
    )


# Generated images


def clean_generated(context: Context, sheets: Sheets, evaluator: Evaluator, clean: Tensor) -> None:
    """Lab sheet (c): generated images through the denoiser, and what that does to their FCD.

    As many of them are shown as there are `clean` ones.
    """
    made = generated_images(context.generator, QUICK_COUNT, clean.device)
    cleaned = unit_to_levels(denoising.denoise(context.denoiser, to_unit(made), CLEANING))
    column = evaluator.quick_distance
    label = column[:3].upper()
    before, after = (evaluator.quick_of_images(each)[column] for each in (made, cleaned))
    verdict = "better" if after < before else "worse"
    print(f"generated images through the denoiser: {label} {before:.2f} -> {after:.2f}, {verdict}")
    generated = regenerate(context, clean, CLEANING)
    denoised = denoising.denoise(context.denoiser, generated, CLEANING)
    sheets.save(
        "generated_denoised.png",
        f"{sheets.dataset.title}, generated images through the denoiser",
        [
            (f"generated\n{label} {before:.1f}", generated),
            (f"denoised\n{label} {after:.1f}", denoised),
        ],
        {"told_sigma": CLEANING.severity, column: {"generated": before, "denoised": after}},
    )


def find_evaluator(dataset: Dataset, device: torch.device) -> Evaluator | None:
    """The evaluator of a set that is large enough; of a damaged classifier, a note and None."""
    try:
        evaluator = Evaluator(dataset, device)
        return evaluator if evaluator.quick_distance else None
    except (Fault, OSError) as error:
        print(f"note: generated images through the denoiser were left out ({error})")
    return None


# Your own images


def restore_own(
    context: Context,
    sheets: Sheets,
    options: Options,
    pictures: Sequence[Picture],
    device: torch.device,
) -> None:
    """Restore each picture, in its tiles, into denoised/ and projected/, by its name."""
    noisy = to_unit(torch.cat([picture.tiles for picture in pictures])).to(device)
    sizes = [len(picture.tiles) for picture in pictures]
    if options.sigma:
        noise = GaussianClipped(options.sigma[0]).of_each(noisy)
    else:
        noise = noise_of_pictures(noisy, sizes, sheets.dataset.train_images)
    rows = {"yours": noisy}
    restorers = [row for row in able(context, noise).values() if row.own_folder]
    for restorer in sorted(restorers, key=lambda row: row.own_folder):
        name, restored = restorer.own_folder, restorer.restore(context, noisy, noise)
        save_pictures(sheets.results.own_folder(name), pictures, unit_to_levels(restored))
        rows[name] = restored
    names = [picture.name for picture in pictures]
    if won := classes_won(context, sheets.dataset.spec.class_names):
        print(f"projected as {listed(won, 16)}")
    levels = [round(float(part[0]), 4) for part in noise.severity.split(sizes)]
    how, low, high = "given" if options.sigma else "estimated", min(levels), max(levels)
    said = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    print(f"{counted(len(pictures), 'image')} of your own, noise level {how}: {said}")
    first = f" (the first {MOST_SHOWN} of {len(noisy)})" if len(noisy) > MOST_SHOWN else ""
    columns = [name for name, size in zip(names, sizes, strict=True) for _ in range(size)]
    facts = {"folder": str(options.images), "pictures": sorted(names)}
    sheets.save(
        "own_images.png",
        f"your own images{first}, restored as {sheets.dataset.title}",
        list(rows.items()),
        {**facts, "sigma": dict(zip(names, levels, strict=True)), "sigma_was": how},
        columns,
        sample_part="by networks trained on",
    )


# The script


def main() -> None:
    """Find the generator, restore, score, save."""
    options = parse(Options)
    check(options)
    corruptions = corruptions_of(options, sigmas=(0.1, 0.3, 0.5))
    device = pick_device(options.device)
    trained = find_generator(options.run, options.generator, options.pretrained)
    results = find_results(trained, options.out)
    pictures = []
    if options.images:
        results.check_images(options.images)
        pictures, notices = read_pictures(options.images, trained.spec.shape, options.invert)
        for line in notices:
            print(printable(line))
    set_up_torch()
    dataset = trained.load_dataset(options.data_dir)
    if options.count and options.count > (most := len(dataset.test_images)):
        raise Mistake(f"--count {options.count}: the set has {most:,} test images; give fewer")
    print(f"{dataset.title} from {dataset.source}, generator {trained.path}{trained.stage}")
    for notice in dataset.notices:
        print(f"note: {notice}")
    if dataset.is_sample:
        print(SAMPLE_NOTICE)
    if not trained.was_trained_on(dataset):
        print("note: the generator was trained on other images of the set than these")
    path, must = results.denoiser_path(trained.path), bool(pictures)
    denoiser = denoising.find(path, dataset, device, options.seed, must, options.train_denoiser)
    context = Context(
        trained.network.to(device),
        denoiser and denoiser.network,
        **{"seed": options.seed, "restarts": options.restarts, "steps": options.steps},
    )
    made_by = Networks(
        dataset.name, trained.path, trained.weights.sha256, denoiser and denoiser.sha256
    )
    sheets = Sheets(results, dataset, made_by, draw=save_sheet)
    with full_precision(), going_on(f"the sheets that were finished are in {results}"):
        if pictures:
            restore_own(context, sheets, options, pictures, device)
        else:
            clean = to_unit(dataset.test_images[: options.count or COUNT]).to(device)
            print(f"{'corruption':<22}{'image':<14}{'PSNR/dB':>8}{'SSIM':>8}")
            for corruption in corruptions:
                restore_test_images(context, sheets, corruption, clean)
            if options.regenerate:
                strong = corruptions_of(options, sigmas=(0.7,))
                strongest = max(strong, key=lambda corruption: corruption.severity)
                few = clean[:MOST_SAMPLED]
                sample_restorations(context, sheets, strongest, few, options.regenerate)
            if denoiser and (evaluator := find_evaluator(dataset, device)):
                clean_generated(context, sheets, evaluator, clean)
    if trained.run and results.folder == trained.run.restorations.folder:
        page = trained.run.report_path
        with made_good(f"all but {page} is saved: gan_lab.py --report makes that"):
            report.write(trained.run)  # with the new sheets in it
    print(f"done: {results}")


if __name__ == "__main__":
    run_script(main)
