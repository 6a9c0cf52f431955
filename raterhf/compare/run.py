"""`raterhf compare`: train what is missing, vanilla and the controls included, judge every policy on fresh raters, write the report.

Each seed redraws the simulated world: training raters, validation raters and the fresh ones that the figures are read on. Seed 0 uses the
recipe's own files and run folder; the others live below it. Nothing here computes a figure (`judge.py`) or draws one (`report.py`).
"""

import json
import math
from importlib.metadata import version
from pathlib import Path

import numpy as np

from raterhf.compare import metrics, reward_figures
from raterhf.compare.contestants import load_contestant
from raterhf.compare.judge import Arena, Verdict, judge, skill_and_recall
from raterhf.compare.report import write_report
from raterhf.data.comparisons import Labels
from raterhf.data.worlds import dice_files, load_world
from raterhf.errors import UserError
from raterhf.inference.scorer import Scorer
from raterhf.models import checkpoint
from raterhf.recipe import Recipe
from raterhf.training import prepare, stages

SCHEMA = 1
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
# Temperatures among which vanilla's best is chosen, on the questions other than the one judged.
TEMPERATURES = (1.0, 1.5, 2.0, 3.0)


def compare(recipe: Recipe, controls: list[str] | None, seeds: int) -> Path:
    """Train, judge and report; returns the report's path."""
    if recipe.data.world is None:
        from raterhf.compare.people import compare_people

        return compare_people(recipe)
    wanted = ALL if controls == ["all"] else controls or recipe.compare.controls
    unknown = [name for name in wanted if name not in [*ALL, "sweeps"]]
    if unknown:
        raise UserError(f"control {unknown[0]!r} is not one of {', '.join(ALL)}, sweeps; or use --controls all")
    if not (recipe.base and recipe.reward and recipe.sft and recipe.policy):
        raise UserError("compare needs a recipe with the stages base, reward, sft and policy")
    sweep = controls == ["all"] or "sweeps" in wanted
    results = [_one_seed(_at_seed(recipe, recipe.seed + s), wanted, sweep) for s in range(seeds)]
    out = recipe.folder / "compare"
    merged = _merge(recipe, results)
    checkpoint.write_text(out / "metrics.json", json.dumps(_clean(merged), indent=1, ensure_ascii=False))
    return write_report(_clean(merged), out, results[0]["samples"])


