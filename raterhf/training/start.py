"""What every stage begins with: a language model and its tokenizer, the texts of the data, the raters and their text prefixes."""

import numpy as np

from raterhf.data.comparisons import Labels
from raterhf.models import backbone, checkpoint
from raterhf.raters.pool import RaterPool
from raterhf.recipe import Recipe
from raterhf.training import prepare


def start_model(recipe: Recipe, texts: list[str]):
    """The language model a stage starts from, and its tokenizer: the base stage's, a pretrained one, or one from scratch."""
    if recipe.base:
        policy, tokenizer, _ = checkpoint.load_policy(recipe.folder / "base")
        return policy.lm, tokenizer
    if recipe.model.path:
        return backbone.load_pretrained(recipe.model.path)
    tokenizer = backbone.train_tokenizer(texts, recipe.model.vocab_size)
    return backbone.build_model(recipe.model.config, tokenizer, recipe.model.max_length, recipe.seed), tokenizer


def all_texts(labels: Labels) -> list[str]:
    frames = (labels.comparisons, labels.demonstrations)
    columns = [frame[c] for frame in frames for c in ("prompt", "a", "b", "completion") if c in frame]
    return sorted({str(text) for column in columns for text in column})


def all_prompts(labels: Labels) -> list[str | list[dict]]:
    """Every prompt that raters answered or judged answers to, as often as they did."""
    return [prompt for frame in (labels.comparisons, labels.demonstrations) for prompt in frame.prompt]


def rater_texts(recipe: Recipe, people: prepare.People) -> dict[str, str]:
    if recipe.raters.encoding != "text":
        return {}
    return {r: recipe.raters.text_template.format(r) for r in people.known + people.validate}


def pool_without_vectors(recipe: Recipe, people: prepare.People) -> RaterPool:
    """The known raters, their personas and groups: all there is where IDs are text or unread, and before vectors are learned."""
    raters = recipe.raters
    own_dim = raters.own_dim if raters.encoding == "embedding" else 0
    vectors = np.zeros((len(people.known), 0), np.float32)
    return RaterPool(people.known, vectors, own_dim, raters.encoding, people.personas, people.groups, {}, raters.text_template)
