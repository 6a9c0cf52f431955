"""What of raters' disagreement is taste, what habit, what carelessness, and what chance: posteriors of people, taken apart.

What is asked is which of two things a rater prefers. Rater r prefers a with probability P_r, which a model of people gives (`pairs.py` from
comparisons, `items.py` from ratings). Two raters disagree with probability

    P_r (1 - P_s) + P_s (1 - P_r)  =  P_r (1 - P_r) + P_s (1 - P_s)  +  (P_r - P_s)^2,

where the first two terms are how often either would disagree with themselves if asked again, and the last is what persists in persons.
Between persons, habits are what is left of the last term where nobody has a taste of their own, less what is left where nobody
has habits either; carelessness what is left then; taste the rest of it. Of the first terms, what would go if everybody were as careful as
the most careful tenth is carelessness too; what stays is chance.

Every figure is given for draws of all raters from their posteriors, with raters drawn again, so that quantiles over draws are its interval.
What items are worth is taken as fitted.

Notation: R raters, I items, M pairs asked, k tastes, d numbers of a rater, D draws.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.special import expit, ndtr

from raterhf.raters.items import ItemModel, Ratings, Tastes, infer_tastes, leftovers
from raterhf.raters.pairs import Comparisons, PairModel, People, infer_people

TASTE, HABITS, CARE = "taste", "habits", "care"
SOURCES = (TASTE, HABITS, CARE, "chance")
DRAWS = 100
ASKED = 5_000  # of a draw: pairs, each asked of two raters
CAREFUL = 0.9  # quantile of care that counts as careful


@dataclass(frozen=True)
class Pairs:
    """M pairs of items that may be asked: `a`, `b` [M], and `apart` [M, h] what else their sides differ by, as in `Comparisons`."""

    a: np.ndarray
    b: np.ndarray
    apart: np.ndarray

    def __len__(self) -> int:
        return len(self.a)

    def rows(self, index: np.ndarray) -> "Pairs":
        return Pairs(self.a[index], self.b[index], self.apart[index])


class Voices(Protocol):
    """Raters as posteriors over d numbers each."""

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """All raters' numbers [R, d]."""
        ...

    def mean(self) -> np.ndarray:
        """Their posterior means [R, d]."""
        ...

    def levelled(self, numbers: np.ndarray, source: str) -> np.ndarray:
        """The numbers, everybody having the average taste, habits or care."""
        ...

    def careful(self, numbers: np.ndarray) -> np.ndarray:
        """The numbers, everybody being at least as careful as the most careful tenth."""
        ...

    def chance(self, numbers: np.ndarray, pairs: Pairs) -> np.ndarray:
        """Probabilities [M] that a is preferred, by a rater of these numbers [M, d] each."""
        ...


@dataclass(frozen=True)
class PairVoices:
    """Raters known by comparisons; their numbers are those of `PairModel`: first, care, tastes, habits.

    Who surely prefers the opposite of what others value has a care below 0. That is a taste, and their care is its distance from 0.
    """

    model: PairModel
    people: People

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        mean = self.people.mean
        return mean + np.einsum("rkl,rl->rk", self._factors, rng.standard_normal(mean.shape))

    @cached_property
    def _factors(self) -> np.ndarray:
        return np.linalg.cholesky(self.people.covariance)

    def mean(self) -> np.ndarray:
        return self.people.mean

    def _sign(self) -> np.ndarray:
        """-1 for who surely prefers the opposite [R], else 1."""
        surely = self.people.mean[:, 1] + 1.96 * np.sqrt(self.people.covariance[:, 1, 1]) < 0
        return np.where(surely, -1.0, 1.0)

    def levelled(self, numbers: np.ndarray, source: str) -> np.ndarray:
        tastes = self.model.worth.shape[1] - 1
        habits = [0, *range(2 + tastes, numbers.shape[1])]
        columns = {TASTE: list(range(2, 2 + tastes)), CARE: [1], HABITS: habits}[source]
        levelled = numbers.copy()
        levelled[:, columns] = self.model.mean[columns]
        if source == TASTE:
            levelled[:, 1] = self._sign() * numbers[:, 1]
        return levelled

    def careful(self, numbers: np.ndarray) -> np.ndarray:
        sign, careful = self._sign(), numbers.copy()
        care = sign * numbers[:, 1]
        careful[:, 1] = sign * np.maximum(care, np.quantile(care, CAREFUL))
        return careful

    def chance(self, numbers: np.ndarray, pairs: Pairs) -> np.ndarray:
        worth = self.model.worth[pairs.a] - self.model.worth[pairs.b]
        design = np.concatenate([np.ones((len(pairs), 1)), worth, pairs.apart], 1)
        return expit((design * numbers).sum(1))


