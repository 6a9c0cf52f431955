"""Training the reward model and the rater vectors on comparisons, as a LightningModule; and what is fitted to the trained model after.

Notation: B comparisons of a step, R known raters, k dimensions of taste.
"""

from collections.abc import Callable, Sized
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from raterhf.data.comparisons import ComparisonData, OwnAnswers
from raterhf.engine.kept import KeptStates
from raterhf.engine.scorer import Scorer
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import RaterSpace
from raterhf.training import losses, ranks


@dataclass(frozen=True)
class RewardBatch:
    """What a step of the reward stage reads; `off_topic` and `answers` may be empty."""

    comparisons: ComparisonData
    off_topic: ComparisonData
    answers: OwnAnswers

    def own_rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of each that this process reads. Own answers to one thing are alternatives to each other, and stay together."""
        pairs, off_topic = (np.arange(len(data))[ranks.part(len(data))] for data in (self.comparisons, self.off_topic))
        asked = np.unique(self.answers.group)
        return pairs, off_topic, np.flatnonzero(np.isin(self.answers.group, asked[ranks.part(len(asked))]))

    @property
    def tokens(self) -> float:
        """Of all texts, as often as they are in it."""
        pairs = (self.comparisons, self.off_topic)
        texts = [data.examples[i] for data in pairs for i in np.concatenate([data.a, data.b])]
        return float(sum(map(len, texts)) + sum(map(len, self.answers.examples)))


class RewardModule(L.LightningModule):
    """Bradley-Terry with ties and label noise over s(x, y; z_r), the rater dropped from some comparisons (null rater).

    `weights` are those of off-topic pairs and of raters' own answers beside the comparisons; `grades` is how many grades of better the
    labels tell apart. A trunk that does not learn reads each text once.
    """

    def __init__(
        self, model: RewardModel, space: RaterSpace | None, null_share: float, label_noise: float | None, seed: int,
        weights: tuple[float, float] = (0.0, 0.0), grades: int = 1,
    ):  # fmt: skip
        super().__init__()
        self.model, self.space = model, space
        self.stays = not any(parameter.requires_grad for parameter in model.backbone.parameters())
        self.scorer = Scorer(model, kept=KeptStates() if self.stays else None)
        self.null_share, self.seed, self.weights = null_share, seed, weights
        self.tie_width = nn.Parameter(torch.tensor([-2.0]))  # [1], as FSDP needs it
        self.grade_gaps = nn.Parameter(torch.zeros(grades - 1)) if grades > 1 else None
        twice = 2 * max(label_noise, 1e-6) if label_noise is not None else 0.05
        self.label_noise_logit = nn.Parameter(torch.tensor([float(np.log(twice / (1 - twice)))]))
        self.label_noise_logit.requires_grad_(label_noise is None)

    def train(self, mode: bool = True) -> "RewardModule":
        """What does not learn has no dropout either."""
        super().train(mode)
        if self.stays:
            self.model.backbone.eval()
        return self

    def noise_parameters(self) -> tuple[Tensor, Tensor]:
        """Tie width theta > 0 and label noise epsilon in (0, 1/2)."""
        return nn.functional.softplus(self.tie_width[0]), 0.5 * torch.sigmoid(self.label_noise_logit[0])

    def cuts(self) -> Tensor:
        """Margins [L] from which on a is better by a grade or more, ascending from the tie width."""
        theta = nn.functional.softplus(self.tie_width)
        return theta if self.grade_gaps is None else torch.cat([theta, theta + nn.functional.softplus(self.grade_gaps).cumsum(0)])

    def margins(self, data: ComparisonData, raters: RaterBatch) -> Tensor:
        """s_a - s_b [B], comparison i for `raters[i]`."""
        examples = [data.examples[i] for i in np.concatenate([data.a, data.b])]
        rater = torch.arange(len(data), device=self.device).repeat(2)
        scores = self.scorer.pairs(examples, raters, rater)
        return scores[: len(data)] - scores[len(data) :]

    def drawn(self, rater: np.ndarray) -> RaterBatch:
        """Raters [B] under noise, some of them dropped."""
        if self.space is None:
            return RaterBatch.nobody(len(rater), self.device)
        return RaterBatch(self.noisy(rater).vectors, torch.rand(len(rater), device=self.device) < self.null_share)

    def noisy(self, rater: np.ndarray) -> RaterBatch:
        """Raters [B] under noise."""
        assert self.space is not None  # whoever knows no raters draws none
        return RaterBatch.people(self.space(torch.as_tensor(rater, device=self.device)))

    def known(self, rater: np.ndarray) -> RaterBatch:
        """Raters [B] as they are known now, without noise; nobody for a model without raters."""
        if self.space is None:
            return RaterBatch.nobody(len(rater), self.device)
        return RaterBatch.people(self.space.vectors.detach()[rater])

    def training_step(self, batch: tuple[int, RewardBatch], _: int) -> Tensor:
        step, whole = batch
        torch.manual_seed(self.seed * 1_000_003 + step)
        # Raters are drawn for the whole batch, of which this process reads a part: so they are the same however many share it.
        raters, others = (self.drawn(part.rater) for part in (whole.comparisons, whole.off_topic))
        people = self.noisy(whole.answers.rater) if len(whole.answers) and self.space is not None else None
        rows, off_topic_rows, answer_rows = whole.own_rows()
        data, unrelated = whole.comparisons.rows(rows), whole.off_topic.rows(off_topic_rows)
        # Both are read together: they share texts, and no more is held than of one batch.
        margin = self.margins(data.beside(unrelated), raters[rows].beside(others[off_topic_rows]))
        margin, off_topic_margin = margin.split([len(data), len(unrelated)])
        loss, label = self._part_of_mean(lambda: self.judged(data, margin), data, whole.comparisons), self._labels(data)
        agree = (margin.detach().sign() == label)[label != 0].float().sum()
        accuracy = ranks.count() * agree / (self._labels(whole.comparisons) != 0).sum()
        self.log_dict({"train/loss": loss, "train/accuracy": accuracy}, prog_bar=True, sync_dist=True)
        self.log("train/tokens", whole.tokens)
        if len(whole.off_topic):
            noise = self.noise_parameters()
            off_topic = self._part_of_mean(
                lambda: losses.comparison_loss(off_topic_margin, self._labels(unrelated), *noise).mean(), unrelated, whole.off_topic
            )
            loss = loss + self.weights[0] * off_topic
            self.log("train/off_topic", off_topic, sync_dist=True)
        if people is not None:
            answers = whole.answers.rows(answer_rows)
            own = self._part_of_mean(lambda: self.own_answer_loss(answers, people[answer_rows]), answers, whole.answers)
            loss = loss + self.weights[1] * own
            self.log("train/own_answers", own, sync_dist=True)
        return loss

    def _part_of_mean(self, mean: Callable[[], Tensor], own: Sized, whole: Sized) -> Tensor:
        """What this process's own rows give of a mean over the batch."""
        return mean() * ranks.share(len(own), len(whole)) if len(own) else losses.of_nothing(self)

    def judged(self, data: ComparisonData, margin: Tensor) -> Tensor:
        """Mean loss of comparisons with these margins [B]."""
        label = self._labels(data)
        if data.grade is None:
            return losses.comparison_loss(margin, label, *self.noise_parameters()).mean()
        grade = torch.as_tensor(data.grade, device=self.device)
        return losses.graded_loss(margin, label, grade, self.cuts(), self.noise_parameters()[1]).mean()

    def own_answer_loss(self, data: OwnAnswers, raters: RaterBatch) -> Tensor:
        """See `losses.own_answer_loss`; of answers [N] by these raters [N], who are each asked about all answers of their group."""
        total = torch.zeros((), device=self.device)
        # Where the trunk reads the rater, every pair costs a pass: then only those of one group.
        whole = self.model.conditioning == "head"
        for rows in [np.arange(len(data))] if whole else [np.flatnonzero(data.group == g) for g in np.unique(data.group)]:
            examples = [data.examples[i] for i in rows]
            place = {example: i for i, example in enumerate(dict.fromkeys(examples))}
            index = torch.tensor([place[example] for example in examples], device=self.device)
            scores_for = self.scorer.scores_for(list(place))
            with torch.no_grad():
                null = scores_for(RaterBatch.nobody(1, self.device))
            gain = (scores_for(raters[rows]) - null)[:, index]
            total = total + len(rows) * losses.own_answer_loss(gain, torch.as_tensor(data.group[rows], device=self.device))
        return total / len(data)

    def _labels(self, data: ComparisonData) -> Tensor:
        return torch.as_tensor(data.label, device=self.device)


