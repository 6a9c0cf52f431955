"""All figures of `raterhf data check` from labels that were read: who, what, agreement, habits, shortcuts, leaks, IDs, and the verdict.

The result is JSON-like and has no texts of the data but short examples. Nothing is trained; texts are tokenised where a renderer is given.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raterhf.data import notices
from raterhf.data.inspection import agreement, habits, leaks, shortcuts, taste, texts
from raterhf.data.inspection.choices import Coded, encode, first_votes, independent, pair_votes, told_choices, told_votes
from raterhf.data.inspection.people import who
from raterhf.data.inspection.verdict import verdict
from raterhf.data.labels import Labels
from raterhf.data.schema import DATA_KINDS

if TYPE_CHECKING:
    from raterhf.data.renderer import Renderer

VALUES = 3  # of a comparison: worse, equal, better
REASONS = 3  # of raters, that are shown


def inspect_labels(
    labels: Labels, everything: Labels | None = None, renderer: "Renderer | None" = None, rater_text: str = "", seed: int = 0,
    unread: str | None = None,
) -> dict:  # fmt: skip
    """The figures. `everything` holds the rows of all splits where `labels` has one of them, for pairs that stand in several; where they
    could not be read, `unread` says why.

    `renderer` gives lengths in tokens, with a `rater_text` in them, and the window. What is drawn at random is drawn by `seed`.
    """
    coded = encode(labels)
    figures = {
        "who": who(labels),
        "what": what(labels, coded, seed) | {"tokens": texts.tokens(labels, coded, renderer, rater_text, seed) if renderer else None},
        "agreement": agreed(coded, seed),
        "habits": named_habits(coded),
        "shortcuts": shortcuts.find_shortcuts(coded, _sources(labels.comparisons), seed),
        "leaks": leaked(everything, encode(everything)) if everything else leaked(labels, coded),
        "lookalikes": leaks.lookalikes(list((everything or labels).raters["rater_id"])),
        "notices": told(labels),
        "unread": unread,
        "read": labels.counts,
    }
    return figures | {"verdict": verdict(figures)}


def what(labels: Labels, coded: Coded, seed: int) -> dict:
    compared, told = labels.comparisons, labels.demonstrations
    counts = labels.counts
    conversations = sum(type(prompt) is list for frame in (compared, told) for prompt in frame["prompt"])
    return {
        "comparisons": len(compared), "ties": int((coded.choices.label == 0).sum()),
        "pairs_of_ratings": counts["ratings"].get("pairs", 0), "demonstrations": len(told),
        "duplicates": {kind: counts[kind]["duplicates"] for kind in ("comparisons", "demonstrations")},
        "prompts": len(coded.prompts), "answers": len(coded.texts), "conversations": conversations,
        "questions": int(coded.choices.question.max(initial=-1)) + 1,
        "prompt_words": texts.words(coded.prompts) if not conversations else None, "answer_words": texts.words(coded.texts),
        **beside(compared, seed),
    }  # fmt: skip


def beside(compared: pd.DataFrame, seed: int) -> dict:
    """What comparisons say beside the side: ties that are both good or both bad, grades, attributes, and raters' own words."""

    def counted(name: str) -> dict[str, int]:
        return (
            {value if isinstance(value, str) else f"{value:g}": int(n) for value, n in compared[name].value_counts().items()}
            if name in compared
            else {}
        )

    said = compared["reason"].dropna() if "reason" in compared else pd.Series([], dtype=object)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x726561]))
    drawn = said.index[np.sort(rng.permutation(len(said))[:REASONS])]
    examples = [{"rater": compared["rater_id"][i], "reason": str(said[i])} for i in drawn]
    return {
        "both": counted("both"), "grades": counted("strength"), "attributes": counted("attribute"),
        "reasons": {"labels": len(said), "different": said.nunique(), "examples": examples},
    }  # fmt: skip


def agreed(coded: Coded, seed: int) -> dict:
    """Agreement between raters and with oneself, of comparisons and of raters' own answers; and how much of it is the person."""
    choices = coded.choices
    found: dict = {}
    if len(choices):
        counts = agreement.vote_counts(pair_votes(choices), VALUES)
        found["comparisons"] = {
            "between": agreement.alpha(counts, mirrored=True),
            "again": agreement.repeats(choices.rater, choices.question, choices.answer + 1, VALUES),
            "shared_questions": int((counts.sum(1) > 1).sum()),
            "person": taste.persistence(choices, _differences(coded), len(coded.raters), seed),
        }
    if (votes := told_votes(coded)) is not None:
        values = int(votes.value.max()) + 1
        counts = agreement.vote_counts(votes, values)
        text, picked = pd.factorize(coded.told_text)[0], told_choices(coded)
        found["demonstrations"] = {
            "between": agreement.alpha(counts),
            "again": agreement.repeats(coded.told_rater, coded.told_prompt, text, values),
            "shared_questions": int((counts.sum(1) > 1).sum()),
            "person": taste.persistence(picked, np.zeros((len(picked), 1)), len(coded.raters), seed) if picked else None,
        }
    return found


