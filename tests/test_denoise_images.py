"""denoise_images.py as a user runs it: results and refusals."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from conftest import SAMPLE, score_few
from PIL import Image

import denoise_images
from lab import files
from lab.data import datasets, load_sample
from lab.data.pixels import to_unit, unit_to_levels
from lab.errors import Fault, Mistake
from lab.evaluation.evaluator import generated_images
from lab.models import DENOISERS, GENERATORS, SAMPLERS, build, shipped
from lab.models.serialization import load_weights, save_weights
from lab.models.tensor_files import digest
from lab.restoration import (
    classical,
    corruption,
    corruptions,
    denoising,
    networks,
    own_pictures,
    posterior,
    projection,
    restorers,
)
from lab.restoration.corruption import quantised
from lab.restoration.corruptions import Gaussian, parse
from lab.restoration.examples import KINDS
from lab.runs.run import Run

MNIST = datasets.DATASETS["mnist"]
SMALL = {"shape": MNIST.shape, "corruptions": len(KINDS), "width": 8, "inner_width": 8}
SOON = ("--steps", 10, "--restarts", 2, "--device", "cpu")
FEW = ("--count", 3, *SOON)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an untrained generator and denoiser; tests must not change it."""
    run_folder = tmp_path_factory.mktemp("denoise") / "outputs" / "mnist-001"
    run_folder.mkdir(parents=True)
    torch.manual_seed(0)
    save_weights(run_folder / "generator.pth", small_generator(), MNIST, epoch=1)
    save_weights(run_folder / "denoiser.pth", small_denoiser(), MNIST)
    save_weights(run_folder / "sampler.pth", small_sampler(), MNIST)
    options = {"dataset": "mnist", "data_dir": str(SAMPLE)}
    files.write_json(run_folder / "config.json", {"options": options})
    return run_folder


def small_generator() -> torch.nn.Module:
    return build(GENERATORS, "mlp", shape=MNIST.shape, latent_dim=8, hidden=(32,))


def small_denoiser() -> torch.nn.Module:
    return build(DENOISERS, "blind", **SMALL)


def small_sampler() -> torch.nn.Module:
    return build(SAMPLERS, "posterior", **SMALL)


@pytest.fixture
def own_run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it without denoiser and sampler; none ships, either."""
    monkeypatch.setattr(networks, "load_shipped", lambda *_: None)
    copied = tmp_path / "outputs" / "mnist-001"
    shutil.copytree(finished, copied, ignore=shutil.ignore_patterns("denois*", "sampler*"))
    return copied


def run_script(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Run the script in this process, since importing torch takes longer than its work."""
    monkeypatch.setattr(sys, "argv", ["denoise_images.py", *map(str, arguments)])
    denoise_images.main()


def use_outputs(monkeypatch: pytest.MonkeyPatch, outputs: Path) -> None:
    """Make the script look for the newest run in `outputs`."""
    monkeypatch.setattr(Run, "newest", functools.partial(Run.newest, outputs))


class FakeEvaluator:
    """Replaces the evaluator; records the images given to it: generated, then denoised ones."""

    quick_distance = "fcd_train_5k"

    def __init__(self, *_: object) -> None:
        self.shown: list[torch.Tensor] = []

    def quick_of_images(self, images: torch.Tensor) -> dict[str, float]:
        self.shown.append(images)
        return {"fcd_train_5k": (5.0, 9.0)[len(self.shown) - 1]}


def opened_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        return picture.size


def test_everything_promised_is_there(
    monkeypatch: pytest.MonkeyPatch, finished: Path, capsys: pytest.CaptureFixture
) -> None:
    score_few(monkeypatch)
    monkeypatch.setattr(denoise_images, "QUICK_COUNT", 400)
    run_script(monkeypatch, "--run", finished, "--sigma", 0.2, 0.6, "--samples", 2, *FEW)
    said = capsys.readouterr().out
    assert "BUNDLED SAMPLE" in said
    assert "FCD" in said
    results = finished / "denoising_results"
    content = json.loads((results / "scores.json").read_text())
    made = [f"{kind}sigma_{level}.png" for kind in ("", "samples_") for level in (0.2, 0.6)]
    for name in (*made, "generated_denoised.png"):
        assert content["sheets"][name]["bundled_sample"], name
        assert min(opened_size(results / name)) > 100, name
    scores = content["sheets"]["sigma_0.2.png"]["scores"]
    assert list(scores) == [
        *("corrupted", "regeneration", "projection", "denoiser", "mean of samples")
    ]
    assert {"psnr", "ssim", "accuracy"} <= set(scores["projection"])
    assert scores["corrupted"]["psnr"] == pytest.approx(13.98, abs=0.3)  # 20 log10(1 / 0.2)
    assert f"{scores['projection']['psnr']:8.2f}" in said


