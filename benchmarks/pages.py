"""Pages with a section for each processor: what was measured on another one stays."""

from __future__ import annotations

from pathlib import Path

from lab.files import write_text


def write_section(path: Path, introduction: str, processor: str, body: str) -> None:
    """Write the page `path`: its introduction, and `body` in the place of this processor's section.

    introduction: with the page's heading; it holds for every section.
    """
    sections = {}
    if path.is_file():
        for part in path.read_text(encoding="utf-8").split("\n## ")[1:]:
            heading, _, text = part.partition("\n")
            sections[heading] = text.strip()
    sections[processor] = body.strip()
    # AVX2 first: it is what most people have.
    headings = sorted(sections, key=lambda heading: ("AVX2" not in heading, heading))
    text = "".join(f"\n## {heading}\n\n{sections[heading]}\n" for heading in headings)
    write_text(path, introduction.rstrip() + "\n" + text)
