"""The images that generate_images.py is to make: their seeds and classes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from lab.data.datasets import DatasetSpec
from lab.errors import Mistake
from lab.options import flag_of
from lab.text import as_word, listed, shortened

COUNT = 100  # default number of images
MAX_IMAGES = 10_000_000
MAX_SEED = 2**32 - 1
SEED = re.compile("[0-9]{1,20}")


@dataclass(frozen=True)
class Request:
    """Seeds and classes: seed S gets class S modulo their number, or with every_class all of them.

    classes: (None,) if the generator is unconditional.
    """

    seeds: tuple[range, ...]
    classes: tuple[int | None, ...] = (None,)
    every_class: bool = False

    def __len__(self) -> int:
        return sum(map(len, self.seeds)) * (len(self.classes) if self.every_class else 1)

    def __iter__(self) -> Iterator[tuple[int, int | None]]:
        """Seed and class of each image."""
        for seed in chain(*self.seeds):
            if self.every_class:
                yield from ((seed, label) for label in self.classes)
            else:
                yield seed, self.classes[seed % len(self.classes)]

    def test_part(self) -> "Request":
        """The request for the test part of a set: a sixth as many of the following seeds."""
        first = self.seeds[-1].stop
        count = max(1, sum(map(len, self.seeds)) // 6)
        return replace(self, seeds=(range(first, first + count),))


def request_from_options(
    classes: int, spec: DatasetSpec, given: dict[str, Any], by_classifier: bool
) -> Request:
    """The request of the options --count, --seeds, --classes and --per-class.

    given: the options on the command line. classes: of a conditional generator, else 0.
    by_classifier: whether a classifier labels the images. Mistake for options that contradict each
    other or the generator.
    """
    by_class = next((flag_of(name) for name in ("classes", "per_class") if name in given), None)
    ways = [flag_of(name) for name in ("count", "seeds", "per_class") if name in given]
    names, both = spec.class_names, "seeds" in given and "classes" in given
    if len(ways) > 1:
        raise Mistake(f"{ways[1]}: {ways[0]} sets the number of images, too; leave one out")
    if (by_class or by_classifier) and not names:
        flag = by_class or "--label-by-classifier"
        raise Mistake(f"{flag}: {spec.title} has no labels; leave it out")
    if by_class and not (classes or by_classifier):
        raise Mistake(
            f"{by_class}: the generator was trained without labels; add --label-by-classifier, "
            "or train one with gan_lab.py --conditional"
        )
    if by_classifier and classes:
        raise Mistake("--label-by-classifier: the generator is conditional; leave it out")
    if by_classifier and both:
        raise Mistake("--seeds: cannot choose --classes of an unconditional generator; use --count")
    labels: tuple[int | None, ...] = (None,)
    if "classes" in given:
        labels = parse_classes(given["classes"], names)
    elif classes or "per_class" in given:
        labels = tuple(range(classes or len(names)))
    count = given.get("per_class", 0) * len(labels) or given.get("count", COUNT)
    seeds = parse_seeds(given["seeds"]) if "seeds" in given else (range(count),)
    request = Request(seeds, labels, every_class=both)
    if len(request) > MAX_IMAGES:
        what = f"{len(request):,} images, at most {MAX_IMAGES:,} are possible"
        raise Mistake(f"{ways[0]}: these are {what}; give fewer at a time")
    return request


def parse_seeds(words: Sequence[str]) -> tuple[range, ...]:
    """The seeds in words such as `0-99` and `200`, sorted, each once; else a Mistake."""
    ranges: list[range] = []
    for word in words:
        ends = word.split("-")
        cure = f"give numbers from 0 to {MAX_SEED}, or ranges of them, as in 0-99,200"
        if len(ends) > 2 or not all(SEED.fullmatch(end) for end in ends):
            raise Mistake(f"--seeds {shortened(word, 80)!r}: {cure}")
        first, last = int(ends[0]), int(ends[-1])
        if not first <= last <= MAX_SEED:
            raise Mistake(f"--seeds {shortened(word, 80)}: out of range or order; {cure}")
        ranges.append(range(first, last + 1))
    disjoint: list[range] = []
    for each in sorted(ranges, key=lambda each: each.start):
        start = max(each.start, disjoint[-1].stop if disjoint else 0)
        disjoint += [range(start, each.stop)] if start < each.stop else []
    return tuple(disjoint)


def parse_classes(words: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    """The labels of classes given by name, or by number if no class name is a number."""
    by_word = {as_word(name): label for label, name in enumerate(names)}
    if not any(name.isdecimal() for name in names):
        by_word |= {str(label): label for label in range(len(names))}
    exact = {name: label for label, name in enumerate(names)}  # a and A may be different classes
    found = [exact.get(word, by_word.get(word.lower())) for word in words]
    if None in found:
        wrong, known = shortened(words[found.index(None)], 80), listed(list(by_word), most=40)
        raise Mistake(f"--classes {wrong!r}: the classes are {known}")
    return tuple(dict.fromkeys(found))
