"""Probe 10, spanning: do answers lie where people's lie, in the base model's own space? (What FID does for images.)

The base model reads each answer after one wording of its question; the mean of its last hidden states is the answer's place. An answer to
a closed question stands for its class, however it is put; what is invalid, or an answer to an open one, stands for itself. Distances are in
units of people's own spread at that question, so that questions weigh alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import cdist

from raterhf.data.batches import Example
from raterhf.figures import spanning
from raterhf.inference.passes import mean_states
from raterhf.inference.plan import plan
from raterhf.inference.scorer import TOKEN_BUDGET
from raterhf.pages.style import LETTER, WIDTH, canvas, colour, hue, legend, policy_colour, short, svg_text
from raterhf.probes.interview import PEOPLE, Answers, Interview, Question
from raterhf.probes.measure import CannotMeasure
from raterhf.probes.probe import Probe

NEIGHBOURS = 5
DIMENSIONS = 8  # principal components of people's answers: covariances of more need more answers than there are
SHOWN = 16  # questions in the plot


@dataclass(frozen=True)
class Place:
    """One question: U different texts, what was said and what people say as their numbers [R].

    `distance` [U, U]; `near` [U, U], is the second near an answer like the first; `own` and `common` [U, D] are places along the principal
    components of people's answers to this question, and to all.
    """

    question: Question
    said: np.ndarray
    people: np.ndarray
    distance: np.ndarray
    near: np.ndarray
    own: np.ndarray
    common: np.ndarray

    def counts(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = len(self.distance)
        return np.bincount(self.said[rows], minlength=size), np.bincount(self.people[rows], minlength=size)

    def vendi_ratio(self, rows: np.ndarray) -> float:
        """Effective number of different answers over people's."""
        said, people = (spanning.vendi_score(self.distance, counts) for counts in self.counts(rows))
        return said / people

    def energy(self, rows: np.ndarray) -> float:
        """Energy distance minus its floor."""
        said, people = self.counts(rows)
        return spanning.energy_distance(self.distance, said, people) - spanning.energy_floor(self.distance, len(rows), people)


@dataclass(frozen=True)
class Places:
    """What one model said, question by question; row r is its r-th answer and another person's."""

    places: list[Place]

    @property
    def rows(self) -> int:
        return len(self.places[0].said)


def ask(interview: Interview, name: str) -> Places:
    asked = [q for q in interview.trained_on() if q.key in interview.people]
    if not asked:
        raise CannotMeasure("nobody knows what people say to the questions asked")
    pairs = [_pair(interview, name, q) for q in asked]
    rows = min(len(texts) for pair in pairs for texts in pair)
    if rows <= NEIGHBOURS:
        raise CannotMeasure(f"{rows} answers of {name} beside {rows} of people: {NEIGHBOURS} neighbours need more; raise -n")
    found = [np.unique([*said[:rows], *people[:rows]], return_inverse=True) for said, people in pairs]
    states = embed(interview, asked, [texts.tolist() for texts, _ in found])
    people = [np.bincount(index[rows:], minlength=len(texts)) for texts, index in found]
    for question, counts in zip(asked, people):
        if np.count_nonzero(counts) == 1:
            raise CannotMeasure(f"{question.key}: {rows} people all say the same, so that distances have no unit")
    common = np.split(components(np.concatenate(states), np.concatenate(people)), np.cumsum([len(x) for x in states])[:-1])
    places = []
    for question, (_, index), x, counts, place in zip(asked, found, states, people, common, strict=True):
        distance = cdist(x, x)
        unit = spanning.mean_distance(distance, counts)
        near = (distance <= spanning.radii(distance, counts, NEIGHBOURS)[:, None]).astype(np.float32)
        places.append(Place(question, index[:rows], index[rows:], distance / unit, near, components(x, counts), place))
    return Places(places)


