"""Whether answers are language: repetition and known words by hand, nats by a model's own log-probabilities, and gibberish told apart."""

import numpy as np
import pytest
from small_run import save_run
from spoken import heard, untrained

from raterhf.evaluation.metrics.fluency import known_words, repetitions
from raterhf.evaluation.probes import fluency, read_texts, spanning
from raterhf.evaluation.probes.interview import PEOPLE
from raterhf.evaluation.probes.questions import Asked
from raterhf.evaluation.probes.suite import run_probes
from raterhf.raters.pool import Rater

QUESTION = Asked("die", "odd", ["Roll a die."])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("run"), "embedding")


def test_runs_of_words_that_came_before():
    # Of "a b c d a b c d a" the runs abcd, bcda, cdab, dabc, abcd, bcda: two came before.
    assert repetitions("a b c d a b c d a".split()) == (2, 6)
    assert repetitions("a a a a a".split()) == (1, 2)
    assert repetitions("a b c".split()) == (0, 0)


def test_words_that_people_use():
    assert known_words(["the", "cat", "xqz"], {"the", "cat", "dog"}) == (2, 3)
    assert known_words([], {"the"}) == (0, 0)


def test_figures_are_ratios_of_sums_over_the_rows_asked_for():
    ones = np.ones((3, 1))
    sample = fluency.Read(
        np.array([[4.0], [2.0], [9.0]]), 2 * ones, np.array([[1.0], [0], [0]]), 4 * ones, ones, np.array([[2.0], [0], [2]])
    )
    got = fluency.metrics_of(sample, np.array([0, 1]))
    assert got == {"nats": 6 / 4, "repeated": 1 / 8, "known_words": 2 / 2, "wordless": 0.5}


def test_nats_are_those_of_the_first_model_whoever_said_it(run):
    interview = untrained(run, [QUESTION], draws=6)
    interview.people = {"die": heard(QUESTION, ["1 2", "3", "4 5 6 1 2 3"])}
    sample = fluency.ask(interview, PEOPLE)
    base = interview.policies["base"]
    examples = [base.renderer.example("Roll a die.", text) for text in interview.people["die"].texts]
    assert sample.nats[:, 0] == pytest.approx(-base.log_probs(examples, [Rater("none", None)] * 3), abs=1e-5)
    assert sample.tokens[:, 0].tolist() == [len(example) - example.prompt_length for example in examples]
    assert fluency.ask(interview, "rater_new").rows == 6


def test_people_know_their_own_words_and_random_tokens_are_other_ones(run):
    interview = untrained(run, [QUESTION], draws=40)
    interview.people = {"die": heard(QUESTION, ["1 2", "3", "4 5 6"] * 10)}
    found, plots = run_probes(interview, [fluency.PROBE])
    rows = found["probes"]["fluency"]["policies"]
    assert rows["population"]["known_words"][0] == 1
    assert rows["base"]["known_words"][0] < 0.9
    assert found["probes"]["fluency"]["best"]["nats"] == rows["population"]["nats"][0]
    assert plots["fluency-nats"].startswith("<?xml") or "<svg" in plots["fluency-nats"]


def test_without_people_words_are_not_measured_and_the_rest_is(run):
    interview = untrained(run, [QUESTION], draws=8)
    found, _ = run_probes(interview, [fluency.PROBE])
    row = found["probes"]["fluency"]["policies"]["base"]
    assert np.isnan(row["known_words"][0])
    assert row["nats"][0] > 0


def test_what_does_not_fit_the_first_model_is_left_out(run):
    interview = untrained(run, [QUESTION], draws=4)
    interview.people = {"die": heard(QUESTION, ["1", "2 " * 60])}
    assert fluency.ask(interview, PEOPLE).tokens[:, 0].tolist() == [2, 0]


def test_what_two_probes_ask_about_is_read_once(run, monkeypatch):
    interview = untrained(run, [QUESTION], draws=8)
    interview.people = {"die": heard(QUESTION, ["1 2", "3", "4 5 6", "5", "6", "1", "2", "4"])}
    read, texts = read_texts.read_completions, []

    def counted(policy, examples, raters):
        texts.extend(examples)
        return read(policy, examples, raters)

    monkeypatch.setattr(read_texts, "read_completions", counted)
    spanning.ask(interview, "base")
    fluency.ask(interview, "base")
    fluency.ask(interview, PEOPLE)
    said = {text for name in ("base", PEOPLE) for text in interview.answers(name, QUESTION).texts}
    assert len(texts) == len(said)
