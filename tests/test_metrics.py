"""Figures against numbers worked out by hand, and against samplers whose figures are documented: a perfect
one, one that ignores the rater, a stereotype, a copier. The small world below has four hidden types, so one
person's answers hang together."""

import math
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from raterhf.evaluation import metrics
from raterhf.evaluation.metrics import coherence

TYPES, QUESTIONS, CLASSES = 4, 6, 6
N = 400


def nan(x: float) -> bool:
    return isinstance(x, float) and math.isnan(x)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def type_distributions() -> np.ndarray:
    """[types, Q, K]: each type has its own likely answer, .6, and a runner-up, .2."""
    distributions = np.full((TYPES, QUESTIONS, CLASSES), 0.05)
    for kind in range(TYPES):
        for question in range(QUESTIONS):
            distributions[kind, question, (kind + question) % CLASSES] += 0.55
            distributions[kind, question, (kind + 2) % CLASSES] += 0.15
    return distributions


def people(n: int, rng: np.random.Generator, stereotype: bool = False) -> np.ndarray:
    """Answers [n, Q] of new people; a stereotype gives every type's likeliest answer."""
    distributions = type_distributions()[rng.integers(TYPES, size=n)]
    if stereotype:
        return distributions.argmax(2)
    return (rng.random((n, QUESTIONS, 1)) > distributions.cumsum(2)).sum(2)


def without_ids(n: int, rng: np.random.Generator) -> np.ndarray:
    """The right marginals and nobody behind them."""
    return rng.permuted(people(n, rng), axis=0)


def joint_distributions() -> list[np.ndarray]:
    distributions = type_distributions()
    return [np.einsum("ti,tj->ij", distributions[:, a], distributions[:, b]) / TYPES for a, b in combinations(range(QUESTIONS), 2)]


# Marginal


def test_class_distribution_keeps_invalid_answers_as_the_last_class():
    assert metrics.class_distribution(np.array([0, 0, 2, -1]), 3).tolist() == [0.5, 0, 0.25, 0.25]
    with pytest.raises(ValueError, match="invalid"):
        metrics.class_distribution(np.array([3]), 3)
    with pytest.raises(ValueError, match="empty"):
        metrics.class_distribution(np.array([], int), 3)


def test_tv_counts_invalid_answers_as_wrong():
    assert metrics.tv(np.array([0.5, 0.3, 0.2]), np.array([0.5, 0.5])) == pytest.approx(0.2)
    assert metrics.tv(np.array([0.0, 0.0, 1.0]), np.array([0.5, 0.5])) == pytest.approx(1)
    with pytest.raises(ValueError, match="sum 0.8"):
        metrics.tv(np.array([0.5, 0.3]), np.array([0.5, 0.5]))


def test_tv_floor_of_a_coin(rng):
    # Two labels: HH, HT, TH, TT; tv 1/2, 0, 0, 1/2. One label and any draws: always 1/2. A learner who knows
    # q has none.
    coin = np.array([0.5, 0.5])
    assert metrics.tv_floor(coin, 2, None, rng, 20_000) == pytest.approx(0.25, abs=0.01)
    assert metrics.tv_floor(coin, 1, 7, rng) == pytest.approx(0.5)
    assert metrics.tv_floor(coin, None, None, rng) == 0


def test_floor_of_101_answers_and_200_labels_is_the_documented_one(rng):
    assert metrics.tv_floor(np.full(101, 1 / 101), 200, None, rng) == pytest.approx(0.28, abs=0.01)


@pytest.mark.parametrize("n_draws", [None, 50])
def test_etv_of_the_best_learner_is_0_in_the_mean(rng, n_draws):
    q = np.array([0.4, 0.3, 0.2, 0.1])
    floor_free = []
    for _ in range(300):
        p = rng.multinomial(60, q) / 60
        p = p if n_draws is None else rng.multinomial(n_draws, p) / n_draws
        floor_free.append(metrics.tv(p, q))
    floor = metrics.tv_floor(q, 60, n_draws, rng)
    assert np.mean(floor_free) - floor == pytest.approx(0, abs=0.01)
    assert metrics.etv(np.array([1.0, 0, 0, 0, 0]), q, 60, n_draws, rng) == pytest.approx(0.6 - floor, abs=0.01)


