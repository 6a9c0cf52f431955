"""A comparison in a simulated world with rivals of each kind and their sweeps, from the trainings to the page."""

import csv
import json

import pytest
from test_training import FORWARD_KL, make_recipe
from test_training import data as data  # a fixture

from raterhf.evaluation.compare.world import compare_world

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
SIZES = {"learning_rate": 1.0e-3, "per_device_train_batch_size": 8, "max_steps": 3, "logging_steps": 1}
VANILLA = {
    "sft": SIZES | {"max_length": 128}, "reward": SIZES | {"max_length": 128},
    "rl": SIZES | {"num_generations": 4, "max_completion_length": 8},
}  # fmt: skip
RIVALS = {
    "pairs": {"vanilla": {"method": "dpo", "max_length": 128}, "sweep": {"beta": [0.1, 0.5]}},
    "best": {"policy": FORWARD_KL | {"algorithm": "feedme"}, "sweep": {"options.choices": [2, 4]}},
    "hot": {"sampled": {}, "sweep": {"temperature": [2.0, 1.5]}},
}


def test_every_rival_is_a_control_and_every_strength_a_point(data, tmp_path):
    sizes = {"draws": 30, "people": 30, "repeats": 2, "betas": [0.5], "vanilla_betas": [0.1], "rivals": RIVALS}
    recipe = make_recipe(data, tmp_path, vanilla=VANILLA, compare=sizes)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"world": "dice"})})
    page = compare_world(recipe, ["vanilla", "rater_new", *RIVALS, "sweeps"], 1)
    found = json.loads((page.parent / "metrics.json").read_text())
    assert list(found["policies"]) == ["vanilla", "rater_new", *RIVALS]
    points = [(p["method"], p["setting"], p["value"], p["with_raters"]) for p in found["frontier"]["points"]]
    assert points == [
        ("rater_new", "beta", 0.5, True), ("vanilla", "beta", 0.1, False),
        ("pairs", "beta", 0.1, False), ("pairs", "beta", 0.5, False),
        ("best", "options.choices", 2, True), ("best", "options.choices", 4, True),
        ("hot", "temperature", 2.0, False), ("hot", "temperature", 1.5, False),
    ]  # fmt: skip
    assert set(found["sweeps"]) == {"rater_new", "vanilla"}
    # The main strength is the control, asked once.
    by_name = {(p["method"], p["main"]): p for p in found["frontier"]["points"]}
    assert all(by_name[name, True]["etv"] == row["etv"] for name, row in found["policies"].items())
    assert {name: found["trainings"][name]["updates"] for name in ("pairs", "best")} == {"pairs": 3, "best": 5}
    assert "hot" not in found["trainings"]
    with (page.parent / "frontier.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(points)
    assert 'id="frontier"' in page.read_text("utf-8")
