"""Texts that grow in one model: what was read stays in a cache, so that new tokens alone are read.

Texts are segments that continue a parent, token ids or a rater's number, as in a pass (`plan.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from raterhf.engine.attention import Keys
from raterhf.engine.layout import Forest, lay_out
from raterhf.engine.passes import states_of
from raterhf.engine.plan import Pass, Segment


class Growing:
    """Segments whose keys are kept: their `lengths`, and their `parents` among them (-1: none). `soft` [K, m, d] are raters' tokens."""

    def __init__(self, backbone: PreTrainedModel, soft: Tensor | None):
        self.backbone, self.soft, self.keys = backbone, soft, Keys()
        self.lengths: list[int] = []
        self.parents: list[int] = []
        self.tokens_read = 0

    def read(
        self, segments: Sequence[Segment], parents: Sequence[int], budget: int, of: Callable[[Tensor, Pass, Forest], Tensor],
        keep: bool = True,
    ) -> tuple[list[int], Tensor]:  # fmt: skip
        """Read segments after these parents, within a budget of tokens a pass. Returns their numbers where kept, and `of` their states
        [T, d], a row for each."""
        size = [self.soft.shape[1] if isinstance(s, int) and self.soft is not None else len(s) for s in segments]  # type: ignore[arg-type]
        place: list[int] = []
        found = []
        first = 0
        while first < len(segments):
            last, used = first + 1, size[first]
            while last < len(segments) and used + size[last] <= budget:
                used, last = used + size[last], last + 1
            kept, chosen = len(self.lengths), slice(first, last)
            forest = lay_out(self.lengths + size[chosen], self.parents + list(parents[chosen]), self.backbone.device, kept)
            part = Pass(list(segments[chosen]), list(parents[chosen]), list(range(last - first)), [])
            found.append(of(states_of(self.backbone, part, forest, self.soft, self.keys, keep), part, forest))
            if keep:
                place += range(kept, kept + last - first)
                self.lengths, self.parents = self.lengths + size[chosen], self.parents + list(parents[chosen])
            self.tokens_read += used
            first = last
        return place, torch.cat(found)

    @property
    def bytes_kept(self) -> int:
        """Of the keys and values of all segments, without the room that is made ahead."""
        return sum(room[: sum(self.lengths)].nbytes for room in self.keys.rooms.values())

    def forget(self, first: int) -> None:
        """All segments but the first ones."""
        self.lengths, self.parents = self.lengths[:first], self.parents[:first]
        self.keys.kept = dict.fromkeys(self.keys.kept, sum(self.lengths))

    @contextmanager
    def undone_where_it_fails(self) -> Iterator[None]:
        before, kept = dict(vars(self)), dict(self.keys.kept)
        try:
            yield
        except BaseException:
            vars(self).update(before)
            self.keys.kept = kept  # what was written beyond is written over
            raise
