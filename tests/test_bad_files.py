"""Files of labels with mistakes: each is named with its file, row and line, and nothing is passed over."""

import json
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from label_files import PAIR, fails, pairs

from raterhf.data.corpus import read_corpus
from raterhf.data.labels import read_labels, read_recipe
from raterhf.errors import UserError
from raterhf.recipe_reader import load_recipe

DICE = Path(__file__).parents[1] / "recipes" / "dice.yaml"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"chosen": " \n"}, "chosen is empty or only white space"),
        ({"rejected": None}, "rejected is missing"),
        ({"rejected": ...}, "rejected is missing"),
        ({"chosen": 7}, "chosen is not text"),
        ({"chosen": "\ud83d"}, "chosen holds half of a character"),
        ({"chosen": "3"}, "chosen equals rejected"),
        ({"rater_id": None}, "rater_id is missing"),
        ({"rater_id": ""}, "rater_id is missing"),
        ({"rater_id": 3.0}, "rater_id is a decimal number"),
        ({"rater_id": "3.0"}, "rater_id is a decimal number"),
        ({"rater_id": float("nan")}, "rater_id is missing"),
        ({"rater_id": True}, "rater_id is not a name"),
        ({"rater_id": ["r1"]}, "rater_id is not a name"),
        ({"rater_id": "r\n1"}, "rater_id has a line break"),
        ({"rater_id": " r1"}, "rater_id has white space around it"),
        ({"rater_id": "new"}, "rater_id is a word of the rater grammar"),
        ({"rater_id": "all"}, "rater_id is a word of the rater grammar"),
        ({"rater_id": "none"}, "rater_id is a word of the rater grammar"),
        ({"rater_id": "new:7"}, "rater_id is a word of the rater grammar"),
        ({"rater_id": "persona:x"}, "rater_id is a word of the rater grammar"),
        ({"rater_id": "NaN"}, "rater_id reads as missing"),
        ({"prompt": []}, "prompt is a conversation without messages"),
        ({"prompt": [{"role": "narrator", "content": "x"}]}, "prompt has a message whose role is none of"),
        ({"prompt": [{"role": "user", "content": ""}]}, "prompt has a message whose content"),
        ({"prompt": [{"role": "user", "content": "x", "name": "Jo"}]}, "prompt has a message with more than"),
        ({"prompt": [{"role": "assistant", "content": "x"}]}, "prompt ends with the assistant's message"),
        ({"chosen": [{"role": "user", "content": "x"}]}, "chosen is not the assistant's message"),
        ({"chosen": [{"role": "assistant", "content": "x"}] * 2}, "chosen is not one message"),
    ],
)
def test_bad_cells_name_file_row_and_line(write, change, words):
    fails("c.jsonl: 1 bad row", words, "row 3 (line 3)", comparisons=write("c.jsonl", pairs(change)))


@pytest.mark.parametrize("label", ["2", "yes", "nan", "0.5"])
def test_bad_labels_in_csv(write, label):
    text = f"prompt,a,b,label,rater_id\np,x,y,1,r1\np,x,y,1.0,r2\np,x,y,{label},r2\n"
    fails("label is not 1", f"row 3 (line 4) '{label}'", comparisons=write("c.csv", text))


@pytest.mark.parametrize("rating", ["NaN", "Infinity", "true", '"good"', "[1]"])
def test_bad_ratings(write, rating):
    row = '{"prompt": "p", "response": "%s", "rating": %s, "rater_id": "r1"}\n'
    text = row % ("x", "1") + row % ("y", rating)
    fails("rating is not a finite number", "row 2 (line 2)", ratings=write("r.jsonl", text))


def test_a_hole_in_integer_ids_is_one_bad_row(write):
    text = "prompt,completion,rater_id\np,x,1\np,x,\np,y,2\n"
    fails("1 bad row", "row 2 (line 3) ''", demonstrations=write("d.csv", text))
    rows = [{"prompt": "p", "completion": "x", "rater_id": r} for r in (1, None, 2)]  # floats in parquet
    fails("3 bad row", "decimal number", "row 1 1.0, row 3 2.0", demonstrations=write("d.parquet", rows))


