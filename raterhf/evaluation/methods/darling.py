"""DARLING: the reward of a sample is its quality times how distinct it is among the samples of its prompt, r(x, y) * Norm(Div(y)), by GRPO
without division by the spread of a group and with a mean over tokens (Li et al. 2025, arXiv 2509.02534).

Div(y) is the share of the other samples of the prompt that say something else. The paper's classifier of what says the same was trained
on judgements that are not here; instead two completions say the same where the cosine of their words' features is at least `NEAR`, as
`policy.algorithm` reword decides it. A product needs quality above 0: it is the probability of being chosen over the mean completion of
the comparisons, sigmoid(s - mean s). So `beta` is in units of that probability.

The paper's loss is `loss_type: dapo` with `scale_rewards: none`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit
from trl import GRPOConfig

from raterhf.data.example import Example
from raterhf.data.renderer import Renderer
from raterhf.evaluation.methods.base import Prompt, Work
from raterhf.evaluation.methods.grpo import ReadOnceGRPO
from raterhf.evaluation.methods.online import train_online
from raterhf.evaluation.trl_trainers import padding_tokenizer
from raterhf.models.checkpoint import weights_of
from raterhf.models.idiosyncratic import IdiosyncraticTaste
from raterhf.models.load import load_config

CONFIG = GRPOConfig
NEAR = 0.5
DIM = 64  # of the features
SEEN = 2000  # pairs whose completions say what a mean completion is worth, and which words tell little


def train(work: Work, out: Path) -> Path:
    tokenizer = padding_tokenizer(work.sft)
    config = load_config(weights_of(work.sft)).get_text_config()
    renderer = Renderer(tokenizer, config.max_position_embeddings)
    psi = IdiosyncraticTaste(DIM, tokenizer, config.vocab_size, config.hidden_size)
    some = work.pairs.iloc[:SEEN]
    prompts, texts = list(some.prompt) * 2, [*some.chosen, *some.rejected]
    psi.weigh([renderer.example(prompt, text) for prompt, text in zip(prompts, texts)])
    mean = float(np.mean(work.reward(prompts, texts)))
    size = int(work.args.get("num_generations", GRPOConfig.num_generations))

    def reward(prompts: list[Prompt], texts: list[str]) -> list[float]:
        quality = expit(np.asarray(work.reward(prompts, texts)) - mean)
        heads = [renderer.prompt(prompt) for prompt in prompts]
        said = [Example(head + tuple(tokenizer(text, add_special_tokens=False).input_ids), len(head)) for head, text in zip(heads, texts)]
        return list(quality * distinctness(psi(said), size))

    return train_online(replace(work, reward=reward), out, GRPOConfig, ReadOnceGRPO)


def distinctness(features: torch.Tensor, size: int, near: float = NEAR) -> np.ndarray:
    """For each of N completions, of unit features [N, d] and in groups of `size` that lie together, the share of the others of its group
    that say something else."""
    groups = features.view(-1, size, features.shape[1])
    other = (groups @ groups.transpose(1, 2) < near).float()
    other.diagonal(dim1=1, dim2=2).zero_()
    return (other.sum(2) / (size - 1)).flatten().cpu().numpy()
