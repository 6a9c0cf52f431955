"""What is wrong with pairs, IDs, texts and single raters, in sentences with numbers: the second half of the verdict."""

import re
from collections.abc import Iterator
from pathlib import Path

from raterhf.data.inspection.words import Sentence, are, copies, good, note, people, percent, plural, some, stop, warn
from raterhf.data.schema import DATA_KINDS

GIVES_AWAY, TELLS = 0.9, 0.65  # accuracy of a rule that reads nothing
SHOWN = 5
TESTS = re.compile(r"(?:^|[^a-z])(?:test|val|valid|validation|dev|eval|evaluation|holdout|heldout)(?:[^a-z]|$)")
SIDES = {"always": "the answer that stood first", "never": "the answer that stood second"}
LENGTHS = {"always": "the longer answer", "never": "the shorter answer"}
ODD = {
    "random": "with no more agreement with others than a coin's, from another taste or without reading",
    "reversed": "whose choices are mostly those that others reject; were labels turned round?",
}


def nothing_decided(figures: dict) -> Iterator[Sentence]:
    n, ties = figures["what"]["comparisons"], figures["what"]["ties"]
    if n and ties == n:
        yield stop(f"All {plural(n, 'comparison')} are ties: nothing says which answer is better. Is the label read as it was meant?")


def shortcuts(figures: dict) -> Iterator[Sentence]:
    found = figures["shortcuts"]
    if found is None:
        return
    lists, best = found["lists"], found["rules"][0]
    if lists["texts"]:
        level = stop if lists["pairs_with_one"] else warn
        yield level(
            f"{plural(lists['texts'], 'answer')} {are(lists['texts'])} a list turned into text, such as {lists['example']!r}, in "
            f"{plural(lists['pairs_with_one'], 'pair')} beside one that is not: take the text out of the list before training."
        )
    right = f"({best['rule']}) is right on {percent(best['accuracy'])} of the choices"
    if 0 < best["says"] < 0.95:
        right += f" ({percent(best['accuracy_where_it_says'])} of the {percent(best['says'])} that it tells apart)"
    if best["accuracy"] >= max(TELLS, by_chance(best["pairs"])):
        if best["accuracy"] >= GIVES_AWAY:
            yield stop(f"A rule that reads nothing {right}: a model learns this and no more. Make both answers alike in it.")
        else:
            yield warn(f"A rule that reads nothing {right}: is that what you want to be learned? See a model's accuracy beside it.")
    elif by_chance(best["pairs"]) > TELLS:
        yield note(f"{plural(best['pairs'], 'decided pair')} are too few to say whether anything but the text gives the choice away.")
    else:
        yield good(f"No shortcut stands out: the best rule that reads nothing {right}.")
    if not found["side_known"]:
        yield note(
            "Which answer stood first is not in the data (chosen, rejected and ratings do not tell it): whether raters prefer a side is "
            "not known."
        )


def by_chance(pairs: int) -> float:
    """The accuracy that the best of a dozen rules reaches by chance once in a hundred times, about."""
    return 0.5 + 3.2 * (0.25 / max(pairs, 1)) ** 0.5


def repeated_pairs(figures: dict) -> Iterator[Sentence]:
    if figures["unread"]:
        yield note(f"Rows of other splits could not be read, so pairs that stand in several splits are not counted: {figures['unread']}")
    by_others, reference = [], None
    for where, parts in figures["leaks"].items():
        for name, found in parts.items():
            n, own, others, reference = found["comparisons"], found["same_rater"], found["another_rater"], found["reference"]
            if own and where == "files":
                level = warn if TESTS.search(Path(name).stem.lower()) else note
                yield level(
                    f"{own} of the {n} comparisons in {name} are pairs that the same rater judged in {reference} too: if one of the two "
                    "files is to test what was learned from the other, accuracy there is memory."
                )
            elif own:
                yield warn(
                    f"{percent(own / n)} of the comparisons in {name} ({own} of {n}) are pairs that the same rater judged in "
                    f"{reference} too, {found['same_rater_swapped']} of them with the answers swapped: accuracy there is memory. Keep "
                    "a rater's pair on one side."
                )
            if others and where == "splits":
                by_others.append(f"{percent(others / n)} of {name} ({others} of {n}, {found['another_rater_swapped']} swapped)")
    if by_others:
        yield note(
            f"Pairs that other raters judged in {reference} are {'; '.join(by_others)}. They test whether the rater is known, not "
            "whether new answers are judged well: report accuracy on the others beside."
        )


def identity(figures: dict) -> Iterator[Sentence]:
    """What reading noticed, of raters and files; and IDs that look alike."""
    names = tuple(path for kind in DATA_KINDS for path in figures["read"][kind].get("files", ()))
    for sentence in figures["notices"]:
        yield warn(f"{sentence if names and sentence.startswith(names) else sentence[:1].upper() + sentence[1:]}.")
    if figures["lookalikes"]:
        shown = [f"{' and '.join(map(repr, group['ids']))} ({', '.join(group['differ_by'])})" for group in figures["lookalikes"]]
        yield warn(f"IDs that may be one person's, by what they differ in: {some(shown)}. Write each person in one way.")


def lengths(figures: dict) -> Iterator[Sentence]:
    tokens = figures["what"]["tokens"]
    if tokens is None:
        return
    if tokens["refused"]:
        yield stop(f"{plural(tokens['refused'], 'example')} cannot be written for the model: {tokens['reason']}.")
    if tokens["over"]:
        among = f"of {tokens['examined']} looked at" if tokens["sampled"] else f"in {tokens['rows_over']} of {tokens['rows']} rows"
        yield stop(
            f"{plural(tokens['over'], 'example')} {among} {are(tokens['over'])} longer than the window of {tokens['window']} tokens "
            f"(the longest: {tokens['longest']}). Raise model.max_length, shorten them, or leave them out with data.max_dropped."
        )


def behaviour(figures: dict) -> Iterator[Sentence]:
    found = figures["habits"]
    for kind, words in (("side", SIDES), ("length", LENGTHS)):
        for name, what in words.items():
            if given := found.get(kind, {}).get(name):
                shown = people([one | {"share": 1 - one["share"]} for one in given] if name == "never" else given)
                yield warn(f"{plural(len(given), 'rater')} nearly always chose {what}: {shown}.")
    others = found.get("others", {})
    for name, what in ODD.items():
        if given := others.get(name):
            yield warn(f"{plural(len(given), 'rater')} {what} (agreement of all raters: {percent(others['share'])}): {people(given)}.")
    if pairs := found.get("copies", {}).get("pairs"):
        yield warn(
            f"{plural(len(pairs), 'pair')} of raters share nearly all answers that most others reject, as copies do: {copies(pairs)}.",
        )


PARTS = (nothing_decided, shortcuts, repeated_pairs, identity, lengths, behaviour)
