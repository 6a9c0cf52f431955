"""Texts that people rated: what is told, to whom, and what they really think of it."""

import json

import numpy as np
import pandas as pd
import pytest
from small_run import CONFIG

from raterhf.errors import UserError
from raterhf.evaluation.compare.rated import read_rated
from raterhf.evaluation.compare.run import compare
from raterhf.evaluation.metrics import intervals, told
from raterhf.recipe import Recipe
from raterhf.recipe_reader import parse_recipe

ITEMS = ["A cat sat on the mat, and stayed.", "A cat sat on the mat, and left.", "A dog ran by."]


def test_a_text_is_the_item_whose_first_words_it_has():
    texts = ["a CAT sat on the mat and left", "A dog ran by.", "A cat sat on the mat and stayed for ever", "An eel swam.", ""]
    item, whole = told.recognise(texts, ITEMS)
    # Eight words tell the two cats apart; the dog is shorter, and is told to its end.
    assert item.tolist() == [1, 2, 0, -1, -1]
    assert whole.tolist() == [True, True, False, False, False]


def test_a_text_that_goes_on_otherwise_is_the_item_but_not_whole():
    items = ["one two three four five six seven eight", "a b c d e f g h"]
    item, whole = told.recognise(["One two three four five six, and nine"], items)
    assert (item.tolist(), whole.tolist()) == ([0], [False])


def test_the_first_words_that_tell_items_apart():
    assert told.words_needed(ITEMS) == 8
    assert told.words_needed(["one two three.", "One, two, three!"]) == 3  # the same in all words
    assert told.opening("A cat, a dog; an eel.", 4) == "A cat, a dog"
    assert told.opening("A cat.", 4) == "A cat."


def test_favourites_are_what_a_person_rated_highest_and_equal_ones_share():
    nan = np.nan
    ratings = np.array([[1, 3, 3], [nan, -2, -5], [nan, nan, nan]])
    assert told.favourites(ratings).tolist() == [[0, 0.5, 0.5], [0, 1, 0], [0, 0, 0]]


def test_the_effective_number_and_the_mass_of_the_most_frequent():
    assert told.effective(np.array([5, 5, 5, 5, 0])) == pytest.approx(4)
    assert np.isnan(told.effective(np.zeros(3)))
    assert told.top_mass(np.array([1, 6, 3]), top=2) == pytest.approx(0.9)


def test_each_is_graded_by_their_own_rating_and_everybodys_by_all_of_them():
    nan = np.nan
    ratings = np.array([[4.0, nan, -2.0], [nan, 1.0, 5.0]])
    item, person = np.array([0, 2, 1, 0, -1]), np.array([0, 0, 1, 1, 1])
    total, number = told.own_ratings(item, person, ratings)  # person 1 did not rate item 0
    assert (total.tolist(), number.tolist()) == ([2.0, 1.0], [2.0, 1.0])
    total, number = told.own_ratings(np.array([0, 2]), np.array([-1, 1]), ratings)  # the first to somebody who rated other prompts alone
    assert (total.tolist(), number.tolist()) == ([0.0, 5.0], [0.0, 1.0])
    total, number = told.everybodys_ratings(item, ratings)  # items 0 twice, 1 and 2 once
    assert (total.tolist(), number.tolist()) == ([2 * 4 - 2, 1 + 5], [3, 2])


def test_a_mean_has_an_interval_over_people():
    total, number = np.array([10.0, 0.0] * 50), np.array([2.0, 2.0] * 50)
    mean, low, high = intervals.mean_over_people(total, number, np.random.default_rng(0))
    assert mean == 2.5
    assert 1.9 < low < 2.5 < high < 3.1
    assert np.isnan(intervals.mean_over_people(np.zeros(3), np.zeros(3), np.random.default_rng(0))).all()


