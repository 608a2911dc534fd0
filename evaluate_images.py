"""Score generated images: those of a run, of a generator file, or of any other program.

    python evaluate_images.py
    python evaluate_images.py --images FOLDER --dataset fashion

Writes evaluation.json and evaluation.png into the run folder, or into a new folder in --out.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # until run_script listens: Ctrl-C while torch loads just ends it
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch
from torch import Tensor

from lab import advice, data, gallery, inception, machine, models, readings, report, runs, storage
from lab.errors import Fault, Mistake, run_script
from lab.judge import FULL_COUNT, Evaluation, Judge, generated_images
from lab.options import option, parse


@dataclass(frozen=True)
class Options:
    """Every option of an evaluation."""

    run: Path | None = option(None, "run folder to score; default the newest")
    generator: Path | None = option(None, "generator.pth to score instead of a run's")
    images: Path | None = option(
        None, "folder of pictures to score, of any program; needs --dataset", folder=True
    )
    dataset: str | None = option(
        None, "set to compare with; default the generator's", choices=tuple(data.SETS)
    )
    data_dir: Path | None = option(None, "folder with the set's IDX files", folder=True)
    out: Path | None = option(
        None, "folder that the result's folder is made in, for --generator and --images"
    )
    fid: bool = option(False, f"also the Inception FID (needs: {inception.INSTALL})")
    device: str = option("auto", "where to compute", choices=machine.DEVICES)


@dataclass(frozen=True)
class Subject:
    """What is scored, and what with: a generator, or files of pictures."""

    name: str
    dataset: str
    data_dir: Path | None
    run: Path | None = None  # the results go there, if there is one
    weights: Path | None = None
    generator: models.Generator | None = None
    stage: str = ""  # of its training, in words
    files: tuple[Path, ...] = ()

    @property
    def count(self) -> int:
        """How many images there will be."""
        return FULL_COUNT if self.generator else min(FULL_COUNT, len(self.files))

    @property
    def options(self) -> dict[str, Any] | None:
        """Those of the run, as its config.json has them; None if there is none."""
        config = storage.read_json(self.run / "config.json") if self.run else {}
        return config.get("options") if isinstance(config.get("options"), dict) else None

    @property
    def digest(self) -> str | None:
        """SHA-256 of the weights: it tells figures of these from those of others."""
        return storage.digest(self.weights) if self.weights else None


# What is scored


def find_subject(options: Options) -> Subject:
    """What the options name, else the newest run; checked, nothing computed yet."""
    given = [name for name in ("run", "generator", "images") if getattr(options, name)]
    if len(given) > 1:
        flags = " and ".join(f"--{name}" for name in given)
        raise Mistake(f"--{given[1]} {getattr(options, given[1])}: give one of {flags}, not both")
    if options.images:
        return find_pictures(options)
    weights = runs.find_generator(options.run, options.generator)
    run = None if options.generator else weights.parent
    generator, facts = storage.load_weights(weights, models.Generator)
    return Subject(
        name=str(run or weights),
        dataset=dataset_of(weights, facts, options.dataset),
        data_dir=options.data_dir or runs.data_dir_around(weights),
        run=run,
        weights=weights,
        generator=generator,
        stage=f", after epoch {facts['epoch']}" if isinstance(facts.get("epoch"), int) else "",
    )


def find_pictures(options: Options) -> Subject:
    """The pictures in the folder --images."""
    if not options.dataset:
        raise Mistake(
            f"--images {options.images}: say which set they are to be like, with --dataset "
            + " or --dataset ".join(data.SETS)
        )
    return Subject(
        name=str(options.images),
        dataset=options.dataset,
        data_dir=options.data_dir,
        files=tuple(gallery.picture_files(options.images)),
    )


def dataset_of(weights: Path, facts: Mapping[str, Any], wanted: str | None) -> str:
    """The set that a generator was trained on; Mistake if --dataset names another."""
    stored = runs.dataset_of(weights, facts)
    if wanted not in (None, stored):
        raise Mistake(f"--dataset {wanted}: {weights} was trained on {stored}; leave --dataset out")
    return stored


# The evaluation


def images_of(subject: Subject, device: torch.device) -> Tensor:
    """uint8 (N, 1, 28, 28): the images to score; says what had to be done to pictures."""
    if subject.generator:
        return generated_images(subject.generator.to(device), FULL_COUNT, device)
    found = gallery.read(list(subject.files), FULL_COUNT)
    for notice in found.notices:
        print(f"note: {notice}")
    return found.images


def known_fid(subject: Subject, fingerprint: str, digest: str | None) -> dict[str, float]:
    """The FID that stands in the run's evaluation.json, if it is of these weights and images.

    It takes long: an evaluation without --fid should not throw it away.
    """
    path = subject.run / "evaluation.json" if subject.run else None
    if not path or not path.is_file():
        return {}
    try:
        kept = storage.read_json(path)
    except Fault:
        return {}  # damaged, and about to be replaced
    compared, fid = kept.get("compared_with"), readings.number(kept.get("fid"))
    same_images = isinstance(compared, dict) and compared.get("fingerprint") == fingerprint
    if digest and kept.get("generator_sha256") == digest and same_images and fid is not None:
        return {"fid": fid}
    return {}


def print_heading(subject: Subject, count: int, image_set: data.ImageSet) -> None:
    """What is compared with what."""
    print(
        f"{subject.name}{subject.stage}: {count:,} images\n"
        f"compared with {image_set.title}, {len(image_set.train_images):,} training and "
        f"{len(image_set.test_images):,} test images from {image_set.source}",
        flush=True,
    )
    if count < FULL_COUNT:
        print(f"note: fewer than {FULL_COUNT:,} images; distances come out greater than they are")
    if image_set.is_sample:
        print(data.SAMPLE_NOTICE)


def print_table(evaluation: Evaluation, real: Mapping[str, float]) -> None:
    """Every figure of the images beside that of real ones."""
    print(f"\n{'':36}{'these images':>14}{'real images':>14}   better")
    for key, label, better, form in ROWS:
        if key in evaluation.figures:
            beside = f"{real[key]:{form}}" if key in real else ""
            print(f"{label:36}{evaluation.figures[key]:>14{form}}{beside:>14}   {better}")
    shares = evaluation.figures["class_histogram"]
    print("\nclasses: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    if evaluation.left_out:
        print(f"left out: {evaluation.left_out}")


ROWS = (
    ("fcd_train", "FCD to 10,000 training images", "lower", ".2f"),
    ("fcd_test", "FCD to the test images", "lower", ".2f"),
    ("fid", "Inception FID to the test images", "lower", ".2f"),
    ("kernel_distance", "kernel distance", "lower", ".4f"),
    ("precision", "precision", "higher", ".3f"),
    ("recall", "recall", "higher", ".3f"),
    ("density", "density", "higher", ".3f"),
    ("coverage", "coverage", "higher", ".3f"),
    ("confidence", "mean confidence", "higher", ".3f"),
    ("class_kl", "class KL from uniform, nats", "lower", ".4f"),
    ("smallest_class", "smallest class", "higher", ".1%"),
    ("thin_classes", "classes under 3 %", "lower", ".0f"),
    ("near_copies", "near-copies of training images", "lower", ".1%"),
)


def main() -> None:
    """Find the images, score them, say what it means, write it down."""
    options = parse(Options)
    device = machine.pick_device(options.device)
    subject = find_subject(options)
    outputs = options.out or runs.OUTPUTS
    if options.out and subject.run:
        raise Mistake(f"--out {options.out}: a run's result goes into the run; leave it out")
    runs.check_writable("--run" if subject.run else "--out", subject.run or outputs)
    machine.prepare(device)
    image_set = data.load(subject.dataset, subject.data_dir)
    if subject.run:
        runs.check_fingerprint(subject.run, image_set)
    judge = Judge(image_set, device)
    if options.fid:
        inception.check(subject.count, image_set)

    images = images_of(subject, device)
    print_heading(subject, len(images), image_set)
    evaluation = judge.full_of_images(images)
    digest = subject.digest
    if options.fid:
        inception.check(len(images), image_set)  # unreadable pictures may have left too few
        evaluation.figures["fid"] = inception.distance(images, image_set, device)
    else:
        evaluation.figures.update(known_fid(subject, image_set.fingerprint, digest))
    print_table(evaluation, judge.real_figures())
    history_file = subject.run / "history.csv" if subject.run else None
    history = runs.read_history(history_file) if history_file and history_file.is_file() else []
    words = advice.after(history, evaluation.figures, subject.options)
    print("", *words, sep="\n")

    folder = subject.run or runs.new_run(outputs, "evaluation")
    title = f"{Path(subject.name).name}: {len(images):,} images, {image_set.title}"
    judge.save(
        folder,
        evaluation,
        title,
        words=words,
        evaluated=subject.name,
        dataset=subject.dataset,
        generator_sha256=digest,
        machine=machine.description(device),
    )
    if subject.run:
        report.write(folder)  # with the new figures in it
    print(f"\ndone: {folder / 'evaluation.json'} and evaluation.png")


if __name__ == "__main__":
    run_script(main)
