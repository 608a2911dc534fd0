"""A set from the network, by way of torchvision, with little patience."""

from __future__ import annotations

import http.client
import socket
import tempfile
import threading
import urllib.request
from pathlib import Path

NETWORK_PATIENCE = 4.0  # seconds until a silent network counts as none


def download_set(torchvision_class: str, folder: Path) -> bool:
    """Let torchvision fetch a set, by its class, into `folder`; False without network or room.

    It is fetched beside and moved when whole, so that an interrupted download leaves no files that
    a later run would take for a damaged set.
    """
    from torchvision import datasets  # imported late: it costs a second and is seldom needed

    torchvision_set = getattr(datasets, torchvision_class)
    if not answers(torchvision_set.mirrors[0] + torchvision_set.resources[0][0]):
        return False
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(2 * NETWORK_PATIENCE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as beside:
            torchvision_set(beside, download=True)
            whole = Path(beside) / torchvision_set.__name__
            home = folder / torchvision_set.__name__ / "raw"
            home.mkdir(parents=True, exist_ok=True)
            # The training images last: a set without them counts as not there.
            files = (whole / "raw").iterdir()
            for file in sorted(files, key=lambda path: path.name.startswith("train-images")):
                file.replace(home / file.name)
        return True
    # torchvision raises RuntimeError when every mirror failed; a hotel's page may answer anything.
    except (OSError, RuntimeError, http.client.HTTPException):
        return False
    finally:
        socket.setdefaulttimeout(patience)


def answers(url: str) -> bool:
    """Whether the server behind `url` answers within NETWORK_PATIENCE seconds.

    In a thread of its own, since a name look-up without a network can hang longer than any
    time-out that Python lets one set.
    """
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=NETWORK_PATIENCE):
                answered.set()
        except (OSError, http.client.HTTPException):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(NETWORK_PATIENCE)
    return answered.is_set()
