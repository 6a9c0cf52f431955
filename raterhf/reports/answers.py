"""The report of a comparison on people's own answers: from metrics.json, as a dict, to a self-contained report.html.

People come first, real and fictitious, each a card with all their answers; then figures. Sentences about the outcome are computed from the
figures.
"""

from pathlib import Path

from raterhf.reports.comparison import POLICIES, flatten
from raterhf.reports.page import find, find_interval, interval_text, number, page_template, write_page
from raterhf.reports.style import COLOURS, policy_name
from raterhf.reports.summary import Groups
from raterhf.reports.summary_table import ANSWERS, summary_rows

ABOUT = {
    "population": "people on whom nothing was trained; what they reach is what the others should",
    "sft_no_ids": "imitation of everybody's answers by a model that knows no raters",
    "shuffled": "control: IDs shuffled among the answers to each prompt, so that nobody hangs together",
    "text_new": "control: the rater's ID as literal text in the prompt, an ID that was never used",
    "rater_known": "the rater-conditioned policy asked as the people it was trained on, by ID",
    "rater_new": "the rater-conditioned policy asked as raters who never existed",
}
FIGURES = {
    "same_author_trees": "How often, by one answer of a person, another of theirs is told from somebody else's to the same prompt: by "
    "boosted trees on cosines of meaning, letters and words and on habits of writing, taught on people who neither trained a model nor are "
    "compared; 0.5 is guessing, best is people's.",
    "same_author_logistic": "The same by a logistic.",
    "recognised_trees": "How often, by a known person's real answer, what is said under their ID is told from what is said under "
    "another's; 0.5 is guessing.",
    "recognised_logistic": "The same by a logistic.",
    "energy": "The energy distance of the answers from those of unseen people, in the space of the sentence encoder; people's is the "
    "floor, as many of them beside as many others.",
    "different": "The share of answers that nobody else among those asked gave.",
    "repeats": "The share of a person's pairs of answers that are the same words.",
    "exact_copies": "The share of answers whose words are an answer of training.",
    "near_copies": "The share whose cosine to the nearest answer of training is 0.95 or more.",
    "nearest": "The mean of that cosine.",
    "words": "Words of an answer, mean.",
    "nats": "Nats a token by the model before training: many more than people's is gibberish, many less is bland.",
}
NO_ENCODER = (
    "No sentence encoder was given (compare.encoder), so neither the distance from people's answers nor near copies are measured, and "
    "authors are told apart by letters, words and habits alone."
)


def write_answers_report(metrics: dict, out: Path, people: dict[str, list[dict]]) -> Path:
    """Write report.html into `out`; returns its path. `people`: for each policy, and the population, cards of name and what was said."""
    columns = [figure for figure in FIGURES if any(figure in row for row in metrics["policies"].values())]
    page = page_template("answers.html.j2").render(
        name=find(metrics, "recipe", "name"), colours=COLOURS, metrics=metrics, summary=summary(metrics),
        main=summary_rows(metrics, ANSWERS),
        policies=POLICIES | ABOUT, people=people, columns=columns, figures=FIGURES, recipe=flatten(metrics["recipe"]),
        rows=[
            (name, [(row.get(figure), find_interval(metrics, "intervals", "policies", name, figure)) for figure in columns])
            for name, row in metrics["policies"].items()
        ],
    )  # fmt: skip
    return write_page(out, {}, page)


def summary(metrics: dict) -> Groups:
    """What was compared, whether a fictitious person is somebody, whether all together are as people are, and whether they are copies."""
    people = metrics["people"]
    compared = (
        f"{people['compared']} people on whom nothing was trained, and as many answers of each model to the same prompts, held against as "
        f"many other such people. {people['trained']} people trained the models; {people['teachers']} others taught who wrote what."
    )
    somebody = [
        f"From one answer of a person another of theirs is told from somebody else's in {judged(metrics, 'same_author', name)} of cases "
        f"for {called(name)}."
        for name in metrics["policies"]
        if name in ("population", "rater_new", "none", "sft_no_ids", "shuffled", "text_new")
    ]
    spread = [
        f"The energy distance from other people's answers is {value(metrics, name, 'energy')} for {called(name)}."
        for name in metrics["policies"]
        if find(metrics, "policies", name, "energy") is not None and name in ("population", "rater_new", "sft_no_ids")
    ]
    copies = [
        f"Of what {called(name)} said {share(metrics, name, 'exact_copies')} are the words of an answer of training"
        + (f", and {share(metrics, name, 'near_copies')} nearly so." if "near_copies" in row else ".")
        for name, row in metrics["policies"].items()
        if name in ("population", "rater_new")
    ]
    return [
        ("What was compared", [compared]),
        ("Is a fictitious person somebody", somebody),
        ("Are all together as people are", spread or [NO_ENCODER]),
        ("Are they copies", copies),
    ]


def called(name: str) -> str:
    return "unseen people" if name == "population" else policy_name(name)


def judged(metrics: dict, figure: str, name: str) -> str:
    return " and ".join(share(metrics, name, f"{figure}_{judge}") for judge in ("trees", "logistic"))


def value(metrics: dict, name: str, figure: str) -> str:
    spread = find_interval(metrics, "intervals", "policies", name, figure)
    return f"{find(metrics, 'policies', name, figure):.4f}" + (f" [{spread[0]:.4f}, {spread[1]:.4f}]" if spread else "")


def share(metrics: dict, name: str, figure: str) -> str:
    return (
        f"{number(find(metrics, 'policies', name, figure))} {interval_text(find_interval(metrics, 'intervals', 'policies', name, figure))}"
    )
