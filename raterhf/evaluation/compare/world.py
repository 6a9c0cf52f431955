"""A comparison in a simulated world: train what is missing, vanilla and the controls included, judge every policy on fresh raters, report.

Each seed redraws the simulated world: training raters, validation raters and the fresh ones that the figures are read on. Seed 0 uses the
recipe's own files and run folder; the others live below it. Nothing here computes a figure (`policy_metrics.py`) or draws one.
"""

import math
from pathlib import Path

import numpy as np

from raterhf.data import prepare
from raterhf.engine.scorer import Scorer
from raterhf.errors import UserError
from raterhf.evaluation import metrics
from raterhf.evaluation.compare import reward_metrics
from raterhf.evaluation.compare.frontier import frontier, row
from raterhf.evaluation.compare.jobs import Job, side_by_side
from raterhf.evaluation.compare.needs import check_data, check_vanilla
from raterhf.evaluation.compare.policy_metrics import Arena, PolicyMetrics, measure_policy, skill_and_recall
from raterhf.evaluation.compare.rivals import STRENGTH, Strength, Way, check_rivals, main_strength
from raterhf.evaluation.compare.trainings import at_seed, costs, held_by_each, main_policies, swept_policies, train_policies
from raterhf.evaluation.policies import of_recipe
from raterhf.evaluation.probes.load import of_run
from raterhf.evaluation.probes.suite import chosen, merge_probes, run_probes
from raterhf.lock import hold_run
from raterhf.log import log
from raterhf.models import checkpoint
from raterhf.recipe import Recipe
from raterhf.recipe_compare import SampledSettings
from raterhf.reports import metrics_file
from raterhf.reports.comparison import write_report
from raterhf.reports.frontier import print_frontier
from raterhf.reports.summary_table import WORLD, print_summary
from raterhf.worlds.world import load_world

ALL = [
    "base",
    "sft_no_ids",
    "sft",
    "vanilla",
    "vanilla_best_t",
    "none",
    "rater_known",
    "rater_new",
    "shuffled",
    "text_ids",
    "text_new",
    "comparisons_only",
]
# Policies of known raters, of whom `skill` is measured too.
ASKED_MORE = ("rater_known", "text_ids")
# Temperatures among which vanilla's best is chosen, on the questions other than the one judged.
TEMPERATURES = (1.0, 1.5, 2.0, 3.0)
# Policies whose sweeps over beta are compared where they reach the same gold reward.
BY_BETA = ("rater_new", "vanilla", "none")


def compare_world(recipe: Recipe, controls: list[str] | None, seeds: int) -> Path:
    """Train, judge and report; returns the report's path."""
    known = [*ALL, *recipe.compare.rivals]
    wanted = known if controls == ["all"] else controls or recipe.compare.controls
    unknown = [name for name in wanted if name not in [*known, "sweeps"]]
    if unknown:
        raise UserError(f"control {unknown[0]!r} is not one of {', '.join(known)}, sweeps; or use --controls all")
    if both := set(ALL) & set(recipe.compare.rivals):
        raise UserError(f"compare.rivals.{both.pop()}: a control has that name already; give the rival another")
    if recipe.raters.encoding != "embedding" or not (recipe.base and recipe.reward and recipe.sft and recipe.policy):
        raise UserError("compare needs a recipe with raters.encoding embedding and the stages base, reward, sft and policy")
    sweep = controls == ["all"] or "sweeps" in wanted
    check_vanilla(recipe, [*wanted, *(["vanilla"] if sweep else [])], "base,sft,rater_known,rater_new,shuffled")
    check_rivals(recipe, wanted)  # what is no setting is refused before hours of training
    chosen(recipe.compare.probes)  # and so is a name that is no probe
    results = [_one_seed(at_seed(recipe, recipe.seed + s), wanted, sweep) for s in range(seeds)]
    out = recipe.folder / "compare"
    merged = _merge(recipe, results)
    merged["probes"], drawn = _probed(recipe, seeds) if recipe.compare.probes != "none" else ({}, {})
    found = metrics_file.write(out / "metrics.json", merged)
    page = write_report(found, out, results[0]["samples"], drawn)
    print_summary(found, WORLD)
    print_frontier(found)
    return page


def _probed(recipe: Recipe, seeds: int) -> tuple[dict, dict[str, str]]:
    """The probes of every seed's models, merged, and the first seed's plots."""
    wanted = chosen(recipe.compare.probes)
    runs = []
    for s in range(seeds):
        one = at_seed(recipe, recipe.seed + s)
        interview, world = of_run(one, one.folder, recipe.compare.draws, one.seed)
        runs.append(run_probes(interview, wanted, world))
    return merge_probes([found["probes"] for found, _ in runs]), runs[0][1]


