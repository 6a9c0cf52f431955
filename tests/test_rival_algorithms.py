"""Rivals of rewording that are conditioned on raters: their losses and choices by hand, and each trained to its end and resumed exactly."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_training import FORWARD_KL, assert_same_weights, copy_before, interrupt, weights
from test_training import data as data  # fixtures
from test_training import done as done
from torch import nn

from raterhf.data.comparisons import ComparisonData
from raterhf.data.example import Example
from raterhf.errors import UserError
from raterhf.raters.batch import RaterBatch
from raterhf.raters.space import PrefixReader
from raterhf.recipe import PolicySettings
from raterhf.run import open_run
from raterhf.training import losses, pipeline
from raterhf.training.algorithms import dpo, feedme, rating_conditioned
from raterhf.training.algorithms.base import Round, Start

pytestmark = pytest.mark.usefixtures("one_thread")
EOS, PROMPT = 9, (0, 0)
DPO = FORWARD_KL | {"algorithm": "dpo", "options": {"nobody": 0.3}}
FEEDME = FORWARD_KL | {"algorithm": "feedme"}
RATED = FORWARD_KL | {"algorithm": "rating_conditioned", "options": {"ratings": 3}}


@pytest.mark.parametrize("settings", [DPO, FEEDME, RATED], ids=lambda settings: settings["algorithm"])
def test_trained_to_its_end_interrupted_or_not(done, tmp_path, monkeypatch, settings):
    policy = {"policy": PolicySettings(**settings)}
    whole = copy_before(done, "policy", tmp_path / "whole", **policy)
    pipeline.train(whole)
    parts = copy_before(done, "policy", tmp_path / "parts", **policy)
    with monkeypatch.context() as patched:
        interrupt(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train(parts)
    pipeline.train(parts)
    assert_same_weights(whole.folder / "policy", parts.folder / "policy")
    before, after = weights(done.folder / "sft"), weights(whole.folder / "policy")
    # What is saved is a policy as any other, and not what imitation was.
    assert before.keys() == after.keys() and any(not torch.equal(before[key], after[key]) for key in before)
    assert len(open_run(whole.folder).sample("Flip a coin.", "new", 2, max_new_tokens=3)) == 2


def test_the_loss_of_a_preference_by_hand():
    found = losses.preference_loss(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0]), 0.5)
    assert torch.allclose(found, torch.tensor([math.log1p(math.exp(-1)), math.log(2)]))


def compared(labels: list[int]) -> ComparisonData:
    examples = [Example((*PROMPT, i, EOS), 2) for i in range(4)]
    n = len(labels)
    numbers = np.arange(n)
    return ComparisonData(examples, np.zeros(n, np.int64), np.full(n, 3), np.array(labels), numbers, np.zeros(n, np.int64))


def make_start(samples: int = 4, vectors: list[float] = [1.0, -1.0], **fields) -> Start:  # noqa: B006
    objective = SimpleNamespace(
        pool=SimpleNamespace(
            encoding="embedding", vectors=np.array(vectors, np.float32)[:, None], known=["a"], by_id=lambda rater: SimpleNamespace(text="")
        ),
        scores=lambda examples, raters: torch.tensor([float(e.ids[2]) for e in examples]) * raters.vectors[:, 0],
    )
    settings = SimpleNamespace(beta=0.5, samples=samples, prompts=1, raters=len(vectors), batch_size=64, steps=8)
    return Start(fields.pop("policy", None), objective, fields.pop("sampler", None), None, None, [], settings, 0, None, **fields)


def test_dpo_reads_what_was_chosen_first_and_no_ties():
    algorithm = dpo.DPO(make_start(vectors=[1.0, 2.0, 4.0], compared=compared([1, 0, -1])), dpo.Settings(nobody=0.0, noise=0.0))
    batch = algorithm.batch(0)
    chosen, rejected = ([e.ids[2] for e in batch.examples[part]] for part in (slice(32), slice(32, 64)))
    taste = batch.raters.vectors[:, 0].tolist()
    assert set(zip(taste, chosen, rejected)) == {(1.0, 0, 3), (4.0, 3, 0)} and not batch.raters.null.any()
    # A function of the step; under noise and dropping of its own.
    assert batch.examples == algorithm.batch(0).examples != algorithm.batch(1).examples
    other = dpo.DPO(make_start(vectors=[1.0, 2.0, 4.0], compared=compared([1, 0, -1])), dpo.Settings(nobody=0.5)).batch(0)
    assert 8 < other.raters.null.sum() < 24 and len(set(other.raters.vectors[:, 0].tolist())) == 32


def test_dpo_of_a_policy_that_is_the_reference_is_log_two(done, tmp_path, monkeypatch):
    from raterhf.training.stages import policy as stage

    found = []
    recipe = copy_before(done, "policy", tmp_path, policy=PolicySettings(**DPO | {"replay": 0.0}))
    monkeypatch.setattr(stage, "fit", lambda module, batch, *_, **__: found.append(module.algorithm.loss(batch(0), 0)))
    pipeline.train(recipe)
    loss, log = found[0]
    assert float(loss.detach()) == pytest.approx(math.log(2), abs=1e-5) and float(log["reward_margin"]) == pytest.approx(0, abs=1e-5)


def test_dpo_needs_something_that_was_decided():
    with pytest.raises(UserError, match="comparisons that are no ties"):
        dpo.DPO(make_start(compared=compared([0, 0])), dpo.Settings())


class Says:
    """A sampler that says 1, 2, 3, ... in turn."""

    eos_id = EOS

    def generate(self, prompts, raters, seed) -> list[Example]:
        return [Example((*prompt, 1 + i % 4, EOS), len(prompt)) for i, prompt in enumerate(prompts)]

    def check_room(self, prompts) -> None:
        pass


def ask(start: Start, null: list[bool]) -> None:
    vectors = torch.tensor(start.objective.pool.vectors)
    asked = Round([[PROMPT] * len(vectors)], RaterBatch(vectors, torch.tensor(null)), np.random.default_rng(0))
    object.__setattr__(start, "ask", lambda step, salt: asked)


def test_feedme_takes_the_best_of_all_raters_samples():
    """Who likes what is said twice as much has the best ones; best_of_n would give each rater two."""
    start = make_start(vectors=[1.0, 2.0], sampler=Says())
    ask(start, [False, False])
    found = feedme.best_rated(start, feedme.Settings(choices=2), 0)
    assert sorted((float(v), e.ids[2]) for v, e in zip(found.raters.vectors, found.examples)) == [(1.0, 4), (2.0, 2), (2.0, 3), (2.0, 4)]
    assert found.log["reward"] == (4 + 4 + 6 + 8) / 4 and found.log["reward_before"] == 2.5 * 1.5
    with pytest.raises(UserError, match="choices is 5, and each rater has policy.samples=4"):
        feedme.make(start, feedme.Settings(choices=5))


def test_a_rating_is_the_part_of_its_row_that_a_score_lies_in():
    score = torch.tensor([[3.0, 1, 2, 4], [0, 0, 0, 0]])
    assert rating_conditioned.quantiles(score, 2).tolist() == [[1, 0, 0, 1], [0, 0, 1, 1]]
    assert rating_conditioned.quantiles(score, 4).tolist() == [[2, 0, 1, 3], [0, 1, 2, 3]]


def test_all_samples_are_imitated_under_their_ratings_and_nobodys_best_alone():
    reader = PrefixReader(1, 2, 4, 0.1)
    start = make_start(sampler=Says(), policy=SimpleNamespace(reader=reader))
    ask(start, [False, True])
    found = rating_conditioned.RatingConditioned(start, rating_conditioned.Settings(ratings=2)).rate(2, 0)
    rows = [(e.ids[2], *v.tolist()) for e, v in zip(found.examples, found.raters.vectors)]
    # The second is nobody, who would have liked 1 and 2 best by the vector that is not read in earnest.
    assert rows == [(1, 1, 1, 0), (2, 1, 1, 0), (3, 1, 0, 1), (4, 1, 0, 1), (1, -1, 0, 1), (2, -1, 0, 1)]
    assert found.raters.null.tolist() == [False] * 4 + [True] * 2


def test_the_best_rating_adds_nothing_to_what_is_read():
    torch.manual_seed(0)
    reader = PrefixReader(1, 2, 4, 0.1)
    rated = rating_conditioned.RatedReader(reader, nn.Parameter(torch.ones(1, 8)))
    plain = reader(RaterBatch.people(torch.tensor([[0.5]])))
    best, worse = rated(RaterBatch.people(torch.tensor([[0.5, 0, 1], [0.5, 1, 0]])))
    assert torch.allclose(best, plain[0]) and torch.allclose(worse, plain[0] + reader.scale)
