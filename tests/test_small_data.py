"""Any few rows of any kind train, or are refused before anything is trained: a property over random small data sets."""

import json
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from small_run import CONFIG

from raterhf.errors import UserError
from raterhf.evaluation.compare.run import compare
from raterhf.models.checkpoint import load_policy, load_pool, load_reward
from raterhf.recipe_reader import parse_recipe
from raterhf.training import pipeline
from raterhf.training.persistence import fit_persistence

pytestmark = pytest.mark.usefixtures("one_thread")

RATERS, ANSWERS, PROMPTS = ("a", "b", "c"), ("1", "2", "3"), ("A die?", "A number?")
FEW = st.integers(0, 2)
ROW = st.tuples(st.sampled_from(PROMPTS), st.sampled_from(RATERS), st.permutations(ANSWERS), st.sampled_from([1, -1, 0]))
ROWS = st.lists(st.tuples(ROW, st.integers(1, 2)), max_size=4)  # each once or twice, so that comparisons repeat


def write_data(folder: Path, compared, rated, said, corpus: int) -> dict:
    """Files of the rows; `compared`, `rated` and `said` hold rows with the times each stands there."""
    kinds: dict[str, list[dict]] = {"comparisons": [], "ratings": [], "demonstrations": [], "base": []}
    for (prompt, rater, (a, b, _), label), times in compared:
        kinds["comparisons"] += [{"prompt": prompt, "a": a, "b": b, "label": label, "rater_id": rater}] * times
    for (prompt, rater, (a, b, _), label), times in rated:
        rows = [{"prompt": prompt, "response": answer, "rating": rating, "rater_id": rater} for answer, rating in ((a, label), (b, 0))]
        kinds["ratings"] += rows * times
    for (prompt, rater, (a, _, _), _), times in said:
        kinds["demonstrations"] += [{"prompt": prompt, "completion": a, "rater_id": rater}] * times
    kinds["base"] = [{"prompt": PROMPTS[i % 2], "completion": ANSWERS[i]} for i in range(corpus)]
    paths = {}
    for kind, rows in kinds.items():
        if rows:
            paths[kind] = str(folder / f"{kind}.jsonl")
            Path(paths[kind]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


def recipe_of(folder: Path, paths: dict, **changes):
    one = {"steps": 2, "batch_size": 4, "lr": 1e-3}
    raw = {
        "name": "few", "runs": str(folder / "runs"), "data": paths,
        "model": {"config": CONFIG, "vocab_size": 300, "max_length": 32},
        "raters": {"dim": 2, "idiosyncratic_dim": 2, "tokens": 1, "components": [1, 2], "scales": [1.0]},
        "base": one if "base" in paths else None, "reward": one, "sft": one,
        "policy": one | {"prompts": 2, "raters": 2, "samples": 2, "max_new_tokens": 3, "options": {"choices": 1}},
    }  # fmt: skip
    for key, value in changes.items():
        raw[key] = raw[key] | value if isinstance(value, dict) else value
    return parse_recipe(raw, "few.yaml")


SETS = st.tuples(
    ROWS, ROWS, ROWS, FEW, st.sampled_from([0, 0.3]), st.sampled_from([0, 0.3, 0.9]), st.sampled_from(["demonstrations", "chosen"]),
    st.sampled_from(["embedding", "text", "none"]),
)  # fmt: skip
BOUNDS = settings(
    derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)  # fmt: skip


def trains_or_is_refused(compared, rated, said, corpus, validate_share, held_out, source, encoding) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = write_data(folder, compared, rated, said, corpus)
        try:
            recipe = recipe_of(
                folder,
                paths | {"validate_share": validate_share, "held_out": held_out},
                sft={"source": source},
                raters={"encoding": encoding},
            )
            pipeline.train(recipe)
        except UserError as error:
            assert not list(folder.glob("runs/few/*/started.json")), f"refused after training began: {error}"
            return
        reward, _, _ = load_reward(recipe.folder / "reward")  # raises where a weight is no number
        policy, _, _ = load_policy(recipe.folder / "policy")
        assert all(tensor.isfinite().all() for model in (reward, policy) for tensor in model.state_dict().values())
        if encoding == "embedding":
            assert len(load_pool(recipe.folder / "policy").resolve("new", 3, 0)) == 3


ONE_REPEAT = [((PROMPTS[0], rater, ("1", "2", "3"), 1), times) for rater, times in (("a", 1), ("b", 2))]


@settings(BOUNDS, max_examples=10)
@given(SETS)
@example((ONE_REPEAT, [], ONE_REPEAT, 0, 0, 0, "demonstrations", "embedding"))
def test_few_rows_train_or_are_refused_first(drawn):
    trains_or_is_refused(*drawn)


@pytest.mark.slow
@settings(BOUNDS, max_examples=150)
@given(SETS)
def test_many_small_data_sets_train_or_are_refused_first(drawn):
    trains_or_is_refused(*drawn)


def test_one_repeated_comparison_tells_what_persists():
    """Without features' spread the share is the constant: more where the same was said twice than where the opposite was."""
    features = torch.randn(1, 5, generator=torch.Generator().manual_seed(0))
    shares = []
    for agree in (True, False):
        weights = fit_persistence(features, torch.tensor([agree]), torch.zeros(1), torch.tensor(0.05))
        assert weights.isfinite().all()
        shares.append(float(torch.sigmoid(features[0] @ weights[:-1] + weights[-1])))
    assert shares[0] > 0.9 and shares[1] < 0.1


def test_compare_without_held_out_rows_or_validation_raters(tmp_path):
    rows = [((("A die?"), r, order, 1), 2) for r, order in (("a", ("1", "2", "3")), ("b", ("2", "3", "1")), ("c", ("3", "1", "2")))]
    paths = write_data(tmp_path, rows, [], rows, 0) | {"validate_share": 0, "held_out": 0}
    page = compare(recipe_of(tmp_path, paths), ["base", "sft"], 1)
    found = json.loads((page.parent / "metrics.json").read_text())["reward_models"]
    assert {(name, row["pairs"], row["accuracy"]) for name, row in found.items()} == {(name, 0, None) for name in ("rater", "null")}
    assert found["null"]["heldout_accuracy"] is None
