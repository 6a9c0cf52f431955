"""The figures of `raterhf data check`: pure functions on numbers computed by hand, and whole files whose verdict is known."""

import json

import numpy as np
import pandas as pd
import pytest
from label_files import PAIR

from raterhf.data.inspection import agreement, habits, leaks, shortcuts, taste, texts
from raterhf.data.inspection.choices import Votes, encode, first_votes, independent, pair_votes, told_choices, told_votes
from raterhf.data.inspection.figures import inspect_labels
from raterhf.data.inspection.tables import sections
from raterhf.data.inspection.words import percent, some
from raterhf.data.labels import read_labels
from raterhf.data.renderer import Renderer
from raterhf.models.load import train_tokenizer

ASK = {"prompt": "p", "rater_id": "r1"}


def told(figures: dict, level: str) -> str:
    return "\n".join(sentence["text"] for sentence in figures["verdict"] if sentence["level"] == level)


# Codes


def test_choices_are_equal_whichever_answer_stood_first(write):
    rows = [
        ASK | {"a": "x", "b": "y", "label": 1},
        ASK | {"a": "y", "b": "x", "label": -1},  # the same choice of the same pair
        ASK | {"a": "x", "b": "y", "label": 0, "rater_id": "r2"},
        ASK | {"a": "x", "b": "y", "label": 1, "prompt": "q"},  # another question
    ]
    coded = encode(read_labels(write("c.jsonl", rows)))
    assert coded.raters.tolist() == ["r1", "r2"] and coded.choices.rater.tolist() == [0, 0, 1, 0]
    assert coded.choices.question.tolist() == [0, 0, 0, 1]
    assert coded.choices.answer.tolist() == [1, 1, 0, 1]
    assert coded.choices.items == 4 and len(coded.texts) == 2
    votes = pair_votes(coded.choices)  # one for each rater and question, the first
    assert [votes.rater.tolist(), votes.question.tolist(), votes.value.tolist()] == [[0, 1, 0], [0, 0, 1], [2, 1, 2]]


def test_own_answers_are_votes_where_they_are_options(write):
    closed = [{"prompt": f"q{i}", "completion": "yes" if r % 2 else "no", "rater_id": f"r{r}"} for i in range(3) for r in range(6)]
    votes = told_votes(encode(read_labels(demonstrations=write("d.jsonl", closed))))
    assert votes is not None and agreement.vote_counts(votes, 2).tolist() == [[3, 3]] * 3
    free = [{"prompt": "q", "completion": f"text {r}", "rater_id": f"r{r}"} for r in range(6)]
    assert told_votes(encode(read_labels(demonstrations=write("f.jsonl", free)))) is None


def test_pairs_of_few_ratings_count_as_the_ratings():
    # Rater 0: three answers in three pairs. Rater 1: all six pairs of four answers. Rater 2: one pair.
    rater = np.array([0] * 3 + [1] * 6 + [2])
    a, b = np.array([0, 0, 1, 0, 0, 0, 1, 1, 2, 5]), np.array([1, 2, 2, 1, 2, 3, 2, 3, 3, 6])
    assert independent(rater, a, b, 4).tolist() == pytest.approx([1, 4 / 6, 1, 0])


# Agreement


def test_alpha_of_ten_agreements_and_ten_disagreements():
    counts = np.array([[2, 0]] * 10 + [[1, 1]] * 10)
    # 40 votes, 30 and 10: observed disagreement 20 / 40, expected 2 * 30 * 10 / (40 * 39).
    assert agreement.alpha(counts)["alpha"] == pytest.approx(1 - 39 * 20 / 600)
    # From both sides: 80 votes, 40 and 40: observed 40 / 80, expected 2 * 40 * 40 / (80 * 79).
    assert agreement.alpha(counts, mirrored=True)["alpha"] == pytest.approx(1 - 79 / 80)


def test_alpha_does_not_depend_on_which_answer_the_file_put_first():
    """In a file of chosen and rejected the first rater's choice always stands first; raters who agree must still agree."""
    assert agreement.alpha(np.array([[0, 0, 2]] * 20), mirrored=True)["alpha"] == 1
    mixed = np.array([[0, 0, 2], [2, 0, 0]] * 10)
    assert agreement.alpha(mixed, mirrored=True)["alpha"] == 1


