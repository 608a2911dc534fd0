"""lab/models/tensor_files.py: hostile files do not run code or fill the memory."""

from __future__ import annotations

import collections
import hashlib
import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from small_files import refused, saved

from lab.errors import Fault
from lab.models import tensor_files
from lab.models.tensor_files import digest, read_tensors, write_tensors


class Canary:
    """Pickles to a call that creates a file when it is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_runs_nothing(tmp_path, zipped):
    canary, path = tmp_path / "canary", tmp_path / "g.pth"
    content = {"format": "gan-lab generator", "version": 2, "config": Canary(canary)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refused(path)
    path.write_bytes(pickle.dumps(Canary(canary)))
    refused(path)
    assert not canary.exists()


def test_a_pickle_that_sets_attributes_is_refused(tmp_path):
    class Built:
        def __reduce__(self):
            return collections.OrderedDict, (), {"get": "no function"}

    torch.save(Built(), tmp_path / "g.pth")
    assert "its pickle does BUILD" in refused(tmp_path / "g.pth")


def test_torch_itself_would_run_nothing_either(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_files, "_check_pickle", lambda path: None)  # without the lab's check
    torch.save({"format": Canary(tmp_path / "canary")}, tmp_path / "g.pth")
    refused(tmp_path / "g.pth")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x06" + (10**8).to_bytes(6, "little") + b"\x85R.",
        b"\x80\x02)q\x01" + b"h\x01h\x01\x86q\x01" * 9 + b"}h\x01K\x01s.",
    ],
    ids=["memory", "shared objects"],
)
def test_other_content_than_tensors_is_not_unpickled(tmp_path, monkeypatch, pickled):
    path = tmp_path / "g.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", b"3\n")  # without it torch reads nothing at all
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was"))
    assert "not made by the lab" in refused(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["archive/data.pkl", "other/data.pkl", "archive/x/data.pkl"])
@pytest.mark.parametrize("first", [True, False])
def test_two_pickles_in_one_archive_are_refused(tmp_path, monkeypatch, second, first):
    """One for the lab's check, and another for torch to read."""
    path, whole = tmp_path / "g.pth", saved(tmp_path / "whole.pth")
    hostile = io.BytesIO()
    pickle.dump(Canary(tmp_path / "canary"), hostile, protocol=2)
    with zipfile.ZipFile(whole) as good, zipfile.ZipFile(path, "w") as both:
        if first:
            both.writestr(second, hostile.getvalue())
        for entry in good.infolist():
            name = "archive/" + entry.filename.partition("/")[2]
            both.writestr(name, good.read(entry))
        if not first:
            both.writestr(second, hostile.getvalue())
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    assert "not made by the lab (2 pickles in it)" in refused(path)
    assert not (tmp_path / "canary").exists()


def test_an_archive_without_a_pickle_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "g.pth", "w") as archive:
        archive.writestr("archive/version", b"3\n")
    assert "0 pickles in it" in refused(tmp_path / "g.pth")


def test_a_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "g.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    assert "claims" in refused(path)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    content = saved(tmp_path / "whole.pth").read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(0, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:length])
        refused(path)


def test_float16_is_read_and_other_short_types_are_not(tmp_path):
    path = tmp_path / "t.pth"
    write_tensors(path, {"format": "numbers", "version": 2, "one": torch.ones(3).half()})
    assert read_tensors(path, "numbers")["one"].dtype == torch.float16
    write_tensors(path, {"format": "numbers", "version": 2, "one": torch.ones(3).bfloat16()})
    with pytest.raises(Fault, match="it asks for torch BFloat16Storage"):
        read_tensors(path, "numbers")


def test_the_digest_is_of_the_whole_file(tmp_path):
    content = bytes(3 * 2**20) + b"end"
    (tmp_path / "file").write_bytes(content)
    assert digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_tensors_are_read_as_written_and_only_from_the_wanted_format(tmp_path):
    path = tmp_path / "t.pth"
    content = {"format": "numbers", "version": 2, "one": torch.arange(3.0), "text": "Häher"}
    write_tensors(path, content)
    found = read_tensors(path, "numbers")
    assert torch.equal(found.pop("one"), content.pop("one")) and found == content
    with pytest.raises(Fault, match="a 'letters' file was expected, this is 'numbers'"):
        read_tensors(path, "letters")
    with pytest.raises(Fault, match=r"of another version of the lab; this one reads version 1$"):
        read_tensors(path, "numbers", versions=(1,))
