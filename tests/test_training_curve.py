"""The curve of a TRL training, from its own samples and its log."""

import numpy as np
import pandas as pd
import pytest

from raterhf.evaluation.trl_baseline import LOOKS, Rollouts
from raterhf.worlds.world import load_world


def test_windows_of_samples_and_of_the_log():
    world = load_world("dice")
    coin = next(q for q in world.questions if q.key == "coin")
    rollouts = Rollouts(world)
    for step in range(0, 160, 4):  # forty rounds of samples, each for four updates: the first half says both sides, then one
        texts = [coin.texts[0], coin.texts[0 if step >= 80 else int(np.flatnonzero(coin.class_of == 1)[0])]] * 4
        rollouts.add(step, [coin.prompts[0]] * 8, texts)
    steps = np.arange(1, 161)
    log = pd.DataFrame({"step": steps, "reward": steps / 10, "kl_completion": np.where(steps % 4 == 1, steps, np.nan), "entropy": 0.5})
    rows = rollouts.curve(log.assign(**{"completions/mean_length": 3.0}))
    assert len(rows) == LOOKS and rows[0]["step"] == 4.5 and rows[-1]["step"] == 156.5
    assert rows[0]["kl"] == 3 and rows[0]["reward"] == pytest.approx(0.45) and rows[0]["entropy"] == 1.5
    assert [row["top_share"] for row in rows] == [0.5] * 10 + [1] * 10
    assert rows[0]["gold"] == world.gold(coin.prompts[0], coin.texts[0]) and rows[-1]["diversity"] == 1
    assert np.isnan(rollouts.curve(log.drop(columns="kl_completion").assign(**{"completions/mean_length": 3.0}))[0]["kl"])
