"""The losses against numbers worked out by hand: ln 3 as a margin is odds of 3 to 1."""

import math

import pytest
import torch

from raterhf.training import losses

LN2, LN3 = math.log(2), math.log(3)


def close(actual: torch.Tensor, expected, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), rtol=0, atol=tolerance)


def value(x: float) -> torch.Tensor:
    return torch.tensor(x)


def probs_of(margin: torch.Tensor, tie_width: torch.Tensor, label_noise: torch.Tensor) -> torch.Tensor:
    """P(b preferred), P(tie), P(a preferred) [..., 3]."""
    labels = [torch.full(margin.shape, label) for label in (-1, 0, 1)]
    return torch.exp(-torch.stack([losses.comparison_loss(margin, label, tie_width, label_noise) for label in labels], -1))


def test_comparison_without_ties_and_slips_is_bradley_terry():
    close(probs_of(value(LN3), value(0.0), value(0.0)), [0.25, 1e-6, 0.75])  # no probability is below 1e-6


def test_comparison_of_equals_with_tie_width_ln2_is_a_third_each():
    close(probs_of(value(0.0), value(LN2), value(0.0)), [1 / 3, 1 / 3, 1 / 3])


def test_comparison_with_tie_and_slip():
    # a = sigmoid(ln 6 - ln 2) = 3/4, b = sigmoid(-ln 12) = 1/13; label noise exchanges a tenth of them and leave the tie.
    probs = probs_of(value(math.log(6)), value(LN2), value(0.1))
    close(probs, [0.9 / 13 + 0.075, 1 - 0.75 - 1 / 13, 0.675 + 0.1 / 13])
    close(probs, [0.1442308, 0.1730769, 0.6826923])


def test_the_best_mixture_of_a_rater_and_nobody():
    # Three of four say a, and the rater's margin is 2 ln 3 where nobody's is 0: sigmoid(w 2 ln 3) = 3/4 at w = 1/2.
    own, nobody, label = torch.full((4,), 2 * LN3), torch.zeros(4), torch.tensor([1, 1, -1, 1])
    assert losses.best_mixture(own, nobody, label) == pytest.approx(0.5, abs=1e-4)
    # Nobody's margin is right already, or the rater's wrong: all to nobody. All say a: all to the rater.
    assert losses.best_mixture(own, torch.full((4,), LN3), label) == pytest.approx(0, abs=1e-4)
    assert losses.best_mixture(-own, nobody, label) == 0
    assert losses.best_mixture(own, nobody, torch.ones(4)) == 1


def test_graded_labels_split_what_a_plain_label_has():
    # P(a) = sigmoid(ln 6 - ln 2) = 3/4, of which sigmoid(0) = 1/2 by the second grade; P(b) = 1/13, of which sigmoid(-ln 36) = 1/37.
    margin, cuts = torch.full((6,), math.log(6)), torch.tensor([LN2, math.log(6)])
    label, grade = torch.tensor([1, 1, 1, -1, -1, 0]), torch.tensor([-1, 0, 1, 0, 1, -1])
    prob = torch.exp(-losses.graded_loss(margin, label, grade, cuts, value(0.0)))
    close(prob, [3 / 4, 1 / 4, 1 / 2, 1 / 13 - 1 / 37, 1 / 37, 1 - 3 / 4 - 1 / 13])
    # With label noise a tenth of the decided labels say the opposite, by the same grade.
    prob = torch.exp(-losses.graded_loss(margin[2:3], label[2:3], grade[2:3], cuts, value(0.1)))
    close(prob, [0.9 / 2 + 0.1 / 37])


def test_labels_without_grades_have_the_plain_loss():
    margin, label = torch.linspace(-4, 4, 9), torch.tensor([1, 0, -1] * 3)
    noise = value(0.08)
    for cuts in ([0.7], [0.7, 1.5, 2.5]):
        graded = losses.graded_loss(margin, label, torch.full((9,), -1), torch.tensor(cuts), noise)
        close(graded, losses.comparison_loss(margin, label, value(0.7), noise))
    one = losses.graded_loss(margin, label, torch.zeros(9, dtype=torch.long), torch.tensor([0.7]), noise)
    close(one, losses.comparison_loss(margin, label, value(0.7), noise))  # one grade tells nothing apart


def test_comparison_sums_to_one_and_is_symmetric():
    margin = torch.linspace(-6, 6, 25)
    probs = probs_of(margin, value(0.7), value(0.08))
    close(probs.sum(-1), torch.ones(25))
    assert (probs > 0).all()
    close(probs_of(-margin, value(0.7), value(0.08)), probs.flip(-1))


