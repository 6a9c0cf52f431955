"""The first screen of a comparison in a simulated world, in plain sentences: what was lost, compared, regained, paid, and is missing.

All from metrics.json, read as a dict. A sentence whose figures are absent or null is left out; nothing is computed but differences.
"""

from raterhf.reports.page import find, find_interval, interval_text, number
from raterhf.reports.style import policy_name

Groups = list[tuple[str, list[str]]]

OURS, VANILLA = "rater_new", "vanilla"
LOST = 0.9  # of the base model's share of valid answers: a question that keeps less has lost its answers
ALIKE = 0.005  # two distances that are no farther apart are called alike
LESS_VALID = 0.01  # a share of valid answers that is lower by more is called lower
UNSURE = 0.05  # how far a figure without an interval must be from the best value to be called away from it


def first_screen(metrics: dict) -> Groups:
    """(heading, sentences), those that have a sentence; what was lost comes first."""
    groups = [
        ("What was lost", lost(metrics)),
        ("What was compared", compared(metrics)),
        ("What came back", came_back(metrics)),
        ("At what price in quality", price(metrics)),
        ("What got worse or is still missing", missing(metrics)),
    ]
    return [(heading, sentences) for heading, sentences in groups if sentences]


def questions(metrics: dict, rated: bool) -> dict[str, dict]:
    every = metrics.get("questions") or {}
    return {key: question for key, question in every.items() if (question["kind"] != "unrated") == rated}


def lost(metrics: dict) -> list[str]:
    """Questions that nobody rated and that fictitious raters no longer answer as the base model did."""
    unrated = questions(metrics, rated=False)

    def valid(policy: str, question: dict) -> float | None:
        return find(question, "policies", policy, "valid")

    gone = {}
    for key, question in unrated.items():
        ours, before = valid(OURS, question), valid("base", question)
        if ours is not None and ours < LOST * (1 if before is None else before):
            gone[key] = question
    if not gone:
        return []
    shares = []
    for policy in (OURS, "base", VANILLA):
        values = [valid(policy, question) for question in gone.values()]
        if None not in values:
            shares.append((policy_name(policy), percent(sum(values) / len(values))))
    which = f"{joined(list(gone))} ({len(gone)} of {len(unrated)} such questions)"
    (_, ours), *others = shares
    beside = f" ({', '.join(f'{name} {share}' for name, share in others)})" if others else ""
    return [f"Questions that nobody rated lost their answers: {which}. With fictitious raters {ours} of the answers are valid{beside}."]


def compared(metrics: dict) -> list[str]:
    rated, seeds = questions(metrics, rated=True), metrics.get("seeds") or []
    if not rated:
        return []
    worlds = f"; figures are means over {len(seeds)} simulated worlds" if len(seeds) > 1 else "; figures are of one simulated world"
    asked = counted(len(rated), "rated question")
    asked = counted(len(rated), "rated question")
    return [
        f"Models trained on the same labels from the same base model answered {asked}{worlds}. Vanilla RLHF takes the labels as one "
        "person's. The rater-conditioned policy keeps the raters apart and answers as fictitious raters, a new one for each answer. What "
        "people truly answer is known."
    ]


def came_back(metrics: dict) -> list[str]:
    """How near the answers are to people's, how often the most frequent one is given, and whether a rater is one person."""
    sentences = [nearness(metrics)]
    tops = [(name, find(metrics, "policies", name, "top_share")) for name in (VANILLA, OURS)]
    if None not in dict(tops).values():
        people = [max(question["population"]) for question in questions(metrics, rated=True).values() if question.get("population")]
        tops = [("people", sum(people) / len(people)), *tops] if people else tops
        shares = [f"{percent(value)} of the answers of {name if name == 'people' else policy_name(name)}" for name, value in tops]
        sentences.append(f"The most frequent answer to a question takes {joined(shares)}.")
    ratio, theirs = (find(metrics, "policies", name, "mi_ratio") for name in (OURS, VANILLA))
    if ratio is not None:
        than = "" if theirs is None else f"; vanilla RLHF's {number(theirs)} times"
        sentences.append(
            f"The answers of one fictitious rater go together {shown(metrics, 'mi_ratio')} times as much as one person's{than}."
        )
    return sentences


def nearness(metrics: dict) -> str:
    ours, theirs = (find(metrics, "policies", name, "etv") for name in (OURS, VANILLA))
    if ours is None or theirs is None:
        unknown = joined([policy_name(name) for name, value in ((OURS, ours), (VANILLA, theirs)) if value is None])
        return f"How far the answers of {unknown} are from people's was not measured."
    way = (
        "as far from people's as"
        if abs(ours - theirs) < ALIKE
        else "nearer to people's than"
        if ours < theirs
        else "farther from people's than"
    )
    return (
        f"The answers of fictitious raters are {way} those of vanilla RLHF: their distance from people's, beyond what so few "
        f"labels explain, is {shown(metrics, 'etv')} against {shown(metrics, 'etv', VANILLA)} (0 is best)."
    )