@torch.no_grad()
def evaluate(module: RewardModule, data: ComparisonData, raters: RaterBatch) -> Tensor:
    """Margins [B] without gradients, for the raters given."""
    module.eval()
    return module.margins(data, raters)


def calibrate(module: RewardModule, margin: Tensor, label: Tensor) -> float:
    """Scale the scores so that margins on held-out comparisons are log-odds: maximum likelihood of one scale. Returns it.

    Tie width and label noise (where it is learned) are fitted beside it: a model that was trained on a label explains even labels that
    say the opposite of what was meant, so that too few are found in training. They and the scale have normal priors of width 1 around what
    training found, on the logarithm or logit, since held-out comparisons may be few.
    """
    fitted = [torch.zeros((), device=margin.device, requires_grad=True), module.tie_width, module.label_noise_logit]
    fitted = [parameter for parameter in fitted if parameter.requires_grad]
    before = [parameter.detach().clone() for parameter in fitted]
    optimizer = torch.optim.LBFGS(fitted, max_iter=100)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = losses.comparison_loss(fitted[0].exp() * margin, label, *module.noise_parameters()).sum()
        loss = (loss + sum(((new - old) ** 2).sum() for new, old in zip(fitted, before)) / 2) / len(label)
        loss.backward()
        return loss

    optimizer.step(closure)
    scale = float(fitted[0].detach().exp())
    module.model.scale.mul_(scale)
    return scale


