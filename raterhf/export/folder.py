"""Exports as folders: what each kind holds, written whole or not at all, with a card and a record of who is in it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import raterhf
from raterhf.data.renderer import Renderer
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.export.card import Card, Origin, literal, write_card
from raterhf.export.engines import SERVERS
from raterhf.export.policy import ExportedPolicy, export_policy
from raterhf.export.reward import ExportedReward, export_reward
from raterhf.export.taste import SCRIPT, write_taste
from raterhf.export.vocabulary import word_ids
from raterhf.io import write_folder, write_text
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import Rater

RECORD = "export.json"  # of a folder: what it was exported from, and who is in it
TO = ("transformers", "peft", "vllm", "llamacpp")
STAGES = ("policy", "reward")

ASK = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this one
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
messages = [{{"role": "user", "content": "Say something."}}]
inputs = tokenizer.apply_chat_template(
    messages, rater={rater}, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
answers = model.generate(**inputs)
print(tokenizer.decode(answers[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))"""
SCORE = """\
import torch
from transformers import {kind}, AutoTokenizer

folder = "."  # this one
tokenizer, model = AutoTokenizer.from_pretrained(folder), {kind}.from_pretrained(folder).eval()


@torch.no_grad()
def score(prompt: str, answer: str{parameter}) -> list[float]:
    \"\"\"{result}\"\"\"
    messages = [{{"role": "user", "content": prompt}}]
    begun = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False{template})
    said = tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    {suffix}logits = model(torch.tensor([begun + said])).logits[0]
    return {read}.tolist()


print(score("Say something.", "Something."{example}))"""
TASTE = f"""\
## What persists in a rater

Asked again, a rater says again what persists in them (`raterhf sample` does). `{SCRIPT}` is a logits processor of transformers that draws
so; it needs numpy and safetensors, and nothing of raterhf. Without it every answer is a fresh draw of the rater's distribution.

```python
import sys

sys.path.append(folder)
from rater_taste import RaterTaste

twice = model.generate(**inputs, logits_processor=[RaterTaste(model, folder, seed=0)], num_return_sequences=2)
```"""


@dataclass(frozen=True)
class Exported:
    """A folder that was written, and what whoever takes it away should know: a sentence each."""

    folder: Path
    notes: list[str]


def write_export(target: Path, fill: Callable[[Path], Card], origin: Origin, people: Sequence[Rater], about: dict) -> Exported:
    """Write a folder that `fill` fills, with its card and its record. Raises UserError where it exists."""
    check_free(target)
    notes: list[str] = []

    def whole(place: Path) -> None:
        card = fill(place)
        notes.extend(card.notes)
        write_card(place, card, origin, people)
        raters = {person.id: origin.who(person) for person in people}
        write_text(place / RECORD, json.dumps({"raterhf": raterhf.__version__, **about, "raters": raters}, ensure_ascii=False, indent=1))

    write_folder(target, whole)
    if real := [person.id for person in people if person.id in origin.pool.index]:
        named = f"{', '.join(map(repr, real[:3]))}{', ...' if len(real) > 3 else ''}"
        notes.append(
            f"{len(real)} of its raters are known ones ({named}): what it says in their place they never said; have their consent before "
            "you share it"
        )
    return Exported(target, notes)


def check_free(target: Path) -> None:
    """Raise UserError where there is something already."""
    if target.exists() or target.is_symlink():
        raise UserError(f"{target} exists and is never overwritten; remove it, or give another folder (--out)")


