"""`raterhf compare` on real people: what known raters say next, and fictitious participants of a discussion beside people never trained on.

The data have a `split` column: the training rows (`data.split`), `test` (other rows of known raters), `test_new_statement` (prompts that
nobody answered in training) and `unseen_*` (people kept from all training). Answers are a closed set, the completions seen in training,
so a policy is judged by its law over them, renormalised, and its plain log-probability, EOS included, is given beside.

A fictitious participant is drawn from the population of one discussion (the rater's group) and asked the statements that most unseen
people of that discussion voted on. Each stands beside one real person and misses the same answers, so that missing votes tell nobody
apart. Nothing here trains (`stages.py`), computes a figure (`metrics.py`) or draws one (`report.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from raterhf.compare import metrics, metrics_file
from raterhf.compare.contestants import Contestant, load_contestant
from raterhf.data.batches import Renderer
from raterhf.data.comparisons import read_labels
from raterhf.errors import UserError
from raterhf.inference.scorer import Scorer
from raterhf.models import checkpoint
from raterhf.raters.pool import Rater, RaterPool
from raterhf.recipe import Recipe
from raterhf.training import stages

TESTS = ("test", "test_new_statement")
UNSEEN = ("unseen_support", "unseen_query")
# Statements of a discussion that its people are compared on, and the share of them that a person must have voted on.
STATEMENTS = 12
MIN_SHARE = 0.6
# A discussion with fewer unseen people has no classifier of its own: five folds of a handful say nothing.
MIN_PEOPLE = 30
# Sets of fictitious people, as many in each as real ones; figures are means over the sets.
SETS = 5


def compare_people(recipe: Recipe) -> Path:
    """Train what is missing, judge, write metrics.json into runs/NAME/compare; returns its path."""
    check_files(recipe)
    stages.train(recipe)
    print("judging reward models", flush=True)
    models = judge_reward_models(recipe)
    print("judging votes of known people", flush=True)
    contestant = load_contestant("policy", recipe.folder / "sft", "new", recipe, max_new_tokens=1)
    options = sorted(set(rows_of(recipe, "demonstrations", recipe.data.split).completion))
    policies = judge_votes(recipe, contestant, options)
    print("judging fictitious participants", flush=True)
    gatherings = gather(rows_of(recipe, "demonstrations", UNSEEN), known_prompts(recipe), options)
    judged = [judge_gathering(contestant, gathering, options, recipe.seed) for gathering in gatherings]
    for name, figures in summarise(gatherings, judged).items():
        policies[name] = policies.get(name, {}) | figures
    found = metrics_file.header(recipe, [recipe.seed]) | {
        "policies": policies, "reward_models": models, "options": options,
        "real": {"mi": _mean([j["real"]["mi"] for j in judged], gatherings)},
        "discussions": {g.name: {"people": len(g.real), "statements": g.statements} | j for g, j in zip(gatherings, judged)},
    }  # fmt: skip
    _print(found)
    path = recipe.folder / "compare" / "metrics.json"
    metrics_file.write(path, found)
    return path


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
    labels = read_labels(**{kind: getattr(data, kind)}, columns=columns, split=split, group_column=data.group_column)
    return getattr(labels, kind).assign(group=lambda rows: rows.rater_id.map(labels.raters.set_index("rater_id").group))


def known_prompts(recipe: Recipe) -> set[str]:
    return set(rows_of(recipe, "demonstrations", recipe.data.split).prompt)


def judge_reward_models(recipe: Recipe) -> dict[str, dict[str, float]]:
    """Accuracy and more on the test splits: with the rater, for nobody, with IDs shuffled in training, and trained without raters."""
    plain = {"sft": None, "runs": str(recipe.folder / "controls")}
    shuffled = recipe.model_copy(update=plain | {"name": "shuffled", "data": recipe.data.model_copy(update={"shuffle_raters": True})})
    without = recipe.model_copy(update=plain | {"name": "none", "raters": recipe.raters.model_copy(update={"encoding": "none"})})
    folders = {"rater": recipe.folder / "reward", "shuffled": stages.train(shuffled), "none": stages.train(without)}
    found: dict[str, dict[str, float]] = {}
    for name, folder in folders.items():
        model, tokenizer, header = checkpoint.load_reward(folder)
        pool, scorer = checkpoint.load_pool(folder), Scorer(model, tokenizer.pad_token_id)
        renderer = Renderer(tokenizer, header["max_length"])
        for split in TESTS:
            rows = rows_of(recipe, "comparisons", split)
            rows = rows[rows.rater_id.isin(pool.index)]
            for asked in ("rater", "null") if name == "rater" else (name,):
                figures = _reward_figures(scorer, renderer, pool, rows, known=asked != "null")
                suffix = "" if split == "test" else "_new_statement"
                found.setdefault(asked, {}).update({key + suffix: value for key, value in figures.items()})
    return found


@torch.no_grad()
def _reward_figures(scorer: Scorer, renderer: Renderer, pool: RaterPool, rows: pd.DataFrame, known: bool) -> dict[str, float]:
    examples = [renderer.example(p, t) for side in ("a", "b") for p, t in zip(rows.prompt, rows[side])]
    vectors = torch.as_tensor(pool.vectors[[pool.index[r] for r in rows.rater_id]]).repeat(2, 1)
    scores = scorer.pairs(examples, vectors, torch.full((len(examples),), not known)).numpy()
    margin, label = scores[: len(rows)] - scores[len(rows) :], rows.label.to_numpy()
    per_rater = metrics.rater_accuracies(margin, label, rows.rater_id.to_numpy())
    return {
        "accuracy": metrics.accuracy(margin, label), "nll": metrics.nll(margin, label), "ece": metrics.ece(margin, label),
        "accuracy_worst_decile": metrics.worst_decile(per_rater), "pairs": len(rows),
    }  # fmt: skip


def option_log_probs(contestant: Contestant, prompts: Sequence[str], raters: Sequence[Rater], options: Sequence[str]) -> np.ndarray:
    """log P [N, K] of each option, EOS included, as the answer of each rater to their prompt; equal questions are asked once."""
    place: dict[tuple[str, str], int] = {}
    back = [place.setdefault((p, r.id), len(place)) for p, r in zip(prompts, raters)]
    by_id = {r.id: r for r in raters}
    unique, who = [p for p, _ in place], [by_id[i] for _, i in place]
    columns = [contestant.log_probs([contestant.renderer.example(p, o) for p in unique], who) for o in options]
    return np.stack(columns, 1)[back]


def renormalised(log_probs: np.ndarray) -> np.ndarray:
    """Laws [N, K] over the options from their log-probabilities."""
    law = np.exp(log_probs - log_probs.max(1, keepdims=True))
    return law / law.sum(1, keepdims=True)


def judge_votes(recipe: Recipe, contestant: Contestant, options: list[str]) -> dict[str, dict[str, float]]:
    """What known people vote on other statements, in nats a vote: asked as themselves (rater_known) and as nobody (none)."""
    found: dict[str, dict[str, float]] = {"rater_known": {}, "none": {}}
    pool = contestant.pool
    for split in TESTS:
        rows = rows_of(recipe, "demonstrations", split)
        rows = rows[rows.rater_id.isin(pool.index) & rows.completion.isin(options)]
        said = rows.completion.map({option: i for i, option in enumerate(options)}).to_numpy()
        known = {r: pool.known(r) for r in set(rows.rater_id)}
        for name, raters in (("rater_known", [known[r] for r in rows.rater_id]), ("none", [pool.null()] * len(rows))):
            log_probs = option_log_probs(contestant, list(rows.prompt), raters, options)
            suffix = "" if split == "test" else "_new_statement"
            found[name] |= {key + suffix: value for key, value in vote_figures(log_probs, said).items()}
    return found


def vote_figures(log_probs: np.ndarray, said: np.ndarray) -> dict[str, float]:
    """Loss of votes `said` [N] under log-probabilities [N, K]: renormalised over the options, and plain; accuracy; mass of the options."""
    law, row = renormalised(log_probs), np.arange(len(said))
    return {
        "vote_nll": float(-np.log(law[row, said]).mean()), "vote_nll_plain": float(-log_probs[row, said].mean()),
        "vote_accuracy": float((law.argmax(1) == said).mean()), "valid": float(np.exp(log_probs).sum(1).mean()), "votes": len(said),
    }  # fmt: skip


@dataclass(frozen=True)
class Gathering:
    """Unseen people of a discussion: `real` [R, Q] are their votes on `statements` (prompts), -1 where missing.

    `novel` [R, M] are those on statements that training never saw.
    """

    name: str
    statements: list[str]
    real: np.ndarray
    novel_statements: list[str]
    novel: np.ndarray


def gather(votes: pd.DataFrame, known: set[str], options: list[str]) -> list[Gathering]:
    """The discussions with enough unseen people, the largest first. `votes`: prompt, completion, rater_id, group."""
    code = {option: i for i, option in enumerate(options)}
    found = []
    for name, rows in votes[votes.completion.isin(code)].groupby("group"):
        table = rows.assign(vote=rows.completion.map(code)).pivot_table(index="rater_id", columns="prompt", values="vote", aggfunc="first")
        counts = table.notna().sum().sort_index().sort_values(ascending=False, kind="stable")
        asked = [p for p in counts.index if p in known][:STATEMENTS]
        people = table[table[asked].notna().sum(axis=1) >= MIN_SHARE * len(asked)]
        novel = [p for p in counts.index if p not in known and counts[p] >= MIN_PEOPLE][:STATEMENTS]
        if len(people) >= MIN_PEOPLE:
            found.append(Gathering(name, asked, _codes(people[asked]), novel, _codes(people[novel])))
    if not found:
        splits = " or ".join(UNSEEN)
        raise UserError(f"no discussion has {MIN_PEOPLE} people of split {splits} who voted on most of its {STATEMENTS} top statements")
    return sorted(found, key=lambda g: -len(g.real))


def _codes(table: pd.DataFrame) -> np.ndarray:
    return table.fillna(-1).to_numpy(dtype=np.int64)


def judge_gathering(contestant: Contestant, gathering: Gathering, options: list[str], seed: int) -> dict:
    """Fictitious participants, known ones and nobody in particular, beside the real people of one discussion."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x70656F70]))
    people = len(gathering.real)
    pool = contestant.pool
    members = pool.resolve("all", 0, seed, group=gathering.name)
    order = np.concatenate([rng.permutation(np.arange(max(people, len(members))) % len(members))[:people] for _ in range(SETS)])
    asked_as = {
        "rater_new": pool.resolve("new", people * SETS, seed, group=gathering.name),
        "rater_known": [members[i] for i in order], "none": [pool.null()] * (people * SETS),
    }  # fmt: skip
    statements = gathering.statements + gathering.novel_statements
    found = {"real": {"mi": metrics.mean_over_pairs(metrics.mutual_information(gathering.real))}, "policies": {}}
    for name, who in asked_as.items():
        asked = [(p, r) for r in who for p in statements]
        laws = renormalised(option_log_probs(contestant, [p for p, _ in asked], [r for _, r in asked], options))
        laws = laws.reshape(SETS, people, len(statements), len(options))
        q = len(gathering.statements)
        found["policies"][name] = compare_with_real(laws[:, :, :q], gathering.real, rng, seed)
        if gathering.novel_statements:
            found["policies"][name]["tv_unrated"] = marginals(laws[:, :, q:], gathering.novel, rng)[0].mean().item()
    return found


