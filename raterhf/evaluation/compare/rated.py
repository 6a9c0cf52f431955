"""`raterhf compare` on texts that many people rated: are people told what they like, and is everybody told the same?

The data have a `split` column: the training rows (`data.split`), `test` (other ratings of known people) and `unseen_*` (people kept from
all training). What a policy tells a known person is graded by that person's own rating of it, which was kept back; what it tells fictitious
people stands beside what unseen people rated highest. No model says here what is good.

Nothing here trains (`trainings.py`), computes a figure (`metrics/told.py`) or draws one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from raterhf.data import prepare
from raterhf.data.labels import read_labels, said_of_files
from raterhf.data.requests import Prompt
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.evaluation import metrics
from raterhf.evaluation.compare.needs import check_data, wanted_policies
from raterhf.evaluation.compare.trainings import costs, train_policies
from raterhf.evaluation.policies import of_recipe
from raterhf.log import log
from raterhf.progress import Progress
from raterhf.raters.items import Ratings, fit_items, infer_tastes
from raterhf.recipe import Recipe
from raterhf.reports import metrics_file
from raterhf.reports.rated import write_rated_report
from raterhf.reports.summary_table import RATED, print_summary

TEST, UNSEEN = "test", ("unseen_support", "unseen_query")
CONTROLS = ("base", "sft_no_ids", "sft", "vanilla", "rater_known", "rater_new")
RANK = 8  # of the factor model that says what is best for a person, without reading a text
SURE = 0.1  # temperature at which a policy says what it is surest of
AT_ONCE = 64  # texts that are sampled between two lines of progress
WHOLE = 64  # tellings that are sampled to their ends
SPARE = 4  # tokens beside those of an item's opening, for another way to write it
PERSONS, EACH = 8, 4  # fictitious people whom the page shows, and tellings of each
SHOWN = 20


@dataclass(frozen=True)
class Rated:
    """The `items` [I] that people rated as answers to one prompt; ratings of known people in training [P, I] and kept back [P, I], and of
    unseen people [Q, I], NaN where there is none."""

    prompt: Prompt
    items: list[str]
    known: pd.Index
    trained: np.ndarray
    kept: np.ndarray
    unseen: np.ndarray


def compare_rated(recipe: Recipe, rated: Rated, controls: list[str] | None) -> Path:
    """Train what is missing, judge, write metrics.json and the report into runs/NAME/compare; returns the report's path."""
    wanted = wanted_policies(recipe, controls, CONTROLS, "base,sft,rater_known,rater_new")
    labels = prepare.read_data(recipe)
    check_data(recipe, labels, wanted)
    folders = train_policies(recipe, labels, wanted, sweep=False)
    asked = tellings_of({name: of_recipe(name, *folders[name], recipe) for name in wanted})
    found, samples = {}, {}
    draws = recipe.compare.draws
    batches = -(-draws // AT_ONCE) + -(-min(WHOLE, draws) // AT_ONCE)
    with Progress("telling", len(asked) * batches, "round") as progress:
        for name, policy in asked.items():
            samples[name] = tell(policy, rated, draws, recipe.seed, progress.advance)
            found[name] = measure(rated, samples[name], recipe.seed)
    shown = fictitious_people(asked["rater_new"], rated.prompt, recipe.seed) if "rater_new" in asked else []
    merged = metrics_file.header(recipe, [recipe.seed]) | {
        "policies": {name: one.figures for name, one in found.items()},
        "intervals": {"policies": {name: {"rating": one.interval} for name, one in found.items()}},
        "real": of_people(rated, recipe.seed), "trainings": costs(recipe),
        "prompt": rated.prompt, "items": rated.items,
        "shares": {"population": of_favourites(rated)} | {name: one.shares for name, one in found.items()},
    }  # fmt: skip
    out = recipe.folder / "compare"
    merged = metrics_file.write(out / "metrics.json", merged)
    page = write_rated_report(merged, out, samples_of(samples, rated), shown)
    print_summary(merged, RATED)
    return page


def read_rated(recipe: Recipe) -> Rated | None:
    """Everybody's ratings of the prompt that has most of them, where the recipe's data are ratings alone, of which some were kept back of
    known people, and of people who were kept back; else None. Several ratings of one text by one person count as their mean."""
    data = recipe.data
    if not (data.split and data.ratings) or data.comparisons or data.demonstrations:
        return None
    said = said_of_files(data) | {"pairs_per_rater": 1}
    splits = (str(data.split), TEST, *UNSEEN)
    try:
        rows = read_labels(ratings=data.ratings, columns=data.columns, split=splits, max_bad=data.max_bad, **said).ratings
    except UserError:  # of what is wrong with them whoever reads them for training says more
        return None
    if TEST not in set(rows.split) or not rows.split.isin(UNSEEN).any():
        return None
    prompts = rows.prompt.astype(str)
    most = prompts.value_counts().index[0]
    if prompts.nunique() > 1:
        log.warning(f"  compare: of {prompts.nunique()} prompts the one with most ratings is measured: {most[:60]!r}")
    rows = rows[prompts == most]
    items = pd.Index(rows.response.unique())
    known = pd.Index(sorted(rows.rater_id[rows.split == data.split].unique()))
    unseen = pd.Index(sorted(rows.rater_id[rows.split.isin(UNSEEN)].unique()))

    def table(people: pd.Index, names: tuple[str, ...]) -> np.ndarray:
        part = rows[rows.split.isin(names) & rows.rater_id.isin(people)]
        part = part.groupby(["rater_id", "response"], as_index=False).rating.mean()
        found = np.full((len(people), len(items)), np.nan)
        found[people.get_indexer(part.rater_id), items.get_indexer(part.response)] = part.rating
        return found

    of_training = table(known, (str(data.split),))
    return Rated(rows.prompt.iloc[0], list(items), known, of_training, table(known, (TEST,)), table(unseen, UNSEEN))


def tellings_of(policies: dict[str, RaterPolicy]) -> dict[str, RaterPolicy]:
    """The policies as they are asked: ours also as nobody in particular; and the known people's and vanilla's surest answers."""
    asked = dict(policies)
    if "rater_new" in policies:
        asked["none"] = replace(policies["rater_new"], name="none", draws="none")
    for name in ("rater_known", "vanilla"):
        if name in policies:
            asked[f"{name}_sure"] = replace(policies[name], temperature=SURE, min_p=0.0)
    return asked


@dataclass(frozen=True)
class Told:
    """What a policy tells: `opening` [N] of each text, as far as it takes to recognise an item, to whom among the known people [N] (None:
    to nobody in particular), and the first texts in `whole`."""

    opening: list[str]
    person: np.ndarray | None
    whole: list[str]


def tell(policy: RaterPolicy, rated: Rated, draws: int, seed: int, advance: Callable[[], None]) -> Told:
    """`draws` tellings, of which only as much is sampled as tells items apart, and the first `WHOLE` of them to their ends."""
    raters, tokenizer = policy.raters(draws, seed), policy.renderer.tokenizer
    begun = [metrics.opening(text, metrics.words_needed(rated.items)) for text in rated.items]
    longest = max(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in begun) + SPARE
    short = policy.with_limits(min(longest, policy.max_new_tokens), policy.temperature)

    def texts_of(asked: RaterPolicy, count: int) -> list[str]:
        texts: list[str] = []
        for first in range(0, count, AT_ONCE):
            part = raters[first : min(first + AT_ONCE, count)]
            texts += asked.texts(asked.answer([rated.prompt] * len(part), part, seed + first))
            advance()
        return texts

    person = rated.known.get_indexer([rater.id for rater in raters]) if policy.draws == "known" else None
    return Told(texts_of(short, draws), person, texts_of(policy, min(WHOLE, draws)))


@dataclass(frozen=True)
class Measured:
    figures: dict[str, float]
    interval: tuple[float, float]
    shares: list[float]  # [I + 1], the last one of texts that are no item


def measure(rated: Rated, said: Told, seed: int) -> Measured:
    """The figures of what was told, to known people or to nobody in particular."""
    rng = np.random.default_rng(seed)
    item, _ = metrics.recognise(said.opening, rated.items)
    begun, whole = metrics.recognise(said.whole, rated.items)
    counts = metrics.class_counts(item, len(rated.items))
    to_all = said.person is None
    graded = metrics.everybodys_ratings(item, rated.kept) if to_all else metrics.own_ratings(item, said.person, rated.kept)
    rating, low, high = metrics.mean_over_people(*graded, rng)
    people = metrics.favourites(rated.unseen).sum(0)
    figures = {
        "rating": rating, "graded": graded[1].sum(), "effective_items": metrics.effective(counts[:-1]),
        "top_share": counts[:-1].max() / max(counts[:-1].sum(), 1), "top_25": metrics.top_mass(counts[:-1]),
        "new": counts[-1] / len(item), "whole": whole.sum() / max((begun >= 0).sum(), 1), "draws": len(item),
    }  # fmt: skip
    if counts[:-1].sum():
        shares, q = counts[:-1] / counts[:-1].sum(), people / people.sum()
        figures["tv"] = metrics.tv(shares, q)
        figures["etv"] = figures["tv"] - metrics.tv_floor(q, int(people.sum()), int(counts[:-1].sum()), rng)
    return Measured(figures, (low, high), (counts / counts.sum()).tolist())


def of_favourites(rated: Rated) -> list[float]:
    """Share of unseen people whose favourite each item is [I]."""
    people = metrics.favourites(rated.unseen).sum(0)
    return (people / people.sum()).tolist()


def of_people(rated: Rated, seed: int) -> dict[str, float | list[float]]:
    """What unseen people rated highest, and how known people rate, of what was kept back: everything, what is best on average, and what a
    factor model (rank `RANK`, no text) says is best for each."""
    rng = np.random.default_rng(seed)
    people = metrics.favourites(rated.unseen).sum(0)
    rater, item = np.nonzero(~np.isnan(rated.trained))
    ratings = Ratings(rater, item, rated.trained[rater, item])
    model = fit_items(ratings, len(rated.known), len(rated.items), RANK, seed=seed)
    value = model.mean + infer_tastes(model, ratings, len(rated.known)).mean @ model.loading.T
    value[:, np.isnan(rated.trained).all(0)] = -np.inf  # nobody rated it in training
    seen = (~np.isnan(rated.trained)).sum(0)
    mean = np.where(seen > 0, np.nansum(rated.trained, 0) / np.maximum(seen, 1), -np.inf)
    everybody = (~np.isnan(rated.kept)).astype(float)
    choices = {
        "rating_mean": (np.nansum(rated.kept, 1), everybody.sum(1)),
        "rating_best_for_all": metrics.everybodys_ratings(np.array([mean.argmax()]), rated.kept),
        "rating_best_for_each": metrics.own_ratings(value.argmax(1), np.arange(len(rated.known)), rated.kept),
    }
    found: dict[str, float | list[float]] = {
        "people": len(rated.unseen), "effective_items": metrics.effective(people),
        "top_share": people.max() / people.sum(), "top_25": metrics.top_mass(people),
    }  # fmt: skip
    for name, graded in choices.items():
        rating, *interval = metrics.mean_over_people(*graded, rng)
        found |= {name: rating, f"{name}_interval": interval}
    return found


def fictitious_people(policy: RaterPolicy, prompt: Prompt, seed: int) -> list[dict]:
    """Some fictitious people by name, and what each is told when asked several times."""
    shown = []
    for rater in policy.raters(PERSONS, seed + 1):
        texts = policy.texts(policy.answer([prompt] * EACH, [rater] * EACH, seed))
        shown.append({"rater": rater.id, "texts": texts})
    return shown


def samples_of(samples: dict[str, Told], rated: Rated) -> dict[str, dict]:
    """For each policy what the page shows: the items most often told, and texts that are none."""
    found = {}
    for name, said in samples.items():
        item, _ = metrics.recognise(said.opening, rated.items)
        begun, _ = metrics.recognise(said.whole, rated.items)
        counts = np.bincount(item[item >= 0], minlength=len(rated.items))
        often = [(rated.items[i], int(counts[i])) for i in np.argsort(-counts, kind="stable")[:SHOWN] if counts[i]]
        found[name] = {"often": often, "new": [text for text, i in zip(said.whole, begun) if i < 0][:SHOWN], "draws": len(item)}
    return found
