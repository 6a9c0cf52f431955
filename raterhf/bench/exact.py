"""`raterhf bench raters WORLD`: the same table on a simulated world, with what can be known exactly of a person by their labels.

Everybody's utilities have a law that the world gives: a type, noise that persists in the person for some questions and is drawn again at
every label for others, a width of ties, a share of labels that say the opposite. So the probability of a kept-back label, given all other
labels of the same person, is an integral over that law. It is done by as many draws for each question and type as make its own error small,
which is printed; labels weigh the draws. No model that has learned from labels can be right more often than that, but by luck.

Items are a question's answers, whatever paraphrase asked. Known people's pairs are kept back whole, with all their repeats.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logsumexp

from raterhf.bench.comparisons import bench_parts
from raterhf.bench.raters import print_raters
from raterhf.bench.told import Teller, Told
from raterhf.log import log
from raterhf.raters.pairs import Comparisons
from raterhf.worlds.world import Question, World, label_people, load_world

DRAWS = 20_000  # of a question's persistent noise
NONE = 1e-3  # draws that what is known without labels counts for beside those that say the same as the labels
BACK = 0.1  # of known people's pairs, which `test` is, as in a recipe (data.held_out)
EXACT = "exact Bayes"


@dataclass(frozen=True)
class Asked:
    """Comparisons of a world's people: `question` [N], its texts `a`, `b` [N], `label` [N] 1, -1 or 0 and `rater` [N]."""

    rater: np.ndarray
    question: np.ndarray
    a: np.ndarray
    b: np.ndarray
    label: np.ndarray

    def rows(self, index: np.ndarray) -> "Asked":
        return Asked(self.rater[index], self.question[index], self.a[index], self.b[index], self.label[index])


def bench_world(name: str, seeds: int, seed: int, models: Sequence[str] = ()) -> dict:
    """Rows as of `bench_comparisons`, the exact rate among the models; `exact` has for each seed the rate expected and its own error."""
    world = load_world(name)
    found: dict = {"rows": [], "ladder": [], "exact": []}
    for one in range(seed, seed + seeds):
        known, unseen = (asked_of(world, people, count, one) for people, count in (("t", world.n_train), ("v", world.n_validate)))
        back = kept_pairs(known, BACK, one)
        held, given = known.rows(np.flatnonzero(back)), known.rows(np.flatnonzero(~back))
        second = kept_pairs(unseen, 0.5, one)
        offsets = np.cumsum([0, *(len(question.texts) for question in world.rated)])
        parts = {
            "train": given, "test": held, "unseen_support": unseen.rows(np.flatnonzero(~second)),
            "unseen_query": unseen.rows(np.flatnonzero(second)),
        }  # fmt: skip
        decided = held.rows(np.flatnonzero(held.label != 0))
        chances = chances_given(world, given, decided, one)
        log_odds = np.log(chances[:, 0] / chances[:, 1])
        exact = Teller(
            EXACT, 1.0, lambda rows, who=decided.rater, odds=log_odds: Told(who, np.where(rows.won[rows.won != 0.5] == 1, odds, -odds))
        )
        crowds = {"train": (world.n_train, "t"), "unseen_support": (world.n_validate, "v")}
        ids = {part: world.draw_people(count, one, prefix).ids for part, (count, prefix) in crowds.items()}
        comparisons = {part: _comparisons(rows, offsets) for part, rows in parts.items()}
        mine = bench_parts(comparisons, int(offsets[-1]), ids, one, models, [exact])
        share = chances.max(1) / chances.sum(1)
        other = chances_given(world, given, decided, one + 2**31)
        error = float(np.abs((other.max(1) / other.sum(1)).mean() - share.mean()))
        found["exact"].append({"seed": one, "expected": round(float(share.mean()), 4), "error": round(error, 5)})
        found = found | {"rows": found["rows"] + mine["rows"], "ladder": found["ladder"] + mine["ladder"]}
    return {"file": name} | found


def asked_of(world: World, prefix: str, count: int, seed: int) -> Asked:
    """The comparisons that people of a world gave, those that `raterhf data make` writes."""
    people = world.draw_people(count, seed, prefix)
    frame = label_people(world, people, seed)["comparisons"]
    number = {question.key: i for i, question in enumerate(world.rated)}
    question = np.array([number[world.question_of(prompt).key] for prompt in frame["prompt"]])
    a, b = (np.array([world.rated[q].index[text] for q, text in zip(question, frame[side])]) for side in ("a", "b"))
    return Asked(pd.Index(people.ids).get_indexer(frame["rater_id"]), question, a, b, frame["label"].to_numpy())


def kept_pairs(asked: Asked, share: float, seed: int) -> np.ndarray:
    """Which comparisons [N] are kept back: of each rater whole pairs, with all their repeats."""
    low, high = np.minimum(asked.a, asked.b), np.maximum(asked.a, asked.b)
    pair = np.unique(np.stack([asked.rater, asked.question, low, high]), axis=1, return_inverse=True)[1]
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x6B657074]))
    return (rng.random(pair.max() + 1) < share)[pair]


