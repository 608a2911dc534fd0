"""Make images with a trained generator, as pictures, arrays or a data set; or export it.

    python generate_images.py
    python generate_images.py --seeds 0-9999 --out digits.npz

Takes the newest run in outputs/, without one the generator that ships. An image is decided by its
seed and its class; a sheet of the first (made.png) and dataset.json stand beside what is made.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__" and getattr(sys.flags, "safe_path", False):
    # Python has not looked beside the script.
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab.errors import Mistake, going_on, prepare_script, run_script

if __name__ == "__main__":
    prepare_script()

import torch
from torch import nn

from lab.data.writers import WRITERS, Contents, kind_of
from lab.device import DEVICES, full_precision, pick_device, set_up_torch
from lab.evaluation.classifiers import LEAST_ACCURACY, classifier_kept
from lab.files import appearing
from lab.models.export import EXPORTS, LATENTS, check_installed, export
from lab.models.request import COUNT, MOST_IMAGES, Request, request_from_options
from lab.models.sampling import Batch, generate_parts
from lab.models.shipped import load_classifier
from lab.options import given_options, option, refuse_others
from lab.report.figures import save_preview
from lab.restoration.corruptions import CORRUPTIONS, Corruption, Gaussian, fit, twins
from lab.restoration.corruptions import parse as parse_corruption
from lab.runs import check_out
from lab.runs.generated import GeneratedImages, locate_outputs
from lab.runs.generators import TrainedGenerator, find_generator, output_folder
from lab.text import command_line, counted, progress_bar

SHOWN = 100  # images in the sheet


@dataclass(frozen=True)
class Options:
    """Every option of a generation."""

    run: Path | None = option(
        None, "run folder whose generator is used; else the newest", heading="which generator"
    )
    generator: Path | None = option(None, "generator.pth to use instead of a run's")
    pretrained: str | None = option(None, "use the generator that ships for this set, as mnist")
    count: int | None = option(
        None, f"how many images; else {COUNT}", 1, MOST_IMAGES, heading="which images"
    )
    seeds: tuple[str, ...] | None = option(
        None, "the images of these seeds, as 0-99,200; else 0 and on", most=1_000
    )
    classes: tuple[str, ...] | None = option(
        None, "only of these, in turn, as 3,8 or sandal; with --seeds each seed in every one"
    )
    per_class: int | None = option(None, "so many of each class", 1, MOST_IMAGES)
    truncation: float = option(1.0, "what latents are multiplied with: less is more typical", 0, 1)
    label_by_classifier: bool = option(
        False, "the set's classifier says the classes of a generator without", only_on=True
    )
    out: Path | None = option(
        None,
        "folder or file for them; else generated_images in the run, or in a new folder of outputs",
        heading="where, and in what form",
    )
    format: str | None = option(
        None, "else .npz and .zip by the end of --out, and a folder of PNG", choices=WRITERS
    )
    corruption: tuple[str, ...] | None = option(
        None, f"also write corrupted twins, as gaussian:0.3: {', '.join(CORRUPTIONS)}", most=12
    )
    sigma: tuple[float, ...] | None = option(
        None, "the same as --corruption gaussian:SIGMA", low=0, high=1, most=12
    )
    export: str | None = option(
        None, "write the generator itself, for other programs", choices=EXPORTS
    )
    device: str = option("auto", "where to compute", choices=DEVICES)


# What is asked for


def find_corruptions(options: Options, shape: tuple[int, int, int]) -> list[Corruption]:
    """What is done to the twins, each once; Mistake for what images of `shape` cannot have."""
    found = [parse_corruption(text) for text in options.corruption or ()]
    found += [Gaussian(sigma + 0.0) for sigma in options.sigma or ()]  # -0 is 0
    return fit(found, shape)


def find_places(
    options: Options, trained: TrainedGenerator, corruptions: list[Corruption], contents: Contents
) -> list[GeneratedImages]:
    """Where the images go, then each kind of twins; Mistake where they cannot be written."""
    kind = options.format or (kind_of(options.out) if options.out else "png")
    if reason := WRITERS[kind].refusal(contents):
        raise Mistake(f"--format {kind}: {reason}")
    if options.out and not WRITERS[kind].suffix:
        check_out(options.out)
    flag = "--out" if options.out else "--run"
    out = options.out or output_folder(trained).generated_folder
    endings = ["", *(f"_{corruption.file_stem}" for corruption in corruptions)]
    return locate_outputs(flag, out, kind, contents.spec, endings)


def facts(options: Options, trained: TrainedGenerator, parts: list[Request]) -> dict[str, Any]:
    """How the images are made, for dataset.json."""
    request = parts[0]
    labels = "told to the generator" if trained.classes else "none"
    seeds = [f"{each.start}-{each.stop - 1}" for part in parts for each in part.seeds]
    if options.label_by_classifier:
        labels = "said by the set's classifier; the generator was not told them"
        if request.classes != (None,):
            seeds = ["chosen from 0 on, by class"]
    names = trained.spec.class_names
    return {
        **dict(zip(("images", "test_images"), map(len, parts), strict=False)),
        "labels": labels,
        "classes": [names[label] for label in request.classes if label is not None],
        "seeds": seeds,
        "truncation": options.truncation,
        "dataset": trained.spec.as_facts(),
        "generator": str(trained.path),
        "generator_sha256": trained.weights.sha256,
        "command": command_line(["python", *sys.argv]),
        "started_in": str(Path.cwd()),
    }


def find_classifier(trained: TrainedGenerator) -> nn.Module:
    """The one that ships for the set, else the one kept since the generator's run was scored."""
    if shipped := load_classifier(trained.spec):
        return shipped
    title, run = trained.spec.title, trained.run
    network, accuracy = (run and classifier_kept(trained.spec, run.config.data)) or (None, 0.0)
    if not network:
        cure = f"evaluate_images.py --run {run} trains one" if run else "name its run with --run"
        raise Mistake(f"--label-by-classifier: none ships for {title}, none is kept here; {cure}")
    if accuracy < LEAST_ACCURACY:
        what = f"{title}'s is right about {accuracy:.0%} of the test images, and says too little"
        raise Mistake(f"--label-by-classifier: {what}; leave it out")
    return network


