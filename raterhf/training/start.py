"""What every stage begins with: a language model and its tokenizer, the texts of the data, the raters and their text prefixes, and what
watches it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from raterhf.data import prepare
from raterhf.data.labels import Labels
from raterhf.data.renderer import set_chat
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.models import backbone, checkpoint, load
from raterhf.models.adapters import add_lora
from raterhf.models.base import Base, find_base
from raterhf.models.place import kept_dtype, pick_device
from raterhf.models.policy import Policy, make_policy
from raterhf.models.reward import RewardModel
from raterhf.raters.pool import RaterPool
from raterhf.recipe import ModelSettings, MonitorSettings, RatersSettings, Recipe, rater_text
from raterhf.training.monitor import Measure, Monitor, Watched, choose_prompts
from raterhf.training.training_curve import Prompt
from raterhf.worlds.world import load_world


@dataclass(frozen=True)
class Source:
    """The language model that a stage trains, its tokenizer, and what it lies on where its weights stay."""

    lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    base: Base | None


def start_model(recipe: Recipe, texts: list[str]) -> Source:
    """The language model a stage starts from: the base stage's, a pretrained one, or one from scratch."""
    if recipe.base:
        policy, tokenizer, _ = checkpoint.load_policy(recipe.start)
        return Source(policy.lm, tokenizer, policy.base)
    return new_model(recipe.model, texts, recipe.seed, recipe.soft_tokens, recipe.room)


def new_tokenizer(settings: ModelSettings, texts: list[str]) -> PreTrainedTokenizerBase:
    """A pretrained model's tokenizer or one trained on the texts, told how prompts are put."""
    tokenizer = load.load_tokenizer(settings.path) if settings.path else load.train_tokenizer(texts, settings.vocab_size)
    set_chat(tokenizer, settings.chat, settings.system)
    return tokenizer


def new_model(settings: ModelSettings, texts: list[str], seed: int, soft: int, room: int) -> Source:
    """A pretrained language model, with adapters as the recipe says, or one from scratch, with `room` beside its longest example.

    Raises UserError where the longest example and a rater's `soft` tokens do not fit it.
    """
    tokenizer = new_tokenizer(settings, texts)
    base = None
    if settings.path and settings.train != "all":
        device = pick_device()
        base = find_base(settings.path, device, kept_dtype(settings, device.type), four_bit=settings.load == "4bit")
        lm = base.model()
        if settings.lora:
            add_lora(lm.get_decoder(), settings.lora, seed)
    elif settings.path:
        lm, _ = load.load_pretrained(settings.path)
    else:
        lm = load.build_model(settings.config, tokenizer, settings.max_length, seed, room)
    window = backbone.window_of(lm)
    if settings.max_length + soft > window:
        beside = f" and a rater's {soft} tokens (raters.tokens)" if soft else ""
        raise UserError(
            f"model.max_length {settings.max_length}{beside} are more than the {window} positions of the model; set "
            f"model.max_length to {window - soft} at most"
        )
    return Source(lm, tokenizer, base)


def spare_memory(model: Policy | RewardModel, settings: ModelSettings) -> None:
    """Let a model that is trained hold as little as the recipe says."""
    assert settings.micro_batch_tokens is not None  # a recipe fills it in
    model.held_tokens = settings.micro_batch_tokens
    if settings.gradient_checkpointing:
        model.decoder.gradient_checkpointing_enable({"use_reentrant": False})


def save_start(recipe: Recipe, labels: Labels) -> None:
    """Without a stage `base`, write what the stages start from, anew each time: a plain model, as others than ours read it too, or, of one
    whose weights stay, where they are and the tokenizer."""
    if not recipe.base:
        model = recipe.model if recipe.model.train == "all" else recipe.model.staying
        start = start_model(recipe.model_copy(update={"model": model}), all_texts(labels))
        policy = make_policy(start.lm, start.tokenizer, base=start.base)
        checkpoint.save_policy(recipe.start, policy, start.tokenizer, None, recipe.model.max_length, {})


def all_texts(labels: Labels) -> list[str]:
    frames = (labels.comparisons, labels.demonstrations)
    columns = [frame[c] for frame in frames for c in ("prompt", "a", "b", "completion") if c in frame]
    return sorted({str(text) for column in columns for text in column})


def corpus_texts(rows: pd.DataFrame, text_template: str) -> list[str]:
    """What a tokenizer learns from the base corpus, and how raters are named."""
    prompts = [prompt for prompt in rows.prompt if isinstance(prompt, str)]
    return prompts + list(rows.completion) + [rater_text(text_template, "0123456789")]


def all_prompts(labels: Labels) -> list[str | list[dict]]:
    """Every prompt that raters answered or judged answers to, as often as they did."""
    return [prompt for frame in (labels.comparisons, labels.demonstrations) for prompt in frame.prompt]


def rater_texts(raters: RatersSettings, people: prepare.Roster) -> dict[str, str]:
    """ID -> text prefix of everybody under encoding `text`; nothing under another."""
    if raters.encoding != "text":
        return {}
    return {r: rater_text(raters.text_template, r) for r in people.known + people.validate}


def check_population(people: prepare.Roster) -> None:
    """Raise UserError where there are too few raters to fit a population to."""
    if len(people.known) < 2:
        raise UserError(
            f"{len(people.known)} labelled rater(s) to train on beside {len(people.validate)} kept for validation; a population needs at "
            "least two: add raters, or keep none with data.validate_share=0"
        )


def pool_without_vectors(raters: RatersSettings, people: prepare.Roster) -> RaterPool:
    """The known raters, their personas and groups: all there is where IDs are text or unread, and before vectors are learned."""
    idiosyncratic_dim = raters.idiosyncratic_dim if raters.encoding == "embedding" else 0
    vectors = np.zeros((len(people.known), 0), np.float32)
    return RaterPool(people.known, vectors, idiosyncratic_dim, raters.encoding, people.personas, people.groups, {}, raters.text_template)


def watch(
    settings: MonitorSettings | None, asked: RaterPolicy, prompts: list[Prompt], world: str | None, folder: Path, seed: int, steps: int,
    measure: Measure | None = None, trained: bool = True,
) -> Monitor | None:  # fmt: skip
    """What watches a stage of so many `steps` for mode collapse; None without section `monitor`. `world` is the name of a simulated one."""
    if settings is None:
        return None
    known = load_world(world) if world else None
    chosen = choose_prompts(asked.renderer.different(prompts), settings.prompts, seed, known)
    return Monitor(Watched(asked, chosen, known, measure, trained), settings, folder, seed, steps)
