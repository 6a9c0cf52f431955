"""Simulated populations whose true distributions are known exactly: the worlds `dice` and `companion`.

A random-utility world. Rater r gives answer y to a question the utility

    u_r(y) = c(y) + log p_type(r)(y) + e_r(y),     e_r standard Gumbel noise,

with c the graded gold quality that all raters share (junk is worst; a valid answer can be put in four ways). The noise persists in the
rater for tastes and favourites and is drawn again at every label for coins and dice. So the distribution of argmax u_r over the best-put
answers is p_type exactly, and the population's distribution q is the mixture of p_type over the hidden types. The distributions stand in
`NAME.yaml`. Where an answer is over-rewarded, judges add a bonus to u_r that is in nobody's own answers and in no gold.

This file only simulates. It trains nothing, fits nothing and writes nothing (`make.py` does).
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files

import numpy as np
import pandas as pd
import yaml

PERSISTENT = ("favourite", "taste")


@dataclass(frozen=True)
class Question:
    """One question: its answers, as texts, and the distribution of people's answers.

    `texts[i]` belongs to class `class_of[i]` (-1: junk) and wording `wording_of[i]` (-1: junk), and has gold quality `quality[i]`.
    Wording 0 is the best put. `type_distributions` is [types, classes]; `distribution` its mixture, which the figures call q. `bonus[i]` is
    what judges add to the utility of `texts[i]` and nobody's own answer knows. `framed` are the paraphrases that say who asks. `topic` is
    what the probes of mode collapse know the question by.
    """

    key: str
    kind: str
    paraphrases: list[str]
    n_test: int
    classes: list[str]
    type_distributions: np.ndarray
    distribution: np.ndarray
    texts: list[str]
    class_of: np.ndarray
    wording_of: np.ndarray
    quality: np.ndarray
    base_distribution: np.ndarray
    bonus: np.ndarray
    framed: list[str]
    topic: str

    @property
    def prompts(self) -> list[str]:
        return self.paraphrases[: -self.n_test]

    @property
    def novel_prompts(self) -> list[str]:
        """Paraphrases on which nobody is trained."""
        return self.paraphrases[-self.n_test :]

    @property
    def persistent(self) -> bool:
        return self.kind in PERSISTENT

    @cached_property
    def index(self) -> dict[str, int]:
        return {text: i for i, text in enumerate(self.texts)}

    def parse(self, completion: str) -> int:
        """The class of a completion, or -1 when it is junk or no known answer."""
        i = self.index.get(completion.strip(), -1)
        return -1 if i < 0 else int(self.class_of[i])


@dataclass(frozen=True)
class People:
    """Simulated raters. `types` is [R]; `noise[q]` is [R, texts of q], the Gumbel noise that persists in each of them."""

    ids: list[str]
    types: np.ndarray
    noise: list[np.ndarray]


@dataclass(frozen=True)
class World:
    """The questions, the hidden types and the distributions by which people answer and compare."""

    name: str
    types: list[str]
    type_weights: np.ndarray
    questions: list[Question]
    label_noise: float
    tie_width: float
    junk_quality: float
    people_wordings: np.ndarray
    n_train: int
    n_validate: int
    n_asked: int
    n_pairs: int

    @property
    def rated(self) -> list[Question]:
        return [q for q in self.questions if q.kind != "unrated"]

    def question_of(self, prompt: str) -> Question:
        return self._by_prompt[prompt]

    @cached_property
    def _by_prompt(self) -> dict[str, Question]:
        return {p: q for q in self.questions for p in q.paraphrases}

    def gold(self, prompt: str, completion: str) -> float:
        """The graded quality c common to all raters; what is no answer is junk."""
        question = self.question_of(prompt)
        i = question.index.get(completion.strip(), -1)
        return float(question.quality[i]) if i >= 0 else self.junk_quality

    def draw_people(self, n: int, seed: int, prefix: str) -> People:
        rng = np.random.default_rng(np.random.SeedSequence([seed, *prefix.encode()]))
        types = rng.choice(len(self.types), size=n, p=self.type_weights)
        noise = [rng.gumbel(size=(n, len(q.texts))) for q in self.questions]
        return People([f"{prefix}{i:04d}" for i in range(n)], types, noise)

    def utilities(self, people: People, rater: int | np.ndarray, question: Question, rng: np.random.Generator) -> np.ndarray:
        """u_r over the texts of a question; `rng` rolls what does not persist. Shape [texts] or [R, texts]."""
        distributions = question.type_distributions[people.types[rater]]
        valid = question.class_of >= 0
        taste = np.where(valid, np.log(distributions[..., np.maximum(question.class_of, 0)]), 0.0)
        noise = people.noise[self.questions.index(question)][rater]
        if not question.persistent:
            noise = rng.gumbel(size=noise.shape)
        return question.quality + taste + noise

    def answers(self, people: People, rng: np.random.Generator, questions: list[Question] | None = None) -> np.ndarray:
        """Own answers of everybody, as class indices [R, Q]: argmax u_r over what is valid and well put."""
        everybody = np.arange(len(people.ids))
        columns = []
        for question in questions or self.rated:
            utility = self.utilities(people, everybody, question, rng)
            utility = np.where(question.wording_of == 0, utility, -np.inf)
            columns.append(question.class_of[utility.argmax(1)])
        return np.stack(columns, 1)

    def joint_distribution(self, a: Question, b: Question) -> np.ndarray:
        """The exact joint distribution of one person's answers to two questions, [classes of a, classes of b]."""
        return np.einsum("t,ti,tj->ij", self.type_weights, a.type_distributions, b.type_distributions)


