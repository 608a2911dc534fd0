"""How often a training writes what takes time."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator


class Pace:
    """Says when it is time to do something again: the first time at once, then more seldom.

    least: seconds from one time to the next, at the least. share: of the time, that it may take.
    began, first: with them the first time waits, too, until the time since `began` is long enough
    for the seconds that it is known to take at first.
    """

    def __init__(
        self, least: float, share: float, began: float = -math.inf, first: float = 0.0
    ) -> None:
        self.least, self.share = least, share
        self.has_begun = False
        self.done_at = began
        self.cost = first  # seconds it took last

    def is_due(self) -> bool:
        least = self.least if self.has_begun else 0.0
        return time.monotonic() - self.done_at > max(least, self.cost / self.share)

    @contextlib.contextmanager
    def taking(self) -> Iterator[None]:
        """Take note of when it was done, and how long it took."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.has_begun = True
            self.done_at = time.monotonic()
            self.cost = self.done_at - began


class CheckpointClock(Pace):
    """Says when a checkpoint is due: often enough to lose little, seldom enough to cost little.

    At the end of an epoch after 10 s, within one after 60 s; later where saving takes more than a
    sixtieth of that time. A disk that takes up to 2 s thus costs less than 2 % of the time, and a
    crash never more than 2 minutes.
    """

    def __init__(self) -> None:
        super().__init__(least=60, share=1 / 60)
        self.has_begun, self.done_at = True, time.monotonic()  # the start is as good as one

    def is_due(self, end_of_epoch: bool) -> bool:
        self.least = 10 if end_of_epoch else 60
        return super().is_due()
