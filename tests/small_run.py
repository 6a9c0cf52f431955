"""A run folder of untrained models, and the command line on it, for the tests of the verbs."""

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from raterhf.cli.main import app
from raterhf.models.checkpoint import save_policy, save_reward
from raterhf.models.idiosyncratic import make_idiosyncratic
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.policy import Policy
from raterhf.models.reward import RewardModel
from raterhf.raters.pool import RaterPool
from raterhf.raters.population import Population

CONFIG = {
    "model_type": "qwen3", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True,
}  # fmt: skip

RECIPE = """\
name: tiny
data: {comparisons: comparisons.csv, demonstrations: demonstrations.csv}
model: {max_length: 48}
reward: {steps: 1, lr: 1.0e-3}
sft: {steps: 1, lr: 1.0e-3}
policy: {steps: 1, lr: 1.0e-3, max_new_tokens: 6}
"""


def invoke(*args: object):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def succeeds(*args: object) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(*args: object, says: str | tuple[str, ...]) -> str:
    """A mistake: exit code 2, nothing on stdout, one message on stderr."""
    result = invoke(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    for part in [says] if isinstance(says, str) else says:
        assert part in result.stderr, f"{part!r} is not in {result.stderr}"
    return result.stderr


def rows_of(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def one_gaussian(mean: float) -> Population:
    return Population(np.ones(1), np.full((1, 2), mean), np.eye(2)[None])


def save_run(root: Path, encoding: str) -> Path:
    """A run folder of untrained models: raters ann (north), bob and cy (south), persona sailor."""
    soft = encoding == "embedding"
    dim, idiosyncratic_dim = (2, 2) if soft else (0, 0)
    tokenizer = train_tokenizer(["Roll a die. 1 2 3 4 5 6"], 300)
    populations = {"": one_gaussian(0.0), "group:south": one_gaussian(1.0), "persona:sailor": one_gaussian(-1.0)} if soft else {}
    vectors = np.random.default_rng(0).standard_normal((3, dim)).astype(np.float32)
    groups = {"ann": "north", "bob": "south", "cy": "south"}
    pool = RaterPool(["ann", "bob", "cy"], vectors, idiosyncratic_dim, encoding, {"sailor": ["ann", "bob"]}, groups, populations)
    for seed, stage in enumerate(("sft", "policy")):
        lm = build_model(CONFIG, tokenizer, 48, seed)
        save_policy(root / stage, Policy(lm, dim, 2, make_idiosyncratic(idiosyncratic_dim, lm, tokenizer)), tokenizer, pool, 48, {})
    lm = build_model(CONFIG, tokenizer, 48, 2)
    model = RewardModel(lm.get_decoder(), dim, 2, "head", make_idiosyncratic(idiosyncratic_dim, lm, tokenizer))
    save_reward(root / "reward", model, lm, tokenizer, pool, 48, {"report": {"tie_width": 0.1, "label_noise": 0.02}})
    save_policy(root / "base", Policy(build_model(CONFIG, tokenizer, 48, 3), 0, 0), tokenizer, None, 48, {})
    (root / "policy" / "recipe.resolved.yaml").write_text(RECIPE)
    return root
