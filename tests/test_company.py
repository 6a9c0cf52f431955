"""Whatever else is asked, a rater answers and scores the same: alone, among others, in another order, in another batch."""

import numpy as np
import pandas as pd
import pytest
import torch
from small_run import rows_of, succeeds
from small_talk import Said

import raterhf
from raterhf.engine import sampler as sampling
from raterhf.engine.rater_policy import RaterPolicy, load_rater_policy
from raterhf.engine.sampler import Sampler
from raterhf.evaluation.compare.participants import vote_chances
from raterhf.evaluation.compare.policy_metrics import ask_questions
from raterhf.evaluation.probes.interview import Interview
from raterhf.models.checkpoint import load_policy, load_pool
from raterhf.raters.batch import RaterBatch
from raterhf.training.algorithms.forward_kl import candidates

PROMPTS = ["Roll a die.", "Flip a coin.", "1", "Any number, please.", "And again?", "2 3 4"] + [f"Say {i}." for i in range(6)]
TOLERANCE = 1e-5  # of log-probabilities and scores in float32 in other company

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def opened(run) -> raterhf.Run:
    return raterhf.open(run)


def said(answers: list[raterhf.Answer]) -> dict[str, list[tuple[str, str]]]:
    """Rater and completion of every answer, by prompt."""
    found: dict[str, list[tuple[str, str]]] = {}
    for answer in answers:
        found.setdefault(answer.prompt, []).append((answer.rater, answer.completion))
    return found


@pytest.mark.parametrize("temperature", [1.0, 0.0])
@pytest.mark.parametrize("encoding", ["run", "text_run"])
@pytest.mark.parametrize("rater", ["new", "new:7", "ann", "none", "persona:sailor"])
def test_an_answer_is_the_same_in_any_company(encoding, rater, temperature, request):
    opened = raterhf.open(request.getfixturevalue(encoding))
    ask = lambda prompts, n=1: opened.sample(prompts, rater, n=n, seed=3, temperature=temperature)  # noqa: E731
    together = ask(PROMPTS, 3)
    expected = said(together)
    assert said(ask(PROMPTS[::-1], 3)) == expected
    alone = [answer for prompt in PROMPTS for answer in ask(prompt, 3)]
    assert said(alone) == expected
    np.testing.assert_allclose([a.log_prob for a in alone], [a.log_prob for a in together], rtol=0, atol=TOLERANCE)
    assert said(ask(PROMPTS)) == {prompt: answers[:1] for prompt, answers in expected.items()}
    if temperature > 0:
        assert any(len({text for _, text in answers}) > 1 for answers in expected.values())


def test_fresh_and_known_raters_answer_the_same_among_others(opened):
    """By their own IDs: one of `new`, one of all."""
    fresh = opened.sample(PROMPTS[:3], "new", n=4)
    assert said(opened.sample(PROMPTS[:3], fresh[2].rater)) == {p: [answers[2]] for p, answers in said(fresh).items()}
    everybody = said(opened.sample(PROMPTS[:3], "all", n=2))
    assert said(opened.sample(PROMPTS[:3], "bob", n=2)) == {p: answers[2:4] for p, answers in everybody.items()}


def test_an_answer_is_the_same_in_any_batch(opened, monkeypatch):
    whole = said(opened.sample(PROMPTS, "new", n=3))
    monkeypatch.setattr(sampling, "BATCH_TOKENS", 1)
    assert said(opened.sample(PROMPTS, "new", n=3)) == whole


@pytest.mark.parametrize("idiosyncratic", [False, True])
def test_a_score_is_the_same_in_any_company(opened, run, idiosyncratic):
    pairs, raters = [(prompt, answer) for prompt in PROMPTS[:4] for answer in ("1", "2 3", "a long answer")], ["ann", "new:6x", "none"]
    together = opened.score(pairs, raters, idiosyncratic=idiosyncratic)
    exact = raterhf.open(run, deterministic=True)
    bits = exact.score(pairs, raters, idiosyncratic=idiosyncratic)
    for i in (0, 7, 11):
        for rater in (together.index[0], together.index[3]):
            alone = opened.score(pairs[i : i + 1], rater, idiosyncratic=idiosyncratic)
            assert abs(alone.loc[rater, 0] - together.loc[rater, i]) < TOLERANCE
            assert exact.score(pairs[i : i + 1], rater, idiosyncratic=idiosyncratic).loc[rater, 0] == bits.loc[rater, i]
    pd.testing.assert_frame_equal(bits, together, rtol=0, atol=TOLERANCE)


