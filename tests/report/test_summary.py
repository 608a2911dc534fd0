"""lab/report/summary.py and tables.py: sentences and tables."""

import re
from pathlib import Path

import pytest
from report_runs import HISTORY, OPTIONS, TOY, a_run

from lab.data.datasets import DATASETS
from lab.evaluation.catalogue import METRICS
from lab.report import summary, tables
from lab.runs.schema import Evaluation, Scores
from lab.training.losses import LOSSES


def test_sentences_describe_each_epoch() -> None:
    assert "Before training" in summary.epoch_sentences(0, HISTORY, OPTIONS)
    third = summary.epoch_sentences(3, HISTORY, OPTIONS)
    assert "real images 0.55 and generated ones 0.45" in third and "30.0, 67% closer" in third
    assert summary.epoch_sentences(9, HISTORY, OPTIONS) == ""
    stuck = {"fcd_train_5k": 30.0, "thin_classes": 3.0}  # no longer improving
    assert "Mode collapse" in summary.epoch_sentences(
        4, [*HISTORY[:-1], HISTORY[-1] | stuck], OPTIONS
    )


def test_a_history_without_losses_has_sentences_too() -> None:
    history = [{"epoch": float(n), "fcd_train_5k": 90.0 / n} for n in range(1, 5)]
    assert "30.0, 33% closer" in summary.epoch_sentences(3, history, OPTIONS)
    without_labels = [{"epoch": float(n), "frd_train_5k": 90.0 / n} for n in range(1, 5)]
    assert "30.0, 33% closer" in summary.epoch_sentences(3, without_labels, OPTIONS)


@pytest.mark.parametrize(
    ("d_real", "says"),
    [(0.52, "hardly tell"), (0.6, "often tells"), (0.92, "tells most"), (0.95, "is winning")],
)
def test_discriminator_outputs_are_put_into_words(d_real: float, says: str) -> None:
    row = {"epoch": 1, "d_real": d_real, "d_fake": 1 - d_real}
    assert says in summary.epoch_sentences(1, [row], OPTIONS)
    for smoothing in (0.0, "damaged"):
        options = {**OPTIONS, "label_smoothing": smoothing}
        assert says in summary.epoch_sentences(1, [row], options)


def test_smoothed_targets_are_the_most_that_a_discriminator_reaches() -> None:
    row = {"epoch": 1, "d_real": 0.79, "d_fake": 0.0}
    for smoothing, says in ((0.1, "tells most"), (0.2, "is winning")):
        options = {**OPTIONS, "label_smoothing": smoothing}
        assert says in summary.epoch_sentences(1, [row], options)


def test_no_sentence_about_d_with_other_losses() -> None:
    for name in (*LOSSES, "of another program", ["no name"]):
        sentence = summary.epoch_sentences(3, HISTORY, {**OPTIONS, "loss": name})
        assert ("tell" in sentence) == (name == "non-saturating")


def test_the_head_has_each_distance_under_its_name(tmp_path: Path) -> None:
    run = a_run(tmp_path, fcd_test=0.12, fcd_real=0.05, fcd_train=30.0, fid=12.5)
    figures = summary.key_figures(run, None)
    assert figures[:2] == [("0.12", "FCD, test images"), ("0.05", "FCD of real images")]
    assert figures[2] == ("12.50", "Inception FID")


def test_durations_have_suitable_units() -> None:
    said = [summary.duration(seconds) for seconds in (47.6, 312, 7_390)]
    assert said == ["48 s", "5 min 12 s", "2 h 03 min"]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("finished", "4 epochs of training|After 4 epochs"),
        ("stopped", "Stopped after 4 of 9 epochs"),
        ("diverged", "Diverged in epoch 5"),
    ],
)
def test_the_verdict_depends_on_the_status(tmp_path: Path, status: str, says: str) -> None:
    run = a_run(tmp_path, status, {**OPTIONS, "epochs": 9})
    assert re.match(says, summary.verdict(run))


def test_the_verdict_depends_on_the_distance(tmp_path: Path) -> None:
    figures = {"thin_classes": 1, "class_histogram": {"0": 0.99, "1": 0.01}, "recall": 0.4}

    def said(distance: float) -> str:
        return summary.verdict(a_run(tmp_path, **figures, fcd_test=distance))

    assert said(3.9) == (
        "Not far from real images: the distance (FCD) is 3.90. 1 of 2 classes is missing or rare. "
        "40% of real images have a similar one among the generated."
    )
    assert said(35.5).startswith("Far from") and said(35.5).endswith("missing or rare.")
    assert said(117) == "Very far from real images: the distance (FCD) is 117.00."
    lost = a_run(tmp_path, history=[], fcd_test=0.12)  # its history.csv
    assert summary.verdict(lost) == "Close to real images: the distance (FCD) is 0.12."


def test_shares_are_not_rounded_twice() -> None:
    shares = [0.1205, 0.1795, *[0.1] * 6, 0.1 + 1e-10]
    assert summary.shares_of(dict(enumerate(shares))) == shares and sum(shares) != 1
    assert summary.shares_of({"0": 1, "1": 3}) == [0.25, 0.75]
    assert summary.shares_of({"0": 0, "1": 0}) == summary.shares_of({}) == []