def test_same_seed_gives_the_same_bytes_and_other_sheets_are_kept(
    monkeypatch: pytest.MonkeyPatch, own_run: Path, tmp_path: Path
) -> None:
    results, elsewhere = own_run / "denoising_results", tmp_path / "elsewhere"
    for sigma in (0.3, 0.5):
        run_script(monkeypatch, "--run", own_run, "--sigma", sigma, *FEW)
    content = json.loads((results / "scores.json").read_text())
    assert list(content["sheets"]) == ["sigma_0.3.png", "sigma_0.5.png"]
    assert "(sigma_0.5.png)" in (own_run / "report.html").read_text(encoding="utf-8")
    arguments = ("--generator", own_run / "generator.pth", "--out", elsewhere, "--sigma", 0.3)
    run_script(monkeypatch, *arguments, *FEW)
    assert (elsewhere / "sigma_0.3.png").read_bytes() == (results / "sigma_0.3.png").read_bytes()
    again = json.loads((elsewhere / "scores.json").read_text())
    assert again["sheets"]["sigma_0.3.png"] == content["sheets"]["sigma_0.3.png"]


def test_the_shipped_denoiser_is_used_until_an_own_one_is_trained(
    monkeypatch: pytest.MonkeyPatch,
    own_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(networks, "load_shipped", shipped.load_shipped)
    monkeypatch.setattr(denoising, "IMAGES_SHOWN", denoising.BATCH)
    monkeypatch.setattr(denoise_images, "find_evaluator", lambda *_: None)  # saves its time
    scores, file = own_run / "denoising_results" / "scores.json", "denoiser_mnist.pth"
    run_script(monkeypatch, "--run", own_run, "--sigma", 0.5, *FEW)
    assert file in capsys.readouterr().out
    sheet = json.loads(scores.read_text())["sheets"]["sigma_0.5.png"]
    assert sheet["denoiser_sha256"] == digest(shipped.WEIGHTS / file)
    assert sheet["scores"]["denoiser"]["psnr"] > 10 + sheet["scores"]["corrupted"]["psnr"]
    own = tmp_path / "own"
    own.mkdir()
    Image.new("L", (28, 28), 99).save(own / "one.png")
    run_script(monkeypatch, "--run", own_run, "--images", own, *SOON)
    assert not (own_run / "denoiser.pth").exists()
    capsys.readouterr()
    run_script(monkeypatch, "--run", own_run, "--sigma", 0.1, "--train-denoiser", *FEW)
    said = capsys.readouterr().out
    assert file not in said and "made by other networks: own_images.png, sigma_0.5.png" in said
    (sheet,) = json.loads(scores.read_text())["sheets"].values()
    assert sheet["denoiser_sha256"] == digest(own_run / "denoiser.pth")


def test_a_damaged_shipped_denoiser_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
    own_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(shipped.WEIGHTS, weights)
    (weights / "denoiser_mnist.pth").write_bytes(b"altered")
    monkeypatch.setattr(shipped, "WEIGHTS", weights)
    monkeypatch.setattr(networks, "load_shipped", shipped.load_shipped)
    run_script(monkeypatch, "--run", own_run, "--sigma", 0.5, *FEW)
    said = capsys.readouterr().out
    assert said.count("is not the file that SHA256SUMS beside it lists") == 1
    results = own_run / "denoising_results"
    sheet = json.loads((results / "scores.json").read_text())["sheets"]["sigma_0.5.png"]
    assert "denoiser" not in sheet["scores"] and said.endswith(f"done: {results}\n")


def test_every_option_has_its_effect(
    monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path
) -> None:
    calls = defaultdict(list)
    monkeypatch.setattr(denoise_images, "find_evaluator", lambda *_: None)  # saves its time

    def watch(module: object, name: str) -> None:
        real = getattr(module, name)

        def watched(*given: object, **named: object) -> object:
            calls[name].append((given, named))
            return real(*given, **named)

        monkeypatch.setattr(module, name, watched)

    watch(projection, "find_latents")
    watch(posterior, "sample")
    watch(denoising, "denoise")
    watch(corruption, "per_image_noise")
    watch(restorers, "per_image_noise")
    of_two = ["gaussian-clipped:0.2", "blur:2"]
    arguments = ("--run", finished, "--out", tmp_path / "out", "--corruption", *of_two)
    run_script(monkeypatch, *arguments, "--seed", 7, "--samples", 2, *FEW)
    for (*_, seed, _purpose), _ in calls["per_image_noise"]:
        assert seed == 7
    purposes = {given[-1] for given, _ in calls["per_image_noise"]}
    assert purposes == {"noise", "regeneration"}
    assert [str(given[2]) for given, _ in calls["find_latents"]] == of_two
    assert len(calls["denoise"]) == 3  # of the blur once more, for the known operator
    assert [given[3:] for given, _ in calls["find_latents"]] == [(2, 10)] * 2
    assert [given[2:] for given, _ in calls["sample"]] == [(8, 7), (8, 7), (2, 7), (2, 7)]


def test_only_the_restorers_asked_for_are_used(
    monkeypatch: pytest.MonkeyPatch, own_run: Path
) -> None:
    asked = ("--restorer", "projection", "--corruption", "mask:top20")
    run_script(monkeypatch, "--run", own_run, *asked, *FEW)
    sheets = files.read_json(own_run / "denoising_results" / "scores.json")["sheets"]
    assert list(sheets["mask_top20.png"]["scores"]) == ["corrupted", "projection"]
    for asked, said in (
        *(
            (("--restorer", name), "cannot restore gaussian:0.1 here; regeneration, projection can")
            for name in ("denoiser", "sampler")  # there is neither
        ),
        (("--samples", 2, "--sigma", 0.1), "--train-sampler trains one"),
        (("--train-sampler",), "--train-sampler: starts from a denoiser; add --train-denoiser"),
    ):
        with pytest.raises(Mistake, match=said):
            run_script(monkeypatch, "--run", own_run, *asked, *FEW)
    assert list((own_run / "denoising_results").glob("*.png")) == [
        own_run / "denoising_results" / "mask_top20.png"
    ]


def test_a_restorer_that_cannot_undo_one_corruption_is_refused_before_the_others(
    monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path
) -> None:
    asked = ("--restorer", "consistent", "--corruption", "blur:2", "mask:0.5")
    with pytest.raises(Mistake, match=r"--restorer consistent: cannot restore mask:0\.5 here"):
        run_script(monkeypatch, "--run", finished, "--out", tmp_path / "out", *asked, *FEW)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("classes", [("",), ("oak", "elm"), ("ash", "birch", "elm", "oak")])
def test_the_classes_of_projections_are_the_generators_on_any_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys, classes: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    spec = datasets.DatasetSpec("leaves", "Leaves", (1, 16, 16), ("elm", "oak"))
    conditional = build(GENERATORS, "mlp", shape=spec.shape, latent_dim=8, hidden=(9,), classes=2)
    save_weights(tmp_path / "generator.pth", conditional, spec)
    for index in range(80):
        home = tmp_path / "own" / classes[index % len(classes)]
        home.mkdir(parents=True, exist_ok=True)
        picture = torch.randint(0, 256, (16, 16), dtype=torch.uint8)
        Image.fromarray(picture.numpy()).save(home / f"{index}.png")
    arguments = ("--generator", tmp_path / "generator.pth", "--data-dir", tmp_path / "own")
    asked = ("--restorer", "projection", "--corruption", "mask:0.5", "--out", tmp_path / "out")
    run_script(monkeypatch, *arguments, *asked, *FEW)
    said = capsys.readouterr().out
    (line,) = (line.strip() for line in said.splitlines() if "projected as" in line)
    found = line.removeprefix("projected as ").partition(":")[0].split(", ")
    assert len(found) == 3 and set(found) <= set(spec.class_names)
    assert line.endswith(" of 3 times") == (classes != ("",))


def test_generated_images_are_denoised_only_if_the_denoiser_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, finished: Path
) -> None:
    monkeypatch.setattr(denoise_images, "clean_generated", lambda *_: pytest.fail("they were"))
    asked = ("--restorer", "regeneration", "--sigma", 0.1)
    run_script(monkeypatch, "--run", finished, *asked, *FEW)


