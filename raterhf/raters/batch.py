"""Who judges, as models read it: the one type that goes from the pool of raters to the loss.

Notation: K raters, k dimensions of taste, o of idiosyncratic taste.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raterhf.errors import UserError
from raterhf.raters.pool import Rater

Rows = Tensor | slice | Sequence[int] | np.ndarray


@dataclass(frozen=True)
class RaterBatch:
    """K raters: `vectors` [K, k] or [K, k + o] in float32, taste first; `null` [K] is True for nobody in particular.

    A null rater's vector is not read, so that `nobody` has none, and a model that knows no raters reads nothing of either. Raises
    UserError where the mask does not fit the vectors.
    """

    vectors: Tensor
    null: Tensor

    def __post_init__(self) -> None:
        count, null = len(self.vectors), self.null
        if null.shape != (count,) or null.dtype != torch.bool:
            given = f"{null.dtype} of shape {tuple(null.shape)}"
            raise UserError(f"{count} raters need a mask of {count} booleans, true for the null rater; it is {given}")

    @classmethod
    def nobody(cls, count: int, device: torch.device | str = "cpu") -> "RaterBatch":
        """The null rater, `count` times."""
        return cls(torch.zeros(count, 0, device=device), torch.ones(count, dtype=torch.bool, device=device))

    @classmethod
    def people(cls, vectors: Tensor) -> "RaterBatch":
        """Raters with these vectors, none of them the null rater."""
        return cls(vectors, torch.zeros(len(vectors), dtype=torch.bool, device=vectors.device))

    @classmethod
    def of(cls, raters: Sequence[Rater], width: int, device: torch.device | str = "cpu") -> "RaterBatch":
        """The vectors [K, width] of raters from a pool, zeros for the null rater."""
        vectors = np.zeros((len(raters), width), np.float32)
        for row, rater in enumerate(raters):
            if rater.vector is not None:
                vectors[row] = rater.vector
        null = np.array([rater.vector is None for rater in raters], bool)
        return cls(torch.from_numpy(vectors).to(device), torch.from_numpy(null).to(device))

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: Rows) -> "RaterBatch":
        """The raters at these rows, which may repeat."""
        if not isinstance(rows, slice):
            rows = torch.as_tensor(rows, device=self.null.device)
        return RaterBatch(self.vectors[rows], self.null[rows])

    def to(self, device: torch.device | str) -> "RaterBatch":
        return RaterBatch(self.vectors.to(device), self.null.to(device))

    def beside(self, other: "RaterBatch") -> "RaterBatch":
        """These and then those of `other`, whose vectors are as wide."""
        return RaterBatch(torch.cat([self.vectors, other.vectors]), torch.cat([self.null, other.null]))

    def repeat(self, times: int) -> "RaterBatch":
        """All of them, then all of them again."""
        return RaterBatch(self.vectors.repeat(times, 1), self.null.repeat(times))

    def repeat_each(self, times: int) -> "RaterBatch":
        """Each of them `times` times in a row."""
        return RaterBatch(self.vectors.repeat_interleave(times, 0), self.null.repeat_interleave(times))

    def taste(self, dim: int) -> Tensor:
        """The first `dim` dimensions [K, dim]; zeros for a batch of nobody, which has none."""
        if self.vectors.shape[1] < dim:
            return self.vectors.new_zeros(len(self), dim)
        return self.vectors[:, :dim]

    def idiosyncratic(self, dim: int, size: int) -> Tensor:
        """The `size` dimensions [K, size] after the `dim` of taste; zeros for a batch of nobody, which has none."""
        if self.vectors.shape[1] < dim + size:
            return self.vectors.new_zeros(len(self), size)
        return self.vectors[:, dim : dim + size]

    def identities(self) -> list[bytes]:
        """What tells them apart [K] where they have no IDs: the bytes of their vectors, none for the null rater."""
        vectors = self.vectors.detach().cpu().numpy()
        return [b"" if nobody else vector.tobytes() for vector, nobody in zip(vectors, self.null.tolist())]

    def distinct(self) -> tuple[Tensor, "RaterBatch"]:
        """The number [K] of each row's rater, and the different raters.

        Vectors that are being learned stay apart, since equal numbers may be different parameters.
        """
        if self.vectors.requires_grad:
            return torch.arange(len(self), device=self.null.device), self
        known = torch.where(self.null[:, None], 0.0, self.vectors)
        rows, number = torch.unique(torch.cat([known, self.null[:, None].to(known.dtype)], 1), dim=0, return_inverse=True)
        return number, RaterBatch(rows[:, :-1], rows[:, -1].bool())
