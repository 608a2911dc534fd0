"""The page of a running training, in a browser."""

import re
import subprocess
import sys

import pytest
import torch
from browsing import PICTURE, browser, wait_until
from conftest import REPOSITORY, TINY
from report_runs import TOY, loud, make_run, network, page_of

import gan_lab
from lab.files import read_json, write_json
from lab.report import recorder, report, web_export
from lab.runs.run import Run

__all__ = ["browser"]  # the fixture

EAGER = """
import sys, time
from lab.report import recorder
recorder.Pace.is_due = lambda pace: time.sleep(0.1) or True  # a page with each grid
recorder.CheckpointClock.is_due = lambda clock, end_of_epoch: end_of_epoch
import gan_lab
sys.argv[0] = "gan_lab.py"
gan_lab.errors.run_script(gan_lab.main)
"""
PLACE = """() => [
    document.getElementById("play").getBoundingClientRect().top,
    document.getElementById("film-epoch").textContent,
    document.querySelector(".direction").value,
    document.querySelector("details").open,
]"""
TAKE_PLACE = """() => {
    const move = (slider, value) => {
        slider.value = value;
        slider.dispatchEvent(new Event("input"));
    };
    move(document.getElementById("film-slider"), 1);
    move(document.querySelector(".direction"), 1.5);
    document.querySelector("details").open = true;
    const top = document.getElementById("play").getBoundingClientRect().top + 33;
    scrollBy({ top, behavior: "instant" });
}"""


def training(*options: object) -> subprocess.Popen:
    """A training that writes its page with each grid."""
    words = [sys.executable, "-c", EAGER, *map(str, options)]
    return subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.DEVNULL)


def renewed(page, until: str) -> None:
    """Let the page reload until it has a text."""
    for _ in range(100):
        with page.expect_navigation():
            page.clock.run_for(61_000)
        if until in page.inner_text(".hero"):
            return
    raise AssertionError(f"{until!r} never came: {page.inner_text('.hero')!r}")


def test_a_page_reloads_until_its_run_ends(browser, tmp_path) -> None:
    run = Run(tmp_path / "fashion-001")
    process = training("--out", tmp_path, *TINY, "--epochs", 5_000, "--sample-every", 1)
    page = browser.new_page(viewport={"width": 900, "height": 500})
    page.set_default_timeout(120_000)
    page.clock.install()
    try:
        while not run.report_path.is_file():
            assert process.poll() is None
            page.wait_for_timeout(100)
        page.goto(run.report_path.as_uri())
        while page.locator(".frame").count() < 3:
            renewed(page, until="Under way: ")
        page.wait_for_selector(".playable")
        page.evaluate(TAKE_PLACE)
        place, frames = page.evaluate(PLACE), page.locator(".frame").count()
        assert place[1:] == ["epoch 1", "1.5", True]
        while page.locator(".frame").count() == frames:
            renewed(page, until="Under way: ")
        page.wait_for_selector(".playable")
        wait_until(page, "document.querySelector('.direction').value !== '0'")
        assert page.evaluate(PLACE) == place
    finally:
        process.kill()
    process.wait()
    with page.expect_navigation():
        page.clock.run_for(400_000)
    page.clock.run_for(2_000)
    assert "No sign of life since " in page.inner_text(".hero")
    epochs = len(Run(run.path).history) + 2
    config = read_json(run.config_path)
    config["options"]["epochs"] = epochs
    write_json(run.config_path, config)
    assert training("--resume", run).wait() == 0
    renewed(page, until=f"After {epochs} epochs")
    wait_until(page, "document.querySelector('.direction').value !== '0'")
    assert page.evaluate(PLACE)[2:] == place[2:]
    page.evaluate("window.stays = true")
    page.clock.run_for(400_000)
    page.wait_for_timeout(200)
    assert page.evaluate("window.stays") and page.locator("#alive").count() == 0
    page.close()


# All canvases but those of unfinished projections.
PLAYED_WITH = """() => [...document.querySelectorAll("#play canvas:not(#restored, #filled)")].map(
    (canvas) => canvas.toDataURL(),
)"""
FIELDS = """() => [...document.querySelectorAll("#play input, #play select")].map(
    (field) => [field.value, field.checked],
)"""


