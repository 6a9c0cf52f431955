"""Two answers and who preferred which, under a spreadsheet's own names: read as they say, or refused with the line to paste."""

import re
import shlex

import pandas as pd
import pytest
from label_files import fails
from small_run import invoke

from raterhf.data.labels import read_labels
from raterhf.data.suggest import pasted, suggest
from raterhf.yaml_reader import parse_yaml

ASKED = [
    ("Lisbon, or stay home?", "Lisbon, for the light.", "Stay home and save money."),
    ("Tea or coffee?", "Tea: always.", "Coffee."),
    ("Sea or hills?", "The sea.", "Hills, and a long walk."),
]
MAPPED = {"prompt": "Question", "a": "Answer A", "b": "Answer B", "label": "Preferred", "rater_id": "Annotator"}
LINE = "'data.columns={prompt: Question, a: Answer A, b: Answer B, label: Preferred, rater_id: Annotator}'"


def sheet(*preferred: str) -> list[dict]:
    """A row for each mark: A, B, or what else the cell holds, by two annotators in turn."""
    rows = []
    for i, mark in enumerate(preferred):
        question, a, b = ASKED[i % 3]
        rows.append({"Question": question, "Answer A": a, "Answer B": b, "Preferred": mark, "Annotator": f"ann{i % 2}"})
    return rows


def texts(*preferred: str) -> list[dict]:
    """As `sheet`, with the preferred answer's text instead of A and B."""
    return [row | {"Preferred": row.get(f"Answer {row['Preferred']}", row["Preferred"])} for row in sheet(*preferred)]


# What is suggested


@pytest.mark.parametrize("make", [sheet, texts])
def test_a_sheet_is_refused_with_the_line_that_reads_it(write, make):
    path = write("c.csv", make("A", "B", "tie", "B", "A", "A"))
    message = fails("no column chosen", LINE, comparisons=path)
    assert "\n" not in message
    refused = invoke("data", "check", path)
    assert refused.exit_code == 2 and LINE in refused.stderr
    pasted_word = shlex.split(re.search(r"'data\.columns=.*'", message)[0])
    assert invoke("data", "check", path, *pasted_word).exit_code == 0
    assert read_labels(path, columns=MAPPED).comparisons["label"].tolist() == [1, -1, 0, -1, 1, 1]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("prompt,response_1,response_2,winner,judge", "a: response_1, b: response_2, label: winner, rater_id: judge"),
        ("task,LeftAnswer,RightAnswer,better,worker", "prompt: task, a: LeftAnswer, b: RightAnswer, label: better, rater_id: worker"),
        ("task,first: text,second: text,vote,e-mail", 'prompt: task, a: "first: text", b: "second: text", label: vote, rater_id: e-mail'),
        ("prompt,A,B,label,rater_id", "a: A, b: B"),
    ],
)  # fmt: skip
def test_names_that_differ_in_the_side(names, expected):
    rows = [list(row.values()) for row in sheet("A", "B", "tie")]
    assert pasted("data.columns", suggest(pd.DataFrame(rows, columns=names.split(",")), {})) == f"'data.columns={{{expected}}}'"


def test_what_the_user_mapped_is_kept_and_missing_columns_too_are_suggested(write):
    path = write("c.csv", [row | {"Why": "so"} for row in sheet("A", "B", "tie")])
    mapped = {"a": "Answer A", "b": "Answer B", "reason": "Why"}
    fails("no column prompt, label", LINE.replace("}", ", reason: Why}"), comparisons=path, columns=mapped)


def test_nothing_is_suggested_without_two_texts_and_a_label():
    rows = pd.DataFrame(sheet("A", "B", "tie"))
    assert suggest(rows.drop(columns="Answer B"), {}) is None
    assert suggest(rows.drop(columns="Preferred"), {}) is None
    assert suggest(rows.drop(columns="Preferred").assign(Round=["1", "2", "1"]), {}) is None  # numbers under no label's name
    scored = rows.drop(columns=["Answer A", "Answer B"]).assign(**{"Score 1": ["1", "4", "5"], "Score 2": ["3", "3", "1"]})
    assert suggest(scored, {}) is None


