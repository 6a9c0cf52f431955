"""How a set of completions is scored for a set of raters: which tokens go through the model, in which passes, what is shared.

What is wanted is a set of paths of segments, in the order in which the model reads them: `head` and rater-free models prompt ->
completion, `suffix` prompt -> completion -> rater, `prefix` rater -> prompt -> completion. Paths with a common beginning share it: they
are put in a trie, which is walked depth first and cut into passes of at most so many tokens; a pass that begins inside a branch reads
the branch's beginning again. Planning runs nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from raterhf.data.example import Example
from raterhf.engine.layout import Forest, lay_out

Segment = tuple[int, ...] | int  # token ids, or the number of a rater whose soft tokens stand there


@dataclass(frozen=True)
class Pass:
    """One forward pass: segments with their parents.

    `ends` are the segments at which paths end, `paths` the numbers of those paths.
    """

    segments: list[Segment]
    parents: list[int]
    ends: list[int]
    paths: list[int]

    def text(self, segment: int) -> tuple[int, ...]:
        """The token ids of a segment that is text."""
        ids = self.segments[segment]
        assert not isinstance(ids, int)
        return ids

    def forest(self, soft_tokens: int, device: torch.device) -> Forest:
        return lay_out([soft_tokens if isinstance(s, int) else len(s) for s in self.segments], self.parents, device)


@dataclass(frozen=True)
class Plan:
    """Passes, and for each wanted pair the number of its path. Tokens are those that go through every layer."""

    passes: list[Pass]
    path: np.ndarray
    soft_tokens: int
    naive_tokens: int

    def tokens_of(self, part: Pass) -> int:
        return sum(self.soft_tokens if isinstance(s, int) else len(s) for s in part.segments)

    @property
    def tokens(self) -> int:
        return sum(map(self.tokens_of, self.passes))

    @property
    def gain(self) -> float:
        """Tokens of scoring one pair at a time, per token of this plan."""
        return self.naive_tokens / self.tokens if self.passes else 1.0

    @property
    def padding(self) -> float:
        """Share of attention's query-key pairs that are padding or masked; no other layer sees padding."""
        computed = real = 0
        for part in self.passes:
            forest = part.forest(self.soft_tokens, torch.device("cpu"))
            computed += forest.computed
            real += int((forest.positions + 1).sum())
        return 1 - real / computed if computed else 0.0


def plan(examples: Sequence[Example], rater: Sequence[int] | None, conditioning: str, soft_tokens: int, token_budget: int) -> Plan:
    """Plan the scores of N examples, each for its rater (a number; None: the trunk reads no rater)."""
    texts = {id(example): (example.ids[: example.prompt_length], example.ids[example.prompt_length :]) for example in _once(examples)}
    paths: list[tuple[Segment, ...]] = [texts[id(example)] for example in examples]
    if rater is None:
        return plan_paths(paths, 0, token_budget)
    who = [int(number) for number in rater]
    paths = [(r, *text) if conditioning == "prefix" else (*text, r) for r, text in zip(who, paths)]
    return plan_paths(paths, soft_tokens, token_budget)


def _once(objects: Iterable[Any]) -> Iterable[Any]:
    """Every object once: a jury asks about the same few many times over."""
    return {id(one): one for one in objects}.values()


def plan_prompts(prompts: Sequence[tuple[int, ...]], soft_tokens: int, token_budget: int) -> Plan:
    """Plan the reading of prompts (token ids), all after rater 0's soft tokens where there are any."""
    rater = (0,) if soft_tokens else ()
    return plan_paths([(*rater, prompt) for prompt in prompts], soft_tokens, token_budget)


def plan_paths(paths: Sequence[tuple[Segment, ...]], soft_tokens: int, token_budget: int) -> Plan:
    """Plan N paths, of which equal ones are one."""
    # Segments go by numbers from here, so that thousands of tokens are not hashed again for every path.
    names: dict[Segment, int] = {}
    name = {id(segment): names.setdefault(segment, len(names)) for segment in _once(chain.from_iterable(paths))}
    named = [tuple(name[id(segment)] for segment in path) for path in paths]
    numbers: dict[tuple[int, ...], int] = {}
    wanted = np.array([numbers.setdefault(path, len(numbers)) for path in named])
    segments = list(names)
    size = [soft_tokens if isinstance(segment, int) else len(segment) for segment in segments]
    naive = sum(size[s] for path in named for s in path)
    return Plan(_cut(_trie(numbers), segments, size, token_budget), wanted, soft_tokens, naive)


def _trie(numbers: dict[tuple[int, ...], int]) -> dict[int, dict | int]:
    """Nested dicts, a path's number at its end; in order of first appearance."""
    root: dict = {}
    for path, number in numbers.items():
        node = root
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = number
    return root


def _cut(trie: dict, segments: list[Segment], size: list[int], token_budget: int) -> list[Pass]:
    """Walk the trie depth first and begin a new pass where the next path would not fit."""
    passes: list[Pass] = []
    way: list[int] = []  # segments from the root to where the walk is
    placed: list[int] = []  # where those of them that the pass being filled has stand in it
    used = 0

    def end(number: int) -> None:
        nonlocal used
        cost = sum(size[s] for s in way[len(placed) :])
        if not passes or used + cost > token_budget and used:
            passes.append(Pass([], [], [], []))
            placed.clear()
            used, cost = 0, sum(size[s] for s in way)
        part = passes[-1]
        for s in way[len(placed) :]:
            part.parents.append(placed[-1] if placed else -1)
            placed.append(len(part.segments))
            part.segments.append(segments[s])
        part.ends.append(placed[-1])
        part.paths.append(number)
        used += cost

    def walk(node: dict | int) -> None:
        if isinstance(node, int):
            return end(node)
        for segment, child in node.items():
            way.append(segment)
            walk(child)
            way.pop()
            del placed[len(way) :]

    walk(trie)
    return [_by_depth(part) for part in passes]


def _by_depth(part: Pass) -> Pass:
    """The pass with all beginnings first, then what continues them, and so on: siblings of all families then lie side by side."""
    depth: list[int] = []
    for parent in part.parents:
        depth.append(0 if parent < 0 else depth[parent] + 1)
    order = sorted(range(len(depth)), key=depth.__getitem__)
    place = {s: i for i, s in enumerate(order)} | {-1: -1}
    parents = [place[part.parents[s]] for s in order]
    return Pass([part.segments[s] for s in order], parents, [place[s] for s in part.ends], part.paths)
