"""Favourites: what raters would choose among the data's completions."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from raterhf.data.comparisons import ComparisonData
from raterhf.data.example import Example
from raterhf.errors import UserError
from raterhf.raters.batch import RaterBatch
from raterhf.training.algorithms.base import Round, Start
from raterhf.training.algorithms.favourites import Favourites, Settings
from raterhf.training.stages.policy import completions_of

PROMPT, NAMED, EOS = (0, 0), (7, 0, 0), 9
SAID = {PROMPT: [(1, 1, EOS), (2, 2, EOS)]}


def make_start(said, noise: float = 0.0, gain: float = 1.0, beta: float = 1.0) -> Start:
    """Raters of taste 1 like the first completion, those of -1 the second; their texts stand before the prompt."""

    def scores_for(examples):
        sign = torch.tensor([1.0 if e.ids[2] == 1 else -1.0 for e in examples])
        return lambda raters: gain * raters.taste(1) * sign

    generator = torch.Generator().manual_seed(0)

    def draw(texts, keys, idiosyncratic):
        uniform = torch.rand(len(keys), len(texts), generator=generator)
        return -noise * torch.log(-torch.log(uniform))

    objective = SimpleNamespace(
        scorer=SimpleNamespace(model=SimpleNamespace(idiosyncratic=None), scores_for=scores_for, device=torch.device("cpu")),
        noise=draw,
        seed=0,
    )
    settings = SimpleNamespace(beta=beta)
    return Start(None, objective, None, None, None, [], settings, 0, ComparisonData.nothing(), True, lambda: said)


def chosen(start: Start, tastes: list[float], prompt=PROMPT, **options) -> list[Example]:
    vectors = torch.tensor(tastes)[:, None]
    heads = [NAMED if i else prompt for i in range(len(tastes))]
    asked = Round([heads], RaterBatch.people(vectors), np.random.default_rng(0), [prompt])
    object.__setattr__(start, "ask", lambda step, salt: asked)
    return Favourites(start, Settings(**options))(0)


def test_each_rater_chooses_what_they_like_best_under_their_own_prompt():
    found = chosen(make_start(SAID), [1, -1], choices=2)
    assert [e.ids for e in found.examples] == [PROMPT + (1, 1, EOS), NAMED + (2, 2, EOS)] * 2
    assert found.raters.taste(1)[:, 0].tolist() == [1, -1, 1, -1]
    assert (found.log["reward"], found.log["candidates"]) == (1.0, 2.0)


def test_all_choices_but_the_first_are_imitated_by_their_opening():
    found = chosen(make_start(SAID), [1, -1], choices=2, opening=1)
    assert [e.ids[e.prompt_length :] for e in found.examples] == [(1, 1, EOS), (2, 2, EOS), (1,), (2,)]


def test_choices_are_as_frequent_as_the_softmax_of_the_scores():
    """Scores of 1/2 and -1/2: the first is chosen by 1 / (1 + 1/e) of the times, .731."""
    found = chosen(make_start(SAID, noise=1.0, gain=0.5), [1.0], choices=4000)
    assert np.mean([e.ids[2] == 1 for e in found.examples]) == pytest.approx(0.731, abs=0.02)


def test_a_small_beta_comes_nearer_to_what_is_liked_best():
    """At half of it scores count twice: 1 and -1, and the first is chosen by 1 / (1 + 1/e^2), .881."""
    found = chosen(make_start(SAID, noise=1.0, gain=0.5, beta=0.5), [1.0], choices=4000)
    assert np.mean([e.ids[2] == 1 for e in found.examples]) == pytest.approx(0.881, abs=0.02)


def test_a_prompt_that_only_validation_raters_answered_is_left_out():
    start = make_start(SAID | {(5, 5): [(1, EOS)]})
    assert len(chosen(start, [1], choices=1).examples) == 1
    vectors = torch.ones(1, 1)
    asked = Round([[(8,)], [PROMPT]], RaterBatch.people(vectors), np.random.default_rng(0), [(8,), PROMPT])
    object.__setattr__(start, "ask", lambda step, salt: asked)
    assert len(Favourites(start, Settings(choices=1))(0).examples) == 1


def test_where_no_prompt_has_two_completions_the_remedy_is_named():
    with pytest.raises(UserError, match="no prompt has two; use reword or forward_kl"):
        Favourites(make_start({PROMPT: [(1, EOS)]}), Settings())


def test_completions_of_each_prompt_are_different_and_in_order():
    rows = [Example(PROMPT + (2, EOS), 2), Example(PROMPT + (1, EOS), 2), Example(PROMPT + (2, EOS), 2), Example((5, 1, EOS), 1)]
    assert completions_of(rows) == {PROMPT: [(2, EOS), (1, EOS)], (5,): [(1, EOS)]}
