"""Ask: what people answer to a prompt, told while it grows, and how their answers spread beside vanilla's and real people's."""

from collections import Counter
from collections.abc import Mapping, Sequence

from raterhf.errors import UserError
from raterhf.explore.asked import AskedAnswers
from raterhf.explore.opened import VANILLA, Opened, whole
from raterhf.explore.queue import Teller
from raterhf.raters.pool import Rater

MOST_ANSWERS = 1024  # of one request
REAL = "real"
PEOPLE = "people"


def ask(opened: Opened, asked: AskedAnswers, job: Teller) -> dict:
    """Tells `people` (who is asked), `grown` ({number: text so far}) and `answers` as `raterhf sample` gives them; returns their spread,
    which one answer has none of."""
    pool = opened.run.raters
    people = pool.resolve(asked.rater, asked.n, asked.seed)
    fresh = pool.check_spec(asked.rater) in ("fresh", "persona")
    asked_of = [person.id for person in people for _ in range(1 if fresh else asked.n)]
    if len(asked_of) > MOST_ANSWERS:
        raise UserError(
            f"rater {asked.rater[:60]!r} with {asked.n} answers of each is {len(asked_of)} answers, the page asks for at most "
            f"{MOST_ANSWERS}; ask for fewer, or use `raterhf sample`"
        )
    job.tell("people", asked_of)
    heard = lambda grown: job.tell("grown", {number: whole(text) for number, text in grown.items()})  # noqa: E731
    found = opened.run.sample(asked.prompt, asked.rater, asked.n, asked.seed, heard=heard)
    answers = [
        {
            "rater": answer.rater, "text": answer.completion, "log_prob": round(answer.log_prob, 3), "finished": answer.finished,
            "group": opened.group_of(asked.prompt, answer.completion), "name": opened.name_of(asked.prompt, answer.completion),
        }
        for answer in found
    ]  # fmt: skip
    job.tell("answers", answers)
    if len(found) == 1:
        return {"stage": found[0].stage}
    said = {PEOPLE: [answer.completion for answer in found]}
    if opened.vanilla is not None:
        said[VANILLA] = _by_vanilla(opened, asked, len(found), job)
    if real := opened.real_answers(asked.prompt):
        said[REAL] = real
    return {"stage": found[0].stage, **spread(opened, asked.prompt, said)}


def _by_vanilla(opened: Opened, asked: AskedAnswers, n: int, job: Teller) -> list[str]:
    assert opened.vanilla is not None
    heard = lambda _: job.check()  # noqa: E731
    return opened.vanilla.texts(opened.vanilla.answer([asked.prompt] * n, [Rater("none", None)] * n, asked.seed, heard))


def spread(opened: Opened, prompt: str, said: Mapping[str, Sequence[str]]) -> dict:
    """How often each kind of answer was given, by whom: the commonest first, each with its name and the words that were used most."""
    kinds = {who: Counter(opened.group_of(prompt, text) for text in texts) for who, texts in said.items()}
    words: dict[str, Counter] = {}
    for texts in said.values():
        for text in texts:
            words.setdefault(opened.group_of(prompt, text), Counter())[text.strip()] += 1
    order = sorted(words, key=lambda kind: [-kinds[who][kind] / max(1, len(said[who])) for who in said] + [kind])
    commonest = lambda kind: words[kind].most_common(1)[0][0]  # noqa: E731
    rows = [
        {
            "group": kind, "name": opened.name_of(prompt, commonest(kind)), "words": commonest(kind),
            "counts": {who: kinds[who][kind] for who in said},
        }
        for kind in order
    ]  # fmt: skip
    return {"totals": {who: len(texts) for who, texts in said.items()}, "rows": rows}
