"""What TRL's trainers begin with and train: the same weights, adapters and dtype as ours, whatever `model.train` says.

A stage begins with a folder: a plain model's; one whose weights lie elsewhere, as `save_start` writes; or one of adapters, as TRL's stage
before it wrote. Weights that stay are read where they lie and copied nowhere, so the folders that TRL's stages write hold adapters alone.
A model that trains nothing of its own (`model.train` none) has no vanilla: TRL knows no raters whose reader could learn.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from raterhf.models.adapters import NAME, has_adapters_in, lora_config
from raterhf.models.checkpoint import weights_of
from raterhf.models.load import load_config, load_model, with_adapters
from raterhf.models.place import kept_dtype, pick_device
from raterhf.recipe import LoraSettings, ModelSettings

INPUTS = "inputs.json"  # in the folder of a stage of TRL's: what it was made from, what it wrote, what it took
HEAD = "score"  # what transformers calls the head of a decoder's sequence classifier


@dataclass(frozen=True)
class Means:
    """What learns, in what the rest is held, whether products are in bfloat16 where all weights learn, and whether layers are computed
    again in the backward pass."""

    lora: LoraSettings | None = None
    dtype: torch.dtype = torch.float32
    autocast: bool = False
    checkpointing: bool = False

    @classmethod
    def of(cls, settings: ModelSettings) -> "Means":
        dtype, autocast = kept_dtype(settings, pick_device().type), settings.precision == "bf16-mixed"
        return cls(settings.lora, dtype, autocast, settings.gradient_checkpointing)

    @property
    def record(self) -> dict:
        """What a result depends on; checkpointing changes none."""
        return {"lora": self.lora.model_dump() if self.lora else None, "dtype": str(self.dtype), "autocast": self.autocast}


def begin(folder: Path, means: Means, task: str) -> dict[str, Any]:
    """`model` and `peft_config` as TRL's trainers take them: fresh adapters, or those of the folder, which go on learning.

    `task` is peft's name of what the model is for: CAUSAL_LM, or SEQ_CLS, whose head is trained and saved whole beside the adapters.
    """
    weights = weights_of(folder)
    if means.lora is None:
        return {"model": weights}
    if has_adapters_in(folder):
        return {"model": with_adapters(load_model(weights, dtype=means.dtype), folder, trainable=True)}
    return {"model": weights, "peft_config": lora_config(means.lora, task)}


def save(model: PreTrainedModel | PeftModel, folder: Path) -> None:
    """What was trained: adapters and what is saved whole beside them, without TRL's copy for the reference; or all weights."""
    if isinstance(model, PeftModel):
        model.save_pretrained(str(folder), selected_adapters=[NAME])
    else:
        model.save_pretrained(folder)


def load_classifier(folder: Path, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> torch.nn.Module:
    """The reward model that TRL's stage wrote. `dtype` is that of weights that stay; those that learned are in float32."""
    if not has_adapters_in(folder):
        return load_model(folder, AutoModelForSequenceClassification).eval()
    return with_adapters(load_judge(weights_of(folder), tokenizer, dtype), folder).eval()


def load_judge(weights: str | Path, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> PreTrainedModel:
    """A language model as a sequence classifier of one label, whose head is new."""
    config = load_config(weights)
    config.num_labels, config.pad_token_id = 1, tokenizer.pad_token_id
    return load_model(weights, AutoModelForSequenceClassification, dtype, config=config, instead={HEAD: "lm_head"})
