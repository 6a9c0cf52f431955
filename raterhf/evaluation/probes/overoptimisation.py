"""Probe 7, over-optimisation: as RL goes on, does what people like better still grow, and does one answer take over?

Read off training_curve.csv, which trainings write (`training/training_curve.py`), at every beta of a sweep. A row is a look at a training;
d is sqrt(KL) in nats a completion from the model that RL began with. Looks of one training follow on one another, so that intervals are
those of the curve through them, not those of another training.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from raterhf.evaluation.metrics.overoptimisation import design, fit_curve
from raterhf.evaluation.probes.interview import PEOPLE, Interview
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.probe import Probe
from raterhf.reports.style import WIDTH, canvas, policy_colour, policy_name, svg_text
from raterhf.training.training_curve import TRAINING_CURVE

FOLDERS = {"vanilla": "vanilla/rl-beta-*", "rater_new": "policy*"}
MIN_LOOKS = 4  # the curve has three coefficients; intervals need twice as many
SHOWN = {
    "reward": "proxy reward", "gold": "gold reward", "entropy": "entropy (nats)", "top_share": "share of the top answer",
    "overrated": "share of over-rated answers",
}  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """Looks [N] at trainings: `d` [N], `columns` {figure: [N]}, and `training` [N], the folder each is of.

    `known` are figures of people, who do not optimise; looks are empty then.
    """

    d: np.ndarray
    columns: dict[str, np.ndarray]
    training: np.ndarray
    known: dict[str, float]

    @property
    def rows(self) -> int:
        return max(1, len(self.d))

    @cached_property
    def peak(self) -> float:
        """Where the curve through all looks has most gold. Chosen anew among a few looks it would be chance's, and never below the end."""
        path = np.linspace(self.d.min(), self.d.max(), 64)
        return float(path[(design(path) @ fit_curve(self.d, self.columns["gold"])).argmax()])


def ask(interview: Interview, name: str) -> Curve:
    """The looks at every training of a model's sweep. CannotMeasure where none was written, or too few."""
    if name == PEOPLE:
        return _people(interview)
    if interview.run is None:
        raise CannotMeasure("these models come without the run folder that they were trained in")
    looks = _looks(interview.run, name)
    there = looks.kl.clip(lower=0).nunique() if len(looks) else 0
    if there < MIN_LOOKS:
        raise CannotMeasure(
            f"{there} looks of different KL, with reward, in {interview.run}/{FOLDERS[name]}/{TRAINING_CURVE}; {MIN_LOOKS} are needed: "
            "remove these folders and run `raterhf compare RECIPE` with the recipe's section `probes`, which writes them"
        )
    columns = {key: looks[key].to_numpy(float) for key in SHOWN if key in looks and looks[key].notna().all()}
    if common := _common(interview):
        columns["top_share"] = looks[common].mean(axis=1).to_numpy(float)
    return Curve(np.sqrt(np.maximum(looks.kl.to_numpy(float), 0)), columns, looks.training.to_numpy(), {})


def _looks(run: Path, name: str) -> pd.DataFrame:
    parts = [pd.read_csv(path).assign(training=path.parent.name) for path in sorted(run.glob(f"{FOLDERS[name]}/{TRAINING_CURVE}"))]
    parts = [part.dropna(subset=["kl", "reward"]) for part in parts if {"kl", "reward"} <= set(part)]
    return pd.concat(parts) if parts else pd.DataFrame()


def _common(interview: Interview) -> list[str]:
    """The columns `top_share:KEY` of the questions that every training's looks are at, so that models speak of the same."""
    found = [looks.dropna(axis=1) for name in FOLDERS if len(looks := _looks(interview.run, name))] if interview.run else []
    common = set.intersection(*(set(looks) for looks in found)) if found else set()
    return sorted(column for column in common if column.startswith("top_share:"))


def _people(interview: Interview) -> Curve:
    """What the distributions of a simulated world's people say to the same questions."""
    common = {column.partition(":")[2] for column in _common(interview)}
    asked = [q for q in interview.questions if q.distribution is not None and (q.key in common or not common)]
    if not asked:
        raise CannotMeasure("no question has a distribution of people's that is known")
    known = {"top_share": float(np.mean([q.distribution.max() for q in asked]))}
    over = [q.distribution[np.unique(q.class_of[q.bonus > 0])].sum() for q in asked if q.bonus.any()]
    if over:
        known["overrated"] = float(np.mean(over))
    return Curve(np.zeros(0), {}, np.zeros(0), known)


