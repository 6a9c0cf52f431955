"""Probe 10, spanning: do answers lie where people's lie, in the base model's own space? (What FID does for images.)

The base model reads each answer after one wording of its question; the mean of its last hidden states is the answer's place. An answer to
a closed question stands for its class, however it is put; what is invalid, or an answer to an open one, stands for itself. Distances are in
units of people's own spread at that question, so that questions weigh alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial.distance import cdist

from raterhf.evaluation.metrics import spanning
from raterhf.evaluation.probes.interview import PEOPLE, Answers, Interview, ProbeQuestion
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.probe import Probe
from raterhf.evaluation.probes.read_texts import read_texts
from raterhf.reports.style import LETTER, WIDTH, canvas, colour, hue, legend, policy_colour, short, svg_text

NEIGHBOURS = 5
DIMENSIONS = 8  # principal components of people's answers: covariances of more need more answers than there are
SHOWN = 16  # questions in the plot


@dataclass(frozen=True)
class Place:
    """One question with U different texts: distances, whether the second is `near` people who say the first, similarities; all [U, U]."""

    question: ProbeQuestion
    distance: np.ndarray
    near: np.ndarray
    similarity: np.ndarray

    def energy(self, completions: np.ndarray, people: np.ndarray) -> float:
        """Energy distance of counts [U], minus its floor."""
        return spanning.energy_distance(self.distance, completions, people) - spanning.energy_floor(
            self.distance, completions.sum(), people
        )


@dataclass(frozen=True)
class Places:
    """What one model said, in one list of N texts, question after question: `said` and `people` [R, Q] are places in the list.

    Row r is the model's r-th answer and one person's. `own` and `common` [N, D] are coordinates along the principal components of people's
    answers to a text's question, and to all; each with its products [N, D + D * D], from which moments are sums.
    """

    places: list[Place]
    answers: np.ndarray
    people: np.ndarray
    own: np.ndarray
    common: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.answers)

    @cached_property
    def starts(self) -> np.ndarray:
        return np.cumsum([0, *(len(place.distance) for place in self.places[:-1])])

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """How often each text was said by the model and by people [2, N]."""
        return np.stack([np.bincount(who[rows].ravel(), minlength=len(self.own)) for who in (self.answers, self.people)])

    def by_question(self, counts: np.ndarray) -> list[tuple[Place, np.ndarray, np.ndarray]]:
        return list(zip(self.places, *(np.split(one, self.starts[1:]) for one in counts), strict=True))


def ask(interview: Interview, name: str) -> Places:
    asked = [q for q in interview.trained_on() if q.key in interview.people]
    if not asked:
        raise CannotMeasure("no answers of people to the questions asked are known")
    pairs = [_pair(interview, name, q) for q in asked]
    rows = min(len(texts) for pair in pairs for texts in pair)
    if rows <= NEIGHBOURS:
        raise CannotMeasure(f"{rows} answers of {name} beside {rows} of people: {NEIGHBOURS} neighbours need more; raise -n")
    found = [np.unique([*completions[:rows], *people[:rows]], return_inverse=True) for completions, people in pairs]
    states = embed(interview, asked, [texts.tolist() for texts, _ in found])
    people = [np.bincount(index[rows:], minlength=len(texts)) for texts, index in found]
    for question, counts in zip(asked, people):
        if np.count_nonzero(counts) == 1:
            raise CannotMeasure(f"{question.key}: {rows} people all say the same, so that distances have no unit")
    places, own = [], []
    for question, x, counts in zip(asked, states, people, strict=True):
        distance = cdist(x, x)
        unit = spanning.mean_distance(distance, counts)
        near = (distance <= spanning.radii(distance, counts, NEIGHBOURS)[:, None]).astype(np.float32)
        places.append(Place(question, distance / unit, near, np.exp(-distance / unit)))
        own.append(components(x, counts))
    start = np.cumsum([0, *(len(x) for x in states[:-1])])
    index = np.stack([one for _, one in found], 1) + start
    common = components(np.concatenate(states), np.concatenate(people))
    return Places(places, index[:rows], index[rows:], with_products(np.concatenate(own)), with_products(common))


def _pair(interview: Interview, name: str, question: ProbeQuestion) -> tuple[list[str], list[str]]:
    """What is said and what people say. People stand against themselves, in halves: theirs is the floor."""
    people = standing_for(question, interview.people[question.key])
    if name == PEOPLE:
        return people[: len(people) // 2], people[len(people) // 2 :]
    return standing_for(question, interview.answers(name, question)), people


def standing_for(question: ProbeQuestion, answers: Answers) -> list[str]:
    """Texts [R] by which answers are placed: of a closed question the first that is listed of the class."""
    if not len(question.texts):
        return answers.texts
    first = {k: question.texts[int((question.class_of == k).argmax())] for k in range(len(question.classes))}
    return [first.get(int(k), text) for k, text in zip(answers.classes, answers.texts, strict=True)]


def embed(interview: Interview, questions: Sequence[ProbeQuestion], texts: Sequence[list[str]]) -> list[np.ndarray]:
    """Places [U, d] of texts of each question: the first model's mean last hidden states over the completion, which is cut at the window:
    what was said after a shorter wording may not fit here."""
    asked = [(question.prompts[0], text) for question, completions in zip(questions, texts, strict=True) for text in completions]
    states = np.stack([read.state for read in read_texts(interview, asked)])
    return np.split(states, np.cumsum([len(completions) for completions in texts])[:-1])


def components(states: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Coordinates [U, D] along the principal components of people's answers, in units of their whole standard deviation."""
    mean, cov = spanning.moments(states, people)
    variances, axes = np.linalg.eigh(cov)
    found = (states - mean) @ axes[:, ::-1][:, :DIMENSIONS] / np.sqrt(variances.sum())
    return np.pad(found, ((0, 0), (0, DIMENSIONS - found.shape[1])))


