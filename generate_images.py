"""Make images with a trained generator, as pictures, arrays or a data set; or export it.

    python generate_images.py
    python generate_images.py --seeds 0-9999 --out digits.npz

Uses the newest run in outputs/, or a pretrained generator if there is no run. An image depends on
its seed, its class and --truncation only. made.png shows the first images, dataset.json describes
all of them.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__" and getattr(sys.flags, "safe_path", False):
    # With PYTHONSAFEPATH set, Python does not look for modules beside the script.
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab.errors import Mistake, on_interrupt, prepare_script, run_script

if __name__ == "__main__":
    prepare_script()

import torch
from torch import nn

from lab.data.writers import WRITERS, Contents, kind_of
from lab.device import DEVICES, full_precision, pick_device, set_up_torch
from lab.evaluation.classifiers import LEAST_ACCURACY, load_cached_classifier
from lab.files import atomic_path, check_writable
from lab.models.export import EXPORTS, LATENTS, check_installed, export
from lab.models.request import COUNT, MAX_IMAGES, Request, request_from_options
from lab.models.sampling import Batch, generate_parts
from lab.models.shipped import load_classifier
from lab.options import given_options, option, refuse_others
from lab.report.figures import save_preview
from lab.restoration.corruptions import CORRUPTIONS, Corruption, corrupted_copies, requested
from lab.runs import check_out
from lab.runs.generated import GeneratedImages, locate_outputs
from lab.runs.generators import TrainedGenerator, find_generator, output_folder
from lab.text import command_line, counted, progress_bar

SHOWN = 100  # images in the sheet


@dataclass(frozen=True)
class Options:
    run: Path | None = option(
        None, "run folder whose generator is used (default: the newest)", heading="which generator"
    )
    generator: Path | None = option(None, "generator.pth to use instead of a run's")
    pretrained: str | None = option(None, "use the pretrained generator of this set, such as mnist")
    count: int | None = option(
        None, f"number of images (default: {COUNT})", 1, MAX_IMAGES, heading="which images"
    )
    seeds: tuple[str, ...] | None = option(
        None, "seeds of the images, such as 0-99,200 (default: from 0 on)", most=1_000
    )
    classes: tuple[str, ...] | None = option(
        None, "only these classes, such as 3,8 or sandal; with --seeds all of them for each seed"
    )
    per_class: int | None = option(None, "number of images of each class", 1, MAX_IMAGES)
    truncation: float = option(1.0, "factor on the latents; below 1: typical, less diverse", 0, 1)
    label_by_classifier: bool = option(
        False, "label the images of an unconditional generator by a classifier", switch=True
    )
    out: Path | None = option(
        None,
        "folder or file (default: generated_images in the run, or in a new folder in outputs)",
        heading="where, and in what form",
    )
    format: str | None = option(
        None, "file format (default: by the ending of --out, else PNG files)", choices=WRITERS
    )
    corruption: tuple[str, ...] | None = option(
        None,
        f"also write corrupted copies: all, or blur:1.5, {', '.join(CORRUPTIONS)}",
        most=12,
    )
    sigma: tuple[float, ...] | None = option(
        None, "short for --corruption gaussian:SIGMA", low=0, high=1, most=12
    )
    export: str | None = option(
        None, "write the generator itself, for other programs", choices=EXPORTS
    )
    device: str = option("auto", "where to compute", choices=DEVICES)


def find_places(
    options: Options, trained: TrainedGenerator, corruptions: list[Corruption], contents: Contents
) -> list[GeneratedImages]:
    """Where the images go, then the corrupted copies; Mistake if these cannot be written there."""
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
    """How the images are made: the entries of dataset.json."""
    request = parts[0]
    labels = "given to the generator" if trained.classes else "none"
    seeds = [f"{each.start}-{each.stop - 1}" for part in parts for each in part.seeds]
    if options.label_by_classifier:
        labels = "predicted by the set's classifier, not given to the generator"
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
    """The classifier that ships for the set, else the one cached when the run was scored."""
    if shipped := load_classifier(trained.spec):
        return shipped
    title, run = trained.spec.title, trained.run
    cached = run and load_cached_classifier(trained.spec, run.config.data)
    if not cached:
        cure = f"evaluate_images.py --run {run} trains one" if run else "name its run with --run"
        raise Mistake(f"--label-by-classifier: there is no classifier of {title} yet; {cure}")
    network, accuracy = cached
    if accuracy < LEAST_ACCURACY:
        what = f"the classifier of {title} has an accuracy of {accuracy:.0%} only"
        raise Mistake(f"--label-by-classifier: {what}; leave it out")
    return network


def make(
    found: Iterator[tuple[int, Batch]],
    into: list[GeneratedImages],
    corruptions: list[Corruption],
    contents: Contents,
    facts: dict[str, Any],
) -> None:
    """Write the images and their corrupted copies, a sheet of the first, and `facts` about them.

    They appear under their names when all are written; nothing stays if this fails or is stopped.
    """
    shown, classes = [[] for _ in into], []
    with contextlib.ExitStack() as renaming:
        temporary = []  # paths, renamed at the end
        for place in into:
            place.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.append(renaming.enter_context(atomic_path(place.path)))
        with contextlib.ExitStack() as writing:
            open_writer = WRITERS[into[0].kind].open
            adds = [writing.enter_context(open_writer(path, contents)) for path in temporary]
            bar = writing.enter_context(progress_bar(total=sum(contents.counts), unit=" images"))
            for part, batch in found:
                copies = (corrupted_copies(each, batch.images, batch.names) for each in corruptions)
                rows = [batch.images, *copies]
                for add, images, sheet in zip(adds, rows, shown, strict=True):
                    add(part, images, batch.seeds, batch.labels)
                    sheet += images[: SHOWN - len(sheet)]
                classes += (batch.labels or [])[: SHOWN - len(classes)]
                bar.update(len(batch))
        save_preview(into[0].sheet_path, [torch.stack(sheet) for sheet in shown], classes)
        for place, corruption in zip(into, [None, *corruptions], strict=True):
            place.record({**facts, "corruption": corruption and str(corruption)})


def save_export(options: Options, trained: TrainedGenerator) -> None:
    """Write the generator for other programs, and compare it with the original."""
    kind, folder = options.export, options.out
    if folder:
        check_out(folder)
        if folder.suffix == f".{kind}":
            what = f"is a folder, for the network and generator.json; name it without .{kind}"
            raise Mistake(f"--out {folder}: {what}")
        if folder.is_dir() and any(folder.iterdir()):
            raise Mistake(f"--out {folder}: is not empty; name a new folder for {kind}")
        folder = Path(os.path.realpath(folder))  # is replaced, which a link cannot be
    else:
        folder = output_folder(trained).export_folder / kind
        check_writable("--run", folder, "name a folder with --out")
    folder.parent.mkdir(parents=True, exist_ok=True)
    difference = export(trained.weights, kind, folder)
    print(f"largest pixel difference over {LATENTS:,} latents: {difference:.1e}\ndone: {folder}")


def main() -> None:
    """Find the generator; export it, or make its images."""
    given = given_options(Options)
    options = Options(**given)
    device = pick_device(options.device)
    if options.export:
        allowed = ("export", "run", "generator", "pretrained", "out")
        refuse_others(given, allowed, "has no effect with --export")
        check_installed(options.export)
    trained = find_generator(options.run, options.generator, options.pretrained)
    if options.export:
        save_export(options, trained)
        return
    spec = trained.spec
    corruptions = requested(options.corruption or (), options.sigma or (), spec.shape)
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
    with full_precision(), on_interrupt("nothing was kept"):
        make(found, into, corruptions, contents, facts(options, trained, parts))
    rate = total / (time.monotonic() - began)
    print(f"{rate:,.0f} images/s; the first of them: {into[0].sheet_path}")
    print(f"done: {', '.join(map(str, into))}")


if __name__ == "__main__":
    run_script(main)
