"""generate_images.py as a user runs it: results, refusals, and what remains after a fault."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run, start
from PIL import Image
from torchvision.datasets import FashionMNIST

import generate_images
from lab import files
from lab.data import DATASETS, DatasetSpec, load
from lab.errors import Fault, Mistake
from lab.evaluation import classifiers
from lab.models import CLASSIFIERS, GENERATORS, build, shipped
from lab.models.serialization import save_weights
from lab.runs import generators
from lab.runs.generated import locate_outputs
from lab.runs.run import Run

FASHION = DATASETS["fashion"]


def save_generator(path: Path, spec: DatasetSpec, classes: int = 0) -> Path:
    torch.manual_seed(0)
    sizes = {"latent_dim": 8, "hidden": (64,), **({"classes": classes} if classes else {})}
    save_weights(path, build(GENERATORS, "mlp", shape=spec.shape, **sizes), spec, epoch=2)
    return path


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    """An untrained conditional generator."""
    return save_generator(tmp_path / "generator.pth", FASHION, classes=10)


@pytest.fixture
def unconditional(tmp_path: Path) -> Path:
    """An untrained unconditional generator."""
    return save_generator(tmp_path / "unconditional.pth", FASHION)


def make(monkeypatch, *arguments: object) -> None:
    """Run the script in this process, since importing torch takes longer than its work."""
    monkeypatch.setattr(sys, "argv", ["generate_images.py", *map(str, arguments)])
    generate_images.main()


def made_facts(path: Path) -> dict:
    return json.loads((path.parent / "dataset.json").read_text())["made"][path.name]


def test_the_newest_run_makes_a_hundred_images_and_a_sheet(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "outputs" / "fashion-001"
    folder.mkdir(parents=True)
    save_generator(folder / "generator.pth", FASHION)
    files.write_json(folder / "config.json", {"options": {"dataset": "fashion"}})
    monkeypatch.setattr(Run, "newest", partial(Run.newest, folder.parent))
    make(monkeypatch)
    names = sorted(path.name for path in (folder / "generated_images").iterdir())
    assert names == [f"seed{seed:06d}.png" for seed in range(100)]
    with Image.open(folder / "made.png") as sheet:
        assert sheet.width == sheet.height > 1_000
    facts = made_facts(folder / "generated_images")
    assert facts["images"] == 100 and facts["labels"] == "none"
    assert facts["generator_sha256"] == Run(folder).generator_sha256
    assert "images/s" in capsys.readouterr().out


def test_a_set_with_its_corrupted_copy_in_idx(generator, tmp_path):
    out = tmp_path / "simulated"
    done = run(
        *("generate_images.py", "--generator", generator, "--count", 600, "--format", "idx"),
        *("--out", out, "--corruption", "gaussian:0.3", "--sigma", 0.3),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    train = FashionMNIST(str(out), train=True)
    test = FashionMNIST(str(out), train=False)
    assert (len(train), len(test)) == (600, 100)
    assert train.targets[:12].tolist() == [*range(10), 0, 1]
    assert len(torch.cat((train.data, test.data)).unique(dim=0)) == 700  # other seeds
    noisy = FashionMNIST(str(tmp_path / "simulated_sigma_0.3"), train=True)
    assert torch.equal(noisy.targets, train.targets)
    off = (noisy.data.float() - train.data.float()) / 255
    assert 0.15 < off.std() < 0.3 and off[0].ne(off[1]).any()  # of 0.3, what 256 levels leave
    assert len(load("fashion", out).train_images) == 600
    facts = made_facts(out / "FashionMNIST")
    assert (facts["images"], facts["test_images"]) == (600, 100)
    assert facts["seeds"] == ["0-599", "600-699"] and facts["corruption"] is None
    assert made_facts(tmp_path / "simulated_sigma_0.3" / "FashionMNIST")["corruption"]


def test_an_image_depends_on_its_class_and_seed_only(generator, tmp_path, monkeypatch):
    common = ("--generator", generator)
    make(
        monkeypatch, *common, "--seeds", "7,300-301", "--classes", "bag,2", "--out", tmp_path / "a"
    )
    names = sorted(str(path.relative_to(tmp_path / "a")) for path in tmp_path.glob("a/*/*"))
    seeds = ("seed000007.png", "seed000300.png", "seed000301.png")
    assert names == [str(Path(label, seed)) for label in ("2_pullover", "8_bag") for seed in seeds]
    make(monkeypatch, *common, "--count", 303, "--out", tmp_path / "b.npz", "--sigma", 0.2)
    make(monkeypatch, *common, "--seeds", 302, "--out", tmp_path / "c.npz", "--sigma", 0.2)
    for kind in ("", "_sigma_0.2"):
        many, one = np.load(tmp_path / f"b{kind}.npz"), np.load(tmp_path / f"c{kind}.npz")
        assert np.array_equal(many["images"][302], one["images"][0])
        assert one["labels"][0] == many["labels"][302] == 2
    with Image.open(tmp_path / "a" / "2_pullover" / "seed000007.png") as picture:
        assert not np.array_equal(np.asarray(picture), many["images"][7])  # that is of class 7
    mean = ("--seeds", "2,12", "--truncation", 0, "--out", tmp_path / "d.npz")
    make(monkeypatch, *common, *mean)
    assert np.array_equal(*np.load(tmp_path / "d.npz")["images"])  # both are of class 2


def test_labels_by_a_classifier_are_recorded_as_such(unconditional, tmp_path, monkeypatch):
    out = tmp_path / "labelled.npz"
    make(monkeypatch, "--generator", unconditional, "--label-by-classifier", "--out", out)
    found = np.load(out)
    assert len(found["labels"]) == 100
    assert "classifier" in made_facts(out)["labels"]
    assert made_facts(out)["started_in"] == str(Path.cwd())
    arguments = ("--label-by-classifier", "--count", 12, "--format", "idx")
    make(monkeypatch, "--generator", unconditional, *arguments, "--out", tmp_path / "simulated")
    simulated = FashionMNIST(str(tmp_path / "simulated"), train=True)
    assert simulated.targets.tolist() == found["labels"][:12].tolist()


def test_the_cached_classifier_of_an_own_set_labels_images(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = DatasetSpec("leaves", "Leaves", (1, 16, 16), ("oak", "elm"))
    folder, mark = tmp_path / "leaves-001", "0123" * 16
    folder.mkdir()
    save_generator(folder / "generator.pth", own)
    data = {"fingerprint": mark, "training_images": 500}
    (folder / "config.json").write_text(json.dumps({"data": data}))
    arguments = ("--run", folder, "--label-by-classifier", "--classes", "elm", "--count", 5)
    with pytest.raises(
        Mistake, match=rf"no classifier of .* yet; evaluate_images.py --run {folder}"
    ):
        make(monkeypatch, *arguments)
    network = build(CLASSIFIERS, "cnn", shape=own.shape, classes=2)
    recipe = dataclasses.asdict(classifiers._own_recipe("cnn", own, 500))
    kept = classifiers._cache_path("cnn", mark)
    kept.parent.mkdir(parents=True)
    for accuracy in (0.5, 0.9):
        facts = {"fingerprint": mark, "recipe": recipe, "test_accuracy": accuracy}
        save_weights(kept, network, own, **facts)
        if accuracy < 0.6:
            with pytest.raises(Mistake, match="accuracy of 50% only"):
                make(monkeypatch, *arguments)
    for name in own.class_names:  # one of them may be all that it sees
        with contextlib.suppress(Fault):
            make(monkeypatch, *arguments[:3], "--classes", name, "--count", 5)
            assert len(list((folder / "generated_images").rglob("*.png"))) == 5
            return
    raise AssertionError("no class was found")


def test_a_folder_holds_samples_only_and_is_made_again_whole(generator, tmp_path, monkeypatch):
    out = tmp_path / "samples"
    out.mkdir()  # an empty folder may be replaced
    make(monkeypatch, "--generator", generator, "--count", 30, "--out", out)
    assert [path.suffix for path in out.rglob("*.*")] == [".png"] * 30
    make(monkeypatch, "--generator", generator, "--count", 20, "--out", out)
    assert [path.suffix for path in out.rglob("*.*")] == [".png"] * 20
    assert not list(tmp_path.glob(".*"))
    for format in ("npz", "zip", "idx"):  # its own name each, or refused
        arguments = ("--generator", generator, "--count", 10, "--format", format, "--out", out)
        if format == "idx":
            with pytest.raises(Mistake, match="has images of another format"):
                make(monkeypatch, *arguments)
        else:
            make(monkeypatch, *arguments)
            assert out.with_suffix(f".{format}").is_file()
    made = json.loads((tmp_path / "dataset.json").read_text())["made"]
    assert {name: facts["images"] for name, facts in made.items()} == {
        **{"samples": 20, "samples.npz": 10, "samples.zip": 10}
    }


def test_an_ending_that_is_the_formats_is_not_repeated(tmp_path):
    for given, name in (("a.NPZ", "a.npz"), ("v1.2", "v1.2.npz")):
        (output,) = locate_outputs("--out", tmp_path / given, "npz", FASHION, [""])
        assert output.path == tmp_path / name


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
@pytest.mark.parametrize(
    ("flag", "cure"),
    [("--out", "name another folder"), ("--run", "name one for the images with --out")],
)
def test_a_folder_that_is_not_writable_is_named(flag, cure):
    with pytest.raises(Mistake, match=f"^{flag} /proc/new: /proc is not writable, {cure}$"):
        locate_outputs(flag, Path("/proc/new/images"), "png", DATASETS["mnist"], [""])


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_an_export_from_a_run_of_another_user_goes_elsewhere(generator, monkeypatch):
    trained = generators.find_generator(None, generator)
    monkeypatch.setattr(generate_images, "output_folder", lambda _: Run(Path("/proc/new")))
    options = generate_images.Options(export="safetensors")
    with pytest.raises(Mistake, match=r"^--run /proc/new/.* not writable, name a folder with"):
        generate_images.save_export(options, trained)
    mine = generate_images.Options(export="safetensors", out=generator.parent)
    with pytest.raises(Mistake, match="is not empty; name a new folder for safetensors"):
        generate_images.save_export(mine, trained)
    mine = generate_images.Options(export="onnx", out=generator.with_name("g.onnx"))
    with pytest.raises(Mistake, match=r"^--out .*/g\.onnx: is a folder.* name it without \.onnx$"):
        generate_images.save_export(mine, trained)


def test_an_export_fills_an_empty_folder_through_a_link_to_it(generator, tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    (tmp_path / "empty").mkdir()
    (tmp_path / "linked").symlink_to("empty")
    common = ("--generator", generator, "--export", "safetensors", "--out")
    make(monkeypatch, *common, tmp_path / "linked")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    make(monkeypatch, *common, ".")
    for name in ("linked", "empty", "here"):
        assert (tmp_path / name / "generator.safetensors").is_file()
    assert (tmp_path / "linked").is_symlink() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("kind", "made"), [("png", "5_sandal/seed000007.png"), ("idx", "raw/train-images-idx3-ubyte")]
)
def test_files_of_the_user_among_generated_images_are_kept(kind, made, tmp_path):
    place = ("--out", tmp_path / "images", kind, FASHION, [""])
    (output,) = locate_outputs(*place)
    (output.path / made).parent.mkdir(parents=True)
    (output.path / made).touch()
    (output.path / ".DS_Store").touch()
    output.record({})
    locate_outputs(*place)  # may be replaced
    for name in ("mine.png", f"{Path(made).name}.mine"):
        (mine := (output.path / made).with_name(name)).touch()
        with pytest.raises(Mistake, match=rf"has .*{name}, which would be deleted; move it, or"):
            locate_outputs(*place)
        mine.unlink()


def test_images_of_another_format_in_a_run_are_kept(tmp_path):
    place = ("--run", tmp_path / "generated_images")
    (png,) = locate_outputs(*place, "png", FASHION, [""])
    png.path.mkdir()
    (png.path / "seed000000.png").touch()
    png.record({})
    with pytest.raises(Mistake, match="another format; name one for the images with --out"):
        locate_outputs(*place, "idx", FASHION, [""])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--classes", "12"), "'12': the classes are t-shirt"),
        (("--seeds", "10000000000"), "out of range"),
        (("--seeds", "1-5", "--per-class", "2"), "--seeds sets the number"),
        (("--truncation", "1.1"), "from 0 to 1"),
        (("--corruption", "gaussian:2"), "--corruption 'gaussian:2'"),
        (("--corruption", "mask:box40"), "--corruption mask:box40: "),
        (("--out", "{there}"), "not png output of generate_images.py"),
        (("--out", "{there}/file"), "is a file"),
        (("--out", "{there}/file.npz"), "not npz output of generate_images.py"),
        (("--out", "{there}/empty.npz"), "not npz output of generate_images.py"),
        (("--out", "{there}/file/below"), "file is a file"),
        (("--out", "/"), "exists and is not"),
        (("--out", "x.jpg"), "ends in none of"),
        (("--out", "made.png", "--format", "png"), "a file of this name describes the images"),
        (("--out", "{other}/x"), "made.png was written by another program"),
        (("--out", "{there}/below/x"), "dataset.json was written by another program"),
        (("--pretrained", "mnist"), "--generator or --pretrained, not both"),
        (("--label-by-classifier",), "is conditional"),
        (("--export", "onnx", "--count", "3"), "--count 3: has no effect with --export"),
        (("--export", "onnx", "--device", "cpu"), "--device cpu: has no effect with --export"),
    ],
)
def test_mistakes_are_refused_and_nothing_is_written(
    arguments, line, generator, tmp_path, monkeypatch
):
    there, other = tmp_path / "there", tmp_path / "other"
    (there / "empty.npz").mkdir(parents=True)  # a file cannot replace it
    (there / "below").mkdir()
    (there / "below" / "dataset.json").write_text('{"made": {}}')
    other.mkdir()
    for path in (there / "file", there / "file.npz", other / "made.png"):
        path.write_text("a user's")
    before = sorted(tmp_path.rglob("*"))
    filled = [argument.format(there=there, other=other) for argument in arguments]
    out = () if "--out" in arguments else ("--out", tmp_path / "out")
    with pytest.raises(Mistake) as caught:
        make(monkeypatch, "--generator", generator, *filled, *out)
    assert line in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_sets_that_have_no_classes_or_no_idx(tmp_path, monkeypatch, capsys):
    own = save_generator(tmp_path / "own.pth", DatasetSpec("own", "Own", (3, 16, 16)))
    common = ("--generator", own, "--out", tmp_path / "out")
    for arguments, line in (
        (("--classes", "1"), "has no labels"),
        (("--format", "idx"), "grey images"),
    ):
        with pytest.raises(Mistake, match=line):
            make(monkeypatch, *common, *arguments)
    make(monkeypatch, *common, "--count", 3)
    assert "3 images like Own, by" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "seed000002.png") as picture:
        assert picture.mode == "RGB" and picture.size == (16, 16)


# Faults


@pytest.fixture
def small_files():
    """No file may be larger than 400 kB, as on a disk that is nearly full."""
    resource = pytest.importorskip("resource")  # of POSIX
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", ["npz", "zip", "idx"])
def test_on_a_full_disk_nothing_stays(kind, generator, tmp_path, monkeypatch, small_files):
    arguments = ("--generator", generator, "--count", 1500, "--format", kind)
    with pytest.raises(OSError, match=r"too large.*out"):
        make(monkeypatch, *arguments, "--out", tmp_path / "out")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [generator]


@pytest.mark.skipif(os.name == "nt", reason="needs signals of POSIX")
def test_a_stopped_job_leaves_nothing_that_looks_finished(generator, tmp_path):
    process = start(
        *("generate_images.py", "--generator", generator, "--count", 5_000_000, "--out", "all.npz"),
        cwd=tmp_path,
    )
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob(".*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM and "nothing was kept" in err
    assert list(tmp_path.iterdir()) == [generator]


# The networks that ship


def test_without_a_run_the_shipped_generator_is_used(generator, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generators, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(Run, "newest", partial(Run.newest, tmp_path / "outputs"))
    monkeypatch.setattr(generators, "sets_with_generator", lambda: [FASHION])
    loaded = generators.load_weights(generator, "generator")
    monkeypatch.setattr(generators, "load_shipped", lambda role, spec: loaded)
    make(monkeypatch)
    said = capsys.readouterr().out  # also by evaluate_images.py, which has no --pretrained
    assert "there is no run yet" in said and "--generator names another" in said
    make(monkeypatch, "--pretrained", "fashion", "--per-class", 2)
    assert "there is no run yet" not in capsys.readouterr().out
    folders = [tmp_path / "outputs" / f"generated-00{number}" for number in (1, 2)]
    counts = [len(list((each / "generated_images").rglob("*.png"))) for each in folders]
    assert counts == [100, 20] and not Run.all_in(tmp_path / "outputs")
    with pytest.raises(Mistake, match="'cifar': has no pretrained generator; choose fashion"):
        make(monkeypatch, "--pretrained", "cifar")


def test_the_shipped_generator_makes_the_classes_asked_for(tmp_path, monkeypatch):
    for spec in shipped.sets_with_generator():
        out = tmp_path / f"{spec.name}.npz"
        make(monkeypatch, "--pretrained", spec.name, "--per-class", 20, "--out", out)
        images = torch.from_numpy(np.load(out)["images"])[:, None]
        seen = shipped.load_classifier(spec)(images.float() / 127.5 - 1).argmax(1)
        assert (seen == torch.arange(200) % 10).float().mean() > 0.8
        size = (shipped.WEIGHTS / shipped.file_of("generator", spec.name)).stat().st_size
        assert size <= 5_000_000
