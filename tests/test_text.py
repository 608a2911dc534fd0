"""lab/text.py: formatting of text and shell commands."""

from __future__ import annotations

import shlex

import pytest

from lab import text
from lab.text import command_line, counted, listed, printable, shortened, sized


@pytest.mark.skipif("sys.platform == 'win32'", reason="of a POSIX shell")
def test_commands_are_quoted():
    words = ["python", "gan lab.py", "--resume", "$(touch x)'\""]
    assert shlex.split(command_line(words)) == words


def test_commands_for_windows_are_quoted(monkeypatch):
    words = ["python", r"C:\R&D\gan_lab.py", "--out", "new runs", "--seeds", "0-9,50"]
    with monkeypatch.context() as patch:
        patch.setattr(text.os, "name", "nt")
        found = command_line(words)
    assert found == r'python "C:\R&D\gan_lab.py" --out "new runs" --seeds "0-9,50"'


def test_numbers_and_lists_are_formatted():
    assert [counted(number, "epoch") for number in (0, 1, 12_000)] == [
        *("0 epochs", "1 epoch", "12,000 epochs")
    ]
    assert listed(["a", "b"]) == "a, b"
    assert listed([*"abcdefg"]) == "a, b, c and 4 more"
    assert sized((3, 20, 24)) == sized((20, 24)) == "20 x 24"


def test_untrusted_text_is_cut_and_has_no_control_characters():
    assert shortened("x" * 20, 10) == "xxxxxxx..." and shortened("x" * 10, 10) == "x" * 10
    assert printable("\x1b[2J\x9b2Ja\x7f\nname") == "?[2J?2Ja??name"
    assert printable("Häher 鳥") == "Häher 鳥"
