"""The vanilla baseline: today's three-stage RLHF by TRL, which never sees who judged.

SFT on the demonstrations, a Bradley-Terry reward model on the pairs, then RLOO with the KL penalty inside the
sequence reward, all from one base checkpoint. Each stage is a function that reads ordinary `save_pretrained`
folders and writes one, with TRL's metrics in its `log.csv`; `trl_means.py` says what of a model learns, and in what dtype.

All stages see the token ids that our `Renderer` makes. TRL's own rendering of text is not used: it tokenises
prompt and completion joined, where a merge may cross the boundary, and cuts or drops what is too long without
a word.

Texts that a batch holds several times are read once (`read_once.py`): the same loss and gradient as TRL's for less work.

Every number that matters is the recipe's: `vanilla.sft`, `vanilla.reward` and `vanilla.rl` are arguments of
`SFTConfig`, `RewardConfig` and `RLOOConfig`, whose help is TRL's. `_config` fixes only what is not a choice
(`recipe.VANILLA_FIXED`). TRL loads the models itself, from folders that `check_model` has found whole.
Not here: raters, ties, the scaling of the reward, the judging of the policy. Single process.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from trl import RewardConfig, RewardTrainer, RLOOConfig, RLOOTrainer, SFTConfig, SFTTrainer

from raterhf.data.example import collate
from raterhf.data.renderer import Renderer
from raterhf.errors import UserError
from raterhf.evaluation.read_once import log_probs_once, score_once
from raterhf.evaluation.trl_means import Means, begin, load_classifier, save
from raterhf.io import write_folder
from raterhf.models.checkpoint import weights_of
from raterhf.models.load import check_model, load_config, load_tokenizer
from raterhf.models.place import pick_device
from raterhf.progress import Progress
from raterhf.recipe import VANILLA_FIXED, check_vanilla

Prompt = str | list[dict]

ALL = Means()  # every weight, in float32

# Of what TRL logs, what the progress shows.
SHOWN = ("loss", "reward", "kl")


def check_arguments(sft: dict, reward: dict, rl: dict) -> None:
    """Raise UserError where TRL refuses the arguments of one of the stages."""
    for kind, args in ((SFTConfig, sft), (RewardConfig, reward), (RLOOConfig, rl)):
        try:
            _config(kind, args, Path("unwritten"), 0)
        except (ValueError, TypeError) as error:
            raise UserError(f"{kind.__name__}: TRL refuses the arguments of the recipe's section `vanilla`: {error}") from error


def train_sft(base_dir: Path, out: Path, demonstrations: pd.DataFrame, args: dict, seed: int, means: Means = ALL) -> Path:
    """Imitate the demonstrations (`prompt, completion`); the loss is the mean over completion and EOS tokens.

    `args` go to `SFTConfig`. Returns `out`, a causal language model. Raises `UserError` on an unknown
    argument and on an example longer than `max_length`.
    """
    trainer = sft_trainer(base_dir, out, demonstrations, args, seed, means)
    return _run(trainer, trainer.processing_class, out)


def sft_trainer(base_dir: Path, out: Path, demonstrations: pd.DataFrame, args: dict, seed: int, means: Means = ALL) -> SFTTrainer:
    """The trainer of `train_sft`."""
    config = _config(SFTConfig, args, out, seed, means)
    check_model(weights_of(base_dir))
    tokenizer = _tokenizer(base_dir)
    renderer = _renderer(tokenizer, config)
    pairs = zip(demonstrations["prompt"], demonstrations["completion"], strict=True)
    examples = [renderer.example(prompt, completion) for prompt, completion in pairs]
    data = Dataset.from_dict(
        {
            "input_ids": [list(e.ids) for e in examples],
            "labels": [[-100] * e.prompt_length + list(e.ids[e.prompt_length :]) for e in examples],
        }
    )
    return SFTTrainer(**begin(base_dir, means, "CAUSAL_LM"), args=config, train_dataset=data, processing_class=tokenizer)


def train_reward(base_dir: Path, out: Path, pairs: pd.DataFrame, args: dict, seed: int, means: Means = ALL) -> Path:
    """Fit one score to everybody's pairs (`prompt, chosen, rejected`) by -log sigmoid(s_chosen - s_rejected - margin).

    A column `margin` of the pairs is TRL's, in logits; without one margins are 0. The base checkpoint gets a new linear
    head, read at the EOS. `args` go to `RewardConfig`. Returns `out`, a sequence classifier with one label. Raises `UserError` as
    `train_sft` does.
    """
    trainer = reward_trainer(base_dir, out, pairs, args, seed, means, _RewardTrainer)
    return _run(trainer, trainer.processing_class, out)


def reward_trainer(
    base_dir: Path, out: Path, pairs: pd.DataFrame, args: dict, seed: int, means: Means = ALL, kind: type[RewardTrainer] = RewardTrainer
) -> RewardTrainer:  # fmt: skip
    """The trainer of `train_reward`, TRL's own where no other `kind` is given."""
    config = _config(RewardConfig, args, out, seed, means)
    check_model(weights_of(base_dir))
    tokenizer = _tokenizer(base_dir)
    renderer = _renderer(tokenizer, config)
    columns = {
        f"{side}_ids": [
            list(renderer.example(prompt, completion).ids) for prompt, completion in zip(pairs["prompt"], pairs[side], strict=True)
        ]
        for side in ("chosen", "rejected")
    }
    if "margin" in pairs:
        columns["margin"] = list(pairs["margin"])
    data = Dataset.from_dict(columns)
    return kind(**begin(base_dir, means, "SEQ_CLS"), args=config, train_dataset=data, processing_class=tokenizer)


