"""The probes' headline figures as a table in the terminal; all figures and pictures are on the page."""

from raterhf.terminal import show_table

CONTROLS = ("sft_no_ids", "sft", "none")  # of a run: on the page alone


def print_probes(found: dict) -> None:
    """A row for each probe: its headline figure by model, a run's controls left out, and the share of the gap recovered."""
    models = [name for name in found["policies"] if name not in CONTROLS] or found["policies"]
    last = {"recovered": "gap recovered", "false_alarms": "false alarms"}
    last = {key: title for key, title in last.items() if any(probe.get(key) for probe in found["probes"].values())}
    rows = []
    for name, probe in found["probes"].items():
        figure = probe["headline"]
        cells = [_text((probe["policies"].get(model) or {}).get(figure)) for model in models]
        ends = {"recovered": _text(probe.get("recovered"), "{:.0%}"), "false_alarms": _text(probe["false_alarms"].get(figure))}
        rows.append([name, figure, _number(probe["best"].get(figure)), *cells, *(ends[key] for key in last)])
    columns = ["probe", "figure", "best", *models, *last.values()]
    show_table(columns, rows, ("probe", "figure"), f"headline figures [95 %]{means(found)}")


def means(found: dict) -> str:
    """Of how many runs the figures are means."""
    return f", means of {len(found['runs'])} runs" if "runs" in found else ""


def _text(span: list | tuple | None, form: str = "{:.3f}") -> str:
    if span is None or span[0] is None:
        return "–"
    value, low, high = (None if x is None else x + 0.0 if abs(x) >= 5e-4 else 0.0 for x in span)  # no -0.000
    return form.format(value) + ("" if low is None or low == high else f" [{form.format(low)}, {form.format(high)}]")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
