"""`compare` of a chat model of the hub's size on conversations, beside TRL, by the recipe `chat-lora`: a trial of three steps a stage."""

import json
import time
from pathlib import Path

import pytest
from chat_data import ASKED, RATERS, write_conversations
from small_run import succeeds

from raterhf.log import log

pytestmark = pytest.mark.slow
RECIPE = Path(__file__).parents[1] / "recipes" / "chat-lora.yaml"
TRIAL = [
    "reward.steps=3", "sft.steps=3", "policy.steps=3", "policy.max_new_tokens=32", "vanilla.sft.max_steps=3", "vanilla.reward.max_steps=3",
    "vanilla.rl.max_steps=3", "vanilla.rl.max_completion_length=32",
]  # fmt: skip


def test_a_trial_of_three_steps_a_stage(smollm2, tmp_path):
    """What the first look at a chat model takes: minutes on two idle cores, which are printed."""
    said = write_conversations(tmp_path / "said.jsonl")
    begun = time.perf_counter()
    succeeds("compare", RECIPE, *TRIAL, f"data.comparisons={said}", f"model.path={smollm2}", f"runs={tmp_path}")
    log.info(f"compare took {(time.perf_counter() - begun) / 60:.1f} minutes")
    found = json.loads((tmp_path / "chat-lora" / "compare" / "metrics.json").read_text())
    assert set(found["policies"]) == {"base", "sft_no_ids", "vanilla", "rater_new"}
    assert {row["raters"] for row in found["prompts"].values()} == {RATERS} and len(found["prompts"]) == len(ASKED)
    assert all(found["policies"][name]["nats"] < 8 for name in ("base", "vanilla", "rater_new"))  # language, not any tokens
    assert not any(probe["holes"] for probe in found["probes"].values())
    assert {row["updates"] for row in found["trainings"].values()} == {3}