@dataclass(frozen=True)
class RatingVoices:
    """Raters known by ratings; their numbers are steadiness, which is Gamma (`shape`, `rate` [R]), and tastes. They have no habits."""

    model: ItemModel
    tastes: Tastes
    shape: np.ndarray
    rate: np.ndarray

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        mean = self.tastes.mean
        drawn = mean + np.einsum("rkl,rl->rk", self._factors, rng.standard_normal(mean.shape))
        steadiness = rng.gamma(self.shape) / self.rate if np.isfinite(self.model.nu) else np.ones(len(mean))
        return np.concatenate([steadiness[:, None], drawn], 1)

    @cached_property
    def _factors(self) -> np.ndarray:
        return np.linalg.cholesky(self.tastes.covariance)

    def mean(self) -> np.ndarray:
        return np.concatenate([self.tastes.steadiness[:, None], self.tastes.mean], 1)

    def levelled(self, numbers: np.ndarray, source: str) -> np.ndarray:
        levelled = numbers.copy()
        if source == TASTE:
            levelled[:, 1:] = 0
        elif source == CARE:
            levelled[:, 0] = 1
        return levelled

    def careful(self, numbers: np.ndarray) -> np.ndarray:
        careful = numbers.copy()
        careful[:, 0] = np.maximum(numbers[:, 0], np.quantile(numbers[:, 0], CAREFUL))
        return careful

    def chance(self, numbers: np.ndarray, pairs: Pairs) -> np.ndarray:
        gap = self.model.mean[pairs.a] - self.model.mean[pairs.b]
        gap = gap + ((self.model.loading[pairs.a] - self.model.loading[pairs.b]) * numbers[:, 1:]).sum(1)
        return ndtr(gap * np.sqrt(numbers[:, 0] / (self.model.noise[pairs.a] + self.model.noise[pairs.b])))


def voices_of_pairs(model: PairModel, rows: Comparisons, raters: int) -> PairVoices:
    """Raters under a model of comparisons."""
    return PairVoices(model, infer_people(model, rows, raters))


def voices_of_ratings(model: ItemModel, ratings: Ratings, raters: int) -> RatingVoices:
    """Raters under a model of ratings."""
    tastes = infer_tastes(model, ratings, raters)
    nu = model.nu if np.isfinite(model.nu) else 0.0
    count = np.bincount(ratings.rater, minlength=raters)
    return RatingVoices(model, tastes, (nu + count) / 2 + 1e-9, (nu + leftovers(model, ratings, tastes)) / 2 + 1e-9)


def taken_apart(voices: Voices, pairs: Pairs, raters: int, seed: int, draws: int = DRAWS, asked: int = ASKED) -> dict[str, np.ndarray]:
    """`rate` [D], how often two raters disagree about a pair, and the parts of it [D] by `SOURCES`, which add up to it.

    Two raters or more.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x6175646974]))
    found: dict[str, list[float]] = {name: [] for name in ("rate", *SOURCES)}
    for _ in range(draws):
        r, s, rows = asked_of_two(rng, pairs, raters, asked)
        every = voices.draw(rng)

        def told(numbers: np.ndarray) -> tuple[float, float]:
            """Of these raters: how often one disagrees with themselves, and what persists."""
            mine, theirs = voices.chance(numbers[r], rows), voices.chance(numbers[s], rows)  # noqa: B023
            return float((mine * (1 - mine) + theirs * (1 - theirs)).mean()), float(((mine - theirs) ** 2).mean())

        own, persists = told(every)
        tasteless = voices.levelled(every, TASTE)
        _, by_habit = told(tasteless)
        _, by_care = told(voices.levelled(tasteless, HABITS))
        least, _ = told(voices.careful(every))
        parts = (own + persists, persists - by_habit, by_habit - by_care, by_care + own - least, least)
        for name, value in zip(found, parts):
            found[name].append(value)
    return {name: np.array(values) for name, values in found.items()}


def asked_of_two(rng: np.random.Generator, pairs: Pairs, raters: int, asked: int) -> tuple[np.ndarray, np.ndarray, Pairs]:
    """Raters r and s, two different people of a sample that is drawn with replacement, and what they are asked."""
    sample = rng.integers(raters, size=raters)
    while len(np.unique(sample)) < 2:
        sample = rng.integers(raters, size=raters)
    r, s = sample[rng.integers(raters, size=(2, 2 * asked))]
    differ = np.flatnonzero(r != s)[:asked]
    return r[differ], s[differ], pairs.rows(rng.integers(len(pairs), size=len(differ)))


def flips(voices: Voices, pairs: Pairs, raters: int, seed: int, draws: int = DRAWS, asked: int = ASKED) -> np.ndarray:
    """How often [D] another rater's number in the place of the first's turns round which of two things is said to be preferred.

    Raters are their posterior means here, as a model of known raters has them; draws are of raters and pairs alone.
    """
    rng, numbers, found = np.random.default_rng(np.random.SeedSequence([seed, 0x666C6970])), voices.mean(), []
    for _ in range(draws):
        r, s, rows = asked_of_two(rng, pairs, raters, asked)
        found.append(np.mean((voices.chance(numbers[r], rows) - 0.5) * (voices.chance(numbers[s], rows) - 0.5) < 0))
    return np.array(found)


def of_two(voices: Voices, pairs: Pairs, couples: np.ndarray, seed: int, draws: int = DRAWS) -> np.ndarray:
    """How often [D, C] the raters of each couple [C, 2] disagree about these pairs."""
    rng, found = np.random.default_rng(np.random.SeedSequence([seed, 0x636F75])), []
    each = np.repeat(np.arange(len(couples)), len(pairs))
    asked = pairs.rows(np.tile(np.arange(len(pairs)), len(couples)))
    for _ in range(draws):
        numbers = voices.draw(rng)
        mine, theirs = (voices.chance(numbers[couples[each, side]], asked) for side in (0, 1))
        found.append((mine * (1 - theirs) + theirs * (1 - mine)).reshape(len(couples), -1).mean(1))
    return np.array(found)


def preferring(voices: Voices, numbers: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Probabilities [R, M] that each of R raters of these numbers [R, d] prefers a."""
    return np.stack([voices.chance(np.broadcast_to(one, (len(pairs), len(one))), pairs) for one in numbers])


def interval(draws: np.ndarray) -> list[float]:
    """Mean over draws, and the 95 % interval."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return [round(float(value), 6) for value in (draws.mean(), low, high)]
