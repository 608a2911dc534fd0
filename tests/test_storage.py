"""lab/storage.py: files that appear whole, and weights files from elsewhere."""

from __future__ import annotations

import collections
import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lab import files as storage
from lab.data import pictures
from lab.errors import Fault
from lab.models import networks as models
from lab.models import serialization as tensors
from lab.runs import run as runs


def saved(path: Path, **changes) -> Path:
    """A small generator's file, with some of its entries replaced."""
    tensors.save_weights(path, models.Generator(8, (16,)), dataset="mnist")
    if changes:
        content = {**torch.load(path, weights_only=True), **changes}
        torch.save(content, path)
    return path


def refused(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(Fault) as caught:
        tensors.load_weights(path, models.Generator)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_weights_come_back_as_they_were(tmp_path):
    generator = models.Generator(8, (16,), batch_norm=True).eval()
    tensors.save_weights(tmp_path / "g.pth", generator, dataset="mnist", epoch=3)
    again, facts = tensors.load_weights(tmp_path / "g.pth", models.Generator)
    assert facts == {"dataset": "mnist", "epoch": 3}
    latents = torch.randn(4, 8)
    assert torch.equal(generator(latents), again(latents))
    assert not again.training


def test_saving_twice_gives_the_same_bytes(tmp_path):
    network = models.Generator(8, (16,))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        tensors.save_weights(tmp_path / name / "g.pth", network)
    assert (tmp_path / "one/g.pth").read_bytes() == (tmp_path / "two/g.pth").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "file"
    storage.write_text(path, "before")

    def fail(file):
        file.write(b"half")
        raise OSError(28, os.strerror(28))

    with pytest.raises(OSError, match="No space"):
        storage.write_whole(path, fail)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_another_program_has_open_is_tried_again(tmp_path, monkeypatch):
    path, replace, tries = tmp_path / "file", Path.replace, []

    def in_use(beside, path):  # as Windows says it
        tries.append(beside)
        if len(tries) < 3:
            raise PermissionError(13, os.strerror(13), str(path))
        return replace(beside, path)

    monkeypatch.setattr(Path, "replace", in_use)
    monkeypatch.setattr(storage, "RENAMES_TRIED", 2)
    with pytest.raises(PermissionError):
        storage.write_text(path, "held for too long")
    assert not list(tmp_path.iterdir())
    storage.write_text(path, "free again")
    assert path.read_text() == "free again"


class Canary:
    """Pickles to a call that leaves a file behind when it is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_runs_nothing(tmp_path, zipped):
    canary, path = tmp_path / "canary", tmp_path / "g.pth"
    content = {"format": "gan-lab generator", "version": 1, "config": Canary(canary)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refused(path)
    path.write_bytes(pickle.dumps(Canary(canary)))
    refused(path)
    assert not canary.exists()


def test_a_pickle_that_puts_attributes_on_dictionaries_is_refused(tmp_path):
    class Built:
        def __reduce__(self):
            return collections.OrderedDict, (), {"get": "no function"}

    torch.save(Built(), tmp_path / "g.pth")
    assert "its pickle does BUILD" in refused(tmp_path / "g.pth")


def test_torch_itself_would_run_nothing_either(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "_check_pickle", lambda path: None)  # the lab's own look at it
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
def test_what_asks_for_more_than_tensors_is_not_unpickled(tmp_path, monkeypatch, pickled):
    path = tmp_path / "g.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", b"3\n")  # without it torch reads nothing at all
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was"))
    assert "not made by the lab" in refused(path)


def test_a_file_is_replaced_not_written_into(tmp_path):
    path, other = tmp_path / "file", tmp_path / "its other name"
    storage.write_text(path, "before")
    other.hardlink_to(path)
    storage.write_text(path, "after")
    assert (path.read_text(), other.read_text()) == ("after", "before")


def test_the_digest_is_of_the_whole_file(tmp_path):
    content = bytes(3 * 2**20) + b"end"
    (tmp_path / "file").write_bytes(content)
    assert tensors.digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_what_is_no_weights_file_is_refused(tmp_path):
    path = tmp_path / "g.pth"
    assert "does not exist" in refused(path)
    path.write_text("just text")
    assert "not a weights file" in refused(path)
    path.write_bytes(b"")
    assert "not a weights file" in refused(path)
    torch.save([1, 2, 3], path)
    assert "something else" in refused(path)
    tensors.save_weights(path, models.Discriminator((8,)))
    assert "'gan-lab discriminator'" in refused(path)
    assert "is not a file" in refused(tmp_path)


@pytest.mark.parametrize("version", [99, "1", None, True, torch.ones(2)])
def test_another_version_is_refused(tmp_path, version):
    assert "another version" in refused(saved(tmp_path / "g.pth", version=version))


def test_other_widths_wrong_types_and_nan_are_refused(tmp_path):
    path = tmp_path / "g.pth"
    state = models.Generator(8, (16,)).state_dict()
    config = models.Generator(8, (16,)).config
    assert "has shape (16, 8)" in refused(saved(path, config={**config, "hidden": [17]}))
    assert "weights are not those" in refused(saved(path, config={**config, "hidden": [16, 16]}))
    name = next(iter(state))
    bad = {**state, name: state[name].double()}
    assert "float64" in refused(saved(path, state_dict=bad))
    bad = {**state, name: state[name] * float("nan")}
    assert "NaN" in refused(saved(path, state_dict=bad))
    bad = {**state, name: torch.zeros(1).expand(16, 8)}
    assert "plain" in refused(saved(path, state_dict=bad))
    bad = {**state, name: "text"}
    assert "shape ()" in refused(saved(path, state_dict=bad))


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": [1_000_000]},
        {"hidden": [64] * 100},
        {"hidden": (64,) * 100},
        {"hidden": dict.fromkeys(range(100), 64)},
        {"hidden": [0]},
        {"latent_dim": 0},
        {"latent_dim": 10**12},
        {"latent_dim": -1},
        {"latent_dim": float("nan")},
        {"hidden": "abc"},
        {"hidden": None},
        {"latent_dim": {}},
        {"channels": [2048]},
        {"channels": [4, 4, 4]},
        {"nonsense": 1},
    ],
)
def test_an_absurd_config_is_refused_before_memory_is_asked_for(tmp_path, change):
    config = {**models.Generator(8, (16,)).config, **change}
    refused(saved(tmp_path / "g.pth", config=config))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hidden": [1_000_000]}, "hidden 1,000,000 is out of range"),
        ({"hidden": [64] * 100}, "hidden has 100 layers"),
        ({"channels": [2048]}, "channels 2,048 is out of range"),
        ({"channels": [4, 4, 4]}, "channels has 3 layers"),
    ],
)
def test_sizes_are_looked_at_before_anything_is_built(tmp_path, change, says):
    config = {**models.Generator(8, (16,)).config, **change}
    assert says in refused(saved(tmp_path / "g.pth", config=config))


def test_loading_draws_nothing_from_the_global_stream(tmp_path):
    path = saved(tmp_path / "g.pth")
    before = torch.get_rng_state()
    tensors.load_weights(path, models.Generator)
    assert torch.equal(torch.get_rng_state(), before)  # dropout's, in a training


def test_a_negative_variance_is_refused(tmp_path):
    path, network = tmp_path / "g.pth", models.Generator(8, (16,), batch_norm=True)
    network.layers[1].running_var[3] = -1
    tensors.save_weights(path, network, dataset="mnist")
    assert "negative variance" in refused(path)


def test_the_longest_name_there_is_can_be_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".txt")
    storage.write_text(path, "here")
    assert path.read_text() == "here"


def test_two_processes_of_one_number_do_not_meet(tmp_path):
    """As in two containers that share a folder."""
    path = tmp_path / "file"

    def overtaken(file):
        storage.write_text(path, "the other's")
        file.write(b"ours")

    storage.write_whole(path, overtaken)
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_in_the_way_is_named(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html'$"):
        storage.write_text(tmp_path / "report.html", "text")


def test_the_largest_checkpoint_that_options_allow_can_be_read():
    widest = (models.MOST_WIDTH,) * models.MOST_LAYERS
    maps = (models.MOST_CHANNELS,) * models.MOST_CONVOLUTIONS
    with torch.device("meta"):
        generator = models.Generator(models.MOST_LATENT, widest, channels=maps)
        discriminator = models.Discriminator(widest, channels=maps)
    # Weights, average and two moments of the one; weights and two moments of the other.
    numbers = 4 * models.count_parameters(generator) + 3 * models.count_parameters(discriminator)
    assert 4 * numbers < tensors.MOST_WEIGHT_BYTES


def test_a_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "g.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    assert "announces" in refused(path)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    content = saved(tmp_path / "whole.pth").read_bytes()
    path = tmp_path / "cut.pth"
    for length in range(0, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:length])
        refused(path)


_whole = io.BytesIO()
torch.save(
    {
        "format": "gan-lab generator",
        "version": 1,
        "config": models.Generator(2, (3,)).config,
        "facts": {},
        "state_dict": models.Generator(2, (3,)).state_dict(),
    },
    _whole,
)


@settings(max_examples=200, deadline=None)
@example(flips=[(10, 110)])  # a name of the config gets a line's end
@given(flips=st.lists(st.tuples(st.integers(0, 999), st.integers(1, 255)), min_size=1, max_size=8))
def test_a_mutated_file_is_read_or_refused_but_never_crashes(tmp_path_factory, flips):
    content = bytearray(_whole.getvalue())
    for place, change in flips:
        content[place * len(content) // 1000] ^= change
    path = tmp_path_factory.getbasetemp() / "mutated.pth"
    path.write_bytes(content)
    try:
        network, _ = tensors.load_weights(path, models.Generator)
    except Fault as fault:
        assert "\n" not in str(fault)
    else:
        assert all(torch.isfinite(weight).all() for weight in network.parameters())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have a name")
@pytest.mark.parametrize(
    "read", [storage.read_json, tensors.digest, runs.read_history, pictures.opened]
)
def test_what_never_ends_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**35)  # takes no room
    for name in ("pipe", "endless", "huge"):
        with pytest.raises((Fault, pictures.Unreadable)):
            read(tmp_path / name)


def test_damaged_json_is_refused(tmp_path):
    path = tmp_path / "config.json"
    nested = b'{"seed":' + 30 * b"[" + 30 * b"]" + b"}"  # deeper than pages can be made of
    for content in (b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'"text"', nested):
        path.write_bytes(content)
        with pytest.raises(Fault, match=r"config\.json"):
            storage.read_json(path)
    path.write_text("{}", encoding="utf-8-sig")  # with Notepad's mark
    assert storage.read_json(path) == {}


@pytest.mark.parametrize("name", ["../x.png", "a\0.png", "\ud800.png", "n" * 256, "", 3])
def test_a_name_from_a_file_is_a_name(name):
    assert not storage.is_plain_name(name)
    assert storage.is_plain_name("Übung 1.png")
