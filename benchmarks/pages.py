"""Pages in sections, one for each processor or question: what another run has measured stays."""

from __future__ import annotations

from pathlib import Path

from lab.files import write_text

SETS = ("mnist", "fashion")  # that every table has


def write_section(path: Path, introduction: str, heading: str, body: str) -> None:
    """Write the page `path`: its introduction, and `body` below `heading`, anew.

    introduction: with the page's heading; it holds for every section.
    """
    sections = {}
    if path.is_file():
        for part in path.read_text(encoding="utf-8").split("\n## ")[1:]:
            found, _, text = part.partition("\n")
            sections[found] = text.strip()
    sections[heading] = body.strip()
    # AVX2 first: it is what most people have.
    headings = sorted(sections, key=lambda found: ("AVX2" not in found, found))
    text = "".join(f"\n## {found}\n\n{sections[found]}\n" for found in headings)
    write_text(path, introduction.rstrip() + "\n" + text)
