"""Attractors: what becomes of pushed answers, by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from letters import LETTERS, Letters, Scripted

from raterhf.evaluation.probes import attractors
from raterhf.evaluation.probes.interview import PEOPLE, Answers, Interview
from raterhf.evaluation.probes.load import load_interview
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.questions import Asked
from raterhf.evaluation.probes.suite import run_probes

END = "\0"


def always_b(rater: str, said: str) -> dict[str, float]:
    """a or c, and b whatever was said before."""
    return {"a": 0.5, "c": 0.5} if not said else {"b": 1.0} if len(said) == 1 else {END: 1.0}


def either(rater: str, said: str) -> dict[str, float]:
    return {"a": 0.5, "c": 0.5} if not said else {"b": 0.5, "d": 0.5} if len(said) == 1 else {END: 1.0}


def question(**other) -> Asked:
    return Asked("q", "odd", ["?"], **{"classes": ["b", "d"], "distribution": np.array([0.5, 0.5]), "pattern": "[bd]"} | other)


def interview(base=either, draws: int = 20, **asked) -> Interview:
    models = {"base": Scripted("base", base), "vanilla": Scripted("vanilla", always_b)}
    return Interview(models, [question(**asked)], draws=draws)


def test_falls_are_counted_above_chance_among_valid_answers():
    pushed, unpushed = np.array([0, 0, 1, -1]), np.array([1, -1, 0, -1])
    sample = attractors.count([np.column_stack([pushed] * 5 + [unpushed])], [0], [np.full((4, 6), 0.25)])
    found = attractors.metrics_of(sample, np.arange(4))
    # Pushed: two of three valid answers; unpushed: one of two.
    assert found["back"] == found["back_90"] == pytest.approx((2 / 3 - 0.25) / 0.75)
    assert found["unpushed"] == pytest.approx((1 / 2 - 0.25) / 0.75) and found["valid_after"] == 0.75


def test_questions_are_pooled_by_their_valid_answers():
    one, other = np.array([[0], [0], [0]]), np.array([[1], [-1], [-1]])
    sample = attractors.count([one, other], [0, 0], [np.full((3, 1), 0.5)] * 2)
    assert sample.above.sum() / sample.room.sum() == pytest.approx((3 * 0.5 - 0.5) / (4 * 0.5))


def test_an_attractor_is_reached_whatever_comes_before():
    found = attractors.metrics_of(attractors.ask(interview(), "vanilla"), np.arange(10))
    # The first of two tokens is exchanged at 10 % and 30 %: b follows all the same. Later b itself is, for d, and nobody could fall back.
    assert [found[f"back_{d}"] for d in (10, 30, 50, 70, 90)] == [1, 1, 0, 0, 0]
    assert 0.2 < found["back"] < 0.4 and found["unpushed"] == 1.0 and found["valid_after"] == 1.0


def test_the_first_model_falls_back_as_often_as_by_chance():
    found = attractors.metrics_of(attractors.ask(interview(draws=400), "base"), np.arange(200))
    assert abs(found["back"]) < 0.1


def test_chance_is_the_share_of_peoples_texts_that_begin_so():
    distribution, class_of = np.array([0.75, 0.25]), np.array([0, 0, 1, -1])
    asked = SimpleNamespace(distribution=distribution, texts=["ab", "cb", "ad", "abd"], class_of=class_of)
    # b has two wordings of .375 each, of which one begins with a, beside d's .25.
    shares = attractors.share_of_people(asked, 0, ["a", "c", "ab", "ad", "d"])
    assert shares.tolist() == pytest.approx([0.6, 1, 1, 0, float("nan")], nan_ok=True)
    assert np.isnan(attractors.share_of_people(question(distribution=None), 0, ["a"])).all()


def test_what_the_exchange_decides_does_not_count():
    sample = attractors.count([np.array([[0, 0], [0, 1]])], [0], [np.array([[1.0, 0.5], [np.nan, 0.5]])])
    assert sample.above.tolist() == [[0, 0.5], [0, -0.5]] and sample.room.tolist() == [[0, 0.5], [0, 0.5]]


def test_other_tokens_are_likely_and_neither_the_one_said_nor_the_end():
    def table(rater, said):
        return {"a": 0.5, END: 0.4, "b": 0.08, "c": 0.019, "d": 0.001}

    model = Scripted("base", table, min_p=0.9)
    a, b, c = (LETTERS.index(letter) for letter in "abc")
    drawn = attractors.draw_others(model, [(1, 2)] * 300, [a] * 300, np.random.default_rng(0))
    assert set(drawn) == {b, c} and drawn.count(c) / 300 == pytest.approx(0.019 / 0.099, abs=0.06)


def test_chance_is_what_people_say_or_else_the_first_model():
    asked = interview(distribution=None)
    asked.people["q"] = Answers(["b", "d", "d", "d"], np.array([0, 1, 1, 1]))
    assert attractors.ask(asked, "vanilla").room[0, -1] == pytest.approx(0.75)
    alone = interview(distribution=None, draws=400)
    assert attractors.ask(alone, "vanilla").room[0, -1] == pytest.approx(0.5, abs=0.08)


def test_what_cannot_be_measured():
    with pytest.raises(CannotMeasure, match="people have no tokens"):
        attractors.ask(interview(), PEOPLE)
    with pytest.raises(CannotMeasure, match="no question of this run about stories, odd or numbers has known classes"):
        attractors.ask(interview(classes=[], distribution=None), "vanilla")
    with pytest.raises(CannotMeasure, match="q: 1 answers to push, for 2 classes; raise -n"):
        attractors.ask(interview(draws=3), "vanilla")
    with pytest.raises(CannotMeasure, match="q: none of 10 answers of vanilla is valid"):
        attractors.ask(interview(classes=["x", "y"], pattern="[xy]"), "vanilla")
    with pytest.raises(CannotMeasure, match="in more than 90% of cases anyway"):
        attractors.ask(interview(distribution=np.array([0.95, 0.05])), "vanilla")
    other = interview()
    other.policies["vanilla"].renderer.tokenizer = type("More", (Letters,), {"get_vocab": lambda self: {"x": 0}})()
    with pytest.raises(CannotMeasure, match="vanilla: its tokens are not those of base"):
        attractors.ask(other, "vanilla")


def test_runs_on_tiny_models(run):
    asked, _ = load_interview([f"base={run / 'base'}", f"rater_new={run / 'policy'}"], 40, 0)
    for model in asked.policies.values():
        model.max_new_tokens = 8
    letters = [chr(i) for i in range(ord("a"), ord("f"))]
    asked.questions = [Asked("die", "numbers", ["Roll a die."], classes=letters, pattern="[a-e]")]
    found, plots = run_probes(asked, [attractors.PROBE])
    probe = found["probes"]["attractors"]
    assert probe["holes"] == [] and set(plots) == {"attractors-depth"}
    value, low, high = probe["policies"]["rater_new"]["back"]
    assert low <= value <= high
