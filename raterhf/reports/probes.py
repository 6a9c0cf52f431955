"""The page of the probes: from probes.json, as a dict, and the plots, to a self-contained probes.html. No figure is computed here."""

import math
from pathlib import Path

from raterhf.reports.metrics_file import write
from raterhf.reports.page import inlined, number, page_template, write_page
from raterhf.reports.probe_stages import WAYS, draw_stages, stages
from raterhf.reports.style import COLOURS, policy_name


def write_probes(found: dict, drawn: dict[str, str], out: Path) -> tuple[dict, Path]:
    """Write probes.json, plots/*.svg and probes.html into `out`; returns what the first holds and the last's path."""
    found = write(out / "probes.json", found)
    parts, drawn = sections(found["probes"], drawn)
    page = page_template("probes.html.j2").render(
        colours=COLOURS, found=found, plots=inlined(drawn), at_gold=at_gold(found["gold"]), **parts
    )
    return found, write_page(out, drawn, page, "probes.html")


def sections(probes: dict, drawn: dict[str, str]) -> tuple[dict, dict[str, str]]:
    """What a page that shows probes gives to `probe_cards.html.j2`, and `drawn` with the plots over the stages of training."""
    by_stage = stages(probes)
    drawn = drawn | draw_stages(by_stage)
    cards = [card(name, probe, drawn) for name, probe in probes.items()]
    names = [name for name in dict.fromkeys(n for way in WAYS.values() for n in way) if any(name in p["policies"] for p in probes.values())]
    return {"cards": cards, "stages": by_stage, "stage_names": names, "probes": probes}, drawn


def card(name: str, probe: dict, drawn: dict[str, str]) -> dict:
    """What the page shows of one probe."""
    metrics = [f for f in probe["best"] if any((row.get(f) or [None])[0] is not None for row in probe["policies"].values())]
    plots = [plot for plot in drawn if plot.startswith(f"{name}-")]
    return {"name": name, "probe": probe, "figures": metrics, "plots": plots, "verdict": result(probe)}


def result(probe: dict) -> list[str]:
    """Sentences on what came out, from the figures alone."""
    found = []
    if apart := probe.get("separation"):
        clear = apart[1] is not None and (apart[1] > 0 or apart[2] < 0)
        way = "differ" if clear else "do not differ by more than chance"
        found.append(f"{policy_name('vanilla')} and {policy_name('base')} {way} in `{probe['apart']}`")
    if gap := probe.get("recovered"):
        if gap[0] is None:
            found.append("vanilla RLHF is not away from people by more than chance, so there is no distance to make up")
        else:
            span = f"[{_percent(gap[1])}, {_percent(gap[2])}]"
            found.append(
                f"fictitious raters make up {_percent(gap[0])} {span} of vanilla RLHF's distance from people (`{probe['headline']}`)"
            )
    return found


def at_gold(gold: dict[str, list | None]) -> str | None:
    """Whether fictitious raters are nearer to people at a gold reward as good as vanilla's; None where one of them is unknown."""
    ours, theirs = gold.get("rater_new"), gold.get("vanilla")
    if not ours or not theirs:
        return None
    than = "lower than" if ours[0] < theirs[0] else "not lower than"
    return f"The gold reward of fictitious raters is {than} vanilla RLHF's ({number(ours[0])}, {number(theirs[0])})."


def _percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.0%}".replace("-", "−")
