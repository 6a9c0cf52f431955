"""Juries: each verdict by hand, intervals, seats, and the verb that prints them."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from small_run import fails, save_run, succeeds

from raterhf.errors import UserError
from raterhf.raters.files import load_pool
from raterhf.raters.juries import chances, favourites, judge, judge_prompts, read_seats, read_verdict, welfare

# Three jurors, three completions; a juror's level means nothing. Margins over the mean: 2 0 -2, 1 0 -1, -3 0 3.
SCORES = np.array([[12.0, 10.0, 8.0], [1.0, 0.0, -1.0], [-3.0, 0.0, 3.0]])
ONCE = np.ones((1, 3))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("mean", [0.0, 0.0, 0.0]),
        ("majority", [1.0, 0.5, 0.0]),  # two of three prefer the first to both others
        ("borda", [2 / 3, 1 / 2, 1 / 3]),
        ("min", [-3.0, 0.0, -2.0]),
        ("quantile:.1", [-3.0, 0.0, -2.0]),
        ("quantile:.5", [1.0, 0.0, -1.0]),
    ],
)
def test_verdicts_by_hand(rule, expected):
    assert welfare(SCORES, read_verdict(rule), ONCE)[0] == pytest.approx(expected)
    assert welfare(SCORES + np.array([[5.0], [-7.0], [0.0]]), read_verdict(rule), ONCE)[0] == pytest.approx(expected)


def test_nash_by_hand():
    """Chances of 3/4 and 1/4 for one juror, 1/2 each for another: geometric means."""
    scores = np.array([[math.log(3), 0.0], [0.0, 0.0]])
    assert np.exp(chances(scores)) == pytest.approx(np.array([[3 / 4, 1 / 4], [1 / 2, 1 / 2]]))
    assert welfare(scores, read_verdict("nash"), np.ones((1, 2)))[0] == pytest.approx([math.sqrt(3 / 8), math.sqrt(1 / 8)])


def test_nash_of_far_scores_is_a_number():
    assert np.isfinite(chances(np.array([[1e4, 0.0, -1e4]]))).all()


def test_ties_are_divided():
    scores = np.array([[1.0, 1.0], [0.0, 0.0]])
    assert favourites(scores).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    found = judge(scores, read_verdict("majority"), ["", ""], 0)
    assert found.verdict.tolist() == [0.5, 0.5] and found.chosen.all() and found.wins.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("rule", ["mean", "majority", "borda", "min", "nash", "quantile:.3"])
def test_a_weight_of_two_is_two_jurors(rule):
    twice = np.concatenate([SCORES, SCORES[:1]])
    assert welfare(SCORES, read_verdict(rule), np.array([[2.0, 1, 1]])) == pytest.approx(
        welfare(twice, read_verdict(rule), np.ones((1, 4)))
    )
    without = welfare(SCORES[1:], read_verdict(rule), np.ones((1, 2)))
    assert welfare(SCORES, read_verdict(rule), np.array([[0.0, 1, 1]])) == pytest.approx(without)


def test_weights_count_jurors_in_every_figure():
    """A weight of two is a juror twice, one of nought is nobody: but for juries drawn again, in which twice a juror is not two."""
    twice, without = judge(np.concatenate([SCORES, SCORES[:1]]), read_verdict("mean"), [""] * 4, 0), SCORES[[0, 1]]
    weighed = judge(SCORES, read_verdict("mean"), [""] * 3, 0, np.array([2.0, 1, 1]))
    for name in ("verdict", "mean", "spread", "preferred", "chosen", "divisive", "safest"):
        assert weighed[name].tolist() == pytest.approx(twice[name].tolist()), name
    pd.testing.assert_frame_equal(
        judge(SCORES, read_verdict("min"), [""] * 3, 0, np.array([1.0, 1, 0])), judge(without, read_verdict("min"), [""] * 2, 0)
    )


def test_what_is_said_of_a_completion():
    found = judge(SCORES, read_verdict("min"), ["", "", ""], 0)
    assert found.chosen.tolist() == found.safest.tolist() == [False, True, False]
    assert found.divisive.tolist() == [True, False, True] and found.spread.tolist() == pytest.approx(
        [14**0.5 / 3**0.5, 0, 14**0.5 / 3**0.5]
    )
    assert found.preferred.tolist() == pytest.approx([2 / 3, 0, 1 / 3])
    assert (found.low <= found.verdict).all() and (found.verdict <= found.high).all()


def test_the_interval_is_that_of_a_mean():
    """64 jurors with margins of spread 1: the mean is known to +- 1.96 / 8."""
    half = np.random.default_rng(0).standard_normal(64)
    found = judge(np.stack([half, -half], 1), read_verdict("mean"), [""] * 64, 0)
    assert found.high[0] - found.low[0] == pytest.approx(2 * 1.96 * half.std() / 8, rel=0.1)


def test_seats_stay_when_juries_are_drawn_again():
    """Of two kinds that are each of one mind nothing is left to chance."""
    scores = np.array([[1.0, -1.0]] * 3 + [[-1.0, 1.0]] * 3)
    seated = judge(scores, read_verdict("mean"), ["UK"] * 3 + ["US"] * 3, 0)
    assert np.allclose(seated.low, 0) and np.allclose(seated.high, 0)
    assert judge(scores, read_verdict("mean"), [""] * 6, 0).high[0] > 0.3


@pytest.mark.parametrize("text", ["best", "quantile", "quantile:0", "quantile:1", "quantile:1.5", "quantile:.0", "", "Mean"])
def test_what_is_no_rule(text):
    with pytest.raises(UserError, match="is none of mean, majority, borda, min, nash and quantile:Q"):
        read_verdict(text)


def test_a_jury_of_nobody_and_a_prompt_of_one():
    with pytest.raises(UserError, match="a jury of nobody decides nothing"):
        judge(np.zeros((0, 2)), read_verdict("mean"), [], 0)
    with pytest.raises(UserError, match="this prompt has one"):
        judge(np.zeros((2, 1)), read_verdict("mean"), ["", ""], 0)
    with pytest.raises(UserError, match=r"row 3 has the only completion of its prompt.*1 such rows"):
        judge_prompts(pd.DataFrame(np.zeros((2, 3)), columns=[1, 2, 3]), {1: "p", 2: "p", 3: "q"}, read_verdict("mean"), ["", ""], 0)


def test_prompts_are_judged_apart_in_the_order_of_the_file():
    table = pd.DataFrame([[0.0, 50.0, 1.0, 49.0]], columns=[1, 2, 4, 5])
    found = judge_prompts(table, {1: "p", 2: "q", 4: "p", 5: "q"}, read_verdict("mean"), [""], 0)
    assert found.index.tolist() == [1, 2, 4, 5] and found.verdict.tolist() == [-0.5, 0.5, 0.5, -0.5]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("juries") / "tiny", "embedding")


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("prompt,completion\nRoll a die.,6\nRoll a die.,1\nRoll a die.,3\n")
    return path


def test_seats_are_fresh_members_of_each(run):
    found = read_seats("group=south:3", load_pool(run / "reward"), 0)
    assert len(set(found.specs)) == 3 and all(spec.startswith("new:") and spec.endswith("@south") for spec in found.specs)
    assert found.kinds == ["south"] * 3 and read_seats("group=south:2", load_pool(run / "reward"), 0).specs == found.specs[:2]
    assert read_seats("persona=sailor:1", load_pool(run / "reward"), 0).specs[0].endswith("@persona:sailor")


def test_weights_of_a_file(run, answers, tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text("rater,weight\nann,3\nbob,0\ncy,1\n")
    table = pd.read_csv(io.StringIO(succeeds("score", run, answers, "--raters", "all"))).set_index("rater")
    found = pd.read_csv(io.StringIO(succeeds("score", run, answers, "--raters", "all", "--verdict", "mean", "--weights", path)))
    margins = table.sub(table.mean(axis=1), axis=0)
    assert found.verdict.tolist() == pytest.approx(((3 * margins.loc["ann"] + margins.loc["cy"]) / 4).tolist(), abs=1e-4)
    path.write_text("rater,weight\nsouth,2\n")
    succeeds("score", run, answers, "--seats", "group=south:4", "--verdict", "mean", "--weights", path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rater\nann\n", "no column weight"),
        ("rater,weight\nann,1\nbob,x\ncy,1\n", "row 2: weight 'x' is not a finite number"),
        ("rater,weight\nann,1\nbob,-1\ncy,1\n", "row 2: weight '-1' is below 0"),
        ("rater,weight\nann,1\nbob,1\nann,1\n", "row 3: 'ann' has a weight before this one"),
        ("rater,weight\nann,1\nbob,1\n", "juror 'cy' has no weight (1 such jurors)"),
        ("rater,weight\nann,1\nbob,1\ncy,1\ndan,1\n", "'dan' is no juror and no seat"),
        ("rater,weight\nann,0\nbob,0\ncy,0\n", "every juror weighs 0"),
    ],
)
def test_weights_that_cannot_be_read(run, answers, tmp_path, text, says):
    (tmp_path / "w.csv").write_text(text)
    fails("score", run, answers, "--raters", "all", "--verdict", "mean", "--weights", tmp_path / "w.csv", says=says)
    fails("score", run, answers, "--raters", "all", "--weights", tmp_path / "w.csv", says="and nobody decides; give --verdict too")


def test_the_verb(run, answers):
    found = pd.read_csv(io.StringIO(succeeds("score", run, answers, "--raters", "new:64x", "--verdict", "borda")))
    columns = ["row", "verdict", "low", "high", "wins", "mean", "spread", "preferred", "chosen", "divisive", "safest"]
    assert found.columns.tolist() == columns and found.row.tolist() == [1, 2, 3]
    assert found.preferred.sum() == pytest.approx(1, abs=1e-5) and found.wins.sum() == pytest.approx(1, abs=1e-5)
    assert found.chosen.sum() == 1 and found.verdict.idxmax() == found.chosen.idxmax()
    seated = succeeds("score", run, answers, "--seats", "group=south:8", "--verdict", "min")
    assert seated == succeeds("score", run, answers, "--seats", "group=south:8", "--verdict", "min")
    assert len(succeeds("score", run, answers, "--seats", "group=south:8").splitlines()) == 9  # without a verdict, the jurors' scores


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--verdict", "best"), "verdict 'best' is none of mean"),
        (("--seats", "group=south:8", "--raters", "all"), "says who judges, and so does --raters; leave one of them out"),
        (("--seats", "group=south:8", "--group", "south"), "and so does --group"),
        (("--seats", "group=east:2"), "group 'east' is not in this run"),
        (("--seats", "group=north:2"), "group 'north' has 1 raters, fewer than the 8"),
        (("--seats", "persona=pirate:2"), "persona 'pirate' is not in this run"),
        (("--seats", "south:2"), "write group=NAME:SEATS"),
        (("--seats", "group=south:0"), "'south:0' is no NAME:SEATS with at least one seat"),
        (("--seats", "group="), "'' is no NAME:SEATS"),
        (("--seats", "group=south:2,south:3"), "'south' is there twice"),
        (("--seats", "group=south:99999"), "are 99999 jurors; give at most 10000"),
    ],
)
def test_juries_that_are_refused(run, answers, options, says):
    fails("score", run, answers, *options, says=says)


def test_verdicts_on_one_completion_are_refused(run, answers):
    answers.write_text("prompt,completion\nRoll a die.,6\nFlip a coin.,1\n")
    fails("score", run, answers, "--verdict", "mean", says="row 1 has the only completion of its prompt")
