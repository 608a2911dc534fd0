"""Score generated images: those of a run, of a generator file, or of any other program.

    python evaluate_images.py
    python evaluate_images.py --images FOLDER --dataset fashion

Writes evaluation.json and evaluation.png into the run folder, or into a new folder in --out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import environment

if __name__ == "__main__":
    environment.prepare()

import torch
from torch import Tensor

from lab import device as machine
from lab import files as storage
from lab import lock, places
from lab.data import datasets as data
from lab.data import image_folder as folder
from lab.errors import Mistake, going_on, run_script
from lab.evaluation import diagnosis as advice
from lab.evaluation import inception
from lab.evaluation.evaluator import FULL_COUNT, Evaluation, Judge, generated_images
from lab.models import networks as models
from lab.options import option, parse
from lab.report import index, report, tables
from lab.report import summary as readings
from lab.runs import provenance, records
from lab.runs import run as runs
from lab.text import counted, printable


@dataclass(frozen=True)
class Options:
    """Every option of an evaluation."""

    run: Path | None = option(None, "run folder to score; default the newest")
    generator: Path | None = option(None, "generator.pth to score instead of a run's")
    images: Path | None = option(
        None, "folder of pictures to score, of any program; needs --dataset", folder=True
    )
    invert: bool = option(False, "the pictures are dark on light: turn that round", only_on=True)
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
    options: Mapping[str, Any] | None = None  # the run's, {} if unknown; None for pictures
    history: Sequence[Mapping[str, float]] = ()  # the run's
    generator: models.Generator | None = None
    digest: str | None = None  # SHA-256 of its file: it tells figures of it from those of others
    stage: str = ""  # of its training, in words
    files: tuple[Path, ...] = ()
    invert: bool = False  # the pictures in them

    @property
    def count(self) -> int:
        """How many images there will be."""
        return FULL_COUNT if self.generator else min(FULL_COUNT, len(self.files))


# What is scored


def find_subject(options: Options) -> Subject:
    """What the options name, else the newest run; checked, nothing computed yet."""
    given = [name for name in ("run", "generator", "images") if getattr(options, name)]
    if len(given) > 1:
        flags = " and ".join(f"--{name}" for name in given)
        raise Mistake(f"--{given[1]} {getattr(options, given[1])}: give one of {flags}, not both")
    if options.images:
        return find_pictures(options)
    if options.invert:
        raise Mistake("--invert: is for pictures; leave it out without --images")
    weights = runs.find_generator(options.run, options.generator)
    run = None if options.generator else weights.parent
    if run and lock.is_held(run):
        raise Mistake(
            f"--run {run}: is being trained, which ends in an evaluation; wait for that, or score "
            f"{weights} with --generator"
        )
    if options.out and run:
        raise Mistake(f"--out {options.out}: a run's result goes into the run; leave it out")
    generator, facts, digest = runs.load_generator(weights, typed=bool(options.generator))
    stored = storage.read_json(run / "config.json").get("options") if run else None
    return Subject(
        name=str(run or weights),
        dataset=dataset_of(weights, facts, options.dataset),
        data_dir=options.data_dir or provenance.data_dir_around(weights),
        run=run,
        options=storage.as_dict(stored),
        history=history_of(run) if run else (),
        generator=generator,
        digest=digest,
        stage=runs.stage_of(facts),
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
        files=tuple(folder.files_in(options.images, below=True)),
        invert=options.invert,
    )


def history_of(run: Path) -> Sequence[Mapping[str, float]]:
    """The rows of the run's history.csv; without one, or with a damaged one, none."""
    history = records.history(run)
    if not history and (run / "history.csv").is_file():
        print(f"note: passed over, {run / 'history.csv'} is damaged or empty")
    return history


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
    images, notices = folder.read_images(
        Path(subject.name), list(subject.files), FULL_COUNT, subject.invert
    )
    for notice in notices:
        print(f"note: {printable(notice)}")
    return images


def known_fid(subject: Subject, fingerprint: str) -> dict[str, float]:
    """The FID that stands in the run's evaluation.json, if it is of these weights and images.

    It takes long: an evaluation without --fid should not throw it away.
    """
    kept = records.content(subject.run / "evaluation.json") if subject.run else {}
    compared, fid = storage.as_dict(kept.get("compared_with")), readings.number(kept.get("fid"))
    same = (compared.get("fingerprint"), kept.get("generator_sha256"))
    return {"fid": fid} if same == (fingerprint, subject.digest) and fid is not None else {}