def marginal_likelihood(module: RewardModule, data: ComparisonData) -> Callable[[np.ndarray], float]:
    """How likely a population makes the comparisons of raters whom the model does not know, in nats a comparison.

    Returns a function of draws [M, k] of the population: per rater log 1/M sum_m prod_i p(label_i | z_m), each rater being one unknown
    draw (the mixed logit's simulated likelihood; Train 2009, chapter 6). Completions are read once for all draws and calls.
    """
    used, place = np.unique(np.concatenate([data.a, data.b]), return_inverse=True)
    with torch.no_grad():  # or all that these completions' passes compute would be kept for gradients that nobody takes
        scores_for = module.scorer.scores_for([data.examples[i] for i in used])
    rater = torch.as_tensor(data.rater, device=module.device)
    label = torch.as_tensor(data.label, device=module.device)[:, None]
    side_a, side_b = torch.as_tensor(place, device=module.device).split(len(data))

    @torch.no_grad()
    def log_likelihood(draws: np.ndarray) -> float:
        scores = scores_for(RaterBatch.people(torch.as_tensor(draws, dtype=torch.float32, device=module.device)))
        by_text = scores.T.contiguous()  # rows are looked up several times faster than columns
        loss = losses.comparison_loss(by_text[side_a] - by_text[side_b], label, *module.noise_parameters()).double()
        total = loss.new_zeros(int(data.rater.max()) + 1, len(draws)).index_add(0, rater, -loss)
        return float((torch.logsumexp(total, 1) - np.log(len(draws))).sum() / len(data))

    return log_likelihood
