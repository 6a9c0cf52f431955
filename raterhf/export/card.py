"""The model card of an exported folder: who is in it, how it is asked, what was measured, and what it must not be used for."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from raterhf.io import on_hub, read_json
from raterhf.raters.pool import Rater, RaterPool
from raterhf.recipe import Recipe
from raterhf.reports.page import number
from raterhf.reports.style import policy_name
from raterhf.reports.summary_table import DISCUSSIONS, OWN_DATA, WORLD, summary_rows

REAL = (
    "Known raters are people whose labels were trained on, and what is said in their place here they never said: have their consent before "
    "you share this folder, say so wherever it answers, and remove it when they ask (`raterhf raters drop` removes a person from the run)."
)
INVENTED = "Nobody here is one: all raters are fictitious, or nobody in particular."


@dataclass(frozen=True)
class Origin:
    """What an export comes from: the run, its recipe where it has one, and its raters."""

    run: Path
    recipe: Recipe | None
    pool: RaterPool

    @property
    def base(self) -> str:
        """The pretrained model that training began with; empty where there was none."""
        return (self.recipe.model.path if self.recipe else None) or ""

    def who(self, person: Rater) -> str:
        """A rater in the words of the card."""
        if person.vector is None and not person.text:
            return "nobody in particular"
        return "a known rater, whose labels were trained on" if person.id in self.pool.index else "fictitious: drawn from the population"


@dataclass(frozen=True)
class Card:
    """What is said of a folder beside who is in it. `notes` are for whoever exports it."""

    what: str
    about: str
    code: str
    library: str = "transformers"
    pipeline: str = ""
    sections: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def write_card(folder: Path, card: Card, origin: Origin, people: Sequence[Rater]) -> None:
    """Write README.md."""
    measured = _measured(origin.run)
    real = [person for person in people if person.id in origin.pool.index]
    environment = Environment(
        loader=PackageLoader("raterhf.export", "."), trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, autoescape=False
    )
    text = environment.get_template("card.md.j2").render(
        library=card.library, pipeline=card.pipeline, what=card.what, about=card.about, code=card.code.rstrip(), sections=card.sections,
        name=origin.run.resolve().name, base=Path(origin.base).name if Path(origin.base).is_absolute() else origin.base,
        base_on_hub=bool(origin.base) and on_hub(Path(origin.base)), known=len(origin.pool.known), dropped=len(origin.pool.dropped),
        raters=[(code_span(person.id), origin.who(person)) for person in people], care=REAL if real else INVENTED,
        figures=_figures(measured), recipe=(measured.get("recipe") or {}).get("name"),
        seeds=", ".join(map(str, measured.get("seeds") or [])),
    )  # fmt: skip
    (folder / "README.md").write_text(text, "utf-8")


def code_span(text: str) -> str:
    """Text in a cell of a table, as it is."""
    quoted = text.replace("|", "\\|")
    return f"`` {quoted} ``" if "`" in quoted else f"`{quoted}`"


def _measured(run: Path) -> dict:
    path = run / "compare" / "metrics.json"
    return read_json(path) if path.is_file() else {}


def _figures(measured: dict) -> dict | None:
    """The main figures of a comparison, as the terminal shows them."""
    found = summary_rows(measured, WORLD | OWN_DATA | DISCUSSIONS)
    rows = [(policy_name(name), ["null" if value is None else number(value) for value, _ in row]) for name, row in found["rows"]]
    return {"columns": found["columns"], "rows": rows} if rows else None


def literal(value: object) -> str:
    """Text as Python reads it."""
    return json.dumps(value, ensure_ascii=False)