def test_all_corruptions_are_compared_with_classical_methods(
    monkeypatch: pytest.MonkeyPatch, own_run: Path
) -> None:
    monkeypatch.setattr(corruptions, "examples", lambda: list(map(parse, ("blur:2", "mask:0.5"))))
    monkeypatch.setattr(classical, "TV_STEPS", 40)
    run_script(monkeypatch, "--run", own_run, "--corruption", "all", *FEW)
    sheets = files.read_json(own_run / "denoising_results" / "scores.json")["sheets"]
    for name, rows in (("blur_2", ("Richardson-Lucy",)), ("mask_0.5", ("total variation",))):
        scores = sheets[f"{name}.png"]["scores"]
        for row in rows:
            assert scores[row]["psnr"] > 1 + scores["corrupted"]["psnr"]


def test_every_row_of_a_sheet_is_what_its_label_says(
    monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path
) -> None:
    drawn = {}
    monkeypatch.setattr(denoise_images, "find_evaluator", lambda *_: None)  # saves its time
    monkeypatch.setattr(
        denoise_images, "save_sheet", lambda path, *facts: drawn.update({path.name: facts})
    )
    arguments = ("--run", finished, "--out", tmp_path / "out", "--sigma", 0.2)
    run_script(monkeypatch, *arguments, *FEW)
    rows, title, footnote, _ = drawn["sigma_0.2.png"]
    found = {label.partition("\n")[0]: row for label, row in rows}
    clean = load_sample("mnist").test_images[:3]
    assert torch.equal(found["clean"], clean)
    noisy = Gaussian(0.2).apply(to_unit(clean), 0)
    assert torch.equal(found["corrupted"], unit_to_levels(noisy))
    generator = load_weights(finished / "generator.pth", "generator").network
    latents = projection.find_latents(generator, noisy, Gaussian(0.2), restarts=2, steps=10)
    projected = projection.decode_in_batches(generator, latents)
    assert torch.allclose(found["projection"].float(), 255 * projected, atol=2)
    assert title == "MNIST, noise of sigma 0.2" and "BUNDLED SAMPLE" in footnote


