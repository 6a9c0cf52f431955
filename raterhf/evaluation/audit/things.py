"""What raters disagree on: the axes of taste with the things at their ends, and the things that split people."""

from dataclasses import dataclass, replace

import numpy as np

from raterhf.evaluation.audit.judged import Judged
from raterhf.raters.disagreement import HABITS, Pairs, PairVoices, RatingVoices, interval, preferring
from raterhf.raters.items import Ratings

ACTIVE = 0.05  # share of taste's variance that makes an axis active
ENDS = 3  # things and raters that are shown of each end of an axis
KNOWN_BY = 4  # raters who judged a thing, for it to be shown
SAMPLED = 200  # raters of a draw, of whom it is asked what they prefer
DRAWS = 50
MOST_THINGS = 2000
SPLIT = 0.05  # from which a thing splits people
SHOWN = 100  # things that split people, in the figures


@dataclass(frozen=True)
class Axes:
    """Main directions in which raters differ, the first the widest: `share` [J] of taste's variance, `of_items` [I, J] how far each thing
    is preferred by a rater one unit along, `mean` and `spread` [R, J] where raters are, in units of the things' spread."""

    share: np.ndarray
    of_items: np.ndarray
    mean: np.ndarray
    spread: np.ndarray


def axes_of(data: Judged, voices: PairVoices | RatingVoices) -> Axes:
    """Directions of the raters' tastes by what they do to things that are compared with one another; none without tastes."""
    if isinstance(voices, PairVoices):
        loading = voices.model.worth[:, 1:]
        tastes = slice(2, 2 + loading.shape[1])
        mean, covariance = voices.people.mean[:, tastes], voices.people.covariance[:, tastes, tastes]
    else:
        loading, mean, covariance = voices.model.loading, voices.tastes.mean, voices.tastes.covariance
    weight = data.met().astype(float)
    apart = loading - _averages(loading, data.group, weight)[data.group]
    values, vectors = np.linalg.eigh((apart * weight[:, None]).T @ apart / weight.sum())
    order = np.argsort(-values)
    values, vectors = values[order], vectors[:, order]
    kept = values > 1e-4 * max(values.sum(), 1e-9) if len(values) else np.zeros(0, bool)
    values, vectors = values[kept], vectors[:, kept]
    of_items = apart @ vectors
    sign = np.sign(of_items[np.abs(of_items).argmax(0), np.arange(len(values))]) if len(values) else np.ones(0)
    width = np.sqrt(values)
    unsure = np.sqrt(np.maximum(np.einsum("kj,rkl,lj->rj", vectors, covariance, vectors), 0))
    return Axes(values / values.sum() if len(values) else values, of_items * sign, mean @ vectors * sign * width, unsure * width)


