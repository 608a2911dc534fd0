"""Exceptions, signals and exit codes: every error is one line on stderr, without a traceback."""

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

MAX_CHARACTERS = 2_000  # of an error message; enough for a command to resume with
PACKAGES = {  # import name -> name in requirements.txt
    **{name: name for name in ("torch", "torchvision", "torchmetrics", "numpy", "matplotlib")},
    **{name: name for name in ("jinja2", "tqdm", "pydantic", "filelock")},
    "PIL": "pillow",
}
OLDEST_TORCH = "2.6"  # the oldest on which the tests pass
# Environment variables: matplotlib's backend, and whether operations that torch lacks on Apple's
# MPS (torch 2.6: vdot) run on the CPU.
BACKEND, MPS_FALLBACK = "MPLBACKEND", "PYTORCH_ENABLE_MPS_FALLBACK"
# In the RuntimeErrors of torch: on a CPU, on one with Windows, and on a GPU, CUDA's or Apple's.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")

UNDO_AT_EXIT = contextlib.ExitStack()  # restores global settings, since a notebook goes on
# Action of a second Ctrl-C: ends the process at once, but not a notebook's kernel.
DEFAULT_SIGINT = signal.default_int_handler if hasattr(builtins, "__IPYTHON__") else signal.SIG_DFL


class Mistake(Exception):
    """A mistake of the user; the message has the option, its value and a remedy. Exit code 2."""


class Fault(Exception):
    """An error that is not the user's (damaged file, diverged training). Exit code 1.

    The message may quote a hostile file, so it is reduced to one printable line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.splitlines())))


class Interrupted(KeyboardInterrupt):
    """The program was stopped by signal n, after saving. Exit code 128 + n.

    Like KeyboardInterrupt it is not a subclass of Exception, so that `except Exception` does not
    catch it.
    """

    def __init__(self, message: str, signal_number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class StopSwitch:
    """Stores a signal until the training can stop, between two steps.

    reduce: combines the signal numbers of several processes into one.
    """

    def __init__(self, reduce: Callable[[int], int] = int) -> None:
        self.reduce = reduce
        self.received = 0  # number of the signal that this process received
        self.requested = 0  # number of the signal that any process received

    def receive(self, number: int) -> None:
        """Store a signal; a handler for `handle_signals`."""
        self.received = number

    def synchronise(self) -> None:
        """Combine the signals of all processes; all must call this at the same step."""
        self.requested = self.reduce(self.received)

    def raise_if_requested(self, message: str) -> None:
        """Raise Interrupted with `message` if a process received a signal."""
        if self.requested:
            raise Interrupted(f"stopped and saved; {message}", self.requested)


def interrupt(number: int) -> None:
    """End the program; a handler for `handle_signals`."""
    raise Interrupted("interrupted", number)


@contextlib.contextmanager
def handle_signals(act: Callable[[int], None]) -> Iterator[None]:
    """Call `act` with the number of the first SIGINT, SIGTERM or SIGHUP; the second one kills.

    Signals that are ignored when the program starts (by nohup, or in the background jobs of a shell
    script) stay ignored. Outside the main thread this does nothing.
    """
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    numbers = list(filter(_may_handle, known))

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


def _may_handle(number: int) -> bool:
    """Whether this is the main thread, and the signal is not ignored or handled outside Python."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and signal.getsignal(number) not in (signal.SIG_IGN, None)


@contextlib.contextmanager
def on_interrupt(message: str) -> Iterator[None]:
    """If a signal interrupts the block, add `message`, which says how to complete it later."""
    try:
        yield
    except Interrupted as stop:
        raise Interrupted(f"interrupted; {message}", stop.signal_number) from None


@contextlib.contextmanager
def os_errors_as_faults(message: str) -> Iterator[None]:
    """Turn an OSError in the block into a Fault with `message`, which says how to go on later."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Fault(f"{_os_error_line(error)}; after fixing this, {message}") from None


def _open_streams() -> None:
    """Make stdout and stderr accept any file name in any locale, even if they were closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # started with `>&-`
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8"))
        if hasattr(getattr(sys, name), "reconfigure"):  # streams of tests may not have it
            getattr(sys, name).reconfigure(errors="backslashreplace")


def prepare_script() -> None:
    """Set up a script before it imports torch; exit if a package is missing or too old."""
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
    if _may_handle(signal.SIGINT):  # until run_script, Ctrl-C ends the script at once
        handler = signal.signal(signal.SIGINT, DEFAULT_SIGINT)
        UNDO_AT_EXIT.callback(signal.signal, signal.SIGINT, handler)
        atexit.register(signal.signal, signal.SIGINT, DEFAULT_SIGINT)  # Python's own exit is slow
    before = {name: os.environ.pop(name) for name in (BACKEND, MPS_FALLBACK) if name in os.environ}
    os.environ[MPS_FALLBACK] = "1"
    if "matplotlib" not in sys.modules:
        UNDO_AT_EXIT.callback(_restore_backend, before.get(BACKEND))
    UNDO_AT_EXIT.callback(os.environ.update, before)
    UNDO_AT_EXIT.callback(os.environ.pop, MPS_FALLBACK, None)  # called before the update


def _restore_backend(backend: str | None) -> None:
    """Give a notebook its backend, which matplotlib reads from the environment when imported."""
    if backend and (matplotlib := sys.modules.get("matplotlib")):
        with contextlib.suppress(ValueError):  # matplotlib knows no such backend
            matplotlib.rcParams["backend"] = backend


def torch_is_older(wanted: str) -> bool:
    """Whether the installed torch is older than `wanted`; False if its version is unknown."""
    with contextlib.suppress(PackageNotFoundError):
        found = re.match(r"(\d+)\.(\d+)", version("torch"))
        return bool(found) and tuple(map(int, found.groups())) < tuple(map(int, wanted.split(".")))
    return False


def run_script(main: Callable[[], None]) -> None:
    """Run a script's `main`, print its error in one line and exit.

    Exit codes: 0 success, 1 Fault or OSError, 2 Mistake, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP
    (terminal closed), 141 broken pipe.
    """
    _open_streams()
    try:
        with UNDO_AT_EXIT, handle_signals(interrupt):
            try:
                main()
            except SystemExit as exit:  # --help
                if exit.code:
                    raise
            sys.stdout.flush()
    except Mistake as mistake:
        _exit(str(mistake), 2)
    except Interrupted as stop:
        _exit(str(stop), 128 + stop.signal_number)
    except BrokenPipeError:
        _exit("", 141)
    except Fault as fault:
        _exit(str(fault), 1)
    except OSError as error:
        _exit(_os_error_line(error), 1)
    except (MemoryError, RuntimeError) as error:
        is_of_memory = any(words in str(error) for words in OUT_OF_MEMORY)
        if not (is_of_memory or isinstance(error, MemoryError)):
            raise
        _exit("out of memory; smaller batches, networks or counts need less", 1)


def _os_error_line(error: OSError) -> str:
    """`No space left on device: outputs/mnist-001` reads better than Python's `[Errno 28] ...`."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{reason}: {error.filename}" if error.filename else reason


def _exit(message: str, code: int) -> None:
    """Print the message in one line and exit, without further errors from a closed pipe."""
    try:
        if message:
            line = shortened(printable(" ".join(message.splitlines())), MAX_CHARACTERS)
            print(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr, flush=True)
        sys.stdout.flush()
    except OSError:
        # stdout is closed, so give Python's flush at exit another file.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