def _one_seed(recipe: Recipe, wanted: list[str], sweep: bool) -> dict:
    with hold_run(recipe.folder):  # of another seed, a run of its own that `train` may write into
        return _judged(recipe, wanted, sweep)


def _judged(recipe: Recipe, wanted: list[str], sweep: bool) -> dict:
    log.info(f"seed {recipe.seed}")
    labels = prepare.read_data(recipe)
    check_data(recipe, labels, wanted)
    folders = train_policies(recipe, labels, wanted, sweep)
    world = load_world(recipe.data.world)
    train = world.draw_people(int((labels.raters.split == "train").sum()), recipe.seed, "t")
    arena = Arena(world, recipe.seed, recipe.compare.draws, recipe.compare.people, recipe.compare.repeats, train, labels)
    swept = swept_policies(recipe, wanted) if sweep else main_policies(recipe, wanted)
    asked = _to_ask(recipe, wanted, folders, swept)
    # Those that are asked more than others come first, so that no core waits for them.
    order = sorted(asked, key=lambda name: name not in ASKED_MORE)
    model, copies = held_by_each(recipe)
    jobs: list[list[Job]] = [[(_measured, (recipe, arena, name, *asked[name]))] for name in order]
    found = dict(zip(order, side_by_side(jobs, model, f"judging policies of seed {recipe.seed}", copies)))
    all_results = {name: found[name] for name in wanted if name in found}
    if "vanilla_best_t" in wanted:
        all_results["vanilla_best_t"] = _best_temperature([found[_at(t)] for t in TEMPERATURES], arena)
    by_way = {way: found[name] for name, way in asked.items()}
    strengths = {name: [(one, by_way[one.way]) for one in points] for name, points in swept.items()}
    models = reward_metrics.measure_reward_models(recipe, labels, "vanilla" in folders, "shuffled" in folders)
    population = [
        {"prompt": q.prompts[0], "completion": q.classes[i], "rater": arena.fresh.ids[r]}
        for r in range(8)
        for q, i in zip(arena.questions, arena.real[r])
    ]
    samples = {"population": population} | {name: all_results[name].samples for name in ("vanilla", "rater_new") if name in all_results}
    return {
        "arena": arena,
        "verdicts": all_results,
        "strengths": strengths,
        "sweeps": {name: [row(*one) for one in strengths[name]] for name in BY_BETA if name in strengths} if sweep else {},
        "reward_models": models,
        "samples": samples,
        "trainings": costs(recipe),
    }


def _to_ask(
    recipe: Recipe, wanted: list[str], folders: dict[str, tuple[Path, str]], swept: dict[str, list[Strength]]
) -> dict[str, Way]:  # fmt: skip
    """All that is asked, by a name of its own: the policies wanted, vanilla at each temperature, and strengths that are none of these."""
    rivals = {name: main_strength(recipe, name) for name in wanted if name in recipe.compare.rivals}
    asked = {name: rivals[name].way if name in rivals else (*folders[name], SampledSettings()) for name in wanted if name in folders}
    if "vanilla_best_t" in wanted:
        asked |= {_at(t): (*folders["vanilla"], SampledSettings(temperature=t)) for t in TEMPERATURES}
    for name, points in swept.items():
        for one in points:
            if one.way not in asked.values():  # what is asked alike is asked once
                asked[f"{name} at {one.key} {one.value}"] = one.way
    return asked


def _at(temperature: float) -> str:
    return f"vanilla at temperature {temperature}"


def _measured(recipe: Recipe, arena: Arena, name: str, folder: Path, draws: str, sampled: SampledSettings) -> PolicyMetrics:
    base = of_recipe("base", recipe.folder / "base", "none", recipe)
    reward, tokenizer, _ = checkpoint.load_reward(recipe.folder / "reward")
    evaluated = of_recipe(name, folder, draws, recipe, sampled.temperature, sampled.min_p)
    measured = measure_policy(evaluated, arena, base, Scorer(reward.requires_grad_(False)))
    if name in ASKED_MORE:
        measured.metrics |= skill_and_recall(evaluated, arena)
    return measured


def _best_temperature(runs: list[PolicyMetrics], arena: Arena) -> PolicyMetrics:
    """Vanilla at the temperature that is best for it: for each question chosen by the other questions' mean tv, figures put together."""
    keys = [q.key for q in arena.questions]
    table = np.array([[run.questions[key]["tv"] for key in keys] for run in runs])
    picks = [int(np.delete(table, i, axis=1).mean(1).argmin()) for i in range(len(keys))]
    common = max(set(picks), key=picks.count)
    chosen = runs[common]
    questions = {key: runs[pick].questions[key] for key, pick in zip(keys, picks)}
    means = dict(chosen.metrics) | {"temperature": TEMPERATURES[common]}
    for name in ("valid", "tv", "etv", "entropy_ratio", "coverage_ratio"):
        means[name] = float(np.mean([row[name] for row in questions.values()]))
    return PolicyMetrics(means, chosen.intervals, chosen.questions | questions, chosen.answers, chosen.samples)