def test_entropy_ratio_is_miller_madow():
    # Two answers seen in four draws: log 2 + 1/8.
    p = np.array([0.5, 0.5, 0, 0])
    assert metrics.entropy(p, 4) == pytest.approx(math.log(2) + 1 / 8)
    assert metrics.entropy_ratio(p, np.array([0.5, 0.25, 0.25])) == pytest.approx(math.log(2) / (1.5 * math.log(2)))
    assert nan(metrics.entropy_ratio(p, np.array([1.0, 0, 0])))


def test_entropy_ratio_of_small_perfect_samples_is_1_in_the_mean(rng):
    q = np.array([0.4, 0.3, 0.2, 0.1])
    ratios = [metrics.entropy_ratio(rng.multinomial(50, q) / 50, q, 50) for _ in range(300)]
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)


def test_coverage_ratio():
    # Two draws from a coin hit 2 (1 - 1/4) = 1.5 sides in the mean. An invalid answer, and one that nobody
    # gives, hit nothing.
    assert metrics.coverage_ratio(np.array([0, 1]), np.array([0.5, 0.5])) == pytest.approx(2 / 1.5)
    assert metrics.coverage_ratio(np.array([0, -1]), np.array([0.5, 0.5])) == pytest.approx(1 / 1.5)
    assert metrics.coverage_ratio(np.array([0, 2]), np.array([0.5, 0.5, 0])) == pytest.approx(1 / 1.5)


def test_gamma_finds_the_exponent():
    # q = (.8, .2): odds 4 become 4^gamma. 16 to 1 is gamma 2, 1 to 1 is 0, 1 to 4 is -1. Invalid answers do
    # not count.
    q = np.array([0.8, 0.2])
    assert metrics.gamma([np.array([80, 20])], [q]) == pytest.approx(1)
    assert metrics.gamma([np.array([16, 1, 30])], [q]) == pytest.approx(2)
    assert metrics.gamma([np.array([5, 5])], [q]) == pytest.approx(0, abs=1e-9)
    assert metrics.gamma([np.array([10, 40])], [q]) == pytest.approx(-1)


def test_gamma_pools_questions_and_leaves_out_fair_dice():
    q, die = np.array([0.8, 0.2]), np.full(6, 1 / 6)
    sharpened = np.array([600, 0, 0, 0, 0, 0])
    assert metrics.gamma([np.array([80, 20]), sharpened], [q, die]) == pytest.approx(1)
    assert nan(metrics.gamma([sharpened], [die]))
    pooled = metrics.gamma([np.array([16, 1]), np.array([80, 20])], [q, q])
    assert pooled == pytest.approx(math.log(96 / 21, 4))


def test_gamma_does_not_exist_for_a_collapsed_policy_or_without_valid_answers():
    q = np.array([0.8, 0.2])
    assert nan(metrics.gamma([np.array([100, 0])], [q]))
    assert nan(metrics.gamma([np.array([0, 0, 9])], [q]))


# Coherence


def test_information_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    said = rng.integers(-1, 3, size=(40, 2))
    said[:20, 1] = said[:20, 0]
    valid = said[(said >= 0).all(1)]
    widths = coherence.widths_of(said)
    matrix = coherence.information(coherence.one_hot(said, widths), widths)
    assert widths.tolist() == [4, 4] and matrix[0, 1] == matrix[1, 0] == pytest.approx(mutual_info_score(*valid.T))
    # Two classes that go together by halves have log 2 of it, counted over the rows whose answers are both valid.
    pairs = coherence.one_hot(np.array([[0, 0], [1, 1], [0, 0], [1, 1], [-1, 2], [2, -1]]), [4, 4])
    assert coherence.information(pairs, [4, 4])[0, 1] == pytest.approx(math.log(2))


