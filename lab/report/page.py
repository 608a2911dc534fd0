"""Rendering of Jinja2 templates to pages with embedded style and scripts."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from lab.text import command_line

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("film.js", "generator.js", "classes.js", "play.js", "restore.js", "fill.js", "live.js")


def whole_options(line: str) -> Any:
    """`line` as markup, escaped, in which no option (`--ema-decay`) is broken at a hyphen."""
    return Markup(re.sub(r"--[\w-]+", r'<span class="option">\g<0></span>', str(escape(line))))


def render(template: str, **context: Any) -> str:
    """Render a template in TEMPLATES; values of `context` are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # late, since slow

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["command_line"] = command_line
    environment.filters["whole_options"] = whole_options
    script = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        **context,
    )