def test_alpha_is_not_given_of_few_questions():
    assert agreement.alpha(np.array([[2, 0]] * 19)) is None
    assert agreement.alpha(np.array([[1, 0]] * 100)) is None  # nobody shares one
    low, high = agreement.alpha(np.array([[2, 0], [1, 1], [0, 2], [2, 0]] * 25), mirrored=True)["interval"]
    assert low < 0.5 < high and high - low < 0.5  # half of the disagreement of chance


def test_what_comes_back_when_asked_again():
    # 20 questions. Rater 0 answers each twice, differently in 5; rater 1 differs from rater 0's first answer in 10.
    question = np.tile(np.arange(20), 3)
    rater = np.repeat([0, 0, 1], 20)
    value = np.concatenate([np.zeros(20, int), np.arange(20) < 5, np.arange(20) >= 10])
    found = agreement.repeats(rater, question, value, 2)
    assert (found["asked"], found["changed"], found["differs"], found["others_differ"]) == (20, 5, 0.25, 0.5)
    assert found["repeats"] == pytest.approx(0.5)
    low, high = found["interval"]
    assert low < 0.5 < high
    few = agreement.repeats(rater[:5], question[:5], value[:5], 2)
    assert few["asked"] == 0 and few["repeats"] is None


# Habits of raters


def test_a_rater_who_always_chooses_one_side_is_named():
    rater = np.repeat([0, 1, 2], 40)
    chose = np.concatenate([np.ones(40, bool), np.tile([True, False], 20), np.zeros(40, bool)])
    found = habits.habit(rater, chose, np.ones(3))
    assert (found["share"], found["always"], found["never"]) == (0.5, [(0, 1.0, 40)], [(2, 0.0, 40)])
    # Where everybody chooses it nearly always it is no habit of one; and pairs made of few ratings are few.
    assert habits.habit(np.repeat([0, 1], 40), np.ones(80, bool), np.ones(2))["always"] == []
    assert habits.habit(rater, chose, np.full(3, 0.2))["always"] == []


def test_agreement_with_the_others():
    votes = Votes(np.array([0, 1, 2, 0, 1]), np.array([0, 0, 0, 1, 1]), np.array([1, 1, 0, 0, 1]))
    counts = agreement.vote_counts(votes, 2)
    # Question 0: raters 0 and 1 face one vote each way (no majority); rater 2 faces two votes for 1. Question 1: each faces the other.
    agree, n = habits.with_others(votes, counts, 3)
    assert (agree.tolist(), n.tolist()) == ([0, 0, 0], [1, 1, 1])


def test_raters_no_better_than_a_coin_and_worse():
    agree, n = np.array([95, 95, 95, 20, 4]), np.array([100, 100, 100, 40, 40])
    found = habits.random_raters(agree, n, np.ones(5))
    assert found["share"] == pytest.approx(309 / 380)
    assert (found["random"], found["reversed"]) == ([(3, 0.5, 40)], [(4, 0.1, 40)])


def test_copies_share_what_others_reject():
    rng = np.random.default_rng(0)
    values = (rng.random((30, 100)) < 0.8).astype(int)
    values[:, :20] = 1  # what everybody says is no evidence
    values[7] = values[3]
    votes = first_votes(np.repeat(np.arange(30), 100), np.tile(np.arange(100), 30), values.ravel())
    counts = agreement.vote_counts(votes, 2)
    against = int((values[3] == 0).sum())  # ones are the majority everywhere
    assert (values.mean(0) > 0.5).all() and against >= habits.MIN_AGAINST
    assert habits.copies(votes, counts, 30) == {"compared": 30, "pairs": [(3, 7, against, against)]}


# Shortcuts


def rule_of(found: dict, name: str) -> dict:
    return next(rule for rule in found["rules"] if rule["rule"] == name)


def test_a_list_turned_into_text_gives_every_label_away(write):
    rows = [{"prompt": f"Q {i}?", "chosen": f"yes {i}", "rejected": f"['no {i}']", "rater_id": f"r{i % 6}"} for i in range(24)]
    figures = inspect_labels(read_labels(write("lore.jsonl", rows)))
    found = figures["shortcuts"]
    assert rule_of(found, "first character") == {
        "rule": "first character", "accuracy": 1.0, "says": 1.0, "accuracy_where_it_says": 1.0, "pairs": 24,
    }  # fmt: skip
    assert found["lists"] == {"texts": 24, "example": "['no 0']", "pairs_with_one": 24}
    assert found["side_known"] == 0  # chosen and rejected do not tell it
    assert "24 answers are a list turned into text" in told(figures, "stop") and "right on 100 %" in told(figures, "stop")


