"""Restore corrupted images with a generator that gan_lab.py has trained, and score the result.

    python denoise_images.py --corruption salt-pepper:0.2 blur:1.5 mask:top20 downsample:4

Uses the newest run in outputs/ and the pretrained denoiser and sampler of its set, on real test
images or, with --images, on your own pictures. Results go into the run's denoising_results/.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

if __name__ == "__main__" and getattr(sys.flags, "safe_path", False):
    # With PYTHONSAFEPATH set, Python does not look for modules beside the script.
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab.errors import Fault, Mistake, on_interrupt, os_errors_as_faults, prepare_script, run_script

if __name__ == "__main__":
    prepare_script()

import torch
from torch import Tensor

from lab.data.datasets import SAMPLE_NOTICE, Dataset
from lab.data.image_folder import read_pictures
from lab.data.pixels import to_unit, unit_to_levels
from lab.device import DEVICES, full_precision, pick_device, set_up_torch
from lab.evaluation.evaluator import QUICK_COUNT, Evaluator, generated_images
from lab.files import check_apart
from lab.options import flag_of, option, parse
from lab.report import report
from lab.report.figures import save_sheet
from lab.restoration import classical, corruptions, denoising, restorers
from lab.restoration.corruption import Corruption, filled
from lab.restoration.corruptions import ALL, CORRUPTIONS, Gaussian
from lab.restoration.examples import given_condition
from lab.restoration.networks import find
from lab.restoration.own_pictures import restore_own
from lab.restoration.restorers import RESTORERS, SAMPLES, Context
from lab.restoration.scoring import CleanImages, json_values, table_row
from lab.restoration.sheets import Sheets, show_samples
from lab.runs.generators import find_generator, find_results
from lab.runs.results import Networks
from lab.text import printable
from lab.training.progress import DISTANCES

COUNT = 16  # test images to restore, unless --count is given
SIGMAS = (0.1, 0.3, 0.5)  # unless --corruption, --sigma or --images is given
CLEANING = 0.1  # the noise level that the denoiser assumes in generated images


@dataclass(frozen=True)
class Options:
    run: Path | None = option(None, "run folder whose generator is used (default: the newest)")
    generator: Path | None = option(None, "generator.pth to use instead of a run's")
    pretrained: str | None = option(None, "use the pretrained generator of this set, such as mnist")
    data_dir: Path | None = option(
        None, "folder with the files of a named set, or with your own training set", folder=True
    )
    out: Path | None = option(
        None, "folder for the results (default: denoising_results in the run, or beside the runs)"
    )
    images: Path | None = option(
        None,
        "folder of your own pictures; corruptions that are not given are estimated",
        folder=True,
    )
    invert: bool = option(False, "invert your own pictures, if dark on light", switch=True)
    corruption: tuple[str, ...] | None = option(
        None, f"corruptions such as blur:1.5; all, or {', '.join(CORRUPTIONS)}", most=24
    )
    sigma: tuple[float, ...] | None = option(
        None, "short for --corruption gaussian:SIGMA, from 0 to 1 (default: 0.1 0.3 0.5)", most=12
    )
    clip: bool = option(False, "renamed: --corruption gaussian-clipped:SIGMA", switch=True)
    restorer: tuple[str, ...] = option(
        tuple(RESTORERS), "use only these restorers", choices=tuple(RESTORERS), most=len(RESTORERS)
    )
    count: int | None = option(None, f"number of test images (default: {COUNT})", 1, 2_000)
    restarts: int = option(10, "latents from which each projection starts", low=1, high=100)
    steps: int = option(250, "optimisation steps of a projection", low=0, high=100_000)
    samples: int = option(
        0, "posterior samples to show for each image", low=0, high=20, old_name="regenerate"
    )
    train_denoiser: bool = option(
        False, "train your own denoiser and keep it, in place of the pretrained one", switch=True
    )
    train_sampler: bool = option(
        False, "train your own sampler (a conditional GAN) and keep it", switch=True
    )
    seed: int = option(0, "seed of noise, new samples and training", low=0, high=2**63 - 1)
    device: str = option("auto", "where to compute", choices=DEVICES)


def check(options: Options) -> None:
    """Refuse options that contradict each other; raises Mistake."""
    if options.clip:
        raise Mistake("--clip: was replaced; give --corruption gaussian-clipped:0.3 instead")
    if options.invert and not options.images:
        raise Mistake("--invert: is for your own pictures; leave it out without --images")
    for sigma in options.sigma or ():
        if not 0 <= sigma <= 1:  # NaN, too
            levels = corruptions.level_hint(str(sigma))
            raise Mistake(f"--sigma {sigma:g}: out of range, give a number from 0 to 1{levels}")
    if options.corruption and options.sigma:
        raise Mistake("--corruption: cannot be combined with --sigma; leave --sigma out")
    if options.images:
        if options.count:
            raise Mistake("--count: is for test images; leave it out with --images")
        for name in ("sigma", "corruption"):
            if (given := getattr(options, name)) and (len(given) > 1 or given == (ALL,)):
                one = "your own pictures have one corruption; give one, or none"
                raise Mistake(f"{flag_of(name)}: {one}")
        restorers.select_for_own(options.restorer, options.samples)


def restore_test_images(
    options: Options,
    context: Context,
    sheets: Sheets,
    corruption: Corruption,
    test: CleanImages,
    tuning: Tensor | None,
) -> None:
    """Corrupt the test images, restore them with every restorer asked for, and score the results.

    tuning: clean training images for classical methods, (N, C, H, W); None to leave these out.
    """
    context.projected = []
    corrupted = corruption.apply(test.clean, context.seed)
    rows = {"corrupted": filled(corrupted)}
    found = {"corrupted": test.scores(rows["corrupted"])}
    if tuning is not None:
        for row in classical.applicable(corruption).values():
            rows[row.label] = classical.restore(row, corrupted, corruption, tuning)
            found[row.label] = test.scores(rows[row.label])
    usable = restorers.applicable(context, corruption)
    for restorer in restorers.select(options.restorer, usable, corruption).values():
        label = restorer.label
        if restorer.sample:
            samples = restorer.sample(context, corrupted, corruption, SAMPLES)
            rows[label], found[label] = samples.mean(1), test.scores_of_samples(samples)
        else:
            rows[label] = restorer.restore(context, corrupted, corruption)
            found[label] = test.scores(rows[label])
    for label, score in found.items():
        print(table_row(str(corruption), label, score), flush=True)
    if classes := context.projected:
        print(test.class_row(classes, sheets.dataset.spec.class_names))
    shown = [(f"{label}\n{found[label]['psnr']:.1f} dB", row) for label, row in rows.items()]
    below = "; below, the class projected" if classes else ""
    sheets.save(
        f"{corruption.file_stem}.png",
        f"{sheets.dataset.title}, {corruption.title}{below}",
        [("clean", test.clean), *shown],
        {
            **corruption.facts(),
            "images": len(test.clean),
            "seed": context.seed,
            "restarts": context.restarts,
            "steps": context.steps,
            "scores": {label: json_values(score) for label, score in found.items()},
            **({"classes": classes} if classes else {}),
        },
        columns=classes,
    )


def clean_generated(context: Context, sheets: Sheets, evaluator: Evaluator, clean: Tensor) -> None:
    """Lab sheet (c): denoise generated images, compare their FCD, and show a few of them."""

    def denoised(images: Tensor) -> Tensor:
        assumed = given_condition(context.denoiser.estimator, images, Gaussian(CLEANING))
        return denoising.denoise(context.denoiser, images, assumed)

    made = generated_images(context.generator, QUICK_COUNT)
    cleaned = unit_to_levels(denoised(to_unit(made)))
    column = evaluator.quick_distance
    label = DISTANCES[column]
    before, after = (evaluator.quick_of_images(each)[column] for each in (made, cleaned))
    verdict = "better" if after < before else "worse: keep the originals"
    print(f"generated images through the denoiser: {label} {before:.2f} -> {after:.2f}, {verdict}")
    generated = restorers.regenerate(context, clean, Gaussian(0))
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
    """The evaluator of a set; None if the set is too small, or if a classifier is damaged."""
    try:
        evaluator = Evaluator(dataset, device)
        return evaluator if evaluator.quick_distance else None
    except (Fault, OSError) as error:
        print(f"note: generated images through the denoiser were left out ({error})")
    return None


def restore_all(
    options: Options, context: Context, sheets: Sheets, found: Sequence[Corruption]
) -> None:
    """Corrupt and restore test images in every way asked for; then denoise generated images."""
    for corruption in found:  # raises a Mistake before anything is written
        usable = restorers.applicable(context, corruption)
        restorers.select(options.restorer, usable, corruption, options.samples)
    dataset, tuning = sheets.dataset, None
    test = CleanImages.of(dataset, options.count or COUNT, context.device)
    if ALL in (options.corruption or ()):
        tuning = to_unit(dataset.train_images[: classical.TUNING_COUNT]).to(context.device)
        print(classical.missing())
    print(test.table_head)
    for corruption in found:
        restore_test_images(options, context, sheets, corruption, test, tuning)
    for corruption in found if options.samples else ():
        show_samples(context, sheets, corruption, test.clean, options.samples)
    if "denoiser" not in options.restorer or not context.denoiser:
        return
    if evaluator := find_evaluator(dataset, context.device):
        clean_generated(context, sheets, evaluator, test.clean)


def main() -> None:
    """Find the generator, restore, score, save."""
    options = parse(Options)
    check(options)
    device = pick_device(options.device)
    trained = find_generator(options.run, options.generator, options.pretrained)
    sigmas = options.sigma or (() if options.corruption or options.images else SIGMAS)
    found = corruptions.requested(options.corruption or (), sigmas, trained.spec.shape)
    results = find_results(trained, options.out)
    pictures = []
    if options.images:
        results.check_images(options.images)
        if options.out:
            check_apart(options.out, "--images", options.images)
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
    footnote = dataset.footnote()
    if pictures:  # which are not compared with the set
        footnote = dataset.footnote("by networks trained on") if trained.is_of_sample else ""
    if footnote:
        print(SAMPLE_NOTICE)
    if remark := trained.remark_on(dataset):
        print(remark)
    path_of = partial(results.network_path, trained.path)
    common = (dataset, device, options.seed)
    find_sampler = partial(find, "sampler", path_of("sampler"), *common)
    sampler = None if options.train_sampler else find_sampler()
    estimates = bool(pictures) and not found  # the denoiser estimates their corruption
    trains = options.train_denoiser or options.train_sampler  # else restore_all checks `found`
    asked = (options.restorer, found if trains and not pictures else (), options.samples)
    restorers.check_possible(*asked, has_sampler=bool(sampler) or options.train_sampler)
    denoiser = find("denoiser", path_of("denoiser"), *common, estimates, options.train_denoiser)
    if options.train_sampler:
        sampler = find_sampler(retrain=True, denoiser=denoiser)
    context = Context(
        trained.network.to(device),
        denoiser and denoiser.network,
        sampler and sampler.network,
        **{"seed": options.seed, "restarts": options.restarts, "steps": options.steps},
        corruption_is_given=bool(pictures and found),
        class_names=trained.spec.class_names,
    )
    digests = (each and each.sha256 for each in (denoiser, sampler))
    made_by = Networks(dataset.name, trained.path, trained.weights.sha256, *digests)
    sheets = Sheets(results, dataset, made_by, footnote, draw=save_sheet)
    with full_precision(), on_interrupt(f"finished sheets, if any, are in {results}"):
        if pictures:
            restore_own(context, sheets, pictures, options.restorer, options.samples, *found)
        else:
            restore_all(options, context, sheets, found)
    if trained.run and results.folder == trained.run.restorations.folder:
        page = trained.run.report_path
        with os_errors_as_faults(f"all but {page} is saved; gan_lab.py --report writes that"):
            report.write(trained.run)  # now with the new sheets
    print(f"done: {results}")


if __name__ == "__main__":
    run_script(main)
