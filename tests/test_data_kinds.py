"""Data as people really have it: read right, or refused with the remedy. tests/cases hold rows in the shape of real tools and data sets."""

import json
import unicodedata
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from label_files import PAIR, fails, pairs
from small_run import invoke

from raterhf.data.labels import read_labels, read_recipe
from raterhf.data.numbers import read_numbers
from raterhf.data.prepare import grades
from raterhf.errors import UserError
from raterhf.recipe_reader import load_recipe, parse_recipe

CASES = Path(__file__).parent / "cases"
DICE = Path(__file__).parents[1] / "recipes" / "dice.yaml"


def two(values: list, **more) -> list[dict]:
    """A row of a, b and a label for each value, by two raters in turn."""
    return [{"prompt": "p", "a": "x", "b": "y", "label": v, "rater_id": f"r{i % 2}"} | more for i, v in enumerate(values)]


def noticed(labels, *words: str) -> str:
    """The one notice that has all the words."""
    found = [sentence for sentence in labels.counts["notices"] if all(word in sentence for word in words)]
    assert len(found) == 1, (words, labels.counts["notices"])
    return found[0]


# What labels mean


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_map_says_what_labels_mean(write, suffix):
    data = write(f"c.{suffix}", two(["left", "Right ", "tie", "skip me", "RIGHT"]))
    labels = read_labels(data, labels={"left": "a", "right": "b", "tie": "tie", "skip me": "skip"})
    assert labels.comparisons["label"].tolist() == [1, -1, 0, -1]
    counts = labels.counts["comparisons"]
    assert (counts["read"], counts["used"], counts["skipped"], counts["dropped"]) == (5, 4, 1, 0)
    assert counts["labels_read"][data]["right"] == {"means": "b", "rows": 2}
    fails("label is none of the values in data.labels", "row 3", comparisons=data, labels={"left": "a", "right": "b", "skip me": "b"})
    fails("'up' means 'c'", "one of a, b, tie, both good", comparisons=data, labels={"up": "c"})


@pytest.mark.parametrize(
    ("preset", "values", "read"),
    [
        ("left-right", ["left", "right", "tie"], [1, -1, 0]),
        ("one-two", [1, 2, 2], [1, -1, -1]),
        ("zero-one", [1, 0, 0], [1, -1, -1]),
        ("one-zero", [1, 0, 0], [-1, 1, 1]),
        ("true-false", [True, False, "yes"], [1, -1, 1]),
        ("first-second", ["first", "second", "equal"], [1, -1, 0]),
        ("plus-first", [2, -1, 0], [1, -1, 0]),
        ("minus-first", ["-3", "2", "0"], [1, -1, 0]),
    ],
)
def test_presets(write, preset, values, read):
    labels = read_labels(write("c.jsonl", two(values)), labels=preset)
    assert labels.comparisons["label"].tolist() == read


def test_an_unknown_preset_names_them(write):
    fails("data.labels is 'sides'", "left-right", "minus-first", comparisons=write("c.jsonl", two([1, 1])), labels="sides")


def test_words_that_name_the_answers_need_no_map(write):
    words = ["a", "B", "model_a", "response b", "A-is-better", "tie", "both bad", "Tie (bothbad)", "both_good", "A is better"]
    labels = read_labels(write("c.jsonl", two(words)))
    assert labels.comparisons["label"].tolist() == [1, -1, 1, -1, 1, 0, 0, 0, 0, 1]
    assert labels.comparisons["both"].tolist() == [None] * 6 + ["bad", "bad", "good", None]
    assert (labels.counts["comparisons"]["both_good"], labels.counts["comparisons"]["both_bad"]) == (1, 2)


def test_only_zero_and_one_can_be_read_in_two_ways(write):
    for name, values in (("c.jsonl", [1, 0, 0]), ("c.csv", ["1", "0", "0"]), ("d.jsonl", [1.0, 0.0, None])):
        fails(
            "only 0 and 1", "(2 rows)" if None not in values else "(1 rows)", "data.labels={1: a, 0: b}", "{1: a, 0: tie}",
            comparisons=write(name, two(values)), max_bad=1.0,
        )  # fmt: skip
    assert read_labels(write("e.jsonl", two([1, 0])), labels={1: "a", 0: "tie"}).comparisons["label"].tolist() == [1, 0]
    assert read_labels(write("f.jsonl", two([1, 1]))).comparisons["label"].tolist() == [1, 1]
    # Of one split there may be no -1 by chance: what counts is the whole file.
    rows = [row | {"split": "test" if row["label"] == -1 else "train"} for row in two([1, 0, -1, 1])]
    assert read_labels(write("g.jsonl", rows), split="train").comparisons["label"].tolist() == [1, 0, 1]


