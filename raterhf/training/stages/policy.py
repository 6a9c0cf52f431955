"""The stage `policy`: optimise the imitating policy for the reward, by imitation of choices or on policy; and its idiosyncratic taste.

Both algorithms give a module and a function from step to batch, all that `fit` asks for.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from raterhf.data import prepare
from raterhf.data.example import Example
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.engine.passes import prompt_features
from raterhf.engine.sampler import Sampler
from raterhf.engine.scorer import TOKEN_BUDGET, Scorer, completion_log_probs
from raterhf.models import checkpoint
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import RaterPool
from raterhf.recipe import Recipe
from raterhf.training.fit import fit
from raterhf.training.persistence import linear_weights, mean_answers, persistence_weights
from raterhf.training.policy_module import Groups, PolicyModule
from raterhf.training.rollouts import Imitation, Judge, imitation_targets
from raterhf.training.start import all_prompts, watch

Prompts = list[tuple[int, ...]]


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
    prompts = [renderer.prompt(text) for text in sorted({renderer.prompt_text(p) for p in all_prompts(labels)})]
    idiosyncratic = settings.idiosyncratic and soft and raters.idiosyncratic_dim > 0
    judge = Judge(Scorer(reward), reference, pool if soft else None, idiosyncratic, recipe.seed)
    sampler = Sampler(
        reference if settings.algorithm == "forward_kl" else policy,
        tokenizer.pad_token_id, tokenizer.eos_token_id, settings.max_new_tokens,
    )  # fmt: skip
    sampler.check_room(prompts)
    make = choices if settings.algorithm == "forward_kl" else rollouts
    module, batch = make(recipe, policy, judge, sampler, prompts)

    def measure(examples: list[Example], raters: RaterBatch) -> dict[str, float]:
        return progress(policy, judge, settings.min_p, examples, RaterBatch(raters.taste(pool.dim), raters.null))

    who = pool if raters.encoding != "none" else None
    monitor = watch(recipe, folder, settings.steps, policy, renderer, who, all_prompts(labels), measure)
    fit(module, batch, settings, folder, {"policy.reader.": raters.reader_lr}, recipe.tensorboard, monitor)
    carry_idiosyncratic(recipe, policy, tokenizer, labels, pool)
    checkpoint.save_policy(folder, policy, tokenizer, pool, recipe.model.max_length, {})


def choices(
    recipe: Recipe, policy: Policy, judge: Judge, sampler: Sampler, prompts: Prompts
) -> tuple[PolicyModule, Callable[[int], Imitation]]:  # fmt: skip
    """Forward KL: imitate what raters choose among samples of the reference; a round of choices is cut into batches."""
    settings = recipe.policy
    parts = max(1, settings.prompts * settings.raters * settings.choices // settings.batch_size)

    @lru_cache(maxsize=1)
    def targets(round_: int) -> list[Imitation]:
        return imitation_targets(
            judge, sampler, prompts, settings.prompts, settings.raters, settings.samples, settings.choices, settings.known_share,
            settings.beta, round_,
        ).split(parts)  # fmt: skip

    return PolicyModule(policy, recipe.seed), lambda step: targets(step // parts)[step % parts]


def rollouts(
    recipe: Recipe, policy: Policy, judge: Judge, sampler: Sampler, prompts: Prompts
) -> tuple[PolicyModule, Callable[[int], Groups]]:  # fmt: skip
    """RLOO: prompts and raters for which the policy itself is sampled in the step."""
    settings = recipe.policy

    def batch(step: int) -> Groups:
        rng = np.random.default_rng(np.random.SeedSequence([recipe.seed, step, 0x726C6F6F]))
        chosen = rng.choice(len(prompts), size=min(settings.prompts, len(prompts)), replace=False)
        raters = judge.draw_raters(len(chosen) * settings.raters, settings.known_share, rng)
        return Groups([prompts[i] for i in chosen for _ in range(settings.raters)], raters, settings.samples)

    return PolicyModule(policy, recipe.seed, judge, sampler, settings.beta, settings.target_kl), batch


def progress(policy: Policy, judge: Judge, min_p: float, examples: list[Example], raters: RaterBatch) -> dict[str, float]:
    """The proxy reward of what was sampled [N], its KL from the reference, as it is sampled, and its entropy; nats a completion."""
    log_prob, entropy = completion_log_probs(policy, examples, raters, warp=(min_p, 1.0))
    raters = raters.to(judge.reference.lm.device)
    kl = log_prob.mean() - judge.reference_log_probs(examples, raters).mean().to(log_prob.device)
    return {"reward": float(judge.scores(examples, raters).mean()), "kl": float(kl), "entropy": float(entropy.mean())}


def carry_idiosyncratic(recipe: Recipe, policy: Policy, tokenizer, labels: Labels, pool: RaterPool) -> None:
    """Teach the policy's features of prompts what the reward model's say of idiosyncratic taste: how much persists, and which question it
    is."""
    if policy.idiosyncratic is None:
        return
    reward, _, _ = checkpoint.load_reward(recipe.folder / "reward")
    policy.idiosyncratic.weight.copy_(reward.idiosyncratic.weight)
    window = prepare.Window(Renderer(tokenizer, recipe.model.max_length), recipe.data.max_dropped)
    with torch.no_grad():
        prompts, answers = mean_answers(policy.idiosyncratic, prepare.comparison_data(labels, window, pool.known, {}))
        share = reward.idiosyncratic.share(Scorer(reward.to(policy.lm.device)).prompt_features(prompts))
        features = prompt_features(policy, [prompt.ids[: prompt.prompt_length] for prompt in prompts], TOKEN_BUDGET).cpu()
    policy.idiosyncratic.persistence.copy_(persistence_weights(features, share))
    policy.idiosyncratic.question.copy_(linear_weights(features, answers))
