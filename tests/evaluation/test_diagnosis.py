"""What a diagnosis says of runs and of images."""

import pytest

from lab.evaluation import diagnosis
from lab.runs.schema import Evaluation
from lab.training.state import STEP_FIGURES


def after(history, figures: dict, shares: dict, options, own_shares=()) -> list[str]:
    found = Evaluation(figures=figures, class_histogram=shares, own_shares=dict(own_shares))
    return diagnosis.after(history, found, options)


def row(epoch: int, **changes: float) -> dict[str, float]:
    healthy = {"d_loss": 1.1, "g_loss": 0.9, "d_real": 0.6, "d_fake": 0.4}
    return {"epoch": epoch, **healthy, **changes}


@pytest.mark.parametrize(
    ("changes", "word", "option"),
    [
        ({"d_real": 0.99, "d_fake": 0.01, "d_loss": 0.02}, "winning", "--r1-gamma"),
        ({"d_loss": 0.01}, "winning", "--lr-d"),  # least squares and hinge have other opinions
        ({"d_loss": 80.0, "g_loss": 90.0}, "diverging", "--lr-g"),
        ({"g_loss": -90.0}, "diverging", "--lr-g"),  # as the hinge loss may be
        ({"fcd_train_5k": 90.0}, "getting worse: FCD 90.0", "--lr-g"),
        ({"thin_classes": 2}, "Mode collapse", "--r1-gamma"),
        ({"thin_classes": 2, "fcd_train_5k": 51.0}, "trained too little, or", "--r1-gamma"),
    ],
)
def test_each_problem_is_reported_once_with_its_cure(changes, word: str, option: str):
    history = [row(epoch, fcd_train_5k=40.0, thin_classes=0) for epoch in range(1, 7)]
    history += [row(epoch, **changes) for epoch in range(7, 13)]
    options = {"epochs": 12, "r1_gamma": 0.0, "ema_decay": 0.9995}
    said = [diagnosis.during(history[:end], options) for end in range(1, 13)]
    lines = [line for lines in said for line in lines]
    assert len(lines) == 1
    assert word in lines[0] and option in lines[0]
    assert not any(said[:6])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2, 0.5])
def test_a_perfect_discriminator_is_winning_with_smoothed_targets_too(smoothing):
    options = {"epochs": 3, "label_smoothing": smoothing}
    figures = {"images": 300, "near_copies": 0.0}
    for share, wins in ((0.99, True), (0.8, False)):  # of its target
        rows = [row(epoch, d_real=share * (1 - smoothing), d_fake=0.0) for epoch in (1, 2, 3)]
        assert ["is winning" in text for text in diagnosis.during(rows, options)] == [True] * wins
        assert ("is winning" in after(rows, figures, {}, options)[0]) == wins


def test_a_healthy_run_gets_no_warning():
    history = [
        row(1, d_real=0.97, d_fake=0.04, fcd_train_5k=200.0, thin_classes=8),  # a rough start
        *(row(epoch, fcd_train_5k=200 / epoch, thin_classes=0) for epoch in range(2, 20)),
        row(20, fcd_train_5k=14.0),  # a little more than 200 / 19
    ]
    assert not any(diagnosis.during(history[:end], {"epochs": 20}) for end in range(1, 21))
    figures = {"images": 10_000, "fcd_test": 10.2, "fcd_real": 0.1, "near_copies": 0.005}
    shares = {str(label): 0.1 for label in range(10)}
    first, second = after(history, figures, shares, {})
    assert first.startswith("FCD 10.20 to the test images; real images have 0.10, ")
    rare = after(history, figures, {**shares, "1": 0.19, "7": 0.01}, {})
    assert "rare: digit 7 1.0% (fair" in rare[1] and "usual cure: more --epochs" in rare[1]
    for dataset, colour in (("cifar10", False), ("/own", True)):
        flat = {"dataset": dataset, "colour": colour, "channels_g": []}
        assert "usual cure: --recipe dcgan" in after(history, figures, {"1": 1.0, "7": 0}, flat)[1]
    other_test_half = {**figures, "fcd_test": 90.0, "fcd_real": 80.0}
    assert "far from" not in " ".join(after(history, other_test_half, shares, {}))
    assert second.startswith("Healthy: ") and "D(x) 0.60, D(G(z)) 0.40" in second


def test_a_network_that_still_learns_has_not_collapsed():
    scores = ((21.6, 2), (15.7, 1), (13.3, 1))  # fashion, --epochs 3, measured
    history = [
        row(epoch, fcd_train_5k=distance, thin_classes=thin)
        for epoch, (distance, thin) in enumerate(scores, 1)
    ]
    assert not any(diagnosis.during(history[:end], {"epochs": 3}) for end in range(1, 4))
    shares = {"Bag": 0.01, "Shirt": 0.99}
    figures = {"images": 10_000, "near_copies": 0.0}
    assert after(history, figures, shares, {})[0].startswith("Trained too little, ")
    history.append(row(4, fcd_train_5k=13.2, thin_classes=1))  # it learns no more
    for epochs in (4, 8):
        (said,) = diagnosis.during(history, {"epochs": epochs})
        assert said.startswith("Mode collapse, 1 class has less")
    assert not diagnosis.during(history, {"epochs": 9})  # half of them are still to come
    assert after(history, figures, shares, {})[0].startswith("Mode collapse, ")


