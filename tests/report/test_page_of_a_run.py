"""The page of a run as text: its parts, and what must not be in it."""

import base64
import json
import re
import shutil
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from report_runs import (
    EVALUATION,
    EVIL,
    HOSTILE_COLUMN,
    TOY,
    a_run,
    again,
    make_run,
    network,
    page_of,
    run,
    save_config,
    save_scores,
    save_weights_of,
    text_of,
)

from lab import files
from lab.errors import Fault
from lab.report import embedding, figures, index, page, report
from lab.runs.run import Run

__all__ = ["run"]  # the fixture


def embedded_json(html: str) -> dict:
    """The data of the page's scripts."""
    return json.loads(re.search(r'id="data">(.*?)</script>', html)[1])


def test_shows_every_part(run: Run) -> None:
    html = text_of(run)
    for wanted in ("31.4", "271.8", "PSNR, dB", "17.2", "a new figure", "bundled sample", "10.0%"):
        assert wanted in html
    for wanted in ("Real images", "0.932", "--dropout 0.3", "equal shares would be 10% each"):
        assert wanted in html
    assert "314.2" not in html
    assert "<code>cd &#39;/home/me/my lab&#39;\npython gan_lab.py --out" in html
    assert "All 10 classes are there" in html
    assert html.count('class="frame') - html.count('class="frames') == 4


def caption_of(html: str, path: Path) -> str:
    """The caption of a file of the run folder in the page."""
    source = base64.b64encode(path.read_bytes()).decode()
    return re.search(rf"{re.escape(source)}.*?<figcaption>(.*?)</figcaption>", html)[1]


