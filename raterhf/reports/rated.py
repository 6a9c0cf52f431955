"""The report of a comparison on texts that people rated: from metrics.json, as a dict, to plots/*.svg and a self-contained report.html.

What is told to people comes first, then figures. Sentences about the outcome are computed from the figures.
"""

from pathlib import Path

import numpy as np
from matplotlib import rc_context

from raterhf.reports.bars import shares_plot
from raterhf.reports.comparison import POLICIES, flatten, prompt_text
from raterhf.reports.page import find, find_interval, inlined, interval_text, number, page_template, write_page
from raterhf.reports.style import COLOURS, STYLE, policy_name
from raterhf.reports.summary import Groups
from raterhf.reports.summary_table import RATED, summary_rows

SERIES = ("population", "vanilla", "rater_new")
MOST = 12  # items that the plot shows by name
ABOUT = {
    "none": "the same policy asked as nobody in particular",
    "rater_known": "each telling for one of the people it was trained on, under that person's ID",
    "rater_known_sure": "the same, at a temperature at which it says what it is surest of",
    "vanilla_sure": "vanilla at the same temperature",
}
FIGURES = {
    "rating": "The mean of real ratings, kept from training, of what was told: known people's own where they are asked by ID, else of "
    "everybody who rated it; higher is better.",
    "graded": "The number of kept-back ratings behind it.",
    "effective_items": "e to the entropy of what is told: so many texts told equally often are as diverse.",
    "top_share": "The share of the text told most often.",
    "top_25": "The share of the 25 texts told most often.",
    "tv": "The total variation between what is told and what unseen people rated highest, of texts in the data.",
    "etv": "The `tv` minus what as few people and tellings show where both are alike; 0 is best.",
    "new": "The share of tellings that begin as no text of the data.",
    "whole": "The share of the others that are that text to the last word.",
}


def write_rated_report(metrics: dict, out: Path, samples: dict[str, dict], people: list[dict]) -> Path:
    """Write the plots and report.html into `out`; returns the latter's path."""
    drawn = {"shares": shares(metrics)}
    page = page_template("rated.html.j2").render(
        name=find(metrics, "recipe", "name"), prompt=prompt_text(metrics["prompt"]), colours=COLOURS, plots=inlined(drawn), metrics=metrics,
        summary=summary(metrics), main=summary_rows(metrics, RATED), policies=POLICIES | ABOUT, samples=samples, people=people,
        columns=list(FIGURES), figures=FIGURES, recipe=flatten(metrics["recipe"]),
        rows=[(name, [row.get(figure) for figure in FIGURES]) for name, row in metrics["policies"].items()],
    )  # fmt: skip
    return write_page(out, drawn, page)


def shares(metrics: dict) -> str:
    """SVG of how often the texts that unseen people like best, and all others together, are people's favourites or told."""
    people = np.array(metrics["shares"]["population"], float)
    first = np.argsort(-people, kind="stable")[:MOST]
    measured = {}
    for name in SERIES:
        if (row := metrics["shares"].get(name)) is not None:
            row = np.array(row, float)
            invalid = row[len(people)] if len(row) > len(people) else 0.0
            measured[name] = np.array([*row[first], row[: len(people)].sum() - row[first].sum(), invalid])
    names = [" ".join(metrics["items"][i].split()) for i in first]
    with rc_context(STYLE):
        return shares_plot([*names, "all others"], measured)


def summary(metrics: dict) -> Groups:
    """What was compared, whether everybody is told the same, and whether people like it; a missing figure is called not measured."""
    real, policies = metrics["real"], metrics["policies"]
    compared = (
        f"What is told to fictitious raters, beside what {real['people']} people, on whom nothing was trained, rated highest of "
        f"{len(metrics['items'])} texts; and what is told to known people, graded by their own ratings, which were kept from training."
    )
    diverse = [f"The favourites of unseen people are {number(real['effective_items'])} texts in effect."]
    for name in ("vanilla", "rater_new"):
        if found := policies.get(name):
            diverse.append(
                f"{policy_name(name).capitalize()}: {number(found['effective_items'])} in effect, the most frequent takes "
                f"{share(found['top_share'])}, and the distance from people's favourites (`etv`) is {number(found.get('etv'))}."
            )
    liked = [
        f"Real ratings of what was kept back: {number(real['rating_mean'])} of everything, {rated(real, 'rating_best_for_all')} of the "
        f"text that is best on average, {rated(real, 'rating_best_for_each')} of what a factor model says is best for each person."
    ]
    told = [
        f"{number(find(policies, name, 'rating'))} {interval_text(find_interval(metrics, 'intervals', 'policies', name, 'rating'))} "
        f"{policy_name(name)}"
        for name in ("vanilla", "vanilla_sure", "none", "rater_known", "rater_known_sure")
        if name in policies
    ]
    worse = [
        f"{policy_name(name).capitalize()}: {share(found['new'])} of what is told is no text of the data, and {share(found['whole'])} of "
        "the rest is told to the last word."
        for name in ("vanilla", "rater_new")
        if (found := policies.get(name))
    ]
    return [
        ("What was compared", [compared]),
        ("Is everybody told the same", diverse),
        ("Do people like it", [*liked, f"Of what was told: {'; '.join(told)}."]),
        ("Is it told well", worse),
    ]


def rated(real: dict, name: str) -> str:
    return f"{number(real[name])} {interval_text(real[f'{name}_interval'])}"


def share(value: float | None) -> str:
    return "an unmeasured share" if value is None else f"{100 * value:.1f} %"
