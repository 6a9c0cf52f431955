"""Templates, framed and plain, and the branching of words, by hand."""

import math

import numpy as np
import pytest
from spoken import untrained, written

from raterhf.evaluation.probes import templates
from raterhf.evaluation.probes.interview import Answers
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.questions import Asked
from raterhf.evaluation.probes.suite import run_probes
from raterhf.worlds.world import load_world

OPEN = Asked("bugs", "odd", ["Are bugs real?"], framed=["A child asks: are bugs real?"])
CLOSED = Asked("bugs", "odd", ["Are bugs real?"], framed=["A child asks: are bugs real?"], classes=["yes", "no"])
PLAIN = ["Yes, bugs are real.", "yes! Bugs are REAL and small", "No.", "Well, maybe"]
FRAMED = ["No.", "Yes, bugs are real", "No!", "Ask her."]


def measured(interview, rows=None):
    sample = templates.ask(interview, "model")
    return templates.metrics_of(sample, np.arange(sample.rows) if rows is None else np.array(rows))


def test_the_top_template_asked_plainly_is_looked_for_framed():
    found = measured(written((OPEN, PLAIN, FRAMED)))
    assert found["top_share"] == 0.5  # "yes bugs are real"
    assert found["framed_share"] == 0.25
    assert found["moved_by_frame"] == 0.25
    assert found["valid"] == 1


def test_templates_of_a_closed_question_are_its_classes():
    found = measured(written((CLOSED, PLAIN, FRAMED)))
    assert (found["top_share"], found["framed_share"], found["valid"]) == (0.5, 0.25, 0.75)


def test_rows_choose_draws():
    found = measured(written((OPEN, PLAIN, FRAMED)), [2, 2, 2, 0])
    assert (found["top_share"], found["framed_share"]) == (0.75, 1)  # "no"


def test_a_template_never_said_framed_has_share_zero():
    assert measured(written((OPEN, PLAIN, ["Ask her."] * 4)))["framed_share"] == 0


def test_questions_without_frames_have_no_framed_share():
    bare = Asked("plain", "odd", ["Is soup a place?"])
    both = measured(written((bare, ["a"] * 4, []), (OPEN, PLAIN, FRAMED)))
    assert both["top_share"] == 0.75 and both["framed_share"] == 0.25
    alone = measured(written((bare, ["a"] * 4, [])))
    assert "framed_share" not in alone


def test_branching_by_position_counts_the_end_as_a_word():
    sample = templates.ask(written((OPEN, ["a b", "a c", "a", "a b"], FRAMED)), "model")
    first, second, third, fourth = templates.branching(sample.spoken, np.arange(4))[:4]
    assert first == pytest.approx(1)
    # b twice, c, the end: entropy 1.5 log 2, Miller-Madow (3 - 1) / 8
    assert second == pytest.approx(math.exp(1.5 * math.log(2) + 0.25))
    assert third == pytest.approx(1)  # three draws are there, and all end
    assert math.isnan(fourth)


def test_a_template_said_always_does_not_branch():
    assert measured(written((OPEN, ["Yes."] * 4, FRAMED)))["branching"] == pytest.approx(1)


def test_bad_input_says_which_question():
    with pytest.raises(CannotMeasure, match="no question of this run is about odd"):
        templates.ask(written((Asked("joke", "jokes", ["A joke."]), ["a"], [])), "model")
    with pytest.raises(CannotMeasure, match="bugs: none of 3 answers of model is valid"):
        templates.ask(written((CLOSED, ["maybe", "who?", ""], ["yes"] * 3)), "model")
    with pytest.raises(CannotMeasure, match="bugs: none of 3 answers of model is valid"):
        templates.ask(written((OPEN, ["yes"] * 3, ["", "...", "\n"])), "model")
    with pytest.raises(CannotMeasure, match="1 draws for 2 classes; raise -n"):
        templates.ask(written((CLOSED, ["yes"], ["yes"])), "model")


def test_plain_wordings_leave_out_the_framed_ones(run):
    question = next(q for q in load_world("companion").questions if q.key == "odd-bugs")
    assert set(question.framed) & set(question.prompts)
    interview = untrained(run, [question], 40, 2)
    said = interview.answers("base", question)
    asked = {interview.policies["base"].renderer.tokenizer.decode(e.ids[: e.prompt_length]) for e in said.examples}
    assert len(asked) == 2 and not any("child" in prompt or "judge" in prompt for prompt in asked)


def test_a_question_without_plain_wordings_is_named(run):
    only_framed = Asked("bugs", "odd", OPEN.framed, framed=OPEN.framed)
    with pytest.raises(CannotMeasure, match="bugs: it has no plain wording"):
        templates.ask(untrained(run, [only_framed], 5), "base")


def test_it_runs_through_on_untrained_models_and_on_people(run):
    interview = untrained(run, [OPEN], 30)
    interview.people = {"bugs": Answers(["yes"] * 20 + ["no"] * 10, np.full(30, -1))}
    found, drawn = run_probes(interview, [templates.PROBE])
    assert found["probes"]["templates"]["holes"] == []
    assert found["probes"]["templates"]["policies"]["population"]["top_share"][0] == pytest.approx(2 / 3)
    assert set(drawn) == {"templates-rates", "templates-branching"}


def test_cells_with_nothing_to_count_keep_their_place():
    table = templates.cells([np.array([-1, -1]), np.array([5, 5])])
    assert table.counts(np.arange(2)).tolist() == [0, 2] and table.first.tolist() == [0, 1]
