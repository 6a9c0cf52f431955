"""`raterhf data convert`: a small file in the real shape of each tool's export, and the labels that come of it."""

import json

import pandas as pd
import pytest
from exports import CASES, alpaca, annotation, argilla, doccano, multipref, pairwise, preferred, prodigy, task
from small_run import invoke, succeeds

from raterhf.data.convert import TOOLS, recognise
from raterhf.data.files import read_rows
from raterhf.data.labels import read_labels


@pytest.fixture
def convert(tmp_path, monkeypatch):
    """convert(tool, files, *options) -> rows of the file written, and what was said."""
    monkeypatch.chdir(tmp_path)

    def convert(tool: str, *words: str) -> tuple[pd.DataFrame, str]:
        said = succeeds("data", "convert", "--from", tool, *words, "--out", "labels.jsonl", "--force")
        return read_rows("labels.jsonl").frame, said

    return convert


def refused(*words: str) -> str:
    result = invoke("data", "convert", *words)
    assert result.exit_code == 2, result.output
    return result.stderr


def columns(frame: pd.DataFrame, *names: str) -> list[list]:
    return frame[list(names)].values.tolist()


# Label Studio


def test_label_studio_pairs(convert, write):
    why = {"type": "textarea", "from_name": "why", "to_name": "one", "value": {"text": ["Cats", "purr."]}}
    tasks = [
        task(1, annotation(3, pairwise("left"), why), annotation({"id": 4, "email": "bob@x.org"}, pairwise("right"))),
        task(2, annotation(3, cancelled=True), annotation(4)),
    ]
    tasks[1]["drafts"] = [{"result": []}]
    path = write("export.json", json.dumps(tasks))
    frame, said = convert("label-studio", path)
    assert columns(frame, "prompt", "a", "b", "label", "rater_id") == [
        ["Pet?", "Cat.", "Dog.", "a", "3"],
        ["Pet?", "Cat.", "Dog.", "b", "bob@x.org"],
    ]
    assert frame["reason"].tolist() == ["Cats\npurr.", None]
    assert "a is answer_a, b is answer_b, prompt is Pet" not in said and "a is answer_a, b is answer_b, prompt is prompt" in said
    assert "1 left out: annotations that were skipped" in said and "1 left out: annotations without a result" in said
    assert "1 left out: drafts and predictions" in said and "next: raterhf data check --comparisons labels.jsonl" in said
    assert read_labels(path).comparisons["label"].tolist() == [1, -1]  # read as it is, too


def test_label_studio_ratings_choices_and_names(convert, write):
    stars = {"type": "rating", "from_name": "quality", "to_name": "text", "value": {"rating": 4}}
    tasks = [{"id": 1, "data": {"question": "Pet?", "text": "Cat."}, "annotations": [annotation(3, stars)]}]
    frame, _ = convert("label-studio", write("stars.json", json.dumps(tasks)))
    assert columns(frame, "prompt", "response", "rating", "rater_id") == [["Pet?", "Cat.", 4, "3"]]
    said = [
        annotation(n, {"type": "choices", "from_name": "best", "value": {"choices": [word]}}) for n, word in enumerate(["Left", "B", "Tie"])
    ]
    frame, _ = convert("label-studio", write("choices.json", json.dumps([task(1, *said)])))
    assert frame["label"].tolist() == ["a", "b", "tie"]
    odd = annotation(1, {"type": "choices", "from_name": "best", "value": {"choices": ["Good"]}})
    assert "choice 'good' of best names neither answer" in refused(
        "--from", "label-studio", write("odd.json", json.dumps([task(1, odd)])), "--out", "o.jsonl"
    )
    unclear = [{"id": 1, "data": {"x": "Pet?", "y": "Cat.", "z": "Dog."}, "annotations": [annotation(3, pairwise("left"))]}]
    path = write("unclear.json", json.dumps(unclear))
    assert "which two texts of a task are compared? It has x, y, z" in refused("--from", "label-studio", path, "--out", "o.jsonl")
    frame, _ = convert("label-studio", path, "--column", "a=y", "--column", "b=z", "--column", "prompt=x")
    assert columns(frame, "prompt", "a", "b") == [["Pet?", "Cat.", "Dog."]]


# Argilla


