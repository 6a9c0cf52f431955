"""States of texts that a trunk which does not learn has read: each text once, however often it is asked about.

With it a reward model whose trunk stays trains as fast as its head and its readers of raters do.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from raterhf.data.example import Example

MOST_BYTES = 2**32  # of states that are kept; what does not fit is read each time


class KeptStates:
    """States [d] in fp32 of examples, on the trunk's device, in room that doubles when it is full."""

    def __init__(self, most_bytes: int = MOST_BYTES):
        self.most_bytes = most_bytes
        self.place: dict[Example, int] = {}
        self.room: Tensor | None = None

    def of(self, examples: Sequence[Example], read: Callable[[list[Example]], Tensor]) -> Tensor:
        """States [N, d], of which `read` gives those that are not kept."""
        fresh = [example for example in dict.fromkeys(examples) if example not in self.place]
        if fresh:
            with torch.no_grad():
                states = read(fresh)
            if (len(self.place) + len(fresh)) * states[0].nbytes > self.most_bytes:
                return self._beside(examples, fresh, states)
            self._keep(fresh, states)
        assert self.room is not None  # examples are not empty, so that something was kept
        return self.room[[self.place[example] for example in examples]]

    def _beside(self, examples: Sequence[Example], fresh: list[Example], states: Tensor) -> Tensor:
        """States of examples of which these were read and are not kept."""
        new = {example: i for i, example in enumerate(fresh)}
        return torch.stack([states[new[e]] if e in new else self.room[self.place[e]] for e in examples])  # type: ignore[index]

    def _keep(self, fresh: list[Example], states: Tensor) -> None:
        before, after = len(self.place), len(self.place) + len(fresh)
        if self.room is None or len(self.room) < after:
            room = states.new_empty(2 * after, states.shape[1])
            if self.room is not None:
                room[:before] = self.room[:before]
            self.room = room
        self.room[before:after] = states
        self.place |= {example: before + i for i, example in enumerate(fresh)}
