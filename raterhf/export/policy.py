"""A policy as a plain folder of a causal language model, in which the chosen raters are vocabulary.

Adapters are merged. Raters that the model knows by vectors become special tokens (`vocabulary.py`), raters that it knows by text a list in
the chat template (`template.py`). What the folder says is compared with the policy before it is written.

Notation: K raters, m soft tokens of each, V tokens of the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from raterhf.data.example import Example, collate
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.export.template import PROBES, plain_tokenizer, prompt_ids, set_template
from raterhf.export.vocabulary import Unsaid, add_words, language_model, rater_words, unsaid
from raterhf.models.backbone import embeddings, next_logits, with_prefix
from raterhf.raters.pool import Rater

COMPARED = 3  # raters whose logits are compared
OFF = {torch.float32: 1e-3, torch.bfloat16: 0.2}  # of logits: more than rounding


@dataclass(frozen=True)
class ExportedPolicy:
    """What a folder holds: a model, its tokenizer, the raters' tokens by ID, and how these are kept unsaid."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    words: dict[str, list[str]]
    unsaid: Unsaid | None

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def export_policy(asked: RaterPolicy, people: Sequence[Rater], seed: int) -> ExportedPolicy:
    """The policy under these raters. Raises UserError where transformers would not read it as this program does."""
    policy, tokenizer = asked.policy, plain_tokenizer(asked.renderer)
    vocabulary = len(tokenizer)
    raters, words, ids, soft, kept_out = asked.batch(people), {}, [], None, None
    if policy.reader is not None:
        with torch.no_grad():
            soft = policy.reader(raters)
        words = {person.id: rater_words(person.id, policy.reader.tokens) for person in people}
        ids = add_words(tokenizer, words)
        kept_out = unsaid(policy, raters, vocabulary, len(ids), seed)
    set_template(tokenizer, asked.renderer, {} if words else {person.id: person.text for person in people}, words)
    model = language_model(policy, ids, soft, vocabulary, kept_out)
    model.generation_config = generation_config(asked, vocabulary, model)
    _compare(asked, people[:COMPARED], model, tokenizer, vocabulary)
    return ExportedPolicy(model, tokenizer, words, kept_out)


def generation_config(asked: RaterPolicy, vocabulary: int, model: PreTrainedModel) -> GenerationConfig:
    """Sampling as `raterhf sample` does it. Tokens that the policy does not know, and those of raters, are never said."""
    tokenizer, size = asked.renderer.tokenizer, embeddings(model).num_embeddings
    return GenerationConfig(
        do_sample=True, temperature=asked.temperature, top_k=0, top_p=1.0, min_p=asked.min_p,
        max_new_tokens=asked.max_new_tokens, eos_token_id=list(asked.policy.ends) or [tokenizer.eos_token_id],
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, suppress_tokens=list(range(vocabulary, size)) or None,
    )  # fmt: skip


@torch.no_grad()
def _compare(
    asked: RaterPolicy, people: Sequence[Rater], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, vocabulary: int
) -> None:  # fmt: skip
    """Raise UserError where the exported model gives other logits than the policy."""
    for person in people:
        ids = prompt_ids(tokenizer, PROBES[0], person.id)
        own = asked.renderer.prompt(PROBES[0], person.text)
        batch = collate([Example(own, len(own))], 0).to(asked.policy.lm.device)
        states = with_prefix(asked.policy.decoder, batch, asked.policy.prefix(asked.batch([person])))
        expected = next_logits(asked.policy.lm, states)[0, :, :vocabulary].float()
        found = model(torch.tensor([ids], device=batch.ids.device)).logits[0, -len(own) :, :vocabulary].float()
        if not torch.allclose(found, expected, rtol=OFF[model.dtype], atol=OFF[model.dtype]):
            raise UserError(
                f"a plain {type(model).__name__} gives other logits than this policy under rater {person.id} (by up to "
                f"{float((found - expected).abs().max()):.3g}); models of this type are not exported, use `raterhf sample`"
            )