def test_what_is_computed_alone_is_the_same_to_the_bit(run):
    exact = raterhf.open(run, deterministic=True)
    for rater in ("new", "none"):
        together = exact.sample(PROMPTS[:5], rater, n=3)
        assert [answer for prompt in PROMPTS[:5] for answer in exact.sample(prompt, rater, n=3)] == together
        pairs = [(answer.prompt, answer.completion or "1") for answer in together]
        bits = exact.log_probs(pairs, "ann")
        assert bits.tolist() == [exact.log_probs([pair], "ann")[0] for pair in pairs]
    assert said(raterhf.open(run).sample(PROMPTS[:5], "none", n=3)) == said(together)


def test_the_command_line_computes_alone_where_told(run, answers):
    ask = ("sample", run, "-n", 2, "--deterministic", "--prompt")
    (first, second), whole = (
        (rows_of(succeeds(*ask, prompt)) for prompt in PROMPTS[:2]),
        rows_of(succeeds(*ask, PROMPTS[0], "--prompt", PROMPTS[1])),
    )
    assert whole == first + second
    assert succeeds("score", run, answers, "--raters", "ann", "--deterministic")


def test_what_evaluation_asks_is_the_same_in_any_company(run):
    asked = load_rater_policy("rater_new", run / "policy", "new", 48, 6, min_p=0.05)
    raters = asked.raters(5, seed=1)
    assert [r.id for r in asked.raters(2, seed=1)] == [r.id for r in raters[:2]]
    pairs = [(prompt, rater) for rater in raters for prompt in PROMPTS]
    contexts = [asked.renderer.example(prompt, "1 2").ids[:-1] for prompt, _ in pairs]

    def everything(rows: list[int]) -> list:
        prompts, who = [pairs[i][0] for i in rows], [pairs[i][1] for i in rows]
        answers, ended = asked.answer(prompts, who, 2), asked.go_on([contexts[i] for i in rows], who, 2)
        return list(zip(answers, ended, vote_chances(asked, [pairs[i] for i in rows], 2).tolist(), strict=True))

    whole = everything(list(range(len(pairs))))
    some = list(range(50, 3, -7))
    assert everything(some) == [whole[i] for i in some]
    assert len({chance for *_, chance in whole}) == len(pairs)


def test_the_first_answers_of_an_evaluation_are_those_of_a_smaller_one(run):
    asked = load_rater_policy("rater_new", run / "policy", "new", 48, 6)
    questions = [Said(f"q{i}", "odd", None, prompts=PROMPTS[i : i + 2]) for i in range(3)]
    many, few = (Interview({"rater_new": asked}, questions, draws=n).answers("rater_new", questions[0]) for n in (9, 4))
    assert many.examples[:4] == few.examples and many.texts[:4] == few.texts
    raters = asked.raters(5, 0)
    many, few = (ask_questions(asked, raters[:n], questions, np.random.default_rng(0))[1][2] for n in (5, 2))
    assert many[:6] == few


def test_candidates_of_training_are_the_same_in_any_company(run):
    policy, tokenizer, _ = load_policy(run / "policy")
    asked = RaterPolicy("policy", policy, raterhf.open(run).policy.renderer, load_pool(run / "policy"), "new", 6)
    sampler = Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, 6)
    raters = asked.batch(asked.raters(4, 0))
    heads = [[asked.renderer.prompt(prompt)] * 4 for prompt in PROMPTS]
    pools = candidates(sampler, heads, raters, 8, seed=5)
    assert candidates(sampler, heads[::-1], raters, 8, seed=5) == pools[::-1]
    assert [candidates(sampler, [head], raters, 8, seed=5)[0] for head in heads] == pools
    # as RLOO samples: several of each rater, whose first are the same with fewer samples and fewer raters
    prompts = [head[0] for head in heads[:4] for _ in range(3)]
    groups = sampler.generate(prompts, raters.repeat_each(3), 6)
    assert sampler.generate([head[0] for head in heads[:2]], raters[[0, 1]], 6) == groups[:6:3]
    assert len(set(groups)) > 4


def test_nobody_answers_each_time_anew(run):
    policy, tokenizer, _ = load_policy(run / "policy")
    sampler = Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, 6)
    drawn = sampler.generate([(5, 6, 7)] * 40, RaterBatch.nobody(40), 0)
    assert len(set(drawn)) > 10
    assert sampler.generate([(5, 6, 7)] * 7, RaterBatch.nobody(7), 0) == drawn[:7]


def test_a_reward_function_draws_its_rater_for_each_prompt_in_any_order(run):
    def rewards(prompts: list[str]) -> dict[str, float]:
        found = raterhf.open(run).reward_function("new", seed=1)(prompts=prompts, completions=["1"] * len(prompts))
        return dict(zip(prompts, found))

    whole = rewards(PROMPTS)
    assert rewards(PROMPTS[::-1]) == pytest.approx(whole, abs=TOLERANCE)
    assert rewards(PROMPTS[4:5]) == pytest.approx({PROMPTS[4]: whole[PROMPTS[4]]}, abs=TOLERANCE)
    assert torch.tensor(list(whole.values())).unique().numel() == len(PROMPTS)
