"""`raterhf bench perplexity`: how well the models of a run still read text that has nothing to do with its ratings.

Texts are cut into windows of as many tokens. Perplexity is exp of the mean nats a token, the first of a window apart, beside that of the
model that the run began with on the same windows; intervals are a bootstrap over windows. A policy reads each window under a fresh
fictitious rater, or as nobody in particular.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from raterhf.data.example import Example
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.errors import UserError
from raterhf.evaluation.probes.load import policies_of, recipe_of
from raterhf.io import require_file
from raterhf.models.base import find_base
from raterhf.models.load import load_pretrained
from raterhf.models.place import kept_dtype, pick_device, place
from raterhf.models.policy import make_policy
from raterhf.recipe import Recipe

BOOTSTRAPS = 1000


def bench_perplexity(run: Path, files: Sequence[Path], tokens: int, most: int, seed: int) -> dict:
    """Rows {model: `perplexity`, `ratio` to the model that training began with, `low`, `high`}. At most `most` windows, by
    the seed."""
    recipe = recipe_of(run)
    policies = {} if recipe is None else policies_of(recipe, run)
    if recipe is None or not policies:
        raise UserError(f"{run} holds no policy; give a run folder of which `raterhf train` has ended a stage sft, such as runs/NAME")
    if "base" not in policies:
        policies = {"base": began_with(recipe, next(iter(policies.values())))} | policies
    windows = cut([_read(path) for path in files], policies["base"], tokens, most, seed)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x70706C]))
    draws = rng.integers(len(windows), size=(BOOTSTRAPS, len(windows)))
    rows, first = {}, None
    for name, policy in policies.items():
        nats = -policy.log_probs(windows, policy.raters(len(windows), seed)) / (tokens - 1)
        first = nats if first is None else first
        more = np.exp((nats - first)[draws].mean(1))
        rows[name] = {
            "perplexity": math.exp(nats.mean()), "ratio": math.exp((nats - first).mean()),
            "low": float(np.quantile(more, 0.025)), "high": float(np.quantile(more, 0.975)),
        }  # fmt: skip
    return {"run": str(run), "seed": seed, "windows": len(windows), "tokens": tokens, "rows": rows}


def began_with(recipe: Recipe, other: RaterPolicy) -> RaterPolicy:
    """The pretrained model of a recipe, read as its policies are."""
    assert recipe.model.path is not None  # of a model from scratch the stage base is there
    device = pick_device()
    if recipe.model.train == "all":
        lm, base = load_pretrained(recipe.model.path)[0], None
    else:
        base = find_base(recipe.model.path, device, kept_dtype(recipe.model, device.type), four_bit=recipe.model.load == "4bit")
        lm = base.model()
    policy = place(make_policy(lm, other.renderer.tokenizer, base=base).eval(), device)
    return RaterPolicy("base", policy, other.renderer, None, "none", other.max_new_tokens)


def cut(texts: Sequence[str], policy: RaterPolicy, tokens: int, most: int, seed: int) -> list[Example]:
    """Windows of `tokens` tokens, the first of each given; what is left at the end of a text is left out."""
    tokenizer, found = policy.renderer.tokenizer, []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        found += [Example(tuple(ids[i : i + tokens]), 1) for i in range(0, len(ids) - tokens + 1, tokens)]
    if len(found) < 2:
        raise UserError(f"the files have {len(found)} windows of {tokens} tokens, and two are needed; give more text, or lower --tokens")
    chosen = np.random.default_rng(seed).permutation(len(found))[:most]
    return [found[i] for i in sorted(chosen)]


def _read(path: Path) -> str:
    require_file(path, "text")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8 ({error}); give plain text") from error
