"""The lock of a folder, which keeps two programs of the lab from writing into it at once.

Where the system has no such locks nothing is held: files still appear whole, the last writer's
stay.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from lab.errors import Fault

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PATIENCE = 0.1  # seconds: somebody may only be asking whether the lock is held


@contextlib.contextmanager
def held(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold `folder` until this program ends or leaves the block.

    wait: until it is free; without it, a folder that is held is a Fault.
    """
    deadline = None if wait else time.monotonic() + PATIENCE
    with _opened(folder) as descriptor:
        while not _locks(descriptor, shared=False, wait=wait):
            if deadline and time.monotonic() > deadline:
                raise Fault(f"{folder}: another program of the lab is at work in it")
            time.sleep(PATIENCE / 10)
        yield


def is_held(folder: Path) -> bool:
    """Whether another program holds `folder`. Asking is not holding: two may ask at once."""
    with _opened(folder) as descriptor:
        return not _locks(descriptor, shared=True, wait=False)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A descriptor of `folder`; what it locks is free again with its end."""
    descriptor = os.open(folder, os.O_RDONLY) if fcntl else -1
    try:
        yield descriptor
    finally:
        if fcntl:
            os.close(descriptor)


def _locks(descriptor: int, shared: bool, wait: bool) -> bool:
    """Whether the lock could be had; true where there are none."""
    if not fcntl:
        return True
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have none
        pass
    return True
