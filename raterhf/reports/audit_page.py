"""The page of `raterhf audit`: figures of `evaluation/audit`, as a dict, to audit.json, plots and a self-contained page.

No figure is computed here.
"""

from pathlib import Path

from raterhf.data.show import print_rows
from raterhf.reports import audit_text
from raterhf.reports.audit_plots import plots
from raterhf.reports.metrics_file import write
from raterhf.reports.page import inlined, page_template, write_page
from raterhf.reports.style import COLOURS

THINGS = 12  # that split people, on the page
PEOPLE = 20  # named for one thing


def write_audit(found: dict, out: Path) -> Path:
    """Write audit.json, plots/*.svg and audit.html into `out`; the last's path."""
    found = write(out / "audit.json", found)
    drawn = {kind: plots(figures) for kind, figures in found["kinds"].items()}
    flat = {f"{kind.replace(' ', '-')}-{name}": svg for kind, those in drawn.items() for name, svg in those.items()}
    ready = inlined(flat)
    svgs = {kind: {name: ready[f"{kind.replace(' ', '-')}-{name}"] for name in those} for kind, those in drawn.items()}
    page = page_template("audit.html.j2").render(
        colours=COLOURS, found=found, plots=svgs, text=audit_text, things=THINGS, people=PEOPLE,
        sections={kind: audit_text.sections(figures) for kind, figures in found["kinds"].items()},
        model=audit_text.model(found.get("model", {})),
    )  # fmt: skip
    return write_page(out, flat, page, "audit.html")


def print_audit(found: dict) -> None:
    """A table for each section of each kind of labels, and the sentences on what cannot be told."""
    for kind, figures in found["kinds"].items():
        for title, rows in audit_text.sections(figures).items():
            print_rows(f"{title} ({kind})", rows)
    if rows := audit_text.model(found.get("model", {})):
        print_rows("The reward model", rows)
    if told := notes(found):
        print_rows("What cannot be told", told)


def notes(found: dict) -> list[tuple[str, str]]:
    """(of what, sentence)."""
    told = [(kind, note) for kind, figures in found["kinds"].items() for note in figures["notes"]]
    return told + [("reward model", note) for note in found.get("model", {}).get("notes", [])]
