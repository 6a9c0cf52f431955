"""The stages of a recipe, in order: base, reward, sft, policy. Each reads the folders of those before it and writes its own.

A finished stage is skipped unless what it depends on changed (its part of the recipe, its data, an earlier stage); then it says what
changed and runs again. An interrupted stage resumes.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raterhf.data.batches import Example, Renderer, step_indices
from raterhf.data.comparisons import Labels
from raterhf.data.corpus import read_corpus
from raterhf.data.make import require_made
from raterhf.inference.passes import prompt_features
from raterhf.inference.sampler import Sampler
from raterhf.inference.scorer import TOKEN_BUDGET, Scorer, completion_log_probs
from raterhf.models import backbone, checkpoint
from raterhf.models.own_noise import make_own_noise
from raterhf.models.policy import Policy
from raterhf.raters.pool import RaterPool
from raterhf.raters.space import RaterSpace
from raterhf.recipe import Recipe, dump_recipe
from raterhf.training import prepare
from raterhf.training.collapse import Collapse
from raterhf.training.fit import clear_state, fit
from raterhf.training.persistence import linear_weights, mean_answers, persistence_weights
from raterhf.training.policy_module import Groups, PolicyModule
from raterhf.training.reward_stage import fit_populations, run_reward
from raterhf.training.rollouts import Imitation, Judge, imitation_targets
from raterhf.training.start import all_prompts, all_texts, pool_without_vectors, rater_texts, start_model, watch

# What each stage depends on, beside the stages before it. Keys of the recipe.
DEPENDS = {
    "base": ("seed", "model", "base", "data.base", "data.columns"),
    "reward": (
        "seed",
        "model",
        "raters",
        "reward",
        "data.comparisons",
        "data.ratings",
        "data.demonstrations",
        "data.raters",
        "data.columns",
        "data.split",
        "data.shuffle_raters",
        "data.held_out",
        "data.group_column",
        "data.validate_share",
        "data.max_dropped",
    ),
    "sft": (
        "seed",
        "model",
        "raters",
        "sft",
        "data.demonstrations",
        "data.comparisons",
        "data.raters",
        "data.columns",
        "data.split",
        "data.shuffle_raters",
        "data.group_column",
        "data.max_dropped",
    ),
    "policy": ("seed", "raters", "policy"),
}
FILES = ("data.base", "data.comparisons", "data.ratings", "data.demonstrations", "data.raters")


def train(recipe: Recipe) -> Path:
    """Run the recipe's stages; returns the folder of the last."""
    require_made(recipe.data.world, recipe.data.files)
    if len(recipe.stages) > 1:
        prepare.read_data(recipe)  # what is wrong with the labels is said before a model is trained for them
    last = recipe.folder
    for stage in recipe.stages:
        last = recipe.folder / stage
        train_stage(recipe, stage, last)
    return last


def train_stage(recipe: Recipe, stage: str, folder: Path) -> None:
    """Run one stage into `folder` (the stages before it lie in the recipe's own folders), unless it is done."""
    inputs = _inputs(recipe, stage)
    if _finished(folder, inputs):
        print(f"{folder.name}: done before, skipped ({folder})", flush=True)
        return
    print(f"{folder.name}: training in {folder}", flush=True)
    RUN[stage](recipe, folder)
    checkpoint.write_text(folder / "recipe.resolved.yaml", dump_recipe(recipe))
    checkpoint.write_text(folder / "stage.json", json.dumps({"finished": True, "inputs": inputs}, indent=1))
    clear_state(folder)


def _inputs(recipe: Recipe, stage: str) -> dict:
    """All that the stage's result depends on, by key; files by a hash of their bytes, earlier stages by their weights'."""
    everything = recipe.model_dump(mode="json")
    inputs: dict = {}
    for earlier in recipe.stages[: recipe.stages.index(stage)]:
        names = ("model.safetensors", "raterhf.safetensors", "raters.safetensors")
        inputs[f"stage {earlier}"] = [file_digest(str(recipe.folder / earlier / name)) for name in names]
    if stage != "reward" and recipe.probes and recipe.probes.alarm == "slow":
        inputs["probes"] = everything["probes"]  # other probes look and leave the weights alone
    for key in DEPENDS[stage]:
        section, _, name = key.partition(".")
        value = everything[section][name] if name else everything[section]
        if key in FILES and value:
            value = [[path, file_digest(path)] for path in ([value] if isinstance(value, str) else value)]
        inputs[key] = value
    return inputs


def file_digest(path: str) -> str:
    place = Path(path)
    return hashlib.sha256(place.read_bytes()).hexdigest()[:16] if place.is_file() else "not a file"


