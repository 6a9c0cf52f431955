"""The stage `policy`: optimise the sft policy for the reward by the algorithm that the recipe names, then carry over idiosyncratic
taste."""

from pathlib import Path

import numpy as np
import torch

from raterhf.data import prepare
from raterhf.data.example import Example
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.engine.sampler import Sampler
from raterhf.engine.scorer import Scorer, completion_log_probs
from raterhf.log import log
from raterhf.models import checkpoint
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch
from raterhf.recipe import Recipe
from raterhf.training import ranks
from raterhf.training.algorithms.base import Said, Start, load_algorithm
from raterhf.training.fit import fit
from raterhf.training.objective import Objective
from raterhf.training.persistence import carry_idiosyncratic
from raterhf.training.policy_module import PolicyModule
from raterhf.training.replay import Drawn, Row, beside, make_replay, read_rows, unrated_rows
from raterhf.training.stages.reward import own_answers
from raterhf.training.start import all_prompts, spare_memory, watch


def run_policy(recipe: Recipe, folder: Path, labels: Labels) -> None:
    policy, tokenizer, _ = checkpoint.load_policy(recipe.folder / "sft")
    reference, _, _ = checkpoint.load_policy(recipe.folder / "sft")
    reward, _, _ = checkpoint.load_reward(recipe.folder / "reward")
    spare_memory(policy, recipe.model)
    for part in policy.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0  # what is learned from must be what was sampled
    reference.requires_grad_(False)
    reward.requires_grad_(False)
    pool = checkpoint.load_pool(recipe.folder / "sft").learned()
    settings, raters = recipe.policy, recipe.raters
    renderer = Renderer(tokenizer, recipe.model.max_length)
    prompts = sorted(renderer.different(all_prompts(labels)), key=renderer.prompt_text)
    who = pool if raters.encoding != "none" else None
    objective = Objective(Scorer(reward), reference, who, recipe.seed)
    samplers = (
        Sampler(model, tokenizer.pad_token_id, tokenizer.eos_token_id, settings.max_new_tokens) for model in (reference, policy)
    )  # fmt: skip
    compared = prepare.comparison_data(labels, prepare.Window(renderer, recipe.data.max_dropped), pool.known, {})
    train, held = prepare.held_out_rows(compared, recipe.data.held_out, recipe.seed, None)
    own = recipe.sft is None or recipe.sft.source == "demonstrations"

    def said() -> Said:
        window = prepare.Window(renderer, recipe.data.max_dropped)
        return completions_of([*compared.examples, *own_answers(labels, window, pool.known).examples])

    start = Start(
        policy, objective, *samplers, renderer, prompts, settings, recipe.seed, compared.rows(held), own, said, compared.rows(train)
    )
    algorithm = load_algorithm(settings)(start)

    def draw(count: int, rng: np.random.Generator) -> Drawn:
        return (*objective.draw_raters(count, settings.known_share, rng), None)

    rows: list[Row] = []
    if settings.replay:
        told = [pool.by_id(rater).text for rater in pool.known]
        rows = unrated_rows(recipe.data, labels, renderer, told) if recipe.data.base else read_rows(recipe.folder / "sft")
        if not rows and recipe.model.path:
            log.warning("  policy: there is nothing to replay, since stage sft kept no texts; give data.base, or set sft.replay above 0")
    algorithm = beside(make_replay(rows, settings, policy, renderer, draw, recipe.seed), algorithm)
    module = PolicyModule(policy, algorithm, recipe.seed, learned=start.learned)

    def measure(examples: list[Example], raters: RaterBatch) -> dict[str, float]:
        return progress(policy, objective, settings.min_p, examples, RaterBatch(raters.taste(pool.dim), raters.null))

    asked = RaterPolicy(folder.name, policy, renderer, who, "none" if who is None else "new", *recipe.limits)
    monitor = watch(recipe.monitor, asked, all_prompts(labels), recipe.data.world, folder, recipe.seed, settings.steps, measure)
    fit(
        module,
        algorithm.batch,
        settings,
        folder,
        {"policy.reader.": raters.reader_lr, "learned.": raters.reader_lr},
        recipe.logger,
        monitor,
        algorithm.state,
        precision=recipe.model.precision,
        sharded=recipe.trainer.sharded,
    )
    if not ranks.first():
        return
    if policy.idiosyncratic is not None:
        carry_idiosyncratic(policy, reward, compared)
    checkpoint.save_policy(folder, policy, tokenizer, pool, recipe.model.max_length, {})


def progress(policy: Policy, objective: Objective, min_p: float, examples: list[Example], raters: RaterBatch) -> dict[str, float]:
    """The proxy reward of what was sampled [N], its KL from the reference, as it is sampled, and its entropy; nats a completion."""
    log_prob, entropy = completion_log_probs(policy, examples, raters, warp=(min_p, 1.0))
    raters = raters.to(objective.reference.lm.device)
    kl = log_prob.mean() - objective.reference_log_probs(examples, raters).mean().to(log_prob.device)
    return {"reward": float(objective.scores(examples, raters).mean()), "kl": float(kl), "entropy": float(entropy.mean())}


def completions_of(examples: list[Example]) -> Said:
    """The different completions of each prompt, in the order of the examples."""
    said: dict[tuple[int, ...], dict[tuple[int, ...], None]] = {}
    for example in examples:
        said.setdefault(example.ids[: example.prompt_length], {})[example.ids[example.prompt_length :]] = None
    return {prompt: list(answers) for prompt, answers in said.items()}
