"""The report: what it says of a run folder, what it refuses, and, in a browser, what it does."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import shutil
import sys
import types
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from lab import files as storage
from lab import lock
from lab.data import datasets as data
from lab.errors import Fault, Mistake
from lab.evaluation import latent_space as stills
from lab.models import networks as models
from lab.models import serialization as tensors
from lab.report import album, index, report, tables
from lab.report import charts as curves
from lab.report import figures as images
from lab.report import summary as readings
from lab.report import web_export as live
from lab.restoration import sheets
from lab.runs import records
from lab.runs import run as runs
from lab.training import tensorboard as board

EVIL = "<script>document.title='run'</script>"
HOSTILE_COLUMN = "</script><script>alert(1)</script>"
HISTORY = [
    {"epoch": n, "seconds": 2.0, "images_per_second": 900, "d_loss": 1.2 + n / 10, "g_loss": 0.9}
    | {"d_real": 0.7 - n / 20, "d_fake": 0.3 + n / 20}
    | ({"fcd_train_5k": 90.0 / n} if n % 2 else {})
    for n in range(1, 5)
]


def make_run(outputs: Path, name: str = "fashion-001", recipe: str = "modern") -> Path:
    """A run folder as a training leaves it, with a generator that has learned nothing."""
    run = outputs / name
    (run / "generated_samples").mkdir(parents=True)
    torch.manual_seed(3)
    generator = models.Generator(16, (32, 48), batch_norm=True, output="clip").eval()
    for weight in generator.parameters():  # larger than at a start, so that images differ
        weight.data.mul_(2)
    tensors.save_weights(run / "generator.pth", generator, dataset="fashion", epoch=4)
    for epoch in (0, 1, 3, 4):
        pictures = models.generate(generator, torch.randn(25, 16) + epoch)
        images.save(run / "generated_samples" / f"epoch_{epoch:03d}.png", images.grid(pictures, 5))
    images.save_each(run / "final_generated_images", pictures[:20])
    runs.write_history(run / "history.csv", HISTORY)
    config = {
        "status": "finished",
        "options": {"dataset": "fashion", "recipe": recipe, "epochs": 4, "hidden_g": [32, 48]},
        "data": {"title": "Fashion-MNIST", "source": EVIL, "is_sample": True},
        "machine": {"cores": 2},
        "command": f"python gan_lab.py --out '{EVIL}'",
        "other_than_recipe": f"--dropout 0.3 {EVIL}",
    }
    storage.write_json(run / "config.json", config)
    return run


EVALUATION = {
    "images": 10_000,
    "fcd_test": 31.4159,
    "fcd_train": 30.0,
    "precision": 0.75,
    "recall": 0.5,
    "thin_classes": 0,
    "class_histogram": {f"class {n}": 0.1 for n in range(10)},
    "words": ["Healthy.", EVIL],
    "compared_with": {"fingerprint": "the full set's"},
    "real": {"fcd_test": 0.05, "precision": 0.9324, "recall": EVIL},
    "a_new_figure": 7,
    "broken": math.nan,
    "endless": 10**400,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything beside it, and its report."""
    outputs = tmp_path_factory.mktemp("outputs")
    run = make_run(outputs)
    runs.write_history(run / "history.csv", [row | {HOSTILE_COLUMN: 1} for row in HISTORY])
    storage.write_json(run / "evaluation.json", EVALUATION)
    classic = make_run(outputs, "fashion-002", "classic")
    compared = EVALUATION["compared_with"]
    storage.write_json(classic / "evaluation.json", {"fcd_test": 271.8, "compared_with": compared})
    sampled = make_run(outputs, "fashion-003", "classic")  # newer, but of other images
    other = {"fcd_test": 314.2, "compared_with": {"fingerprint": "the sample's"}}
    storage.write_json(sampled / "evaluation.json", other)
    scores = {"noisy": {"psnr": 6.02}, "projection": {"psnr": 17.25}}
    facts = {"sigma": 0.5, "scores": scores}
    clean = torch.zeros(2, 1, 28, 28)
    sheet = sheets.Sheet("sigma_0.5.png", "noise", [("clean", clean)], facts)
    path = run / "generator.pth"
    restorers = sheets.Restorers(path, tensors.digest(path), None)
    sample = data.read_folder("fashion", data.SAMPLE_FOLDER / "fashion")
    sheets.save(run / runs.RESULTS, restorers, sample, [sheet])
    report.write(run)
    return run