# The images


def make(
    found: Iterator[tuple[int, Batch]],
    into: list[GeneratedImages],
    corruptions: list[Corruption],
    contents: Contents,
    facts: dict[str, Any],
) -> None:
    """Write the images and their twins, a sheet of the first, and `facts` about them.

    All appears when all is written: of what is stopped or fails, nothing stays.
    """
    shown, classes = [[] for _ in into], []
    with contextlib.ExitStack() as to_the_end:
        beside = []  # where images and twins lie until then
        for place in into:
            place.path.parent.mkdir(parents=True, exist_ok=True)
            beside.append(to_the_end.enter_context(appearing(place.path)))
        with contextlib.ExitStack() as written:
            begin = WRITERS[into[0].kind].open
            adds = [written.enter_context(begin(path, contents)) for path in beside]
            bar = written.enter_context(progress_bar(total=sum(contents.counts), unit=" images"))
            for part, batch in found:
                twinned = (twins(each, batch.images, batch.names) for each in corruptions)
                rows = [batch.images, *twinned]
                for add, images, sheet in zip(adds, rows, shown, strict=True):
                    add(part, images, batch.seeds, batch.labels)
                    sheet += images[: SHOWN - len(sheet)]
                classes += (batch.labels or [])[: SHOWN - len(classes)]
                bar.update(len(batch))
        save_preview(into[0].sheet_path, [torch.stack(sheet) for sheet in shown], classes)
        for place, corruption in zip(into, [None, *corruptions], strict=True):
            place.record({**facts, "corruption": corruption and str(corruption)})


def save_export(options: Options, trained: TrainedGenerator) -> None:
    """Write the generator for other programs, held against itself."""
    kind, folder = options.export, options.out
    if folder:
        check_out(folder)
        if folder.is_dir() and any(folder.iterdir()):
            raise Mistake(f"--out {folder}: is not empty; name a new folder for {kind}")
    folder = folder or output_folder(trained).export_folder / kind
    folder.parent.mkdir(parents=True, exist_ok=True)
    apart = export(trained.weights, kind, folder)
    print(f"largest difference over {LATENTS:,} latents: {apart:.1e}\ndone: {folder}")


# The script


def main() -> None:
    """Find the generator, then make its images, or export it."""
    given = given_options(Options)
    options = Options(**given)
    device = pick_device(options.device)
    if options.export:
        allowed = ("export", "run", "generator", "pretrained", "out", "device")
        refuse_others(given, allowed, "has no effect with --export")
        check_installed(options.export)
    trained = find_generator(options.run, options.generator, options.pretrained)
    if options.export:
        save_export(options, trained)
        return
    spec, corruptions = trained.spec, find_corruptions(options, trained.spec.shape)
    request = request_from_options(trained.classes, spec, given, options.label_by_classifier)
    classifier = find_classifier(trained) if options.label_by_classifier else None
    has_test_part = options.format and WRITERS[options.format].has_test_part
    parts = [request, request.test_part()] if has_test_part else [request]
    contents = Contents(spec, tuple(map(len, parts)), bool(classifier or trained.classes))
    into = find_places(options, trained, corruptions, contents)
    set_up_torch()
    total, began = sum(contents.counts), time.monotonic()
    print(f"{counted(total, 'image')} like {spec.title}, by {trained.path}{trained.stage}")
    found = generate_parts(
        *(trained.network.to(device), parts, options.truncation),
        *(classifier and classifier.to(device), spec.class_names),
    )
    with full_precision(), going_on("nothing of it was kept"):
        make(found, into, corruptions, contents, facts(options, trained, parts))
    rate = total / (time.monotonic() - began)
    print(f"{rate:,.0f} images/s; the first of them: {into[0].sheet_path}")
    print(f"done: {', '.join(map(str, into))}")


if __name__ == "__main__":
    run_script(main)
