"""gan_lab.py on the bundled sample, in a subprocess where that matters."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
import re
import shlex
import shutil
import signal
import sys
import time
import typing
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLE, TINY, call, run, score_few, start
from PIL import Image

import denoise_images
import gan_lab
from lab.data import datasets, sources
from lab.data.datasets import load_sample
from lab.data.pixels import to_float
from lab.errors import Fault, Interrupted, run_script
from lab.evaluation import classifiers
from lab.evaluation.evaluator import Evaluator
from lab.files import read_json, write_json
from lab.models import generate
from lab.models.serialization import load_weights
from lab.models.tensor_files import read_tensors, write_tensors
from lab.options import flag_of
from lab.report import charts, figures, results
from lab.runs import Run
from lab.seeding import stream
from lab.training import STEP_FIGURES, plan
from lab.training.progress import ProgressBar
from lab.training.state import FORMAT


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder / "generator.pth", "generator").network.state_dict()


def test_a_run_has_all_its_files(tiny_run):
    config = json.loads((tiny_run / "config.json").read_text())
    assert config["status"] == "finished"
    assert config["options"]["seed"] == 5 and config["options"]["epochs"] == 3
    assert config["data"]["is_sample"] is True
    with (tiny_run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    promised = {"seconds", "images_per_second", "d_loss", "g_loss", "d_real", "d_fake"}
    assert promised <= set(rows[0])

    grids = sorted(path.name for path in (tiny_run / "generated_samples").iterdir())
    assert grids == ["epoch_000.png", "epoch_002.png", "epoch_003.png"]
    for grid in grids:
        with Image.open(tiny_run / "generated_samples" / grid) as picture:
            assert picture.size == (584, 584)
    finals = sorted((tiny_run / "final_generated_images").iterdir())
    assert [path.name for path in finals] == [f"img_{number:03d}.png" for number in range(100)]
    for path in finals:
        with Image.open(path) as picture:
            assert picture.size == (28, 28) and picture.mode == "L"
    with Image.open(tiny_run / "training.gif") as film:
        assert film.n_frames == 3 and film.info["loop"] == 0
        film.seek(2)
        assert film.info["duration"] == 2000  # the last frame is longer
    with Image.open(tiny_run / "loss_curves.png") as curves:
        assert curves.width > 600

    weights = load_weights(tiny_run / "generator.pth", "generator")
    generator = weights.network
    assert generator(torch.zeros(2, 16)).shape == (2, 1, 28, 28)
    assert weights.spec is datasets.DATASETS["fashion"]
    load_weights(tiny_run / "discriminator.pth", "discriminator")
    assert not list(tiny_run.rglob("*.part"))
    assert "<h1>fashion-001</h1>" in (tiny_run / "report.html").read_text()
    assert "fashion-001/report.html" in (tiny_run.parent / "index.html").read_text()


def test_the_saved_generator_is_the_average_and_made_the_images(tiny_run, tmp_path, monkeypatch):
    score_few(monkeypatch)
    generator = load_weights(tiny_run / "generator.pth", "generator").network
    kept = read_tensors(tiny_run / "checkpoint.pth", FORMAT)["networks"]
    for name, weight in generator.state_dict().items():
        assert torch.equal(weight, kept["ema"][name])
        assert not torch.equal(weight, kept["generator"][name])
    grid, final = (
        generate(generator, torch.randn(count, 16, generator=stream(5, purpose)))
        for purpose, count in (("grid", 25), ("final", 100))
    )
    for path, wanted in (
        ("generated_samples/epoch_003.png", figures.grid(grid, 5).tobytes()),
        ("final_generated_images/img_042.png", final[42].numpy().tobytes()),
    ):
        with Image.open(tiny_run / path) as found:
            assert found.tobytes() == wanted, path
    dataset = load_sample("fashion")
    results.save_pictures(Run(tmp_path), generator, Run(tiny_run).history, dataset, "", "hinge")
    walk = (tmp_path / "latent_walk.png").read_bytes()
    assert walk == (tiny_run / "latent_walk.png").read_bytes()
    last = Run(tiny_run).history[-1]
    scored = Evaluator(dataset, torch.device("cpu")).quick(generator)
    assert {name: last[name] for name in scored} == pytest.approx(scored)


def test_same_seed_same_bytes_and_more_grids_change_no_weight(tiny_run, tmp_path):
    arguments = ("--out", tmp_path, "--epochs", 3, "--sample-every", 1, "--seed", 5, *TINY)
    assert run("gan_lab.py", *arguments, cwd=tmp_path).returncode == 0
    again = tmp_path / "fashion-001"
    one, two = weights_of(tiny_run), weights_of(again)
    assert all(torch.equal(one[name], two[name]) for name in one)
    for name in ("discriminator.pth", "final_generated_images/img_042.png"):
        assert (tiny_run / name).read_bytes() == (again / name).read_bytes()
    for name in ("epoch_000.png", "epoch_002.png", "epoch_003.png"):
        path = Path("generated_samples") / name
        assert (tiny_run / path).read_bytes() == (again / path).read_bytes()


def test_another_seed_gives_other_weights_and_the_plan_is_printed(tiny_run, tmp_path, capfd):
    call(gan_lab, "--out", tmp_path, "--epochs", 1, "--seed", 6, *TINY)
    said = capfd.readouterr().out
    assert "BUNDLED SAMPLE" in said
    assert re.search(
        r"epoch 1/1  d_loss \d\.\d+  g_loss \d\.\d+  D\(x\) 0\.\d+  D\(G\(z\)\) 0\.\d+ .*images/s",
        said,
    )
    one, two = weights_of(tiny_run), weights_of(tmp_path / "fashion-001")
    assert not any(torch.equal(one[name], two[name]) for name in one)


def test_a_dry_run_counts_parameters_and_writes_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    call(gan_lab, "--dry-run", "--out", tmp_path / "new")
    said = capfd.readouterr().out
    assert "723,856" in said and "593,153" in said
    assert list(tmp_path.iterdir()) == []


def test_lab_sheet_d_runs_with_its_options(tmp_path):
    call(
        *(gan_lab, "--recipe", "classic", "--dataset", "mnist", "--epochs", 1, "--batch-norm"),
        *("--activation", "relu", "--dropout", 0.3, "--label-smoothing", 0.1, "--out", tmp_path),
        *TINY,
    )
    generator = load_weights(tmp_path / "mnist-001" / "generator.pth", "generator").network
    kinds = [type(layer).__name__ for layer in generator.layers]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "Unflatten"]


def test_a_convolutional_pair_is_trained_and_used_like_any_other(tmp_path, monkeypatch, capfd):
    maps = ("--channels-g", 8, 4, "--channels-d", 4, 8)
    small = ("--images-shown", 1000, "--out", tmp_path, *TINY)
    call(gan_lab, "--recipe", "dcgan", *maps, *small)
    folder = tmp_path / "fashion-001"
    generator = load_weights(folder / "generator.pth", "generator").network
    assert [layer for layer in generator.layers if isinstance(layer, torch.nn.ConvTranspose2d)]
    monkeypatch.setattr(denoise_images, "find_evaluator", lambda *_: None)  # to save time
    call(denoise_images, "--run", folder, "--count", 2, "--steps", 5, "--sigma", 0.3)
    assert "projection" in capfd.readouterr().out


def test_a_conditional_run_has_one_row_per_class_and_can_be_resumed(tmp_path):
    arguments = ("--conditional", "--epochs", 1, "--final-images", 12, "--out", tmp_path, *TINY)
    call(gan_lab, *arguments)
    folder = tmp_path / "fashion-001"
    call(gan_lab, "--resume", folder, "--epochs", 2)
    with Image.open(folder / "generated_samples" / "epoch_002.png") as grid:
        assert grid.size == (1164, 1164)  # ten classes, ten latents
        shown = torch.tensor(np.array(grid.resize((291, 291), Image.NEAREST)))
    generator = load_weights(folder / "generator.pth", "generator").network
    latents = torch.randn(10, 16, generator=stream(0, "grid"))
    row = generate(generator, latents, torch.full((10,), 7))  # sneakers
    assert torch.equal(shown[1 + 7 * 29 : 8 * 29, 1 + 29 : 2 * 29], row[1, 0])
    names = sorted(path.name for path in (folder / "final_generated_images").iterdir())
    assert (names[0], names[9], names[11]) == (
        *("img_000_t-shirt.png", "img_009_ankle-boot.png"),
        "img_011_trouser.png",
    )
    assert "Classes in turn: T-shirt, Trouser," in (folder / "report.html").read_text()


# The training loop


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """The history of a run with empty steps, their arguments, and its curves."""
    outputs, steps, curves = tmp_path_factory.mktemp("watched"), [], []

    def step(options, state, real, labels, penalised):
        rates = state.optimizer_g.lr, state.optimizer_d.lr
        steps.append((real, rates, torch.get_float32_matmul_precision()))
        return torch.tensor([1.0, 2.0, 0.6, 0.4])

    arguments = ("--out", outputs, "--epochs", 4, "--lr-d", 5e-4, "--loss", "hinge", *TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_lab, "train_step", step)
        patch.setattr("lab.device._instructions", lambda: "AVX512")
        patch.setattr(charts, "save_curves", lambda *given: curves.append(given))
        call(gan_lab, *arguments)
    return Run(outputs / "fashion-001").history, steps, curves


def test_an_epoch_shows_every_training_image_once_in_a_new_order(watched):
    _, steps, _ = watched
    shown = to_float(load_sample("fashion").train_images)
    there = shown.flatten(1).sum(1)
    epochs = torch.cat([real for real, *_ in steps]).flatten(1).sum(1).view(4, -1)
    assert torch.equal(epochs.sort().values, there.sort().values.expand(4, -1))
    orders = [there, *epochs]
    assert not any(torch.equal(one, two) for one, two in itertools.combinations(orders, 2))


def test_history_has_the_mean_of_each_epochs_steps(watched):
    history, *_ = watched
    for row in history:
        assert [row[name] for name in STEP_FIGURES] == pytest.approx([1, 2, 0.6, 0.4])


def test_rates_and_precision_reach_every_step(watched):
    _, steps, _ = watched
    rates = [rates for _, rates, _ in steps]
    assert rates[:56] == [(1e-3, 5e-4)] * 56
    assert all(rate_g < 1e-3 and rate_d < 5e-4 for rate_g, rate_d in rates[57:])
    assert {precision for *_, precision in steps} == {"medium"}  # bfloat16, where it is fast


def test_curves_suit_the_loss(watched):
    ((_, history, title, loss, footnote),) = watched[-1]
    assert len(history) == 4 and loss == "hinge" and "BUNDLED SAMPLE" in footnote
    assert title == "fashion-001: Fashion-MNIST, modern recipe, seed 0"


# Stopping and resuming


SLOW = (
    *("--epochs", 4, "--sample-every", 2, "--seed", 3, *TINY, "--batch-size", 50),
    *("--dropout", 0.2),
)


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    # Kill -9 and SIGTERM, at random moments: benchmarks/faults.py, of which tests try a sample.
    straight = tmp_path / "straight" / "fashion-001"
    call(gan_lab, "--out", straight.parent, *SLOW)
    process = start("gan_lab.py", "--out", tmp_path / "broken", *SLOW, cwd=tmp_path)
    folder = tmp_path / "broken" / "fashion-001"
    while not (folder / "history.csv").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.count("\n") == 1 and f"--resume {folder}" in said
    assert "Stopped after" in (folder / "report.html").read_text(encoding="utf-8")
    assert (folder.parent / "index.html").is_file()
    facts = load_weights(folder / "generator.pth", "generator").facts
    assert facts["epoch"] == len(Run(folder).history)

    call(gan_lab, "--out", tmp_path / "broken", "--resume")
    same_run(straight, folder)
    config = json.loads((folder / "config.json").read_text())
    assert "--epochs 4" in config["command"] and "--resume" in config["resumed_by"]
    assert not {"resume", "dry_run", "list", "report"} & set(config["options"])


def same_run(one: Path, two: Path) -> None:
    """Assert that two runs are equal bit for bit, except for times and dates."""
    for name in ("generator.pth", "discriminator.pth", "training.gif"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    grids = [path.name for path in sorted((one / "generated_samples").iterdir())]
    assert grids == [path.name for path in sorted((two / "generated_samples").iterdir())]
    rows = []
    for folder in (one, two):
        with (folder / "history.csv").open() as file:
            rows.append(list(csv.DictReader(file)))
        for row in rows[-1]:
            del row["seconds"], row["images_per_second"]
    assert rows[0] == rows[1]


# --minutes


def test_the_printed_command_repeats_a_run_with_minutes(tmp_path, monkeypatch, capfd):
    typed = ("--minutes", 0.5, "--seed", 5, *TINY, "--batch-size", 50)
    words = ["gan_lab.py", "--out", tmp_path / "timed", *typed]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    gan_lab.main(began=time.monotonic() - 20)  # most of the time has passed
    said = capfd.readouterr().out
    assert "as the speed allows in 0.5 minutes" in said
    (command,) = re.findall("to repeat it: (.*)", said)
    _, _, *words = shlex.split(command)
    assert "--minutes" not in words and words[-2] == "--images-shown"
    call(gan_lab, *words, "--out", tmp_path / "again")
    one, two = (tmp_path / name / "fashion-001" for name in ("timed", "again"))
    for name in ("generator.pth", "discriminator.pth"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    for name in ("epochs", "images_shown"):
        assert Run(one).options[name] == Run(two).options[name]
    assert len(Run(one).history) == len(Run(two).history) == Run(one).options["epochs"]


def test_a_resumed_run_keeps_the_length_of_its_minutes(tmp_path, capfd):
    typed = ("--minutes", 60, *TINY, "--batch-size", 50)
    process = start("gan_lab.py", "--out", tmp_path, *typed, cwd=tmp_path)
    folder = tmp_path / "fashion-001"
    while not (folder / "history.csv").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    options = Run(folder).options
    assert "minutes" not in options and options["sample_every"] >= 1
    call(gan_lab, "--resume", folder, "--dry-run")
    assert f"recipe: {options['epochs']:,} epochs of 200 steps" in capfd.readouterr().out


def test_a_dry_run_with_minutes_prints_no_length(capfd):
    call(gan_lab, "--dry-run", "--minutes", 5, "--data-dir", SAMPLE)
    assert "as many epochs of 78 steps as the speed allows in 5 min" in capfd.readouterr().out


def test_a_running_run_cannot_be_resumed(tmp_path, monkeypatch, capfd):
    process = start("gan_lab.py", "--out", tmp_path, *SLOW, "--epochs", 1000, cwd=tmp_path)
    folder = tmp_path / "fashion-001"
    try:
        while not (folder / "history.csv").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        writing = folder / ".checkpoint.pth.1.part"
        writing.touch()
        for arguments in (("--resume", folder, "--dry-run"), ("--resume", folder)):
            assert "is being trained" in refused(monkeypatch, capfd, *arguments)
        newest = ("--resume", "--out", tmp_path)
        assert "no unfinished run" in refused(monkeypatch, capfd, *newest)
        assert writing.exists()
    finally:
        process.kill()
        process.communicate()


def test_the_newest_run_is_checked_too(tiny_run, tmp_path, monkeypatch, capfd):
    run = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    config = read_json(run / "config.json")
    write_json(run / "config.json", {**config, "status": "running"})
    shutil.rmtree(run / "generated_samples")
    (tmp_path / "precious").mkdir()
    (run / "generated_samples").symlink_to(tmp_path / "precious")
    said = refused(monkeypatch, capfd, "--resume", "--out", tmp_path)
    assert "generated_samples is a link out of it" in said


def test_epochs_may_be_raised_on_resume(tmp_path, monkeypatch, capfd):
    constant = ("--sample-every", 2, "--seed", 5, *TINY, "--lr-decay", 0)
    folder = tmp_path / "fashion-001"
    call(gan_lab, "--out", tmp_path, "--epochs", 3, *constant)
    capfd.readouterr()
    assert "raise --epochs above 3" in refused(monkeypatch, capfd, "--resume", folder)
    half_written = folder / "generated_samples" / ".7.part"
    half_written.touch()  # of a killed program
    call(gan_lab, "--resume", folder, "--epochs", 5)
    said = capfd.readouterr().out
    assert "resuming after epoch 3, step 0" in said  # restarting would give the same run
    assert not half_written.exists()
    call(gan_lab, "--out", tmp_path / "longer", "--epochs", 5, *constant)
    one, two = weights_of(folder), weights_of(tmp_path / "longer/fashion-001")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_signal_after_the_last_step_is_obeyed(tmp_path, monkeypatch):
    def close(_screen, *_):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ProgressBar, "__exit__", close)
    with pytest.raises(Interrupted, match="stopped and saved; continue with"):
        call(gan_lab, "--out", tmp_path, "--epochs", 1, *TINY)
    config = read_json(tmp_path / "fashion-001" / "config.json")
    assert config["status"] == "running"


def test_a_run_whose_output_nobody_reads_can_be_resumed(tmp_path, monkeypatch, capsys):
    def print_epoch(_, row, __):
        if row["epoch"] == 2:
            raise BrokenPipeError(32, "Broken pipe")

    with monkeypatch.context() as patch:
        patch.setattr(ProgressBar, "print_epoch", print_epoch)
        with pytest.raises(BrokenPipeError):
            call(gan_lab, "--out", tmp_path, "--epochs", 3, *TINY)
    assert read_json(tmp_path / "fashion-001" / "config.json")["status"] == "stopped"
    call(gan_lab, "--out", tmp_path, "--resume")
    assert "resuming after epoch 2, step 0" in capsys.readouterr().out


def test_a_signal_during_the_training_of_classifiers_loses_nothing(tmp_path, monkeypatch, capsys):
    score_few(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(classifiers, "MAX_EPOCHS", 2)
    images = np.random.default_rng(0).integers(0, 255, (800, 16, 16), np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(800) % 2)
    sizes = ("--hidden-g", 8, "--hidden-d", 8, "--batch-size", 50, "--final-images", 0)
    typed = ("--dataset", tmp_path / "own.npz", "--epochs", 4, "--sample-every", 2, *sizes)
    with monkeypatch.context() as patch:
        patch.setattr(classifiers, "train", lambda *_: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(Interrupted, match="interrupted; continue with"):
            call(gan_lab, "--out", tmp_path, *typed)
    run = Run(tmp_path / "own-001")
    assert "the first score trains them" in capsys.readouterr().out
    assert run.status == "stopped" and [row["epoch"] for row in run.history] == [1]
    call(gan_lab, "--resume", run)
    call(gan_lab, "--out", tmp_path / "whole", *typed)
    one, two = Run(run.path), Run(tmp_path / "whole" / "own-001")
    timings = {"seconds", "images_per_second"}
    rows = [[{k: r[k] for k in r.keys() - timings} for r in each.history] for each in (one, two)]
    assert rows[0] == rows[1] and {"frd_train_5k", "fcd_train_5k"} & rows[0][1].keys()
    first, second = weights_of(one.path), weights_of(two.path)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_divergence_keeps_the_generator_saved_last(tmp_path, monkeypatch, capfd):
    typed = ("--out", tmp_path, "--epochs", 3, *TINY, "--lr-g", 10, "--lr-d", 10)
    said = refused(monkeypatch, capfd, *typed, code=1)
    assert "diverged" in said and "--lr-g" in said
    weights_of(tmp_path / "fashion-001")
    page = (tmp_path / "fashion-001" / "report.html").read_text(encoding="utf-8")
    assert "Diverged in epoch 1; the generator saved last is kept." in page
    assert read_json(tmp_path / "fashion-001" / "config.json")["status"] == "diverged"


def test_divergence_before_the_first_grid_is_not_said_to_keep_trained_weights(
    tmp_path, monkeypatch, capfd
):
    step = gan_lab.train_step

    def diverging(options, state, *rest, **more):
        return step(options, state, *rest, **more) * (math.nan if state.epoch else 1)

    monkeypatch.setattr(gan_lab, "train_step", diverging)
    typed = ("--out", tmp_path, "--epochs", 3, "--sample-every", 3, *TINY)
    said = refused(monkeypatch, capfd, *typed, code=1)
    assert "diverged in epoch 2" in said and "keeps the generator saved last;" in said
    kept = load_weights(tmp_path / "fashion-001" / "generator.pth", "generator")
    assert kept.facts["epoch"] == 0


@pytest.mark.parametrize("script", ["gan_lab.py", "denoise_images.py", "evaluate_images.py"])
def test_ctrl_c_during_imports_shows_no_traceback(tmp_path, script):
    process = start(script, "--help", cwd=tmp_path)
    time.sleep(0.5)  # during the import of torch
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert "Traceback" not in said
    assert process.returncode in (-signal.SIGINT, 130, 0)


# Mistakes


def refused(monkeypatch, capfd, *arguments: object, code: int = 2) -> str:
    """The error message of gan_lab.py with `arguments`, which must exit with `code`."""
    monkeypatch.setattr("sys.argv", ["gan_lab.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        run_script(gan_lab.main)
    said = capfd.readouterr().err
    assert left.value.code == code, said
    assert said.count("\n") == 1, said
    assert len(said) < 320 and "\x1b" not in said
    return said


BATTERY = [
    "",
    " ",
    "-1",
    "0",
    "9" * 40,
    "nan",
    "inf",
    "-inf",
    "text",
    "ünïcode",
    "/dev/null",
    "1e9",
    "x" * 300,  # longer than a file's name may be
    "two\nlines",
    "\x1b[2J",  # clears a terminal
]
FIELDS = {field.name: field for field in dataclasses.fields(gan_lab.Options)}


def is_legal(name: str, value: str) -> bool:
    """Whether the option accepts `value`."""
    metadata = FIELDS[name].metadata
    annotation = typing.get_type_hints(gan_lab.Options)[name]
    if annotation in (int, int | None, tuple[int, ...]):
        return re.fullmatch(r"\d+", value) and metadata["low"] <= int(value) <= metadata["high"]
    if annotation in (float, float | None):
        try:
            return metadata["low"] <= float(value) <= metadata["high"]
        except ValueError:
            return False
    return name == "out" and value.strip() not in ("", "/dev/null") and len(value) < 255


@pytest.mark.parametrize("name", [name for name in FIELDS if "bool" not in str(FIELDS[name].type)])
def test_every_option_refuses_invalid_values(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for value in BATTERY:
        if not is_legal(name, value):
            arguments = ("--out", tmp_path / "new", f"{flag_of(name)}={value}")
            assert flag_of(name) in refused(monkeypatch, capfd, *arguments), value
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_does_not_use_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "DOWNLOAD_FOLDER", tmp_path)
    monkeypatch.setattr(sources.TorchvisionSet, "download", lambda *_: pytest.fail("it did"))
    call(gan_lab, "--dataset", "mnist", "--dry-run")


def test_mistakes_between_options_are_named(tmp_path, tiny_run, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    cases = [
        (("--batch-size", "20000", "--data-dir", SAMPLE), "10,000 training images"),
        (("--hidden-g", *["8"] * 9), "9 values given, at most 8"),
        (("--channels-g", *["8"] * 3, "--data-dir", SAMPLE), "cannot be halved 3 times"),
        (("--channels-g", *["8"] * 5), "5 values given, at most 4"),
        (("--resume", tmp_path), "is not a run folder"),
        (("--resume", tmp_path / "none"), "does not exist"),
        (("--resume", tiny_run, "--lr-g", "0.1"), "--lr-g 0.1: a resumed run keeps its own"),
        (("--resume", tiny_run, "--epochs", "2"), "the run has 3"),
        (("--resume", "--out", tmp_path), "no unfinished run"),
        (("--no-such-option",), "--no-such-option"),
        (("--list", "--out", tmp_path / "none"), "there is no such folder"),
        (("--dry-run", "--out", tmp_path / "file"), "is a file"),
        (("--out", tiny_run), "is a run folder"),
        (("--epochs", 3, "--images-shown", 600), "--images-shown 600: --epochs sets the length"),
        (("--minutes", 0.4), "--minutes 0.4: out of range, give a number from 0.5 to 10000"),
        (("--resume", tiny_run, "--minutes", 5), "--minutes 5: a resumed run keeps its own"),
        (("--out", tmp_path / "file" / "below"), "is a file"),
    ]
    (tmp_path / "file").touch()
    for arguments, says in cases:
        assert says in refused(monkeypatch, capfd, *arguments), arguments
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_an_output_folder_that_cannot_be_created_is_named(monkeypatch, capfd):
    arguments = ("--out", "/proc/none", "--data-dir", SAMPLE)
    assert "--out /proc/none" in refused(monkeypatch, capfd, *arguments)


def test_a_mistake_shows_no_traceback_in_a_real_process(tmp_path):
    done = run("gan_lab.py", "--dataset", "cifar", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "gan_lab.py: --dataset cifar: does not exist; did you mean cifar10?\n"


def test_mistyped_options_get_a_suggestion(monkeypatch, capfd, tiny_run):
    assert "did you mean --epochs?" in refused(monkeypatch, capfd, "--epoch", 3)
    assert "--help lists" in refused(monkeypatch, capfd, "--frobnicate", 3)
    for typed in (("--hidden-g", 5, 6), ("--no-pyramid",), ("--lr-g", 0.1)):
        said = refused(monkeypatch, capfd, "--resume", tiny_run, *typed)
        assert f"{' '.join(map(str, typed))}: a resumed run keeps its own" in said


def test_list_and_report_do_not_train(tiny_run, tmp_path, capfd):
    folder = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    (folder / "report.html").unlink()
    call(gan_lab, "--report", folder, "--list")
    assert "<h1>fashion-001</h1>" in (folder / "report.html").read_text()
    assert "fashion-001/report.html" in (tmp_path / "index.html").read_text()
    assert re.search("fashion-001 .* 3/3 .* finished", capfd.readouterr().out)


def test_a_finished_run_without_its_checkpoint_is_not_restarted(
    tiny_run, tmp_path, monkeypatch, capfd
):
    folder = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    (folder / "checkpoint.pth").unlink()
    before = (folder / "generator.pth").read_bytes()
    said = refused(monkeypatch, capfd, "--resume", folder, "--epochs", 4, code=1)
    assert "checkpoint.pth: is missing" in said
    assert (folder / "generator.pth").read_bytes() == before
    assert read_json(folder / "config.json")["status"] == "finished"


def test_a_run_with_events_can_be_resumed_without_tensorboard(
    tiny_run, tmp_path, monkeypatch, capfd
):
    folder = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    config = read_json(folder / "config.json")
    config["options"]["tensorboard"] = True
    write_json(folder / "config.json", config)
    monkeypatch.setattr(plan, "tensorboard_refusal", lambda: "not installed")
    call(gan_lab, "--resume", folder, "--epochs", 4, "--dry-run")
    assert "continues without events" in capfd.readouterr().out


def test_a_checkpoint_after_the_last_step_of_an_epoch_can_be_resumed(
    tiny_run, tmp_path, monkeypatch
):
    score_few(monkeypatch)
    run_folder = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    path = run_folder / "checkpoint.pth"
    content = read_tensors(path, FORMAT)
    more = ("--resume", run_folder, "--epochs", 4)
    for step in (21, 20):  # the sample has 20 steps of 500
        write_tensors(path, {**content, "step": step, "totals": torch.ones(4) * step})
        if step > 20:
            with pytest.raises(Fault, match="is of a longer run"):
                call(gan_lab, *more)
    call(gan_lab, *more)
    assert Run(run_folder).history[-1]["d_loss"] == 1


def test_a_history_that_is_open_elsewhere_does_not_stop_a_training(tmp_path, monkeypatch, capfd):
    save_history, tries = Run.save_history, []

    def in_use(run, rows):
        tries.append(len(rows))
        if len(tries) == 2:
            raise PermissionError(13, "Permission denied", str(run))
        save_history(run, rows)

    monkeypatch.setattr(Run, "save_history", in_use)
    call(gan_lab, "--out", tmp_path, "--epochs", 2, *TINY)
    assert "history.csv was not written (Permission denied)" in capfd.readouterr().out
    assert len(Run(tmp_path / "fashion-001").history) == 2