def price(metrics: dict) -> list[str]:
    """The gold reward, which simulated worlds know, or else the learned one; and the distances where it is equal."""
    figure, name = "reward_gold", "gold reward"
    if find(metrics, "policies", OURS, figure) is None:
        figure, name = "reward_proxy", "learned reward"
    ours, theirs = (find(metrics, "policies", policy, figure) for policy in (OURS, VANILLA))
    if ours is None:
        return []
    sentence = f"The {name}, the quality of the answers, is {shown(metrics, figure)} with fictitious raters"
    if theirs is not None:
        change = "as high" if abs(ours - theirs) < ALIKE else f"{number(abs(ours - theirs))} {'lower' if ours < theirs else 'higher'}"
        sentence += f", {change}{' as' if change == 'as high' else ' than'} vanilla RLHF's {shown(metrics, figure, VANILLA)}"
    others = [(other, find(metrics, "policies", other, figure)) for other in ("sft_no_ids", "base")]
    beside = [f"{policy_name(other)} {number(value)}" for other, value in others if value is not None]
    return [sentence + (f" ({', '.join(beside)})." if beside else "."), *at_equal_gold(metrics)]


def at_equal_gold(metrics: dict) -> list[str]:
    equal = metrics.get("equal_gold") or {}
    if equal.get("reward_gold") is None or equal.get("difference_etv") is None:
        return []
    gap, interval = equal["difference_etv"], find_interval(equal, "interval")
    unsure = ", an interval that includes zero" if interval and interval[0] <= 0 <= interval[1] else ""
    return [
        f"Where both are optimised to the same gold reward ({number(equal['reward_gold'])}), the answers of fictitious raters are "
        f"{number(abs(gap))} {'nearer to' if gap >= 0 else 'farther from'} people's; vanilla's distance minus theirs is {number(gap)} "
        f"{interval_text(interval)}".rstrip()
        + f"{unsure}."
    ]


def missing(metrics: dict) -> list[str]:
    """What fictitious raters do worse than vanilla, the base model or people, each as one sentence; or that there is nothing."""
    mine = {key: value for key, value in (find(metrics, "policies", OURS) or {}).items() if value is not None}
    if not mine:
        return []
    sentences = []
    for other in (VANILLA, "base"):
        theirs = find(metrics, "policies", other, "valid")
        if theirs is not None and "valid" in mine and mine["valid"] < theirs - LESS_VALID:
            sentences.append(f"Fewer answers are valid: {percent(mine['valid'])}, of {policy_name(other)} {percent(theirs)}.")
    if (gamma := away(metrics, "gamma", 1)) is not None:
        sentences.append(
            f"Popular answers are {'more' if gamma > 1 else 'less'} frequent than among people: the sharpening `gamma` is "
            f"{shown(metrics, 'gamma')}, 1 among people{beside_vanilla(metrics, 'gamma')}."
        )
    if (auc := away(metrics, "c2st_auc", 0.5)) is not None and auc > 0.5:
        sentences.append(
            f"A classifier still tells fictitious raters from people by their answers: its AUC is {shown(metrics, 'c2st_auc')}, 0.5 is "
            f"guessing{beside_vanilla(metrics, 'c2st_auc')}."
        )
    if (copying := away(metrics, "copying", 0.5)) is not None and copying > 0.5:
        sentences.append(
            f"Fictitious raters are nearer to the raters trained on than to others: `copying` is {shown(metrics, 'copying')}, not 0.5."
        )
    plain = find(metrics, "policies", "sft_no_ids", "etv")
    if plain is not None and "etv" in mine and plain < mine["etv"] - ALIKE:
        sentences.append(
            f"Imitation without raters, which is not optimised, is nearer to people's answers: its distance is {number(plain)}."
        )
    return sentences or ["Nothing that was measured is worse than vanilla RLHF's, or away from people's, by more than chance."]


def away(metrics: dict, figure: str, best: float) -> float | None:
    """The figure of fictitious raters where it is away from its best value by more than its interval, or by `UNSURE` without one."""
    value, interval = find(metrics, "policies", OURS, figure), find_interval(metrics, "intervals", "policies", OURS, figure)
    low, high = interval or ((value - UNSURE, value + UNSURE) if value is not None else (best, best))
    return None if value is None or low <= best <= high else value


def beside_vanilla(metrics: dict, figure: str) -> str:
    value = find(metrics, "policies", VANILLA, figure)
    return "" if value is None else f" (vanilla RLHF {number(value)})"


def shown(metrics: dict, figure: str, policy: str = OURS) -> str:
    """A figure with its interval."""
    interval = interval_text(find_interval(metrics, "intervals", "policies", policy, figure))
    return f"{number(find(metrics, 'policies', policy, figure))} {interval}".rstrip()


def percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def counted(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"


def joined(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
