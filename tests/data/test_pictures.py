"""Pictures of every kind, read as images of a set's shape."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from lab.data import datasets, image_folder
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
    pictures, notices = image_folder.read_pictures(tmp_path, GREY)
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
    assert "old.gif: left out, not one of .png" in notices[2]
    assert notices[0].startswith("broken.png: left out") and notices[1].startswith("text.png")
    changed = set(notices[3:])
    assert "red.png: colour turned to grey" in changed and len(changed) == 9
    assert "tiled.png: 84 x 56, restored in tiles of 28 x 28" in changed


def test_tiles_are_joined_as_they_were(tmp_path) -> None:
    values = torch.randint(0, 256, (56, 84), dtype=torch.uint8)
    Image.fromarray(values.numpy()).save(tmp_path / "in.png")
    (picture,), _ = image_folder.read_pictures(tmp_path, GREY)
    image_folder.save_pictures(tmp_path / "out", [picture], picture.tiles)
    with Image.open(tmp_path / "out" / "in.png") as again:
        assert again.size == (84, 56)
        assert again.tobytes() == values.numpy().tobytes()


def test_more_tiles_than_can_be_restored_are_a_mistake(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(image_folder, "MOST_TILES", 3)
    Image.new("L", (84, 28)).save(tmp_path / "a.png")
    assert len(image_folder.read_pictures(tmp_path, GREY)[0]) == 1
    Image.new("L", (28, 28)).save(tmp_path / "b.png")
    with pytest.raises(Mistake, match=r"more than 3 images of 28 x 28 up to b\.png"):
        image_folder.read_pictures(tmp_path, GREY)


def test_a_picture_too_large_is_not_unpacked(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(image_folder, "MOST_TILES", 3)
    Image.new("L", (84, 56)).save(tmp_path / "large.png")
    with pytest.raises(Mistake, match="84 x 56 pixels is too large"):
        image_folder.read_pictures(tmp_path, GREY)


def test_folder_without_pictures_is_a_mistake(tmp_path) -> None:
    with pytest.raises(Mistake, match=r"no pictures in it \(\.png"):
        image_folder.read_pictures(tmp_path, GREY)
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(Mistake, match="can be read"):
        image_folder.read_pictures(tmp_path, GREY)
    for name in ("a.jpg", "a.jpg.png"):
        Image.new("L", (28, 28)).save(tmp_path / name)
    with pytest.raises(Mistake, match=r"a\.jpg and a\.jpg\.png become the same"):
        image_folder.read_pictures(tmp_path, GREY)
    (tmp_path / "a.jpg").rename(tmp_path / ("n" * 251 + ".jpg"))
    with pytest.raises(Mistake, match="give it a shorter name"):
        image_folder.read_pictures(tmp_path, GREY)


# Of another shape


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_what_is_written_is_read_to_the_bit(tmp_path, shape) -> None:
    image = torch.randint(0, 256, shape, dtype=torch.uint8)
    write_png(tmp_path / "one.png", as_picture(image))
    found, changes = image_folder.read_image(tmp_path / "one.png", shape)
    assert torch.equal(found, image)
    assert [change for change in changes if "light background" not in change] == []


def test_colour_stays_where_the_set_has_colour(tmp_path) -> None:
    Image.new("RGB", (24, 20), (255, 9, 77)).save(tmp_path / "red.png")
    Image.new("L", (24, 20), 99).save(tmp_path / "white.png")
    Image.new("L", (30, 30), 99).save(tmp_path / "large.png")
    files = image_folder.files_in(tmp_path, below=True)
    images, notices = image_folder.read_images(tmp_path, files, 9, COLOUR)
    assert images.shape == (3, *COLOUR)
    assert notices == ["1 of 3 images: resized from 30 x 30 to 20 x 24"]
    red, _ = image_folder.read_image(tmp_path / "red.png", COLOUR)
    assert red[:, 3, 3].tolist() == [255, 9, 77]
    dark, _ = image_folder.read_image(tmp_path / "red.png", COLOUR, invert=True)
    assert dark[:, 3, 3].tolist() == [0, 246, 178]


def test_colour_tiles_are_joined_as_they_were(tmp_path) -> None:
    values = torch.randint(0, 256, (60, 48, 3), dtype=torch.uint8)  # 3 x 2 tiles of 20 x 24
    Image.fromarray(values.numpy()).save(tmp_path / "in.png")
    (picture,), notices = image_folder.read_pictures(tmp_path, COLOUR)
    assert notices == ["in.png: 48 x 60, restored in tiles of 20 x 24"]
    assert picture.tiles.shape == (6, *COLOUR)
    assert torch.equal(picture.tiles[1].permute(1, 2, 0), values[:20, 24:])
    image_folder.save_pictures(tmp_path / "out", [picture], picture.tiles)
    with Image.open(tmp_path / "out" / "in.png") as again:
        assert again.tobytes() == values.numpy().tobytes()


# To be scored


def test_pictures_are_taken_in_random_order_but_always_the_same(tmp_path) -> None:
    for level in range(30):
        Image.new("L", (28, 28), level).save(tmp_path / f"{level:02d}.png")
    files = image_folder.files_in(tmp_path, below=True)
    read = (image_folder.read_images(tmp_path, files, 10, GREY)[0] for _ in "ab")
    one, two = (images[:, 0, 0, 0].tolist() for images in read)
    assert one == two != sorted(one) and max(one) > 10  # names often go by class
    _, notices = image_folder.read_images(tmp_path, files, 10, GREY)
    assert notices == ["10 of 30 images were taken at random"]


def test_resizing_from_many_sizes_is_one_line(tmp_path) -> None:
    for side in range(30, 36):
        Image.new("L", (side, side)).save(tmp_path / f"{side}.png")
    files = image_folder.files_in(tmp_path, below=True)
    _, notices = image_folder.read_images(tmp_path, files, 9, GREY)
    assert notices == ["6 of 6 images: resized from 6 sizes to 28 x 28"]


def test_pictures_of_which_none_can_be_read_are_refused_by_their_folder(tmp_path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "text.png").write_text("no picture")
    files = image_folder.files_in(tmp_path, below=True)
    with pytest.raises(Mistake, match=rf"--images {tmp_path}: unreadable: text.png"):
        image_folder.read_images(tmp_path, files, 5, GREY)


def test_a_light_background_is_remarked_on(tmp_path) -> None:
    digit = datasets.load_sample("mnist").test_images[0]
    for name, image in (("dark.png", digit), ("light.png", 255 - digit)):
        write_png(tmp_path / name, as_picture(image))
        _, changes = image_folder.read_image(tmp_path / name, GREY)
        assert ["invert" in change for change in changes] == [True] * (name == "light.png")
    image, changes = image_folder.read_image(tmp_path / "light.png", GREY, invert=True)
    assert torch.equal(image, digit) and not changes
