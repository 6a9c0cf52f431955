"""Published ways to model raters, on items that are known by their number alone: rivals in the table of `raterhf bench raters`.

    head of each rater      a linear head for every rater on frozen features of items, with a ridge towards the common one
    mixture of prototypes   PAL (Chen et al. 2024, arXiv 2406.08469): a rater's ideal point is a mixture of a few that all share
    variational encoder     VPL (Poddar et al. 2024, arXiv 2408.10075): a network reads a rater's labels into a Gaussian
    low-rank basis          LoRe (Bose et al. 2025, arXiv 2504.14439): a rater's reward is a mixture of a few that all share
    literal text IDs        an ID as text before the prompt (`Rater 0417:`), which a network reads character by character

Each adds to what nobody says of a label what the rater says otherwise, and starts near nothing, so that early stopping gives nobody where
raters cannot be told apart (`rival_fits.py`). Nothing is averaged over what is unsure of a rater but in the encoder's training. Ratings are
Gaussian around what is said, comparisons logistic.

Notation: R raters, I items, N labels, s numbers of a rater.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

ADAPT, ADAPT_RATE = 60, 0.1  # of a new rater's numbers
PLACE = 16  # dimensions in which ideal points lie
HIDDEN = 64  # units of the encoder and of its decoder
SMALL = 0.1  # numbers at the start


@dataclass(frozen=True)
class Labels:
    """N labels: `rater`, `a`, `b` [N] from 0, `value` [N], and `offset` [N], what nobody says of them.

    A comparison has value 1 (a), 0 (b) or .5 (a tie), and log-odds as offset. A rating has no `b`; its value and offset are in units of
    what nobody leaves of ratings.
    """

    rater: Tensor
    a: Tensor
    b: Tensor | None
    value: Tensor
    offset: Tensor

    def __len__(self) -> int:
        return len(self.rater)

    def rows(self, index: np.ndarray | Tensor) -> "Labels":
        index = torch.as_tensor(index)
        return Labels(*(None if one is None else one[index] for one in (self.rater, self.a, self.b, self.value, self.offset)))

    def left(self) -> Tensor:
        """What nobody leaves of the labels [N]."""
        return self.value - (self.offset if self.b is None else self.offset.sigmoid())


class Rival(Protocol):
    """A way to model raters; `people` [R, s] are what it knows of them."""

    def loss(self, labels: Labels, step: int) -> Tensor:
        """What an update lowers."""
        ...

    def known(self, labels: Labels) -> Tensor:
        """People who were trained on, by these labels."""
        ...

    def new(self, labels: Labels, raters: int, ridge: float) -> Tensor:
        """People who were not, by these labels."""
        ...

    def worth(self, people: Tensor, rater: Tensor, item: Tensor) -> Tensor:
        """What items are worth to raters beyond what nobody says [N]."""
        ...


def says(model: Rival, people: Tensor, labels: Labels) -> Tensor:
    """The rating, or the log-odds of a [N], for each label's rater."""
    worth = model.worth(people, labels.rater, labels.a)
    return labels.offset + (worth if labels.b is None else worth - model.worth(people, labels.rater, labels.b))


def nats(labels: Labels, said: Tensor) -> Tensor:
    """What the labels cost [N], up to a constant."""
    if labels.b is None:
        return (labels.value - said) ** 2 / 2
    return binary_cross_entropy_with_logits(said, labels.value, reduction="none")


def inner(people: Tensor, items: Tensor, rater: Tensor, item: Tensor) -> Tensor:
    """Inner products [N] of people [R, k] and items [I, k]; by a table of all of them where that is smaller than the labels."""
    if len(people) * len(items) <= 4 * len(rater):
        return (people @ items.T).flatten().index_select(0, rater * len(items) + item)
    return (people.index_select(0, rater) * items.index_select(0, item)).sum(1)


class Form(Protocol):
    """How a rater's numbers and an item make a worth."""

    def worth(self, people: Tensor, rater: Tensor, item: Tensor) -> Tensor:
        """[N], of people [R, s], for raters and items [N]."""
        ...


class Heads(nn.Module):
    """A linear head for each rater on frozen `features` [I, s]."""

    def __init__(self, features: Tensor):
        super().__init__()
        self.register_buffer("features", features)

    def worth(self, people: Tensor, rater: Tensor, item: Tensor) -> Tensor:
        return inner(people, self.features, rater, item)


