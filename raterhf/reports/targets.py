"""What is required of a comparison, and the verdict in words: all from metrics.json, read as a dict.

`targets` lists the required figures with their limits and verdicts; `headline` and `summary` say the
outcome, as plainly when it did not work. A figure that is absent or null is "not measured".
`equal_gold.difference_etv` and its interval are vanilla's etv minus fictitious raters'. No figure is
computed here, nothing is laid out.
"""

import math
from collections import Counter
from dataclasses import dataclass

from raterhf.reports.page import find, find_interval, interval_text, number
from raterhf.reports.style import policy_name


@dataclass(frozen=True)
class Target:
    """A required figure: what is asked of it, what came out. None: not measured, or no limit on that side."""

    name: str
    figure: str
    policy: str
    rule: str
    vanilla: float | None
    value: float | None
    interval: list[float] | None
    low: float | None
    high: float | None
    above_zero: bool = False  # the interval, too, must lie above zero

    def inside(self, value):
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return low - 1e-9 <= value <= high + 1e-9

    @property
    def status(self):
        if self.value is None or (self.low is None and self.high is None):
            return "not measured"
        if not self.inside(self.value):
            return "not met"
        if self.above_zero:
            return "not measured" if self.interval is None else "met" if self.interval[0] > 0 else "not met"
        return "met"

    @property
    def remark(self):
        """How sure the verdict is."""
        if self.status == "not measured":
            return "no interval: run several seeds" if self.above_zero and self.value is not None else ""
        if self.interval is None:
            return "no interval"
        agree = len({self.inside(v) for v in (*self.interval, self.value)}) == 1
        return "" if agree else "interval crosses the limit"

    @property
    def gauge(self):
        """Positions, in percent of a line that holds them all: allowed band, interval, vanilla, value."""
        vanilla = None if self.above_zero else self.vanilla  # the value is then a difference: another scale
        marks = [self.value, vanilla, *(self.interval or []), self.low, self.high]
        marks = [v for v in marks if v is not None] + [0] * (self.low is None)
        left, width = min(marks), (max(marks) - min(marks)) or 1.0

        def place(v):
            return None if v is None else 4 + 92 * (v - left) / width

        band = (0 if self.low is None else place(self.low), 100 if self.high is None else place(self.high))
        span = [place(v) for v in self.interval] if self.interval else None
        return {"band": band, "span": span, "vanilla": place(vanilla), "value": place(self.value)}


def targets(metrics):
    """The required figures, in the order of the report."""

    def target(name, figure, rule, low=None, high=None, policy="rater_new"):
        vanilla = find(metrics, "policies", "vanilla", figure) if policy == "rater_new" else None
        value = find(metrics, "policies", policy, figure)
        interval = find_interval(metrics, "intervals", "policies", policy, figure)
        return Target(name, figure, policy, rule, vanilla, value, interval, low, high)

    def near_real(name, figure):
        real = find(metrics, "real", figure)
        low, high = (None, None) if real is None else (real - 0.2, real + 0.2)
        return target(name, figure, f"within 0.2 of real raters' {number(real)}", low, high)

    gold = find(metrics, "policies", "sft_no_ids", "reward_gold")
    at_least_sft = "at least that of SFT without IDs" + ("" if gold is None else f", {number(gold)}")
    return [
        target("Answers are valid", "valid", "at least 0.99", low=0.99),
        target("As good as imitation without IDs", "reward_gold", at_least_sft, low=gold),
        target("Answers are spread as the population's", "etv", "at most 0.06", high=0.06),
        gap_to_vanilla(metrics),
        target("Popular answers are not exaggerated", "gamma", "0.7 to 1.4", 0.7, 1.4),
        target("One rater hangs together", "mi_ratio", "0.7 to 1.3", 0.7, 1.3),
        target("The right answers go together", "joint_tv", "at most 0.08", high=0.08),
        target("Hard to tell from real raters", "c2st_auc", "at most 0.65", high=0.65),
        target("Copies nobody", "copying", "0.42 to 0.58", 0.42, 0.58),
        near_real("Keeps tastes when asked again", "kappa_taste"),
        near_real("Rolls the dice again when asked again", "kappa_dice"),
        target("Knows the raters it learned from", "skill", "at least 0.4", low=0.4, policy="rater_known"),
        # "below": the limit itself is outside, also with the tolerance of `inside`.
        target("Shuffled IDs lose the person", "mi_ratio", "below 0.1", high=0.1 - 2e-9, policy="shuffled"),
    ]


def gap_to_vanilla(metrics):
    """Vanilla's etv minus fictitious raters' at equal gold; not measured when no gold is reached by both."""
    overlap = find(metrics, "equal_gold", "reward_gold") is not None
    return Target(
        name="Nearer to the population than vanilla, at equal gold reward",
        figure="etv",
        policy="rater_new",
        rule="etv at least 0.10 below vanilla's, interval above 0",
        vanilla=find(metrics, "equal_gold", "vanilla", "etv") if overlap else None,
        value=find(metrics, "equal_gold", "difference_etv") if overlap else None,
        interval=find_interval(metrics, "equal_gold", "interval") if overlap else None,
        low=0.10,
        high=None,
        above_zero=True,
    )


def headline(checks):
    tally, total = Counter(t.status for t in checks), len(checks)
    if tally["not met"]:
        rest = f", {tally['not measured']} not measured" if tally["not measured"] else ""
        return f"It fell short: {tally['not met']} of {total} required targets missed{rest}"
    if tally["not measured"] == total:
        return "Nothing required was measured"
    if tally["not measured"]:
        return f"No required target is missed, but {tally['not measured']} of {total} are not measured"
    return f"It worked: all {total} required targets are met"


def summary(metrics, checks):
    """Two sentences: how far fictitious raters and vanilla are from the population, and the tally."""
    tally = Counter(t.status for t in checks)
    second = f"Of {len(checks)} required targets {tally['met']} are met"
    for status in ("not met", "not measured"):
        names = [t.name[0].lower() + t.name[1:] for t in checks if t.status == status]
        if names:
            second += f", {len(names)} {status}" + (f" ({'; '.join(names)})" if len(names) <= 4 else "")
    return [distance_sentence(metrics), second + "."]


def distance_sentence(metrics):
    policies = ("rater_new", "vanilla")
    etv = [find(metrics, "policies", policy, "etv") for policy in policies]
    if None in etv:
        missing = " and ".join(policy_name(p) for p, v in zip(policies, etv, strict=True) if v is None)
        return f"How far the answers of {missing} are from the population's was not measured."
    ways = {True: "nearer to the population's than", False: "farther from the population's than"}
    near = abs(etv[0] - etv[1]) < 0.005
    way = "as far from the population's as" if near else ways[etv[0] < etv[1]]
    text = (
        f"With a fresh fictitious rater for each answer, the policy's answers are spread {way} vanilla"
        f" RLHF's: the excess distance (etv) is {number(etv[0])} against {number(etv[1])}"
    )
    gold = [find(metrics, "policies", policy, "reward_gold") for policy in policies]
    if None not in gold:
        text += f", at a gold reward of {number(gold[0])} against {number(gold[1])}"
    gap = gap_to_vanilla(metrics)
    if gap.value is not None:
        text += f"; at equal gold reward vanilla's exceeds theirs by {number(gap.value)}"
    if gap.interval:
        text += f" {interval_text(gap.interval)}"
        text += ", an interval that includes zero" if gap.interval[0] <= 0 <= gap.interval[1] else ""
    return text + "."
