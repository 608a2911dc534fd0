"""Diagnosis: explains the figures of a run in sentences, and names the usual cure for a problem.

Thresholds are chosen so that a healthy run gets no warning.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from lab.data.datasets import DATASETS
from lab.evaluation.catalogue import METRICS
from lab.evaluation.metrics import thin_classes
from lab.runs.schema import Evaluation
from lab.training.state import STEP_FIGURES

History = Sequence[Mapping[str, Any]]  # the rows of history.csv
Figures = Mapping[str, float]
Options = Mapping[str, Any] | None  # a run's options, as far as known; None for other images

FEWEST_ROWS = 3  # epochs needed for a diagnosis, and averaged for losses and D(x)
WINNING_GAP = 0.88  # D(x) - D(G(z)); a perfect discriminator has 1, or the smoothed target
WINNING_SHARE = 0.98  # of the smoothed target, where that is less
WINNING_LOSS = 0.05  # discriminator loss; 0 is perfect
SETTLED = 0.9  # ratio of an FCD to the one before, above which a run is no longer learning
WORSENED = 1.5  # ratio of the FCD to the best one so far
RUNAWAY_LOSS = 20.0
FOREIGN = 50.0  # FCD; MNIST and Fashion-MNIST have 53 or 85 to each other, inverted ones 73 or 111
TELLING = 10.0  # FCD above which the classifier's predictions say little about an image
DISTANCES = {"fcd": "FCD", "frd": "FRD"}  # a run has one of them, depending on its set's labels
# The same figures may mean too little training, or a collapse after enough of it.
FAR = "The images are far from real ones (FCD {:.0f}): trained too little, or {}"
COLLAPSED = "collapsed to a few kinds"
ALIKE = 0.35  # share of the real images' variance; thirty boots of Fashion-MNIST have 0.55
LEAST_RECALL = 0.005  # a short modern run has 0.09 in random features
COPYING = 0.02  # share of near-copies; real test images have up to 0.005


def during(history: History, options: Mapping[str, Any]) -> list[str]:
    """Sentences to print below the last row: what holds now and did not before this row.

    options: the run's; in the first half of its epochs missing classes are not reported. If the
    last row has no scores, only the last few rows are read, so that the cost of an epoch does not
    grow with their number.
    """
    recent = history[-FEWEST_ROWS - 1 :]
    before, now = (_discriminator_trends(rows, options) for rows in (recent[:-1], recent))
    scores = {"thin_classes", *(f"{key}_train_5k" for key in DISTANCES)}
    if history and scores & history[-1].keys():
        before |= _score_trends(history[:-1], options)
        now |= _score_trends(history, options)
    return [text for kind, text in now.items() if kind not in before]


def after(history: History, found: Evaluation, options: Options) -> list[str]:
    """Sentences on a finished run, or on images alone if `history` is empty.

    They say how good the images are, then what is wrong, if anything is. Incomplete rows are
    skipped, since history.csv may have been edited.
    """
    history = [row for row in history if {"epoch", *STEP_FIGURES} <= row.keys()]
    trends = _discriminator_trends(history, options) | _distance_trend(history)
    wrong = list(trends.values())
    wrong += _foreign(found, options) or _missing_classes(found, options, _is_learning(history))
    wrong = wrong or _little_variety(found.figures)
    if (copies := found.figures["near_copies"]) > COPYING:
        cure = "; usual cure: the full set (--data-dir), --dropout 0.3, or fewer --epochs"
        what = f"{copies:.1%} of the images are near-copies of training images"
        wrong.append(f"Memorising: {what}{'' if options is None else cure}.")
    quality = _quality(found.figures)
    has_classes = bool(found.class_histogram)
    return quality + (wrong or [_healthy(history, has_classes, has_distance=bool(quality))])


def _little_variety(figures: Figures) -> list[str]:
    """A sentence if the images vary little, or come close to hardly any real image."""
    variance = figures.get("variance", 1.0)
    recall = figures.get("recall", figures.get("recall_random", 1.0))
    if variance < ALIKE:
        sign = f"they vary {variance:.0%} as much as real ones"
    elif recall < LEAST_RECALL:
        sign = f"recall {recall:.3f}"
    else:
        return []
    return [f"The images have little variety ({sign}): trained too little, or {COLLAPSED}."]


def _quality(figures: Figures) -> list[str]:
    """`FCD 20.13 to the test images; real images have 0.05, lower is better.`"""
    sentences = [
        f"{label} {figures[f'{key}_test']:.2f} to the test images; real images have "
        f"{figures[f'{key}_real']:.2f}, lower is better."
        for key, label in DISTANCES.items()
        if {f"{key}_test", f"{key}_real"} <= figures.keys()
    ][:1]
    if "asked_class" in figures:
        share = f"in {figures['asked_class']:.1%} of the images"
        sentences.append(f"The classifier sees the class that was asked for {share}.")
    return sentences


def _healthy(history: History, has_classes: bool, has_distance: bool) -> str:
    classes = "all classes are there and " if has_classes else ""
    images = f"{classes}no training images are copied."
    if history and len(history) < FEWEST_ROWS:
        return f"Too few epochs to say which network is ahead; {images}"
    ahead = f"the discriminator is not winning {_outputs(history)}, " if history else ""
    start = "Healthy:" if has_distance else "Too few images for an FCD or FRD, so look at them:"
    return f"{start} {ahead}{images}"


def _score_trends(history: History, options: Mapping[str, Any]) -> dict[str, str]:
    """Problems that the scores so far show: kind of problem -> sentence."""
    found = _distance_trend(history)
    row = next((row for row in reversed(history) if "thin_classes" in row), None)
    late = row is not None and 2 * row["epoch"] >= (options.get("epochs") or 0)
    if late and row["thin_classes"] and not _is_learning(history):
        distance, thin = row.get("fcd_train_5k", 0.0), round(row["thin_classes"])
        have = "1 class has" if thin == 1 else f"{thin} classes have"
        what = f"Mode collapse, {have} less than three tenths of a fair share of the images"
        if distance >= FOREIGN:
            what = FAR.format(distance, COLLAPSED)
        found["classes"] = f"{what}{_cure(options)}."
    return found


def _is_learning(history: History) -> bool:
    """Whether every score is clearly better than the one before (true for a single score).

    Then missing classes mean too little training so far, and not mode collapse.
    """
    distances = [row["fcd_train_5k"] for row in history if "fcd_train_5k" in row]
    better = (now < SETTLED * before for before, now in pairwise(distances))
    return bool(distances) and all(better)


def _discriminator_trends(history: History, options: Options) -> dict[str, str]:
    """Problems that losses, D(x) and D(G(z)) in the last rows show: kind -> sentence."""
    if len(history) < FEWEST_ROWS:
        return {}
    d_loss, g_loss, d_real, d_fake = _recent(history)
    if max(abs(d_loss), abs(g_loss)) > RUNAWAY_LOSS:
        return {
            "diverging": f"Training is diverging (d_loss {d_loss:.1f}, g_loss {g_loss:.1f}); usual "
            "cure: lower --lr-g and --lr-d."
        }
    if d_real - d_fake >= winning_gap(options) or d_loss < WINNING_LOSS:
        return {
            "winning": f"The discriminator is winning {_outputs(history)}: never fooled, it "
            "teaches the generator little; usual cure: a higher --r1-gamma, or a lower --lr-d."
        }
    return {}


def winning_gap(options: Options) -> float:
    """The least D(x) - D(G(z)) with which a run's discriminator is winning."""
    smoothing = (options or {}).get("label_smoothing")  # unchecked, from config.json
    target = 1 - smoothing if isinstance(smoothing, float) else 1.0
    return min(WINNING_GAP, WINNING_SHARE * target)


