"""`raterhf bench alarm`: the alarm keeps its rate where diversity is at the level, and fires below it."""

import json

import numpy as np
import pytest
from small_run import succeeds

from raterhf.bench.alarm import DISTRIBUTIONS, alarms, bench_alarm, collapsed, halves
from raterhf.recipe import MonitorSettings


def test_a_distribution_moves_to_the_level():
    for distribution in DISTRIBUTIONS.values():
        assert distribution.sum() == pytest.approx(1)
        beyond = 1 / np.square(distribution).sum() - 1
        assert 1 / np.square(collapsed(distribution, 0.5)).sum() - 1 == pytest.approx(beyond / 2)
        assert collapsed(distribution, 0).max() == 1 and np.array_equal(collapsed(distribution, 1), distribution)


def test_the_rate_is_nominal_and_collapse_is_seen():
    found = bench_alarm(MonitorSettings(), 5, 200, 0)
    for row in found["rows"]:
        assert row["1 of the level"][1] <= 0.05 and row["halves"][1] <= 0.05, row
    die = next(row for row in found["rows"] if row["distribution"] == "fair die")
    assert die["0.2 of the level"][0] > 0.95 and die["looks until 0.2"] == 1
    assert bench_alarm(MonitorSettings(), 5, 200, 0) == found


def test_looks_count_from_the_first():
    rng = np.random.default_rng(0)
    one, die = np.eye(6)[0], np.full(6, 1 / 6)
    assert (alarms(die, one, MonitorSettings(), 3, 10, rng) == 0).all()
    assert (alarms(die, die, MonitorSettings(), 3, 10, rng) == -1).all()
    assert not halves(one, MonitorSettings(), 10, rng).any()


def test_command(tmp_path):
    out = succeeds("bench", "alarm", "--repeats", 20, "--samples", 32, "--out", tmp_path / "alarm.json")
    assert "fair die" in out and "nominal at most 5%" in " ".join(out.split())
    assert json.loads((tmp_path / "alarm.json").read_text())["settings"]["samples"] == 32
