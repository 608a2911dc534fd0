"""Noise, scores, projection, the denoiser and the user's own folder of pictures."""

from __future__ import annotations

import math

import pytest
import torch
from PIL import Image
from torch import nn

from lab import seeding as chance
from lab.data import image_folder as folder
from lab.errors import Mistake
from lab.models import networks as models
from lab.report import figures as images
from lab.restoration import corruptions as restore
from lab.restoration import denoising as denoiser
from lab.restoration import projection


@pytest.fixture(scope="module")
def generator() -> models.Generator:
    """A small generator of random weights, whose images differ well from each other."""
    torch.manual_seed(3)
    network = models.Generator(latent_dim=8, hidden=(64,))
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(2)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def made(generator: models.Generator) -> torch.Tensor:
    """Five images of the generator, (5, 1, 28, 28) in [0, 1]."""
    latents = torch.randn(5, 8, generator=chance.stream(1, "test"))
    return (generator(latents) + 1) / 2


def test_noise_of_an_image_does_not_depend_on_how_many_there_are() -> None:
    clean = torch.rand(9, 1, 28, 28)
    many, few = restore.add_noise(clean, 0.3, 5), restore.add_noise(clean[:8], 0.3, 5)
    assert torch.equal(many[7], few[7])
    assert not torch.allclose(many[7] - clean[7], many[6] - clean[6], atol=0.1)
    assert not torch.equal(many[7], restore.add_noise(clean, 0.3, 6)[7])
    assert float((many - clean).std()) == pytest.approx(0.3, rel=0.05)


def test_clipped_noise_stays_in_range() -> None:
    noisy = restore.add_noise(torch.rand(3, 1, 28, 28), 1.0, 0, clip=True)
    assert noisy.min() == 0
    assert noisy.max() == 1


def test_scores_are_what_the_formulas_say() -> None:
    clean = torch.rand(4, 1, 28, 28)
    score = restore.scores(clean + 0.1, clean)
    assert score["psnr"] == pytest.approx(20, abs=0.01)  # 10 log10(1 / 0.01)
    assert restore.scores(clean.clone(), clean)["ssim"] == pytest.approx(1, abs=1e-3)


def test_ssim_of_two_even_images_is_what_the_formula_says() -> None:
    dark, light = torch.full((1, 1, 28, 28), 0.5), torch.full((1, 1, 28, 28), 0.6)
    expected = (2 * 0.5 * 0.6 + 0.01**2) / (0.5**2 + 0.6**2 + 0.01**2)  # for a range of 1
    assert restore.scores(light, dark)["ssim"] == pytest.approx(expected, abs=1e-4)


def test_the_unit_scale_ends_at_one() -> None:
    assert restore.to_unit(torch.tensor([0, 51, 255]).byte()).tolist() == pytest.approx([0, 0.2, 1])
    assert images.to_uint8(torch.tensor([-0.1, 0.8, 1, 1.1])).tolist() == [0, 204, 255, 255]
    assert images.to_uint8(torch.tensor([0.6, 1.4]) / 255).tolist() == [1, 1]


def test_mean_of_scores_is_over_images_not_pixels() -> None:
    clean = torch.zeros(2, 1, 28, 28)
    shown = torch.stack((clean[0] + 0.1, clean[0] + 0.01))
    assert restore.scores(shown, clean)["psnr"] == pytest.approx(30, abs=0.01)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 0.9])
def test_clipped_mean_agrees_with_drawing(sigma: float) -> None:
    images, level = torch.tensor([0.0, 0.2, 0.7, 1.0]), torch.tensor(sigma)
    noise = torch.randn(200_000, 1, generator=chance.stream(0, "test"))
    drawn = (images + sigma * noise).clamp(0, 1)
    assert torch.allclose(restore.clipped_mean(images, level), drawn.mean(0), atol=5e-3)


@pytest.mark.parametrize("sigma", [0.05, 0.4])
def test_sigma_is_estimated_from_what_an_image_shows(sigma: float) -> None:
    ramp = torch.linspace(0, 1, 28).expand(6, 1, 28, 28)
    estimate = restore.estimate_sigma(restore.add_noise(ramp, sigma, 0))
    assert estimate.shape == (6,)
    assert float(estimate.mean()) == pytest.approx(sigma, rel=0.1)


