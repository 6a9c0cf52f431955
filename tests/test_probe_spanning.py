"""Distances between clouds of answers, against numbers worked out by hand and against scipy; ties; and the probe on untrained models."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance
from small_talk import Said, interview

from raterhf.evaluation.metrics import spanning as figures
from raterhf.evaluation.probes import spanning
from raterhf.evaluation.probes.interview import Answers
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.suite import run_probes

LINE = np.array([[0.0], [1.0], [3.0]])


def test_energy_distance_is_that_of_scipy():
    # scipy's is the root of the same in one dimension.
    said, people = np.array([3, 1, 0]), np.array([1, 1, 2])
    got = figures.energy_distance(cdist(LINE, LINE), said, people)
    assert got == pytest.approx(energy_distance(LINE[:, 0], LINE[:, 0], said, people) ** 2)
    # Distributions (1, 0) and (0, 1) on points one apart: 2 * 1 - 0 - 0.
    assert figures.energy_distance(1 - np.eye(2), np.array([7, 0]), np.array([0, 9])) == 2


def test_the_floor_is_the_mean_of_as_many_of_the_same_distribution():
    rng, distribution, distance = np.random.default_rng(0), np.array([0.5, 0.3, 0.2]), cdist(LINE, LINE)
    draws = rng.multinomial([20, 30], distribution, size=(4000, 2))
    energy = np.mean([figures.energy_distance(distance, said, people) for said, people in draws])
    floor = np.mean([figures.energy_floor(distance, 20, people) for _, people in draws])
    assert energy == pytest.approx(floor, rel=0.03)
    # Two people, at 0 and 3, are 3 apart; beside one answer of a model the floor is (1 + 1/2) * 3.
    assert figures.energy_floor(distance, 1, np.array([1, 0, 1])) == pytest.approx(4.5)
    assert np.isnan(figures.mean_distance(distance, np.array([1, 0, 0])))


def test_frechet_distance_is_the_closed_form():
    # In one dimension (m - n)^2 + (s - t)^2: means 0 and 3, deviations 1 and 2.
    assert figures.frechet_distance(np.zeros(1), np.eye(1), np.full(1, 3.0), 4 * np.eye(1)) == pytest.approx(10)
    rng = np.random.default_rng(0)
    a, b = (np.cov(rng.standard_normal((4, 30))) for _ in range(2))
    m, n = rng.standard_normal((2, 4))
    expected = ((m - n) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert figures.frechet_distance(m, a, n, b) == pytest.approx(expected)
    both = figures.frechet_distance(np.stack([m, m]), np.stack([a, a]), np.stack([n, m]), np.stack([b, a]))
    assert both == pytest.approx([expected, 0], abs=1e-6)


def test_moments_count_repeats():
    mean, cov = figures.moments(LINE, np.array([2, 0, 1]))
    assert mean == pytest.approx(np.ones(1)) and cov == pytest.approx(np.full((1, 1), 2.0))


def test_coverage_does_not_stumble_over_ties():
    # Five people say 0, one says 1, one says 3. With k = 2 the radii are 0, 1 and 3: of the lone ones 1 has all at distance <= 1.
    distance, people = cdist(LINE, LINE), np.array([5, 1, 1])
    radii = figures.radii(distance, people, 2)
    assert radii.tolist() == [0, 1, 3]
    near = distance <= radii[:, None]
    assert figures.coverage(near, np.array([4, 0, 0]), people) == 1  # 0 covers itself, 1 (one away) and 3 (three away)
    assert figures.coverage(near, np.array([0, 0, 9]), people) == pytest.approx(1 / 7)
    assert figures.coverage(near, people, people) == 1
    assert np.isnan(figures.radii(distance, people, 7)).all()


def test_vendi_score_counts_different_answers():
    assert figures.vendi_score(np.eye(4), np.array([3, 3, 3, 3])) == pytest.approx(4)
    assert figures.vendi_score(np.eye(4), np.array([9, 0, 0, 0])) == pytest.approx(1)
    # Shares .5, .25 and .25: squares sum to 3/8. Two answers of similarity .5 have spectrum .75 and .25.
    assert figures.vendi_score(np.eye(4), np.array([4, 2, 2, 0])) == pytest.approx(8 / 3)
    assert figures.vendi_score(np.array([[1, 0.5], [0.5, 1]]), np.array([1, 1])) == pytest.approx(1 / (0.75**2 + 0.25**2))


def test_vendi_score_is_that_of_its_authors():
    vendi = pytest.importorskip("vendi_score.vendi")
    counts, similarity = np.array([3, 1, 2]), np.exp(-cdist(LINE, LINE))
    rows = np.repeat(np.arange(3), counts)
    assert figures.vendi_score(similarity, counts) == pytest.approx(vendi.score_K(similarity[np.ix_(rows, rows)], q=2))


def test_sums_of_products_give_the_moments():
    x = np.random.default_rng(0).standard_normal((5, spanning.DIMENSIONS))
    counts = np.array([4, 1, 0, 2, 2])
    got = spanning.moments_of(counts @ spanning.with_products(x) / counts.sum())
    for a, b in zip(got, figures.moments(x, counts)):
        assert a == pytest.approx(b)


FREE = Said("free", "stories", None, size=0, listed=False)
PET = Said("pet", "numbers", None, size=4)


def test_a_closed_answer_stands_for_its_class_and_an_open_one_for_itself():
    said = Answers(["c", "hm"], np.array([2, -1]))
    assert spanning.standing_for(PET, said) == ["c", "hm"]
    assert spanning.standing_for(FREE, Answers(["once", "twice"], np.array([-1, -1]))) == ["once", "twice"]


def test_collapse_hides_in_the_pool():
    """Models whose classes collapse differ from people at the question; untrained ones embed well enough to see it."""
    rng = np.random.default_rng(0)
    questions = [Said(key, "numbers", None, size=6, prompts=[f"Say {key}."]) for key in ("one", "two", "three")]
    people = {q.key: rng.integers(6, size=60) for q in questions}
    same = {q.key: rng.integers(6, size=60) for q in questions}
    talk = interview(questions, {"base": same, "vanilla": {q.key: [2] * 60 for q in questions}, "rater_new": same}, people)
    found, drawn = run_probes(talk, [spanning.PROBE])
    assert not found["probes"]["spanning"]["holes"]
    rows = found["probes"]["spanning"]["policies"]
    for name in ("base", "rater_new", "population"):
        assert rows[name]["energy"][1] < 0.1 < rows["vanilla"]["energy"][1], name
    assert rows["vanilla"]["coverage"][0] < 0.5 < rows["base"]["coverage"][0]
    assert found["probes"]["spanning"]["recovered"][0] > 0.7
    assert set(drawn) == {"spanning-questions"}


@pytest.mark.parametrize(
    "people, says",
    [({}, "no answers of people"), ({"pet": [0, 1, 2]}, "3 of people"), ({"pet": [1] * 20}, "pet: 20 people all say the same")],
)
def test_what_cannot_be_measured_says_why(people, says):
    talk = interview([PET], {"base": {"pet": [1] * 20}}, people)
    with pytest.raises(CannotMeasure, match=says):
        spanning.ask(talk, "base")