def with_products(x: np.ndarray) -> np.ndarray:
    """Coordinates [N, D] and their products with one another [N, D + D * D]."""
    return np.concatenate([x, (x[:, :, None] * x[:, None]).reshape(len(x), -1)], 1)


def moments_of(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means [..., D] and covariances [..., D, D] from mean coordinates and products [..., D + D * D]."""
    mean = sums[..., :DIMENSIONS]
    return mean, sums[..., DIMENSIONS:].reshape(*mean.shape, DIMENSIONS) - mean[..., :, None] * mean[..., None, :]


def metrics_of(sample: Places, rows: np.ndarray) -> dict[str, float]:
    """Means over questions of energy distance minus floor, Frechet distance, coverage and the ratio of Vendi scores; and the Frechet
    distance of all answers pooled, which hardly sees a question whose answers collapsed.
    """
    counts = sample.counts(rows)
    completions, people = (moments_of(np.add.reduceat(one[:, None] * sample.own, sample.starts) / len(rows)) for one in counts)
    pooled = [moments_of(one @ sample.common / one.sum()) for one in counts]
    each = sample.by_question(counts)
    return {
        "energy": float(np.mean([place.energy(a, b) for place, a, b in each])),
        "frechet": float(spanning.frechet_distance(*completions, *people).mean()),
        "frechet_pooled": float(spanning.frechet_distance(*pooled[0], *pooled[1])),
        "coverage": float(np.mean([spanning.coverage(place.near, a, b) for place, a, b in each])),
        "vendi_ratio": float(np.mean([spanning.vendi_score(p.similarity, a) / spanning.vendi_score(p.similarity, b) for p, a, b in each])),
    }


def draw(interview: Interview, samples: dict[str, Places]) -> dict[str, str]:
    """Energy distance minus floor, a row a question, a dot a model; the questions on which a model is farthest from people."""
    energy = {}
    for name, sample in samples.items():
        each = sample.by_question(sample.counts(np.arange(sample.rows)))
        energy[name] = np.array([place.energy(completions, people) for place, completions, people in each])
    questions = [place.question for place in next(iter(samples.values())).places]
    order = np.argsort(-np.max(list(energy.values()), axis=0), kind="stable")[:SHOWN]
    main = [name for name in samples if hue(name) not in ("controls", "population")] or list(samples)
    labels = [short(questions[i].key) for i in order]
    figure, (ax,) = canvas(WIDTH, 74 + 20 * len(order), 10 + LETTER * max(map(len, labels)), right=12, top=28, bottom=40)
    for name in [name for name in samples if name not in main] + main:
        size = 7 if name in main else 4
        ax.plot(energy[name][order], np.arange(len(order)), "o", color=policy_colour(name), markersize=size, markeredgewidth=0, alpha=0.9)
    ax.axvline(0, color=colour("faint"), linewidth=1)
    ax.set_yticks(np.arange(len(order)), labels)
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_xlabel("energy distance to people, less floor")
    ax.grid(True, axis="y")
    legend(figure, main)
    return {"questions": svg_text(figure)}


PROBE = Probe(
    name="spanning",
    title="Do answers span the space that people's span?",
    caption="Each dot is a model's distance from people at one question, in the space of the base model, in units of the distance between "
    "two people; zero is a perfect sampler. Small grey dots are controls and people's own two halves, the floor. In the table "
    "frechet_pooled throws all questions together, as FID does, and hides what energy and frechet show question by question.",
    headline="energy",
    apart="vendi_ratio",
    best={"energy": 0.0, "frechet": None, "frechet_pooled": None, "coverage": None, "vendi_ratio": 1.0},
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)
