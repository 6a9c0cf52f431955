"""Probe 8, repertoire: asked for a joke again and again, how many different ones are told?

After Jentzsch and Kersting 2023, who asked a chat model 1,008 times: nine tenths of what it told were the same 25 jokes. Two tellings are
one joke where the class is the same, or, of an open question, the riddle that sets it up (else the whole text). What is no joke is left
out; how often that is stands beside.
"""

import re
from dataclasses import dataclass

import numpy as np

from raterhf.evaluation.metrics import repertoire
from raterhf.evaluation.metrics.diversity import simpson
from raterhf.evaluation.probes.interview import PEOPLE, Interview, ProbeQuestion
from raterhf.evaluation.probes.probe import Probe
from raterhf.evaluation.probes.texts import kinds, words
from raterhf.reports.lines import lines_plot

ASKED = 1008
TOP = 25
RIDDLE_WORDS = 4  # "Want a joke?" sets nothing up


@dataclass(frozen=True)
class Told:
    """The jokes told to each question, numbered [R], -1 where it is none."""

    questions: list[ProbeQuestion]
    jokes: list[np.ndarray]

    @property
    def rows(self) -> int:
        return len(self.jokes[0])

    def counts(self, i: int, rows: np.ndarray) -> np.ndarray:
        """How often each joke was told to question i in these rows."""
        told = self.jokes[i][rows]
        return np.bincount(told[told >= 0])


def joke(text: str) -> str:
    """What a text shares with another telling of its joke: the question that sets it up, else all of it; words alone."""
    for part in re.findall(r"[^.!?:\n]*\?", text):
        if len(found := words(part)) >= RIDDLE_WORDS:
            return " ".join(found)
    return " ".join(words(text))


def ask(interview: Interview, name: str) -> Told:
    questions = interview.about("jokes")
    told = [kinds(question, name, [interview.answers(name, question)], joke)[0][:ASKED] for question in questions]
    return Told(questions, told)


def metrics_of(told: Told, rows: np.ndarray) -> dict[str, float]:
    """Means over questions; the 25 most frequent where more than 25 are known of.

    How many different ones there are is no figure, since it grows with the answers asked for: see the accumulation curves.
    """
    found: dict[str, list[float]] = {}
    for i, question in enumerate(told.questions):
        counts = told.counts(i, rows)
        row = {"repeats": float(simpson(counts)), "effective": repertoire.effective_number(counts)}
        row |= {"unseen": repertoire.good_turing(counts), "valid": float(counts.sum() / len(rows))}
        if not 0 < len(question.classes) <= TOP:
            row[f"top_{TOP}"] = repertoire.top_mass(counts, TOP)
        for figure, value in row.items():
            found.setdefault(figure, []).append(value)
    return {figure: float(np.mean(values)) for figure, values in found.items()}


def draw(interview: Interview, samples: dict[str, Told]) -> dict[str, str]:
    """Of each question: shares by rank, and different jokes by the number told."""
    drawn = {}
    for i, question in enumerate(next(iter(samples.values())).questions):
        counts = {name: told.counts(i, np.arange(told.rows)) for name, told in samples.items()}
        counts = dict(sorted(counts.items(), key=lambda item: item[0] != PEOPLE))  # the thick line lies beneath
        ranked = {name: np.sort(c[c > 0])[::-1] / c.sum() for name, c in counts.items()}
        curves = {name: (np.arange(1, len(p) + 1), p) for name, p in ranked.items()}
        drawn[f"{question.key}-ranks"] = lines_plot(curves, "rank of the joke", "share of what is told", log=True)
        sizes = {name: np.unique(np.linspace(1, c.sum(), 100).round()) for name, c in counts.items()}
        curves = {name: (sizes[name], repertoire.rarefaction(c, sizes[name])) for name, c in counts.items()}
        drawn[f"{question.key}-accumulation"] = lines_plot(curves, "jokes told", "different ones among them")
    return drawn


PROBE = Probe(
    name="repertoire",
    title="How many jokes are known?",
    caption="Ranks: a short line that is high on the left shows few jokes, each told often. Accumulation: the number of different jokes "
    "among so many; a collapsed model's line goes flat below people's, who are asked as often. `repeats` is the probability that "
    "two answers are the same joke, `effective` is one divided by it, `unseen` the probability that the next joke is a new one.",
    headline="repeats",
    best={"repeats": None, "effective": None, f"top_{TOP}": None, "unseen": None, "valid": 1.0},
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)
