"""Probe 9, poems: do they all rhyme? The joint distribution of rhyme, stanzas and length of lines.

A form is read off the text alone, people's as well as models', with the pronunciations of the CMU dictionary (the package `pronouncing`):

    rhyme     rhymed where at least half of the lines rhyme with another within REACH lines; a word does not rhyme with itself
    stanzas   1, 2 or more, by blank lines; a single line set apart first or last is a title or a remark, and no part of the poem
    lines     short, middle or long, by the median of their syllables

A text of fewer than two lines is no poem. Feet are not told: the dictionary stresses every word of one syllable, and short lines have no
others.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import chain, product

import numpy as np
from matplotlib.patches import Rectangle

from raterhf.evaluation import metrics
from raterhf.evaluation.probes.interview import PEOPLE, Interview, ProbeQuestion
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.probe import Probe
from raterhf.reports.style import LETTER, WIDTH, canvas, policy_colour, policy_name, svg_text

REACH = 3  # lines: abab and abba rhyme across it
MIDDLE, LONG = 4, 9  # syllables from which lines are of middle length (of two feet and more), and long (pentameters)
FORMS = list(product(("rhymed", "free"), ("1 stanza", "2 stanzas", "more"), ("short", "middle", "long")))
NAMES = [", ".join(form) for form in FORMS]
RHYMED = np.array([form[0] == "rhymed" for form in FORMS] + [False])
MARKS = re.compile(r"^[\s>#*_]+|[\s*_]+$")  # Markdown around a line


def stanzas_of(text: str) -> list[list[str]]:
    """The stanzas of a poem, as lists of their lines, without title and remarks."""
    stanzas: list[list[str]] = [[]]
    for line in text.splitlines():
        if bare := MARKS.sub("", line):
            stanzas[-1].append(bare)
        elif stanzas[-1]:
            stanzas.append([])
    found = [lines for lines in stanzas if lines]
    if any(len(lines) > 1 for lines in found):
        while len(found[0]) == 1:
            found.pop(0)
        while len(found[-1]) == 1:
            found.pop()
    return found


def form_of(text: str) -> int:
    """The place of a text's form in FORMS, -1 where it is no poem."""
    stanzas = stanzas_of(text)
    lines = [found for line in chain.from_iterable(stanzas) if (found := spoken(line))]
    if len(lines) < 2:
        return -1
    ends = [line[-1] for line in lines]
    near = [[other for j, other in enumerate(ends) if 0 < abs(i - j) <= REACH] for i in range(len(ends))]
    rhymed = sum(any(rhymes(end, other) for other in others) for end, others in zip(ends, near)) >= len(ends) / 2
    length = float(np.median([sum(map(syllables, line)) for line in lines]))
    return (0 if rhymed else 9) + 3 * min(len(stanzas) - 1, 2) + (length >= MIDDLE) + (length >= LONG)


def spoken(line: str) -> list[str]:
    return re.findall(r"[a-z]+(?:'[a-z]+)*", line.lower().replace("’", "'"))


@cache
def phones(word: str) -> list[str]:
    import pronouncing

    return pronouncing.phones_for_word(word)


@cache
def rhyming_parts(word: str) -> frozenset[str]:
    """The sounds from the last stressed vowel on, in each pronunciation; none of a word that the dictionary does not have."""
    import pronouncing

    return frozenset(re.sub(r"\d", "", pronouncing.rhyming_part(one)) for one in phones(word))


def rhymes(a: str, b: str) -> bool:
    return a != b and not rhyming_parts(a).isdisjoint(rhyming_parts(b))


@cache
def syllables(word: str) -> int:
    """By the dictionary, else the groups of vowels in the spelling."""
    import pronouncing

    return pronouncing.syllable_count(phones(word)[0]) if phones(word) else max(1, len(re.findall(r"[aeiouy]+", word)))


@dataclass(frozen=True)
class Poems:
    """The forms of R poems on each question, as places in FORMS, -1 where a text is none.

    `plain` [questions, R]; `framed` the same where the question says not to rhyme, of the questions that do. `distributions` are people's
    distributions of forms and `floors` the tv of the best learner, None where nobody knows.
    """

    questions: list[ProbeQuestion]
    plain: np.ndarray
    framed: np.ndarray | None
    distributions: list[np.ndarray | None]
    floors: list[float | None]

    @property
    def rows(self) -> int:
        return self.plain.shape[1]

    def distribution(self, i: int, rows: np.ndarray) -> np.ndarray:
        """Distribution [FORMS + 1] of the poems on question i in these rows."""
        return np.bincount(self.plain[i, rows] % (len(FORMS) + 1), minlength=len(FORMS) + 1) / len(rows)  # -1 is the last


def forms_of_classes(question: ProbeQuestion) -> np.ndarray:
    """Forms [K] of a closed question's classes: of the first text of each, which nothing is put around."""
    return np.array([form_of(question.texts[int(np.flatnonzero(question.class_of == k)[0])]) for k in range(len(question.classes))], int)


def distribution_of_people(question: ProbeQuestion) -> np.ndarray | None:
    """People's distribution [FORMS] of forms where their distribution of classes is known."""
    if question.distribution is None:
        return None
    forms = forms_of_classes(question)
    if (forms < 0).any():
        raise CannotMeasure(f"{question.key}: the text of {question.classes[forms.argmin()]!r} is no poem of at least two lines")
    return np.bincount(forms, weights=question.distribution, minlength=len(FORMS))


