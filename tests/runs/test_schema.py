"""lab/runs/schema.py: damaged parts are reported and get their defaults."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lab.errors import Fault
from lab.files import write_json, write_text
from lab.runs import schema
from lab.runs.run import Run
from lab.runs.schema import (
    MAX_FIGURE,
    Config,
    DataFacts,
    Evaluation,
    Scores,
    history_as_csv,
    history_from_csv,
)

CONFIG = {
    "status": "finished",
    "written": "2026-03-01 14:05",
    "options": {"dataset": "fashion", "epochs": 4, "hidden_g": [32, 48], "data_dir": None},
    "other_than_recipe": "--dropout 0.3",
    "data": {
        **{"title": "Fashion-MNIST", "source": "data/fashion", "fingerprint": "0289e4"},
        **{"is_sample": True, "training_images": 10_000, "notices": ["2 files left out"]},
    },
    "machine": {"python": "3.12", "cores": 2},
    "command": "python gan_lab.py",
    "started_in": "/home/me/my lab",
    "resumed_by": "python gan_lab.py --resume",
}
EVALUATION = {
    **{"images": 10_000, "fcd_test": 31.4159, "precision": 0.75, "a_new_figure": 7},
    "class_histogram": {"Bag": 0.25, "Coat": 0.75},
    "real": {"fcd_test": 0.05},
    "words": ["Healthy.", "Diverse."],
    "generator_sha256": "ab12",
    "compared_with": {"set": "Fashion-MNIST", "is_sample": True, "test_images": 2_000},
    "evaluated": "2026-03-01 14:05",
    "dataset": "fashion",
    "machine": {"cores": 2},
}
SCORES = {
    **{"dataset": "mnist", "generator": "outputs/g.pth", "generator_sha256": "ab12"},
    "sheets": {
        "sigma_0.5.png": {
            **{"title": "noise", "corruption": "noise", "sigma": 0.5, "clipped": True},
            **{"images": 8, "scores": {"noisy": {"psnr": 6.02, "ssim": None, "note": "-"}}},
            **{"pictures": ["a.png"], "denoiser_sha256": "cd34", "bundled_sample": True},
            "sampler_sha256": "ef56",
        },
    },
}
KINDS = {
    "config.json": (Config, CONFIG),
    "evaluation.json": (Evaluation, EVALUATION),
    "scores.json": (Scores, SCORES),
}
PARTS = [(name, part) for name, (_, content) in KINDS.items() for part in content]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


def as_read(tmp_path_factory, name: str, content) -> tuple:
    """The record that is read from `content`, and the remarks on damaged parts."""
    path = tmp_path_factory.getbasetemp() / name
    path.write_text(json.dumps(content), encoding="utf-8")
    record = schema.read(path, KINDS[name][0], remarks := [])
    return record, remarks[0].split("(")[1].rstrip(")").split(", ") if remarks else []


def shown(record) -> dict:
    """A record as plain values, as in its file."""
    return record.as_json() if isinstance(record, Evaluation) else record.model_dump()


@pytest.mark.parametrize("name", KINDS)
def test_a_sound_file_is_read_completely(tmp_path_factory, name):
    _, content = KINDS[name]
    record, damaged = as_read(tmp_path_factory, name, content)
    assert damaged == []
    assert shown(record) == content


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_object_has_only_defaults(tmp_path_factory, name):
    record, damaged = as_read(tmp_path_factory, name, {})
    assert damaged == [] and record == type(record)()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PARTS), JSON)
def test_a_damaged_part_does_not_affect_others(tmp_path_factory, part, value):
    name, key = part
    _, content = KINDS[name]
    record, _ = as_read(tmp_path_factory, name, {**content, key: value})
    before, after = (shown(each) for each in (as_read(tmp_path_factory, name, content)[0], record))
    for other in content:
        if other != key:
            assert after.get(other) == before.get(other), other
    again, still_damaged = as_read(tmp_path_factory, name, shown(record))
    assert still_damaged == []  # a saved record is not damaged
    assert shown(again) == shown(record)


WRONG = {
    "config.json": {
        **{"status": 3, "written": "yesterday", "options": [], "other_than_recipe": None},
        **{"data": "Fashion-MNIST", "machine": {"cores": [2]}, "command": ["python"]},
        **{"resumed_by": False},
    },
    "evaluation.json": {
        **{"class_histogram": [0.25, 0.75], "real": 0.05, "words": "Healthy."},
        **{"generator_sha256": 12, "compared_with": 3, "evaluated": {}, "dataset": 1},
        **{"machine": None},
    },
    "scores.json": {"dataset": 3, "generator": {}, "generator_sha256": [], "sheets": ["a.png"]},
}


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [(name, key, value) for name, parts in WRONG.items() for key, value in parts.items()],
)
def test_damaged_parts_are_named_and_get_their_defaults(tmp_path_factory, name, key, value):
    record, damaged = as_read(tmp_path_factory, name, {**KINDS[name][1], key: value})
    assert damaged == [key]
    assert getattr(record, key) == getattr(type(record)(), key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("title", 3), ("source", None), ("is_sample", 1), ("is_sample", "yes")),
        *(("training_images", 7.5), ("training_images", True)),
    ],
)
def test_a_damaged_part_within_a_part_is_named_and_the_rest_kept(tmp_path_factory, key, value):
    content = {**CONFIG, "data": {**CONFIG["data"], key: value}}
    record, damaged = as_read(tmp_path_factory, "config.json", content)
    assert damaged == [key]
    kept = {**CONFIG["data"], key: getattr(DataFacts(), key)}
    assert record.data.model_dump() == kept


@settings(max_examples=300, deadline=None)
@example("evaluation.json", {"fcd_test": math.nan, "precision": 10**400, "recall": True})
@example("evaluation.json", {"figures": {"fcd_test": 3}})
@example("scores.json", {"sheets": {"\ud800.png": {}, "a.png": {"sigma": "\udc80"}}})
@example("config.json", {"\ud800": 1, "options": {"\udce9": "\ud800"}})
@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.text(max_size=6), JSON) | JSON)
def test_any_json_gives_a_record_or_a_fault(tmp_path_factory, name, content):
    try:
        record, damaged = as_read(tmp_path_factory, name, content)
    except Fault as fault:
        assert not isinstance(content, dict) and name in str(fault)
        return
    assert set(damaged) <= {*type(record).model_fields, *schema.Sheet.model_fields}
    figures = [*record.figures.values()] if isinstance(record, Evaluation) else []
    assert all(abs(figure) < MAX_FIGURE for figure in figures)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_record_or_a_fault(tmp_path_factory, content):
    for name, (kind, _) in KINDS.items():
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(content)
        try:
            schema.read(path, kind, [])
        except Fault as fault:
            assert name in str(fault) and "\n" not in str(fault)


def test_figures_that_are_not_finite_are_left_out(tmp_path_factory):
    changes = {"broken": math.nan, "endless": 10**400, "huge": 1e30, "text": "7", "yes": True}
    content = {**EVALUATION, **changes, "real": {"fcd_test": 0.05, **changes}}
    record, damaged = as_read(tmp_path_factory, "evaluation.json", content)
    assert set(record.figures) == {"images", "fcd_test", "precision", "a_new_figure"}
    assert record.real == {"fcd_test": 0.05}
    assert damaged == []


def test_sheets_are_files_in_their_folder(tmp_path_factory):
    sheets = {"../../private.png": {}, "a\0.png": {}, "": {}, "..": {}, "own.png": {"title": "own"}}
    record, _ = as_read(tmp_path_factory, "scores.json", {"sheets": sheets})
    assert list(record.sheets) == ["own.png"]


# history.csv


def rows_of(columns: list[str]) -> st.SearchStrategy:
    """Rows of a history: epochs from 1, and figures that some rows lack."""
    figure = st.floats(-1e20, 1e20).map(lambda value: round(value, 6))
    row = st.dictionaries(st.sampled_from(columns), figure)
    return st.lists(row, max_size=6).map(
        lambda rows: [{"epoch": epoch, **row} for epoch, row in enumerate(rows, 1)]
    )


@settings(max_examples=100, deadline=None)
@given(rows_of(["d_loss", "fcd_train_5k", 'a "quoted", name', "Häher"]))
def test_a_history_is_read_back(rows):
    assert history_from_csv(history_as_csv(rows)) == rows


def test_columns_are_in_the_order_of_their_appearance():
    text = history_as_csv([{"epoch": 1, "d_loss": 0.5}, {"epoch": 2, "fcd": 9.25, "d_loss": 0.25}])
    assert text == "epoch,d_loss,fcd\n1,0.5,\n2,0.25,9.25\n"


def test_cells_that_are_not_finite_and_rows_without_an_epoch_are_left_out():
    text = "epoch,d_loss\n1,nan\n2,inf\nnan,3\n,4\n-1,5\n3,1e30\n4,0.5\n"
    rows = [{"epoch": 1}, {"epoch": 2}, {"epoch": 3}, {"epoch": 4, "d_loss": 0.5}]
    assert history_from_csv(text) == rows


@pytest.mark.parametrize("text", ["epoch\n1,2\n", "epoch,d_loss\n1,text\n", "epoch\n\u00b2\n"])
def test_other_text_than_a_history_is_refused(text):
    with pytest.raises(ValueError):
        history_from_csv(text)


@settings(max_examples=300, deadline=None)
@example("epoch,d_loss\n1,\x00\n")
@example('epoch\n"1')
@given(st.text(alphabet='epoch,d_l1234567890.-e+naif"\n\r \t\0', max_size=80) | st.text())
def test_any_text_gives_a_history_or_a_value_error(text):
    for whole in (text, f"epoch,d_loss\n{text}"):
        try:
            rows = history_from_csv(whole)
        except ValueError:
            continue
        for row in rows:
            assert row["epoch"] >= 0
            assert all(abs(cell) < MAX_FIGURE for cell in row.values())


# Through a Run


def test_a_run_reports_damage_once(tmp_path):
    write_json(tmp_path / "config.json", {**CONFIG, "machine": 3, "status": 7})
    write_json(tmp_path / "evaluation.json", {**EVALUATION, "generator_sha256": None, "words": 3})
    write_text(tmp_path / "history.csv", "epoch\n1,2\n")
    run = Run(tmp_path)
    for _ in range(2):
        assert run.config.command == "python gan_lab.py" and run.config.status == ""
        assert run.evaluation.figures["fcd_test"] == 31.4159 and run.history == []
    config, evaluation, history = run.remarks
    assert config == f"{tmp_path / 'config.json'}: damaged, ignored (status, machine)"
    assert evaluation == f"{tmp_path / 'evaluation.json'}: damaged, ignored (words)"
    assert history.startswith(f"{tmp_path / 'history.csv'}: damaged, ignored (")


@pytest.mark.parametrize("name", ["evaluation.json", "history.csv"])
@pytest.mark.parametrize("content", [b"\xff\xfe\xff", b"[1]", b"", b"epoch\n\xff\n"])
def test_a_run_ignores_damaged_files_that_are_not_essential(tmp_path, name, content):
    write_json(tmp_path / "config.json", CONFIG)
    (tmp_path / name).write_bytes(content)
    run = Run(tmp_path)
    assert run.history == [] and run.evaluation is None
    is_empty = name == "history.csv" and content in (b"", b"[1]")  # a table without rows
    assert len(run.remarks) == (0 if is_empty else 1)
    assert all(name in remark for remark in run.remarks)


def test_a_run_without_its_config_is_a_fault(tmp_path):
    (tmp_path / "config.json").write_text("{")
    run = Run(tmp_path)
    with pytest.raises(Fault, match=r"config\.json: damaged JSON"):
        run.config  # noqa: B018
    assert (run.options, run.status) == ({}, "damaged")
