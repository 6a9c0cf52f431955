"""The report of a comparison of real people: from metrics.json, as a dict, to plots/*.svg and a self-contained report.html.

For every discussion what its unseen people voted, what fictitious participants vote, and what a rater-free policy does; who hangs
together; and how the reward models fare on rows and statements kept from training. Sentences about the outcome are computed from the
figures.
"""

from pathlib import Path

from matplotlib import rc_context

from raterhf.reports.bars import question_plot
from raterhf.reports.heat import heat_plot
from raterhf.reports.page import find, inlined, interval_text, number, page_template, write_page
from raterhf.reports.style import COLOURS, STYLE
from raterhf.reports.summary import Groups, counted
from raterhf.reports.summary_table import DISCUSSIONS, summary_rows

SERIES = ("population", "none", "rater_new")
PANELS = {"real": "Unseen people", "rater_new": "Fictitious participants", "none": "Nobody in particular"}
POLICIES = {
    "rater_new": "fictitious participants, a new one beside each person",
    "rater_known": "people who were trained on, asked the same",
    "none": "the same policy asked as nobody in particular: no raters",
}
MODELS = {
    "rater": "with raters: each pair under its rater's vector",
    "null": "the same model, asked as nobody in particular",
    "shuffled": "trained with IDs shuffled among the people",
    "none": "trained without raters",
}
SENTENCE = {
    "rater": "with raters",
    "null": "for nobody in particular",
    "shuffled": "with IDs shuffled",
    "none": "where it was trained without raters",
}
SHOWN = ["tv", "etv", "mi_ratio", "joint_tv", "c2st_auc"]
FIGURES = {
    "tv": "The total variation between people's votes on a statement and the policy's distribution, mean over statements.",
    "etv": "The `tv` minus what as few votes drawn from the policy's distribution would show; 0 is best.",
    "mi_ratio": "The mutual information of two votes of one participant, divided by that of unseen people; 1 is best.",
    "joint_tv": "The distance of the joint distribution of two votes from people's, minus its floor; 0 is best.",
    "c2st_auc": "The AUC of a classifier that separates fictitious from unseen people by their votes; 0.5 is best.",
    "tv_unrated": "The `tv` on statements that were not in training.",
    "vote_nll": "The nats a vote of known people on rows kept from training, over the options.",
    "vote_nll_new_statement": "The same on statements that nobody voted on in training.",
    "vote_accuracy": "How often the likeliest option is the vote that was cast.",
    "accuracy": "The share of pairs kept from training in which the preferred statement scores higher.",
    "accuracy_new_statement": "The same on statements that were not in training.",
    "nll": "The negative log-likelihood, in nats a pair.",
    "ece": "The calibration error of the predicted preference probabilities.",
    "accuracy_worst_decile": "The accuracy for the tenth of raters for whom it is lowest.",
}


def write_people_report(metrics: dict, out: Path) -> Path:
    """Write the plots and report.html into `out`; returns the latter's path."""
    drawn = draw(metrics)
    page = page_template("people.html.j2").render(
        name=find(metrics, "recipe", "name"), colours=COLOURS, plots=inlined(drawn), metrics=metrics, panels=PANELS,
        summary=summary(metrics), main=summary_rows(metrics, DISCUSSIONS), discussions=discussions(metrics), figures=FIGURES,
        tables=[
            table("Fictitious participants", metrics["policies"], POLICIES, [*SHOWN, "tv_unrated"]),
            table("Votes of known people", metrics["policies"], POLICIES, ["vote_nll", "vote_nll_new_statement", "vote_accuracy"]),
            table("Reward models", metrics["reward_models"], MODELS,
                  ["accuracy", "accuracy_new_statement", "nll", "ece", "accuracy_worst_decile"]),
        ],
    )  # fmt: skip
    return write_page(out, drawn, page)


