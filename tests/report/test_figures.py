"""lab/report/figures.py: positions and grey levels in image files."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from PIL import Image
from report_runs import COLOUR, GREY, HISTORY

from lab.data.writers import write_png
from lab.report import charts, figures

EVEN = {"one": 0.5, "two": 0.5}  # shares of classes


def drawn(monkeypatch: pytest.MonkeyPatch) -> list:
    """Collects figures instead of writing them."""
    made = []
    monkeypatch.setattr(figures, "save_figure", lambda path, figure: made.append(figure))
    return made


def even(levels: list[int], shape: tuple[int, ...] = GREY) -> torch.Tensor:
    """One constant image for each level."""
    return torch.tensor(levels).byte().view(-1, 1, 1, 1).expand(-1, *shape)


def test_a_grid_is_filled_row_by_row() -> None:
    picture = figures.grid(even([0, 1, 2, 3]), columns=2)
    places = [(20, 20), (150, 20), (20, 150), (150, 150)]
    assert [picture.getpixel(place) for place in places] == [0, 1, 2, 3]


def test_a_grid_of_colour_images_keeps_their_channels() -> None:
    images = torch.stack([torch.full(COLOUR, 0), torch.full(COLOUR, 9)]).byte()
    images[1, 2] = 200  # blue
    picture = figures.grid(images, columns=2, scale=1)
    assert picture.mode == "RGB" and picture.size == (2 * 21 + 1, 22)
    places = [(1, 1), (20, 20), (22, 1), (41, 20), (21, 5)]
    blue, paper = (9, 9, 200), (255, 255, 255)
    assert [picture.getpixel(place) for place in places] == [(0, 0, 0)] * 2 + [blue] * 2 + [paper]


def test_large_images_are_enlarged_less() -> None:
    scales = [figures.scale_of(shape) for shape in (GREY, (3, 32, 32), (1, 64, 16), (3, 300, 300))]
    assert scales == [4, 4, 2, 1]


@pytest.mark.parametrize(("count", "places"), [(3, (3, 1)), (10, (10, 1)), (12, (10, 2))])
def test_a_sheet_of_few_images_is_as_wide_as_they_are(count, places, tmp_path: Path) -> None:
    shown = even(list(range(count)))
    figures.save_preview(tmp_path / "made.png", [shown, shown], ())
    columns, rows = places
    wanted = figures.grid(even([0] * (columns * rows * 2)), columns).size
    assert Image.open(tmp_path / "made.png").size == wanted


def test_images_are_saved_as_they_are(tmp_path: Path) -> None:
    for shape, mode in ((GREY, "L"), (COLOUR, "RGB")):
        images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
        figures.save_images(tmp_path, images)
        with Image.open(tmp_path / "img_001.png") as picture:
            assert picture.mode == mode
            assert np.asarray(picture).tobytes() == images[1].permute(1, 2, 0).numpy().tobytes()


def test_the_film_has_a_longer_last_frame_and_leaves_out_damaged_ones(tmp_path: Path) -> None:
    frames = [(epoch, tmp_path / f"{epoch}.png") for epoch in range(4)]
    for epoch, path in frames:
        write_png(path, figures.grid(even([60 * epoch], COLOUR if epoch else GREY), 1))
    frames[2][1].write_bytes(b"no picture")
    figures.save_gif(tmp_path / "film.gif", frames)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 3
        film.seek(2)
        assert film.info["duration"] == 5 * figures.FRAME_TIME
        assert film.convert("RGB").getpixel((60, 60)) == (180, 180, 180)
    figures.save_gif(tmp_path / "none.gif", frames[2:3])
    assert not (tmp_path / "none.gif").exists()


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_a_class_sheet_shows_each_class_and_its_share(monkeypatch, shape) -> None:
    made = drawn(monkeypatch)
    shown, classes = even([9, 50, 9, 50, 50], shape), torch.tensor([0, 1, 0, 1, 1])
    own = {"one": 0.7, "two": 0.3}
    figures.save_class_sheet(Path("none"), shown, classes, own, "title", "a note")
    bars, samples = made[0].axes
    marks = [line.tolist() for line in bars.collections[0].get_segments()]
    assert marks == [[[0.7, -0.5], [0.7, 0.5]], [[0.3, 0.5], [0.3, 1.5]]]
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([0.4, 0.6])
    assert [label.get_text() for label in bars.get_yticklabels()] == ["one", "two"]
    levels = np.asarray(samples.images[0].get_array())
    top, bottom = np.split(levels, 2)
    assert set(top.ravel()) == {9, figures.PAPER} and set(bottom.ravel()) == {50, figures.PAPER}
    assert made[0]._supxlabel.get_text() == "a note"


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 0, 1]])
def test_no_share_above_the_whole_is_marked(classes, monkeypatch) -> None:
    made = drawn(monkeypatch)
    shown = even([9] * len(classes))
    figures.save_class_sheet(Path("none"), shown, torch.tensor(classes), EVEN, "title")
    made[0].draw_without_rendering()
    ticks = made[0].axes[0].get_xticks()
    assert len(ticks) > 2 and max(ticks) <= 1


def test_pictures_of_a_thousand_classes_are_not_huge(monkeypatch) -> None:
    made, count = drawn(monkeypatch), 1_000
    own = {f"class {label}": 1 / count for label in range(count)}
    shown = even([9] * count, GREY)
    figures.save_class_sheet(Path("none"), shown, torch.arange(count), own, "title")
    assert made[0].axes[1].images[0].get_array().size < 20_000_000
    labels, columns = figures.rows_of_classes(count)
    assert figures.grid(shown[: len(labels)], columns).size < (2_000, 2_000)
    assert labels.tolist() == [*range(figures.MOST_SHOWN)]


@pytest.mark.parametrize("count", [2, 5, 10, 47])
def test_the_samples_of_a_class_are_aligned_with_its_bar(count, monkeypatch) -> None:
    made = drawn(monkeypatch)
    own = {f"class {label}": 1 / count for label in range(count)}
    shown = even([9] * count, (3, 16, 16))
    figures.save_class_sheet(Path("none"), shown, torch.arange(count), own, "title", "a note")
    made[0].draw_without_rendering()
    heights = [
        [axis.transData.transform((0, row))[1] for row in range(count)] for axis in made[0].axes
    ]
    assert heights[0] == pytest.approx(heights[1], abs=2)


def test_a_sheet_has_its_labels_beside_its_rows_and_its_note_below(monkeypatch) -> None:
    made = drawn(monkeypatch)
    rows = [(str(level), even([level, level])) for level in (0, 100, 255)]
    figures.save_sheet(Path("none"), rows, "title", "a note", ("left", "right"))
    (axis,) = made[0].axes
    picture = axis.images[0]
    levels = np.asarray(picture.get_array())
    places = axis.get_yticks().astype(int)
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert [str(levels[place, 40]) for place in places] == labels
    assert picture.get_clim() == (0, 255) and picture.get_cmap().name == "gray"
    assert made[0]._supxlabel.get_text() == "a note"


@pytest.mark.parametrize("columns", [1, 4, 8])
def test_a_sheet_has_room_for_its_labels_and_its_title(columns, monkeypatch) -> None:
    made = drawn(monkeypatch)
    rows = [("mean of samples\n15.1 dB", even([0] * columns))] * 6
    title = "cifar10-jpeg.zip, a box of 14 pixels missing; below, the class projected"
    figures.save_sheet(Path("none"), rows, title)
    FigureCanvasAgg(made[0]).draw()
    labels = made[0].axes[0].get_yticklabels()
    boxes = [text.get_window_extent() for text in (made[0]._suptitle, *labels)]
    assert all(box.x0 >= 0 and box.x1 <= made[0].bbox.width for box in boxes)


@pytest.mark.parametrize("name", ["$5_to_$9", "\\frac$ $^$", "n" * 200])  # no formulas
def test_a_class_may_have_any_name(tmp_path: Path, name: str) -> None:
    shown, classes = even([9, 50]), torch.tensor([0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # without room for a name, matplotlib warns
        own = {name: 0.5, "two": 0.5}
        figures.save_class_sheet(tmp_path / "sheet.png", shown, classes, own, "title")
        figures.save_sheet(tmp_path / "walk.png", [(name[:24], shown)] * 2, "title")
    assert all(path.stat().st_size > 3_000 for path in tmp_path.iterdir())


def test_a_sheet_of_colour_images_is_in_colour(monkeypatch) -> None:
    made = drawn(monkeypatch)
    red = torch.tensor([200, 0, 0]).byte().view(1, 3, 1, 1).expand(2, *COLOUR)
    figures.save_sheet(Path("none"), [("red", red)], "title")
    levels = np.asarray(made[0].axes[0].images[0].get_array())
    assert levels[20, 20].tolist() == [200, 0, 0]


def test_loss_curves_have_correct_labels(monkeypatch) -> None:
    made = drawn(monkeypatch)
    row = {"epoch": 1, "d_loss": 1.0, "g_loss": 2.0, "d_real": 0.6, "d_fake": 0.4}
    scored = [{**row, "fcd_train_5k": 30.0}]
    charts.save_curves(Path("none"), scored, "title", "non-saturating", footnote="a note")
    for loss in ("hinge", "of another program"):
        charts.save_curves(Path("none"), [row], "title", loss)
    found, plain, unknown = (
        {
            axes.get_title().partition(";")[0]: {
                line.get_label(): float(line.get_ydata()[0]) for line in axes.lines
            }
            for axes in figure.axes
        }
        for figure in made
    )
    losses = {"discriminator": 1.0, "generator": 2.0}
    opinions = {"D(x), real": 0.6, "D(G(z)), generated": 0.4}
    # Without lines at balance for other losses.
    assert plain == unknown == {"Loss": losses, "Discriminator output": opinions}
    assert opinions.items() < found["Discriminator output"].items()
    assert 0.5 in found["Discriminator output"].values()
    assert {1.0, 2.0, math.log(2), 2 * math.log(2)} == set(found["Loss"].values())
    assert found["Quality"] == {"FCD, 5,000 images": 30.0}
    (loss,) = (axes for axes in made[0].axes if axes.get_title().startswith("Loss"))
    discriminator, generator, *balances = (to_hex(line.get_color()) for line in loss.lines)
    assert balances == [discriminator, generator] and discriminator != generator
    assert made[0]._supxlabel.get_text() == "a note"


def test_columns_that_begin_later_are_drawn(monkeypatch) -> None:
    made = drawn(monkeypatch)
    history = [{"epoch": n, "g_loss": 1.0} | ({"confidence": 0.5} if n > 2 else {}) for n in (1, 3)]
    charts.save_curves(Path("none"), history, "title", "hinge")
    loss, view = made[0].axes
    assert [line.get_label() for line in loss.lines] == ["generator"]
    assert view.lines[0].get_xdata().tolist() == [3]


@pytest.mark.parametrize("name", ["$\\frac$", "日本語", "caf\udce9", "a\nb", "long" * 60])
def test_a_title_may_be_any_name(tmp_path: Path, name: str) -> None:
    shown, classes = torch.zeros(3, *GREY, dtype=torch.uint8), torch.tensor([0, 1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.save_class_sheet(tmp_path / "sheet.png", shown, classes, EVEN, name)
        charts.save_curves(tmp_path / "curves.png", HISTORY, name, "non-saturating")
    assert all(path.stat().st_size > 5_000 for path in tmp_path.iterdir())