def test_argilla_2(convert, write):
    first = argilla("Cat.", 4, 2, 5) | {"quality.suggestion": 3, "quality.responses.status": ["submitted", "discarded", "draft"]}
    first |= {"reason.responses": ["Purrs."], "reason.responses.users": ["u0"], "reason.responses.status": ["submitted"]}
    rows = [first, argilla("Dog.", 1)]
    for name in ("records.parquet", "records.jsonl"):
        frame, said = convert("argilla", write(name, rows))
        expected = [["Pet?", "Cat.", 4, "u0", "Purrs."], ["Pet?", "Dog.", 1, "u0", None]]
        assert columns(frame, "prompt", "response", "rating", "rater_id", "reason") == expected
        assert "1 left out: responses that are discarded" in said and "1 left out: responses that are draft" in said
        assert "suggestions (quality.suggestion) are nobody's labels" in said


def test_argilla_as_its_json_nests_it(convert, write):
    given = [{"user_id": "u1", "value": 4}, {"user_id": "u2", "value": 2, "status": "discarded"}]
    record = {"id": "1", "fields": {"prompt": "Pet?", "response": "Cat."}, "metadata": {}, "suggestions": {}, "vectors": {}}
    frame, said = convert("argilla", write("records.json", json.dumps([record | {"responses": {"quality": given}}])))
    assert columns(frame, "prompt", "response", "rating", "rater_id") == [["Pet?", "Cat.", 4, "u1"]] and "1 left out" in said


def test_argilla_1_labels_and_rankings(convert, write):
    def answer(value, user="u1", status="submitted"):
        return {"user_id": user, "value": value, "status": status}

    ranks = [{"rank": 2, "value": "response_1"}, {"rank": 1, "value": "response_2"}, {"rank": 2, "value": "response_3"}]
    texts = {"prompt": "Pet?", "response_1": "Cat.", "response_2": "Dog.", "response_3": "Eel."}
    frame, _ = convert("argilla", write("ranked.jsonl", [texts | {"order": [answer(ranks)], "order-suggestion": None}]))
    assert columns(frame, "a", "b", "label") == [["Cat.", "Dog.", "b"], ["Cat.", "Eel.", "tie"], ["Dog.", "Eel.", "a"]]
    del texts["response_3"]
    chosen = [answer("response_2"), answer("tie", "u2"), answer("response_1", "u3", "discarded")]
    frame, said = convert("argilla", write("chosen.jsonl", [texts | {"best": chosen}]))
    assert columns(frame, "a", "b", "label", "rater_id") == [["Cat.", "Dog.", "b", "u1"], ["Cat.", "Dog.", "tie", "u2"]]
    assert "responses that are discarded" in said


def test_argilla_2_rankings_are_names_in_their_order(convert, write):
    texts = {"prompt": "Pet?", "one": "Cat.", "two": "Dog.", "three": "Eel."}
    answers = {"order.responses": [["two", "three", "one"]], "order.responses.users": ["u1"], "order.responses.status": ["submitted"]}
    frame, _ = convert("argilla", write("ranked.jsonl", [texts | answers]))
    assert columns(frame, "a", "b", "label") == [["Dog.", "Eel.", "a"], ["Dog.", "Cat.", "a"], ["Eel.", "Cat.", "a"]]


def test_argilla_2_json_does_not_say_what_was_submitted(convert, write):
    record = {"id": "1", "fields": {"prompt": "Pet?", "response": "Cat."}, "metadata": {}, "suggestions": {}, "vectors": {}}
    given = {"quality": [{"user_id": "u1", "value": 4}]}
    frame, said = convert("argilla", write("records.json", json.dumps([record | {"responses": given}])))
    assert len(frame) == 1 and "do not say which responses are drafts or discarded" in said


# Prodigy and doccano


def test_prodigy_choices(convert, write):
    tie = [{"id": "x", "text": "Cat."}, {"id": "y", "text": "Dog."}, {"id": "tie", "text": "Alike."}]
    rows = [
        prodigy("pets-ann", ["y"]),
        prodigy("pets-ann", [], "ignore"),
        prodigy("pets-ann", []),
        prodigy("pets-bob", ["tie"], options=tie),
    ]
    frame, said = convert("prodigy", write("db.jsonl", rows))
    assert columns(frame, "a", "b", "label", "rater_id") == [
        ["Cat.", "Dog.", "b", "pets-ann"], ["Dog.", "Eel.", "a", "pets-ann"], ["Cat.", "Dog.", "tie", "pets-bob"],
    ]  # fmt: skip
    assert "1 left out: rows answered ignore" in said and "1 left out: rows with nothing, or everything, chosen" in said
    spans = write("spans.jsonl", [{"text": "x", "spans": [], "answer": "accept", "_view_id": "ner_manual", "_task_hash": 1}])
    assert "no options and accept (ner_manual)" in refused("--from", "prodigy", spans, "--out", "o.jsonl")


