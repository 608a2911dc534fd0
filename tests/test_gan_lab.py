"""gan_lab.py as its users run it: by subprocess, on the bundled sample."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
import types
import typing
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, SAMPLE, TINY, run, start
from PIL import Image

import gan_lab
from lab import device as machine
from lab import environment, lock
from lab import files as storage
from lab import seeding as chance
from lab.data import datasets as data
from lab.errors import Fault, Interrupted, Mistake, StopSwitch, made_good, run_script, signals_call
from lab.evaluation import latent_space as stills
from lab.evaluation.evaluator import Judge
from lab.models import networks as models
from lab.models import serialization as tensors
from lab.options import flag_of, parse, restored
from lab.report import figures as images
from lab.runs import provenance
from lab.runs import run as runs
from lab.training import state as checkpoint


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return tensors.load_weights(folder / "generator.pth", models.Generator)[0].state_dict()


def test_a_run_leaves_everything_it_promises(tiny_run):
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
        assert film.info["duration"] == 2000  # it rests on the last
    with Image.open(tiny_run / "loss_curves.png") as curves:
        assert curves.width > 600

    generator, facts = tensors.load_weights(tiny_run / "generator.pth", models.Generator)
    assert generator(torch.zeros(2, 16)).shape == (2, 1, 28, 28)
    assert facts["dataset"] == "fashion"
    tensors.load_weights(tiny_run / "discriminator.pth", models.Discriminator)
    assert not list(tiny_run.rglob("*.part"))
    assert "<h1>fashion-001</h1>" in (tiny_run / "report.html").read_text()
    assert "fashion-001/report.html" in (tiny_run.parent / "index.html").read_text()


def test_what_is_saved_is_the_average_and_it_made_every_picture(tiny_run, tmp_path):
    generator, _ = tensors.load_weights(tiny_run / "generator.pth", models.Generator)
    kept = tensors.read_tensors(tiny_run / "checkpoint.pth", checkpoint.FORMAT)["networks"]
    for name, weight in generator.state_dict().items():
        assert torch.equal(weight, kept["average"][name])
        assert not torch.equal(weight, kept["generator"][name])
    grid, final = (
        models.generate(generator, torch.randn(count, 16, generator=chance.stream(5, purpose)))
        for purpose, count in (("grid", 25), ("final", 100))
    )
    for path, wanted in (
        ("generated_samples/epoch_003.png", images.grid(grid, 5).tobytes()),
        ("final_generated_images/img_042.png", final[42].numpy().tobytes()),
    ):
        with Image.open(tiny_run / path) as found:
            assert found.tobytes() == wanted, path
    image_set = data.read_folder("fashion", SAMPLE / "fashion")
    stills.write(tmp_path, generator, image_set)
    walk = (tmp_path / "latent_walk.png").read_bytes()
    assert walk == (tiny_run / "latent_walk.png").read_bytes()
    last = runs.read_history(tiny_run / "history.csv")[-1]
    scored = Judge(image_set, torch.device("cpu")).quick(generator)
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


def test_another_seed_gives_other_weights_and_the_screen_says_what_happens(tiny_run, tmp_path):
    arguments = ("--out", tmp_path, "--epochs", 1, "--seed", 6, *TINY)
    done = run("gan_lab.py", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "BUNDLED SAMPLE" in done.stdout
    assert re.search(
        r"epoch 1/1  d_loss \d\.\d+  g_loss \d\.\d+  D\(x\) 0\.\d+  D\(G\(z\)\) 0\.\d+ .*images/s",
        done.stdout,
    )
    one, two = weights_of(tiny_run), weights_of(tmp_path / "fashion-001")
    assert not any(torch.equal(one[name], two[name]) for name in one)


def test_a_dry_run_counts_parameters_and_writes_nothing(tmp_path):
    done = run("gan_lab.py", "--dry-run", "--out", tmp_path / "new", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "979,216" in done.stdout and "658,945" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_lab_sheet_d_runs_with_its_options(tmp_path):
    done = run(
        "gan_lab.py",
        *("--recipe", "classic", "--dataset", "mnist", "--epochs", 1, "--batch-norm"),
        *("--activation", "relu", "--dropout", 0.3, "--label-smoothing", 0.1, "--out", tmp_path),
        *TINY,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    generator, _ = tensors.load_weights(tmp_path / "mnist-001" / "generator.pth", models.Generator)
    kinds = [type(layer).__name__ for layer in generator.layers]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear"]


def test_a_convolutional_pair_is_trained_and_used_like_any_other(tmp_path):
    maps = ("--channels-g", 8, 4, "--channels-d", 4, 8)
    arguments = ("--recipe", "dcgan", *maps, "--epochs", 1, "--out", tmp_path, *TINY)
    assert (done := run("gan_lab.py", *arguments, cwd=tmp_path)).returncode == 0, done.stderr
    folder = tmp_path / "fashion-001"
    generator, _ = tensors.load_weights(folder / "generator.pth", models.Generator)
    assert [layer for layer in generator.layers if isinstance(layer, torch.nn.ConvTranspose2d)]
    arguments = ("--run", folder, "--count", 2, "--steps", 5, "--sigma", 0.3)
    assert (done := run("denoise_images.py", *arguments, cwd=tmp_path)).returncode == 0, done.stderr
    assert "projection" in done.stdout


# What the training loop does


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """The history of a run whose steps do nothing, what each was given, and its curves."""
    outputs, steps, curves = tmp_path_factory.mktemp("watched"), [], []

    def step(options, training, real, penalised):
        rates = training.optimizer_g.rate, training.optimizer_d.rate
        steps.append((real, rates, torch.get_float32_matmul_precision()))
        return torch.tensor([1.0, 2.0, 0.6, 0.4])

    arguments = ("--out", outputs, "--epochs", 4, "--lr-d", 5e-4, "--loss", "hinge", *TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_lab, "train_step", step)
        patch.setattr(images, "save_curves", lambda *given: curves.append(given))
        patch.setattr(sys, "argv", ["gan_lab.py", *map(str, arguments)])
        gan_lab.main()
    return runs.read_history(outputs / "fashion-001" / "history.csv"), steps, curves


def test_an_epoch_shows_every_training_image_once_in_an_order_of_its_own(watched):
    _, steps, _ = watched
    shown = data.to_float(data.read_folder("fashion", SAMPLE / "fashion").train_images)
    there = shown.flatten(1).sum(1)
    epochs = torch.cat([real for real, *_ in steps]).flatten(1).sum(1).view(4, -1)
    assert torch.equal(epochs.sort().values, there.sort().values.expand(4, -1))
    orders = [there, *epochs]
    assert not any(torch.equal(one, two) for one, two in itertools.combinations(orders, 2))


def test_history_has_the_mean_of_each_epochs_steps(watched):
    history, *_ = watched
    for row in history:
        assert [row[name] for name in checkpoint.TOTALS] == pytest.approx([1, 2, 0.6, 0.4])


def test_rates_and_precision_reach_every_step(watched):
    _, steps, _ = watched
    rates = [rates for _, rates, _ in steps]
    assert rates[:60] == [(1e-3, 5e-4)] * 60
    assert all(rate_g < 1e-3 and rate_d < 5e-4 for rate_g, rate_d in rates[60:])
    assert {precision for *_, precision in steps} == {"medium"}  # bfloat16, where it is fast


def test_curves_are_drawn_as_the_loss_wants_it(watched):
    ((_, history, title, loss, footnote),) = watched[-1]
    assert len(history) == 4 and loss == "hinge" and "BUNDLED SAMPLE" in footnote
    assert title == "fashion-001: Fashion-MNIST, modern recipe, seed 0"


# Stopping and going on


SLOW = (
    *("--epochs", 6, "--sample-every", 2, "--seed", 3, *TINY, "--batch-size", 50),
    *("--dropout", 0.2),
)


def test_going_on_equals_never_having_stopped(tmp_path):
    # Kill -9 and SIGTERM, at random moments: benchmarks/faults.py, of which tests try a sample.
    straight = tmp_path / "straight" / "fashion-001"
    done = run("gan_lab.py", "--out", straight.parent, *SLOW, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
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
    _, facts = tensors.load_weights(folder / "generator.pth", models.Generator)
    assert facts["epoch"] == len(runs.read_history(folder / "history.csv"))

    on = run("gan_lab.py", "--out", tmp_path / "broken", "--resume", cwd=tmp_path)
    assert on.returncode == 0, on.stderr
    same_run(straight, folder)
    config = json.loads((folder / "config.json").read_text())
    assert "--epochs 6" in config["command"] and "--resume" in config["resumed_by"]
    assert not {"resume", "dry_run", "list", "report"} & set(config["options"])


def same_run(one: Path, two: Path) -> None:
    """Everything but times and dates is equal, bit for bit."""
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


def test_a_run_under_way_is_left_alone(tmp_path, monkeypatch, capfd):
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


def test_asking_for_a_lock_is_not_holding_it(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with lock.held(tmp_path):
        assert lock.is_held(tmp_path)
        with pytest.raises(Fault, match="at work in it"), lock.held(tmp_path, wait=False):
            pass
    assert not lock.is_held(tmp_path)
    asking = os.open(tmp_path, os.O_RDONLY)  # as another program's is_held does, for a moment
    fcntl.flock(asking, fcntl.LOCK_SH)
    assert not lock.is_held(tmp_path)
    threading.Timer(lock.PATIENCE / 4, os.close, [asking]).start()
    with lock.held(tmp_path, wait=False):
        assert lock.is_held(tmp_path)


def test_on_windows_a_file_stands_for_the_folder(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def locking(descriptor, mode, size):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(13, "Permission denied") from None  # as msvcrt says it

    windows = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(lock, "msvcrt", windows, raising=False)
    assert not lock.is_held(tmp_path) and not list(tmp_path.iterdir())  # to ask writes nothing
    with lock.held(tmp_path):
        assert lock.is_held(tmp_path)
        with pytest.raises(Fault, match="at work in it"), lock.held(tmp_path, wait=False):
            pass
    assert not lock.is_held(tmp_path)
    with lock.held(tmp_path, wait=False):
        pass


def test_the_newest_run_is_trusted_no_more(tiny_run, tmp_path, monkeypatch, capfd):
    run = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    config = storage.read_json(run / "config.json")
    storage.write_json(run / "config.json", {**config, "status": "running"})
    shutil.rmtree(run / "generated_samples")
    (tmp_path / "precious").mkdir()
    (run / "generated_samples").symlink_to(tmp_path / "precious")
    said = refused(monkeypatch, capfd, "--resume", "--out", tmp_path)
    assert "generated_samples leads out of it" in said


def test_a_diverged_run_is_not_gone_on_with(tmp_path):
    for number, status in enumerate(("running", "diverged", "finished"), 1):
        run = runs.new_run(tmp_path, "fashion")
        assert run.name == f"fashion-{number:03d}"
        storage.write_json(run / "config.json", {"status": status})
    assert runs.newest_unfinished_run(tmp_path).name == "fashion-001"


def test_a_new_run_gets_the_next_number_of_all_sets(tmp_path):
    for name in ("fashion-001", "mnist-007", "evaluation-009"):
        (tmp_path / name).mkdir()
    assert runs.new_run(tmp_path, "fashion").name == "fashion-008"


def test_epochs_may_be_raised_on_resume(tmp_path):
    constant = ("--sample-every", 2, "--seed", 5, *TINY, "--lr-decay", 0)
    short = run("gan_lab.py", "--out", tmp_path, "--epochs", 3, *constant, cwd=tmp_path)
    assert short.returncode == 0, short.stderr
    again = run("gan_lab.py", "--resume", tmp_path / "fashion-001", cwd=tmp_path)
    assert again.returncode == 2 and "raise --epochs above 3" in again.stderr
    half_written = tmp_path / "fashion-001" / "generated_samples" / ".7.part"
    half_written.touch()  # by one that was killed
    on = run("gan_lab.py", "--resume", tmp_path / "fashion-001", "--epochs", 5, cwd=tmp_path)
    assert on.returncode == 0, on.stderr
    assert "going on after epoch 3, step 0" in on.stdout  # to begin again would give the same run
    assert "going on after epoch 3, step 0" in on.stdout  # to begin again would give the same run
    assert not half_written.exists()
    longer = run(
        "gan_lab.py",
        *("--out", tmp_path / "longer", "--epochs", 5, *constant),
        cwd=tmp_path,
    )
    assert longer.returncode == 0
    one, two = weights_of(tmp_path / "fashion-001"), weights_of(tmp_path / "longer/fashion-001")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_signal_that_comes_last_is_heard(tmp_path, monkeypatch):
    def close(_screen, *_):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(gan_lab.Screen, "__exit__", close)
    arguments = ["gan_lab.py", "--out", tmp_path, "--epochs", 1, *TINY]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    with pytest.raises(Interrupted, match="stopped and saved; go on with"):
        gan_lab.main()
    config = storage.read_json(tmp_path / "fashion-001" / "config.json")
    assert config["status"] == "running"


def test_a_second_signal_ends_the_program_at_once():
    before = signal.getsignal(signal.SIGINT)
    stop = StopSwitch()
    with signals_call(stop.note):
        signal.raise_signal(signal.SIGINT)
        assert stop.requested == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == before != signal.SIG_DFL


def test_the_command_to_go_on_is_fit_for_a_shell():
    words = ["python", "gan lab.py", "--resume", "$(touch x)'\""]
    assert shlex.split(machine.command_line(words)) == words


def test_divergence_keeps_the_last_good_weights(tmp_path):
    done = run(
        "gan_lab.py",
        *("--out", tmp_path, "--epochs", 3, *TINY, "--lr-g", 10, "--lr-d", 10),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "diverged" in done.stderr and "--lr-g" in done.stderr
    weights_of(tmp_path / "fashion-001")
    page = (tmp_path / "fashion-001" / "report.html").read_text(encoding="utf-8")
    assert "Diverged in epoch 1; the untrained weights are kept." in page
    assert storage.read_json(tmp_path / "fashion-001" / "config.json")["status"] == "diverged"


def test_the_newest_run_that_was_trained_is_taken(tmp_path, capfd):
    def leave(name: str, status: str, *files: str) -> Path:
        (tmp_path / name).mkdir()
        storage.write_json(tmp_path / name / "config.json", {"status": status})
        for file in files:
            (tmp_path / name / file).touch()
        return tmp_path / name

    untrained = leave("fashion-001", "stopped", "generator.pth")
    assert runs.newest_run(tmp_path) == untrained  # for want of a better one
    assert "fashion-001 has not finished" in capfd.readouterr().out
    finished = leave("fashion-002", "finished", "generator.pth", "history.csv")
    leave("fashion-003", "diverged", "generator.pth", "history.csv")
    leave("fashion-004", "running", "generator.pth")
    leave("fashion-005", "running", "history.csv")
    assert runs.newest_run(tmp_path) == finished
    assert capfd.readouterr().out == ""
    stopped = leave("mnist-006", "stopped", "generator.pth", "history.csv")
    assert runs.newest_run(tmp_path) == stopped
    assert "mnist-006 has not finished" in capfd.readouterr().out


@pytest.mark.parametrize("loss", [0.7, 5000.0, math.nan])
def test_absurd_losses_and_weights_end_a_training(loss):
    options = parse(gan_lab.Options, ["--hidden-g", "8", "--hidden-d", "8"])
    training = gan_lab.begin(options, torch.device("cpu"))
    if loss < 1:  # it is a weight that is none
        training.generator.layers[0].bias.data[3] = math.inf
    with pytest.raises(Fault, match="diverged in epoch 1"):
        gan_lab.refuse_divergence(training, torch.tensor([loss, 0.7, 0.5, 0.5]), Path("run"))


@pytest.mark.parametrize("script", ["gan_lab.py", "denoise_images.py", "evaluate_images.py"])
def test_ctrl_c_while_libraries_load_shows_no_traceback(tmp_path, script):
    process = start(script, "--help", cwd=tmp_path)
    time.sleep(0.5)  # Python is up, torch is not
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert "Traceback" not in said
    assert process.returncode in (-signal.SIGINT, 130, 0)


# Mistakes


def refused(monkeypatch, capfd, *arguments: object) -> str:
    """The one line with which gan_lab.py refuses `arguments`, exit code 2."""
    monkeypatch.setattr("sys.argv", ["gan_lab.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        run_script(gan_lab.main)
    said = capfd.readouterr().err
    assert left.value.code == 2, said
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
    """Whether `value` happens to be one that the option takes."""
    metadata = FIELDS[name].metadata
    annotation = typing.get_type_hints(gan_lab.Options)[name]
    if annotation in (int, int | None, tuple[int, ...]):
        return re.fullmatch(r"\d+", value) and metadata["low"] <= int(value) <= metadata["high"]
    if annotation is float:
        try:
            return metadata["low"] <= float(value) <= metadata["high"]
        except ValueError:
            return False
    return name == "out" and value.strip() not in ("", "/dev/null") and len(value) < 255


@pytest.mark.parametrize("name", [name for name in FIELDS if FIELDS[name].type != "bool"])
def test_every_option_refuses_the_battery(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for value in BATTERY:
        if not is_legal(name, value):
            arguments = ("--out", tmp_path / "new", f"{flag_of(name)}={value}")
            assert flag_of(name) in refused(monkeypatch, capfd, *arguments), value
    assert list(tmp_path.iterdir()) == []


def test_the_penalty_comes_at_least_once_an_epoch():
    options = gan_lab.planned(gan_lab.Options(r1_every=1000, batch_size=128), 1300)
    assert options.r1_every == 10  # so that its weight is that of the steps it stands for


@pytest.mark.parametrize(("recipe", "epochs"), [("modern", 32), ("classic", 32), ("dcgan", 12)])
def test_a_recipe_shows_its_images_whatever_the_sets_size(recipe, epochs):
    options = parse(gan_lab.Options, ["--recipe", recipe], gan_lab.RECIPES)
    assert gan_lab.planned(options, 60_000).epochs == epochs
    assert gan_lab.planned(options, 10_000).epochs == 6 * epochs


def test_help_has_the_default_of_each_recipe(capsys):
    with pytest.raises(SystemExit):
        parse(gan_lab.Options, ["--help"], gan_lab.RECIPES)
    said = " ".join(capsys.readouterr().out.split())
    assert "images a step, from 2 to 60000 (default 128; dcgan 64)" in said
    assert "(default clip; classic tanh; dcgan tanh)" in said


def test_a_dry_run_asks_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DOWNLOAD_FOLDER", tmp_path)
    monkeypatch.setattr(data, "download_set", lambda *_: pytest.fail("it did"))
    monkeypatch.setattr(sys, "argv", ["gan_lab.py", "--dataset", "mnist", "--dry-run"])
    gan_lab.main()


def test_mistakes_between_options_are_named(tmp_path, tiny_run, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    cases = [
        (("--batch-size", "20000", "--data-dir", SAMPLE), "10,000 training images"),
        (("--hidden-g", *["8"] * 9), "9 values given, at most 8"),
        (("--channels-g", "8", "8", "8"), "3 values given, at most 2"),
        (("--channels-d", "8", "--data-dir", SAMPLE), "--no-pyramid"),
        (("--resume", tmp_path), "is not a run folder"),
        (("--resume", tmp_path / "none"), "does not exist"),
        (("--resume", tiny_run, "--lr-g", "0.1"), "--lr-g 0.1: a resumed run keeps its own"),
        (("--resume", tiny_run, "--epochs", "2"), "the run has 3"),
        (("--resume", "--out", tmp_path), "no unfinished run"),
        (("--no-such-option",), "--no-such-option"),
        (("--list", "--out", tmp_path / "none"), "there is no such folder"),
        (("--dry-run", "--out", tmp_path / "file"), "is a file"),
        (("--out", tiny_run), "is a run folder"),
        (("--epochs", 3, "--images-shown", 600), "--images-shown 600: --epochs decides that"),
        (("--recipe", "classic", "--r1-every", 4), "--r1-every 4: has no effect while --r1-gamma"),
        (("--lr-floor", 0.5, "--lr-decay", 0), "--lr-floor 0.5: has no effect while --lr-decay"),
        (("--loss", "hinge", "--label-smoothing", "0.1", "--data-dir", SAMPLE), "has no labels"),
        (("--out", tmp_path / "file" / "below"), "is a file"),
    ]
    (tmp_path / "file").touch()
    for arguments, says in cases:
        assert says in refused(monkeypatch, capfd, *arguments), arguments
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_a_folder_that_cannot_be_made_is_named(monkeypatch, capfd):
    arguments = ("--out", "/proc/none", "--data-dir", SAMPLE)
    assert "--out /proc/none" in refused(monkeypatch, capfd, *arguments)


def test_a_mistake_shows_no_traceback_in_a_real_process(tmp_path):
    done = run("gan_lab.py", "--dataset", "cifar", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "gan_lab.py: --dataset 'cifar': choose one of mnist, fashion\n"


def test_a_run_on_the_sample_goes_on_with_the_sample(tiny_run, tmp_path, monkeypatch):
    # Trained where there was no full set, which has come since.
    copy = tmp_path / "fashion-001"
    shutil.copytree(tiny_run, copy)
    config = storage.read_json(copy / "config.json")
    config["options"]["data_dir"] = None
    storage.write_json(copy / "config.json", config)
    here = tmp_path / "data"
    shutil.copytree(SAMPLE / "mnist", here / "FashionMNIST" / "raw")
    monkeypatch.setattr(data, "DOWNLOAD_FOLDER", here)
    assert provenance.images_of(copy, "fashion", None).is_sample


def test_a_data_folder_is_written_down_from_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(SAMPLE.parent)
    options = dataclasses.replace(gan_lab.Options(), data_dir=Path(SAMPLE.name))
    image_set = data.read_folder("fashion", SAMPLE / "fashion")
    gan_lab.save_config(options, image_set, tmp_path, torch.device("cpu"), "running")
    assert storage.read_json(tmp_path / "config.json")["options"]["data_dir"] == str(SAMPLE)


def test_a_data_folder_that_is_gone_is_asked_for(tiny_run, tmp_path, monkeypatch, capfd):
    copy = tmp_path / "fashion-001"
    shutil.copytree(tiny_run, copy)
    config = storage.read_json(copy / "config.json")
    config["options"]["data_dir"] = str(tmp_path / "gone")
    storage.write_json(copy / "config.json", config)
    arguments = ("--resume", copy, "--epochs", 4, "--dry-run")
    said = refused(monkeypatch, capfd, *arguments)
    assert "gone" in said and "say with --data-dir where they are now" in said


def test_mistyped_options_are_guessed_and_said_as_typed(monkeypatch, capfd, tiny_run):
    assert "did you mean --epochs?" in refused(monkeypatch, capfd, "--epoch", 3)
    assert "--help lists" in refused(monkeypatch, capfd, "--frobnicate", 3)
    for typed in (("--hidden-g", 5, 6), ("--no-pyramid",), ("--lr-g", 0.1)):
        said = refused(monkeypatch, capfd, "--resume", tiny_run, *typed)
        assert f"{' '.join(map(str, typed))}: a resumed run keeps its own" in said


def test_any_option_overrides_its_recipe():
    arguments = ["--recipe", "dcgan", "--channels-g", "none", "--channels-d", "none"]
    options = parse(gan_lab.Options, arguments, gan_lab.RECIPES)
    assert options.channels_g == options.channels_d == ()
    assert gan_lab.changed(options) == "--channels-g none --channels-d none"


def test_runs_are_looked_at_without_training(tiny_run, tmp_path, monkeypatch, capfd):
    folder = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    (folder / "report.html").unlink()
    arguments = ["gan_lab.py", "--report", str(folder), "--list"]
    monkeypatch.setattr(sys, "argv", arguments)
    gan_lab.main()
    assert "<h1>fashion-001</h1>" in (folder / "report.html").read_text()
    assert "fashion-001/report.html" in (tmp_path / "index.html").read_text()
    assert re.search("fashion-001 .* 3/3 .* finished", capfd.readouterr().out)


def test_a_finished_run_without_its_checkpoint_is_not_begun_again(tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    (folder / "checkpoint.pth").unlink()
    before = (folder / "generator.pth").read_bytes()
    ended = run("gan_lab.py", "--resume", folder, "--epochs", 4, cwd=tmp_path)
    assert ended.returncode == 1 and "checkpoint.pth: is missing" in ended.stderr
    assert (folder / "generator.pth").read_bytes() == before
    assert storage.read_json(folder / "config.json")["status"] == "finished"


def test_a_run_with_events_goes_on_where_there_is_no_tensorboard(
    tiny_run, tmp_path, monkeypatch, capfd
):
    folder = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    config = storage.read_json(folder / "config.json")
    config["options"]["tensorboard"] = True
    storage.write_json(folder / "config.json", config)
    monkeypatch.setattr(gan_lab.board, "is_installed", lambda: False)
    arguments = ["gan_lab.py", "--resume", str(folder), "--epochs", "4", "--dry-run"]
    monkeypatch.setattr(sys, "argv", arguments)
    gan_lab.main()
    assert "goes on without events" in capfd.readouterr().out


def test_a_run_on_the_sample_takes_no_other_images(tiny_run, monkeypatch):
    full = dataclasses.replace(data.read_folder("fashion", SAMPLE / "fashion"), is_sample=False)
    monkeypatch.setattr(data, "load", lambda *_: full)
    with pytest.raises(Mistake, match="leave --data-dir out"):
        provenance.images_of(tiny_run, "fashion", Path("elsewhere"))
    other = dataclasses.replace(full, is_sample=True, fingerprint="of other images")
    monkeypatch.setattr(data, "load", lambda *_: other)
    with pytest.raises(Fault, match="trained on other images"):
        provenance.images_of(tiny_run, "fashion", Path("elsewhere"))


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": "many"},
        {"latent_dim": 10**9},
        {"hidden_g": [1_000_000]},
        {"hidden_g": 512},
        {"lr_g": []},
        {"lr_g": [1]},
    ],
)
def test_a_hostile_config_is_refused(tiny_run, tmp_path, change):
    config = storage.read_json(tiny_run / "config.json")
    config["options"].update(change)
    storage.write_json(tmp_path / "config.json", config)
    with pytest.raises(Fault, match=r"config\.json"):
        gan_lab.resumed({"resume": str(tmp_path), "epochs": 4})


def test_a_checkpoint_between_an_epochs_last_step_and_its_end_is_gone_on_with(
    tiny_run, tmp_path, monkeypatch
):
    run_folder = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    path = run_folder / "checkpoint.pth"
    content = tensors.read_tensors(path, checkpoint.FORMAT)
    monkeypatch.setattr(sys, "argv", ["gan_lab.py", "--resume", str(run_folder), "--epochs", "4"])
    for step in (21, 20):  # the sample has 20 steps of 500
        tensors.write_tensors(path, {**content, "step": step, "totals": torch.ones(4) * step})
        if step > 20:
            with pytest.raises(Fault, match="is of a longer run"):
                gan_lab.main()
    gan_lab.main()
    assert runs.read_history(run_folder / "history.csv")[-1]["d_loss"] == 1


def test_a_switch_in_a_config_is_on_or_off():
    with pytest.raises(Fault, match="--batch-norm is 'no', true or false is expected"):
        restored(gan_lab.Options, {"batch_norm": "no"}, Path("config.json"))


def test_a_reader_that_went_away_is_no_fault(capfd):
    def main():
        with made_good("go on with: this command"):
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(SystemExit) as left:
        run_script(main)
    assert left.value.code == 141 and capfd.readouterr().err == ""


def test_a_fault_quotes_nothing_that_steers_a_terminal():
    assert str(Fault("\x1b[2J\x9b2Ja name\nof two lines")) == "?[2J?2Ja name of two lines"


def test_a_full_disk_says_where_and_how_to_go_on(capfd):
    def main():
        with made_good("go on with: this command"):
            raise OSError(28, "No space left on device", "run/history.csv")

    with pytest.raises(SystemExit) as left:
        run_script(main)
    said = capfd.readouterr().err
    assert left.value.code == 1 and said.count("\n") == 1
    assert "No space left on device: run/history.csv; once that is put right, go on with" in said


def test_a_history_that_is_open_elsewhere_ends_no_training(tmp_path, monkeypatch, capfd):
    write_history, tries = runs.write_history, []

    def in_use(path, rows):
        tries.append(len(rows))
        if len(tries) == 2:
            raise PermissionError(13, "Permission denied", str(path))
        write_history(path, rows)

    monkeypatch.setattr(runs, "write_history", in_use)
    arguments = ["gan_lab.py", "--out", tmp_path, "--epochs", 2, *TINY]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    gan_lab.main()
    assert "history.csv was not written (Permission denied)" in capfd.readouterr().out
    assert len(runs.read_history(tmp_path / "fashion-001" / "history.csv")) == 2


def test_running_out_of_memory_is_one_line(monkeypatch, capfd):
    def main():
        torch.empty(2**60)

    with pytest.raises(SystemExit) as left:
        run_script(main)
    said = capfd.readouterr().err
    assert left.value.code == 1 and said.count("\n") == 1 and "out of memory" in said


def test_without_its_packages_a_script_says_what_to_install(monkeypatch):
    required = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    names = re.findall(r"^[a-z0-9]+", required, re.MULTILINE)
    assert sorted(environment.PACKAGES.values()) == sorted(names)
    monkeypatch.setattr(environment, "find_spec", lambda module: None if module == "PIL" else 1)
    with pytest.raises(SystemExit, match=r"pillow not installed for .*; pip install -r"):
        environment.prepare()


def test_every_option_is_read_somewhere():
    source = "".join(
        path.read_text() for path in [REPOSITORY / "gan_lab.py", *REPOSITORY.glob("lab/*.py")]
    )
    for name in FIELDS:
        read = rf"options\.{name}\b|given\[\"{name}\"\]|given\.get\(\"{name}\""
        assert re.search(read, source), f"{flag_of(name)} is declared and never read"
