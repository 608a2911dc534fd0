"""Pictures of every kind, read as images of a set's shape."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from lab.data import datasets, image_folder
from lab.data.pictures import FORMATS, Unreadable, flattened, opened
from lab.data.writers import as_picture, write_png
from lab.errors import Mistake

GREY, COLOUR = (1, 28, 28), (3, 20, 24)


def test_pictures_of_every_kind_are_read(tmp_path) -> None:
    grey = torch.arange(784, dtype=torch.int32).remainder(256).to(torch.uint8).view(28, 28)
    Image.fromarray(grey.numpy()).save(tmp_path / "grey.png")
    Image.fromarray(grey.numpy()).convert("RGB").save(tmp_path / "grey_as_colour.png")
    Image.new("RGB", (28, 28), (255, 0, 0)).save(tmp_path / "red.png")
    deep = grey.numpy().astype("uint16") * 257
    Image.fromarray(deep).save(tmp_path / "sixteen.png")
    Image.fromarray(deep // 16).save(tmp_path / "twelve.png")
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
    Image.new("L", (28, 28), 20).save(tmp_path / "scan.tif")
    Image.new("I;16", (28, 28), 99).save(tmp_path / "low.png")
    Image.new("RGBA", (28, 28), (9, 9, 9, 255)).save(tmp_path / "opaque.png")
    framed = Image.new("RGBA", (28, 28), (90, 90, 90, 255))
    framed.paste((0, 0, 0, 0), (10, 10, 20, 20))
    framed.save(tmp_path / "framed.png")
    (tmp_path / "photo.heic").write_bytes(b"not of Pillow's")
    (tmp_path / "._grey.png").write_bytes(b"of macOS")
    frames = [Image.new("L", (28, 28), level) for level in (0, 99)]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    (tmp_path / "folder.png").mkdir()
    whole = (tmp_path / "grey.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    Image.new("I", (28, 28), 70_000).save(tmp_path / "counts.tif")
    pictures, notices = image_folder.read_pictures(tmp_path, GREY)
    found = {picture.name: picture for picture in pictures}
    assert set(found) == {
        *("grey.png", "grey_as_colour.png", "red.png", "old.gif.png", "scan.tif.png"),
        *("sixteen.png", "twelve.png", "low.png", "tiled.png", "uneven.png", "glass.png"),
        "moving.png",
        *("drawing.png", "photo.JPG.png", "turned.png", "opaque.png", "framed.png"),
    }
    assert found["turned.png"].tiles[0, 0, 5].tolist() == [0] * 14 + [200] * 14
    for name in ("grey.png", "grey_as_colour.png", "sixteen.png", "twelve.png"):
        assert torch.equal(found[name].tiles[0, 0], grey), name
    assert (found["glass.png"].tiles == 40).all()  # 200 * 51 / 255
    assert found["drawing.png"].tiles.sum() == 783 * 255
    assert found["framed.png"].tiles[0, 0, 14, 14] == 90  # transparent there
    assert found["low.png"].tiles[0, 0, 3, 3] == 99  # not black
    assert (found["uneven.png"].tiles == 77).all()
    assert (found["scan.tif.png"].tiles == 20).all() and len(found["tiled.png"].tiles) == 6
    said = dict(line.split(": ", 1) for line in notices)
    tiles = "84 x 56 restored in 6 tiles of 28 x 28; resize it to 28 x 28 if it is one image"
    unread = said.pop("left out, cannot be read")
    assert unread.startswith("3 files (broken.png: ") and "text.png: not a picture" in unread
    assert "counts.tif: has values above 65,535" in unread
    assert said == {
        "left out, not of a kind that is read": "1 file (photo.heic)",
        "left out, sub-folders": "1 folder (folder.png)",
        "left out, hidden files and folders of the system": "1 file (._grey.png)",
        "turned upright, as its camera noted": "1 file (turned.png)",
        "16 bits turned to 8": "1 file (sixteen.png)",
        "16 bits, with values of 12, turned to 8": "1 file (twelve.png)",
        "16 bits, with values of 8 only": "1 file (low.png)",
        "colour turned to grey": "1 file (red.png)",
        "transparency filled with black": "1 file (glass.png)",
        "transparency filled with white": "1 file (drawing.png)",
        "transparency filled with the colour of its corner": "1 file (framed.png)",
        image_folder.LIGHT: "1 file (drawing.png)",
        "only the first of its frames taken": "1 file (moving.png)",
        "resized from 50 x 31 to 28 x 28": "1 file (uneven.png)",
        tiles: "1 file (tiled.png)",
    }


def test_too_many_tiles_are_a_mistake(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(image_folder, "MAX_TILES", 3)
    Image.new("L", (84, 28)).save(tmp_path / "a.png")
    assert len(image_folder.read_pictures(tmp_path, GREY)[0]) == 1
    Image.new("L", (28, 28)).save(tmp_path / "b.png")
    with pytest.raises(Mistake, match=r"more than 3 images of 28 x 28 up to b\.png"):
        image_folder.read_pictures(tmp_path, GREY)


def test_pictures_of_many_sizes_are_one_line(tmp_path) -> None:
    for side in range(40, 45):
        Image.new("L", (side, side)).save(tmp_path / f"{side}.png")
    _, notices = image_folder.read_pictures(tmp_path, GREY)
    assert notices == ["resized from 5 sizes to 28 x 28: 5 files (40.png, 41.png, 42.png, ...)"]


def test_the_number_of_tiles_a_side_is_limited(tmp_path) -> None:
    for side, tiles in ((224, 64), (252, 1)):
        Image.new("L", (side, side), 9).save(tmp_path / "one.png")
        (picture,), notices = image_folder.read_pictures(tmp_path, GREY)
        assert len(picture.tiles) == tiles and len(notices) == 1


def test_a_photograph_is_read_and_a_decompression_bomb_is_not(tmp_path, monkeypatch) -> None:
    Image.new("L", (4000, 3000), 9).save(tmp_path / "photo.jpg")
    (picture,), _ = image_folder.read_pictures(tmp_path, GREY)
    images, _, _ = image_folder.read_images(image_folder.list_images(tmp_path), 9, GREY)
    assert (picture.tiles == 9).all() and (images == 9).all()
    monkeypatch.setattr("lab.data.pictures.MAX_PIXELS", 11_000_000)
    monkeypatch.setattr(opened, "__defaults__", (11_000_000, None, FORMATS))
    with pytest.raises(Mistake, match="4000 x 3000 pixels is too large"):
        image_folder.read_pictures(tmp_path, GREY)


def test_transparency_takes_little_memory() -> None:
    picture = Image.new("RGBA", (2000, 1000), (9, 9, 9, 99))
    tracemalloc.start()
    _, changes = flattened(picture)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert changes == ["transparency filled with white"] and peak < 8 * 2000 * 1000


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("orientation", [None, 0, 1, 3, 6, 8, 99])
def test_a_picture_is_turned_by_its_exif_orientation(tmp_path, ending, orientation) -> None:
    lying = Image.new("L", (28, 28))
    lying.paste(200, (0, 0, 28, 14))  # light above
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    how = {"lossless": True} if ending == "webp" else {}
    lying.save(tmp_path / f"a.{ending}", exif=exif, **how)
    images, _, notices = image_folder.read_images(image_folder.list_images(tmp_path), 9, GREY)
    turns = {3: 2, 6: 3, 8: 1}.get(orientation, 0)
    wanted = torch.rot90(torch.from_numpy(np.array(lying)), turns)
    assert (images[0, 0].int() - wanted.int()).abs().max() < 3  # JPEG
    if ending != "tiff":  # which Pillow turns of its own accord
        assert any("turned" in line for line in notices) == bool(turns)


def test_damaged_metadata_is_ignored(tmp_path) -> None:
    picture, text = Image.new("L", (28, 28), 7), PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 2_000_000, zip=True)
    picture.save(tmp_path / "exif.png", exif=b"garbage!")
    picture.save(tmp_path / "text.png", pnginfo=text)
    picture.save(tmp_path / "profile.png", icc_profile=b"no profile")
    picture.save(tmp_path / "exif.jpg", exif=b"Exif\0\0no TIFF at all")
    glass = Image.new("P", (28, 28))
    glass.save(tmp_path / "palette.png", transparency=bytes(range(9)))  # Pillow warns of it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures, notices = image_folder.read_pictures(tmp_path, GREY)
    assert len(pictures) == 5 and len(notices) == 1
    assert all((each.tiles == 7).all() for each in pictures if each.name != "palette.png")


def test_folder_without_pictures_is_a_mistake(tmp_path) -> None:
    with pytest.raises(Mistake, match="no pictures in it; name"):
        image_folder.read_pictures(tmp_path, GREY)
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(Mistake, match="cannot be read: 1 file"):
        image_folder.read_pictures(tmp_path, GREY)
    for name in ("a.jpg", "a.jpg.png"):
        Image.new("L", (28, 28)).save(tmp_path / name)
    with pytest.raises(Mistake, match=r"a\.jpg and a\.jpg\.png become a\.jpg\.png"):
        image_folder.read_pictures(tmp_path, GREY)
    last = tmp_path / "a.jpg"
    for name in ("n" * 251 + ".jpg", "n" * 248 + ".png"):  # "_8" may be added
        last = last.rename(tmp_path / name)
        with pytest.raises(Mistake, match="give it a shorter name"):
            image_folder.read_pictures(tmp_path, GREY)


# Of another shape


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_written_images_are_read_unchanged(tmp_path, shape) -> None:
    image = torch.randint(0, 256, shape, dtype=torch.uint8)
    write_png(tmp_path / "one.png", as_picture(image))
    found, _, notices = image_folder.read_images(image_folder.list_images(tmp_path), 1, shape)
    assert torch.equal(found[0], image)
    assert [line for line in notices if "light background" not in line] == []


def test_colour_stays_where_the_set_has_colour(tmp_path) -> None:
    Image.new("RGB", (24, 20), (255, 9, 77)).save(tmp_path / "red.png")
    Image.new("L", (24, 20), 199).save(tmp_path / "white.png")
    Image.new("L", (30, 30), 99).save(tmp_path / "large.png")
    found = image_folder.list_images(tmp_path)
    images, _, notices = image_folder.read_images(found, 9, COLOUR)
    assert images.shape == (3, *COLOUR)
    assert notices == ["resized from 30 x 30 to 20 x 24: 1 file (large.png)"]
    assert [255, 9, 77] in images[..., 3, 3].tolist()
    dark, _, _ = image_folder.read_images(found, 9, COLOUR, invert=True)
    assert [0, 246, 178] in dark[..., 3, 3].tolist()


@pytest.mark.parametrize("shape", [(1, 20, 24), COLOUR], ids=["grey", "colour"])
def test_tiles_are_joined_as_they_were(tmp_path, shape) -> None:
    values = torch.randint(0, 256, (60, 48, shape[0]), dtype=torch.uint8)  # 3 x 2 tiles of 20 x 24
    Image.fromarray(values.squeeze(2).numpy()).save(tmp_path / "in.PNG")
    (picture,), notices = image_folder.read_pictures(tmp_path, shape)
    assert notices[-1].startswith("48 x 60 restored in 6 tiles of 20 x 24; resize it to 20 x 24")
    assert picture.tiles.shape == (6, *shape)
    assert torch.equal(picture.tiles[1].permute(1, 2, 0), values[:20, 24:])
    names = image_folder.save_pictures(tmp_path / "out", [picture], picture.tiles, "_1")
    assert names == ["in_1.PNG"]
    with Image.open(tmp_path / "out" / "in_1.PNG") as again:
        assert again.tobytes() == values.numpy().tobytes()


# To be scored


def test_pictures_are_taken_in_random_order_but_always_the_same(tmp_path) -> None:
    for level in range(30):
        Image.new("L", (28, 28), level).save(tmp_path / f"{level:02d}.png")
        (tmp_path / f"broken{level}.png").write_bytes(b"none")
        (tmp_path / f"._{level:02d}.png").write_bytes(b"of macOS")
    found = image_folder.list_images(tmp_path)
    assert len(image_folder.read_images(found, 30, GREY)[0]) == 30  # as many as can be
    _, _, notices = image_folder.read_images(found, 40, GREY)
    assert not any("taken at random" in line for line in notices)  # but all that can be read
    read = (image_folder.read_images(found, 10, GREY)[0] for _ in "ab")
    one, two = (images[:, 0, 0, 0].tolist() for images in read)
    assert one == two != sorted(one) and max(one) > 10  # names often go by class
    _, _, notices = image_folder.read_images(found, 10, GREY)
    assert notices[-1] == "10 of 60 pictures were taken at random"


def test_resizing_from_many_sizes_is_one_line(tmp_path) -> None:
    for side in range(30, 36):
        Image.new("L", (side, side)).save(tmp_path / f"{side}.png")
    _, _, notices = image_folder.read_images(image_folder.list_images(tmp_path), 9, GREY)
    (line,) = notices
    assert line.startswith("resized from 6 sizes to 28 x 28: 6 files (")


def test_a_folder_of_unreadable_pictures_is_refused(tmp_path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    found = image_folder.list_images(tmp_path)
    for most in (5, 1):
        with pytest.raises(Unreadable, match=r"cannot be read: 2 files \(.*below/text\.png"):
            image_folder.read_images(found, most, GREY)


def test_a_light_background_is_reported(tmp_path) -> None:
    digit = datasets.load_sample("mnist").test_images[0]
    for image, light in ((digit, False), (255 - digit, True)):
        write_png(tmp_path / "one.png", as_picture(image))
        found = image_folder.list_images(tmp_path)
        _, _, notices = image_folder.read_images(found, 1, GREY)
        assert ["invert" in line for line in notices] == [True] * light
    images, _, notices = image_folder.read_images(found, 1, GREY, invert=True)
    assert torch.equal(images[0], digit) and not notices


def test_links_are_followed_but_not_in_a_circle(tmp_path) -> None:
    (away := tmp_path / "away").mkdir()
    (here := tmp_path / "here").mkdir()
    Image.new("L", (28, 28), 3).save(away / "a.png")
    (here / "linked").symlink_to(away)
    (here / "again").symlink_to(away)
    (away / "circle").symlink_to(here)
    (here / "nowhere.png").symlink_to(tmp_path / "none")
    found = image_folder.list_images(here)
    assert [str(entry.place) for entry in found.entries] == ["again/a.png"]
    assert found.remarks.lines() == [
        "left out, links to a folder that is read already: 2 links (again/circle, linked)",
        "left out, links that lead nowhere: 1 link (nowhere.png)",
    ]
