"""What a script is started in: looked at, and made the same for everybody, before torch loads."""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = {  # of requirements.txt, by the names they are imported by
    **{name: name for name in ("torch", "torchvision", "matplotlib", "tqdm", "numpy")},
    **{"PIL": "pillow", "torchmetrics": "torchmetrics", "jinja2": "jinja2"},
}


def prepare() -> None:
    """Have Ctrl-C end the script while libraries load; leave with a line if it cannot run here."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # run_script listens later
    name = Path(sys.argv[0]).name
    missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
    if missing:
        sys.exit(
            f"{name}: {', '.join(missing)} not installed for {sys.executable}; "
            "pip install -r requirements.txt, or start it with the Python that has them"
        )
    try:
        Path.cwd()
    except OSError:  # torch would end in a message about its own libraries
        sys.exit(f"{name}: the working directory is gone; change to one that is there")
    os.environ["MPLBACKEND"] = "agg"  # matplotlib is to open no window, and a user's may not exist
