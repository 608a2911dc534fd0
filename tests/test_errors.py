"""lab/errors.py: one line and a fixed exit code for every error."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from unittest.mock import Mock

import pytest
import torch
from conftest import REPOSITORY, TINY

from lab import errors
from lab.errors import (
    Fault,
    Interrupted,
    Mistake,
    StopSwitch,
    handle_signals,
    on_interrupt,
    os_errors_as_faults,
    run_script,
)


def ending(main, capfd) -> tuple[int, str]:
    """Exit code and stderr of a script with that `main`."""
    with pytest.raises(SystemExit) as left:
        run_script(main)
    return left.value.code, capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Mistake("--lr-g 0: give more"), 2),
        (Fault("config.json: damaged"), 1),
        (Interrupted("stopped and saved"), 130),
        (Interrupted("stopped and saved", signal.SIGTERM), 143),
        (OSError(28, "No space left on device", "x"), 1),
        (MemoryError(), 1),
    ],
)
def test_each_ending_has_its_code_and_one_line(capfd, error, code):
    def main():
        raise error

    left, said = ending(main, capfd)
    assert left == code
    assert said.count("\n") == 1 and "Traceback" not in said


def test_a_bug_keeps_its_traceback(capfd):
    def main():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):  # with its traceback
        run_script(main)


def test_a_broken_pipe_ends_silently(capfd):
    def main():
        with os_errors_as_faults("go on with: this command"):
            raise BrokenPipeError(32, "Broken pipe")

    assert ending(main, capfd) == (141, "")


def test_a_fault_has_no_control_characters():
    assert str(Fault("\x1b[2J\x9b2Ja name\nof two lines")) == "?[2J?2Ja name of two lines"


def test_no_message_is_longer_than_a_screen(capfd):
    def main():
        raise Mistake("x" * 10_000 + "\n\x1b[2J")

    code, said = ending(main, capfd)
    assert code == 2 and said.count("\n") == 1 and len(said) < errors.MAX_CHARACTERS + 100
    assert said.endswith("...\n")


def test_the_message_on_a_full_disk_says_how_to_continue(capfd):
    def main():
        with os_errors_as_faults("go on with: this command"):
            raise OSError(28, "No space left on device", "run/history.csv")

    code, said = ending(main, capfd)
    assert code == 1 and said.count("\n") == 1
    assert "No space left on device: run/history.csv; after fixing this, go on with" in said


def test_the_message_on_a_signal_says_how_to_continue():
    with (
        pytest.raises(Interrupted, match="interrupted; go on with") as caught,
        on_interrupt("go on with: this command"),
    ):
        raise Interrupted("interrupted", signal.SIGTERM)
    assert caught.value.signal_number == signal.SIGTERM


def test_running_out_of_memory_is_one_line(capfd):
    on_apple = RuntimeError("MPS backend out of memory (MPS allocated: 5.56 GB, ...)")
    for act in (lambda: torch.empty(2**60), Mock(side_effect=on_apple)):
        code, said = ending(act, capfd)
        assert code == 1 and said.count("\n") == 1 and "out of memory; smaller" in said


def test_missing_packages_are_named(monkeypatch):
    required = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    names = re.findall(r"^[a-z0-9]+", required, re.MULTILINE)
    assert sorted(errors.PACKAGES.values()) == sorted(names)
    monkeypatch.setattr(errors, "find_spec", lambda module: None if module == "PIL" else 1)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # pytest's own stays
    with pytest.raises(SystemExit, match=r"pillow not installed for .*; pip install -r"):
        errors.prepare_script()


def test_a_torch_that_is_too_old_is_named(monkeypatch):
    required = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    assert f"torch>={errors.OLDEST_TORCH}," in required
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # pytest's own stays
    for version, is_old in (("2.5.1+cpu", True), ("2.6.0", False), ("3.0.0a0+git", False)):
        monkeypatch.setattr(errors, "version", lambda _, found=version: found)
        assert errors.torch_is_older(errors.OLDEST_TORCH) == is_old
    monkeypatch.setattr(errors, "version", lambda _: "1.13.1")
    with pytest.raises(SystemExit, match=r"torch 1.13.1 is too old, 2.6 or newer is needed"):
        errors.prepare_script()


def test_a_second_signal_ends_the_program_at_once():
    before = signal.getsignal(signal.SIGINT)
    stop = StopSwitch()
    with handle_signals(stop.receive):
        signal.raise_signal(signal.SIGINT)
        stop.synchronise()
        assert stop.requested == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == before != signal.SIG_DFL
    with pytest.raises(Interrupted, match="stopped and saved; go on"):
        stop.raise_if_requested("go on")
    StopSwitch().raise_if_requested("go on")  # nobody asked


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_that_is_ignored_stays_ignored(name):
    number = getattr(signal, name, None) or pytest.skip("this system has none")
    before = signal.signal(number, signal.SIG_IGN)  # as a shell script has it in the background
    try:
        with handle_signals(errors.interrupt):
            assert signal.getsignal(number) == signal.SIG_IGN
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)


IN_A_PROCESS_THAT_GOES_ON = """
import os, runpy, signal, sys, threading
import matplotlib
import gan_lab
from lab.errors import run_script

