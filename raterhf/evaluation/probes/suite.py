"""`raterhf probe`: the probes asked for, on every model side by side; probes.json, plots and a page.

A probe that cannot measure a model says why; the others go on. Nothing here computes a figure (the probes do) or lays one out (`page.py`).

probes.json, schema 1: `schema`, `seed`, `draws`, `runs` [folder] where several were merged, `policies`, `gold` {model: [value, low,
high]} where a world knows it; `probes` {name: {`title`, `caption`, `headline`, `apart`, `best` {figure: value}, `policies` {model:
{figure: [value, low, high]}}, `separation` (vanilla's figure `apart` minus base's), `recovered` (share of vanilla's distance from people
by `headline` that fictitious raters do not have), `false_alarms` {figure: [rate, low, high]} where asked for, `holes` [text]}}. A figure
that does not exist is null.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from matplotlib import rc_context

from raterhf.errors import UserError
from raterhf.evaluation.metrics.intervals import combine
from raterhf.evaluation.probes import (
    attractors,
    coherence,
    dice,
    fluency,
    forms,
    multiverse,
    numbers,
    overoptimisation,
    repertoire,
    spanning,
    substitution,
    temperature,
    templates,
)
from raterhf.evaluation.probes.interview import PEOPLE, Interview
from raterhf.evaluation.probes.measure import CannotMeasure, Measured, difference, false_alarms, measure, recovered
from raterhf.evaluation.probes.probe import Probe
from raterhf.progress import Progress
from raterhf.reports.style import STYLE, file_name
from raterhf.worlds.world import World

SCHEMA = 1
GOLD_DRAWS = 200  # answers to each question of a world that the gold reward is read on
IN_ORDER = (
    numbers, dice, templates, multiverse, attractors, temperature, overoptimisation, repertoire, forms, spanning, substitution, coherence,
    fluency,
)  # fmt: skip
PROBES = {module.PROBE.name: module.PROBE for module in IN_ORDER}
HALVES_OF = ("rater_new", "base")  # whose halves are compared for false alarms: the first that is there, or the first model


def chosen(names: str) -> list[Probe]:
    """The probes that a list like `numbers,dice`, or `all`, or `none`, names."""
    if names in ("all", "none"):
        return list(PROBES.values()) if names == "all" else []
    wanted = [name.strip() for name in names.split(",")]
    if unknown := [name for name in wanted if name not in PROBES]:
        raise UserError(f"probe {unknown[0]!r} is not known; there are: {', '.join(PROBES)}, or all")
    return [PROBES[name] for name in dict.fromkeys(wanted)]


def run_probes(interview: Interview, probes: list[Probe], world: World | None = None, repeats: int = 0) -> tuple[dict, dict[str, str]]:
    """Everything that probes.json holds, and the SVG texts by name. `repeats` > 0 counts false alarms over so many pairs of halves."""
    broken = {name: why for name in interview.policies if (why := _fault(interview, name))}
    found, drawn = {}, {}
    asked = {probe.name: _asked(interview, probe) for probe in probes}
    with Progress("probes", sum(map(len, asked.values())), "measurement") as progress:
        for probe in probes:
            found[probe.name], plots = _run(interview, probe, asked[probe.name], broken, repeats, progress)
            drawn |= {file_name(f"{probe.name}-{name}"): svg for name, svg in plots.items()}
    header = {"schema": SCHEMA, "seed": interview.seed, "draws": interview.draws, "policies": list(interview.policies)}
    gold = {name: _gold(interview, world, name) for name in interview.policies if world and name not in broken}
    return header | {"gold": gold, "probes": found}, drawn


def merge_runs(runs: dict[str, dict]) -> dict:
    """probes.json of several runs, seeds of one recipe, by their folders, as one. Models that some run lacks are holes."""
    if len(runs) == 1:
        return next(iter(runs.values()))
    every = list(dict.fromkeys(name for run in runs.values() for name in run["policies"]))
    absent = [f"{name}: not in {folder}" for name in every for folder, run in runs.items() if name not in run["policies"]]
    shared = [name for name in every if all(name in run["policies"] for run in runs.values())]
    first, *_ = several = list(runs.values())
    gold = {name: _over_seeds([run["gold"].get(name) for run in several]) for name in shared if name in first["gold"]}
    probes = merge_probes([run["probes"] for run in several])
    for probe in probes.values():
        probe["holes"] = absent + probe["holes"]
        probe["policies"] = {name: row for name, row in probe["policies"].items() if name in (*shared, PEOPLE)}
    return first | {"runs": list(runs), "policies": shared, "gold": gold, "probes": probes}


def _over_seeds(rows: list) -> tuple | None:
    """(value, low, high) over seeds; None where one of them lacks it."""
    return combine([row[0] for row in rows], [row[1:] for row in rows]) if all(rows) else None


def merge_probes(seeds: list[dict]) -> dict:
    """`probes` of several seeds as one: means, with the interval over seeds from three on (see `metrics/intervals.py`); holes of all."""
    if len(seeds) == 1:
        return seeds[0]
    merged = {}
    for name, first in seeds[0].items():
        parts = [found[name] for found in seeds]
        policies = {
            policy: {figure: _over_seeds([part["policies"].get(policy, {}).get(figure) for part in parts]) for figure in row}
            for policy, row in first["policies"].items()
        }
        best = {figure: float(np.mean([part["best"][figure] for part in parts])) for figure in first["best"]}
        results = {key: _over_seeds([part.get(key) for part in parts]) for key in ("separation", "recovered") if key in first}
        holes = list(dict.fromkeys(hole for part in parts for hole in part["holes"]))
        merged[name] = first | {"policies": policies, "best": best, "holes": holes} | results
    return merged


def _asked(interview: Interview, probe: Probe) -> list[str]:
    """The models, and people, that the probe speaks of."""
    every = [*interview.policies, *([PEOPLE] if interview.people else [])]
    return [name for name in every if probe.about is None or name in probe.about]


def _run(
    interview: Interview, probe: Probe, names: list[str], broken: dict[str, str], repeats: int, progress: Progress
) -> tuple[dict, dict[str, str]]:  # fmt: skip
    samples: dict[str, Any] = {}
    measured: dict[str, Measured] = {}
    why: dict[str, list[str]] = {}
    plots, alarms = {}, {}
    for name in names:
        progress.advance(0, f"{probe.name} of {name}")
        try:
            if name in broken:
                raise CannotMeasure(broken[name])
            sample = probe.ask(interview, name)
            figures = partial(probe.metrics, sample)
            measured[name] = measure(figures, sample.rows, interview.rng(probe.name, name))
            samples[name] = sample
            if repeats and name == next(model for model in (*HALVES_OF, *interview.policies) if model in interview.policies):
                alarms = false_alarms(figures, sample.rows, interview.rng(probe.name, "halves"), repeats)
        except (CannotMeasure, UserError) as reason:  # a prompt may be longer than this model's window
            if name != PEOPLE or probe.best[probe.headline] is None:  # people need not be measured where a perfect sampler's value is known
                why.setdefault(str(reason), []).append(name)
        progress.advance()
    if samples:
        with rc_context(STYLE):
            plots = probe.draw(interview, samples)
    # Where nobody knows what people say, the figure that needs no people speaks for the probe.
    if measured and probe.apart and not any(np.isfinite(one.values.get(probe.headline, np.nan)) for one in measured.values()):
        probe = replace(probe, headline=probe.apart)
    holes = [f"{', '.join(names)}: {reason}" for reason, names in why.items()]
    about = {
        "title": probe.title,
        "caption": probe.caption,
        "headline": probe.headline,
        "apart": probe.apart or probe.headline,
        "best": _best(probe, measured),
    }
    rows = {name: {figure: one.interval(figure) for figure in one.values} for name, one in measured.items()}
    return about | {"policies": rows, "false_alarms": alarms, "holes": holes} | _verdicts(probe, measured), plots


def _best(probe: Probe, measured: dict[str, Measured]) -> dict[str, float]:
    """A perfect sampler's value of each figure: given, or what people get."""
    people = measured[PEOPLE].values if PEOPLE in measured else {}
    return {figure: people.get(figure, float("nan")) if value is None else value for figure, value in probe.best.items()}


