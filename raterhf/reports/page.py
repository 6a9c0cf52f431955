"""What the HTML pages have in common: templates, numbers as text, and figures looked up in metrics.json, read as a dict."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from raterhf.io import write_text
from raterhf.reports.style import hue, inline, policy_name

# What a model may say and no page may hold.
CONTROLS = dict.fromkeys({*range(32), 127} - {9, 10, 13}, "\ufffd")


def number(value):
    """Three decimals below ten, a true minus sign; None is not measured."""
    if value is None:
        return "not measured"
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    text = text if float(text) else text.lstrip("-")  # no zero below zero
    return text.replace("-", "−")


def interval_text(interval):
    return f"[{number(interval[0])}, {number(interval[1])}]" if interval else ""


def find(metrics, *path):
    """The value at `path` in nested dicts, or None where any step is absent or null."""
    for step in path:
        metrics = (metrics or {}).get(step)
    return metrics


def find_interval(metrics, *path):
    """The [low, high] at `path`, or None where it, or an end of it, is absent or null."""
    interval = find(metrics, *path)
    return None if interval is None or None in interval else interval


def ticked(text):
    """Text with what stands between backticks set as code; all of it escaped."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def page_template(name):
    """A template of this folder, with the filters that pages use."""
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"num": number, "span": interval_text, "policy": policy_name, "hue": hue, "ticked": ticked}
    return env.get_template(name)


def write_page(out, drawn, html, name="report.html"):
    """Write `out`/plots/*.svg and the page, each whole or not at all; returns the latter's path. Plots of an earlier page go."""
    for old in (out / "plots").glob("*.svg"):
        if old.stem not in drawn:
            old.unlink()
    for plot, svg in drawn.items():
        write_text(out / "plots" / f"{plot}.svg", svg.translate(CONTROLS))
    write_text(out / name, html.translate(CONTROLS))
    return out / name


def inlined(drawn):
    return {name: Markup(inline(name, svg)) for name, svg in drawn.items()}
