"""Diagnosis: what the figures of a run mean, and the option that usually cures what is wrong.

Thresholds are set so that a healthy run is told so and nothing else.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from lab.evaluation.catalogue import METRICS
from lab.evaluation.metrics import thin_classes
from lab.runs.schema import Evaluation
from lab.training.state import STEP_FIGURES

History = Sequence[Mapping[str, Any]]  # the rows of history.csv
Figures = Mapping[str, float]
Options = Mapping[str, Any] | None  # a run's, as far as they are known; None of other images

FEWEST_ROWS = 3  # epochs before anything is said, and over which losses and D(x) are averaged
WINNING_GAP = 0.88  # D(x) - D(G(z)); with targets smoothed by 0.1 a perfect discriminator has 0.9
WINNING_LOSS = 0.05  # of any of the losses: 0 is perfection
SETTLED = 0.9  # times the FCD before: above, the images have hardly come closer
WORSENED = 1.5  # times the best FCD so far
RUNAWAY_LOSS = 20.0
FOREIGN = 50.0  # FCD: images of the other set have 53 or 85, those dark on light 73 or 111
TELLING = 10.0  # FCD: above, what the classifier sees in an image says little of how it looks
DISTANCES = {"fcd": "FCD", "frd": "FRD"}  # a run has one of them, by what its set can be judged by
# Of a run that has learned too little yet, or has lost what it had learned.
FAR = "The images are far from real ones (FCD {:.0f}): trained too little, or {}"
COLLAPSED = "collapsed to a few kinds"
COPYING = 0.02  # share of near-copies; real test images have up to 0.005


def during(history: History, options: Mapping[str, Any]) -> list[str]:
    """What the last row has made true that was not before: sentences to print under it.

    options: the run's; classes may still be missing in the first half of its epochs. Few rows are
    looked at where the last has no scores: an epoch costs as little after thousands as after one.
    """
    recent = history[-FEWEST_ROWS - 1 :]
    before, now = _discriminator_trends(recent[:-1]), _discriminator_trends(recent)
    scores = {"thin_classes", *(f"{key}_train_5k" for key in DISTANCES)}
    if history and scores & history[-1].keys():
        before |= _score_trends(history[:-1], options)
        now |= _score_trends(history, options)
    return [text for kind, text in now.items() if kind not in before]


def after(history: History, found: Evaluation, options: Options) -> list[str]:
    """The verdict on a finished run, or on images alone where `history` is empty.

    First how good, then what is wrong, if anything is. Rows that lack a column are passed over:
    history.csv may come from anywhere.
    """
    history = [row for row in history if {"epoch", *STEP_FIGURES} <= row.keys()]
    classes = _foreign(found, options) or _missing_classes(found, options, _is_learning(history))
    wrong = [
        *_discriminator_trends(history).values(),
        *_distance_trend(history).values(),
        *classes,
        *_copying(found.figures, options),
    ]
    return [
        *_quality(found.figures),
        *(wrong or [_healthy(history, bool(found.class_histogram))]),
    ]


def _quality(figures: Figures) -> list[str]:
    """`FCD 20.1 to the test images; real images have 0.1, less is better.`"""
    said = [
        f"{label} {figures[f'{key}_test']:.1f} to the test images; real images have "
        f"{figures[f'{key}_real']:.1f}, less is better."
        for key, label in DISTANCES.items()
        if {f"{key}_test", f"{key}_real"} <= figures.keys()
    ][:1]
    if "asked_class" in figures:
        share = f"{figures['asked_class']:.1%}"
        said.append(f"The classifier sees the class that was asked for in {share} of the images.")
    return said


def _healthy(history: History, has_classes: bool) -> str:
    """The sentence for when there is nothing to say."""
    images = "all classes are there and " * has_classes + "no training images are copied."
    if not history:
        return f"Healthy: {images}"
    if len(history) < FEWEST_ROWS:
        return f"Too few epochs to say who is ahead; {images}"
    return f"Healthy: the discriminator is not winning {_outputs(history)}, {images}"


def _score_trends(history: History, options: Mapping[str, Any]) -> dict[str, str]:
    """What the scores so far say is wrong, by kind."""
    found = _distance_trend(history)
    row = next((row for row in reversed(history) if "thin_classes" in row), None)
    late = row is not None and 2 * row["epoch"] >= (options.get("epochs") or 0)
    if late and row["thin_classes"] and not _is_learning(history):
        distance, thin = row.get("fcd_train_5k", 0.0), round(row["thin_classes"])
        found["classes"] = (
            f"{FAR.format(distance, COLLAPSED)}{_cure(options)}."
            if distance >= FOREIGN
            else f"Mode collapse, {'1 class has' if thin == 1 else f'{thin} classes have'} less "
            f"than three tenths of their share of the images{_cure(options)}."
        )
    return found


def _is_learning(history: History) -> bool:
    """Whether classes may be missing because little was learned yet, which is no collapse.

    So it is in a run whose every score is clearly better than the one before; its first is, too.
    """
    distances = [row["fcd_train_5k"] for row in history if "fcd_train_5k" in row]
    better = (now < SETTLED * before for before, now in pairwise(distances))
    return bool(distances) and all(better)


def _discriminator_trends(history: History) -> dict[str, str]:
    """Who is ahead, from the losses, D(x) and D(G(z)) in the last rows."""
    if len(history) < FEWEST_ROWS:
        return {}
    d_loss, g_loss, d_real, d_fake = _recent(history)
    if max(abs(d_loss), abs(g_loss)) > RUNAWAY_LOSS:
        return {
            "diverging": f"Training is diverging (d_loss {d_loss:.1f}, g_loss {g_loss:.1f}); usual "
            "cure: lower --lr-g and --lr-d."
        }
    if d_real - d_fake > WINNING_GAP or d_loss < WINNING_LOSS:
        return {
            "winning": f"The discriminator is winning {_outputs(history)}: never fooled, it "
            "teaches the generator little; usual cure: a higher --r1-gamma, or a lower --lr-d."
        }
    return {}


def _distance_trend(history: History) -> dict[str, str]:
    """Whether the images have become clearly worse than they once were."""
    for key, label in DISTANCES.items():
        column = f"{key}_train_5k"
        scores = [(row[column], row["epoch"]) for row in history if column in row]
        if scores and scores[-1][0] > WORSENED * (best := min(scores))[0]:
            return {
                "worse": f"Images are getting worse: {label} {scores[-1][0]:.1f}, after "
                f"{best[0]:.1f} in epoch {best[1]:.0f}; usual cure: lower --lr-g and --lr-d, or "
                "fewer --epochs."
            }
    return {}


def _foreign(found: Evaluation, options: Options) -> list[str]:
    """Images that are hardly like the set at all, so that its classes say little about them."""
    distance = found.figures.get("fcd_test", 0.0)
    if distance < FOREIGN:
        return []
    name, share = max(found.class_histogram.items(), key=lambda item: item[1])
    seen = f"(the classifier sees {_named(name)} in {share:.0%} of them)"
    if options is not None:
        return [f"{FAR.format(distance, COLLAPSED)} {seen}{_cure(options)}."]
    reasons = f"{COLLAPSED} {seen}, of another --dataset, or dark on light (--invert)"
    return [f"Hardly images of this set: {reasons}?"]


def _named(name: str) -> str:
    """A class in a sentence: `Bag`, `digit 7`."""
    return f"digit {name}" if name.isdecimal() else name


def _missing_classes(found: Evaluation, options: Options, is_learning: bool) -> list[str]:
    """Mode collapse, class by class. Classes are even where their shares in the set are unknown."""
    names, seen = list(found.class_histogram), list(found.class_histogram.values())
    if not names:
        return []
    images, fewest = found.figures["images"], METRICS["thin_classes"].fewest_images(len(names))
    if images < fewest:
        return [f"Too few images to say whether classes are missing; that takes {fewest:,}."]
    fair = list(found.own_shares.values()) or [1 / len(names)] * len(names)
    rare = [
        f"{_named(names[label])} {seen[label]:.1%} (fair would be {fair[label]:.1%})"
        for label in sorted(thin_classes(seen, fair, images), key=seen.__getitem__)
    ]
    if not rare:
        return []
    what = "Trained too little" if is_learning else "Mode collapse"
    return [f"{what}, classes missing or rare: {', '.join(rare)}{_cure(options)}."]


def _cure(options: Options) -> str:
    """`; usual cure: ...`, of what the run does not do yet, as far as its options are known."""
    if options is None:
        return ""
    # In benchmarks/QUALITY.md classes are rare in classic runs only.
    cures = {"r1_gamma": "--r1-gamma 1", "ema_decay": "--ema-decay 0.9995"}
    missing = " and ".join(flag for name, flag in cures.items() if options.get(name) == 0)
    longer = "more --epochs while FCD still falls"
    return f"; usual cure: {missing}, or {longer}" if missing else f"; usual cure: {longer}"


def _copying(figures: Figures, options: Options) -> list[str]:
    if figures["near_copies"] <= COPYING:
        return []
    cure = "; usual cure: the full set (--data-dir), --dropout 0.3, or fewer --epochs"
    copies = f"{figures['near_copies']:.1%} of the images are near-copies of training images"
    return [f"Memorising: {copies}{'' if options is None else cure}."]


def _outputs(history: History) -> str:
    """`(D(x) 0.61, D(G(z)) 0.39)`, recently."""
    *_, d_real, d_fake = _recent(history)
    return f"(D(x) {d_real:.2f}, D(G(z)) {d_fake:.2f})"


def _recent(history: History) -> list[float]:
    """STEP_FIGURES averaged over the last rows."""
    rows = history[-FEWEST_ROWS:]
    return [sum(row[column] for row in rows) / len(rows) for column in STEP_FIGURES]
