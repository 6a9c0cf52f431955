"""Reading rater-labelled data: every form of file comes out as one, every mistake is named with its row."""

import json
import os
from pathlib import Path

import datasets
import huggingface_hub
import pytest
from label_files import PAIR, fails, pairs
from small_run import invoke

from raterhf.data import files, normalise
from raterhf.data.labels import read_labels

REAL = Path(__file__).parents[1] / "../shared/data"
CORE = ["prompt", "a", "b", "label", "rater_id"]
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no folder {REAL}: the real data are not shipped")


# What comes out


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_chosen_and_rejected_become_a_and_b(write, suffix):
    labels = read_labels(write(f"c.{suffix}", pairs()))
    assert labels.comparisons[CORE].to_dict("records") == [
        {"prompt": "A number?", "a": "7", "b": "3", "label": 1, "rater_id": "r1"},
        {"prompt": "A number?", "a": "7", "b": "3", "label": 1, "rater_id": "r2"},
    ]
    assert labels.comparisons["label"].dtype == "int64"
    assert list(labels.demonstrations.columns) == ["prompt", "completion", "rater_id", "file", "split"]
    assert len(labels.demonstrations) == 0
    assert labels.raters.to_dict("records") == [
        {"rater_id": "r1", "persona": None, "group": None, "split": "train"},
        {"rater_id": "r2", "persona": None, "group": None, "split": "train"},
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_labels_with_ties(write, suffix):
    rows = [{"prompt": "p", "a": "x", "b": "y", "label": n, "rater_id": f"r{n}"} for n in (1, -1, 0)]
    labels = read_labels(write(f"c.{suffix}", rows))
    assert labels.comparisons["label"].tolist() == [1, -1, 0]
    assert labels.counts["comparisons"]["ties"] == 1


def test_equal_answers_may_tie(write):
    rows = [{"prompt": "p", "a": "x", "b": "x", "label": 0, "rater_id": r} for r in ("r1", "r2")]
    labels = read_labels(write("c.jsonl", rows))
    assert labels.counts["comparisons"]["ties_of_equal_answers"] == 2
    rows.append(rows[0] | {"label": -1})
    fails("a equals b", "row 3 (line 3)", comparisons=write("d.jsonl", rows))


def test_conversations_in_jsonl_and_parquet(write):
    ask = [{"role": "user", "content": "A number?"}]
    rows = [{"prompt": ask, "chosen": [{"role": "assistant", "content": "7"}], "rejected": "3", "rater_id": r} for r in ("r1", "r2")]
    labels = read_labels(write("c.jsonl", rows))
    assert labels.comparisons.loc[0, ["prompt", "a", "b"]].tolist() == [ask, "7", "3"]
    rows = [row | {"rejected": [{"role": "assistant", "content": "3"}]} for row in rows]
    assert read_labels(write("c.parquet", rows)).comparisons[CORE].equals(labels.comparisons[CORE])


def test_implicit_prompt_is_all_but_the_last_message(write):
    ask = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A number?"}]
    seven, three = ([*ask, {"role": "assistant", "content": n}] for n in "73")
    rows = [{"chosen": seven, "rejected": three, "rater_id": r} for r in ("r1", "r2")]
    labels = read_labels(write("c.jsonl", rows))
    assert labels.comparisons.loc[1, ["prompt", "a", "b"]].tolist() == [ask, "7", "3"]
    other = [{"role": "user", "content": "Another?"}, three[-1]]
    bad = write("d.jsonl", [*rows, {"chosen": seven, "rejected": other, "rater_id": "r1"}])
    fails("chosen and rejected differ before the last message", "row 3 (line 3)", comparisons=bad)
    assert read_labels(bad, max_bad=1.0).counts["dropped"] == {bad: {"r1": 1}}


def test_ratings_become_pairs_within_a_rater_and_a_prompt(write):
    told = [
        ("r1", "p", "x", 1), ("r2", "p", "x", 5), ("r1", "p", "y", 3), ("r1", "p", "z", 3),
        ("r1", "q", "x", 9), ("r2", "p", "y", 2.5), ("r2", "p", "x", 4),
    ]  # fmt: skip
    rows = [dict(zip(("rater_id", "prompt", "response", "rating"), row)) for row in told]
    expected = [
        # r1 rated y and z alike, and only one answer to q; r2 rated x twice.
        {"prompt": "p", "a": "y", "b": "x", "label": 1, "rater_id": "r1"},
        {"prompt": "p", "a": "z", "b": "x", "label": 1, "rater_id": "r1"},
        {"prompt": "p", "a": "x", "b": "y", "label": 1, "rater_id": "r2"},
        {"prompt": "p", "a": "x", "b": "y", "label": 1, "rater_id": "r2"},
    ]
    for name in ("r.jsonl", "r.csv", "r.parquet"):
        labels = read_labels(ratings=write(name, rows))
        assert labels.comparisons[CORE].to_dict("records") == expected
        counts = labels.counts["ratings"]
        assert {k: counts[k] for k in ("read", "used", "pairs", "equal_ratings", "same_answer")} == {
            "read": 7, "used": 7, "pairs": 4, "equal_ratings": 1, "same_answer": 1,
        }  # fmt: skip
        assert counts["ratings_without_pair"] == 1


def test_raters_whose_ratings_make_no_pair_are_listed(write):
    rows = [
        {"rater_id": r, "prompt": "p", "response": a, "rating": n}
        for r, a, n in [
            ("r1", "x", 1),
            ("r1", "y", 2),
            ("r2", "x", 2),
            ("r2", "y", 2),
            ("r3", "x", 1),
            ("r3", "y", 0),
        ]
    ]
    labels = read_labels(ratings=write("r.jsonl", rows))
    assert labels.counts["ratings"]["raters_without_pair"] == ["r2"]
    assert labels.raters["rater_id"].tolist() == ["r1", "r3"]
    fails("2 ratings make no pair", ratings=write("s.jsonl", rows[2:4]))


def test_too_many_pairs_of_ratings(write, monkeypatch):
    monkeypatch.setattr(normalise, "MAX_PAIRS", 5)
    rows = [{"rater_id": "r1", "prompt": "p", "response": str(i), "rating": i} for i in range(4)]
    fails("6 pairs of ratings, the most is 5", "rated 4 answers", "set data.pairs_per_rater", ratings=write("r.jsonl", rows))


def test_demonstrations_and_several_files(write):
    one = write("d1.jsonl", [{"prompt": "p", "completion": "x", "rater_id": "r1"}])
    two = write("d2.csv", [{"prompt": "p", "completion": "y", "rater_id": 2}])
    labels = read_labels(demonstrations=[one, two])
    assert labels.demonstrations["completion"].tolist() == ["x", "y"]
    assert labels.raters["rater_id"].tolist() == ["2", "r1"]
    assert list(labels.comparisons.columns) == [*CORE, "file", "split", "sided", "source_a", "source_b"]
    assert labels.counts["demonstrations"]["files"] == [one, two]


def test_csv_keeps_text_that_looks_like_a_null_or_a_number(write):
    text = 'prompt,completion,rater_id\r\nNA,null,007\r\n3.0,007,7\r\n"two\nlines, ""quoted""",nan,r\r\n'
    labels = read_labels(demonstrations=write("d.csv", "\ufeff" + text))  # with a byte-order mark
    assert labels.demonstrations["prompt"].tolist() == ["NA", "3.0", 'two\nlines, "quoted"']
    assert labels.demonstrations["completion"].tolist() == ["null", "007", "nan"]
    assert labels.demonstrations["rater_id"].tolist() == ["007", "7", "r"]


def test_jsonl_lines_end_only_in_line_feeds(write):
    rows = [{"prompt": "one\u2028two", "completion": "x\u0085y", "rater_id": r} for r in (1, "2")]
    text = "\n".join(json.dumps(row, ensure_ascii=False) + "\r" for row in rows)
    labels = read_labels(demonstrations=write("d.jsonl", text))
    assert labels.demonstrations["prompt"].tolist() == ["one\u2028two"] * 2
    assert labels.demonstrations["rater_id"].tolist() == ["1", "2"]


def test_folder_of_datasets(tmp_path):
    rows = pairs()
    whole = datasets.Dataset.from_list(rows)
    whole.save_to_disk(tmp_path / "whole")
    assert len(read_labels(tmp_path / "whole").comparisons) == 2
    parts = {"train": whole, "test": datasets.Dataset.from_list(pairs({"rater_id": "r3"}))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "parts")
    labels = read_labels(tmp_path / "parts", split="test")
    assert labels.raters["rater_id"].tolist() == ["r1", "r2", "r3"]
    assert labels.counts["comparisons"]["split"] == {"test": 3, "train": 2}
    (tmp_path / "plain").mkdir()
    fails("save_to_disk did not write", comparisons=tmp_path / "plain")


def test_names_on_the_hub(monkeypatch):
    asked = []
    parts = {"train": datasets.Dataset.from_list(pairs()), "test": datasets.Dataset.from_list(pairs({"rater_id": "r3"}))}

    def load_dataset(*names):
        asked.append(names)
        return datasets.DatasetDict(parts)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(files.socket, "getaddrinfo", lambda *_: [])
    labels = read_labels("owner/name:pairs")
    assert labels.counts["comparisons"]["split"] == {"test": 3, "train": 2}
    read_labels("owner/name")
    assert asked == [("owner/name", "pairs"), ("owner/name", None)]


def test_without_network_a_name_is_one_sentence_at_once(monkeypatch):
    def no_network(*_):
        raise OSError("no name resolves")

    monkeypatch.setattr(files.socket, "getaddrinfo", no_network)
    monkeypatch.setattr(files, "getproxies", dict)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    message = fails("owner/name: neither a file nor a folder, and no dataset", "owner/name:configuration", comparisons="owner/name")
    assert "\n" not in message and "OfflineMode" in message


def test_data_check_of_a_name_asks_the_hub_and_of_a_file_does_not(write, monkeypatch):
    for names in (["owner/name"], ["--comparisons", "owner/name"]):
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(files.socket, "getaddrinfo", lambda *_: [])
        monkeypatch.setattr(datasets, "load_dataset", lambda *_: datasets.Dataset.from_list(pairs()))
        assert invoke("data", "check", *names).exit_code == 0
        assert "HF_HUB_OFFLINE" not in os.environ
    invoke("data", "check", write("c.jsonl", pairs()))
    assert os.environ["HF_HUB_OFFLINE"] == "1"


# Raters, groups, splits


def held(labels) -> set[str]:
    return set(labels.raters.loc[labels.raters["split"] == "validate", "rater_id"])


def test_raters_file(write):
    people = [
        {"rater_id": "r2", "persona": "sailor", "group": "north", "split": "validate", "age": 40},
        {"rater_id": "r9", "persona": None, "group": None, "split": "train", "age": 30},
    ]
    for name in ("people.jsonl", "people.csv", "people.parquet"):
        path = write(name, people)
        labels = read_labels(write("c.jsonl", pairs()), raters=path, validate_share=0.9)
        assert labels.raters.to_dict("records") == [
            {"rater_id": "r1", "persona": None, "group": None, "split": "train"},
            {"rater_id": "r2", "persona": "sailor", "group": "north", "split": "validate"},
            {"rater_id": "r9", "persona": None, "group": None, "split": "train"},
        ]
        counts = labels.counts["raters"]
        assert counts["listed_without_labels"] == ["r9"]
        assert counts["labelled_without_row"] == ["r1"]
        assert counts["columns_ignored"] == {path: ["age"]}
        assert counts["split_from"] == "raters file"


def test_raters_file_mistakes(write):
    data = write("c.jsonl", pairs())
    twice = write("twice.jsonl", [{"rater_id": r} for r in ("r1", "r2", "r1")])
    fails("twice.jsonl: 1 bad row", "row 3 (line 3) 'r1'", "merge", comparisons=data, raters=twice)
    number = write("number.jsonl", [{"rater_id": r} for r in ("1", 1)])
    fails("row 2 (line 2) 1", "merge", comparisons=data, raters=number, max_bad=1.0)
    fails(
        "none of the 1 raters",
        "such as r1, r2",
        comparisons=data,
        raters=write("o.jsonl", [{"rater_id": "x"}]),
    )
    splits = write("s.jsonl", [{"rater_id": "r1", "split": "test"}])
    fails("not train or validate", "row 1 (line 1) 'test'", comparisons=data, raters=splits)


def test_group_is_the_most_frequent_of_the_rows(write):
    rows = [PAIR | {"rater_id": r, "talk": g} for r, g in [("r1", "b"), ("r1", "a"), ("r1", "b"), ("r2", None), ("r3", "a")]]
    data = write("c.jsonl", rows)
    labels = read_labels(data, group_column="talk")
    assert labels.raters["group"].tolist() == ["b", None, "a"]
    assert labels.counts["raters"]["in_several_groups"] == ["r1"]
    assert labels.counts["raters"]["rows_without_group"] == 1
    assert read_labels(data).raters["group"].tolist() == [None, None, None]
    fails("group_column is 'tolk'", "nearest: talk", comparisons=data, group_column="tolk")
    people = write("p.jsonl", [{"rater_id": "r1", "group": "c"}])
    fails("one source", comparisons=data, raters=people, group_column="talk")


def test_split_selects_rows(write):
    data = write("c.jsonl", [row | {"split": s} for row, s in zip(pairs({"prompt": "q"}), ("train", "train", "test"))])
    labels = read_labels(data, split="train")
    assert labels.comparisons["prompt"].tolist() == ["A number?"] * 2
    assert labels.counts["comparisons"]["other_split"] == 1
    assert len(read_labels(data, split=["train", "test"]).comparisons) == 3
    assert len(read_labels(data).comparisons) == 3
    fails(
        "no row has split tran",
        "test (1 rows), train (2 rows)",
        "nearest: train",
        comparisons=data,
        split="tran",
    )
    fails("no column split", comparisons=write("d.jsonl", pairs()), split="train")


def test_rows_without_split_are_not_passed_over(write):
    data = write("c.jsonl", [row | {"split": s} for row, s in zip(pairs({}), ("train", "train", None))])
    fails("split is missing", "row 3 (line 3)", comparisons=data, split="train")
    rows = [{"completion": "x", **row, "split": s} for row, s in zip(pairs({}), ("train", "train", None))]
    both = write("both.jsonl", rows)
    labels = read_labels(both, demonstrations=both, split="train", max_bad=1.0)
    assert (len(labels.comparisons), len(labels.demonstrations)) == (2, 2)
    assert labels.counts["dropped"] == {both: {"r1": 2}}


def test_validate_share_stays_with_the_rater(write):
    rows = [PAIR | {"rater_id": f"r{i}"} for i in range(200)]
    data = write("c.jsonl", rows)
    whole = held(read_labels(data, validate_share=0.2, seed=1))
    assert 20 <= len(whole) <= 60  # binomial: mean 40, sd 5.7
    assert held(read_labels(data, validate_share=0.2, seed=1)) == whole
    assert held(read_labels(data, validate_share=0.2, seed=2)) != whole
    half = held(read_labels(write("d.jsonl", rows[::-2]), validate_share=0.2, seed=1))
    assert half == {r for r in whole if int(r[1:]) % 2 == 1}
    for share in (0.001, 0.999):
        assert len(held(read_labels(write("e.jsonl", rows[:2]), validate_share=share))) == 1


def test_columns_are_mapped_for_all_kinds_or_for_one(write):
    votes = write("v.jsonl", [{"statement": "s", "vote": "agree", "who": w} for w in (1, 2)])
    compared = write("c.jsonl", [{"who" if k == "rater_id" else k: v for k, v in row.items()} for row in pairs()])
    columns = {"rater_id": "who", "completion": "vote", "demonstrations.prompt": "statement"}
    labels = read_labels(compared, demonstrations=votes, columns=columns)
    assert labels.demonstrations["completion"].tolist() == ["agree", "agree"]
    assert labels.raters["rater_id"].tolist() == ["1", "2", "r1", "r2"]
    assert len(read_labels(compared, columns=columns).comparisons) == 2  # no demonstrations, so no vote
    fails("columns: 'prompts'", "nearest: prompt", comparisons=compared, columns={"prompts": "x"})
    fails("no column whom (our rater_id)", "nearest: who", comparisons=compared, columns={"rater_id": "whom"})
    fails("columns: 'split' is 'part'", comparisons=compared, columns={"rater_id": "who", "split": "part"})


@needs_real
def test_polis():
    labels = read_labels(
        REAL / "polis/pairs.parquet", demonstrations=REAL / "polis/votes.parquet", split="train",
        columns={"demonstrations.prompt": "statement", "completion": "vote"}, group_column="discussion",
    )  # fmt: skip
    assert len(labels.comparisons) == 107_133
    assert len(labels.demonstrations) == 212_229
    assert labels.raters["group"].nunique() == 10
    assert labels.counts["raters"]["in_several_groups"] == []


@needs_real
def test_llmfao_has_empty_answers():
    fails("a is empty", "b is empty", "1208 bad row", comparisons=REAL / "llmfao/pairs.parquet")
    labels = read_labels(REAL / "llmfao/pairs.parquet", max_bad=1.0)
    assert len(labels.comparisons) == 8_931 - 1_208
    assert sum(sum(file.values()) for file in labels.counts["dropped"].values()) == 1_208


def test_one_rater_is_enough_for_models_without_raters(write):
    data = write("c.jsonl", [PAIR | {"rater_id": "ann"}])
    fails("raters.encoding=none", comparisons=data)
    assert len(read_labels(data, one_rater=True).comparisons) == 1


def test_pairs_are_drawn_for_each_rater_and_the_others_counted(write):
    """Five ratings that differ are ten pairs, three are three, two that are equal are none."""
    rated = {"ann": [1, 2, 3, 4, 5], "bob": [1, 2, 3], "cy": [2, 2]}
    rows = [
        {"prompt": "p", "response": f"answer {i}", "rating": rating, "rater_id": rater}
        for rater, ratings in rated.items() for i, rating in enumerate(ratings)
    ]  # fmt: skip
    path = write("r.jsonl", rows)
    drawn = [read_labels(ratings=path, pairs_per_rater=4, seed=seed) for seed in (0, 0, 1)]
    for labels in drawn:
        assert labels.comparisons.rater_id.value_counts().to_dict() == {"ann": 4, "bob": 3}
        assert (labels.counts["ratings"]["pairs"], labels.counts["ratings"]["pairs_left_out"]) == (7, 6)
    whole = read_labels(ratings=path)
    pairs = [set(zip(labels.comparisons.rater_id, labels.comparisons.a, labels.comparisons.b)) for labels in (*drawn, whole)]
    assert pairs[0] == pairs[1] != pairs[2] and pairs[0] | pairs[2] <= pairs[3] and len(pairs[3]) == 13
    assert whole.counts["ratings"]["pairs_left_out"] == 0 and not any("pairs" in sentence for sentence in whole.counts["notices"])
    assert "ratings: of 13 pairs that they make 6 are left out, by data.pairs_per_rater" in drawn[0].counts["notices"]