os.environ["MPLBACKEND"] = "svg"
matplotlib.rcParams["lines.linewidth"] = 7.5
options, sys.argv = sys.argv[1:], ["gan_lab.py", "--list", "--out", "tests"]
runpy.run_path("gan_lab.py", run_name="__main__")  # as a notebook's %run
sys.argv[1:] = options
thread = threading.Thread(target=run_script, args=[gan_lab.main])  # as Gradio and Streamlit
thread.start(), thread.join()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert os.environ["MPLBACKEND"] == "svg" and "PYTORCH_ENABLE_MPS_FALLBACK" not in os.environ
assert matplotlib.rcParams["lines.linewidth"] == 7.5
"""


def test_global_settings_are_restored_and_a_thread_can_train(tmp_path):
    options = (*TINY, "--epochs", "1", "--final-images", "1", "--out", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS_THAT_GOES_ON, *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "fashion-001" / "report.html").is_file()


WITH_A_BACKEND_OF_MATPLOTLIB = """
import os
from lab import errors

errors.prepare_script()
import matplotlib
errors.run_script(lambda: None)
print(os.environ["MPLBACKEND"], matplotlib.get_backend())
"""


@pytest.mark.parametrize("backend", ["svg", "unknown"])
def test_a_notebook_keeps_its_backend_of_matplotlib(backend):
    done = subprocess.run(
        [sys.executable, "-c", WITH_A_BACKEND_OF_MATPLOTLIB],
        cwd=REPOSITORY,
        env={**os.environ, "MPLBACKEND": backend},
        capture_output=True,
        text=True,
    )
    variable, used = done.stdout.split()
    assert (done.returncode, variable) == (0, backend)
    assert used == "svg" or backend == "unknown"


AT_THE_IMPORT_OF_TORCH = """
import builtins, os, runpy, sys

def watch(name, *rest):
    assert not name.startswith("torch") or os.environ["PYTORCH_ENABLE_MPS_FALLBACK"] == "1"
    return own(name, *rest)

own, builtins.__import__ = builtins.__import__, watch
sys.argv = ["gan_lab.py", "--help"]
runpy.run_path("gan_lab.py", run_name="__main__")
"""


def test_torch_learns_before_its_import_what_to_do_without_an_operation_on_mps():
    command = [sys.executable, "-c", AT_THE_IMPORT_OF_TORCH]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", sorted(path.name for path in REPOSITORY.glob("*.py")))
def test_each_script_starts_from_any_folder_and_with_any_settings(script, tmp_path):
    hostile = {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error"}
    hostile |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / script), "--help"],
        cwd=tmp_path,
        env=os.environ | hostile,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {script}")