def metrics_of(curve: Curve, rows: np.ndarray) -> dict[str, float]:
    """From the curve through these looks: gold and proxy gained from the smallest KL to the largest, and gold lost again since its
    peak; its alpha and beta; entropy and the shares at the largest KL. Gold and over-rated answers where a simulated world knows them.
    """
    if not len(curve.d):
        return curve.known
    d = curve.d[rows]
    # All rows are read at the same KL, or their figures would be those of different questions.
    basis, ends = design(d), design(np.array([curve.d.min(), curve.d.max()]))
    names = list(curve.columns)
    fitted = np.linalg.lstsq(basis, np.stack([curve.columns[name][rows] for name in names], 1), rcond=None)[0]
    at = dict(zip(names, (ends @ fitted).T))
    found = {"reward_gain": float(at["reward"][-1] - at["reward"][0])}
    if "gold" in at:
        gold, (_, alpha, beta) = at["gold"], fitted[:, names.index("gold")]
        (peak,) = design(np.array([curve.peak])) @ fitted[:, names.index("gold")]
        found |= {"gold_gain": float(gold[-1] - gold[0]), "gold_lost": float(peak - gold[-1])}
        found |= {"alpha": float(alpha), "beta": float(beta)}
    # The fitted curve knows no bounds: an entropy is not negative and a share is none above one.
    bounds = {"entropy": np.inf, "top_share": 1.0, "overrated": 1.0}
    found |= {name: float(np.clip(at[name][-1], 0, most)) for name, most in bounds.items() if name in at}
    enough = len(np.unique(d)) >= MIN_LOOKS
    return {"kl": float(curve.d.max() ** 2)} | {name: value if enough else float("nan") for name, value in found.items()}


def draw(interview: Interview, samples: dict[str, Curve]) -> dict[str, str]:
    """Figures of each look against sqrt(KL), the curve of Gao et al. through all, one plot for each figure."""
    curves = {name: curve for name, curve in samples.items() if len(curve.d)}
    shown = [key for key in SHOWN if any(key in curve.columns for curve in curves.values())]
    return {key: _plot(key, curves, samples) for key in shown}


def _plot(key: str, curves: dict[str, Curve], samples: dict[str, Curve]) -> str:
    there = {name: curve for name, curve in curves.items() if key in curve.columns}
    figure, (ax,) = canvas(WIDTH, 220, 40, right=10, top=24, bottom=40)
    for name, curve in there.items():
        values = curve.columns[key]
        for training in np.unique(curve.training):
            mine = curve.training == training
            ax.plot(curve.d[mine], values[mine], color=policy_colour(name), linewidth=0.7, alpha=0.5)
        ax.plot(curve.d, values, "o", color=policy_colour(name), markersize=3, linewidth=0)
        along = np.linspace(curve.d.min(), curve.d.max(), 64)
        ax.plot(along, design(along) @ fit_curve(curve.d, values), color=policy_colour(name), linewidth=2, label=policy_name(name))
    if PEOPLE in samples and key in samples[PEOPLE].known:
        ax.axhline(samples[PEOPLE].known[key], color=policy_colour(PEOPLE), linewidth=2, linestyle="--", label=policy_name(PEOPLE))
    ax.set_title(SHOWN[key], loc="left", fontsize=11, pad=6)
    ax.set_xlabel("√KL from where RL began (√nats)")
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.grid(True, axis="y")
    ax.legend(frameon=False, fontsize=10, loc="best", handlelength=1.2)
    return svg_text(figure)


PROBE = Probe(
    name="overoptimisation",
    title="What does more optimisation buy?",
    caption="Each point is a look at an RL training, a thin line joins those of one beta, and the thick line is the curve of Gao et al. "
    "(2023) through all of them. Over-optimised, the proxy goes on rising to the right while gold turns down, entropy goes to zero, and "
    "one answer takes over: its share rises above the dashed line, which is people's.",
    headline="top_share",
    best={
        "top_share": None, "overrated": None, "gold_lost": 0.0, "gold_gain": float("nan"), "reward_gain": float("nan"),
        "entropy": float("nan"), "kl": float("nan"), "alpha": float("nan"), "beta": float("nan"),
    },
    ask=ask,
    metrics=metrics_of,
    draw=draw,
    about=("vanilla", "rater_new", PEOPLE),
)  # fmt: skip