def test_numbers_beyond_one_are_refused_however_many_bad_rows_are_allowed(write):
    graded = write("c.jsonl", two([-1, 1, 0, 1, -1, 3, -2]))
    message = fails("label is not 1", "row 6 (line 6) 3, row 7 (line 7) -2", "minus-first", comparisons=graded, max_bad=1.0)
    assert "bad row" not in message
    fails("1 is the first answer and 2 the second: data.labels=one-two", comparisons=write("d.jsonl", two([1, 2, 1])), max_bad=1.0)
    fails("data.labels={1: ?, 7: ?}", comparisons=write("e.jsonl", two([1, 7, 1])), max_bad=1.0)


def test_words_that_do_not_say_which_answer_is_a(write):
    fails("write data.labels=left-right", "left: a, right: b", comparisons=write("c.jsonl", two(["left", "right"])))
    fails("write data.labels=true-false", comparisons=write("d.jsonl", two([True, False])))
    fails("data.labels={gut: ?, schlecht: ?}", comparisons=write("e.jsonl", two(["gut", "schlecht"])))


def test_a_recipe_holds_the_map_and_gives_it_on(write):
    data = write("c.csv", two(["left", "yes", "0"]))
    alone = [f"data.{name}=" for name in ("world", "ratings", "demonstrations", "raters", "base")]
    overrides = [f"data.comparisons={data}", *alone, "base=", "sft=", "policy=", "data.labels={left: a, yes: b, 0: tie}"]
    recipe = load_recipe(DICE, overrides)
    assert read_recipe(recipe).comparisons["label"].tolist() == [1, -1, 0]
    again = parse_recipe(json.loads(json.dumps(recipe.model_dump(mode="json"))), "again")
    assert read_recipe(again).comparisons["label"].tolist() == [1, -1, 0]


def test_strength_is_kept(write):
    labels = read_labels(write("c.jsonl", two(["much", "bit", "even"])), labels={"much": "a 2", "bit": "b 1", "even": "tie"})
    assert labels.comparisons["strength"].tolist()[:2] == [2, 1] and pd.isna(labels.comparisons["strength"][2])
    assert "2 of 3 comparisons say how much better, in 2 grade(s)" in noticed(labels, "graded")
    rows = pairs({"margin": "0,5"}, {"margin": None})
    labels = read_labels(write("d.csv", rows))  # TRL's margin
    assert labels.comparisons["strength"].dropna().tolist() == [0.5]
    fails("strength is below 0", "row 3", comparisons=write("e.jsonl", pairs({"strength": -1})))
    fails("strength is not a finite number", "row 3 (line 3) 'much'", comparisons=write("f.jsonl", pairs({"strength": "much"})))
    both = two(["much", "bit"], strength=1)
    fails("leave one of them out", comparisons=write("g.jsonl", both), labels={"much": "a 2", "bit": "b 1"})


def test_strengths_that_are_all_alike_are_said_not_to_be_used(write):
    labels = read_labels(write("c.jsonl", two([1, -1], strength=3)))
    assert noticed(labels, "all strengths are 3") and "graded" not in str(labels.counts["notices"])


def test_a_rank_is_said_to_be_read_as_higher_is_better(write):
    rows = [{"prompt": "p", "response": a, "Rank": n, "rater_id": r} for r in ("r1", "r2") for a, n in (("x", 1), ("y", 2))]
    labels = read_labels(ratings=write("r.jsonl", rows), columns={"rating": "Rank"})
    assert noticed(labels, "read from Rank, and the higher is the better")


def test_strengths_become_grades_in_their_order():
    assert grades(pd.Series([2.0, np.nan, 1, 3, 1])).tolist() == [1, -1, 0, 2, 0]
    many = grades(pd.Series(np.arange(40.0)))  # more values than grades are told apart: quarters
    assert np.bincount(many).tolist() == [10, 10, 10, 10] and (np.diff(many) >= 0).all()


