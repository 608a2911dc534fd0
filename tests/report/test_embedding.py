"""lab/report/embedding.py: the images of a run in a page."""

import base64
import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from report_runs import COLOUR, GREY, TOY, make_run, network

from lab.data.writers import write_png
from lab.models.sampling import generate
from lab.report import embedding, figures
from lab.runs.run import Run


def opened_url(url: str) -> Image.Image:
    """The picture in a `data:` URL."""
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def test_final_images_are_in_whole_rows_in_order(tmp_path: Path) -> None:
    levels = torch.arange(25).byte().view(-1, 1, 1, 1).expand(-1, *GREY)
    run, few = Run(tmp_path), Run(tmp_path / "few")
    figures.save_images(run.final_folder, levels)
    few.path.mkdir()
    picture = opened_url(embedding.final_grid(run))
    assert picture.size == (10 * 29 - 1, 2 * 29 - 1)
    shown = [[picture.getpixel((x, y)) for x in range(5, 290, 29)] for y in (5, 34)]
    assert shown == [[(level + row, 255) for level in range(10)] for row in (0, 10)]
    figures.save_images(few.final_folder, levels[:9])
    assert embedding.final_grid(few) is None


def test_final_images_keep_their_colours_and_gaps_are_clear(tmp_path: Path) -> None:
    run = Run(tmp_path)
    figures.save_images(
        run.final_folder, torch.tensor([9, 5, 7]).byte().view(1, 3, 1, 1).expand(10, *COLOUR)
    )
    picture = opened_url(embedding.final_grid(run))
    assert picture.size == (10 * 21 - 1, 20)
    assert picture.getpixel((19, 3)) == (9, 5, 7, 255) and picture.getpixel((20, 3))[3] == 0


@pytest.mark.parametrize("shape", [GREY, COLOUR, (3, 64, 32)])
def test_a_frame_of_the_film_is_the_grid_pixel_for_pixel(tmp_path: Path, shape) -> None:
    run = Run(tmp_path)
    run.grid_folder.mkdir()
    images = torch.randint(0, 256, (25, *shape), dtype=torch.uint8)
    write_png(run.grid_path(1), figures.grid(images, 5))
    (frame,) = embedding.film(run, shape)
    picture = opened_url(frame["source"])
    channels, height, width = shape
    assert picture.size == (5 * (width + 1) - 1, 5 * (height + 1) - 1)
    box = (2 * (width + 1), height + 1, 2 * (width + 1) + width, 2 * height + 1)
    shown = picture.crop(box).convert("L" if channels == 1 else "RGB")
    assert shown.tobytes() == figures.as_picture(images[7]).tobytes()  # second row, third column
    assert picture.getpixel((width, 0))[-1] == 0  # the gap


def test_the_thumbnail_is_the_newest_grid(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    first, *_, last = embedding.film(run, GREY)
    assert embedding.thumbnail(run, GREY) == last["source"] != first["source"]


def test_a_grid_of_images_of_an_unknown_shape_is_shown_as_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path, spec=TOY, generator=network("mlp", TOY.shape))
    with Image.open(run.grid_path(4)) as grid:
        assert opened_url(embedding.thumbnail(run, None)).tobytes() == grid.tobytes()


def test_a_long_film_is_thinned_and_keeps_both_ends(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.grid_folder.mkdir()
    for epoch in range(0, 1200, 5):
        Image.new("L", (584, 584)).save(run.grid_path(epoch))
    epochs = [frame["epoch"] for frame in embedding.film(run, GREY)]
    assert len(epochs) == embedding.MAX_FRAMES
    assert (epochs[0], epochs[-1]) == (0, 1195)
    assert epochs == sorted(set(epochs))


def test_large_colour_images_have_fewer_frames_and_final_images(tmp_path: Path) -> None:
    run, shape = Run(tmp_path), (3, 64, 64)
    run.grid_folder.mkdir()
    noise = torch.randint(0, 256, (100, *shape), dtype=torch.uint8)  # compresses badly
    for epoch in range(6):
        write_png(run.grid_path(epoch), figures.grid(noise[:25], 5, scale=2))
    frames = embedding.film(run, shape)
    assert [frame["epoch"] for frame in frames] == [0, 2, 5]
    assert sum(len(frame["source"]) for frame in frames) <= embedding.FILM_BYTES
    for epoch in (1, 3, 5):  # compress well, so the others are larger than the mean
        write_png(run.grid_path(epoch), figures.grid(torch.zeros_like(noise[:25]), 5, scale=2))
    write_png(run.grid_path(6), figures.grid(noise[:25], 5, scale=2))
    frames = embedding.film(run, shape)
    assert [frame["epoch"] for frame in frames] == [0, 3, 6]
    assert sum(len(frame["source"]) for frame in frames) <= embedding.FILM_BYTES
    figures.save_images(run.final_folder, noise)
    final = embedding.final_grid(run)
    assert len(final) <= embedding.FINAL_BYTES
    assert opened_url(final).size == (10 * 65 - 1, 2 * 65 - 1)


def test_links_to_other_pictures_are_not_embedded(tmp_path: Path) -> None:
    run, private = make_run(tmp_path / "outputs"), tmp_path / "private.png"
    Image.new("L", (30, 30)).save(private)
    for path in (run.latent_walk_path, run.grid_path(77)):
        path.symlink_to(private)
    Image.new("L", (4400, 4400)).save(run.grid_path(78))
    Image.new("L", (20, 20)).save(run.nearest_path, format="TIFF")
    assert embedding.embed_pictures({run.nearest_path: "nearest"}, limit=10**6) == ([], [])
    assert embedding.embed_pictures({run.latent_walk_path: "walk"}, limit=10**6) == ([], [])
    assert not {77, 78} & {frame["epoch"] for frame in embedding.film(run, GREY)}


def test_embedding_names_pictures_that_are_too_large(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "missing.png")]
    for path in paths[:2]:
        Image.new("L", (20, 20)).save(path)
    room = 1.5 * paths[0].stat().st_size * 4 / 3 + 40
    shown, left_out = embedding.embed_pictures(dict.fromkeys(paths, ""), room)
    assert [picture["name"] for picture in shown] == ["a.png"]
    assert left_out == ["b.png"]


def test_a_large_grid_is_embedded(tmp_path: Path) -> None:
    run, shape = Run(tmp_path), (3, 64, 64)
    run.grid_folder.mkdir()
    images = generate(network("mlp", shape), torch.randn(100, 16))
    write_png(run.grid_path(1), figures.grid(images, 10))
    assert len(embedding.film(run, shape)) == 1