def test_sigma_of_clipped_noise_is_put_right_by_examples() -> None:
    ramp = (torch.linspace(-0.5, 1, 28).clamp(min=0)).expand(40, 1, 28, 28)  # a third is black
    noisy = restore.add_noise(ramp, 0.4, 1, clip=True)
    assert float(restore.estimate_sigma(noisy).mean()) < 0.33
    estimate = restore.estimate_clipped_sigma(noisy, ramp[:10])
    assert float(estimate.mean()) == pytest.approx(0.4, rel=0.1)


def test_projection_finds_what_the_generator_made(
    generator: models.Generator, made: torch.Tensor
) -> None:
    error = (projection.project(generator, made, 0.0) - made).square().mean()
    nearest = (projection.project(generator, made, 0.0, steps=0) - made).square().mean()
    assert error < 2e-4
    assert error < nearest / 10


def test_the_bank_knows_the_latents_of_its_own_images(generator: models.Generator) -> None:
    bank = projection._bank(generator, torch.device("cpu"))
    shown = projection.pixels(generator, bank[:5])
    objective = projection.Objective(generator, shown, torch.full((5,), 0.1), clipped=False)
    assert objective.of_bank(bank).argmin(dim=1).tolist() == [0, 1, 2, 3, 4]


def test_as_many_starts_as_asked_for_are_followed(
    generator: models.Generator, made: torch.Tensor, monkeypatch
) -> None:
    followed, descend = [], projection._descend
    monkeypatch.setattr(
        projection, "_descend", lambda *given: followed.append(len(given[1])) or descend(*given)
    )
    projection.project(generator, made, 0.3, restarts=7, steps=10)
    assert followed == [5 * 7, 5 * projection.FINALISTS]


def test_the_best_start_of_each_image_is_kept() -> None:
    latents, values = torch.arange(6.0)[:, None], torch.tensor([3.0, 1, 2, 5, 6, 4])
    assert projection._best(latents, values, images=2, count=1).tolist() == [[1], [5]]


def test_projection_takes_noise_away(generator: models.Generator, made: torch.Tensor) -> None:
    noisy = restore.add_noise(made, 0.3, 0)
    restored = projection.project(generator, noisy, 0.3)
    assert (restored - made).square().mean() < (noisy - made).square().mean() / 5
    clipped = restore.add_noise(made, 0.3, 0, clip=True)
    aware = projection.project(generator, clipped, 0.3, clipped=True)
    unaware = projection.project(generator, clipped, 0.3)
    assert (aware - made).square().mean() < (unaware - made).square().mean()


def test_projection_is_the_same_twice_and_of_fewer_images(
    generator: models.Generator, made: torch.Tensor
) -> None:
    first = projection.project(generator, made, 0.1, restarts=4, steps=30)
    assert torch.equal(first, projection.project(generator, made, 0.1, restarts=4, steps=30))
    alone = projection.project(generator, made[:2], 0.1, restarts=4, steps=30)
    assert torch.allclose(first[:2], alone, atol=1e-3)


def test_noise_levels_may_differ_from_image_to_image(
    generator: models.Generator, made: torch.Tensor
) -> None:
    levels = torch.tensor([0.1, 0.1, 0.1, 0.1, 1.0])
    mixed = projection.project(generator, made, levels, steps=50)
    same = projection.project(generator, made, 0.1, steps=50)
    assert torch.allclose(mixed[0], same[0], atol=1e-3)
    assert not torch.allclose(mixed[4], same[4], atol=1e-3)


def test_descent_never_ends_above_its_start(generator: models.Generator) -> None:
    noisy = torch.rand(3, 784)
    noisy[1] = torch.nan  # an image that no step can improve leaves the others alone
    objective = projection.Objective(generator, noisy, torch.full((3,), 0.1), clipped=False)
    starts = torch.randn(3, 8, generator=chance.stream(0, "test"))
    latents, values = projection._descend(objective, starts, 40)
    assert torch.isfinite(latents).all()
    assert (values[[0, 2]] < objective(starts)[[0, 2]]).all()


