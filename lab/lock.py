"""The lock of a folder, which keeps two programs of the lab from writing into it at once.

On Windows a file in the folder stands for it. Where a file system has no locks nothing is held:
files still appear whole, the last writer's stay.
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
    import msvcrt

LOCK_FILE = ".lock"  # on Windows, where a folder cannot be opened
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
    if not fcntl and not (folder / LOCK_FILE).exists():
        return False
    with _opened(folder) as descriptor:
        return not _locks(descriptor, shared=True, wait=False)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A descriptor that stands for `folder`; what it locks is free again with its end."""
    if fcntl:
        descriptor = os.open(folder, os.O_RDONLY)
    else:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _locks(descriptor: int, shared: bool, wait: bool) -> bool:
    """Whether the lock could be had; true where there are none."""
    if not fcntl:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have none
        pass
    return True