def test_comparison_loss_takes_the_probability_of_the_label():
    margin = torch.full((3,), math.log(6))
    loss = losses.comparison_loss(margin, torch.tensor([1, 0, -1]), value(LN2), value(0.1))
    close(loss, [-math.log(0.6826923), -math.log(0.1730769), -math.log(0.1442308)], 1e-5)


@pytest.mark.parametrize(
    ("margin", "persistence", "label_noise", "expected"),
    [
        (0.0, 0.4, 0.0, 0.7),  # .4 * 1 + .6 * 1/2
        (LN3, 0.0, 0.0, 0.625),  # (3/4)^2 + (1/4)^2
        (LN3, 1.0, 0.1, 0.82),  # .9^2 + .1^2, whatever the margin
        (LN3, 0.5, 0.1, 0.70),  # a = .9 * .75 + .1 * .25 = .7; (.82 + .49 + .09) / 2
    ],
)
def test_agreement(margin, persistence, label_noise, expected):
    close(losses.agreement_probs(value(margin), value(persistence), value(label_noise)), expected)


def test_imitation_is_a_weighted_mean():
    # (1 * 1 + 3 * 3) / 4
    close(losses.imitation_loss(torch.tensor([-1.0, -3.0]), torch.tensor([1.0, 3.0])), 2.5)


def test_mean_utility_is_the_geometric_mean_of_reward_and_reference():
    # beta 1: (ln 4 + 0) / 2 and (0 + ln 1/4) / 2; beta 3: (1 + 3 * -1) / 4
    close(losses.mean_utility(torch.tensor([2 * LN2, 0.0]), torch.tensor([0.0, -2 * LN2]), 1.0), [LN2, -LN2])
    close(losses.mean_utility(value(1.0), value(-1.0), 3.0), -0.5)


def test_own_answers_are_choices_among_the_answers_to_the_same_thing():
    # Group 0: raters 0 and 1, odds 3 to 1 and 1 to 1 for their own; group 1: rater 2 has no alternative. (ln 4/3 + ln 2 + 0) / 3
    gain = torch.tensor([[LN3, 0.0, 50.0], [0.0, 0.0, 50.0], [9.0, 9.0, -7.0]])
    close(losses.own_answer_loss(gain, torch.tensor([0, 0, 1])), (math.log(4 / 3) + LN2) / 3)


def test_sequence_reward_is_score_minus_the_kl_penalty():
    # 2 - .5 * (-1 + 3)
    reward = losses.sequence_reward(value(2.0), value(-3.0), value(-1.0), beta=0.5)
    close(reward, 1.0)


def test_rloo_advantage():
    # 1 - (2+3+6)/3, 2 - (1+3+6)/3, 3 - (1+2+6)/3, 6 - (1+2+3)/3
    advantage = losses.rloo_advantage(torch.tensor([[1.0, 2.0, 3.0, 6.0], [5.0, 5.0, 5.0, 5.0]]))
    close(advantage, [[-8 / 3, -4 / 3, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0]])


def test_policy_gradient():
    log_prob = torch.tensor([-1.0, -2.0], requires_grad=True)
    advantage = torch.tensor([3.0, -1.0], requires_grad=True)
    loss = losses.policy_gradient_loss(log_prob, advantage)
    loss.backward()
    close(loss.detach(), 0.5)  # -(3 * -1 + -1 * -2) / 2
    close(log_prob.grad, [-1.5, 0.5])
    assert advantage.grad is None


def test_kl_estimate_is_the_kl_over_samples_of_the_policy():
    # pi = (1/2, 1/4, 1/4), ref = (1/4, 1/4, 1/2); samples 0, 0, 1, 2; KL = ln 2 / 2 - ln 2 / 4.
    pi, ref = torch.tensor([0.5, 0.25, 0.25]).log(), torch.tensor([0.25, 0.25, 0.5]).log()
    samples = torch.tensor([0, 0, 1, 2])
    close(losses.kl_estimate(pi[samples], ref[samples]), LN2 / 4)


@pytest.mark.parametrize("size", [50.0, 1e4])
def test_losses_and_gradients_are_finite_at_extreme_margins(size):
    margin = torch.tensor([size, -size] * 3, requires_grad=True)
    tie, label_noise = value(0.1).requires_grad_(), value(0.05).requires_grad_()
    label = torch.tensor([1, 1, 0, 0, -1, -1])
    comparison = losses.comparison_loss(margin, label, tie, label_noise)
    agreement = losses.agreement_probs(margin, torch.full((6,), 0.5), label_noise).log()
    assert torch.isfinite(comparison).all() and torch.isfinite(agreement).all()
    (comparison.sum() - agreement.sum()).backward()
    assert all(torch.isfinite(x.grad).all() for x in (margin, tie, label_noise))