def test_many_bad_rows_show_five_and_the_count(write):
    rows = pairs(*[{"prompt": " "}] * 7, {"chosen": ""})
    message = fails("c.jsonl: 8 bad row", comparisons=write("c.jsonl", rows))
    assert "row 3 (line 3) ' ', row 4" in message
    assert "row 7 (line 7) ' ' ... and 2 more" in message
    assert "row 8" not in message
    assert "row 10 (line 10) ''" in message


def test_bad_rows_of_two_files_are_in_one_message(write):
    one = write("c.jsonl", pairs({"prompt": ""}))
    two = write("d.jsonl", [{"prompt": "p", "completion": "", "rater_id": "r1"}])
    fails("c.jsonl: 1 bad row", "d.jsonl: 1 bad row", comparisons=one, demonstrations=two)


def test_dropping_counts_rows_for_their_rater(write):
    rows = pairs({"prompt": "", "chosen": ""}, {"rejected": "7"}, {"rater_id": None}, {"rater_id": "r2", "prompt": ""})
    data = write("c.jsonl", rows)
    labels = read_labels(data, max_bad=1.0)
    assert len(labels.comparisons) == 2
    assert labels.counts["dropped"] == {data: {"r1": 2, "r2": 1, "(no valid rater_id)": 1}}
    assert labels.counts["comparisons"]["dropped"] == 4
    assert labels.counts["comparisons"]["read"] == 6
    fails("every row is bad", comparisons=write("d.jsonl", rows[2:]), max_bad=1.0)
    assert len(read_labels(data, max_bad=4 / 6).comparisons) == 2
    fails("4 bad row", "Of 6 rows a share of 0.5 may be left out", "data.max_bad", comparisons=data, max_bad=0.5)


def test_a_recipe_says_what_it_leaves_out(write, capsys):
    data = write("c.jsonl", pairs({"rater_id": "r2"}, {"prompt": ""}))
    alone = [f"data.{name}=" for name in ("world", "ratings", "demonstrations", "raters", "base")]
    overrides = [f"data.comparisons={data}", *alone, "base=", "sft=", "policy="]
    with pytest.raises(UserError, match="1 bad row") as error:
        read_recipe(load_recipe(DICE, overrides))
    assert "prompt is empty" in str(error.value) and "a share of 0 may be left out, each counted: data.max_bad" in str(error.value)
    assert len(read_recipe(load_recipe(DICE, [*overrides, "data.max_bad=0.5"])).comparisons) == 3
    assert f"{data}: 1 bad row(s) left out, of 1 rater(s) (most: r1 1)" in capsys.readouterr().out


def test_files_that_cannot_be_read(write, tmp_path):
    fails("no.jsonl: no such file", "check the path", comparisons=tmp_path / "no.jsonl")
    fails("no such file or folder", comparisons=tmp_path / "no" / "folder")
    fails("unknown suffix '.txt'", ".jsonl, .csv, .parquet", comparisons=write("c.txt", "x"))
    fails("unknown suffix '.xlsx'", comparisons="missing/pairs.xlsx")
    fails("no rows", comparisons=write("empty.jsonl", ""))
    fails("no rows", comparisons=write("empty.csv", "prompt,chosen,rejected,rater_id\n"))
    fails("no rows", comparisons=write("empty.parquet", pd.DataFrame({"prompt": []})))
    fails("not a readable parquet file", comparisons=write("c.parquet", "x"))
    fails(
        "line 2 is not UTF-8 (byte 0xe9)",
        "iconv",
        comparisons=write("l.csv", "prompt\ncafé\n".encode("latin1")),
    )
    fails("no comparisons, ratings or demonstrations")
    fails("validate_share is 1", comparisons="c.jsonl", validate_share=1)


def test_lines_that_are_not_json_objects(write):
    text = json.dumps(PAIR) + "\n\n{'prompt': 1}\n[1, 2]\n"
    fails(
        "2 bad row",
        "row 2 (line 3): Expecting",
        "row 3 (line 4): '[1, 2]'",
        comparisons=write("c.jsonl", text),
    )


