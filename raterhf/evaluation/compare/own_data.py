"""`raterhf compare` on data of one's own: our policy and vanilla, trained on the same labels, beside the raters' own answers.

Nobody knows these people's distributions. So the models' answers are compared with the raters' own (or with those they chose, where that is
what is imitated) on the prompts that most of them answered, by the probes that need no distribution; and reward models are compared on
comparisons kept from training. Nothing here trains (`trainings.py`), computes a figure or draws one.
"""

from pathlib import Path

import numpy as np

from raterhf.data import prepare
from raterhf.data.labels import Labels
from raterhf.evaluation.compare import reward_metrics
from raterhf.evaluation.compare.needs import check_data, wanted_policies
from raterhf.evaluation.compare.trainings import costs, train_policies
from raterhf.evaluation.probes.interview import PEOPLE, Answers, Interview
from raterhf.evaluation.probes.load import policies_of
from raterhf.evaluation.probes.questions import Asked
from raterhf.evaluation.probes.suite import chosen, run_probes
from raterhf.log import log
from raterhf.recipe import Recipe
from raterhf.reports import metrics_file
from raterhf.reports.comparison import prompt_text
from raterhf.reports.own_data import MIN_ANSWERS, write_own_report
from raterhf.reports.summary_table import OWN_DATA, print_summary

JUDGED = ("base", "sft_no_ids", "sft", "vanilla", "rater_new")
CONTROLS = (*JUDGED, "shuffled")
VOTES = "; or, to compare votes with those of people never trained on, data.split and data.group_column as in recipes/polis.yaml"
PROBED = "templates,multiverse,spanning,substitution,fluency"
PROMPTS = 12  # asked again at most
DRAWS = 200  # answers of a model to each prompt, where fewer raters answered it
SHOWN = 40  # of them that the report may show
KEY = 40  # characters of a prompt that name it


def compare_own(recipe: Recipe, controls: list[str] | None) -> Path:
    """Train what is missing, judge, write metrics.json and the report into runs/NAME/compare; returns the report's path."""
    wanted = wanted_policies(recipe, controls, CONTROLS, "base,sft,rater_new,shuffled", VOTES)
    probes = chosen(PROBED if recipe.compare.probes == "none" else recipe.compare.probes)
    labels = prepare.read_data(recipe)
    check_data(recipe, labels, wanted)
    train_policies(recipe, labels, wanted, sweep=False)
    vanilla = bool({"vanilla", "sft_no_ids"} & set(wanted))
    models = reward_metrics.measure_reward_models(recipe, labels, vanilla, "shuffled" in wanted)
    policies = {name: one for name, one in policies_of(recipe, recipe.folder).items() if name in wanted}
    questions, people = ask_again(labels, recipe.sft.source, recipe.seed)
    draws = min(recipe.compare.draws, max(DRAWS, *(answers.rows for answers in people.values()), 0))
    interview = Interview(policies, questions, people, draws, recipe.seed, run=recipe.folder)
    found, drawn = run_probes(interview, probes)
    for name, probe in found["probes"].items():
        for hole in probe["holes"]:
            log.warning(f"  not measured: {name}: {hole}")
    rows = {name: [row for probe in found["probes"].values() for row in probe["policies"].get(name, {}).items()] for name in policies}
    merged = metrics_file.header(recipe, [recipe.seed]) | {
        "policies": {name: {figure: measured[0] for figure, measured in row} for name, row in rows.items()},
        "reward_models": models, "trainings": costs(recipe), "probes": found["probes"],
        "prompts": {question.key: {"prompt": question.prompts[0], "raters": _rows(people, question)} for question in questions},
    }  # fmt: skip
    out = recipe.folder / "compare"
    found = metrics_file.write(out / "metrics.json", merged)
    page = write_own_report(found, out, _samples(interview), drawn)
    print_summary(found, OWN_DATA)
    return page


def ask_again(labels: Labels, source: str, seed: int) -> tuple[list[Asked], dict[str, Answers]]:
    """The prompts that most raters answered, and as many answers to each, one a rater; without answers where few raters share a prompt.

    So many prompts, `PROMPTS` at most, that prompts times answers are most.
    """
    answers = prepare.imitated(labels, source).sample(frac=1, random_state=seed)
    answers = answers.assign(text=answers.prompt.map(prompt_text)).drop_duplicates(["text", "rater_id"])
    counts = answers.text.value_counts().sort_index().sort_values(ascending=False, kind="stable")[:PROMPTS]
    enough = counts[counts >= MIN_ANSWERS].to_numpy()
    n = int(enough[np.argmax(enough * np.arange(1, len(enough) + 1))]) if len(enough) else 0
    questions, people = [], {}
    for number, text in enumerate(counts.index[counts >= n], 1):
        rows = answers[answers.text == text]
        key = f"{number} {' '.join(text.split())[:KEY]}"
        questions.append(Asked(key, "odd", [rows.prompt.iloc[0]]))
        if n:
            people[key] = Answers(list(rows.completion[:n]), np.full(n, -1))
    return questions, people


def _rows(people: dict[str, Answers], question: Asked) -> int:
    return people[question.key].rows if question.key in people else 0


def _samples(interview: Interview) -> dict[str, list[dict]]:
    """Answers of people, vanilla and fictitious raters to each prompt, as the report shows them."""
    who = [name for name in (PEOPLE, "vanilla", "rater_new") if name in interview.policies or (name == PEOPLE and interview.people)]
    rows = {}
    for name in who:
        answers = [(q.prompts[0], text) for q in interview.questions for text in interview.answers(name, q).texts[:SHOWN]]
        rows[name] = [{"prompt": prompt, "completion": text, "rater": None} for prompt, text in answers]
    return rows