def test_the_competitions_votes():
    data = CASES / "kaggle.csv"
    mapped = {"a": "response_a", "b": "response_b", "label": "winner_model_a", "rater_id": "model_a"}
    fails("only 0 and 1", "winner_model_b, winner_tie", "--from arena", comparisons=data, columns=mapped, max_bad=1.0)
    fails("Nothing says who judged", "4 a, 4 b, 4 tie", "raters.encoding=none", comparisons=data)
    labels = read_labels(data, one_rater=True)
    assert labels.comparisons["label"].tolist() == [1, -1, 0] * 4
    assert labels.comparisons.loc[0, ["prompt", "a", "b"]].tolist() == [
        [{"role": "user", "content": "Q0"}], "A0\n\nUser: and then?\n\nAssistant: so", "B0\n\nUser: and then?\n\nAssistant: null",
    ]  # fmt: skip
    assert noticed(labels, "12 of 12 rows have several turns")
    assert read_labels(data, columns={"rater_id": "model_b"}, one_rater=True).raters["rater_id"].tolist() == ["llama"]


def test_arena_votes_keep_both_bad_apart():
    labels = read_labels(CASES / "arena.jsonl")
    assert labels.comparisons["label"].tolist() == [1, -1, 0, 0] * 2
    assert labels.comparisons["both"].tolist() == [None, None, None, "bad"] * 2
    assert labels.comparisons.loc[0, ["prompt", "a", "b"]].tolist() == [[{"role": "user", "content": "Q0"}], "A0", "B0"]
    assert labels.comparisons["source_a"].tolist() == ["gpt-4"] * 8
    assert labels.raters["rater_id"].tolist() == ["arena_user_0", "arena_user_1", "arena_user_2"]
    assert labels.counts["comparisons"]["both_bad"] == 2


def test_minus_is_for_the_first_response_of_helpsteer3():
    labels = read_labels(CASES / "helpsteer3.jsonl")
    assert labels.comparisons["label"].tolist() == [1, 0, -1] * 5  # -2, 0 and 1
    assert labels.comparisons["strength"].tolist()[::3] == [2.0] * 5
    assert labels.comparisons["reason"].tolist() == ["x"] * 15
    assert noticed(labels, "do not say who annotated")
    mapped = {"prompt": "context", "a": "response1", "b": "response2", "label": "overall_preference", "rater_id": "language"}
    fails("minus-first or plus-first", comparisons=CASES / "helpsteer3.jsonl", columns=mapped, max_bad=1.0)
    labels = read_labels(CASES / "helpsteer3.jsonl", columns=mapped, labels="minus-first", one_rater=True)
    assert labels.comparisons["label"].tolist() == [1, 1, 0, -1, -1]  # -3, -1, 0, 2, 3


# What belongs together


def test_ratings_are_paired_within_a_sitting():
    columns = {"prompt": "user_prompt", "response": "model_response", "rating": "score", "rater_id": "user_id"}
    labels = read_labels(ratings=CASES / "prism.jsonl", columns=columns)
    assert len(labels.comparisons) == 65  # 42 right ones and 23 that join answers to different "Tell me more"
    assert "2 times one rater rated one prompt in several sittings (interaction_id)" in noticed(labels, "data.within=interaction_id")
    labels = read_labels(ratings=CASES / "prism.jsonl", columns=columns, within="interaction_id")
    assert len(labels.comparisons) == 42 and "several sittings" not in str(labels.counts["notices"])
    fails(
        "no column interaction (our within)",
        "nearest: interaction_id",
        ratings=CASES / "prism.jsonl",
        columns=columns,
        within="interaction",
    )


def test_comparisons_beside_ratings_keep_what_each_of_them_says(write):
    rated = [
        {"prompt": "q", "response": a, "rating": n, "rater_id": r, "attribute": "kind"}
        for r in ("r1", "r2")
        for a, n in (("x", 1), ("y", 2))
    ]
    both = read_labels(write("c.jsonl", two([1, -1], strength=2)), ratings=write("r.jsonl", rated)).comparisons
    assert both[["label", "sided", "attribute"]].values.tolist() == [
        [1, True, None],
        [-1, True, None],
        [1, False, "kind"],
        [1, False, "kind"],
    ]
    assert both["strength"].isna().tolist() == [False, False, True, True] and both["label"].dtype == "int64" and both["sided"].dtype == bool
    alone = read_labels(ratings=write("r.jsonl", rated)).comparisons
    assert alone["sided"].tolist() == [False, False] and alone["label"].dtype == "int64"


