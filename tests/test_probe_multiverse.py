"""The multiverse: trees of what is said, by hand, and their figures."""

import numpy as np
import pytest
from letters import LETTERS, Scripted

from raterhf.errors import UserError
from raterhf.evaluation.metrics.leaves import leaf_entropy, leaf_tv, repeat_probability
from raterhf.evaluation.probes import multiverse
from raterhf.evaluation.probes.interview import PEOPLE, Answers, Interview
from raterhf.evaluation.probes.load import load_interview
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.questions import Asked
from raterhf.evaluation.probes.suite import run_probes
from raterhf.evaluation.probes.tree import grow, levels, stretches
from raterhf.raters.pool import Rater

END = "\0"


def ids(text: str) -> tuple[int, ...]:
    return tuple(LETTERS.index(letter) for letter in text)


def two_tastes(rater: str, said: str) -> dict[str, float]:
    """new:0 likes a, which they end with c; new:1 likes b, and would end an a with d."""
    if not said:
        return {"a": 0.8, "b": 0.2} if rater == "new:0" else {"a": 0.2, "b": 0.8}
    return {"c" if rater == "new:0" else "d": 1.0} if said == "a" else {END: 1.0}


def question(**other) -> Asked:
    return Asked("q", "numbers", ["?"], **{"classes": ["a", "b"], "pattern": "[ab]"} | other)


def test_a_mixture_weighs_raters_by_what_they_said():
    tree = grow(Scripted("x", two_tastes), "?", [Rater("new:0", None), Rater("new:1", None)])
    mixed = {path: p.mean() for path, p in tree.ended.items() if p.mean() > 1e-6}
    # The mean of the next-token distributions would give ac and ad .25 each.
    assert mixed == pytest.approx({ids("ac"): 0.4, ids("ad"): 0.1, ids("b"): 0.5})
    assert tree.begun[ids("ac")] == pytest.approx([0.8, 0.0], abs=1e-9) and tree.open == []


def test_a_begun_text_goes_on_by_those_who_would_have_begun_so():
    people = [Rater("new:0", None), Rater("new:1", None)]
    trees = list(levels(Scripted("x", two_tastes), "?", people, root=ids("a")))
    # a is said by .8 of the first's answers and .2 of the second's: they count 1.6 and .4.
    assert trees[-1].begun[ids("a")] == pytest.approx([1.6, 0.4])
    assert {path: p.mean() for path, p in trees[-1].ended.items() if p.mean() > 1e-6} == pytest.approx({ids("ac"): 0.8, ids("ad"): 0.2})
    assert [len(tree.begun) for tree in trees] == [3, 3] and trees[0].open == [ids("ac"), ids("ad")]
    root = stretches(trees[-1], ids("a"))
    assert (root.start, root.path, root.mass) == (1, ids("a"), pytest.approx(1.0)) and not root.is_end
    assert [(way.start, way.path, way.is_end) for way in root.ways] == [(1, ids("ac"), True), (1, ids("ad"), True)]
    never = Scripted("x", lambda rater, said: {"a": 1.0, "d": 0.0})
    with np.errstate(divide="ignore"), pytest.raises(UserError, match="nobody of these 2 raters begins an answer so"):
        list(levels(never, "?", people, root=ids("d")))


def test_what_is_unlikely_or_too_much_is_not_followed():
    def table(rater, said):
        return {"a": 0.6, "b": 0.39, "c": 0.01} if not said else {END: 1.0}

    tree = grow(Scripted("x", table), "?", [Rater("none", None)], least=0.05)
    assert ids("c") not in tree.begun and sum(p.mean() for p in tree.ended.values()) == pytest.approx(0.99)
    few = grow(Scripted("x", table), "?", [Rater("none", None)], most=2)
    assert few.open == [ids("b"), ids("c")] and ids("b") not in few.ended
    short = grow(Scripted("x", table, max_new_tokens=1), "?", [Rater("none", None)])
    assert short.open == [ids("a"), ids("b"), ids("c")]


