"""A session's scores are those of scoring the completions anew, and it reads new tokens alone."""

import pytest
import torch
from transformers import AutoConfig, AutoModel

from raterhf.data.example import Example
from raterhf.engine.scorer import Scorer
from raterhf.engine.session import Session
from raterhf.errors import UserError
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPTS = [(5, 6, 7), (8, 9), (5, 6, 7), (5, 6, 7)]
# Completions grow by unequal steps; the last rests twice.
STEPS = [[(11,), (12, 13), (14,), (15, 16, 17)], [(21, 22), (23,), (24, 25, 26), ()], [(31,), (32,), (33, 34), ()]]
VECTORS = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
NULL = torch.tensor([False, False, True])


def model_of(conditioning: str | None) -> RewardModel:
    """Two soft tokens a rater, a vocabulary of 50."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "qwen3", vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, max_position_embeddings=32, initializer_range=0.3,
    )  # fmt: skip
    return RewardModel(AutoModel.from_config(config, dtype=torch.float32), 4 if conditioning else 0, 2, conditioning or "head").eval()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("budget", [1, 20, 8192])
@pytest.mark.parametrize("conditioning", ["prefix", "suffix", "head", None])
def test_scores_are_those_of_the_completions_as_they_stand(conditioning, budget, device):
    scorer = Scorer(model_of(conditioning).to(device), token_budget=budget)
    raters = RaterBatch(VECTORS.to(device), NULL.to(device)) if conditioning else RaterBatch.nobody(1)
    session, texts = Session(scorer, PROMPTS, raters), list(PROMPTS)
    for step in STEPS:
        texts = [text + new for text, new in zip(texts, step)]
        examples = [Example(text, len(prompt)) for text, prompt in zip(texts, PROMPTS)]
        with torch.no_grad():
            expected = scorer.matrix(examples, raters)
        torch.testing.assert_close(session.extend(step), expected, rtol=0, atol=2e-5)


def test_new_tokens_alone_are_read():
    read = {}
    for conditioning in ("prefix", "suffix", "head"):
        session = Session(Scorer(model_of(conditioning)), PROMPTS, RaterBatch(VECTORS, NULL))
        before = session.tokens_read
        session.extend(STEPS[0])
        read[conditioning] = (before, session.tokens_read - before)
    # Prompts of 3 and 2 tokens; 7 new tokens; 2 soft tokens of 3 raters, before the prompts or after 4 completions.
    assert read == {"prefix": (3 * (2 + 5), 3 * 7), "suffix": (5, 7 + 12 * 2), "head": (5, 7)}


def test_mistakes():
    session = Session(Scorer(model_of("head")), PROMPTS[:2], RaterBatch(VECTORS, NULL))
    for prompts, says in (([], "no prompts"), ([(1, 2), ()], "example 2 has 0 prompt tokens"), ([(50,)], "outside 0 to 49"),
                          ([(1,) * 32], "example 1 has 33 tokens, the model's window 32")):  # fmt: skip
        with pytest.raises(UserError, match=says):
            Session(session.scorer, prompts, RaterBatch(VECTORS, NULL))
    with pytest.raises(UserError, match="1 continuations for 2 completions"):
        session.extend([(1,)])
    with pytest.raises(UserError, match="example 2 has 2 prompt tokens of 2: both parts need a token"):
        session.extend([(1,), ()])
    with pytest.raises(UserError, match="example 1 has token ids outside 0 to 49"):
        session.extend([(50,), (3,)])
    assert session.extend([(1,), (3,)]).shape == (3, 2)


def test_a_session_goes_in_and_out_of_inference_mode():
    session, plain = (Session(Scorer(model_of("prefix")), PROMPTS, RaterBatch(VECTORS, NULL)) for _ in range(2))
    with torch.inference_mode():
        session.extend(STEPS[0])
    for step in STEPS[1:]:
        found = session.extend(step)
    for step in STEPS:
        expected = plain.extend(step)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("conditioning", ["prefix", "suffix", "head", None])
@pytest.mark.parametrize("where", [0, 1])
def test_a_step_that_fails_leaves_the_session_as_it_was_and_memory_is_asked_for_half_once(conditioning, where):
    model, raters = model_of(conditioning), RaterBatch(VECTORS, NULL) if conditioning else RaterBatch.nobody(1)
    session, plain = (Session(Scorer(model, 20), PROMPTS, raters) for _ in range(2))
    before = plain.extend(STEPS[0])
    session.extend(STEPS[0])
    failures = iter([True, True, True])

    def fail(*_):
        if next(failures, False):
            raise torch.OutOfMemoryError("out of memory")

    model.backbone.layers[where].mlp.register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):  # at both budgets
        session.extend(STEPS[1])
    rested = session.extend([()] * 4) if conditioning != "suffix" else before  # suffix reads raters then: its third failure is below
    torch.testing.assert_close(rested, before, rtol=0, atol=2e-5)
    # The third failure: half of the budget does.
    found = session.extend(STEPS[1])
    assert next(failures, None) is None
    torch.testing.assert_close(found, plain.extend(STEPS[1]), rtol=0, atol=2e-5)


def test_what_is_refused_or_no_number_leaves_the_session_as_it_was():
    for conditioning in ("prefix", "suffix", "head", None):
        model, raters = model_of(conditioning), RaterBatch(VECTORS, NULL) if conditioning else RaterBatch.nobody(1)
        session = Session(Scorer(model), PROMPTS[:2], raters)
        before = session.extend([(11,), (12,)])
        model.backbone.embed_tokens.weight.data[20] = float("nan")
        with pytest.raises(UserError, match="example 2 has no score"):
            session.extend([(13,), (20,)])
        torch.testing.assert_close(session.extend([(), ()]), before, rtol=0, atol=2e-5)


def test_to_the_bit_is_not_promised():
    with pytest.raises(UserError, match="deterministic=True"):
        Session(Scorer(model_of("head"), deterministic=True), PROMPTS, RaterBatch(VECTORS, NULL))


def test_what_asks_for_its_keys_twice_has_no_session():
    config = AutoConfig.for_model("diffllama", vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
                                  num_attention_heads=4, num_key_value_heads=2)  # fmt: skip
    model = RewardModel(AutoModel.from_config(config), 0, 0).eval()
    with pytest.raises(UserError, match="layer 0 reads keys several times at each token"):
        Session(Scorer(model), PROMPTS, RaterBatch.nobody(0))
