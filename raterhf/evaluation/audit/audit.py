"""All figures of `raterhf audit`: of each kind of labels, and of the reward model where a run is audited.

Figures are JSON-like; an interval is [value, low, high], 95 %. Whatever cannot be said is a sentence in `notes`, never an error: one rater,
raters who judged nothing in common, one thing. Nothing is trained but a model of items and raters, which reads no text.
"""

from pathlib import Path

import numpy as np

from raterhf.data.dropped import refuse_dropped
from raterhf.data.inspection import agreement
from raterhf.data.inspection.choices import numbered
from raterhf.data.labels import statements_of
from raterhf.data.normalise import keys
from raterhf.evaluation.audit import people, things
from raterhf.evaluation.audit.fitted import Fitted, fit
from raterhf.evaluation.audit.judged import Judged, judged, pairs_asked
from raterhf.evaluation.audit.scored import audit_model
from raterhf.log import log
from raterhf.raters.disagreement import SOURCES, flips, interval, taken_apart
from raterhf.raters.items import Ratings
from raterhf.recipe import Recipe
from raterhf.run import open_run

SCHEMA = 1
TRIED = 200_000  # couples of ratings that are looked up, to see how often two raters differ


def audit(recipe: Recipe, name: str, values: dict[str, float] | None = None, run: Path | None = None, seed: int = 0) -> dict:
    """Audit a recipe's data, and the reward model of `run`. `values` are words among ratings and the numbers they stand for.

    Raises UserError where the files cannot be read.
    """
    rows, counts = statements_of(recipe, values)
    kinds = judged(rows, seed)
    if run is not None:
        home = run.parent if (run / "raterhf.json").is_file() else run
        refuse_dropped(home, {str(rater) for frame in rows.values() for rater in frame["rater_id"]}, recipe.data.files)
    found: dict = {"schema": SCHEMA, "name": name, "seed": seed, "notices": counts["notices"], "dropped": counts["dropped"], "kinds": {}}
    for data in kinds:
        log.info(f"  {data.kind}: {len(data)} labels of {len(data.raters)} raters on {len(data.texts)} things")
        found["kinds"][data.kind] = audit_labels(data, seed)
    if run is not None:
        prompts = {key: prompt for frame in rows.values() for key, prompt in zip(keys(frame["prompt"]), frame["prompt"])}
        found["model"] = audit_model(open_run(run), kinds, prompts, seed)
    return found


def audit_labels(data: Judged, seed: int) -> dict:
    """Figures of one kind of labels."""
    size = {"raters": len(data.raters), "of_raters": data.everybody, "labels": len(data), "things": len(data.texts)}
    found: dict = {**size, "observed": observed(data, seed), "notes": [], "copies": people.copying(data)}
    if found["copies"] is None:
        found["notes"].append("there are too many different answers to look for raters who copy each other")
    fitted = fit(data, seed)
    if isinstance(fitted, str):
        found["notes"].append(fitted)
        return found
    return found | _told(data, fitted, seed)


def _told(data: Judged, fitted: Fitted, seed: int) -> dict:
    voices, raters = fitted.voices, len(data.raters)
    pairs, axes = pairs_asked(data, seed), things.axes_of(data, voices)
    if not len(pairs):
        return {"notes": ["nobody judged two answers to one prompt, so nobody preferred one: write prompts alike where they are the same"]}
    parts = taken_apart(voices, pairs, raters, seed)
    rows = people.people(data, voices, axes)
    spread = float(data.said.value.std()) if isinstance(data.said, Ratings) else 0.0
    apart = {}
    if len(axes.share) or fitted.trials[0].get("care"):  # else all raters prefer the same, but for chance
        apart = {"couples": people.couples(data, voices, pairs, seed), "splits": things.splitting(data, voices, seed)}
    return apart | {
        "trials": fitted.trials,
        "disagreement": {"rate": interval(parts["rate"])} | {name: interval(parts[name] / parts["rate"]) for name in SOURCES},
        "flips": interval(flips(voices, pairs, raters, seed)),
        "dimensions": things.told_of(data, axes),
        "everybody": people.everybody(data, voices, seed),
        "named": people.named(rows, spread),
        "people": rows,
    }


def observed(data: Judged, seed: int) -> dict:
    """What labels show without any model: how often two raters differ, of how many couples of labels; and a rater from themselves."""
    if isinstance(data.said, Ratings):
        return _ratings_differ(data, data.said, seed)
    counts = agreement.vote_counts(data.votes, data.values)
    differ, all_pairs = (float(part.sum()) for part in agreement.disagreement(counts))
    found = {"differ": differ / all_pairs if all_pairs else None, "couples": int(all_pairs)}
    if data.kind == "comparisons":
        said = data.said
        question = numbered(np.minimum(said.a, said.b) * len(data.texts) + np.maximum(said.a, said.b))
        answer = np.where(said.a < said.b, said.won, 1 - said.won) * 2
        again = agreement.repeats(said.rater, question, answer.astype(np.int64), 3)
        found |= {"again": again["asked"], "again_differ": again["differs"], "comes_back": again["repeats"], "interval": again["interval"]}
    return found


def _ratings_differ(data: Judged, ratings: Ratings, seed: int) -> dict:
    """How often two raters order two things differently that both rated, each differently."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x6F6273]))
    key = ratings.rater * len(data.texts) + ratings.item
    order = np.argsort(key, kind="stable")
    sorted_keys, values = key[order], ratings.value[order]
    pairs = pairs_asked(data, seed)
    if not len(pairs) or len(data.raters) < 2:
        return {"differ": None, "couples": 0}
    rows = pairs.rows(rng.integers(len(pairs), size=TRIED))

    def gap(rater: np.ndarray) -> np.ndarray:
        """What a rater gave a less what they gave b; NaN where they did not rate both."""
        given = []
        for item in (rows.a, rows.b):
            wanted = rater * len(data.texts) + item
            at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
            given.append(np.where(sorted_keys[at] == wanted, values[at], np.nan))
        return given[0] - given[1]

    who = ratings.rater[rng.integers(len(ratings), size=(2, TRIED))]
    one, other = gap(who[0]), gap(who[1])
    both = np.isfinite(one) & np.isfinite(other) & (one != 0) & (other != 0) & (who[0] != who[1])
    return {"differ": float((np.sign(one) != np.sign(other))[both].mean()) if both.any() else None, "couples": int(both.sum())}
