"""DPO: raise the log-odds of what was chosen over what was rejected, from those of the SFT model (Rafailov et al. 2023, eq. 7), by TRL.

It reads the comparisons that the reward model is trained on, needs no reward model, and samples nothing. An update takes
`per_device_train_batch_size` pairs, two completions each.
"""

from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from raterhf.evaluation.methods.base import Work
from raterhf.evaluation.trl_means import begin
from raterhf.evaluation.trl_trainers import make_config, padding_tokenizer, run_trainer, whole_renderer
from raterhf.models.checkpoint import weights_of
from raterhf.models.load import check_model

CONFIG = DPOConfig


class RenderedDPO(DPOTrainer):
    """TRL's on pairs that are token ids already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


def train(work: Work, out: Path) -> Path:
    trainer = dpo_trainer(work, out, RenderedDPO)
    return run_trainer(trainer, trainer.processing_class, out)


def dpo_trainer(work: Work, out: Path, kind: type[DPOTrainer]) -> DPOTrainer:
    config = make_config(DPOConfig, work.args, out, work.seed, work.means)
    check_model(weights_of(work.sft))
    tokenizer = padding_tokenizer(work.sft)
    renderer = whole_renderer(tokenizer, config)
    columns: dict[str, list] = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
    for prompt, chosen, rejected in zip(work.pairs["prompt"], work.pairs["chosen"], work.pairs["rejected"], strict=True):
        better, worse = renderer.example(prompt, chosen), renderer.example(prompt, rejected)
        columns["prompt_ids"].append(list(better.ids[: better.prompt_length]))
        columns["chosen_ids"].append(list(better.ids[better.prompt_length :]))
        columns["rejected_ids"].append(list(worse.ids[worse.prompt_length :]))
    start = begin(work.sft, work.means, "CAUSAL_LM")
    return kind(**start, args=config, train_dataset=Dataset.from_dict(columns), processing_class=tokenizer)
