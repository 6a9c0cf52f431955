"""Raters inferred from their own answers: posteriors by hand, and simulated people whose taste is known."""

import numpy as np
import pytest

from raterhf.errors import UserError
from raterhf.raters.answers import AnswerModel, Answers, fit_answers, fit_crowd, in_units, infer_answers
from raterhf.raters.files import load_answer_model, save_answer_model
from raterhf.raters.letters import fit_letters
from raterhf.raters.population import Population


def one_gaussian(k: int = 1, mean: float = 0.0) -> Population:
    return Population(np.ones(1), np.full((1, k), mean), np.eye(k)[None])


def test_a_posterior_by_hand():
    """Noise 2 and a population N(0, 1): after n answers precision is 1 + n / 2; three answers of 1, 2, 3 give mean 1.2, variance .4."""
    model = AnswerModel(np.array([[10.0], [5.0]]), np.array([[1.0]]), np.array([2.0]))
    answers = Answers(np.array([[11.0], [12.0], [13.0], [6.0]]), np.array([0, 0, 0, 1]), np.array([0, 0, 0, -1]))
    found = infer_answers(model, one_gaussian(), answers, 3)
    # The answer to a prompt that nobody else answered lies beside the centre of all, which is the last one.
    assert found.mean()[:, 0] == pytest.approx([1.2, 1 / 3, 0])
    assert [found.of(r).covariance()[0, 0] for r in range(3)] == pytest.approx([0.4, 2 / 3, 1], abs=1e-6)
    # The mean of three, 2, has variance 1 + 2 / 3.
    assert found.log_evidence[0] == pytest.approx(-(4 / (5 / 3)) / 2 - np.log(2 * np.pi * 5 / 3) / 2)
    assert found.log_evidence[2] == 0


def test_how_much_likelier_two_answers_are_as_one_persons_by_hand():
    """Noise 1: alone an answer has variance 2, two of one person covariance 1, so that ((2, 1), (1, 2)) has determinant 3."""
    model = AnswerModel(np.zeros((1, 1)), np.eye(1), np.array([1.0]))
    a, b = np.array([[1.0], [1.0]]), np.array([[1.0], [-1.0]])
    # Quadratic forms 2/3 and 2 together, 1 apart; log determinants log 3 and log 4.
    assert model.likeness(a, b) == pytest.approx([(1 + np.log(4) - 2 / 3 - np.log(3)) / 2, (1 + np.log(4) - 2 - np.log(3)) / 2])


def test_a_rater_is_of_the_component_that_explains_their_answers():
    model = AnswerModel(np.zeros((1, 1)), np.eye(1), np.array([1.0]))
    prior = Population(np.array([0.5, 0.5]), np.array([[-2.0], [2.0]]), np.full((2, 1, 1), 0.5))
    found = infer_answers(model, prior, Answers(np.array([[2.0]]), np.array([0]), np.array([-1])), 2)
    # Densities of 2 under N(-2, 1.25) and N(2, 1.25): e^-6.4 to 1.
    assert found.weights[0] == pytest.approx([np.exp(-6.4) / (1 + np.exp(-6.4)), 1 / (1 + np.exp(-6.4))])
    assert found.means[0, :, 0] == pytest.approx([-2 + 4 * 0.25 / 1.25, 2])
    draws = found.draw(np.repeat([0, 1], 2000), np.random.default_rng(0))[:, 0]
    assert draws[:2000].mean() == pytest.approx(found.mean()[0, 0], abs=0.05) and draws[:2000].var() == pytest.approx(0.2, abs=0.06)
    assert (draws[2000:] > 0).mean() == pytest.approx(0.5, abs=0.05)  # without answers, anybody


def simulated(raters: int = 300, each: int = 3, noise: float = 1.5, apart: float = 0.0, seed: int = 0) -> tuple[Answers, np.ndarray]:
    """Points of 30 dimensions in which people differ along two; on the first they are of two kinds, so far apart."""
    rng = np.random.default_rng(seed)
    taste = rng.standard_normal((raters, 2))
    taste[:, 0] += apart * (2 * (np.arange(raters) % 2) - 1)
    where = np.linalg.qr(rng.standard_normal((30, 2)))[0].T
    rater = np.repeat(np.arange(raters), each)
    prompt = rng.integers(2, size=len(rater))
    point = taste[rater] @ where + noise * rng.standard_normal((len(rater), 30)) + 4 * prompt[:, None]
    return Answers(point, rater, prompt), taste


