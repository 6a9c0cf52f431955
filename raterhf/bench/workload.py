"""What the benchmarks run on: a model of random weights or of a run folder, and random token ids (zeros would run faster)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from raterhf.data.example import Example
from raterhf.engine.checks import soft_tokens
from raterhf.errors import UserError
from raterhf.models.backbone import window_of
from raterhf.models.checkpoint import load_reward, read_header
from raterhf.models.reward import RewardModel
from raterhf.run_folder import SCORED_BY, find_stage

# 20 million parameters beside the embeddings, in the shape of Qwen3.
SMALL = {
    "model_type": "qwen3", "hidden_size": 384, "num_hidden_layers": 13, "intermediate_size": 1024, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 4096,
}  # fmt: skip
# The shapes of Qwen3's smallest models.
SHAPES = {
    "20m": SMALL,
    "0.6b": SMALL | {"hidden_size": 1024, "num_hidden_layers": 28, "intermediate_size": 3072, "num_attention_heads": 16,
                     "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936},
    "1.7b": SMALL | {"hidden_size": 2048, "num_hidden_layers": 28, "intermediate_size": 6144, "num_attention_heads": 16,
                     "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936},
}  # fmt: skip
# Too large to make here: what is planned for. Of Qwen3-8B and Llama-3-70B.
LARGER = {
    "8b": SMALL | {"hidden_size": 4096, "num_hidden_layers": 36, "intermediate_size": 12288, "num_attention_heads": 32,
                   "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936},
    "70b": SMALL | {"hidden_size": 8192, "num_hidden_layers": 80, "intermediate_size": 28672, "num_attention_heads": 64,
                    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256},
}  # fmt: skip
CONDITIONINGS = ("prefix", "suffix", "head")
DIM = 8  # of the raters' vectors


@dataclass(frozen=True)
class Sizes:
    """Tokens of prompts and completions, completions a prompt, raters' soft tokens; `spread` of log-lengths, 0 for fixed lengths."""

    prompts: int
    completions: int
    prompt_tokens: int
    completion_tokens: int
    soft_tokens: int
    spread: float


def config_of(shape: str, window: int) -> PreTrainedConfig:
    """The configuration of a shape's name."""
    if shape not in SHAPES:
        raise UserError(f"shape {shape!r} is none of {', '.join(SHAPES)}; `bench score` and `bench train` also take a run folder")
    settings = dict(SHAPES[shape])
    return AutoConfig.for_model(settings.pop("model_type"), max_position_embeddings=window, **settings)


def shape_settings(shape: str) -> dict:
    """The settings of a shape's name, of those too that are only planned for. Raises UserError for another name."""
    known = SHAPES | LARGER
    if shape not in known:
        raise UserError(f"shape {shape!r} is none of {', '.join(known)}; give one of these")
    return dict(known[shape])


def make_backbone(shape: str, device: torch.device, dtype: torch.dtype, window: int) -> PreTrainedModel:
    """A trunk of this shape with random weights."""
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModel.from_config(config_of(shape, window), dtype=dtype).eval()


def word(token: int) -> str:
    return ("<pad>", "<eos>")[token] if token < 2 else f"w{token}"


def words_of(ids: Sequence[int]) -> str:
    """Token ids as the text that `word_tokenizer` reads."""
    return " ".join(map(word, ids))


def word_tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """A word for every id, so that what reads text reads the same ids; the first two are padding and the end."""
    tokenizer = Tokenizer(models.WordLevel({word(i): i for i in range(vocab_size)}, unk_token=word(0)))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=word(0), eos_token=word(1))


def make_classifier(config: PreTrainedConfig, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """transformers' reward model of this shape, random weights: what others score with."""
    settings = type(config).from_dict(config.to_dict() | {"num_labels": 1, "pad_token_id": 0})
    with torch.device(device):
        return AutoModelForSequenceClassification.from_config(settings, dtype=dtype).eval()


def check_conditionings(conditionings: list[str] | None, own: Sequence[str] = CONDITIONINGS, of: str = "the conditionings") -> list[str]:
    """The conditionings asked for, all of `own` where none is. Raises UserError for another."""
    if wrong := [conditioning for conditioning in conditionings or [] if conditioning not in own]:
        raise UserError(f"conditioning {wrong[0]!r} is not one of {of}, which are {', '.join(own)}")
    return conditionings or list(own)


def conditionings_of(source: str, conditionings: list[str] | None) -> list[str]:
    """The conditionings asked for: a shape is timed at any, a run folder at its own; none where it knows no raters by vectors."""
    if not Path(source).is_dir():
        return check_conditionings(conditionings)
    header = read_header(find_stage(Path(source), SCORED_BY), "reward")
    if not header["dim"]:
        if conditionings:
            raise UserError(f"{source} knows no raters by vectors, so that they have no conditioning; leave out --conditioning")
        return []
    return check_conditionings(conditionings, [header["conditioning"]], f"{source}'s")


def own_sizes(source: str, sizes: Sizes) -> Sizes:
    """The sizes asked for; a run folder's raters have the soft tokens that they were trained with."""
    if not Path(source).is_dir():
        return sizes
    header = read_header(find_stage(Path(source), SCORED_BY), "reward")
    return replace(sizes, soft_tokens=header["tokens"] if header["dim"] and header["conditioning"] != "head" else 0)


def make_reward(
    source: str, conditioning: str | None, soft_tokens: int, device: torch.device, dtype: torch.dtype, window: int
) -> RewardModel:  # fmt: skip
    """A reward model of a shape's name (`conditioning` None: without raters), or of a run folder, whose conditioning must be the one asked
    for."""
    if Path(source).is_dir():
        model, _, _ = load_reward(find_stage(Path(source), SCORED_BY), device, dtype)
        model.reader = model.reader if conditioning else None
    else:
        torch.manual_seed(1)
        model = RewardModel(make_backbone(source, device, dtype, window), DIM if conditioning else 0, soft_tokens, conditioning or "head")
    model.backbone.to(dtype)
    return model.to(device).eval().requires_grad_(False)


def draw_for(model: RewardModel, sizes: Sizes) -> list[Example]:
    """Examples that fit the model. Raises UserError where they do not."""
    examples = draw_examples(sizes, model.backbone.config.vocab_size)
    longest = max(map(len, examples)) + soft_tokens(model)
    if longest > (window := window_of(model.backbone)):
        raise UserError(
            f"texts of {longest} tokens do not fit the model's window of {window}: lower --prompt-tokens and --completion-tokens"
        )
    return examples


def draw_examples(sizes: Sizes, vocab_size: int, seed: int = 0) -> list[Example]:
    """Completions of prompts, random ids; lengths fixed, or log-normal with these means and at most four times them."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x62656E63]))

    def length(mean: int) -> int:
        return int(np.clip(round(mean * np.exp(rng.normal(-(sizes.spread**2) / 2, sizes.spread))), 1, 4 * mean))

    examples = []
    for _ in range(sizes.prompts):
        prompt = rng.integers(0, vocab_size, length(sizes.prompt_tokens)).tolist()
        for _ in range(sizes.completions):
            completion = rng.integers(0, vocab_size, length(sizes.completion_tokens)).tolist()
            examples.append(Example((*prompt, *completion), len(prompt)))
    return examples


def parameters(backbone: PreTrainedModel) -> int:
    """Parameters without the embeddings: what every token is multiplied with."""
    return sum(p.numel() for p in backbone.parameters()) - backbone.get_input_embeddings().weight.numel()
