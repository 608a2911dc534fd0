"""Rows of faults.py: sets of pictures from strangers, mutated."""

from __future__ import annotations

import random
import resource
import time
import zipfile

import numpy as np
from faults_of_files import mutated
from PIL import Image
from planting import Place, Tries, row

from lab.data import load
from lab.errors import Fault, Mistake

SLOW, MAX_MEMORY = 5, 300_000  # seconds a set, KiB more than before


@row
def fuzzed_sets(place: Place) -> Tries:
    """Mutated folders, zips and npz of pictures: read or refused in one line, nothing written."""
    images = np.random.default_rng(0).integers(0, 256, (66, 16, 16), np.uint8)
    folder = place.folder / "folder"
    for index, image in enumerate(images):
        home = folder / "ab"[index % 2]
        home.mkdir(parents=True, exist_ok=True)
        ending = ("png", "jpg", "gif", "tif", "bmp", "webp")[index % 6]
        Image.fromarray(image).save(home / f"{index}.{ending}")
    packed = place.folder / "a.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(place.folder))
    arrays = place.folder / "a.npz"
    np.savez_compressed(arrays, images=images, labels=np.arange(66) % 2)
    pictures = sorted(folder.rglob("*.*"))[:12]
    chance, before = random.Random(2_000), memory()
    there = sorted(place.folder.rglob("*"))
    for path, files in ((folder, pictures), (packed, [packed]), (arrays, [arrays])):
        whole = [file.read_bytes() for file in files]
        for number in range(place.count(2_000, 40)):
            file, content = files[number % len(files)], whole[number % len(files)]
            file.write_bytes(mutated(content, chance))
            yield complaint(str(path))
            file.write_bytes(content)
        yield "" if memory() < before + MAX_MEMORY else "more memory than the set needs"
    yield "" if sorted(place.folder.rglob("*")) == there else "something was written"


def complaint(path: str) -> str:
    """What is wrong with how a mutated set was met."""
    began = time.monotonic()
    try:
        load(path, download=False)
    except (Fault, Mistake) as refused:
        return f"not one line: {refused}" if "\n" in str(refused) else ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"more than {SLOW} s" if time.monotonic() - began > SLOW else ""


def memory() -> int:
    """The most KiB that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
