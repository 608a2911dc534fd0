"""How long a run takes here, said to people; with --minutes the run is made to fit.

And when a checkpoint is due.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab.text import command_line, counted
from lab.training.length import GRIDS, MOST_EPOCHS
from lab.training.state import TrainingState

AIM = 0.97  # share of --minutes that is planned for
LOOKS = 1.0  # seconds from one look at the clock to the next
FIRST = 2.0  # seconds of training before the length is chosen
SPOKEN = 5.0  # seconds of training before a run of a given length says how long it takes
UNCHANGED = 0.05  # last share of a run in which its length is left alone, if its rate does not fall
FEWEST_STEPS = 1_000  # a run of fewer is hardly worth its start
LONG = 600.0  # seconds: above, the way to a shorter run is said
EPOCH_COST = 0.1  # seconds of what follows an epoch, until that was measured
GRID_COST = 0.2  # of a sample grid more, without its scores
ENDING_COST = 5.0  # of pictures and report after the last epoch, without its evaluation
IMAGE_COST = 0.003  # of each of --final-images
# Of what scoring a grid takes: the real images, looked at with the first grid; the evaluation of
# twice as many generated images and the test images, compared one by one.
REAL_IMAGES, EVALUATION = 2, 6


@dataclass
class TimeBudget:
    """Says how long a run will take; with --minutes it makes the run as long as they allow.

    It changes `state.length` until the learning rates begin to fall. The steps made until then are
    those of a run that had its last length from the beginning, to the last bit.
    """

    options: Any  # those of gan_lab.py, as planned
    state: TrainingState
    scoring: float  # seconds to score a grid; 0 without scores
    began: float  # when the command began, by `clock`
    words: Sequence[str]  # the command, without `python`
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.is_scored, self.is_fixed = self.scoring > 0, self.options.minutes is None
        self.every = self.options.sample_every or self.state.length.sample_every  # epochs a grid
        self.has_spoken = self.has_scored = False
        self.epoch_cost, self.grid_cost = EPOCH_COST, GRID_COST + self.scoring
        self.between = 0.0  # seconds spent between epochs
        self.looks: deque[tuple[float, int]] = deque()  # seconds of training, steps made by then

    def after_step(self, stops: bool = False) -> list[str]:
        """What there is to say after a step, most times nothing; the length may have changed.

        stops: the run is about to be stopped, and to be resumed with the length it has then.
        """
        if self.is_fixed and (self.options.minutes or self.has_spoken):
            return []
        now = self.clock()
        if not self.looks:  # the first step is slower than others and does not count
            self.looks.append((0.0, self.state.steps_made))
            self.first_step = self.looked_at = now
        ends_epoch = self.state.step >= self.state.length.steps_of(self.state.epoch)
        at_once = self.options.minutes and (ends_epoch or stops or self._falls())
        if now - self.looked_at < LOOKS and not at_once:
            return []
        self.state.totals.tolist()  # a GPU may still be at work on steps that were only sent to it
        self.looked_at = self.clock()
        self._look()
        if self.options.minutes:
            known = self.step_cost and (self.looks[-1][0] > FIRST or at_once)
            return self._corrected() if known else []
        return self._forecast() if self.looks[-1][0] > SPOKEN else []

    def after_epoch(self, began: float, has_grid: bool) -> None:
        """Take note of what an epoch's end has cost since `began`."""
        cost = self.clock() - began
        self.between += cost
        if not has_grid:
            self.epoch_cost += (cost - self.epoch_cost) / 2
            return
        first = REAL_IMAGES * self.scoring if self.is_scored and not self.has_scored else 0.0
        self.grid_cost = max(cost - first, self.grid_cost / 2)
        if self.is_scored:
            self.scoring, self.has_scored = self.grid_cost, True

    # What it takes

    def _look(self) -> None:
        """Add a look; those of the first half of the training are forgotten."""
        trained = self.looked_at - self.first_step - self.between
        self.looks.append((trained, self.state.steps_made))
        while len(self.looks) > 2 and self.looks[1][0] <= trained / 2:
            self.looks.popleft()

    @property
    def step_cost(self) -> float:
        """Seconds of a step, lately; 0 while that is not known."""
        (began, first), (now, last) = self.looks[0], self.looks[-1]
        return (now - began) / (last - first) if last > first else 0.0

    def seconds(self, steps: int) -> float:
        """From the command's beginning to its end, should the run have so many steps."""
        epochs = replace(self.state.length, steps=steps).epochs
        ends = epochs - self.state.epoch
        if self.options.sample_every or self.has_spoken:
            grids = -(-epochs // self.every) - self.state.epoch // self.every
        else:  # `every` is not chosen yet
            grids = min(ends, GRIDS)
        real_images = 0 if self.has_scored else REAL_IMAGES * self.scoring
        ending = ENDING_COST + IMAGE_COST * self.options.final_images + EVALUATION * self.scoring
        training = (steps - self.state.steps_made) * self.step_cost
        between = (ends - grids) * self.epoch_cost + grids * self.grid_cost + real_images
        return self.looked_at - self.began + training + between + ending

    # A length that fits

    def _falls(self) -> bool:
        """Whether the next step's learning rates are lower than the first one's."""
        return self.state.length.lr_factor(self.state.steps_made, self.options) < 1

    def _corrected(self) -> list[str]:
        """Make the run as long as the time allows; what there is to say about that."""
        length, said = self.state.length, []
        length.steps = self._fitting()
        if not self.has_spoken:
            self.has_spoken = True
            self.every = self.options.sample_every or length.sample_every
            said = self._chosen()
        if self._falls() or self.state.steps_made >= (1 - UNCHANGED) * length.steps:
            self.is_fixed = True
            said.append(self._fixed())
        return said

    def _fitting(self) -> int:
        """The most steps that end in time, but no fewer than leave what was done as it is."""
        length, done = self.state.length, self.state.steps_made
        last = done - 1  # in a shorter run its rates would have fallen
        least = max(done, int(last / (1 - self.options.lr_decay)))
        while replace(length, steps=least).lr_factor(last, self.options) < 1:
            least += 1
        possible = range(least, MOST_EPOCHS * length.epoch_steps + 1)
        target = 60 * self.options.minutes * AIM
        return least + max(0, bisect_right(possible, target, key=self.seconds) - 1)

    def _chosen(self) -> list[str]:
        """How long the run will be, as far as the first steps tell; a note where that is short."""
        length, minutes = self.state.length, self.options.minutes
        speed = length.batch_size / self.step_cost
        said = [
            f"{minutes:g} minutes are about {length.steps / length.epoch_steps:,.1f} epochs, at "
            f"{speed:,.0f} images/s; corrected until the learning rate begins to fall"
        ]
        if length.steps < FEWEST_STEPS:
            steps = max(self.state.steps_made, FEWEST_STEPS)
            least = math.ceil(2 * self.seconds(steps) / AIM / 60) / 2
            short = "note: so short a run learns little"
            said.append(f"{short}; --minutes {least:g} is the least that makes sense at this speed")
        return said

    def _fixed(self) -> str:
        """The length that was decided, with the command that repeats the run."""
        length = self.state.length
        command = command_line(["python", *without_minutes(self.words)])
        return (
            f"the run has {counted(length.epochs, 'epoch')}, {length.images_shown:,} images shown; "
            f"to repeat it: {command} --images-shown {length.images_shown}"
        )

    def _forecast(self) -> list[str]:
        """How long the run will take, and what makes it shorter where that is long."""
        self.has_spoken = True
        whole = self.seconds(self.state.length.steps)
        run = "" if self.options.resume else "run "
        shorter = "; --minutes 5 ends it in five" if run and whole > LONG else ""
        return [f"This {run}will take about {in_words(whole)}{shorter}."]


def without_minutes(words: Sequence[str]) -> list[str]:
    """A command's words without --minutes and its value."""
    kept, is_value = [], False
    for word in words:
        if not is_value and word != "--minutes" and not word.startswith("--minutes="):
            kept.append(word)
        is_value = word == "--minutes"
    return kept


def in_words(seconds: float) -> str:
    """`40 seconds`, `12 minutes`, `2.5 hours`."""
    if seconds < 90:
        return counted(max(10, 10 * round(seconds / 10)), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
