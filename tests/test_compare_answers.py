"""People's own answers alone: is a fictitious person somebody? From a file to metrics.json and the page, and who is compared with whom."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_run import CONFIG, succeeds

from raterhf.data.prepare import read_data
from raterhf.errors import UserError
from raterhf.evaluation.compare.answers import find_people
from raterhf.evaluation.compare.run import compare
from raterhf.recipe import Recipe
from raterhf.recipe_reader import parse_recipe

THINGS = "a cat,a dog,an eel,a hen,a cow,a fox,a bat,a yak".split(",")
SAID = ("I saw {} today.", "i met {} in town", "My {} was here!")


def write_answers(folder, known: int = 60, unseen: int = 40) -> str:
    """Three moments each; half the people write a sentence, the other half neither capital nor full stop."""
    rng = np.random.default_rng(0)
    rows = []
    for r in range(known + unseen):
        prompt = ("What was nice today?", "What was nice this year?")[r % 3 == 0]
        for k in range(3):
            text = SAID[k].format(THINGS[rng.integers(len(THINGS))]) + f" {rng.integers(100)}"
            rows.append((f"r{r:03}", prompt, text.lower() if r % 2 else text + ".", "train" if r < known else "unseen"))
    frame = pd.DataFrame(rows, columns=["rater_id", "prompt", "completion", "split"])
    frame.to_parquet(folder / "answers.parquet")
    return str(folder / "answers.parquet")


def recipe_for(folder, **changes) -> Recipe:
    data = {"demonstrations": write_answers(folder), "split": "train", "validate_share": 0.35} | changes.pop("data", {})
    raw = {
        "name": "alone", "runs": str(folder / "runs"), "data": data,
        "model": {"config": CONFIG, "vocab_size": 300, "max_length": 64},
        "raters": {"dim": 4, "tokens": 2, "components": [1, 2]},
        "sft": {"steps": 2, "batch_size": 8, "lr": 1e-3, "max_new_tokens": 8}, "compare": {"people": 16},
    }  # fmt: skip
    return parse_recipe(raw | changes, "alone.yaml")


@pytest.mark.usefixtures("one_thread")
def test_from_answers_alone_to_the_page(tmp_path):
    recipe = recipe_for(tmp_path)
    page = compare(recipe, ["all"], 1)
    found = json.loads((page.parent / "metrics.json").read_text())
    assert list(found["policies"]) == [
        "population", "base", "sft_no_ids", "none", "rater_known", "rater_new", "shuffled", "text_new"
    ]  # fmt: skip
    assert found["people"] == {"compared": 16, "teachers": 18, "trained": 42}
    people = found["policies"]["population"]
    # Who writes small letters is told from who does not by either classifier, of whom half the others are.
    assert people["same_author_trees"] > 0.65 and people["same_author_logistic"] > 0.65
    assert people["exact_copies"] < 0.2 and "energy" not in people
    low, high = found["intervals"]["policies"]["population"]["same_author_trees"]
    assert low < people["same_author_trees"] < high
    assert "recognised_trees" in found["policies"]["rater_known"]
    assert list(found["trainings"]) == ["sft"]
    text = page.read_text()
    assert text.count("<h4>") == 8 * 8 and "16 people on whom nothing was trained" in text
    assert "No sentence encoder was given" in text


def test_who_is_compared_teaches_and_trains_are_different_people(tmp_path):
    recipe = recipe_for(tmp_path)
    people = find_people(recipe, read_data(recipe))
    crowds = [set(crowd.names) for crowd in (people.twins, people.others, people.teachers, people.trained)]
    assert [len(crowd) for crowd in crowds] == [16, 16, 18, 42]
    assert len(set.union(*crowds)) == sum(map(len, crowds))
    assert all(name >= "r060" for name in crowds[0] | crowds[1])
    assert np.bincount(people.twins.person).tolist() == [3] * 16
    assert set(people.prompts) == {"What was nice today?", "What was nice this year?"}


def test_without_an_unseen_split_raters_kept_for_validation_are_halved(tmp_path):
    recipe = recipe_for(tmp_path, data={"split": None, "validate_share": 0.7})
    people = find_people(recipe, read_data(recipe))
    assert len(people.twins.names) == len(people.others.names) == 16
    assert 30 < len(people.teachers.names) < 45
    with pytest.raises(UserError, match="people can be compared and .* be learned from; raise data.validate_share"):
        few = recipe_for(tmp_path, data={"split": None, "validate_share": 0.1})
        find_people(few, read_data(few))


def test_what_cannot_be_compared_is_said_before_training(tmp_path):
    with pytest.raises(UserError, match="control 'vanilla' is not one of base, sft_no_ids, none"):
        compare(recipe_for(tmp_path), ["vanilla"], 1)
    with pytest.raises(UserError, match="raters.encoding embedding and one stage, sft"):
        compare(recipe_for(tmp_path, raters={"encoding": "text"}), None, 1)


ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_recipe_on_a_real_model_and_real_people(smollm2, minilm, moments, tmp_path):
    """The smallest setting of the recipe: an encoder, two updates, a few people."""
    files = [f"data.demonstrations={moments}", f"model.path={smollm2}", f"compare.encoder={minilm}", f"runs={tmp_path}"]
    small = ["sft.steps=2", "sft.batch_size=6", "raters.components=[1,2]", "raters.dim=8", "compare.people=16", "sft.max_new_tokens=12"]
    succeeds("compare", ROOT / "recipes" / "moments.yaml", *files, *small, "--controls", "rater_new")
    found = json.loads((tmp_path / "moments" / "compare" / "metrics.json").read_text())
    people, fictitious = found["policies"]["population"], found["policies"]["rater_new"]
    assert people["same_author_trees"] > 0.65 and people["energy"] < 0.2 < 2 * fictitious["energy"]
    assert people["near_copies"] < 0.1 and fictitious["words"] <= 12


@pytest.mark.slow
def test_authors_of_real_answers_are_told_by_raters_as_unknowns(moments, tmp_path):
    """What the training knows raters by tells unseen people's answers apart as well as classifiers do."""
    out = tmp_path / "authors.json"
    command = ["bench", "authors", ROOT / "recipes" / "moments.yaml", f"data.demonstrations={moments}", "compare.encoder=", "--out", out]
    succeeds(*command)
    right = {row["by"]: row["right"] for row in json.loads(out.read_text())["rows"]}
    assert right["raters as unknowns"] > 0.77
    assert right["raters as unknowns"] > right["letters, cosine"] + 0.05