def test_csv_rows_of_another_shape(write):
    head = "prompt,completion,rater_id\n"
    fails("row 1 (line 2): 4 cells", "names 3 columns", demonstrations=write("d.csv", head + "p,x,y,r1\n"))
    fails("row 2 (line 3): 2 cells", demonstrations=write("d.csv", head + "p,x,r1\np,x\n"))
    fails("row 1 (line 2)", "quotes", demonstrations=write("d.csv", head + '"p,x,r1\n'))
    fails("'prompt' is twice", demonstrations=write("d.csv", "prompt,prompt,rater_id\np,x,r1\n"))


def test_missing_columns_name_those_there_and_the_nearest(write):
    rows = [{"Prompt": "p", "chosen": "x", "rejected": "y", "rater": "r1"}]
    message = fails("no column prompt, rater_id", "it has Prompt, chosen", comparisons=write("c.jsonl", rows))
    assert "nearest: Prompt" in message
    fails("no column label", comparisons=write("d.jsonl", [{"prompt": "p", "a": "x", "b": "y", "rater_id": 1}]))
    fails("prompt, a, b, label, rater_id", comparisons=write("e.jsonl", [{"text": "p"}]))
    both = [PAIR | {"a": "x", "b": "y", "label": 1}]
    fails("chosen and rejected beside a and b", comparisons=write("f.jsonl", both))


def test_one_rater_is_not_a_population(write):
    fails("rater 'r1' gave all labels", "at least two", comparisons=write("c.jsonl", [PAIR, PAIR]))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"Frage": "Q"}], "column prompt, completion is missing"),
        ([{"prompt": "Q", "completion": None}], "completion is missing"),
        ([{"prompt": "Q", "completion": " "}], "completion is empty or only white space"),
        ([{"prompt": 7, "completion": "x"}], "prompt is not text"),
    ],
)
def test_the_base_corpus_keeps_the_rules_of_other_data(write, rows, says):
    with pytest.raises(UserError, match=says):
        read_corpus(write("base.jsonl", rows), {})


def test_the_base_corpus_is_read_by_the_recipes_columns(write):
    frame = read_corpus(write("base.jsonl", [{"Frage": "Q", "completion": [{"role": "assistant", "content": "A"}]}]), {"prompt": "Frage"})
    assert frame.to_dict("records") == [{"prompt": "Q", "completion": "A"}]
    own = write("own.jsonl", [{"prompt": "Q", "completion": "A"}])
    assert list(read_corpus(own, {"prompt": "Frage"}).prompt) == ["Q"]  # the mapping is for the raters' data


def test_a_corpus_is_read_through_a_template(write):
    frame = read_corpus(write("base.csv", [{"note": "It rains.", "completion": "Rain."}]), {"prompt": "Summarise: {note}"})
    assert list(frame.prompt) == ["Summarise: It rains."]


def test_what_the_parser_cannot_take_is_named(write):
    text = '{"prompt": "p", "completion": "y", "rater_id": "r1"}\n'
    for bad, words in (("[" * 100_000, "recursion"), ('{"prompt": ' + "1" * 5000 + "}", "digits")):
        fails("d.jsonl: 1 bad row", words, "row 2 (line 2)", demonstrations=write("d.jsonl", text + bad + "\n"))
    fails("not UTF-16", demonstrations=write("u.csv", "prompt,completion".encode("utf-16") + b"x"))


def test_a_file_without_a_good_row_says_what_is_wrong_with_each(write):
    rows = [{"prompt": "Pet?", "chosen": "Cat.", "rejected": "Cat.", "rater_id": str(i)} for i in range(3)]
    fails("chosen equals rejected; a preference needs two answers", comparisons=write("same.jsonl", rows), max_bad=1.0)


PARQUET = {"prompt": ["p", "p"], "chosen": ["x", "y"], "rejected": ["y", "x"], "rater_id": ["a", "b"]}


