"""A small pretrained model in a folder, labels of eight raters, and a recipe that trains adapters on the one with the other."""

from pathlib import Path

import torch

from raterhf.models.load import build_model, train_tokenizer
from raterhf.recipe import Recipe
from raterhf.recipe_reader import parse_recipe

SHAPE = {
    "model_type": "qwen3", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True,
}  # fmt: skip
PROMPTS = ["Toss a coin.", "Name a day."]
ANSWERS = {"Toss a coin.": ["heads", "tails"], "Name a day.": ["Monday", "Friday"]}


def write_pretrained(folder: Path, seed: int = 0) -> Path:
    tokenizer = train_tokenizer([*PROMPTS, *(text for texts in ANSWERS.values() for text in texts)] * 3, 300)
    lm = build_model(SHAPE, tokenizer, 64, seed)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.mul_(3)  # so that adapters have something to change
    for part in (lm, tokenizer):
        part.save_pretrained(folder)
    return folder


def write_labels(folder: Path) -> dict[str, str]:
    """Every other rater likes the first answer; each compares both answers to either prompt four times, and says what it likes."""
    comparisons, demonstrations = ["prompt,chosen,rejected,rater_id"], ["prompt,completion,rater_id"]
    for i in range(8):
        for prompt, (first, second) in ANSWERS.items():
            liked, other = (first, second) if i % 2 else (second, first)
            comparisons += [f"{prompt},{liked},{other},r{i}"] * 4
            demonstrations.append(f"{prompt},{liked},r{i}")
    for name, rows in (("comparisons", comparisons), ("demonstrations", demonstrations)):
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    return {name: str(folder / f"{name}.csv") for name in ("comparisons", "demonstrations")}


def make_recipe(folder: Path, **changes: object) -> Recipe:
    """The recipe of a folder that holds `write_pretrained`'s `base` and `write_labels`'s files; `changes` by section."""
    raw: dict = {
        "name": "run", "runs": str(folder),
        "data": {"comparisons": str(folder / "comparisons.csv"), "demonstrations": str(folder / "demonstrations.csv"),
                 "validate_share": 0.0},
        "model": {"path": str(folder / "base"), "max_length": 32, "train": "lora", "lora": {"r": 4, "alpha": 8}},
        "raters": {"dim": 2, "idiosyncratic_dim": 4, "tokens": 2, "components": [1], "scales": [1.0]},
        "reward": {"steps": 4, "batch_size": 8, "lr": 1e-2, "save_every": 2, "off_topic": 4, "demonstrations": 8},
        "sft": {"steps": 4, "batch_size": 4, "lr": 1e-2, "save_every": 2},
        "policy": {"steps": 4, "batch_size": 8, "lr": 1e-2, "save_every": 2, "prompts": 2, "raters": 4, "samples": 4,
                   "options": {"choices": 2}, "max_new_tokens": 6},
    }  # fmt: skip
    for section, values in changes.items():
        raw[section] = raw[section] | values if isinstance(values, dict) and section in raw else values
    return parse_recipe(raw, "the test")
