"""A policy that was trained by adapters as a folder of plain peft: the adapters, and the raters' soft tokens as tensors beside them.

The base model stays as it is, without new vocabulary: a rater's tokens are put before the embeddings of the prompt (`inputs_embeds`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.export.card import Card, literal
from raterhf.export.policy import generation_config
from raterhf.export.template import plain_tokenizer, set_template
from raterhf.models.adapters import has_adapters, save_adapters
from raterhf.models.four_bit import four_bit_config
from raterhf.raters.pool import Rater

SOFT = "soft_tokens.safetensors"  # of each rater [m, d], by ID
BEGIN = """\
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

folder = "."  # this one
base = AutoModelForCausalLM.from_pretrained({base}, dtype=torch.{dtype}{rounded})
tokenizer, model = AutoTokenizer.from_pretrained(folder), PeftModel.from_pretrained(base, folder)
messages = [{{"role": "user", "content": "Say something."}}]
ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=False{template})
"""
BY_VECTOR = """\
soft = load_file(f"{{folder}}/soft_tokens.safetensors")[{rater}]
embedded = torch.cat([soft[None].to(base.dtype), model.get_input_embeddings()(ids)], 1)
answers = model.generate(
    inputs_embeds=embedded, attention_mask=torch.ones(embedded.shape[:2], dtype=torch.long),
    generation_config=GenerationConfig.from_pretrained(folder),
)
print(tokenizer.decode(answers[0], skip_special_tokens=True))"""
BY_TEXT = """\
answers = model.generate(input_ids=ids, generation_config=GenerationConfig.from_pretrained(folder))
print(tokenizer.decode(answers[0, ids.shape[1] :], skip_special_tokens=True))"""


def fill_adapter(asked: RaterPolicy, people: Sequence[Rater]) -> Callable[[Path], Card]:
    """A policy for peft. Raises UserError where it has no adapters."""
    policy, base = asked.policy, asked.policy.base
    if base is None or not has_adapters(policy.decoder):
        how = "all weights were trained" if base is None else "no weight of the language model was trained"
        raise UserError(f"--to peft: this run has no adapters, since {how} (model.train); give --to transformers")

    def fill(place: Path) -> Card:
        save_adapters(place, policy.lm, policy.decoder, base)
        tokenizer = plain_tokenizer(asked.renderer)
        reader = policy.reader
        by_vector = reader is not None
        set_template(tokenizer, asked.renderer, {"none": ""} if by_vector else {person.id: person.text for person in people}, {})
        tokenizer.save_pretrained(place)
        generation_config(asked, len(tokenizer), policy.lm).save_pretrained(place)
        if reader is not None:
            with torch.no_grad():
                soft = reader(asked.batch(people)).cpu()
            save_file({person.id: rows.contiguous() for person, rows in zip(people, soft)}, place / SOFT)
        rater = literal(people[-1].id)
        code = BEGIN.format(
            base=literal(base.path), dtype=str(base.dtype).removeprefix("torch."), template="" if by_vector else f", rater={rater}",
            rounded=f", quantization_config={four_bit_config(base.dtype).to_dict()}" if base.four_bit else "",
        )  # fmt: skip
        about = "Adapters for a causal language model, which then answers as one of several raters."
        notes = [f"it needs the base model {base.path}, as the adapters do"]
        if policy.idiosyncratic is not None and by_vector:
            notes.append("every answer is drawn afresh: what persists in a rater is drawn by an export to transformers alone")
        code += BY_VECTOR.format(rater=rater) if by_vector else BY_TEXT
        return Card(f"{asked.name}, {len(people)} raters", about, code, library="peft", pipeline="text-generation", notes=notes)

    return fill