def _finished(folder: Path, inputs: dict) -> bool:
    """Whether the stage is done with these inputs; says what changed where it was done with others."""
    record, started = folder / "stage.json", folder / "started.json"
    there = next((path for path in (record, started) if path.is_file()), None)
    before = checkpoint.read_json(there) if there else None
    if before is not None:
        known = before.get("inputs") or {}
        changed = [key for key in inputs | known if known.get(key) != inputs.get(key)]
        if not changed:
            return record.is_file()
        again = "trained again" if record.is_file() else "begun again"
        print(f"{folder.name}: {again}, since {', '.join(changed)} changed", flush=True)
        clear_state(folder)
        record.unlink(missing_ok=True)
    checkpoint.write_text(started, json.dumps({"inputs": inputs}))
    return False


def run_base(recipe: Recipe, folder: Path) -> None:
    rows = read_corpus(recipe.data.base, recipe.data.columns)
    prompts, completions = list(rows.prompt), list(rows.completion)
    if recipe.model.path:
        lm, tokenizer = backbone.load_pretrained(recipe.model.path)
    else:
        names = [recipe.raters.text_template.format("0123456789")]
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        tokenizer = backbone.train_tokenizer(texts + completions + names, recipe.model.vocab_size)
        lm = backbone.build_model(recipe.model.config, tokenizer, recipe.model.max_length, recipe.seed)
    renderer = Renderer(tokenizer, recipe.model.max_length)
    examples = [renderer.example(p, c) for p, c in zip(prompts, completions)]
    policy = Policy(lm, 0, 0)
    probes = watch(recipe, folder, recipe.base.steps, policy, renderer, None, prompts, trained=bool(recipe.model.path))
    _fit_imitation(recipe, folder, policy, recipe.base, lambda rows, step: _plain(examples, rows), len(examples), probes)
    checkpoint.save_policy(folder, policy, tokenizer, None, recipe.model.max_length, {})


def _plain(examples: list, rows: np.ndarray) -> Imitation:
    return Imitation(
        [examples[i] for i in rows], torch.zeros(len(rows), 1), torch.ones(len(rows), dtype=torch.bool), torch.ones(len(rows)), {}
    )


def _fit_imitation(recipe, folder, policy, settings, make_rows, n, probes: Collapse | None, space: RaterSpace | None = None) -> None:
    module = PolicyModule(policy, recipe.seed, space=space)
    rates = {"policy.reader.": recipe.raters.reader_lr} | ({"space.": settings.vector_lr} if space else {})

    def batch(step: int) -> Imitation:
        return make_rows(step_indices(np.zeros(n, np.int64), settings.batch_size, 1, step, recipe.seed), step)

    fit(module, batch, settings, folder, rates, recipe.tensorboard, probes)


def run_sft(recipe: Recipe, folder: Path) -> None:
    labels = prepare.read_data(recipe)
    people = prepare.find_people(labels)
    lm, tokenizer = start_model(recipe, all_texts(labels))
    raters = recipe.raters
    soft = raters.encoding == "embedding"
    pool = checkpoint.load_pool(recipe.folder / "reward") if soft else pool_without_vectors(recipe, people)
    window = prepare.Window(Renderer(tokenizer, recipe.model.max_length), recipe.data.max_dropped)
    examples, rater = prepare.demonstration_data(labels, window, pool.ids, rater_texts(recipe, people), recipe.sft.source)
    torch.manual_seed(recipe.seed)
    policy = Policy(lm, pool.dim if soft else 0, raters.tokens, make_own_noise(pool.own_dim if soft else 0, lm, tokenizer))
    vectors = torch.tensor(pool.vectors)
    noise = recipe.sft.noise * vectors.std(0).mean() if soft else 0.0

    def batch(rows: np.ndarray, step: int) -> Imitation:
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        if not soft:
            return _plain(examples, rows)
        taste = vectors[rater[rows]]
        taste = taste + noise * torch.randn(taste.shape, generator=generator)
        null = torch.rand(len(rows), generator=generator) < raters.null_share
        learned = torch.as_tensor(rater[rows]) if space else None
        return Imitation([examples[i] for i in rows], taste, null, torch.ones(len(rows)), {}, learned)

    space = None
    if soft and recipe.sft.learn_vectors:
        space = RaterSpace(len(pool.ids), pool.dim, recipe.sft.noise)
        space.vectors.data.copy_(vectors)
    watched = pool if raters.encoding != "none" else None
    trained = bool(recipe.base or recipe.model.path)
    probes = watch(recipe, folder, recipe.sft.steps, policy, window.renderer, watched, all_prompts(labels), trained=trained)
    _fit_imitation(recipe, folder, policy, recipe.sft, batch, len(examples), probes, space)
    if space is not None:
        pool.vectors = space.vectors.detach().cpu().numpy().copy()
        fit_populations(recipe, pool)
    carry_own_noise(recipe, policy, tokenizer, labels, pool)
    checkpoint.save_policy(folder, policy, tokenizer, pool, recipe.model.max_length, {})


