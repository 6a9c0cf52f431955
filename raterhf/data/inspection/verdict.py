"""What the data can and cannot teach, in sentences with numbers: figures in, sentences out.

Every sentence has a level: `stop` (training on this teaches something wrong, or nothing), `warn` (it costs something; look at it first),
`good` (it can be learned) and `note` (it cannot be known from these data). Here is what is said of raters and of what they disagree in;
`faults.py` says what is wrong with pairs, IDs and texts.
"""

from collections.abc import Iterator

from raterhf.data.inspection import faults
from raterhf.data.inspection.taste import AGREES
from raterhf.data.inspection.words import Sentence, are, gain, good, interval, note, percent, plural, stop, warn

LEVELS = ("stop", "warn", "good", "note")
FEW_RATERS = 20
LARGE_SHARE = 0.25
FEW_LABELS = 20  # of the median rater
MOSTLY_ONE = 0.5
CHOICES = {"pair": "choices", "prompt": "choices among the answers to a prompt"}
LITTLE = 0.01  # gain of knowing the rater
SAME = 0.9  # alpha from which raters are as one


def verdict(figures: dict) -> list[dict]:
    """Sentences {"level", "text"}: stops first, then warnings, what can be learned, and what cannot be known."""
    parts = (raters, disagreement, person, asked_again, *faults.PARTS)
    found = [sentence for part in parts for sentence in part(figures)]
    return [{"level": level, "text": text} for level, text in sorted(found, key=lambda sentence: LEVELS.index(sentence[0]))]


def raters(figures: dict) -> Iterator[Sentence]:
    who = figures["who"]
    n, largest, median, ones = who["raters"], who["largest"], who["labels_per_rater"]["median"], len(who["one_label"])
    if n == 1:
        yield stop(f"Rater {largest['rater']} gave all {who['labels']} labels: a model can learn this person, but no population.")
        return
    if n < FEW_RATERS:
        yield warn(
            f"There are {n} raters. New raters are drawn from what these have in common, and {n} people show little of it: rely on "
            f"known raters only, or collect labels from {FEW_RATERS} people or more."
        )
    if largest["share"] >= LARGE_SHARE and largest["share"] > 2 / n:
        yield warn(
            f"Rater {largest['rater']} gave {percent(largest['share'])} of all labels ({largest['labels']} of {who['labels']}). A "
            "model without raters learns mostly this person's taste: leave out a part of these rows."
        )
    if ones >= MOSTLY_ONE * n:
        yield warn(
            f"{ones} of {n} raters have one label, which says next to nothing about a person: for them a model that knows raters "
            "cannot do better than a plain one. Ask fewer people more often."
        )
    elif median < FEW_LABELS:
        yield warn(
            f"Half of the raters have {median:g} labels or fewer. Of such raters a model can learn what groups of them, or all together, "
            f"prefer, and little of each person: for that, collect {FEW_LABELS} labels of a rater or more."
        )


def disagreement(figures: dict) -> Iterator[Sentence]:
    """Whether raters disagree at all."""
    for noun, found in kinds(figures):
        between, shared = found["between"], found["shared_questions"]
        if between is None and shared:
            yield note(f"Only {plural(shared, noun)} {are(shared)} answered by two raters or more: too few to say how far they agree.")
        elif between is None:
            yield note(
                f"No two raters answered the same {noun}: whether they disagree, or only saw different things, cannot be told. Give "
                "some to several raters."
            )
        elif between["alpha"] >= SAME:
            yield warn(
                f"Raters nearly always agree (alpha {between['alpha']:.2f}): there is no taste to tell apart, and a plain model serves "
                "as well."
            )


def person(figures: dict) -> Iterator[Sentence]:
    """Whether the disagreement is the person's: what the rater's other labels add."""
    for noun, kind in kinds(figures):
        if (found := kind["person"]) is None:
            continue
        low, high = found["interval"]
        told = (
            f"of {found['pairs']} held-back {CHOICES[noun]} the labels of others predict {percent(found['others'])}, with the rater's own "
            f"other labels {percent(found['own'])}, with somebody else's in their place {percent(found['another'])}"
        )
        if low > 0 and found["gain"] < LITTLE:
            yield note(f"It pays little to know who judges, if no text is understood: {told}. The gain is {gain(found)}.")
        elif low > 0 and found["own"] > found["another"]:
            yield good(f"It pays to know who judges: {told}. The gain is {gain(found)}, and more where a model understands the texts.")
            if careful := found["careful"]:
                among = (
                    f"among the {careful['raters']} raters who agree with others in {percent(AGREES)} of their choices or more it is "
                    f"{gain(careful)}"
                )
                if careful["interval"][0] > 0:
                    yield good(f"The gain is taste, not care alone: {among}.")
                else:
                    yield warn(f"The gain is care as much as taste (some raters read, some do not): {among}.")
        elif high <= 0.01:
            yield warn(
                f"The disagreement looks like noise: {told}. What a rater said elsewhere does not help ({gain(found)}), so a model that "
                "knows raters has nothing to learn here but what only a reader of the texts could see."
            )
        else:
            yield note(
                f"Whether it pays to know who judges is open: {told}. The gain is {gain(found)}; more labels of each rater would tell.",
            )


def asked_again(figures: dict) -> Iterator[Sentence]:
    for noun, found in kinds(figures):
        again = found["again"]
        if not again["asked"]:
            yield note(f"No rater was asked the same {noun} twice: how much of their answers is chance cannot be told. Ask some again.")
            continue
        said = f"Asked the same {noun} again, raters answered differently {again['changed']} of {again['asked']} times"
        if again["repeats"] is None:
            yield note(f"{said}.")
            continue
        span = interval(*again["interval"])
        level = good if again["interval"][0] > 0 else warn
        yield level(
            f"{said}, and two raters in {percent(again['others_differ'])} of such cases: {percent(max(again['repeats'], 0.0))} {span} of "
            "the disagreement is the person's, the rest chance."
        )


def kinds(figures: dict) -> Iterator[tuple[str, dict]]:
    for kind, noun in (("comparisons", "pair"), ("demonstrations", "prompt")):
        if kind in figures["agreement"]:
            yield noun, figures["agreement"][kind]
