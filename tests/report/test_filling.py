"""Inpainting in a browser: a drawn mask, and the projection that fills it in."""

import pytest
import torch
from browsing import PICTURE, browser, opened
from report_runs import COLOUR, GREY, TOY, loud, make_run, network, page_of

from lab.data.datasets import DATASETS

__all__ = ["browser"]  # the fixture

GENERATORS = {
    "grey, fully connected": ("mlp", GREY, {"hidden": (32, 48), "output": "clip"}),
    "grey, convolutional": ("dcgan", GREY, {"channels": (6, 4), "full_maps": 5}),
    "colour, fully connected": ("mlp", COLOUR, {}),
    "colour, convolutional": ("dcgan", COLOUR, {"channels": (6, 4), "full_maps": 5}),
    "conditional": ("mlp", COLOUR, {"classes": 4}),
}
# The state of the panel: the pixels of the whole image, the hidden ones, and the class.
SHOWN = """
    const network = new Generator(data.live, decodeWeights(find("weights").textContent));
    const [channels, height, width] = network.shape;
    const rgba = (id) => find(id).getContext("2d").getImageData(0, 0, width, height).data;
    const [seen, levels] = [rgba("covered"), rgba("whole")];
    const whole = new Float32Array(network.pixels).map((_, i) => {
        const place = i % (height * width);
        return levels[4 * place + Math.floor(i / (height * width))] / 127.5 - 1;
    });
    const isVisible = (i) => seen[4 * (i % (height * width)) + 3] > 0;
    const named = network.classes.indexOf(find("class-whole")?.textContent);
    const label = named < 0 ? undefined : named;
    const project = (pixels, ...more) => {
        const descent = new Descent(network, pixels, 0.05, label, ...more);
        while (!descent.finished) descent.advance();
        return descent;
    };
    const filledWith = (level) => whole.map((v, i) => (isVisible(i) ? v : level));
"""
WITHOUT_MASK = f"""() => {{ {SHOWN}
    return [-1, 0, 1].map((level) => {{
        const {{ best }} = project(filledWith(level));
        return parseFloat(decibels(squaredError(best, whole, (i) => !isVisible(i))));
    }});
}}"""
OF_OTHER_PIXELS = f"""() => {{ {SHOWN}
    const candidates = drawCandidates(network, label);
    const found = [-1, 1].map((level) => project(filledWith(level), candidates, isVisible));
    return [found.map(({{ best }}) => [...best]), found.map((each) => each.label), label];
}}"""
FINISHED = "#filled[aria-busy=false]"


def run_with(folder, what: str):
    """A run with an untrained generator, and its report."""
    kind, shape, config = GENERATORS[what]
    torch.manual_seed(0)
    generator = loud(network(kind, shape, **config), factor=1.6)
    spec = TOY if shape == COLOUR else DATASETS["fashion"]
    run = make_run(folder, "drawn-001", spec=spec, generator=generator)
    page_of(run)
    return run


def corners(page, *places: tuple[float, float]) -> list[tuple[float, float]]:
    """Window coordinates of points on the canvas, given as shares of its sides."""
    canvas = page.locator("#covered")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]


def drag(page, *places: tuple[float, float]) -> None:
    """Press the mouse at the first point and move to the others."""
    first, *others = corners(page, *places)
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place)


def share(page) -> int:
    """The hidden share in percent."""
    return int(page.inner_text("#hidden-share").removesuffix("% hidden").strip() or 0)


@pytest.mark.parametrize("what", GENERATORS)
def test_a_drawn_mask_is_filled_in_better_than_without_the_mask(browser, tmp_path, what) -> None:
    for page in opened(browser, run_with(tmp_path, what)):
        drag(page, (0.3, 0.5), (0.7, 0.5), (0.6, 0.7))
        page.wait_for_selector("#psnr-filled:has-text('dB')")  # while drawing
        page.mouse.up()
        page.wait_for_selector(FINISHED)
        assert 8 <= share(page) <= 40
        masked = float(page.inner_text("#psnr-filled").removesuffix(" dB"))
        assert masked > max(page.evaluate(WITHOUT_MASK)) + 3


@pytest.mark.parametrize("what", ["grey, convolutional", "conditional"])
def test_hidden_pixels_are_not_compared(browser, tmp_path, what) -> None:
    for page in opened(browser, run_with(tmp_path, what)):
        page.click("#cover-half")
        (black, white), found, label = page.evaluate(OF_OTHER_PIXELS)
        assert black == white
        assert label is None or found == [label, label]


def test_brush_clear_and_new_image(browser, tmp_path) -> None:
    for page in opened(browser, run_with(tmp_path, "grey, fully connected")):
        empty = page.evaluate(PICTURE, "filled")
        shares = []
        for key in ("Home", "End"):
            page.focus("#brush")
            page.keyboard.press(key)
            drag(page, (0.5, 0.5), (0.5, 0.5))
            page.mouse.up()
            shares.append(share(page))
            page.click("#clear-hole")
            assert share(page) == 0 and page.inner_text("#psnr-filled") == ""
        assert shares[0] == 1 < 15 < shares[1]  # 4 of 784 pixels, and a disc of half the width
        assert page.evaluate(PICTURE, "covered") == page.evaluate(PICTURE, "whole")
        assert page.evaluate(PICTURE, "filled") == empty
        page.click("#cover-half")
        assert share(page) == 50
        before = page.evaluate(PICTURE, "whole")
        page.click("#new-whole")
        assert page.evaluate(PICTURE, "whole") != before and share(page) == 0


def test_a_finger_draws_and_does_not_scroll(browser, tmp_path) -> None:
    run = run_with(tmp_path, "grey, fully connected")
    for page in opened(browser, run, has_touch=True):
        touched = page.context.new_cdp_session(page)
        first, *others = corners(page, (0.2, 0.3), (0.5, 0.5), (0.8, 0.8))
        scrolled = page.evaluate("scrollY")
        for kind, places in [("touchStart", [first]), *(("touchMove", [at]) for at in others)]:
            points = [{"x": x, "y": y} for x, y in places]
            touched.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        touched.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_selector(FINISHED)
        assert share(page) > 10 and page.evaluate("scrollY") == scrolled
