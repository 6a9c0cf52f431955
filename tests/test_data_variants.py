"""Spellings and shapes beside those of test_data_kinds.py: what tables, tools and people make of the same kinds of files."""

import gzip
import json
import re
import shlex
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from label_files import PAIR, fails, pairs
from small_run import invoke

from raterhf.data.labels import read_labels

MESSAGES = [{"role": "user", "content": "How are you?"}]
TALK = [*MESSAGES, {"role": "assistant", "content": "well"}]
OTHER = [*MESSAGES, {"role": "assistant", "content": "ill"}]


def sided(*labels, **more) -> list[dict]:
    """A row for each label, by two raters in turn; the answers are x and y."""
    return [{"prompt": f"p{i}", "a": "x", "b": "y", "label": label, "rater_id": f"r{i % 2}"} | more for i, label in enumerate(labels)]


def said(path: str, *words: str) -> str:
    """The error of `raterhf data check`."""
    result = invoke("data", "check", path, *words)
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    return result.stderr


def pasted(message: str) -> list[str]:
    """The words of a shell that a message tells to paste."""
    return shlex.split(re.search(r"'data\.\w+=.*?'(?=$|[.;,:\s])", message, re.M)[0])


# Labels


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["response_1", "response_2", "tie"], "data.labels=one-two"),
        (["Left answer", "right answer"], "data.labels=left-right"),
        ([0, 1, 2], "data.labels={0: a, 1: b, 2: tie}"),
        ([0, 1, 0.5], "data.labels=zero-one. If 0 is the first: data.labels=one-zero"),
        (["A", "B", "Neither", "B"], "'data.labels={a: a, b: b, neither: ?}': row 3 (line 3) 'Neither'"),
        (["A", "", "B"], 'label is missing; write it, remove the row, or leave such rows out: data.labels says what every value'),
        (["A>B", "A=B", "tie"], '\'data.labels={"a>b": ?, "a=b": ?, tie: tie}\''),
    ],
)  # fmt: skip
def test_labels_that_do_not_say_which_answer_get_the_map_to_fill(write, labels, words):
    fails(words, comparisons=write("c.jsonl", sided(*labels)))


def test_presets_and_maps_read_the_noun_too_and_empty_cells_where_told(write):
    data = write("c.csv", sided("Response 1", "response_2", "tie", ""))
    labels = read_labels(data, labels={"1": "a", "2": "b", "tie": "tie", "": "skip"})
    assert labels.comparisons["label"].tolist() == [1, -1, 0]
    assert (labels.counts["comparisons"]["skipped"], labels.counts["comparisons"]["dropped"]) == (1, 0)
    assert labels.counts["comparisons"]["labels_read"][data]["response 1"] == {"means": "a", "rows": 1}


def test_words_of_ties(write):
    rows = sided("A", "both responses are bad", "Both are good", "no preference", "B")
    labels = read_labels(write("c.jsonl", rows))
    assert labels.comparisons["label"].tolist() == [1, 0, 0, 0, -1]
    assert labels.comparisons["both"].tolist() == [None, "bad", "good", None, None]


def test_a_label_that_names_the_model_is_the_side_of_its_row(write):
    rows = [row | {"model_a": a, "model_b": b} for row, (a, b) in zip(sided("gpt", "gpt", "tie"), [("gpt", "llama"), ("llama", "gpt")] * 2)]
    labels = read_labels(write("c.jsonl", rows))
    assert labels.comparisons["label"].tolist() == [1, -1, 0]
    assert any("label names the model that wrote the preferred answer in 2 of 3 rows" in told for told in labels.counts["notices"])
    fails("is the model of both answers", comparisons=write("d.jsonl", [*rows, rows[0] | {"model_b": "gpt"}]))


def test_only_ties_are_said_to_teach_nothing(write):
    out = invoke("data", "check", write("c.jsonl", sided(*[0] * 12)), "--json").stdout
    stops = [sentence["text"] for sentence in json.loads(out)["verdict"] if sentence["level"] == "stop"]
    assert any("All 12 comparisons are ties" in text for text in stops)


def test_completions_with_bad_ones_among_them_are_not_imitated(write):
    rows = [{"prompt": f"p{i // 2}", "completion": f"c{i}", "label": bool(i % 2), "rater_id": f"r{i // 4}"} for i in range(8)]
    path = write("kto.jsonl", rows)
    message = said(path)
    assert "imitation would learn the bad ones too" in message
    labels = read_labels(ratings=path, columns={"response": "completion", "rating": "label"})
    assert labels.comparisons[["a", "b"]].values.tolist()[0] == ["c1", "c0"]
    assert invoke("data", "check", "--ratings", path, *pasted(message)).exit_code == 0