def test_the_verdict_on_denoised_generated_images_is_right(
    monkeypatch: pytest.MonkeyPatch,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    evaluator = FakeEvaluator()
    monkeypatch.setattr(denoise_images, "Evaluator", lambda *_: evaluator)
    monkeypatch.setattr(denoise_images, "QUICK_COUNT", 50)
    arguments = ("--run", finished, "--out", tmp_path / "out", "--sigma", 0.2)
    run_script(monkeypatch, *arguments, *FEW)
    assert "FCD 5.00 -> 9.00, worse" in capsys.readouterr().out
    generator = load_weights(finished / "generator.pth", "generator").network
    made = generated_images(generator, 50)
    assert torch.equal(evaluator.shown[0], made)
    assert not torch.equal(evaluator.shown[1], made)
    sheets = json.loads((tmp_path / "out" / "scores.json").read_text())["sheets"]
    figures = sheets["generated_denoised.png"]["fcd_train_5k"]
    assert figures == {"generated": 5.0, "denoised": 9.0}


@pytest.mark.parametrize("damage", ["altered", "missing", "unlisted"])
def test_results_are_kept_if_the_classifier_is_damaged(
    monkeypatch: pytest.MonkeyPatch,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    damage: str,
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(shipped.WEIGHTS, weights)
    monkeypatch.setattr(shipped, "WEIGHTS", weights)
    if damage == "altered":
        (weights / "mnist.pth").write_bytes(b"altered")
    else:
        (weights / ("mnist.pth" if damage == "missing" else "SHA256SUMS")).unlink()
    out = tmp_path / "out"
    arguments = ("--run", finished, "--out", out, "--sigma", 0.2, "--samples", 1)
    run_script(monkeypatch, *arguments, *FEW)
    printed = capsys.readouterr().out
    assert "mean of 1 sample " in printed
    notes = [line for line in printed.splitlines() if "were left out" in line]
    assert (
        len(notes) == 2
        and all(str(weights) in note for note in notes)
        and printed.endswith(f"done: {out}\n")
    )
    kept = {"sigma_0.2.png", "samples_sigma_0.2.png"}
    assert set(json.loads((out / "scores.json").read_text())["sheets"]) == kept
    assert {path.name for path in out.glob("*.png")} == kept


def test_results_before_a_fault_are_kept(
    monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Fault("something else")

    monkeypatch.setattr(denoise_images, "show_samples", fail)
    arguments = ("--run", finished, "--out", tmp_path, "--sigma", 0.2, "--samples", 2)
    with pytest.raises(Fault, match="something else"):
        run_script(monkeypatch, *arguments, *FEW)
    assert list(json.loads((tmp_path / "scores.json").read_text())["sheets"]) == ["sigma_0.2.png"]


def test_corruptions_are_named_as_they_were_typed(
    monkeypatch: pytest.MonkeyPatch, own_run: Path
) -> None:
    arguments = ("--corruption", "gaussian:0.3", "gaussian-clipped:0.30", "gaussian:0.30")
    run_script(monkeypatch, "--run", own_run, *arguments, *FEW)
    scores = own_run / "denoising_results" / "scores.json"
    by_corruption = json.loads(scores.read_text())["sheets"]
    assert list(by_corruption) == ["sigma_0.3.png", "sigma_0.3_clipped.png"]
    found = [sheet["corruption"] for sheet in by_corruption.values()]
    assert found == ["gaussian:0.3", "gaussian-clipped:0.3"]
    run_script(monkeypatch, "--run", own_run, "--sigma", 0.3, *FEW)
    assert json.loads(scores.read_text())["sheets"] == by_corruption  # short for the same


def test_results_are_written_under_their_folders_lock(
    monkeypatch: pytest.MonkeyPatch, own_run: Path
) -> None:
    pytest.importorskip("fcntl")
    held, write = [], files.write_json

    def watched(path: Path, content: object) -> None:
        held.append(files.is_locked(path.parent))
        write(path, content)

    monkeypatch.setattr(files, "write_json", watched)
    run_script(monkeypatch, "--run", own_run, "--sigma", 0.1, *FEW)
    assert held == [True]


def test_own_images_are_restored_under_their_names_and_stay_unchanged(
    monkeypatch: pytest.MonkeyPatch,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    values = torch.randint(0, 256, (56, 28), dtype=torch.uint8)
    Image.fromarray(values[:28].numpy()).save(own / "one.png")
    Image.fromarray(values.numpy()).save(own / "tall.png")
    Image.new("RGB", (40, 30), (9, 99, 200)).save(own / "colour.png")
    (own / "broken.png").write_bytes(b"\x89PNG")
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    arguments = ("--run", finished, "--images", own, "--out", tmp_path / "out", *SOON)
    run_script(monkeypatch, *arguments)
    out = capsys.readouterr().out
    assert "resized from 40 x 30 to 28 x 28: 1 file (colour.png)" in out
    assert "left out, cannot be read: 1 file (broken.png: " in out
    with pytest.raises(Mistake, match="lies in --images"):
        run_script(monkeypatch, *arguments[:4], "--out", own / "out", *SOON)
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before
    for restored in ("denoised", "projected"):
        assert opened_size(tmp_path / "out" / restored / "one.png") == (28, 28)
        assert opened_size(tmp_path / "out" / restored / "tall.png") == (28, 56)
    facts = json.loads((tmp_path / "out" / "scores.json").read_text())["sheets"]["own_images.png"]
    assert facts["wrong_was"] == "estimated"
    assert set(facts["wrong"]) == {"one.png", "tall.png", "colour.png"}
    (own / "one.png").unlink()
    Image.fromarray(255 - values[:28].numpy()).save(own / "other.png")
    run_script(
        monkeypatch, *arguments, "--invert"
    )  # what it restored before is not mixed with this
    left = {"other.png", "tall.png", "colour.png"}
    for restored in ("denoised", "projected"):
        assert {path.name for path in (tmp_path / "out" / restored).iterdir()} == left


def test_estimated_corruptions_are_passed_to_the_restorers(
    monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path
) -> None:
    own, out, found = tmp_path / "own", tmp_path / "out", []
    own.mkdir()
    Image.new("L", (28, 28), 51).save(own / "one.png")

    def find_latents(generator, images: torch.Tensor, wrong, *_: int) -> torch.Tensor:
        found.append((type(wrong).name, wrong.severity.tolist(), int(images.isnan().sum())))
        return torch.zeros(len(images), generator.latent_dim)

    monkeypatch.setattr(projection, "find_latents", find_latents)
    monkeypatch.setattr(projection, "decode_in_batches", lambda *_: torch.ones(1, 1, 28, 28))
    arguments = ("--run", finished, "--images", own, "--out", out, *SOON)
    typed = ("gaussian:0.4", "mask:top20", "blur:2")
    for given in (("--sigma", 0.4), *(("--corruption", each) for each in typed)):
        run_script(monkeypatch, *arguments, *given, "--samples", 2)
    assert found == [
        ("gaussian-clipped", [pytest.approx(0.4)], 0),
        ("gaussian-clipped", [pytest.approx(0.4)], 0),
        ("mask", [20], 20 * 28),
        ("blur", [2], 0),
    ]
    with Image.open(out / "projected" / "one.png") as picture:
        assert set(picture.tobytes()) == {255}
    assert {path.name for path in (out / "samples").iterdir()} == {"one_1.png", "one_2.png"}
    facts = json.loads((out / "scores.json").read_text())["sheets"]["own_images.png"]
    assert facts["wrong"] == {"one.png": "blur:2"} and facts["wrong_was"] == "given"


def test_own_images_without_corruption_are_kept(
    monkeypatch: pytest.MonkeyPatch, own_run: Path, tmp_path: Path, capsys
) -> None:
    monkeypatch.setattr(networks, "load_shipped", shipped.load_shipped)
    own, out = tmp_path / "own", tmp_path / "out"
    own.mkdir()
    clean = load_sample("mnist").test_images[:1]
    broken = unit_to_levels(quantised(parse("salt-pepper:0.2").apply(to_unit(clean), 0)))
    for name, image in (("clean", clean), ("broken", broken)):
        Image.fromarray(image[0, 0].numpy()).save(own / f"{name}.png")
    run_script(monkeypatch, "--run", own_run, "--images", own, "--out", out, *SOON)
    said = capsys.readouterr().out
    assert "none                  estimated, 1 image: clean.png: kept as they are" in said
    assert "salt-pepper:0.2" in said
    for folder in ("denoised", "projected"):
        with Image.open(out / folder / "clean.png") as picture:
            assert picture.tobytes() == clean.numpy().tobytes()


def test_own_images_are_projected_onto_the_classes_of_each_corruption(
    monkeypatch: pytest.MonkeyPatch, own_run: Path, tmp_path: Path, capsys
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in "abc":
        Image.new("L", (28, 28), 99).save(own / f"{name}.png")
    conditional = build(GENERATORS, "mlp", shape=MNIST.shape, latent_dim=8, hidden=(9,), classes=10)
    save_weights(own_run / "generator.pth", conditional, MNIST)
    save_weights(own_run / "denoiser.pth", small_denoiser(), MNIST)
    estimated = [parse("salt-pepper:0.2"), parse("poisson:5"), None]
    monkeypatch.setattr(own_pictures, "estimate", lambda *_: estimated)
    run_script(monkeypatch, "--run", own_run, "--images", own, *SOON)
    lines = capsys.readouterr().out.splitlines()
    found = [line.split() for line in lines if line.startswith("projected: ")]
    assert [words[1:3] for words in found] == [["a.png", "as"], ["b.png", "as"]]
    assert all(len(words) == 4 and words[3] in MNIST.class_names for words in found)


def test_samples_of_own_images_are_made_whatever_other_restorers_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path, capsys
) -> None:
    own, out = tmp_path / "own", tmp_path / "out"
    own.mkdir()
    Image.new("L", (28, 28), 51).save(own / "one.png")
    asked = ("--restorer", "projection", "--samples", 2, "--sigma", 0.3)
    run_script(monkeypatch, "--run", finished, "--images", own, "--out", out, *asked, *SOON)
    assert {path.parent.name for path in out.glob("*/*.png")} == {"projected", "samples"}
    asked = ("--restorer", "denoiser", "sampler", "--sigma", 0.3)
    run_script(monkeypatch, "--run", finished, "--images", own, "--out", out, *asked, *SOON)
    assert {path.parent.name for path in out.glob("*/*.png")} == {"denoised"}
    assert (
        "note: --restorer sampler: left out; projection, denoiser, sampler with"
        in capsys.readouterr().out
    )


def test_a_restorer_without_its_network_is_not_said_to_restore_own_images(
    monkeypatch: pytest.MonkeyPatch, own_run: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "own").mkdir()
    Image.new("L", (28, 28), 51).save(tmp_path / "own" / "one.png")
    asked = ("--restorer", "projection", "denoiser", "--sigma", 0.3)
    run_script(monkeypatch, "--run", own_run, "--images", tmp_path / "own", *asked, *SOON)
    note = "note: --restorer denoiser: left out; projection can restore your own pictures\n"
    assert note in capsys.readouterr().out


# Refusals


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--restorer", "regeneration"), "projection, denoiser, sampler with --samples can"),
        (("--restorer", "sampler"), "--restorer sampler: cannot restore your own pictures"),
        (
            ("--samples", 2, "--sigma", 0.1),
            "--samples 2: there is no sampler for this set; --train-sampler trains one",
        ),
        (("--samples", 2), "no sampler for this set"),  # not after training a denoiser
        (("--restorer", "denoiser", "--sigma", 0.1), "own pictures; projection can"),
    ],
)
def test_restorers_that_would_make_nothing_of_own_images_are_refused(
    monkeypatch: pytest.MonkeyPatch, own_run: Path, tmp_path: Path, asked, said: str
) -> None:
    Image.new("L", (28, 28), 51).save(tmp_path / "one.png")
    with pytest.raises(Mistake, match=said):
        run_script(monkeypatch, "--run", own_run, "--images", tmp_path, *asked, *SOON)
    assert not (own_run / "denoising_results").exists() and not (own_run / "denoiser.pth").exists()


@pytest.mark.parametrize(
    ("asked", "able"),
    [
        (("--restorer", "consistent", "--corruption", "mask:top9"), "projection, denoiser can"),
        (("--restorer", "sampler", "--sigma", 0.1), "regeneration, projection, denoiser can"),
    ],
)
def test_restorers_that_cannot_undo_it_are_refused_before_a_denoiser_is_trained(
    monkeypatch: pytest.MonkeyPatch, own_run: Path, asked, able: str
) -> None:
    monkeypatch.setattr(denoising, "train", pytest.fail)
    with pytest.raises(Mistake, match=able):
        run_script(monkeypatch, "--run", own_run, "--train-denoiser", *asked)
    assert not (own_run / "denoiser.pth").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sigma", "-0.1"), "--sigma -0.1: out of range, give a number from 0 to 1"),
        (("--sigma", "nan"), "--sigma nan: is not a number, give a number"),
        (("--sigma", "x"), "--sigma 'x'"),
        (("--sigma", "1.5"), "--sigma 1.5: out of range"),
        (("--count", "0"), "--count 0"),
        (("--steps", "-1"), "--steps -1"),
        (("--data-dir", "/no/such"), "--data-dir /no/such: does not exist"),
        (("--images", "/no/such"), "--images /no/such: does not exist"),
        (("--generator", "/no/such.pth"), "--generator /no/such.pth: does not exist"),
        (("--generator", "."), "--generator .: is a folder"),
        (("--run", "."), "--run .: is not a run folder"),
        (("--run", ".", "--generator", "x"), "not both"),
        (("--invert",), "--invert: is for your own pictures"),
        (("--sigma", "25"), "give a number from 0 to 1; of levels 0 to 255 that is 0.098"),
        (("--clip",), "--clip: was replaced; give --corruption gaussian-clipped:0.3"),
        (("--regenerate", "3"), "--regenerate: is now called --samples"),
        (
            ("--restorer", "x"),
            "choose one of regeneration, projection, denoiser, consistent, sampler",
        ),
        (("--corruption", "gaussian:0.1", "--sigma", 0.1), "leave --sigma out"),
    ],
)
def test_mistakes_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Mistake) as caught:
        run_script(monkeypatch, *arguments)
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_options_without_effect_on_own_images_are_refused(
    monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path
) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "one.png")
    for flags in (("--corruption", "all"), ("--sigma", 0.1, 0.2), ("--corruption", "blur:1", "x")):
        with pytest.raises(
            Mistake, match=f"{flags[0]}: your own pictures have one corruption; give one"
        ):
            run_script(monkeypatch, "--run", finished, "--images", tmp_path, *flags)


