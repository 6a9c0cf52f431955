"""What `raterhf explore` serves is built by node (`make page`) and committed: whether it is current, and whole."""

import hashlib
import json
import re
from pathlib import Path

from raterhf.explore import files

ROOM = Path(files.__file__).parent
WEB, PAGE = ROOM / "web", ROOM / "page"


def test_the_page_is_built_of_the_sources_as_they_are():
    names = [
        "package-lock.json",
        "package.json",
        "vite.config.js",
        *(f"src/{name}" for name in sorted(path.name for path in (WEB / "src").iterdir())),
    ]
    hashed = hashlib.sha256()
    for name in names:
        hashed.update(name.encode() + b"\0" + (WEB / name).read_bytes() + b"\0")
    assert (PAGE / "sources").read_text().strip() == hashed.hexdigest(), "run `make page`, and commit raterhf/explore/page"


def test_the_page_is_one_script_and_one_style_sheet_that_load_nothing():
    assert sorted(path.name for path in PAGE.iterdir()) == ["licenses.md", "page.css", "page.js", "sources"]
    script = (PAGE / "page.js").read_text("utf-8")
    assert not re.search(r"""\bfrom\s*["']|\bimport\s*[("']""", script)
    assert set(re.findall(r"https?://[\w./-]+", script)) <= {
        f"http://www.w3.org/{name}" for name in ("1999/xhtml", "1999/xlink", "2000/svg", "2000/xmlns/", "XML/1998/namespace")
    }
    assert "url(" not in (PAGE / "page.css").read_text("utf-8")


def test_every_library_in_it_is_named_with_its_licence():
    lock = json.loads((WEB / "package-lock.json").read_text())
    wanted = json.loads((WEB / "package.json").read_text())["dependencies"]
    told = (PAGE / "licenses.md").read_text("utf-8")
    for name in wanted:
        assert name in told and lock["packages"][f"node_modules/{name}"]["license"] in ("ISC", "MIT", "BSD-3-Clause"), name