def _comparisons(asked: Asked, offsets: np.ndarray) -> Comparisons:
    first = offsets[asked.question]
    return Comparisons(asked.rater, first + asked.a, first + asked.b, (asked.label + 1) / 2, np.zeros((len(asked.a), 0)))


def chances_given(world: World, given: Asked, held: Asked, seed: int) -> np.ndarray:
    """Probabilities [N, 2] that a kept-back pair is decided for a and for b, given all that its rater said; what is left is a tie."""
    types, raters = len(world.types), int(max(given.rater.max(), held.rater.max())) + 1
    evidence = np.tile(np.log(world.type_weights), (raters, 1))
    by_type = np.zeros((len(held.a), 2, types))  # given the type, and what was said of the same question
    for number, question in enumerate(world.rated):
        said, asked = (rows.rows(np.flatnonzero(rows.question == number)) for rows in (given, held))
        places = np.flatnonzero(held.question == number)
        rng, told = np.random.default_rng(np.random.SeedSequence([seed, number, 0x6578])), np.zeros(raters)
        for kind in range(types):
            if kind and np.array_equal(question.type_distributions[kind], question.type_distributions[0]):
                by_type[places, :, kind] = by_type[places, :, 0]
                evidence[:, kind] += told
                continue
            worth = worth_of(question, kind)
            if question.persistent:
                draws = worth + rng.gumbel(size=(DRAWS, len(worth)))
                told, by_type[places, :, kind] = _weighed(world, draws, said, asked, raters)
            else:
                told, by_type[places, :, kind] = _rolled(world, worth, said, asked, raters)
            evidence[:, kind] += told
    weights = np.exp(evidence - logsumexp(evidence, 1, keepdims=True))
    return np.einsum("nlt,nt->nl", by_type, weights[held.rater])


def worth_of(question: Question, kind: int) -> np.ndarray:
    """What judges of a type make of a question's texts [texts], but for their noise."""
    valid = question.class_of >= 0
    taste = np.where(valid, np.log(question.type_distributions[kind][np.maximum(question.class_of, 0)]), 0.0)
    return question.quality + taste + question.bonus


def _weighed(world: World, draws: np.ndarray, said: Asked, asked: Asked, raters: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability [R] of what was said, and of what is asked [N, 2], where noise persists: means over draws [S, texts]."""
    evidence, found = np.zeros(raters), np.zeros((len(asked.a), 2))
    for rater in np.unique(np.concatenate([said.rater, asked.rater])):
        mine, theirs = np.flatnonzero(said.rater == rater), np.flatnonzero(asked.rater == rater)
        weight = np.ones(len(draws))
        for row in mine:
            weight *= chance(world, draws[:, said.a[row]] - draws[:, said.b[row]], said.label[row])
        total = weight.sum()
        evidence[rater] = np.log(max(total, NONE) / len(draws))
        for row in theirs:
            apart = draws[:, asked.a[row]] - draws[:, asked.b[row]]
            for side, label in enumerate((1, -1)):
                likely = chance(world, apart, label)  # and as without labels where no draw says all of them, or those that do are tied
                found[row, side] = (weight @ likely + NONE * likely.mean()) / (total + NONE)
    return evidence, found


def chance(world: World, apart: np.ndarray, label: int) -> np.ndarray:
    """Probability of a label where utilities are so far apart."""
    tied = np.abs(apart) < world.tie_width
    if label == 0:
        return tied.astype(float)
    return np.where(tied, 0.0, np.where(np.sign(apart) == label, 1 - world.label_noise, world.label_noise))


def _rolled(world: World, worth: np.ndarray, said: Asked, asked: Asked, raters: int) -> tuple[np.ndarray, np.ndarray]:
    """The same where noise is drawn again at every label: two standard Gumbel differ by a standard logistic."""

    def chances(rows: Asked) -> np.ndarray:
        apart = worth[rows.a] - worth[rows.b]
        above, below = expit(apart - world.tie_width), expit(-apart - world.tie_width)
        first, second = ((1 - world.label_noise) * x + world.label_noise * y for x, y in ((above, below), (below, above)))
        return np.stack([first, second, 1 - above - below], 1)

    column = np.where(said.label == 1, 0, np.where(said.label == -1, 1, 2))
    logs = np.log(chances(said)[np.arange(len(column)), column])
    return np.bincount(said.rater, logs, raters), chances(asked)[:, :2]


def print_world(found: dict) -> None:
    """The table, and how often the exact posterior expects to be right of decided pairs, for each seed."""
    print_raters(found)
    for one in found["exact"]:
        log.info(
            f"  seed {one['seed']}: by the world's law and all other labels of a person {one['expected']:.4f} of decided pairs are "
            f"expected to be told (Monte Carlo error {one['error']:.5f})"
        )
