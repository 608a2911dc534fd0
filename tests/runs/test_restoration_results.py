"""lab/runs/results.py: scores.json, and results that are removed when networks change."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from lab.errors import Mistake
from lab.files import is_locked
from lab.models.shipped import WEIGHTS
from lab.runs.results import Networks, RestorationResults
from lab.runs.schema import Scores, Sheet

NETWORKS = Networks("mnist", Path("generator.pth"), "of the generator", "of the denoiser")


@pytest.fixture
def results(tmp_path: Path) -> RestorationResults:
    """Results in a folder that does not exist yet."""
    return RestorationResults(tmp_path / "results")


def save(results: RestorationResults, name: str, networks=NETWORKS, **facts: object) -> None:
    sheet = Sheet(title=f"of {name}", **facts)
    results.save(name, sheet, networks, draw=lambda path: path.write_bytes(name.encode()))


def names_in(results: RestorationResults) -> set[str]:
    return {path.name for path in results.folder.glob("*.png")}


def test_saved_sheets_are_read_back_with_all_facts(results: RestorationResults) -> None:
    assert results.scores == Scores()
    scores = {"noisy": {"psnr": None, "ssim": "not a number"}, "projection": {"psnr": 17.25}}
    save(results, "b.png", sigma=0.3, scores=scores, fcd={"of some kind": 9.5}, pictures=[])
    save(results, "a.png", sigma={"one.png": 0.1, "caf\udce9.png": 0.2})
    content = json.loads(results.scores_path.read_text())
    assert list(content["sheets"]) == ["a.png", "b.png"]
    assert (content["dataset"], content["generator"]) == ("mnist", "generator.pth")
    assert content["sheets"]["b.png"] == {
        **{"title": "of b.png", "sigma": 0.3, "scores": scores, "pictures": []},
        **{
            "fcd": {"of some kind": 9.5},
            "denoiser_sha256": "of the denoiser",
            "sampler_sha256": None,
        },
    }
    again = RestorationResults(results.folder)
    assert again.scores == results.scores and not again.remarks
    assert again.scores.sheets["a.png"].sigma["caf\udce9.png"] == 0.2


def test_the_folder_is_locked_while_a_sheet_is_written(results: RestorationResults) -> None:
    held = []
    results.save("a.png", Sheet(), NETWORKS, lambda path: held.append(is_locked(path.parent)))
    assert held == [True] and not is_locked(results.folder)


def test_sheets_of_another_program_are_kept(results: RestorationResults) -> None:
    assert not results.scores.sheets  # cached from here on
    save(RestorationResults(results.folder), "a.png")
    save(results, "b.png")
    assert list(results.scores.sheets) == ["a.png", "b.png"]


def test_sheets_of_other_networks_are_removed(
    results: RestorationResults, capsys: pytest.CaptureFixture
) -> None:
    without = dataclasses.replace(NETWORKS, denoiser_sha256=None)
    save(results, "without.png", without)
    save(results, "first.png")
    save(results, "second.png", dataclasses.replace(NETWORKS, denoiser_sha256="of another"))
    assert names_in(results) == set(results.scores.sheets) == {"without.png", "second.png"}
    assert "removed, because they were made by other networks: first.png" in capsys.readouterr().out
    save(results, "third.png", without)  # without a denoiser
    assert len(results.scores.sheets) == 3
    save(results, "other.png", dataclasses.replace(NETWORKS, generator_sha256="of another"))
    assert names_in(results) == set(results.scores.sheets) == {"other.png"}


def test_the_pictures_of_a_sheet_are_removed_with_it(results: RestorationResults) -> None:
    for name in ("denoised", "projected"):
        (results.folder / name).mkdir(parents=True)
        for picture in ("one.png", "two.png", "notes.txt"):
            (results.folder / name / picture).touch()
    assert not results.scores.sheets  # cached from here on
    other = RestorationResults(results.folder)
    save(other, "own.png", pictures=["one.png", "two.png", "notes.txt", "../own.png"])
    results.remove_pictures("other.png")
    results.remove_pictures("own.png")
    (results.folder / "denoised/two.png").touch()
    save(results, "own.png", pictures=["two.png"])
    for name, kept in (("denoised", {"two.png"}), ("projected", set())):
        left = {path.name for path in (results.folder / name).iterdir()}
        assert left == {*kept, "notes.txt"}
    assert names_in(results) == {"own.png"}


@pytest.mark.parametrize("text", ['{"sheets": {"a', "[1, 2]", "\xff"])
def test_damaged_scores_are_reported_and_replaced(results: RestorationResults, text: str) -> None:
    results.folder.mkdir()
    results.scores_path.write_text(text, encoding="latin-1")
    assert results.scores == Scores()
    assert len(results.remarks) == 1 and str(results.scores_path) in results.remarks[0]
    save(results, "a.png")
    assert list(RestorationResults(results.folder).scores.sheets) == ["a.png"]


def test_a_damaged_part_is_reported_and_the_rest_is_kept(results: RestorationResults) -> None:
    results.folder.mkdir()
    sheets = {"a.png": {"title": 3, "sigma": 0.5}, "../b.png": {}}
    results.scores_path.write_text(json.dumps({"sheets": sheets}))
    assert list(results.scores.sheets) == ["a.png"]
    assert results.scores.sheets["a.png"].sigma == 0.5
    assert "damaged, ignored (title)" in results.remarks[0]


def test_the_denoiser_is_stored_with_its_generator_if_possible(
    results: RestorationResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert results.network_path(tmp_path / "generator.pth", "denoiser") == tmp_path / "denoiser.pth"
    monkeypatch.setattr("os.access", lambda *_: False)
    elsewhere = results.network_path(tmp_path / "generator.pth", "denoiser")
    assert elsewhere == results.folder / "denoiser.pth"
    (tmp_path / "denoiser.pth").touch()  # it can be read, but not replaced
    assert results.network_path(tmp_path / "generator.pth", "denoiser") == tmp_path / "denoiser.pth"


def test_pictures_that_could_be_overwritten_are_refused(results: RestorationResults) -> None:
    for folder in (results.folder, results.folder / "projected"):
        with pytest.raises(Mistake, match="would be overwritten"):
            results.check_images(folder)
    results.check_images(results.folder.parent)


def test_no_denoiser_is_stored_with_the_shipped_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(WEIGHTS)
    for folder in (WEIGHTS, Path(), Path("..", WEIGHTS.name)):
        generator = folder / "generator_mnist.pth"
        assert RestorationResults(tmp_path).network_path(generator, "denoiser").parent == tmp_path