class Prototypes(nn.Module):
    """An item is worth less by its squared distance from the rater's ideal point, which is a mixture of s shared ones."""

    def __init__(self, items: int, size: int):
        super().__init__()
        self.points = nn.Parameter(torch.randn(size, PLACE) / PLACE**0.5)
        self.places = nn.Parameter(SMALL * torch.randn(items, PLACE))

    def worth(self, people: Tensor, rater: Tensor, item: Tensor) -> Tensor:
        middle = self.points.mean(0)  # from which distances count, so that all start near nothing
        nearer = inner(people.softmax(1) @ self.points - middle, self.places, rater, item)
        return 2 * nearer - (self.places**2).sum(1).index_select(0, item)


class Basis(nn.Module):
    """A rater's reward of an item is a mixture of s shared ones."""

    def __init__(self, items: int, size: int):
        super().__init__()
        self.rewards = nn.Parameter(SMALL * torch.randn(items, size))

    def worth(self, people: Tensor, rater: Tensor, item: Tensor) -> Tensor:
        return inner(people.softmax(1), self.rewards, rater, item)


class Mixed(nn.Module):
    """Raters as s free numbers each, which a form reads; all that is learned is under a ridge."""

    def __init__(self, raters: int, size: int, ridge: float, form: Callable[[], Form]):
        super().__init__()
        self.people = nn.Parameter(SMALL * torch.randn(raters, size))
        self.form = form()
        self.ridge = ridge

    def loss(self, labels: Labels, step: int) -> Tensor:
        squares = torch.stack([(one**2).sum() for one in self.parameters()]).sum()
        return nats(labels, says(self, self.people, labels)).sum() + self.ridge / 2 * squares

    def known(self, labels: Labels) -> Tensor:
        return self.people

    def new(self, labels: Labels, raters: int, ridge: float) -> Tensor:
        """From the mean of known raters, under a ridge towards it."""
        centre = self.people.detach().mean(0)
        people = centre.repeat(raters, 1).requires_grad_()
        optimiser = torch.optim.Adam([people], ADAPT_RATE)
        for _ in range(ADAPT if len(labels) else 0):
            cost = nats(labels, says(self, people, labels)).sum() + ridge / 2 * ((people - centre) ** 2).sum()
            (people.grad,) = torch.autograd.grad(cost, people)
            optimiser.step()
        return people.detach()

    def worth(self, people: Tensor, rater: Tensor, item: Tensor) -> Tensor:
        return self.form.worth(people, rater, item)