def _pair(interview: Interview, name: str, question: Question) -> tuple[list[str], list[str]]:
    """What is said and what people say. People stand against themselves, in halves: theirs is the floor."""
    people = standing_for(question, interview.people[question.key])
    if name == PEOPLE:
        return people[: len(people) // 2], people[len(people) // 2 :]
    return standing_for(question, interview.said(name, question)), people


def standing_for(question: Question, answers: Answers) -> list[str]:
    """Texts [R] by which answers are placed: of a closed question the first that is listed of the class."""
    if not len(question.texts):
        return answers.texts
    first = {k: question.texts[int((question.class_of == k).argmax())] for k in range(len(question.classes))}
    return [first.get(int(k), text) for k, text in zip(answers.classes, answers.texts, strict=True)]


@torch.no_grad()
def embed(interview: Interview, questions: Sequence[Question], texts: Sequence[list[str]]) -> list[np.ndarray]:
    """Places [U, d] of texts of each question: the first model's mean last hidden states over the completion."""
    name = next(iter(interview.subjects))
    model = interview.subjects[name]
    examples = []
    for question, said in zip(questions, texts, strict=True):
        head = model.renderer.prompt(interview.prompt(name, question.prompts[0]))
        for text in said:
            # As `Renderer.example`, but cut at the window: what was said after a shorter wording may not fit here.
            tokens = (*model.renderer.tokenizer(text, add_special_tokens=False)["input_ids"], model.renderer.tokenizer.eos_token_id)
            examples.append(Example((*head, *tokens)[: model.renderer.max_length], len(head)))
    states = mean_states(model.policy.decoder, plan(examples, None, "prefix", 0, TOKEN_BUDGET), None).cpu().numpy().astype(np.float64)
    return np.split(states, np.cumsum([len(said) for said in texts])[:-1])


def components(states: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Coordinates [U, D] along the principal components of people's answers, in units of their whole standard deviation."""
    mean, cov = spanning.moments(states, people)
    variances, axes = np.linalg.eigh(cov)
    found = (states - mean) @ axes[:, ::-1][:, :DIMENSIONS] / np.sqrt(variances.sum())
    return np.pad(found, ((0, 0), (0, DIMENSIONS - found.shape[1])))


def figures(sample: Places, rows: np.ndarray) -> dict[str, float]:
    """Means over questions of energy distance minus floor, Frechet distance, coverage and the ratio of Vendi scores; and the Frechet
    distance of all answers pooled, which hardly sees a question whose answers collapsed.
    """
    counts = [place.counts(rows) for place in sample.places]
    said = [spanning.moments(place.own, c) for place, (c, _) in zip(sample.places, counts)]
    people = [spanning.moments(place.own, c) for place, (_, c) in zip(sample.places, counts)]
    apart = spanning.frechet_distance(*map(np.stack, zip(*said)), *map(np.stack, zip(*people)))
    everything = np.concatenate([place.common for place in sample.places])
    pooled = [spanning.moments(everything, np.concatenate(c)) for c in zip(*counts)]
    covered = [spanning.coverage(place.near, *c) for place, c in zip(sample.places, counts)]
    return {
        "energy": float(np.mean([place.energy(rows) for place in sample.places])),
        "frechet": float(apart.mean()),
        "frechet_pooled": float(spanning.frechet_distance(*pooled[0], *pooled[1])),
        "coverage": float(np.mean(covered)),
        "vendi_ratio": float(np.mean([place.vendi_ratio(rows) for place in sample.places])),
    }


def draw(interview: Interview, samples: dict[str, Places]) -> dict[str, str]:
    """Energy distance minus floor, a row a question, a dot a model; the questions on which a model is farthest from people."""
    energy = {name: np.array([place.energy(np.arange(s.rows)) for place in s.places]) for name, s in samples.items()}
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
    ax.set_xlabel("energy distance to people, floor taken off")
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
    best={"energy": 0.0, "frechet": None, "frechet_pooled": None, "coverage": None, "vendi_ratio": 1.0},
    ask=ask,
    figures=figures,
    draw=draw,
)
