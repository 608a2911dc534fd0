"""The page in a browser, with grey and colour images."""

import base64
import math
from dataclasses import replace

import pytest
import torch
from browsing import PICTURE, browser, opened
from PIL import Image
from report_runs import COLOUR, GREY, TOY, loud, make_run, network, page_of, run
from test_web_export import unsettled

from lab.models.sampling import generate
from lab.report import report, web_export
from lab.runs.run import Run
from lab.runs.schema import Evaluation

__all__ = ["browser", "run"]  # the fixtures

ALL_LEVELS = "latents => window.lab.generate(latents)"
CORNER = """id => {
    const here = document.getElementById('walk-here');
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [here.width, here.height];
    canvas.getContext('2d').drawImage(document.getElementById(id), 0, 0);
    return canvas.toDataURL();
}"""


@pytest.fixture(scope="module")
def page(browser, run: Run):
    """The opened report; at the end there must be no console messages and no requests."""
    yield from opened(browser, run)


@pytest.fixture(scope="module", params=["mlp", "dcgan"])
def colour_run(request, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on colour images of 20 x 20 of an unknown set, and its report."""
    torch.manual_seed(0)
    config = {"channels": (6, 4), "full_maps": 5} if request.param == "dcgan" else {}
    generator = unsettled(network(request.param, TOY.shape, batch_norm=True, **config))
    loud(generator, factor=1.6)
    outputs = tmp_path_factory.mktemp("colour")
    run = make_run(outputs, "toy-001", spec=TOY, generator=generator)
    report.write(run)
    return run


@pytest.fixture(scope="module")
def colour_page(browser, colour_run: Run):
    """The opened report of `colour_run`."""
    yield from opened(browser, colour_run)


def test_the_slider_moves_grid_cursor_and_sentence(page) -> None:
    def state() -> tuple[str, str, str]:
        return (
            page.get_attribute(".frame.current img", "src"),
            page.get_attribute(".chart .cursor", "x1"),
            page.inner_text("#film-sentence"),
        )

    page.focus("#film-slider")
    page.keyboard.press("End")
    last = state()
    assert last[1] == "100"
    page.keyboard.press("Home")
    first = state()
    assert first[1] == "0" and "Before training" in first[2]
    page.keyboard.press("ArrowRight")
    second = state()
    assert second[1] == "25"
    assert len({first[0], second[0], last[0]}) == 3
    assert page.locator(".frame:visible").count() == 1


def test_chart_and_play_button_move_the_film(page) -> None:
    page.locator(".chart svg").nth(1).click(position={"x": 2, "y": 50})
    assert page.inner_text("#film-epoch") == "epoch 0"
    page.click("#play-film")
    page.wait_for_selector("#film-epoch:has-text('epoch 4')")


def pixels_agree(page, run: Run) -> bool:
    """Whether the page's pixels equal PyTorch's up to two levels of 256."""
    generator = run.load_generator().network
    latents = torch.randn(13, 16, generator=torch.Generator().manual_seed(5))
    found = torch.tensor(page.evaluate(ALL_LEVELS, latents.tolist()))
    wanted = generate(generator, latents).flatten(1).int()
    assert wanted.float().std() > 30  # the images have contrast
    return bool((found - wanted).abs().max() <= 2)


def test_the_pages_pixels_equal_pytorchs(page, run: Run) -> None:
    assert pixels_agree(page, run)


@pytest.mark.parametrize("shape", [GREY, COLOUR, (3, 20, 12)])
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("mlp", {"batch_norm": True, "activation": "relu"}),
        ("dcgan", {"channels": (6, 4), "full_maps": 5}),
        ("mlp", {"output": "clip"}),
    ],
)
def test_every_operation_runs_in_the_page_forwards_and_backwards(page, kind, config, shape) -> None:
    torch.manual_seed(1)
    generator = unsettled(network(kind, shape, **config))
    exported = web_export.export(generator)
    facts = {"operations": exported["operations"], "latent": 16, "shape": shape}
    steps = web_export.operations_of(generator)
    for step in steps:
        step.weights = [weight.half().double() for weight in step.weights]
    latents = torch.randn(3, 16, dtype=torch.float64, requires_grad=True)
    pixels = web_export.evaluate(steps, latents)
    upstream = torch.randn_like(pixels)
    pixels.backward(upstream)
    found = page.evaluate(
        """([facts, weights, latents, upstream]) => {
            const network = new Generator(facts, decodeWeights(weights));
            const results = network.results(Float32Array.from(latents));
            const gradient = network.gradient(results, Float32Array.from(upstream));
            return [[...results[results.length - 1]], [...gradient]];
        }""",
        [
            facts,
            base64.b64encode(exported["weights"]).decode(),
            latents.detach().flatten().tolist(),
            upstream.flatten().tolist(),
        ],
    )
    for mine, exact in zip(found, (pixels, latents.grad), strict=True):
        exact = exact.detach().flatten()
        assert torch.allclose(torch.tensor(mine).double(), exact, atol=1e-4 * exact.abs().max())


def test_sampling_and_steering_change_the_picture(page) -> None:
    before = page.evaluate(PICTURE, "sample")
    page.click("#new-sample")
    after = page.evaluate(PICTURE, "sample")
    assert before != after
    page.locator(".direction").first.focus()
    page.keyboard.press("End")
    assert page.evaluate(PICTURE, "sample") != after
    page.click("#centre")
    assert page.evaluate(PICTURE, "sample") == after
    page.locator("#strip button").nth(1).click()
    assert page.evaluate(PICTURE, "sample") == before


def test_walk_by_dragging_and_by_keys(page) -> None:
    walk(page)


def walk(page) -> None:
    """Move over the interpolation grid with the mouse and the keys."""
    area = page.locator("#walk-area")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    page.mouse.up()
    assert page.inner_text("#walk-place") == "0% to the right, 0% down"
    grid, here = page.evaluate(PICTURE, "walk"), page.evaluate(PICTURE, "walk-here")
    assert page.evaluate(CORNER, "walk") == here  # the marker is at a corner
    area.focus()
    assert page.get_attribute("#walk-place", "aria-live") == "polite"  # it says what the keys did
    page.keyboard.press("ArrowRight")
    assert page.evaluate(PICTURE, "walk-here") != here
    page.click("#new-corners")
    assert page.evaluate(PICTURE, "walk") != grid


def test_projection_restores(page) -> None:
    restore(page)


def restore(page) -> None:
    """Restore a noisy image."""

    def decibels(id: str) -> float:
        return float(page.inner_text(id).removesuffix(" dB"))

    page.click("#project")
    page.wait_for_selector("#project:has-text('Restore again')")
    assert decibels("#psnr-restored") > decibels("#psnr-noisy") + 3
    page.locator("#sigma").focus()
    page.keyboard.press("End")
    assert page.inner_text("#psnr-restored") == ""
    assert page.inner_text("#sigma-value") == "1.00"
    assert decibels("#psnr-noisy") == pytest.approx(0, abs=0.5)  # 20 log10(1 / 1)


def test_the_page_fits_any_width(page) -> None:
    side = (
        "[...document.querySelectorAll('.restore-side')].map((e) => e.scrollWidth - e.clientWidth)"
    )
    for width in (1280, 861, 860, 375):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(side) == [0, 0]


def test_only_a_sheet_wider_than_the_page_is_said_to_scroll(browser, tmp_path) -> None:
    run = make_run(tmp_path)
    Image.new("L", (1200, 300)).save(run.nearest_path)
    report.write(run)
    sheet = """(sheet => [
        sheet.scrollWidth > sheet.clientWidth,
        getComputedStyle(sheet.querySelector('figcaption'), '::after').content !== 'none',
    ])(document.querySelector('.sheet'))"""
    for page in opened(browser, run):
        for width, scrolls in ((1280, False), (860, False), (720, False), (719, True)):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate(sheet) == [scrolls, scrolls]


def test_long_names_of_classes_fit_any_width(browser, tmp_path) -> None:
    spec = replace(TOY, title="t" * 200, class_names=tuple(letter * 200 for letter in "abcd"))
    generator = network(shape=spec.shape, classes=4)
    run = make_run(tmp_path, "toy-001", spec=spec, generator=generator)
    shares = dict.fromkeys(spec.class_names, 0.25)
    run.save_evaluation(Evaluation(figures={"recall": 0.5}, class_histogram=shares))
    page_of(run)
    for page in opened(browser, run):
        for width in (1280, 375):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            bars = page.evaluate("[...document.querySelectorAll('.bar')].map(b => b.offsetWidth)")
            assert min(bars) > 50


def test_a_generator_of_one_image_only_can_be_played_with(browser, tmp_path) -> None:
    generator = network(output="clip")
    generator.layers[-2].weight.data.zero_()
    generator.layers[-2].bias.data.fill_(-5)  # black
    run = make_run(tmp_path, generator=generator)
    page_of(run)
    for page in opened(browser, run):
        page.click("#project")
        page.wait_for_selector("#project:has-text('Restore again')")
        assert page.inner_text("#psnr-restored") == "∞ dB"


def test_dark_and_light_mode_differ(page) -> None:
    papers = set()
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(papers) == 2


def test_script_in_an_option_has_not_run(page) -> None:
    assert page.title() == "fashion-001 · Fashion-MNIST · GAN Lab"
    assert "document.title='run'" in page.inner_text(".command")


# Colour


def test_colour_pixels_equal_pytorchs_in_the_canvas(colour_page, colour_run: Run) -> None:
    assert pixels_agree(colour_page, colour_run)
    drawn = colour_page.evaluate(
        """() => {
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [20, 20];
            const pixels = Float32Array.from({ length: 1200 }, (_, i) => (2 * (i % 251)) / 255 - 1);
            draw(canvas, pixels, [3, 20, 20]);
            return [...canvas.getContext('2d').getImageData(0, 0, 20, 20).data];
        }"""
    )
    wanted = (torch.arange(1200) % 251).view(3, 400)  # channel after channel
    found = torch.tensor(drawn).view(400, 4)
    assert torch.equal(found[:, :3], wanted.T) and (found[:, 3] == 255).all()


def test_panels_work_with_a_colour_generator(colour_page) -> None:
    before = colour_page.evaluate(PICTURE, "sample")
    colour_page.click("#new-sample")
    assert colour_page.evaluate(PICTURE, "sample") != before
    sizes = colour_page.evaluate(
        "() => [...document.querySelectorAll('#play canvas')].map((c) => [c.width, c.height])"
    )
    assert {tuple(size) for size in sizes} == {(20, 20), (167, 167)}
    walk(colour_page)
    restore(colour_page)


def test_an_oblong_image_keeps_its_aspect_ratio(browser, tmp_path) -> None:
    spec = type(TOY)("tall", "Tall images", (1, 24, 12), ())
    run = make_run(tmp_path, "tall-001", spec=spec, generator=network("dcgan", spec.shape))
    page_of(run)
    for page in opened(browser, run):
        box = page.locator("#sample").bounding_box()
        assert math.isclose(box["height"] / box["width"], 2, rel_tol=0.01)


# Classes


def test_panels_offer_the_classes_of_a_conditional_generator(browser, tmp_path) -> None:
    torch.manual_seed(0)
    generator = loud(network(shape=TOY.shape, classes=4), factor=1.6)
    run = make_run(tmp_path, "toy-001", spec=TOY, generator=generator)
    assert "Classes in turn: red, green, blue, none." in page_of(run)
    for page in opened(browser, run):
        latents, labels = torch.randn(4, 16), torch.arange(4)
        rows = torch.cat((latents, torch.eye(4)), 1)
        found = torch.tensor(page.evaluate(ALL_LEVELS, rows.tolist()))
        wanted = generate(generator, latents, labels).flatten(1).int()
        assert (found - wanted).abs().max() <= 2

        page.evaluate("document.querySelector('#classes span').innerText = 'pentagon'")
        heights = "[...document.querySelectorAll('#classes span')].map(span => span.offsetHeight)"
        assert len(set(page.evaluate(heights))) == 1  # no word is broken

        page.select_option("#wanted-class", "2")
        assert page.inner_text("#morph-name") == "blue"
        before = page.evaluate(PICTURE, "sample")
        page.locator("#classes button").nth(1).click()
        assert page.inner_text("#morph-name") == "green"
        assert page.evaluate(PICTURE, "sample") != before
        page.focus("#morph")
        page.keyboard.press("ArrowRight")
        assert page.inner_text("#morph-name") == "95% green, 5% blue"
        walk(page)
        page.check("#class-known")
        restore(page)
        page.uncheck("#class-known")
        page.click("#new-clean")
        page.click("#project")
        page.wait_for_selector("#project:has-text('Restore again')")
        assert page.inner_text("#class-restored") in TOY.class_names
