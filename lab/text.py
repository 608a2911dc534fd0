"""Words for people: plurals, lists, shell commands, and text from elsewhere fit to be shown."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """`1 epoch`, `12 epochs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """`a, b, c and 4 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shortened(text: str, most: int) -> str:
    """Text of at most `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def printable(text: str) -> str:
    """Text from elsewhere with `?` for what would steer a terminal, or is not valid text."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "?", text)


def sized(shape: Sequence[int]) -> str:
    """The height and width of images of shape (..., H, W): `28 x 28`."""
    height, width = shape[-2:]
    return f"{height} x {width}"


def command_line(words: Sequence[str]) -> str:
    """`words` as they are typed into this system's shell."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
