"""The judge of a simulated world, tried on policies whose figures are known: real people, one favourite answer, nobody in particular."""

import math

import numpy as np
import pandas as pd
import pytest

from raterhf.data.example import Example
from raterhf.data.labels import Labels
from raterhf.evaluation.compare.policy_metrics import Arena, measure_policy
from raterhf.raters.pool import Rater
from raterhf.worlds.world import label_people, load_world

N = 400


class Answers:
    """A evaluated that answers by a function of (rater number, question, rng) -> text."""

    def __init__(self, world, speak):
        self.world, self.speak, self.said, self.renderer = world, speak, [], self

    def raters(self, n, seed):
        return [Rater(str(i), None) for i in range(n)]

    def prompt(self, prompt):
        return ()

    def answer(self, prompts, raters, seed):
        rng = np.random.default_rng(seed)
        start = len(self.said)
        self.said += [self.speak(int(r.id), self.world.question_of(p), rng) for p, r in zip(prompts, raters)]
        return [Example((i,), 0) for i in range(start, len(self.said))]

    def texts(self, examples):
        return [self.said[e.ids[0]] for e in examples]

    def log_probs(self, examples, raters):
        return np.zeros(len(examples))


@pytest.fixture(scope="module")
def arena():
    world = load_world("dice")
    train = world.draw_people(N, 0, "t")
    frames = label_people(world, train, 0)
    raters = pd.DataFrame({"rater_id": train.ids, "split": "train"})
    return Arena(world, 0, N, N, 3, train, Labels(frames["comparisons"], frames["demonstrations"], raters, {}))


def people(world, prefix):
    """Speak as simulated people do: the best-put answer that each likes best."""
    crowd = world.draw_people(N, 3, prefix)

    def speak(i, question, rng):
        if question.kind == "unrated":
            return question.texts[rng.choice(len(question.texts), p=question.base_distribution)]
        utility = world.utilities(crowd, i, question, rng)
        return question.texts[np.where(question.wording_of == 0, utility, -np.inf).argmax()]

    return speak


def test_real_people_are_a_perfect_sampler(arena):
    found = measure_policy(Answers(arena.world, people(arena.world, "other")), arena, Answers(arena.world, None), None).metrics
    assert found["valid"] == 1 and found["reward_gold"] == 0
    # a sampler who knows q is nearer to it than the few labels of this arena would allow
    assert found["etv"] < 0.01 and found["tv"] < 0.1
    assert found["gamma"] == pytest.approx(1, abs=0.08)
    assert found["mi_ratio"] == pytest.approx(1, abs=0.4)
    assert found["c2st_auc"] == pytest.approx(0.5, abs=0.1) and found["copying"] == pytest.approx(0.5, abs=0.08)
    assert found["kappa_taste"] == 1 and found["kappa_favourite"] == 1 and abs(found["kappa_dice"]) < 0.06


def test_one_favourite_answer_is_seen_as_collapse(arena):
    def favourite(i, question, rng):
        return question.texts[np.where(question.wording_of == 0, question.distribution[np.maximum(question.class_of, 0)], -1).argmax()]

    found = measure_policy(Answers(arena.world, favourite), arena, Answers(arena.world, None), None).metrics
    assert found["etv"] > 0.4 and found["entropy_ratio"] == 0 and found["mi_ratio"] == 0
    assert math.isnan(found["kappa_taste"]) and math.isnan(found["gamma"])
    assert found["c2st_auc"] > 0.95


def test_nobody_in_particular_has_the_marginal_and_is_no_person(arena):
    def anybody(i, question, rng):
        best = np.flatnonzero(question.wording_of == 0)
        return question.texts[best[rng.choice(len(best), p=question.distribution)]]

    found = measure_policy(Answers(arena.world, anybody), arena, Answers(arena.world, None), None).metrics
    assert found["etv"] < 0.01
    assert abs(found["mi_ratio"]) < 0.15 and abs(found["kappa_taste"]) < 0.05
    assert found["joint_tv"] > 0.1 and found["c2st_auc"] > 0.65


def test_junk_is_one_class_and_never_dropped(arena):
    found = measure_policy(
        Answers(arena.world, lambda i, q, rng: "nothing that is an answer"), arena, Answers(arena.world, None), None
    ).metrics
    assert found["valid"] == 0 and found["tv"] == pytest.approx(1) and found["reward_gold"] == arena.world.junk_quality
