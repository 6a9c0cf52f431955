"""Probe 5, attractors: a token of an answer is exchanged for another likely one; does the text fall back to what the model always says?

Answers of the model are cut at five depths, the token that was said there is replaced, and the model goes on by itself (a fictitious rater
without idiosyncratic taste). The other token is drawn from the first model's distribution there, so that all models are pushed alike,
without the token said and the end of the text, among those at least a tenth as likely as the likeliest other one.

The figure is (b - c) / (1 - c): b how many of the texts that end as valid answers end in the model's favourite class, whatever they were
before, and c how many would by chance. Where people's distribution and its texts are known, c is the share of that class among what people
say that begins as the pushed text does (each wording of an answer alike), so that a sampler of people gets 0, which is people's value;
texts whose answer the push itself decides do not count. Where nobody knows, or nobody would begin so, c is what the first model makes of
the same begun text. An attractor is above 0, and near `unpushed`, the same figure of the answers as they were. Which class is the favourite
is read off other answers than those that are pushed, lest chance choose it.

Rows are raters, or draws, each with one answer to each question, pushed at every depth.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from raterhf.engine.rater_policy import RaterPolicy
from raterhf.evaluation.probes.interview import PEOPLE, Interview, ProbeQuestion
from raterhf.evaluation.probes.measure import CannotMeasure, measure
from raterhf.evaluation.probes.probe import Probe
from raterhf.evaluation.probes.tree import DISTRIBUTION_ENTRIES
from raterhf.models.draw import ONCE, sample_keys
from raterhf.models.draw import draw as draw_tokens
from raterhf.raters.pool import Rater
from raterhf.reports.bands import bands_plot

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
    minus chance among the valid ones whose chance is known, `room` of one minus chance among these; `valid` shares.
    """

    above: np.ndarray
    room: np.ndarray
    valid: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.above)


def count(classes: list[np.ndarray], favourites: list[int], chances: list[np.ndarray]) -> Pushed:
    """From each question's classes [M, depths + 1] of answers (-1: invalid), its favourite, and chances [M, depths + 1] (nan: unknown)."""
    there = [(k >= 0) & np.isfinite(c) for k, c in zip(classes, chances, strict=True)]
    above = sum(np.where(ok, (k == f) - c, 0.0) for ok, k, f, c in zip(there, classes, favourites, chances, strict=True))
    room = sum(np.where(ok, 1 - c, 0.0) for ok, c in zip(there, chances, strict=True))
    return Pushed(above, room, np.mean([k >= 0 for k in classes], 0))


def closed_questions(interview: Interview) -> list[ProbeQuestion]:
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
    first = next(iter(interview.policies.values()))
    if interview.policies[name].renderer.tokenizer.get_vocab() != first.renderer.tokenizer.get_vocab():
        raise CannotMeasure(f"{name}: its tokens are not those of {first.name}, which chooses the other tokens")
    classes, favourites, chances = [], [], []
    for question in closed_questions(interview):
        favourite = _favourite(interview, name, question)
        usual = _chance(interview, question, favourite)
        if usual <= MOST_COMMON:
            begun = push(interview, name, question)
            before = interview.answers(name, question).classes[: len(begun.wordings)]
            ended = go_on(interview.policies[name], question, begun, interview.rng("end", name, question.key))
            classes.append(np.column_stack([ended, before]))
            chances.append(np.column_stack([expected(interview, question, favourite, begun), np.full(len(before), usual)]))
            favourites.append(favourite)
    if not classes:
        raise CannotMeasure(f"{name}: what it says most is what people say in more than {MOST_COMMON:.0%} of cases anyway")
    sample = count(classes, favourites, chances)
    if not sample.room[:, :-1].sum() > 0:
        raise CannotMeasure(f"{name}: no answer is valid once a token of it is exchanged, or the exchange decides them all")
    return sample


