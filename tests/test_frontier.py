"""The frontier of quality and closeness: what is on it, what a method has at equal gold reward, and how it is told."""

import csv
import io
import math

import numpy as np
import pytest

from raterhf.evaluation.compare.frontier import FIGURES, frontier
from raterhf.evaluation.compare.policy_metrics import PolicyMetrics
from raterhf.evaluation.compare.rivals import Strength
from raterhf.evaluation.metrics import at_gold, on_front
from raterhf.reports import metrics_file
from raterhf.reports.comparison import write_report
from raterhf.reports.frontier import at_equal_gold, draw, points_csv, table_rows


def test_on_the_front_is_what_no_other_beats_in_both():
    gold, etv = [0.0, -0.1, -0.2, -0.1, -0.3], [0.3, 0.1, 0.1, 0.2, 0.0]
    # The third is as near as the second and worse put; the fourth as well put and farther.
    assert on_front(gold, etv).tolist() == [True, True, False, False, True]
    assert on_front([0.0, 0.0], [0.1, 0.1]).tolist() == [True, True]
    assert on_front([0.0, math.nan], [0.1, 0.0]).tolist() == [True, False]


def points(*rows: tuple[float, float]) -> list[dict]:
    return [{"reward_gold": gold, "etv": etv, "gamma": 10 * etv} for gold, etv in rows]


def test_at_equal_gold_a_method_has_what_lies_between_its_points():
    method = points((-0.4, 0.1), (-0.2, 0.3), (-0.3, 0.5))  # the last is beaten and counts for nothing
    assert at_gold(method, -0.3, ["etv", "gamma"]) == pytest.approx({"reward_gold": -0.3, "etv": 0.2, "gamma": 2.0})
    # Below all of them the nearest has more gold than asked; above, .03 is equal, and more is not reached.
    assert at_gold(method, -0.9, ["etv"]) == pytest.approx({"reward_gold": -0.4, "etv": 0.1})
    assert at_gold(method, -0.18, ["etv"]) == pytest.approx({"reward_gold": -0.2, "etv": 0.3})
    assert at_gold(method, -0.16, ["etv"]) is None
    assert math.isnan(at_gold(method, -0.3, ["mi_ratio"])["mi_ratio"])


def measured(gold: float, etv: float) -> PolicyMetrics:
    figures = dict.fromkeys(FIGURES, math.nan) | {"reward_gold": gold, "etv": etv}
    return PolicyMetrics(figures, {"etv": (etv - 0.01, etv + 0.01)}, {}, np.zeros(0), [])


def strength(value: float | None, draws: str, folder) -> Strength:
    return Strength("beta", value, folder, draws)


@pytest.fixture
def found(tmp_path) -> dict:
    """Vanilla, ours between two strengths, and a rival that does not reach vanilla's gold reward."""
    world = {
        "vanilla": [(strength(0.3, "none", tmp_path), measured(-0.1, 0.3))],
        "rater_new": [(strength(beta, "new", tmp_path), measured(*at)) for beta, at in {0.1: (-0.05, 0.06), 0.5: (-0.25, 0.02)}.items()],
        "other": [(strength(None, "none", tmp_path), measured(-0.22, 0.2))],
    }
    taken = {"updates": 9, "seconds": 61.4, "peak_mib": 100.0}
    metrics = {"frontier": frontier([world]), "trainings": {"policy": taken, "other": taken | {"seconds": None}}}
    return metrics_file.clean(metrics)


def test_the_frontier_has_every_strength_and_all_methods_at_vanillas_gold(found):
    assert [(p["method"], p["value"], p["main"], p["on_front"]) for p in found["frontier"]["points"]] == [
        ("vanilla", 0.3, True, False), ("rater_new", 0.1, True, True), ("rater_new", 0.5, False, True), ("other", None, True, False),
    ]  # fmt: skip
    same, *_, far = found["frontier"]["levels"]
    assert (same["below"], same["reward_gold"], far["below"]) == (0.0, -0.1, 0.3)
    assert same["methods"]["rater_new"]["etv"] == pytest.approx(0.05)  # a quarter of the way
    assert same["methods"]["rater_new"]["intervals"]["etv"] == pytest.approx([0.04, 0.06])
    assert same["methods"]["other"] is None and far["methods"]["other"]["etv"] == 0.2


def test_worlds_are_averaged_and_a_level_must_be_reached_in_each(tmp_path):
    def world(gold: float) -> dict:
        return {
            "vanilla": [(strength(0.3, "none", tmp_path), measured(gold, 0.3))],
            "other": [(strength(0.1, "none", tmp_path), measured(-0.2, -gold))],
        }

    merged = frontier([world(-0.1), world(-0.2), world(-0.3)])
    other = next(p for p in merged["points"] if p["method"] == "other")
    low, high = other["intervals"]["etv"]
    assert (
        other["etv"] == pytest.approx(0.2) and (low + high) / 2 == pytest.approx(0.2) and high - low == pytest.approx(2 * 0.2484, abs=1e-3)
    )
    same, below = merged["levels"][:2]
    assert same["methods"]["other"] is None and below["methods"]["other"]["etv"] == pytest.approx(0.2)


def test_the_table_says_who_reaches_what_and_what_it_took(found):
    table = at_equal_gold(found)
    assert [row["name"] for row in table["rows"]] == ["rater_new", "vanilla", "other"]
    columns, rows = table_rows(found)
    assert columns[4] == "etv at gold −0.100"
    reached = ["0.050 [0.040, 0.060]", "0.030 [0.020, 0.040]", "0.020 [0.010, 0.030]"]
    assert rows[0] == ["fictitious raters", "yes", "9", "61", *reached]
    assert rows[2][1:5] == ["no", "9", "–", "not reached"]


def test_the_plot_names_every_method_and_the_file_holds_every_point(found):
    plots = draw(found)
    assert set(plots) == {"frontier", "frontier-narrow"}
    for name in ("vanilla RLHF", "fictitious raters", "other", "β 0.5"):
        assert name in plots["frontier"]
    rows = list(csv.DictReader(io.StringIO(points_csv(found))))
    assert [row["method"] for row in rows] == ["vanilla", "rater_new", "rater_new", "other"]
    assert (rows[1]["etv_low"], rows[3]["value"], rows[3]["mi_ratio"]) == ("0.049999999999999996", "", "")
    assert draw({"frontier": {"points": found["frontier"]["points"][:1]}}) == {} == draw({})


def test_the_page_has_the_table_and_the_plot_and_the_file_lies_beside_it(found, tmp_path):
    page = write_report(found, tmp_path / "out").read_text("utf-8")
    section = page[page.index('<h2 id="frontier">') :]
    assert "Every method at equal quality" in section and "<svg" in section
    assert "not reached" in section and "0.050 [0.040, 0.060]" in section and "at −0.100, vanilla’s" in section
    assert (tmp_path / "out" / "frontier.csv").read_text("utf-8") == points_csv(found)
    assert '<h2 id="frontier">' not in write_report({}, tmp_path / "none").read_text("utf-8")
    assert not (tmp_path / "none" / "frontier.csv").exists()