def _at_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with its world redrawn: other raters, other labels, the same laws."""
    if seed == recipe.seed:
        return recipe
    folder = recipe.folder / f"seed-{seed}"
    data = folder / "data"
    if not (data / "base.csv").is_file():
        checkpoint.write_folder(data, lambda place: dice_files(place, seed, name=recipe.data.world))
    names = {
        "comparisons": "comparisons.csv",
        "ratings": "ratings.csv",
        "demonstrations": "demonstrations.csv",
        "raters": "raters.jsonl",
        "base": "base.csv",
    }
    files = {key: str(data / name) for key, name in names.items() if getattr(recipe.data, key)}
    return recipe.model_copy(
        update={
            "seed": seed,
            "runs": str(recipe.folder),
            "name": f"seed-{seed}",
            "data": recipe.data.model_copy(update=files),
        }
    )


def _variant(recipe: Recipe, name: str, **changes) -> Recipe:
    """The recipe of a control: same base checkpoint, its own folder. `changes` maps sections to what differs in them."""
    sections = {key: getattr(recipe, key).model_copy(update=value) if isinstance(value, dict) else value for key, value in changes.items()}
    model = recipe.model.model_copy(update={"path": str(recipe.folder / "base")})
    return recipe.model_copy(update={"name": name, "runs": str(recipe.folder / "controls"), "base": None, "model": model, **sections})


def _one_seed(recipe: Recipe, wanted: list[str], sweep: bool) -> dict:
    print(f"seed {recipe.seed}", flush=True)
    stages.train(recipe)
    labels = prepare.read_data(recipe)
    world = load_world(recipe.data.world)
    n_train = int((labels.raters.split == "train").sum())
    arena = Arena(
        world,
        recipe.seed,
        recipe.compare.draws,
        recipe.compare.people,
        recipe.compare.repeats,
        world.draw_people(n_train, recipe.seed, "t"),
        labels,
    )
    folders = _train_controls(recipe, labels, wanted)
    base = load_contestant("base", recipe.folder / "base", "none", recipe.model.max_length, recipe.policy.max_new_tokens)
    reward, tokenizer, _ = checkpoint.load_reward(recipe.folder / "reward")
    proxy = Scorer(reward.requires_grad_(False), tokenizer.pad_token_id)
    verdicts: dict[str, Verdict] = {}
    for name in [n for n in wanted if n in folders]:
        folder, draws = folders[name]
        print(f"  judging {name}", flush=True)
        contestant = load_contestant(name, folder, draws, recipe.model.max_length, recipe.policy.max_new_tokens)
        verdicts[name] = judge(contestant, arena, base, proxy)
        if name in ("rater_known", "text_ids"):
            verdicts[name].figures |= skill_and_recall(contestant, arena)
    if "vanilla_best_t" in wanted:
        verdicts["vanilla_best_t"] = _best_temperature(recipe, folders["vanilla"][0], arena, base, proxy)
    sweeps = _sweeps(recipe, labels, arena, base, wanted) if sweep else {}
    models = reward_figures.judge_reward_models(recipe, labels, "vanilla" in folders, "shuffled" in folders)
    population = [
        {"prompt": q.prompts[0], "completion": q.classes[i], "rater": arena.fresh.ids[r]}
        for r in range(8)
        for q, i in zip(arena.questions, arena.real[r])
    ]
    samples = {"population": population} | {name: verdicts[name].samples for name in ("vanilla", "rater_new") if name in verdicts}
    return {"arena": arena, "verdicts": verdicts, "sweeps": sweeps, "reward_models": models, "samples": samples}


def _train_controls(recipe: Recipe, labels: Labels, wanted: list[str]) -> dict[str, tuple[Path, str]]:
    """Train what the wanted policies need. Returns for each its folder and how its raters are drawn."""
    home = recipe.folder
    folders: dict[str, tuple[Path, str]] = {
        "base": (home / "base", "none"),
        "sft": (home / "sft", "new"),
        "rater_known": (home / "policy", "known"),
        "rater_new": (home / "policy", "new"),
    }
    if {"vanilla", "sft_no_ids", "vanilla_best_t"} & set(wanted):
        from raterhf.compare.opponent import train_vanilla

        sft, policy = train_vanilla(recipe, labels, recipe.compare.vanilla_betas[0])
        folders |= {"sft_no_ids": (sft, "none"), "vanilla": (policy, "none")}
    if "shuffled" in wanted:
        folders["shuffled"] = (stages.train(_variant(recipe, "shuffled", data={"shuffle_raters": True})), "new")
    if "none" in wanted:
        folders["none"] = (stages.train(_without_ids(recipe)), "none")
    if {"text_ids", "text_new"} & set(wanted):
        folder = stages.train(_variant(recipe, "text_ids", raters={"encoding": "text"}, reward=None, policy=None))
        folders |= {"text_ids": (folder, "known"), "text_new": (folder, "new")}
    if "comparisons_only" in wanted:
        plain = _variant(recipe, "comparisons_only", data={"demonstrations": None}, sft={"source": "chosen"})
        folders["comparisons_only"] = (stages.train(plain), "new")
    return folders


def _without_ids(recipe: Recipe, beta: float | None = None) -> Recipe:
    """Our own three stages with encoding none: TRL's updates, samples and beta, by our code."""
    rl = recipe.vanilla.rl
    policy = {
        "algorithm": "rloo",
        "beta": recipe.compare.vanilla_betas[0] if beta is None else beta,
        "steps": rl["max_steps"],
        "lr": rl["learning_rate"],
        "samples": rl["num_generations"],
        "raters": 1,
        "own_noise": False,
        "prompts": rl["per_device_train_batch_size"] * rl.get("gradient_accumulation_steps", 1) // rl["num_generations"],
    }
    return _variant(recipe, "none", raters={"encoding": "none"}, policy=policy)


def _best_temperature(recipe: Recipe, folder: Path, arena: Arena, base, proxy) -> Verdict:
    """Vanilla at the temperature that is best for it: for each question chosen by the other questions' mean tv, figures put together."""
    runs = []
    for temperature in TEMPERATURES:
        contestant = load_contestant("vanilla_best_t", folder, "none", recipe.model.max_length, recipe.policy.max_new_tokens, temperature)
        runs.append(judge(contestant, arena, base, proxy))
    keys = [q.key for q in arena.questions]
    table = np.array([[run.questions[key]["tv"] for key in keys] for run in runs])
    picks = [int(np.delete(table, i, axis=1).mean(1).argmin()) for i in range(len(keys))]
    common = max(set(picks), key=picks.count)
    chosen = runs[common]
    questions = {key: runs[pick].questions[key] for key, pick in zip(keys, picks)}
    figures = dict(chosen.figures) | {"temperature": TEMPERATURES[common]}
    for name in ("valid", "tv", "etv", "entropy_ratio", "coverage_ratio"):
        figures[name] = float(np.mean([row[name] for row in questions.values()]))
    return Verdict(figures, chosen.intervals, chosen.questions | questions, chosen.answers, chosen.samples)


