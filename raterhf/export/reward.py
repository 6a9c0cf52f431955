"""A reward model as a plain folder: one of transformers' classifiers, whose logits are scores.

The score is a mean: over the answer's tokens (conditioning `head` and `prefix`), or over the rater's tokens after it (`suffix`). A
sequence classifier reads one token, the last, so it is exact for a suffix of one token alone; the others are token classifiers, which give
a logit at every token, whose mean over those tokens is the score. Where the head alone reads raters they are the classifier's labels, or
one label that is the jury's mean; else they are vocabulary, as in a policy.

Notation: K raters, m soft tokens of each, d hidden size.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from raterhf.data.renderer import Renderer
from raterhf.errors import UserError
from raterhf.export.template import plain_tokenizer, set_template
from raterhf.export.vocabulary import add_words, embedding_rows, plain_model, rater_words, with_rows
from raterhf.models.adapters import merged_weights
from raterhf.models.backbone import embeddings
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import Rater

MEAN = "mean of the raters"


@dataclass(frozen=True)
class ExportedReward:
    """What a folder holds. `site` is where the rater is: `label`, `prefix`, `suffix` or `text`; `words` are the raters' tokens by ID."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    words: dict[str, list[str]]
    site: str
    labels: list[str]

    @property
    def whole(self) -> bool:
        """Whether the logits are one score of the whole text."""
        return self.site == "suffix" and all(len(said) == 1 for said in self.words.values())

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def export_reward(model: RewardModel, renderer: Renderer, people: Sequence[Rater], raters: RaterBatch, mean: bool) -> ExportedReward:
    """The reward model under these raters, or under the mean of them all. Raises UserError where no plain class gives its scores."""
    tokenizer = plain_tokenizer(renderer)
    by_vector, head = model.reader is not None, model.scale * model.head.weight.detach()
    site = ("label" if model.conditioning == "head" else model.conditioning) if by_vector else "text"
    if mean and site != "label" and len(people) > 1:
        raise UserError(
            f"the mean of {len(people)} raters is not one model here, since the trunk reads each of them ({site}); leave out --mean and "
            "take the mean of their scores, or train with reward.conditioning=head"
        )
    weights, labels, words, ids, soft = head, ["score"], {}, [], None
    with torch.no_grad():
        if site == "label":
            weights, labels = model.weights(raters), [person.id for person in people]
        elif model.reader is not None:
            soft = model.reader(raters)
    if mean and len(people) > 1:
        weights, labels = weights.mean(0, keepdim=True), [MEAN]
    if soft is not None:
        words = {person.id: rater_words(person.id, soft.shape[1]) for person in people}
        ids = add_words(tokenizer, words)
    texts = {person.id: person.text for person in people} if site == "text" else {"none": ""}  # a template that takes nobody's name
    set_template(tokenizer, renderer, {} if site == "prefix" else texts, words if site == "prefix" else {})
    whole = site == "suffix" and soft is not None and soft.shape[1] == 1
    return ExportedReward(_classifier(model, weights, labels, ids, soft, whole), tokenizer, words, site, labels)


def _classifier(
    model: RewardModel, weights: Tensor, labels: list[str], ids: Sequence[int], soft: Tensor | None, whole: bool
) -> PreTrainedModel:  # fmt: skip
    """One of transformers' classifiers with these weights [K, d] of its labels, and raters' rows for `ids`."""
    decoder, config = model.decoder, copy.deepcopy(model.decoder.config)
    kind: Any = AutoModelForSequenceClassification if whole else AutoModelForTokenClassification
    if type(config) not in (MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING if whole else MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING):
        raise UserError(
            f"transformers has no {kind.__name__} of type {config.model_type}, and the score is a mean over tokens, which its "
            "other classes do not give; use `raterhf score`, or train with reward.conditioning=suffix raters.tokens=1, which needs one"
        )
    state = merged_weights(decoder, model.base)
    if soft is not None:
        table = next(name for name, module in decoder.named_modules() if module is embeddings(decoder)) + ".weight"
        state[table] = with_rows(state[table], ids, embedding_rows(decoder, soft), max(len(state[table]), max(ids) + 1))
        config.get_text_config().vocab_size = len(state[table])
    config.id2label, config.label2id = dict(enumerate(labels)), {label: i for i, label in enumerate(labels)}
    with torch.device("meta"):
        shape = kind.from_config(config)
    inner, (head,) = shape.base_model_prefix, [name for name, part in shape.named_children() if isinstance(part, nn.Linear)]
    state = {f"{inner}.{name}": tensor for name, tensor in state.items()}
    state[f"{head}.weight"] = weights.to(decoder.dtype)
    if shape.get_submodule(head).bias is not None:
        state[f"{head}.bias"] = state[f"{head}.weight"].new_zeros(len(labels))
    return plain_model(kind, config, state)
