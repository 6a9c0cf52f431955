"""The rater space: one vector a rater, and the reader by which a model turns vectors into soft prefix tokens.

Notation: K raters, k dimensions of taste, m soft tokens, d hidden size. The vectors are learned with the reward model and kept; each
model has a reader of its own. The null rater ("nobody in particular") has no vector but a learned prefix of its own.
"""

from typing import cast

import torch
from torch import Tensor, nn

from raterhf.raters.batch import RaterBatch

WIDEST = 512  # hidden units of a reader: a vector has some ten dimensions, however wide the model is that reads it


class RaterSpace(nn.Module):
    """Learned vectors of the known raters, [R, k], trained under noise as wide as their own spread.

    The noise keeps what many labels agree on (taste) and forgets what single labels say (how a die fell).
    """

    def __init__(self, n_raters: int, dim: int, noise: float):
        super().__init__()
        self.vectors = nn.Parameter(0.1 * torch.randn(n_raters, dim))
        self.noise = noise

    def forward(self, index: Tensor) -> Tensor:
        """Vectors of raters `index` [B] -> [B, k]; in training with noise of `noise` times the spread of all vectors."""
        chosen = self.vectors[index]
        if not self.training or self.noise == 0:
            return chosen
        spread = self.vectors.detach().std(0).mean()
        return chosen + self.noise * spread * torch.randn_like(chosen)


class PrefixReader(nn.Module):
    """A model's own reading of raters: B of them -> soft prefix tokens [B, m, d]."""

    def __init__(self, dim: int, tokens: int, hidden_size: int, embedding_std: float):
        super().__init__()
        self.tokens, self.hidden_size = tokens, hidden_size
        self.dim = dim
        self.linear = nn.Linear(dim, tokens * hidden_size)
        width = min(2 * hidden_size, WIDEST)
        self.net = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, tokens * hidden_size))
        self.null = nn.Parameter(embedding_std * torch.randn(tokens, hidden_size))
        self.scale = embedding_std

    def forward(self, raters: RaterBatch) -> Tensor:
        """Soft tokens of B raters, of whose vectors taste is read alone; for the null rater its own, whatever the vector."""
        vectors = raters.taste(self.dim)
        read = self.scale * (self.linear(vectors) + self.net(vectors)).view(-1, self.tokens, self.hidden_size)
        return torch.where(raters.null[:, None, None], self.null, read)


@torch.no_grad()
def unit_spread(space: RaterSpace, reader: PrefixReader) -> None:
    """Express the rater vectors in units of their own spread, the reader undoing it, so that what it reads stays."""
    spread = float(space.vectors.std(0).mean().clamp(min=1e-6))
    space.vectors.div_(spread)
    for layer in (reader.linear, cast(nn.Linear, reader.net[0])):
        layer.weight.mul_(spread)
