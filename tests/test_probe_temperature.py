"""The sweep over temperatures: chosen on other questions, and read off, or drawn from, real (untrained) models."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from small_talk import Said, interview

from raterhf.evaluation.probes import temperature
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.suite import run_probes
from raterhf.evaluation.probes.temperature import Sweep

A, B = Said("a", "dice", np.array([0.5, 0.5])), Said("b", "dice", np.array([0.75, 0.25]))


def test_the_temperature_is_chosen_on_other_questions():
    # tv at T = 1 and 2: question one .5 and .25, question two .1 and .3. Each is judged where the other is best: one at 1, two at 2.
    q = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    p = np.array([[[1, 0, 0], [0.6, 0.4, 0]], [[0.5, 0.25, 0.25], [0.4, 0.3, 0.3]]])
    got = temperature.metrics_of(Sweep((1.0, 2.0), csr_matrix(p.reshape(1, -1)), q, np.zeros(2)), np.arange(1))
    expected = {"etv_best_t": 0.4, "valid_best_t": 0.85, "temperature": 2**0.5, "etv": 0.3, "valid": 1}
    assert got == pytest.approx(expected)


def test_rows_are_weighed_and_floors_taken_off():
    q = np.array([[0.5, 0.5, 0.0]] * 2)
    draws = np.eye(3)[[[0, 0], [1, 1], [-1, 0]]]
    sweep = Sweep((1.0,), csr_matrix(draws.reshape(3, -1)), q, np.full(2, 0.1))
    assert temperature.metrics_of(sweep, np.array([0, 1]))["etv"] == pytest.approx(-0.1)
    assert temperature.metrics_of(sweep, np.array([2]))["valid"] == 0.5


def test_a_model_is_flatter_when_hot():
    talk = interview([A, B], {"base": {}}, draws=40)
    with pytest.raises(CannotMeasure, match="less than"):
        talk.distribution("base", A)  # an untrained model puts its probability elsewhere
    cold, hot = (replace(talk, policies={"base": replace(talk.policies["base"], temperature=t)}) for t in (0.25, 4.0))
    cold, hot = (one.distribution("base", A, captured=0.0) for one in (cold, hot))
    assert cold.sum() == pytest.approx(1) and hot.sum() == pytest.approx(1)
    assert abs(np.log(cold[0] / cold[1])) > abs(np.log(hot[0] / hot[1]))


def test_one_question_is_too_few():
    with pytest.raises(CannotMeasure, match="1 questions"):
        temperature.ask(interview([A], {"base": {"a": [0, 1]}}), "base")


def test_questions_without_labels_are_left_out():
    with pytest.raises(CannotMeasure, match="1 questions"):
        temperature.ask(interview([A, B], {"base": {}}, labels={"a": 5}), "base")


def test_models_that_can_only_be_drawn_from_are_swept_too():
    rng = np.random.default_rng(0)
    questions = [replace(A, listed=False), replace(B, listed=False)]
    people = {q.key: rng.choice(2, 20, p=q.distribution) for q in questions}
    talk = interview(questions, {"base": people, "vanilla": {"a": [0] * 20, "b": [0] * 20}, "rater_new": people}, people)
    found, drawn = run_probes(talk, [temperature.PROBE])
    assert not found["probes"]["temperature"]["holes"]
    rows = found["probes"]["temperature"]["policies"]
    assert rows["vanilla"]["etv"][0] > rows["base"]["etv"][0]
    assert rows["rater_new"]["temperature"][0] == rows["population"]["temperature"][0] == 1
    assert "temperature-sweep" in drawn
