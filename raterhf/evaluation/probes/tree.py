"""Everything a model may say to a prompt, as a tree of tokens with exact probabilities, down to a least probability. Nothing is drawn.

A text is begun (token ids so far, its end open) or ended (by EOS, which is not among its ids). Under a mixture over raters a text has the
mean of its probabilities under each of them; the mixture's distribution of the next token then weighs each rater by what they would have
said so far, as a fresh rater's tokens have it, and is not the mean of the raters' distributions.

Raters answer afresh at every token, without idiosyncratic taste: the mixture is the distribution of fresh raters' answers, while one
rater's tree is what people of that taste say, more than one person does.

Notation: R raters (one for a model without), V tokens of the vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.raters.pool import Rater

LEAST = 0.002  # probability of a begun text, below which it is not followed
MOST_NODES = 3000  # that are followed
ONE_WAY = 0.97  # of a begun text's probability goes on in one way: it is no branch
FORGOTTEN = 1e-6  # a rater who says a begun text with less than this is not asked how it goes on
DISTRIBUTION_ENTRIES = 2**25  # log-probabilities of distributions [N, V] that are held at once

Path = tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """Probabilities [R] of texts by their token ids: `ended`, and `begun`, of which `open` were left unfollowed for want of room.

    What is in neither `ended` nor `open` lies on begun texts that are less likely than `LEAST`, each.
    """

    begun: dict[Path, np.ndarray]
    ended: dict[Path, np.ndarray]
    open: list[Path]


@dataclass(frozen=True)
class Stretch:
    """Tokens between two branches: the text `path`, of which the stretch is what comes after `start` tokens.

    `mass` is the probability of the text as the stretch begins, `left` as it ends; `ends` that the text is finished there.
    """

    start: int
    path: Path
    mass: float
    left: float
    ends: float
    ways: list["Stretch"]

    @property
    def is_end(self) -> bool:
        return self.ends >= ONE_WAY * self.left or not self.ways


def stretches(tree: Tree, root: Path = ()) -> Stretch:
    """A tree with what goes on in one way in one piece, likelier ways first, for the mixture of its raters."""
    mass = {path: float(p.mean()) for path, p in tree.begun.items()}
    children: dict[Path, list[Path]] = {}
    for path in mass:
        if len(path) > len(root):
            children.setdefault(path[:-1], []).append(path)

    def stretch(start: int, path: Path) -> Stretch:
        begun = mass[path]
        while children.get(path) and mass[onward := max(children[path], key=mass.__getitem__)] >= ONE_WAY * mass[path]:
            path = onward
        ends = float(tree.ended[path].mean()) if path in tree.ended else 0.0
        ways = sorted(children.get(path, []), key=lambda way: -mass[way])
        return Stretch(start, path, begun, mass[path], ends, [stretch(len(path), way) for way in ways])

    return stretch(len(root), root)


def grow(model: RaterPolicy, prompt: str | list[dict], raters: Sequence[Rater], least: float = LEAST, most: int = MOST_NODES) -> Tree:
    """The tree of a prompt's answers under the mixture of these raters; the likeliest `most` texts are followed, level by level."""
    return list(levels(model, prompt, raters, least, most))[-1]


def levels(
    model: RaterPolicy, prompt: str | list[dict], raters: Sequence[Rater], least: float = LEAST, most: int = MOST_NODES, root: Path = ()
) -> Iterator[Tree]:
    """The tree of how a prompt's answers go on from the begun one `root`, as it is after each pass of the model, level by level.

    Raters count by what they would have said so far: their probabilities of `root` have the mean 1.
    """
    tokenizer = model.renderer.tokenizer
    heads = [model.renderer.prompt(prompt, rater.text) for rater in raters]
    depth = min(model.max_new_tokens, model.renderer.max_length - max(map(len, heads)) - len(root))
    at_once = max(1, DISTRIBUTION_ENTRIES // (len(raters) * model.policy.lm.config.vocab_size))
    begun: dict[Path, np.ndarray] = {root: _said(model, heads, root, raters)}
    ended: dict[Path, np.ndarray] = {}
    left_open: list[Path] = []
    level: list[Path] = [root]
    texts = model.begun_texts(heads, raters)
    if depth < 1:
        yield Tree(begun, ended, level)
    for _ in range(depth):
        level.sort(key=lambda path: -begun[path].mean())
        level, over = level[:most], level[most:]
        left_open += over
        most -= len(level)
        grown: list[Path] = []
        for start in range(0, len(level), at_once):
            part = level[start : start + at_once]
            who = [np.flatnonzero(begun[path] > FORGOTTEN) for path in part]
            distributions = texts.next_distributions([(int(r), path) for path, rows in zip(part, who) for r in rows])
            for path, rows, distribution in zip(part, who, np.split(distributions, np.cumsum([len(rows) for rows in who])[:-1])):
                answers = begun[path][rows, None] * np.exp(distribution, dtype=np.float64)
                total = answers.sum(0) / len(raters)
                for token in np.flatnonzero(total >= least):
                    if token != tokenizer.eos_token_id:
                        begun[(*path, int(token))] = _among(answers[:, token], rows, len(raters))
                        grown.append((*path, int(token)))
                if total[tokenizer.eos_token_id] > 0:
                    ended[path] = _among(answers[:, tokenizer.eos_token_id], rows, len(raters))
            yield Tree(begun, ended, left_open + level[start + at_once :] + grown)
        level = grown
        if not level:
            break


def _said(model: RaterPolicy, heads: Sequence[Path], root: Path, raters: Sequence[Rater]) -> np.ndarray:
    """How much likelier than the mean each rater begins so [R]."""
    if not root:
        return np.ones(len(raters))
    along = model.distributions_along([head + root for head in heads], raters, len(root) + 1)[:, :-1]
    log_prob = along[:, np.arange(len(root)), list(root)].astype(np.float64).sum(1)
    if not np.isfinite(log_prob).any():
        raise UserError(f"nobody of these {len(raters)} raters begins an answer so; ask more people, or go on from another text")
    likely = np.exp(log_prob - log_prob.max())
    return likely / likely.mean()


def of_endings(endings: Iterable[tuple[Path, np.ndarray]]) -> Tree:
    """The tree of finished texts (token ids without EOS) and their probabilities [R]."""
    begun: dict[Path, np.ndarray] = {}
    ended: dict[Path, np.ndarray] = {}
    for path, probability in endings:
        ended[path] = ended.get(path, 0.0) + probability
        for t in range(len(path) + 1):
            begun[path[:t]] = begun.get(path[:t], 0.0) + probability
    return Tree(begun, ended, [])


def _among(values: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    out = np.zeros(n)
    out[rows] = values
    return out