def _pushed(interview: Interview) -> int:
    """How many answers are pushed: half of them at most, since the favourite is read off the others."""
    return min(PUSHED, interview.draws // 2)


def _favourite(interview: Interview, name: str, question: ProbeQuestion) -> int:
    if _pushed(interview) < (k := len(question.classes)):
        raise CannotMeasure(f"{question.key}: {_pushed(interview)} answers to push, for {k} classes; raise -n to {2 * k}")
    classes = interview.answers(name, question).classes[_pushed(interview) :]
    if not (classes >= 0).any():
        raise CannotMeasure(f"{question.key}: none of {len(classes)} answers of {name} is valid")
    return int(np.bincount(classes[classes >= 0]).argmax())


def _chance(interview: Interview, question: ProbeQuestion, favourite: int) -> float:
    if question.distribution is not None:
        return float(question.distribution[favourite])
    reference = PEOPLE if question.key in interview.people else next(iter(interview.policies))
    return float((interview.answers(reference, question).classes == favourite).mean())


@dataclass(frozen=True)
class Begun:
    """Pushed beginnings of M answers: `tokens` [M * depths] said so far, the other token last; of each answer wording, prompt and rater."""

    tokens: list[tuple[int, ...]]
    wordings: list[str]
    prompts: list[tuple[int, ...]]
    raters: list[Rater]


def push(interview: Interview, name: str, question: ProbeQuestion) -> Begun:
    """The first answers of a model, cut at each depth, with another token in place of the one said there."""
    answers, n = interview.answers(name, question), _pushed(interview)
    first = next(iter(interview.policies.values()))
    eos = first.renderer.tokenizer.eos_token_id
    cut, heads = [], []
    for example, wording in zip(answers.examples[:n], answers.wordings):
        tokens = example.ids[example.prompt_length :]
        length = max(1, len(tokens) - (tokens[-1] == eos))
        head = first.renderer.prompt(wording)
        for t in (int(depth * length) for depth in DEPTHS):
            cut.append((tokens[:t], tokens[t]))
            heads.append(head + tokens[:t])
    other = draw_others(first, heads, [token for _, token in cut], interview.rng("push", name, question.key))
    begun = [said_so_far + (token,) for (said_so_far, _), token in zip(cut, other)]
    prompts = [example.ids[: example.prompt_length] for example in answers.examples[:n]]
    return Begun(begun, answers.wordings[:n], prompts, interview.raters(name, interview.draws)[:n])


def go_on(model: RaterPolicy, question: ProbeQuestion, begun: Begun, rng: np.random.Generator) -> np.ndarray:
    """Classes [M, depths] of what a model makes of begun texts, each under its rater."""
    prompts, raters = ([one for one in each for _ in DEPTHS] for each in (begun.prompts, begun.raters))
    contexts = [prompt + tokens for prompt, tokens in zip(prompts, begun.tokens, strict=True)]
    ended = model.go_on(contexts, raters, int(rng.integers(2**31)))
    answers = [example.ids[len(prompt) :] for example, prompt in zip(ended, prompts)]
    texts = [model.renderer.tokenizer.decode(tokens, skip_special_tokens=True) for tokens in answers]
    return np.array([question.parse(text) for text in texts]).reshape(-1, len(DEPTHS))


def expected(interview: Interview, question: ProbeQuestion, favourite: int, begun: Begun) -> np.ndarray:
    """How often [M, depths] begun texts end in the favourite by chance.

    Nan where people's texts that begin so are all of that class, or none, and where neither people nor the first model end them validly.
    """
    first = next(iter(interview.policies.values()))
    texts = [first.renderer.tokenizer.decode(tokens, skip_special_tokens=True).lstrip() for tokens in begun.tokens]
    chance = share_of_people(question, favourite, texts).reshape(-1, len(DEPTHS))
    decided = np.isclose(chance, 0) | np.isclose(chance, 1)
    if np.isnan(chance).any():
        prompts = [first.renderer.prompt(wording) for wording in begun.wordings]
        asked = replace(begun, prompts=prompts, raters=first.raters(len(prompts), interview.seed))
        ended = go_on(first, question, asked, interview.rng("chance", question.key))
        chance = np.where(np.isnan(chance), np.where(ended < 0, np.nan, ended == favourite), chance)
    return np.where(decided, np.nan, chance)


def share_of_people(question: ProbeQuestion, favourite: int, begins: list[str]) -> np.ndarray:
    """Share [N] of a class among people's answers that begin so, each wording of an answer alike; nan where none does, or nobody knows."""
    if question.distribution is None or not len(question.texts):
        return np.full(len(begins), np.nan)
    listed = question.class_of >= 0
    texts, class_of = np.array(question.texts)[listed], question.class_of[listed]
    weight = (question.distribution / np.maximum(np.bincount(class_of, minlength=len(question.distribution)), 1))[class_of]
    share = {}
    for begin in dict.fromkeys(begins):
        here = weight * np.char.startswith(texts, begin)
        share[begin] = here[class_of == favourite].sum() / here.sum() if here.sum() else np.nan
    return np.array([share[begin] for begin in begins])


def draw_others(model: RaterPolicy, contexts: list[tuple[int, ...]], answers: list[int], rng: np.random.Generator) -> list[int]:
    """For each begun text a likely next token other than the one said and the end, drawn from the model's distribution for nobody in
    particular."""
    # Without min_p, which may leave a model nothing but the token said.
    plain = replace(model, min_p=0.0, temperature=1.0)
    at_once = max(1, DISTRIBUTION_ENTRIES // model.policy.lm.config.vocab_size)
    key = sample_keys(int(rng.integers(2**31)), contexts, ["none"] * len(contexts))
    drawn: list[int] = []
    for start in range(0, len(answers), at_once):
        part = contexts[start : start + at_once]
        distributions = plain.next_distributions(part, [Rater("none", None)] * len(part))
        distributions[np.arange(len(part)), answers[start : start + at_once]] = -np.inf
        distributions[:, model.renderer.tokenizer.eos_token_id] = -np.inf
        distributions[distributions < distributions.max(1, keepdims=True) + np.log(LIKELY)] = -np.inf
        drawn += draw_tokens(torch.from_numpy(distributions), key[start : start + at_once], ONCE)[0].tolist()
    return drawn


def metrics_of(sample: Pushed, rows: np.ndarray) -> dict[str, float]:
    """`back` is of all that were pushed, `back_10` of answers pushed at 10 % of their length, and so on (nan: the push decides them all);
    `unpushed` of the answers as they were; `valid_after` the share of pushed answers that are valid. What counts is pooled.
    """
    n = np.bincount(rows, minlength=sample.rows)
    above, room = n @ sample.above, n @ sample.room
    groups = [("back", slice(0, -1)), *((at, slice(i, i + 1)) for i, at in enumerate(AT)), ("unpushed", slice(-1, None))]
    found = {figure: float(above[at].sum() / room[at].sum()) if room[at].sum() > 0 else float("nan") for figure, at in groups}
    return found | {"valid_after": float((n @ sample.valid)[:-1].mean() / len(rows))}


def draw(interview: Interview, samples: dict[str, Pushed]) -> dict[str, str]:
    """A line with its 95 % band for each model, against the depth of the push; the dot on the right is the answers that were not pushed."""
    lines, dots = {}, {}
    for name, sample in samples.items():
        found = measure(partial(metrics_of, sample), sample.rows, interview.rng("attractors", name))
        lines[name] = np.array([found.interval(figure) for figure in AT]).T
        dots[name] = (UNPUSHED_AT, found.values["unpushed"])
    ticks = {depth: f"{depth:.0%}" for depth in DEPTHS} | {UNPUSHED_AT: "none"}
    return {"depth": bands_plot(lines, DEPTHS, ticks, "where in the answer a token was exchanged", percent=True, dots=dots)}


PROBE = Probe(
    name="attractors",
    title="Does a pushed answer fall back?",
    caption="A token of each answer is exchanged for another likely one, and the model goes on by itself: how many of the valid answers "
    "that come out are its favourite answer, above chance (0 is how often people who began so give that answer, 100 % is always)? The "
    "diamond is the answers as they were, the broken line the first model. A collapsed model's line stays above 0 and begins near its "
    "diamond, as if nothing had happened; a sampler of people stays near 0. Where the exchange decides every answer there is no point.",
    headline="back",
    best={"back": 0.0, "unpushed": 0.0} | dict.fromkeys(AT, 0.0) | {"valid_after": float("nan")},
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)
