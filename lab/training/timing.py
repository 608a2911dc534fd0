"""How long a run takes on this machine: a forecast, or with --minutes a length that fits."""

import math
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.text import command_line, counted
from lab.training.length import GRIDS, MAX_EPOCHS
from lab.training.state import TrainingState

PLANNED_SHARE = 0.97  # of --minutes; the rest is a reserve
MEASURE_EVERY = 1.0  # seconds between two measurements of the speed
FIRST_ESTIMATE = 2.0  # seconds of training before --minutes first sets the length
FORECAST_AFTER = 5.0  # seconds of training before the forecast of a run of fixed length
UNCHANGED = 0.05  # last share of a run with a constant learning rate in which its length is final
FEWEST_STEPS = 1_000  # a shorter run learns too little
LONG = 600.0  # seconds; for longer runs the forecast names --minutes
# Expected seconds, until they are measured:
EPOCH_COST = 0.1  # the end of an epoch without a sample grid
GRID_COST = 0.2  # the end of an epoch with a sample grid, without its scores
ENDING_COST = 5.0  # figures and report after the last epoch, without the evaluation
IMAGE_COST = 0.003  # one of --final-images
# Expected costs as multiples of scoring one grid: the features of real images, computed with the
# first grid, and the final evaluation.
REAL_IMAGES, EVALUATION = 2, 6


