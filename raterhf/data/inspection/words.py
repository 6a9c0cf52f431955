"""Numbers and names as words, for the tables and the verdict; and the verdict's sentences, which have a level."""

from collections.abc import Sequence

SHOWN = 5

Sentence = tuple[str, str]
"""(level, text); `verdict.py` says what the levels are."""


def stop(text: str) -> Sentence:
    return "stop", text


def warn(text: str) -> Sentence:
    return "warn", text


def good(text: str) -> Sentence:
    return "good", text


def note(text: str) -> Sentence:
    return "note", text


def percent(share: float) -> str:
    """Whole per cents, with one decimal where they would read 0 or 100 and are not."""
    value = 100 * share
    text = f"{value:.0f}"
    return f"{value:.1f} %" if text in ("0", "100") and round(value, 1) not in (0, 100) else f"{text} %"


def points(difference: float) -> str:
    """A difference of shares in points of a hundred."""
    return f"{100 * difference:.1f}"


def gain(found: dict) -> str:
    """A gain in points, with its interval."""
    low, high = found["interval"]
    return f"{points(found['gain'])} [{points(low)}, {points(high)}] points"


def interval(low: float, high: float) -> str:
    return f"[{percent(max(low, 0.0))}, {percent(min(high, 1.0))}]"


def plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def are(n: int) -> str:
    return "is" if n == 1 else "are"


def some(names: Sequence[str], total: int | None = None) -> str:
    """The first names, and how many more of `total` there are."""
    more = (total or len(names)) - min(len(names), SHOWN)
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def people(found: list[dict]) -> str:
    """Raters with their share and number of labels."""
    return some([f"{one['rater']} ({percent(one['share'])} of {one['labels']})" for one in found])


def copies(pairs: list[dict]) -> str:
    return some([f"{' and '.join(pair['raters'])} ({pair['in_common']} of {pair['of']})" for pair in pairs])