def test_pictures_of_an_unfinished_run_are_not_shown_as_its_last(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    captions = {run.latent_walk_path: report.WALK_CAPTION, run.nearest_path: report.NEAREST_CAPTION}
    for level, path in enumerate(captions):
        Image.new("L", (30, 30), level).save(path)
    finished = page_of(run)
    for path, caption in captions.items():
        assert caption_of(finished, path) == caption
    assert embedding.final_grid(run) in finished
    save_config(
        run, run.config.model_copy(update={"status": "running"})
    )  # the final images are older
    html = page_of(run)
    assert embedding.final_grid(run) not in html
    assert not any(caption in html for caption in captions.values())


def test_sheets_stand_by_noise_level_each_with_its_own_title(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    results = run.restorations
    results.folder.mkdir()
    levels = {"sigma_0.9.png": 0.9, "sigma_0.1.png": 0.1, "cleaned.png": None, "sigma_0.5.png": 0.5}
    for grey, name in enumerate(levels):
        Image.new("L", (30, 30), grey).save(results.folder / name)
    sheets = {name: {"title": f"of {name}", "sigma": level} for name, level in levels.items()}
    private = {"../../private.png": {"title": "private"}}
    Image.new("L", (30, 30), 99).save(tmp_path / "private.png")
    save_scores(run, sheets | private)
    html = page_of(run)
    places = [html.index(f"<figcaption>of {name} ({name})") for name in sorted(levels)]
    assert places[1:] + places[:1] == sorted(places)  # without a level: last
    for name in levels:
        assert caption_of(html, results.folder / name).startswith(f"of {name}")
    assert "private" not in html
    save_scores(run, sheets, sha256="another's")
    assert "of sigma_0.1.png" not in page_of(run)


def test_stays_small_and_asks_for_nothing(run: Run) -> None:
    html = text_of(run)
    assert len(html) < 12e6
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    assert "url(" not in html and "@import" not in html
    assert "default-src 'none'" in html


def test_markup_in_names_and_options_is_shown_not_run(run: Run) -> None:
    html = text_of(run)
    assert EVIL not in html
    assert "&lt;script&gt;document.title" in html


def test_an_option_is_not_broken_at_its_hyphens() -> None:
    said = page.whole_options("a <b>; usual cure: --r1-gamma 1 and --ema-decay 0.9995.")
    gamma, decay = (f'<span class="option">{name}</span>' for name in ("--r1-gamma", "--ema-decay"))
    assert said == f"a &lt;b&gt;; usual cure: {gamma} 1 and {decay} 0.9995."


def test_markup_in_embedded_json_cannot_end_its_script(run: Run) -> None:
    html = text_of(run)
    assert HOSTILE_COLUMN not in html
    assert embedded_json(html)["history"][0][HOSTILE_COLUMN] == 1


def test_a_run_with_config_only_has_a_page(tmp_path: Path) -> None:
    run = Run(tmp_path)
    files.write_json(run.config_path, {"options": 3, "data": [], "machine": None})
    html = report.write(run).read_text(encoding="utf-8")
    assert "No epoch has been completed" in html
    assert "does not exist" in html  # why the generator is not shown
    assert "options, data, machine" in run.remarks[0]


def test_a_single_frame_is_no_film(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for _, path in run.grids():
        path.unlink()
    Image.new("L", (1, 1)).save(run.grid_path(1))
    html = page_of(run)
    assert 'class="frame' in html and 'id="play-film"' not in html


def test_a_picture_that_is_a_program_is_not_run(tmp_path: Path, monkeypatch) -> None:
    run, canary = make_run(tmp_path), tmp_path / "canary"
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {canary}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(ghostscript.parent), prepend=":")
    program = run.grid_path(5)
    Image.new("RGB", (9, 9)).save(program, format="EPS")
    page_of(run)
    figures.save_gif(run.film_path, [(0, program)])
    assert not canary.exists()


def test_weights_with_infinite_results_do_not_break_the_page(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    generator = network()
    for weight in generator.parameters():
        weight.data.fill_(6e4)  # finite at 16 bits, but the results are not
    generator.layers[0].weight.data[:, 0] = -6e4
    for layer in (generator.layers[0], generator.layers[-2]):
        layer.weight.data.mul_(1e30)
    save_weights_of(run, generator)
    html = page_of(run)
    assert not re.search("NaN|Infinity", re.search(r'id="data">(.*?)</script>', html)[1])
    assert embedded_json(html)["live"] is None


def test_damaged_files_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.evaluation_path.write_text("[")
    run.history_path.write_text("epoch,d_loss\n1,nan\n2,inf\n")
    run.grid_path(1).write_bytes(b"\x89PNG broken")
    (run.grid_folder / "epoch_²².png").write_bytes(b"")
    run.latent_walk_path.write_bytes(b"no picture")
    run.generator_path.write_bytes(b"no weights")
    html = page_of(run)
    assert not re.search("NaN|Infinity", re.search(r'id="data">(.*?)</script>', html)[1])
    assert embedded_json(html)["live"] is None
    run.config_path.write_text("{")
    with pytest.raises(Fault):
        report.write(again(run))


def test_damage_is_reported_once(tmp_path: Path, capsys) -> None:
    run = make_run(tmp_path)
    run.history_path.write_text("epoch\n1\ntwo\n")
    files.write_json(run.evaluation_path, {**EVALUATION, "words": 3})
    save_scores(run, {"sheet.png": {"title": 3}})
    report.write_pages(again(run))
    said = capsys.readouterr().out
    for path in (run.history_path, run.evaluation_path, run.restorations.scores_path):
        assert said.count(f"note: {path}: damaged, ignored") == 1
    assert index.path_in(tmp_path).is_file()
    assert "31.4" in text_of(run)  # the rest of evaluation.json


def test_figures_of_older_weights_are_not_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    older = {**EVALUATION, "generator_sha256": "that of others"}
    files.write_json(run.evaluation_path, older)
    (row,) = [row for row in index.table(tmp_path).splitlines() if run.name in row]
    assert "~" in row  # of the history
    assert "31.4" not in page_of(run)
    files.write_json(run.evaluation_path, {**EVALUATION, "generator_sha256": run.generator_sha256})
    assert "31.4" in page_of(run)


def test_a_run_with_figures_only_has_a_page(tmp_path: Path) -> None:
    html = page_of(a_run(tmp_path / "some run", fcd_test=3.9, recall=0.4))
    assert "Not far from real images" in html and "Fashion-MNIST" in html


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_a_run_of_an_unknown_colour_set_has_a_page(tmp_path: Path, kind: str) -> None:
    run = make_run(tmp_path, "toy-001", spec=TOY, generator=network(kind, TOY.shape))
    html = page_of(run)
    assert embedded_json(html)["live"]["shape"] == [3, 20, 20]
    assert 'id="sample" class="pixels" width="20" height="20"' in html
    assert 'id="walk" class="pixels" width="167" height="167"' in html  # 8 of 20, 7 gaps
    index.write(tmp_path)
    page = index.path_in(tmp_path).read_text(encoding="utf-8")
    assert embedding.thumbnail(run, TOY.shape) in page


def test_the_classes_are_those_of_the_weights(tmp_path: Path) -> None:
    run = make_run(tmp_path, "toy-001", spec=TOY, generator=network("mlp", TOY.shape))
    shares = {"0": 0.5, "1": 0.3, "2": 0.2, "3": 0.0}
    files.write_json(run.evaluation_path, {"confidence": 0.5, "class_histogram": shares})
    html = page_of(run)
    assert "<span>green</span>" in html and "equal shares would be 25% each" in html


def test_classes_in_turn_are_those_of_the_final_images(tmp_path: Path, monkeypatch) -> None:
    run = make_run(tmp_path, "toy-001", spec=TOY, generator=network(shape=TOY.shape, classes=4))
    said = "Classes in turn: red, green, blue, none."
    assert said in page_of(run)
    with monkeypatch.context() as patch:
        patch.setattr(report, "MAX_LISTED", 2)
        assert "Classes in turn: red, green and 2 more." in page_of(run)
    shutil.rmtree(run.final_folder)  # as with --final-images 0: the head has a grid by class
    assert said not in page_of(run)


def test_each_grid_has_its_sentence(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    shutil.copy(run.grid_path(4), run.grid_folder / "epoch_4.png")
    html = page_of(run)
    assert len(embedded_json(html)["frames"]) == html.count('<figure class="frame') == 5


def test_a_network_of_an_unknown_kind_is_not_exported(tmp_path: Path, monkeypatch) -> None:
    class Odd(torch.nn.Module):
        latent_dim = 16

    run = make_run(tmp_path)
    weights = run.load_generator()
    monkeypatch.setattr(
        Run, "load_generator", lambda self: type(weights)(**{**vars(weights), "network": Odd()})
    )
    assert "the page does not support Odd" in page_of(run)


def test_only_the_page_of_a_running_run_reloads_itself(tmp_path):
    made = make_run(tmp_path)
    made.save_status("running")
    with made.locked():
        page = page_of(made)
    written = int(re.search(r'id="alive".* data-written="(\d+)"', page)[1])
    assert abs(written - time.time()) < 60
    assert 'http-equiv="refresh"' in page and "Under way: 4 of 4 epochs" in page
    for status, said in (("running", "Stopped"), ("stopped", "Stopped"), ("diverged", "Diverged")):
        made.save_status(status)  # not locked, so it was killed
        page = page_of(made)
        assert 'id="alive"' not in page and 'http-equiv="refresh"' not in page and said in page
