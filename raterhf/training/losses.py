"""The losses, as pure functions of tensors.

Notation: margin = s_a - s_b in units of Bradley-Terry noise, theta the tie width, epsilon the label noise; pi and ref the summed
log-probabilities of completions under policy and reference, in nats.
"""

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor


def comparison_loss(margin: Tensor, label: Tensor, tie_width: Tensor, label_noise: Tensor) -> Tensor:
    """Negative log-likelihood [B] of labels 1 (a), -1 (b), 0 (tie), by Rao and Kupper (1967) with label noise.

    Without it P(a) = sigmoid(margin - theta) and P(b) = sigmoid(-margin - theta), the rest are ties; a share epsilon of the decided labels
    says the opposite.
    """
    said = torch.where(label < 0, -margin, margin)
    better, worse = torch.sigmoid(said - tie_width), torch.sigmoid(-said - tie_width)
    prob = torch.where(label == 0, 1 - better - worse, (1 - label_noise) * better + label_noise * worse)
    return -prob.clamp(min=1e-6).log()


def graded_loss(margin: Tensor, label: Tensor, grade: Tensor, cuts: Tensor, label_noise: Tensor) -> Tensor:
    """Negative log-likelihood [B] of labels 1 (a), -1 (b), 0 (tie) that say how much better, by `grade` from 0 (slightly); -1: not said.

    Ordered logit (McCullagh 1980) that Rao and Kupper's ties begin: `cuts` [L] ascend from the tie width, and P(a by grade k or more) =
    sigmoid(margin - cuts[k]). Nothing is assumed of how far grades are apart. A label without a grade is one of `comparison_loss`, and
    so are all where L = 1.
    """
    inf = cuts.new_full((1,), torch.inf)
    low = cuts[grade.clamp(min=0)]
    high = torch.where(grade < 0, inf, torch.cat([cuts[1:], inf])[grade.clamp(min=0)])
    for_a = torch.sigmoid(margin - low) - torch.sigmoid(margin - high)
    for_b = torch.sigmoid(-margin - low) - torch.sigmoid(-margin - high)
    tie = 1 - torch.sigmoid(margin - cuts[0]) - torch.sigmoid(-margin - cuts[0])
    said, other = torch.where(label > 0, for_a, for_b), torch.where(label > 0, for_b, for_a)
    prob = torch.where(label == 0, tie, (1 - label_noise) * said + label_noise * other)
    return -prob.clamp(min=1e-6).log()


def agreement_probs(margin: Tensor, persistence: Tensor, label_noise: Tensor) -> Tensor:
    """Probability that a rater asked twice says the same: a mixture of noise that persists and noise drawn again."""
    both_or_neither = (1 - label_noise) ** 2 + label_noise**2
    a = torch.sigmoid(margin)
    a = (1 - label_noise) * a + label_noise * (1 - a)
    return persistence * both_or_neither + (1 - persistence) * (a**2 + (1 - a) ** 2)


def best_mixture(own: Tensor, nobody: Tensor, label: Tensor) -> float:
    """w in [0, 1] of greatest likelihood of labels [B] (1: a, -1: b) under P(a) = sigmoid(nobody + w (own - nobody)), of margins [B]."""

    def loss(w: float) -> float:
        return float(torch.nn.functional.softplus(-label * torch.lerp(nobody, own, w)).mean())

    return min((0.0, 1.0, minimize_scalar(loss, bounds=(0, 1), method="bounded").x), key=loss)


def own_answer_loss(gain: Tensor, group: Tensor) -> Tensor:
    """Mean negative log-likelihood of raters' own answers as choices among the answers [B] of everybody to the same thing.

    `gain[i, j]` is what rater i sees in answer j beyond nobody in particular, s(y_j; z_i) - s(y_j; null); `group` [B] is what was asked.
    Conditional logit with the batch's answers as the sampled alternatives (McFadden 1978): answers come as often as people give them, so
    at the optimum gain is log p(y | z) / p(y), whatever words people use.
    """
    allowed = torch.where(group[:, None] == group[None], gain, -torch.inf)
    return -torch.log_softmax(allowed, 1).diagonal().mean()


def imitation_loss(log_prob: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of -log pi(y|x, r) over completions, both [B]."""
    return -(weight * log_prob).sum() / weight.sum()


def preference_loss(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """-log sigmoid(beta (chosen - rejected)) [P], of log pi - log ref of what was chosen and rejected (Rafailov et al. 2023, eq. 7)."""
    return -torch.nn.functional.logsigmoid(beta * (chosen - rejected))


def of_nothing(module: torch.nn.Module) -> Tensor:
    """A loss of 0 whose gradients are 0, for a process that has no row of a batch."""
    learning = [parameter.sum() for parameter in module.parameters() if parameter.requires_grad]
    return 0 * torch.stack(learning).sum()


def mean_utility(score: Tensor, reference: Tensor, beta: float) -> Tensor:
    """(s + beta log ref) / (1 + beta): the geometric mean of reward and reference, in units of the noise of human choice.

    People choose argmax of utility plus Gumbel noise, so imitating such choices gives the distribution softmax(mean utility), and at beta =
    0 exactly what people choose by the reward model.
    """
    return (score + beta * reference) / (1 + beta)


def sequence_reward(score: Tensor, reference: Tensor, log_prob: Tensor, beta: float) -> Tensor:
    """Reward of a whole sampled completion, penalty included: s - beta (log pi - log ref)."""
    return score - beta * (log_prob - reference)


def rloo_advantage(reward: Tensor) -> Tensor:
    """Reward [G, S] minus the mean of the other samples of its group (Kool et al. 2019)."""
    size = reward.shape[1]
    return (reward - reward.mean(1, keepdim=True)) * size / (size - 1)


def policy_gradient_loss(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """REINFORCE: -E[advantage * log pi], advantages held fixed."""
    return -(advantage.detach() * log_prob).mean()


def kl_estimate(log_prob: Tensor, reference: Tensor) -> Tensor:
    """Estimator k1 of KL(pi || ref) a completion: the mean of log pi - log ref over samples of pi. Unbiased, in nats."""
    return (log_prob - reference).mean()
