"""The vanilla baseline by TRL, which never sees who judged: its SFT and reward model, and what all its stages share.

SFT on the demonstrations and a Bradley-Terry reward model on the pairs, from one base checkpoint; what is done with them is a method, a
file of `methods/`. Each stage is a function that reads ordinary `save_pretrained` folders and writes one, with TRL's metrics in its
`log.csv`; `trl_means.py` says what of a model learns, and in what dtype.

All stages see the token ids that our `Renderer` makes. TRL's own rendering of text is not used: it tokenises
prompt and completion joined, where a merge may cross the boundary, and cuts or drops what is too long without
a word.

Texts that a batch holds several times are read once (`read_once.py`): the same loss and gradient as TRL's for less work.

Every number that matters is the recipe's: `vanilla.sft`, `vanilla.reward` and `vanilla.rl` are arguments of
`SFTConfig`, `RewardConfig` and the method's config, whose help is TRL's. `make_config` fixes only what is not a choice
(`recipe_compare.VANILLA_FIXED`). TRL loads the models itself, from folders that `check_model` has found whole.
Not here: raters, ties, the scaling of the reward, the judging of the policy. Single process.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from difflib import get_close_matches
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
from trl import DPOConfig, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from raterhf.data.example import collate
from raterhf.data.renderer import Renderer
from raterhf.errors import UserError
from raterhf.evaluation.read_once import score_once
from raterhf.evaluation.trl_means import Means, begin, load_classifier, save
from raterhf.io import write_folder
from raterhf.models.checkpoint import weights_of
from raterhf.models.load import check_model, load_tokenizer
from raterhf.models.place import pick_device
from raterhf.progress import Progress
from raterhf.recipe_compare import VANILLA_FIXED, check_trl

Prompt = str | list[dict]

ALL = Means()  # every weight, in float32

# Of what TRL logs, what the progress shows.
SHOWN = ("loss", "reward", "kl")


def check_arguments(stages: Sequence[tuple[type[TrainingArguments], dict, str]]) -> None:
    """Raise UserError where TRL refuses the arguments of a stage: its config, the arguments, and where they stand in the recipe."""
    for kind, args, place in stages:
        try:
            make_config(kind, args, Path("unwritten"), 0)
        except (ValueError, TypeError) as error:
            raise UserError(f"{kind.__name__}: TRL refuses the arguments of the recipe's section `{place}`: {error}") from error


def train_sft(base_dir: Path, out: Path, demonstrations: pd.DataFrame, args: dict, seed: int, means: Means = ALL) -> Path:
    """Imitate the demonstrations (`prompt, completion`); the loss is the mean over completion and EOS tokens.

    `args` go to `SFTConfig`. Returns `out`, a causal language model. Raises `UserError` on an unknown
    argument and on an example longer than `max_length`.
    """
    trainer = sft_trainer(base_dir, out, demonstrations, args, seed, means)
    return run_trainer(trainer, trainer.processing_class, out)


def sft_trainer(base_dir: Path, out: Path, demonstrations: pd.DataFrame, args: dict, seed: int, means: Means = ALL) -> SFTTrainer:
    """The trainer of `train_sft`."""
    config = make_config(SFTConfig, args, out, seed, means)
    check_model(weights_of(base_dir))
    tokenizer = padding_tokenizer(base_dir)
    renderer = whole_renderer(tokenizer, config)
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
    return run_trainer(trainer, trainer.processing_class, out)


def reward_trainer(
    base_dir: Path, out: Path, pairs: pd.DataFrame, args: dict, seed: int, means: Means = ALL, kind: type[RewardTrainer] = RewardTrainer
) -> RewardTrainer:  # fmt: skip
    """The trainer of `train_reward`, TRL's own where no other `kind` is given."""
    config = make_config(RewardConfig, args, out, seed, means)
    check_model(weights_of(base_dir))
    tokenizer = padding_tokenizer(base_dir)
    renderer = whole_renderer(tokenizer, config)
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
    tokenizer = padding_tokenizer(reward_dir)
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


def padding_tokenizer(folder: Path, padding_side: str = "right") -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer, padding with another token than EOS: transformers reads the reward at the last that is not padding."""
    tokenizer = load_tokenizer(folder, "tokenizer_config.json", padding_side=padding_side)
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        # Any other will do: padding is masked, and every text ends in EOS.
        tokenizer.pad_token_id = next(i for i in [*tokenizer.all_special_ids, 0, 1] if i != tokenizer.eos_token_id)
    return tokenizer


def whole_renderer(tokenizer: PreTrainedTokenizerBase, config: SFTConfig | RewardConfig | DPOConfig) -> Renderer:
    """A renderer that fails beyond `max_length`. TRL, which would cut (SFT, DPO) or drop (reward), is not told."""
    renderer = Renderer(tokenizer, config.max_length)
    config.max_length = None
    return renderer


def make_config(kind: type[TrainingArguments], args: dict, out: Path, seed: int, means: Means = ALL) -> TrainingArguments:
    """TRL's config from the recipe's `args` and what is fixed. Raises `UserError` naming a wrong argument."""
    try:
        check_trl(args)
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
        "output_dir": str(out.parent),  # nothing is written there: no checkpoints, and `run_trainer` saves the model
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


def run_trainer(trainer: Trainer, tokenizer: PreTrainedTokenizerBase, out: Path) -> Path:
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
