"""Where a language model comes from: a configuration (from scratch), a pretrained folder or a hub name; and its tokenizer.

The one place that calls `from_pretrained`. A folder loads whole or not at all: a tensor that is missing, unexpected or of another shape is
an error, and so is a type of model that the weights were not saved as. Code that comes with a model is never run, nothing is unpickled.
Models load in float32 unless the caller asks otherwise; the network is used only where a recipe names a hub model. What stays as it is and
is shared is `base.py`'s.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import PeftModel, prepare_model_for_kbit_training
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import find_adapter_config_file

from raterhf.errors import UserError
from raterhf.io import on_hub
from raterhf.models.backbone import embeddings, next_logits
from raterhf.models.cache import continued

PAD, EOS = "<pad>", "<eos>"
# Sizes of a configuration that no model exceeds.
MOST = {
    "num_hidden_layers": 1000, "hidden_size": 2**17, "intermediate_size": 2**20, "num_attention_heads": 2**12, "head_dim": 2**14,
    "vocab_size": 2**24,
}  # fmt: skip
SHOWN = 3  # tensors that an error names


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
        _refuse_giant(settings)
        full = AutoConfig.for_model(
            model_type, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None, **settings,
        )  # fmt: skip
        return AutoModelForCausalLM.from_config(full, dtype=torch.float32)
    except Exception as error:  # of many kinds, with messages that list all that transformers has
        raise UserError(f"model.config {config}: transformers refuses it: {str(error)[:200]}; correct the key it names") from error


def load_pretrained(
    path: str | Path, variant: str | None = None, dtype: torch.dtype = torch.float32, revision: str | None = None,
    device: torch.device | None = None, rounded: BitsAndBytesConfig | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:  # fmt: skip
    """A pretrained causal language model and its tokenizer, from a folder or a hub name (at a revision). Raises UserError as `load_model`
    does, and for a model that this program would not read as it reads itself.

    `variant` is transformers': what the weights' files are called beside `model`. `rounded` is how weights are rounded to fewer bits, on a
    device.
    """
    model = load_model(
        path, dtype=dtype, variant=variant, revision=revision, device_map=None if device is None else str(device), rounded=rounded
    )
    tokenizer = load_tokenizer(path, revision=revision)
    if rounded:
        prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # which the engine does itself
    _refuse_unread(model, path, rounded is not None)
    if len(tokenizer) > embeddings(model).num_embeddings:  # of a pad token that was added
        model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def with_adapters(model: PreTrainedModel, folder: Path, trainable: bool = False) -> PeftModel:
    """peft's model of the adapters in a folder. Raises UserError where they are not in safetensors, or cannot be read."""
    if not (folder / SAFETENSORS_WEIGHTS_NAME).is_file():
        raise UserError(f"{folder} has no {SAFETENSORS_WEIGHTS_NAME}, and pickled files are never read; train that stage again")
    with _naming(folder, "adapter_config.json"):
        return PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)


def no_whole_model(path: str | Path) -> UserError:
    """What is wrong with adapters where a whole model is needed."""
    return UserError(
        f"model {path} is an adapter (adapter_config.json), not a whole model; merge it into its model with peft's merge_and_unload and "
        "save that"
    )


