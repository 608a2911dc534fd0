"""A browser and opened pages, for the tests of this folder."""

import shutil

import pytest

from lab.runs.run import Run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
PICTURE = "id => document.getElementById(id).toDataURL()"


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; without it, or without Playwright, these tests are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


def opened(browser, run: Run, **settings):
    """The opened report; at the end there must be no console messages and no requests."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, **settings)
    page.set_default_timeout(60_000)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(run.report_path.as_uri())
    page.wait_for_selector(".playable")
    yield page
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.url]
    page.close()


def wait_until(page, holds: str) -> None:
    """Wait for an expression; the page's security policy forbids Playwright's own way."""
    for _ in range(600):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never: {holds}")
