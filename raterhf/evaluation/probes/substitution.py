"""Probe 11, token substitution: how far from the base model is each token that a tuned model says, and how few of them must be forced?

After Lin et al. (2023), The unlocking spell on base LLMs, who find that alignment changes few tokens, mostly early ones: read what a tuned
model says under the base model (the first one asked), position by position. A token is unshifted where the base model too thinks it the
likeliest, shifted where it is not among its three likeliest. All distributions here are the models' own, without min_p and temperature.

A model with raters has two distributions: that of the rater who speaks (`kl`) and that of a fresh rater who has said the same so far, the
mixture of raters weighted by how likely each was to say it (`kl_mixture`). A person differs from the base model more than the crowd does.

Forced: the base model is given the first tokens of an answer and goes on by itself; the fewest after which more than half of `DRAWS` of its
texts end in the answer's class. Draws make that a little early, for every model alike; its control is the base model's own answers forced
on it. People's answers are cut into the base model's tokens; they have ranks and forced tokens, but no distribution of the next token.

Rows are raters, or draws, or people, each with one answer to one question of each topic.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from raterhf.evaluation.probes.interview import PEOPLE, Interview, ProbeQuestion
from raterhf.evaluation.probes.measure import CannotMeasure, measure
from raterhf.evaluation.probes.mixture import Mixture
from raterhf.evaluation.probes.multiverse import TOPICS, one_of_each
from raterhf.evaluation.probes.probe import Probe
from raterhf.evaluation.probes.tree import DISTRIBUTION_ENTRIES, Path
from raterhf.raters.pool import Rater
from raterhf.reports.bands import bands_plot

ANSWERS = 100  # to a question, at most
RATERS = 16  # in the mixture
DRAWS = 15  # odd: no tie at one half
POSITIONS = (*range(16), 24, 32, 48, 64, 96, 128, 192)  # that are read, and after which the base model goes on
SHOWN = 12  # positions in the plots
TOP = 3
NOBODY = Rater("none", None)
T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Read:
    """What is read at each position of M answers [M, questions, positions], nan where an answer has ended: `rank` of its tokens under the
    base model, `kl` and `kl_mixture` in nats (None for people). `forced` [M, questions] are fewest tokens, nan where an answer has no
    class, and `length` [M, questions] numbers of tokens, the end included.
    """

    rank: np.ndarray
    kl: np.ndarray | None
    kl_mixture: np.ndarray | None
    forced: np.ndarray
    length: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.rank)

    @cached_property
    def sums(self) -> dict[str, np.ndarray]:
        """Of each figure that exists, what it is the mean of (`sums_of`)."""
        read = np.isfinite(self.rank)
        values = {"kl": self.kl, "kl_mixture": self.kl_mixture, "log2_rank": np.log2(self.rank)}
        values["unshifted"] = np.where(read, self.rank == 1, np.nan)
        values["shifted"] = np.where(read, self.rank > TOP, np.nan)
        if np.isfinite(self.forced).any():
            values |= {"forced": self.forced[..., None], "forced_share": (self.forced / self.length)[..., None]}
        return {figure: sums_of(one) for figure, one in values.items() if one is not None}


@dataclass(frozen=True)
class Said:
    """M answers to one question: the wordings asked, their tokens (end included), their classes, and who said them (None: people)."""

    wordings: list[str]
    tokens: list[Path]
    classes: np.ndarray
    raters: list[Rater] | None


def ask(interview: Interview, name: str) -> Read:
    base_name, base = next(iter(interview.policies.items()))
    questions = one_of_each(interview, TOPICS)
    if name == PEOPLE:
        questions = [q for q in questions if q.key in interview.people]
        if not questions:
            raise CannotMeasure(f"nobody was asked about {', '.join(TOPICS)}")
    elif interview.policies[name].renderer.tokenizer.get_vocab() != base.renderer.tokenizer.get_vocab():
        raise CannotMeasure(f"{name}: its tokens are not those of {base_name}, under which they are read")
    answers = [_answers(interview, name, question) for question in questions]
    read = [read_distributions(interview, name, completions) for completions in answers]
    forced = [force(interview, question, completions) for question, completions in zip(questions, answers)]
    length = np.array([[len(tokens) for tokens in completions.tokens] for completions in answers]).T
    rank, kl, mixture = (None if one[0] is None else np.stack(one, 1) for one in zip(*read))
    return Read(rank, kl, mixture, np.stack(forced, 1), length)


def _answers(interview: Interview, name: str, question: ProbeQuestion) -> Said:
    completions = interview.answers(name, question)
    n = min(ANSWERS, completions.rows)
    if name != PEOPLE:
        tokens = [example.ids[example.prompt_length :] for example in completions.examples[:n]]
        return Said(completions.wordings[:n], tokens, completions.classes[:n], interview.raters(name, interview.draws)[:n])
    renderer = next(iter(interview.policies.values())).renderer
    wordings = [question.prompts[i % len(question.prompts)] for i in range(n)]
    examples = [renderer.example(wording, text) for wording, text in zip(wordings, completions.texts)]
    return Said(wordings, [example.ids[example.prompt_length :] for example in examples], completions.classes[:n], None)


def read_distributions(interview: Interview, name: str, completions: Said) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Rank of each token under the base model, KL of its speaker's distribution to the base model's and that of the mixture, each [M,
    positions]. Answers are read token by token, so that each token is read once by each model and rater."""
    base = replace(next(iter(interview.policies.values())), min_p=0.0, temperature=1.0)
    model = None if name == PEOPLE else replace(interview.policies[name], min_p=0.0, temperature=1.0)
    wordings = {str(wording): wording for wording in completions.wordings}
    number = {key: i for i, key in enumerate(wordings)}
    asked = [number[str(wording)] for wording in completions.wordings]
    by_base = base.begun_texts([base.renderer.prompt(wording) for wording in wordings.values()], [NOBODY] * len(wordings))
    own = crowd = None
    if model:
        _, speaker = _distinct([(n, rater.id) for n, rater in zip(asked, completions.raters, strict=True)])
        first = np.unique(speaker, return_index=True)[1]
        raters = [completions.raters[i] for i in first]
        own = model.begun_texts([model.renderer.prompt(completions.wordings[i], completions.raters[i].text) for i in first], raters)
        if model.draws != "none":
            crowd = Mixture(model, list(wordings.values()), interview.raters(name, len(asked) + RATERS)[-RATERS:])
    rank, kl, mixture = (np.full((len(asked), len(POSITIONS)), np.nan) for _ in range(3))
    tokens = completions.tokens
    order = sorted(range(len(asked)), key=lambda i: (asked[i], tokens[i]))  # answers that begin alike stand together
    at_once = max(1, DISTRIBUTION_ENTRIES // ((RATERS if crowd else 1) * base.policy.lm.config.vocab_size))
    for start in range(0, len(order), at_once):
        for t in range(POSITIONS[-1] + 1):
            rows = np.array([i for i in order[start : start + at_once] if t < len(tokens[i])], int)
            if not len(rows):
                break
            begun, place = _distinct([(asked[i], tokens[i][:t]) for i in rows])
            if crowd:
                then = [{tokens[i][t] for i, at in zip(rows, place) if at == n} for n in range(len(begun))]
                mixed = crowd.after(begun, then, t in POSITIONS)
            if t not in POSITIONS:
                continue
            p, said = POSITIONS.index(t), [tokens[i][t] for i in rows]
            under = by_base.next_distributions(begun)[place]
            rank[rows, p] = 1 + (under > under[np.arange(len(rows)), said, None]).sum(1)
            if own:
                texts, at = _distinct([(speaker[i], tokens[i][:t]) for i in rows])
                kl[rows, p] = divergence(own.next_distributions(texts)[at], under)
            if crowd:
                mixture[rows, p] = divergence(mixed[place], under)
        for texts in (by_base, own, crowd):
            if texts:
                texts.forget()
    return (rank, None, None) if model is None else (rank, kl, mixture if crowd else kl)


def _distinct(every: Sequence[T]) -> tuple[list[T], np.ndarray]:
    """Each once, and where each of them stands among these."""
    place: dict[T, int] = {}
    at = np.array([place.setdefault(one, len(place)) for one in every])
    return list(place), at


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """KL(p || q) [N] in nats of log-distributions [N, V]."""
    return (np.exp(p) * (p - q)).sum(1)


def force(interview: Interview, question: ProbeQuestion, completions: Said) -> np.ndarray:
    """The fewest first tokens [M] of each answer after which the base model's texts mostly end in its class; nan where it has none."""
    base = next(iter(interview.policies.values()))
    fewest = np.where(completions.classes >= 0, [float(len(tokens)) for tokens in completions.tokens], np.nan)
    rng = interview.rng("force", question.key)
    waiting = np.flatnonzero(completions.classes >= 0)
    for n in POSITIONS:
        waiting = np.array([i for i in waiting if n < len(completions.tokens[i])], int)
        if not len(waiting):
            break
        place: dict[tuple[str, Path], int] = {}
        row = [place.setdefault((completions.wordings[i], completions.tokens[i][:n]), len(place)) for i in waiting]
        contexts = [base.renderer.prompt(wording) + begun for wording, begun in place for _ in range(DRAWS)]
        ended = base.go_on(contexts, [NOBODY] * len(contexts), int(rng.integers(2**31)))
        begun_length = [len(context) - n for context in contexts]
        texts = [base.renderer.tokenizer.decode(e.ids[k:], skip_special_tokens=True) for e, k in zip(ended, begun_length)]
        classes = np.array([question.parse(text) for text in texts]).reshape(-1, DRAWS)[row]
        there = (classes == completions.classes[waiting, None]).mean(1) > 0.5
        fewest[waiting[there]] = n
        waiting = waiting[~there]
    return fewest


def metrics_of(sample: Read, rows: np.ndarray) -> dict[str, float]:
    """Means over what is read of each question, then over questions; `forced_share` is in shares of an answer's tokens."""
    n = np.bincount(rows, minlength=sample.rows)
    return {figure: mean_of(sums, n) for figure, sums in sample.sums.items()}


def sums_of(values: np.ndarray) -> np.ndarray:
    """Sums and numbers [M, 2, questions] of what is there of values [M, questions, positions]."""
    return np.stack([np.nansum(values, -1), np.isfinite(values).sum(-1)], 1)


def mean_of(sums: np.ndarray, n: np.ndarray) -> float:
    """Mean under weights n [M]: within each question, then over those where anything is there; nan where nothing is."""
    total, count = np.tensordot(n, sums, 1)
    there = count > 0
    return float((total[there] / count[there]).mean()) if there.any() else float("nan")


def draw(interview: Interview, samples: dict[str, Read]) -> dict[str, str]:
    """Rank and KL against the position, and the share of answers that the base model gives after so many forced tokens; a row a model."""
    shown = POSITIONS[:SHOWN]
    counted = {t: str(t) for t in shown[::2]}
    numbered = {t: str(t + 1) for t in shown[::2]}
    plots = {"rank": _lines(interview, samples, lambda s: np.log2(s.rank[..., :SHOWN]), numbered, "token of the answer: log2 of its rank")}
    if distributions := {name: s for name, s in samples.items() if s.kl is not None}:
        plots["kl"] = _lines(
            interview, distributions, lambda s: s.kl[..., :SHOWN], numbered, "token of the answer: nats from the base model"
        )
    if closed := {name: s for name, s in samples.items() if "forced" in s.sums}:
        plots["forced"] = _lines(interview, closed, _given, counted, "tokens forced: the base model then says the answer", True)
    return plots


def _given(sample: Read) -> np.ndarray:
    """Whether the base model gives the answer after so many forced tokens [M, questions, shown positions]."""
    return np.where(np.isnan(sample.forced), np.nan, np.array(POSITIONS[:SHOWN])[:, None, None] >= sample.forced).transpose(1, 2, 0)


def _lines(
    interview: Interview, samples: dict[str, Read], read: Callable[[Read], np.ndarray], ticks: dict[float, str], about: str,
    percent: bool = False,
) -> str:  # fmt: skip
    """A row a model: the mean of `read` [M, questions, positions] at each position, and its interval."""
    lines = {}
    for name, sample in samples.items():
        at = [sums_of(column[..., None]) for column in np.moveaxis(read(sample), -1, 0)]

        def means(rows: np.ndarray, at: list[np.ndarray] = at, m: int = sample.rows) -> dict[str, float]:
            n = np.bincount(rows, minlength=m)
            return {str(t): mean_of(sums, n) for t, sums in enumerate(at)}

        found = measure(means, sample.rows, interview.rng("substitution", about, name))
        lines[name] = np.array([found.interval(str(t)) for t in range(len(at))]).T
    return bands_plot(lines, POSITIONS[:SHOWN], ticks, about, percent=percent)


PROBE = Probe(
    name="substitution",
    title="Which tokens would the base model not have chosen?",
    caption="The answers of each model, read under the base model token by token (broken line: the base model's own answers): how far "
    "down its list the token stands, and how far the two distributions of the next token are apart. Peaks show what tuning "
    "changed, flat stretches what it left alone. Forced: how many answers the base model gives once their first tokens are given;"
    " a line that rises early shows that few tokens make the difference.",
    headline="kl",
    best={"log2_rank": None, "unshifted": None, "shifted": None, "kl": float("nan"), "kl_mixture": float("nan")}
    | {"forced": None, "forced_share": None},
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)