# Wrong mappings


@pytest.mark.parametrize(("chosen", "rejected"), [("Preferred", "Answer B"), ("Answer A", "Preferred")])
def test_a_label_mapped_as_an_answer_is_refused(write, chosen, rejected):
    columns = {"prompt": "Question", "chosen": chosen, "rejected": rejected, "rater_id": "Annotator"}
    marks = write("c.csv", sheet("A", "B", "tie", "B", "A", "A"))
    fails("(Preferred) holds 'A', 'B', 'tie'", LINE, comparisons=marks, columns=columns)
    repeated = write("d.csv", texts("A", "B", "tie", "B", "A", "A"))
    fails("(Preferred) holds 'Lisbon, for the light.'", LINE, comparisons=repeated, columns=columns, max_bad=1.0)


def test_marks_as_chosen_without_two_answers_to_be_seen(write):
    rows = [{"prompt": "p", "chosen": mark, "rejected": f"text {i}", "rater_id": f"r{i}"} for i, mark in enumerate("ABA")]
    fails("Map the two answers' columns as a and b, and chosen as label", comparisons=write("c.csv", rows))


def test_short_answers_and_texts_of_the_preferred_are_no_labels(write):
    rows = [{"prompt": "A or B?", "chosen": "AB"[i % 2], "rejected": "BA"[i % 2], "rater_id": f"r{i}"} for i in range(4)]
    assert len(read_labels(write("c.csv", rows)).comparisons) == 4
    both = [
        {"prompt": q, "response_a": a, "response_b": b, "better": (a, b)[i % 2], "worse": (b, a)[i % 2], "rater_id": f"r{i}"}
        for i, (q, a, b) in enumerate(ASKED)
    ]
    read = read_labels(write("d.csv", both), columns={"chosen": "better", "rejected": "worse"})
    assert read.comparisons["a"].tolist() == ["Lisbon, for the light.", "Coffee.", "The sea."]


def test_answers_mapped_as_chosen_and_rejected_leave_a_label_that_is_warned_of(write):
    columns = {"prompt": "Question", "chosen": "Answer A", "rejected": "Answer B", "rater_id": "Annotator"}
    line = "'data.columns={prompt: Question, rater_id: Annotator, a: Answer A, b: Answer B, label: Preferred}'"
    for name, rows in (("c.csv", sheet("A", "B", "tie")), ("d.csv", texts("A", "B", "tie"))):
        told = read_labels(write(name, rows), columns=columns).counts["notices"]
        assert len([one for one in told if "Preferred looks like a label and is not read" in one and line in one]) == 1
    plain = read_labels(write("e.csv", [row | {"Preferred": "because"} for row in sheet("A", "B")]), columns=columns)
    assert "looks like a label" not in str(plain.counts["notices"])
    shown = invoke(
        "data", "check", write("c.csv", sheet("A", "B", "tie")), *(f"data.columns.{ours}={name}" for ours, name in columns.items())
    )
    assert "looks like a label" in " ".join(shown.stdout.split())


# Labels that repeat an answer


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_preferred_answers_text_is_read_as_its_side(write, suffix):
    rows = texts("A", "B", "tie", "both good", "A", " Hills, and a long walk.\t")
    path = write(f"c.{suffix}", rows)
    labels = read_labels(path, columns=MAPPED)
    assert labels.comparisons["label"].tolist() == [1, -1, 0, 0, 1, -1]
    assert labels.counts["comparisons"]["labels_read"][path]["a"] == {"means": "a", "rows": 2}
    notices = " | ".join(labels.counts["notices"])
    assert "Preferred repeats the text of the preferred answer in 4 of 6 rows" in notices
    assert "'both good' (1 rows): read as ties" in notices