def _distance_trend(history: History) -> dict[str, str]:
    """A sentence, by its kind, if the images are clearly worse than they once were."""
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
    """A sentence if the images are so far from the set that predicted classes mean little."""
    distance = found.figures.get("fcd_test", 0.0)
    if distance - found.figures.get("fcd_real", 0.0) < FOREIGN:
        return []
    name, share = max(found.class_histogram.items(), key=lambda item: item[1])
    seen = f"(the classifier sees {_named(name)} in {share:.0%} of them)"
    if options is not None:
        return [f"{FAR.format(distance, COLLAPSED)} {seen}{_cure(options)}."]
    reasons = f"{COLLAPSED} {seen}, from another --dataset, or dark on light (--invert)"
    return [f"The images hardly look like this set: are they {reasons}?"]


def _named(name: str) -> str:
    """The name of a class in a sentence: `Bag`, `digit 7`."""
    return f"digit {name}" if name.isdecimal() else name


def _missing_classes(found: Evaluation, options: Options, is_learning: bool) -> list[str]:
    """A sentence that names missing classes; fair shares are equal if the set's are unknown."""
    names, seen = list(found.class_histogram), list(found.class_histogram.values())
    if not names:
        return []
    images, fewest = found.figures["images"], METRICS["thin_classes"].images_needed(len(names))
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
    """`; usual cure: ...`, naming options that the run does not use; "" if these are unknown."""
    if options is None:
        return ""
    named = DATASETS.get(str(options.get("dataset")))  # the options of a named set omit its colour
    has_colour = named.shape[0] > 1 if named else options.get("colour")
    if has_colour and not options.get("channels_g"):
        return "; usual cure: --recipe dcgan, which has convolutions"
    # In benchmarks/QUALITY.md classes are rare in classic runs only.
    cures = {"r1_gamma": "--r1-gamma 1", "ema_decay": "--ema-decay 0.9995"}
    missing = " and ".join(flag for name, flag in cures.items() if options.get(name) == 0)
    longer = "more --epochs while the images still improve"
    return f"; usual cure: {missing}, or {longer}" if missing else f"; usual cure: {longer}"


def _outputs(history: History) -> str:
    """`(D(x) 0.61, D(G(z)) 0.39)`, averaged over the last rows."""
    *_, d_real, d_fake = _recent(history)
    return f"(D(x) {d_real:.2f}, D(G(z)) {d_fake:.2f})"


def _recent(history: History) -> list[float]:
    """The means of STEP_FIGURES over the last rows."""
    rows = history[-FEWEST_ROWS:]
    return [sum(row[column] for row in rows) / len(rows) for column in STEP_FIGURES]
