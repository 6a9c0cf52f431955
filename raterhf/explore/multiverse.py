"""Multiverse: how likely a text is, token by token, for whom; what else would have been said; and the tree of how it may go on.

A voice is `everyone` (the mixture of n fresh people, each of whom counts by what they would have said so far), `vanilla`, or one rater.
Everything but an answer from its beginning is without idiosyncratic taste (`raters/pool.py`): what people of a taste say.
"""

from collections.abc import Sequence

import numpy as np

from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.evaluation.probes.tree import Stretch, levels, stretches
from raterhf.explore.asked import AskedText, AskedTree
from raterhf.explore.opened import EVERYONE, VANILLA, Opened, whole
from raterhf.explore.queue import Teller
from raterhf.raters.pool import Rater

ALTERNATIVES = 8
MOST_NODES = 400  # of a tree
MOST_ENTRIES = 2**28  # log-probabilities that are held at once
SEEN = 1e-4  # a way that is less likely is not listed


def voice_of(opened: Opened, asked: AskedText) -> tuple[RaterPolicy, list[Rater]]:
    """Who speaks. Raises UserError for a voice that is not there."""
    policy = opened.run.policy
    if asked.voice == VANILLA:
        if opened.vanilla is None:
            raise UserError(f"{opened.missing[VANILLA]}; choose another voice")
        if asked.said and opened.vanilla.renderer.tokenizer.get_vocab() != policy.renderer.tokenizer.get_vocab():
            raise UserError("vanilla of this run has other tokens, so it cannot go on from this text; choose another voice")
        return opened.vanilla, [Rater("none", None)]
    if asked.voice == EVERYONE:
        pool = opened.run.raters
        return policy, [pool.null()] if pool.encoding == "none" else pool.resolve("new", asked.n, asked.seed)
    return policy, [opened.one(asked.voice)]


def read(opened: Opened, asked: AskedText, job: Teller) -> dict:
    """Each token of a text: its probability and what else would have been said there; in the end, what comes next."""
    model, people = voice_of(opened, asked)
    said = _said(model, asked)
    contexts = [opened.begun(model, asked.prompt, said, person) for person in people]
    tokenizer = model.renderer.tokenizer
    if len(people) * (len(said) + 1) * len(tokenizer) > MOST_ENTRIES:
        raise UserError(f"{len(people)} people and {len(said)} tokens are too much to look at together; ask fewer people")
    _check_length(model, contexts)
    job.check()
    along = model.distributions_along(contexts, people, len(said) + 1).astype(np.float64)
    weights = _weights(along, said)
    mixed = np.einsum("rt,rtv->tv", weights, np.exp(along))
    steps = [
        {
            "id": token, "text": _piece(tokenizer, said[:t], token), "p": _share(mixed[t, token]),
            "ways": _ways(tokenizer, said[:t], mixed[t]),
        }
        for t, token in enumerate(said)
    ]  # fmt: skip
    return {"voice": asked.voice, "people": len(people), "steps": steps, "next": _ways(tokenizer, said, mixed[-1])}


def _weights(along: np.ndarray, said: Sequence[int]) -> np.ndarray:
    """How much each person counts [R, T + 1] before each token of `said` and after the last."""
    told = along[:, np.arange(len(said)), list(said)]
    so_far = np.concatenate([np.zeros((len(along), 1)), told.cumsum(1)], 1)
    so_far = np.where(np.isneginf(so_far).all(0), 0.0, so_far)  # where nobody would have said it, everybody counts alike
    likely = np.exp(so_far - so_far.max(0))
    return likely / likely.sum(0)


def _ways(tokenizer, before: Sequence[int], distribution: np.ndarray) -> list[dict]:
    """The likeliest next tokens."""
    order = [int(token) for token in np.argsort(-distribution, kind="stable")[:ALTERNATIVES] if distribution[token] >= SEEN]
    return [{"id": token, "text": _piece(tokenizer, before, token), "p": _share(distribution[token])} for token in order]


def grow(opened: Opened, asked: AskedTree, job: Teller) -> dict:
    """Tells `level` after each level of the tree of how a text goes on; returns the whole tree."""
    model, people = voice_of(opened, asked)
    root = tuple(asked.said)
    _check_length(model, [opened.begun(model, asked.prompt, root, person) for person in people])
    told: dict = {}
    for tree in levels(model, asked.prompt, people, asked.least, MOST_NODES, root):
        told = {"voice": asked.voice, "people": len(people), "least": asked.least, "tree": _shown(model, stretches(tree, root))}
        job.tell("level", told)
    return told


def _shown(model: RaterPolicy, stretch: Stretch) -> dict:
    tokenizer = model.renderer.tokenizer
    text = _text(tokenizer, stretch.path)[len(_text(tokenizer, stretch.path[: stretch.start])) :]
    return {
        "ids": list(stretch.path), "text": text, "p": _share(stretch.mass), "ends": _share(stretch.ends), "is_end": stretch.is_end,
        "ways": [_shown(model, way) for way in stretch.ways],
    }  # fmt: skip


def go_on(opened: Opened, asked: AskedText, job: Teller) -> dict:
    """Tells `grown` while a text goes on to its end, as somebody says it: of everyone, the first of the fresh people."""
    model, people = voice_of(opened, asked)
    person = people[0]
    heard = lambda grown: job.tell("grown", whole(grown[0]))  # noqa: E731
    if asked.said:
        context = opened.begun(model, asked.prompt, asked.said, person)
        (found,) = model.go_on([context], [person], asked.seed, heard)
        said = (*asked.said, *found.ids[len(context) :])
    else:
        (found,) = model.answer([asked.prompt], [person], asked.seed, heard)
        said = found.ids[found.prompt_length :]
    end = model.renderer.tokenizer.eos_token_id
    finished = said[-1] == end
    said = said[:-1] if finished else said
    return {"ids": list(said), "text": _text(model.renderer.tokenizer, said), "finished": finished, "rater": person.id, **_asked_by(asked)}


def _said(model: RaterPolicy, asked: AskedText) -> tuple[int, ...]:
    """The tokens of a begun text. Raises UserError where it is given as words that do not fit the window, or in both ways."""
    if not asked.text:
        return tuple(asked.said)
    if asked.said:
        raise UserError("a text is begun by its tokens or in words, not both; reload the page")
    example = model.renderer.example(asked.prompt, asked.text)
    return example.ids[example.prompt_length : -1]


def _asked_by(asked: AskedText) -> dict:
    return {key: value for key, value in asked.model_dump().items() if key in ("prompt", "seed", "voice")}


def _check_length(model: RaterPolicy, contexts: Sequence[tuple[int, ...]]) -> None:
    longest = max(map(len, contexts))
    if longest >= model.renderer.max_length:
        raise UserError(
            f"the prompt and the text so far are {longest} tokens, the model's window (model.max_length) is {model.renderer.max_length}; "
            "go on from an earlier token"
        )


def _share(p: float) -> float:
    return float(f"{p:.4g}")


def _text(tokenizer, ids: Sequence[int]) -> str:
    return whole(str(tokenizer.decode(list(ids), skip_special_tokens=True)))


def _piece(tokenizer, before: Sequence[int], token: int) -> str | None:
    """What a token adds to a text; None for the end. The last of the tokens that make up one character adds it, the others nothing."""
    if token == tokenizer.eos_token_id:
        return None
    return _text(tokenizer, (*before, token))[len(_text(tokenizer, before)) :]
