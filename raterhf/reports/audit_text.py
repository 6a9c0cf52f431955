"""The figures of an audit as short rows of text, section by section, for the terminal and the page alike."""

from raterhf.data.inspection.words import copies, percent, plural, some
from raterhf.reports.page import number

PARTS = {
    "taste": "taste: what persists in a person, by what is compared",
    "habits": "habits: of the side, of length",
    "care": "carelessness: less care than the most careful tenth",
    "chance": "chance: they would contradict themselves as well",
}
NAMED = {
    "careless": ("care", "with less than half of the average care"),
    "opposite": ("care", "prefer the opposite of what others value"),
    "first": ("share of what stands first", "take what stands first"),
    "second": ("share of what stands first", "take what stands second"),
    "longer": ("share of the answer twice as long", "take the longer answer"),
    "shorter": ("share of the answer twice as long", "take the shorter answer"),
    "high": ("points above others", "rate everything higher"),
    "low": ("points above others", "rate everything lower"),
}
"""Of raters who are named: the figure they are named for, and what they do."""
HABITS = {
    "first": "share of what stands first, between equals",
    "longer": "share of the answer twice as long, between equals",
    "level": "points above others",
    "care": "care (1: average, 0: a coin, below: the opposite)",
}
LONGEST = 90  # characters of a text in a row

Rows = list[tuple[str, str]]


def span(value: list[float]) -> str:
    """[value, low, high], shares as per cents."""
    return f"{percent(value[0])} [{percent(max(value[1], 0.0))}, {percent(value[2])}]"


def plain(value: list[float]) -> str:
    """[value, low, high] as numbers."""
    return f"{number(value[0])} [{number(value[1])}, {number(value[2])}]"


def quoted(text: str, longest: int = LONGEST) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def copied(pairs: list[dict]) -> Rows:
    """Couples of raters who copy."""
    return [(" and ".join(one["raters"]), f"{one['in_common']} of {one['of']} such answers in common") for one in pairs]


def sections(kind: dict) -> dict[str, Rows]:
    """Title -> rows (what, value) of one kind of labels; a section of which nothing is known is left out."""
    found = {
        "Disagreement": disagreement(kind),
        "Taste": taste(kind),
        "Who disagrees with whom": couples(kind),
        "What splits people": splits(kind),
        "Care and habits": habits(kind),
    }
    return {title: rows for title, rows in found.items() if rows}


def disagreement(kind: dict) -> Rows:
    seen, rows = kind["observed"], []
    drawn = f" of {kind['of_raters']}, drawn by the seed" if kind["raters"] < kind["of_raters"] else ""
    rows.append(("labels", f"{kind['labels']} of {plural(kind['raters'], 'rater')}{drawn}, on {plural(kind['things'], 'thing')}"))
    if seen["differ"] is not None:
        rows.append(("two raters differ, in the labels", f"in {percent(seen['differ'])} of {plural(seen['couples'], 'couple')} of labels"))
    if seen.get("again"):
        rows.append(("a rater asked again differs", f"in {percent(seen['again_differ'])}, asked again {seen['again']} times"))
    if "disagreement" in kind:
        found = kind["disagreement"]
        rows.append(("two raters differ about any pair, by the model", span(found["rate"])))
        rows += [(f"... of it {about}", span(found[name])) for name, about in PARTS.items() if name in parts(kind)]
    return rows


def parts(kind: dict) -> list[str]:
    """What disagreement can be made of: ratings show no habit of side or length."""
    return [name for name in PARTS if name != "habits" or {"first", "longer"} & kind["everybody"].keys()]


def taste(kind: dict) -> Rows:
    if "dimensions" not in kind:
        return []
    found = kind["dimensions"]
    if not found["of"]:
        return [("active dimensions", "none: tastes tell kept-back labels no better than without")]
    rows = [("active dimensions", f"{found['active']} of {found['of']} (as many as {found['effective']:.1f} equal ones)")]
    rows.append(("another rater turns a preference round", f"in {span(kind['flips'])} of pairs"))
    for i, axis in enumerate(found["axes"], 1):
        rows.append(
            (f"axis {i}: of taste's variance", f"{percent(axis['share'])}; labels tell {percent(axis['known'])} of where a rater is")
        )
        rows += [(f"... {end} end", some([quoted(thing["text"], 40) for thing in axis[end]["things"]])) for end in ("high", "low")]
    return rows


def couples(kind: dict) -> Rows:
    rows: Rows = []
    for name, word in (("apart", "most apart"), ("alike", "most alike")):
        for one in kind.get("couples", {}).get(name, [])[:3]:
            seen = f"; of {one['shared']} pairs both decided {one['differed']} differ" if one["shared"] else ""
            rows.append((f"{word}: {' and '.join(one['raters'])}", f"differ in {span(one['differ'])}{seen}"))
    if kind["copies"] and kind["copies"]["pairs"]:
        rows.append(("copies, of answers that most others did not give", copies(kind["copies"]["pairs"])))
    return rows


def splits(kind: dict) -> Rows:
    return [(quoted(one["text"]), f"{span(one['share'])} rather prefer it; {seen(one)}") for one in kind.get("splits", [])[:5]]


def seen(thing: dict) -> str:
    """What labels say of a thing."""
    parts = [f"{name} {value:g}" if value == int(value) else f"{name} {number(value)}" for name, value in thing["seen"].items()]
    return f"{', '.join(parts)} by {plural(thing['raters'], 'rater')}"


def habits(kind: dict) -> Rows:
    rows = []
    for name, found in kind.get("everybody", {}).items():
        shown = span if name in ("first", "longer") else plain
        rows.append((HABITS[name], f"mean {shown(found['mean'])}, differs among raters by {shown(found['spread'])}"))
    for name, found in kind.get("named", {}).items():
        rows.append((f"raters who {NAMED[name][1]}" if name != "careless" else f"raters {NAMED[name][1]}", who(name, found)))
    return rows


def who(name: str, found: list[dict]) -> str:
    """Raters who are named, with the figure and its interval."""
    shown = span if name in ("first", "second", "longer", "shorter") else plain
    return f"{len(found)}: " + some([f"{one['rater']} ({shown(one['value'])}, {plural(one['labels'], 'label')})" for one in found])


def model(found: dict) -> Rows:
    """What the reward model makes of raters."""
    rows: Rows = []
    if "flips" in found:
        rows.append(("scored", f"{plural(found['things'], 'thing')} for {found['raters']} of {plural(found['of_raters'], 'known rater')}"))
        rows.append(("another rater turns a preference round", f"in {span(found['flips'])} of pairs"))
        rows.append(("active dimensions", f"{found['active']} (as many as {found['effective']:.1f} equal ones)"))
        rows.append(("right about whoever judged, in training labels too", span(found["own"])))
        rows.append(("... and for somebody else in their place", span(found["another"])))
    return rows
