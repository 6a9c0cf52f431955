"""One rater is one person: tables written by hand, the quick figures against the plain ones, and the probe on untrained models."""

import numpy as np
import pytest
from small_talk import Said, interview

from raterhf.evaluation import metrics
from raterhf.evaluation.probes import coherence
from raterhf.evaluation.probes.coherence import Tables
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.suite import run_probes

PET, SEA = (Said(key, "", None, size=3, kind="taste", listed=False) for key in ("pet", "sea"))


def tables(said, people, again=None) -> Tables:
    said, people = np.array(said), np.array(people)
    return Tables([PET, SEA], said, people, None if again is None else np.array(again), np.zeros((2, len(said))))


def test_mutual_information_is_that_of_raters_who_answered():
    rng = np.random.default_rng(0)
    said = rng.integers(-1, 3, size=(40, 2))
    said[:20, 1] = said[:20, 0]
    one = tables(said, said)
    # A resample of everybody once is everybody.
    assert coherence.metrics_of(one, np.arange(40))["mi"] == pytest.approx(metrics.mean_over_pairs(metrics.mutual_information(said)))


def test_kappa_is_that_of_two_askings():
    said, again = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]), np.array([[0, 1], [1, 0], [0, 1], [0, 1]])
    one = tables(said, said, again)
    expected = metrics.fleiss_kappa(np.stack([said, again], 2))
    # Fleiss: three of four agree on each, chance (5/8)^2 + (3/8)^2 for the first, as on the second.
    assert expected == pytest.approx((0.75 - 34 / 64) / (1 - 34 / 64))
    assert coherence.kappa(one, np.arange(4)) == pytest.approx(expected, abs=1e-6)
    assert np.isnan(coherence.kappa(tables([[0, 0]] * 3, [[0, 0]] * 3, [[0, 0]] * 3), np.arange(3)))


def test_wins_are_the_area():
    one = Tables([PET, SEA], np.zeros((3, 2), int), np.zeros((3, 2), int), None, np.array([[0.9, 0.5, 0.1], [0.5, 0.2, 0.1]]))
    # Of nine pairs .9 wins three, .5 two and a half, .1 a half.
    weight = np.full(3, 1 / 3)
    assert weight @ one.wins @ weight == pytest.approx(6 / 9)
    assert metrics.auc(*one.scores) == pytest.approx(6 / 9)


def test_persons_are_known_by_tastes_and_else_by_all_closed_questions():
    die, story = Said("die", "dice", None), Said("story", "stories", None, size=0, listed=False)
    people = {key: [0, 1] for key in ("pet", "sea", "die")} | {"story": [-1, -1]}
    assert coherence.persons(interview([PET, die, SEA, story], {}, people)) == [PET, SEA]
    del people["sea"]
    assert coherence.persons(interview([PET, die, story], {}, people)) == [PET, die]
    del people["die"]
    with pytest.raises(CannotMeasure, match="1 closed"):
        coherence.persons(interview([PET, story], {}, people))
    with pytest.raises(CannotMeasure, match="0 closed"):
        coherence.persons(interview([PET, SEA], {}))


@pytest.mark.parametrize("said, says", [([0, 1, 2], "3 raters of base"), ([-1] * 20, "none of 40 answers")])
def test_what_cannot_be_measured_says_why(said, says):
    people = {key: np.arange(20) % 3 for key in ("pet", "sea")}
    with pytest.raises(CannotMeasure, match=says):
        coherence.ask(interview([PET, SEA], {"base": {"pet": said, "sea": said}}, people), "base")


def test_a_row_is_the_same_rater_in_every_question():
    talk = interview([PET, SEA], {"rater_new": {}}, draws=4)
    assert [r.id for r in talk.raters("rater_new", 4)] == [r.id for r in talk.raters("rater_new", 4)]
    assert len({r.id for r in talk.raters("rater_new", 4)}) == 4


def test_nobody_and_somebody_are_told_apart():
    rng = np.random.default_rng(0)

    def persons() -> dict:
        kind = rng.integers(3, size=160)
        return {key: np.where(rng.random(160) < 0.8, kind, rng.integers(3, size=160)) for key in ("pet", "sea")}

    nobody = {key: rng.integers(3, size=160) for key in ("pet", "sea")}
    talk = interview([PET, SEA], {"base": nobody, "vanilla": nobody, "rater_new": persons()}, persons())
    found, drawn = run_probes(talk, [coherence.PROBE])
    assert not found["probes"]["coherence"]["holes"]
    rows = found["probes"]["coherence"]["policies"]
    assert rows["base"]["mi_ratio"][2] < 0.25 < rows["rater_new"]["mi_ratio"][1] < 1 < rows["rater_new"]["mi_ratio"][2]
    assert rows["rater_new"]["joint_tv"][0] < 0.1 < rows["base"]["joint_tv"][0]
    assert rows["rater_new"]["c2st_auc"][0] < rows["base"]["c2st_auc"][0]
    assert "kappa" not in rows["population"]
    assert {"coherence-answers-rater_new", "coherence-mi-population"} <= set(drawn)