def text_of(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


# The page as text


def test_shows_every_part(run: Path) -> None:
    html = text_of(run)
    for wanted in ("31.4", "271.8", "PSNR, dB", "17.2", "a new figure", "bundled sample", "10.0%"):
        assert wanted in html
    for wanted in ("Real images", "0.932", "--dropout 0.3"):
        assert wanted in html
    assert "314.2" not in html
    assert "All 10 classes are there" in html
    assert html.count('class="frame') - html.count('class="frames') == 4


def caption_of(html: str, path: Path) -> str:
    """What stands under a picture of the run folder in its page."""
    source = base64.b64encode(path.read_bytes()).decode()
    return re.search(rf"{re.escape(source)}.*?<figcaption>(.*?)</figcaption>", html)[1]


def test_pictures_of_an_unfinished_run_are_not_shown_as_its_last(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for level, name in enumerate(report.STILLS):
        Image.new("L", (30, 30), level).save(run / name)
    finished = report.write(run).read_text(encoding="utf-8")
    for name, caption in report.STILLS.items():
        assert caption_of(finished, run / name) == caption
    assert album.final_grid(run) in finished
    config = storage.read_json(run / "config.json")
    storage.write_json(run / "config.json", {**config, "status": "running"})  # they are older
    html = report.write(run).read_text(encoding="utf-8")
    assert album.final_grid(run) not in html
    assert not any(caption in html for caption in report.STILLS.values())


def test_sheets_stand_by_noise_level_each_with_its_own_title(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    results = run / runs.RESULTS
    results.mkdir()
    levels = {"sigma_0.9.png": 0.9, "sigma_0.1.png": 0.1, "cleaned.png": None, "sigma_0.5.png": 0.5}
    for grey, name in enumerate(levels):
        Image.new("L", (30, 30), grey).save(results / name)
    sheets = {name: {"title": f"of {name}", "sigma": level} for name, level in levels.items()}
    private = {"../../private.png": {"title": "private"}}
    Image.new("L", (30, 30), 99).save(tmp_path / "private.png")
    digest = tensors.digest(run / "generator.pth")
    content = {"sheets": sheets | private, "generator_sha256": digest}
    storage.write_json(results / "scores.json", content)
    html = report.write(run).read_text(encoding="utf-8")
    places = [html.index(f"<figcaption>of {name} ({name})") for name in sorted(levels)]
    assert places[1:] + places[:1] == sorted(places)  # what has no level comes last
    for name in levels:
        assert caption_of(html, results / name).startswith(f"of {name}")
    assert "private" not in html
    storage.write_json(results / "scores.json", {**content, "generator_sha256": "another's"})
    assert "of sigma_0.1.png" not in report.write(run).read_text(encoding="utf-8")


def test_stays_small_and_asks_for_nothing(run: Path) -> None:
    html = text_of(run)
    assert len(html) < 12e6
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    assert "url(" not in html and "@import" not in html
    assert "default-src 'none'" in html


def test_markup_in_names_and_options_is_shown_not_run(run: Path) -> None:
    html = text_of(run)
    assert EVIL not in html
    assert "&lt;script&gt;document.title" in html


def test_markup_in_embedded_json_cannot_end_its_script(run: Path) -> None:
    html = text_of(run)
    assert HOSTILE_COLUMN not in html
    embedded = json.loads(re.search(r'id="data">(.*?)</script>', html)[1])
    assert embedded["history"][0][HOSTILE_COLUMN] == 1


def test_a_bare_run_has_a_page_too(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "config.json", {"options": 3, "data": [], "machine": None})
    html = report.write(tmp_path).read_text(encoding="utf-8")
    assert "No epoch has been completed" in html
    assert "does not exist" in html  # why nothing can be played with


def test_a_single_frame_is_no_film(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for path in (run / "generated_samples").glob("epoch_*.png"):
        path.unlink()
    Image.new("L", (1, 1)).save(run / "generated_samples" / "epoch_001.png")
    html = report.write(run).read_text(encoding="utf-8")
    assert 'class="frame' in html and 'id="play-film"' not in html


def test_a_picture_that_is_a_program_is_not_run(tmp_path: Path, monkeypatch) -> None:
    run, canary = make_run(tmp_path), tmp_path / "canary"
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {canary}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(ghostscript.parent), prepend=":")
    program = run / "generated_samples" / "epoch_005.png"
    Image.new("RGB", (9, 9)).save(program, format="EPS")
    report.write(run)
    images.save_gif(run / "training.gif", [(0, program)])
    assert not canary.exists()


def test_weights_that_make_no_numbers_spoil_no_page(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    generator = models.Generator(16, (32,))
    for weight in generator.parameters():
        weight.data.fill_(6e4)  # finite at 16 bits, but not what is made of it
    generator.layers[0].weight.data[:, 0] = -6e4
    for layer in (generator.layers[0], generator.layers[-1]):
        layer.weight.data.mul_(1e30)
    tensors.save_weights(run / "generator.pth", generator, dataset="fashion")
    html = report.write(run).read_text(encoding="utf-8")
    embedded = re.search(r'id="data">(.*?)</script>', html)[1]
    assert not re.search("NaN|Infinity", embedded)
    assert json.loads(embedded)["live"] is None


def test_damaged_neighbours_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "evaluation.json").write_text("[")
    (run / "history.csv").write_text("epoch,d_loss\n1,nan\n2,inf\n")
    (run / "generated_samples" / "epoch_001.png").write_bytes(b"\x89PNG broken")
    (run / "generated_samples" / "epoch_²².png").write_bytes(b"")
    (run / "latent_walk.png").write_bytes(b"no picture")
    (run / "generator.pth").write_bytes(b"no weights")
    html = report.write(run).read_text(encoding="utf-8")
    embedded = re.search(r'id="data">(.*?)</script>', html)[1]
    assert not re.search("NaN|Infinity", embedded)
    assert json.loads(embedded)["live"] is None
    (run / "config.json").write_text("{")
    with pytest.raises(Fault):
        report.write(run)


def opened_url(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def test_final_images_stand_in_whole_rows_in_their_order(tmp_path: Path) -> None:
    levels = torch.arange(25).byte().view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
    images.save_each(tmp_path / "final_generated_images", levels)
    (tmp_path / "few").mkdir()
    picture = opened_url(album.final_grid(tmp_path))
    assert picture.size == (10 * 29 - 1, 2 * 29 - 1)
    shown = [[picture.getpixel((x, y)) for x in range(5, 290, 29)] for y in (5, 34)]
    assert shown == [[(level + row, 255) for level in range(10)] for row in (0, 10)]
    images.save_each(tmp_path / "few" / "final_generated_images", levels[:9])
    assert album.final_grid(tmp_path / "few") is None


def test_a_grid_is_filled_row_by_row() -> None:
    levels = torch.arange(4).byte().view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
    picture = images.grid(levels, columns=2)
    places = [(20, 20), (150, 20), (20, 150), (150, 150)]
    assert [picture.getpixel(place) for place in places] == [0, 1, 2, 3]


def test_the_thumbnail_is_the_newest_grid(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    first, *_, last = album.film(run)
    assert album.thumbnail(run) == last["source"] != first["source"]


def test_film_thins_out_but_keeps_both_ends(tmp_path: Path) -> None:
    folder = tmp_path / "generated_samples"
    folder.mkdir()
    for epoch in range(0, 1200, 5):
        Image.new("L", (584, 584)).save(folder / f"epoch_{epoch:03d}.png")
    epochs = [frame["epoch"] for frame in album.film(tmp_path)]
    assert len(epochs) == album.MOST_FRAMES
    assert (epochs[0], epochs[-1]) == (0, 1195)
    assert epochs == sorted(set(epochs))


def test_pictures_from_elsewhere_stay_out_of_the_page(tmp_path: Path) -> None:
    run, private = make_run(tmp_path / "outputs"), tmp_path / "private.png"
    Image.new("L", (30, 30)).save(private)
    for name in ("latent_walk.png", "generated_samples/epoch_077.png"):
        (run / name).symlink_to(private)
    Image.new("L", (4400, 4400)).save(run / "generated_samples" / "epoch_078.png")
    assert album.embedded([run / "latent_walk.png"], room=10**6) == ([], [])
    assert not {77, 78} & {frame["epoch"] for frame in album.film(run)}


def test_embedding_says_what_it_has_no_room_for(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "missing.png")]
    for path in paths[:2]:
        Image.new("L", (20, 20)).save(path)
    room = 1.5 * paths[0].stat().st_size * 4 / 3 + 40
    shown, left_out = album.embedded(paths, room)
    assert [picture["name"] for picture in shown] == ["a.png"]
    assert left_out == ["b.png"]


# The list of runs


def test_list_and_index(run: Path) -> None:
    table = index.table(run.parent).splitlines()
    columns = ["name", "set", "recipe", "seed", "epochs", "status", "FCD", "when"]
    assert table[0].split() == [*columns, "other", "than", "the", "recipe"]
    assert table[1].startswith("fashion-003") and "classic" in table[1] and "314.2" in table[1]
    assert "fashion (sample)" in table[3] and " 31.4 " in table[3] and "4/4" in table[3]
    assert "--dropout 0.3" in table[3]
    for _ in range(2):
        index.write(run.parent)
    page = (run.parent / "index.html").read_text(encoding="utf-8")
    assert 'href="fashion-001/report.html"' in page
    assert "fashion-002/report.html" not in page  # it has none yet


def test_any_name_of_a_run_makes_a_link(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    report.write(run)
    run.rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    index.write(tmp_path)
    assert 'href="caf%E9/report.html"' in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_foreign_index_stays(tmp_path: Path, capsys) -> None:
    make_run(tmp_path)
    (tmp_path / "index.html").write_text("my home page")
    index.write(tmp_path)
    assert (tmp_path / "index.html").read_text() == "my home page"
    assert "not made by the lab" in capsys.readouterr().out


def test_names_from_files_do_not_steer_the_terminal(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    config = storage.read_json(run / "config.json")
    config["options"]["recipe"] = "\x1b[2Jclassic\nfashion-999"
    storage.write_json(run / "config.json", config)
    table = index.table(tmp_path)
    assert "\x1b" not in table and table.count("\n") == 2  # heading, run, note


def test_a_date_beyond_all_years_spoils_no_list(run: Path, monkeypatch) -> None:
    def beyond(_seconds: float) -> None:
        raise ValueError("year 11476 is out of range")

    monkeypatch.setattr(records, "datetime", types.SimpleNamespace(fromtimestamp=beyond))
    assert re.search(r"  \?  +--dropout", index.table(run.parent).splitlines()[1])


def test_list_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    assert "python gan_lab.py" in index.table(tmp_path / "none")


# Words and curves


def test_sentences_tell_the_epochs_apart() -> None:
    options = {"epochs": 4}
    assert "Before training" in readings.of_epoch(0, HISTORY, options)
    third = readings.of_epoch(3, HISTORY, options)
    assert "real images 0.55 and generated ones 0.45" in third and "30.0, 67% closer" in third
    assert readings.of_epoch(9, HISTORY, options) == ""
    thin = [*HISTORY[:-1], {**HISTORY[-1], "thin_classes": 3.0}]
    assert "Mode collapse" in readings.of_epoch(int(thin[-1]["epoch"]), thin, options)


@pytest.mark.parametrize(
    ("d_real", "says"),
    [(0.52, "hardly tell"), (0.6, "often tells"), (0.8, "tells most"), (0.95, "is winning")],
)
def test_the_discriminators_opinion_is_put_into_words(d_real: float, says: str) -> None:
    row = {"epoch": 1, "d_real": d_real, "d_fake": 1 - d_real}
    assert says in readings.of_epoch(1, [row], {})


def test_the_head_has_each_distance_under_its_name() -> None:
    evaluation = {"fcd_test": 31.4, "fcd_real": 0.1, "fcd_train": 30.0, "fid": 12.5}
    figures = readings.key_figures({"epochs": 4}, HISTORY, evaluation, None)
    assert figures[:2] == [("31.4", "FCD, test images"), ("0.1", "FCD of real images")]
    assert figures[2] == ("12.5", "Inception FID")


def test_durations_are_in_the_units_one_would_say() -> None:
    said = [readings.duration(seconds) for seconds in (47.6, 312, 7_390)]
    assert said == ["48 s", "5 min 12 s", "2 h 03 min"]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("finished", "4 epochs of training|After 4 epochs"),
        ("running", "Under way: 4 of 9 epochs so far"),
        ("stopped", "Stopped after 4 of 9 epochs"),
        ("diverged", "Diverged in epoch 5"),
    ],
)
def test_the_verdict_knows_how_a_run_ended(status: str, says: str) -> None:
    assert re.match(says, readings.verdict(status, {"epochs": 9}, HISTORY, {}))


def test_the_verdict_calls_nothing_real_that_is_far_from_it() -> None:
    figures = {"thin_classes": 1, "class_histogram": {"0": 0.99, "1": 0.01}, "recall": 0.4}

    def said(distance: float) -> str:
        return readings.verdict("finished", {}, HISTORY, {**figures, "fcd_test": distance})

    assert said(3.9) == (
        "Not far from real images: the distance (FCD) is 3.9. 1 of 2 classes is missing or rare. "
        "40% of real images have a similar one among the generated."
    )
    assert said(35.5).startswith("Far from") and said(35.5).endswith("missing or rare.")
    assert said(117) == "Very far from real images: the distance (FCD) is 117.0."


def test_shares_keep_their_last_digit() -> None:
    shares = [0.1205, 0.1795, *[0.1] * 7]
    assert readings.shares_of(dict(enumerate(shares))) == shares and sum(shares) != 1
    assert readings.shares_of({"0": 1, "1": 3}) == [0.25, 0.75]


def test_a_run_is_under_way_as_long_as_somebody_holds_it(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    config = {"status": "running"}
    with lock.held(tmp_path):
        assert records.status(tmp_path, config) == "running"
    assert records.status(tmp_path, config) == "stopped"
    assert records.status(tmp_path, {}) == "damaged"


def test_figures_of_older_weights_are_not_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    older = {**EVALUATION, "generator_sha256": "that of others"}
    storage.write_json(run / "evaluation.json", older)
    (row,) = [row for row in index.table(tmp_path).splitlines() if run.name in row]
    assert "~" in row  # the history's, which is of the weights there are
    assert "31.4" not in report.write(run).read_text()
    now = tensors.digest(run / "generator.pth")
    storage.write_json(run / "evaluation.json", {**EVALUATION, "generator_sha256": now})
    assert "31.4" in report.write(run).read_text()


def test_scores_stand_in_order_and_say_what_was_clipped() -> None:
    sheet = {"scores": {"noisy": {"psnr": 9.0}}}
    sheets = {f"{sigma}": {**sheet, "sigma": sigma} for sigma in (0.1, 0, 0.005)}
    sheets["0.1c"] = {**sheet, "sigma": 0.1, "clipped": True}
    rows = tables.scores({"sheets": sheets})["rows"]
    assert [sigma for sigma, *_ in rows] == ["0", "0.005", "0.1", "0.1, clipped"]
    endless = {"sheets": {"one": {"scores": {"noisy": {"psnr": None}}}}}  # of equal images
    assert tables.scores(endless)["rows"] == [("0", "noisy", ["∞"])]


def test_published_figures_are_those_of_the_set() -> None:
    for dataset, (figure, own) in {"mnist": ("6.8 ± 0.5", 4), "fashion": ("26.5 ± 1.6", 3)}.items():
        rows = tables.anchors(dataset, {"fid": 12.5})
        assert rows[0][1:] == (figure, False) and rows[own] == ("This run", "12.5", True)


def test_other_losses_make_no_probabilities_to_speak_of() -> None:
    for loss, spoken_of in (("non-saturating", True), ("least-squares", False), ("hinge", False)):
        sentence = readings.of_epoch(3, HISTORY, {"epochs": 4, "loss": loss})
        assert ("tell" in sentence) == spoken_of


def test_images_a_second_are_those_of_all_seconds() -> None:
    history = [
        {"epoch": 1, "seconds": 10.0, "images_per_second": 6000},
        {"epoch": 2, "seconds": 40.0, "images_per_second": 1500},
    ]
    figures = readings.key_figures({"epochs": 2}, history, {}, None)
    assert ("2,400", "images a second") in figures and ("50 s", "of training") in figures


def test_ticks_are_round_and_inside() -> None:
    assert [text for _, text in curves.linear_ticks(0, 1)] == ["0", "0.5", "1"]
    assert [text for _, text in curves.linear_ticks(0, 3, whole=True)] == ["0", "1", "2", "3"]
    assert [text for _, text in curves.log_ticks(0.5, 2.5)] == ["10", "30", "100", "300"]
    ticks = curves.log_ticks(math.log10(0.9), math.log10(4.2))
    assert [text for _, text in ticks] == ["1", "2", "3", "4"]  # not 0.9 and 1, one over the other
    for low, high in ((0.0, 1e-9), (-5.0, 9.0), (math.log10(20), math.log10(21)), (0.0, 1e29)):
        for kind in (curves.linear_ticks, curves.log_ticks)[: 1 if high > 10 else 2]:
            ticks = kind(low, high)
            assert 1 < len(ticks) < 8 and all(
                low <= value <= high * (1 + 1e-9) for value, _ in ticks
            )


def test_curves_and_ticks_are_higher_where_figures_are() -> None:
    charts = {chart.title: chart for chart in curves.charts(HISTORY)}
    opinions = charts["Discriminator’s opinion"]
    labels = {curve.column: curve.label for curve in opinions.curves}
    assert labels == {"d_real": "D(x), real", "d_fake": "D(G(z)), generated"}
    for curve in opinions.curves:
        places = [(25 * row["epoch"], 100 * (1 - row[curve.column])) for row in HISTORY]
        assert curve.dots == [pytest.approx(place) for place in places]  # from left and top
    assert (0.0, "1") in opinions.y_ticks
    (quality,) = charts["Quality"].curves  # 90 and 30, on a logarithmic scale
    (_, at_90), (_, at_30) = quality.dots
    for place, text in charts["Quality"].y_ticks:
        share = (math.log(float(text)) - math.log(30)) / (math.log(90) - math.log(30))
        assert place == pytest.approx(at_30 + share * (at_90 - at_30), abs=0.01)
    assert at_30 > at_90 and len(charts["Quality"].y_ticks) > 1


def test_long_curves_are_thinned_out_and_keep_their_end() -> None:
    points = [(float(n), 0.0) for n in range(curves.MOST + 2)]
    thin = curves.thinned(points)
    assert len(thin) <= curves.MOST and thin[-1] == points[-1]


def test_a_constant_history_is_drawn() -> None:
    rows = [{"epoch": 1.0, "d_loss": 0.0, "g_loss": 0.0}]
    (chart,) = curves.charts(rows)
    assert "nan" not in chart.curves[0].points


# The generator as operations


def unsettled(generator: models.Generator) -> models.Generator:
    """With normalisations that have seen something."""
    for _ in range(5):
        generator(3 + 2 * torch.randn(20, generator.latent_dim))
    return generator


@pytest.mark.parametrize(
    "generator",
    [
        models.Generator(16, (32, 48)),
        models.Generator(16, (32,), True, "relu"),
        models.Generator(16, (32,), channels=(6, 4)),
        models.Generator(16, (32,), output="clip"),
        unsettled(models.Generator(16, (32,), True, "relu", (6, 4))),
    ],
    ids=["plain", "batch norm", "convolutions", "clipped", "both"],
)
def test_operations_make_the_networks_images(
    generator: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_LEVELS_OFF", 1)
    exported = live.export(generator.eval())  # compares the two: Unsuited beyond that
    numbers = sum(math.prod(s) for step in exported.operations for s in step["shapes"])
    assert len(exported.weights) == 2 * numbers
    assert len(exported.directions) == live.DIRECTIONS
    assert exported.shares == sorted(exported.shares, reverse=True)


def test_a_copy_that_makes_other_images_is_not_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "evaluate", lambda operations, latents: [torch.zeros(64, 784)])
    with pytest.raises(live.Unsuited, match="grey levels"):
        live.export(models.Generator(16, (32,)).eval())


def test_directions_move_the_first_layer_most() -> None:
    torch.manual_seed(0)
    generator = models.Generator(16, (32, 48)).eval()
    operations = live.operations_of(generator)
    directions, _ = live.principal_directions(operations, 16)
    random = torch.nn.functional.normalize(torch.randn(200, 16), dim=1)
    towards = torch.nn.functional.normalize(directions[:1], dim=1)
    latents = torch.randn(500, 16)

    def moved(ways: torch.Tensor) -> torch.Tensor:
        results = [live.evaluate(operations[:2], latents + step * ways) for step in (0.5, -0.5)]
        return (results[0][-1] - results[1][-1]).norm(dim=1).mean()

    assert moved(towards) > 1.2 * torch.stack([moved(way[None]) for way in random]).mean()


def test_unknown_networks_are_refused_with_the_reason() -> None:
    odd = models.Generator(16, (32,)).eval()
    odd.layers[1] = nn.SiLU()
    with pytest.raises(live.Unsuited, match="SiLU"):
        live.export(odd)
    with pytest.raises(live.Unsuited, match="MB"):
        live.export(models.Generator(100, (2048, 2048)).eval())
    loud = models.Generator(16, (32,)).eval()
    loud.layers[0].weight.data.mul_(1e9)  # beyond what 16 bits hold
    with pytest.raises(live.Unsuited, match="not numbers"):
        live.export(loud)


def test_a_run_of_its_own_name_is_listed_last(tmp_path: Path) -> None:
    make_run(tmp_path, "fashion-002").rename(tmp_path / "my best")
    make_run(tmp_path, "fashion-001")
    (tmp_path / "evaluation-001").mkdir()
    assert [run.name for run in runs.all_runs(tmp_path)] == ["fashion-001", "my best"]
    assert runs.check_run("--run", Path("my best"), tmp_path) == tmp_path / "my best"
    assert "my best" in index.table(tmp_path)


def test_opinions_are_no_probabilities_with_every_loss() -> None:
    notes = {
        loss: [chart.note for chart in curves.charts(HISTORY, loss)]
        for loss in ("non-saturating", "hinge")
    }
    assert any("probability it gives" in note for note in notes["non-saturating"])
    assert not any("probability it gives" in note for note in notes["hinge"])


def test_the_list_says_which_distance_was_measured_how() -> None:
    history = [{"epoch": 1.0, "fcd_train_5k": 30.0}, {"epoch": 2.0}]
    assert readings.fcd({}, history) == "~30.0"
    assert readings.fcd({"fcd_test": 31.44, "fcd_train": 29.0}, history) == "31.4"
    assert readings.fcd({}, []) == ""


# Stills and TensorBoard


def test_slerp_keeps_to_the_sphere() -> None:
    start, end = torch.eye(2)
    walk = stills.slerp(start, end, torch.linspace(0, 1, 5))
    assert torch.allclose(walk.norm(dim=1), torch.ones(5))
    assert torch.allclose(walk[[0, -1]], torch.eye(2), atol=1e-6)
    assert torch.allclose(stills.slerp(start, 2 * start, torch.tensor([0.5])), 1.5 * start)


def test_nearest_finds_the_planted_copy() -> None:
    images_there = torch.randint(0, 256, (50, 1, 28, 28), dtype=torch.uint8)
    found = images_there[[7, 33]].clone()
    found[:, :, 0, 0] ^= 3
    assert stills.nearest(found, images_there).tolist() == [7, 33]


def test_stills_are_written(tmp_path: Path) -> None:
    image_set = data.read_folder("fashion", data.SAMPLE_FOLDER / "fashion")
    stills.write(tmp_path, models.Generator(16, (32,)).eval(), image_set)
    for name in report.STILLS:
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 500


def test_the_nearest_training_images_stand_below_what_they_are_near_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {}
    monkeypatch.setattr(
        images, "save_sheet", lambda path, rows, *_: drawn.update({path.name: rows})
    )
    sample = data.read_folder("fashion", data.SAMPLE_FOLDER / "fashion")
    generator = models.Generator(16, (32,)).eval()
    stills.write(tmp_path, generator, sample)
    (above, made), (below, near) = drawn["nearest_training_images.png"]
    assert (above, below) == ("generated", "nearest real")
    assert torch.equal(near, sample.train_images[stills.nearest(made, sample.train_images)])


def test_tensorboard_is_asked_for_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Mistake, match=r"--tensorboard.*pip install tensorboard"):
        board.check()


def test_tensorboards_histograms_are_of_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    written = {}

    class Writer:
        def __init__(self, folder: str) -> None: ...

        def add_histogram(self, name: str, values: torch.Tensor, epoch: int) -> None:
            written[name] = values

    module = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    discriminator = models.Discriminator((8,), dropout=0.5)
    shown = [torch.full((1, 1, 28, 28), level).byte() for level in (255, 0)]
    board.Board(Path("none")).opinions(1, discriminator, *shown)
    assert discriminator.training
    discriminator.eval()  # without dropout
    for name, image in zip(("D(x)", "D(G(z))"), shown, strict=True):
        assert torch.equal(written[name], discriminator(data.to_float(image)).sigmoid())


def test_tensorboard_gets_scalars_grid_and_histograms(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the optional tensorboard package is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    pictures = torch.zeros(4, 1, 28, 28, dtype=torch.uint8)
    with board.Board(tmp_path) as screen:
        screen.row(HISTORY[0])
        screen.grid(1, images.grid(pictures, 2))
        screen.opinions(1, models.Discriminator((8,)), pictures, pictures)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"d_loss", "fcd_train_5k"} <= set(tags["scalars"])
    assert tags["images"] == ["samples"]
    assert set(tags["histograms"]) == {"D(x)", "D(G(z))"}


# In a browser


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
ALL_LEVELS = "latents => window.lab.generate(latents)"
PICTURE = "id => document.getElementById(id).toDataURL()"
CORNER = """id => {
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 28;
    canvas.getContext('2d').drawImage(document.getElementById(id), 0, 0);
    return canvas.toDataURL();
}"""


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; without it, or without Playwright, these tests are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser, run: Path):
    """The report, opened once; in the end it must have said nothing and asked for nothing."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(15_000)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((run / "report.html").as_uri())
    page.wait_for_selector(".playable")
    yield page
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.url]
    page.close()


def test_slider_moves_grid_cursor_and_words(page) -> None:
    def state() -> tuple[str, str, str]:
        return (
            page.get_attribute(".frame.current img", "src"),
            page.get_attribute(".chart .cursor", "x1"),
            page.inner_text("#film-sentence"),
        )

    page.focus("#film-slider")
    page.keyboard.press("End")
    last = state()
    assert last[1] == "100"
    page.keyboard.press("Home")
    first = state()
    assert first[1] == "0" and "Before training" in first[2]
    page.keyboard.press("ArrowRight")
    second = state()
    assert second[1] == "25"
    assert len({first[0], second[0], last[0]}) == 3
    assert page.locator(".frame:visible").count() == 1


def test_chart_and_play_button_move_the_film(page) -> None:
    page.locator(".chart svg").nth(1).click(position={"x": 2, "y": 50})
    assert page.inner_text("#film-epoch") == "epoch 0"
    page.click("#play-film")
    page.wait_for_selector("#film-epoch:has-text('epoch 4')")


def test_pages_pixels_are_pytorchs(page, run: Path) -> None:
    generator, _ = tensors.load_weights(run / "generator.pth", models.Generator)
    latents = torch.randn(13, 16, generator=torch.Generator().manual_seed(5))
    found = torch.tensor(page.evaluate(ALL_LEVELS, latents.tolist()))
    wanted = models.generate(generator, latents).flatten(1).int()
    assert wanted.float().std() > 30  # not a grey nothing, on which anything agrees
    assert (found - wanted).abs().max() <= 2


@pytest.mark.parametrize(
    "kind",
    [
        partial(models.Generator, batch_norm=True, activation="relu"),
        partial(models.Generator, channels=(6, 4)),
        partial(models.Generator, output="clip"),
    ],
)
def test_every_operation_runs_in_the_page_forwards_and_backwards(page, kind) -> None:
    torch.manual_seed(1)
    generator = unsettled(kind(16, (32,))).eval()
    exported = live.export(generator)
    facts = {"operations": exported.operations, "latent": 16, "side": 28}
    steps = live.operations_of(generator)
    for step in steps:
        step.weights = [weight.half().double() for weight in step.weights]
    latents = torch.randn(3, 16, dtype=torch.float64, requires_grad=True)
    pixels = live.evaluate(steps, latents)[-1]
    upstream = torch.randn_like(pixels)
    pixels.backward(upstream)
    found = page.evaluate(
        """([facts, weights, latents, upstream]) => {
            const network = new Generator(facts, decodeWeights(weights));
            const results = network.results(Float32Array.from(latents));
            const gradient = network.gradient(results, Float32Array.from(upstream));
            return [[...results[results.length - 1]], [...gradient]];
        }""",
        [
            facts,
            base64.b64encode(exported.weights).decode(),
            latents.detach().flatten().tolist(),
            upstream.flatten().tolist(),
        ],
    )
    for mine, exact in zip(found, (pixels, latents.grad), strict=True):
        exact = exact.detach().flatten()
        assert torch.allclose(torch.tensor(mine).double(), exact, atol=1e-4 * exact.abs().max())


def test_sampling_and_steering_change_the_picture(page) -> None:
    before = page.evaluate(PICTURE, "sample")
    page.click("#new-sample")
    after = page.evaluate(PICTURE, "sample")
    assert before != after
    page.locator(".direction").first.focus()
    page.keyboard.press("End")
    assert page.evaluate(PICTURE, "sample") != after
    page.click("#centre")
    assert page.evaluate(PICTURE, "sample") == after
    page.locator("#strip button").nth(1).click()
    assert page.evaluate(PICTURE, "sample") == before


def test_walk_by_dragging_and_by_keys(page) -> None:
    area = page.locator("#walk-area")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    page.mouse.up()
    assert page.inner_text("#walk-place") == "0% to the right, 0% down"
    grid, here = page.evaluate(PICTURE, "walk"), page.evaluate(PICTURE, "walk-here")
    assert page.evaluate(CORNER, "walk") == here  # the marker shows the very image of its corner
    area.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(PICTURE, "walk-here") != here
    page.click("#new-corners")
    assert page.evaluate(PICTURE, "walk") != grid


def test_descent_restores(page) -> None:
    def decibels(id: str) -> float:
        return float(page.inner_text(id).removesuffix(" dB"))

    page.click("#project")
    page.wait_for_selector("#project:has-text('Restore again')")
    assert decibels("#psnr-restored") > decibels("#psnr-noisy") + 3
    page.locator("#sigma").focus()
    page.keyboard.press("End")
    assert page.inner_text("#psnr-restored") == ""
    assert page.inner_text("#sigma-value") == "1.00"
    assert decibels("#psnr-noisy") == pytest.approx(0, abs=0.5)  # 20 log10(1 / 1)


def test_nothing_hangs_over_the_edge(page) -> None:
    for width in (1280, 860, 375):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_dark_and_light_are_two(page) -> None:
    papers = set()
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(papers) == 2


def test_script_in_an_option_has_not_run(page) -> None:
    assert page.title() == "fashion-001 · Fashion-MNIST · GAN Lab"
    assert "document.title='run'" in page.inner_text(".command")