def draw(metrics: dict) -> dict[str, str]:
    """File name -> SVG: votes on each statement, and who votes alike, by discussion."""
    drawn = {}
    with rc_context(STYLE):
        for d, discussion in enumerate(metrics["discussions"].values()):
            for s, question in enumerate(questions(discussion, metrics["options"])):
                drawn[f"votes-{d}-{s}"] = question_plot(question, SERIES)
            labels = [f"statement {s + 1}" for s in range(len(discussion["statements"]))]
            for panel in PANELS:
                drawn[f"people-{d}-{panel}"] = heat_plot(discussion["votes"][panel], labels)
    return drawn


def questions(discussion: dict, options: list[str]) -> list[dict]:
    """Each statement with people's shares and the policies' distributions, as `question_plot` takes them."""
    distributions = discussion["distributions"]
    return [
        {
            "classes": options,
            "population": distributions["population"][s],
            "policies": {name: {"p": distribution[s]} for name, distribution in distributions.items()},
        }
        for s in range(len(discussion["statements"]))
    ]


def discussions(metrics: dict) -> list[dict]:
    """What the page shows of each discussion."""
    return [
        {"key": d, "name": name, "people": found["people"], "statements": [text.split("\n", 1)[-1] for text in found["statements"]],
         "table": table("", found["policies"], POLICIES, SHOWN)}
        for d, (name, found) in enumerate(metrics["discussions"].items())
    ]  # fmt: skip


def table(title: str, rows: dict, about: dict[str, str], columns: list[str]) -> dict:
    """Rows (name, what it is, [(value, interval)]) of those that have any of the figures."""
    shown = []
    for name, what in about.items():
        row = rows.get(name) or {}
        if any(row.get(column) is not None for column in columns):
            spans = {"c2st_auc": [row.get("c2st_low"), row.get("c2st_high")]}
            cells = [(row.get(c), span if None not in (span := spans.get(c, [None])) else None) for c in columns]
            shown.append((name, what, cells))
    return {"title": title, "columns": columns, "rows": shown, "policies": about is POLICIES}


def summary(metrics: dict) -> Groups:
    """What was compared, what came back, and how well votes and preferences are predicted; a missing figure is called not measured."""
    new, nobody = (metrics["policies"].get(name) or {} for name in ("rater_new", "none"))
    span = [new.get("c2st_low"), new.get("c2st_high")]
    within = f" {interval_text(span)}" if None not in span else ""
    people = sum(found["people"] for found in metrics["discussions"].values())
    models = metrics["reward_models"]
    right = [f"{share(find(models, name, 'accuracy'))} {how}" for name, how in SENTENCE.items() if name in models]
    where = counted(len(metrics["discussions"]), "discussion")
    compared = (
        f"Votes of fictitious participants in {where}, beside those of {people} people kept from all "
        "training and those of the same policy without a rater."
    )
    together = (
        f"The votes of one fictitious participant go together {number(new.get('mi_ratio'))} times as much as one person's, "
        f"without raters {number(nobody.get('mi_ratio'))} times (1 is best)."
    )
    separated = (
        f"A classifier separates fictitious participants from people with an AUC of {number(new.get('c2st_auc'))}{within}, and answers "
        f"without raters with {number(nobody.get('c2st_auc'))} (0.5 is guessing)."
    )
    predicted = [f"Of the pairs kept from training the reward model is right on {', '.join(right)}."]
    unrated = [
        (row.get("tv_unrated"), who) for row, who in ((new, "with raters"), (nobody, "without")) if row.get("tv_unrated") is not None
    ]
    if unrated:
        distances = ", ".join(f"{number(value)} {who}" for value, who in unrated)
        predicted.append(f"On statements that were not in training the distance from people's votes (`tv_unrated`) is {distances}.")
    return [
        ("What was compared", [compared]),
        ("What came back", [together, separated]),
        ("How well choices are predicted", predicted),
    ]


def share(value: float | None) -> str:
    return "an unmeasured share" if value is None else f"{100 * value:.1f} %"
