"""What can go wrong and how it is said: one line, a fixed exit code, never a traceback."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from lab.text import printable, shortened

MOST_SAID = 2_000  # characters of a line: a command to go on with is never cut
PACKAGES = {  # of requirements.txt, by the names they are imported by
    **{name: name for name in ("torch", "torchvision", "torchmetrics", "numpy", "matplotlib")},
    **{name: name for name in ("jinja2", "tqdm", "pydantic", "filelock")},
    "PIL": "pillow",
}
OLDEST_TORCH = "2.6"  # that the tests were seen to pass on

UNDO_AT_EXIT = contextlib.ExitStack()  # what a script has set of a process that may outlive it
# What a second Ctrl-C meets: an end at once, but of no notebook's kernel.
DEFAULT_SIGINT = signal.default_int_handler if hasattr(builtins, "__IPYTHON__") else signal.SIG_DFL


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
    """Remembers Ctrl-C and its like until the training asks, between two steps.

    agree: of several processes, makes one number of what each has heard.
    """

    def __init__(self, agree: Callable[[int], int] = int) -> None:
        self.agree = agree
        self.received = 0  # the number of the signal that has come
        self.requested = 0  # the number that was agreed on

    def receive(self, number: int) -> None:
        """A signal has come to this process."""
        self.received = number

    def synchronise(self) -> None:
        """Ask whether to stop; every process asks at the same step."""
        self.requested = self.agree(self.received)

    def raise_if_requested(self, message: str) -> None:
        """Raise Interrupted with `message` if that was the answer."""
        if self.requested:
            raise Interrupted(f"stopped and saved; {message}", self.requested)


def interrupt(number: int) -> None:
    """End the program, now that a signal has come."""
    raise Interrupted("interrupted", number)


@contextlib.contextmanager
def handle_signals(act: Callable[[int], None]) -> Iterator[None]:
    """Have the first Ctrl-C, SIGTERM or SIGHUP call `act` with its number; the second one kills.

    Who started the program may have had one of them ignored, as nohup does, and a shell script for
    what it runs in the background: it stays so. In a thread nothing changes: no signal comes there.
    """
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # a terminal that is closed; Windows has none
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    numbers = list(filter(_is_ours, known))

    def handle(number: int, _frame: object) -> None:
        for each in numbers:
            signal.signal(each, DEFAULT_SIGINT if each == signal.SIGINT else signal.SIG_DFL)
        act(number)

    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _is_ours(number: int) -> bool:
    """Whether we may handle a signal: in the main thread, if it is not ignored, nor foreign."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and signal.getsignal(number) not in (signal.SIG_IGN, None)


@contextlib.contextmanager
def going_on(message: str) -> Iterator[None]:
    """Where a signal ends what is done inside, `message` says how to get it done after all."""
    try:
        yield
    except Interrupted as stop:
        raise Interrupted(f"interrupted; {message}", stop.signal_number) from None


@contextlib.contextmanager
def made_good(message: str) -> Iterator[None]:
    """An OSError inside becomes a Fault, in which `message` says how to go on after its cure."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Fault(f"{_os_error_line(error)}; once that is put right, {message}") from None


def _open_streams() -> None:
    """Streams that take every name of a file, in any locale, and are there even if closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # started with `>&-`
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8"))
        if hasattr(getattr(sys, name), "reconfigure"):  # a test's stand-in may not have it
            getattr(sys, name).reconfigure(errors="backslashreplace")


def prepare_script() -> None:
    """Before torch loads: let Ctrl-C end the script; say it if a package is missing or too old."""
    name = Path(sys.argv[0]).name
    missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
    if missing:
        sys.exit(
            f"{name}: {', '.join(missing)} not installed for {sys.executable}; "
            "pip install -r requirements.txt, or start it with the Python that has them"
        )
    if torch_is_older(OLDEST_TORCH):
        sys.exit(
            f"{name}: torch {version('torch')} is too old, {OLDEST_TORCH} or newer is needed; "
            "pip install -r requirements.txt"
        )
    if _is_ours(signal.SIGINT):  # run_script listens later
        UNDO_AT_EXIT.callback(
            signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, DEFAULT_SIGINT)
        )
        atexit.register(
            signal.signal, signal.SIGINT, DEFAULT_SIGINT
        )  # to tidy up takes Python a while
    before = {name: value for name, value in os.environ.items() if name == "MPLBACKEND"}
    UNDO_AT_EXIT.callback(os.environ.update, before)
    UNDO_AT_EXIT.callback(os.environ.pop, "MPLBACKEND", None)  # this one is called first
    os.environ["MPLBACKEND"] = "agg"  # matplotlib is to open no window; a user's may not exist


def torch_is_older(wanted: str) -> bool:
    """Whether the installed torch is of an earlier release; not where it does not say."""
    with contextlib.suppress(PackageNotFoundError):
        found = re.match(r"(\d+)\.(\d+)", version("torch"))
        return bool(found) and tuple(map(int, found.groups())) < tuple(map(int, wanted.split(".")))
    return False


def run_script(main: Callable[[], None]) -> None:
    """Run a script's `main` and leave the process with the exit code its ending deserves.

    0 done, 1 a fault, 2 a mistake, 130 Ctrl-C, 143 SIGTERM, 129 the terminal was closed, 141 the
    reader of a pipe went away.
    """
    _open_streams()
    try:
        with UNDO_AT_EXIT, handle_signals(interrupt):
            try:
                main()
            except SystemExit as left:
                if left.code:
                    raise
            sys.stdout.flush()  # after --help, which exits, too
    except Mistake as mistake:
        _leave(str(mistake), 2)
    except Interrupted as stop:
        _leave(str(stop), 128 + stop.signal_number)
    except BrokenPipeError:
        _leave("", 141)
    except Fault as fault:
        _leave(str(fault), 1)
    except OSError as error:
        _leave(_os_error_line(error), 1)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _leave("out of memory; smaller batches, networks or counts need less", 1)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: torch says it as a RuntimeError, on a CPU only in words."""
    is_said = "can't allocate memory" in str(error)
    return is_said or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _os_error_line(error: OSError) -> str:
    """`No space left on device: outputs/mnist-001` reads better than Python's `[Errno 28] ...`."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{reason}: {error.filename}" if error.filename else reason


def _leave(message: str, code: int) -> None:
    """Say it in one line, then exit without letting a closed pipe or a late flush raise again."""
    try:
        if message:
            line = shortened(printable(" ".join(message.splitlines())), MOST_SAID)
            print(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr, flush=True)
        sys.stdout.flush()
    except OSError:
        # Nobody reads us any more: give Python's exit-time flush somewhere harmless to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
