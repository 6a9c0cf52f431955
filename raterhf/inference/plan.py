"""How a set of completions is scored for a set of raters: which tokens go through the model, in which passes, what is shared.

What is wanted is a set of paths of segments, in the order in which the model reads them: `head` and rater-free models prompt ->
completion, `suffix` prompt -> completion -> rater, `prefix` rater -> prompt -> completion. Paths with a common beginning share it: they
are put in a trie, which is walked depth first and cut into passes of at most so many tokens; a pass that begins inside a branch reads
the branch's beginning again. Planning runs nothing.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from raterhf.data.batches import Example
from raterhf.models.layout import Forest, lay_out

Key = tuple[str, Hashable]


@dataclass(frozen=True)
class Pass:
    """One forward pass: segments (token ids, or the number of a rater whose soft tokens stand there) with their parents.

    `ends` are the segments at which paths end, `paths` the numbers of those paths.
    """

    segments: list[tuple[int, ...] | int]
    parents: list[int]
    ends: list[int]
    paths: list[int]

    def forest(self, soft_tokens: int, device: torch.device) -> Forest:
        return lay_out([soft_tokens if isinstance(s, int) else len(s) for s in self.segments], self.parents, device)


@dataclass(frozen=True)
class Plan:
    """Passes, and for each wanted pair the number of its path. Tokens are those that go through every layer."""

    passes: list[Pass]
    path: np.ndarray
    soft_tokens: int
    naive_tokens: int

    @property
    def tokens(self) -> int:
        return sum(self.soft_tokens if isinstance(s, int) else len(s) for part in self.passes for s in part.segments)

    @property
    def gain(self) -> float:
        """Tokens of scoring one pair at a time, per token of this plan."""
        return self.naive_tokens / self.tokens

    @property
    def padding(self) -> float:
        """Share of attention's query-key pairs that are padding or masked; no other layer sees padding."""
        computed = real = 0
        for part in self.passes:
            forest = part.forest(self.soft_tokens, torch.device("cpu"))
            computed += forest.computed
            real += int((forest.positions + 1).sum())
        return 1 - real / computed


def plan(examples: Sequence[Example], rater: Sequence[int] | None, site: str, soft_tokens: int, token_budget: int) -> Plan:
    """Plan the scores of N examples, each for its rater (a number; None: the trunk reads no rater)."""
    paths = [_path(example, None if rater is None else int(rater[i]), site) for i, example in enumerate(examples)]
    return plan_paths(paths, soft_tokens if rater is not None else 0, token_budget)


def plan_prompts(prompts: Sequence[tuple[int, ...]], soft_tokens: int, token_budget: int) -> Plan:
    """Plan the reading of prompts (token ids), all after rater 0's soft tokens where there are any."""
    rater = (("rater", 0),) if soft_tokens else ()
    return plan_paths([(*rater, ("prompt", prompt)) for prompt in prompts], soft_tokens, token_budget)


def plan_paths(paths: Sequence[tuple[Key, ...]], soft_tokens: int, token_budget: int) -> Plan:
    """Plan N paths, of which equal ones are one."""
    numbers: dict[tuple[Key, ...], int] = {}
    wanted = np.array([numbers.setdefault(path, len(numbers)) for path in paths])
    naive = sum(_size(key, soft_tokens) for path in paths for key in path)
    return Plan(_cut(_trie(numbers), soft_tokens, token_budget), wanted, soft_tokens, naive)


def _size(key: Key, soft_tokens: int) -> int:
    return soft_tokens if key[0] == "rater" else len(key[1])


def _path(example: Example, rater: int | None, site: str) -> tuple[Key, ...]:
    text = (("prompt", example.ids[: example.prompt_length]), ("completion", example.ids[example.prompt_length :]))
    if rater is None:
        return text
    return (("rater", rater), *text) if site == "prefix" else (*text, ("rater", rater))


def _trie(numbers: dict[tuple[Key, ...], int]) -> dict[Key, dict | int]:
    """Nested dicts, a path's number at its end; in order of first appearance."""
    root: dict = {}
    for path, number in numbers.items():
        node = root
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = number
    return root


def _cut(trie: dict, soft_tokens: int, token_budget: int) -> list[Pass]:
    """Walk the trie depth first and begin a new pass where the next path would not fit."""
    passes: list[Pass] = []
    here: dict[tuple[Key, ...], int] = {}  # segments of the pass being filled, by their path
    used = 0

    def add(path: tuple[Key, ...], number: int) -> None:
        nonlocal used
        fresh = [i for i in range(1, len(path) + 1) if path[:i] not in here]
        cost = sum(_size(path[i - 1], soft_tokens) for i in fresh)
        if not passes or used + cost > token_budget and used:
            passes.append(Pass([], [], [], []))
            here.clear()
            used, fresh = 0, list(range(1, len(path) + 1))
            cost = sum(_size(key, soft_tokens) for key in path)
        part = passes[-1]
        for i in fresh:
            here[path[:i]] = len(part.segments)
            part.segments.append(path[i - 1][1])
            part.parents.append(here.get(path[: i - 1], -1))
        part.ends.append(here[path])
        part.paths.append(number)
        used += cost

    def walk(node: dict | int, path: tuple[Key, ...]) -> None:
        if isinstance(node, int):
            return add(path, node)
        for key, child in node.items():
            walk(child, (*path, key))

    walk(trie, ())
    return passes
