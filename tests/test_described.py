"""Personas from descriptions: priors by hand, what descriptions tell of raters left out, and the verb on a run, with what it refuses."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from small_run import fails, succeeds
from test_personas import saved

from raterhf.errors import UserError
from raterhf.evaluation.described import describe_personas, read_descriptions
from raterhf.raters.described import describe, moved
from raterhf.raters.files import load_pool
from raterhf.raters.pool import RaterPool
from raterhf.raters.population import Population

WIDE = Population(np.ones(1), np.zeros((1, 2)), np.diag([2.0, 2.0])[None])


def test_a_prior_by_hand():
    """Vectors are 3 times the feature along the first axis and noise of .5 along the second: at 2 a person is (6, 0), and as wide as what
    the feature does not tell. The population's variance is 8 in all, that of vectors 9.25."""
    rng = np.random.default_rng(0)
    feature = rng.standard_normal((4000, 1))
    vectors = np.concatenate([3 * feature, 0.5 * rng.standard_normal((4000, 1))], 1)
    found = describe(feature, vectors, np.array([[2.0]]), WIDE, 0)
    (prior,) = found.priors
    assert prior.means[0] == pytest.approx([6, 0], abs=0.05)
    assert prior.covariance()[1, 1] == pytest.approx(0.25 * 8 / 9.25, rel=0.05) and prior.covariance()[0, 0] < 0.01
    assert found.explained[0] == pytest.approx(9 / 9.25, abs=0.01) and found.explained[1] < found.explained[0] < found.explained[2]


def test_what_says_nothing_is_everybody():
    """Features that have nothing to do with vectors tell none of them, surely, and the prior is the population."""
    rng = np.random.default_rng(1)
    found = describe(rng.standard_normal((300, 40)), rng.standard_normal((300, 2)), np.ones((1, 40)), WIDE, 0)
    assert found.explained[1] <= 0 and abs(found.explained[0]) < 0.05
    assert moved(found.priors[0], WIDE) < 0.1 and found.priors[0].covariance().trace() == pytest.approx(8, rel=0.05)


def test_how_far_a_prior_is_by_hand():
    """3 along an axis of spread 2, and nothing along the other: the root of (2.25 + 0) / 2."""
    assert moved(Population(np.ones(1), np.array([[3.0, 0.0]]), np.eye(2)[None]), WIDE) == pytest.approx(np.sqrt(1.125))


SAILORS, BAKERS = "loves the sea and ships", "bakes bread and cakes"


def described(tmp_path, raters: int = 40, says=lambda i: SAILORS if i % 2 else BAKERS):
    """A run in whose space raters of odd numbers are at 3 and of even ones at -3, what is said of them, and a file of two others."""
    run = saved(tmp_path, raters)
    rows = [{"rater_id": f"r{i:02}", "about": says(i)} for i in range(raters)]
    pd.DataFrame(rows).to_csv(tmp_path / "raters.csv", index=False)
    (tmp_path / "personas.csv").write_text("name,description\ncaptain,sails ships on the sea\npastry cook,bakes the best cakes\n")
    (tmp_path / "answers.csv").write_text("prompt,completion\nRoll a die.,6\n")
    return run, ("personas", run, "--by", "about", "--file", tmp_path / "raters.csv", "--describe")


def test_descriptions_become_people_who_can_be_asked(tmp_path, monkeypatch):
    """A captain, as nobody is called, is drawn where sailors are; the same number is the same person; saved again, others replace them."""
    monkeypatch.setenv("COLUMNS", "200")  # narrower, cells fold
    run, verb = described(tmp_path)
    fails("score", run, tmp_path / "answers.csv", "--raters", "persona:captain", says="persona 'captain' is not in this run")
    shown = succeeds(*verb, tmp_path / "personas.csv", "--save", "--out", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert (
        found["explained"][1] > 0.9 and found["raters"] == 40 and [one["name"] for one in found["personas"]] == ["captain", "pastry cook"]
    )
    assert "told by descriptions" in shown and "sails ships on the sea" in shown
    pool = load_pool(run / "reward")
    assert pool.populations["persona:captain"].means.mean() > 1 and pool.populations["persona:pastry cook"].means.mean() < -1
    assert "captain" in pool.askable and "captain" not in pool.personas
    scored = [succeeds("score", run, tmp_path / "answers.csv", "--raters", "new:7@persona:captain") for _ in range(2)]
    assert scored[0] == scored[1] and "new:7@persona:captain" in scored[0]
    (tmp_path / "other.jsonl").write_text('{"name": "captain", "description": "bakes cakes"}\n')
    succeeds(*verb, tmp_path / "other.jsonl", "--save")
    pool = load_pool(run / "reward")
    assert pool.populations["persona:captain"].means.mean() < -1 and pool.populations["persona:pastry cook"].means.mean() < -1


def test_descriptions_that_tell_nothing_are_not_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    run, verb = described(tmp_path, says=lambda i: SAILORS if i % 4 < 2 else BAKERS)
    fails(*verb, tmp_path / "personas.csv", "--save", says=("which may be nothing", "describe more raters"))
    assert "persona:captain" not in load_pool(run / "reward").populations
    assert "told by descriptions" in succeeds(*verb, tmp_path / "personas.csv")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("name,about\ncaptain,sails", "no column description; there are name, about"),
        ("name,description\ncaptain,", "row 1 (line 2): the description is empty"),
        ("name,description\ncaptain,  ", "row 1 (line 2): the description is empty"),
        ("name,description\n,sails", "row 1 (line 2): the name is empty"),
        ("name,description\ncaptain,sails\ncaptain,bakes", "row 2 (line 3): the name 'captain' stands there twice"),
        ("name,description\nsailor,sails", "the run has a persona 'sailor' of 2 known raters; give this one another name"),
    ],
)
def test_files_of_no_descriptions(tmp_path, rows, says):
    pool = RaterPool(["a", "b"], np.zeros((2, 2), np.float32), 0, "embedding", {"sailor": ["a", "b"]})
    (tmp_path / "personas.csv").write_text(rows + "\n")
    with pytest.raises(UserError, match=re.escape(says)):
        read_descriptions(str(tmp_path / "personas.csv"), pool)


def test_only_vectors_have_priors():
    run = SimpleNamespace(folder="runs/mine", raters=RaterPool(["a"], np.zeros((1, 2), np.float32), 0, "text"))
    with pytest.raises(UserError, match="runs/mine knows raters by text, and personas need vectors"):
        describe_personas(run, "personas.csv", "about", [], "rater_id", None, 0)


def test_raters_who_are_not_described(tmp_path):
    run, verb = described(tmp_path, says=lambda i: SAILORS if i < 5 else None)
    fails(*verb, tmp_path / "personas.csv", says=("about: 5 of 40 known raters are described, and 20 are needed", "--file"))
    personas = tmp_path / "personas.csv"
    fails("personas", run, "--by", "about", "--describe", personas, says="no file has the columns rater_id and about")
    fails("personas", run, "--describe", personas, says="which column says what known raters are like? name it with --by")
    fails("personas", run, "--by", "about", "--encoder", "somewhere", says="--encoder somewhere reads descriptions")
