"""Where a language model comes from: a configuration (from scratch), a pretrained folder or a hub name; and its tokenizer.

Models load in float32 unless the caller asks otherwise; the network is used only where a recipe names a hub model.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from raterhf.errors import UserError
from raterhf.models.backbone import embeddings, next_logits
from raterhf.models.cache import continued

PAD, EOS = "<pad>", "<eos>"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE with single digits and line breaks as tokens of their own, so that it reads any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[PAD, EOS], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS)


def build_model(config: dict, tokenizer: PreTrainedTokenizerBase, max_length: int, seed: int, room: int = 64) -> PreTrainedModel:
    """A causal language model from scratch, with positions for `max_length` tokens and `room` beside them.

    Raises UserError where transformers refuses the configuration.
    """
    settings = {"max_position_embeddings": max_length + room, **config}
    model_type = settings.pop("model_type", "qwen3")
    torch.manual_seed(seed)
    try:
        full = AutoConfig.for_model(
            model_type, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None, **settings,
        )  # fmt: skip
        return AutoModelForCausalLM.from_config(full, dtype=torch.float32)
    except Exception as error:  # of many kinds, with messages that list all that transformers has
        raise UserError(f"model.config {config}: transformers refuses it: {str(error)[:200]}; correct the key it names") from error


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model's folder or hub name, with a pad token: where it has none, one is added. Raises UserError."""
    if Path(path).exists() and not (Path(path) / "config.json").is_file():
        raise UserError(f"{path} is no model folder (no config.json); give a folder written by save_pretrained")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:  # as in `load_pretrained`
        raise _does_not_load(path, error) from error
    if tokenizer.pad_token_id is None:
        tokenizer.add_special_tokens({"pad_token": PAD})
    return tokenizer


def _does_not_load(path: str | Path, error: Exception) -> UserError:
    return UserError(
        f"model {path} cannot be loaded: {type(error).__name__}: {str(error).splitlines()[0]}; give another folder, or write this one again"
    )


def load_pretrained(path: str | Path, variant: str | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A pretrained causal language model and its tokenizer, from a folder or a hub name. Never unpickles.

    `variant` is transformers': what the weights' files are called beside `model`.
    """
    tokenizer = load_tokenizer(path)
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, use_safetensors=True, variant=variant)
    except Exception as error:  # transformers and safetensors raise many kinds; all of them mean "this folder does not load"
        raise _does_not_load(path, error) from error
    _refuse_unread(model, path)
    if len(tokenizer) > embeddings(model).num_embeddings:  # of a pad token that was added
        model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


@torch.no_grad()
def _refuse_unread(model: PreTrainedModel, path: str | Path) -> None:
    """Raise UserError where a model is not read as it reads itself: other logits, or nothing kept that several samples could continue."""
    ids = torch.arange(4)[None] % embeddings(model).num_embeddings
    alike = lambda x, y: torch.allclose(x, y, rtol=1e-3, atol=1e-3, equal_nan=True)  # noqa: E731
    unread = "is no decoder of attention layers, whose keys and values several samples can continue"
    wrong = None
    try:
        decoder = model.eval().get_decoder()
        states = decoder(inputs_embeds=model.get_input_embeddings()(ids), use_cache=True).last_hidden_state
        if not alike(next_logits(model, states), model(ids).logits):
            wrong = "changes its logits after lm_head in a way that is not known"
        cache = continued(decoder(input_ids=ids[:, :3], use_cache=True).past_key_values, torch.tensor([0, 0]))
        more = decoder(input_ids=ids[:, 3:].expand(2, 1), position_ids=torch.tensor([[3], [3]]), past_key_values=cache).last_hidden_state
        if not alike(more, states[:, 3:].expand_as(more)):
            wrong = wrong or unread
    except Exception as error:  # no decoder, lm_head or past keys by these names, layers that cannot branch: models fail in many ways
        wrong = wrong or f"{unread} ({type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else 'no message'})"
    if wrong:
        raise UserError(f"model {path} of type {model.config.model_type} {wrong}; give another model")
