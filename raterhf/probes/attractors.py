"""Probe 5, attractors: a token of an answer is exchanged for another likely one; does the text fall back to what the model always says?

Answers of the model are cut at five depths, the token that was said there is replaced, and the model goes on by itself (a fictitious rater
without own noise). The other token is drawn from the first model's law there, so that all models are pushed alike, without the token said
and the end of the text, among those at least a tenth as likely as the likeliest other one.

The figure is (b - c) / (1 - c): b how many of the texts that end as valid answers end in the model's favourite class, whatever they were
before, and c the share of that class among what people say, or where nobody knows in the first model's answers. So a sampler that says
what people say ends in its favourite with probability c, pushed or not, and gets 0; people have no tokens to exchange, and 0 stands in
their place. It is 0 up to what the push itself decides: where the favourite parts from the rest, its token is the one taken away, and
the figure falls below. An attractor is above 0, and near `unpushed`, the same figure of the answers as they were. Which class is the
favourite is read off other answers than those that are pushed, lest chance choose it.

Rows are raters, or draws, each with one answer to each question, pushed at every depth.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from raterhf.inference.contestants import Contestant
from raterhf.pages.bands import bands_plot
from raterhf.probes.interview import PEOPLE, Interview, Question
from raterhf.probes.measure import CannotMeasure, measure
from raterhf.probes.probe import Probe
from raterhf.probes.tree import LAW_ENTRIES
from raterhf.raters.pool import Rater

TOPICS = ("stories", "odd")
ELSE = "numbers"
UNPUSHED_AT = 1.08  # in the plot
QUESTIONS = 4  # that are asked at most
PUSHED = 200  # answers to a question, at most
DEPTHS = (0.1, 0.3, 0.5, 0.7, 0.9)  # in shares of the answer's tokens
AT = [f"back_{100 * depth:.0f}" for depth in DEPTHS]
LIKELY = 0.1  # of the likeliest other token
MOST_COMMON = 0.9  # a class that people say more often leaves no room above chance


@dataclass(frozen=True)
class Pushed:
    """What became of M answers to each question, at each depth and, last, unpushed. Sums over questions [M, depths + 1]: `above` of hits
    minus chance among the valid ones, `room` of one minus chance among these, `valid` shares.
    """

    above: np.ndarray
    room: np.ndarray
    valid: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.above)


def count(classes: list[np.ndarray], favourites: list[int], chances: list[float]) -> Pushed:
    """From the classes [M, depths + 1] (-1: invalid) of each question's answers, its favourite class and the share c of that by chance."""
    above = sum((k == f) - c * (k >= 0) for k, f, c in zip(classes, favourites, chances, strict=True))
    room = sum((1 - c) * (k >= 0) for k, c in zip(classes, chances, strict=True))
    return Pushed(above, room, np.mean([k >= 0 for k in classes], 0))


def closed_questions(interview: Interview) -> list[Question]:
    """Up to four closed questions, of all topics in turn; numbers where neither a story nor an odd question has known classes."""
    for topics in (TOPICS, (ELSE,)):
        closed = [[q for q in interview.questions if q.topic == topic and q.classes] for topic in topics]
        if any(closed):
            per_topic = QUESTIONS // sum(map(bool, closed))
            return [q for of_topic in closed for q in of_topic[:per_topic]]
    raise CannotMeasure(f"no question of this run about {', '.join(TOPICS)} or {ELSE} has known classes")


def ask(interview: Interview, name: str) -> Pushed:
    if name == PEOPLE:
        raise CannotMeasure("people have no tokens to exchange; a perfect sampler gets 0")
    first = next(iter(interview.subjects.values()))
    if interview.subjects[name].renderer.tokenizer.get_vocab() != first.renderer.tokenizer.get_vocab():
        raise CannotMeasure(f"{name}: its tokens are not those of {first.name}, which chooses the other tokens")
    classes, favourites, chances = [], [], []
    for question in closed_questions(interview):
        favourite = _favourite(interview, name, question)
        chance = _chance(interview, question, favourite)
        if chance <= MOST_COMMON:
            pushed = push(interview, name, question)
            classes.append(np.column_stack([pushed, interview.said(name, question).classes[: len(pushed)]]))
            favourites.append(favourite)
            chances.append(chance)
    if not classes:
        raise CannotMeasure(f"{name}: what it says most is what people say in more than {MOST_COMMON:.0%} of cases anyway")
    sample = count(classes, favourites, chances)
    if not (sample.room.sum(0) > 0).all():
        raise CannotMeasure(f"{name}: no answer is valid once a token of it is exchanged")
    return sample


