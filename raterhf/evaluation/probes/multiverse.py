"""Probe 4, multiverse: how many ways does an answer go on? (A tuned model's tree of continuations is one trunk.)

The tree of all answers to one wording of a question is grown with exact probabilities, down to texts of `LEAST` (`tree.py`): for a model
with fictitious raters their mixture. Its leaves are finished texts. After "loom" of Reynolds and McDonell (2021), Multiversal views on
language models, and the branching factor of Yang and Holtzman (2025), How alignment shrinks the generative horizon.

Rows are raters; a model without raters has one row, exact. People's tree holds the texts of their answers, with their distribution where a
world knows it, else as often as they were said; it is cut into the first model's tokens.
"""

from dataclasses import dataclass

import numpy as np

from raterhf.evaluation.metrics.leaves import leaf_entropy, leaf_tv, repeat_probability
from raterhf.evaluation.probes.interview import PEOPLE, Interview, ProbeQuestion
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.probe import Probe
from raterhf.evaluation.probes.tree import LEAST, Stretch, Tree, grow, of_endings, stretches
from raterhf.reports.icicle import Box, icicle
from raterhf.reports.style import policy_colour, policy_name

TOPICS = ("numbers", "odd", "stories", "poems")
RATERS = 32
ENOUGH = 0.5  # of the probability on finished texts, for trees to be compared text by text
SHOWN_RATER = 1


@dataclass(frozen=True)
class Leaves:
    """What one model says to each question. `finished` [R, F] are probabilities of finished texts, `leaves` [R, L] of these and of begun
    ones that were not followed, `answers` [R, A] of classes, the last one invalid or not finished, and where there are none of leaves;
    `reference` [F] is the probability that people, or else the first model, give to the finished texts, and
    `compared` whether it can be read against. `trees` are what is drawn, `one` the first question's under rater number 1.
    """

    questions: list[ProbeQuestion]
    finished: list[np.ndarray]
    leaves: list[np.ndarray]
    answers: list[np.ndarray]
    reference: list[np.ndarray]
    compared: list[bool]
    trees: list[Tree]
    one: Tree | None

    @property
    def rows(self) -> int:
        return len(self.leaves[0])


def one_of_each(interview: Interview, topics: tuple[str, ...]) -> list[ProbeQuestion]:
    """The first of the questions with fewest classes of each of these topics that has one; CannotMeasure where none has."""
    found = [[q for q in interview.questions if q.topic == topic] for topic in topics]
    if not any(found):
        raise CannotMeasure(f"no question of this run is about {', '.join(topics)}")
    return [min(of_topic, key=lambda q: len(q.classes)) for of_topic in found if of_topic]


def ask(interview: Interview, name: str) -> Leaves:
    questions = one_of_each(interview, TOPICS)
    if name == PEOPLE:
        questions = [q for q in questions if q.key in interview.people]
        if not questions:
            raise CannotMeasure(f"nobody was asked about {', '.join(TOPICS)}")
    trees = [_tree(interview, name, q) for q in questions]
    finished, leaves, answers, reference, compared = [], [], [], [], []
    for question, tree in zip(questions, trees):
        own = _by_text(interview, name, tree)
        against = _reference(interview, question)
        finished.append(np.stack(list(own.values()), 1))
        leaves.append(np.stack([*own.values(), *(tree.begun[path] for path in tree.open)], 1))
        answers.append(_by_class(question, list(own), finished[-1]) if question.classes else leaves[-1])
        reference.append(np.array([against.get(text, 0.0) for text in own]))
        compared.append(min(sum(against.values()), finished[-1].sum(1).mean()) >= ENOUGH)
    one = None
    if name != PEOPLE and interview.policies[name].draws == "new":
        model = interview.policies[name]
        one = grow(model, questions[0].prompts[0], [model.pool.fictitious(SHOWN_RATER)])
    return Leaves(questions, finished, leaves, answers, reference, compared, trees, one)


def _tree(interview: Interview, name: str, question: ProbeQuestion) -> Tree:
    if name == PEOPLE:
        return _people_tree(interview, question)

    key = ("tree", name, question.key)
    if key not in interview.kept:
        model = interview.policies[name]
        raters = interview.raters(name, 1 if model.draws == "none" else RATERS)
        interview.kept[key] = grow(model, question.prompts[0], raters)
    return interview.kept[key]


def _people_tree(interview: Interview, question: ProbeQuestion) -> Tree:
    """Texts as people put them: with the distribution of their classes, where it is known, else one row a person."""
    completions = interview.people[question.key]
    first = next(iter(interview.policies.values()))
    head = first.renderer.prompt(question.prompts[0])
    tokens = {text: first.renderer.example(question.prompts[0], text).ids[len(head) : -1] for text in set(completions.texts)}
    if question.distribution is None:
        return of_endings((tokens[text], row) for text, row in zip(completions.texts, np.eye(completions.rows)))
    texts = {k: text for k, text in zip(completions.classes.tolist(), completions.texts) if k >= 0}
    return of_endings((tokens[text], question.distribution[k : k + 1]) for k, text in sorted(texts.items()))


