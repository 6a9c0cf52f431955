"""The page's own files, and the page made of them: live, which loads them from the server, or in one file, which holds them.

The page is plain JavaScript modules and one style sheet, as they lie in `page/`; nothing is built. Modules import each other by the names
`explore/NAME`, which an import map leads to the server's files, or to data in the page itself.
"""

import base64
import hashlib
import json
from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from raterhf.reports.style import COLOURS

KINDS = {".js": "text/javascript", ".css": "text/css"}


@lru_cache
def page_files() -> dict[str, bytes]:
    """Name -> what is in it, of every module and style sheet."""
    folder = files("raterhf.explore") / "page"
    found = {one.name: one.read_bytes() for one in folder.iterdir() if one.name.endswith(tuple(KINDS))}
    return {"colours.css": colours().encode(), **dict(sorted(found.items()))}


def colours() -> str:
    """The reports' colours as CSS variables, for light pages and dark ones."""
    light, dark = ("".join(f"--{name}: {values[i]}; " for name, values in COLOURS.items()) for i in (1, 2))
    return f":root {{ {light}}}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}\n"


def live_page(title: str) -> tuple[str, str]:
    """The page, and the policy (CSP) under which it runs: nothing from elsewhere, nothing inline but the import map."""
    names = {f"explore/{name}": f"./page/{name}" for name in page_files() if name.endswith(".js")}
    listed = json.dumps({"imports": names})
    digest = base64.b64encode(hashlib.sha256(listed.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return _render(title, listed, None), policy


def static_page(title: str, kept: dict) -> str:
    """The page in one file, which answers from `kept` alone and opens from the disk."""
    held = {name: base64.b64encode(content).decode() for name, content in page_files().items() if name.endswith(".js")}
    listed = json.dumps({"imports": {f"explore/{name}": f"data:text/javascript;base64,{content}" for name, content in held.items()}})
    return _render(title, listed, kept)


def _render(title: str, listed: str, kept: dict | None) -> str:
    source = (files("raterhf.explore") / "page" / "index.html.j2").read_text("utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(source)
    # In a script element nothing is escaped but what would end it.
    data = None if kept is None else Markup(json.dumps(kept, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))
    styles = Markup("\n".join(content.decode() for name, content in page_files().items() if name.endswith(".css")))
    return template.render(title=title, listed=Markup(listed), kept=data, styles=styles)
