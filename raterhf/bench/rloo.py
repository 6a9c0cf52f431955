"""`raterhf bench rloo`: one update of RLOO with its samples and their scores, by TRL's RLOOTrainer and by ours, at equal work.

Both draw the same number of completions of the same prompts, all of full length, score them with a reward model of the same shape (TRL by
its own reward call), take log-probabilities under policy and reference and make one step of AdamW. Nobody is conditioned on, since TRL
knows no raters.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from raterhf.bench.measure import interleaved, machine
from raterhf.bench.score import Rung, metrics
from raterhf.bench.workload import Sizes, config_of, draw_examples, make_classifier, make_reward, parameters, word_tokenizer, words_of
from raterhf.data.comparisons import ComparisonData
from raterhf.data.renderer import Renderer
from raterhf.engine.sampler import Sampler
from raterhf.engine.scorer import Scorer
from raterhf.evaluation.methods.rloo import rloo_trainer
from raterhf.evaluation.trl_means import Means
from raterhf.evaluation.trl_trainers import train_quietly
from raterhf.models.load import load_config, load_model
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch
from raterhf.recipe import Optimisation, PolicySettings
from raterhf.training.algorithms.base import Start
from raterhf.training.algorithms.rloo import RLOO, Groups
from raterhf.training.fit import fit
from raterhf.training.objective import Objective
from raterhf.training.policy_module import PolicyModule

BETA, LR = 0.1, 1e-4


def bench_rloo(shape: str, sizes: Sizes, device: torch.device, dtype: torch.dtype, repeats: int, updates: int = 2) -> dict:
    """Rows for TRL and ours: seconds of an update, the mean of `updates` in a row."""
    config = config_of(shape, sizes.prompt_tokens + sizes.completion_tokens + 1)
    found = {"machine": machine(device, dtype), "sizes": asdict(sizes), "source": shape, "updates": updates, "rows": []}
    heads = list(dict.fromkeys(e.prompt.ids for e in draw_examples(sizes, config.vocab_size)))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "policy"
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config, dtype=dtype).save_pretrained(folder)
        word_tokenizer(config.vocab_size).save_pretrained(folder)
        runs = {
            "TRL": trl_updates(folder, heads, sizes, updates, device, dtype),
            "shared": our_updates(folder, shape, heads, sizes, updates, device, dtype),
        }
        times = interleaved(runs, repeats, device, "updates")
    n = len(heads) * sizes.completions
    whole, prompts = n * (sizes.prompt_tokens + sizes.completion_tokens), len(heads) * sizes.prompt_tokens
    # A pass to sample, to score, for the reference and for the policy, whose backward is two more.
    shared = prompts + n * sizes.completion_tokens
    rungs = {
        "TRL": Rung(runs["TRL"], updates * n, n, updates * 6 * whole, 0.0),
        "shared": Rung(runs["shared"], updates * n, n, updates * 6 * shared, 0.0, whole / shared),
    }
    found["rows"] = list(metrics(rungs, times, "none", 1, found["machine"], parameters(AutoModelForCausalLM.from_config(config)), {}))
    return found


def trl_updates(
    folder: Path, heads: list[tuple[int, ...]], sizes: Sizes, updates: int, device: torch.device, dtype: torch.dtype
) -> Callable[[], None]:  # fmt: skip
    """Updates of TRL's trainer on the model in `folder`."""
    n = len(heads) * sizes.completions
    args = {
        "per_device_train_batch_size": n, "num_generations": sizes.completions, "steps_per_generation": 1, "num_iterations": 1,
        "max_steps": updates, "beta": BETA, "learning_rate": LR, "max_completion_length": sizes.completion_tokens,
        "generation_kwargs": {"min_new_tokens": sizes.completion_tokens}, "temperature": 1.0, "top_k": 0, "shuffle_dataset": False,
    }  # fmt: skip
    reward = make_classifier(load_config(folder), device, dtype)
    trainer = rloo_trainer(folder, folder.parent / "trl", [words_of(head) for head in heads], reward, args, 0, means=Means(dtype=dtype))
    return lambda: train_quietly(trainer, "updates of TRL")


def our_updates(
    folder: Path, shape: str, heads: list[tuple[int, ...]], sizes: Sizes, updates: int, device: torch.device, dtype: torch.dtype
) -> Callable[[], None]:  # fmt: skip
    """The same updates by `PolicyModule`."""
    policy, reference = (Policy(load_model(folder, dtype=dtype).to(device), 0, 0) for _ in range(2))
    reference.requires_grad_(False).eval()
    reward = make_reward(shape, None, 0, device, dtype, sizes.prompt_tokens + sizes.completion_tokens)
    # No id ends a completion: all are of full length.
    samplers = (Sampler(model, 0, -1, sizes.completion_tokens) for model in (reference, policy))
    chosen = PolicySettings(algorithm="rloo", beta=BETA, steps=updates, lr=LR)
    renderer = Renderer(word_tokenizer(reward.backbone.config.vocab_size), sizes.prompt_tokens)
    start = Start(policy, Objective(Scorer(reward), reference, None, 0), *samplers, renderer, [], chosen, 0, ComparisonData.nothing())
    module = PolicyModule(policy, RLOO(start, None), 0)
    groups = Groups(heads, RaterBatch.nobody(len(heads)), sizes.completions, len(heads))
    settings = Optimisation(steps=updates, batch_size=len(heads) * sizes.completions, lr=LR)
    return lambda: fit(module, lambda step: groups, settings, folder.parent / "ours", {})