def test_tables_of_pairs_are_compared():
    together, crossed = np.array([[0, 0], [1, 1]] * 2), np.array([[0, 1], [1, 0]] * 2)
    starts = coherence.starts_of([4, 4])
    a, b = coherence.one_hot(together, [4, 4]), coherence.one_hot(crossed, [4, 4])
    assert coherence.tables_tv(a, b, starts) == 1 and coherence.tables_tv(a, a, starts) == 0
    assert coherence.tables_tv(a, np.concatenate([a, b]), starts) == 0.5


def test_mutual_information_of_four_raters_by_hand():
    # Equal columns: log 2. Permuted: 1/3 of pairings of two zeros and two ones are perfect (log 2), 2/3
    # independent (0).
    column = np.array([0, 0, 1, 1])
    matrix = metrics.mutual_information(np.stack([column, column, np.array([0, 1, 0, 1])], 1))
    assert matrix[0, 1] == pytest.approx(2 / 3 * math.log(2))
    assert matrix[0, 2] == matrix[2, 1] == pytest.approx(-1 / 3 * math.log(2))
    assert np.isnan(np.diag(matrix)).all()


def test_mutual_information_uses_raters_valid_in_both_questions():
    column = np.array([0, 0, 1, 1])
    answers = np.stack([np.append(column, [-1, 1, -1]), np.append(column, [0, -1, -1])], 1)
    assert metrics.mutual_information(answers)[0, 1] == pytest.approx(2 / 3 * math.log(2))
    assert metrics.mutual_information(np.full((5, 2), -1))[0, 1] == 0


def test_mean_over_pairs_never_pairs_a_question_with_itself():
    matrix = np.array([[np.nan, 1, 2], [1, np.nan, 6], [2, 6, np.nan]])
    assert metrics.mean_over_pairs(matrix) == 3
    assert metrics.mean_over_pairs(matrix, np.array([0, 0, 1])) == 1
    assert nan(metrics.mean_over_pairs(matrix, np.array([2, 2, 2])))


def test_mi_ratio_of_a_perfect_sampler_a_sampler_without_ids_and_a_stereotype(rng):
    real = people(N, rng)
    assert metrics.mi_ratio(people(N, rng), real) == pytest.approx(1, abs=0.15)
    assert metrics.mi_ratio(without_ids(N, rng), real) == pytest.approx(0, abs=0.05)
    assert metrics.mi_ratio(people(N, rng, stereotype=True), real) > 2
    assert nan(metrics.mi_ratio(real, np.zeros_like(real)))


def test_pair_tv_by_hand():
    # People: both questions agree. The policy: half (0, 0), a quarter (0, 1), a quarter (invalid, 1).
    answers = np.array([[0, 0], [0, 0], [0, 1], [-1, 1]])
    assert metrics.pair_tv(answers, [np.array([[0.5, 0], [0, 0.5]])])[0, 1] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="joint distribution"):
        metrics.pair_tv(answers, [np.array([[1.0]])])


def test_pair_tv_floor_is_the_floor_of_the_flattened_distribution(rng):
    matrix = metrics.pair_tv_floor([np.array([[0.5, 0], [0, 0.5]])] * 3, 2, 10**6, rng, 5000)
    assert matrix.shape == (3, 3)
    assert matrix[0, 2] == pytest.approx(0.25, abs=0.02)


def test_joint_tv_of_a_perfect_sampler_a_sampler_without_ids_and_a_stereotype(rng):
    distributions, real = joint_distributions(), people(N, rng)
    samplers = {
        "perfect": people(N, rng),
        "no ids": without_ids(N, rng),
        "stereotype": people(N, rng, stereotype=True),
    }
    exact = {name: metrics.joint_tv(answers, distributions, None, rng) for name, answers in samplers.items()}
    to_raters = {name: metrics.joint_tv_to_raters(answers, real, rng) for name, answers in samplers.items()}
    for figures in (exact, to_raters):
        assert figures["perfect"] == pytest.approx(0, abs=0.02)
        assert figures["no ids"] > 0.1
        assert figures["stereotype"] > 0.3


def test_joint_tv_is_0_in_the_mean_for_the_best_learner(rng):
    distributions = joint_distributions()
    floor = metrics.pair_tv_floor(distributions, 200, N, rng)
    learned = []
    for _ in range(40):
        training = people(200, rng)
        learned.append(metrics.mean_over_pairs(metrics.pair_tv(training[rng.integers(200, size=N)], distributions) - floor))
    assert np.mean(learned) == pytest.approx(0, abs=0.005)


