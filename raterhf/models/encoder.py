"""Sentence encoders: texts as vectors, by the meaning and manner that a pretrained model finds in them."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import AutoModel

from raterhf.models.load import load_model, load_tokenizer
from raterhf.models.place import pick_device

WINDOW = 256  # tokens of a text that are read
AT_ONCE = 64  # texts of about the same length


@torch.no_grad()
def encode(encoder: str, texts: Sequence[str]) -> np.ndarray:
    """Vectors [N, d] of texts by a sentence encoder, a folder or a name on the hub: means of its last states, of unit length."""
    model, tokenizer = load_model(encoder, AutoModel).eval().to(pick_device()), load_tokenizer(encoder)
    found = np.zeros((len(texts), model.config.hidden_size))
    order = np.argsort([len(text) for text in texts], kind="stable")
    for start in range(0, len(texts), AT_ONCE):
        rows = order[start : start + AT_ONCE]
        batch = tokenizer([texts[i] for i in rows], padding=True, truncation=True, max_length=WINDOW, return_tensors="pt").to(model.device)
        mask = batch["attention_mask"][..., None]
        mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        found[rows] = torch.nn.functional.normalize(mean, dim=1).double().cpu().numpy()
    return found
