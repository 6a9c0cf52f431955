"""What a plan shares, counted by hand; and that running it gives each score whatever the plan is."""

import numpy as np
import pytest
import torch

from raterhf.data.example import Example, collate
from raterhf.engine import passes
from raterhf.engine.plan import plan
from raterhf.engine.scorer import Scorer, next_token_distributions
from raterhf.errors import UserError
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPT, OTHER = (5, 6, 7, 8, 9), (5, 6)
THREE, TWO = (10, 11, 2), (12, 2)
EXAMPLES = [Example(PROMPT + THREE, 5), Example(PROMPT + TWO, 5)]
CONFIG = {"model_type": "qwen3", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
          "num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": True, "initializer_range": 0.3}  # fmt: skip
CONDITIONINGS = ["prefix", "suffix", "head"]


def jury(conditioning: str, n_raters: int, budget: int = 10_000):
    """Every rater on both examples, two soft tokens each."""
    rater = None if conditioning == "head" else np.repeat(np.arange(n_raters), 2)
    return plan(EXAMPLES * n_raters, rater, conditioning, 2, budget)


@pytest.mark.parametrize(
    ("conditioning", "tokens", "naive"),
    [
        # 3 raters, prompt 5, completions 3 and 2, soft tokens 2
        ("prefix", 3 * (2 + 5 + 3 + 2), 3 * (2 + 5 + 3) + 3 * (2 + 5 + 2)),
        ("suffix", 5 + (3 + 3 * 2) + (2 + 3 * 2), 3 * (2 + 5 + 3) + 3 * (2 + 5 + 2)),
        ("head", 5 + 3 + 2, 3 * (5 + 3) + 3 * (5 + 2)),
    ],
)
def test_tokens_of_a_jury(conditioning, tokens, naive):
    found = jury(conditioning, 3)
    assert (len(found.passes), found.tokens, found.naive_tokens) == (1, tokens, naive)
    assert found.gain == pytest.approx(naive / tokens)


def test_what_is_wanted_twice_is_read_once():
    found = plan([EXAMPLES[0], EXAMPLES[1], EXAMPLES[0]], [4, 4, 4], "suffix", 2, 100)
    assert found.path.tolist() == [0, 1, 0]
    assert found.tokens == 5 + (3 + 2) + (2 + 2)


def test_a_sparse_jury_costs_its_pairs():
    assert plan(EXAMPLES, [0, 1], "suffix", 2, 100).tokens == 5 + (3 + 2) + (2 + 2)
    assert plan(EXAMPLES, [0, 1], "prefix", 2, 100).tokens == (2 + 5 + 3) + (2 + 5 + 2)


def test_a_pass_that_begins_inside_a_branch_reads_its_beginning_again():
    found = jury("suffix", 3, budget=12)
    # 5 + 3 + 2 raters; 5 + 3 + 1 rater, then completion 2 would need 5 + 3 + 2 + 2 + 2 > 12; 5 + 2 + 2 raters; 5 + 2 + 1 rater
    assert [sum(2 if isinstance(s, int) else len(s) for s in part.segments) for part in found.passes] == [12, 10, 11, 9]
    assert sorted(n for part in found.passes for n in part.paths) == list(range(6))


def test_padding_counts_masked_pairs():
    # One text of 5 + 3 tokens: attention computes 5 x 5 and 3 x 8 pairs, of which 15 and 6 + 15 are read.
    assert plan(EXAMPLES[:1], None, "head", 0, 100).padding == pytest.approx(1 - 36 / 49)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a b c"], 300)


@pytest.fixture(params=CONDITIONINGS)
def scorer(request, tokenizer):
    lm = build_model(CONFIG, tokenizer, 64, seed=0)
    return Scorer(RewardModel(lm.get_decoder(), 3, 2, request.param).eval().requires_grad_(False))


def some_examples(n: int = 12) -> list[Example]:
    rng = np.random.default_rng(0)
    draw = [tuple(rng.integers(3, 200, size=rng.integers(1, 9)).tolist()) for _ in range(n)]
    return [Example((PROMPT if i % 2 else OTHER) + text, 5 if i % 2 else 2) for i, text in enumerate(draw)]


