"""lab/models/serialization.py: weights files of versions 1 and 2."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_files import MNIST, refused, saved, saved_as_version_1, small

from lab.data import DATASETS, DatasetSpec
from lab.errors import Fault
from lab.models import (
    CLASSIFIERS,
    DENOISERS,
    DISCRIMINATORS,
    GENERATORS,
    ROLES,
    SAMPLERS,
    build,
    count_parameters,
    layers,
    shipped,
)
from lab.models.serialization import load_weights, role_of, save_weights
from lab.models.tensor_files import MAX_WEIGHT_BYTES, digest, plain_state

BIRDS = DatasetSpec("birds", "Birds of 1911", (3, 20, 20), ("wren", "Häher"))


def test_weights_are_loaded_as_they_were_saved(tmp_path):
    path, generator = tmp_path / "g.pth", small(batch_norm=True).eval()
    save_weights(path, generator, MNIST, epoch=3)
    again = load_weights(path, "generator")
    assert again.facts == {"epoch": 3}
    assert again.spec is MNIST
    assert (again.path, again.sha256) == (path, digest(path))
    latents = torch.randn(4, 8)
    assert torch.equal(generator(latents), again.network(latents))
    assert not again.network.training
    assert not any(weight.requires_grad for weight in again.network.parameters())
    assert (again.network.kind, again.network.config) == (generator.kind, generator.config)


@pytest.mark.parametrize(
    "network",
    [
        build(GENERATORS, "mlp", shape=BIRDS.shape, hidden=(8,), output="clip"),
        build(GENERATORS, "dcgan", shape=BIRDS.shape, hidden=(8,), channels=(6, 4), full_maps=0),
        build(DISCRIMINATORS, "mlp", shape=BIRDS.shape, hidden=(8,), pyramid=True, dropout=0.3),
        build(
            DISCRIMINATORS, "dcgan", shape=BIRDS.shape, hidden=(8,), channels=(4, 6), full_maps=5
        ),
        build(DENOISERS, "blind", shape=BIRDS.shape, corruptions=3, width=4, overview_width=5),
        build(SAMPLERS, "posterior", shape=BIRDS.shape, corruptions=3, width=4, overview_width=5),
        build(CLASSIFIERS, "cnn", shape=BIRDS.shape, classes=2, widths=(4, 5, 6, 7)),
    ],
    ids=lambda network: type(network).__name__,
)
def test_every_network_is_loaded_with_its_set(tmp_path, network):
    path = tmp_path / "n.pth"
    save_weights(path, network, BIRDS)
    again = load_weights(path, role_of(network))
    assert again.spec == BIRDS and again.spec.class_names == ("wren", "Häher")
    assert again.facts == {}
    for name, value in network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value), name
    for other in set(ROLES) - {role_of(network)}:
        assert f"this is 'gan-lab {role_of(network)}'" in refused(path, other)


@pytest.mark.parametrize("role", ["generator", "denoiser"])
def test_float16_is_loaded_as_float32(tmp_path, role):
    path, network = tmp_path / "n.pth", small(batch_norm=True)  # has counts, which are whole
    if role == "denoiser":
        network = build(DENOISERS, "blind", shape=MNIST.shape, corruptions=3, inner_width=32)
        network.to(memory_format=torch.channels_last)
    save_weights(path, network, MNIST, dtype=torch.float16, epoch=3)
    assert path.stat().st_size < 2.3 * count_parameters(network) + 8_000
    found = load_weights(path, role)
    assert found.facts == {"epoch": 3}
    for name, value in network.state_dict().items():
        again = found.network.state_dict()[name]
        assert again.dtype == value.dtype
        assert torch.equal(again, value.half().float() if value.is_floating_point() else value)


def test_float16_weights_are_checked_too(tmp_path):
    path, network = tmp_path / "g.pth", small()
    state = network.state_dict()
    name = next(iter(state))
    for bad, said in (
        (state[name].half() * float("inf"), "NaN or infinity"),
        (torch.zeros(1).half().expand(16, 8), "plain"),
        (torch.zeros(16, 9).half(), "shape"),
        (state[name].double(), "float64"),
    ):
        assert said in refused(saved(path, state_dict={**state, name: bad}))


def test_saving_twice_gives_the_same_bytes(tmp_path):
    network = small()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_weights(tmp_path / name / "g.pth", network, MNIST)
    assert (tmp_path / "one/g.pth").read_bytes() == (tmp_path / "two/g.pth").read_bytes()


def test_weights_and_digest_are_of_the_same_file_while_it_is_replaced(tmp_path, monkeypatch):
    path, before, after = tmp_path / "g.pth", small(), small()
    save_weights(path, before, MNIST)
    asked = []

    def digest_and_replace(path):
        found = digest(path)
        if not asked:  # as if a training wrote new weights
            save_weights(path, after, MNIST)
        asked.append(found)
        return found

    monkeypatch.setattr("lab.models.serialization.digest", digest_and_replace)
    found = load_weights(path, "generator")
    assert found.sha256 == digest(path) != asked[0]
    weights = found.network.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in after.state_dict().items())


# Format version 1


OLD_G = {"latent_dim": 9, "hidden": [8, 6], "batch_norm": True, "activation": "relu"}
OLD_D = {"hidden": [8], "dropout": 0.25}


@pytest.mark.parametrize(
    ("role", "kind", "config", "more"),
    [
        ("generator", "mlp", {**OLD_G, "channels": [], "output": "clip"}, {}),
        ("generator", "mlp", {"latent_dim": 9, "hidden": [8]}, {}),  # before outputs, channels
        ("generator", "dcgan", {**OLD_G, "channels": [6, 4], "output": "tanh"}, {}),
        ("discriminator", "mlp", {**OLD_D, "pyramid": True, "channels": []}, {}),
        ("discriminator", "mlp", {**OLD_D, "pyramid": False, "channels": []}, {}),
        ("discriminator", "dcgan", {**OLD_D, "pyramid": False, "channels": [4, 6]}, {}),
        ("classifier", "cnn", {"widths": [4, 5, 6, 7]}, {"classes": 10}),
    ],
)
def test_files_of_the_first_version_load(tmp_path, role, kind, config, more):
    path = tmp_path / "old.pth"
    network = saved_as_version_1(path, role, config, kind=kind, **more)
    found = load_weights(path, role)
    assert found.spec is MNIST
    assert found.facts == {"dataset": "mnist", "epoch": 3}
    assert found.network.kind == kind and found.network.config["shape"] == [1, 28, 28]
    assert str(found.network) == str(network)
    weights = found.network.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    save_weights(path, found.network, found.spec, **found.facts)  # and can be saved as version 2
    assert str(load_weights(path, role).network) == str(network)


def test_an_old_denoiser_is_refused(tmp_path):
    path = tmp_path / "old.pth"
    saved_as_version_1(path, "generator", OLD_G, kind="mlp")
    content = torch.load(path, weights_only=True)
    torch.save({**content, "format": "gan-lab denoiser"}, path)
    assert "no denoiser is called 'unet'" in refused(path, "denoiser")


@pytest.mark.parametrize("facts", [{}, [], "mnist", {"dataset": "cifar"}, {"dataset": ["mnist"]}])
def test_an_old_file_of_an_unknown_set_is_refused(tmp_path, facts):
    path = tmp_path / "old.pth"
    saved_as_version_1(path, "generator", OLD_G, facts, kind="mlp")
    assert "does not say which set" in refused(path)


@pytest.mark.parametrize(
    "change",
    [
        *({"nonsense": 1}, {"pyramid": True, "channels": [4]}, {"hidden": [9]}, {"shape": [1]}),
        *({"channels": torch.ones(3)}, {"pyramid": torch.ones(3)}),
    ],
    ids=str,
)
def test_an_old_config_is_checked_too(tmp_path, change):
    path = tmp_path / "old.pth"
    saved_as_version_1(path, "discriminator", OLD_D, kind="mlp")
    content = torch.load(path, weights_only=True)
    torch.save({**content, "config": {**OLD_D, **change}}, path)
    refused(path, "discriminator")


def test_old_weights_that_are_larger_than_their_file_are_not_copied(tmp_path):
    path = tmp_path / "old.pth"
    saved_as_version_1(path, "discriminator", {**OLD_D, "pyramid": True}, kind="mlp")
    content = torch.load(path, weights_only=True)
    content["state_dict"]["layers.0.weight"] = torch.zeros(1, 1).expand(10**7, 10**7)  # 400 TB
    torch.save(content, path)
    assert "has shape (10000000, 10000000)" in refused(path, "discriminator")


def test_shipped_classifiers_have_their_checksums(tmp_path, monkeypatch):
    for spec in (MNIST, DATASETS["fashion"]):
        assert list(shipped.load_classifiers(spec)) == ["cnn", "mlp"]
        network = shipped.load_classifier(spec)
        assert network(torch.zeros(2, *spec.shape)).shape == (2, len(spec.class_names))
    assert shipped.load_classifier(BIRDS) is None
    other = DatasetSpec("mnist", "MNIST", (3, 32, 32), MNIST.class_names)
    assert shipped.load_classifier(other) is None  # a set of that name with other images
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    save_weights(tmp_path / "mnist.pth", small(), MNIST)
    shipped.write_checksums()
    assert refused_classifier().endswith("this is 'gan-lab generator'")
    save_weights(tmp_path / "mnist.pth", small(), MNIST)
    assert "is not the file that SHA256SUMS beside it lists" in refused_classifier()
    (tmp_path / "SHA256SUMS").write_text("damaged\n\n")
    assert shipped.load_classifier(MNIST) is None


def refused_classifier() -> str:
    with pytest.raises(Fault) as caught:
        shipped.load_classifier(MNIST)
    return str(caught.value)


# Damaged and hostile files


def test_other_files_than_weights_are_refused(tmp_path):
    path = tmp_path / "g.pth"
    assert "does not exist" in refused(path)
    path.write_text("just text")
    assert "not a weights file" in refused(path)
    path.write_bytes(b"")
    assert "not a weights file" in refused(path)
    torch.save([1, 2, 3], path)
    assert "something else" in refused(path)
    save_weights(path, build(DISCRIMINATORS, "mlp", shape=MNIST.shape, hidden=(8,)), MNIST)
    assert "'gan-lab discriminator'" in refused(path)
    assert "is not a file" in refused(tmp_path)


@pytest.mark.parametrize("version", [0, 3, 99, "2", None, True, torch.ones(2)])
def test_another_version_is_refused(tmp_path, version):
    said = refused(saved(tmp_path / "g.pth", version=version))
    assert said.endswith("is of another version of the lab; this one reads version 1 and 2")


def test_other_widths_wrong_types_and_nan_are_refused(tmp_path):
    path, network = tmp_path / "g.pth", small()
    state, config = network.state_dict(), network.config
    assert "has shape (16, 8)" in refused(saved(path, config={**config, "hidden": [17]}))
    assert "weights are not those" in refused(saved(path, config={**config, "hidden": [16, 16]}))
    name = next(iter(state))
    bad = {**state, name: state[name].double()}
    assert "float64" in refused(saved(path, state_dict=bad))
    bad = {**state, name: state[name] * float("nan")}
    assert "NaN" in refused(saved(path, state_dict=bad))
    bad = {**state, name: torch.zeros(1).expand(16, 8)}
    assert "plain" in refused(saved(path, state_dict=bad))
    bad = {**state, name: "text"}
    assert "shape ()" in refused(saved(path, state_dict=bad))


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": [1_000_000]},
        {"hidden": [64] * 100},
        {"hidden": (64,) * 100},
        {"hidden": dict.fromkeys(range(100), 64)},
        {"hidden": [0]},
        {"latent_dim": 0},
        {"latent_dim": 10**12},
        {"latent_dim": -1},
        {"latent_dim": float("nan")},
        {"hidden": "abc"},
        {"hidden": None},
        {"hidden": [[16]]},
        {"latent_dim": {}},
        {"channels": [2048]},
        {"channels": [4, 4, 4]},
        {"nonsense": 1},
        {7: 1},
        {"shape": [1, 28, 27]},
        {"shape": [1, 10**6, 10**6]},
        {"shape": "28"},
        {"shape": 28},
    ],
)
@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_a_config_out_of_range_is_refused_before_memory_is_allocated(tmp_path, kind, change):
    config = {**small().config, **({"channels": [4]} if kind == "dcgan" else {}), **change}
    refused(saved(tmp_path / "g.pth", kind=kind, config=config))


@pytest.mark.parametrize("hidden", [[], ""])
def test_a_discriminator_without_hidden_layers_for_its_pyramid_is_refused(tmp_path, hidden):
    network = build(DISCRIMINATORS, "mlp", shape=MNIST.shape, hidden=(8,), pyramid=True)
    network.config["hidden"] = hidden
    save_weights(tmp_path / "d.pth", network, MNIST)
    assert "its config builds no discriminator" in refused(tmp_path / "d.pth", "discriminator")


@pytest.mark.parametrize("missing", ["config", "kind", "dataset", "state_dict", "format"])
def test_missing_entries_are_refused(tmp_path, missing):
    path = saved(tmp_path / "g.pth")
    content = torch.load(path, weights_only=True)
    del content[missing]
    torch.save(content, path)
    refused(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hidden": [1_000_000]}, "hidden 1,000,000 is out of range"),
        ({"hidden": [64] * 100}, "hidden has 100 layers"),
        ({"channels": [2048]}, "channels 2,048 is out of range"),
        ({"channels": [4] * 5}, "channels has 5 layers, at most 4"),
        ({"shape": [1, 28, torch.tensor([28, 28])]}, "shape has entries that are neither"),
        ({"nonsense": 1, "more": 2}, "its config has more, nonsense, which mlp does not take"),
    ],
)
def test_sizes_are_checked_before_the_network_is_built(tmp_path, change, says, monkeypatch):
    monkeypatch.setattr("lab.models.serialization.build", lambda *_, **__: pytest.fail("built"))
    path = saved(tmp_path / "g.pth", config={**small().config, **change})
    assert says in refused(path)


@pytest.mark.parametrize("kind", ["transformer", "unet", 3, None, ["mlp"]])
def test_an_unknown_kind_of_network_is_refused(tmp_path, kind):
    refused(saved(tmp_path / "g.pth", kind=kind))


def test_a_pyramid_that_needs_too_much_memory_is_refused(tmp_path):
    spec = DatasetSpec("large", "Large", (1, 512, 512))
    path = tmp_path / "d.pth"
    network = build(DISCRIMINATORS, "mlp", shape=spec.shape, hidden=())
    save_weights(path, network, spec)
    content = torch.load(path, weights_only=True)
    content["config"]["pyramid"] = True  # a matrix of 360 GB
    numbers = 512**2 * 21 // 16
    content["state_dict"]["layers.0.weight"] = torch.zeros(1, numbers)
    torch.save(content, path)
    assert "512 is too large" in refused(path, "discriminator")


@pytest.mark.parametrize(
    "facts",
    [
        None,
        "cifar",
        [],
        {},
        {"name": 3},
        {"shape": [1, 28]},
        {"shape": [1, 28, 10**9]},
        {"shape": [3, 28, 28]},  # not the shape of its network
        {"class_names": [7]},
        {"class_names": ["x" * 201]},
        {"title": "\n" * 300},
        {"title": "\x1b[2J"},
        {"class_names": ["\x1b[2J"] * 10},
        {"name": "../../elsewhere"},
    ],
)
def test_damaged_facts_of_the_set_are_refused(tmp_path, facts):
    if isinstance(facts, dict) and facts:
        facts = {**MNIST.as_facts(), **facts}
    assert "\n" not in refused(saved(tmp_path / "g.pth", dataset=facts))


def test_facts_that_json_could_not_hold_are_ignored(tmp_path):
    for facts in (["epoch"], {"epoch": torch.ones(3)}, {(1, 2): 3}):
        assert load_weights(saved(tmp_path / "g.pth", facts=facts), "generator").facts == {}


def test_images_that_are_neither_grey_nor_in_colour_are_refused(tmp_path):
    path, spec = tmp_path / "g.pth", DatasetSpec("own", "Own", (2, 28, 28))
    save_weights(path, build(GENERATORS, "mlp", shape=spec.shape, hidden=(8,)), spec)
    assert "the shape of its images is damaged" in refused(path)


def test_other_classes_than_those_of_the_set_are_refused(tmp_path):
    path = tmp_path / "g.pth"
    for spec, classes in ((MNIST, 20), (DatasetSpec("own", "Own", MNIST.shape), 2)):
        save_weights(path, small(classes=classes), spec)
        assert "has other classes than" in refused(path)


def test_loading_does_not_use_the_global_generator(tmp_path):
    path = saved(tmp_path / "g.pth")
    before = torch.get_rng_state()
    load_weights(path, "generator")
    assert torch.equal(torch.get_rng_state(), before)  # used by dropout during training


def test_a_negative_variance_is_refused(tmp_path):
    path, network = tmp_path / "g.pth", small(batch_norm=True)
    network.layers[1].running_var[3] = -1
    save_weights(path, network, MNIST)
    assert "negative variance" in refused(path)


def test_the_largest_possible_checkpoint_can_be_read():
    widest = {"hidden": (layers.MAX_WIDTH,) * layers.MAX_LAYERS}
    for shape in ((1, 28, 28), (3, 32, 32)):
        for channels in ((), (layers.MAX_CHANNELS,) * 2):
            offered = {"shape": shape, "channels": channels, **widest}
            kind = "dcgan" if channels else "mlp"
            with torch.device("meta"):
                generator = build(GENERATORS, kind, latent_dim=layers.MAX_LATENT, **offered)
                discriminator = build(DISCRIMINATORS, kind, **offered)
            # Generator: weights, average, two moments. Discriminator: weights, two moments.
            numbers = 4 * count_parameters(generator) + 3 * count_parameters(discriminator)
            assert 4 * numbers < MAX_WEIGHT_BYTES


def bytes_of(version: int) -> bytes:
    """The bytes of a small generator's file."""
    network, file = small(latent_dim=2, hidden=(3,)), io.BytesIO()
    origin = {"facts": {"dataset": "mnist"}}
    if version == 2:
        origin = {"kind": "mlp", "dataset": MNIST.as_facts(), "facts": {}}
    config = {name: value for name, value in network.config.items() if name != "shape"}
    content = {
        "format": "gan-lab generator",
        "version": version,
        "config": network.config if version == 2 else config,
        **origin,
        "state_dict": plain_state(network),
    }
    torch.save(content, file)
    return file.getvalue()


WHOLE = {1: bytes_of(1), 2: bytes_of(2)}


@settings(max_examples=300, deadline=None)
@example(version=1, flips=[(10, 110)])  # a newline in a name of the config
@example(version=2, flips=[(10, 110)])
@given(
    version=st.sampled_from(sorted(WHOLE)),
    flips=st.lists(st.tuples(st.integers(0, 999), st.integers(1, 255)), min_size=1, max_size=8),
)
def test_a_mutated_file_is_read_or_refused_but_never_crashes(tmp_path_factory, version, flips):
    content = bytearray(WHOLE[version])
    for place, change in flips:
        content[place * len(content) // 1000] ^= change
    path = tmp_path_factory.getbasetemp() / "mutated.pth"
    path.write_bytes(content)
    try:
        found = load_weights(path, "generator")
    except Fault as fault:
        assert "\n" not in str(fault)
    else:
        assert all(torch.isfinite(weight).all() for weight in found.network.parameters())
        assert found.network(torch.zeros(1, found.network.latent_dim)).shape[1:] == found.spec.shape