def test_fleiss_kappa_by_hand():
    # Question 0: everybody keeps an answer. 1: everybody gives both: agreement 0, chance 1/2, kappa -1. 2:
    # nobody ever differs.
    repeats = np.array([[[0, 0], [0, 1], [2, 2]], [[1, 1], [0, 1], [2, 2]]])
    kappas = metrics.fleiss_kappas(repeats)
    assert kappas[:2].tolist() == [1, -1]
    assert math.isnan(kappas[2])
    assert metrics.fleiss_kappa(repeats) == 0
    assert nan(metrics.fleiss_kappa(repeats[:, 2:]))
    # Three draws: 2 of 3 agree, (4 + 1 - 3) / 6 = 1/3 each; chance 1/2; (1/3 - 1/2) / (1/2).
    assert metrics.fleiss_kappa(np.array([[[0, 0, -1]], [[0, -1, -1]]])) == pytest.approx(-1 / 3)


def test_fleiss_kappa_of_dice_is_0(rng):
    assert metrics.fleiss_kappa(rng.integers(6, size=(300, 4, 5))) == pytest.approx(0, abs=0.02)


# Two samples


def test_c2st_auc_tells_everybody_but_new_people(rng):
    real, n = people(N, rng), 300
    perfect = [metrics.c2st_auc(people(n, rng), people(n, rng), seed) for seed in range(4)]
    assert np.mean(perfect) == pytest.approx(0.5, abs=0.05)  # one AUC has a standard deviation of .04
    assert metrics.c2st_auc(without_ids(n, rng), real[:n], seed=0) > 0.65
    assert metrics.c2st_auc(people(n, rng, stereotype=True), real[:n], seed=0) > 0.9
    invalid = np.where(rng.random((n, QUESTIONS)) < 0.3, -1, people(n, rng))
    assert metrics.c2st_auc(invalid, real[:n], seed=0) > 0.75


def test_c2st_is_reproducible_and_takes_wide_questions(rng):
    wide, other = rng.integers(101, size=(60, 3)), rng.integers(101, size=(50, 3))
    scores = metrics.c2st_scores(wide, other, seed=1)
    assert [len(s) for s in scores] == [60, 50]
    assert metrics.auc(*scores) == metrics.c2st_auc(wide, other, seed=1)
    with pytest.raises(ValueError, match="5 folds"):
        metrics.c2st_auc(wide[:4], other, seed=1)


def test_auc_by_hand():
    assert metrics.auc(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == pytest.approx(3.5 / 4)


def test_copying_by_hand():
    training, fresh = np.array([[0, 0], [1, 1]]), np.array([[2, 2], [0, 1]])
    rows = metrics.copying_by_row(np.array([[0, 0], [2, 2], [1, 0], [0, 2]]), training, fresh)
    # Nearest: 0 against 1; 2 against 0; 1 against 2; 1 against 1.
    assert rows == pytest.approx([1, 0, 1, 0.5])


def test_copying_takes_as_many_of_the_larger_group():
    # One fresh rater at distance 1, three training ones at 0, 1, 2: one of them, at random, is nearer, level
    # or farther.
    training, fresh = np.array([[0, 0], [0, 1], [1, 1]]), np.array([[1, 0]])
    assert metrics.copying(np.array([[0, 0]]), training, fresh) == pytest.approx((1 + 0.5 + 0) / 3)
    assert metrics.copying(np.array([[0, 0]]), fresh, training) == pytest.approx((0 + 0.5 + 1) / 3)


def test_copying_of_new_people_is_a_half_and_of_copies_1(rng):
    training, fresh = people(N, rng), people(250, rng)
    assert metrics.copying(people(2000, rng), training, fresh) == pytest.approx(0.5, abs=0.05)
    many = np.concatenate([rng.integers(50, size=(N, 3)), training], 1)
    others = np.concatenate([rng.integers(50, size=(N, 3)), people(N, rng)], 1)
    assert metrics.copying(many, many, others) > 0.99