def test_no_rule_tells_random_labels():
    rng = np.random.default_rng(1)
    a, b, fold = rng.integers(5, size=4000), rng.integers(5, size=4000), rng.integers(shortcuts.FOLDS, size=4000)
    label = rng.choice([-1, 1], size=4000)
    margin = shortcuts.value_rule(a, b, label, fold, fold)
    assert abs((np.sign(margin) * label).mean()) < 0.05  # by chance: 0 +- .016
    # The same rule where value 0 always wins, and knows nothing of pairs without it.
    label = np.where(a == 0, 1, np.where(b == 0, -1, label))
    margin = shortcuts.value_rule(a, b, label, fold, fold)
    with_it = (a == 0) != (b == 0)
    assert (np.sign(margin) == label)[with_it].all()


def test_a_value_rule_says_nothing_of_what_it_did_not_learn():
    """Every pair has a value of its own: a rule that looked at what it is tried on would be right on all."""
    a, b, fold = np.arange(50), np.arange(50, 100), np.arange(50) % shortcuts.FOLDS
    assert shortcuts.value_rule(a, b, np.ones(50, int), fold, fold).tolist() == [0.0] * 50


def test_number_rules_find_their_direction():
    difference, label = np.array([3.0, -2, 5, -1, 0] * 20), np.array([-1, 1, -1, 1, 1] * 20)
    fold = np.arange(100) % shortcuts.FOLDS
    # The shorter wins wherever lengths differ; equal ones are a guess.
    assert shortcuts.number_rule(difference, label, fold, fold).tolist() == [-1, 1, -1, 1, 0] * 20


def test_the_model_that_wrote_an_answer_is_a_shortcut(write):
    rows = [
        {"prompt": f"q{i}", "a": f"x{i}", "b": f"y{i}", "label": -1 if i % 2 else 1, "rater_id": f"r{i % 30}",
         "model_a": "weak" if i % 2 else "strong", "model_b": "strong" if i % 2 else "weak"}
        for i in range(200)
    ]  # fmt: skip
    labels = read_labels(write("m.jsonl", rows))
    assert labels.comparisons["source_a"][0] == "strong" and labels.counts["comparisons"]["columns_ignored"] == {}
    found = shortcuts.find_shortcuts(encode(labels), (labels.comparisons["source_a"], labels.comparisons["source_b"]))
    assert rule_of(found, "model that wrote the answer")["accuracy"] == 1
    assert rule_of(found, "what stood first")["accuracy"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    "text, yes",
    [("['a', 'b']", True), (' ["a"]', True), ("[1, 2]", False), ("['a'] and more", False), ('{"a": 1}', False), ("a 'b'", False)],
)
def test_lists_turned_into_text(text, yes):
    assert shortcuts.is_list(text) is yes


# The same pair twice, and who is who


def test_pairs_on_both_sides_of_a_split(write):
    rows = [ASK | {"a": "x", "b": y, "label": 1, "split": "train"} for y in "uvw"]
    rows += [
        ASK | {"a": "u", "b": "x", "label": -1, "split": "test"},  # the same choice, swapped
        ASK | {"a": "x", "b": "v", "label": -1, "split": "test"},  # the other choice
        ASK | {"a": "x", "b": "w", "label": 1, "split": "test", "rater_id": "r2"},  # by another rater
        ASK | {"a": "x", "b": "z", "label": 1, "split": "test"},  # new
    ]
    figures = inspect_labels(read_labels(write("s.jsonl", rows)))
    assert figures["leaks"]["splits"] == {
        "test": {
            "reference": "train", "comparisons": 4, "same_rater": 2, "another_rater": 1, "same_rater_swapped": 1,
            "another_rater_swapped": 0, "same_answer": 1,
        }
    }  # fmt: skip
    assert "50 % of the comparisons in test (2 of 4) are pairs that the same rater judged in train too" in told(figures, "warn")
    # Where training takes one split, the others are read for this alone.
    path = write("s.jsonl", rows + [ASK | {"a": "1", "b": "2", "label": 1, "split": "train", "rater_id": "r3"}])
    figures = inspect_labels(read_labels(path, split="train"), read_labels(path))
    assert figures["leaks"]["splits"]["test"]["same_rater"] == 2 and figures["what"]["comparisons"] == 4