def _read_question(spec: dict, config: dict) -> Question:
    """One entry of a world's file -> the texts of its answers and their distributions."""
    named, types = spec.get("texts", {}), list(config["types"])
    classes = spec.get("classes", list(named))
    if isinstance(classes, dict):
        low, high = classes["range"]
        classes = [str(i) for i in range(low, high + 1)]
    if "orders" in spec:
        pattern = np.array(spec.get("pattern", config["taste_pattern"]))
        distributions = np.stack([_ordered_distribution(order, classes, pattern) for order in spec["orders"]])
    else:
        distributions = np.tile(_plain_distribution(spec["distribution"], classes), (len(types), 1))
    templates = config["long_wordings"] if named else [w["template"] for w in config["wordings"]]
    answers = [named.get(c, c) for c in classes]
    texts = [t.replace("{}", a) for a in answers for t in templates]
    junk = spec["junk"] + config["junk"]
    n_words, n_junk = len(templates), len(junk)
    class_of = np.concatenate([np.repeat(np.arange(len(classes)), n_words), np.full(n_junk, -1)])
    wording_of = np.concatenate([np.tile(np.arange(n_words), len(classes)), np.full(n_junk, -1)])
    grades = [w["quality"] for w in config["wordings"]]
    quality = np.concatenate([np.tile(grades, len(classes)), np.full(n_junk, config["junk_quality"])])
    mixture = np.array(list(config["types"].values())) @ distributions
    # The base model's distribution is not q: it is half as peaked, leans to the answers listed first, and is badly put.
    lean = mixture**0.5 * (0.6 + 0.8 * np.linspace(1, 0, len(classes)))
    base_classes = mixture if spec["kind"] == "unrated" else lean / lean.sum()
    base_words = np.array([w["base"] for w in config["wordings"]])
    base = np.concatenate(
        [
            (1 - config["base_junk"]) * np.outer(base_classes, base_words).ravel(),
            np.full(n_junk, config["base_junk"] / n_junk),
        ]
    )
    bonus = np.concatenate([np.repeat([spec.get("overrated", {}).get(c, 0.0) for c in classes], n_words), np.zeros(n_junk)])
    return Question(
        spec["key"], spec["kind"], spec["paraphrases"], spec.get("test_paraphrases", config["test_paraphrases"]), classes, distributions,
        mixture / mixture.sum(), texts + junk, class_of, wording_of, quality, base / base.sum(), bonus, spec.get("framed", []),
        spec.get("topic", ""),
    )  # fmt: skip


def _ordered_distribution(order: str | list[str], classes: list[str], pattern: np.ndarray) -> np.ndarray:
    """Weights `pattern` in the order of the class names in `order`: a list, or a text where no name is part of another."""
    position = np.array([order.index(c) for c in classes])
    return pattern[position.argsort().argsort()]


def _plain_distribution(distribution: list[float] | dict, classes: list[str]) -> np.ndarray:
    if isinstance(distribution, dict) and "zipf" in distribution:
        weights = np.arange(1.0, len(classes) + 1) ** -distribution["zipf"]
        return weights / weights.sum()
    if isinstance(distribution, dict):
        weights = np.full(len(classes), distribution["uniform"] / len(classes))
        for name, weight in distribution["peaks"].items():
            weights[classes.index(str(name))] += weight
        return weights / weights.sum()
    return np.array(distribution) / np.sum(distribution)


@lru_cache
def load_world(name: str) -> World:
    """The embedded world of this name: `dice` or `companion`."""
    config = yaml.safe_load(files("raterhf.worlds").joinpath(f"{name}.yaml").read_text("utf-8"))
    asked = config["labelling"]
    return World(
        name=name, types=list(config["types"]), type_weights=np.array(list(config["types"].values())),
        questions=[_read_question(q, config) for q in config["questions"]], label_noise=config["label_noise"],
        tie_width=config["tie_width"], junk_quality=config["junk_quality"],
        people_wordings=np.array([w["people"] for w in config["wordings"]]),
        n_train=asked["raters"], n_validate=asked["validate"], n_asked=asked["questions"], n_pairs=asked["pairs"],
    )  # fmt: skip