def test_leaves_by_hand():
    p = np.array([0.5, 0.25, 0.0])
    # A quarter is left, in pieces of 1 / 8 at most.
    assert leaf_entropy(p, 1 / 8) == pytest.approx(np.log(2) * (0.5 * 1 + 0.25 * 2 + 0.25 * 3))
    assert repeat_probability(p, 1 / 8) == pytest.approx(0.25 + 0.0625 + 0.25 / 8)
    assert leaf_tv(p, np.array([0.5, 0.0, 0.25])) == pytest.approx(0.5 * (0.25 + 0.25 + 0.25 + 0.25))
    assert leaf_tv(np.array([1.0]), np.array([0.0])) == 1.0 and leaf_tv(p / 0.75, p / 0.75) == pytest.approx(0.0)


def interview(distribution=None, **policies) -> Interview:
    said = Answers(["a", "a", "a", "b"], np.array([0, 0, 0, 1]))
    return Interview(policies, [question(distribution=distribution)], {"q": said}, draws=4)


def test_people_have_their_distribution_or_what_they_said():
    base = Scripted("base", lambda rater, said: {END: 1.0} if said else {"a": 0.5, "b": 0.5})
    counted = multiverse.ask(interview(base=base), PEOPLE)
    assert counted.rows == 4
    found = multiverse.metrics_of(counted, np.arange(4))
    assert found["top_leaf"] == 0.75 and found["tree_tv"] == 0.0 and found["leaves_2"] == pytest.approx(1 / (9 / 16 + 1 / 16))
    known = interview(distribution=np.array([0.9, 0.1]), base=base)
    assert multiverse.metrics_of(multiverse.ask(known, PEOPLE), np.arange(1))["top_leaf"] == 0.9
    found = multiverse.metrics_of(multiverse.ask(known, "base"), np.arange(1))
    assert found["tree_tv"] == pytest.approx(0.4) and found["answers"] == pytest.approx(2.0) and found["leaves"] == pytest.approx(2.0)
    assert found["captured"] == pytest.approx(1.0)


def test_answers_are_classes_of_texts():
    raters = Scripted("x", two_tastes, draws="new")
    sample = multiverse.ask(interview(base=Scripted("base", two_tastes), raters=raters), "raters")
    assert sample.rows == 32 and sample.one is not None
    # Rows 0 and 1: ac .4, ad .1, b .5; the two that begin with a are one answer.
    found = multiverse.metrics_of(sample, np.array([0, 1]))
    assert found["answers"] == pytest.approx(2.0) and found["top_leaf"] == pytest.approx(0.5)
    assert found["leaves"] == pytest.approx(np.exp(-(0.4 * np.log(0.4) + 0.1 * np.log(0.1) + 0.5 * np.log(0.5))), abs=1e-4)


def test_boxes_join_what_does_not_branch():
    base = Scripted("base", lambda rater, said: {"": {"c": 1.0}, "c": {"a": 0.7, "b": 0.3}}.get(said, {END: 1.0}))
    asked = interview(base=base)
    found = multiverse.boxes(asked, "base", multiverse.ask(asked, "base").trees[0])
    assert [(box.column, round(box.top, 6), round(box.height, 6), box.text, box.is_end) for box in found] == [
        (0, 0.0, 1.0, "c", False), (1, 0.0, 0.7, "a", True), (1, 0.7, 0.3, "b", True),
    ]  # fmt: skip


def test_what_cannot_be_measured():
    base = Scripted("base", lambda rater, said: {"a": 1.0})
    endless = Interview({"base": base}, [question()])
    base_only = multiverse.ask(endless, "base")
    assert multiverse.metrics_of(base_only, np.arange(1))["captured"] < 1e-6
    with pytest.raises(CannotMeasure, match="no question of this run is about numbers, odd"):
        multiverse.ask(Interview({"base": base}, [Asked("q", "dice", ["?"])]), "base")


def test_runs_on_tiny_models(run):
    asked, _ = load_interview([f"base={run / 'base'}", f"rater_new={run / 'policy'}"], 4, 0)
    asked.questions = [Asked("die", "numbers", ["Roll a die."], classes=["1", "2"])]
    found, plots = run_probes(asked, [multiverse.PROBE])
    probe = found["probes"]["multiverse"]
    assert probe["holes"] == [] and set(plots) == {f"multiverse-die-{name}" for name in ("base", "rater_new", "new-1")}
    value, low, high = probe["policies"]["rater_new"]["leaves"]
    assert low <= value <= high
