"""`raterhf bench authors`: from one answer of a person, which of two others is theirs? On people of whom nothing was fitted.

The ladder: how alike the letters of two answers are, how alike their meaning is to a sentence encoder, classifiers taught on other people,
and raters as unknowns behind the letters of their answers, which is how a training on answers alone knows its raters.
"""

from collections.abc import Callable

import numpy as np

from raterhf.data import prepare
from raterhf.evaluation import metrics
from raterhf.evaluation.compare.answers import find_people
from raterhf.evaluation.compare.crowds import teach
from raterhf.evaluation.metrics import authors
from raterhf.models.encoder import encode
from raterhf.raters.answers import Answers, fit_answers
from raterhf.raters.letters import fit_letters
from raterhf.recipe import Recipe
from raterhf.terminal import show_table

Score = Callable[[np.ndarray, np.ndarray], np.ndarray]  # positions [M] and [M] of answers -> how likely each pair is by one person [M]


def bench_authors(recipe: Recipe) -> dict:
    """A row for each rung: the share of triples in which the author is told, with its interval over people."""
    people = find_people(recipe, prepare.read_data(recipe))
    crowd, encoder, seed = people.twins, recipe.compare.encoder, recipe.seed
    describe, judges = teach(people.teachers, encoder, seed)
    places = None if encoder is None else encode(encoder, crowd.texts)
    described = describe(crowd.texts, places)
    trained = people.trained
    letters = fit_letters(trained.texts, seed)
    model, trials = fit_answers(
        Answers(letters.points(trained.texts), trained.person, trained.prompt), len(trained.names), recipe.raters.dim, seed
    )
    says = model.says(Answers(letters.points(crowd.texts), crowd.person, crowd.prompt))
    rungs: dict[str, Score] = {"letters, cosine": lambda a, b: authors.pair_features(described, a, b)[:, 0]}
    if places is not None:
        rungs["sentence encoder, cosine"] = lambda a, b: (places[a] * places[b]).sum(1)
    for name, judge in judges.items():
        rungs[f"classifier, {name}"] = lambda a, b, judge=judge: judge(authors.pair_features(described, a, b))
    rungs["raters as unknowns"] = lambda a, b: model.likeness(says[a], says[b])
    anchor, own, other = authors.triples(crowd.person, crowd.prompt, seed)
    rows = []
    for name, score in rungs.items():
        right = authors.told_apart(score(anchor, own), score(anchor, other))
        sums, numbers = (np.bincount(crowd.person[anchor], of, len(crowd.names)) for of in (right, np.ones(len(right))))
        share, low, high = metrics.mean_over_people(sums, numbers, np.random.default_rng(seed))
        rows.append({"by": name, "right": share, "low": low, "high": high})
    return {
        "recipe": recipe.name, "seed": seed, "people": len(crowd.names), "triples": len(anchor), "trained": len(trained.names),
        "teachers": len(people.teachers.names), "axes": int(trials[0]["dim"]), "gain": trials[0]["gain"], "rows": rows,
    }  # fmt: skip


def print_authors(found: dict) -> None:
    rows = [[row["by"], f"{row['right']:.3f}", f"[{row['low']:.3f}, {row['high']:.3f}]"] for row in found["rows"]]
    title = (
        f"{found['recipe']}, seed {found['seed']}: {found['triples']} triples of {found['people']} unseen people; {found['trained']} "
        f"people hang together on {found['axes']} axes by {found['gain']:.2f} nats a person left out; {found['teachers']} taught others"
    )
    show_table(["by", "author told", "95 %"], rows, ["by"], title)