# Structure


def numpy_text(cell: list) -> str:
    """A list as numpy writes it, without commas: what becomes of a parquet file that went through pandas into CSV."""
    return str(np.array(cell, dtype=object))


def test_numpy_text_of_messages_and_of_texts_is_not_run_together(write):
    rows = [PAIR | {"chosen": numpy_text(TALK), "rejected": numpy_text(OTHER), "rater_id": f"r{i}"} for i in range(2)]
    assert "} {" in rows[0]["chosen"].replace("\n", "")
    labels = read_labels(write("c.csv", rows))
    assert labels.comparisons[["prompt", "a", "b"]].values.tolist()[0] == [MESSAGES, "well", "ill"]
    tricky = [*MESSAGES, {"role": "assistant", "content": "if (x) {\n} {'a' 'b'} it's"}]
    labels = read_labels(write("d.csv", [row | {"chosen": numpy_text(tricky)} for row in rows]))
    assert labels.comparisons["a"].tolist()[0] == "if (x) {\n} {'a' 'b'} it's"
    rows = [{"prompt": "p", "response": numpy_text(["one", "two"]), "rating": "[2 1]", "rater_id": f"r{i}"} for i in range(2)]
    labels = read_labels(ratings=write("e.csv", rows))
    assert labels.comparisons[["a", "b"]].values.tolist() == [["one", "two"]] * 2


def test_json_written_twice(write):
    rows = [row | {"prompt": json.dumps(json.dumps(MESSAGES))} for row in pairs()]
    assert read_labels(write("c.jsonl", rows)).comparisons["prompt"].tolist() == [MESSAGES] * 2


@pytest.mark.parametrize("text", [json.dumps(MESSAGES)[:-4], json.dumps([{"content": "x", "role": "user"}])[:-4]])
def test_messages_that_break_off_are_a_verdict(write, text):
    out = invoke("data", "check", write("c.csv", [row | {"prompt": text} for row in pairs()]), "--json").stdout
    assert any("2 of 2 cells look like JSON text of messages" in sentence["text"] for sentence in json.loads(out)["verdict"])


@pytest.mark.parametrize(
    "message",
    [
        {"role": "User", "content": "x"},
        {"role": "human", "content": "x"},
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
        {"role": "user", "content": [{"type": "text", "text": "x", "annotations": []}]},
        {"role": "user", "content": "x", "tool_calls": [], "name": None},
    ],
)
def test_messages_in_other_words(write, message):
    labels = read_labels(write("c.jsonl", [row | {"prompt": [message]} for row in pairs()]))
    assert labels.comparisons["prompt"].tolist() == [[{"role": "user", "content": "x"}]] * 2


def test_keys_beside_role_and_content_are_refused_by_name_with_the_line(write):
    rows = pairs({"prompt": [{"role": "user", "content": "x", "id": 3, "created": "today"}]})
    fails("(id, created)", 'frame["COLUMN"] = [[{"role": m["role"]', "row 3 (line 3)", comparisons=write("c.jsonl", rows))


def test_a_prompt_that_both_conversations_begin_with(write):
    rows = [{"prompt": MESSAGES, "chosen": TALK, "rejected": OTHER, "rater_id": f"r{i}"} for i in range(2)]
    labels = read_labels(write("c.jsonl", rows))
    assert labels.comparisons[["prompt", "a", "b"]].values.tolist()[0] == [MESSAGES, "well", "ill"]
    fails("is not one message", comparisons=write("d.jsonl", [rows[0], rows[1] | {"prompt": [{"role": "user", "content": "Another?"}]}]))


def test_answers_alone_ask_for_the_prompt(write):
    rows = [{"talk": MESSAGES, "chosen": TALK[-1:], "rejected": OTHER[-1:], "rater_id": f"r{i}"} for i in range(2)]
    fails("chosen is an answer alone, and no column is the prompt", "data.columns={prompt: NAME}", comparisons=write("c.jsonl", rows))


def test_lists_of_raters_and_labels_are_a_row_a_rater(write):
    rows = [{"prompt": "p", "a": "x", "b": "y", "label": ["a", "b"], "rater_id": ["ana", "bob"]}] * 2
    labels = read_labels(write("c.jsonl", rows))
    assert labels.comparisons[["label", "rater_id"]].values.tolist() == [[1, "ana"], [-1, "bob"]] * 2
    assert any("label, rater_id are lists: one row a rater, 4 of 2 rows" in told for told in labels.counts["notices"])


