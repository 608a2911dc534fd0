"""evaluate_images.py as a user runs it: runs, generator files, folders of pictures, mistakes."""

import dataclasses
import errno
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLE, call, score_few
from PIL import Image

import evaluate_images
from lab import device, files
from lab.data import DATASETS, DatasetSpec, image_folder, load_sample
from lab.data.writers import WRITERS, Contents, as_picture, write_png
from lab.errors import Fault, Interrupted, Mistake
from lab.evaluation import cas, evaluator, inception, subject
from lab.models import GENERATORS, build
from lab.models.serialization import save_weights
from lab.models.tensor_files import digest
from lab.report import figures
from lab.runs import Run


def save_untrained(path: Path, spec: DatasetSpec) -> None:
    torch.manual_seed(0)
    generator = build(GENERATORS, "mlp", shape=spec.shape, latent_dim=8, hidden=[16])
    save_weights(path, generator, spec, epoch=0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator.pth with an untrained generator."""
    path = tmp_path_factory.mktemp("weights") / "generator.pth"
    save_untrained(path, DATASETS["mnist"])
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of 20 digits, three of them in another form and three unreadable."""
    place = tmp_path / "made elsewhere $\\frac$"  # a title is no formula
    (place / "below").mkdir(parents=True)
    digits = load_sample("mnist").test_images[:20, 0].numpy()
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


@pytest.fixture
def evaluate(monkeypatch, capsys) -> Callable[..., str]:
    """Runs the script with few images in this process, which has torch imported already."""
    score_few(monkeypatch)

    def said(*arguments: object) -> str:
        call(evaluate_images, *arguments)
        return capsys.readouterr().out

    return said


# Runs


def test_a_run_scores_as_at_the_end_of_its_training(tiny_run: Path, tmp_path: Path, evaluate):
    copy = tmp_path / "outputs" / tiny_run.name
    shutil.copytree(tiny_run, copy)
    before = files.read_json(copy / "evaluation.json")
    (copy / "evaluation.json").unlink()
    said = evaluate("--run", copy, "--device", "cpu")
    after = files.read_json(copy / "evaluation.json")
    assert {name: after[name] for name in before} == before  # to the last digit
    assert after["images"] == 400 and after["compared_with"]["is_sample"]
    assert after["real"]["recall"] > 0.9
    for words in ("BUNDLED SAMPLE", "FCD, test images", "Coverage", *after["words"]):
        assert words in said
    page = (copy / "report.html").read_text(encoding="utf-8")
    assert "far from real images: the distance (FCD) is" in page
    with Image.open(copy / "evaluation.png") as picture:
        assert picture.width > 1000
        assert len(set(picture.convert("L").tobytes())) > 50


def test_a_run_that_is_being_trained_is_left_alone(tiny_run: Path, evaluate):
    before = (tiny_run / "evaluation.json").read_bytes()
    with files.locked(tiny_run), pytest.raises(Mistake, match="is being trained; wait"):
        evaluate("--run", tiny_run)
    assert (tiny_run / "evaluation.json").read_bytes() == before
    with files.locked(tiny_run):  # its file may be scored, but not into the run
        options = evaluate_images.Options(generator=tiny_run / "generator.pth")
        assert subject.find_subject(options).run is None


def test_a_run_is_scored_on_its_own_images_only(tiny_run: Path, tmp_path, evaluate):
    copy = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    config = files.read_json(copy / "config.json")
    config["data"]["fingerprint"] = "of others"
    files.write_json(copy / "config.json", config)
    with pytest.raises(Fault, match="trained on other images"):
        evaluate("--run", copy)


def test_a_generator_of_other_images_is_remarked_on(tiny_run: Path, tmp_path, evaluate):
    path, generator = tmp_path / "generator.pth", Run(tiny_run).load_generator()
    assert generator.facts["fingerprint"] == Run(tiny_run).config.data.fingerprint
    save_weights(path, generator.network, generator.spec, fingerprint="of others")
    said = evaluate("--generator", path, "--data-dir", SAMPLE, "--out", tmp_path / "out")
    assert "note: the generator was trained on other images of the set than these\n" in said


def test_the_diagnosis_uses_the_history_and_a_known_fid_is_kept(tiny_run: Path, tmp_path, evaluate):
    copy = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    before = files.read_json(copy / "evaluation.json")
    files.write_json(copy / "evaluation.json", {**before, "fid": 12.5})
    trained = Run(copy)
    trained.save_history([{**row, "d_real": 0.99, "d_fake": 0.01} for row in trained.history])
    assert "The discriminator is winning" in evaluate("--run", copy)
    content = files.read_json(copy / "evaluation.json")
    assert "The discriminator is winning" in " ".join(content["words"])
    assert content["fid"] == 12.5
    assert "12.5" in (copy / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", [{"fid": float("inf")}, {"generator_sha256": "of others"}])
def test_a_fid_of_other_weights_or_images_is_dropped(
    damage: dict, tiny_run: Path, tmp_path, evaluate
):
    copy = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    before = files.read_json(copy / "evaluation.json")
    files.write_json(copy / "evaluation.json", {**before, "fid": 12.5, **damage})
    evaluate("--run", copy)
    assert "fid" not in files.read_json(copy / "evaluation.json")


def test_a_damaged_history_is_reported_and_ignored(tiny_run: Path, tmp_path, evaluate):
    copy = shutil.copytree(tiny_run, tmp_path / "fashion-001")
    (copy / "history.csv").write_text("epoch\n1\ntwo\n")
    (copy / "evaluation.json").write_text("{")
    out = evaluate("--run", copy)
    assert out.count("history.csv: damaged, ignored") == 1
    assert files.read_json(copy / "evaluation.json")["images"] == 400


# Generator files


def test_a_generator_file_gets_a_new_folder_each_time(weights: Path, tmp_path: Path, evaluate):
    arguments = ("--generator", weights, "--out", tmp_path, "--data-dir", SAMPLE)
    (tmp_path / "mnist-007").mkdir()  # runs are numbered for themselves
    for _ in range(2):
        out = evaluate(*arguments)
    assert "trained too little, or collapsed to a few kinds (the classifier sees" in out
    first, second, _ = sorted(tmp_path.iterdir())
    assert (first.name, second.name) == ("evaluation-001", "evaluation-002")
    assert (first / "evaluation.json").read_bytes() == (second / "evaluation.json").read_bytes()
    assert (first / "evaluation.png").read_bytes() == (second / "evaluation.png").read_bytes()


def test_the_inception_distance_is_written_beside_the_other_figures(
    weights: Path, tmp_path: Path, monkeypatch, evaluate
):
    checked = []
    monkeypatch.setattr(inception, "check", lambda count, dataset: checked.append(count))
    monkeypatch.setattr(inception, "distance", lambda *_: 12.5)
    arguments = ("--generator", weights, "--out", tmp_path, "--data-dir", SAMPLE)
    assert "Inception FID 12.50" in evaluate(*arguments, "--fid")
    content = files.read_json(tmp_path / "evaluation-001" / "evaluation.json")
    assert content["fid"] == 12.5 and content["generator_sha256"] == digest(weights)
    assert checked == [400, 400]  # before any work, and again with what could be read


def test_the_accuracy_score_is_written_beside_that_of_real_images(
    weights: Path, tmp_path: Path, monkeypatch, evaluate
):
    monkeypatch.setattr(cas, "check", lambda *_: None)
    monkeypatch.setattr(cas, "scores", lambda *_: (0.25, 0.75))
    out = evaluate("--generator", weights, "--out", tmp_path, "--data-dir", SAMPLE, "--cas")
    assert "trained on generated images 25.0%, on real images 75.0%" in out
    content = files.read_json(tmp_path / "evaluation-001" / "evaluation.json")
    assert content["cas"] == 0.25 and content["real"]["cas"] == 0.75


def test_all_else_is_saved_before_the_inception_distance(
    weights: Path, tmp_path: Path, monkeypatch, evaluate
):
    def interrupted(*_: object) -> float:
        raise Interrupted("interrupted")

    monkeypatch.setattr(inception, "check", lambda *_: None)
    monkeypatch.setattr(inception, "distance", interrupted)
    arguments = ("--generator", weights, "--out", tmp_path, "--data-dir", SAMPLE, "--fid")
    with pytest.raises(Interrupted, match=r"all figures but the FID are in .*evaluation-001"):
        evaluate(*arguments)
    content = files.read_json(tmp_path / "evaluation-001" / "evaluation.json")
    assert content["images"] == 400 and "fcd_test" in content
    assert (tmp_path / "evaluation-001" / "evaluation.png").is_file()


def test_the_figures_are_shown_before_they_are_saved(
    weights: Path, tmp_path: Path, monkeypatch, evaluate, capsys
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evaluate_images, "save", full)
    with pytest.raises(OSError, match="No space left"):
        evaluate("--generator", weights, "--out", tmp_path, "--data-dir", SAMPLE)
    assert "\nFCD, test images " in capsys.readouterr().out


def test_the_sheet_of_classes_says_what_was_scored_and_compared_with(
    weights: Path, tmp_path: Path, monkeypatch, evaluate
):
    drawn = []
    monkeypatch.setattr(figures, "save_class_sheet", lambda *given: drawn.append(given))
    evaluate(*("--generator", weights, "--out", tmp_path))
    assert drawn[0][-2:] == (
        "generator.pth: MNIST, 400 images",
        "compared with the BUNDLED SAMPLE, not the full set",
    )


def test_a_sheet_is_called_after_the_folder_of_pictures(
    pictures: Path, tmp_path: Path, monkeypatch, evaluate
):
    drawn = []
    monkeypatch.setattr(figures, "save_class_sheet", lambda *given: drawn.append(given))
    monkeypatch.chdir(pictures)
    out = ("--out", tmp_path / "results", "--data-dir", SAMPLE)
    evaluate("--images", ".", "--dataset", "mnist", *out)
    assert drawn[0][-2] == f"{pictures.name}: MNIST, 20 images"


def test_a_set_that_was_moved_is_named_by_one_option(tmp_path: Path, monkeypatch):
    leaves = tmp_path / "leaves"
    leaves.mkdir()
    for level in range(70):
        Image.linear_gradient("L").resize((16, 16)).point(lambda v, k=level: v ^ k).save(
            leaves / f"{level}.png"
        )
    save_untrained(tmp_path / "generator.pth", DatasetSpec("leaves", "Leaves", (1, 16, 16)))
    monkeypatch.chdir(tmp_path)
    for given in ("leaves", "./leaves"):  # the first is the name of the set, too
        options = evaluate_images.Options(generator=Path("generator.pth"), dataset=given)
        found = subject.find_subject(options)
        assert found.load_dataset(None, None, None).source == str(leaves)
        with pytest.raises(Mistake, match="--data-dir elsewhere: --dataset says where"):
            found.load_dataset(Path("elsewhere"), None, None)


def test_generators_of_unknown_origin_are_a_fault(tmp_path: Path, evaluate):
    save_untrained(tmp_path / "g.pth", DatasetSpec("cifar", "CIFAR", (3, 20, 20), ("cat", "dog")))
    with pytest.raises(Fault, match=r"CIFAR, is not one that can be loaded.*say with --data-dir"):
        evaluate("--generator", tmp_path / "g.pth", "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_results_do_not_go_where_pictures_are_read(pictures, evaluate):
    (pictures / "config.json").write_text("{}")  # which makes no run of it
    arguments = ("--images", pictures, "--dataset", "mnist", "--out", pictures / "below" / "new")
    with pytest.raises(Mistake, match=r"lies in --images .* would be read as its pictures"):
        evaluate(*arguments)
    assert not (pictures / "below" / "new").exists()


# Pictures


def test_dark_pictures_on_light_are_inverted(tmp_path: Path, capsys):
    Image.new("L", (28, 28), 200).save(tmp_path / "one.png")
    referee = evaluator.Evaluator(load_sample("mnist"), torch.device("cpu"))
    for invert, level in ((False, 200), (True, 55)):
        options = evaluate_images.Options(images=tmp_path, dataset="mnist", invert=invert)
        found = subject.find_subject(options)
        images, labels = found.images(referee)
        assert images.unique().tolist() == [level] and labels is None and found.count == 1
    assert "labels left out" not in capsys.readouterr().out  # there are none


def test_images_in_any_container_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    digits = load_sample("mnist").test_images[:40]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        (tmp_path / "folder" / "below").mkdir(parents=True)
        for index, digit in enumerate(digits):
            write_png(path := tmp_path / "folder" / "below" / f"{index:02d}.png", as_picture(digit))
            archive.write(path, path.name)
    np.savez(tmp_path / "named.npz", images=digits[:, 0].numpy(), labels=np.arange(40))
    np.savez(tmp_path / "unnamed.npz", digits.permute(0, 2, 3, 1).numpy() / 255)
    with WRITERS["idx"].open(tmp_path / "set", Contents(DATASETS["mnist"], (30, 10), True)) as add:
        add(0, digits[:30], range(30), [0] * 30)
        add(1, digits[30:], range(10), [0] * 10)
    write_png(tmp_path / "set" / "made.png", as_picture(digits[0]))  # as generate_images.py does
    referee = evaluator.Evaluator(load_sample("mnist"), torch.device("cpu"))
    found = {}
    for name in ("folder", "all.zip", "named.npz", "unnamed.npz", "set"):
        options = evaluate_images.Options(images=tmp_path / name, dataset="mnist")
        found[name], _ = subject.find_subject(options).images(referee)
    assert found["folder"].float().mean() == digits.float().mean()
    assert all(torch.equal(images, found["folder"]) for images in found.values())
    monkeypatch.setattr(device, "free_memory", lambda: 1_000)
    for name in ("named.npz", "set"):
        options = evaluate_images.Options(images=tmp_path / name, dataset="mnist")
        with pytest.raises(Mistake, match=f"^--images {tmp_path / name}.* images take"):
            subject.find_subject(options)


def test_classes_of_images_count_as_asked_for(tmp_path: Path, capsys):
    sample = load_sample("fashion")
    images, labels = sample.test_images[:60], sample.test_labels[:60].tolist()
    contents = Contents(DATASETS["fashion"], (60,), labelled=True)
    for kind, name in (("png", "folder"), ("npz", "a.npz")):
        with WRITERS[kind].open(tmp_path / name, contents) as add:
            add(0, images, range(60), labels)
    assert (tmp_path / "folder" / "5_sandal").is_dir()
    names = [DATASETS["fashion"].class_names[label] for label in labels]
    np.savez(tmp_path / "named.npz", images=images[:, 0].numpy(), labels=names)
    np.savez(tmp_path / "other.npz", images=images[:, 0].numpy(), labels=["cat", *names[1:]])
    referee, of_image = evaluator.Evaluator(sample, torch.device("cpu")), {}
    for image, label in zip(images, labels, strict=True):
        of_image[image.numpy().tobytes()] = label
    for name in ("folder", "a.npz", "named.npz", "other.npz"):
        options = evaluate_images.Options(images=tmp_path / name, dataset="fashion")
        found, asked = subject.find_subject(options).images(referee)
        if name != "other.npz":
            assert asked.tolist() == [of_image[image.numpy().tobytes()] for image in found]
    left_out = "note: labels left out, not all of them are classes of Fashion-MNIST"
    assert asked is None and left_out in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "given", "labels"),
    [
        (("1", "2", "3"), [2, 3], [1, 2]),
        (("1", "2", "3"), [0, 2], [0, 2]),  # 0 is no name
        (DATASETS["emnist"].class_names, [9, 10], [9, 10]),  # `9` and `A`
    ],
    ids=["names", "numbers", "both"],
)
def test_numbers_are_names_of_classes_or_else_count_from_0(names, given, labels, tmp_path):
    sample = load_sample("mnist")
    own = dataclasses.replace(sample.spec, class_names=names)
    referee = evaluator.Evaluator(dataclasses.replace(sample, spec=own), torch.device("cpu"))
    np.savez(tmp_path / "a.npz", images=sample.test_images[:2, 0].numpy(), labels=given)
    options = evaluate_images.Options(images=tmp_path / "a.npz", dataset="mnist")
    _, asked = subject.find_subject(options).images(referee)
    assert sorted(asked.tolist()) == labels


def test_pictures_of_any_program(pictures: Path, tmp_path: Path, evaluate):
    arguments = ("--out", tmp_path / "results", "--data-dir", SAMPLE)
    out = evaluate("--images", pictures, "--dataset", "mnist", *arguments)
    assert "20 images" in out
    assert "resized from 40 x 32 to 28 x 28: 1 file (01.png)" in out
    assert "colour turned to grey: 1 file (02.png)" in out
    assert "16 bits turned to 8: 1 file (03.png)" in out
    unread = next(line for line in out.splitlines() if "cannot be read: 3 files" in line)
    assert all(name in unread for name in ("cut.png", "text.png", "huge.png"))
    assert "rarest class and rare classes need 256" in out and "Too few images" in out
    content = files.read_json(tmp_path / "results" / "evaluation-001" / "evaluation.json")
    assert content["images"] == 20 and "fcd_test" not in content and "thin_classes" not in content
    assert sorted(path.name for path in pictures.iterdir())[0] == "00.png"  # nothing written there
    assert not list(pictures.glob("evaluation*"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--images", "{pictures}"), "name with --dataset the set to compare them with"),
        (("--images", "{pictures}", "--dataset", "minst"), "did you mean mnist?"),
        (("--images", "{pictures}", "--dataset", "mnist", "--colour"), "are grey"),
        (("--generator", "{weights}", "--image-size", "32"), "the generator has its own"),
        (("--generator", "{weights}", "--grey"), "the generator has its own"),
        (("--generator", "{weights}", "--cas"), "is no conditional generator of MNIST"),
        (("--generator", "{weights}", "--dataset", "{pictures}"), "was trained on mnist"),
        (("--images", "{empty}", "--dataset", "mnist"), "no pictures in it"),
        (("--images", "{empty}/none", "--dataset", "mnist"), "does not exist"),
        (("--images", "{weights}", "--dataset", "mnist"), "no pictures in it"),
        (("--images", __file__, "--dataset", "mnist"), "is not a valid zip or npz file"),
        (("--images", "{pictures}", "--generator", "{weights}"), "not both"),
        (("--generator", "{weights}", "--dataset", "fashion"), "was trained on mnist"),
        (("--generator", "{weights}", "--invert"), "without --images"),
        (("--generator", "{empty}"), "is a folder"),
        (("--run", "{empty}"), "not a run folder"),
        (("--run", "{run}", "--out", "{empty}"), "goes into the run"),
        (("--images", "{run}", "--dataset", "mnist"), "is a run folder"),
        (("--generator", "{weights}", "--fid"), inception.INSTALL),
    ],
)
def test_mistakes_are_refused_before_any_work(
    arguments, line, weights, pictures, tmp_path, monkeypatch, evaluate
):
    monkeypatch.setattr(inception, "PACKAGE", "a_package_that_nobody_has")
    monkeypatch.setattr(image_folder, "read_images", None)  # calling it would raise something else
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    shutil.copytree(weights.parent, run_folder := tmp_path / "run")
    files.write_json(run_folder / "config.json", {"status": "finished"})
    names = {"pictures": pictures, "empty": empty, "weights": weights, "run": run_folder}
    filled = [argument.format(**names) for argument in arguments]
    with pytest.raises(Mistake) as caught:
        evaluate(*filled, "--out", out, "--data-dir", SAMPLE)
    assert line in str(caught.value)
    assert not out.exists()
