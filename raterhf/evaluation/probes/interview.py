"""Who is asked what: models side by side, questions, and what people say to them.

What is drawn is drawn once and kept, so that the probes that read it speak of the same answers. Nothing here computes a figure.

Notation: R raters (one a row; a model without raters is asked R times), K classes of a closed question.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from raterhf.data.example import Example
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.raters.pool import Rater

PEOPLE = "population"
MIN_CAPTURED = 0.9  # of the probability must lie on a question's listed texts for its distribution to be read off them


class ProbeQuestion(Protocol):
    """What a probe asks. `classes` is empty where any answer may be given; `distribution` [K] is None where nobody knows it.

    `texts` are all texts of a closed question that are known, `class_of` [texts] their classes (-1: junk), empty where there are none.
    `topic` is what probes know the question by: numbers, dice, odd, jokes, poems, stories. `framed` are wordings that put it at one remove;
    in a simulated world they stand among the `prompts` too. `kind` is a simulated world's ("" elsewhere): a `taste` tells of a person.
    """

    key: str
    topic: str
    kind: str
    prompts: list[str]
    framed: list[str]
    classes: list[str]
    distribution: np.ndarray | None
    texts: list[str]
    class_of: np.ndarray

    def parse(self, completion: str) -> int: ...


@dataclass(frozen=True)
class Answers:
    """What was said to one question: texts [R] and their classes [R] (-1: invalid, or no class known).

    Of models also the token ids, and in which wording each was asked.
    """

    texts: list[str]
    classes: np.ndarray
    examples: list[Example] | None = None
    wordings: list[str] | None = None

    @property
    def rows(self) -> int:
        return len(self.texts)


@dataclass
class Interview:
    """Models by name, base first; questions; what fresh people said, question by question; and how much is drawn with which seed.

    `labels` are how many answers of raters to a question the models were trained on, as far as known; `run` is the folder they were
    trained in, None for models that come alone. `kept` holds what was drawn.
    """

    policies: dict[str, RaterPolicy]
    questions: Sequence[ProbeQuestion]
    people: dict[str, Answers] = field(default_factory=dict)
    draws: int = 1000
    seed: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    run: Path | None = None
    kept: dict = field(default_factory=dict, repr=False)

    def rng(self, *salt: int | str) -> np.random.Generator:
        words = [word for s in salt for word in (s.encode() if isinstance(s, str) else [s])]
        return np.random.default_rng(np.random.SeedSequence([self.seed, 0x70726F62, *words]))

    def about(self, topic: str) -> list[ProbeQuestion]:
        """The questions of a topic; CannotMeasure where there is none."""
        found = [q for q in self.questions if q.topic == topic]
        if not found:
            raise CannotMeasure(f"no question of this run is about {topic}")
        return found

    def trained_on(self) -> list[ProbeQuestion]:
        """The questions that the models have labels of; all where nobody knows."""
        return [q for q in self.questions if not self.labels or q.key in self.labels]

    def without_raters(self, name: str) -> bool:
        return name != PEOPLE and self.policies[name].draws == "none"

    def raters(self, name: str, n: int) -> list[Rater]:
        return self.policies[name].raters(n, self.seed)

    def answers(self, name: str, question: ProbeQuestion, framed: bool = False) -> Answers:
        """What a model, or people, answer: `draws` answers, each of a fresh rater, in wordings of chance, all framed or none."""
        if name == PEOPLE:
            return self.people[question.key]
        key = (name, question.key, framed)
        if key not in self.kept:
            rng = self.rng(question.key, int(framed))
            wordings = question.framed if framed else plain(question)
            if not wordings:
                raise CannotMeasure(f"{question.key}: it has no {'framed' if framed else 'plain'} wording")
            seed = int(rng.integers(2**31))  # before what depends on `draws`: the first answers are those of fewer
            asked = [wordings[i] for i in rng.integers(len(wordings), size=self.draws)]
            model = self.policies[name]
            examples = model.answer(asked, self.raters(name, self.draws), seed)
            texts = model.texts(examples)
            self.kept[key] = Answers(texts, np.array([question.parse(text) for text in texts]), examples, asked)
        return self.kept[key]

    def distribution(self, name: str, question: ProbeQuestion, captured: float = MIN_CAPTURED) -> np.ndarray:
        """Distribution [K + 1] of a model without raters, the last entry what is invalid, read off the listed texts (EOS included) in all
        plain wordings. CannotMeasure where less than `captured` of the probability is on listed texts.
        """
        if not len(question.texts):
            raise CannotMeasure(f"{question.key}: its valid texts are not listed, so that no distribution can be read off them")
        model, k = self.policies[name], len(question.classes)
        prompts = plain(question)
        examples = [model.renderer.example(prompt, text) for prompt in prompts for text in question.texts]
        (nobody,) = model.raters(1, self.seed)
        probability = np.exp(model.log_probs(examples, [nobody] * len(examples), as_sampled=True)) / len(prompts)
        place = np.where(question.class_of < 0, k, question.class_of)
        distribution = np.bincount(np.tile(place, len(prompts)), weights=probability, minlength=k + 1)
        if (listed := distribution.sum()) < captured:
            raise CannotMeasure(f"{question.key}: {name} puts {listed:.2f} of its probability on the listed texts, less than {captured}")
        distribution[-1] += max(1 - listed, 0)  # what is not listed is invalid; the sum may be above 1 by rounding
        return distribution / distribution.sum()


def plain(question: ProbeQuestion) -> list[str]:
    """The wordings that put the question themselves."""
    return [prompt for prompt in question.prompts if prompt not in question.framed]
