"""Probe 6, temperature: can a collapsed model be undone by sampling it hotter? What does it cost in validity?

Models without raters are swept over temperatures; a temperature is judged on each question after it was chosen on the other ones. Models
with raters, and people, are asked once, as they are: they are points beside the curves.
"""

from dataclasses import dataclass, replace

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.sparse import csr_matrix, hstack

from raterhf.evaluation.probes.distributions import distributions_of
from raterhf.evaluation.probes.interview import Interview, ProbeQuestion
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.probe import Probe
from raterhf.reports.style import WIDTH, canvas, colour, hue, legend, policy_colour, svg_text

TEMPERATURES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)


@dataclass(frozen=True)
class Sweep:
    """Distributions `p` [R, T * Q * (K + 1)] of R rows (invalid last) of Q questions at T temperatures, true distributions `q` [Q, K + 1],
    and `floor` [Q].

    Sparse, since rows that are draws are nearly empty.
    """

    temperatures: tuple[float, ...]
    p: csr_matrix
    q: np.ndarray
    floor: np.ndarray

    @property
    def rows(self) -> int:
        return self.p.shape[0]

    def curve(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """etv [T, Q] and the share of valid answers [T, Q] over these rows."""
        weight = np.bincount(rows, minlength=self.rows) / len(rows)
        p = (weight @ self.p).reshape(len(self.temperatures), *self.q.shape)
        return 0.5 * np.abs(p - self.q).sum(-1) - self.floor, 1 - p[..., -1]


def ask(interview: Interview, name: str) -> Sweep:
    """All questions of a known distribution that the models were trained on, where it is known on which they were."""
    asked = [q for q in interview.trained_on() if q.distribution is not None]
    if len(asked) < 2:
        raise CannotMeasure(
            f"{len(asked)} questions have a distribution that is known; choosing a temperature on other questions needs two"
        )
    alone = interview.without_raters(name)
    distributions = distributions_of(interview, name, asked)
    p = [distributions.p]
    if alone:
        p = [distributions.p if t == 1 else _at(interview, name, asked, t, exact=distributions.draws is None) for t in TEMPERATURES]
    width = max(len(q.classes) for q in asked)
    q = np.stack([_padded(np.append(q.distribution, 0.0), width) for q in asked])
    tables = hstack([csr_matrix(_padded(one, width)) for at in p for one in at], format="csr")
    return Sweep(TEMPERATURES if alone else (1.0,), tables, q, np.array(distributions.floors, float))


def _at(interview: Interview, name: str, asked: list[ProbeQuestion], temperature: float, exact: bool) -> list[np.ndarray]:
    """What the model says at another temperature [R, K + 1] to each question, read or counted as at temperature 1.

    Hot, little of the probability is on listed texts; what is not listed is no answer there, and nothing valid is a finding, not a hole.
    """
    model = replace(interview.policies[name], temperature=temperature)
    other = replace(interview, policies={name: model}, kept={})
    if exact:
        return [other.distribution(name, q, captured=0.0)[None] for q in asked]
    return [np.eye(len(q.classes) + 1)[other.answers(name, q).classes] for q in asked]


def _padded(p: np.ndarray, width: int) -> np.ndarray:
    """Distributions [..., K + 1] with zeros before the last, as wide as the widest."""
    return np.concatenate([p[..., :-1], np.zeros((*p.shape[:-1], width + 1 - p.shape[-1])), p[..., -1:]], -1)


def metrics_of(sweep: Sweep, rows: np.ndarray) -> dict[str, float]:
    """etv and validity at temperature 1, and at the temperature that has the least etv on the other questions; and which it is."""
    etv, valid = sweep.curve(rows)
    one = sweep.temperatures.index(1.0)
    best = (etv.sum(1, keepdims=True) - etv).argmin(0)  # [Q], by the other questions
    each = np.arange(etv.shape[1])
    chosen = np.asarray(sweep.temperatures)[best]
    return {
        "etv_best_t": float(etv[best, each].mean()),
        "valid_best_t": float(valid[best, each].mean()),
        "temperature": float(np.exp(np.log(chosen).mean())),
        "etv": float(etv[one].mean()),
        "valid": float(valid[one].mean()),
    }


def draw(interview: Interview, samples: dict[str, Sweep]) -> dict[str, str]:
    """Validity against etv: a line a model over its temperatures, a point for what is asked as it is."""
    figure, (ax,) = canvas(WIDTH, 300, 44, right=14, top=44, bottom=40)
    main = [name for name in samples if hue(name) not in ("controls", "population")] or list(samples)
    for name, sweep in samples.items():
        etv, valid = (x.mean(1) for x in sweep.curve(np.arange(sweep.rows)))
        one, ink = sweep.temperatures.index(1.0), policy_colour(name)
        if len(etv) == 1:
            ax.plot(etv, valid, "s", color=ink, markersize=8 if name in main else 5, zorder=3)
            continue
        ax.plot(etv, valid, "o-", color=ink, linewidth=2 if name in main else 1, markersize=4 if name in main else 2)
        ax.plot(etv[one], valid[one], "o", color=ink, markersize=9, markerfacecolor="none")
        for t in (0, -1) if name in main else ():
            where = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center", "fontsize": 10, "color": ink}
            ax.annotate(f"T {sweep.temperatures[t]:g}", (etv[t], valid[t]), **where)
    ax.margins(x=0.12, y=0.08)
    ax.axvline(0, color=colour("faint"), linewidth=1)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("etv: distance from what people say")
    ax.set_title("valid answers", loc="left", fontsize=11, pad=4)
    ax.grid(True)
    legend(figure, main)
    return {"sweep": svg_text(figure)}


PROBE = Probe(
    name="temperature",
    title="Does a higher temperature undo the collapse?",
    caption="Each line is one model without raters sampled from temperature 0.25 to 4; a ring marks temperature 1. Hotter sampling moves a "
    "collapsed model left, towards what people say, and down, into invalid answers. Squares are models with raters (and people, grey) as "
    "they are: no line should pass above and to the left of the fictitious raters.",
    headline="etv_best_t",
    apart="temperature",
    best={"etv_best_t": 0.0, "valid_best_t": 1.0, "temperature": float("nan"), "etv": 0.0, "valid": 1.0},
    ask=ask,
    metrics=metrics_of,
    draw=draw,
)
