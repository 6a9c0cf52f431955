"""What every stage begins with: a language model and its tokenizer, the texts of the data, the raters and their text prefixes, and what
watches it.
"""

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
from raterhf.models.policy import make_policy
from raterhf.raters.pool import RaterPool
from raterhf.recipe import ModelSettings, MonitorSettings, RatersSettings, Recipe, rater_text
from raterhf.training.monitor import Measure, Monitor, Watched, choose_prompts
from raterhf.training.training_curve import Prompt
from raterhf.worlds.world import load_world


def start_model(recipe: Recipe, texts: list[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The language model a stage starts from, and its tokenizer: the base stage's, a pretrained one, or one from scratch."""
    if recipe.base:
        policy, tokenizer, _ = checkpoint.load_policy(recipe.start)
        return policy.lm, tokenizer
    return new_model(recipe.model, texts, recipe.seed, recipe.soft_tokens, recipe.room)


def new_tokenizer(settings: ModelSettings, texts: list[str]) -> PreTrainedTokenizerBase:
    """A pretrained model's tokenizer or one trained on the texts, told how prompts are put."""
    tokenizer = load.load_tokenizer(settings.path) if settings.path else load.train_tokenizer(texts, settings.vocab_size)
    set_chat(tokenizer, settings.chat, settings.system)
    return tokenizer


def new_model(
    settings: ModelSettings, texts: list[str], seed: int, soft: int, room: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:  # fmt: skip
    """A pretrained language model or one from scratch, with `room` beside its longest example, and its tokenizer.

    Raises UserError where the longest example and a rater's `soft` tokens do not fit it.
    """
    tokenizer = new_tokenizer(settings, texts)
    if settings.path:
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
    return lm, tokenizer


def save_start(recipe: Recipe, labels: Labels) -> None:
    """Without a stage `base`, write what the stages start from as a plain model, as others than ours read it too; anew each time."""
    if not recipe.base:
        lm, tokenizer = start_model(recipe, all_texts(labels))
        checkpoint.save_policy(recipe.start, make_policy(lm, tokenizer), tokenizer, None, recipe.model.max_length, {})


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
