"""How texts that share beginnings are laid out in one row of tokens, and which of them every call of attention reads.

Texts are a forest of segments, each a run of tokens that continues its parent: prompt -> completion -> rater, say. All tokens lie in one
row without padding. In attention a segment reads its ancestors and itself, causally; siblings are put in rows of some hundred tokens that
share the keys of their ancestors, so that context is read once a row and not once a branch (as in Hydragen, Juravsky et al. 2024).

Notation: S segments, T tokens of a pass, R rows, Q query tokens of a row, C context tokens of a row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

ROW_TOKENS = 128  # siblings of one row: longer rows spend more on masked pairs, shorter ones read the context more often
# Query-key pairs of one call of attention: on a CPU more of them leave its cache, elsewhere their mask takes memory.
CALL_PAIRS = {"cpu": 2**21, "cuda": 2**27}
CALL_KEYS = 2**18  # keys that a call of attention gathers, a gigabyte of keys and values of 8 heads of 128 in bf16
PADDING = 1.3  # rows stand in one call of attention as long as padding makes it at most this much larger


@dataclass(frozen=True)
class Rows:
    """Rows of like size that one call of attention serves. Padded queries stand for some token and read everything."""

    queries: Tensor  # [R, Q]: tokens of this pass
    keys: Tensor  # [R, C + Q]: tokens of all, those kept from earlier passes first; a row's own come last
    mask: Tensor  # [R or 1, Q, C + Q]: what each query may read
    distance: Tensor  # [R or 1, Q, C + Q]: how many tokens back it lies, for sliding windows; 0 at padded queries
    first: int | None  # the first query, where the others follow it one by one


@dataclass(frozen=True)
class Runs:
    """Runs of tokens for attention over variable lengths: queries [T'] read keys [C'], run i the tokens from at[i] to at[i + 1] of each."""

    queries: Tensor
    keys: Tensor
    queries_at: Tensor
    keys_at: Tensor
    most: tuple[int, int]  # queries and keys of a run


@dataclass(frozen=True)
class Forest:
    """Segments of these lengths, each after its parent (-1: none). Of the first `kept` the keys are at hand: the others are read.

    What attention needs is laid out when it is asked for, since each kind of attention needs something else.
    """

    lengths: np.ndarray
    parents: np.ndarray
    device: torch.device
    kept: int = 0

    @cached_property
    def all_start(self) -> np.ndarray:
        """[S + 1]: segment s holds tokens all_start[s] : all_start[s + 1], kept ones counted."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def offset(self) -> int:
        """Tokens of the kept segments."""
        return int(self.all_start[self.kept])

    @cached_property
    def start(self) -> np.ndarray:
        """The same for the tokens and segments of this pass, counted without kept ones."""
        return self.all_start[self.kept :] - self.offset

    def tokens(self, segments: Sequence[int] | np.ndarray) -> np.ndarray:
        """Indices of the tokens of these segments of this pass, one after the other."""
        return _runs(self.start, segments)

    @cached_property
    def families(self) -> list[tuple[np.ndarray, list[int]]]:
        """Siblings read in this pass, and the tokens of all that they continue; segments without a parent stand alone."""
        children: dict[int, list[int]] = {}
        for s in range(self.kept, len(self.lengths)):
            parent = int(self.parents[s])
            children.setdefault(parent if parent >= 0 else -1 - s, []).append(s)
        return [(_runs(self.all_start, self._chain(parent)), siblings) for parent, siblings in children.items()]

    def _chain(self, segment: int) -> list[int]:
        """A segment's ancestors and itself, in order; none for a negative one."""
        chain = []
        while segment >= 0:
            chain.append(segment)
            segment = int(self.parents[segment])
        return chain[::-1]

    @cached_property
    def all_positions(self) -> np.ndarray:
        """Of all tokens in their texts."""
        begin: list[int] = []
        for parent in self.parents.tolist():
            begin.append(begin[parent] + int(self.lengths[parent]) if parent >= 0 else 0)
        return np.arange(self.all_start[-1]) - np.repeat(self.all_start[:-1] - begin, self.lengths)

    @cached_property
    def positions(self) -> Tensor:
        """[T]: of this pass' tokens in their texts."""
        return torch.tensor(self.all_positions[self.offset :], device=self.device)

    @property
    def branches(self) -> bool:
        """Whether there is more than one text."""
        return bool((self.parents[1:] != np.arange(len(self.parents) - 1)).any())

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest text that ends in this pass."""
        return int(self.all_positions[self.offset :].max()) + 1

    @cached_property
    def rows(self) -> list[Rows]:
        """Those that begin earlier come first."""
        return sorted((_padded(self, rows) for rows in _like_sized(self)), key=lambda rows: int(rows.queries[0, 0]))

    @cached_property
    def place(self) -> Tensor | None:
        """[T]: where each token's result stands among those of all rows, padding included; None where they stand in order."""
        queries = torch.cat([rows.queries.flatten() for rows in self.rows]).cpu().numpy()
        # Padding repeats tokens whose own place comes first in their row.
        place = np.unique(queries, return_index=True)[1]
        return None if len(place) == len(queries) and (place == np.arange(len(place))).all() else torch.tensor(place, device=self.device)

    @property
    def computed(self) -> int:
        """Query-key pairs that attention by rows computes, padding and masked pairs included."""
        return sum(rows.queries.shape[1] * rows.keys.numel() for rows in self.rows)

    @cached_property
    def segments_at(self) -> Tensor:
        """`start` for attention over variable lengths, in which a segment reads itself."""
        return torch.tensor(self.start, dtype=torch.int32, device=self.device)

    @cached_property
    def context_runs(self) -> list[Runs]:
        """All siblings of a family and what they continue, for calls that gather at most CALL_KEYS keys where a run allows it."""
        runs = [(self.tokens(np.array(siblings) - self.kept), context) for context, siblings in self.families if len(context)]
        calls: list[list] = []
        gathered = 0
        for run in runs:
            if not calls or gathered + len(run[1]) > CALL_KEYS:
                calls.append([])
                gathered = 0
            calls[-1].append(run)
            gathered += len(run[1])
        return [self._as_runs(call) for call in calls]

    def _as_runs(self, runs: list[tuple[np.ndarray, np.ndarray]]) -> Runs:
        sizes = np.array([(len(queries), len(keys)) for queries, keys in runs])
        at = np.concatenate([np.zeros((1, 2), np.int64), sizes.cumsum(0)]).T
        queries, keys = (torch.tensor(np.concatenate(column), device=self.device) for column in zip(*runs))
        queries_at, keys_at = (torch.tensor(column, dtype=torch.int32, device=self.device) for column in at)
        return Runs(queries, keys, queries_at, keys_at, tuple(sizes.max(0).tolist()))


