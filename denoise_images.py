"""Restore corrupted images with a generator that gan_lab.py has trained, and score the result.

    python denoise_images.py --corruption salt-pepper:0.2 blur:1.5 mask:top20 downsample:4

Takes the newest run in outputs/, the denoiser and the sampler that ship for its set and real test
images, or your own pictures with --images; what it makes goes into the run's denoising_results/.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from lab.data.image_folder import read_pictures
from lab.data.pixels import to_unit, unit_to_levels
from lab.device import DEVICES, full_precision, pick_device, set_up_torch
from lab.evaluation.evaluator import QUICK_COUNT, Evaluator, generated_images
from lab.options import flag_of, option, parse
from lab.report import report
from lab.report.figures import save_sheet
from lab.restoration import classical, corruptions, denoising
from lab.restoration.corruption import Corruption, filled
from lab.restoration.corruptions import CORRUPTIONS, Gaussian
from lab.restoration.examples import cleaning
from lab.restoration.networks import find_both
from lab.restoration.own_pictures import restore_own
from lab.restoration.restorers import RESTORERS, SAMPLES, Context, chosen, classes_won, regenerate
from lab.restoration.samples import show_samples
from lab.restoration.scoring import HEAD, CleanImages, in_json, said
from lab.restoration.sheets import Sheets
from lab.runs.generators import find_generator, find_results
from lab.runs.results import Networks
from lab.text import listed, printable

COUNT = 16  # test images that are restored, unless --count says otherwise
ALL = "all"  # --corruption: every row


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
        None, "folder of your own pictures; what is wrong with each, is estimated", folder=True
    )
    invert: bool = option(False, "your own images are dark on light: turn that round", only_on=True)
    corruption: tuple[str, ...] | None = option(
        None, f"what is done to test images, as blur:1.5; all, or {', '.join(CORRUPTIONS)}", most=24
    )
    sigma: tuple[float, ...] | None = option(
        None, "short for gaussian noise, pixels being 0 to 1; else 0.1 0.3 0.5", low=0, most=12
    )
    clip: bool = option(False, "now --corruption gaussian-clipped:0.3", only_on=True)
    restorer: tuple[str, ...] = option(
        tuple(RESTORERS), "only these", choices=tuple(RESTORERS), most=len(RESTORERS)
    )
    count: int | None = option(None, f"test images to restore; else {COUNT}", low=1, high=2_000)
    restarts: int = option(10, "starts of a projection", low=1, high=100)
    steps: int = option(500, "steps of a projection", low=0, high=100_000)
    samples: int = option(
        0, "plausible restorations of each image to show", low=0, high=20, old_name="regenerate"
    )
    train_denoiser: bool = option(
        False, "train a denoiser of your own and keep it; else the lab's is used", only_on=True
    )
    train_sampler: bool = option(
        False, "train a sampler of your own (a conditional GAN) and keep it", only_on=True
    )
    seed: int = option(0, "decides noise, fresh samples and training", low=0, high=2**63 - 1)
    device: str = option("auto", "where to compute", choices=DEVICES)


def check(options: Options) -> None:
    """Mistake for options that do not go together."""
    if options.clip:
        raise Mistake("--clip: is --corruption gaussian-clipped:0.3 now; give that")
    if options.invert and not options.images:
        raise Mistake("--invert: is for your own images; leave it out without --images")
    if options.sigma and (sigma := max(options.sigma)) > 1:
        levels = corruptions.of_255(str(sigma))
        raise Mistake(f"--sigma {sigma:g}: out of range, give a number from 0 to 1{levels}")
    if options.corruption and options.sigma:
        raise Mistake("--corruption: says all that is done to images; leave --sigma out")
    if options.images:
        if options.count:
            raise Mistake("--count: is for test images; leave it out with --images")
        for name in ("sigma", "corruption"):
            if (given := getattr(options, name)) and (len(given) > 1 or given == (ALL,)):
                raise Mistake(f"{flag_of(name)}: what is wrong with your images; give one, or none")


def corruptions_of(options: Options, shape: Sequence[int]) -> list[Corruption]:
    """What is done to images of `shape`, each once; Mistake where that cannot be."""
    texts, kind = options.corruption or (), "gaussian-clipped" if options.images else "gaussian"
    if not texts and not options.images:
        options = replace(options, sigma=options.sigma or (0.1, 0.3, 0.5))
    noise = [CORRUPTIONS[kind](sigma + 0.0) for sigma in options.sigma or ()]  # -0 is 0
    found = [corruptions.parse(text) for text in texts if text != ALL]
    every = corruptions.examples() if ALL in texts else []
    return corruptions.fit([*noise, *found, *every], shape)


# Test images


def restore_test_images(
    options: Options,
    context: Context,
    sheets: Sheets,
    corruption: Corruption,
    test: CleanImages,
    tuning: Tensor | None,
) -> None:
    """Corrupt the test images; restore them in every way, score each."""
    corrupted = corruption.apply(test.clean, context.seed)
    rows = {"corrupted": filled(corrupted)}
    found = {"corrupted": test.scores(rows["corrupted"])}
    if tuning is not None:
        for row in classical.able(corruption).values():
            rows[row.label] = classical.restore(row, corrupted, corruption, tuning)
            found[row.label] = test.scores(rows[row.label])
    for restorer in chosen(options.restorer, context, corruption).values():
        if restorer.sample:
            samples = restorer.sample(context, corrupted, corruption, SAMPLES)
            rows[restorer.label] = samples.mean(1)
            found[restorer.label] = test.scores_of_samples(samples)
        else:
            rows[restorer.label] = restorer.restore(context, corrupted, corruption)
            found[restorer.label] = test.scores(rows[restorer.label])
    for label, score in found.items():
        print(said(str(corruption), label, score), flush=True)
    if won := classes_won(context, sheets.dataset.spec.class_names):
        right = int((context.classes["projection"] == sheets.dataset.test_labels[: len(won)]).sum())
        print(f"{'':22}projected as {listed(won, 16)}: right {right} of {len(won)} times")
    shown = [(f"{label}\n{found[label]['psnr']:.1f} dB", row) for label, row in rows.items()]
    sheets.save(
        f"{corruption.file_stem}.png",
        f"{sheets.dataset.title}, {corruption.title}{'; below, the class projected' * bool(won)}",
        [("clean", test.clean), *shown],
        {
            **corruption.facts(),
            **{"images": len(test.clean), "seed": context.seed},
            **{"restarts": context.restarts, "steps": context.steps},
            "scores": {label: in_json(score) for label, score in found.items()},
            **({"classes": won} if won else {}),
        },
        columns=won,
    )


# Generated images


def clean_generated(context: Context, sheets: Sheets, evaluator: Evaluator, clean: Tensor) -> None:
    """Lab sheet (c): generated images through the denoiser, and what that does to their FCD.

    As many of them are shown as there are `clean` ones.
    """

    def denoised(images: Tensor) -> Tensor:
        return denoising.denoise(context.denoiser, images, cleaning(images))

    made = generated_images(context.generator, QUICK_COUNT, clean.device)
    cleaned = unit_to_levels(denoised(to_unit(made)))
    column = evaluator.quick_distance
    label = column[:3].upper()
    before, after = (evaluator.quick_of_images(each)[column] for each in (made, cleaned))
    verdict = "better" if after < before else "worse: keep them as they are"
    print(f"generated images through the denoiser: {label} {before:.2f} -> {after:.2f}, {verdict}")
    generated = regenerate(context, clean, Gaussian(0))
    sheets.save(
        "generated_denoised.png",
        f"{sheets.dataset.title}, generated images through the denoiser",
        [
            (f"generated\n{label} {before:.1f}", generated),
            (f"denoised\n{label} {after:.1f}", denoised(generated)),
        ],
        {column: {"generated": before, "denoised": after}},
    )


def find_evaluator(dataset: Dataset, device: torch.device) -> Evaluator | None:
    """The evaluator of a set that is large enough; of a damaged classifier, a note and None."""
    try:
        evaluator = Evaluator(dataset, device)
        return evaluator if evaluator.quick_distance else None
    except (Fault, OSError) as error:
        print(f"note: generated images through the denoiser were left out ({error})")
    return None


# The script


def restore_all(
    options: Options,
    context: Context,
    sheets: Sheets,
    found: Sequence[Corruption],
    device: torch.device,
) -> None:
    """Test images, corrupted in every way asked for; then generated ones, cleaned."""
    dataset, tuning = sheets.dataset, None
    test = CleanImages.of(dataset, options.count or COUNT, device)
    if ALL in (options.corruption or ()):
        tuning = to_unit(dataset.train_images[: classical.TUNING_COUNT]).to(device)
        print(classical.missing())
    print(HEAD)
    for corruption in found:
        restore_test_images(options, context, sheets, corruption, test, tuning)
    for corruption in found if options.samples else ():
        show_samples(context, sheets, corruption, test.clean, options.samples)
    if context.denoiser and (evaluator := find_evaluator(dataset, device)):
        clean_generated(context, sheets, evaluator, test.clean)


def main() -> None:
    """Find the generator, restore, score, save."""
    options = parse(Options)
    check(options)
    device = pick_device(options.device)
    trained = find_generator(options.run, options.generator, options.pretrained)
    found = corruptions_of(options, trained.spec.shape)
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
    trains = {"denoiser": options.train_denoiser, "sampler": options.train_sampler}
    denoiser, sampler = find_both(
        *(partial(results.network_path, trained.path), dataset, device, options.seed),
        must=bool(pictures) and not found,  # it says what is wrong with them
        anew=[role for role, wanted in trains.items() if wanted],
    )
    context = Context(
        trained.network.to(device),
        *(each and each.network for each in (denoiser, sampler)),
        **{"seed": options.seed, "restarts": options.restarts, "steps": options.steps},
        is_told=bool(pictures and found),
    )
    digests = (each and each.sha256 for each in (denoiser, sampler))
    made_by = Networks(dataset.name, trained.path, trained.weights.sha256, *digests)
    sheets = Sheets(results, dataset, made_by, draw=save_sheet)
    with full_precision(), going_on(f"the sheets that were finished are in {results}"):
        if pictures:
            tiles = to_unit(torch.cat([picture.tiles for picture in pictures])).to(device)
            what = {"restorers": options.restorer, "samples": options.samples, "given": found}
            restore_own(context, sheets, pictures, tiles, **what)
        else:
            restore_all(options, context, sheets, found, device)
    if trained.run and results.folder == trained.run.restorations.folder:
        page = trained.run.report_path
        with made_good(f"all but {page} is saved: gan_lab.py --report makes that"):
            report.write(trained.run)  # with the new sheets in it
    print(f"done: {results}")


if __name__ == "__main__":
    run_script(main)
