"""Is a person somebody? From one answer tell which of two others is by the same person, and how near answers are to texts known before.

Nobody's taste is looked at, only texts, so that people, fictitious raters and models without raters are measured alike. What tells authors
apart is learned from people who trained nothing that is measured.

Notation: N answers, M triples or pairs of answers as positions in the list, F features of a pair.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from raterhf.evaluation.metrics.writing import habits

OTHERS = 5  # other people's answers beside each of which a person's own are held
CHARACTERS, WORDS = (2, 4), (1, 2)  # n-grams
Judge = Callable[[np.ndarray], np.ndarray]
"""Features [M, F] of pairs -> how likely each pair is by one person [M]; only the order counts."""


@dataclass(frozen=True)
class Described:
    """N texts as pairs are compared by: n-grams of characters and words as unit vectors, habits [N, h] in standard units of the texts that
    the `Describer` was fitted to, and places [N, d] of unit length by a sentence encoder, where there is one."""

    characters: csr_matrix
    words: csr_matrix
    habits: np.ndarray
    places: np.ndarray | None


class Describer:
    """What texts are described by, fitted to some."""

    def __init__(self, texts: Sequence[str]):
        self.characters = TfidfVectorizer(analyzer="char", ngram_range=CHARACTERS, lowercase=False, sublinear_tf=True).fit(texts)
        self.words = TfidfVectorizer(ngram_range=WORDS, sublinear_tf=True, token_pattern=r"\w+").fit(texts)
        self.scale = StandardScaler().fit(habits(texts))

    def __call__(self, texts: Sequence[str], places: np.ndarray | None) -> Described:
        return Described(self.characters.transform(texts), self.words.transform(texts), self.scale.transform(habits(texts)), places)


def pair_features(described: Described, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Features [M, F] of pairs of texts (a[m], b[m]), the same whichever comes first: cosines; how far habits lie apart; and their
    products, since two people who share what is rare are one more often than two who share what is common."""
    cosines = [_cosines(described.characters, a, b), _cosines(described.words, a, b)]
    if described.places is not None:
        cosines.append((described.places[a] * described.places[b]).sum(1))
    left, right = described.habits[a], described.habits[b]
    return np.concatenate([np.stack(cosines, 1), np.abs(left - right), left * right], 1)


def _cosines(vectors: csr_matrix, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(vectors[a].multiply(vectors[b]).sum(1)).ravel()


def pairs(person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions [M] and [M] of every two answers of one person."""
    found = [pair for one in np.unique(person) for pair in combinations(np.flatnonzero(person == one), 2)]
    a, b = np.array(found, np.int64).reshape(-1, 2).T
    return a, b


def labelled_pairs(person: np.ndarray, prompt: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every two answers of a person, and for each the first of them with another person's answer to the second's prompt, where there is
    one: positions [M] and [M], and whether they are by one person [M]."""
    anchor, own, other = triples(person, prompt, seed, others=1)
    once = anchor < own
    same = np.repeat([True, False], once.sum())
    return np.tile(anchor[once], 2), np.concatenate([own[once], other[once]]), same


def triples(person: np.ndarray, prompt: np.ndarray, seed: int, others: int = OTHERS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions [M] of an answer, of another by the same person, and of one by somebody else to the prompt of that other, so that what was
    asked tells nothing. Each two answers of a person come in both orders, beside `others` different people's answers or as many as there
    are."""
    rng, found = np.random.default_rng(seed), []
    by_prompt = {one: np.flatnonzero(prompt == one) for one in np.unique(prompt)}
    for one in np.unique(person):
        own = np.flatnonzero(person == one)
        for b in own:
            strangers = by_prompt[prompt[b]][person[by_prompt[prompt[b]]] != one]
            for a in own[own != b]:
                chosen = rng.choice(strangers, min(others, len(strangers)), replace=False)
                found += [(a, b, c) for c in chosen]
    anchor, own, other = np.array(found, np.int64).reshape(-1, 3).T
    return anchor, own, other


def beside_real(
    known: np.ndarray, prompt: np.ndarray, person: np.ndarray, asked: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """For each answer [N] that is said as somebody (`known`, to `prompt`) a real answer of theirs, of `person` [L] to `asked` [L], to the
    same prompt, and up to `OTHERS` answers to it said as others: positions [M] of the real one, the own one and another's."""
    rng, found = np.random.default_rng(seed), []
    by_prompt = {one: np.flatnonzero(prompt == one) for one in np.unique(prompt)}
    for i, (one, about) in enumerate(zip(known, prompt)):
        real = np.flatnonzero((person == one) & (asked == about))
        strangers = by_prompt[about][known[by_prompt[about]] != one]
        if len(real):
            chosen = rng.choice(strangers, min(OTHERS, len(strangers)), replace=False)
            found += [(rng.choice(real), i, c) for c in chosen]
    anchor, own, other = np.array(found, np.int64).reshape(-1, 3).T
    return anchor, own, other


def fit_judges(features: np.ndarray, same: np.ndarray, seed: int) -> dict[str, Judge]:
    """Two classifiers of pairs [M, F] by one person (`same` [M]): boosted trees, and a logistic."""
    trees = HistGradientBoostingClassifier(max_iter=200, learning_rate=0.05, max_leaf_nodes=15, l2_regularization=1.0, random_state=seed)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    fitted = {"trees": trees.fit(features, same), "logistic": logistic.fit(features, same)}
    return {name: lambda pairs, model=model: model.predict_proba(pairs)[:, 1] for name, model in fitted.items()}


def told_apart(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """1 where a person's own answer is judged likelier to be theirs than somebody else's, 1/2 for a tie, else 0 [M]."""
    return (own > other) + 0.5 * (own == other)


def bare(text: str) -> str:
    """A text by which the same text said again is known: its words in lower case."""
    return " ".join(re.findall(r"\w+", text.lower()))


def nearest(places: np.ndarray, known: np.ndarray, at_once: int = 256) -> np.ndarray:
    """Cosine [N] of each place to the nearest of the known ones, all of unit length."""
    return np.concatenate([(places[i : i + at_once] @ known.T).max(1) for i in range(0, len(places), at_once)])


def said_by_nobody_else(bare: Sequence[str], person: np.ndarray) -> np.ndarray:
    """1 for each text [N] that nobody else of these people said, else 0."""
    people: dict[str, set[int]] = {}
    for text, one in zip(bare, person.tolist()):
        people.setdefault(text, set()).add(one)
    return np.array([len(people[text]) == 1 for text in bare], float)
