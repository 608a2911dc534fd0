"""Rows of faults.py: files from strangers, hostile, damaged and mutated."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import struct
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from planting import Place, Tries, begin, row, save_generator, train

from lab.data.idx import read_idx
from lab.errors import Fault
from lab.models.serialization import load_weights
from lab.runs import Run


def archive(path: Path, pickled: bytes, **more: bytes) -> Path:
    """A file as torch.save makes them, around any pickle."""
    with zipfile.ZipFile(path, "w") as file:
        own = {"data.pkl": pickled, "byteorder": b"little", "version": b"3\n"}
        for name, content in {**own, **more}.items():
            file.writestr(f"archive/{name}", content)
    return path


class Canary:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def hostile_weights(place: Place, good: Path) -> Iterator[tuple[str, Path]]:
    """Files that pretend to be a generator.pth, each with what is wrong with it."""
    content = torch.load(good, weights_only=True)
    config, state, spec = content["config"], content["state_dict"], content["dataset"]
    name = next(iter(state))
    path = place.folder / "hostile.pth"
    changes = {
        "canary": {"config": Canary(place.folder / "canary")},
        "million wide": {"config": {**config, "hidden": [1_000_000]}},
        "deep": {"config": {**config, "hidden": [64] * 100}},
        "deep, a tuple": {"config": {**config, "hidden": (1,) * 60_000}},
        "deep, a dictionary": {"config": {**config, "hidden": dict.fromkeys(range(60_000), 1)}},
        "huge latent": {"config": {**config, "latent_dim": 10**12}},
        "NaN latent": {"config": {**config, "latent_dim": float("nan")}},
        "text": {"config": {**config, "hidden": "abc"}},
        "no kind": {"kind": None},
        "kind climbs": {"kind": "../../etc/passwd"},
        "set climbs": {"dataset": "../../etc/passwd"},
        "huge images": {
            "config": {**config, "shape": [1, 10**6, 10**6]},
            "dataset": {**spec, "shape": [1, 10**6, 10**6]},
        },
        "million classes": {"dataset": {**spec, "class_names": ["x"] * 10**6}},
        "images of another set": {"dataset": {**spec, "shape": [3, 32, 32]}},
        "wrong shape": {"state_dict": {**state, name: torch.zeros(3)}},
        "wrong type": {"state_dict": {**state, name: state[name].double()}},
        "NaN weight": {"state_dict": {**state, name: state[name] * float("nan")}},
        "stride 0": {"state_dict": {**state, name: torch.zeros(1).expand(state[name].shape)}},
        "no state": {"state_dict": None},
        "version": {"version": 99},
        "version of two numbers": {"version": torch.zeros(2)},
    }
    for wrong, change in changes.items():
        torch.save({**content, **change}, path)
        yield wrong, path
    torch.save({**content, **changes["canary"]}, path, _use_new_zipfile_serialization=False)
    yield "canary, old format", path
    huge = b"\x8a\x06" + (20 * 10**9).to_bytes(6, "little")
    yield "20 GB bytearray", archive(path, b"\x80\x02cbuiltins\nbytearray\n" + huge + b"\x85R.")
    nested = b"\x80\x02)q\x01" + b"h\x01h\x01\x86q\x01" * 60
    yield "tuples nested 60 deep as a key", archive(path, nested + b"}h\x01K\x01s.")
    yield (
        "the same as its format",
        archive(path, nested + b"}X\x06\x00\x00\x00formath\x01s."),
    )
    yield "entry that climbs", archive(path, b"\x80\x02}.", **{"../../climbed": b"x"})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\0" * 100_000_000)
    yield "zip bomb", path
    path.unlink()
    os.mkfifo(path)
    yield "fifo", path
    path.unlink()
    path.symlink_to("/dev/zero")
    yield "link to /dev/zero", path
    path.unlink()
    path.symlink_to(path)
    yield "link to itself", path
    path.unlink()
    whole = good.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // place.count(200, 10))):
        path.write_bytes(whole[:length])
        yield f"cut at {length}", path


@row
def hostile_weights_row(place: Place) -> Tries:
    """Hostile weights: refused in one line, no code run, under 100 MB more memory."""
    good = place.folder / "good.pth"
    save_generator(good, latent_dim=8, hidden=(16,))
    idle = begin("gan_lab.py", "--help", at=place.folder).wait().peak
    for index, (wrong, path) in enumerate(hostile_weights(place, good)):
        if wrong.startswith("cut"):  # many: in this process
            try:
                load_weights(path, "generator")
                yield f"{wrong}: was read"
            except Fault:
                yield ""
            continue
        if place.quick and index % 4:
            continue
        arguments = ("--generator", path, "--out", place.folder / "out")
        ended = begin("denoise_images.py", *arguments, at=place.folder).wait(60)
        complaint = ended.complaint(1, 2, says="hostile.pth")
        if ended.peak > idle + 100_000_000:
            complaint = f"{(ended.peak - idle) / 1e6:.0f} MB more memory"
        if (place.folder / "canary").exists() or list(place.folder.rglob("climbed")):
            complaint = "code was run"
        yield complaint and f"{wrong}: {complaint}"


def hostile_checkpoints(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes to a checkpoint that must be refused."""
    rows = content["history"]
    adam = content["optimizers"]["generator"]
    order = content["streams"]["order"]
    yield "no history", {"history": None}
    yield "history of text", {"history": ["text"]}
    yield "a column missing", {"history": [{"epoch": 1}] * len(rows)}
    yield "text in a row", {"history": [{**each, "d_loss": "text"} for each in rows]}
    yield "NaN in a row", {"history": [{**each, "d_loss": float("nan")} for each in rows]}
    yield "a row lost", {"history": rows[:-1]}
    yield "epochs doubled", {"history": [rows[0]] * len(rows)}
    yield "billionth epoch", {"epoch": 10**9}
    yield "negative epoch", {"epoch": -1, "history": []}
    yield "negative step", {"step": -3}
    yield "NaN seconds", {"seconds": float("nan")}
    yield "no streams", {"streams": {}}
    yield "short stream", {"streams": {**content["streams"], "order": order[:100]}}
    yield "noise for a stream", {"streams": {**content["streams"], "order": ~order}}
    yield "NaN totals", {"totals": torch.full((4,), float("nan"))}
    yield "long totals", {"totals": torch.zeros(9)}
    for wrong, moments in (
        ("of other names", {"exp_avg": adam[0]["exp_avg"]}),
        ("of doubles", {**adam[0], "exp_avg": adam[0]["exp_avg"].double()}),
        ("of text", {**adam[0], "exp_avg": "text"}),
        ("of stride 0", {**adam[0], "exp_avg": torch.zeros(1).expand(adam[0]["exp_avg"].shape)}),
    ):
        changed = {**content["optimizers"], "generator": {**adam, 0: moments}}
        yield f"moments {wrong}", {"optimizers": changed}