def test_a_corruption_that_does_not_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(Mistake, match="--corruption mask:box99: leaves none of the 28 x 28"):
        run_script(monkeypatch, "--run", finished, "--corruption", "mask:box99", "--out", tmp_path)
    assert not list(tmp_path.iterdir())


def test_images_without_noise_score_valid_json(
    monkeypatch: pytest.MonkeyPatch, own_run: Path
) -> None:
    run_script(monkeypatch, "--run", own_run, "--sigma", 0, *FEW)
    text = (own_run / "denoising_results" / "scores.json").read_text()
    content = json.loads(text, parse_constant=pytest.fail)  # called for Infinity and NaN
    assert content["sheets"]["sigma_0.png"]["scores"]["corrupted"]["psnr"] is None


def test_clipped_noise_has_sheets_of_its_own(
    monkeypatch: pytest.MonkeyPatch, own_run: Path
) -> None:
    for kind in ("gaussian", "gaussian-clipped"):
        run_script(monkeypatch, "--run", own_run, "--corruption", f"{kind}:0.9", *FEW)
    results = files.read_json(own_run / "denoising_results" / "scores.json")["sheets"]
    assert list(results) == ["sigma_0.9.png", "sigma_0.9_clipped.png"]
    plain, clipped = results.values()
    assert clipped["clipped"] and clipped["title"].endswith("sigma 0.9 clipped")
    assert clipped["scores"]["corrupted"]["psnr"] > 1 + plain["scores"]["corrupted"]["psnr"]