SWEPT = ("reward_gold", "tv", "etv", "valid", "gamma", "mi_ratio", "joint_tv", "kappa_taste", "c2st_auc", "kl_to_base")


def _sweeps(recipe: Recipe, labels: Labels, arena: Arena, base, wanted: list[str]) -> dict[str, list[dict]]:
    """Vanilla, ours, and ours without IDs at every beta."""
    from raterhf.compare.opponent import train_vanilla

    def point(folder: Path, draws: str, beta: float) -> dict:
        contestant = load_contestant("sweep", folder, draws, recipe.model.max_length, recipe.policy.max_new_tokens)
        figures = judge(contestant, arena, base, None).figures
        return {"beta": beta} | {name: figures[name] for name in SWEPT}

    sweeps: dict[str, list[dict]] = {"rater_new": [], "vanilla": [], "none": []}
    for i, beta in enumerate(recipe.compare.betas):
        changed = recipe.model_copy(update={"policy": recipe.policy.model_copy(update={"beta": beta})})
        folder = recipe.folder / ("policy" if i == 0 and beta == recipe.policy.beta else f"policy-beta-{beta}")
        stages.train_stage(changed, "policy", folder)
        sweeps["rater_new"].append(point(folder, "new", beta))
    for i, beta in enumerate(recipe.compare.vanilla_betas):
        sweeps["vanilla"].append(point(train_vanilla(recipe, labels, beta)[1], "none", beta))
        if "none" in wanted:
            changed = _without_ids(recipe, beta)
            folder = changed.folder / ("policy" if i == 0 else f"policy-beta-{beta}")
            stages.train_stage(changed, "policy", folder)
            sweeps["none"].append(point(folder, "none", beta))
    return sweeps


def _merge(recipe: Recipe, results: list[dict]) -> dict:
    """Figures of all seeds as means, with intervals over seeds, or within the one seed."""
    names = list(results[0]["verdicts"])
    policies, intervals, questions = {}, {}, {}
    for name in names:
        verdicts = [result["verdicts"][name] for result in results]
        policies[name], intervals[name] = {}, {}
        for figure in verdicts[0].figures:
            within = [v.intervals.get(figure, (math.nan, math.nan)) for v in verdicts]
            mean, low, high = metrics.combine([v.figures[figure] for v in verdicts], within)
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
            "population": question.law.tolist(),
            "policies": rows,
        }
    sweeps = {
        name: [
            {key: float(np.mean([r["sweeps"][name][i][key] for r in results])) for key in row}
            for i, row in enumerate(results[0]["sweeps"][name])
        ]
        for name in results[0]["sweeps"]
    }
    return {
        "schema": SCHEMA,
        "recipe": recipe.model_dump(mode="json"),
        "seeds": [recipe.seed + i for i in range(len(results))],
        "versions": {name: version(name) for name in ("raterhf", "torch", "transformers", "trl", "lightning")},
        "policies": policies,
        "intervals": {"policies": intervals, "reward_models": {}},
        "questions": questions,
        "reward_models": reward_figures.merge([result["reward_models"] for result in results]),
        "coherence": _coherence_pictures(results[0]),
        "sweeps": sweeps,
        "equal_gold": _equal_gold(results),
        "real": _real(results),
        "seed_figures": [{name: v.figures for name, v in result["verdicts"].items()} for result in results],
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
    figures = ["etv", "tv", "valid", "gamma", "mi_ratio", "joint_tv"]
    rows = []
    for result in results:
        if not result["sweeps"]:
            return None
        rows.append(metrics.interpolate_at_equal_gold(result["sweeps"]["vanilla"], result["sweeps"]["rater_new"], figures))
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
    from raterhf.compare.judge import kappas

    rows = []
    for result in results:
        arena: Arena = result["arena"]
        taste = arena.columns("taste")
        mi = metrics.mean_over_pairs(metrics.mutual_information(arena.real[: arena.people][:, taste]))
        rows.append({"mi": mi} | kappas(arena.real_repeats, arena))
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _clean(value):
    """NaN and infinity become null, numpy numbers plain ones."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