def print_heading(subject: Subject, count: int, image_set: data.ImageSet) -> None:
    """What is compared with what."""
    print(
        f"{subject.name}{subject.stage}: {counted(count, 'image')}\n"
        f"compared with {image_set.title}, {len(image_set.train_images):,} training and "
        f"{len(image_set.test_images):,} test images from {image_set.source}",
        flush=True,
    )
    if count < FULL_COUNT:
        print(
            f"note: fewer than {FULL_COUNT:,} images; distances and recall come out higher than "
            "they are, coverage lower"
        )
    if image_set.is_sample:
        print(data.SAMPLE_NOTICE)


def print_table(evaluation: Evaluation, real: Mapping[str, float]) -> None:
    """Every figure of the images beside that of real ones."""
    print(f"\n{'':24}{'these images':>14}{'real images':>14}   better")
    for key, metric in tables.METRICS.items():
        if key in evaluation.figures and metric.better:
            beside = f"{real[key]:{metric.form}}" if key in real else ""
            value = f"{evaluation.figures[key]:{metric.form}}"
            print(f"{metric.name:24}{value:>14}{beside:>14}   {metric.better}")
    shares = evaluation.figures["class_histogram"]
    print("\nclasses: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    if evaluation.left_out:
        print(f"left out: {evaluation.left_out}")


def save(subject: Subject, judge: Judge, evaluation: Evaluation, results: Path) -> None:
    """Write the figures down, with what they mean, and into the run's report."""
    options, count = subject.options or {}, counted(len(evaluation.images), "image")
    told = [f"{options['recipe']} recipe"] if "recipe" in options else []
    told += [f"seed {options['seed']}", count] if "seed" in options else [count]
    judge.save(
        results,
        evaluation,
        f"{Path(subject.name).name}: {', '.join((judge.image_set.title, *told))}",
        real=judge.real_figures,
        words=advice.after(subject.history, evaluation.figures, subject.options),
        evaluated=subject.name,
        dataset=subject.dataset,
        generator_sha256=subject.digest,
        machine=machine.description(judge.device),
    )
    if subject.run:
        report.write(results)
        index.write(results.resolve().parent)


def add_fid(subject: Subject, judge: Judge, evaluation: Evaluation, results: Path) -> None:
    """Measure the Inception FID and write it down beside the other figures, saved already."""
    count = len(evaluation.images)
    inception.check(count, judge.image_set)  # unreadable pictures may have left too few
    print("\nInception FID: some half an hour on two cores, on a GPU seconds", flush=True)
    with going_on(f"all figures but the FID are in {results}"):
        evaluation.figures["fid"] = inception.distance(
            evaluation.images, judge.image_set, judge.device
        )
    print(f"Inception FID {evaluation.figures['fid']:.2f}")
    save(subject, judge, evaluation, results)


def main() -> None:
    """Find the images, score them, say what it means, write it down."""
    options = parse(Options)
    device = machine.pick_device(options.device)
    subject = find_subject(options)
    outputs = options.out or runs.OUTPUTS
    if subject.run:
        cure = f"score {subject.run / 'generator.pth'} with --generator and --out instead"
        places.check_writable("--run", subject.run, cure)
    else:
        places.check_out(outputs)
    machine.prepare()
    if subject.run:
        image_set = provenance.images_of(subject.run, subject.dataset, subject.data_dir)
    else:
        image_set = data.load(subject.dataset, subject.data_dir)
    if options.fid:
        inception.check(subject.count, image_set)
    judge = Judge(image_set, device)

    images = images_of(subject, device)
    print_heading(subject, len(images), image_set)
    evaluation = judge.full_of_images(images)
    evaluation.figures.update(known_fid(subject, image_set.fingerprint))
    print_table(evaluation, judge.real_figures)
    print("", *advice.after(subject.history, evaluation.figures, subject.options), sep="\n")
    results = subject.run or runs.new_run(outputs, "evaluation")
    save(subject, judge, evaluation, results)
    if options.fid:
        add_fid(subject, judge, evaluation, results)
    print(f"\ndone: {results / 'evaluation.json'} and evaluation.png")


if __name__ == "__main__":
    run_script(main)