def test_without_a_run_the_shipped_generator_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    use_outputs(monkeypatch, tmp_path / "outputs")
    monkeypatch.setattr(denoise_images, "find_evaluator", lambda *_: None)  # saves its time
    out = tmp_path / "out"
    run_script(monkeypatch, *("--count", 1, "--steps", 2, "--restarts", 1, "--out", out))
    assert "the pretrained generator of MNIST" in capsys.readouterr().out
    assert json.loads((out / "scores.json").read_text())["sheets"]


def test_invalid_generator_files_are_refused(
    monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path
) -> None:
    whole = (finished / "generator.pth").read_bytes()
    path = tmp_path / "generator.pth"
    for content in (b"", b"text", whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(Mistake, match=r"--generator .*generator\.pth"):
            run_script(monkeypatch, "--generator", path)
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(Mistake, match="was expected"):
        run_script(monkeypatch, "--generator", path)
    other = small_generator()
    other.config["hidden"] = [64]
    save_weights(path, other, MNIST)
    with pytest.raises(Mistake, match="shape"):
        run_script(monkeypatch, "--generator", path)


def test_a_small_set_is_restored_whole(
    monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path
) -> None:
    run_folder, images = tmp_path / "mnist-001", load_sample("mnist")
    shutil.copytree(finished, run_folder, ignore=shutil.ignore_patterns("denoising*"))
    few = dataclasses.replace(images, test_images=images.test_images[:5])
    monkeypatch.setattr(datasets, "load", lambda *_: few)
    few = dataclasses.replace(few, train_images=images.train_images[:99])
    run_script(monkeypatch, "--run", run_folder, "--sigma", 0.3, "--restarts", 2, "--steps", 5)
    sheets = json.loads((run_folder / "denoising_results" / "scores.json").read_text())["sheets"]
    assert list(sheets) == ["sigma_0.3.png"] and sheets["sigma_0.3.png"]["images"] == 5
    with pytest.raises(Mistake, match=r"--count 6: the set has 5 test images"):
        run_script(monkeypatch, "--run", run_folder, "--count", 6)


def test_links_that_lead_out_are_refused(
    monkeypatch: pytest.MonkeyPatch, own_run: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (own_run / "denoising_results").mkdir()
    (own_run / "denoising_results" / "denoised").symlink_to(photos)
    with pytest.raises(Mistake, match="denoised is a link out of it"):
        run_script(monkeypatch, "--run", own_run, *FEW)
    use_outputs(monkeypatch, own_run.parent)
    with pytest.raises(Mistake, match="is a link out of it"):
        run_script(monkeypatch, *FEW)  # the newest run is not trusted more
    (own_run / "denoising_results").rename(tmp_path / "results")
    arguments = ("--generator", own_run / "generator.pth", "--out", tmp_path / "results")
    with pytest.raises(Mistake, match=r"--out .* is a link out of it"):
        run_script(monkeypatch, *arguments, *FEW)
    for name in ("nowhere", "circle"):
        (tmp_path / name).symlink_to(tmp_path / ("circle" if name == "circle" else "not there"))
        for out in (tmp_path / name, tmp_path / name / "below"):
            with pytest.raises(Mistake, match=f"{name}: is a broken link"):
                run_script(monkeypatch, *arguments[:2], "--out", out, *FEW)


def test_sheets_of_another_generator_are_removed(
    monkeypatch: pytest.MonkeyPatch, own_run: Path
) -> None:
    results = own_run / "denoising_results"
    results.mkdir()
    (results / "denoised").mkdir()
    climbing = {"pictures": ["../../generator.png"]}  # from there
    foreign = {"old.png": climbing, "../generator.png": {}, "notes.txt": {}}
    for name in foreign:
        (results / name).touch()
    content = {"sheets": foreign, "generator_sha256": "another's"}
    files.write_json(results / "scores.json", content)
    run_script(monkeypatch, "--run", own_run, "--sigma", 0.1, *FEW)
    found = {path.name for path in results.iterdir() if path.name != files.LOCK_FILE}
    assert found == {"denoised", "notes.txt", "scores.json", "sigma_0.1.png"}
    assert (own_run / "generator.png").exists()


def test_results_of_another_generator_are_not_written_over(
    monkeypatch: pytest.MonkeyPatch, own_run: Path, tmp_path: Path
) -> None:
    arguments = ("--run", own_run, "--out", tmp_path / "out", *FEW)
    run_script(monkeypatch, *arguments, "--sigma", 0.1)
    save_weights(own_run / "generator.pth", small_generator(), MNIST)
    with pytest.raises(Mistake, match=r"--out .*has the results of another generator"):
        run_script(monkeypatch, *arguments, "--sigma", 0.2)
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["sigma_0.1.png"]
    with pytest.raises(Mistake, match=r"--out .*is a run folder"):
        run_script(monkeypatch, "--run", own_run, "--out", own_run, *FEW)


def test_a_run_on_the_sample_is_restored_with_the_sample(
    monkeypatch: pytest.MonkeyPatch, own_run: Path, capsys: pytest.CaptureFixture
) -> None:
    files.write_json(own_run / "config.json", {"data": {"is_sample": True}})
    monkeypatch.setattr(datasets, "load", lambda *_: pytest.fail("looked for the full set"))
    run_script(monkeypatch, "--run", own_run, "--sigma", 0.1, *FEW)
    assert "BUNDLED SAMPLE" in capsys.readouterr().out


def test_images_that_the_run_was_not_trained_on_are_reported(
    monkeypatch: pytest.MonkeyPatch, own_run: Path, capsys: pytest.CaptureFixture
) -> None:
    content = {"options": {"data_dir": str(SAMPLE)}, "data": {"fingerprint": "of others"}}
    files.write_json(own_run / "config.json", content)
    run_script(monkeypatch, "--run", own_run, "--sigma", 0.1, *FEW)
    assert "trained on other images" in capsys.readouterr().out


def test_sheets_of_another_denoiser_are_removed(
    monkeypatch: pytest.MonkeyPatch, own_run: Path
) -> None:
    monkeypatch.setattr(denoise_images, "Evaluator", FakeEvaluator)  # saves its time
    results, denoisers = own_run / "denoising_results", own_run / "denoiser.pth"
    run_script(monkeypatch, "--run", own_run, "--sigma", 0.1, *FEW)  # without one
    for sigma in (0.2, 0.3):
        save_weights(denoisers, small_denoiser(), MNIST)
        run_script(monkeypatch, "--run", own_run, "--sigma", sigma, *FEW)
    expected = {"sigma_0.1.png", "sigma_0.3.png", "generated_denoised.png"}
    assert set(files.read_json(results / "scores.json")["sheets"]) == expected
    assert {path.name for path in results.glob("*.png")} == expected
    denoisers.unlink()
    run_script(monkeypatch, "--run", own_run, "--sigma", 0.5, *FEW)
    assert len(files.read_json(results / "scores.json")["sheets"]) == 4


def test_damaged_scores_are_replaced(monkeypatch: pytest.MonkeyPatch, own_run: Path) -> None:
    scores = own_run / "denoising_results" / "scores.json"
    scores.parent.mkdir()
    foreign = {name: {} for name in ("a\0.png", "\ud800.png", "n" * 300 + ".png", "folder.png")}
    (scores.parent / "folder.png").mkdir()
    for damaged in ('{"sheets": {"a', json.dumps({"sheets": foreign})):
        scores.write_text(damaged)
        run_script(monkeypatch, "--run", own_run, "--sigma", 0.1, 0.1000001, *FEW)
        assert list(files.read_json(scores)["sheets"]) == ["sigma_0.1.png"]


def test_denoiser_of_another_set_is_refused(monkeypatch: pytest.MonkeyPatch, own_run: Path) -> None:
    save_weights(own_run / "denoiser.pth", small_denoiser(), datasets.DATASETS["fashion"])
    with pytest.raises(Fault, match="denoiser of Fashion-MNIST"):
        run_script(monkeypatch, "--run", own_run, *FEW)
    assert not (own_run / "denoising_results").exists()


def test_own_images_that_cannot_be_restored_are_refused_before_any_training(
    monkeypatch: pytest.MonkeyPatch, own_run: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    with pytest.raises(Mistake, match=r"no pictures in it"):
        run_script(monkeypatch, "--run", own_run, "--images", own, *SOON)
    results = own_run / "denoising_results" / "denoised"
    results.mkdir(parents=True)
    Image.new("L", (28, 28)).save(results / "one.png")
    with pytest.raises(Mistake, match="overwritten"):
        run_script(monkeypatch, "--run", own_run, "--images", results, *SOON)
    with pytest.raises(Mistake, match="overwritten"):  # by the sheet, own_images.png
        run_script(monkeypatch, "--run", own_run, "--images", results, "--out", results, *SOON)
    with pytest.raises(Mistake, match="--count: is for test images"):
        run_script(monkeypatch, "--run", own_run, "--images", results, "--count", 3)
    with pytest.raises(Mistake, match="give one, or none"):
        run_script(monkeypatch, "--run", own_run, "--images", results, "--sigma", 0.1, 0.2, *SOON)
    with pytest.raises(Mistake, match="is a run folder"):
        run_script(monkeypatch, "--run", own_run, "--images", own_run, *SOON)
    assert not (own_run / "denoiser.pth").exists()
