"""`raterhf compare` on real people: what known raters say next, and fictitious participants of a discussion beside people never trained on.

The data have a `split` column: the training rows (`data.split`), `test` (other rows of known raters), `test_new_statement` (prompts that
nobody answered in training) and `unseen_*` (people kept from all training). Answers are a closed set, the completions seen in training,
so a policy is judged by its distribution over them, renormalised, and its plain log-probability, EOS included, is given beside.

Fictitious participants are in `discussions.py`. Nothing here trains, computes a figure or draws one.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from raterhf.data.labels import read_labels, said_of_files
from raterhf.data.renderer import Renderer
from raterhf.engine.rater_policy import RaterPolicy, load_rater_policy
from raterhf.engine.scorer import Scorer
from raterhf.errors import UserError
from raterhf.evaluation import metrics
from raterhf.evaluation.compare.participants import (
    UNSEEN,
    gather,
    mean_over_people,
    measure_discussion,
    option_log_probs,
    renormalised,
    summarise,
)
from raterhf.models import checkpoint
from raterhf.progress import Progress
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import RaterPool
from raterhf.recipe import Recipe
from raterhf.reports import metrics_file
from raterhf.reports.discussions import write_people_report
from raterhf.reports.summary_table import DISCUSSIONS, print_summary
from raterhf.training import pipeline

TESTS = ("test", "test_new_statement")
POLICIES = ("rater_known", "rater_new")
CONTROLS = ("shuffled", "none")


def compare_people(recipe: Recipe, controls: list[str] | None = None) -> Path:
    """Train what is missing, judge, write metrics.json and the report into runs/NAME/compare; returns the report's path.

    `controls` are the reward models to train beside the recipe's: those named of CONTROLS; None or "all": both. POLICIES are always judged.
    """
    check_files(recipe)
    wanted = CONTROLS if controls in (None, ["all"]) else controls
    if unknown := [name for name in wanted if name not in (*POLICIES, *CONTROLS)]:
        raise UserError(f"control {unknown[0]!r} is not one of {', '.join((*POLICIES, *CONTROLS))}, which compare on real people knows")
    options = sorted(set(rows_of(recipe, "demonstrations", recipe.data.split).completion))
    discussions = gather(rows_of(recipe, "demonstrations", UNSEEN), known_prompts(recipe), options)
    for kind, split in product(("comparisons", "demonstrations"), TESTS):
        rows_of(recipe, kind, split)  # raises where the data lack a test
    pipeline.train(recipe)
    models = measure_reward_models(recipe, wanted)
    evaluated = load_rater_policy("policy", recipe.folder / "sft", "new", recipe.model.max_length, max_new_tokens=1)
    policies = measure_votes(recipe, evaluated, options)
    measured = []
    with Progress("judging fictitious participants", len(discussions), "discussion") as progress:
        for discussion in discussions:
            measured.append(measure_discussion(evaluated, discussion, options, recipe.seed))
            progress.advance()
    for name, values in summarise(discussions, measured).items():
        policies[name] = policies.get(name, {}) | values
    found = metrics_file.header(recipe, [recipe.seed]) | {
        "policies": policies, "reward_models": models, "options": options,
        "real": {"mi": mean_over_people([j["real"]["mi"] for j in measured], discussions)},
        "discussions": {g.name: {"people": len(g.real), "statements": g.statements} | j for g, j in zip(discussions, measured)},
    }  # fmt: skip
    out = recipe.folder / "compare"
    found = metrics_file.write(out / "metrics.json", found)
    page = write_people_report(found, out)
    print_summary(found, DISCUSSIONS)
    return page


def check_files(recipe: Recipe) -> None:
    """Raise UserError, naming the override, where the recipe's files or its stages are not there."""
    if recipe.raters.encoding != "embedding" or not (recipe.reward and recipe.sft and recipe.data.split and recipe.data.group_column):
        raise UserError(
            "compare on real people needs the stages reward and sft, raters.encoding embedding, data.split (the rows to train on) and "
            "data.group_column (the discussion); see recipes/polis.yaml"
        )
    for key in ("comparisons", "demonstrations"):
        given = getattr(recipe.data, key)
        for path in [given] if isinstance(given, str) else given or []:
            if not Path(path).exists():
                raise UserError(f"{path}: no such file (data.{key}); the data are not shipped: say where they lie with data.{key}=PATH")


def rows_of(recipe: Recipe, kind: str, split: str | Sequence[str]) -> pd.DataFrame:
    """Rows of one kind and split, as training reads them, with the rater's `group`."""
    data = recipe.data
    columns = {name: theirs for name, theirs in data.columns.items() if "." not in name or name.startswith(kind + ".")}
    labels = read_labels(
        **{kind: getattr(data, kind)}, columns=columns, split=split, group_column=data.group_column, max_bad=data.max_bad,
        **said_of_files(data),
    )  # fmt: skip
    return getattr(labels, kind).assign(group=lambda rows: rows.rater_id.map(labels.raters.set_index("rater_id").group))


