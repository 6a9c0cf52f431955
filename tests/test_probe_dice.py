"""Dice and coins whose distributions are known: a faithful sampler, a collapsed one, and what cannot be measured."""

import numpy as np
import pytest
from small_talk import Said, interview

from raterhf.evaluation import metrics
from raterhf.evaluation.probes import dice
from raterhf.evaluation.probes.distributions import Distributions
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.suite import run_probes

COIN = Said("coin", "dice", np.array([0.51, 0.49]), listed=False)
URN = Said("urn", "dice", np.array([0.8, 0.2]), listed=False)
DIE = Said("die", "dice", np.full(4, 0.25), size=4, listed=False)


def sample(*distributions, questions=(COIN, URN, DIE)):
    return dice.tables(
        Distributions(list(questions), [np.array([distribution]) for distribution in distributions], None, [0.0] * len(questions))
    )


def test_a_faithful_sampler_is_perfect():
    got = dice.metrics_of(sample([0.51, 0.49, 0], [0.8, 0.2, 0], [0.25] * 4 + [0]), np.arange(1))
    expected = {"etv": 0, "tv": 0, "gamma": 1, "entropy_ratio": 1, "share_51": 0.51, "valid": 1}
    assert got == pytest.approx(expected, abs=1e-9)


def test_figures_of_a_sharpened_sampler():
    # Odds 4 of the urn become 16: gamma 2, tv 16/17 - .8; the coin is called always, tv .49; the die keeps its distribution, but a half is
    # junk.
    got = dice.metrics_of(sample([1, 0, 0], [16 / 17, 1 / 17, 0], [0.125] * 4 + [0.5]), np.arange(1))
    assert got["gamma"] == pytest.approx(2)
    assert got["tv"] == got["etv"] == pytest.approx((0.49 + 16 / 17 - 0.8 + 0.5) / 3)
    assert got["share_51"] == 1
    assert got["valid"] == pytest.approx(5 / 6)


def test_gamma_does_not_exist_for_fair_dice_alone_and_etv_does():
    got = dice.metrics_of(sample([1, 0, 0, 0, 0], questions=(DIE,)), np.arange(1))
    assert np.isnan(got["gamma"]) and got["etv"] == 0.75 and "share_51" not in got


def test_rows_are_what_is_counted():
    stated = dice.tables(Distributions([URN], [np.eye(3)[[0, 0, 0, 0, 1, -1]]], 6, [0.0]))
    assert dice.metrics_of(stated, np.arange(5)) == pytest.approx(
        {"tv": 0, "etv": 0, "gamma": 1, "valid": 1, "entropy_ratio": metrics.entropy_ratio(np.array([0.8, 0.2, 0]), URN.distribution, 5)}
    )
    assert dice.metrics_of(stated, np.array([5, 5]))["valid"] == 0


def test_the_table_of_gamma_is_gamma():
    rng = np.random.default_rng(0)
    distributions = [rng.dirichlet(np.full(k, 0.7)) for k in (2, 3, 6, 4)]
    counts = [rng.multinomial(50, distribution**2 / (distribution**2).sum()) for distribution in distributions]
    questions = [Said(str(i), "dice", distribution, len(distribution)) for i, distribution in enumerate(distributions)]
    stated = sample(*(np.append(count, 0) / 50 for count in counts), questions=questions)
    assert dice.metrics_of(stated, np.arange(1))["gamma"] == pytest.approx(metrics.gamma(counts, distributions), abs=1e-6)


@pytest.mark.parametrize(
    "questions, said, says",
    [
        ([Said("n", "numbers", np.array([0.5, 0.5]))], [0, 1], "about dice"),
        ([Said("coin", "dice", None)], [0, 1], "has a distribution"),
        ([COIN], [-1, -1, -1], "coin: none of 3 answers"),
        ([DIE], [0, 1, 2], "die: 3 draws for 4 classes"),
    ],
)
def test_what_cannot_be_measured_says_why(questions, said, says):
    talk = interview(questions, {"base": {questions[0].key: said}})
    with pytest.raises(CannotMeasure, match=says):
        dice.ask(talk, "base")


def test_untrained_models_are_measured_and_drawn():
    rng = np.random.default_rng(0)
    questions = [COIN, URN, DIE]
    people = {q.key: rng.choice(q.size, 30, p=q.distribution) for q in questions}
    talk = interview(questions, {"base": people, "vanilla": {q.key: np.zeros(30, int) for q in questions}, "rater_new": people}, people)
    found, drawn = run_probes(talk, [dice.PROBE])
    assert not found["probes"]["dice"]["holes"]
    assert found["probes"]["dice"]["policies"]["vanilla"]["etv"][1] > found["probes"]["dice"]["policies"]["base"]["etv"][2]
    assert found["probes"]["dice"]["recovered"][0] > 0.8
    assert set(drawn) == {"dice-stated", "dice-coins"}
