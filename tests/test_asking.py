"""The next question: information by hand, chosen questions against random ones on simulated people, and the verb."""

import math
import shutil

import numpy as np
import pandas as pd
import pytest
from small_run import fails, rows_of, save_run, succeeds

import raterhf
from raterhf.raters.asking import information, propose
from raterhf.raters.inference import Noise, Statements, infer
from raterhf.raters.population import Population

PLAIN = Noise(np.array([1e-9]), 0.0)
LN2 = math.log(2)


def test_information_by_hand():
    """Nothing where the margin is known; nearly one bit where it is far on either side; noise takes of it."""
    assert information(np.array([0.0, 3.0]), np.zeros(2), PLAIN) == pytest.approx([0, 0], abs=1e-9)
    # Of a margin of width w the label's own noise takes the integral of its entropy, pi^2 / 3, at the density at 0.
    wide = information(np.array([0.0]), np.array([20.0]), PLAIN)[0]
    assert wide == pytest.approx(LN2 - math.pi**2 / 3 / (20 * math.sqrt(2 * math.pi)), abs=0.005)
    assert information(np.array([0.0]), np.array([20.0]), Noise(np.array([1e-9]), 0.2))[0] < 0.5 * wide
    assert information(np.array([4.0]), np.array([1.0]), PLAIN)[0] < information(np.array([0.0]), np.array([1.0]), PLAIN)[0]


def test_information_against_the_integral():
    margin = np.linspace(-9, 11, 20001)
    density = np.exp(-((margin - 1) ** 2) / (2 * 1.5**2))
    density /= density.sum()
    wins = 1 / (1 + np.exp(-margin))
    entropy = lambda p: -(p * np.log(p) + (1 - p) * np.log(1 - p))  # noqa: E731
    expected = entropy((density * wins).sum()) - (density * entropy(wins)).sum()
    assert information(np.array([1.0]), np.array([1.5]), PLAIN)[0] == pytest.approx(expected, abs=2e-3)


def test_the_second_question_is_not_the_first_again():
    """Two pairs that tell the same and one of another dimension, which tells a little less: after the first comes that one."""
    slope = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 1.8]])
    chosen, told = propose(np.zeros(3), slope, np.eye(2), PLAIN, 3)
    assert chosen == [0, 2, 1] and told[0] > told[1] > told[2] > 0
    assert propose(np.zeros(3), slope, np.eye(2), PLAIN, 9)[0] == [0, 2, 1]  # no more than there are


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_chosen_questions_tell_more_than_random_ones(seed):
    """150 simulated people, 6 dimensions, 60 pairs of unequal strength. After 8 answers: nats on 300 pairs not asked."""
    rng = np.random.default_rng(seed)
    raters, k, answers, noise = 150, 6, 8, Noise(np.array([0.2]), 0.02)
    truth = rng.standard_normal((raters, k))
    design = rng.standard_normal((60, k)) * rng.choice([0.3, 1.5], (60, 1))
    other = rng.standard_normal((300, k))
    prior = Population(np.ones(1), np.zeros((1, k)), np.eye(k)[None])

    def label(margin: np.ndarray) -> np.ndarray:
        a, b = 1 / (1 + np.exp(0.2 - margin)), 1 / (1 + np.exp(0.2 + margin))
        drawn = rng.random(margin.shape)
        return np.where(drawn < a, 1, np.where(drawn < a + b, -1, 0))

    said = label(truth @ design.T)  # what each would say of each pair, however they are asked

    def nats(asked: np.ndarray) -> float:
        found = posterior(asked)
        mean, width = found.mean() @ other.T, np.einsum("nk,rkl,nl->rn", other, found.covariance(), other)
        decided = label(truth @ other.T)
        margin = mean / np.sqrt(1 + np.pi / 8 * width)
        return float(-np.logaddexp(0, -decided * margin)[decided != 0].mean())

    def posterior(asked: np.ndarray):
        rater, pair = np.repeat(np.arange(raters), asked.shape[1]), asked.reshape(-1)
        statements = Statements(rater, said[rater, pair], np.full(len(rater), -1), np.ones(len(rater)))
        return infer(lambda z: ((design[pair] * z[rater]).sum(1), design[pair]), statements, noise, prior, raters)

    chosen = np.zeros((raters, 0), np.int64)
    for _ in range(answers):
        found = posterior(chosen)
        mean, covariance = found.mean(), found.covariance()
        margin = mean @ design.T
        for rater in range(raters):
            margin[rater, chosen[rater]] = np.inf  # a pair that all agree on is not asked again
        best = [propose(np.nan_to_num(m, posinf=1e3), design, c, noise, 1)[0][0] for m, c in zip(margin, covariance)]
        chosen = np.concatenate([chosen, np.array(best)[:, None]], 1)
    random = np.stack([rng.permutation(60)[:answers] for _ in range(raters)])
    assert nats(chosen) > nats(random) + 0.03


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("asking") / "tiny", "embedding")


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("prompt,completion\n" + "".join(f"Roll a die.,{face}\n" for face in "123456") + "Flip a coin.,1\n")
    return path