def load_scorer(
    reward_dir: Path, batch_size: int = 256, dtype: torch.dtype = torch.float32
) -> Callable[[Sequence[Prompt], Sequence[str]], np.ndarray]:  # fmt: skip
    """Read a reward model once; returns (prompts, completions) -> raw scores, float64 [N], in logits. `dtype` is that of weights that stay.

    The score is the head's output at the right-most token that is not padding, the EOS, as in TRL's training.
    """
    tokenizer = _tokenizer(reward_dir)
    model = load_classifier(reward_dir, tokenizer, dtype).to(pick_device())
    renderer = Renderer(tokenizer, model.config.get_text_config().max_position_embeddings)

    @torch.inference_mode()
    def score(prompts: Sequence[Prompt], completions: Sequence[str]) -> np.ndarray:
        examples = [renderer.example(p, c) for p, c in zip(prompts, completions, strict=True)]
        # A policy repeats itself, the more the further it is optimised: each example is scored once a call.
        known = dict.fromkeys(examples, 0.0)
        different = sorted(known, key=len)
        for start in range(0, len(different), batch_size):
            chunk = different[start : start + batch_size]
            batch = collate(chunk, tokenizer.pad_token_id).to(model.device)
            logits = model(input_ids=batch.ids, attention_mask=batch.mask.long()).logits[:, 0]
            known.update(zip(chunk, logits.tolist(), strict=True))
        return np.array([known[e] for e in examples], dtype=np.float64)

    return score


def train_rl(
    sft_dir: Path,
    out: Path,
    prompts: list[Prompt],
    reward: Callable[[list[Prompt], list[str]], Sequence[float]],
    args: dict,
    seed: int,
    watch: Callable[[int, list[Prompt], list[str]], None] | None = None,
    means: Means = ALL,
) -> Path:
    """Maximise E[reward] - beta KL(policy || SFT) by RLOO from the SFT policy.

    `args` go to `RLOOConfig`; an update takes `per_device_train_batch_size` samples, `num_generations` of a
    prompt. The reward gets prompts as given here and completions as text without special tokens, so it cannot
    tell one that was cut off at `max_completion_length` from one that ended; the log counts those in
    `completions/clipped_ratio`. `watch` is told the updates done, and the prompts and completions, each time that samples were drawn.
    Returns `out`. Raises `UserError` on an unknown argument and on a prompt that
    leaves no room.
    """

    def measure_policy(prompts: list[Prompt], completions: list[str]) -> Sequence[float]:
        if watch is not None:
            watch(trainer.state.global_step, prompts, completions)
        return reward(prompts, completions)

    trainer = rloo_trainer(sft_dir, out, prompts, measure_policy, args, seed, _RLOOTrainer, means)
    return _run(trainer, trainer.processing_class, out)


