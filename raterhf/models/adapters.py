"""LoRA adapters by peft: put into a decoder, saved in peft's format, loaded again.

Adapters lie in the decoder, of a policy and of a reward model alike; what they lie on stays as it is. A folder of ours with adapters is one
that plain peft loads too: a policy's onto the causal language model, a reward model's onto the decoder (`AutoModel`).
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import Linear, LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from raterhf.errors import UserError
from raterhf.io import read_json
from raterhf.models.base import Base
from raterhf.recipe import LoraSettings

ADAPTER, CONFIG = "adapter_model.safetensors", "adapter_config.json"
NAME = "default"


def add_lora(decoder: PreTrainedModel, settings: LoraSettings, seed: int) -> None:
    """Put fresh adapters into a decoder; they change nothing yet. Raises UserError where modules are named that it has none of."""
    for key, names in (("target_modules", settings.target_modules), ("modules_to_save", settings.modules_to_save)):
        for name in [] if isinstance(names, str) else names:
            if not any(f".{path}".endswith(f".{name}") for path, _ in decoder.named_modules()):
                kinds = {path.rpartition(".")[2] for path, module in decoder.named_modules() if not list(module.children())}
                raise UserError(f"model.lora.{key}: {name!r} names nothing in this model's decoder; it has {', '.join(sorted(kinds))}")
    if settings.modules_to_save and decoder.dtype != torch.float32:
        raise UserError(
            f"model.lora.modules_to_save are trained in float32, and the model is held in {str(decoder.dtype).removeprefix('torch.')}, "
            "whose layers cannot read them; set model.dtype to float32, or leave them out"
        )
    torch.manual_seed(seed)
    config = lora_config(settings)
    _inject(decoder, config)
    if settings.target_modules == "all-linear":  # which peft writes out, each by its whole name
        config.target_modules = sorted({name.rpartition(".")[2] for name in config.target_modules or ()})


def lora_config(settings: LoraSettings, task: str | None = None) -> LoraConfig:
    """The recipe's settings as peft's, for a model of this task, where peft shall wrap it."""
    return LoraConfig(
        r=settings.r, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=settings.target_modules,
        modules_to_save=settings.modules_to_save or None, task_type=task,
    )  # fmt: skip


class Added(Linear):
    """peft's adapter of a linear layer, whose product is added to the layer's own output in place: two passes over it less, and the same
    numbers.

    Outputs are wide and adapters narrow, so that on a CPU these passes take a sixth of the time.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        first, second = self.lora_A[NAME].weight, self.lora_B[NAME]
        plain = not (args or kwargs or self.disable_adapters or self.merged or self.lora_variant or second.bias is not None)
        kind = x.device.type
        casts = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)  # the meta device, of estimates, never does
        if not plain or casts or x.dtype != first.dtype:
            return super().forward(x, *args, **kwargs)
        out = self.base_layer(x)
        read = self.lora_dropout[NAME](x) @ first.T
        out.view(-1, out.shape[-1]).addmm_(read.view(-1, read.shape[-1]), second.weight.T, alpha=self.scaling[NAME])
        return out


def _inject(decoder: PreTrainedModel, config: LoraConfig) -> None:
    config._register_custom_module({nn.Linear: Added})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inject_adapter_in_model(config, decoder, NAME)
    config._custom_modules = None  # which is no setting to be saved
    for parameter in decoder.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def has_adapters(decoder: nn.Module) -> bool:
    return hasattr(decoder, "peft_config")


def has_adapters_in(folder: Path) -> bool:
    """Whether a model folder holds adapters."""
    return (folder / CONFIG).is_file()


def merged_weights(model: nn.Module, base: Base | None) -> dict[str, torch.Tensor]:
    """A model's weights as it computes with them, by the names that they have without adapters; the model stays as it is. Raises UserError
    where the base that it lies on is held in 4 bits."""
    if base is not None and base.four_bit:
        raise UserError(
            "the weights of this run are held in 4 bits (model.load), and adapters merged into them would be rounded too; give --to "
            "peft, whose adapters go onto the same weights"
        )
    own = f".modules_to_save.{NAME}."  # what peft trains in a module's place
    kept = {name: tensor for name, tensor in model.state_dict().items() if ".lora_" not in name and ".original_module." not in name}
    merged = {name.replace(".base_layer.", ".").replace(own, "."): tensor for name, tensor in kept.items()}
    for path, module in model.named_modules():
        if isinstance(module, LoraLayer):
            weight = merged[f"{path}.weight"]
            merged[f"{path}.weight"] = (weight.float() + module.get_delta_weight(NAME).float()).to(weight.dtype)  # type: ignore[attr-defined]
    return merged


def save_adapters(folder: Path, lm: nn.Module, decoder: PreTrainedModel, base: Base) -> None:
    """Write a decoder's adapters. `lm` is what they shall be loaded onto by others: the decoder itself, or the language model around it."""
    inner = next(name for name, module in lm.named_modules() if module is decoder)
    prefix = f"base_model.model.{inner}." if inner else "base_model.model."
    weights = get_peft_model_state_dict(decoder, adapter_name=NAME, save_embedding_layers=False)
    save_file({prefix + name: tensor.contiguous() for name, tensor in weights.items()}, folder / ADAPTER, {"format": "pt"})
    config: LoraConfig = decoder.peft_config[NAME]  # type: ignore[index,assignment]  # set by peft
    saved = LoraConfig(**config.to_dict() | {
        "base_model_name_or_path": base.path, "inference_mode": True, "task_type": "CAUSAL_LM" if inner else "FEATURE_EXTRACTION",
    })  # fmt: skip
    saved.save_pretrained(str(folder))


def load_adapters(folder: Path, lm: nn.Module, decoder: PreTrainedModel) -> None:
    """Put adapters that `save_adapters` wrote into a decoder. Raises UserError where they are damaged or of another model."""
    inner = next(name for name, module in lm.named_modules() if module is decoder)
    prefix = f"base_model.model.{inner}." if inner else "base_model.model."
    try:
        config = LoraConfig.from_peft_type(**read_json(folder / CONFIG))
        weights = load_file(folder / ADAPTER)
        settings = config.to_dict() | {"inference_mode": False}
        if inner and isinstance(config.target_modules, set):  # peft may name modules from the model around the decoder
            settings["target_modules"] = {name.removeprefix(f"{inner}.") for name in config.target_modules}
        _inject(decoder, LoraConfig(**settings))
    except Exception as error:  # peft, safetensors and json raise many kinds; all of them mean "these do not load"
        raise UserError(
            f"the adapters in {folder} cannot be loaded ({type(error).__name__}: {str(error)[:200]}); delete the folder and train that "
            "stage again"
        ) from error
    wanted = get_peft_model_state_dict(decoder, adapter_name=NAME, save_embedding_layers=False)
    given = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    if differ := sorted(k for k in wanted.keys() | given.keys() if k not in wanted or k not in given or wanted[k].shape != given[k].shape):
        raise UserError(
            f"the adapters in {folder} do not fit their base (differs in {', '.join(differ[:3])}); delete the folder and train that "
            "stage again"
        )
    set_peft_model_state_dict(decoder, given, adapter_name=NAME)
