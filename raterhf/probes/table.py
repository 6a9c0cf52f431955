"""The probes' headline figures as a table in the terminal; all figures and pictures are on the page."""

from rich.console import Console
from rich.table import Table

SHOWN = ("base", "vanilla", "rater_new")


def print_probes(found: dict) -> None:
    """A row for each probe: its headline figure by model (or of the only models there are), and the share of the gap recovered."""
    console = Console(width=None if Console().is_terminal else 140)
    models = [name for name in SHOWN if name in found["subjects"]] or found["subjects"]
    alarms = any(probe["false_alarms"] for probe in found["probes"].values())
    table = Table(title="headline figures [95 %]", title_justify="left")
    for name in ("probe", "figure", "best", *models, "gap recovered", *(["false alarms"] if alarms else [])):
        table.add_column(name, justify="left" if name in ("probe", "figure") else "right", overflow="fold")
    for name, probe in found["probes"].items():
        figure = probe["headline"]
        cells = [_text((probe["subjects"].get(model) or {}).get(figure)) for model in models]
        row = [name, figure, _number(probe["best"].get(figure)), *cells, _text(probe.get("recovered"), "{:.0%}")]
        table.add_row(*row, *([_text(probe["false_alarms"].get(figure))] if alarms else []))
    console.print(table)


def _text(span: list | tuple | None, form: str = "{:.3f}") -> str:
    if span is None or span[0] is None:
        return "–"
    low, high = span[1:]
    return form.format(span[0]) + ("" if low is None or low == high else f" [{form.format(low)}, {form.format(high)}]")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