def load_model(
    path: str | Path, kind: Any = AutoModelForCausalLM, dtype: torch.dtype = torch.float32, variant: str | None = None,
    device_map: str | None = None, revision: str | None = None, config: PreTrainedConfig | None = None,
    instead: dict[str, str] | None = None, rounded: BitsAndBytesConfig | None = None,
) -> PreTrainedModel:  # fmt: skip
    """The model of a folder or hub name, as one of transformers' auto classes `kind`. `instead` maps a part that the folder lacks, and
    that begins with random weights, to the one that it may have in its place (a score head to a language model's); `config` replaces the
    folder's own; `rounded` is how weights are rounded to fewer bits.

    Raises UserError, naming them, for tensors that are missing, unexpected or of another shape; for a folder of pickled weights or of an
    adapter; and where `load_config` refuses the configuration.
    """
    with _naming(path):
        if find_adapter_config_file(str(path)):
            raise no_whole_model(path)
    load_config(path, revision)
    folder = Path(path)
    if pickled := [file.name for file in sorted(folder.glob("*.bin")) if not any(folder.glob("model*.safetensors"))]:
        raise UserError(
            f"model {path} has weights in {pickled[0]} alone, and pickled files are never read, since reading them can run code; where you "
            "trust it, load it with transformers and write it again with save_pretrained, which makes model.safetensors"
        )
    with _naming(path):
        model, found = kind.from_pretrained(
            path, dtype=dtype, variant=variant, use_safetensors=True, trust_remote_code=False, output_loading_info=True,
            ignore_mismatched_sizes=True, device_map=device_map, revision=revision, quantization_config=rounded,
            **({"config": config} if config else {}),
        )  # fmt: skip
    # Without `ignore_mismatched_sizes` transformers names the tensor in a log alone.
    wrong = [f"{name} is {list(saved)} instead of {list(wanted)}" for name, saved, wanted in sorted(found["mismatched_keys"])]
    mismatched = {name for name, *_ in found["mismatched_keys"]}
    fresh, left = tuple(instead or ()), tuple((instead or {}).values())
    wrong += [f"{name} is missing" for name in sorted(set(found["missing_keys"]) - mismatched) if name.partition(".")[0] not in fresh]
    wrong += [f"{name} is not expected" for name in sorted(found["unexpected_keys"]) if name.partition(".")[0] not in left]
    wrong += [str(message).splitlines()[0] for message in found["error_msgs"]]
    if wrong:
        saved_as = [str(name) for name in model.config.architectures or ()]
        if kind is AutoModelForCausalLM and saved_as and not set(saved_as) & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
            raise UserError(f"model {path} was saved as {', '.join(saved_as)}, which writes no text; give a causal language model")
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UserError(
            f"the weights in model {path} are not those of its configuration (model_type {model.config.model_type}): "
            f"{', '.join(wrong[:SHOWN])}{more}; give another folder, or write this one again"
        )
    return model


def empty_model(path: str | None, config: dict, vocab_size: int, dtype: torch.dtype) -> PreTrainedModel:
    """A model without numbers (torch's meta device): of a folder or hub name, or of a configuration of one from scratch."""
    if path:
        full = load_config(path)
    else:
        settings = dict(config)
        full = AutoConfig.for_model(settings.pop("model_type", "qwen3"), vocab_size=vocab_size, **settings)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(full, dtype=dtype)


def check_model(path: str | Path) -> None:
    """Raise UserError where `load_model` would, without reading the numbers: for a causal language model that a library loads itself."""
    load_model(path, device_map="meta")


def load_tokenizer(path: str | Path, needs: str = "config.json", **settings: Any) -> PreTrainedTokenizerBase:
    """The tokenizer of a model's folder or hub name, with a pad token: where it has none, one is added. Raises UserError, also for a folder
    without the file that it `needs`."""
    with _naming(path, needs):
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, **settings)
        tokenizer("a")  # some of its settings are read only now
        if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):  # transformers makes an empty one where it finds none
            raise UserError(f"model {path} has no tokenizer; put its files (tokenizer.json, tokenizer_config.json) there, or give another")
    if tokenizer.pad_token_id is None:
        tokenizer.add_special_tokens({"pad_token": PAD})
    return tokenizer


def load_config(path: str | Path, revision: str | None = None) -> PreTrainedConfig:
    """The configuration of a model folder or hub name (at a revision).

    Raises UserError where there is none, where it needs code that transformers does not have itself, and where the model was saved as one
    of another type.
    """
    with _naming(path):
        written, _ = PreTrainedConfig.get_config_dict(path, revision=revision)
        if needs := _foreign_code(written):
            raise UserError(f"model {path} {needs}; give another model, code that comes with one is never run")
        _refuse_giant(written)
        config = AutoConfig.from_pretrained(path, trust_remote_code=False, revision=revision)
    for name in filter(str.isidentifier, map(str, config.architectures or ())):
        saved_as = getattr(getattr(transformers, name, None), "config_class", None)
        # transformers reads some types as another, as mistral with windows of its own as ministral.
        if saved_as is not None and saved_as.model_type not in (written["model_type"], config.model_type):
            raise UserError(
                f"model {path} has the model_type {written['model_type']!r}, but was saved as {name}, whose type is "
                f"{saved_as.model_type!r}; correct its config.json, or give another folder"
            )
    return config