def test_regenerated_images_are_different_and_decided_by_the_seed(
    generator: models.Generator, made: torch.Tensor
) -> None:
    noisy = restore.add_noise(made[:2], 0.9, 0)
    first = projection.regenerate(generator, noisy, 0.9, 4, steps=20)
    assert first.shape == (2, 4, 1, 28, 28)
    assert float(first.std(dim=1).mean()) > 0.01
    assert torch.equal(first, projection.regenerate(generator, noisy, 0.9, 4, steps=20))
    assert not torch.equal(first, projection.regenerate(generator, noisy, 0.9, 4, steps=20, seed=1))


def test_regeneration_of_a_linear_generator_samples_the_known_posterior() -> None:
    class Linear(nn.Module):
        """Two latents, each the height of a row of pixels of its own, of norm 1 on 0 to 1."""

        latent_dim = 2

        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            rows = torch.zeros(len(latents), 28, 28)
            rows[:, :2] = 2 * latents[:, :, None] / 28**0.5 - 1
            return rows.view(-1, 1, 28, 28)

    noisy = torch.zeros(1, 1, 28, 28)
    noisy[0, 0, 2:] = 0.5  # what the other rows always are
    noisy[0, 0, 0] = 1.6 / 28**0.5  # a least-squares latent of (1.6, 0)
    found = projection.regenerate(Linear(), noisy, 1.0, count=600, steps=300)
    latents = found[0, :, 0, :2].sum(2) / 28**0.5  # (600, 2)
    variance = 1.0 + projection.MISFIT**2  # of the noise; the prior's is 1
    assert torch.allclose(latents.mean(0), torch.tensor([1.6, 0.0]) / (1 + variance), atol=0.1)
    assert torch.allclose(latents.var(0), torch.full((2,), variance / (1 + variance)), atol=0.1)


# The denoiser