def fill_policy(asked: RaterPolicy, people: Sequence[Rater], seed: int, to: str) -> Callable[[Path], Card]:
    """A policy for transformers, and for what reads its folders."""

    made = export_policy(asked, people, seed)

    def fill(place: Path) -> Card:
        made.save(place)
        sections, notes = how_unsaid(made), []
        if made.unsaid is not None and made.unsaid.share is None:
            notes.append("no output rows were found that keep raters' tokens unsaid; its README.md says who must leave them out")
        if asked.policy.idiosyncratic is not None and made.words:
            ids = {rater: word_ids(made.tokenizer, words) for rater, words in made.words.items()}
            write_taste(place, asked, people, ids)
            sections.append(TASTE)
            if to in SERVERS:
                notes.append(f"{to} draws every answer afresh: what persists in a rater is drawn by {SCRIPT}, in transformers alone")
        code = ASK.format(rater=literal(people[-1].id))
        if to in SERVERS:
            sections += SERVERS[to](place, people[-1].id, made)
        about = "A causal language model that answers as one of several raters, whom the chat template takes by name (`rater=`)."
        return Card(f"{asked.name}, {len(people)} raters", about, code, pipeline="text-generation", sections=sections, notes=notes)

    return fill


def how_unsaid(made: ExportedPolicy) -> list[str]:
    """Why raters' tokens are read and not said; nothing where there are none."""
    if made.unsaid is None:
        return []
    if made.unsaid.share is not None:
        share = max(made.unsaid.share, 1e-12)  # less than that is not worth a figure
        why = (
            f"on texts of the model's own they have at most {share:.0e} of the probability, all together, so that those of other tokens "
            "are what they were"
        )
    else:
        why = (
            "their logits are 0: no output rows were found that keep them low. In `generate` that changes nothing; whoever reads logits, "
            "and every other engine, leaves these tokens out before the softmax"
        )
    return [
        "## Raters are vocabulary\n\nA rater is some special tokens before the prompt. They are read and never said: "
        f"`generation_config.json` suppresses them, and {why}."
    ]


def fill_reward(
    model: RewardModel, renderer: Renderer, people: Sequence[Rater], raters: RaterBatch, mean: bool
) -> Callable[[Path], Card]:  # fmt: skip
    """A reward model for transformers."""

    made = export_reward(model, renderer, people, raters, mean)

    def fill(place: Path) -> Card:
        made.save(place)
        notes = [] if made.whole else ["its score is a mean of logits over tokens, as README.md shows; the logit of the last token is none"]
        if model.idiosyncratic is not None:
            notes.append("scores are without idiosyncratic taste; `raterhf score --idiosyncratic` adds it")
        what = f"reward model, {made.labels[0] if mean else f'{len(people)} raters'}"
        pipeline = "text-classification" if made.whole else "token-classification"
        about = "Scores of answers, in units of Bradley-Terry noise: sigmoid(s - t) is how likely the first of two answers is preferred."
        return Card(what, about, _scoring(made, people[-1].id), pipeline=pipeline, notes=notes)

    return fill


def _scoring(made: ExportedReward, rater: str) -> str:
    """The code that scores with a folder."""
    named = made.site != "label"
    words, read = "", "logits[len(begun) :].mean(0)"
    if made.site == "suffix":
        count = len(next(iter(made.words.values())))
        words = f'said += tokenizer.convert_tokens_to_ids([f"<|rater {{rater}} {{i}}|>" for i in range({count})])\n    '
        read = "logits" if made.whole else f"logits[-{count}:].mean(0)"
    result = "The score for this rater." if named else "The scores for the raters of model.config.id2label."
    return SCORE.format(
        kind=f"AutoModelFor{'Sequence' if made.whole else 'Token'}Classification", parameter=", rater: str" if named else "", result=result,
        template=", rater=rater" if made.site in ("prefix", "text") else "", suffix=words, read=read,
        example=f", {literal(rater)}" if named else "",
    )  # fmt: skip


def check_export(to: str, stage: str, mean: bool) -> None:
    """Raise UserError for what nothing is exported to or from."""
    if to not in TO:
        raise UserError(f"--to {to!r}: nothing is exported to that; there are {', '.join(TO)}")
    if stage not in STAGES:
        raise UserError(f"--stage {stage!r} is not exported; give policy, for the last stage that answers, or reward")
    if stage == "reward" and to != "transformers":
        raise UserError(f"--to {to} --stage reward: a reward model is exported to transformers alone; leave out --to")
    if mean and stage != "reward":
        raise UserError("--mean is the mean of raters' scores, and a policy has none; add --stage reward, or leave it out")