def test_what_reading_noticed_is_in_the_verdict(write):
    one = write("one.jsonl", [PAIR | {"prompt": f"q{i}", "rater_id": i % 3} for i in range(6)])
    other = write("other.jsonl", [PAIR | {"prompt": f"p{i}", "rater_id": i % 2} for i in range(6)])
    assert f"2 rater ID(s) stand in {one} and in {other}" in told(inspect_labels(read_labels([one, other])), "warn")
    many = write("many.jsonl", [PAIR | {"rater_id": f"r{i}"} for i in range(60)])
    kept = [len(inspect_labels(read_labels(many, validate_share=share))["notices"]) for share in (0, 0.01, 0.5)]
    assert kept == [0, 1, 0]  # so few choose a population by chance; half of the raters are enough


def test_ids_that_look_alike():
    assert leaks.lookalikes(["Ana", "ana", "Zoë", "Zoe\u0308", "r7", "r07", "r 7", "r70", "x", "0", "00"]) == [
        {"ids": ["Ana", "ana"], "differ_by": ["case"]},
        {"ids": ["Zoe\u0308", "Zoë"], "differ_by": ["Unicode form"]},
        {"ids": ["r 7", "r07", "r7"], "differ_by": ["white space", "leading zeros"]},
        {"ids": ["0", "00"], "differ_by": ["leading zeros"]},
    ]
    assert leaks.lookalikes(["R 07", "r7"])[0]["differ_by"] == ["several of Unicode form, case, white space, leading zeros"]


def test_everybody_is_accounted_for(write):
    """A rater whose ratings are all equal used to vanish while nothing was said to be left out."""
    rated = [{"prompt": "p", "response": x, "rating": n, "rater_id": "r1"} for x, n in (("x", 1), ("y", 2))]
    rated += [{"prompt": "p", "response": x, "rating": 3, "rater_id": "even"} for x in "xy"]
    rated += [
        {"prompt": "p", "response": "x", "rating": 3, "rater_id": "once"},
        {"prompt": "p", "response": "", "rating": 3, "rater_id": "bad"},
    ]
    people = write(
        "r.jsonl", [{"rater_id": "r1", "split": "train"}, {"rater_id": "r2", "split": "validate"}, {"rater_id": "r9", "split": "train"}]
    )
    labels = read_labels(write("c.jsonl", [PAIR | {"rater_id": "r2"}]), write("x.jsonl", rated), raters=people, max_bad=0.5)
    figures = inspect_labels(labels)
    assert figures["who"]["accounted"] == {
        "train": ["r1"], "validate": ["r2"], "without_pair": ["even", "once"], "dropped": ["bad"], "other_split": [], "skipped": [],
        "listed": ["r9"],
    }  # fmt: skip
    assert "2 rater(s) whose ratings make no pair (one answer to a prompt, or all rated alike): even, once." in told(figures, "warn")
    assert "1 rater(s) kept for validation" in told(figures, "warn")
    assert figures["who"]["labels_per_rater"] == {"min": 1, "median": 1, "max": 1} and figures["who"]["one_label"] == ["r1", "r2"]


# What the person adds


def votes_of(utility: np.ndarray, rng: np.random.Generator, pairs: int = 40, noise: float = 0.3) -> pd.DataFrame:
    """Comparisons of random pairs of items by raters of `utility` [raters, items]."""
    raters, items = utility.shape
    rater = np.repeat(np.arange(raters), pairs)
    a = rng.integers(items, size=len(rater))
    b = (a + rng.integers(1, items, size=len(rater))) % items
    better = utility[rater, a] - utility[rater, b] + rng.logistic(0, noise, len(rater)) > 0
    return pd.DataFrame({"prompt": "p", "a": [f"item {i}" for i in a], "b": [f"item {i}" for i in b], "label": np.where(better, 1, -1),
                         "rater_id": [f"r{r}" for r in rater]})  # fmt: skip


