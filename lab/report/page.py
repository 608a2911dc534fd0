"""Rendering of Jinja2 templates to pages with embedded style and scripts."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from lab.text import command_line

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = (
    "film.js",
    "generator.js",
    "classes.js",
    "play.js",
    "restore.js",
    "fill.js",
    "live.js",
)


def render(template: str, **context: Any) -> str:
    """Render a template in TEMPLATES; values of `context` are escaped."""
    # Late, because the imports are slow.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["command_line"] = command_line
    script = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        **context,
    )
