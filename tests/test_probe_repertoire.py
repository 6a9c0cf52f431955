"""Jokes told again, by hand."""

import math

import numpy as np
import pytest
from spoken import untrained, written

from raterhf.evaluation.probes import repertoire
from raterhf.evaluation.probes.interview import PEOPLE, Interview
from raterhf.evaluation.probes.load import said_by_people
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.questions import Asked
from raterhf.evaluation.probes.suite import run_probes
from raterhf.worlds.world import load_world

OPEN = Asked("joke", "jokes", ["Tell me a joke."])
ATOMS = "Why do scientists distrust atoms?"


def measured(interview, name="model"):
    told = repertoire.ask(interview, name)
    return repertoire.metrics_of(told, np.arange(told.rows))


def test_the_riddle_is_the_joke():
    tellings = [f"Sure! Here is one: {ATOMS} They make up everything!", f"{ATOMS.lower()}\n\nBecause they make things up.", ATOMS]
    assert {repertoire.joke(text) for text in tellings} == {"why do scientists distrust atoms"}
    assert repertoire.joke("Want a joke? I have none.") == "want a joke i have none"
    assert repertoire.joke(" \n...") == ""


def test_figures_of_four_tellings():
    found = measured(written((OPEN, [f"{ATOMS} A.", f"{ATOMS} B.", "The lamp quit.", "A ghost.", ""], [])))
    assert found["repeats"] == pytest.approx(1 / 6)
    assert found["effective"] == pytest.approx(6)
    assert found["unseen"] == 0.5
    assert found["valid"] == 0.8
    assert found["top_25"] == 1


def test_where_no_joke_comes_twice_there_is_no_effective_number():
    found = measured(written((OPEN, ["one", "two", "three"], [])))
    assert found["repeats"] == 0 and math.isnan(found["effective"])


def test_one_joke_always():
    found = measured(written((OPEN, ["one"] * 3, [])))
    assert (found["repeats"], found["effective"], found["unseen"]) == (1, 1, 0)


def test_at_most_1008_are_asked():
    assert repertoire.ask(written((OPEN, ["one"] * 1100, [])), "model").rows == 1008


def test_people_of_the_companion_tell_jokes_of_zipf_popularity():
    world = load_world("companion")
    interview = Interview({}, world.questions, said_by_people(world, 1008, 0), 1008)
    found = measured(interview, PEOPLE)
    distributions = [question.distribution for question in interview.about("jokes")]
    assert found["repeats"] == pytest.approx(np.mean([q @ q for q in distributions]), abs=0.015)
    assert found["top_25"] == pytest.approx(np.sort(distributions[0])[::-1][:25].sum(), abs=0.03)  # twenty animal jokes cannot tell
    assert found["valid"] == 1


def test_bad_input_says_which_question():
    with pytest.raises(CannotMeasure, match="joke: none of 2 answers of model is valid"):
        repertoire.ask(written((OPEN, ["", "?!"], [])), "model")
    closed = Asked("joke", "jokes", ["Tell me a joke."], classes=["ghost", "lamp", "sea"])
    with pytest.raises(CannotMeasure, match="2 draws for 3 classes"):
        repertoire.ask(written((closed, ["ghost", "sea"], [])), "model")
    with pytest.raises(CannotMeasure, match="about jokes"):
        repertoire.ask(Interview({}, []), "model")


def test_it_runs_through_on_untrained_models(run):
    found, drawn = run_probes(untrained(run, [OPEN], 30), [repertoire.PROBE])
    assert found["probes"]["repertoire"]["holes"] == []
    assert set(found["probes"]["repertoire"]["policies"]) == {"base", "rater_new"}
    assert set(drawn) == {"repertoire-joke-ranks", "repertoire-joke-accumulation"}