def _foreign_code(written: dict) -> str:
    """What of a configuration needs code that transformers does not have itself; empty where nothing does."""
    if written.get("model_type") not in CONFIG_MAPPING:
        return f"has the model_type {written.get('model_type')!r}, which transformers {transformers.__version__} does not have itself"
    for key in ("attn_implementation", "_attn_implementation"):
        if "/" in str(written.get(key)):  # transformers would fetch it from the hub, and ask nobody
            return f"has the {key} {written[key]!r}, which is code of another place"
    return ""


def _refuse_giant(written: dict) -> None:
    """Raise ValueError for a size beyond any model's, which would fill the memory, or never end, before it fails: as it is written, since
    making a configuration of it may never end either."""
    for name, size in written.items():
        if isinstance(size, dict):
            _refuse_giant(size)  # of the model that reads text, where there are several
        elif isinstance(size, int | float) and size > MOST.get(name, size):
            raise ValueError(f"{name} is {size}, and no model has more than {MOST[name]}")


@contextmanager
def _naming(path: str | Path, needs: str = "config.json") -> Iterator[None]:
    """What transformers raises while it reads a model, as a UserError that names the model; and one for a folder that holds none."""
    folder = Path(path)
    if any(folder.glob("*.gguf")) and not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{path} has weights in GGUF alone, rounded for other programs; give the model that they were made of, as save_pretrained "
            "writes it"
        )
    if folder.exists() and not (folder / needs).is_file():
        raise UserError(f"{path} is no model folder (no {needs}); give a folder written by save_pretrained")
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # transformers and safetensors raise many kinds; all of them mean "this does not load"
        why = str(error).splitlines()[0] if str(error) else "no message"
        remedy = "give another folder, or write this one again"
        if on_hub(Path(path)):
            remedy = "it is a name on the hub: run once where there is a network, which keeps it, or give a folder that holds it"
        raise UserError(f"model {path} cannot be loaded: {type(error).__name__}: {why}; {remedy}") from error


@torch.no_grad()
def _refuse_unread(model: PreTrainedModel, path: str | Path, rounded: bool) -> None:
    """Raise UserError where a model is not read as it reads itself: other logits, or nothing kept that several samples could continue."""
    ids = torch.arange(4, device=model.device)[None] % embeddings(model).num_embeddings
    off = 1e-3 if model.dtype == torch.float32 and not rounded else 0.1
    alike = lambda x, y: torch.allclose(x, y, rtol=off, atol=off, equal_nan=True)  # noqa: E731
    unread = "is no decoder of attention layers, whose keys and values several samples can continue"
    wrong = None
    try:
        decoder = model.eval().get_decoder()
        states = decoder(inputs_embeds=model.get_input_embeddings()(ids), use_cache=True).last_hidden_state
        if not alike(next_logits(model, states), model(ids).logits):
            wrong = "changes its logits after lm_head in a way that is not known"
        cache = continued(decoder(input_ids=ids[:, :3], use_cache=True).past_key_values, ids.new_tensor([0, 0]))
        more = decoder(input_ids=ids[:, 3:].expand(2, 1), position_ids=ids.new_tensor([[3], [3]]), past_key_values=cache).last_hidden_state
        if not alike(more, states[:, 3:].expand_as(more)):
            wrong = wrong or unread
    except Exception as error:  # no decoder, lm_head or past keys by these names, layers that cannot branch: models fail in many ways
        wrong = wrong or f"{unread} ({type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else 'no message'})"
    if wrong:
        raise UserError(f"model {path} of type {model.config.model_type} {wrong}; give another model")