def named_habits(coded: Coded) -> dict:
    """Habits of raters, by ID. Agreement with others is of decided comparisons, or of own answers where these are among options."""
    choices, raters = coded.choices, len(coded.raters)
    found: dict = {}
    if len(choices):
        weight = independent(choices.rater, choices.a, choices.b, raters)
        decided = np.flatnonzero(choices.label != 0)
        votes = first_votes(choices.rater[decided], choices.question[decided], (choices.answer[decided] + 1) // 2)
        first = np.unique(choices.question[decided], return_index=True)[1]
        compared = np.stack([choices.a[decided][np.sort(first)], choices.b[decided][np.sort(first)]], axis=1)
        counts = agreement.vote_counts(votes, 2)
        agree, n = habits.with_others(votes, counts, raters)
        sizes = texts.characters(coded.texts)
        found = {
            "side": _by_name(habits.side_habit(choices, weight), coded),
            "length": _by_name(habits.length_habit(choices, sizes, weight), coded),
            "others": _by_name(habits.random_raters(agree, n, weight), coded) | {"shares": _shares(agree, n)},
            "copies": _copies(habits.copies(votes, counts, raters, compared), coded),
        }
    elif (told := told_votes(coded)) is not None:
        counts = agreement.vote_counts(told, int(told.value.max()) + 1)
        agree, n = habits.with_others(told, counts, raters)
        found = {"others": {"share": None, "shares": _shares(agree, n)}, "copies": _copies(habits.copies(told, counts, raters), coded)}
    return found


def told(labels: Labels) -> list[str]:
    """What reading noticed, but how files were read, which stands in the counts, and who is kept for validation where they are enough."""
    counts, kept = labels.counts, (labels.raters["split"] == "validate").sum()
    known = {f"{file}: {note}" for kind in DATA_KINDS for file, notes in counts[kind]["notes"].items() for note in notes}
    known |= set(notices.about_validation(labels.raters)) if kept >= notices.FEW else set()
    return [sentence for sentence in counts["notices"] if sentence not in known]


def leaked(labels: Labels, coded: Coded) -> dict:
    """Pairs that stand in several splits and, where no row has a split, in several files."""
    compared = labels.comparisons
    if compared.empty:
        return {}
    where = "splits" if compared["split"].notna().any() else "files"
    part = compared["split" if where == "splits" else "file"]
    return {"splits": {}, "files": {}} | ({where: leaks.same_pairs(leaks.folded(coded), part)} if part.nunique() > 1 else {})


def _sources(compared: pd.DataFrame) -> tuple[pd.Series, pd.Series] | None:
    if not (compared["source_a"].notna() & compared["source_b"].notna()).any():
        return None
    return compared["source_a"], compared["source_b"]


def _differences(coded: Coded) -> np.ndarray:
    """Features a - b [n, 3] in which raters may differ: length, lines, and side where it is known."""
    choices = coded.choices
    length = np.log1p(texts.characters(coded.texts))
    lines = np.log1p(np.fromiter((text.count("\n") for text in coded.texts), float, len(coded.texts)))
    a, b = choices.text[choices.a], choices.text[choices.b]
    return np.stack([length[a] - length[b], lines[a] - lines[b], choices.sided.astype(float)], axis=1)


def _shares(agree: np.ndarray, n: np.ndarray) -> list[float]:
    """Share of agreement of each rater with `MIN_LABELS` questions, sorted."""
    seen = n >= habits.MIN_LABELS
    return sorted((agree[seen] / n[seen]).round(4).tolist())


def _by_name(found: dict, coded: Coded) -> dict:
    """Lists of (rater, share, labels) with IDs, the most labels first."""

    def named(rows: list) -> list[dict]:
        rows = sorted(rows, key=lambda row: -row[2])
        return [{"rater": str(coded.raters[rater]), "share": share, "labels": n} for rater, share, n in rows]

    return {name: named(value) if isinstance(value, list) else value for name, value in found.items()}


def _copies(found: dict, coded: Coded) -> dict:
    pairs = [
        {"raters": [str(coded.raters[one]), str(coded.raters[other])], "in_common": same, "of": either}
        for one, other, same, either in found["pairs"]
    ]
    return {"compared": found["compared"], "pairs": sorted(pairs, key=lambda pair: -pair["in_common"])}
