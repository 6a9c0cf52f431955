"""Probe 12, coherence: is one rater one person? Answers of one rater to different questions hang together as one person's do.

The questions are the tastes of a world, else all closed ones. Row r of a model is one rater, who answers every question, beside one person;
a model without raters answers each question afresh and is nobody. People stand against themselves, in halves.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raterhf.evaluation import metrics
from raterhf.evaluation.metrics import coherence
from raterhf.evaluation.probes.interview import PEOPLE, Interview, ProbeQuestion
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.probe import Probe
from raterhf.reports.heat import heat_plot, mi_plot
from raterhf.reports.style import hue

MIN_RATERS = 5  # the classifiers' folds


@dataclass(frozen=True)
class Tables:
    """Who answered what: `said` and `people` [R, Q] are classes, -1 invalid; `again` [R, Q] what the same raters said when asked once more.

    `scores` [2, R] are how fictitious a classifier finds each rater, and each person. `again` is None for people, who were asked once.
    """

    questions: list[ProbeQuestion]
    answers: np.ndarray
    people: np.ndarray
    again: np.ndarray | None
    scores: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.answers)

    @cached_property
    def widths(self) -> np.ndarray:
        return np.array([len(q.classes) + 1 for q in self.questions])

    @cached_property
    def starts(self) -> np.ndarray:
        return coherence.starts_of(self.widths)

    @cached_property
    def hot(self) -> tuple[np.ndarray, np.ndarray]:
        """One-hot answers [R, sum of K + 1] of raters and of people."""
        return coherence.one_hot(self.answers, self.widths), coherence.one_hot(self.people, self.widths)

    @cached_property
    def chance(self) -> tuple[np.ndarray, np.ndarray]:
        """Mutual information [Q, Q] by chance of R raters, and of R people."""
        return coherence.expected_information(self.answers), coherence.expected_information(self.people)

    @cached_property
    def joint_floor(self) -> float:
        return coherence.tables_floor(*self.hot, self.starts, np.random.default_rng(0))

    @cached_property
    def wins(self) -> np.ndarray:
        """[R, R] 1 where the rater is found more fictitious than the person, 1/2 for a tie."""
        raters, people = self.scores
        return ((raters[:, None] > people) + 0.5 * (raters[:, None] == people)).astype(np.float32)


def ask(interview: Interview, name: str) -> Tables:
    questions = persons(interview)
    people = np.stack([interview.people[q.key].classes for q in questions], 1)
    half = len(people) // 2
    if name == PEOPLE:
        answers, people, again = people[:half], people[half:], None
    else:
        answers = np.stack([interview.answers(name, q).classes for q in questions], 1)
        again = ask_again(interview, name, questions)
    rows = min(len(answers), len(people))
    if rows < MIN_RATERS:
        raise CannotMeasure(f"{rows} raters of {name} beside {rows} people; {MIN_RATERS} are needed: raise -n")
    if not (answers >= 0).any():
        raise CannotMeasure(f"none of {answers.size} answers of {name} is valid")
    answers, people = answers[:rows], people[:rows]
    scores = np.stack(metrics.c2st_scores(answers, people, interview.seed))
    return Tables(questions, answers, people, None if again is None else again[:rows], scores)


def persons(interview: Interview) -> list[ProbeQuestion]:
    """Questions whose answers tell who somebody is: tastes, or without two of them all closed ones, if people's answers are known."""
    closed = [q for q in interview.questions if q.classes and q.key in interview.people]
    tastes = [q for q in closed if q.kind == "taste"]
    if len(closed) < 2:
        raise CannotMeasure(f"{len(closed)} closed questions have answers of people; that answers hang together needs two")
    return tastes if len(tastes) > 1 else closed


def ask_again(interview: Interview, name: str, questions: list[ProbeQuestion]) -> np.ndarray:
    """Classes [R, Q] of what the raters of `Interview.said` answer when they are asked once more."""
    model, raters = interview.policies[name], interview.raters(name, interview.draws)
    columns = []
    for question in questions:
        rng = interview.rng("again", question.key)
        seed = int(rng.integers(2**31))
        prompts = [question.prompts[i] for i in rng.integers(len(question.prompts), size=len(raters))]
        texts = model.texts(model.answer(prompts, raters, seed))
        columns.append([question.parse(text) for text in texts])
    return np.array(columns).T


def metrics_of(tables: Tables, rows: np.ndarray) -> dict[str, float]:
    """Mutual information over people's, joint tv to people minus its floor, the AUC of telling apart, and Fleiss' kappa of two askings."""
    weight = np.bincount(rows, minlength=tables.rows).astype(np.float32) / len(rows)
    # Chance falls as one over the number of raters, the floor of a tv as one over its root; a resample repeats some, which are fewer then.
    share = tables.rows * float(weight @ weight)
    raters, people = (hot[rows] for hot in tables.hot)
    own, real = (
        metrics.mean_over_pairs(coherence.information(hot, tables.widths) - chance * share)
        for hot, chance in zip((raters, people), tables.chance, strict=True)
    )
    found = {
        "mi": own,
        "mi_ratio": own / real if real > 0 else float("nan"),
        "joint_tv": coherence.tables_tv(raters, people, tables.starts) - tables.joint_floor * share**0.5,
        "c2st_auc": float(weight @ tables.wins @ weight),
    }
    return found | ({} if tables.again is None else {"kappa": kappa(tables, rows)})


def kappa(tables: Tables, rows: np.ndarray) -> float:
    """Mean of Fleiss' kappa of the two askings over the questions where it exists; nan for none."""
    same = (tables.answers[rows] == tables.again[rows]).mean(0)
    shares = (tables.hot[0][rows].mean(0) + coherence.one_hot(tables.again[rows], tables.widths).mean(0)) / 2
    chance = np.add.reduceat(shares**2, tables.starts)
    there = chance < 1 - 1e-6
    return float(((same[there] - chance[there]) / (1 - chance[there])).mean()) if there.any() else float("nan")


def draw(interview: Interview, samples: dict[str, Tables]) -> dict[str, str]:
    """Answers of raters side by side, and mutual information of pairs of questions; controls only where there is nobody else."""
    shown = [name for name in samples if hue(name) != "controls"] or list(samples)
    labels = [q.key for q in samples[shown[0]].questions]
    matrices = {name: metrics.mutual_information(samples[name].answers) for name in shown}
    top = max(1e-9, *(np.nanmax(m) for m in matrices.values()))
    plots = {f"answers-{name}": heat_plot(samples[name].answers, labels) for name in shown}
    return plots | {f"mi-{name}": mi_plot(matrices[name], labels, top) for name in shown}


PROBE = Probe(
    name="coherence",
    title="Is one rater one person?",
    caption="answers: each column is a rater, each row a question, each colour an answer; similar people stand together in stripes, a "
    "model without raters shows noise or one colour. mi: the mutual information of two answers, in nats, darker is more; a "
    "sampler of persons has people's pattern, a model that ignores its raters an empty one.",
    headline="mi_ratio",
    best={"mi_ratio": 1.0, "mi": None, "joint_tv": 0.0, "c2st_auc": 0.5, "kappa": float("nan")},
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)