def test_doccano_one_file_an_annotator(convert, write):
    ann = [doccano("Cat.", "4", Comments=["Purrs."]), doccano("Dog.")]
    bob = [doccano("Cat.", "2")]
    frame, said = convert("doccano", write("ann.jsonl", ann), write("bob.jsonl", bob))
    assert columns(frame, "prompt", "response", "rating", "rater_id") == [["Pet?", "Cat.", "4", "ann"], ["Pet?", "Cat.", "2", "bob"]]
    assert frame["reason"].tolist() == ["Purrs.", None] and "1 left out: rows with no label, or several" in said
    pair = [doccano("", "left", answer_a="Cat.", answer_b="Dog.")]
    frame, _ = convert("doccano", write("eve.jsonl", pair))
    assert columns(frame, "prompt", "a", "b", "label", "rater_id") == [["Pet?", "Cat.", "Dog.", "a", "eve"]]
    assert "does not say who gave which" in refused("--from", "doccano", write("all.jsonl", ann), "--out", "o.jsonl")
    sentiment = [doccano("Cat.", "POSITIVE")]
    assert "row 1 (line 1): label 'POSITIVE' is neither" in refused("--from", "doccano", write("joe.jsonl", sentiment), "--out", "o.jsonl")


# Data sets


def test_arena_multi_turn_and_judges(convert):
    frame, said = convert("arena", str(CASES / "kaggle.csv"))
    assert frame["label"].tolist() == ["a", "b", "tie"] * 4 and "rater_id" not in frame
    assert "nobody is named who judged" in said and "votes: 4 a, 4 b, 4 tie" in said
    assert "no column rater_id" in invoke("data", "check", "--comparisons", "labels.jsonl").stderr
    frame, _ = convert("arena", str(CASES / "kaggle.csv"), "--column", "rater_id=model_a")
    assert set(frame["rater_id"]) == {"gpt-4"}


def test_arena_answers_after_shared_turns(convert, write):
    def turns(*texts):
        return [{"role": role, "content": text} for role, text in zip(["user", "assistant"] * 2, texts)]

    rows = [
        {
            "conversation_a": turns("Hi", "Hello", "Pet?", "Cat."),
            "conversation_b": turns("Hi", "Hello", "Pet?", "Dog."),
            "winner": "model_b",
            "judge": "j",
        }
    ]
    frame, said = convert("arena", write("votes.jsonl", rows))
    assert [m["content"] for m in frame["prompt"][0]] == ["Hi", "Hello", "Pet?"] and columns(frame, "a", "b") == [["Cat.", "Dog."]]
    assert "several turns" not in said


def test_flags_that_are_not_one_vote_are_refused_by_row(write):
    rows = (
        "prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie,judge\n" + "Pet?,Cat.,Dog.,1,0,0,j\nPet?,Cat.,Dog.,1,1,0,k\n"
    )
    path = write("votes.csv", rows)
    assert "row 2 (line 3) None" in invoke("data", "check", "--comparisons", path).stderr


def test_prism_utterances_and_conversations(convert, write):
    frame, said = convert("prism", str(CASES / "prism.jsonl"))
    assert len(frame) == 36 and frame["within"].nunique() == 12
    assert "12 of 36 ratings are of later turns" in said
    history = [
        {"role": "user", "content": "Hi", "turn": 0},
        {"role": "model", "content": "Yo", "turn": 0, "within_turn_id": 0, "score": 80, "if_chosen": True, "model_name": "m1"},
        {"role": "model", "content": "Hello", "turn": 0, "within_turn_id": 1, "score": 20, "if_chosen": False, "model_name": "m2"},
        {"role": "user", "content": "Pet?", "turn": 1},
        {"role": "model", "content": "Cat.", "turn": 1, "within_turn_id": 0, "score": 60, "if_chosen": True, "model_name": "m1"},
        {"role": "model", "content": "Dog.", "turn": 1, "within_turn_id": 1, "score": 90, "if_chosen": False, "model_name": "m1"},
    ]
    rows = [{"conversation_id": "c1", "user_id": "u1", "conversation_type": "unguided", "conversation_history": history}]
    frame, _ = convert("prism", write("conversations.jsonl", rows))
    assert columns(frame, "response", "rating", "rater_id", "source") == [
        ["Yo", 80, "u1", "m1"], ["Hello", 20, "u1", "m2"], ["Cat.", 60, "u1", "m1"], ["Dog.", 90, "u1", "m1"],
    ]  # fmt: skip
    assert [m["content"] for m in frame["prompt"][3]] == ["Hi", "Yo", "Pet?"] and frame["within"].tolist() == [
        "c1/0",
        "c1/0",
        "c1/1",
        "c1/1",
    ]
    history[1]["if_chosen"] = False
    frame, said = convert("prism", write("broken.jsonl", rows))
    assert len(frame) == 2 and "2 left out: ratings whose history is not in the file" in said