def _averages(values: np.ndarray, group: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted means [G, k] of each group's rows."""
    found = np.zeros((int(group.max()) + 1, values.shape[1]))
    np.add.at(found, group, weight[:, None] * values)
    return found / np.bincount(group, weight)[:, None]


def told_of(data: Judged, axes: Axes) -> dict:
    """The axes as figures: how many are active, how many there are in effect, and both ends of each active one.

    `known` is the share of an axis' variance that labels tell of a rater, mean over raters: near 0 they hardly say where anybody is.
    """
    met, width = data.met(), axes.mean.std(0)
    shown = np.flatnonzero(met >= min(KNOWN_BY, met.max()))
    found = []
    for j in np.flatnonzero(axes.share >= ACTIVE):
        order = shown[np.argsort(axes.of_items[shown, j], kind="stable")]
        spread = axes.spread[:, j]
        sure = np.argsort(np.abs(axes.mean[:, j]) - 1.96 * spread)[::-1]
        ends = {}
        for name, sign, things in (("high", 1, order[::-1]), ("low", -1, order)):
            raters = [i for i in sure if sign * axes.mean[i, j] - 1.96 * spread[i] > 0][:ENDS]
            ends[name] = {
                "things": [thing(data, int(i)) | {"loading": round(float(axes.of_items[i, j]), 4)} for i in things[:ENDS]],
                "raters": [
                    {"rater": str(data.raters[i])} | {"at": [round(float(axes.mean[i, j] + z * spread[i]), 4) for z in (0, -1.96, 1.96)]}
                    for i in raters
                ],
            }
        known = 1 - (spread**2).mean() / max((spread**2).mean() + width[j] ** 2, 1e-12)
        found.append({"share": round(float(axes.share[j]), 4), "known": round(float(known), 4), **ends})
    effective = 1 / (axes.share**2).sum() if len(axes.share) else 0.0
    return {"active": len(found), "of": axes.of_items.shape[1], "effective": round(float(effective), 2), "axes": found}


def thing(data: Judged, i: int) -> dict:
    """An item as texts; an answer among options says nothing without its prompt."""
    text = f"{data.prompts[i]}: {data.texts[i]}" if data.kind == "own answers" else str(data.texts[i])
    return {"prompt": str(data.prompts[i]), "text": text}


def against_average(data: Judged, voices: PairVoices | RatingVoices, numbers: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Probabilities [R, M] that raters of these numbers [R, d] prefer each of M things to the average one of its prompt."""
    weight, model, average = data.met().astype(float), voices.model, len(data.texts) + data.group[items]
    if isinstance(voices, PairVoices):
        worth = model.worth
        both = replace(voices, model=replace(model, worth=np.concatenate([worth, _averages(worth, data.group, weight)])))
        apart = np.zeros((len(items), data.said.apart.shape[1]))
    else:
        stacked = np.concatenate([model.mean[:, None], model.loading, model.noise[:, None]], 1)
        stacked = np.concatenate([stacked, _averages(stacked, data.group, weight)])
        both = replace(voices, model=replace(model, mean=stacked[:, 0], loading=stacked[:, 1:-1], noise=stacked[:, -1]))
        apart = np.zeros((len(items), 0))
    return preferring(both, both.levelled(numbers, HABITS), Pairs(items, average, apart))


def splitting(data: Judged, voices: PairVoices | RatingVoices, seed: int) -> list[dict]:
    """Things that split people, the most first: raters differ most in how likely they prefer it to the average of its prompt.

    `split` is the standard deviation of that probability over raters, of .5 at most; `share` the share of raters who rather prefer it; both
    [value, low, high]. What the labels themselves say stands in `seen`.
    """
    met = data.met()
    alone = np.bincount(data.group)[data.group] < 2
    shown = np.flatnonzero((met >= KNOWN_BY) & ~alone)
    shown = shown[np.argsort(-met[shown], kind="stable")][:MOST_THINGS]
    if not len(shown):
        return []
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x73706C]))
    split, share = [], []
    for _ in range(DRAWS):
        numbers = voices.draw(rng)[rng.integers(len(data.raters), size=min(SAMPLED, len(data.raters)))]
        prefers = against_average(data, voices, numbers, shown)
        split.append(prefers.std(0))
        share.append((prefers > 0.5).mean(0))
    split, share = np.array(split), np.array(share)
    order = [i for i in np.argsort(-split.mean(0), kind="stable")[:SHOWN] if split[:, i].mean() >= SPLIT]
    seen = _seen(data)
    return [
        thing(data, int(shown[i])) | {"raters": int(met[shown[i]]), "split": interval(split[:, i]), "share": interval(share[:, i])}
        | {"seen": {name: round(float(values[shown[i]]), 3) for name, values in seen.items()}}
        for i in order
    ]  # fmt: skip


def _seen(data: Judged) -> dict[str, np.ndarray]:
    """What labels say of each thing [I]: how often it was chosen, passed over and tied; or the ratings' mean and spread."""
    items, said = len(data.texts), data.said
    if isinstance(said, Ratings):
        count = np.maximum(np.bincount(said.item, minlength=items), 1)
        mean = np.bincount(said.item, said.value, items) / count
        return {"mean": mean, "spread": np.sqrt(np.bincount(said.item, (said.value - mean[said.item]) ** 2, items) / count)}
    tied = said.won == 0.5
    both = np.concatenate([said.a, said.b])
    won = np.concatenate([said.won, 1 - said.won])
    return {
        "chosen": np.bincount(both, won == 1, items), "passed over": np.bincount(both, won == 0, items),
        "tied": np.bincount(both, np.concatenate([tied, tied]), items),
    }  # fmt: skip