def test_marks_of_chat_templates_in_texts_are_noticed(write):
    marked = "<|im_start|>assistant\nwell<|im_end|>"
    labels = read_labels(write("c.jsonl", [row | {"chosen": marked} for row in pairs()]))
    assert any("chosen: 2 of 2 texts hold '<|im_start|>', a mark of a chat template" in told for told in labels.counts["notices"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ã¤pfel", "1 of 3 texts hold 'Ã¤', which is what UTF-8 looks like"),
        ("itâ€™s", "1 of 3 texts hold 'â€™', which is what UTF-8 looks like"),
        ("a \ufffd", "which is what UTF-8 looks like"),
        ("fish &amp; chips", "1 of 3 texts hold '&amp;', which is HTML's way to write a character"),
        ("x" * 32767, "1 of 3 texts have 32767 characters, all that a spreadsheet's cell holds: they may be cut"),
    ],
)
def test_texts_that_went_wrong_on_their_way_are_noticed(write, text, words):
    notices = read_labels(write("c.jsonl", pairs({"rejected": text}))).counts["notices"]
    assert any("rejected: " in told and words in told for told in notices)
    plain = read_labels(write("d.jsonl", pairs({"rejected": "Ärger, a < b & c, [x] âge Ã"}))).counts["notices"]
    assert not any("texts h" in told for told in plain)


# Names of columns that are not ours


def test_names_spelled_otherwise_get_the_line(write):
    rows = [{" Prompt": "p", "Chosen ": "x", "REJECTED": "y", "Rater ID": f"r{i}"} for i in range(4)]
    path = write("c.csv", rows)
    message = said(path)
    assert "The names differ in their spelling" in message
    assert invoke("data", "check", path, *pasted(message)).exit_code == 0


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"rater_1": "r1", "label_1": "A", "rater_2": "r2", "label_2": "B", "prompt": "p", "a": "x", "b": "y"}, "pd.wide_to_long"),
        ({"prompt": "p", "response": "x", "annotator": "r1", "helpful": 3, "accurate": 2}, 'var_name="attribute"'),
        ({"prompt": "p", "response": "x", "ana": 3, "bob": 2}, "NAME is rater_id or attribute"),
        ({"prompt": "p", "a": "x", "b": "y", "votes": [{"who": "r1", "label": "a"}]}, 'frame.explode("votes", ignore_index=True)'),
        ({"prompt": "p", "a": "x", "b": "y", "labels": {"ana": "a", "bob": "b"}}, 'pd.json_normalize(frame.pop("labels"))'),
        ({"Question": "p", "Response 1": "x", "Response 2": "y", "Annotator 1": "Response 1", "Annotator 2": "Response 2"}, "--from wide"),
        ({"prompt": "p", "a": "xx", "b": "yy", "ana": "xx", "bob": "yy"}, "ana, bob look like one annotator each"),
        ({"prompt": "p", "response_1": "x", "response_2": "y", "preference_strength": -2}, "b: response_2, label: preference_strength}"),
        ({"question": "p", "answer_0": "x", "score_0": 1, "answer_1": "y", "score_1": 2}, "stubnames=['answer_', 'score_']"),
        (
            {"prompt": "p", "answer_a": "x", "answer_b": "y", "pw": "left", "annotator": 1, "lead_time": 1.0},
            "label: pw, rater_id: annotator}",
        ),
        ({"history": "p", "human_ref_A": "x", "human_ref_B": "y", "labels": 1, "score_B": 2}, "b: human_ref_B, label: labels}"),
        ({"messages": TALK, "rater_id": "r1"}, 'frame["prompt"] = frame.pop("messages").str[:-1]'),
        ({"E-mail": "x@y", "Which? A: yes B: no": "A", "And here? A: ja B: nein": "B"}, 'frame.melt(id_vars=["E-mail"], var_name="prompt"'),
        ({"prompt": "p", "response_0": "x", "response_1": "y", "better_response_id": 1}, "b: response_1, label: better_response_id}"),
        (
            {"prompt": "p", "responses": ["x", "y"], "ratings": [1, 2], "rater_id": "r1"},
            "data.columns={rating: ratings, response: responses}",
        ),
    ],
)
def test_the_remedy_fits_the_columns(write, row, words):
    other = {name: [2, 1] if name == "ratings" else 1 if isinstance(cell, int) else cell for name, cell in row.items()}
    assert words in said(write("c.jsonl", [row, row, other, other]))