def test_the_cost_of_an_epoch_does_not_grow_with_the_history():
    class Looked(list):
        """A history that counts the rows that were looked at."""

        rows = 0

        def __iter__(self):
            self.rows += len(self)
            return super().__iter__()

        def __getitem__(self, place):
            found = super().__getitem__(place)
            self.rows += len(found) if isinstance(found, list) else 1
            return found

    for count in (10, 10_000):
        history = Looked(row(epoch) for epoch in range(1, count + 1))
        history[3]["fcd_train_5k"] = 9.0
        history.rows = 0
        diagnosis.during(history, {"epochs": count})
        assert 0 < history.rows <= 10


FEW = {"images": 300, "near_copies": 0.0}
EVEN = {"0": 0.5, "1": 0.5}


def test_any_history_gets_a_diagnosis():
    row = dict.fromkeys(("epoch", *STEP_FIGURES), 1.0) | {"d_real": 0.99, "d_fake": 0.01}
    partial = after([{"epoch": 1.0}] * 3, FEW, EVEN, {})
    assert partial == after([], FEW, EVEN, {})
    assert after([row], FEW, EVEN, {})[0].startswith("Too few epochs")
    assert "is winning" in after([row] * 3, FEW, EVEN, {})[0]  # not "is not winning"


def test_images_of_another_set_are_recognised():
    for distance, options, asked in ((85.0, None, True), (9.0, None, False), (85.0, {}, False)):
        figures = {**FEW, "fcd_test": distance, "fcd_real": 0.1}
        words = " ".join(after([], figures, EVEN, options))
        assert ("--invert" in words) is asked
        words = " ".join(after([], figures, {"0": 1.0, "1": 0.0}, options))
        assert ("missing or rare" in words) is (distance < 50)  # else predictions mean little


def test_a_cure_names_only_options_not_in_use():
    said = {
        what: after([], FEW, {"0": 1.0, "1": 0.0}, options)[0]
        for what, options in (
            ("classic", {"r1_gamma": 0.0, "ema_decay": 0.0}),
            ("modern", {"r1_gamma": 1.0, "ema_decay": 0.9995}),
            ("of another program", None),
        )
    }
    assert "--r1-gamma 1 and --ema-decay 0.9995, or more --epochs" in said["classic"]
    assert said["modern"].startswith("Mode collapse, ")  # nothing says that it still learns
    assert "--r1-gamma" not in said["modern"] and "more --epochs" in said["modern"]
    assert said["of another program"].endswith("(fair would be 50.0%).")


def test_rareness_depends_on_the_number_of_classes():
    shares = {"cat": 0.07, "dog": 0.08, "cow": 0.4, "hen": 0.45}  # 0.25 would be fair
    (words,) = after([], FEW, shares, None)
    assert "rare: cat 7.0% (fair would be 25.0%)." in words
    own = {"cat": 0.1, "dog": 0.4, "cow": 0.2, "hen": 0.3}  # but in this set cats are few
    (words,) = after([], FEW, shares, None, own)
    assert "rare: dog 8.0% (fair would be 40.0%)." in words
    (words,) = after([], FEW, {"cat": 0.07, "dog": 0.05, "cow": 0.88, "hen": 0.0}, None)
    assert "rare: hen 0.0% (fair would be 25.0%), dog 5.0% (fair would be 25.0%), cat" in words
    many = {f"class {label}": 1 / 47 for label in range(47)}
    assert "that takes 1,175" in after([], FEW, many, None)[0]
    assert "all classes are there" in after([], {**FEW, "images": 1_175}, many, None)[0]


def test_a_set_without_labels_is_diagnosed_by_the_frd():
    history = [row(epoch, frd_train_5k=3.0) for epoch in (1.0, 2.0, 3.0)]  # as history.csv has them
    history.append(row(4.0, frd_train_5k=9.0))
    (words,) = diagnosis.during(history, {"epochs": 4})
    assert "getting worse: FRD 9.0, after 3.0 in epoch 1;" in words
    figures = {**FEW, "frd_test": 2.5, "frd_real": 0.25}
    assert after([], figures, {}, {})[0].startswith("FRD 2.50 to the test images; real")
    first, second = after([], {**figures, "fcd_test": 9.0, "fcd_real": 0.1}, {}, {})
    assert first.startswith("FCD 9.00 to ") and "FRD" not in second  # of two distances the first


@pytest.mark.parametrize(
    ("figures", "sign"),
    [
        ({"variance": 0.04, "recall": 0.5}, "they vary 4% as much as real ones"),
        ({"variance": 0.9, "recall_random": 0.0}, "recall 0.000"),
        ({"recall": 0.004, "recall_random": 0.3}, "recall 0.004"),
        ({"variance": 0.9, "recall": 0.09, "recall_random": 0.0}, ""),
    ],
)
def test_images_without_variety_are_not_healthy(figures, sign):
    (words,) = after([], {**FEW, **figures}, {}, {})
    poor = f"The images have little variety ({sign}): trained"
    assert words.startswith(poor if sign else "Too few images for an FCD")


def test_classes_are_not_mentioned_for_a_set_without_labels():
    (words,) = after([], FEW, {}, {})
    assert words == (
        "Too few images for an FCD or FRD, so look at them: no training images are copied."
    )
    assert "Memorising: 2.5% of" in after([], {**FEW, "near_copies": 0.025}, {}, {})[0]
