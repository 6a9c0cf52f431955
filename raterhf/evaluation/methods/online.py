"""What TRL's trainers that sample from the policy share: prompts and rewards as TRL takes them, and texts of a batch read once."""

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from raterhf.data.renderer import Renderer
from raterhf.evaluation.methods.base import Prompt, Reward, Work
from raterhf.evaluation.read_once import log_probs_once
from raterhf.evaluation.trl_means import Means, begin
from raterhf.evaluation.trl_trainers import ALL, make_config, padding_tokenizer, run_trainer
from raterhf.models.checkpoint import weights_of
from raterhf.models.load import check_model, load_config


class ReadOnce:
    """Before one of TRL's trainers: its models read the prompts and completions of a batch once each."""

    def _get_per_token_logps_and_entropies(
        self, model: torch.nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:  # fmt: skip
        whole = super()._get_per_token_logps_and_entropies  # type: ignore[misc]
        if not self.args.disable_dropout or self.aux_loss_enabled:  # type: ignore[attr-defined]  # a mean over experts' tokens would count copies once
            return whole(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)

        def read(ids: torch.Tensor, mask: torch.Tensor, kept: int) -> tuple[torch.Tensor, torch.Tensor | None]:
            return whole(model, ids, mask, kept, *args, **kwargs)[:2]

        return (*log_probs_once(read, input_ids, attention_mask, logits_to_keep), None)


def train_online(work: Work, out: Path, config: type[TrainingArguments], kind: Callable[..., Trainer]) -> Path:
    """Train by a trainer of TRL's that samples from the policy and scores whole completions; an update takes `per_device_train_batch_size`
    samples, `num_generations` of a prompt.

    The reward gets prompts as given in `work` and completions as text without special tokens, so it cannot tell one that was cut off at
    `max_completion_length` from one that ended; the log counts those in `completions/clipped_ratio`.
    """

    def measure_policy(prompts: list[Prompt], completions: list[str]) -> list[float]:
        if work.watch is not None:
            work.watch(trainer.state.global_step, prompts, completions)
        return list(work.reward(prompts, completions))

    trainer = online_trainer(config, kind, work.sft, out, work.prompts, measure_policy, work.args, work.seed, work.means)
    return run_trainer(trainer, trainer.processing_class, out)


def online_trainer(
    kind_of_config: type[TrainingArguments],
    kind: Callable[..., Trainer],
    sft_dir: Path,
    out: Path,
    prompts: list[Prompt],
    reward: Reward | torch.nn.Module,
    args: dict[str, Any],
    seed: int,
    means: Means = ALL,
) -> Trainer:
    """A trainer of TRL's that samples from the policy.

    A reward that is a sequence classifier of the same tokens is called as TRL calls it.
    """
    config: Any = make_config(kind_of_config, args, out, seed, means)
    check_model(weights_of(sft_dir))
    tokenizer = padding_tokenizer(sft_dir, padding_side="left")
    positions = load_config(weights_of(sft_dir)).get_text_config().max_position_embeddings
    renderer = Renderer(tokenizer, positions - config.max_completion_length)
    given = {renderer.prompt_text(prompt): prompt for prompt in prompts}
    ids = {text: list(renderer.prompt(prompt)) for text, prompt in given.items()}
    # TRL leaves out the batch that an epoch of prompts does not fill: with too few prompts, every batch.
    repeats = ceil(config.generation_batch_size // config.num_generations / len(prompts))
    data = Dataset.from_dict({"prompt": [renderer.prompt_text(prompt) for prompt in prompts] * repeats})

    def measure_policy(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [float(r) for r in reward([given[text] for text in prompts], completions)]

    judged_by: dict[str, Any] = {"reward_funcs": measure_policy}
    if isinstance(reward, torch.nn.Module):
        judged_by = {"reward_funcs": reward, "reward_processing_classes": padding_tokenizer(sft_dir)}
    trainer: Any = kind(**begin(sft_dir, means, "CAUSAL_LM"), args=config, train_dataset=data, processing_class=tokenizer, **judged_by)
    # TRL's own lets the tokenizer add a BOS, which a chat template has put already; and cannot be told not to.
    trainer._tokenize_prompts = lambda texts: ([ids[text] for text in texts], None, {})
    return trainer