def compare_with_real(laws: np.ndarray, real: np.ndarray, rng: np.random.Generator, seed: int) -> dict[str, float]:
    """Figures of sets of people with vote laws [S, R, Q, K] against real votes [R, Q], each beside one real person and missing the same."""
    distance, floor = marginals(laws, real, rng)
    drawn = [np.where(real < 0, -1, draw_votes(law, rng)) for law in laws]
    mi = float(np.mean([metrics.mean_over_pairs(metrics.mutual_information(votes)) for votes in drawn]))
    scores = [metrics.c2st_scores(votes, real, seed) for votes in drawn]
    spans = [
        metrics.cluster_bootstrap(lambda r, _, s=s: metrics.auc(s[0][r], s[1][r]), len(real), None, rng, n=200) for s in scores
    ]  # fmt: skip
    real_mi = metrics.mean_over_pairs(metrics.mutual_information(real))
    return {
        "tv": float(distance.mean()), "etv": float((distance - floor).mean()), "mi": mi,
        "mi_ratio": mi / real_mi if real_mi > 0 else float("nan"), "c2st_auc": float(np.mean([metrics.auc(*s) for s in scores])),
        "c2st_low": float(np.mean([low for low, _ in spans])), "c2st_high": float(np.mean([high for _, high in spans])),
        "joint_tv": float(np.mean([metrics.joint_tv_to_raters(votes, real, rng, 20) for votes in drawn])),
    }  # fmt: skip


