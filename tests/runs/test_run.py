"""lab/runs/run.py and layout.py: creating, finding, locking, reading and writing runs."""

from __future__ import annotations

import dataclasses
import os
import shlex
import threading
from pathlib import Path

import pytest
import torch
from conftest import SAMPLE

from lab import files
from lab.data import DATASETS, datasets, load_sample
from lab.data.writers import as_picture, write_png
from lab.errors import Fault, Mistake
from lab.models import DISCRIMINATORS, GENERATORS, build
from lab.models.serialization import load_weights
from lab.models.tensor_files import digest
from lab.runs.images import load_dataset, load_training_dataset
from lab.runs.layout import check_out, check_pictures
from lab.runs.run import Run
from lab.runs.schema import Comparison, Evaluation

FASHION = DATASETS["fashion"]
ROW = {"epoch": 1, "d_loss": 1.25, "g_loss": 0.75}


def leave(outputs: Path, name: str, status: str, generator: bool = False, rows: int = 0) -> Run:
    """A run folder as a training with that status leaves it."""
    (outputs / name).mkdir(parents=True)
    run = Run(outputs / name)
    files.write_json(run.config_path, {"status": status, "options": {"dataset": "fashion"}})
    if generator:
        run.generator_path.touch()
    if rows:
        run.save_history([{**ROW, "epoch": epoch} for epoch in range(1, rows + 1)])
    return run


def small_generator() -> torch.nn.Module:
    return build(GENERATORS, "mlp", shape=FASHION.shape, latent_dim=4, hidden=(8,))


@pytest.fixture(scope="module")
def sample():
    return load_sample("fashion")


# Numbers


def test_a_new_run_gets_the_next_number_of_all_sets(tmp_path):
    outputs = tmp_path / "new" / "outputs"
    assert Run.create(outputs, "fashion").path == outputs / "fashion-001"
    for name in ("mnist-007", "evaluation-009", "fashion", "fashion-x", "my best"):
        (outputs / name).mkdir()
    assert Run.create(outputs, "fashion").name == "fashion-008"
    leave(outputs, "birds-011", "finished")  # an unknown set
    assert Run.create(outputs, "mnist").name == "mnist-012"
    (outputs / "fashion-013").touch()  # not a folder
    assert Run.create(outputs, "mnist").name == "mnist-014"
    (outputs / "mnist-999").mkdir()
    assert Run.create(outputs, "fashion").name == "fashion-1000"


def test_two_programs_at_once_get_two_folders(tmp_path):
    barrier, made = threading.Barrier(8), []

    def create() -> None:
        barrier.wait()
        made.append(Run.create(tmp_path / "outputs", "fashion").name)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [f"fashion-{number:03d}" for number in range(1, 9)]


