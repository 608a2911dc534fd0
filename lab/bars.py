"""Bars that show how far a long work is: on a terminal, in a notebook, and nowhere else."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(**how: Any) -> tqdm:
    """tqdm's bar, or its own kind in a notebook; disabled where nobody would see it move."""
    if not in_notebook():
        return tqdm(**how, disable=not sys.stderr.isatty())
    from tqdm.auto import tqdm as bar_of_notebooks  # plain text where ipywidgets is missing

    return bar_of_notebooks(**how)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    interactive = sys.modules.get("IPython")
    return interactive is not None and hasattr(interactive.get_ipython(), "kernel")