def run_policy(recipe: Recipe, folder: Path) -> None:
    policy, tokenizer, _ = checkpoint.load_policy(recipe.folder / "sft")
    reference, _, _ = checkpoint.load_policy(recipe.folder / "sft")
    reward, _, _ = checkpoint.load_reward(recipe.folder / "reward")
    reference.requires_grad_(False)
    reward.requires_grad_(False)
    pool = checkpoint.load_pool(recipe.folder / "sft")
    settings, raters = recipe.policy, recipe.raters
    soft = raters.encoding == "embedding"
    renderer = Renderer(tokenizer, recipe.model.max_length)
    labels = prepare.read_data(recipe)
    texts = sorted({renderer.prompt_text(p) for p in all_prompts(labels)})
    prompts = [renderer.prompt(text) for text in texts]
    pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
    own_noise = settings.own_noise and soft and raters.own_dim > 0
    judge = Judge(Scorer(reward), reference, pool if soft else None, own_noise, recipe.seed)
    if settings.algorithm == "forward_kl":
        sampler = Sampler(reference, pad, eos, settings.max_new_tokens)
        module = PolicyModule(policy, recipe.seed)

        per_round = settings.prompts * settings.raters * settings.choices
        parts = max(1, per_round // settings.batch_size)

        @lru_cache(maxsize=1)
        def targets(round_: int) -> list[Imitation]:
            return imitation_targets(
                judge,
                sampler,
                prompts,
                settings.prompts,
                settings.raters,
                settings.samples,
                settings.choices,
                settings.known_share,
                settings.beta,
                round_,
            ).split(parts)

        def batch(step: int) -> Imitation | Groups:
            return targets(step // parts)[step % parts]
    else:
        sampler = Sampler(policy, pad, eos, settings.max_new_tokens)
        module = PolicyModule(policy, recipe.seed, judge, sampler, settings.beta, settings.target_kl)

        def batch(step: int) -> Imitation | Groups:
            rng = np.random.default_rng(np.random.SeedSequence([recipe.seed, step, 0x726C6F6F]))
            chosen = rng.choice(len(prompts), size=min(settings.prompts, len(prompts)), replace=False)
            count = len(chosen) * settings.raters
            vectors, null = judge.draw_raters(count, settings.known_share, rng)
            return Groups([prompts[i] for i in chosen for _ in range(settings.raters)], vectors, null, settings.samples)

    def measure(examples: list[Example], vectors: Tensor | None, null: Tensor | None) -> dict[str, float]:
        """The proxy reward of what was sampled, its KL from the reference, as it is sampled, and its entropy."""
        if soft:
            vectors = vectors[:, : pool.dim]
        else:
            vectors, null = torch.zeros(len(examples), 1), torch.ones(len(examples), dtype=torch.bool)
        log_prob, entropy = completion_log_probs(policy, examples, vectors, null, warp=(settings.min_p, 1.0))
        vectors, null = vectors.to(reference.lm.device), null.to(reference.lm.device)
        kl = log_prob.mean() - judge.reference_log_probs(examples, vectors, null).mean().to(log_prob.device)
        return {"reward": float(judge.scores(examples, vectors, null).mean()), "kl": float(kl), "entropy": float(entropy.mean())}

    who = pool if raters.encoding != "none" else None
    probes = watch(recipe, folder, settings.steps, policy, renderer, who, all_prompts(labels), measure)
    fit(module, batch, settings, folder, {"policy.reader.": raters.reader_lr}, recipe.tensorboard, probes)
    carry_own_noise(recipe, policy, tokenizer, labels, pool)
    checkpoint.save_policy(folder, policy, tokenizer, pool, recipe.model.max_length, {})


def carry_own_noise(recipe: Recipe, policy: Policy, tokenizer, labels: Labels, pool: RaterPool) -> None:
    """Teach the policy's features of prompts what the reward model's say of own noise: how much persists, and which question it is."""
    if policy.own_noise is None:
        return
    reward, _, _ = checkpoint.load_reward(recipe.folder / "reward")
    policy.own_noise.weight.copy_(reward.own_noise.weight)
    window = prepare.Window(Renderer(tokenizer, recipe.model.max_length), recipe.data.max_dropped)
    with torch.no_grad():
        prompts, answers = mean_answers(policy.own_noise, prepare.comparison_data(labels, window, pool.ids, {}))
        share = reward.own_noise.share(Scorer(reward.to(policy.lm.device)).prompt_features(prompts))
        features = prompt_features(policy, [prompt.ids[: prompt.prompt_length] for prompt in prompts], TOKEN_BUDGET).cpu()
    policy.own_noise.persistence.copy_(persistence_weights(features, share))
    policy.own_noise.question.copy_(linear_weights(features, answers))


RUN = {"base": run_base, "reward": run_reward, "sft": run_sft, "policy": run_policy}
