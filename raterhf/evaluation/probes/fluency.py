"""Probe 13, fluency: are the answers language at all? Gibberish is as diverse as can be, and no other probe would tell.

What is said is read by the first model (base), whatever model said it: nats a token, the end included. Random tokens have many, one phrase
said over and over few. Words are compared with those that people use in any of their answers here.
"""

from dataclasses import dataclass

import numpy as np

from raterhf.evaluation.metrics.fluency import known_words, repetitions
from raterhf.evaluation.probes.interview import PEOPLE, Interview, ProbeQuestion, plain
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.probe import Probe
from raterhf.evaluation.probes.read_texts import read_texts
from raterhf.evaluation.probes.texts import words
from raterhf.reports.lines import lines_plot

READ = 200  # answers to a question at most, since each is read once more


@dataclass(frozen=True)
class Read:
    """What one model said, R answers to each of Q questions: nats and tokens by the first model, runs of words that came before and all of
    them, words that people use and all of them (NaN where no people are known); each [R, Q]."""

    nats: np.ndarray
    tokens: np.ndarray
    again: np.ndarray
    runs: np.ndarray
    known: np.ndarray
    words: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.nats)


def ask(interview: Interview, name: str) -> Read:
    asked = [q for q in interview.trained_on() if name != PEOPLE or q.key in interview.people]
    if not asked:
        raise CannotMeasure("no question was answered")
    said = [interview.answers(name, question) for question in asked]
    rows = min([READ, *(answers.rows for answers in said)])
    vocabulary = {word for answers in interview.people.values() for text in answers.texts for word in words(text)}
    texts = [answers.texts[:rows] for answers in said]
    spoken = [[words(text) for text in column] for column in texts]
    counts = np.array([[(*repetitions(w), *known_words(w, vocabulary)) for w in column] for column in spoken], float)
    again, runs, known, many = counts.transpose(2, 1, 0)
    prompts = [answers.wordings[:rows] if answers.wordings else [plain(q)[0]] * rows for q, answers in zip(asked, said)]
    nats, tokens = read(interview, asked, prompts, texts)
    return Read(nats, tokens, again, runs, known if vocabulary else np.full_like(known, np.nan), many)


def read(
    interview: Interview, asked: list[ProbeQuestion], prompts: list[list[str]], texts: list[list[str]]
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Nats and tokens [R, Q] of texts by question, under the first model as nobody in particular; zeros for those that do not fit it."""
    pairs = [(prompt, text) for q in range(len(asked)) for prompt, text in zip(prompts[q], texts[q], strict=True)]
    read = read_texts(interview, pairs)
    found = np.array([(0, 0) if one.cut else (one.nats, one.tokens) for one in read], float).reshape(len(asked), -1, 2)
    return found[:, :, 0].T, found[:, :, 1].T


def metrics_of(sample: Read, rows: np.ndarray) -> dict[str, float]:
    """Of all answers together: nats a token, the share of runs of words that came before, of words that people use, of answers without a
    word."""
    total = {name: float(getattr(sample, name)[rows].sum()) for name in ("nats", "tokens", "again", "runs", "known", "words")}

    def share(part: str, whole: str) -> float:
        return total[part] / total[whole] if total[whole] else float("nan")

    return {
        "nats": share("nats", "tokens"), "repeated": share("again", "runs"), "known_words": share("known", "words"),
        "wordless": float((sample.words[rows] == 0).mean()),
    }  # fmt: skip


def draw(interview: Interview, samples: dict[str, Read]) -> dict[str, str]:
    """How many answers have at most so many nats a token."""
    curves = {}
    for name, sample in sorted(samples.items(), key=lambda item: item[0] != PEOPLE):  # the thick line lies beneath
        there = sample.tokens > 0
        each = np.sort(sample.nats[there] / sample.tokens[there])
        curves[name] = (each, np.arange(1, len(each) + 1) / max(len(each), 1))
    return {"nats": lines_plot(curves, "nats a token, by the base model", "share of answers that have no more")}


PROBE = Probe(
    name="fluency",
    title="Are the answers language?",
    caption="Every answer is read by the base model: the more it lies to the right, the less it is what this model would say. Gibberish "
    "lies far to the right of people's answers, a phrase said over and over to the left. `repeated` is the share of runs of four words "
    "that came before in the same answer, `known_words` the share of words that people use in any of their answers, `wordless` of answers "
    "without a word.",
    headline="nats",
    best={"nats": None, "repeated": None, "known_words": 1.0, "wordless": None},
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)
