"""What can be known exactly of a simulated person: by hand, that it is calibrated, and the table of a world."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_run import fails, succeeds
from tables import few_rivals

from raterhf.bench import exact
from raterhf.bench.exact import Asked, asked_of, chance, chances_given, kept_pairs
from raterhf.evaluation import metrics
from raterhf.worlds.world import load_world

WORLD = load_world("dice")


def asked(rows: list[tuple]) -> Asked:
    return Asked(*(np.array(column) for column in zip(*rows))) if rows else Asked(*np.zeros((5, 0), np.int64))


def simple(kind: str, **changes):
    """A world of one question all whose answers are alike but for their wording, without ties."""
    question = next(one for one in WORLD.questions if one.kind == kind)
    even = np.full_like(question.type_distributions, 1 / len(question.classes))
    return replace(WORLD, tie_width=0.0, questions=[replace(question, type_distributions=even)], **changes)


def test_the_same_pair_again():
    """A favourite that was preferred once, of two equal ones: .5 (.95^2 + .05^2) / .5 that it is again; of dice that tells nothing."""
    a, b = 0, 4  # both well put
    found = {
        kind: chances_given(simple(kind), asked([(0, 0, a, b, 1)]), asked([(0, 0, a, b, 1), (1, 0, a, b, 1)]), 0)
        for kind in ("favourite", "dice")
    }
    assert found["favourite"][0] == pytest.approx([0.905, 0.095], abs=0.01) and found["favourite"][1] == pytest.approx([0.5, 0.5], abs=0.01)
    assert found["dice"] == pytest.approx(np.full((2, 2), 0.5))


def test_a_better_wording_by_hand():
    """One point of quality apart, without label noise and ties: e / (1 + e), whether noise persists or not."""
    for kind in ("favourite", "dice"):
        found = chances_given(simple(kind, label_noise=0.0), asked([(0, 0, 8, 9, 1)]), asked([(1, 0, 0, 1, 1)]), 0)
        assert found[0, 0] == pytest.approx(np.e / (1 + np.e), abs=0.01)


def test_labels_by_hand():
    near = chance(WORLD, np.array([0.1, 2.0, -2.0]), 1)
    assert near.tolist() == [0, 0.95, pytest.approx(0.05)] and chance(WORLD, np.array([0.1, 2.0]), 0).tolist() == [1, 0]


def test_what_no_draw_says_is_no_evidence_for_a_type():
    """A tie that no draw has: the type is as likely as if a thousandth of one had them, and what is asked is told without them."""
    draws = np.array([[0.0, 1.0, 5.0], [0.0, 2.0, 5.0]])
    told, found = exact._weighed(WORLD, draws, asked([(0, 0, 0, 1, 0)]), asked([(0, 0, 0, 2, 1)]), 1)
    assert told == pytest.approx([np.log(exact.NONE / 2)]) and found == pytest.approx(np.array([[0.05, 0.95]]))


def test_a_pair_that_all_likely_draws_tie_is_told_as_without_labels():
    """The only draw that says 2 before 1 ties 0 and 1; of both draws one has 1 before 0."""
    draws = np.array([[0.0, 0.1, 5.0], [0.0, 9.0, 5.0]])
    world = replace(WORLD, label_noise=0.0)
    _, found = exact._weighed(world, draws, asked([(0, 0, 2, 1, 1)]), asked([(0, 0, 0, 1, 1)]), 1)
    assert found[0, 0] == 0 and found[0, 1] == pytest.approx(0.5 * exact.NONE / (1 + exact.NONE))


def test_a_pair_is_kept_back_with_its_repeats():
    rows = asked([(0, 0, 1, 2, 1), (0, 0, 2, 1, -1), (1, 0, 1, 2, 1)] * 40)
    back = kept_pairs(rows, 0.5, 1)
    assert len({tuple(back[i::3]) for i in (0, 1)}) == 1 and len(set(back[:120:3].tolist())) == 1


def test_what_is_expected_comes_true(monkeypatch):
    """Exact probabilities are calibrated, and other labels of the same person make them surer."""
    monkeypatch.setattr(exact, "DRAWS", 4000)
    rows = asked_of(WORLD, "t", 60, 0)
    back = kept_pairs(rows, 0.2, 0)
    held = rows.rows(np.flatnonzero(back & (rows.label != 0)))
    share = {}
    for name, given in (("known", rows.rows(np.flatnonzero(~back))), ("unknown", rows.rows(np.zeros(0, np.int64)))):
        found = chances_given(WORLD, given if len(given.a) else replace_rater(held), held, 0)
        odds = np.log(found[:, 0] / found[:, 1])
        share[name] = (found.max(1) / found.sum(1)).mean()
        assert metrics.accuracy(odds, held.label) == pytest.approx(share[name], abs=0.04)
        assert metrics.ece(odds, (held.label == 1).astype(int)) < 0.05
    assert share["known"] > share["unknown"] + 0.03


def replace_rater(held: Asked) -> Asked:
    """Labels of somebody else, which tell nothing of the others."""
    return replace(held.rows(np.arange(1)), rater=np.array([held.rater.max() + 1]))


def test_the_table_of_a_world(tmp_path, monkeypatch):
    few_rivals(monkeypatch)
    for name, value in (("told.ORDERS", 1), ("comparisons.TASTES", 2), ("comparisons.PRECISIONS", (10.0,)), ("exact.DRAWS", 500)):
        monkeypatch.setattr(f"raterhf.bench.{name}", value)
    monkeypatch.setattr(exact, "load_world", lambda name: replace(WORLD, n_train=60, n_validate=20))
    shown = succeeds("bench", "raters", "dice", "--out", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    at = {row["model"]: row for row in found["rows"] if row["split"] == "test"}
    assert at["exact Bayes"]["gain"] > 0 and at["exact Bayes"]["nats"] > at["nobody"]["nats"]
    assert found["exact"][0]["expected"] == pytest.approx(at["exact Bayes"]["accuracy"], abs=0.06)
    assert "expected to be told" in " ".join(shown.split())
    fails("bench", "raters", "dice", "--margin", 1, says="dice is a simulated world and no file, and --margin does not go with it")
    fails("bench", "raters", "dice", "--people", says="dice is a simulated world and no file, and --people does not go with it")
