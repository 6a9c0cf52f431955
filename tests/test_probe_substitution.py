"""Token substitution: ranks, divergences and forced tokens, by hand."""

import numpy as np
import pytest
from letters import LETTERS, Letters, Scripted
from scipy.special import logsumexp
from small_talk import tiny

from raterhf.data.example import Example
from raterhf.evaluation.probes import substitution
from raterhf.evaluation.probes.interview import PEOPLE, Answers, Interview
from raterhf.evaluation.probes.load import load_interview
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.mixture import Mixture
from raterhf.evaluation.probes.questions import Asked
from raterhf.evaluation.probes.suite import run_probes
from raterhf.raters.pool import Rater

END = "\0"


def base(rater: str, said: str) -> dict[str, float]:
    """ab nearly always, else cd."""
    return {"a": 0.98, "c": 0.02} if not said else {"b" if said == "a" else "d": 1.0} if len(said) == 1 else {END: 1.0}


def tuned(rater: str, said: str) -> dict[str, float]:
    """cd always."""
    return {"c": 1.0} if not said else {"d": 1.0} if len(said) == 1 else {END: 1.0}


def two_tastes(rater: str, said: str) -> dict[str, float]:
    likes_a = int(rater[4:]) % 2 == 0
    if not said:
        return {"a": 0.8, "c": 0.2} if likes_a else {"a": 0.2, "c": 0.8}
    return {"b" if likes_a else "d": 1.0} if len(said) == 1 else {END: 1.0}


def question(**other) -> Asked:
    return Asked("q", "stories", ["?"], **{"classes": ["b", "d"], "pattern": "[bd]"} | other)


def interview(people=None, **asked) -> Interview:
    models = {"base": Scripted("base", base), "vanilla": Scripted("vanilla", tuned), "raters": Scripted("raters", two_tastes, draws="new")}
    return Interview(models, [question(**asked)], people or {}, draws=8)


def test_tuned_tokens_under_the_base_model():
    sample = substitution.ask(interview(), "vanilla")
    # c is the second of the base model's first tokens; d and the end are what it says after c, too.
    assert sample.rank[0, 0, :4] == pytest.approx([2, 1, 1, np.nan], nan_ok=True)
    assert sample.kl[0, 0, :3] == pytest.approx([np.log(1 / 0.02), 0, 0], abs=1e-6) and sample.length[0, 0] == 3
    found = substitution.metrics_of(sample, np.arange(8))
    assert found["kl"] == found["kl_mixture"] == pytest.approx(np.log(50) / 3, abs=1e-6)
    assert found["log2_rank"] == pytest.approx(1 / 3) and found["unshifted"] == pytest.approx(2 / 3) and found["shifted"] == 0.0
    # Left alone the base model says b; once c is forced, d.
    assert found["forced"] == 1.0 and found["forced_share"] == pytest.approx(1 / 3)


def test_the_base_model_is_its_own_control():
    asked = interview()
    found = substitution.metrics_of(substitution.ask(asked, "base"), np.arange(8))
    assert found["kl"] == 0.0
    said = substitution.Said(["?"] * 2, [tuple(LETTERS.index(x) for x in text + END) for text in ("ab", "ba")], np.array([0, -1]), None)
    assert substitution.force(asked, asked.questions[0], said) == pytest.approx([0.0, np.nan], nan_ok=True)


def test_people_have_ranks_and_no_distributions():
    people = {"q": Answers(["cd", "ab"], np.array([1, 0]))}
    found = substitution.metrics_of(substitution.ask(interview(people), PEOPLE), np.arange(2))
    ranks = {"log2_rank": 1 / 6, "unshifted": 5 / 6, "shifted": 0.0}
    assert found == pytest.approx(ranks | {"forced": 0.5, "forced_share": 1 / 6})


def test_a_mixture_weighs_raters_by_what_they_said():
    model = Scripted("raters", two_tastes, draws="new")
    crowd = [Rater("new:0", None), Rater("new:1", None)]
    a, b, d = (LETTERS.index(letter) for letter in "abd")
    mixture = Mixture(model, ["?"], crowd)
    (first,) = np.exp(mixture.after([(0, ())], [{a}]))
    (after,) = np.exp(mixture.after([(0, (a,))], [()]))
    assert first[a] == pytest.approx(0.5) and after[[b, d]] == pytest.approx([0.8, 0.2])
    mixture.forget()
    assert mixture.after([(0, ())], [{a}], told=False) is None and (0, (a,)) in mixture.weight