class _Labelling:
    """How each simulated person labels: which questions, which pairs, with how much label noise."""

    def __init__(self, world: World, people: People, rng: np.random.Generator):
        self.world, self.people, self.rng = world, people, rng

    def worth(self, rater: int, question: Question) -> np.ndarray:
        """What the texts of a question are worth to a rater who compares them [texts]."""
        return self.world.utilities(self.people, rater, question, self.rng) + question.bonus

    def compare(self, rater: int, question: Question, a: int, b: int) -> int:
        utility = self.worth(rater, question)
        difference = utility[a] - utility[b]
        if abs(difference) < self.world.tie_width:
            return 0
        label = 1 if difference > 0 else -1
        return -label if self.rng.random() < self.world.label_noise else label

    def pair(self, question: Question) -> tuple[int, int]:
        """Two different samples of the base model's distribution."""
        a, b = self.rng.choice(len(question.texts), size=2, replace=False, p=question.base_distribution)
        return int(a), int(b)

    def own_answer(self, rater: int, question: Question) -> str:
        """What the rater says, put as people put things: only some of it well."""
        utility = self.world.utilities(self.people, rater, question, self.rng)
        best = np.where(question.wording_of == 0, utility, -np.inf).argmax()
        wording = self.rng.choice(len(self.world.people_wordings), p=self.world.people_wordings)
        return question.texts[best + wording]

    def ratings(self, rater: int, question: Question, n: int) -> list[tuple[str, int]]:
        chosen = self.rng.choice(len(question.texts), size=n, replace=False, p=question.base_distribution)
        utility = self.worth(rater, question)[chosen]
        return [(question.texts[i], int(np.clip(round(4 + u / 2), 1, 5))) for i, u in zip(chosen, utility)]


def label_people(
    world: World,
    people: People,
    seed: int,
    n_questions: int | None = None,
    n_pairs: int | None = None,
    n_repeats: int = 10,
    n_ratings: int = 4,
) -> dict[str, pd.DataFrame]:
    """Let everybody label some questions. Returns the frames `comparisons`, `ratings` and `demonstrations`.

    Each person answers `n_questions` questions, compares `n_pairs` pairs on each (the world's numbers where not given), is asked
    `n_repeats` of those again word for word (so that label noise and dice can be told from taste), gives two of their answers again, and
    rates `n_ratings` responses to one prompt.
    """
    n_questions, n_pairs = n_questions or world.n_asked, n_pairs or world.n_pairs
    rng = np.random.default_rng(np.random.SeedSequence([seed, 7, *people.ids[0].encode()]))
    labelling = _Labelling(world, people, rng)
    comparisons, ratings, demonstrations = [], [], []
    for r, rater_id in enumerate(people.ids):
        asked = [world.rated[i] for i in rng.choice(len(world.rated), size=n_questions, replace=False)]
        tasks = [(q, q.prompts[rng.integers(len(q.prompts))], *labelling.pair(q)) for q in asked for _ in range(n_pairs)]
        again = [tasks[i] for i in rng.choice(len(tasks), size=n_repeats, replace=False)]
        for q, prompt, a, b in tasks + again:
            comparisons.append((prompt, q.texts[a], q.texts[b], labelling.compare(r, q, a, b), rater_id))
        for q in asked + [asked[i] for i in rng.choice(n_questions, size=2, replace=False)]:
            demonstrations.append((q.prompts[rng.integers(len(q.prompts))], labelling.own_answer(r, q), rater_id))
        prompt = asked[0].prompts[rng.integers(len(asked[0].prompts))]
        ratings += [(prompt, text, value, rater_id) for text, value in labelling.ratings(r, asked[0], n_ratings)]
    return {
        "comparisons": pd.DataFrame(comparisons, columns=["prompt", "a", "b", "label", "rater_id"]),
        "ratings": pd.DataFrame(ratings, columns=["prompt", "response", "rating", "rater_id"]),
        "demonstrations": pd.DataFrame(demonstrations, columns=["prompt", "completion", "rater_id"]),
    }


def base_corpus(world: World, seed: int, n_per_prompt: int = 100) -> pd.DataFrame:
    """What a plain language model reads before anybody rates: every prompt with answers of the base distribution, junk included."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 11]))
    rows = [
        (prompt, question.texts[i])
        for question in world.questions
        for prompt in question.paraphrases
        for i in rng.choice(len(question.texts), size=n_per_prompt, p=question.base_distribution)
    ]
    return pd.DataFrame(rows, columns=["prompt", "completion"]).sample(frac=1, random_state=seed, ignore_index=True)