def test_the_verb(run, answers, tmp_path):
    found = rows_of(succeeds("ask", run, answers, "--id", "me", "-n", 20))
    assert len({frozenset((one["a"], one["b"])) for one in found}) == len(found) == 15  # all pairs of six, and none of one
    assert all(one["information"] >= 0 for one in found) and {one["prompt"] for one in found} == {"Roll a die."}
    first = found[0]
    pd.DataFrame([{"prompt": first["prompt"], "a": first["b"], "b": first["a"], "label": 1}]).to_csv(tmp_path / "said.csv", index=False)
    after = rows_of(succeeds("ask", run, answers, "--id", "me", "--labels", tmp_path / "said.csv", "-n", 20))
    assert len(after) == 14 and {first["a"], first["b"]} not in [{one["a"], one["b"]} for one in after]
    assert "me" not in raterhf.open(run).raters.index  # nothing is saved


def test_what_is_known_of_a_person_is_not_asked_again(run, answers, tmp_path):
    """Somebody whom `adapt` made known begins where their labels ended."""
    copy = shutil.copytree(run, tmp_path / "tiny")
    first = rows_of(succeeds("ask", copy, answers, "--id", "me"))[0]
    (tmp_path / "said.csv").write_text("prompt,a,b,label\n" + f"Roll a die.,{first['a']},{first['b']},1\n" * 30)
    succeeds("adapt", copy, tmp_path / "said.csv", "--id", "me")
    found = rows_of(succeeds("ask", copy, answers, "--id", "me", "-n", 15))
    same = next(one for one in found if {one["a"], one["b"]} == {first["a"], first["b"]})
    assert same["information"] < first["information"]


def test_pairs_of_the_runs_own_comparisons(run, tmp_path, monkeypatch):
    copy = shutil.copytree(run, tmp_path / "tiny")
    shutil.copy(copy / "policy" / "recipe.resolved.yaml", copy / "reward" / "recipe.resolved.yaml")
    monkeypatch.chdir(tmp_path)
    rows = [("6", "1", "ann"), ("1", "6", "bob"), ("2", "5", "ann"), ("2", "5", "bob")]
    frame = pd.DataFrame([{"prompt": "Roll a die.", "chosen": a, "rejected": b, "rater_id": who} for a, b, who in rows])
    frame.to_csv("comparisons.csv", index=False)
    pd.DataFrame({"prompt": ["Roll a die."], "completion": ["6"], "rater_id": ["ann"]}).to_csv("demonstrations.csv", index=False)
    found = rows_of(succeeds("ask", copy, "--id", "me", "-n", 9))
    assert sorted(sorted((one["a"], one["b"])) for one in found) == [["1", "6"], ["2", "5"]]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--id", "ann"), "rater 'ann' was learned in training"),
        (("--id", "new:7"), "--id 'new:7' is a word of the rater grammar"),
        (("--id", "me", "--group", "east"), "group 'east' is not in this run"),
        (("--id", "ann", "--group", "north"), "group 'north': the run knows 'ann'"),
    ],
)
def test_questions_that_are_refused(run, answers, options, says):
    fails("ask", run, answers, *options, says=says)


def test_no_pair_is_an_error(run, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("prompt,completion\nRoll a die.,1\nFlip a coin.,1\n")
    fails("ask", run, path, "--id", "me", says="no pair is left to ask about; give a file with other completions")
    path.write_text("prompt,completion\nRoll a die.,\nRoll a die.,1\n")
    fails("ask", run, path, "--id", "me", says="row 1: completion")
    fails("ask", run, "--id", "me", says="does not say what data it was trained on; give completions to choose pairs from")