def write_ratings(folder, splits=("train", "test", "unseen_support", "unseen_query")) -> str:
    """Two camps, who like the first or the last of six texts; unseen people are half of each camp's."""
    rng = np.random.default_rng(0)
    rows = []
    for r in range(24):
        for i in range(6):
            seen = ["test" if i == r // 2 % 6 else "train", "unseen_query" if i % 2 else "unseen_support"][r >= 16]
            liked = 5 - i if r % 2 else i
            rows.append((f"r{r}", f"Joke {i} is about {'abcdef'[i]}.", liked + rng.normal() / 4, seen))
    frame = pd.DataFrame(rows, columns=["rater_id", "text", "rating", "split"])
    frame[frame.split.isin(splits)].to_parquet(folder / "ratings.parquet")
    return str(folder / "ratings.parquet")


def recipe_for(folder, **changes) -> Recipe:
    trl = {"learning_rate": 1e-3, "per_device_train_batch_size": 8, "max_steps": 2}
    one = {"steps": 2, "batch_size": 8, "lr": 1e-3}
    raw = {
        "name": "rated", "runs": str(folder / "runs"),
        "data": {"ratings": write_ratings(folder), "columns": {"prompt": "Tell me.", "response": "text"}, "split": "train"},
        "model": {"config": CONFIG, "vocab_size": 300, "max_length": 48},
        "raters": {"dim": 2, "idiosyncratic_dim": 0, "tokens": 2, "components": [1]},
        "reward": one, "sft": one | {"source": "chosen"},
        "policy": one | {"algorithm": "favourites", "prompts": 1, "raters": 4, "max_new_tokens": 6,
                         "options": {"choices": 2, "opening": 3}},
        "vanilla": {"sft": trl | {"max_length": 48}, "reward": trl | {"max_length": 48},
                    "rl": trl | {"num_generations": 4, "max_completion_length": 6}},
        "compare": {"controls": ["vanilla", "rater_known", "rater_new"], "draws": 10},
    }  # fmt: skip
    return parse_recipe(raw | changes, "rated.yaml")


def test_ratings_of_known_and_unseen_people_by_split(tmp_path):
    rated = read_rated(recipe_for(tmp_path))
    assert (len(rated.known), len(rated.items), rated.prompt) == (16, 6, "Tell me.")
    assert (~np.isnan(rated.kept)).sum(1).tolist() == [1] * 16
    assert (~np.isnan(rated.trained)).sum(1).tolist() == [5] * 16
    assert rated.unseen.shape == (8, 6)
    assert not np.isnan(rated.unseen).any()


def test_a_text_that_somebody_rated_twice_has_their_mean(tmp_path):
    recipe = recipe_for(tmp_path)
    rows = pd.read_parquet(tmp_path / "ratings.parquet")
    again = rows[rows.rater_id == "r20"].assign(rating=lambda twice: twice.rating + 2)
    pd.concat([rows, again]).to_parquet(tmp_path / "ratings.parquet")
    plain = rows[rows.rater_id == "r20"].set_index("text").rating
    rated = read_rated(recipe)
    assert rated.unseen[sorted(f"r{r}" for r in range(16, 24)).index("r20")] == pytest.approx(plain[rated.items].to_numpy() + 1)


@pytest.mark.parametrize("splits", [("train",), ("train", "test"), ("train", "unseen_support")])
def test_without_ratings_and_people_kept_from_training_it_is_data_of_ones_own(tmp_path, splits):
    recipe = recipe_for(tmp_path)
    assert read_rated(recipe) is not None
    write_ratings(tmp_path, splits)
    assert read_rated(recipe) is None


def test_a_comparison_of_rated_texts_from_ratings_to_the_page(tmp_path):
    recipe = recipe_for(tmp_path)
    page = compare(recipe, None, 1)
    found = json.loads((page.parent / "metrics.json").read_text())
    assert set(found["policies"]) == {"vanilla", "vanilla_sure", "rater_known", "rater_known_sure", "rater_new", "none"}
    assert all(row["draws"] == 10 for row in found["policies"].values())
    assert found["real"]["people"] == 8
    # Each camp's favourite is told apart by the factor model: better for each than the best for all.
    assert found["real"]["rating_best_for_each"] > found["real"]["rating_best_for_all"]
    assert len(found["shares"]["rater_new"]) == 7
    text = page.read_text()
    assert "8 people, on whom nothing was trained" in text
    assert text.count("<h4>") >= 8


def test_a_control_that_it_does_not_know_is_named(tmp_path):
    with pytest.raises(UserError, match="'rloo' is not one of base, "):
        compare(recipe_for(tmp_path), ["rloo"], 1)
