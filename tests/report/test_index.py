"""lab/report/index.py: the page of all runs; --list and --report."""

import errno
import os
from functools import partial
from pathlib import Path

import pytest
from report_runs import a_run, make_run, page_of, run, save_config

from lab.errors import Mistake
from lab.report import index, report, summary
from lab.runs.run import Run

__all__ = ["run"]  # the fixture


def test_list_and_index(run: Run) -> None:
    table = index.table(run.outputs).splitlines()
    columns = ["name", "set", "recipe", "seed", "epochs", "status", "FCD", "when"]
    assert table[0].split() == [*columns, "changes", "to", "the", "recipe"]
    assert table[1].startswith("fashion-003") and "classic" in table[1] and "314.2" in table[1]
    assert "fashion (sample)" in table[3] and " 31.42 " in table[3] and "4/4" in table[3]
    assert "--dropout 0.3" in table[3] and "2026-03-01 14:05" in table[3]
    for _ in range(2):
        index.write(run.outputs)
    page = index.path_in(run.outputs).read_text(encoding="utf-8")
    assert 'href="fashion-001/report.html"' in page
    assert "fashion-002/report.html" not in page  # without a report


def test_any_name_of_a_run_makes_a_link(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    page_of(run)
    run.path.rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    index.write(tmp_path)
    assert 'href="caf%E9/report.html"' in index.path_in(tmp_path).read_text(encoding="utf-8")


def test_an_index_of_another_program_is_kept(tmp_path: Path, capsys) -> None:
    make_run(tmp_path)
    index.path_in(tmp_path).write_text("my home page")
    index.write(tmp_path)
    assert index.path_in(tmp_path).read_text() == "my home page"
    assert "not written by the lab" in capsys.readouterr().out


def test_names_from_files_do_not_steer_the_terminal(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    options = {**run.options, "recipe": "\x1b[2Jclassic\nfashion-999"}
    save_config(run, run.config.model_copy(update={"options": options}))
    table = index.table(tmp_path)
    assert "\x1b" not in table and table.count("\n") == 2  # heading, run, note


def test_a_run_without_a_date_is_listed(tmp_path: Path) -> None:
    make_run(tmp_path)
    a_run(tmp_path / "fashion-002")
    assert index.table(tmp_path).splitlines()[1].endswith("?")


def test_a_damaged_run_is_listed_not_fatal(tmp_path: Path) -> None:
    make_run(tmp_path, "fashion-001")
    make_run(tmp_path, "fashion-002").config_path.write_text("{")
    index.write(tmp_path)
    assert "damaged" in index.table(tmp_path).splitlines()[1]
    assert "2 runs" in index.path_in(tmp_path).read_text(encoding="utf-8")


def test_list_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    assert "python gan_lab.py" in index.table(tmp_path / "none")


def test_a_run_without_a_number_is_listed_last(tmp_path: Path) -> None:
    make_run(tmp_path, "fashion-002").path.rename(tmp_path / "my best")
    make_run(tmp_path, "fashion-001")
    (tmp_path / "evaluation-001").mkdir()
    assert Run.open("--run", Path("my best"), tmp_path).path == tmp_path / "my best"
    assert "my best" in index.table(tmp_path)


def test_the_list_marks_distances_measured_during_training(tmp_path: Path) -> None:
    history = [{"epoch": 1.0, "fcd_train_5k": 30.0}, {"epoch": 2.0}]
    assert summary.fcd_text(a_run(tmp_path / "a", history=history)) == "~30.00"
    scored = a_run(tmp_path / "b", history=history, fcd_test=31.44, fcd_train=29.0)
    assert summary.fcd_text(scored) == "31.44"
    assert summary.fcd_text(a_run(tmp_path / "c", history=[])) == ""
    without_labels = [{"epoch": 1.0, "frd_train_5k": 30.0}, {"epoch": 2.0}]
    assert summary.fcd_text(a_run(tmp_path / "d", history=without_labels)) == "FRD ~30.00"
    scored = a_run(tmp_path / "e", history=without_labels, frd_test=31.44)
    assert summary.fcd_text(scored) == "FRD 31.44"
    index.write(tmp_path)
    page = index.path_in(tmp_path).read_text(encoding="utf-8")
    assert "<b>FRD 31.44</b>" in page and "<b>FCD 31.44</b>" in page


def test_report_and_list_options(tmp_path: Path, capsys) -> None:
    run = make_run(tmp_path)
    report.look_at_runs(tmp_path, None, list_runs=True)
    assert run.name in capsys.readouterr().out
    assert not run.report_path.exists() and not index.path_in(tmp_path).exists()
    report.look_at_runs(tmp_path, Path(run.name), list_runs=False)
    assert f"done: {run.report_path}" in capsys.readouterr().out
    assert run.report_path.is_file() and index.path_in(tmp_path).is_file()
    make_run(tmp_path, "fashion-002")
    report.look_at_runs(tmp_path, None, list_runs=True)
    assert "fashion-002" in index.path_in(tmp_path).read_text(encoding="utf-8")


def test_runs_are_listed_where_nothing_can_be_written(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int, path: Path, _: str) -> None:
        raise OSError(number, os.strerror(number), str(path))

    run = make_run(tmp_path)
    index.write(tmp_path)
    for number in (errno.EROFS, errno.EACCES):
        monkeypatch.setattr(index, "write_text", partial(refuse, number))
        report.look_at_runs(tmp_path, None, list_runs=True)
        said = capsys.readouterr().out
        assert run.name in said and "so the page of all runs is not up to date" in said
    monkeypatch.setattr(index, "write_text", partial(refuse, errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        report.look_at_runs(tmp_path, None, list_runs=True)
    assert run.name in capsys.readouterr().out


def test_report_and_list_of_nothing_are_mistakes(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"--out .*none: there is no such folder"):
        report.look_at_runs(tmp_path / "none", None, list_runs=True)
    (tmp_path / "file").touch()
    with pytest.raises(Mistake, match="is not a folder"):
        report.look_at_runs(tmp_path / "file", None, list_runs=True)
    with pytest.raises(Mistake, match=r"--report .*is not a run folder"):
        report.look_at_runs(tmp_path, tmp_path, list_runs=False)
    (foreign := tmp_path / "model").mkdir()
    (foreign / "config.json").write_text('{"vocabulary": 30000}')
    with pytest.raises(Mistake, match=r"--report .*model: is not a run folder \(no config.json of"):
        report.look_at_runs(tmp_path, foreign, list_runs=False)
    assert index.table(tmp_path).startswith("no runs in ")
    assert len(list(foreign.iterdir())) == 1 and not index.path_in(tmp_path).exists()
