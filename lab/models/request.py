"""Which images are asked for: by seed, by class, by number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from lab.data.datasets import DatasetSpec
from lab.errors import Mistake
from lab.options import flag_of
from lab.text import as_word, listed, shortened

COUNT = 100  # images, unless the options say otherwise
MOST_IMAGES = 10_000_000
MOST_SEED = 2**32 - 1
SEED = re.compile("[0-9]{1,20}")


@dataclass(frozen=True)
class Request:
    """Images that are asked for: each seed in one of `classes`, in turn, or in `every` one.

    classes: (None,) where the generator is not asked for any.
    """

    seeds: tuple[range, ...]
    classes: tuple[int | None, ...] = (None,)
    every: bool = False

    def __len__(self) -> int:
        return sum(map(len, self.seeds)) * (len(self.classes) if self.every else 1)

    def __iter__(self) -> Iterator[tuple[int, int | None]]:
        """Seed and class of each image."""
        for seed in chain(*self.seeds):
            if self.every:
                yield from ((seed, label) for label in self.classes)
            else:
                yield seed, self.classes[seed % len(self.classes)]

    def sixth(self) -> Request:
        """A sixth as many, at least one, of the seeds that follow."""
        first = self.seeds[-1].stop
        count = max(1, sum(map(len, self.seeds)) // 6)
        return replace(self, seeds=(range(first, first + count),))


def find_request(
    classes: int, spec: DatasetSpec, given: dict[str, Any], by_classifier: bool
) -> Request:
    """What the options --count, --seeds, --classes and --per-class ask for.

    given: those of them that were typed. classes: those that the generator can be told, 0 if none.
    by_classifier: a classifier says the classes instead. Mistake where that cannot be had.
    """
    by_class = next((flag_of(name) for name in ("classes", "per_class") if name in given), None)
    ways = [flag_of(name) for name in ("count", "seeds", "per_class") if name in given]
    names, both = spec.class_names, "seeds" in given and "classes" in given
    if len(ways) > 1:
        raise Mistake(f"{ways[1]}: {ways[0]} says how many already; leave one out")
    if (by_class or by_classifier) and not names:
        flag = by_class or "--label-by-classifier"
        raise Mistake(f"{flag}: {spec.title} has no labels; leave it out")
    if by_class and not (classes or by_classifier):
        raise Mistake(
            f"{by_class}: the generator was trained without labels; add --label-by-classifier, "
            "or train one with gan_lab.py --conditional"
        )
    if by_classifier and classes:
        raise Mistake("--label-by-classifier: the generator is told the class; leave it out")
    if by_classifier and both:
        raise Mistake("--seeds: only a classifier knows which are of --classes; give --count")
    asked: tuple[int | None, ...] = (None,)
    if "classes" in given:
        asked = parse_classes(given["classes"], names)
    elif classes or "per_class" in given:
        asked = tuple(range(classes or len(names)))
    how_many = given.get("per_class", 0) * len(asked) or given.get("count", COUNT)
    seeds = parse_seeds(given["seeds"]) if "seeds" in given else (range(how_many),)
    request = Request(seeds, asked, every=both)
    if len(request) > MOST_IMAGES:
        much = f"{len(request):,} images, at most {MOST_IMAGES:,} can be asked for"
        raise Mistake(f"{ways[0]}: these are {much}; give fewer at a time")
    return request


def parse_seeds(words: Sequence[str]) -> tuple[range, ...]:
    """The seeds that are typed `0-99 200` after --seeds, in order, each once; else a Mistake."""
    found: list[range] = []
    for word in words:
        ends = word.split("-")
        cure = f"give numbers from 0 to {MOST_SEED}, or ranges of them, as in 0-99,200"
        if len(ends) > 2 or not all(SEED.fullmatch(end) for end in ends):
            raise Mistake(f"--seeds {shortened(word, 80)!r}: {cure}")
        first, last = int(ends[0]), int(ends[-1])
        if not first <= last <= MOST_SEED:
            raise Mistake(f"--seeds {shortened(word, 80)}: out of range or order; {cure}")
        found.append(range(first, last + 1))
    apart: list[range] = []
    for each in sorted(found, key=lambda each: each.start):
        start = max(each.start, apart[-1].stop if apart else 0)
        apart += [range(start, each.stop)] if start < each.stop else []
    return tuple(apart)


def parse_classes(words: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    """The labels of classes typed by name, as a word; or by number, where no name is one."""
    by_word = {as_word(name): label for label, name in enumerate(names)}
    if not any(name.isdecimal() for name in names):
        by_word |= {str(label): label for label in range(len(names))}
    exact = {name: label for label, name in enumerate(names)}  # a and A may be two
    found = [exact.get(word, by_word.get(word.lower())) for word in words]
    if None in found:
        wrong, known = shortened(words[found.index(None)], 80), listed(list(by_word), most=40)
        raise Mistake(f"--classes {wrong!r}: the classes are {known}")
    return tuple(dict.fromkeys(found))
