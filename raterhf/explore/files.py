"""The page's own files, and the page made of them: live, which loads them from the server, or in one file, which holds them.

What is served lies in `page/`: one script and one style sheet, which `make page` builds from `web/`. Nothing is built on a user's machine.
"""

import base64
import hashlib
import json
from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from raterhf.reports.style import COLOURS

SCRIPT, STYLES = "page.js", ("colours.css", "page.css")
KINDS = {".js": "text/javascript", ".css": "text/css"}
NOTHING = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"
LIVE = f"{NOTHING}; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'"


@lru_cache
def page_files() -> dict[str, bytes]:
    """Name -> what is in it, of the script and the style sheets."""
    folder = files("raterhf.explore") / "page"
    return {"colours.css": colours().encode(), **{name: (folder / name).read_bytes() for name in (SCRIPT, "page.css")}}


def colours() -> str:
    """The reports' colours as CSS variables, for light pages and dark ones."""
    light, dark = ("".join(f"--{name}: {values[i]}; " for name, values in COLOURS.items()) for i in (1, 2))
    return f":root {{ {light}}}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}\n"


def live_page(title: str) -> str:
    """The page that loads its files from the server; it runs under the policy (CSP) LIVE: nothing from elsewhere, nothing inline."""
    return _template().render(title=title, kept=None)


def static_page(title: str, kept: dict) -> str:
    """The page in one file, which answers from `kept` alone and opens from the disk. It runs and shows what it was written with alone."""
    styles = "\n".join(page_files()[name].decode() for name in STYLES)
    # In a script element nothing is escaped but what would end it, or begin a comment.
    script = page_files()[SCRIPT].decode().replace("</script", "<\\/script").replace("<!--", "<\\!--")
    data = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    policy = f"{NOTHING}; script-src {_digest(script)}; style-src {_digest(styles)}"
    return _template().render(title=title, kept=Markup(data), styles=Markup(styles), script=Markup(script), policy=Markup(policy))


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _template():
    source = (files("raterhf.explore") / "page.html.j2").read_text("utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(source)
