"""Probe 2, dice and coins: where the distribution is stated in the prompt, or fair, is it what is sampled? (51 % heads must not become 100
%.)

Every question whose distribution is known counts. gamma pools those whose distribution is uneven; a fair die has none, so that etv tells
models apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator, PercentFormatter
from scipy.special import logit

from raterhf.evaluation.metrics.marginal import gamma_of_table, tells_gamma
from raterhf.evaluation.probes.distributions import Distributions, distributions_of
from raterhf.evaluation.probes.interview import Interview
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.probe import Probe
from raterhf.reports.style import WIDTH, canvas, colour, policy_colour, policy_name, svg_text

NEARLY_EVEN = 0.51  # the likelier side of the coin that a model should not call
TICKS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


@dataclass(frozen=True)
class Stated:
    """Distributions of Q questions as tables: said, `p` [R, Q, K + 1] (invalid last), and stated, `q` [Q, K + 1]; zero where there is no
    answer.

    `log_q` [Q', K] are the distributions of the `uneven` questions, of which gamma speaks, -inf where there is no answer.
    """

    distributions: Distributions
    p: np.ndarray
    q: np.ndarray
    floor: np.ndarray
    uneven: np.ndarray
    log_q: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.p)


def ask(interview: Interview, name: str) -> Stated:
    known = [q for q in interview.about("dice") if q.distribution is not None]
    if not known:
        raise CannotMeasure("no question about dice has a distribution that is known")
    # Exact distributions of a few raters would have a floor of their own; a draw of each of many has the one that etv takes off.
    return tables(distributions_of(interview, name, known))


def tables(distributions: Distributions) -> Stated:
    """The same distributions side by side, so that a replicate is a few operations on arrays."""
    width = max(len(q.classes) for q in distributions.questions)
    p = np.zeros((distributions.rows, len(distributions.questions), width + 1))
    q = np.zeros(p.shape[1:])
    for i, question in enumerate(distributions.questions):
        k = len(question.classes)
        p[:, i, :k], p[:, i, -1], q[i, :k] = distributions.p[i][:, :k], distributions.p[i][:, -1], question.distribution
    uneven = np.array([tells_gamma(question.distribution) for question in distributions.questions])
    with np.errstate(divide="ignore"):
        log_q = np.log(q[uneven, :-1])
    return Stated(distributions, p, q, np.array(distributions.floors, float), uneven, log_q)


def metrics_of(stated: Stated, rows: np.ndarray) -> dict[str, float]:
    """tv, etv, entropy over the stated distribution's and valid, means over questions; gamma pooled over the uneven ones; and of nearly
    even coins the share of their likelier side among valid answers.
    """
    p = np.tensordot(np.bincount(rows, minlength=stated.rows) / len(rows), stated.p, 1)
    tv = 0.5 * np.abs(p - stated.q).sum(1)
    found = {"etv": float((tv - stated.floor).mean()), "tv": float(tv.mean())}
    found["gamma"] = gamma_of_table(p[stated.uneven, :-1] * len(rows), stated.log_q)
    entropy = _entropies(p)
    if stated.distributions.draws is not None:
        entropy = entropy + ((p > 0).sum(1) - 1) / (2 * len(rows))  # Miller and Madow
    found["entropy_ratio"] = float((entropy / _entropies(stated.q)).mean())
    if coins := nearly_even(stated.distributions):
        share = [p[i, stated.q[i].argmax()] / p[i, :-1].sum() if p[i, :-1].any() else np.nan for i in coins]
        found["share_51"] = float(np.mean(share))
    return found | {"valid": 1 - float(p[:, -1].mean())}


def _entropies(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)


def nearly_even(distributions: Distributions) -> list[int]:
    return [i for i, q in enumerate(distributions.questions) if len(q.distribution) == 2 and abs(q.distribution.max() - NEARLY_EVEN) < 1e-6]


def draw(interview: Interview, samples: dict[str, Stated]) -> dict[str, str]:
    """Stated against sampled probability of every answer, one panel a model; and two-class questions on logits."""
    plots = {"stated": _panels(samples, _points, interview)}
    if any(len(q.distribution) == 2 for q in next(iter(samples.values())).distributions.questions):
        plots["coins"] = _panels(samples, _coins, interview)
    return plots


def _panels(samples: dict[str, Stated], panel: Callable, interview: Interview) -> str:
    rows = -(-len(samples) // 2)
    height = 30 + 152 * rows
    figure, axes = canvas(WIDTH, height, 42, right=10, top=20, bottom=38, rows=rows, columns=2)
    for ax, (name, stated) in zip(axes, samples.items()):
        panel(ax, stated, policy_colour(name), interview.draws)
        ax.set_title(policy_name(name), loc="left", fontsize=11, pad=3)
        ax.tick_params(labelbottom=True)
    for ax in axes[len(samples) :]:
        ax.remove()
    figure.supxlabel("stated (across) against sampled (up)", fontsize=11, y=4 / height, va="bottom")
    return svg_text(figure)


def _points(ax, stated: Stated, ink: str, draws: int) -> None:
    p = stated.p.mean(0)
    ax.plot([0, 1], [0, 1], color=colour("faint"), linewidth=1)
    for i, question in enumerate(stated.distributions.questions):
        ax.plot(question.distribution, p[i, : len(question.distribution)], "o", color=ink, markersize=4, alpha=0.7, markeredgewidth=0)
    for along in (ax.xaxis, ax.yaxis):
        along.set_major_locator(FixedLocator([0, 0.5, 1]))
        along.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    ax.grid(True)


def _coins(ax, stated: Stated, ink: str, draws: int) -> None:
    """The first class of every two-class question, on logits; a share is kept half a draw from 0 and 1, where no logit exists."""
    p, end = stated.p.mean(0), 1 / (2 * (stated.distributions.draws or draws))
    marked = nearly_even(stated.distributions)
    low = logit(TICKS[0]) - 0.6
    ax.plot([low, -low], [low, -low], color=colour("faint"), linewidth=1)
    for i, question in enumerate(stated.distributions.questions):
        if len(question.distribution) == 2 and p[i, :-1].any():
            k = int(question.distribution.argmax()) if i in marked else 0
            share = np.clip(p[i, k] / p[i, :-1].sum(), max(end, 0.005), 1 - max(end, 0.005))
            style = {"marker": "D", "markersize": 7, "markerfacecolor": "none"} if i in marked else {"marker": "o", "markersize": 5}
            ax.plot(logit(question.distribution[k]), logit(share), color=ink, linestyle="none", **style)
    for along in (ax.xaxis, ax.yaxis):
        along.set_major_locator(FixedLocator(logit(TICKS)))
        along.set_major_formatter(FixedFormatter(["1", "10", "", "50", "", "90", "99 %"]))
        along.set_minor_locator(NullLocator())
    ax.set(xlim=(low, -low), ylim=(low, -low))
    ax.grid(True)


PROBE = Probe(
    name="dice",
    title="Are dice and coins rolled as stated?",
    caption="stated: every answer of every question, the probability that its prompt states against the probability with which it is "
    "given; a sampler lies on the line, a collapsed model jumps to 0 and 100 %. coins: the same of two-sided questions in per cent on a "
    "logit scale, where sharpening by gamma is a steeper line; a diamond is the coin of 51 %, and shares stop at 0.5 and 99.5 %.",
    headline="etv",
    apart="entropy_ratio",
    best={"etv": 0.0, "tv": float("nan"), "gamma": 1.0, "entropy_ratio": 1.0, "share_51": NEARLY_EVEN, "valid": 1.0},
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)