def test_where_no_folder_can_be_made_is_a_mistake(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(Mistake, match=r"--out .*file: .*; name another folder"):
        Run.create(tmp_path / "file", "fashion")

    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space"):  # not a Mistake
        Run.create(tmp_path, "fashion")


def test_runs_are_not_made_in_a_run(tmp_path):
    run = leave(tmp_path, "fashion-001", "finished")
    with pytest.raises(Mistake, match="fashion-001: is a run folder; name another"):
        check_out(run.path)
    check_out(tmp_path)
    check_out(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    files.write_json(tmp_path / "config.json", {"vocabulary": 30_000})  # of another program
    check_out(tmp_path)


# Finding runs


def test_runs_are_listed_by_number_and_then_those_without(tmp_path):
    for name in ("fashion-002", "mnist-010", "fashion-009", "my best", "another"):
        leave(tmp_path, name, "finished")
    (tmp_path / "fashion-099").mkdir()  # no config.json in it
    (tmp_path / "file").touch()
    found = [run.name for run in Run.all_in(tmp_path)]
    assert found == ["mnist-010", "fashion-009", "fashion-002", "my best", "another"]
    assert Run.all_in(tmp_path / "none") == []


def test_a_run_is_opened_by_path_or_name(tmp_path, monkeypatch):
    run = leave(tmp_path / "outputs", "my best", "finished")
    monkeypatch.chdir(tmp_path)
    outputs = run.path.parent
    for path in (run.path, Path("my best"), Path("outputs/my best"), Path("./outputs/my best")):
        found = Run.open("--run", path, outputs)
        assert found.path.resolve() == run.path and found.name == "my best"
        assert found.outputs == outputs
    for path, says in (
        (Path("none"), "--run none: does not exist"),
        (outputs, r"is not a run folder \(no config.json of a run in it\)"),
        (Path("x" * 300), "File name too long"),
    ):
        with pytest.raises(Mistake, match=says):
            Run.open("--run", path, outputs)


def test_a_link_that_leads_out_of_a_run_is_named(tmp_path):
    run = leave(tmp_path, "fashion-001", "stopped")
    (tmp_path / "precious").mkdir()
    run.grid_folder.symlink_to(tmp_path / "precious")
    with pytest.raises(Mistake, match=r"--run .*generated_samples is a link out of it"):
        Run.open("--run", run.path)
    with pytest.raises(Mistake, match=r"--resume .*generated_samples is a link out of it"):
        Run.newest_unfinished(tmp_path)


def test_the_newest_trained_run_is_the_default(tmp_path, capfd):
    with pytest.raises(Mistake, match=r"no run with a generator\.pth .*: python gan_lab\.py"):
        Run.newest(tmp_path)
    untrained = leave(tmp_path, "fashion-001", "stopped", generator=True)
    assert Run.newest(tmp_path).path == untrained.path  # the only run with a generator
    assert "fashion-001 has not finished" in capfd.readouterr().out
    finished = leave(tmp_path, "fashion-002", "finished", generator=True, rows=1)
    leave(tmp_path, "fashion-003", "diverged", generator=True, rows=1)
    leave(tmp_path, "fashion-004", "running", generator=True)
    leave(tmp_path, "fashion-005", "running", rows=1)
    assert Run.newest(tmp_path).path == finished.path
    assert capfd.readouterr().out == ""
    stopped = leave(tmp_path, "mnist-006", "stopped", generator=True, rows=1)
    assert Run.newest(tmp_path).path == stopped.path
    assert "mnist-006 has not finished" in capfd.readouterr().out


def test_a_run_with_a_damaged_config_may_be_the_newest(tmp_path, capfd):
    run = leave(tmp_path, "fashion-001", "finished", generator=True, rows=1)
    run.config_path.write_text("{")
    assert Run.newest(tmp_path).path == run.path
    assert "has not finished" in capfd.readouterr().out  # its status is unknown


def test_only_a_stopped_run_is_the_newest_unfinished_one(tmp_path, capfd):
    for number, status in enumerate(("stopped", "running", "diverged", "finished", "odd"), 1):
        leave(tmp_path, f"fashion-{number:03d}", status)
    damaged = leave(tmp_path, "fashion-009", "running")
    damaged.config_path.write_text("[")
    found = Run.newest_unfinished(tmp_path)
    assert found.name == "fashion-002"
    said = capfd.readouterr().out
    assert said.count("\n") == 1 and "note: skipped, " in said and "fashion-009" in said
    with files.locked(found.path):  # as during its training
        assert Run.newest_unfinished(tmp_path).name == "fashion-001"
    for run in Run.all_in(tmp_path):
        files.write_json(run.config_path, {"status": "finished"})
    with pytest.raises(Mistake, match=r"--resume: no unfinished run in .*train one"):
        Run.newest_unfinished(tmp_path)


# Locks


def test_a_run_is_running_as_long_as_it_is_locked(tmp_path):
    run = leave(tmp_path, "fashion-001", "running")
    with run.locked():
        assert run.is_locked and run.status == Run(run.path).status == "running"
        with pytest.raises(Fault, match="is in use by another program of the lab"):
            Run(run.path).locked().__enter__()
    assert not run.is_locked and Run(run.path).status == "stopped"
    run.save_status("diverged")  # what was read before is no longer so
    assert run.status == "diverged"
    for status in ("finished", "stopped", "diverged"):
        files.write_json(run.config_path, {"status": status})
        with run.locked():
            assert Run(run.path).status == status
    run.config_path.write_text("{")
    assert Run(run.path).status == "damaged"


def test_temporary_files_of_a_killed_training_are_removed(tmp_path):
    run = leave(tmp_path, "fashion-001", "running")
    run.grid_folder.mkdir()
    left = [run.path / ".1-ab.part", run.grid_folder / ".7.part"]
    kept = [run.path / "my.part", run.grid_folder / "epoch_001.png"]
    kept.append(run.path / ".9-cd.part")  # generate_images.py writes a folder of pictures
    kept[-1].mkdir()
    for path in left + kept:
        path.touch()
    with files.locked(run.path), pytest.raises(Fault):
        run.locked().__enter__()
    assert all(path.exists() for path in left)  # may belong to the other program
    with run.locked():
        assert not any(path.exists() for path in left)
        assert all(path.exists() for path in kept)


# Reading


def test_grids_are_in_order(tmp_path):
    run = leave(tmp_path, "fashion-001", "finished")
    assert run.grids() == [] and run.final_images() == []
    run.grid_folder.mkdir()
    for epoch in range(0, 1200, 5):
        run.grid_path(epoch).touch()
    for name in ("epoch_²².png", "epoch_7.jpg", "other.png", ".epoch_003.png"):
        (run.grid_folder / name).touch()
    epochs = [epoch for epoch, _ in run.grids()]
    assert epochs == list(range(0, 1200, 5))
    assert dict(run.grids())[1000] == run.grid_folder / "epoch_1000.png"


def test_final_images_are_in_order(tmp_path):
    run = leave(tmp_path, "fashion-001", "finished")
    run.final_folder.mkdir()
    for name in ("img_010.png", "img_002.png", "notes.txt"):
        (run.final_folder / name).touch()
    assert [path.name for path in run.final_images()] == ["img_002.png", "img_010.png"]


def test_an_evaluation_of_older_weights_is_ignored(tmp_path):
    run = leave(tmp_path, "fashion-001", "finished")
    run.save_network("generator", small_generator(), FASHION, epoch=3)
    older = Evaluation(figures={"fcd_test": 31.5}, generator_sha256="that of others")
    run.save_evaluation(older)
    assert Run(run.path).evaluation is None
    now = older.model_copy(update={"generator_sha256": digest(run.generator_path)})
    run.save_evaluation(now)
    assert Run(run.path).evaluation == now
    run.save_evaluation(older.model_copy(update={"generator_sha256": None}))  # unknown weights
    assert Run(run.path).evaluation.figures == {"fcd_test": 31.5}
    run.generator_path.unlink()
    run.save_evaluation(now)
    assert Run(run.path).evaluation is None and Run(run.path).generator_sha256 is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have a name")
def test_pipes_and_huge_files_are_refused(tmp_path):
    run = leave(tmp_path, "fashion-001", "finished")
    os.mkfifo(run.history_path)
    os.mkfifo(run.generator_path)
    run.evaluation_path.symlink_to("/dev/zero")
    assert run.history == [] and run.evaluation is None and run.generator_sha256 is None
    with pytest.raises(Fault, match="is not a file"):
        run.load_generator()
    run.history_path.unlink()
    with run.history_path.open("wb") as file:
        file.truncate(2**35)  # sparse
    assert Run(run.path).history == []


# Writing


def test_a_command_works_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["my lab/gan_lab.py"])
    words = shlex.split(Run(Path("two words/mnist-001")).command("--resume"))
    script, folder = tmp_path / "my lab/gan_lab.py", tmp_path / "two words/mnist-001"
    assert words == ["python", str(script), "--resume", str(folder)]


def test_config_has_options_data_machine_and_command(tmp_path, sample, monkeypatch):
    run, machine = Run.create(tmp_path, "fashion"), {"python": "3.12", "cores": 2}
    monkeypatch.setattr("sys.argv", ["gan_lab.py", "--out", "my outputs"])
    options = {"dataset": "fashion", "hidden_g": (8, 9), "data_dir": SAMPLE, "ema_decay": 0.5}
    run.write_config(options, "--dropout 0.3", sample, machine)
    found = Run(run.path).config
    assert found.status == "running" and len(found.written) == 16
    assert found.options == {**options, "hidden_g": [8, 9], "data_dir": str(SAMPLE)}
    assert found.other_than_recipe == "--dropout 0.3" and found.machine == machine
    assert found.data.fingerprint == sample.fingerprint and found.data.is_sample
    assert (found.data.title, found.data.training_images) == ("Fashion-MNIST", 10_000)
    assert found.command.startswith("python gan_lab.py --out") and found.resumed_by == ""
    assert found.started_in == str(Path.cwd())
    monkeypatch.setattr("sys.argv", ["gan_lab.py", "--resume"])
    monkeypatch.chdir(run.outputs)
    again = Run(run.path)
    again.write_config(options, "", sample, machine)
    again.save_status("finished")
    last = Run(run.path).config
    assert (last.command, last.resumed_by) == (found.command, "python gan_lab.py --resume")
    assert last.started_in == found.started_in
    assert last.status == "finished" and last.options == found.options
    assert Run(run.path).remarks == []


def test_a_saved_history_is_read_back(tmp_path):
    run = leave(tmp_path, "fashion-001", "running")
    assert run.history == []
    for rows in ([ROW], [ROW, {**ROW, "epoch": 2, "fcd_train_5k": 9.5}]):
        run.save_history(rows)
        assert run.history == rows


def test_networks_are_saved_with_their_set_and_epoch(tmp_path):
    run = leave(tmp_path, "fashion-001", "running")
    assert not run.generator_path.is_file() and run.generator_sha256 is None
    discriminator = build(DISCRIMINATORS, "mlp", shape=FASHION.shape, hidden=(8,))
    run.save_network("discriminator", discriminator, FASHION, epoch=2)
    assert load_weights(run.path / "discriminator.pth", "discriminator").facts["epoch"] == 2
    for epoch in (1, 2):
        generator = small_generator()
        run.save_network("generator", generator, FASHION, epoch=epoch)
        found = run.load_generator()
        assert found.facts["epoch"] == epoch and found.spec is FASHION
        assert found.sha256 == run.generator_sha256  # of the new weights, not the old
    assert run.generator_path.is_file()


def test_an_evaluation_is_read_back(tmp_path):
    run = leave(tmp_path, "fashion-001", "finished")
    evaluation = Evaluation(
        figures={"images": 10_000, "fcd_test": 31.4159},
        class_histogram={"Bag": 0.25, "Coat": 0.75},
        words=["Healthy."],
        compared_with=Comparison(set="Fashion-MNIST", is_sample=True, test_images=2_000),
    )
    run.save_evaluation(evaluation)
    assert run.evaluation == evaluation
    assert files.read_json(run.evaluation_path)["fcd_test"] == 31.4159  # at the top of the file


# Its data set


def trained_on(tmp_path: Path, dataset, data_dir: Path | None = None) -> Run:
    """A run that was trained on these images."""
    run = Run.create(tmp_path, "fashion")
    run.write_config({"dataset": dataset.name, "data_dir": data_dir}, "", dataset, {})
    return Run(run.path)


def test_a_run_on_the_sample_is_resumed_with_the_sample(tmp_path, sample, monkeypatch):
    run = trained_on(tmp_path / "outputs", sample)  # the full set was not there then
    full = dataclasses.replace(sample, is_sample=False, fingerprint="the full set's")
    monkeypatch.setattr(datasets, "load", lambda *_: full)
    assert load_dataset(run).is_sample and load_training_dataset(run).is_sample
    assert load_dataset(run, tmp_path) is full  # given explicitly


def test_a_run_on_the_sample_takes_no_other_images(tmp_path, sample, monkeypatch):
    run = trained_on(tmp_path, sample)
    full = dataclasses.replace(sample, is_sample=False)
    monkeypatch.setattr(datasets, "load", lambda *_: full)
    with pytest.raises(Mistake, match="leave --data-dir out"):
        load_training_dataset(run, Path("elsewhere"))
    other = dataclasses.replace(full, is_sample=True, fingerprint="of other images")
    monkeypatch.setattr(datasets, "load", lambda *_: other)
    with pytest.raises(Fault, match="trained on other images"):
        load_training_dataset(run, Path("elsewhere"))


def test_a_run_finds_its_images_where_they_were(tmp_path, sample, monkeypatch):
    full = dataclasses.replace(sample, is_sample=False)
    asked = []
    monkeypatch.setattr(datasets, "load", lambda *given: asked.append(given) or full)
    run = trained_on(tmp_path / "outputs", full, data_dir=SAMPLE)
    assert load_training_dataset(run) is full and run.was_trained_on(full)
    moved = trained_on(tmp_path / "outputs", full, data_dir=tmp_path / "gone")
    load_dataset(moved)
    load_dataset(moved, tmp_path)
    load_training_dataset(moved, download=False)
    monkeypatch.setattr(datasets, "load", lambda *_: sample)
    with pytest.raises(Fault, match="its images are not on this machine, and --dry-run"):
        load_training_dataset(moved, download=False)
    other = dataclasses.replace(sample, fingerprint="of the sample")
    monkeypatch.setattr(datasets, "load", lambda *_: other)
    with pytest.raises(Fault, match="trained on other images"):  # no download would help
        load_training_dataset(moved, SAMPLE, download=False)
    places = [*((SAMPLE, True), (None, True)), *((tmp_path, True), (None, False))]
    assert asked == [("fashion", *place) for place in places]


def test_a_run_without_its_set_is_a_fault(tmp_path):
    for options in ({}, {"dataset": 3}, {"dataset": "cifar"}, {"dataset": ["fashion"]}):
        files.write_json(tmp_path / "config.json", {"options": options})
        with pytest.raises(Fault, match="does not say which set the run was trained on"):
            load_dataset(Run(tmp_path))


def test_own_pictures_are_converted_as_before_and_found_after_a_move(tmp_path):
    shades = torch.arange(70 * 400).remainder(251).byte().view(70, 20, 20)
    (pictures := tmp_path / "leaves").mkdir()
    for index, image in enumerate(shades):
        write_png(pictures / f"{index}.png", as_picture(image[None]))
    dataset = datasets.load(str(pictures), image_size=16, colour=True)
    run = Run.create(tmp_path / "outputs", dataset.name)
    assert run.name == "leaves-001"
    run.write_config(dataset.options, "", dataset, {})
    again = load_training_dataset(Run(run.path))
    assert again.fingerprint == dataset.fingerprint and again.spec == dataset.spec
    assert Run(run.path).config.data.notices == list(dataset.notices)
    pictures.rename(tmp_path / "gone")
    with pytest.raises(Fault, match=r"leaves, which no longer exists; say with --data-dir"):
        load_training_dataset(Run(run.path))
    moved = load_training_dataset(Run(run.path), tmp_path / "gone")
    assert moved.fingerprint == dataset.fingerprint
    (tmp_path / "gone" / "0.png").unlink()
    with pytest.raises(Fault, match="trained on other images"):
        load_training_dataset(Run(run.path), tmp_path / "gone")
    check_pictures(pictures)
    check_pictures(run.path)  # a config.json alone makes no run
    run.grid_folder.mkdir()
    with pytest.raises(Mistake, match=r"is a run folder, .* name the final_generated_images in it"):
        check_pictures(run.path)


def test_without_a_fingerprint_any_images_are_accepted(tmp_path, sample):
    files.write_json(tmp_path / "config.json", {"options": {"dataset": "fashion"}})
    assert Run(tmp_path).was_trained_on(sample)
