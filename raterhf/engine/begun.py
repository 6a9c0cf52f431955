"""What raters say next after texts that they begin, while the texts grow token by token."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from raterhf.engine.growing import Growing
from raterhf.engine.layout import Forest
from raterhf.engine.plan import Pass
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch

PASS_TOKENS = 16384  # that are read at once
KEPT_BYTES = 2**30  # of keys and values; what does not fit is read again where it is gone on from

Begun = tuple[int, tuple[int, ...]]  # a rater's row, and the token ids that they began with


class BegunTexts:
    """Of R raters, each after a prompt `heads[r]` (token ids, one at least) of their own. `after` makes distributions [N, V] of last hidden
    states [N, d]."""

    @torch.no_grad()
    def __init__(self, policy: Policy, heads: Sequence[tuple[int, ...]], raters: RaterBatch, after: Callable[[Tensor], Tensor]):
        self.after, self.last = after, [head[-1] for head in heads]
        self.texts = Growing(policy.decoder, policy.prefix(raters))
        rows = list(range(len(heads)))
        place = [-1] * len(heads)
        if self.texts.soft is not None:
            place = self.texts.read(rows, place, PASS_TOKENS, _last_states)[0]
        # But for its last token, which is read with what follows: so that every text has a token to be read.
        longer = [r for r in rows if len(heads[r]) > 1]
        if longer:
            grown = self.texts.read([heads[r][:-1] for r in longer], [place[r] for r in longer], PASS_TOKENS, _last_states)[0]
            for r, segment in zip(longer, grown):
                place[r] = segment
        self.prompts = len(self.texts.lengths)
        self.place_of_prompts: dict[Begun, int] = {(r, ()): place[r] for r in rows}
        self.place = dict(self.place_of_prompts)  # the segment at whose end a text ends

    def forget(self) -> None:
        """All that was read but the prompts, to make room for other texts."""
        self.texts.forget(self.prompts)
        self.place = dict(self.place_of_prompts)

    @torch.no_grad()
    def next_distributions(self, begun: Sequence[Begun]) -> np.ndarray:
        """[N, V] after these texts."""
        segments: list[tuple[int, ...]] = []
        parents: list[int] = []
        ends: list[Begun] = []
        for rater, path in begun:
            text = (self.last[rater], *path)
            known = next(n for n in range(len(text) - 1, -1, -1) if (rater, text[:n]) in self.place)
            segments.append(text[known:])
            parents.append(self.place[rater, text[:known]])
            ends.append((rater, text))
        read = sum(self.texts.lengths)
        more = self.texts.bytes_kept / read * sum(map(len, segments)) if read else 0
        keep = self.texts.bytes_kept + more <= KEPT_BYTES
        place, states = self.texts.read(segments, parents, PASS_TOKENS, _last_states, keep)
        self.place.update(zip(ends, place))
        return self.after(states).cpu().numpy()


def _last_states(states: Tensor, part: Pass, forest: Forest) -> Tensor:
    return states[torch.as_tensor(forest.start[1:] - 1, device=states.device)]
