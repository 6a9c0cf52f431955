"""What every stage begins with: a language model and its tokenizer, the texts of the data, the raters and their text prefixes, and what
watches it.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from raterhf.data import prepare
from raterhf.data.labels import Labels
from raterhf.data.renderer import Renderer, set_chat
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.models import backbone, checkpoint, load
from raterhf.models.policy import Policy
from raterhf.raters.pool import RaterPool
from raterhf.recipe import Recipe
from raterhf.training.monitor import Measure, Monitor, Watched, choose_prompts
from raterhf.training.training_curve import Prompt
from raterhf.worlds.world import load_world

LONGEST = 40  # tokens that a watched model without a stage `policy` says


def start_model(recipe: Recipe, texts: list[str]):
    """The language model a stage starts from, and its tokenizer: the base stage's, a pretrained one, or one from scratch."""
    if recipe.base:
        policy, tokenizer, _ = checkpoint.load_policy(recipe.folder / "base")
        return policy.lm, tokenizer
    return new_model(recipe, texts)


def new_tokenizer(recipe: Recipe, texts: list[str]) -> PreTrainedTokenizerBase:
    """A pretrained model's tokenizer or one trained on the texts, told how prompts are put."""
    path = recipe.model.path
    tokenizer = load.load_tokenizer(path) if path else load.train_tokenizer(texts, recipe.model.vocab_size)
    set_chat(tokenizer, recipe.model.chat, recipe.model.system)
    return tokenizer


def new_model(recipe: Recipe, texts: list[str]):
    """A pretrained language model or one from scratch, and its tokenizer. Raises UserError where the longest examples do not fit it."""
    tokenizer = new_tokenizer(recipe, texts)
    if recipe.model.path:
        lm, _ = load.load_pretrained(recipe.model.path)
    else:
        # A prompt as long as an example may be leaves room for its rater and an answer.
        room = max(64, recipe.raters.tokens + (recipe.policy.max_new_tokens if recipe.policy else 0))
        lm = load.build_model(recipe.model.config, tokenizer, recipe.model.max_length, recipe.seed, room)
    reads = recipe.sft or recipe.policy or recipe.reward and recipe.reward.conditioning != "head"
    soft = recipe.raters.tokens if recipe.raters.encoding == "embedding" and reads else 0
    window = backbone.window_of(lm)
    if recipe.model.max_length + soft > window:
        beside = f" and a rater's {soft} tokens (raters.tokens)" if soft else ""
        raise UserError(
            f"model.max_length {recipe.model.max_length}{beside} are more than the {window} positions of the model; set "
            f"model.max_length to {window - soft} at most"
        )
    return lm, tokenizer


def start_folder(recipe: Recipe) -> Path:
    """The folder of the model that every training of a comparison starts from: the base stage's, or what `save_start` writes."""
    return recipe.folder / "base" if recipe.base else recipe.folder / "start"


def save_start(recipe: Recipe, labels: Labels) -> None:
    """Without a stage `base`, write what the stages start from as a plain model, as others than ours read it too; anew each time."""
    if not recipe.base:
        lm, tokenizer = start_model(recipe, all_texts(labels))
        checkpoint.save_policy(start_folder(recipe), Policy(lm, 0, 0), tokenizer, None, recipe.model.max_length, {})


def all_texts(labels: Labels) -> list[str]:
    frames = (labels.comparisons, labels.demonstrations)
    columns = [frame[c] for frame in frames for c in ("prompt", "a", "b", "completion") if c in frame]
    return sorted({str(text) for column in columns for text in column})


def corpus_texts(recipe: Recipe, rows: pd.DataFrame) -> list[str]:
    """What a tokenizer learns from the base corpus, and how raters are named."""
    prompts = [prompt for prompt in rows.prompt if isinstance(prompt, str)]
    return prompts + list(rows.completion) + [recipe.raters.text_template.format("0123456789")]


def all_prompts(labels: Labels) -> list[str | list[dict]]:
    """Every prompt that raters answered or judged answers to, as often as they did."""
    return [prompt for frame in (labels.comparisons, labels.demonstrations) for prompt in frame.prompt]


def rater_texts(recipe: Recipe, people: prepare.Roster) -> dict[str, str]:
    if recipe.raters.encoding != "text":
        return {}
    return {r: recipe.raters.text_template.format(r) for r in people.known + people.validate}


def pool_without_vectors(recipe: Recipe, people: prepare.Roster) -> RaterPool:
    """The known raters, their personas and groups: all there is where IDs are text or unread, and before vectors are learned."""
    raters = recipe.raters
    idiosyncratic_dim = raters.idiosyncratic_dim if raters.encoding == "embedding" else 0
    vectors = np.zeros((len(people.known), 0), np.float32)
    return RaterPool(people.known, vectors, idiosyncratic_dim, raters.encoding, people.personas, people.groups, {}, raters.text_template)


def watch(
    recipe: Recipe, folder: Path, steps: int, policy: Policy, renderer: Renderer, pool: RaterPool | None, prompts: list[Prompt],
    measure: Measure | None = None, trained: bool = True,
) -> Monitor | None:  # fmt: skip
    """What watches a stage for mode collapse as the recipe says; None without `monitor`. `pool` None: nobody in particular answers."""
    if recipe.monitor is None:
        return None
    world = load_world(recipe.data.world) if recipe.data.world else None
    chosen = choose_prompts(renderer.different(prompts), recipe.monitor.prompts, recipe.seed, world)
    limits = (recipe.policy.max_new_tokens, recipe.policy.min_p) if recipe.policy else (LONGEST, 0.0)
    asked = RaterPolicy(folder.name, policy, renderer, pool, "none" if pool is None else "new", *limits)
    return Monitor(Watched(asked, chosen, world, measure, trained), recipe.monitor, folder, recipe.seed, steps)
