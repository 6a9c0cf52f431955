"""Probe 13, stages: which stage of training collapses what? The headline figures of all probes, stage by stage, of models already measured.

There are two ways from the base model: without raters by SFT without IDs to vanilla RLHF, and with raters by SFT with IDs to the policy,
which is asked as fictitious raters. What the last stage of the latter is (reward-weighted imitation, or RL) is the recipe's.
"""

import math

from matplotlib import rc_context

from raterhf.reports.style import LETTER, STYLE, WIDTH, canvas, colour, policy_colour, policy_name, svg_text

WAYS = {"vanilla": ("base", "sft_no_ids", "vanilla"), "rater_new": ("base", "sft", "rater_new")}
STAGES = ("base", "SFT", "RLHF")


def stages(probes: dict) -> dict:
    """`probes` as probes.json holds them, null being what does not exist, gives

    {probe: {`figure`, `best`, `ways` {way: [[model, value, low, high] or None, ...]}, `collapse` {way: model or None}}}.

    Only probes whose headline was measured of the base model and of a later stage; none where no stage between first and last is there.
    `collapse` is the stage after which the figure lies farther from best than before, by more than chance: the two intervals do not meet.
    Of several, the one of the longest step.
    """
    found = {}
    for name, probe in probes.items():
        figure, best = probe["headline"], probe["best"].get(probe["headline"])
        rows = {m: row[figure] for m, row in probe["policies"].items() if row.get(figure) and None not in row[figure]}
        ways = {end: [[m, *rows[m]] if m in rows else None for m in way] for end, way in WAYS.items()}
        ways = {end: way for end, way in ways.items() if way[0] and any(way[1:])}
        if ways:
            collapse = {end: _collapse([stage for stage in way if stage], best) for end, way in ways.items()}
            found[name] = {"figure": figure, "best": best, "ways": ways, "collapse": collapse}
    return found if any(way[1] in probe["policies"] for way in WAYS.values() for probe in probes.values()) else {}


def _collapse(way: list[list], best: float | None) -> str | None:
    """The stage of the longest step away from best whose interval does not meet the one before; None where best is not known."""
    steps = {}
    if best is None:
        return None
    for (_, before, low_before, high_before), (name, after, low, high) in zip(way, way[1:]):
        farther = abs(after - best) - abs(before - best)
        if farther > 0 and (low > high_before or high < low_before):
            steps[name] = farther
    return max(steps, key=steps.get) if steps else None


def draw_stages(found: dict) -> dict[str, str]:
    """A small plot a probe: its headline figure over the stages, a line a way, with the perfect sampler's value dashed."""
    with rc_context(STYLE):
        return {f"stages-{name}": _slopes(one) for name, one in found.items()}


def _slopes(one: dict) -> str:
    figure, (ax,) = canvas(WIDTH, 190, 48, right=14 + LETTER * max(len(policy_name(end)) for end in WAYS), top=24, bottom=24)
    if one["best"] is not None:
        ax.axhline(one["best"], color=colour("population"), linewidth=1, linestyle=(0, (4, 3)))
        ax.annotate("best", (-0.18, one["best"]), (0, 2), textcoords="offset points", fontsize=10)
    ends = {}
    for end, way in one["ways"].items():
        there = [(x, stage) for x, stage in enumerate(way) if stage]
        x = [x for x, _ in there]
        values, low, high = ([stage[k] for _, stage in there] for k in (1, 2, 3))
        ax.plot(x, values, "o-", color=policy_colour(end), linewidth=2, markersize=5)
        ax.vlines(x, low, high, color=policy_colour(end), linewidth=1.5)
        if there[-1][1][0] == end:
            ends[end] = values[-1]
    ax.set_xticks(range(len(STAGES)), STAGES)
    ax.set_xlim(-0.2, len(STAGES) - 0.85)
    ax.margins(y=0.12)
    ax.grid(True, axis="y")
    ax.set_title(one["figure"], loc="left", fontsize=11, pad=6)
    low, high = ax.get_ylim()
    apart = 13 / (190 - 48) * (high - low)  # names one line of text apart, however near the values
    last = -math.inf
    for end, value in sorted(ends.items(), key=lambda pair: pair[1]):
        last = max(value, last + apart)
        ax.annotate(policy_name(end), (len(STAGES) - 1, last), (8, -4), textcoords="offset points", color=policy_colour(end))
    return svg_text(figure)
