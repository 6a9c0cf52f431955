"""Crowds of people and what they said, real ones or a model's: the figures by which they are compared.

Every crowd is measured alike, as texts; the formulas are those of `evaluation/metrics`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from raterhf.data.requests import Prompt
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.evaluation import metrics
from raterhf.evaluation.metrics import authors, spanning
from raterhf.models.encoder import encode
from raterhf.raters.pool import Rater

NEAR = 0.95  # cosine from which on a text is nearly one of training
READ = 256  # answers of a crowd at most that the base model reads
RESAMPLES = 200  # of people, for the interval of a distance

Measured = dict[str, tuple[float, float, float]]
"""Figures with their 95 % intervals over people: value, low, high."""


@dataclass(frozen=True)
class Crowd:
    """What people said: `texts` [N], whose from 0 [N], to which of the prompts [N]; and their `names` [P]."""

    texts: list[str]
    person: np.ndarray
    prompt: np.ndarray
    names: list[str]


@dataclass(frozen=True)
class People:
    """Who is compared: `twins`, unseen people whom models stand for, as many `others`, unseen too, whom both are held against; people who
    teach what tells authors apart; those whose texts were trained on; and the prompts."""

    twins: Crowd
    others: Crowd
    teachers: Crowd
    trained: Crowd
    prompts: list[Prompt]


@dataclass(frozen=True)
class Judging:
    """What tells authors apart, and what crowds are held against: places [N, d] of the others' texts and of those trained on, by a sentence
    encoder, where there is one."""

    people: People
    describe: authors.Describer
    judges: dict[str, authors.Judge]
    encoder: str | None
    others: np.ndarray | None
    trained: np.ndarray | None
    seed: int

    def measure(self, crowd: Crowd) -> Measured:
        """Every figure of a crowd's texts, but for what another model makes of them."""
        places = self._places(crowd.texts)
        bare = [authors.bare(text) for text in crowd.texts]
        a, b = authors.pairs(crowd.person)
        answers = {
            "different": authors.said_by_nobody_else(bare, crowd.person), "words": np.array([len(text.split()) for text in bare], float),
            "exact_copies": np.isin(bare, [authors.bare(text) for text in self.people.trained.texts]).astype(float),
        }  # fmt: skip
        if places is not None and self.trained is not None:
            answers |= {"nearest": (cosine := authors.nearest(places, self.trained)), "near_copies": (cosine >= NEAR).astype(float)}
        found = self.same_author(self.describe(crowd.texts, places), crowd)
        found |= {name: self._mean(value, crowd.person, crowd) for name, value in answers.items()}
        found["repeats"] = self._mean(np.array([bare[i] == bare[j] for i, j in zip(a, b)], float), crowd.person[a], crowd)
        return found | ({} if places is None else {"energy": self._energy(places, crowd)})

    def same_author(self, described: authors.Described, crowd: Crowd) -> Measured:
        """How often one's own answer is told from somebody else's by another of their answers, by each classifier."""
        anchor, own, other = authors.triples(crowd.person, crowd.prompt, self.seed)
        with_own, with_other = (authors.pair_features(described, anchor, which) for which in (own, other))
        return {
            f"same_author_{name}": self._mean(authors.told_apart(judge(with_own), judge(with_other)), crowd.person[anchor], crowd)
            for name, judge in self.judges.items()
        }

    def recognised(self, crowd: Crowd) -> Measured:
        """How often what is said under a known person's ID is told, by one of that person's real answers to the same prompt, from what is
        said under another's."""
        trained = self.people.trained
        number = {name: i for i, name in enumerate(trained.names)}
        known = np.array([number[name] for name in crowd.names])[crowd.person]
        anchor, own, other = authors.beside_real(known, crowd.prompt, trained.person, trained.prompt, self.seed)
        texts = [trained.texts[i] for i in np.unique(anchor)]
        described = self.describe([*crowd.texts, *texts], self._places([*crowd.texts, *texts]))
        anchor = len(crowd.texts) + np.unique(anchor, return_inverse=True)[1]
        with_own, with_other = (authors.pair_features(described, anchor, which) for which in (own, other))
        return {
            f"recognised_{name}": self._mean(authors.told_apart(judge(with_own), judge(with_other)), crowd.person[own], crowd)
            for name, judge in self.judges.items()
        }

    def _places(self, texts: list[str]) -> np.ndarray | None:
        return None if self.encoder is None else encode(self.encoder, texts)

    def _mean(self, values: np.ndarray, person: np.ndarray, crowd: Crowd) -> tuple[float, float, float]:
        """Of values [M] that belong to people [M]."""
        sums, numbers = (np.bincount(person, of, len(crowd.names)) for of in (values, np.ones(len(values))))
        return metrics.mean_over_people(sums, numbers, np.random.default_rng(self.seed))

    def _energy(self, places: np.ndarray, crowd: Crowd) -> tuple[float, float, float]:
        """Energy distance of a crowd's places [N, d] from the others'. Both are resampled, by people."""
        assert self.others is not None  # who has an encoder has them
        others = self.people.others
        everything = np.concatenate([places, self.others])
        distance = cdist(everything, everything)

        def stat(rows: np.ndarray, _: np.ndarray | None) -> float:
            said, real = (np.bincount(rows, minlength=len(one.names))[one.person] for one in (crowd, others))
            nothing = np.zeros(len(real)), np.zeros(len(said))
            return spanning.energy_distance(distance, np.concatenate([said, nothing[0]]), np.concatenate([nothing[1], real]))

        rng = np.random.default_rng(self.seed)
        people = len(crowd.names)
        return stat(np.arange(people), None), *metrics.cluster_bootstrap(stat, people, None, rng, RESAMPLES)


def teach(teachers: Crowd, encoder: str | None, seed: int) -> tuple[authors.Describer, dict[str, authors.Judge]]:
    """What tells authors apart, learned from these people."""
    describe = authors.Describer(teachers.texts)
    described = describe(teachers.texts, None if encoder is None else encode(encoder, teachers.texts))
    a, b, same = authors.labelled_pairs(teachers.person, teachers.prompt, seed)
    return describe, authors.fit_judges(authors.pair_features(described, a, b), same, seed)


def make_judging(people: People, encoder: str | None, seed: int) -> Judging:
    """Learn from the teachers what tells authors apart, and find where the other texts lie."""
    others, trained = (None if encoder is None else encode(encoder, one.texts) for one in (people.others, people.trained))
    return Judging(people, *teach(people.teachers, encoder, seed), encoder, others, trained, seed)


def nats(base: RaterPolicy, crowd: Crowd, prompts: list[Prompt], seed: int) -> Measured:
    """Nats a token of a crowd's first answers, read by the base model as nobody's, the end included; those that fit its window."""
    examples, person = [], []
    for i in range(min(READ, len(crowd.texts))):
        try:
            examples.append(base.renderer.example(prompts[crowd.prompt[i]], crowd.texts[i]))
            person.append(crowd.person[i])
        except UserError:
            continue  # longer than its window
    total = -base.log_probs(examples, [Rater("none", None)] * len(examples))
    tokens = np.array([len(example) - example.prompt_length for example in examples], float)
    sums, numbers = (np.bincount(np.array(person, np.int64), of, len(crowd.names)) for of in (total, tokens))
    return {"nats": metrics.mean_over_people(sums, numbers, np.random.default_rng(seed))}