def test_parquet_that_is_cut_or_damaged_is_one_error(tmp_path):
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({name: cells * 50 for name, cells in PARQUET.items()}), whole)
    data = whole.read_bytes()
    places = [(len(data) // 2, b""), (len(data) - 4, b"XXXX"), (len(data) - 8, b"\xff\xff\xff\x7f")]
    for number, (place, bytes_) in enumerate(places):
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(data[:place] + bytes_ + (data[place + len(bytes_) :] if bytes_ else b""))
        fails(f"{number}.parquet: not a readable parquet file", "write it again", comparisons=path)
    page = bytearray(data)
    page[4:60] = bytes(56)  # of the first column's pages
    (tmp_path / "page.parquet").write_bytes(page)
    fails("page.parquet: not a readable parquet file", comparisons=tmp_path / "page.parquet")


def test_dates_that_python_cannot_hold_are_missing_not_a_crash(tmp_path, capsys):
    far = pa.array([10**18, 0], pa.int64()).cast(pa.timestamp("us"))
    nowhere = pa.array([0, 0], pa.timestamp("us", tz="No/Where"))
    path = tmp_path / "dates.parquet"
    pq.write_table(pa.table(PARQUET | {"when": far, "where": nowhere, "day": pa.array([10**8, 0], pa.int32()).cast(pa.date32())}), path)
    assert len(read_labels(path).comparisons) == 2
    shown = capsys.readouterr().out
    for name in ("when", "where", "day"):
        assert f"dates.parquet: column '{name}' holds dates that cannot be read" in shown
    pq.write_table(pa.table(PARQUET | {"chosen": far}), path)
    fails("chosen is missing", "row 1 None", comparisons=path)


def test_parquet_columns_have_one_name_each_and_text_in_utf8(tmp_path):
    path = tmp_path / "twice.parquet"
    columns = [*PARQUET, "prompt"]
    pq.write_table(pa.Table.from_arrays([pa.array(PARQUET[name]) for name in columns], names=columns), path)
    fails("column 'prompt' is twice in the file", "rename one", comparisons=path)
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff\xfe"], pa.binary()).buffers())
    pq.write_table(pa.table(PARQUET | {"chosen": bad}), path)
    fails("column 'chosen', row 2 cannot be read", comparisons=path)


def test_a_key_twice_in_one_line_is_refused(write):
    good = json.dumps(PAIR)
    text = good + "\n" + good[:-1] + ', "chosen": "8"}\n' + good[:-1] + ', "more": {"a": 1, "a": 2}}\n'
    message = fails("2 bad row", "row 2 (line 2): key 'chosen' is twice", comparisons=write("c.jsonl", text))
    assert "row 3 (line 3): key 'a' is twice" in message


@pytest.mark.parametrize("name", ["pipe", "pipe.jsonl", "pipe.csv", "zero.parquet"])
def test_data_are_files(tmp_path, name):
    path = tmp_path / name
    path.symlink_to("/dev/zero") if name.startswith("zero") else os.mkfifo(path)
    fails(f"data file {path} is a device, a pipe or a socket", comparisons=path)
    fails("data file /dev/zero is a device, a pipe or a socket", comparisons="/dev/zero")
    with pytest.raises(UserError, match="a device, a pipe or a socket"):
        read_corpus(str(path), {})


def test_halves_of_characters_and_deep_lists_are_named(write):
    deep = "[" * 100_000 + "]" * 100_000
    fails("key '\\ud800' holds half of a character", comparisons=write("k.jsonl", pairs({"\ud800": 1})))
    rows = pairs({"more": "\ud800"}) + pairs({"prompt": "\ud800"}, {"rater_id": "\udfff"})[2:]
    text = "".join(json.dumps(row) + "\n" for row in rows) + f'{{"prompt": {deep}}}\n'
    fails("1 bad row", "row 6 (line 6): maximum recursion", comparisons=write("c.jsonl", text))
    message = fails("2 bad row", comparisons=write("d.jsonl", rows))
    assert "prompt holds half of a character" in message and "rater_id holds half of a character" in message
    message.encode()
