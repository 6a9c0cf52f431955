"""Probe 1, numbers: asked for a number from 1 to 10 or from 0 to 100, which are said? (The favourite number of a collapsed model.)"""

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from raterhf.evaluation import metrics
from raterhf.evaluation.probes.distributions import Distributions, distributions_of, etv, gamma
from raterhf.evaluation.probes.interview import PEOPLE, Interview
from raterhf.evaluation.probes.probe import Probe
from raterhf.reports.style import WIDTH, canvas, colour, policy_colour, policy_name, svg_text

FAMOUS = ("42", "97", "37", "7")  # the favourites of language models and of people
BAND = 0.95


def ask(interview: Interview, name: str) -> Distributions:
    return distributions_of(interview, name, interview.about("numbers"))


def metrics_of(distributions: Distributions, rows: np.ndarray) -> dict[str, float]:
    """etv where the population is known; entropy against it, or against even odds where it is not; the shares of the top answer and of
    famous numbers, means over questions.
    """
    found: dict[str, list[float]] = {}
    for i, question in enumerate(distributions.questions):
        p, k = distributions.mean(i, rows), len(question.classes)
        q = np.full(k, 1 / k) if question.distribution is None else question.distribution
        row = {"etv": etv(distributions, i, rows)} if question.distribution is not None else {}
        row["entropy_ratio"] = metrics.entropy_ratio(p, q, None if distributions.draws is None else len(rows))
        row |= {"top_share": float(p[:-1].max()), "valid": 1 - float(p[-1])}
        row |= {f"share_{n}": float(p[question.classes.index(n)]) for n in FAMOUS if n in question.classes and k > 50}
        for figure, value in row.items():
            found.setdefault(figure, []).append(value)
    means = {figure: float(np.mean(values)) for figure, values in found.items()}
    return means | {"gamma": gamma(distributions, rows)} if "etv" in means else means


def draw(interview: Interview, samples: dict[str, Distributions]) -> dict[str, str]:
    """A stem for each number, a row for each model; the band holds 95 % of what as many draws from the population give."""
    questions = next(iter(samples.values())).questions
    return {question.key: _stems(interview, i, samples) for i, question in enumerate(questions)}


def _stems(interview: Interview, i: int, samples: dict[str, Distributions]) -> str:
    question = next(iter(samples.values())).questions[i]
    k = len(question.classes)
    q = np.full(k, 1 / k) if question.distribution is None else question.distribution
    figure, axes = canvas(WIDTH, 44 + 66 * len(samples), 34, right=10, top=24, bottom=20, rows=len(samples))
    distributions = {name: s.mean(i, np.arange(s.rows)) for name, s in samples.items()}
    ceiling = 1.6 * max(q.max(), distributions.get(PEOPLE, q)[:-1].max())
    for ax, (name, p) in zip(axes, distributions.items(), strict=True):
        n = interview.draws
        drawn = interview.rng(7, i).multinomial(n, q, size=500) / n
        low, high = np.quantile(drawn, [(1 - BAND) / 2, (1 + BAND) / 2], axis=0)
        ax.fill_between(np.arange(k), low, np.minimum(high, ceiling), step="mid", color=colour("population"), alpha=0.35, linewidth=0)
        ax.vlines(np.arange(k), 0, np.minimum(p[:-1], ceiling), color=policy_colour(name), linewidth=2 if k > 20 else 5)
        ax.set_title(policy_name(name), loc="left", fontsize=11, pad=1)
        if p[:-1].max() > ceiling:
            top = int(p[:-1].argmax())
            ax.set_title(f"cut: {question.classes[top]}, {p[top]:.0%}", loc="right", fontsize=10, pad=1)
        ax.set_ylim(0, ceiling)
        ax.yaxis.set_major_locator(MaxNLocator(2))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.grid(True, axis="y")
    ticks = np.linspace(0, k - 1, min(k, 5)).round().astype(int)
    axes[-1].set_xticks(ticks, [question.classes[j] for j in ticks])
    return svg_text(figure)


PROBE = Probe(
    name="numbers",
    title="Which numbers are given?",
    caption="Each stem is how often a number is given; the grey band holds 95 % of what as many draws from the population would give, or "
    "from even odds where nobody knows it. A collapsed model gives one number far more often than the band allows, and the rest "
    "less often.",
    headline="etv",
    apart="entropy_ratio",
    best={"etv": 0.0, "gamma": 1.0, "entropy_ratio": 1.0, "top_share": None, "valid": 1.0} | {f"share_{n}": None for n in FAMOUS},
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)
