"""lab/training/progress.py: the bar and the lines. TensorBoard: test_tensorboard.py."""

from __future__ import annotations

import math

import pytest
import torch
from small_trainings import small_options, small_state

from lab.training import progress
from lab.training.length import Length
from lab.training.progress import ProgressBar

ROW = {
    **{"epoch": 3, "seconds": 2.0, "images_per_second": 12345},
    **{"d_loss": 1.2345, "g_loss": 0.8761, "d_real": 0.614, "d_fake": 0.379},
}


@pytest.fixture
def state():
    return small_state(small_options())


def bar_over(state, epochs: int, steps: int) -> ProgressBar:
    """The bar of a run of `epochs` epochs of `steps` steps."""
    state.length = Length(images=50 * steps, batch_size=50, steps=epochs * steps)
    return ProgressBar(state)


def test_without_a_terminal_there_are_only_lines(state, capsys):
    with bar_over(state, epochs=12, steps=2) as bar:
        bar.advance(state)
        bar.print_epoch(ROW, ["Healthy."])
        bar.print_epoch({**ROW, "epoch": 12, "fcd_train_5k": 31.44}, [])
    lines = capsys.readouterr().out.splitlines()
    figures = "d_loss 1.234  g_loss 0.876  D(x) 0.61  D(G(z)) 0.38  12,345 images/s"
    assert lines == [f"epoch  3/12  {figures}", "    Healthy.", f"epoch 12/12  {figures}  FCD 31.4"]


def test_a_bar_works_with_a_coarse_clock(state, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    state.step = 1  # in 0 s by a clock that ticks every 16 ms
    with bar_over(state, epochs=1, steps=2) as bar:
        bar.refreshed = -math.inf
        bar.advance(state)
        assert bar.bar.n == bar.bar.total == 100
        assert "images/s" in bar.bar.postfix


@pytest.mark.parametrize(("columns", "losses"), [(80, False), (120, True)])
def test_a_wide_terminal_shows_the_losses_too(state, monkeypatch, columns, losses):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    state.step, state.seconds = 2, 0.5
    state.totals += torch.tensor([2.0, 4.0, 1.2, 0.8])
    with bar_over(state, epochs=1, steps=9) as bar:
        bar.refreshed = -math.inf
        bar.advance(state)
        shown = bar.bar.postfix
    opinions = "D(x) 0.60  D(G(z)) 0.40"
    wanted = f"d_loss 1.000  g_loss 2.000  {opinions}" if losses else opinions
    assert shown == f"200 images/s  {wanted}"


def test_the_bar_of_a_resumed_run_begins_at_its_position(state, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    state.epoch, state.step = 2, 3
    with bar_over(state, epochs=5, steps=4) as bar:
        assert (bar.bar.n, bar.bar.total) == ((2 * 4 + 3) * 50, 5 * 4 * 50)


def test_a_bar_follows_a_changing_length(state, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with bar_over(state, epochs=5, steps=4) as bar:
        state.length.steps = 18
        bar.advance(state)
        assert bar.bar.total == 18 * 50
        state.length.steps = 10
        bar.advance(state)
        assert bar.bar.total == 10 * 50
        bar.print_epoch(ROW, [])
    assert "epoch 3/3" in capsys.readouterr().out


def test_the_note_on_busy_cores_is_printed_once(state, monkeypatch, capsys):
    monkeypatch.setattr(progress, "available_cores", lambda: 2)
    monkeypatch.setattr(progress.Contention, "is_crowded", lambda self: True)
    with bar_over(state, epochs=5, steps=4) as bar:
        bar.print_epoch(ROW, [])
        bar.print_epoch(ROW, [])
    assert capsys.readouterr().out.count("--resume with OMP_NUM_THREADS=1") == 1
    monkeypatch.setattr(progress, "available_cores", lambda: 1)  # one thread waits for no other
    with bar_over(state, epochs=5, steps=4) as bar:
        bar.print_epoch(ROW, [])
    assert "OMP_NUM_THREADS" not in capsys.readouterr().out