def test_prism_is_read_with_its_history():
    labels = read_labels(ratings=CASES / "prism.jsonl")
    assert len(labels.comparisons) == 42
    prompts = [prompt for prompt in labels.comparisons["prompt"] if len(prompt) > 1]
    assert prompts[0] == [
        {"role": "user", "content": "Topic 0"},
        {"role": "assistant", "content": "answer 0000"},
        {"role": "user", "content": "Tell me more"},
    ]


def test_ratings_of_different_attributes_are_not_compared(write):
    told = [("x", 1, "kind"), ("y", 2, "kind"), ("x", 5, "true"), ("y", 3, "true")]
    rows = [
        {"prompt": "p", "response": a, "rating": n, "attribute": what, "rater_id": r, "reason": f"{n} it is"}
        for r in ("r1", "r2")
        for a, n, what in told
    ]
    data = write("r.jsonl", rows)
    labels = read_labels(ratings=data)
    assert labels.comparisons[["a", "b", "attribute"]].values.tolist() == [["y", "x", "kind"], ["x", "y", "true"]] * 2
    assert labels.comparisons["reason"][0] == "a: 2 it is\nb: 1 it is"
    assert noticed(labels, "2 attributes (kind, true)", "for a rater per person and attribute")
    labels = read_labels(ratings=data, columns={"rater_id": "{rater_id} / {attribute}"})
    assert labels.raters["rater_id"].tolist() == ["r1 / kind", "r1 / true", "r2 / kind", "r2 / true"]
    assert "attributes" not in str(labels.counts["notices"])


# Who is who


def test_ids_are_read_in_one_unicode_form(write):
    composed, apart = unicodedata.normalize("NFC", "José"), unicodedata.normalize("NFD", "José")
    people = write("p.jsonl", [{"rater_id": apart, "persona": "sailor"}, {"rater_id": "r2"}])
    labels = read_labels(write("c.jsonl", [PAIR | {"rater_id": r} for r in (composed, apart, "r2")]), raters=people)
    assert labels.raters[["rater_id", "persona"]].values.tolist() == [[composed, "sailor"], ["r2", None]]


def test_a_raters_file_that_covers_some_says_who_is_not_in_it(write):
    people = write("p.jsonl", [{"rater_id": "r2", "persona": "sailor"}])
    labels = read_labels(write("c.jsonl", pairs()), raters=people)
    assert noticed(labels, "1 of 2 rater(s) with labels have no row in the raters file").endswith(": r1")


def test_files_that_number_their_own_people(tmp_path):
    batches = [CASES / "batch1.jsonl", CASES / "batch2.jsonl"]
    labels = read_labels(batches)
    assert "3 rater ID(s) stand in" in noticed(labels, "no prompt in common (1, 2, 3)", "data.prefix_raters=file")
    labels = read_labels(batches, prefix_raters="file")
    assert labels.raters["rater_id"].tolist() == [f"batch{b}/{r}" for b in (1, 2) for r in (1, 2, 3)]
    assert labels.comparisons["file"].nunique() == 2 and labels.counts["notices"] == []
    same = []
    for folder in ("one", "two"):
        same.append(tmp_path / folder / "labels.jsonl")
        same[-1].parent.mkdir()
        same[-1].write_text(batches[0].read_text())
    labels = read_labels(same, prefix_raters="file")
    assert labels.raters["rater_id"].tolist() == [f"{folder}/labels/{r}" for folder in ("one", "two") for r in (1, 2, 3)]
    fails("prefix_raters is 'folder'", comparisons=batches, prefix_raters="folder")


def test_everybody_in_the_files_is_accounted_for(write):
    rows = [
        {"rater_id": r, "prompt": "p", "response": a, "rating": n, "split": s}
        for r, a, n, s in [
            ("ann", "x", 1, "train"), ("ann", "y", 2, "train"),
            ("bob", "x", 1, "train"), ("bob", "y", 3, "train"),
            ("eve", "x", 2, "train"), ("eve", "y", 2, "train"),  # rated all alike
            ("joe", "", 2, "train"), ("joe", None, 3, "train"),  # bad rows alone
            ("kim", "x", 2, "test"), ("kim", "y", 3, "test"),
        ]
    ]  # fmt: skip
    labels = read_labels(ratings=write("r.jsonl", rows), split="train", max_bad=1.0)
    assert labels.counts["raters"]["accounted"] == {
        "in_files": 5, "used": 2, "without_pair": ["eve"], "dropped": ["joe"], "other_split": ["kim"], "skipped": [],
    }  # fmt: skip
    assert noticed(labels, "1 rater(s) whose ratings make no pair", "eve") and noticed(labels, "whose rows are all bad: joe")