@dataclass
class TimeBudget:
    """Forecasts how long a run takes; with --minutes it sets the run's length to fit.

    It changes `state.length` until the learning rates begin to fall. The steps made until then are
    those of a run that had the final length from the beginning, to the last bit.
    """

    options: Any  # those of gan_lab.py, after complete_options
    state: TrainingState
    scoring: float  # seconds to score a grid; 0 without scores, or if unknown
    began: float  # when the command began, by `clock`
    words: Sequence[str]  # the command, without `python`
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.is_final = self.options.minutes is None
        self.sample_every = self.options.sample_every or self.state.length.sample_every
        self.has_reported = self.has_scored = False
        self.epoch_cost, self.grid_cost = EPOCH_COST, GRID_COST + self.scoring
        self.between_epochs = 0.0  # seconds
        self.measured: deque[tuple[float, int]] = deque()  # (seconds of training, step of the run)

    def after_step(self, stops: bool = False) -> list[str]:
        """Lines to print after a step, usually none. With --minutes the length may change.

        stops: whether the run stops after this step; it is resumed with the length it has then.
        """
        if self.is_final and (self.options.minutes or self.has_reported):
            return []
        now = self.clock()
        if not self.measured:  # the first step is slower than the others and is not measured
            self.measured.append((0.0, self.state.schedule_step))
            self.first_step = self.measured_at = now
        ends_epoch = self.state.step >= self.state.length.steps_of(self.state.epoch)
        at_once = self.options.minutes and (ends_epoch or stops or self._lr_falls())
        if now - self.measured_at < MEASURE_EVERY and not at_once:
            return []
        self.state.totals.tolist()  # waits for the GPU, which runs steps later than Python
        self.measured_at = self.clock()
        trained = self.measured_at - self.first_step - self.between_epochs
        self.measured.append((trained, self.state.schedule_step))
        while len(self.measured) > 2 and self.measured[1][0] <= trained / 2:
            self.measured.popleft()  # only the second half of the training time counts
        if self.options.minutes:
            known = self.step_cost and (self.measured[-1][0] > FIRST_ESTIMATE or at_once)
            return self._set_length() if known else []
        return self._forecast() if self.measured[-1][0] > FORECAST_AFTER else []

    def after_epoch(self, began: float, has_grid: bool) -> None:
        """Measure the end of an epoch, which began at `began` by `clock`."""
        cost = self.clock() - began
        self.between_epochs += cost
        if not has_grid:
            self.epoch_cost += (cost - self.epoch_cost) / 2
            return
        first = 0.0 if self.has_scored else REAL_IMAGES * self.scoring
        self.grid_cost = max(cost - first, self.grid_cost / 2)
        if self.scoring:
            self.scoring, self.has_scored = self.grid_cost, True

    @property
    def step_cost(self) -> float:
        """Seconds per step over the kept measurements; 0 while unknown."""
        (began, first), (now, last) = self.measured[0], self.measured[-1]
        return (now - began) / (last - first) if last > first else 0.0

    def seconds(self, steps: int) -> float:
        """Expected seconds of the whole command if the run has `steps` steps."""
        epochs = replace(self.state.length, steps=steps).epochs
        ends = epochs - self.state.epoch
        if self.options.sample_every or self.has_reported:
            grids = math.ceil(epochs / self.sample_every) - self.state.epoch // self.sample_every
        else:  # `sample_every` is not chosen yet
            grids = min(ends, GRIDS)
        real_images = 0 if self.has_scored else REAL_IMAGES * self.scoring
        ending = ENDING_COST + IMAGE_COST * self.options.final_images + EVALUATION * self.scoring
        training = (steps - self.state.schedule_step) * self.step_cost
        between = (ends - grids) * self.epoch_cost + grids * self.grid_cost + real_images
        return self.measured_at - self.began + training + between + ending

    def _lr_falls(self) -> bool:
        """Whether the next step has lower learning rates than the first step."""
        return self.state.length.lr_factor(self.state.schedule_step, self.options) < 1

    def _set_length(self) -> list[str]:
        """Set the run's length to what the time allows; returns the lines to print."""
        length, lines = self.state.length, []
        length.steps = self._fitting_steps()
        if not self.has_reported:
            self.has_reported = True
            self.sample_every = self.options.sample_every or length.sample_every
            lines = self._first_estimate()
        if self._lr_falls() or self.state.schedule_step >= (1 - UNCHANGED) * length.steps:
            self.is_final = True
            lines.append(self._final_length())
        return lines

    def _fitting_steps(self) -> int:
        """The most steps that fit the time, and enough that no past step's rates would differ."""
        length, done = self.state.length, self.state.schedule_step
        last = done - 1  # in a shorter run the rates would have fallen by then
        least = max(done, int(last / (1 - self.options.lr_decay)))
        while replace(length, steps=least).lr_factor(last, self.options) < 1:
            least += 1
        possible = range(least, MAX_EPOCHS * length.epoch_steps + 1)
        target = 60 * self.options.minutes * PLANNED_SHARE
        return least + max(0, bisect_right(possible, target, key=self.seconds) - 1)

    def _first_estimate(self) -> list[str]:
        """The length by the first steps' speed, with a note if it is too short."""
        length, minutes = self.state.length, self.options.minutes
        speed = length.batch_size / self.step_cost
        until = "until the learning rate begins to fall" if self.options.lr_decay else "throughout"
        lines = [
            f"{minutes:g} minutes are about {length.steps / length.epoch_steps:,.1f} epochs, at "
            f"{speed:,.0f} images/s; adjusted {until}"
        ]
        if length.steps < FEWEST_STEPS:
            steps = max(self.state.schedule_step, FEWEST_STEPS)
            least = math.ceil(2 * self.seconds(steps) / PLANNED_SHARE / 60) / 2
            cure = f"--minutes {least:g} is the least that makes sense at this speed"
            lines.append(f"note: so short a run learns little; {cure}")
        return lines

    def _final_length(self) -> str:
        """The final length, with the command that repeats the run."""
        length = self.state.length
        command = command_line(["python", *repeatable(self.words, self.options)])
        return (
            f"the run has {counted(length.epochs, 'epoch')}, {length.images_shown:,} images shown; "
            f"to repeat it: {command} --images-shown {length.images_shown}"
        )

    def _forecast(self) -> list[str]:
        """How long the run will take, and which option shortens a long one."""
        self.has_reported = True
        whole = self.seconds(self.state.length.steps)
        run = "" if self.options.resume else "run "
        shorter = "; --minutes 5 shortens it to five" if run and whole > LONG else ""
        return [f"This {run}will take about {in_words(whole)}{shorter}."]


def repeatable(words: Sequence[str], options: Any) -> list[str]:
    """The words of a command for any working directory: without --minutes, its paths absolute.

    options: those that the words stand for. `dataset` is a name or already an absolute path.
    """
    given = {"--dataset": options.dataset, "--data-dir": options.data_dir, "--out": options.out}
    kept, left = [str(Path(words[0]).absolute())], iter(words[1:])
    for word in left:
        flag, has_value, _ = word.partition("=")
        if flag not in ("--minutes", *given):
            kept.append(word)
            continue
        if not has_value:
            next(left)
        if value := given.get(flag):
            kept += [flag, str(value.absolute() if isinstance(value, Path) else value)]
    return kept


def in_words(seconds: float) -> str:
    """`40 seconds`, `12 minutes`, `2.5 hours`."""
    if seconds < 90:
        return counted(max(10, 10 * round(seconds / 10)), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
