"""lab/models/request.py: seeds and classes from the command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.data import DATASETS, DatasetSpec
from lab.errors import Mistake
from lab.models.request import MAX_SEED, Request, parse_seeds, request_from_options

MNIST, FASHION = DATASETS["mnist"], DATASETS["fashion"]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), min_size=1, max_size=6))
def test_parsed_seeds_are_sorted_and_unique(ends):
    words = [f"{first}-{first + more}" if more else str(first) for first, more in ends]
    wanted = {seed for first, more in ends for seed in range(first, first + more + 1)}
    assert [seed for seed, _ in Request(parse_seeds(words))] == sorted(wanted)


@pytest.mark.parametrize(
    "word", ["x", "-1", "1-2-3", "5-2", "1.5", "", "٣", str(10**10), "9" * 5000]
)
def test_invalid_seeds_are_refused(word):
    with pytest.raises(Mistake, match="--seeds") as caught:
        parse_seeds([word])
    assert len(str(caught.value)) < 250
    assert parse_seeds([str(MAX_SEED)]) == (range(MAX_SEED, MAX_SEED + 1),)


def asked(spec=MNIST, classes=10, by_classifier=False, **given):
    return list(request_from_options(classes, spec, given, by_classifier))


def test_classes_come_in_turn_and_with_seeds_every_class():
    assert asked(count=3) == [(0, 0), (1, 1), (2, 2)]
    assert asked(seeds=["12"]) == [(12, 2)]  # the class depends on the seed only
    assert asked(per_class=2, classes=10, spec=FASHION)[:2] == [(0, 0), (1, 1)]
    assert asked(per_class=1) == [(seed, seed) for seed in range(10)]
    assert len(asked()) == 100
    given = {"per_class": 2, "classes": ("3", "8", "3")}
    assert list(request_from_options(10, MNIST, given, False)) == [(0, 3), (1, 8), (2, 3), (3, 8)]
    given = {"seeds": ["4", "6"], "classes": ("Ankle-boot", "5")}
    assert list(request_from_options(10, FASHION, given, False)) == [(4, 9), (4, 5), (6, 9), (6, 5)]


@pytest.mark.parametrize(
    ("names", "typed", "labels"),
    [
        (FASHION.class_names, ("T-Shirt", "9", "ankle-boot", "0"), (0, 9)),
        (MNIST.class_names, ("7",), (7,)),
        (("1", "2", "3"), ("1", "3"), (0, 2)),  # names, not labels
        (("A", "a", "big cats, old"), ("a", "A", "big-cats-old", "2"), (1, 0, 2)),
    ],
)
def test_classes_are_given_by_name_or_number(names, typed, labels):
    spec = DatasetSpec("own", "Own", (1, 8, 8), tuple(names))
    found = request_from_options(len(names), spec, {"classes": typed}, False)
    assert found.classes == labels
    if "1" in names and "0" not in names:
        with pytest.raises(Mistake, match=r"'0': the classes are 1, 2, 3$"):
            request_from_options(len(names), spec, {"classes": ("0",)}, False)


def test_an_unconditional_generator_gets_no_class():
    assert asked(classes=0, count=2) == [(0, None), (1, None)]
    assert asked(classes=0, by_classifier=True, count=2) == [(0, None), (1, None)]


def test_the_test_part_has_a_sixth_as_many_other_seeds():
    request = request_from_options(10, MNIST, {"count": 60}, False)
    assert [seed for seed, _ in request.test_part()] == list(range(60, 70))
    assert len(Request((range(3),)).test_part()) == 1


@pytest.mark.parametrize(
    ("classes", "by_classifier", "given", "line"),
    [
        (10, False, {"classes": ("12",)}, "'12': the classes are 0, 1"),
        (10, False, {"classes": ("-1",)}, "'-1': the classes are 0, 1"),
        (0, False, {"classes": ("1",)}, "without labels; add --label-by-classifier"),
        (0, False, {"per_class": 1}, "without labels; add --label-by-classifier"),
        (10, True, {}, "--label-by-classifier: the generator is conditional"),
        (0, True, {"seeds": ["1"], "classes": ("1",)}, "use --count"),
        (10, False, {"seeds": ["1"], "per_class": 5}, "--per-class: --seeds sets the number"),
        (10, False, {"count": 1, "seeds": ["1"]}, "--seeds: --count sets the number"),
        (10, False, {"seeds": [f"0-{MAX_SEED}"]}, "4,294,967,296 images"),
        (10, False, {"per_class": 10**7}, "--per-class: these are 100,000,000 images"),
    ],
)
def test_impossible_requests_are_refused(classes, by_classifier, given, line):
    with pytest.raises(Mistake) as caught:
        request_from_options(classes, MNIST, given, by_classifier)
    assert line in str(caught.value)


def test_a_set_without_labels_has_no_classes():
    own = DatasetSpec("own", "Own", (1, 8, 8))
    for typed, by_classifier in (({"classes": ("1",)}, False), ({}, True)):
        with pytest.raises(Mistake, match="Own has no labels"):
            request_from_options(0, own, typed, by_classifier)