def _pushed(interview: Interview) -> int:
    """How many answers are pushed: half of them at most, since the favourite is read off the others."""
    return min(PUSHED, interview.draws // 2)


def _favourite(interview: Interview, name: str, question: Question) -> int:
    if _pushed(interview) < len(question.classes):
        raise CannotMeasure(f"{question.key}: {_pushed(interview)} answers to push, for {len(question.classes)} classes; raise -n")
    classes = interview.said(name, question).classes[_pushed(interview) :]
    if not (classes >= 0).any():
        raise CannotMeasure(f"{question.key}: none of {len(classes)} answers of {name} is valid")
    return int(np.bincount(classes[classes >= 0]).argmax())


def _chance(interview: Interview, question: Question, favourite: int) -> float:
    if question.law is not None:
        return float(question.law[favourite])
    reference = PEOPLE if question.key in interview.people else next(iter(interview.subjects))
    return float((interview.said(reference, question).classes == favourite).mean())


def push(interview: Interview, name: str, question: Question) -> np.ndarray:
    """Classes [M, depths] of what becomes of the first M answers of a model, pushed at each depth."""
    said, model, n = interview.said(name, question), interview.subjects[name], _pushed(interview)
    first_name, first = next(iter(interview.subjects.items()))
    rng = interview.rng("push", name, question.key)
    eos = model.renderer.tokenizer.eos_token_id
    raters = interview.raters(name, interview.draws)[:n]
    cut, heads = [], []
    for example, wording in zip(said.examples[:n], said.wordings):
        tokens = example.ids[example.prompt_length :]
        length = max(1, len(tokens) - (tokens[-1] == eos))
        head = first.renderer.prompt(interview.prompt(first_name, wording))
        for depth in DEPTHS:
            t = int(depth * length)
            cut.append((example.ids[: example.prompt_length], tokens[:t], tokens[t]))
            heads.append(head + tokens[:t])
    other = draw_others(first, heads, [token for _, _, token in cut], rng)
    before = [prompt + begun + (token,) for (prompt, begun, _), token in zip(cut, other)]
    ended = model.go_on(before, [rater for rater in raters for _ in DEPTHS], int(rng.integers(2**31)))
    decode = model.renderer.tokenizer.decode
    texts = [decode(example.ids[len(prompt) :], skip_special_tokens=True) for example, (prompt, _, _) in zip(ended, cut)]
    return np.array([question.parse(text) for text in texts]).reshape(n, len(DEPTHS))


def draw_others(model: Contestant, contexts: list[tuple[int, ...]], said: list[int], rng: np.random.Generator) -> list[int]:
    """For each begun text a likely next token other than the one said and the end, drawn from the model's law for nobody in particular."""
    # Without min_p, which may leave a model nothing but the token said.
    plain = replace(model, min_p=0.0, temperature=1.0)
    at_once = max(1, LAW_ENTRIES // model.policy.lm.config.vocab_size)
    drawn: list[int] = []
    for start in range(0, len(said), at_once):
        part = contexts[start : start + at_once]
        laws = plain.next_laws(part, [Rater("none", None)] * len(part))
        laws[np.arange(len(part)), said[start : start + at_once]] = -np.inf
        laws[:, model.renderer.tokenizer.eos_token_id] = -np.inf
        laws[laws < laws.max(1, keepdims=True) + np.log(LIKELY)] = -np.inf
        drawn += (laws + rng.gumbel(size=laws.shape)).argmax(1).tolist()
    return drawn


def figures(sample: Pushed, rows: np.ndarray) -> dict[str, float]:
    """`back` is the mean over depths, `back_10` that of answers pushed at 10 % of their length, and so on; `unpushed` of the answers as
    they were; `valid_after` the share of pushed answers that are valid. Questions are pooled as their valid answers are.
    """
    n = np.bincount(rows, minlength=sample.rows)
    above, room = n @ sample.above, n @ sample.room
    rate = np.where(room > 0, above / np.where(room > 0, room, 1.0), np.nan)
    found = {"back": float(rate[:-1].mean()), "unpushed": float(rate[-1])} | dict(zip(AT, rate[:-1].tolist()))
    return found | {"valid_after": float((n @ sample.valid)[:-1].mean() / len(rows))}


def draw(interview: Interview, samples: dict[str, Pushed]) -> dict[str, str]:
    """A line with its 95 % band for each model, against the depth of the push; the dot on the right is the answers that were not pushed."""
    lines, dots = {}, {}
    for name, sample in samples.items():
        found = measure(partial(figures, sample), sample.rows, interview.rng("attractors", name))
        lines[name] = np.array([found.interval(figure) for figure in AT]).T
        dots[name] = (UNPUSHED_AT, found.values["unpushed"])
    ticks = {depth: f"{depth:.0%}" for depth in DEPTHS} | {UNPUSHED_AT: "none"}
    return {"depth": bands_plot(lines, DEPTHS, ticks, "where in the answer a token was exchanged", percent=True, dots=dots)}


PROBE = Probe(
    name="attractors",
    title="Does a pushed answer fall back?",
    caption="A token of each answer is exchanged for another likely one, and the model goes on by itself: how many of the valid answers "
    "that come out are its favourite answer, above chance (0 is how often people give that answer, 100 % is always)? The diamond is the "
    "answers as they were, the broken line the first model. A collapsed model's line stays above 0 and begins near its diamond, as if "
    "nothing had happened; a sampler of people stays near 0, or below where the push takes the favourite away.",
    headline="back",
    best={"back": 0.0, "unpushed": 0.0} | dict.fromkeys(AT, 0.0) | {"valid_after": float("nan")},
    ask=ask,
    figures=figures,
    draw=draw,
)
