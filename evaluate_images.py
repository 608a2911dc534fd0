"""Score generated images: those of a run, of a generator file, or of any other program.

    python evaluate_images.py
    python evaluate_images.py --images samples.npz --dataset fashion

Writes evaluation.json and evaluation.png into the run folder, or into a new folder in --out.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__" and getattr(sys.flags, "safe_path", False):
    # With PYTHONSAFEPATH set, Python does not look for modules beside the script.
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab.errors import Mistake, on_interrupt, prepare_script, run_script

if __name__ == "__main__":
    prepare_script()

from lab.data import OF_SETS, Dataset, colour_asked
from lab.data.datasets import SAMPLE_NOTICE
from lab.device import DEVICES, pick_device, set_up_torch
from lab.evaluation import Evaluator, Judgement, cas, inception
from lab.evaluation.subject import Subject, find_subject
from lab.files import check_apart, check_writable
from lab.options import option, parse
from lab.report import save_evaluation, write_pages
from lab.runs import OUTPUTS, check_out
from lab.runs.layout import RunFiles, new_folder
from lab.text import counted


@dataclass(frozen=True)
class Options:
    run: Path | None = option(None, "run folder to score (default: the newest)")
    generator: Path | None = option(None, "generator.pth to score instead of a run's")
    images: Path | None = option(
        None, "folder, zip or npz file of images by any program; needs --dataset"
    )
    invert: bool = option(False, "invert the pictures, if dark on light", switch=True)
    dataset: str | None = option(None, f"set to compare with (default: the generator's): {OF_SETS}")
    image_size: int | None = option(
        None, "side of your own set's images (default: theirs, or 32), a multiple of 4", 16, 64
    )
    grey: bool = option(False, "convert your own set to grey", switch=True)
    colour: bool = option(False, "keep your own set in colour, even if most are grey", switch=True)
    data_dir: Path | None = option(
        None, "folder with the files of a named set, or with your own training set", folder=True
    )
    out: Path | None = option(
        None, "results of --generator and --images go into a new folder in it (default: outputs)"
    )
    fid: bool = option(
        False, f"compute the Inception FID, too (needs: {inception.INSTALL})", switch=True
    )
    cas: bool = option(
        False,
        "compute the classification accuracy score of a conditional generator, too",
        switch=True,
    )
    device: str = option("auto", "where to compute", choices=DEVICES)


def main() -> None:
    """Score the images, save and explain the figures; then compute the slow ones asked for."""
    options = parse(Options)
    device = pick_device(options.device)
    set_up_torch()
    subject, dataset = find(options)
    evaluator = Evaluator(dataset, device)
    images, labels = subject.images(evaluator)
    print_heading(subject, len(images), dataset)
    judgement = evaluator.full_of_images(images, labels)
    judgement.record.real = evaluator.real_figures
    if subject.run:
        judgement.keep_slow_figures(subject.run.evaluation)
    results = subject.run or RunFiles(new_folder(options.out or OUTPUTS, "evaluation"))
    print("", judgement.table(), sep="\n", flush=True)  # seen even if the disk is full
    print("", *save(subject, dataset, judgement, results), sep="\n")

    figures = judgement.record.figures
    if options.cas:  # slow, like the FID below: all else has been saved before
        print("\nclassification accuracy score: some minutes on two cores", flush=True)
        with on_interrupt(f"all figures but this score are in {results}"):
            scores = cas.scores(subject.trained.network, dataset, device)
        figures["cas"], judgement.record.real["cas"] = scores
        print("trained on generated images {:.1%}, on real images {:.1%}".format(*scores))
        save(subject, dataset, judgement, results)
    if options.fid:
        inception.check(len(images), dataset)  # some may have been unreadable
        print("\nInception FID: about half an hour on two cores, seconds on a GPU", flush=True)
        with on_interrupt(f"all figures but the FID are in {results}"):
            figures["fid"] = inception.distance(judgement.images, dataset, device)
        print(f"Inception FID {figures['fid']:.2f}")
        save(subject, dataset, judgement, results)
    sheet = "" if judgement.classes is None else f" and {results.class_sheet_path.name}"
    print(f"\ndone: {results.evaluation_path}{sheet}")


def find(options: Options) -> tuple[Subject, Dataset]:
    """What to score, and the set to compare with; options are checked before any computation."""
    subject = find_subject(options)
    outputs = options.out or OUTPUTS
    if subject.run and options.out:
        raise Mistake(f"--out {options.out}: a run's result goes into the run; leave it out")
    if subject.run:
        cure = f"score {subject.trained.path} with --generator and --out instead"
        check_writable("--run", subject.run.path, cure)
    else:
        check_out(outputs)
    if options.images:
        check_apart(outputs, "--images", options.images)
    colour = colour_asked(options.grey, options.colour)
    if subject.trained and (options.image_size or colour is not None):
        raise Mistake("--image-size, --grey, --colour: the generator has its own; leave them out")
    dataset = subject.load_dataset(options.data_dir, options.image_size, colour)
    if dataset.path and not subject.run:
        check_apart(outputs, "--dataset", dataset.path)
    if options.fid:
        inception.check(subject.count, dataset)
    if options.cas:
        cas.check(subject.trained, dataset)
    return subject, dataset


def print_heading(subject: Subject, count: int, dataset: Dataset) -> None:
    """Print which images are compared with which."""
    stage = subject.trained.stage if subject.trained else ""
    print(
        f"{subject.name}{stage}: {counted(count, 'image')}\n"
        f"compared with {dataset.title}, {len(dataset.train_images):,} training and "
        f"{len(dataset.test_images):,} test images from {dataset.source}",
        flush=True,
    )
    for notice in dataset.notices:
        print(f"note: {notice}")
    if dataset.is_sample:
        print(SAMPLE_NOTICE)
    if subject.trained and (remark := subject.trained.remark_on(dataset)):
        print(remark)


def save(subject: Subject, dataset: Dataset, judgement: Judgement, results: RunFiles) -> list[str]:
    """Save the figures, also in the run's page; returns sentences that explain them."""
    options = subject.options
    run_facts = [f"{key} {options[key]}" for key in ("recipe", "seed") if key in (options or {})]
    facts = [dataset.title, *run_facts, counted(len(judgement.images), "image")]
    title = f"{Path(subject.name).resolve().name}: {', '.join(facts)}"
    words = save_evaluation(
        *(results, judgement, dataset, title),
        *(subject.run.history if subject.run else (), options),
        evaluated=subject.name,
        generator_sha256=subject.trained.weights.sha256 if subject.trained else None,
    )
    if subject.run:
        write_pages(subject.run)
    return words


if __name__ == "__main__":
    run_script(main)