class Encoder(nn.Module):
    """A network reads a rater's labels into a Gaussian over s numbers, another says from these and an item what it is worth.

    In training it reads a part of a rater's labels, of between one and all, drawn evenly in its logarithm, and tells all of them.
    `beta` weighs how far a rater's Gaussian is from the standard one. `batches` is into how many parts the raters are put, one an update.
    """

    def __init__(self, raters: int, items: int, size: int, beta: float, batches: int = 4):
        super().__init__()
        self.raters, self.beta, self.batches = raters, beta, batches
        self.items = nn.Parameter(SMALL * torch.randn(items, PLACE))
        self.read, self.gauss = nn.Linear(2 * PLACE, HIDDEN), nn.Linear(HIDDEN + 1, 2 * size)
        self.of_item, self.of_rater = nn.Parameter(SMALL * torch.randn(items, HIDDEN)), nn.Linear(size, HIDDEN)
        self.out = nn.Parameter(torch.zeros(HIDDEN))

    def gaussians(self, labels: Labels, raters: int) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances, each [R, s]."""
        what = self.items.index_select(0, labels.a)
        what = what if labels.b is None else what - self.items.index_select(0, labels.b)
        read = self.read(torch.cat([labels.left()[:, None] * what, what], 1) / SMALL).tanh()
        count = torch.bincount(labels.rater, minlength=raters)[:, None].to(read.dtype)
        pooled = torch.zeros(raters, HIDDEN).index_add(0, labels.rater, read) / (count + 1)
        return self.gauss(torch.cat([pooled, count.log1p()], 1)).chunk(2, 1)

    def loss(self, labels: Labels, step: int) -> Tensor:
        rows = labels.rows(torch.nonzero(labels.rater % self.batches == step % self.batches)[:, 0])
        count = torch.bincount(rows.rater, minlength=self.raters).clamp(min=1).float()
        seen = torch.rand(len(rows)) < (count ** -torch.rand(self.raters))[rows.rater]
        mean, log_variance = self.gaussians(rows.rows(torch.nonzero(seen)[:, 0]), self.raters)
        drawn = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        apart = (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)[step % self.batches :: self.batches]
        return nats(rows, says(self, drawn, rows)).sum() + self.beta / 2 * apart.sum()

    def known(self, labels: Labels) -> Tensor:
        return self.gaussians(labels, self.raters)[0]

    def new(self, labels: Labels, raters: int, ridge: float) -> Tensor:
        return self.gaussians(labels, raters)[0]

    def worth(self, people: Tensor, rater: Tensor, item: Tensor) -> Tensor:
        return (self.of_item.index_select(0, item) + self.of_rater(people).index_select(0, rater)).relu() @ self.out


class Written(nn.Module):
    """Raters as s numbers that a network reads in their `ids` [R], and items as s numbers; what an item is worth is their product.

    It reads each character at its place, counted from the end, as a language model reads the text of an ID: whose IDs look alike begin
    alike, and no rater has a number that is theirs alone. Its vectors and weights are under a ridge. An ID that it was not trained on says
    nothing: a new rater is worth nobody's.
    """

    def __init__(self, ids: Sequence[str], items: int, size: int, hidden: int, ridge: float):
        super().__init__()
        self.register_buffer("written", characters(ids))
        self.letters = nn.Parameter(torch.randn(self.written.shape[1], hidden) / self.written.sum(1).mean() ** 0.5)
        self.weights = nn.Parameter(torch.zeros(hidden, size))
        self.items = nn.Parameter(SMALL * torch.randn(items, size))
        self.ridge = ridge

    def read(self) -> Tensor:
        """Vectors [R, s] of the raters it was made for."""
        hidden = (self.written @ self.letters).relu()
        return hidden @ self.weights / self.weights.shape[0] ** 0.5  # by which an update moves them as far, however wide it is

    def loss(self, labels: Labels, step: int) -> Tensor:
        people = self.read()
        squares = torch.stack([(one**2).sum() for one in (people, *self.parameters())]).sum()
        return nats(labels, says(self, people, labels)).sum() + self.ridge / 2 * squares

    def known(self, labels: Labels) -> Tensor:
        return self.read()

    def new(self, labels: Labels, raters: int, ridge: float) -> Tensor:
        return torch.zeros(raters, self.items.shape[1])

    def worth(self, people: Tensor, rater: Tensor, item: Tensor) -> Tensor:
        return inner(people, self.items, rater, item)


def characters(ids: Sequence[str]) -> Tensor:
    """Which characters each ID has at which place, counted from its end: 1 or 0 [R, V], for all V that any of them has."""
    seen: dict[tuple[int, str], int] = {}
    rows = [[seen.setdefault(at, len(seen)) for at in enumerate(reversed(one))] for one in ids]
    found = torch.zeros(len(ids), len(seen))
    for i, columns in enumerate(rows):
        found[i, columns] = 1
    return found


def features(labels: Labels, raters: int, items: int, size: int) -> Tensor:
    """Frozen features [I, s] of items: the widest directions in which raters differ from what nobody says, of unit length on average.

    What a rater did not judge counts as nobody has it.
    """
    left = labels.left().double().numpy()
    sides = [labels.a] if labels.b is None else [labels.a, labels.b]
    rows = np.concatenate([labels.rater.numpy()] * len(sides))
    table = csr_matrix((np.concatenate([left, -left][: len(sides)]), (rows, torch.cat(sides).numpy())), shape=(raters, items))
    values, vectors = np.linalg.eigh((table.T @ table).toarray())
    found = vectors[:, ::-1][:, :size] * np.sqrt(np.maximum(values[::-1][:size], 0))
    return torch.from_numpy(found * np.sqrt(items / max((found**2).sum(), 1e-12))).float()


def tensors(*arrays: np.ndarray) -> Sequence[Tensor]:
    """Indices as integers, all else as single precision."""
    return [torch.from_numpy(one) if np.issubdtype(one.dtype, np.integer) else torch.from_numpy(one).float() for one in arrays]
