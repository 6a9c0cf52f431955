"""What an audit reads: the labels of one kind as arrays, from whatever files and columns `raterhf data check` reads.

Comparisons are read as they are, ratings as numbers, own answers among options as a choice between the answer given and one other option
that is drawn. Own answers that are free text compare nothing. Which side stood first is kept where the file tells it, else drawn.

Notation: R raters, I items (an answer to a prompt), N labels.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from raterhf.data.inspection.choices import Choices, Votes, encode, first_votes, numbered, told_choices, told_votes
from raterhf.data.labels import Labels
from raterhf.data.normalise import keys
from raterhf.log import log
from raterhf.raters.disagreement import Pairs
from raterhf.raters.items import Ratings
from raterhf.raters.pairs import Comparisons

MOST = {"comparisons": 200_000, "own answers": 100_000, "ratings": 1_000_000}  # labels read; raters are drawn until they have as many
ASKED = 20_000  # pairs of ratings that are asked about


@dataclass(frozen=True)
class Judged:
    """Labels of one kind.

    `raters` [R] are IDs; `prompts` and `texts` [I] each item's; `group` [I] the number of its prompt, and items of one are compared with
    one another. `said` are the labels; `votes` their values by question, for who agrees with whom, of `values` kinds; `compared` [Q, 2] the
    items of each question where that is a pair. `sided` is the share of labels whose first side is known; `everybody` how many raters there
    were before some were drawn.
    """

    kind: str
    raters: np.ndarray
    prompts: np.ndarray
    texts: np.ndarray
    group: np.ndarray
    said: Comparisons | Ratings
    votes: Votes
    values: int
    compared: np.ndarray | None
    sided: float
    everybody: int

    def __len__(self) -> int:
        return len(self.said)

    def decided(self) -> Comparisons:
        """The comparisons but ties, of which nothing is asked: a tie names nobody's preference."""
        assert isinstance(self.said, Comparisons)
        return self.said.rows(np.flatnonzero(self.said.won != 0.5))

    def met(self) -> np.ndarray:
        """How many raters judged each item [I]."""
        said = self.said
        items = [said.item] if isinstance(said, Ratings) else [said.a, said.b]
        seen = np.unique(np.concatenate([said.rater * len(self.texts) + item for item in items]))
        return np.bincount(seen % len(self.texts), minlength=len(self.texts))


def judged(rows: dict[str, pd.DataFrame], seed: int) -> list[Judged]:
    """The kinds of labels that there are in what `statements_of` read."""
    found = []
    labels = Labels(rows["comparisons"], rows["demonstrations"], pd.DataFrame(), {})
    coded = encode(labels)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x6A7564]))
    if len(coded.choices):
        found.append(_from_choices("comparisons", coded.choices, coded, rng))
    if len(rows["ratings"]):
        found.append(_from_ratings(rows["ratings"], rng))
    if len(coded.told_rater):
        if (choices := told_choices(coded)) is None:
            log.info("  own answers are free text: nobody chose between the same things, so they tell nothing of disagreement")
        elif len(choices):
            found.append(_from_choices("own answers", _one_each(choices, rng), coded, rng, told_votes(coded)))
    return found


def _one_each(choices: Choices, rng: np.random.Generator) -> Choices:
    """Of the comparisons of an answer with every other option one, drawn: together they would count one answer many times."""
    said = np.flatnonzero(np.diff(np.stack([choices.rater, choices.prompt, choices.a]), prepend=-1).any(0))  # an answer's rows are together
    sizes = np.diff(np.append(said, len(choices)))
    rows = said + (rng.random(len(said)) * sizes).astype(np.int64)
    parts = (getattr(choices, name)[rows] for name in ("rater", "prompt", "a", "b", "label", "sided", "question", "answer"))
    return Choices(*parts, choices.text)