def marginals(laws: np.ndarray, real: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """tv [Q] between the real votes [R, Q] and the mean law [S, R, Q, K] of those who voted.

    And its floor [Q]: the mean tv of as many votes drawn from that law.
    """
    distance, floor = [], []
    for i, votes in enumerate(real.T):
        voted = votes >= 0
        law = laws[:, voted, i].mean((0, 1))
        observed = np.bincount(votes[voted], minlength=len(law)) / voted.sum()
        distance.append(metrics.tv(observed, law))
        floor.append(metrics.tv_floor(law, None, int(voted.sum()), rng, 500))
    return np.array(distance), np.array(floor)


def draw_votes(laws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One vote [R, Q] from each law [R, Q, K]."""
    return np.minimum((laws.cumsum(-1) < rng.random(laws.shape[:-1])[..., None]).sum(-1), laws.shape[-1] - 1)


def summarise(gatherings: list[Gathering], judged: list[dict]) -> dict[str, dict[str, float]]:
    """Means over discussions, weighted by their people."""
    found: dict[str, dict[str, float]] = {}
    for name in judged[0]["policies"]:
        rows = [j["policies"][name] for j in judged]
        found[name] = {key: _mean([row.get(key, np.nan) for row in rows], gatherings) for key in rows[0]}
    return found


def _mean(values: list[float], gatherings: list[Gathering]) -> float:
    weights = np.array([len(g.real) for g in gatherings], float)
    there = np.isfinite(values)
    return float(np.average(np.array(values)[there], weights=weights[there])) if there.any() else float("nan")


def _print(found: dict) -> None:
    """The figures as plain tables."""
    console = Console()
    tables = {"reward models": found["reward_models"], "policies": found["policies"]}
    tables |= {f"{name} ({d['people']} people)": d["policies"] for name, d in found["discussions"].items()}
    for title, rows in tables.items():
        table = Table(title=title, title_justify="left")
        figures = list(dict.fromkeys(key for row in rows.values() for key in row))
        table.add_column("")
        for name in rows:
            table.add_column(name, justify="right")
        for key in figures:
            table.add_row(key, *(f"{row[key]:.3f}" if key in row else "" for row in rows.values()))
        console.print(table)
