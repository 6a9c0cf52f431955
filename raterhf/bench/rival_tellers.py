"""Rivals and controls in the table of `raterhf bench raters`, whatever the labels are: ratings, or comparisons.

Controls bring raters back by chance: an ensemble whose members each saw a resample of the raters, and a model of labels that were each
given an ID at random. Neither knows who asks; what both say of a pair is the mean over members, or over IDs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from torch import Tensor

from raterhf.bench import rival_fits, rivals
from raterhf.bench.told import Asked, Given, Teller, Told, fit_scale, together_in_mind
from raterhf.errors import UserError
from raterhf.log import log

MEMBERS = 16
ENSEMBLE, RANDOM_IDS = "bootstrap ensemble", "random IDs"


@dataclass(frozen=True)
class Reading(Generic[Given, Asked]):
    """How rivals read labels beside what a fit of nobody says of them, and pairs that are asked, with the sign of what was said [P]."""

    labels: Callable[[Given], rivals.Labels]
    pairs: Callable[[Asked], tuple[rivals.Labels, np.ndarray]]

    def tell(self, fitted: rival_fits.Fitted, asked: Asked, people: Tensor | None = None) -> Told:
        pairs, sign = self.pairs(asked)
        return Told(pairs.rater.numpy(), sign * rival_fits.margins(fitted, pairs, people))


def rival_tellers(
    part: Reading, whole: Reading, given: Given, back: Given, asked: Asked, everything: Given, ids: Sequence[str], new: int,
    items: int, seed: int, wanted: Callable[[str], bool],
) -> Iterator[Teller]:  # fmt: skip
    """Each rival that is wanted, chosen on `given` and what was kept `back`, whose pairs are `asked`; then fitted to `everything`.

    `ids` are known raters', `new` is how many others there are.
    """
    for name in filter(wanted, rival_fits.GRIDS):
        chosen = rival_fits.choose(name, part.labels(given), part.labels(back), ids, items, seed)
        scale = fit_scale(part.tell(chosen, asked))
        fitted = rival_fits.refit(name, chosen, whole.labels(everything), ids, items, seed)
        settings = chosen.settings | ({"ridge_of_new": chosen.ridge} if chosen.ridge else {})
        log.info(f"  {name}: {', '.join(f'{key} {value:g}' for key, value in settings.items())}, chosen on labels kept back of train")

        def adapted(few: Given, query: Asked, fitted=fitted) -> Told:
            return whole.tell(fitted, query, fitted.model.new(whole.labels(few), new, fitted.ridge))

        yield Teller(name, scale, lambda test, fitted=fitted: whole.tell(fitted, test), adapted, settings)


def wanted_among(names: Sequence[str], models: Sequence[str]) -> Callable[[str], bool]:
    """Whether a model of the table is fitted: all where no `names` are given. Raises UserError for a name of none of `models`."""
    if strangers := [name for name in names if name not in models]:
        raise UserError(f"--model {strangers[0]!r} is none of the table's: there are {', '.join(models)}")
    return lambda name: not names or name in names


def in_mind(name: str, members: Sequence[Callable[[Asked], Told]], partly: Sequence[Callable[[Asked], Told]], asked: Asked) -> Teller:
    """What members say together, who are nobody in particular; their margins' scale is chosen on `asked` by members of a part of train."""
    told = [one(asked) for one in partly]
    scale = fit_scale(Told(told[0].rater, np.mean([one.margin for one in told], 0)))

    def known(test: Asked) -> Told:
        return together_in_mind([one(test).scaled(scale) for one in members])

    return Teller(name, 1.0, known, settings={"members": len(members)})


def resampled(rater: np.ndarray, raters: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of as many raters drawn again, and whose each is then: who is drawn twice is two raters."""
    drawn = rng.integers(raters, size=raters)
    order = np.argsort(rater, kind="stable")
    first = np.searchsorted(rater[order], np.arange(raters + 1))
    sizes = (first[1:] - first[:-1])[drawn]
    places = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[np.repeat(first[drawn], sizes) + places], np.repeat(np.arange(raters), sizes)


def member_seeds(seed: int) -> list[np.random.Generator]:
    """A generator for each member of an ensemble."""
    return [np.random.default_rng(np.random.SeedSequence([seed, 0x626F6F74, number])) for number in range(MEMBERS)]


def some_ids(raters: int, seed: int) -> list[int]:
    """As many IDs of a model whose labels have random ones as an ensemble has members."""
    return np.random.default_rng(np.random.SeedSequence([seed, 0x73747267])).integers(raters, size=MEMBERS).tolist()


def random_ids(labels: int, raters: int, seed: int) -> np.ndarray:
    """An ID for each label, drawn at random."""
    return np.random.default_rng(np.random.SeedSequence([seed, 0x494473])).integers(raters, size=labels)