def _from_choices(kind: str, choices: Choices, coded, rng: np.random.Generator, votes: Votes | None = None) -> Judged:
    taken = _drawn(choices.rater, MOST[kind], rng)
    rater, people = pd.factorize(choices.rater[taken], sort=True)
    swap = ~choices.sided[taken] & (rng.random(len(taken)) < 0.5)
    a, b, label = choices.a[taken], choices.b[taken], choices.label[taken]
    a, b, label = np.where(swap, b, a), np.where(swap, a, b), np.where(swap, -label, label)
    items, place = np.unique(np.concatenate([a, b]), return_inverse=True)
    a, b = place[: len(a)], place[len(a) :]
    prompt = np.empty(len(items), np.int64)
    prompt[a], prompt[b] = choices.prompt[taken], choices.prompt[taken]
    texts = coded.texts[choices.text[items]]
    length = np.log1p(np.fromiter(map(len, texts), float, len(texts)))
    apart = (length[a] - length[b])[:, None] if kind == "comparisons" else np.zeros((len(a), 0))
    compared = None
    if votes is None:
        decided = np.flatnonzero(label != 0)
        low, high = np.minimum(a, b), np.maximum(a, b)
        question = numbered(low * len(items) + high)
        votes = first_votes(rater[decided], question[decided], (np.where(a < b, label, -label)[decided] + 1) // 2)
        first = np.sort(np.unique(question[decided], return_index=True)[1])
        compared = np.stack([low[decided][first], high[decided][first]], 1)
    else:
        kept = np.isin(votes.rater, people)
        votes = Votes(np.searchsorted(people, votes.rater[kept]), numbered(votes.question[kept]), votes.value[kept])
    said = Comparisons(rater, a, b, (label + 1) / 2, apart)
    values, everybody = int(votes.value.max(initial=1)) + 1, len(np.unique(choices.rater))
    sided = float(choices.sided[taken].mean())
    return Judged(
        kind, coded.raters[people], coded.prompts[prompt], texts, numbered(prompt), said, votes, values, compared, sided, everybody
    )


def _from_ratings(rows: pd.DataFrame, rng: np.random.Generator) -> Judged:
    taken = _drawn(pd.factorize(rows["rater_id"])[0], MOST["ratings"], rng)
    rows = rows.iloc[taken]
    rater, people = pd.factorize(rows["rater_id"].to_numpy(object), sort=True)
    asked = keys(rows["prompt"]).to_numpy(object)
    if "attribute" in rows:
        asked = np.array([f"{prompt} ({name})" if name else prompt for prompt, name in zip(asked, rows["attribute"])], object)
    prompt, prompts = pd.factorize(asked)
    text, texts = pd.factorize(rows["response"].to_numpy(object))
    item, found = pd.factorize(prompt * len(texts) + text)
    values = rows["rating"].to_numpy(float)
    votes = first_votes(rater, item, pd.factorize(values)[0])
    group = found // len(texts)
    return Judged(
        "ratings", people, prompts[group], texts[found % len(texts)], group, Ratings(rater, item, values), votes,
        int(votes.value.max()) + 1, None, 0.0, len(people),
    )  # fmt: skip


def _drawn(rater: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of raters, all of them, or as many of each and of as many raters as come to `most`."""
    if len(rater) <= most:
        return np.arange(len(rater))
    count = np.bincount(rater)
    people = rng.permutation(len(count))
    taken = people[np.cumsum(count[people]) <= most]
    log.info(f"  {len(taken)} of {len(count)} raters are read, drawn by the seed: the labels of all are more than {most}")
    return np.flatnonzero(np.isin(rater, taken))


def pairs_asked(data: Judged, seed: int) -> Pairs:
    """Pairs that raters judged: those of comparisons, and of ratings two that one person gave to answers to one prompt."""
    said = data.said
    if isinstance(said, Comparisons):
        decided = data.decided()
        return Pairs(decided.a, decided.b, decided.apart)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x61736B]))
    key = said.rater * (int(data.group.max()) + 1) + data.group[said.item]
    order = np.argsort(key, kind="stable")
    first = np.flatnonzero(np.diff(key[order], prepend=-1))
    sizes = np.diff(np.append(first, len(order)))
    run = np.repeat(np.arange(len(first)), sizes)
    rows = rng.integers(len(order), size=2 * ASKED)
    others = first[run[rows]] + (rng.random(len(rows)) * sizes[run[rows]]).astype(np.int64)
    a, b = said.item[order[rows]], said.item[order[others]]
    differ = np.flatnonzero(a != b)[:ASKED]
    return Pairs(a[differ], b[differ], np.zeros((len(differ), 0)))