def test_images_per_second_are_averaged_over_all_epochs(tmp_path: Path) -> None:
    history = [
        {"epoch": 1, "seconds": 10.0, "images_per_second": 6000},
        {"epoch": 2, "seconds": 40.0, "images_per_second": 1500},
    ]
    figures = summary.key_figures(a_run(tmp_path, history=history), None)
    assert ("2,400", "images per second") in figures and ("50 s", "of training") in figures


# Tables


def test_metrics_are_in_the_order_of_the_catalogue_and_unknown_ones_last() -> None:
    keys = ["its_own", *reversed(METRICS), "images"]
    evaluation = Evaluation(figures=dict.fromkeys(keys, 0.25))
    rows = tables.metrics_table(evaluation, None, ())["rows"]
    assert [row["label"] for row in rows] == [*(m.label for m in METRICS.values()), "its own"]
    by_label = {row["label"]: row["value"] for row in rows}
    assert by_label["Recall"] == "0.250" and by_label["its own"] == "0.25"
    assert by_label["Rarest class"] == "25.0%"


def test_distances_of_real_images_are_a_column_not_rows() -> None:
    figures = {"fcd_test": 20.0, "fcd_real": 0.1, "recall": 0.25}
    evaluation = Evaluation(figures=figures, real={"fcd_test": 0.1})
    rows = tables.metrics_table(evaluation, None, ())["rows"]
    assert [(row["value"], row["real"]) for row in rows] == [("20.00", "0.10"), ("0.250", "")]


def test_classes_have_the_names_of_the_set() -> None:
    evaluation = Evaluation(class_histogram={"a": 3, "b": 1, "c": 0, "d": 0})
    found = tables.metrics_table(evaluation, None, TOY.class_names)
    assert [(bar["name"], bar["share"], bar["width"]) for bar in found["classes"]][:2] == [
        ("red", "75.0%", 100.0),
        ("green", "25.0%", 33.33),
    ]
    assert (found["equal_share"], found["equal_width"]) == ("25%", 33.33)
    others = tables.metrics_table(evaluation, None, ("one", "two"))["classes"]
    assert [bar["name"] for bar in others] == ["0", "1", "2", "3"]
    assert tables.metrics_table(Evaluation(), None, TOY.class_names)["classes"] == []


def test_scores_are_sorted_and_name_clipped_noise() -> None:
    sheet = {"scores": {"noisy": {"psnr": 9.0}}}
    sheets = {f"{sigma}": {**sheet, "sigma": sigma} for sigma in (0.1, 0, 0.005)}
    sheets["0.1"]["images"] = 1
    sheets["0.1c"] = {**sheet, "sigma": 0.1, "clipped": True, "images": 16}
    for corruption in ("mask:box14", "mask:box4", "blur:10", "blur:1.5"):
        sheets[corruption.replace(":", "_")] = {**sheet, "corruption": corruption}
    rows = tables.scores_table(Scores(sheets=sheets))["rows"]
    assert [corruption for corruption, *_ in rows] == [
        *("blur:1.5", "blur:10"),
        *("gaussian:0", "gaussian:0.005", "gaussian:0.1, 1 image"),
        "gaussian-clipped:0.1, 16 images",
        *("mask:box4", "mask:box14"),
    ]
    endless = {"one": {"scores": {"noisy": {"psnr": None, "accuracy": 0.5, "note": "x"}}}}
    found = tables.scores_table(Scores(sheets=endless))  # of equal images
    assert found["head"] == ["PSNR, dB", "accuracy", "note"]
    assert found["rows"] == [("", "noisy", ["∞", "50.0%", "x"])]
    assert tables.scores_table(Scores()) is None


def test_published_figures_are_those_of_the_set() -> None:
    for dataset, (figure, own) in {"mnist": ("6.8 ± 0.5", 4), "fashion": ("26.5 ± 1.6", 3)}.items():
        rows = tables.published(DATASETS[dataset], {"fid": 12.5})
        assert rows[0][1:] == (figure, False) and rows[own] == ("This run", "12.5", True)
        assert tables.published(DATASETS[dataset], {"fcd_test": 3.0}) == []
    assert tables.published(TOY, {"fid": 12.5}) == tables.published(None, {"fid": 12.5}) == []


def test_classes_are_shown_with_their_share_in_the_set():
    shares = {"a": 0.7, "b": 0.2, "c": 0.1}
    even = Evaluation(class_histogram=shares, own_shares=dict.fromkeys(shares, 1 / 3))
    assert tables.metrics_table(even, None, tuple("abc"))["equal_share"] == "33.3%"
    uneven = Evaluation(class_histogram=shares, own_shares={"a": 0.8, "b": 0.1, "c": 0.1})
    found = tables.metrics_table(uneven, None, tuple("abc"))
    assert [row["share"] for row in found["classes"]][:2] == ["70.0% of 80.0%", "20.0% of 10.0%"]
    assert found["equal_share"] == "" and found["equal_width"] == 0


def test_the_distances_of_real_images_are_in_their_column():
    figures = {"fcd_mlp_test": 1.3, "fcd_mlp_real": 0.2, "frd_test": 4.0, "frd_real": 0.3}
    found = tables.metrics_table(Evaluation(figures=figures, real=figures), None, ())
    labels = [row["label"] for row in found["rows"]]
    assert labels == ["MLP FCD, test images", "FRD, test images"]