def _by_text(interview: Interview, name: str, tree: Tree) -> dict[str, np.ndarray]:
    """Probabilities [R] of finished texts: one text may be said in several tokenisations, and models differ in their tokens."""
    model = next(iter(interview.policies.values())) if name == PEOPLE else interview.policies[name]
    found: dict[str, np.ndarray] = {}
    for path, probability in tree.ended.items():
        text = model.renderer.tokenizer.decode(path, skip_special_tokens=True).strip()
        found[text] = found.get(text, 0.0) + probability
    if not found:
        raise CannotMeasure(f"{name} finishes no text within its {model.max_new_tokens} tokens")
    return found


def _by_class(question: ProbeQuestion, texts: list[str], finished: np.ndarray) -> np.ndarray:
    """Probabilities [R, K + 1] of classes; the last is what is invalid or was not followed to its end."""
    kinds = np.array([question.parse(text) for text in texts])
    classes = finished @ np.eye(len(question.classes) + 1)[kinds]  # -1 is the last
    classes[:, -1] = np.maximum(0.0, 1 - classes[:, :-1].sum(1))
    return classes


def _reference(interview: Interview, question: ProbeQuestion) -> dict[str, float]:
    name = PEOPLE if question.key in interview.people else next(iter(interview.policies))
    texts = _by_text(interview, name, _tree(interview, name, question))
    return {text: float(probability.mean()) for text, probability in texts.items()}


def metrics_of(sample: Leaves, rows: np.ndarray) -> dict[str, float]:
    """Means over questions, of effective numbers geometric ones. `answers` is exp(entropy) of the classes, `leaves` of the texts, at least,
    and `leaves_2` 1 / sum p^2 of these, at least; `captured` is the probability of finished texts, `top_leaf` of the likeliest one;
    `tree_tv` the distance from people's texts, or else the first model's, at most.
    """
    n = np.bincount(rows, minlength=sample.rows) / len(rows)
    finished, leaves = [n @ f for f in sample.finished], [n @ p for p in sample.leaves]
    found = {
        "answers": float(np.exp(np.mean([leaf_entropy(n @ a, LEAST) for a in sample.answers]))),
        "leaves": float(np.exp(np.mean([leaf_entropy(p, LEAST) for p in leaves]))),
        "leaves_2": float(np.exp(-np.mean([np.log(repeat_probability(p, LEAST)) for p in leaves]))),
        "top_leaf": float(np.mean([p.max() for p in finished])),
        "captured": float(np.mean([p.sum() for p in finished])),
    }
    apart = [leaf_tv(p, q) for p, q, there in zip(finished, sample.reference, sample.compared) if there]
    return found | ({"tree_tv": float(np.mean(apart))} if apart else {})


def draw(interview: Interview, samples: dict[str, Leaves]) -> dict[str, str]:
    """An icicle of the first question for each model, and one of a single fictitious rater of the last model that has raters."""
    plots, alone = {}, {}
    for name, sample in samples.items():
        key = sample.questions[0].key
        plots[f"{key}-{name}"] = icicle(boxes(interview, name, sample.trees[0]), policy_colour(name), policy_name(name))
        if sample.one:
            label = f"one fictitious rater, new:{SHOWN_RATER}"
            alone = {f"{key}-new-{SHOWN_RATER}": icicle(boxes(interview, name, sample.one), policy_colour(name), label)}
    return plots | alone


def boxes(interview: Interview, name: str, tree: Tree) -> list[Box]:
    """Where each stretch of tokens without a branch stands: its column, its top and its height in shares of the whole, and its text."""
    model = next(iter(interview.policies.values())) if name == PEOPLE else interview.policies[name]
    decode = model.renderer.tokenizer.decode
    found: list[Box] = []

    def place(stretch: Stretch, column: int, top: float) -> None:
        if stretch.path:
            text = decode(stretch.path[stretch.start :], skip_special_tokens=True)
            found.append(Box(column, top, stretch.mass, text, stretch.is_end))
            column += 1
        end = [(stretch.ends, None)] if stretch.ends >= LEAST else []
        ways = [(way.mass, way) for way in stretch.ways] + end
        for share, way in [] if stretch.is_end else sorted(ways, key=lambda one: -one[0]):
            if way is None:
                found.append(Box(column, top, share, "", True))
            else:
                place(way, column, top)
            top += share

    place(stretches(tree), 0, 0.0)
    return found


PROBE = Probe(
    name="multiverse",
    title="How many ways can an answer go on?",
    caption="Answers grow from left to right; the height of a box is the probability that an answer begins so. Texts without a branch are "
    "one box, and what is less likely than 0.2 % is left blank. A collapsed model is one bar from left to right; people, and fictitious "
    "raters taken together, branch; one rater alone need not.",
    headline="answers",
    best={"answers": None, "leaves": None, "leaves_2": None, "top_leaf": None, "captured": float("nan"), "tree_tv": 0.0},
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)