def test_one_object_that_holds_the_rows(write):
    assert "data holds a list of rows; write that list alone" in said(write("c.json", json.dumps({"version": 1, "data": pairs()})))


def test_a_wide_table_says_n_a_and_names_its_answers_by_number(write, tmp_path):
    row = {"Question": "p", "Response 1": "x", "Response 2": "y", "ana": "Response 1", "bob": "n/a"}
    path, out = write("w.csv", [row, row | {"bob": "Response 2"}]), str(tmp_path / "l.jsonl")
    result = invoke("data", "convert", "--from", "wide", path, "--out", out)
    assert result.exit_code == 0 and "1 left out: cells that are blank or say n/a" in result.stdout, result.output
    labels = read_labels(out, labels="one-two")
    assert labels.comparisons[["a", "label", "rater_id"]].values.tolist() == [["x", 1, "ana"], ["x", 1, "ana"], ["x", -1, "bob"]]


# Files


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings(write, encoding):
    text = "prompt,chosen,rejected,rater_id\nÄ?,x,y,r1\nÄ?,x,y,r2\n"
    data = text.encode(encoding)
    if encoding == "utf-16-le":  # without its mark nothing says what it is
        fails("iconv -f utf-16le", comparisons=write("c.csv", data))
    elif encoding == "cp1252":
        fails("line 2 is not UTF-8", "iconv", comparisons=write("c.csv", data))
    else:
        assert read_labels(write("c.csv", data)).comparisons["prompt"].tolist() == ["Ä?"] * 2


def test_compressed_files(write):
    rows = "".join(json.dumps(row) + "\n" for row in pairs()).encode()
    assert len(read_labels(write("c.jsonl.gz", gzip.compress(rows))).comparisons) == 2
    fails("not a readable .gz file", comparisons=write("d.jsonl.gz", gzip.compress(rows)[:-9]))
    fails("not a readable .gz file", comparisons=write("e.csv.gz", rows))
    assert invoke("data", "check", write("f.json.gz", gzip.compress(json.dumps(pairs()).encode()))).exit_code == 0


def test_separators_that_spreadsheets_say(write):
    text = "prompt;chosen;rejected;rater_id\np;x;y;r1\np;;y;r2\n"
    fails("row 2 (line 4)", comparisons=write("c.csv", "sep=;\r\n" + text))
    assert len(read_labels(write("d.csv", text.replace("p;;", "p;z;").replace(";", "|"))).comparisons) == 2


@pytest.mark.parametrize("name", ["c.xlsx", "c.txt", "c.ndjson", "c.zip"])
def test_other_suffixes_say_what_to_do(write, name):
    assert re.search("save the sheet|name it|unpack it", fails("unknown suffix", comparisons=write(name, "x")))


def test_json_with_a_mistake_names_its_place(write):
    text = "[\n" + ",\n".join(map(json.dumps, pairs())) + ",\n]"
    fails("a mistake in line 4, column 1", comparisons=write("c.json", text))
    frame = pd.DataFrame(pairs())
    for whole in (frame.to_json(orient="split"), json.dumps(frame.to_dict("list")), frame.to_json()):
        fails("one object of columns", comparisons=write("d.json", whole))


# Who is who


def test_decimal_ids_are_integers(write):
    rows = [row | {"rater_id": Decimal(f"{i}.00")} for i, row in enumerate(pairs())]
    assert read_labels(write("c.parquet", rows)).comparisons["rater_id"].tolist() == ["0", "1"]
    fails("rater_id is not a name", comparisons=write("d.parquet", [rows[0], rows[1] | {"rater_id": Decimal("1.50")}]))


def test_files_that_number_their_people_and_share_a_check(write):
    names = [
        write(f"b{k}.jsonl", [PAIR | {"prompt": "check" if i == 0 else f"{k}/{i}", "rater_id": i % 3} for i in range(30)]) for k in "xyz"
    ]
    told = [sentence for sentence in read_labels(names).counts["notices"] if "prefix_raters" in sentence]
    assert len(told) == 1 and "3 rater ID(s) (0, 1, 2) stand in several of 3 files that have no prompt, or few, in common" in told[0]
    told = read_labels(names[:2]).counts["notices"]
    assert any("which have 1 prompt(s) in common (0, 1, 2)" in sentence for sentence in told)


