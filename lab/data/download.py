"""A set from the network, by way of torchvision, with little patience."""

from __future__ import annotations

import http.client
import queue
import socket
import tempfile
import threading
import urllib.request
from pathlib import Path

NETWORK_PATIENCE = 4.0  # seconds until a silent network counts as none


class NoDownload(Exception):
    """Why the set did not come: no network, no room, or a server that has something else."""


def download_set(torchvision_class: str, folder: Path) -> None:
    """Let torchvision fetch a set, by its class, into `folder`. NoDownload if that fails.

    It is fetched beside and moved when whole, so that an interrupted download leaves no files that
    a later run would take for a damaged set.
    """
    from torchvision import datasets  # imported late: it costs a second and is seldom needed

    torchvision_set = getattr(datasets, torchvision_class)
    await_answer(torchvision_set.mirrors[0] + torchvision_set.resources[0][0])
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
    # torchvision raises RuntimeError when every mirror failed; a hotel's page may answer anything.
    except (OSError, RuntimeError, ValueError, http.client.HTTPException) as error:
        raise NoDownload(_reason(error)) from None
    finally:
        socket.setdefaulttimeout(patience)


def await_answer(url: str) -> None:
    """Return once the server behind `url` has answered; NoDownload after NETWORK_PATIENCE seconds.

    In a thread of its own, since a name look-up without a network can hang longer than any
    time-out that Python lets one set.
    """
    answers: queue.Queue[str] = queue.Queue()  # "", or what went wrong

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=NETWORK_PATIENCE):
                answers.put("")
        except (OSError, ValueError, http.client.HTTPException) as error:  # a proxy called .x
            answers.put(_reason(error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        refusal = answers.get(timeout=NETWORK_PATIENCE)
    except queue.Empty:
        refusal = "no answer from the network"
    if refusal:
        raise NoDownload(refusal)


def _reason(error: Exception) -> str:
    """What an error says, in a line; urllib wraps the one that tells."""
    inner = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    text = getattr(inner, "strerror", None) or str(inner) or type(error).__name__
    return text.splitlines()[0]