def known_prompts(recipe: Recipe) -> set[str]:
    return set(rows_of(recipe, "demonstrations", recipe.data.split).prompt)


def measure_reward_models(recipe: Recipe, wanted: Sequence[str]) -> dict[str, dict[str, float]]:
    """Accuracy and more on the test splits: with the rater, for nobody, and as wanted with IDs shuffled in training, and trained without
    raters.
    """
    plain = {"sft": None, "runs": str(recipe.folder / "controls")}
    changed = {
        "shuffled": {"data": recipe.data.model_copy(update={"shuffle_raters": True})},
        "none": {"raters": recipe.raters.model_copy(update={"encoding": "none"})},
    }
    controls = {name: recipe.model_copy(update=plain | {"name": name} | changed[name]) for name in CONTROLS if name in wanted}
    folders = {"rater": recipe.folder / "reward"} | {name: pipeline.train(control) for name, control in controls.items()}
    found: dict[str, dict[str, float]] = {}
    with Progress("judging reward models", len(TESTS) * (1 + len(folders)), "test") as progress:
        for name, folder in folders.items():
            model, tokenizer, header = checkpoint.load_reward(folder)
            pool, scorer = checkpoint.load_pool(folder), Scorer(model)
            renderer = Renderer(tokenizer, header["max_length"])
            for split in TESTS:
                rows = rows_of(recipe, "comparisons", split)
                rows = rows[rows.rater_id.isin(pool.index)]
                for asked in ("rater", "null") if name == "rater" else (name,):
                    values = _reward_metrics(scorer, renderer, pool, rows, known=asked != "null")
                    suffix = "" if split == "test" else "_new_statement"
                    found.setdefault(asked, {}).update({key + suffix: value for key, value in values.items()})
                    progress.advance()
    return found


@torch.no_grad()
def _reward_metrics(scorer: Scorer, renderer: Renderer, pool: RaterPool, rows: pd.DataFrame, known: bool) -> dict[str, float]:
    examples = [renderer.example(p, t) for side in ("a", "b") for p, t in zip(rows.prompt, rows[side])]
    known_raters = RaterBatch.people(torch.as_tensor(pool.vectors[[pool.index[r] for r in rows.rater_id]]))
    scores = scorer.pairs(examples, (known_raters if known else RaterBatch.nobody(len(rows))).repeat(2)).cpu().numpy()
    margin, label = scores[: len(rows)] - scores[len(rows) :], rows.label.to_numpy()
    per_rater = metrics.rater_accuracies(margin, label, rows.rater_id.to_numpy())
    return {
        "accuracy": metrics.accuracy(margin, label), "nll": metrics.nll(margin, label), "ece": metrics.ece(margin, label),
        "accuracy_worst_decile": metrics.worst_decile(per_rater), "pairs": len(rows),
    }  # fmt: skip


def measure_votes(recipe: Recipe, evaluated: RaterPolicy, options: list[str]) -> dict[str, dict[str, float]]:
    """What known people vote on other statements, in nats a vote: asked as themselves (rater_known) and as nobody (none)."""
    found: dict[str, dict[str, float]] = {"rater_known": {}, "none": {}}
    pool = evaluated.pool
    with Progress("judging votes of known people", len(TESTS) * len(found), "test") as progress:
        for split in TESTS:
            rows = rows_of(recipe, "demonstrations", split)
            rows = rows[rows.rater_id.isin(pool.index) & rows.completion.isin(options)]
            votes = rows.completion.map({option: i for i, option in enumerate(options)}).to_numpy()
            known = {r: pool.by_id(r) for r in set(rows.rater_id)}
            for name, raters in (("rater_known", [known[r] for r in rows.rater_id]), ("none", [pool.null()] * len(rows))):
                log_probs = option_log_probs(evaluated, list(rows.prompt), raters, options)
                suffix = "" if split == "test" else "_new_statement"
                found[name] |= {key + suffix: value for key, value in vote_metrics(log_probs, votes).items()}
                progress.advance()
    return found


def vote_metrics(log_probs: np.ndarray, votes: np.ndarray) -> dict[str, float]:
    """Loss of `votes` [N] under log-probabilities [N, K]: renormalised over the options, and plain; accuracy; mass of the options."""
    distribution, row = renormalised(log_probs), np.arange(len(votes))
    return {
        "vote_nll": float(-np.log(distribution[row, votes]).mean()), "vote_nll_plain": float(-log_probs[row, votes].mean()),
        "vote_accuracy": float((distribution.argmax(1) == votes).mean()),
        "valid": float(np.exp(log_probs).sum(1).mean()), "votes": len(votes),
    }  # fmt: skip