def test_helpsteer3_without_individual_scores(convert, write):
    row = {"domain": "code", "context": [{"role": "user", "content": "Q"}], "response1": "A", "response2": "B"}
    frame, said = convert("helpsteer3", write("overall.jsonl", [row | {"overall_preference": n} for n in (-3, 0, 2)]))
    assert frame["label"].tolist() == ["a", "tie", "b"] and frame["strength"].tolist()[::2] == [3, 2]
    assert "no column names who judged" in said
    many = [row | {"individual_preference": [{"score": -1, "reasoning": "clear"}, {"score": 9, "reasoning": ""}]}]
    path = write("odd.jsonl", many)
    frame, _ = convert("helpsteer3", path)
    assert frame["reason"].tolist() == ["clear", None]
    assert "row 1 (line 1) None" in invoke("data", "check", "--comparisons", path).stderr  # 9 is no score


def test_multipref(convert, write):
    normal = [preferred("w1", "A-is-clearly-better"), preferred("w2", "B-is-slightly-better")]
    rows = [multipref(normal, [preferred("e1", "Tie", "A-is-slightly-better")])]
    path = write("pref.parquet", rows)
    frame, _ = convert("multipref", path)
    assert columns(frame, "label", "rater_id", "group", "reason") == [
        ["a", "w1", "normal", "Short."], ["b", "w2", "normal", "Short."], ["tie", "e1", "expert", "Short."],
    ]  # fmt: skip
    assert frame["strength"].tolist()[:2] == [2, 1]
    frame, _ = convert("multipref", path, "--attributes")
    assert columns(frame, "attribute", "label")[-2:] == [["overall", "tie"], ["helpful", "a"]]
    labels = read_labels(path, group_column="group")
    assert labels.raters["group"].tolist() == ["expert", "normal", "normal"]


def test_alpaca_farm(convert, write):
    rows = [alpaca(1, 0), alpaca(2, 1), alpaca(1.5, 2), alpaca(1, 0, "")]
    frame, _ = convert("alpaca-farm", write("farm.json", json.dumps(rows)))
    assert frame["label"].tolist() == ["a", "b", "tie", "a"] and frame["rater_id"].tolist() == ["0", "1", "2", "0"]
    assert frame["prompt"].tolist()[2:] == ["Sum\n\n1, 2", "Sum"] and frame["source_b"][0] == "m2"


def test_a_column_for_each_annotator(convert, write):
    frame, said = convert("wide", str(CASES / "wide.csv"))
    assert columns(frame, "prompt", "rater_id", "label")[:3] == [
        ["Q0", "ana@x.org", "1"],
        ["Q1", "ana@x.org", "-1"],
        ["Q1", "bob@x.org", "1"],
    ]
    assert len(frame) == 9 and "3 left out: cells that are blank" in said and "not read: authoritative_annotator" in said
    table = "question;answer;ann;bob\nPet?;Cat.;5;\nPet?;Dog.;2;4\n"
    path = write("ratings.csv", table)
    frame, _ = convert("wide", path)
    assert columns(frame, "prompt", "response", "rater_id", "rating") == [
        ["Pet?", "Cat.", "ann", "5"], ["Pet?", "Dog.", "ann", "2"], ["Pet?", "Dog.", "bob", "4"],
    ]  # fmt: skip
    frame, _ = convert("wide", path, "--annotators", "bob")
    assert set(frame["rater_id"]) == {"bob"}
    words = write("words.csv", "prompt,response_a,response_b,ann,bob\nPet?,Cat.,Dog.,Response A,tie\nPet?,Eel.,Dog.,Response B,\n")
    frame, _ = convert("wide", words)
    assert columns(frame, "a", "rater_id", "label") == [
        ["Cat.", "ann", "Response A"],
        ["Cat.", "bob", "tie"],
        ["Eel.", "ann", "Response B"],
    ]
    assert read_labels("labels.jsonl").comparisons["label"].tolist() == [1, 0, -1]
    assert "no column eve" in refused("--from", "wide", path, "--annotators", "eve", "--out", "o.jsonl")