def test_validation_raters_are_named_and_few_are_said_to_be_few(write):
    labels = read_labels(write("c.jsonl", [PAIR | {"rater_id": f"r{i}"} for i in range(40)]), validate_share=0.03)
    kept = labels.raters["rater_id"][labels.raters["split"] == "validate"].tolist()
    assert 1 <= len(kept) < 5
    sentence = noticed(labels, f"{len(kept)} rater(s) kept for validation", "they become known when training ends", "by chance")
    assert sentence.endswith(": " + ", ".join(kept))


# Texts that are structure


def test_json_text_in_csv_cells_is_messages(write):
    ask = [{"role": "user", "content": "A number?"}]
    seven, three = ([{"role": "assistant", "content": n}] for n in "73")
    for spell in (json.dumps, str):  # as json writes them, and as pandas writes lists into CSV
        rows = [{"prompt": spell(ask), "chosen": spell(seven), "rejected": spell(three), "rater_id": r} for r in ("r1", "r2")]
        labels = read_labels(write("c.csv", rows))
        assert labels.comparisons.loc[0, ["prompt", "a", "b"]].tolist() == [ask, "7", "3"]
        assert noticed(labels, "prompt: JSON text in the cells is read as messages")
    mixed = write("d.csv", [*rows, PAIR])
    assert noticed(read_labels(mixed), "prompt: 2 of 3 cells look like JSON text of messages and are taken as plain text")


def test_one_json_list_of_rows(write):
    for name in ("c.json", "c.jsonl"):
        labels = read_labels(write(name, json.dumps(pairs(), indent=1)))
        assert labels.raters["rater_id"].tolist() == ["r1", "r2"] and noticed(labels, "one JSON list of rows")
    fails("row 2: '7' is not an object", comparisons=write("d.json", json.dumps([PAIR, 7])))
    fails("chosen is empty", "row 2 ''", comparisons=write("e.json", json.dumps([PAIR, PAIR | {"chosen": ""}])))


def test_json_that_is_not_rows_says_how_to_write_them(write):
    fails("the keys data, meta", "['data']", comparisons=write("c.json", json.dumps({"data": pairs(), "meta": 1}, indent=1)))
    fails("one object of columns", 'orient="records"', comparisons=write("d.json", pd.DataFrame(pairs()).to_json()))


@pytest.mark.parametrize(("name", "separator"), [("c.csv", ";"), ("c.csv", "\t"), ("c.tsv", "\t"), ("c.tsv", ",")])
def test_csv_with_other_separators(write, name, separator):
    lines = [["prompt", "response", "rating", "rater_id"], ["Hi; there, you", "x", "4,5", "r1"], ["Hi; there, you", "y", "3", "r1"]]
    lines += [[*line[:3], "r2"] for line in lines[1:]]
    labels = read_labels(ratings=write(name, "\n".join(separator.join(f'"{cell}"' for cell in line) for line in lines)))
    assert labels.comparisons[["prompt", "a", "b"]].values.tolist() == [["Hi; there, you", "x", "y"]] * 2


def test_sharegpt_and_single_messages(write):
    rows = [
        {
            "prompt": [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "yes"},
            "rejected": {"role": "assistant", "content": "no"},
            "rater_id": r,
        }
        for r in ("r1", "r2")
    ]
    labels = read_labels(write("c.jsonl", rows))
    asked = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert labels.comparisons.loc[0, ["prompt", "a", "b"]].tolist() == [asked, "yes", "no"]


def test_contents_in_parts():
    labels = read_labels(CASES / "parts.jsonl")
    assert labels.comparisons.loc[0, ["prompt", "a"]].tolist() == [[{"role": "user", "content": "Q0"}], "a"]