def test_a_mixture_is_that_of_texts_read_whole_and_reads_each_token_once():
    model = tiny("rater_new", 3, soft=True)
    crowd, answers = model.raters(4, 0), [(5, 6, 7), (5, 6, 8), (9,)]
    head = model.renderer.prompt("Say a letter.")
    mixture = Mixture(model, ["Say a letter."], crowd)
    before = mixture.texts.texts.tokens_read
    for t in range(4):
        begun = sorted({answer[:t] for answer in answers if len(answer) >= t})
        then = [{answer[t] for answer in answers if len(answer) > t and answer[:t] == path} for path in begun]
        found = mixture.after([(0, path) for path in begun], then)
        for path, one in zip(begun, found):
            each = model.next_distributions([head + path] * 4, crowd)
            weights = model.log_probs([Example(head + path, len(head))] * 4, crowd)[:, None] if path else np.zeros((4, 1))
            np.testing.assert_allclose(one, logsumexp(each + weights, axis=0) - logsumexp(weights), atol=1e-4)
    # The last token of the prompt; 5 and 9; 6 after 5; 7 and 8: six for each rater.
    assert mixture.texts.texts.tokens_read - before == 4 * (1 + 2 + 1 + 2)


def test_a_rater_is_farther_from_base_than_the_mixture():
    found = substitution.metrics_of(substitution.ask(interview(), "raters"), np.arange(8))
    assert found["kl"] > found["kl_mixture"] > 0


def test_means_are_within_questions_first():
    values = np.array([[[1.0, 3.0], [5.0, np.nan]], [[np.nan, np.nan], [np.nan, np.nan]]])  # [M, questions, positions]
    sums = substitution.sums_of(values)
    assert substitution.mean_of(sums, np.array([1, 1])) == pytest.approx((2 + 5) / 2)
    assert np.isnan(substitution.mean_of(sums, np.array([0, 2])))


def test_divergence_by_hand():
    p, q = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    assert substitution.divergence(p, q) == pytest.approx([0.5 * np.log(2) + 0.5 * np.log(2 / 3)])


def test_what_cannot_be_measured():
    with pytest.raises(CannotMeasure, match="no question of this run is about"):
        asked = interview()
        asked.questions = []
        substitution.ask(asked, "base")
    with pytest.raises(CannotMeasure, match="nobody was asked about"):
        substitution.ask(interview(), PEOPLE)
    other = interview()
    other.policies["vanilla"].renderer.tokenizer = type("More", (Letters,), {"get_vocab": lambda self: {"x": 0}})()
    with pytest.raises(CannotMeasure, match="vanilla: its tokens are not those of base"):
        substitution.ask(other, "vanilla")


def test_answers_without_classes_are_read_but_not_forced():
    found = substitution.metrics_of(substitution.ask(interview(classes=[]), "vanilla"), np.arange(8))
    assert "forced" not in found and found["log2_rank"] == pytest.approx(1 / 3)


def test_runs_on_tiny_models(run):
    names = {"base": "base", "vanilla": "base", "rater_new": "policy"}
    asked, _ = load_interview([f"{name}={run / folder}" for name, folder in names.items()], 6, 0)
    for model in asked.policies.values():
        model.max_new_tokens = 6
    letters = [chr(i) for i in range(ord("a"), ord("f"))]
    asked.questions = [Asked("die", "numbers", ["Roll a die."], classes=letters, pattern="[a-e]")]
    found, plots = run_probes(asked, [substitution.PROBE])
    probe = found["probes"]["substitution"]
    assert probe["holes"] == [] and {"substitution-rank", "substitution-kl"} <= set(plots)
    assert "recovered" not in probe  # a KL has no better and worse
    value, low, high = probe["policies"]["rater_new"]["kl_mixture"]
    assert 0 < low <= value <= high