# Of all


def test_every_tool_is_recognised_by_its_columns_and_not_by_the_files_name(write):
    rows = {
        "label-studio": task(1, annotation(1, pairwise("left"))),
        "argilla": argilla("Cat.", 1),
        "prodigy": prodigy("ann", []),
        "doccano": doccano("Cat.", "1"),
        "alpaca-farm": alpaca(1, 0),
        "multipref": multipref([], []),
    }
    for tool, row in rows.items():
        assert recognise(read_rows(write("rows.jsonl", [row])).frame) == tool
    for tool, name in (("arena", "arena.jsonl"), ("arena", "kaggle.csv"), ("prism", "prism.jsonl"), ("helpsteer3", "helpsteer3.jsonl")):
        assert recognise(read_rows(CASES / name).frame) == tool
    for name in ("wide.csv", "leak.jsonl", "parts.jsonl", "decimal.parquet"):
        assert recognise(read_rows(CASES / name).frame) is None
    assert set(rows) | {"arena", "prism", "helpsteer3", "wide"} == set(TOOLS)


def test_exports_that_went_through_a_table_are_read(convert, write):
    rows = read_rows(CASES / "helpsteer3.jsonl").frame
    for spell in (json.dumps, str):
        frame, _ = convert(
            "helpsteer3", write("table.csv", rows.assign(**{n: rows[n].map(spell) for n in ("context", "individual_preference")}))
        )
        assert len(frame) == 15 and frame["prompt"][0] == [{"role": "user", "content": "Q0"}]


def test_an_export_of_another_shape_is_a_message(write):
    path = write("odd.json", json.dumps([task(1, annotation(3, pairwise("left"))) | {"annotations": 7}]))
    assert "has the columns of label-studio but other things in them" in refused("--from", "label-studio", path, "--out", "o.jsonl")


def test_what_is_written_is_read_alike_whatever_the_suffix(tmp_path):
    for suffix in ("parquet", "jsonl"):
        out = tmp_path / f"labels.{suffix}"
        succeeds("data", "convert", "--from", "helpsteer3", str(CASES / "helpsteer3.jsonl"), "--out", str(out))
        found = read_labels(out).comparisons.drop(columns="file")
        assert found.equals(read_labels(CASES / "helpsteer3.jsonl").comparisons.drop(columns="file"))
    assert "would be overwritten" in refused("--from", "wide", str(CASES / "wide.csv"), "--out", str(out))
    assert "written as .parquet or .jsonl" in refused("--from", "wide", str(CASES / "wide.csv"), "--out", str(tmp_path / "l.xlsx"))
    assert "not the columns of prism" in refused("--from", "prism", str(CASES / "wide.csv"), "--out", str(tmp_path / "new.jsonl"))
    assert "each is OURS=NAME" in refused(
        "--from", "wide", str(CASES / "wide.csv"), "--out", str(tmp_path / "new.jsonl"), "--column", "prompt"
    )


def test_alpaca_eval_2_weighs_its_preferences(convert, write):
    frame, said = convert(
        "alpaca-farm", write("weighted.json", json.dumps([alpaca(1.25, 0), alpaca(1.75, 1), alpaca(2, 1), alpaca(1.5, 0)]))
    )
    assert columns(frame, "label", "strength") == [["a", 0.25], ["b", 0.25], ["b", None], ["tie", None]]
    assert "2 of 4 preferences lie between 1 and 2" in said


def test_a_session_of_the_arena_can_be_the_rater(write):
    rows = [json.loads(line) for line in (CASES / "arena.jsonl").read_text().splitlines()]
    rows = [
        {name: cell for name, cell in row.items() if name != "judge"} | {"evaluation_session_id": f"s{i % 3}"} for i, row in enumerate(rows)
    ]
    path = write("arena.jsonl", rows)
    said = invoke("data", "check", path)
    assert said.exit_code == 2 and "data.columns={rater_id: evaluation_session_id}" in said.stderr
    assert set(read_labels(path, columns={"rater_id": "evaluation_session_id"}).comparisons["rater_id"]) == {"s0", "s1", "s2"}


def test_an_evaluator_of_multipref_who_is_both_is_said(convert, write):
    row = multipref([preferred("w1", "Tie")], [preferred("w1", "A-is-clearly-better")])
    frame, said = convert("multipref", write("m.jsonl", [row]))
    assert len(frame) == 2 and "1 evaluators are both ordinary workers and experts" in said