def test_parts_that_are_not_text_and_tool_calls_are_refused_by_row(write):
    image = [{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image", "url": "x.png"}]}]
    fails("prompt has a content of parts that are not all text", "row 3", comparisons=write("c.jsonl", pairs({"prompt": image})))
    call = [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add"}}]}]
    fails("chosen has a message that calls a tool", "row 3", comparisons=write("d.jsonl", pairs({"chosen": call})))


def test_lists_of_answers_are_refused_with_the_remedy_and_lists_as_text_are_noticed():
    fails("rejected is a list of texts", "frame.explode", "row 1 (line 1)", "and 1 more", comparisons=CASES / "lore_list.jsonl")
    labels = read_labels(CASES / "lore_str.jsonl")
    assert len(labels.comparisons) == 6
    assert noticed(labels, "rejected: all 6 cells are a list turned into text", "['no 0']")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("implicit_prefix", "one conversation is the beginning of the other"),
        ("implicit_same", "chosen equals rejected"),
        ("implicit_diverge", "differ before the last message"),
    ],
)
def test_conversations_that_are_not_two_answers_say_so_in_every_row(name, reason):
    fails(reason, "row 1 (line 1)", "row 3 (line 3)", "every row is bad", comparisons=CASES / f"{name}.jsonl", max_bad=1.0)


def test_trl_reads_an_implicit_prompt_beside_a_text(write):
    ask, seven, three = {"role": "user", "content": "A number?"}, *({"role": "assistant", "content": n} for n in "73")
    rows = [{"prompt": "A number?", "chosen": [ask, seven], "rejected": [ask, three], "rater_id": r} for r in ("r1", "r2")]
    labels = read_labels(write("c.jsonl", rows))
    assert labels.comparisons.loc[0, ["prompt", "a", "b"]].tolist() == [[ask], "7", "3"]
    assert noticed(labels, "prompt is not read")


def test_implicit_prompts_of_texts(write):
    rows = [{"chosen": "The sky is blue.", "rejected": "The sky is black.", "rater_id": r} for r in ("r1", "r2")]
    labels = read_labels(write("c.jsonl", rows))
    assert labels.comparisons.loc[0, ["prompt", "a", "b"]].tolist() == ["The sky is ", "blue.", "black."]
    other = rows[0] | {"rejected": "No."}
    fails("have no beginning in common", "row 3 (line 3)", comparisons=write("d.jsonl", [*rows, other]))
    # A column that could be the prompt under another name is no implicit prompt.
    fails("no column prompt", comparisons=write("e.jsonl", [row | {"question": "Sky?"} for row in rows]))


def test_transcripts_in_turns(write):
    text = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: A number?\n\nAssistant: "
    rows = [{"chosen": text + "7", "rejected": text + "3", "rater_id": r} for r in ("r1", "r2")]
    labels = read_labels(write("c.jsonl", rows))
    assert [message["content"] for message in labels.comparisons["prompt"][0]] == ["Hi", "Hello", "A number?"]
    assert labels.comparisons.loc[0, ["a", "b"]].tolist() == ["7", "3"]


def test_parallel_lists_of_responses_are_rows(write):
    rows = [{"prompt": "p", "response": ["x", "y", "z"], "rating": [1, 3, 2], "rater_id": r} for r in ("r1", "r2")]
    labels = read_labels(ratings=write("r.jsonl", rows))
    assert labels.comparisons[["a", "b"]].values.tolist()[:3] == [["y", "x"], ["z", "x"], ["y", "z"]]
    assert noticed(labels, "response, rating are lists", "6 of 2 rows")
    fails("row 2 (line 2)", "different lengths", ratings=write("s.jsonl", [rows[0], rows[1] | {"rating": [1]}]))
    bad = [rows[0], rows[1] | {"response": ["x", "", "z"]}]
    fails("response is empty", "row 2 (line 2) ''", ratings=write("t.jsonl", bad))


# Numbers


def test_decimals_of_databases(write):
    labels = read_labels(ratings=CASES / "decimal.parquet")
    assert len(labels.comparisons) == 6 and labels.comparisons["a"][0] == "A0"


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["4", " 3 ", "2.5", "1e1"], [4, 3, 2.5, 10]),
        (["4,5", "3", "0,125"], [4.5, 3, 0.125]),
        (["4/5", "3 / 4"], [0.8, 0.75]),
        (["80 %", "12,5%"], [0.8, 0.125]),
        ([Decimal("4.10"), 2], [4.1, 2]),
    ],
)
def test_numbers_as_people_write_them(cells, values):
    found, faults = read_numbers(pd.Series(cells, dtype=object))
    assert found.tolist() == pytest.approx(values) and faults == {}


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["4", "1,250"], "thousands"),
        (["4,5", "1.250"], "thousands"),
        (["4", "3", "4/5"], "a share (4/5, 80 %) among plain numbers"),
        (["4/5", "2/5", "3"], "a plain number among shares"),
        (["4/5", "7/5"], "a fraction above 1"),
        (["4", "four"], "not a finite number"),
        ([4, True], "not a finite number"),
        ([4, 10**400], "not a finite number"),
    ],
)
def test_numbers_that_can_be_read_in_two_ways_are_faults_of_their_row(cells, words):
    _, faults = read_numbers(pd.Series(cells, dtype=object))
    assert list(faults) == [len(cells) - 1] and words in faults[len(cells) - 1]