def hostile_configs(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Contents of config.json that must be refused."""
    for name, value in (
        *(("hidden_g", [1_000_000]), ("hidden_g", "abc"), ("latent_dim", 10**9), ("lr_g", None)),
        *(("batch_size", True), ("batch_norm", "yes"), ("epochs", None), ("epochs", [1])),
        *(("data_dir", "/none/../none"), ("dataset", "../../etc"), ("lr_g", {}), ("seed", "1e9")),
    ):
        changed = {**config, "options": {**config["options"], name: value}}
        yield f"{name} {value}", json.dumps(changed)
    yield "options of text", json.dumps({**config, "options": "text"})
    yield "no object", "[1]"
    yield "deep", "[" * 100_000
    yield "binary", "\0\1"


@row
def hostile_run(place: Place) -> Tries:
    """Hostile checkpoint, config.json and links in a run folder: --resume refuses in one line."""
    yield train(place, "--out", place.folder / "good").complaint(0)
    good = place.folder / "good" / "fashion-001"
    content = torch.load(good / "checkpoint.pth", weights_only=True)
    config = json.loads((good / "config.json").read_text())
    cases: list[tuple[str, str, Any]] = [
        *((wrong, "checkpoint.pth", change) for wrong, change in hostile_checkpoints(content)),
        *((wrong, "config.json", text) for wrong, text in hostile_configs(config)),
        ("link that climbs", "generated_samples", place.folder),
        ("truncated", "checkpoint.pth", None),
    ]
    for wrong, name, change in cases[:: place.count(1, 12)]:
        run = Path(tempfile.mkdtemp(dir=place.folder)) / "fashion-001"
        shutil.copytree(good, run)
        target = run / name
        if name == "config.json":
            target.write_text(change)
        elif name == "generated_samples":
            shutil.rmtree(target)
            target.symlink_to(change)
        elif change is None:
            target.write_bytes(target.read_bytes()[:-1000])
        else:
            torch.save({**content, **change}, target)
        arguments = ("--resume", run, "--epochs", 7)
        ended = begin("gan_lab.py", *arguments, at=place.folder).wait(60)
        yield (complaint := ended.complaint(1, 2)) and f"{wrong}: {complaint}"


@row
def hostile_history(place: Place) -> Tries:
    """Hostile history.csv: read or refused in one line."""
    run = Run(place.folder)
    head = b"epoch,d_loss\n"
    for content in (
        *(b"", b"\0\0\0", b"\xff\xfe", head + b"1,text\n", head + b"1\n", head + b"1,2,3\n"),
        *(head + b"1," + b"9" * 10_000 + b"\n", b'"' + b"x" * 200_000, head + b"nan,inf\n"),
    ):
        run.history_path.write_bytes(content)
        try:
            read = Run(place.folder)
            lines = "".join(f"{row}" for row in read.history) + "".join(read.remarks)
            yield "" if "\n" not in lines else "not one line"
        except Exception as error:
            yield f"{content[:30]!r}: {type(error).__name__}: {error}"


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A file with bytes flipped, cut off, doubled or put in."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(changed) + 1)
        kind = chance.random()
        if kind < 0.6 and place < len(changed):
            changed[place] ^= chance.randint(1, 255)
        elif kind < 0.75:
            changed = changed[:place] or bytearray(b"\0")
        elif kind < 0.9:
            changed[place:place] = chance.randbytes(chance.randint(1, 8))
        else:
            changed[place:place] = changed[: chance.randint(1, 200)]
    return bytes(changed)


@row
def fuzzed(place: Place) -> Tries:
    """Mutated IDX files (raw and gzip) and weights: read or refused in one line, none slow."""
    chance = random.Random(2_000)
    images = torch.arange(3 * 784).remainder(251).byte()
    raw = struct.pack(">4B3I", 0, 0, 8, 3, 3, 28, 28) + images.numpy().tobytes()
    weights = place.folder / "good.pth"
    save_generator(weights, latent_dim=2, hidden=(3,))
    readers = (
        (raw, lambda path: read_idx(path, (28, 28))),
        (gzip.compress(raw), lambda path: read_idx(path, (28, 28))),
        (weights.read_bytes(), lambda path: load_weights(path, "generator")),
    )
    path = place.folder / "mutated"
    for content, read in readers:
        for _ in range(place.count(1_000, 60)):
            path.write_bytes(mutated(content, chance))
            began = time.monotonic()
            try:
                read(path)
                complaint = ""
            except Fault as fault:
                complaint = "" if "\n" not in str(fault) else f"not one line: {fault}"
            except Exception as error:
                complaint = f"{type(error).__name__}: {error}"
            slow = time.monotonic() - began > 5 and not place.quick
            yield complaint or ("more than 5 s" if slow else "")