def some_raters(n: int) -> RaterBatch:
    return RaterBatch(torch.randn(n, 3, generator=torch.Generator().manual_seed(2)), torch.arange(n) == n - 1)


def test_chosen_pairs_are_entries_of_the_matrix(scorer):
    examples, raters = some_examples(), some_raters(4)
    rater = torch.arange(12) * 7 % 4
    matrix = scorer.matrix(examples, raters)
    torch.testing.assert_close(scorer.pairs(examples, raters, rater), matrix[rater, torch.arange(12)], rtol=0, atol=1e-5)


def test_deterministic_scores_do_not_depend_on_company(scorer):
    examples, raters = some_examples(), some_raters(4)
    alone = Scorer(scorer.model, deterministic=True)
    matrix = alone.matrix(examples, raters)
    assert torch.equal(alone.matrix(examples[3:5], raters[1:]), matrix[1:, 3:5])
    torch.testing.assert_close(scorer.matrix(examples, raters), matrix, rtol=0, atol=1e-5)


def test_gradients_are_those_of_one_sequence_at_a_time(scorer):
    model, examples, raters = scorer.model.requires_grad_(True), some_examples(), some_raters(12)
    vectors = raters.vectors.requires_grad_(True)
    found = []
    for scores in (scorer.pairs(examples, raters), model(collate(examples, 0), raters)):
        model.zero_grad()
        vectors.grad = None
        (scores * torch.arange(12)).sum().backward()
        found.append(torch.cat([vectors.grad.flatten(), *[p.grad.flatten() for p in model.parameters() if p.grad is not None]]))
    assert found[1].norm() > 0.1
    torch.testing.assert_close(*found, rtol=0, atol=float(1e-5 * found[1].norm()))


def test_out_of_memory_is_tried_again_once_with_half_the_budget(scorer, monkeypatch):
    examples, raters = some_examples(), some_raters(4)
    expected, real, sizes = scorer.matrix(examples, raters), passes.hidden_states, []

    def short_of_memory(limit: int):
        def run(backbone, inputs, forest, *cached):
            sizes.append(len(inputs))
            if len(inputs) > limit:
                raise torch.OutOfMemoryError("full")
            return real(backbone, inputs, forest, *cached)

        return run

    monkeypatch.setattr(passes, "hidden_states", short_of_memory(30))
    smaller = Scorer(scorer.model, token_budget=50)
    torch.testing.assert_close(smaller.matrix(examples, raters), expected, rtol=0, atol=1e-5)
    assert 30 < max(sizes) <= 50 and sizes[-1] <= 25
    monkeypatch.setattr(passes, "hidden_states", short_of_memory(0))
    with pytest.raises(torch.OutOfMemoryError):
        smaller.matrix(examples, raters)


@pytest.mark.parametrize(
    ("example", "says"),
    [
        (Example(PROMPT, 5), "example 2 has 5 prompt tokens of 5: both parts need a token"),
        (Example(TWO, 0), "example 2 has 0 prompt tokens of 2"),
        (Example(PROMPT * 30, 5), "example 2 has 150 tokens, the model's window 128; shorten it"),
        (Example((5, 999), 1), "example 2 has token ids outside 0 to "),
        (Example((5, -1), 1), "example 2 has token ids outside 0 to "),
    ],
)
def test_what_cannot_be_scored_is_named_before_anything_runs(scorer, example, says, monkeypatch):
    monkeypatch.setattr(passes, "hidden_states", lambda *_: pytest.fail("something ran"))
    with pytest.raises(UserError, match=says):
        scorer.matrix([EXAMPLES[0], example], some_raters(2))


def test_log_probabilities_in_chunks_are_the_same_with_their_gradients(tokenizer, monkeypatch):
    lm_head = torch.nn.Linear(8, 40, bias=False)
    said = torch.arange(10)
    found = []
    for size in (2**26, 3 * 40):
        monkeypatch.setattr("raterhf.engine.scorer.CHUNK_LOGITS", size)
        states = torch.randn(10, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
        log_prob, entropy = next_token_distributions(lm_head, 40, states, said)
        (log_prob.sum() + 2 * entropy.sum()).backward()
        found.append((log_prob.detach(), entropy.detach(), states.grad))
    for one, other in zip(*found):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