def play(page) -> None:
    """Change the state of every panel."""
    page.select_option("#wanted-class", "2")
    page.click("#new-sample")
    page.locator("#strip button").nth(3).click()
    for slider in ("#morph", ".direction >> nth=1", "#sigma"):
        page.focus(slider)
        page.keyboard.press("ArrowRight")
    page.click("#new-corners")
    page.focus("#walk-area")
    page.keyboard.press("ArrowUp")
    page.click("#new-clean")
    page.check("#class-known")
    page.click("#project")
    page.click("#new-whole")
    page.click("#cover-half")


def test_samples_are_kept_when_the_page_reloads(browser, tmp_path) -> None:
    torch.manual_seed(0)
    generator = loud(network(shape=TOY.shape, classes=4), factor=1.6)
    run = make_run(tmp_path, "toy-001", spec=TOY, generator=generator)
    run.save_status("running")
    with run.locked():
        page_of(run)
    page = browser.new_page(viewport={"width": 900, "height": 500})
    page.set_default_timeout(120_000)
    page.clock.install()
    page.goto(run.report_path.as_uri())
    page.wait_for_selector(".playable")
    opened = page.evaluate(PLAYED_WITH)
    play(page)
    pictures, fields = page.evaluate(PLAYED_WITH), page.evaluate(FIELDS)
    assert not set(pictures) & set(opened[-4:])
    for _ in range(2):  # the state survives two reloads
        with page.expect_navigation():
            page.clock.run_for(21_000)
        wait_until(page, "find('psnr-restored').textContent && find('psnr-filled').textContent")
        assert page.evaluate(FIELDS) == fields
        assert page.evaluate(PLAYED_WITH) == pictures
        assert page.evaluate("document.activeElement.id") == "cover-half"
    page.click("#new-sample")
    assert page.evaluate(PICTURE, "sample") not in pictures  # the random generator continues
    page.close()


def running(outputs) -> Run:
    """A run that seems to be trained, and its page."""
    run = make_run(outputs)
    run.save_status("running")
    with run.locked():
        page_of(run)
    return run


def test_a_page_reloads_although_the_generator_is_gone(browser, tmp_path, monkeypatch) -> None:
    run, errors = running(tmp_path), []
    page = browser.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(run.report_path.as_uri())
    page.wait_for_selector(".playable")
    page.click("#project")
    page.focus("#film-slider")
    monkeypatch.setattr(web_export, "MAX_BYTES", 0)
    with run.locked():
        page_of(run)
    page.evaluate("saveView()")
    page.reload()
    wait_until(page, "document.activeElement !== document.body")  # the last thing restored
    assert "does not run in the page" in page.inner_text("#play") and errors == []
    page.close()


def test_a_silent_run_is_reported_once(browser, tmp_path) -> None:
    run = running(tmp_path)
    text = run.report_path.read_text(encoding="utf-8")
    long_ago = re.sub(r'data-written="\d+"', 'data-written="1000000000"', text)
    run.report_path.write_text(long_ago, encoding="utf-8")
    page = browser.new_page()
    page.clock.install()
    page.goto(run.report_path.as_uri())
    page.clock.run_for(2_000)
    assert "No sign of life since " in page.inner_text("#alive")
    page.evaluate(
        """() => {
            window.changes = 0;
            const count = () => (window.changes += 1);
            new MutationObserver(count).observe(find("alive"), { childList: true });
        }"""
    )
    page.clock.run_for(5_000)
    assert page.evaluate("window.changes") == 0
    page.close()


# Without a browser


@pytest.mark.parametrize(("seconds", "first"), [(0, "running"), (1_000, "finished")])
def test_a_run_too_short_for_a_page_has_it_at_its_end(tmp_path, monkeypatch, seconds, first):
    made, write = [], report.write
    monkeypatch.setattr(report, "write", lambda run: made.append(run.status) or write(run))
    monkeypatch.setattr(recorder, "FIRST_PAGE", seconds)  # at most 3 % of the run
    arguments = ["--out", tmp_path, *TINY, "--epochs", 1]
    monkeypatch.setattr(sys, "argv", ["gan_lab.py", *map(str, arguments)])
    gan_lab.main()
    assert made[0] == first and made[-1] == "finished"
