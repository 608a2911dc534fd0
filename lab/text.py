"""Formatting of text for the screen, shell commands, and progress bars."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any


def counted(number: int, noun: str) -> str:
    """`1 epoch`, `12 epochs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """`a, b, c and 4 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def shortened(text: str, most: int) -> str:
    """The text, cut to at most `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def printable(text: str) -> str:
    """Untrusted text with `?` for control characters and invalid code points."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "?", text)


def sized(shape: Sequence[int]) -> str:
    """Height and width of images of shape (..., H, W): `28 x 28`."""
    height, width = shape[-2:]
    return f"{height} x {width}"


def as_word(name: str) -> str:
    """A name as one word for options and file names: `Ankle boot` -> `ankle-boot`."""
    return re.sub(r"\W+", "-", name.lower()).strip("-")[:60]


def command_line(words: Sequence[str]) -> str:
    """`words` as a command, quoted for this system's shell."""
    if os.name != "nt":
        return shlex.join(words)
    quoted = (subprocess.list2cmdline([word]) for word in words)  # where it has blanks
    special = re.compile('[^"]*[&\'();,][^"]*')  # to cmd or to PowerShell
    return " ".join(f'"{word}"' if special.fullmatch(word) else word for word in quoted)


def progress_bar(**how: Any) -> Any:
    """tqdm's progress bar, in a notebook its notebook bar; disabled without a terminal."""
    interactive = sys.modules.get("IPython")
    if interactive and hasattr(interactive.get_ipython(), "kernel"):
        from tqdm.auto import tqdm  # plain text where ipywidgets is missing

        return tqdm(**how)
    from tqdm import tqdm  # late, because the import is slow

    return tqdm(**how, disable=not sys.stderr.isatty())


def print_line(text: str) -> None:
    """Print a line, above the progress bars if there are any."""
    from tqdm import tqdm

    tqdm.write(text)
    sys.stdout.flush()


def progress(what: str, images: int, batch: int) -> Iterator[tuple[int, float]]:
    """Yield each step and the share of steps done; shows a bar, or lines without a terminal."""
    steps = -(-images // batch)
    with progress_bar(total=steps * batch, desc=what, unit=" images", unit_scale=True) as bar:
        for step in range(steps):
            yield step, step / steps
            bar.update(batch)
            if bar.disable and (10 * step + 10) % steps < 10:
                share = f"{(step + 1) / steps:.0%} of {steps * batch:,} images"
                print_line(f"{what}: {share}")