def test_ids_that_differ_by_what_is_not_seen(write):
    rows = [row | {"rater_id": name} for row, name in zip(pairs({}), ["ana", "ana\u200b", "bob"])]
    out = json.loads(invoke("data", "check", write("c.jsonl", rows), "--json").stdout)
    assert out["lookalikes"] == [{"ids": ["ana", "ana\u200b"], "differ_by": ["characters that are not seen"]}]


@pytest.mark.parametrize("sitting", [float, lambda i: pd.Timestamp("2024-01-01") + pd.Timedelta(days=i), lambda i: f"2024-01-{i:02d}"])
def test_sittings_of_other_types_and_pairs_within_them(write, sitting):
    rows = [
        {"prompt": "more", "response": f"a{i}", "rating": i % 5, "rater_id": f"r{i // 4}", "day": sitting(i // 2 + 1)} for i in range(8)
    ]
    data = write("r.parquet", rows)
    told = read_labels(ratings=data).counts["notices"]
    assert any("2 times one rater rated one prompt in several sittings (day), and 8 of the pairs" in sentence for sentence in told)
    assert len(read_labels(ratings=data, within="day").comparisons) == 4


def test_rounds_numbered_anew_for_each_rater(write):
    rows = [{"prompt": "more", "response": f"a{i}", "rating": i % 5, "rater_id": f"r{i // 4}", "round": i // 2 % 2} for i in range(8)]
    told = read_labels(ratings=write("r.jsonl", rows)).counts["notices"]
    assert any("several sittings (round), and 8 of the pairs" in sentence for sentence in told)


# Splits


def test_pairs_that_differ_in_capitals_and_spaces_are_the_same_on_both_sides(write):
    rows = [PAIR | {"prompt": f"p {i}", "rater_id": f"r{i % 2}", "split": "train"} for i in range(4)]
    rows += [row | {"prompt": row["prompt"].upper() + " ", "chosen": " 7", "split": "test"} for row in rows]
    out = json.loads(invoke("data", "check", write("c.jsonl", rows), "--json").stdout)
    assert out["leaks"]["splits"]["test"]["same_rater"] == 4


def test_a_split_under_another_name_is_pointed_out(write):
    rows = [row | {"subset": part} for row, part in zip(pairs(), ("train", "test"))]
    told = read_labels(write("c.jsonl", rows)).counts["notices"]
    assert any("subset looks like a split (test, train)" in sentence and "data.columns={split: subset}" in sentence for sentence in told)


def test_a_file_called_test_is_a_split(write):
    rows = [PAIR | {"prompt": f"p{i}", "rater_id": f"r{i % 2}"} for i in range(4)]
    out = json.loads(invoke("data", "check", write("train.jsonl", rows), write("test.jsonl", rows), "--json").stdout)
    assert any(s["level"] == "warn" and "4 of the 4 comparisons" in s["text"] for s in out["verdict"])


# Ratings


def test_true_and_false_alone_are_ratings(write):
    rows = [
        {"prompt": "p", "response": f"a{i}", "rating": rating, "rater_id": f"r{i // 2}"}
        for i, rating in enumerate([True, False, False, True])
    ]
    for name in ("r.jsonl", "r.csv"):
        assert read_labels(ratings=write(name, rows)).comparisons["a"].tolist() == ["a0", "a3"]
    fails("rating is missing", ratings=write("s.jsonl", [rows[0] | {"rating": None}, *rows]))


def test_helpsteer3_with_the_people_named(write):
    row = {"context": MESSAGES, "response1": "x", "response2": "y", "overall_preference": -1}
    scores = [{"score": -2, "annotator_id": "w7"}, {"score": 1, "annotator_id": "w9"}]
    labels = read_labels(write("h.jsonl", [row | {"individual_preference": scores}]))
    assert labels.comparisons[["label", "rater_id"]].values.tolist() == [[1, "w7"], [-1, "w9"]]
    labels = read_labels(write("o.jsonl", [row | {"annotator": name} for name in ("w7", "w9")]))
    assert labels.comparisons["rater_id"].tolist() == ["w7", "w9"]


# What is read before what


def test_what_is_wrong_with_a_file_is_said_before_a_second_of_imports(write):
    path = write("c.csv", [{"prompt": "p", "chosen": "x", "rejected": "y"}])
    command = [sys.executable, "-X", "importtime", "-m", "raterhf", "data", "check", path]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    imported = {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}
    assert "no column rater_id" in said and "raterhf.data.labels" in imported
    assert not imported & {"torch", "transformers", "datasets", "scipy.stats", "matplotlib"}