def test_ratings_with_faults_name_their_rows(write):
    fails(
        "rating is a share",
        "row 3 (line 4) '4/5'",
        ratings=write("r.csv", "prompt,response,rating,rater_id\np,x,4,r1\np,y,3,r1\np,z,4/5,r1\n"),
    )


# Columns


def test_a_sentence_is_the_prompt_of_every_row(write):
    rows = [{"text": t, "rating": n, "rater_id": r} for r in ("r1", "r2") for t, n in (("x", 1), ("y", 2))]
    data = write("r.jsonl", rows)
    labels = read_labels(ratings=data, columns={"prompt": "Tell me a joke.", "response": "text"})
    assert labels.comparisons["prompt"].tolist() == ["Tell me a joke."] * 2
    assert noticed(labels, "the prompt of every row is 'Tell me a joke.'")
    fails("no column joke (our prompt)", ratings=data, columns={"prompt": "joke", "response": "text"})
    titled = write("s.jsonl", [row | {"The prompt": "p"} for row in rows])
    fails("no column The promt (our prompt)", ratings=titled, columns={"prompt": "The promt", "response": "text"})


def test_rows_that_do_not_say_who_judged(write):
    rows = [{k: v for k, v in PAIR.items() if k != "rater_id"}]
    fails("no column rater_id", "Nothing says who judged", "raters.encoding=none", comparisons=write("c.jsonl", rows))
    labels = read_labels(write("c.jsonl", rows), one_rater=True)
    assert labels.raters["rater_id"].tolist() == ["everyone"] and noticed(labels, "read as those of one rater, everyone")


def test_a_column_for_each_annotator_is_refused_with_the_command():
    fails("ana@x.org, bob@x.org look like one annotator each", "raterhf data convert --from wide", comparisons=CASES / "wide.csv")


def test_a_form_with_a_column_for_each_question_is_refused_with_the_lines_that_turn_it_round(write):
    form = "Timestamp,Email,Which is better? [1],Which is better? [2]\n2026,ann@x.org,Left,Right\n2026,bob@x.org,Left,Left\n"
    fails("one person's answers to 2 questions", "frame.melt", comparisons=write("form.csv", form))


def test_splits_are_kept():
    labels = read_labels(CASES / "leak.jsonl")
    assert labels.comparisons["split"].tolist() == ["train", "test"] * 4


def test_a_preset_that_does_not_fit_names_the_columns(write):
    data = write("c.jsonl", pairs())
    fails("not the columns of prism", "choose another of label-studio", comparisons=data, preset="prism")
    fails("'argila' is no tool", "argilla", comparisons=data, preset="argila")
    fails("holds ratings, no comparisons", "data.ratings", comparisons=CASES / "prism.jsonl")


def test_a_missing_file_is_no_format():
    with pytest.raises(UserError, match="no such file"):
        read_labels("missing/rows.json")


def test_missing_columns_are_said_before_anything_that_trains_is_loaded(write, monkeypatch):
    def not_yet(*args, **kwargs):
        raise AssertionError("trains")

    monkeypatch.setattr("raterhf.train", not_yet)
    data = write("c.jsonl", [{"prompt": "p", "chosen": "x", "rejected": "y", "rater": "r1"}])
    alone = [f"data.{name}=" for name in ("world", "ratings", "demonstrations", "raters", "base")]
    result = invoke("train", DICE, f"data.comparisons={data}", *alone, "base=", "sft=", "policy=")
    assert result.exit_code == 2 and "no column rater_id" in result.stderr and "nearest: rater" in result.stderr