def lay_out(lengths: Sequence[int], parents: Sequence[int], device: torch.device, kept: int = 0) -> Forest:
    """The forest of these segments. Raises ValueError where one of this pass is empty or does not come after its parent."""
    for s in range(kept, len(lengths)):
        if not -1 <= parents[s] < s or lengths[s] < 1:
            raise ValueError(f"segment {s} of length {lengths[s]} after {parents[s]}: a segment has a token and comes after its parent")
    return Forest(np.asarray(lengths), np.asarray(parents), torch.device(device), kept)


def _runs(start: np.ndarray, segments: Sequence[int] | np.ndarray) -> np.ndarray:
    """The numbers start[s] to start[s + 1] of every segment s, one run after the other."""
    segments = np.asarray(segments, np.int64)
    lengths = start[segments + 1] - start[segments]
    return np.arange(lengths.sum()) + np.repeat(start[segments] - np.cumsum(lengths) + lengths, lengths)


Row = tuple[np.ndarray, list[int]]  # a row's context and its segments


def _cut(lengths: np.ndarray, context: np.ndarray, siblings: list[int]) -> Iterator[Row]:
    """Siblings in rows of at most ROW_TOKENS tokens, a longer one alone."""
    row: list[int] = []
    used = 0
    for s in siblings:
        if row and used + lengths[s] > ROW_TOKENS:
            yield context, row
            row, used = [], 0
        row.append(s)
        used += int(lengths[s])
    yield context, row


def _like_sized(forest: Forest) -> Iterator[list[Row]]:
    """Rows of like size, that stand in one call of attention, of at most CALL_PAIRS pairs and CALL_KEYS keys where a row allows it."""
    rows = [row for family in forest.families for row in _cut(forest.lengths, *family)]
    size = [(int(forest.lengths[siblings].sum()), len(context)) for context, siblings in rows]
    order = sorted(range(len(rows)), key=size.__getitem__)
    most = CALL_PAIRS.get(forest.device.type, CALL_PAIRS["cuda"])
    part: list[Row] = []
    real, wide, deep = 0, 0, 0
    for i in order:
        q, c = size[i]
        keys = (len(part) + 1) * (max(deep, c) + max(wide, q))
        padded = max(wide, q) * keys
        if part and (padded > PADDING * (real + q * (c + q)) or padded > most or keys > CALL_KEYS):
            yield part
            part, real, wide, deep = [], 0, 0, 0
        part.append(rows[i])
        real, wide, deep = real + q * (c + q), max(wide, q), max(deep, c)
    yield part


def _padded(forest: Forest, rows: list[Row]) -> Rows:
    """The rows of one call of attention, padded to one size."""
    own = [_runs(forest.all_start, siblings) for _, siblings in rows]
    wide, deep = max(map(len, own)), max(len(context) for context, _ in rows)
    keys = np.concatenate([np.zeros((len(rows), deep), np.int64), np.full((len(rows), wide), forest.offset)], 1)
    segment = np.full((len(rows), wide), -1)
    held = np.zeros((len(rows), deep), bool)
    for i, (context, siblings) in enumerate(rows):
        keys[i, : len(context)], held[i, : len(context)] = context, True
        keys[i, deep : deep + len(own[i])] = own[i]
        keys[i, deep + len(own[i]) :] = own[i][0]
        segment[i, : len(own[i])] = np.repeat(siblings, forest.lengths[siblings])
    there = segment >= 0
    among = (segment[:, :, None] == segment[:, None]) & (np.arange(wide)[:, None] >= np.arange(wide))
    mask = np.concatenate([np.broadcast_to(held[:, None], (len(rows), wide, deep)), among], 2) | ~there[:, :, None]
    position = forest.all_positions[keys]
    distance = np.where(there[:, :, None], position[:, deep:, None] - position[:, None], 0)
    if (mask == mask[:1]).all() and (distance == distance[:1]).all():
        mask, distance = mask[:1], distance[:1]
    queries = keys[:, deep:] - forest.offset
    first = int(queries[0, 0])
    tensor = partial(torch.tensor, device=forest.device)
    one_by_one = (queries.flatten() == first + np.arange(queries.size)).all()
    return Rows(tensor(queries), tensor(keys), tensor(mask), tensor(distance), first if one_by_one else None)
