"""What a prompt's features say of idiosyncratic taste: how much of it persists when the same is asked again, estimated from repeated
comparisons, and which question it is, known by what is answered; both carried to a policy.

Notation: M repeated comparisons, P prompts, F features.
"""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from raterhf.data.comparisons import ComparisonData
from raterhf.data.example import Example
from raterhf.engine.passes import prompt_features
from raterhf.engine.scorer import TOKEN_BUDGET, Scorer
from raterhf.models.idiosyncratic import IdiosyncraticTaste
from raterhf.models.policy import Policy
from raterhf.models.reward import RewardModel
from raterhf.training import losses

SAME = 0.02  # cosines that differ by less are of one question


def repeated_pairs(data: ComparisonData) -> tuple[np.ndarray, np.ndarray]:
    """Rows (i, j) of comparisons that one rater judged twice, the same two examples, neither a tie; and whether they agree [M]."""
    low, high = np.minimum(data.a, data.b), np.maximum(data.a, data.b)
    sign = np.where(data.a < data.b, data.label, -data.label)
    groups: dict[tuple, list[int]] = {}
    for row in np.flatnonzero(data.label != 0):
        groups.setdefault((data.rater[row], low[row], high[row]), []).append(row)
    pairs = [(rows[0], other) for rows in groups.values() for other in rows[1:]]
    if not pairs:
        return np.zeros((0, 2), np.int64), np.zeros(0, bool)
    pairs = np.array(pairs)
    return pairs, sign[pairs[:, 0]] == sign[pairs[:, 1]]


def fit_persistence(prompts: Tensor, agree: Tensor, margin: Tensor, label_noise: Tensor, ridge: float = 1e-3) -> Tensor:
    """Weights [F + 1] of the share of noise that persists, from repeated comparisons: prompt features [M, F], agree [M], margin [M].

    Maximum likelihood of `losses.agreement_probs` with a ridge, on standardised features.
    """
    mean, spread = prompts.mean(0), prompts.std(0, correction=0).clamp(min=1e-4)  # of one row 0, not NaN
    x = (prompts - mean) / spread
    weight = torch.zeros(prompts.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=100)

    def closure() -> Tensor:
        optimizer.zero_grad()
        share = torch.sigmoid(x @ weight[:-1] + weight[-1])
        probs = losses.agreement_probs(margin, share, label_noise).clamp(1e-6, 1 - 1e-6)
        loss = nn.functional.binary_cross_entropy(probs, agree.float()) + ridge * weight[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    slope = weight.detach()[:-1] / spread
    return torch.cat([slope, (weight.detach()[-1] - slope @ mean)[None]])


def persistence_constant(share: float) -> float:
    """The constant of `persistence_weights` where a recipe gives the share."""
    given = min(max(share, 1e-4), 1 - 1e-4)
    return float(np.log(given / (1 - given)))


def persistence_weights(features: Tensor, share: Tensor) -> Tensor:
    """Weights [F + 1] by which a logistic of prompt features [P, F] gives the shares [P]."""
    return linear_weights(features, torch.logit(share.double(), eps=1e-4))


def linear_weights(features: Tensor, target: Tensor) -> Tensor:
    """Weights [F + 1, ...], the last the constant, by which prompt features [P, F] give the target [P, ...]: ridge regression.

    The ridge is chosen by leave-one-out, so that paraphrases never seen are read well.
    """
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13)))
    with np.errstate(invalid="ignore"):  # one prompt alone leaves nothing to choose by: the constant is its target
        model.fit(features.double().cpu().numpy(), target.double().cpu().numpy())
    scale, ridge = model[0], model[1]
    slope = (ridge.coef_ / scale.scale_).T
    constant = ridge.intercept_ - scale.mean_ @ slope
    return torch.tensor(np.concatenate([slope, constant[None]]), dtype=features.dtype, device=features.device)


def carry_idiosyncratic(policy: Policy, reward: RewardModel, compared: ComparisonData) -> None:
    """Teach the policy's features of prompts what those of the reward model say of idiosyncratic taste: how much persists, and which
    question it is; at the prompts that were compared."""
    policy.idiosyncratic.weight.copy_(reward.idiosyncratic.weight)
    with torch.no_grad():
        prompts, answers = mean_answers(policy.idiosyncratic, compared.judged)
        share = reward.idiosyncratic.share(Scorer(reward.to(policy.lm.device)).prompt_features(prompts))
        features = prompt_features(policy, [prompt.ids[: prompt.prompt_length] for prompt in prompts], TOKEN_BUDGET).cpu()
    policy.idiosyncratic.persistence.copy_(persistence_weights(features, share))
    policy.idiosyncratic.question.copy_(linear_weights(features, answers))


@torch.no_grad()
def idiosyncratic_of_answers(policy: Policy, examples: Sequence[Example], share: float) -> None:
    """Fit idiosyncratic taste to what raters said alone, where a recipe gives the share that persists."""
    taste = policy.idiosyncratic
    taste.weigh(examples)
    prompts, answers = mean_answers(taste, examples)
    features = prompt_features(policy, [prompt.ids[: prompt.prompt_length] for prompt in prompts], TOKEN_BUDGET).cpu()
    taste.question.copy_(linear_weights(features, answers))
    taste.persistence[-1] = persistence_constant(share)


def mean_answers(noise: IdiosyncraticTaste, answers: Sequence[Example]) -> tuple[list[Example], Tensor]:
    """One example of each prompt that was answered [P], and g [P, o]: the direction of the mean psi of the answers (those compared there).

    A step of mean shift brings prompts whose answers are nearly the same to one place (Fukunaga and Hostetler 1975).
    """
    place: dict[tuple[int, ...], int] = {}
    prompt = torch.tensor([place.setdefault(e.ids[: e.prompt_length], len(place)) for e in answers])
    first = {number: example for number, example in zip(prompt.tolist()[::-1], answers[::-1])}
    psi = noise(answers).cpu()
    total = torch.zeros(len(place), psi.shape[1]).index_add(0, prompt, psi)
    g = nn.functional.normalize(total, dim=1)
    g = nn.functional.normalize(torch.softmax(g @ g.T / SAME, 1) @ g, dim=1)
    return [first[number] for number in range(len(place))], g