def _verdicts(probe: Probe, measured: dict[str, Measured]) -> dict:
    found = {}
    if {"vanilla", "base"} <= set(measured):
        found["separation"] = difference(measured["vanilla"], measured["base"], probe.apart or probe.headline)
    best = probe.best[probe.headline]
    if best is not None and np.isnan(best):
        return found  # there is no better and worse, so that there is no gap to recover
    target = measured.get(PEOPLE) if best is None else best
    if {"vanilla", "rater_new"} <= set(measured) and target is not None:
        found["recovered"] = recovered(measured["rater_new"], measured["vanilla"], target, probe.headline)
    return found


def _fault(interview: Interview, name: str) -> str | None:
    """Why nothing can be measured of this model, or None."""
    model = interview.policies[name]
    (rater,) = interview.raters(name, 1)
    distribution = model.next_distributions([model.renderer.prompt("?", rater.text)], [rater])
    return None if not np.isnan(distribution).any() else "its log-probabilities are not numbers (NaN); its weights are damaged"


def _gold(interview: Interview, world: World, name: str) -> tuple[float, float, float]:
    """Mean gold reward of answers to all rated questions, with its interval over rows."""
    few = replace(interview, draws=min(GOLD_DRAWS, interview.draws), kept={})
    pairs = [(q, few.answers(name, q)) for q in world.rated]
    gold = np.array([[world.gold(q.prompts[0], text) for text in answers.texts] for q, answers in pairs]).T
    return measure(lambda rows: {"gold": float(gold[rows].mean())}, len(gold), interview.rng("gold", name)).interval("gold")
