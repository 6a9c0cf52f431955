"""Weights that stay in 4 bits (NF4, its scales rounded too), by bitsandbytes: QLoRA of Dettmers et al. 2023.

Matrices of the decoder's layers are held in 4 bits and computed with in the model's dtype; what else there is, embeddings and norms, in
float32, as peft prepares such a model. bitsandbytes does so on CUDA devices.
"""

import importlib.util

import torch
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from raterhf.errors import UserError

BYTES = 0.5 + (1 + 4 / 256) / 64  # of a number: 64 share a scale of 8 bits, 256 scales share one of 32


def check_device(device: str) -> None:
    """Raise UserError for devices of a type on which weights cannot be held in 4 bits."""
    if device != "cuda":
        raise UserError(
            f"model.load is 4bit, which bitsandbytes computes with on CUDA devices, and this machine computes on {device}; set "
            "model.load=whole, with a smaller model or model.dtype=bfloat16 where memory is short"
        )


def check_four_bit(device: torch.device) -> None:
    """Raise UserError where weights cannot be held in 4 bits, before they are read."""
    check_device(device.type)
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError("model.load is 4bit, which needs bitsandbytes: pip install 'raterhf[4bit]'; or set model.load=whole")


def four_bit_config(dtype: torch.dtype) -> BitsAndBytesConfig:
    """How transformers loads them; `dtype` is what products are computed in."""
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)


def four_bit_bytes(lm: PreTrainedModel) -> float:
    """Bytes of a model's weights when they are held so."""
    matrices = {id(m.weight): m.weight for m in lm.get_decoder().modules() if isinstance(m, nn.Linear)}
    rest = sum(4 * p.numel() for p in lm.parameters() if id(p) not in matrices)
    return rest + sum(BYTES * weight.numel() for weight in matrices.values())
