"""The report as a browser sees it: images a second, and the pixels beside PyTorch's.

    python benchmarks/report.py --run outputs/fashion-001

Needs Playwright and Debian's chromium (headless, software rendering). Writes its
section of benchmarks/REPORT.md.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import torch
from pages import write_section

from lab.device import describe_machine
from lab.errors import Mistake, run_script
from lab.models import count_parameters, generate
from lab.options import option, parse
from lab.report import report
from lab.runs import OUTPUTS, Run
from lab.seeding import stream

REPORT = Path(__file__).parent / "REPORT.md"
INTRODUCTION = "# The cost of the report\n"
SECONDS = 4.0  # that each figure is measured for
COMPARED = 256  # images held against PyTorch's

# JavaScript for the page; each returns how many of its work are done a second: images made `count`
# at a time, and steps of the descent.
IMAGES = """async ([count, seconds]) => {
    const network = new Generator(data.live, window.weights);
    const latents = normals(count * network.rowSize);
    for (let i = 0; i < 10; i++) network.images(latents);
    const began = performance.now();
    let done = 0;
    while (performance.now() - began < 1000 * seconds) {
        network.images(latents);
        done += count;
    }
    return (1000 * done) / (performance.now() - began);
}"""
STEPS = """async ([seconds]) => {
    const network = new Generator(data.live, window.weights);
    const clean = network.images(normals(network.rowSize));
    const descent = new Descent(network, clean, 0.5);
    for (let i = 0; i < 5; i++) descent.advance();
    const began = performance.now();
    let done = 0;
    while (performance.now() - began < 1000 * seconds) {
        descent.advance();
        done += 1;
    }
    return (1000 * done) / (performance.now() - began);
}"""
WEIGHTS = "() => { window.weights = decodeWeights(document.getElementById('weights').textContent) }"


@dataclass(frozen=True)
class Options:
    """Every option of the benchmark."""

    run: Path = option(OUTPUTS / "fashion-001", "run folder whose report is measured")


def measured(run: Run, chromium: str) -> dict[str, str]:
    """Every figure of the report of `run`, as text, by what it is."""
    from playwright.sync_api import sync_playwright

    began = time.perf_counter()
    path = report.write(run)
    written = time.perf_counter() - began
    generator = run.load_generator().network
    seed = stream(0, "report benchmark")
    latents = torch.randn(COMPARED, generator.latent_dim, generator=seed)
    wanted = generate(generator, latents).flatten(1).int()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        began = time.perf_counter()
        page.goto(path.resolve().as_uri())
        page.wait_for_selector(".playable")
        opened = time.perf_counter() - began
        found = torch.tensor(page.evaluate("rows => window.lab.generate(rows)", latents.tolist()))
        page.evaluate(WEIGHTS)
        one, many = (page.evaluate(IMAGES, [count, SECONDS]) for count in (1, 64))
        steps = page.evaluate(STEPS, [SECONDS])
        version = browser.version
        browser.close()
    off = (found - wanted).abs()
    return {
        "parameters of the generator": f"{count_parameters(generator):,}",
        "size of report.html": f"{path.stat().st_size / 1e6:.2f} MB",
        "writing it": f"{written:.1f} s",
        "opening it, until the generator runs": f"{opened:.1f} s",
        "images a second, one at a time": f"{one:.0f}",
        "images a second, 64 at once": f"{many:.0f}",
        "steps a second of the restoration (4 starts)": f"{steps:.0f}",
        f"largest difference from PyTorch, {COMPARED} images": f"{off.max()} of 256 levels",
        "pixels that differ at all": f"{(off > 0).float().mean():.2%}",
        "browser": f"Chromium {version}, headless",
    }


def main() -> None:
    """Measure, print, write."""
    options = parse(Options)
    run = Run.open("--run", options.run)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise Mistake("this benchmark needs chromium (Debian: apt-get install chromium)")
    rows = measured(run, chromium)
    facts = describe_machine(torch.device("cpu"))
    cores = "one core" if facts["cores"] == 1 else f"{facts['cores']} cores"
    rows["machine"] = f"{cores}, {facts['system']}, torch {facts['torch']}"
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    text = (
        "Measured by `python benchmarks/report.py` with a finished run of the default recipe's\n"
        "networks. Targets: 30 images/s on 2 cores, differences from PyTorch of at most 2 levels,\n"
        f"at most 12 MB.\n\n| what | measured |\n| --- | --- |\n{table}"
    )
    write_section(REPORT, INTRODUCTION, "In a browser", text)
    print(table)


if __name__ == "__main__":
    run_script(main)
