"""Probe 7 on curves written by hand whose curve is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raterhf.engine.rater_policy import load_rater_policy
from raterhf.evaluation.metrics.overoptimisation import design, fit_curve
from raterhf.evaluation.probes import overoptimisation as probe
from raterhf.evaluation.probes.interview import Interview
from raterhf.evaluation.probes.load import said_by_people
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.suite import run_probes
from raterhf.training.training_curve import write_training_curve
from raterhf.worlds.world import load_world

D = np.linspace(0, 4, 21)
GOLD = 1 + D * (2 - np.where(D > 0, np.log(np.maximum(D, 1e-9)), 0))  # peaks at d = e


def write(run: Path, folder: str, **changes: np.ndarray) -> None:
    looks = {"step": np.arange(len(D)), "kl": D**2, "reward": 3 * D, "gold": GOLD, "entropy": 5 - D, "top_share": 0.2 + 0.1 * D} | changes
    write_training_curve(run / folder / "training_curve.csv", pd.DataFrame(looks).to_dict("records"))


def interview(run: Path | None, people: bool = False, **policies) -> Interview:
    world = load_world("companion")
    return Interview(policies, world.questions, said_by_people(world, 20, 0) if people else {}, 20, run=run)


def test_the_curve_of_gao_et_al():
    assert design(np.array([0.0, 1.0, np.e])) == pytest.approx(np.array([[1, 0, 0], [1, 1, 0], [1, np.e, -np.e]]))
    assert fit_curve(D, GOLD) == pytest.approx([1, 2, 1])


def test_figures_by_hand(tmp_path):
    write(tmp_path, "vanilla/rl-beta-0.1")
    write(tmp_path, "vanilla/rl-beta-0.3", kl=D**2 / 4, reward=1.5 * D, gold=1 + D / 2 * (2 - np.log(np.maximum(D / 2, 1e-9))))
    curve = probe.ask(interview(tmp_path), "vanilla")
    assert curve.rows == 42 and set(curve.training) == {"rl-beta-0.1", "rl-beta-0.3"}
    found = probe.metrics_of(curve, np.arange(21))
    end = 1 + 4 * (2 - np.log(4))
    assert found["kl"] == pytest.approx(16) and found["reward_gain"] == pytest.approx(12)
    assert found["gold_gain"] == pytest.approx(end - 1) and found["gold_lost"] == pytest.approx(1 + np.e - end, abs=1e-3)
    assert (found["alpha"], found["beta"]) == pytest.approx((2, 1))
    assert found["entropy"] == pytest.approx(1) and found["top_share"] == pytest.approx(0.6)
    few = probe.metrics_of(curve, np.arange(3))  # no curve of three coefficients
    assert {name for name, value in few.items() if np.isfinite(value)} == {"kl"}


def test_where_gold_only_rises_no_part_of_the_looks_has_lost_any(tmp_path):
    """The peak is that of all looks: found anew among a few, it made halves of one training differ in 45 % of the repeats."""
    noise = np.random.default_rng(0).normal(0, 0.2, len(D))
    write(tmp_path, "policy", gold=1 + 2 * D + noise)
    curve = probe.ask(interview(tmp_path), "rater_new")
    assert curve.peak == D.max()
    assert all(probe.metrics_of(curve, np.sort(half))["gold_lost"] == pytest.approx(0) for half in (np.arange(0, 21, 2), np.arange(8)))


def test_no_share_is_above_one_and_no_entropy_below_zero(tmp_path):
    write(tmp_path, "vanilla/rl-beta-0.1", top_share=0.5 + 0.2 * D, entropy=3 - D)
    curve = probe.ask(interview(tmp_path), "vanilla")
    found = probe.metrics_of(curve, np.arange(21))
    assert (found["top_share"], found["entropy"]) == (1.0, 0.0)


def test_without_over_optimisation_nothing_is_lost(tmp_path):
    write(tmp_path, "policy", gold=1 + D)
    write(tmp_path, "policy-beta-0.5", gold=1 + D)
    found = probe.metrics_of(curve := probe.ask(interview(tmp_path), "rater_new"), np.arange(42))
    assert found["gold_lost"] == pytest.approx(0, abs=1e-9) and found["beta"] == pytest.approx(0, abs=1e-9)
    assert set(curve.training) == {"policy", "policy-beta-0.5"}


def test_models_are_compared_on_the_questions_that_both_were_asked(tmp_path):
    world = load_world("companion")
    a, b, c = (q for q in world.questions[:3])
    write(tmp_path, "vanilla/rl-beta-0.1", **{f"top_share:{a.key}": 0.1 * D, f"top_share:{b.key}": 0.2 * D})
    write(tmp_path, "policy", **{f"top_share:{b.key}": 0.1 * D, f"top_share:{c.key}": 0 * D})
    who = interview(tmp_path)
    assert probe.metrics_of(probe.ask(who, "vanilla"), np.arange(21))["top_share"] == pytest.approx(0.8)
    assert probe.metrics_of(probe.ask(who, "rater_new"), np.arange(21))["top_share"] == pytest.approx(0.4)
    people = probe.ask(who, "population")
    assert people.rows == 1 and probe.metrics_of(people, np.arange(1)) == {"top_share": pytest.approx(b.distribution.max())}


def test_people_do_not_over_rate(tmp_path):
    known = probe.metrics_of(probe.ask(interview(tmp_path), "population"), np.arange(1))
    stories = [q for q in load_world("companion").questions if q.bonus.any()]
    assert known["overrated"] == pytest.approx(np.mean([q.distribution[q.classes.index("wedding")] for q in stories]))


def test_what_cannot_be_measured(tmp_path):
    with pytest.raises(CannotMeasure, match="0 looks.*raterhf compare"):
        probe.ask(interview(tmp_path), "vanilla")
    with pytest.raises(CannotMeasure, match="without the run folder"):
        probe.ask(interview(None), "vanilla")
    write(tmp_path, "policy", kl=np.full(21, np.nan))
    with pytest.raises(CannotMeasure, match="0 looks"):
        probe.ask(interview(tmp_path), "rater_new")
    write_training_curve(tmp_path / "policy" / "training_curve.csv", [{"step": 0, "top_share": 0.3}])  # a stage that records no KL
    with pytest.raises(CannotMeasure, match="0 looks"):
        probe.ask(interview(tmp_path), "rater_new")


def test_runs_through_on_tiny_models(run, tmp_path):
    write(tmp_path, "vanilla/rl-beta-0.1", overrated=0.1 * D)
    model = load_rater_policy("vanilla", run / "base", "none", 48, 6)
    who = interview(tmp_path, people=True, base=model, vanilla=model, rater_new=load_rater_policy("r", run / "policy", "new", 48, 6))
    who.questions = [q for q in who.questions if q.topic == "stories"]
    found, drawn = run_probes(who, [probe.PROBE])
    told = found["probes"]["overoptimisation"]
    assert set(told["policies"]) == {"vanilla", "population"}
    (hole,) = told["holes"]  # base was not optimised, and is not spoken of
    assert hole.startswith("rater_new: 0 looks")
    value, low, high = told["policies"]["vanilla"]["gold_lost"]
    assert low <= value <= high and set(drawn) == {f"overoptimisation-{key}" for key in (*probe.SHOWN,)}
    assert all(svg.startswith("<?xml") for svg in drawn.values())
