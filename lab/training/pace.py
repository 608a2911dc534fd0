"""Limits on how often a training writes files that take time."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Pace:
    """Says when an action is due, so that it takes only a small share of the time.

    The first time it is due at once, or with `last_run` and `cost` as if it had run before.
    """

    interval: float  # least number of seconds from one time to the next
    share: float  # the largest share of the time that the action may take
    last_run: float = -math.inf  # by time.monotonic(); before the first time, when that began
    cost: float = 0.0  # seconds that the last time took; before the first time, those expected
    has_run: bool = False

    def is_due(self) -> bool:
        interval = self.interval if self.has_run else 0.0
        return time.monotonic() - self.last_run > max(interval, self.cost / self.share)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Run the action inside this block: its end and its duration decide when it is due next."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.has_run = True
            self.last_run = time.monotonic()
            self.cost = self.last_run - began


class CheckpointClock(Pace):
    """Says when a checkpoint is due: 10 s after the last one at the end of an epoch, else 60 s.

    Both are longer where saving takes more than a sixtieth of the time. With a disk that takes up
    to 2 s, checkpoints cost less than 2 % of the time and a crash loses at most 2 minutes.
    """

    def __init__(self) -> None:
        # The start counts as a checkpoint.
        super().__init__(60, share=1 / 60, last_run=time.monotonic(), has_run=True)

    def is_due(self, end_of_epoch: bool) -> bool:
        self.interval = 10 if end_of_epoch else 60
        return super().is_due()