SWEPT = ("reward_gold", "tv", "etv", "valid", "gamma", "mi_ratio", "joint_tv", "kappa_taste", "c2st_auc", "kl_to_base")


def _merge(recipe: Recipe, results: list[dict]) -> dict:
    """Figures of all seeds as means, with intervals over seeds, or within the one seed."""
    names = list(results[0]["verdicts"])
    policies, intervals, questions = {}, {}, {}
    for name in names:
        all_results = [result["verdicts"][name] for result in results]
        policies[name], intervals[name] = {}, {}
        for figure in all_results[0].metrics:
            within = [v.intervals.get(figure, (math.nan, math.nan)) for v in all_results]
            mean, low, high = metrics.combine([v.metrics[figure] for v in all_results], within)
            policies[name][figure] = mean
            if low is not None:
                intervals[name][figure] = [low, high]
    arena: Arena = results[0]["arena"]
    for question in arena.world.questions:
        rows = {}
        for name in names:
            parts = [result["verdicts"][name].questions[question.key] for result in results]
            rows[name] = {key: np.mean([part[key] for part in parts], axis=0).tolist() for key in parts[0]}
        questions[question.key] = {
            "kind": question.kind,
            "prompt": question.prompts[0],
            "classes": question.classes,
            "population": question.distribution.tolist(),
            "policies": rows,
        }
    sweeps = {
        name: [{key: float(np.mean([r["sweeps"][name][i][key] for r in results])) for key in (STRENGTH, *SWEPT)} for i in range(len(rows))]
        for name, rows in results[0]["sweeps"].items()
    }
    return metrics_file.header(recipe, [recipe.seed + i for i in range(len(results))]) | {
        "policies": policies,
        "intervals": {"policies": intervals, "reward_models": {}},
        "questions": questions,
        "trainings": results[0]["trainings"],
        "reward_models": reward_metrics.merge([result["reward_models"] for result in results]),
        "coherence": _coherence_pictures(results[0]),
        "sweeps": sweeps,
        "equal_gold": _equal_gold(results),
        "frontier": frontier([result["strengths"] for result in results]),
        "real": _real(results),
        "seed_figures": [{name: v.metrics for name, v in result["verdicts"].items()} for result in results],
    }


def _coherence_pictures(result: dict) -> dict:
    arena: Arena = result["arena"]
    taste = arena.columns("taste")
    tables = {"real": arena.real[: arena.people]} | {
        name: result["verdicts"][name].answers[: arena.people] for name in ("rater_new", "vanilla") if name in result["verdicts"]
    }
    return {
        "questions": [arena.questions[i].key for i in taste],
        "mi": {name: metrics.mutual_information(table[:, taste]).tolist() for name, table in tables.items()},
        "heat": {name: table[:60, taste].tolist() for name, table in tables.items()},
    }


def _equal_gold(results: list[dict]) -> dict | None:
    """Vanilla and ours where their sweeps reach the same gold reward, with the interval of the difference over seeds."""
    compared = ["etv", "tv", "valid", "gamma", "mi_ratio", "joint_tv"]
    rows = []
    for result in results:
        if not result["sweeps"]:
            return None
        rows.append(metrics.interpolate_at_equal_gold(result["sweeps"]["vanilla"], result["sweeps"]["rater_new"], compared))
    if any(row["reward_gold"] is None for row in rows):
        return {"reward_gold": None, "vanilla": rows[0]["a"], "rater_new": rows[0]["b"]}
    mean, low, high = metrics.over_seeds([row["a"]["etv"] - row["b"]["etv"] for row in rows])
    average = {side: {key: float(np.mean([row[side][key] for row in rows])) for key in rows[0][side]} for side in ("a", "b")}
    return {
        "reward_gold": float(np.mean([row["reward_gold"] for row in rows])),
        "vanilla": average["a"],
        "rater_new": average["b"],
        "difference_etv": mean,
        "interval": [low, high],
    }


def _real(results: list[dict]) -> dict:
    """What fresh real raters get on the same figures."""
    from raterhf.evaluation.compare.policy_metrics import kappas

    rows = []
    for result in results:
        arena: Arena = result["arena"]
        taste = arena.columns("taste")
        mi = metrics.mean_over_pairs(metrics.mutual_information(arena.real[: arena.people][:, taste]))
        rows.append({"mi": mi} | kappas(arena.real_repeats, arena))
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
