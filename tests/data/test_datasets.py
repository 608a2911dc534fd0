"""lab/data/datasets.py: the right images from the right source; specs in files."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import urllib.error
from pathlib import Path

import pytest
import torch
from conftest import SAMPLE
from hypothesis import given, settings
from hypothesis import strategies as st
from idx_files import idx, write_set

from lab.data import datasets, sources, specs
from lab.data.datasets import DATASETS, DatasetSpec, load, load_sample, read_folder
from lab.errors import Fault, Mistake

MNIST, FASHION = DATASETS["mnist"], DATASETS["fashion"]
COLOUR = DatasetSpec("birds", "Birds of 1911", (3, 20, 24), ("wren", "Häher"))
PINNED = {  # as the lab's first version computed them
    "mnist": "a2dd8bc8ad86adbb49e0f367dce88bec03c9d924824022a465129d57142e5b11",
    "fashion": "0289e45a0749944aa49b1391aeb0b10773bf94e9ec6e09dd0990466b79f7ee5b",
}


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_the_bundled_sample_is_what_its_checksums_say(name):
    for line in (SAMPLE / "SHA256SUMS").read_text().splitlines():
        digest, file = line.split()
        assert hashlib.sha256((SAMPLE / file).read_bytes()).hexdigest() == digest
    sample = load_sample(name)
    assert sample.is_sample and sample.name == name
    assert sample.spec.shape == (1, 28, 28) and len(sample.spec.class_names) == 10
    assert sample.train_images.shape == (10_000, *sample.spec.shape)
    assert sample.test_images.shape == (2_000, *sample.spec.shape)
    assert sample.train_images.dtype == torch.uint8 and sample.train_labels.dtype == torch.int64
    assert sample.train_labels.unique().tolist() == list(range(10))
    assert "BUNDLED SAMPLE" in sample.footnote()
    assert dataclasses.replace(sample, is_sample=False).footnote() == ""


def test_the_sample_weighs_at_most_eight_megabytes():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*")) <= 8_000_000


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("joint", ["-", "."])
@pytest.mark.parametrize("below", ["FashionMNIST/raw", "fashion", "raw", "."])
def test_every_usual_layout_is_read(tmp_path, ending, joint, below):
    write_set(tmp_path / below, ending=ending, joint=joint)
    dataset = load("fashion", tmp_path)
    assert dataset.train_images.shape == (20, 1, 28, 28)
    assert not dataset.is_sample
    assert str(tmp_path) in dataset.source
    write_set(tmp_path / "plain")
    assert dataset.fingerprint == load("fashion", tmp_path / "plain").fingerprint


def test_the_fingerprint_changes_with_any_byte(tmp_path):
    before = read_folder(MNIST, write_set(tmp_path)).fingerprint
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert read_folder(MNIST, tmp_path).fingerprint != before, path.name
        path.write_bytes(content)


def test_fingerprints_are_those_of_earlier_versions():
    assert {name: load_sample(name).fingerprint for name in PINNED} == PINNED


def test_another_sets_images_are_refused(tmp_path):
    shutil.copytree(SAMPLE / "mnist", tmp_path / "raw")
    with pytest.raises(Mistake, match=r"images of MNIST, those of Fashion-MNIST are wanted"):
        load("fashion", tmp_path)


def test_a_folder_found_with_another_set_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "DOWNLOAD_FOLDER", tmp_path)
    shutil.copytree(SAMPLE / "mnist", tmp_path / "raw")
    assert load("mnist", download=False).source == str(tmp_path / "raw")
    assert load("fashion", download=False).source != str(tmp_path / "raw")


def test_a_missing_file_is_named(tmp_path):
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(Fault, match=r"t10k-labels-idx1-ubyte .* is missing"):
        load("mnist", tmp_path)


def test_labels_must_fit_images(tmp_path):
    write_set(tmp_path, count=20)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(torch.zeros(19, dtype=torch.uint8)))
    with pytest.raises(Fault, match="19 labels for 20 images"):
        load("mnist", tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(torch.full((20,), 10).byte()))
    with pytest.raises(Fault, match="label 10 found"):
        load("mnist", tmp_path)


def test_without_files_and_network_the_sample_is_used(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(datasets, "DOWNLOAD_FOLDER", tmp_path / "none")

    def refuse(request, timeout):
        raise urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))

    monkeypatch.setattr(sources.urllib.request, "urlopen", refuse)
    assert load("mnist").is_sample
    assert capsys.readouterr().out == "note: MNIST could not be downloaded (Connection refused)\n"
    assert list(tmp_path.iterdir()) == []


def test_a_named_folder_without_the_set_is_a_mistake(tmp_path):
    write_set(tmp_path)
    next(tmp_path.glob("train-images*")).unlink()
    with pytest.raises(Mistake, match=r"--data-dir .* no training images of MNIST"):
        load("mnist", tmp_path)


def test_a_download_is_added_to_existing_files(tmp_path, monkeypatch):
    stray = tmp_path / "MNIST" / "raw" / "stray"
    stray.parent.mkdir(parents=True)
    stray.touch()

    class Downloaded:
        mirrors, resources = ("https://dataset.invalid/",), (("file", "digest"),)
        __name__ = "MNIST"

        def __call__(self, place, download):
            shutil.copytree(SAMPLE / "mnist", Path(place) / "MNIST" / "raw")

    monkeypatch.setattr(sources, "await_answer", lambda url: None)
    monkeypatch.setattr("torchvision.datasets.MNIST", Downloaded())
    monkeypatch.setattr(datasets, "DOWNLOAD_FOLDER", tmp_path)
    moved, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda *paths: moved.append(paths[1]) or replace(*paths))
    assert load("mnist").source == str(stray.parent)
    assert moved[-1].name.startswith("train-images")  # without them the set counts as not there
    assert stray.exists() and not list(tmp_path.glob(".download-*"))


# The spec, as weights files carry it


@pytest.mark.parametrize("spec", [MNIST, FASHION, COLOUR, DatasetSpec("x", "X", (1, 8, 8))])
def test_a_spec_is_restored_from_its_facts(spec):
    again = DatasetSpec.from_facts(spec.as_facts())
    assert again == spec
    assert again.files is spec.files  # a row of DATASETS comes back with all that is known of it


def test_a_spec_with_a_rows_name_and_another_shape_is_not_that_row():
    facts = {**FASHION.as_facts(), "shape": [1, 32, 32]}
    found = DatasetSpec.from_facts(facts)
    assert found.shape == (1, 32, 32) and found != FASHION and found.files is None


def test_a_name_alone_gives_the_row():
    assert DatasetSpec.from_facts("mnist") is MNIST
    with pytest.raises(ValueError, match="which set"):
        DatasetSpec.from_facts("cifar")


@pytest.mark.parametrize(
    "facts",
    [
        None,
        3,
        [],
        {},
        {"name": ""},
        {"name": "x" * 201},
        {"name": None},
        {"name": "../../x"},
        {"title": 3},
        {"title": "\x1b[2J"},  # clears a terminal
        {"shape": None},
        {"shape": "1 28 28"},
        {"shape": [28, 28]},
        {"shape": [1, 28, 28, 28]},
        {"shape": [1, 28, 28.0]},
        {"shape": [True, 28, 28]},
        {"shape": [0, 28, 28]},
        {"shape": [1, 28, 10**9]},
        {"class_names": None},
        {"class_names": "0123456789"},
        {"class_names": [0, 1]},
        {"class_names": ["wren"] * 1_001},
        {"class_names": ["x" * 201]},
        {"class_names": ["two\nlines"]},
        {"class_names": {"wren": 1}},
    ],
)
def test_damaged_facts_are_refused(facts):
    if isinstance(facts, dict) and facts:
        facts = {**COLOUR.as_facts(), **facts}
    with pytest.raises(ValueError) as caught:
        DatasetSpec.from_facts(facts)
    assert 10 < len(str(caught.value)) < 80 and "\n" not in str(caught.value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["name", "title", "shape", "class_names"]), PLAIN) | PLAIN)
def test_any_facts_are_a_spec_or_refused(changes):
    facts = {**COLOUR.as_facts(), **changes} if isinstance(changes, dict) else changes
    try:
        spec = DatasetSpec.from_facts(facts)
    except ValueError:
        return
    assert DatasetSpec.from_facts(spec.as_facts()) == spec
    assert all(1 <= side <= specs.MAX_SIDE for side in spec.shape)
