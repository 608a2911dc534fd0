"""lab/training/timing.py and length.py, on a simulated clock."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_lab import Options
from lab.training.length import Length
from lab.training.timing import TimeBudget, in_words, repeatable

SCRIPT = str(Path("gan_lab.py").absolute())
IMAGES, BATCH = 6_400, 64  # 100 steps an epoch
ENDING = 7.0  # seconds from the last epoch to the end of the command


class Machine:
    """A simulated machine with its own clock."""

    def __init__(self, options: Options, step: float, scoring: float = 0.0, start: float = 5.0):
        self.options, self.step, self.scoring = options, step, scoring
        self.now = start
        length = Length.of(options, IMAGES)
        self.state = types.SimpleNamespace(
            length=length,
            epoch=0,
            step=0,
            schedule_step=0,
            totals=torch.zeros(4),
            device=torch.device("cpu"),
        )
        words = ["gan_lab.py", "--minutes", "5"]
        self.budget = TimeBudget(options, self.state, scoring, 0.0, words, lambda: self.now)
        self.factors: list[float] = []  # of each step
        self.grids: list[int] = []
        self.said: list[str] = []

    def train(self) -> Machine:
        """Train to the end, as gan_lab.py and its recorder do."""
        state = self.state
        while state.epoch < state.length.epochs:
            while state.step < state.length.steps_of(state.epoch):
                self.now += self.step * (20 if not (state.epoch or state.step) else 1)
                state.schedule_step = state.epoch * 100 + state.step
                self.factors.append(state.length.lr_factor(state.schedule_step, self.options))
                state.step += 1
                state.schedule_step += 1
                self.said += self.budget.after_step()
            began, self.schedule_step = self.now, state.schedule_step
            state.epoch, state.step = state.epoch + 1, 0
            has_grid = (
                state.epoch >= state.length.epochs or state.epoch % self.budget.sample_every == 0
            )
            if has_grid:
                self.now += self.scoring * (1 if self.grids else 3)
                self.grids.append(state.epoch)
            self.now += 0.05
            self.budget.after_epoch(began, has_grid)
        self.now += ENDING + 6 * self.scoring
        return self


def minutes(count: float, **more: object) -> Options:
    """Options with --minutes, before the speed is known."""
    return Options(
        minutes=count, batch_size=BATCH, sample_every=more.pop("sample_every", None), **more
    )


def whole(steps: int, **more: object) -> Options:
    """Options of a run of whole epochs."""
    epochs = steps // 100
    return Options(
        epochs=epochs, images_shown=epochs * IMAGES, batch_size=BATCH, sample_every=1, **more
    )


# Lengths


@given(st.integers(1, 40), st.integers(1, 3_000), st.integers(1, 50_000))
def test_a_length_follows_from_its_images_shown(batch, images, steps):
    images = max(images, batch)
    length = Length(images, batch, steps)
    options = Options(epochs=length.epochs, images_shown=length.images_shown, batch_size=batch)
    assert Length.of(options, images) == length
    options = Options(images_shown=length.images_shown, batch_size=batch)
    assert Length.of(options, images) == length
    assert sum(map(length.steps_of, range(length.epochs))) == steps
    assert length.steps_of(length.epochs) == 0 < length.steps_of(length.epochs - 1)


def test_epochs_gives_whole_epochs():
    length = Length.of(whole(1_200), IMAGES)
    assert (length.epochs, length.steps, length.images_shown) == (12, 1_200, 12 * IMAGES)
    # --epochs contradicts the images_shown of the recipe.
    assert Length.of(Options(epochs=3, batch_size=BATCH), IMAGES).steps == 300


# Forecasts


def test_a_long_run_has_one_forecast_that_names_minutes():
    said = Machine(whole(12_000), step=0.057).train().said
    assert len(said) == 1
    assert said[0] == "This run will take about 12 minutes; --minutes 5 shortens it to five."
    (said,) = Machine(whole(1_000), step=0.06).train().said
    assert said == "This run will take about 70 seconds."


def test_the_forecast_of_a_resumed_run_does_not_name_minutes():
    machine = Machine(whole(12_000, resume="fashion-001"), step=0.06)
    machine.state.epoch = 20
    assert machine.train().said == ["This will take about 11 minutes."]


def test_a_run_of_seconds_has_no_forecast():
    assert Machine(whole(1_000), step=0.001).train().said == []


def test_a_forecast_changes_nothing():
    machine = Machine(whole(12_000), step=0.06).train()
    assert machine.state.length.steps == machine.schedule_step == 12_000


def test_many_images_at_the_end_are_expected_to_take_their_time():
    machines = [Machine(whole(1_000, final_images=each), step=0.06).train() for each in (0, 10_000)]
    few, many = (machine.budget.seconds(1_000) for machine in machines)
    assert many - few == pytest.approx(30)


# Minutes


@pytest.mark.parametrize("scoring", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("step", [0.0005, 0.005, 0.05])
@pytest.mark.parametrize("asked", [2, 5, 15])
def test_a_command_ends_after_its_minutes(asked, step, scoring):
    machine = Machine(minutes(asked), step, scoring).train()
    assert 0.9 < machine.now / (60 * asked) < 1.03
    assert machine.schedule_step == machine.state.length.steps
    if machine.state.length.epochs >= 10:
        assert 8 <= len(machine.grids) <= 20
    chosen, *notes, fixed = machine.said
    assert all(note.startswith("note: so short a run") for note in notes)
    assert chosen.startswith(f"{asked} minutes are about ") and "until the learning rate" in chosen
    shown = machine.state.length.images_shown
    assert fixed.endswith(f"to repeat it: python {SCRIPT} --images-shown {shown}")


def test_the_length_follows_the_speed_until_the_rate_falls():
    machine, looks = Machine(minutes(5), 0.01), []
    after_step = machine.budget.after_step

    def slower_later() -> list[str]:
        if machine.now > 100:
            machine.step = 0.02
        looks.append(machine.state.length.steps)
        return after_step()

    machine.budget.after_step = slower_later
    machine.train()
    assert 0.9 < machine.now / 300 < 1.03
    assert max(looks[1_000:]) > 1.4 * looks[-1]


SPEEDS = st.lists(st.floats(0.0005, 0.2), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(SPEEDS, st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.8, 0.9]), st.floats(0, 5))
def test_the_rates_equal_those_of_a_run_of_the_final_length(speeds, decay, scoring):
    """Even if the speed changes, the printed command makes the same steps."""
    machine = Machine(minutes(0.5, lr_decay=decay), speeds[0], scoring)
    after_step = machine.budget.after_step

    def changing() -> list[str]:
        machine.step = speeds[int(machine.now / 4) % len(speeds)]
        return after_step()

    machine.budget.after_step = changing
    machine.train()
    again = Length.of(
        Options(images_shown=machine.state.length.images_shown, batch_size=BATCH), IMAGES
    )
    assert again.steps == machine.schedule_step
    found = [again.lr_factor(step, machine.options) for step in range(again.steps)]
    assert found == machine.factors
    assert "to repeat it" in machine.said[-1]
    assert sum("to repeat it" in line for line in machine.said) == 1


def test_a_note_on_too_short_a_run_names_a_sensible_length():
    machine = Machine(minutes(0.5), step=0.06).train()
    assert machine.said[1].startswith("note: so short a run learns little; --minutes 1.5 is the l")
    assert machine.now < 33
    late = Machine(minutes(0.5), step=0.06, start=60.0).train()  # the start took all the time
    assert late.schedule_step < 100 and late.said[1].startswith("note: ")


def test_a_run_that_is_stopped_at_once_has_a_length():
    machine = Machine(minutes(5), step=0.01)
    usual = machine.state.length.steps
    for machine.state.step in (1, 2, 3):
        machine.state.schedule_step = machine.state.step
        machine.now += 0.01
        said = machine.budget.after_step(stops=machine.state.step == 3)
    assert said and machine.state.length.steps != usual


def test_a_constant_learning_rate_is_not_said_to_fall():
    said = Machine(minutes(2, lr_decay=0.0), step=0.01).train().said
    assert said[0].endswith(" images/s; adjusted throughout")


def test_sample_every_overrides_the_choice():
    machine = Machine(minutes(2, sample_every=7), step=0.01).train()
    assert [epoch % 7 for epoch in machine.grids[:-1]] == [0] * (len(machine.grids) - 1)


# Text


@pytest.mark.parametrize(
    "typed", [["--minutes", "5"], ["--minutes=5"], ["--minutes", "5", "--minutes", "7"]]
)
def test_the_command_is_repeated_without_its_minutes(typed):
    words = ["gan_lab.py", "--seed", "5", *typed, "--activation", "relu"]
    assert repeatable(words, Options()) == [SCRIPT, "--seed", "5", "--activation", "relu"]


def test_the_command_can_be_repeated_in_another_folder():
    options = Options(dataset="mnist", data_dir=Path("sets"), out=Path("../o"))
    words = ["gan_lab.py", "--out=../o", "--dataset", "mnist", "--data-dir", "sets", "--seed", "5"]
    out, data = (str(Path(path).absolute()) for path in ("../o", "sets"))
    again = ["--out", out, "--dataset", "mnist", "--data-dir", data, "--seed", "5"]
    assert repeatable(words, options) == [SCRIPT, *again]


def test_durations_are_rounded():
    assert [in_words(each) for each in (3, 44, 89, 91, 720, 5_399, 9_000)] == [
        *("10 seconds", "40 seconds", "90 seconds", "2 minutes", "12 minutes", "90 minutes"),
        "2.5 hours",
    ]
