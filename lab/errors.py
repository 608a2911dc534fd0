"""What can go wrong and how it is said: one line, a fixed exit code, never a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.text import printable, shortened


class Mistake(Exception):
    """The user's mistake: the line names the option, the value and the cure. Exit code 2."""


class Fault(Exception):
    """The world's fault (disk full, file damaged, training diverged). Exit code 1.

    What it quotes may be from a hostile file: one printable line is all that is kept.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.splitlines())))


class Interrupted(KeyboardInterrupt):
    """A signal asked the program to stop; what is worth keeping is saved. Exit code 128 + n.

    Not a subclass of Exception, so that no `except Exception` swallows it; nor is Ctrl-C's own.
    """

    def __init__(self, message: str, signal_number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class StopSwitch:
    """Turns Ctrl-C and SIGTERM into a question the training asks between two steps.

    The first signal only sets `requested`, so that no step is cut in half; a second one ends the
    program at once, as it would without the switch.
    """

    def __init__(self) -> None:
        self.requested: int | None = None  # the signal's number, once one has come
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSwitch:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: object) -> None:
        self.requested = number
        for each in self._previous:
            signal.signal(each, signal.SIG_DFL)

    def raise_if_requested(self, message: str) -> None:
        """Raise Interrupted with `message` if a signal has come."""
        if self.requested:
            raise Interrupted(f"stopped and saved; {message}", self.requested)


@contextlib.contextmanager
def going_on(message: str) -> Iterator[None]:
    """Should a signal end what is done inside, say with `message` what gets it done after all."""
    try:
        yield
    except Interrupted as stop:
        raise Interrupted(f"interrupted; {message}", stop.signal_number) from None


@contextlib.contextmanager
def made_good(message: str) -> Iterator[None]:
    """Should the world fail what is done inside, say with `message` how to go on after its cure."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Fault(f"{_os_error_line(error)}; once that is put right, {message}") from None


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM raise Interrupted; after the first of them, a second one kills."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def interrupt(number: int, _frame: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        raise Interrupted("interrupted", number)

    previous = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _open_streams() -> None:
    """Streams that take every name of a file, in any locale, and are there even if closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # started with `>&-`
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8"))
        if hasattr(getattr(sys, name), "reconfigure"):  # a test's stand-in may not have it
            getattr(sys, name).reconfigure(errors="backslashreplace")


def one_line(error: BaseException) -> str:
    """An exception's message as a single printable line of at most 300 characters."""
    text = printable(" ".join(str(error).split())) or type(error).__name__
    return shortened(text, 300)


def run_script(main: Callable[[], None]) -> None:
    """Run a script's `main` and leave the process with the exit code its ending deserves.

    0 done, 1 a fault, 2 a mistake, 130 Ctrl-C, 143 SIGTERM, 141 the reader of a pipe went away.
    """
    name = Path(sys.argv[0]).name
    _open_streams()
    try:
        with _signals_raise():
            main()
            sys.stdout.flush()
    except Mistake as mistake:
        _leave(f"{name}: {one_line(mistake)}", 2)
    except Interrupted as stop:
        _leave(f"{name}: {one_line(stop)}", 128 + stop.signal_number)
    except KeyboardInterrupt:
        _leave(f"{name}: interrupted", 130)
    except BrokenPipeError:
        _leave("", 141)
    except Fault as fault:
        _leave(f"{name}: {one_line(fault)}", 1)
    except OSError as error:
        _leave(f"{name}: {one_line(Fault(_os_error_line(error)))}", 1)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _leave(f"{name}: out of memory; smaller batches, networks or counts need less", 1)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: torch says it as a RuntimeError, on a CPU only in words."""
    said = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return said or isinstance(error, MemoryError)


def _os_error_line(error: OSError) -> str:
    """`No space left on device: outputs/mnist-001` reads better than Python's `[Errno 28] ...`."""
    reason = error.strerror or one_line(error)
    return f"{reason}: {error.filename}" if error.filename else reason


def _leave(line: str, code: int) -> None:
    """Print the line, then exit without letting a closed pipe or a late flush raise again."""
    try:
        if line:
            print(line, file=sys.stderr, flush=True)
        sys.stdout.flush()
    except OSError:
        # Nobody reads us any more: give Python's exit-time flush somewhere harmless to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