def test_taste_pays_and_noise_does_not(write):
    rng = np.random.default_rng(0)
    shared, taste_of = rng.normal(size=30), rng.normal(size=30)
    side = np.where(np.arange(80) % 2, 1.0, -1.0)
    figures = inspect_labels(read_labels(write("t.parquet", votes_of(shared + side[:, None] * taste_of, rng))))
    person = figures["agreement"]["comparisons"]["person"]
    assert person["own"] > 0.8 > 0.75 > person["others"] and person["own"] > person["another"] + 0.1
    assert person["interval"][0] < person["gain"] < person["interval"][1] and person["interval"][0] > 0.05
    assert "It pays to know who judges" in told(figures, "good")

    alike = inspect_labels(read_labels(write("n.parquet", votes_of(np.tile(shared, (80, 1)), rng, noise=1.0))))
    person = alike["agreement"]["comparisons"]["person"]
    assert person["interval"][0] < 0 and person["interval"][1] < 0.02 and "It pays" not in told(alike, "good")


def test_taste_in_own_answers_among_options(write):
    """Two kinds of people who answer twenty questions in opposite ways, and three options of which nobody's choice is known."""
    rng = np.random.default_rng(0)
    way = rng.integers(2, size=20)
    rows = [
        {"prompt": f"q{i}", "completion": "yes" if (way[i] + r) % 2 else "no", "rater_id": f"r{r}"} for r in range(40) for i in range(20)
    ]
    found = inspect_labels(read_labels(demonstrations=write("d.jsonl", rows)))["agreement"]["demonstrations"]
    assert abs(found["between"]["alpha"]) < 0.1  # as by chance: half of the people say one thing
    assert found["person"]["own"] > 0.95 and found["person"]["others"] < 0.65
    rows = [{"prompt": "q", "completion": "abc"[r % 3], "rater_id": f"r{r}"} for r in range(6)]
    choices = told_choices(encode(read_labels(demonstrations=write("o.jsonl", rows))))
    assert len(choices) == 12 and choices.items == 3 and (choices.a != choices.b).all()


def test_one_rating_on_both_sides_is_no_taste(write):
    """Pairs made of noisy ratings share the noise of a rating: a rater who only guesses must not look as if they had taste."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"prompt": "p", "response": [f"item {i}" for i in range(25)] * 60, "rating": rng.normal(size=1500).round(3),
                         "rater_id": np.repeat([f"r{i}" for i in range(60)], 25)})  # fmt: skip
    person = inspect_labels(read_labels(ratings=write("r.parquet", rows)))["agreement"]["comparisons"]["person"]
    assert person["interval"][0] <= 0 and abs(person["gain"]) < 0.02


def test_folds_keep_an_answer_on_one_side(write):
    rng = np.random.default_rng(0)
    choices = encode(read_labels(write("t.parquet", votes_of(rng.normal(size=(10, 12)), rng)))).choices
    rows = np.arange(len(choices))
    a, b = taste._folds(choices, rows, rng)
    of = {}
    for r, item, fold in zip(np.tile(choices.rater, 2), np.concatenate([choices.a, choices.b]), np.concatenate([a, b])):
        of.setdefault((r, item), set()).add(int(fold))
    met_once = sum(len(folds) > 1 for folds in of.values())
    assert met_once == 0  # every answer was met in several questions here
    lone = encode(read_labels(write("l.jsonl", [PAIR | {"prompt": f"q{i}", "rater_id": f"r{i % 2}"} for i in range(40)]))).choices
    a, b = taste._folds(lone, np.arange(40), rng)
    assert (a == b).all() and len(set(a.tolist())) == taste.FOLDS


# Lengths


def test_lengths():
    spread = texts.spread(np.array([1, 2, 3, 10]))
    assert (spread["min"], spread["median"], spread["max"]) == (1, 2.5, 10) and sum(spread["histogram"]["counts"]) == 4
    assert texts.spread(np.zeros(0)) is None
    assert texts.words(np.array(["one two", "a"], object))["max"] == 2


def test_examples_longer_than_the_window_are_counted(write):
    rows = [PAIR, PAIR | {"chosen": "7 " * 30, "rater_id": "r2"}, PAIR | {"prompt": "Another?", "rater_id": "r2"}]
    labels = read_labels(write("c.jsonl", rows))
    renderer = Renderer(train_tokenizer(["A number? 7 3"], 300), 40)
    figures = inspect_labels(labels, renderer=renderer)
    tokens = figures["what"]["tokens"]
    assert (tokens["over"], tokens["rows_over"], tokens["rows"], tokens["window"], tokens["sampled"]) == (1, 1, 3, 40, False)
    assert tokens["longest"] == renderer.length("A number?", "7 " * 30)
    assert "1 example in 1 of 3 rows is longer than the window of 40 tokens" in told(figures, "stop")


def test_what_the_template_refuses_is_said_once(write):
    """A role that the model's template refuses used to be a traceback."""
    chat = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "Q"}]
    tokenizer = train_tokenizer(["Q yes no"], 300)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ m.content }}{% endfor %}"
    )
    rows = [{"prompt": chat, "chosen": "yes", "rejected": "no", "rater_id": f"r{i}"} for i in range(2)]
    figures = inspect_labels(read_labels(write("s.jsonl", rows)), renderer=Renderer(tokenizer, 64))
    assert figures["what"]["tokens"]["refused"] == 2
    assert "row 1 as read" in told(figures, "stop") and "refuses the role system" in told(figures, "stop")