def rloo_trainer(
    sft_dir: Path,
    out: Path,
    prompts: list[Prompt],
    reward: Callable[[list[Prompt], list[str]], Sequence[float]] | torch.nn.Module,
    args: dict,
    seed: int,
    kind: type[RLOOTrainer] = RLOOTrainer,
    means: Means = ALL,
) -> RLOOTrainer:
    """The trainer of `train_rl`, TRL's own where no other `kind` is given.

    A reward that is a sequence classifier of the same tokens is called as TRL calls it.
    """
    config = _config(RLOOConfig, args, out, seed, means)
    check_model(weights_of(sft_dir))
    tokenizer = _tokenizer(sft_dir, padding_side="left")
    positions = load_config(weights_of(sft_dir)).get_text_config().max_position_embeddings
    renderer = Renderer(tokenizer, positions - config.max_completion_length)
    given = {renderer.prompt_text(prompt): prompt for prompt in prompts}
    ids = {text: list(renderer.prompt(prompt)) for text, prompt in given.items()}
    # TRL leaves out the batch that an epoch of prompts does not fill: with too few prompts, every batch.
    repeats = ceil(config.generation_batch_size // config.num_generations / len(prompts))
    data = Dataset.from_dict({"prompt": [renderer.prompt_text(prompt) for prompt in prompts] * repeats})

    def measure_policy(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [float(r) for r in reward([given[text] for text in prompts], completions)]

    judged_by = {"reward_funcs": measure_policy}
    if isinstance(reward, torch.nn.Module):
        judged_by = {"reward_funcs": reward, "reward_processing_classes": _tokenizer(sft_dir)}
    start = begin(sft_dir, means, "CAUSAL_LM")
    trainer = kind(**start, args=config, train_dataset=data, processing_class=tokenizer, **judged_by)
    # TRL's own lets the tokenizer add a BOS, which a chat template has put already; and cannot be told not to.
    trainer._tokenize_prompts = lambda texts: ([ids[text] for text in texts], None, {})
    return trainer


class _RewardTrainer(RewardTrainer):
    """TRL's, whose model reads the texts of a batch once each, and is not given their margins, which TRL hands on to it."""

    def compute_loss(self, model: torch.nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        def once(
            input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool, margin: torch.Tensor | None = None
        ) -> SequenceClassifierOutput:
            def read(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
                return model(input_ids=ids, attention_mask=mask, use_cache=use_cache).logits

            return SequenceClassifierOutput(logits=score_once(read, input_ids, attention_mask))

        def whole(margin: torch.Tensor | None = None, **given: Any) -> Any:
            return model(**given)

        return super().compute_loss(once if self.args.disable_dropout else whole, inputs, *args, **kwargs)


class _RLOOTrainer(RLOOTrainer):
    """TRL's, whose models read the prompts and completions of a batch once each."""

    def _get_per_token_logps_and_entropies(
        self, model: torch.nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:  # fmt: skip
        whole = super()._get_per_token_logps_and_entropies
        if not self.args.disable_dropout or self.aux_loss_enabled:  # a mean over experts' tokens would count copies once
            return whole(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)

        def read(ids: torch.Tensor, mask: torch.Tensor, kept: int) -> tuple[torch.Tensor, torch.Tensor | None]:
            return whole(model, ids, mask, kept, *args, **kwargs)[:2]

        return (*log_probs_once(read, input_ids, attention_mask, logits_to_keep), None)


def _tokenizer(folder: Path, padding_side: str = "right") -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer, padding with another token than EOS: transformers reads the reward at the last that is not padding."""
    tokenizer = load_tokenizer(folder, "tokenizer_config.json", padding_side=padding_side)
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        # Any other will do: padding is masked, and every text ends in EOS.
        tokenizer.pad_token_id = next(i for i in [*tokenizer.all_special_ids, 0, 1] if i != tokenizer.eos_token_id)
    return tokenizer


def _renderer(tokenizer: PreTrainedTokenizerBase, config: SFTConfig | RewardConfig) -> Renderer:
    """A renderer that fails beyond `max_length`. TRL, which would cut (SFT) or drop (reward), is not told."""
    renderer = Renderer(tokenizer, config.max_length)
    config.max_length = None
    return renderer


def _config(kind: type[TrainingArguments], args: dict, out: Path, seed: int, means: Means = ALL) -> TrainingArguments:
    """TRL's config from the recipe's `args` and what is fixed. Raises `UserError` naming a wrong argument."""
    try:
        check_vanilla(args)
    except ValueError as error:
        raise UserError(f"{kind.__name__}: {error}") from error
    known = {field.name for field in fields(kind) if field.init} - VANILLA_FIXED.keys()
    for name, value in args.items():
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0]
            raise UserError(f"{kind.__name__} has no argument {name!r}. Did you mean {near!r}?")
        if isinstance(value, str) and value[:1].isdigit():
            # YAML 1.1 reads 1e-3, which has no point, as text.
            raise UserError(f"{kind.__name__}: {name!r} is the text {value!r}. Write a number, as in 1.0e-3.")
    cuda = torch.cuda.is_available()
    fixed = {
        "output_dir": str(out.parent),  # nothing is written there: no checkpoints, and `_run` saves the model
        "seed": seed,
        "data_seed": seed,
        "use_cpu": not cuda,
        "bf16": means.autocast or cuda and args.get("bf16", False),
        "activation_checkpointing": means.checkpointing,
        "model_init_kwargs": {"dtype": str(means.dtype).removeprefix("torch."), "use_safetensors": True},
        "trust_remote_code": False,
        "push_to_hub": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": cuda,
    }
    return kind(**args | fixed)


class _Steps(TrainerCallback):
    """Tells `progress` of every update, and of what TRL logged last."""

    def __init__(self, progress: Progress):
        self.progress, self.logged = progress, ""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.progress.total = state.max_steps

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.progress.advance(1, self.logged)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict | None = None, **kwargs: Any
    ) -> None:
        self.logged = ", ".join(f"{key} {float(logs[key]):.3f}" for key in SHOWN if key in (logs or {}))


def train_quietly(trainer: Trainer, title: str) -> None:
    """Train with our progress on the screen instead of TRL's bars and dicts of metrics; `log.csv` has the metrics."""
    trainer.remove_callback(PrinterCallback)
    with warnings.catch_warnings(), Progress(title) as progress:
        # TRL 1.16 reads names that transformers 5.23 is about to retire.
        warnings.simplefilter("ignore", FutureWarning)
        trainer.add_callback(_Steps(progress))
        trainer.train()


def _run(trainer: Trainer, tokenizer: PreTrainedTokenizerBase, out: Path) -> Path:
    """Train, then write model, tokenizer and `log.csv` (TRL's names of its metrics) to `out`, whole or not at all."""
    train_quietly(trainer, f"{out.name} of vanilla")
    # Without a row, when logging_steps is more than there are, a header all the same.
    log = pd.DataFrame([row for row in trainer.state.log_history if "loss" in row] or {"step": []})
    if "kl" in log:
        # TRL's `kl` is nats a token, the mean of log policy - log reference; ours are nats a completion.
        log["kl_completion"] = log["kl"] * log["completions/mean_length"]

    def fill(folder: Path) -> None:
        save(trainer.model, folder)
        tokenizer.save_pretrained(folder)
        log.to_csv(folder / "log.csv", index=False)

    write_folder(out, fill)
    return out
