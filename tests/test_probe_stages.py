"""Which stage collapses what, from figures written by hand, and on the page."""

from raterhf.reports import probe_stages
from raterhf.reports.probes import write_probes


def probe(best=0.0, **rows):
    return {"title": "T", "caption": "C", "headline": "etv", "apart": "etv", "best": {"etv": best}, "holes": [], "false_alarms": {}} | {
        "policies": {name: {"etv": list(row)} for name, row in rows.items()}
    }


def test_the_stage_that_led_away_is_named():
    found = probe_stages.stages({"dice": probe(
        base=(0.2, 0.18, 0.22), sft_no_ids=(0.02, 0, 0.04), vanilla=(0.4, 0.35, 0.45), sft=(0.03, 0, 0.06), rater_new=(0.05, 0.02, 0.08)
    )})["dice"]  # fmt: skip
    assert found["figure"] == "etv" and found["best"] == 0
    assert found["ways"]["vanilla"] == [["base", 0.2, 0.18, 0.22], ["sft_no_ids", 0.02, 0, 0.04], ["vanilla", 0.4, 0.35, 0.45]]
    # From .02 to .4 is a collapse; from .03 to .05 is chance; from .2 to .02 is none at all.
    assert found["collapse"] == {"vanilla": "vanilla", "rater_new": None}


def test_a_figure_may_collapse_from_below_and_by_imitation():
    found = probe_stages.stages({"mi": probe(best=1.0, base=(1.0, 0.9, 1.1), sft_no_ids=(0.1, 0, 0.2), vanilla=(-0.1, -0.3, -0.05))})
    assert found["mi"]["collapse"] == {"vanilla": "sft_no_ids"}
    assert found["mi"]["ways"].keys() == {"vanilla"}  # no stage of the other way was measured


def test_what_is_missing_is_left_out():
    none = (None, None, None)
    assert probe_stages.stages({"a": probe(base=(0.2, 0.1, 0.3)), "b": probe(vanilla=(0.2, 0.1, 0.3)), "c": probe(base=none)}) == {}
    found = probe_stages.stages({"a": probe(best=None, base=(0.2, 0.2, 0.2), sft_no_ids=none, vanilla=(0.9, 0.8, 1.0))})
    assert found["a"]["ways"]["vanilla"][1] is None and found["a"]["collapse"] == {"vanilla": None}


def test_stages_are_on_the_page(tmp_path):
    probes = {
        "dice": probe(base=(0.2, 0.2, 0.2), vanilla=(0.4, 0.35, 0.45)),
        "mi": probe(best=None, base=(0.2, 0.1, 0.3), sft=(0.3, 0.2, 0.4)),
    }
    assert set(probe_stages.draw_stages(probe_stages.stages(probes))) == {"stages-dice", "stages-mi"}
    found = {"draws": 9, "policies": ["base", "vanilla", "sft"], "gold": {}, "probes": probes}
    page = write_probes(found, {}, tmp_path)[1].read_text()
    assert "Which stage collapses what?" in page and page.count("<svg") == 2
    assert '<td class="wrap">vanilla RLHF</td>' in page