def test_as_many_axes_are_found_as_people_differ_on_and_as_much_noise():
    answers, taste = simulated(raters=1500)
    model, trials = fit_answers(answers, 1500, 8, 0)
    assert trials[0]["dim"] == 2 and trials[0]["gain"] > 0.1
    assert model.noise == pytest.approx([2.25, 2.25], rel=0.3)
    who = infer_answers(model, one_gaussian(2), answers, 1500).mean()
    told = np.linalg.lstsq(who, taste - taste.mean(0), rcond=None)[0]
    # Three answers know a taste by 1 / (1 + 2.25 / 3) of its variance.
    assert ((who @ told) ** 2).mean() / taste.var() == pytest.approx(1 / 1.75, abs=0.1)


def test_answers_of_shuffled_people_tell_nothing():
    answers, _ = simulated()
    shuffled = Answers(answers.point, np.random.default_rng(1).permutation(answers.rater), answers.prompt)
    model, trials = fit_answers(shuffled, 300, 8, 0)
    assert trials[0]["gain"] < 0.05 and model.information() < 0.1


def test_a_population_of_two_kinds_is_found_behind_the_noise():
    answers, _ = simulated(apart=3.0)
    model, _ = fit_answers(answers, 300, 8, 0)
    crowd, trials = fit_crowd(model, answers, np.ones(300, bool), [1, 2], 0)
    assert trials[0]["components"] == 2
    model, crowd = in_units(model, crowd)
    assert np.diag(crowd.covariance()) == pytest.approx(np.ones(len(model.noise)))
    # In units of people's spread, sqrt(1 + 9), kinds lie 3 to each side and are 1 wide; what three answers leave uncertain is taken off.
    far = np.abs(crowd.means).max(1)
    assert far == pytest.approx(np.full(2, 3 / np.sqrt(10)), abs=0.1)
    axis = np.abs(crowd.means).argmax(1)[0]
    assert np.array([factor[axis] @ factor[axis] for factor in crowd.factors]) == pytest.approx([0.1, 0.1], abs=0.08)
    one, _ = fit_crowd(model, answers, np.arange(300) % 2 == 0, [1], 0)
    assert np.abs(one.means[0, axis]) == pytest.approx(3 / np.sqrt(10), abs=0.1)


def test_few_people_are_enough_to_fit_something():
    answers, _ = simulated(raters=4, each=2)
    model, _ = fit_answers(answers, 4, 8, 0)
    crowd, _ = fit_crowd(model, answers, np.ones(4, bool), [1, 2, 16], 0)
    assert len(crowd.weights) == 1
    assert np.isfinite(infer_answers(model, crowd, answers, 4).mean()).all()


def test_letters_are_points_that_a_newcomers_text_has_too():
    texts = ["aa b", "aa c", "dd b", "dd c", "aa d"]
    letters = fit_letters(texts, 0)
    assert {"aa", "a", "aa ", "b"} <= set(letters.terms)
    points = letters.points(texts)
    assert points.shape == (5, 4)
    # All axes there are but one: what is left of five unit vectors keeps which are alike.
    assert points[0] @ points[1] > points[0] @ points[2] and points[2] @ points[3] > points[2] @ points[1]
    assert letters.points(["aa b"])[0] == pytest.approx(points[0])
    assert letters.points(["xyz"])[0] == pytest.approx(np.zeros(4))
    assert fit_letters(["a", "b"], 0).axes.shape[1] == 1


def test_how_people_are_known_is_saved_and_what_is_damaged_is_said(tmp_path):
    texts, rater = ["aa", "ab", "ba", "bb"] * 3, np.repeat(np.arange(6), 2)
    letters = fit_letters(texts, 0)
    model, _ = fit_answers(Answers(letters.points(texts), rater, np.zeros(12, int)), 6, 4, 0)
    save_answer_model(tmp_path, model, letters, ["Say."])
    again, same, prompts = load_answer_model(tmp_path)
    assert prompts == ["Say."] and same.terms == letters.terms
    assert np.array_equal(again.axes, model.axes) and np.array_equal(same.points(texts), letters.points(texts))
    save_answer_model(tmp_path, model, letters, ["Say.", "Tell."])  # one prompt more than centres
    with pytest.raises(UserError, match="does not hold what people are known by"):
        load_answer_model(tmp_path)
    (tmp_path / "answers.safetensors").write_bytes(b"{}")
    with pytest.raises(UserError, match="is damaged"):
        load_answer_model(tmp_path)