def ask(interview: Interview, name: str) -> Poems:
    questions = interview.about("poems")
    if find_spec("pronouncing") is None:
        raise CannotMeasure("rhymes need the package `pronouncing`; pip install 'raterhf[probes]'")
    distributions = [distribution_of_people(question) for question in questions]
    plain = [_forms(interview, name, question, distribution) for question, distribution in zip(questions, distributions)]
    # People of a world, who answer a framed question as they answer the plain one, were not asked to leave rhyme out.
    framed = [_forms(interview, name, question, None, framed=True) for question in questions if question.framed and name != PEOPLE]
    labels = {} if name == PEOPLE else interview.labels
    rng = interview.rng("poem floors")
    floors = [
        None if distribution is None else metrics.tv_floor(distribution, labels.get(question.key), interview.draws, rng, 500)
        for question, distribution in zip(questions, distributions)
    ]
    return Poems(questions, np.stack(plain), np.stack(framed) if framed else None, distributions, floors)


def _forms(interview: Interview, name: str, question: ProbeQuestion, distribution: np.ndarray | None, framed: bool = False) -> np.ndarray:
    """The forms [R] of what was said: a known text's is its class's, whatever it is put in; another text's is its own."""
    answers = interview.answers(name, question, framed)
    of_class = forms_of_classes(question)
    forms = np.array([of_class[k] if k >= 0 else form_of(text) for text, k in zip(answers.texts, answers.classes)])
    if not (forms >= 0).any():
        raise CannotMeasure(f"{question.key}: none of {len(forms)} answers of {name} is a poem of at least two lines")
    at_least = len(FORMS) if distribution is None else np.count_nonzero(distribution)
    if len(forms) < at_least:
        raise CannotMeasure(f"{question.key}: {len(forms)} draws for {at_least} forms; raise -n")
    return forms


def metrics_of(poems: Poems, rows: np.ndarray) -> dict[str, float]:
    """Means over questions. `etv` and `entropy_ratio` where people's distribution is known; `still_rhymes` where rhyme was to be left
    out."""
    found: dict[str, list[float]] = {}
    for i in range(len(poems.questions)):
        p, q = poems.distribution(i, rows), poems.distributions[i]
        valid = 1 - p[-1]
        row = {"default_share": float(p[:-1].max()), "valid": float(valid)}
        row["forms"] = float(np.exp(metrics.entropy(p, len(rows))))
        row["rhymed"] = float(p[RHYMED].sum() / valid) if valid > 0 else float("nan")
        row["departures"] = float(1 - p[:-1].max() / valid) if valid > 0 else float("nan")
        if q is not None:
            row["etv"] = metrics.tv(p, q) - poems.floors[i]
            row["entropy_ratio"] = metrics.entropy_ratio(p, q, len(rows))
        for figure, value in row.items():
            found.setdefault(figure, []).append(value)
    if poems.framed is not None:
        asked = poems.framed[:, rows]
        with np.errstate(invalid="ignore"):
            found["still_rhymes"] = list(RHYMED[asked].sum(1) / (asked >= 0).sum(1))
    return {figure: float(np.mean(values)) for figure, values in found.items()}


def draw(interview: Interview, samples: dict[str, Poems]) -> dict[str, str]:
    return {question.key: _table(i, samples) for i, question in enumerate(next(iter(samples.values())).questions)}


def _table(i: int, samples: dict[str, Poems]) -> str:
    """Shares of the forms in per cent, a row a form and a column a model, without the forms that nobody has in one poem of a hundred."""
    distributions = np.stack([poems.distribution(i, np.arange(poems.rows)) for poems in samples.values()])
    shown = [k for k in np.argsort(-distributions.mean(0), kind="stable") if distributions[:, k].max() >= 0.01]
    shown = [k for k in shown if k < len(FORMS)] + [k for k in shown if k == len(FORMS)]
    labels = [*NAMES, "no poem"]
    left, high = 6 + LETTER * max(len(labels[k]) for k in shown), 22
    top = 14 + 0.87 * LETTER * max(len(policy_name(name)) for name in samples)
    figure, (ax,) = canvas(WIDTH, top + high * len(shown) + 6, left, right=34, top=top, bottom=6)
    for x, name in enumerate(samples):
        for y, k in enumerate(shown):
            ax.add_patch(Rectangle((x, y), 0.94, 0.9, color=policy_colour(name), alpha=0.08 + 0.72 * distributions[x, k], linewidth=0))
            ax.text(x + 0.47, y + 0.47, f"{100 * distributions[x, k]:.0f}", ha="center", va="center")
        ax.text(x + 0.4, -0.15, policy_name(name), rotation=60, ha="left", va="bottom", rotation_mode="anchor", color=policy_colour(name))
    ax.set(xlim=(0, len(samples)), ylim=(len(shown), 0))
    ax.spines["bottom"].set_visible(False)
    ax.set_xticks([])
    ax.set_yticks(np.arange(len(shown)) + 0.45, [labels[k] for k in shown])
    return svg_text(figure)


PROBE = Probe(
    name="forms",
    title="Do all poems have one form?",
    caption="Per cent of the poems that have each form: rhyme, stanzas, and length of lines by syllables. A collapsed model has one dark "
    "cell. `default_share` is the share of a model's own most frequent form, `departures` that of all others among its poems; "
    "`still_rhymes` is how many poems rhyme that were asked not to.",
    headline="default_share",
    best={
        "etv": 0.0, "entropy_ratio": 1.0, "default_share": None, "departures": None, "forms": None, "rhymed": None, "still_rhymes": 0.0,
        "valid": 1.0,
    },
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)  # fmt: skip
