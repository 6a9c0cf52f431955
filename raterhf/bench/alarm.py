"""How often the alarm of mode collapse fires while training, where it should not and where it should.

A simulated stage watches one distribution of answers for several prompts and looks several times, with the samples, the test and the
corrections of training (`training/monitor.py`). Its diversity is at the level from the first look after the beginning on, unless said
otherwise. A stage counts as alarmed where any prompt raised the alarm at any look.
"""

import numpy as np
from scipy.optimize import brentq

from raterhf.evaluation.metrics.diversity import agreement_at, collapse_p_value
from raterhf.evaluation.metrics.intervals import clopper_pearson
from raterhf.recipe import MonitorSettings
from raterhf.terminal import show_table
from raterhf.training.monitor import FALSE_ALARMS

DISTRIBUTIONS = {
    "fair coin": np.full(2, 1 / 2),
    "fair die": np.full(6, 1 / 6),
    "Zipf, 30 answers": 1 / np.arange(1, 31) / (1 / np.arange(1, 31)).sum(),
    "one answer .8": np.r_[0.8, np.full(20, 0.01)],
    "100 even answers": np.full(100, 1 / 100),
}
FALLS = (1.0, 0.5, 0.2, 0.0)  # of the level: what diversity beyond one answer falls to


def collapsed(distribution: np.ndarray, share: float) -> np.ndarray:
    """The distribution [K] moved towards its first most frequent answer until diversity beyond one answer is `share` of what it was."""
    top = np.eye(len(distribution))[distribution.argmax()]
    wanted = agreement_at(np.square(distribution).sum(), share)
    weight = brentq(lambda w: np.square((1 - w) * distribution + w * top).sum() - wanted, 0, 1) if 0 < share < 1 else float(share == 0)
    return (1 - weight) * distribution + weight * top


def alarms(
    first: np.ndarray, later: np.ndarray, settings: MonitorSettings, looks: int, repeats: int, rng: np.random.Generator
) -> np.ndarray:
    """The look (0, 1, ...) at which each of `repeats` stages raises its first alarm, -1 where none does."""
    shape, n = (repeats, settings.prompts), settings.samples
    before = rng.multinomial(n, first, size=shape)
    fired = np.full(repeats, -1)
    for look in range(looks):
        p = collapse_p_value(before, rng.multinomial(n, later, size=shape), settings.level)
        now = (p < FALSE_ALARMS / (settings.prompts * looks)).any(1)
        fired = np.where((fired < 0) & now, look, fired)
    return fired


def halves(distribution: np.ndarray, settings: MonitorSettings, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """Whether a look is called less diverse than another one of the same sample [repeats]: random halves, level 1."""
    n = settings.samples
    sample = rng.multinomial(2 * n, distribution, size=(repeats, settings.prompts))
    half = rng.multivariate_hypergeometric
    first = np.array([[half(counts, n) for counts in stage] for stage in sample])
    return (collapse_p_value(first, sample - first, 1.0) < FALSE_ALARMS / settings.prompts).any(1)


def bench_alarm(settings: MonitorSettings, looks: int, repeats: int, seed: int) -> dict:
    """JSON-like: for each distribution the rates, with exact intervals, of false alarms at the level and between halves, and of alarms
    below it."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, distribution in DISTRIBUTIONS.items():
        row = {"distribution": name, "halves": _rate(halves(distribution, settings, repeats, rng))}
        for fall in FALLS:
            fired = alarms(distribution, collapsed(distribution, fall * settings.level), settings, looks, repeats, rng)
            row[f"{fall:g} of the level"] = _rate(fired >= 0)
            if fall < 1:
                row[f"looks until {fall:g}"] = float(np.median(np.where(fired < 0, np.inf, fired + 1)))
        rows.append(row)
    return {"settings": settings.model_dump(), "looks": looks, "repeats": repeats, "seed": seed, "nominal": FALSE_ALARMS, "rows": rows}


def _rate(fired: np.ndarray) -> tuple[float, float, float]:
    return (float(fired.mean()), *clopper_pearson(int(fired.sum()), len(fired)))


def print_alarms(found: dict) -> None:
    """A row for each distribution: false alarms, which are to be rare, then alarms, which are to come soon."""
    settings = found["settings"]
    title = (
        f"{found['repeats']} stages of {found['looks']} looks at {settings['prompts']} prompts, {settings['samples']} answers each, level "
        f"{settings['level']:g}: share alarmed [95 %], nominal at most {found['nominal']:.0%}; then looks until half of them are"
    )
    rows = []
    for row in found["rows"]:
        rates = ["{:.1%} [{:.1%}, {:.1%}]".format(*row[key]) for key in ("halves", "1 of the level")]
        soon = [f"{row[f'{fall:g} of the level'][0]:.0%}, {row[f'looks until {fall:g}']:g}" for fall in FALLS[1:]]
        rows.append([row["distribution"], *rates, *(text.replace("inf", "–") for text in soon)])
    columns = ["distribution", "two halves", "at the level", *(f"{fall:g} of it" for fall in FALLS[1:])]
    show_table(columns, rows, columns, title)