# The whole


def test_figures_of_labels(write):
    rows = [
        ASK | {"a": "x", "b": "y", "label": 1},
        ASK | {"a": "y", "b": "x", "label": 1},  # the same question, answered the other way
        ASK | {"a": "x", "b": "z", "label": 0},
        ASK | {"a": "z", "b": "x", "label": 0},  # the same question, answered alike
        ASK | {"a": "x", "b": "z", "label": 0},  # and once more, word for word
        ASK | {"a": "x", "b": "y", "label": -1, "rater_id": "r2"},
    ]
    own = [{"prompt": "q", "completion": c, "rater_id": r} for r, c in [("r3", "1"), ("r3", "2"), ("r4", "1")]]
    people = write("p.jsonl", [{"rater_id": "r4", "persona": "sailor"}, {"rater_id": "r5", "persona": "sailor"}])
    labels = read_labels(write("c.jsonl", rows), demonstrations=write("d.jsonl", own), raters=people)
    found = inspect_labels(labels)
    who, what = found["who"], found["what"]
    assert (who["raters"], who["labels"], who["counts"], who["one_label"]) == (4, 9, [5, 2, 1, 1], ["r2", "r4"])
    assert who["largest"] == {"rater": "r1", "labels": 5, "share": 5 / 9} and who["half_of_labels"] == 1
    assert (who["personas"], who["accounted"]["listed"]) == ({"sailor": 2}, ["r5"])
    assert (what["comparisons"], what["ties"], what["demonstrations"], what["prompts"], what["questions"]) == (6, 3, 3, 2, 2)
    assert what["duplicates"] == {"comparisons": 1, "demonstrations": 0}
    again = found["agreement"]["comparisons"]["again"]
    assert (again["asked"], again["changed"]) == (2, 1)
    assert found["read"] is labels.counts
    assert "Rater r1 gave 56 % of all labels (5 of 9)" in told(found, "warn")
    json.dumps(found, allow_nan=False)


def test_figures_are_the_same_each_time(write):
    rng = np.random.default_rng(0)
    path = write("t.parquet", votes_of(rng.normal(size=(40, 20)), rng))
    one, other = (json.dumps(inspect_labels(read_labels(path))) for _ in range(2))
    assert one == other


def test_numbers_as_words():
    assert [percent(share) for share in (0, 0.004, 0.5, 0.9996, 0.996, 1)] == ["0 %", "0.4 %", "50 %", "100 %", "99.6 %", "100 %"]
    assert some(["a"] * 7) == "a, a, a, a, a and 2 more" and some(["a"], 3) == "a and 2 more"


def test_what_is_said_beside_the_side(write):
    rows = [{"prompt": f"p{i}", "a": "x", "b": "y", "label": "a", "rater_id": f"r{i % 2}", "attribute": ["helpful", "true"][i % 3 == 0],
             "strength": i % 3, "reason": f"It is\n{i}."} for i in range(6)]  # fmt: skip
    rows.append({"prompt": "p6", "a": "x", "b": "y", "label": "both bad", "rater_id": "r0", "reason": None})
    found = inspect_labels(read_labels(write("c.jsonl", rows)))
    assert found["what"]["both"] == {"bad": 1} and found["what"]["attributes"] == {"helpful": 4, "true": 2}
    assert found["what"]["grades"] == {"0": 2, "1": 2, "2": 2}
    assert (found["what"]["reasons"]["labels"], len(found["what"]["reasons"]["examples"])) == (6, 3)
    shown = dict(sections(found)["What"])
    assert shown["attributes"] == "helpful 4, true 2" and shown["labels with a reason"] == "6, 6 different"
    assert all(text.startswith("It is ") for name, text in shown.items() if name.startswith("... by r"))