@pytest.fixture(scope="module")
def squares() -> torch.Tensor:
    """uint8 (64, 1, 28, 28): a bright square somewhere, which is soon learnt."""
    images = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    for index, image in enumerate(images):
        image[:, index % 8 + 4 :, index // 8 + 4 :][:, :12, :12] = 255
    return images


def test_denoiser_has_the_parameters_it_is_meant_to_have() -> None:
    assert models.count_parameters(denoiser.Denoiser()) == 456_820


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_a_denoiser_that_answers_nothing_shrinks_towards_black(sigma: float) -> None:
    network = denoiser.Denoiser(8, 8)
    nn.init.zeros_(network.leave[1].weight)
    nn.init.zeros_(network.leave[1].bias)
    noisy = torch.full((1, 1, 28, 28), 0.5)
    denoised = network(noisy, torch.tensor([sigma]), torch.tensor([False]))
    c_skip = 0.35**2 / (sigma**2 + 0.35**2)  # Karras et al. 2022, table 1
    assert torch.allclose(denoised, c_skip * noisy)
    c_out = sigma * 0.35 / math.hypot(sigma, 0.35)
    assert network.scale(torch.tensor([sigma])).item() == pytest.approx(c_out)


def test_the_learning_rate_goes_up_and_down_once() -> None:
    assert [denoiser.one_cycle(done) for done in (0, 0.05, 1)] == pytest.approx([0, 1, 0])
    assert denoiser.one_cycle(0.025) == pytest.approx(0.5)


def test_training_learns_and_is_decided_by_the_seed(squares: torch.Tensor) -> None:
    network = denoiser.train(squares, 0, 40 * denoiser.BATCH)
    again = denoiser.train(squares, 0, 40 * denoiser.BATCH)
    for weight, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(weight, other)
    clean = restore.to_unit(squares)
    noisy = restore.add_noise(clean, 0.5, 0)
    restored = denoiser.denoise(network, noisy, 0.5)
    assert restored.min() >= 0
    assert restored.max() <= 1
    assert (restored - clean).square().mean() < (noisy - clean).square().mean() / 2


def test_what_is_faint_for_its_noise_is_background() -> None:
    restored = torch.tensor([0.0, 0.009, 0.011, 0.059, 0.061, 1.0]).expand(2, 1, 1, -1)
    denoised = denoiser.denoise(lambda *_: restored, restored, torch.tensor([0.02, 1.0]))
    at_little_noise, at_much = denoised.flatten(1)
    assert at_little_noise.tolist() == pytest.approx([0, 0, 0.011, 0.059, 0.061, 1])
    assert at_much.tolist() == pytest.approx([0, 0, 0, 0, 0.061, 1])


def test_the_denoiser_is_told_what_was_clipped(squares: torch.Tensor) -> None:
    class Told(denoiser.Denoiser):
        """Answers with its input, and notes what it was told."""

        def forward(self, noisy, sigma, clipped) -> torch.Tensor:
            in_range = (noisy >= 0) & (noisy <= 1)
            found.append((clipped.bool(), in_range.flatten(1).all(1)))
            return noisy

    found, network = [], Told(8, 8)
    denoiser.train_step(network, squares, chance.stream(0, "test"))
    told, in_range = found.pop()
    assert torch.equal(told, in_range) and 0 < told.sum() < denoiser.BATCH
    for clipped in (True, False):
        denoiser.denoise(network, torch.zeros(2, 1, 28, 28), 0.3, clipped)
        assert found.pop()[0].tolist() == [clipped] * 2


def test_the_denoisers_chance_is_decided_by_the_seed(squares, monkeypatch) -> None:
    one, two = (denoiser.train(squares, seed, 0).enter[0].weight for seed in (0, 1))
    assert not torch.equal(one, two)  # first weights
    drawn = []

    def train_step(network, images, stream) -> torch.Tensor:
        drawn.append(torch.rand(3, generator=stream))
        return sum(weight.sum() for weight in network.parameters())

    monkeypatch.setattr(denoiser, "train_step", train_step)
    for seed in (0, 1):
        denoiser.train(squares, seed, 1)
    assert not torch.equal(*drawn)  # noise


def test_the_denoiser_is_shown_pixels_from_zero_to_one() -> None:
    class Perfect(denoiser.Denoiser):
        def forward(self, noisy, sigma, clipped) -> torch.Tensor:
            return torch.full_like(noisy, 0.2)

    grey = torch.full((4, 1, 28, 28), 51).byte()
    loss = denoiser.train_step(Perfect(8, 8), grey, chance.stream(0, "test"))
    assert loss.item() == pytest.approx(0, abs=1e-9)


def test_the_denoiser_learns_at_the_rate_of_its_cycle(squares, monkeypatch) -> None:
    monkeypatch.setattr(denoiser, "one_cycle", lambda done: 0.0)
    fresh, trained = (denoiser.train(squares, 0, count).enter[0].weight for count in (0, 64))
    assert torch.equal(fresh, trained)


# The user's own pictures


def test_pictures_of_every_kind_are_read(tmp_path) -> None:
    grey = torch.arange(784, dtype=torch.int32).remainder(256).to(torch.uint8).view(28, 28)
    Image.fromarray(grey.numpy()).save(tmp_path / "grey.png")
    Image.fromarray(grey.numpy()).convert("RGB").save(tmp_path / "grey_as_colour.png")
    Image.new("RGB", (28, 28), (255, 0, 0)).save(tmp_path / "red.png")
    deep = grey.numpy().astype("uint16") * 257
    Image.fromarray(deep).save(tmp_path / "sixteen.png")
    Image.fromarray(grey.repeat(2, 3).numpy()).save(tmp_path / "tiled.png")
    Image.new("L", (50, 31), 77).save(tmp_path / "uneven.png")
    Image.new("LA", (28, 28), (200, 51)).save(tmp_path / "glass.png")
    drawing = Image.new("RGBA", (28, 28), (0, 0, 0, 0))  # black on nothing
    drawing.putpixel((3, 3), (0, 0, 0, 255))
    drawing.save(tmp_path / "drawing.png")
    Image.new("L", (28, 28), 50).save(tmp_path / "photo.JPG")
    lying = Image.new("L", (28, 28))
    lying.paste(200, (0, 0, 28, 14))  # light above
    lying.getexif()[0x0112] = 6  # "turn it to the right"
    lying.save(tmp_path / "turned.png", exif=lying.getexif())
    Image.new("L", (28, 28)).save(tmp_path / "old.gif")
    frames = [Image.new("L", (28, 28), level) for level in (0, 99)]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    (tmp_path / "folder.png").mkdir()
    whole = (tmp_path / "grey.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    pictures, unreadable = folder.read_pictures(tmp_path)
    found = {picture.name: picture for picture in pictures}
    assert set(found) == {
        *("grey.png", "grey_as_colour.png", "red.png"),
        *("sixteen.png", "tiled.png", "uneven.png", "glass.png", "moving.png"),
        *("drawing.png", "photo.JPG.png", "turned.png"),
    }
    assert found["photo.JPG.png"].file == "photo.JPG"
    assert found["turned.png"].notices[0] == "turned upright, as its camera noted"
    assert found["turned.png"].tiles[0, 0, 5].tolist() == [0] * 14 + [200] * 14
    for name in ("grey.png", "grey_as_colour.png", "sixteen.png"):
        assert torch.equal(found[name].tiles[0, 0], grey), name
    assert found["grey.png"].notices == found["grey_as_colour.png"].notices == ()
    assert "16 bits" in found["sixteen.png"].notices[0]
    assert "colour" in found["red.png"].notices[0]
    assert found["glass.png"].notices == ("transparency filled with black",)
    assert (found["glass.png"].tiles == 40).all()  # 200 * 51 / 255
    assert found["drawing.png"].notices[0] == "transparency filled with white"
    assert "--invert" in found["drawing.png"].notices[1]
    assert found["drawing.png"].tiles.sum() == 783 * 255
    assert found["moving.png"].notices == ("only the first of its frames taken",)
    assert "resized from 50 x 31" in found["uneven.png"].notices[0]
    assert (found["uneven.png"].tiles == 77).all()
    assert len(found["tiled.png"].tiles) == 6
    assert len(unreadable) == 3 and "old.gif: left out, not one of .png" in unreadable[2]
    assert unreadable[0].startswith("broken.png")


def test_tiles_are_joined_as_they_were(tmp_path) -> None:
    values = torch.randint(0, 256, (56, 84), dtype=torch.uint8)
    Image.fromarray(values.numpy()).save(tmp_path / "in.png")
    (picture,), _ = folder.read_pictures(tmp_path)
    folder.save_picture(tmp_path / "out.png", picture, picture.tiles)
    with Image.open(tmp_path / "out.png") as again:
        assert again.size == (84, 56)
        assert again.tobytes() == values.numpy().tobytes()


def test_more_tiles_than_can_be_restored_are_a_mistake(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(folder, "MOST_TILES", 3)
    Image.new("L", (84, 28)).save(tmp_path / "a.png")
    assert len(folder.read_pictures(tmp_path)[0]) == 1
    Image.new("L", (28, 28)).save(tmp_path / "b.png")
    with pytest.raises(Mistake, match=r"more than 3 images of 28 x 28 up to b\.png"):
        folder.read_pictures(tmp_path)


def test_a_picture_too_large_is_not_unpacked(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(folder, "MOST_TILES", 3)
    Image.new("L", (84, 56)).save(tmp_path / "large.png")
    with pytest.raises(Mistake, match="84 x 56 pixels is too large"):
        folder.read_pictures(tmp_path)


def test_folder_without_pictures_is_a_mistake(tmp_path) -> None:
    with pytest.raises(Mistake, match=r"no pictures in it \(\.png"):
        folder.read_pictures(tmp_path)
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(Mistake, match="can be read"):
        folder.read_pictures(tmp_path)
    for name in ("a.jpg", "a.jpg.png"):
        Image.new("L", (28, 28)).save(tmp_path / name)
    with pytest.raises(Mistake, match=r"a\.jpg and a\.jpg\.png become the same"):
        folder.read_pictures(tmp_path)
    (tmp_path / "a.jpg").rename(tmp_path / ("n" * 251 + ".jpg"))
    with pytest.raises(Mistake, match="give it a shorter name"):
        folder.read_pictures(tmp_path)
