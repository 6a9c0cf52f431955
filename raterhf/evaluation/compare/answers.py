"""`raterhf compare` on people's own answers alone: is a fictitious person somebody?

No comparison says here what is good, so nothing is optimised and vanilla does not exist. Models are asked what people were asked who never
trained them, as often, and what comes back is measured as texts: whether one person's answers are told from others' as real people's are
(by classifiers that learned it from people who trained neither the models nor are compared with them), whether all answers together lie
where people's lie, and whether they are copies of texts that were trained on.

People on whom nothing is trained are those of an `unseen` split, and the raters kept for validation; where there is no such split, half of
the latter. Nothing here trains (`trainings.py`), computes a figure (`crowds.py`, `metrics/authors.py`) or draws one.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from raterhf.data import prepare
from raterhf.data.labels import Labels, read_labels, said_of_files
from raterhf.data.requests import Prompt
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.evaluation.compare.crowds import Crowd, People, make_judging, nats
from raterhf.evaluation.compare.needs import wanted_answers
from raterhf.evaluation.compare.trainings import costs, train_imitations
from raterhf.evaluation.policies import of_recipe
from raterhf.log import log
from raterhf.progress import Progress
from raterhf.recipe import Recipe
from raterhf.reports import metrics_file
from raterhf.reports.answers import write_answers_report
from raterhf.reports.comparison import prompt_text
from raterhf.reports.summary_table import ANSWERS, print_summary

CONTROLS = ("base", "sft_no_ids", "none", "rater_known", "rater_new", "shuffled", "text_new")
UNSEEN = ("unseen", "unseen_support", "unseen_query")
FEWEST = 16  # people with two answers or more, to learn from what tells authors apart, and to be compared with
EACH = 5  # answers of a person at most that are compared
AT_ONCE = 64  # answers that are sampled between two lines of progress
SHOWN = 8  # people whose answers the page shows


def compare_answers(recipe: Recipe, controls: list[str] | None) -> Path:
    """Train what is missing, judge, write metrics.json and the report into runs/NAME/compare; returns the report's path."""
    wanted = wanted_answers(recipe, controls, CONTROLS)
    labels = prepare.read_data(recipe)
    people = find_people(recipe, labels)
    if recipe.compare.encoder is None:
        log.warning(
            "  compare: without a sentence encoder (compare.encoder, a folder or a name on the hub) authors are told apart by letters, "
            "words and habits alone, and neither the distance from people's answers nor near copies are measured"
        )
    folders = train_imitations(recipe, labels, wanted)
    policies = {name: of_recipe(name, *folders[name], recipe) for name in wanted}
    said = {"population": people.twins}
    batches = -(-len(people.twins.texts) // AT_ONCE)
    with Progress("answers", len(policies) * batches, "round") as progress:
        for name, policy in policies.items():
            said[name] = ask(policy, people, recipe.seed, progress.advance)
    base = of_recipe("base", *folders["base"], recipe)
    with Progress("judging", len(said) + 1, "crowd") as progress:
        judging = make_judging(people, recipe.compare.encoder, recipe.seed)
        progress.advance()
        found = {}
        for name, crowd in said.items():
            found[name] = judging.measure(crowd) | nats(base, crowd, people.prompts, recipe.seed)
            if name == "rater_known":
                found[name] |= judging.recognised(crowd)
            progress.advance()
    merged = metrics_file.header(recipe, [recipe.seed]) | {
        "policies": {name: {figure: value[0] for figure, value in row.items()} for name, row in found.items()},
        "intervals": {"policies": {name: {figure: list(value[1:]) for figure, value in row.items()} for name, row in found.items()}},
        "people": {"compared": len(people.twins.names), "teachers": len(people.teachers.names), "trained": len(people.trained.names)},
        "prompts": [str(prompt) for prompt in people.prompts], "trainings": costs(recipe),
    }  # fmt: skip
    out = recipe.folder / "compare"
    merged = metrics_file.write(out / "metrics.json", merged)
    page = write_answers_report(merged, out, {name: cards(crowd, people.prompts) for name, crowd in said.items()})
    print_summary(merged, ANSWERS)
    return page


def find_people(recipe: Recipe, labels: Labels) -> People:
    """Who is compared, drawn by the seed. Raises UserError where people on whom nothing is trained are too few."""
    roster, rows = prepare.find_people(labels), labels.demonstrations
    kept, unseen = rows[rows.rater_id.isin(roster.validate)], _unseen_rows(recipe)
    rng = np.random.default_rng(np.random.SeedSequence([recipe.seed, 0x616E7377]))
    if unseen.empty:
        half = set(rng.permutation(sorted(set(kept.rater_id)))[::2])
        kept, unseen = kept[~kept.rater_id.isin(half)], kept[kept.rater_id.isin(half)]
    unseen, kept = _with_two(unseen, rng), _with_two(kept, rng)
    counts = {"compared": unseen.rater_id.nunique() // 2, "learned from": kept.rater_id.nunique()}
    if few := [f"{n} people can be {what}" for what, n in counts.items() if n < FEWEST]:
        raise UserError(
            f"compare on answers alone needs {FEWEST} people to be compared, as many beside them and {FEWEST} to be learned from, who gave "
            f"two answers or more and on whom nothing is trained, and {' and '.join(few)}; raise data.validate_share, or keep people in "
            f"rows whose split is {UNSEEN[0]} (data.split names those to train on)"
        )
    trained = rows[rows.rater_id.isin(roster.known)]
    prompts = {str(prompt): prompt for part in (unseen, kept, trained) for prompt in part.prompt}
    place = {key: i for i, key in enumerate(prompts)}

    def crowd(part: pd.DataFrame, names: list[str]) -> Crowd:
        part = part[part.rater_id.isin(set(names))]
        number = {name: i for i, name in enumerate(names)}
        person, prompt = (np.array([found[key] for key in column], np.int64) for found, column in (
            (number, part.rater_id), (place, part.prompt.map(str))))  # fmt: skip
        return Crowd(list(part.completion), person, prompt, names)

    order = list(rng.permutation(sorted(set(unseen.rater_id))))
    n = min(recipe.compare.people, len(order) // 2)
    twins, others = crowd(unseen, order[:n]), crowd(unseen, order[n : 2 * n])
    return People(twins, others, crowd(kept, sorted(set(kept.rater_id))), crowd(trained, roster.known), list(prompts.values()))


def _unseen_rows(recipe: Recipe) -> pd.DataFrame:
    """Answers of people in rows of an unseen split; none where the recipe names no split to train on, or there are no such rows."""
    data = recipe.data
    nothing = pd.DataFrame({name: [] for name in ("prompt", "completion", "rater_id")})
    if not data.split:
        return nothing
    splits = (str(data.split), *UNSEEN)
    read = read_labels(
        demonstrations=data.demonstrations, columns=data.columns, split=splits, max_bad=data.max_bad, **said_of_files(data)
    ).demonstrations
    return read[read.split.isin(UNSEEN)]


def _with_two(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Answers of those who gave two or more, `EACH` of each person at most."""
    rows = rows[rows.groupby("rater_id").rater_id.transform("size") >= 2]
    shuffled = rows.iloc[rng.permutation(len(rows))]
    return shuffled.groupby("rater_id", sort=True).head(EACH).sort_index()


def ask(policy: RaterPolicy, people: People, seed: int, advance: Callable[[], None]) -> Crowd:
    """What a policy's raters say, each in the place of one of the twins."""
    twins = people.twins
    raters = policy.raters(len(twins.names), seed)
    texts: list[str] = []
    for first in range(0, len(twins.texts), AT_ONCE):
        rows = range(first, min(first + AT_ONCE, len(twins.texts)))
        prompts, who = [people.prompts[twins.prompt[i]] for i in rows], [raters[twins.person[i]] for i in rows]
        texts += policy.texts(policy.answer(prompts, who, seed + first))
        advance()
    return Crowd(texts, twins.person, twins.prompt, [rater.id for rater in raters])


def cards(crowd: Crowd, prompts: list[Prompt]) -> list[dict]:
    """The first people of a crowd by name, each with all that they said."""
    return [
        {"name": name, "said": [(prompt_text(prompts[crowd.prompt[i]]), crowd.texts[i]) for i in np.flatnonzero(crowd.person == number)]}
        for number, name in enumerate(crowd.names[:SHOWN])
    ]