def test_rows_whose_text_says_no_side_are_refused_by_row(write):
    rows = texts("A", "B", "A", "B", "tea always", "A", "Both")
    rows[5] |= {"Answer B": "The sea."}  # the same answer twice
    rows[6] |= {"Answer A": "Both"}  # an answer that is also a word for a tie
    path = write("c.csv", rows)
    fails("label is the text of neither answer", "row 5 (line 6) 'tea always'", comparisons=path, columns=MAPPED)
    fails("label is the text of both answers", "row 6 (line 7)", comparisons=path, columns=MAPPED)
    message = fails("can be read in two ways", "row 7 (line 8) 'Both'", comparisons=path, columns=MAPPED)
    assert "3 bad row(s)" in message
    assert read_labels(path, columns=MAPPED, max_bad=0.5).comparisons["label"].tolist() == [1, -1, 1, -1]
    told = read_labels(path, columns=MAPPED, max_bad=0.5, labels={"tea always": "skip"}).counts["comparisons"]
    assert (told["skipped"], told["dropped"]) == (1, 2)


def test_cells_that_are_missing_or_lists_are_faults_of_their_rows(write):
    rows = texts("A", "B", "A", "B")
    rows[2] |= {"Preferred": None}
    rows[3] |= {"Preferred": ["Lisbon, for the light."]}
    path = write("c.jsonl", rows)
    fails("label is the text of neither answer", "row 3 (line 3)", "row 4 (line 4) ['Lisbon", comparisons=path, columns=MAPPED)
    read = read_labels(path, columns=MAPPED, max_bad=0.5)
    assert "in 2 of 4 rows" in str(read.counts["notices"])


def test_marks_stay_marks_where_answers_are_digits_or_sides(write):
    dice = [
        {"prompt": "p", "a": str(i % 6 + 1), "b": str((i + 2) % 6 + 1), "label": (1, -1, 0)[i % 3], "rater_id": f"r{i}"} for i in range(12)
    ]
    assert read_labels(write("c.csv", dice)).comparisons["label"].tolist() == [1, -1, 0] * 4
    digits = [row | {"label": row["ab"[i % 2]]} for i, row in enumerate(dice)]
    assert read_labels(write("d.csv", digits)).comparisons["label"].tolist() == [1, -1] * 6
    sides = [{"prompt": "p", "a": "right", "b": "left", "label": mark, "rater_id": mark} for mark in ("left", "right")]
    fails("write data.labels=left-right", comparisons=write("e.csv", sides))  # the side or the text: not for us to say


# Maps to paste


def test_values_are_quoted_where_a_map_needs_it_and_all_are_there(write):
    values = ["gut, sehr", "so: so", "it's bad", "null", *"vwxyz"]
    message = fails("Say what each means", comparisons=write("c.csv", [row | {"rater_id": "r"} for row in sheet(*values)]), columns=MAPPED)
    word = shlex.split(message[message.index("'data.labels=") :])[0]
    assert parse_yaml(word.removeprefix("data.labels=").replace("?", "tie")) == dict.fromkeys(values, "tie")


def test_free_texts_are_no_labels(write):
    rows = sheet(*(f"because of {i}" for i in range(30)))
    message = fails("So many are no labels", comparisons=write("c.csv", rows), columns=MAPPED)
    assert "data.labels" not in message


# Few labels


def test_few_labels_of_a_rater_say_what_can_be_learned(write):
    rows = [row | {"Annotator": f"ann{i % 25}"} for i, row in enumerate(sheet(*"ABABA" * 25))]
    few = " ".join(invoke("data", "check", write("c.csv", rows), *shlex.split(LINE)).stdout.split())
    assert (
        "Half of the raters have 5 labels or fewer" in few and "groups of them, or all together, prefer, and little of each person" in few
    )
    enough = " ".join(invoke("data", "check", write("d.csv", sheet(*"AB" * 20)), *shlex.split(LINE)).stdout.split())
    assert "labels or fewer" not in enough


def test_answers_that_are_numbers_are_no_labels(write):
    rows = [{"prompt": "Roll a die.", "chosen": c, "rejected": r, "rater_id": f"r{i}"} for i, (c, r) in enumerate([("6", "1"), ("5", "2")])]
    labels = read_labels(comparisons=write("rolls.jsonl", rows))
    assert list(labels.comparisons.a) == ["6", "5"] and list(labels.comparisons.b) == ["1", "2"]
