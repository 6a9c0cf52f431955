"""Training the reward model and the rater vectors on comparisons, as a LightningModule; and what is fitted to the trained model after.

Notation: B comparisons of a step, R known raters, k dimensions of taste.
"""

from collections.abc import Callable
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from raterhf.data.batches import Example
from raterhf.inference.scorer import Scorer
from raterhf.models.reward import RewardModel
from raterhf.raters.space import RaterSpace
from raterhf.training import losses


@dataclass(frozen=True)
class ComparisonData:
    """Rendered comparisons: examples [N] by index, `a`, `b`, `label`, `rater`, `group` arrays [B].

    `group` numbers what is asked: comparisons of one group share completions, and so the trunk's work.
    ."""

    examples: list[Example]
    a: np.ndarray
    b: np.ndarray
    label: np.ndarray
    rater: np.ndarray
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.a)

    def rows(self, index: np.ndarray) -> "ComparisonData":
        return ComparisonData(self.examples, self.a[index], self.b[index], self.label[index], self.rater[index], self.group[index])


class RewardModule(L.LightningModule):
    """Bradley-Terry with ties and slips over s(x, y; z_r), the rater dropped from some comparisons (null rater)."""

    def __init__(self, model: RewardModel, space: RaterSpace | None, pad_id: int, null_share: float, slip_rate: float | None, seed: int):
        super().__init__()
        self.model, self.space = model, space
        self.pad_id, self.null_share, self.seed = pad_id, null_share, seed
        self.tie_width = nn.Parameter(torch.tensor(-2.0))
        self.slip_logit = nn.Parameter(torch.tensor(-3.0 if slip_rate is None else float(np.log(max(slip_rate, 1e-6) / (1 - slip_rate)))))
        self.slip_logit.requires_grad_(slip_rate is None)

    def noise_parameters(self) -> tuple[Tensor, Tensor]:
        """Tie width theta > 0 and slip rate epsilon in (0, 1/2)."""
        return nn.functional.softplus(self.tie_width), 0.5 * torch.sigmoid(self.slip_logit)

    def margins(self, data: ComparisonData, vectors: Tensor | None, null: Tensor | None) -> Tensor:
        """s_a - s_b [B] for raters [B, k]."""
        examples = [data.examples[i] for i in np.concatenate([data.a, data.b])]
        if vectors is not None:
            vectors, null = vectors.repeat(2, 1), null.repeat(2)
        scores = Scorer(self.model, self.pad_id).pairs(examples, vectors, null)
        return scores[: len(data)] - scores[len(data) :]

    def training_step(self, batch: tuple[int, ComparisonData], _: int) -> Tensor:
        step, data = batch
        torch.manual_seed(self.seed * 1_000_003 + step)
        vectors = null = None
        if self.space is not None:
            vectors = self.space(torch.as_tensor(data.rater, device=self.device))
            null = torch.rand(len(data), device=self.device) < self.null_share
        margin = self.margins(data, vectors, null)
        label = torch.as_tensor(data.label, device=self.device)
        loss = losses.comparison_loss(margin, label, *self.noise_parameters()).mean()
        decided = label != 0
        agree = (margin.detach().sign() == label)[decided].float().mean()
        self.log_dict({"train/loss": loss, "train/accuracy": agree}, prog_bar=True)
        return loss


@torch.no_grad()
def evaluate(module: RewardModule, data: ComparisonData, vectors: Tensor | None, null: Tensor | None) -> Tensor:
    """Margins [B] without gradients, for the raters given."""
    module.eval()
    return module.margins(data, vectors, null)


def calibrate(module: RewardModule, margin: Tensor, label: Tensor) -> float:
    """Scale the scores so that margins on held-out comparisons are log-odds: maximum likelihood of one scale. Returns it.

    The tie width is fitted beside it, the slip rate stays as learned.
    """
    log_scale = torch.zeros((), requires_grad=True)
    tie = module.tie_width.detach().clone().requires_grad_(True)
    slip = module.noise_parameters()[1].detach()
    optimizer = torch.optim.LBFGS([log_scale, tie], max_iter=50)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = losses.comparison_loss(log_scale.exp() * margin, label, nn.functional.softplus(tie), slip).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    scale = float(log_scale.detach().exp().clamp(0.2, 5.0))
    module.model.scale.mul_(scale)
    module.tie_width.data.copy_(tie.detach())
    return scale


def unit_spread(module: RewardModule) -> None:
    """Express the rater vectors in units of their own spread, the reader undoing it, so that scores stay and policies read them well."""
    spread = float(module.space.vectors.detach().std(0).mean().clamp(min=1e-6))
    with torch.no_grad():
        module.space.vectors.div_(spread)
        for layer in (module.model.reader.linear, module.model.reader.net[0]):
            layer.weight.mul_(spread)


def marginal_likelihood(module: RewardModule, data: ComparisonData) -> Callable[[np.ndarray], float]:
    """How likely a population makes the comparisons of raters whom the model does not know, in nats a comparison.

    Returns a function of draws [M, k] of the population: per rater log 1/M sum_m prod_i p(label_i | z_m), each rater being one unknown
    draw (the mixed logit's simulated likelihood; Train 2009, chapter 6). Completions are read once for all draws and calls.
    """
    used, place = np.unique(np.concatenate([data.a, data.b]), return_inverse=True)
    scores_for = Scorer(module.model, module.pad_id).reader_of([data.examples[i] for i in used])
    rater = torch.as_tensor(data.rater, device=module.device)
    label = torch.as_tensor(data.label, device=module.device)

    @torch.no_grad()
    def judge(draws: np.ndarray) -> float:
        vectors = torch.as_tensor(draws, dtype=torch.float32, device=module.device)
        scores = scores_for(vectors, torch.zeros(len(draws), dtype=torch.bool, device=module.device))
        margin = scores[:, place[: len(data)]] - scores[:, place[len(data) :]]
        log_prob = -losses.comparison_loss(margin, label.expand(len(draws), -1), *module.noise_parameters()).double()
        total = log_prob.new_zeros(len(draws), int(data.rater.max()) + 1).index_add(1, rater, log_prob)
        return float((torch.logsumexp(total, 0) - np.log(len(draws))).sum() / len(data))

    return judge


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


def fit_persistence(prompts: Tensor, agree: Tensor, margin: Tensor, slip: Tensor, ridge: float = 1e-3) -> Tensor:
    """Weights [d + 1] of the share of noise that persists, from repeated comparisons: prompt features [M, d], agree [M], margin [M].

    Maximum likelihood of `losses.agreement_probs` with a ridge, on standardised features.
    """
    mean, spread = prompts.mean(0), prompts.std(0).clamp(min=1e-4)
    x = (prompts - mean) / spread
    weight = torch.zeros(prompts.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=100)

    def closure() -> Tensor:
        optimizer.zero_grad()
        share = torch.sigmoid(x @ weight[:-1] + weight[-1])
        probs = losses.agreement_probs(margin, share, slip).clamp(1e-6, 1 - 1e-6)
        loss = nn.functional.binary_cross_entropy(probs, agree.float()) + ridge * weight[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    slope = weight.detach()[:-1] / spread
    return torch.cat([slope, (weight.detach()[-1] - slope @ mean)[None]])
