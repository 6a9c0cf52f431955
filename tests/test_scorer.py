"""One place scores: the same numbers whatever the batching, the padding side, the order, or a round trip through the disk."""

import itertools
import math

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LogitsProcessorList, MinPLogitsWarper

from raterhf.data.example import Example, collate
from raterhf.data.renderer import Renderer
from raterhf.engine.sampler import Sampler
from raterhf.engine.scorer import Scorer, completion_log_probs
from raterhf.errors import UserError
from raterhf.models import draw as drawing
from raterhf.models.checkpoint import load_policy, load_reward, save_policy, save_reward
from raterhf.models.draw import draw, sample_keys
from raterhf.models.idiosyncratic import gumbel_of_normal, make_idiosyncratic
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.policy import Policy
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import RaterPool

# Float32 on different paddings: published as the tolerance of scores and log-probabilities.
TOLERANCE = 2e-5
DIM, OWN = 3, 32
CONFIG = {
    "model_type": "qwen3", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": True, "initializer_range": 0.3,
}  # fmt: skip
PROMPTS = ["Pick a colour.", "Name a town that you would like to see.", "Roll a die."]
ANSWERS = ["red", "My answer is blue.", "maybe green, maybe not", "4", "a much longer answer that goes on for a while.", "no"]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(PROMPTS + ANSWERS, 320)


@pytest.fixture(scope="module")
def examples(tokenizer) -> list[Example]:
    """Eighteen of mixed lengths, the last two the same as the first two."""
    renderer = Renderer(tokenizer, 64)
    return [renderer.example(p, a) for a in ANSWERS for p in PROMPTS][:16] + [renderer.example(p, ANSWERS[0]) for p in PROMPTS[:2]]


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    return torch.randn(18, DIM + OWN, generator=torch.Generator().manual_seed(1))


NULL = torch.arange(18) % 6 == 5


def make_reward(tokenizer, conditioning: str | None) -> RewardModel:
    """`conditioning` None: a model without raters, as under the encodings `none` and `text`."""
    lm = build_model(CONFIG, tokenizer, 64, seed=0)
    model = RewardModel(
        lm.get_decoder(),
        DIM if conditioning else 0,
        4,
        conditioning or "head",
        make_idiosyncratic(OWN if conditioning else 0, lm, tokenizer),
    )
    with torch.no_grad():
        model.scale.fill_(1.7)
        if model.idiosyncratic:
            model.idiosyncratic.persistence.copy_(0.1 * torch.randn(len(model.idiosyncratic.persistence)))
            model.idiosyncratic.question.copy_(torch.randn(model.idiosyncratic.question.shape))
    return model.eval()


def make_policy(tokenizer, dim: int = DIM, idiosyncratic_dim: int = OWN) -> Policy:
    lm = build_model(CONFIG, tokenizer, 64, seed=1)
    return Policy(lm, dim, 4, make_idiosyncratic(idiosyncratic_dim if dim else 0, lm, tokenizer)).eval()


def soft(model: RewardModel, vectors: torch.Tensor) -> RaterBatch:
    return RaterBatch.nobody(len(vectors)) if model.reader is None else RaterBatch(vectors[:, :DIM], NULL)


def in_chunks(run, n: int, size: int) -> torch.Tensor:
    return torch.cat([run(slice(i, i + size)) for i in range(0, n, size)])


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=TOLERANCE)


@pytest.fixture(params=["prefix", "suffix", "head", None])
@torch.no_grad()
def scored(request, tokenizer, examples, vectors):
    """A reward model and its scores, one example at a time and without padding."""
    model = make_reward(tokenizer, request.param)
    raters = soft(model, vectors)
    alone = torch.cat([model(collate([e], 0), raters[i : i + 1]) for i, e in enumerate(examples)])
    assert alone.std() > 100 * TOLERANCE
    return model, alone


@torch.no_grad()
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("size", [1, 3, 8, 18])
def test_scores_do_not_move_with_batch_size_and_padding_side(scored, examples, vectors, tokenizer, size, side):
    model, alone = scored
    raters = soft(model, vectors)

    def run(rows: slice) -> torch.Tensor:
        batch = collate(examples[rows], tokenizer.pad_token_id, side)
        return model(batch, raters[rows])

    assert_close(in_chunks(run, 18, size), alone)


@torch.no_grad()
@pytest.mark.parametrize("budget", [1, 40, 150, 8192])
def test_scores_do_not_move_with_the_token_budget(scored, examples, vectors, tokenizer, budget):
    model, alone = scored
    assert_close(Scorer(model, budget).pairs(examples, soft(model, vectors)), alone)


@torch.no_grad()
def test_scores_do_not_move_with_order_and_duplicates(scored, examples, vectors, tokenizer):
    model, alone = scored
    order = torch.randperm(18, generator=torch.Generator().manual_seed(2)).repeat(2)
    raters = soft(model, vectors)
    shuffled = raters[order]
    assert_close(Scorer(model, 100).pairs([examples[i] for i in order], shuffled), alone[order])


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("conditioning", ["prefix", "suffix", "head"])
def test_gradients_of_scores_are_the_same_when_layers_are_computed_again(conditioning, reentrant, tokenizer, examples, vectors):
    gradients = []
    for again in (False, True):
        model = make_reward(tokenizer, conditioning).train()
        if again:
            model.backbone.gradient_checkpointing_enable({"use_reentrant": reentrant})
        weight = torch.arange(len(examples), dtype=torch.float32)
        (weight * Scorer(model).pairs(examples, soft(model, vectors))).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert gradients[0].norm() > 1
    torch.testing.assert_close(*gradients, rtol=0, atol=float(1e-5 * gradients[0].norm()))


@torch.no_grad()
def test_pad_that_equals_eos_or_stands_in_the_content_does_not_move_scores(scored, examples, vectors, tokenizer):
    model, alone = scored
    given = [] if model.reader is None else soft(model, vectors)
    # any token may serve as PAD, also one that the examples hold
    for pad in (tokenizer.eos_token_id, examples[0].ids[0]):
        assert_close(model(collate(examples, pad), given), alone)


@torch.no_grad()
def test_matrix_equals_pairs(scored, examples, vectors, tokenizer):
    model, _ = scored
    scorer = Scorer(model, 200)
    raters = soft(model, vectors)
    if model.reader is None:
        matrix = scorer.matrix(examples, RaterBatch.nobody(4))
        assert matrix.shape == (4, 18)
        assert_close(matrix, scorer.pairs(examples, RaterBatch.nobody(18)).expand(4, -1))
        return
    matrix = scorer.matrix(examples, raters[:7])
    assert matrix.shape == (7, 18)
    for k in range(7):
        assert_close(matrix[k], scorer.pairs(examples, raters[[k] * 18]))
    assert (matrix[0] - matrix[1]).abs().max() > 100 * TOLERANCE
    # the null rater has no vector that could matter
    assert_close(scorer.matrix(examples, RaterBatch(raters.vectors[:1] + 9, raters.null[5:6])), matrix[5:6])


@torch.no_grad()
def test_scores_survive_saving(scored, examples, vectors, tokenizer, tmp_path):
    model, alone = scored
    pool = RaterPool([], vectors[:0, :DIM].numpy(), OWN, "embedding")
    save_reward(tmp_path / "reward", model, whole(model, tokenizer), tokenizer, pool, 64, {"report": {}})
    loaded, tokens, header = load_reward(tmp_path / "reward")
    assert header["conditioning"] == model.conditioning and header["max_length"] == 64
    assert_close(Scorer(loaded).pairs(examples, soft(loaded, vectors)), alone)
    if model.reader is not None:
        there, back = (Scorer(m).utility(examples, RaterBatch(vectors, NULL)) for m in (model, loaded))
        assert_close(back, there)


def whole(model: RewardModel, tokenizer):
    lm = build_model(CONFIG, tokenizer, 64, seed=0)
    lm.get_decoder().load_state_dict(model.backbone.state_dict())
    return lm


@torch.no_grad()
@pytest.mark.parametrize("conditioning", ["prefix", "suffix", "head"])
def test_utility_is_score_plus_persistent_noise_which_the_null_rater_has_not(conditioning, examples, vectors, tokenizer):
    model = make_reward(tokenizer, conditioning)
    scorer = Scorer(model)
    utility = scorer.utility(examples, RaterBatch(vectors, NULL))
    score = scorer.matrix(examples, RaterBatch(vectors[:, :DIM], NULL))
    assert_close(utility[NULL], score[NULL])
    features = scorer.prompt_features(examples)
    share = model.idiosyncratic.share(features)
    assert ((0 < share) & (share < 1)).all()
    psi = model.idiosyncratic(examples)
    noise = torch.stack([(model.idiosyncratic.turned(vectors[:, DIM:], f.expand(18, -1)) * p).sum(1) for f, p in zip(features, psi)], 1)
    assert_close((utility - score)[~NULL], (share.sqrt() * gumbel_of_normal(noise))[~NULL])
    assert scorer.utility([], RaterBatch(vectors, NULL)).shape == (len(vectors), 0)
    # two raters of one taste differ in their idiosyncratic taste alone
    twins = torch.cat([vectors[:1, :DIM].expand(2, -1), vectors[:2, DIM:]], 1)
    assert (scorer.utility(examples, RaterBatch(twins, NULL[:2])).diff(dim=0).abs() > 0.01).any()


@torch.no_grad()
def test_idiosyncratic_reads_the_prompt_alone(examples, tokenizer):
    model = make_reward(tokenizer, "head")
    features = Scorer(model).prompt_features(examples)
    for read in (model.idiosyncratic.share(features), model.idiosyncratic.questions(features)[:, 0]):
        assert_close(read[:15].view(5, 3), read[:3].expand(5, 3))
        assert (read[0] - read[1]).abs() > 100 * TOLERANCE


@torch.no_grad()
def test_idiosyncratic_directions_are_unit_and_nearly_orthogonal(tokenizer):
    renderer = Renderer(tokenizer, 64)
    # What all of them share must not count, though it never varies: of ten features a text seven are in every one.
    answers = [f"My answer is {chr(97 + i)}{chr(122 - i)}." for i in range(26)]
    examples = [renderer.example("Pick a colour.", answer) for answer in answers]
    lm = build_model(CONFIG, tokenizer, 64, seed=0)
    noise = make_idiosyncratic(2048, lm, tokenizer)
    noise.weigh(examples)
    psi = noise(examples)
    torch.testing.assert_close(psi.norm(dim=1), torch.ones(26))
    cosine = psi @ psi.T - torch.eye(26)
    assert cosine.abs().max() < 0.4 and cosine.abs().mean() < 0.15
    # the same answer to another prompt is the same direction
    torch.testing.assert_close(noise([renderer.example("Roll a die.", answers[3])])[0], psi[3])


def test_gumbel_of_normal_keeps_the_rank():
    # the median of a Gumbel is -ln ln 2; Phi(1.2815516) = .9, so -ln(-ln .9)
    out = gumbel_of_normal(torch.tensor([0.0, 1.2815516, -40.0, 40.0], dtype=torch.float64))
    expected = [-math.log(math.log(2)), -math.log(-math.log(0.9))]
    torch.testing.assert_close(out[:2], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)
    assert torch.isfinite(out).all() and out[2] < -3 and out[3] > 20


@torch.no_grad()
@pytest.mark.parametrize("dim", [DIM, 0])
def test_log_probs_do_not_move_with_the_budget(dim, examples, vectors, tokenizer):
    policy = make_policy(tokenizer, dim)
    given = RaterBatch(vectors, NULL) if dim else RaterBatch.nobody(len(vectors))
    by_hand = []  # one example at a time, no padding, a plain softmax over every position
    for i, example in enumerate(examples):
        ids = torch.tensor([example.ids])
        inputs = policy.lm.get_input_embeddings()(ids)
        prefix = policy.prefix(given[i : i + 1])
        inputs = inputs if prefix is None else torch.cat([prefix, inputs], 1)
        states = policy.lm.get_decoder()(inputs_embeds=inputs).last_hidden_state[:, -ids.shape[1] :]
        distributions = policy.lm.lm_head(states)[0, example.prompt_length - 1 : -1].log_softmax(-1)
        said = distributions.gather(1, ids[0, example.prompt_length :, None]).sum()
        by_hand.append(torch.stack([said, -(distributions.exp() * distributions).sum()]))
    for budget in (1, 60, 8192):
        found = completion_log_probs(policy, examples, given, budget)
        torch.testing.assert_close(torch.stack(found, 1), torch.stack(by_hand), rtol=1e-5, atol=TOLERANCE)


def prompts_of(examples: list[Example]) -> list[tuple[int, ...]]:
    return [e.prompt.ids for e in examples]


def test_sampling_is_a_function_of_the_seed(examples, vectors, tokenizer):
    sampler = Sampler(make_policy(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id, 5)
    torch.manual_seed(0)
    first = sampler.generate(prompts_of(examples), RaterBatch(vectors, NULL), seed=4)
    torch.manual_seed(99)
    untouched = torch.get_rng_state()
    assert sampler.generate(prompts_of(examples), RaterBatch(vectors, NULL), seed=4) == first
    assert torch.equal(torch.get_rng_state(), untouched)
    assert sampler.generate(prompts_of(examples), RaterBatch(vectors, NULL), seed=5) != first
    for example, prompt in zip(first, prompts_of(examples)):
        assert example.ids[: example.prompt_length] == prompt
        assert 1 <= len(example) - example.prompt_length <= 5
        assert tokenizer.eos_token_id not in example.ids[example.prompt_length : -1]


@torch.no_grad()
@pytest.mark.parametrize("dim", [DIM, 0])
def test_recomputed_log_probs_equal_the_distributions_sampled_from(dim, examples, vectors, tokenizer, monkeypatch):
    policy = make_policy(tokenizer, dim)
    given = RaterBatch(vectors, NULL) if dim else RaterBatch.nobody(len(vectors))
    # make the EOS likely, so that completions end at different places
    policy.lm.lm_head.weight[tokenizer.eos_token_id] *= 2
    key = sample_keys(0, prompts_of(examples), [str(i) for i in range(len(examples))])
    drawn_with: dict[int, list[float]] = {sample: [] for sample in key.tolist()}

    def watched(scores: torch.Tensor, samples: torch.Tensor, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        token, lead = draw(scores, samples, place)
        for sample, said in zip(samples.tolist(), scores.log_softmax(-1).gather(1, token[:, None])[:, 0].tolist()):
            drawn_with[sample].append(said)
        return token, lead

    monkeypatch.setattr(drawing, "draw", watched)
    batch = collate([Example(p, len(p)) for p in prompts_of(examples)], tokenizer.pad_token_id, "left")
    tokens = policy.generate(batch, given, 6, tokenizer.eos_token_id, tokenizer.pad_token_id, key)
    sampler = Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, 6)
    answers = [sampler._until_eos(row) for row in tokens.tolist()]
    assert len({len(a) for a in answers}) > 1
    drawn = torch.tensor([sum(drawn_with[sample][: len(a)]) for sample, a in zip(key.tolist(), answers)])
    sampled = [Example(p + a, len(p)) for p, a in zip(prompts_of(examples), answers)]
    recomputed, _ = completion_log_probs(policy, sampled, given, 100)
    torch.testing.assert_close(recomputed, drawn, rtol=1e-5, atol=5 * TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_samples_that_share_a_prompt_are_those_of_transformers(examples, vectors, tokenizer, temperature, monkeypatch):
    """Two raters, three prompts, several samples of each: what `generate`, which reads every prompt anew, draws by the same noise."""
    policy = make_policy(tokenizer)
    policy.lm.lm_head.weight[tokenizer.eos_token_id] *= 4
    prompts = [p for p in prompts_of(examples)[:3] for _ in range(4)]
    who = RaterBatch(vectors, NULL)[[0, 0, 5, 5] * 3]
    sampler = Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, 6, min_p=0.01)
    order = sorted(range(12), key=lambda i: len(prompts[i]))
    batch = collate([Example(prompts[i], len(prompts[i])) for i in order], tokenizer.pad_token_id, "left")
    soft = policy.prefix(who[order])
    inputs = torch.cat([soft, policy.lm.get_input_embeddings()(batch.ids)], 1)
    mask = torch.cat([batch.mask.new_ones(12, soft.shape[1]), batch.mask], 1).long()
    key = sample_keys(3, prompts, who.identities())[order]
    places = itertools.count(1)
    monkeypatch.setattr(torch, "multinomial", lambda probs, num_samples: draw(probs.log(), key, next(places))[0][:, None])
    expected = policy.lm.generate(
        inputs_embeds=inputs, attention_mask=mask, do_sample=True, temperature=temperature, top_k=0, top_p=1.0,
        logits_processor=LogitsProcessorList([MinPLogitsWarper(0.01)]), max_new_tokens=6, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    found = sampler.generate(prompts, who, seed=3, temperature=temperature)
    answers = {i: sampler._until_eos(row) for i, row in zip(order, expected.tolist())}
    assert [example.ids[example.prompt_length :] for example in found] == [answers[i] for i in range(12)]
    assert len(set(answers.values())) > 3 and len({len(a) for a in answers.values()}) > 1


@torch.no_grad()
def test_greedy_tokens_are_the_most_likely_ones(examples, vectors, tokenizer):
    policy = make_policy(tokenizer)
    sampler = Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, 3)
    prompts = prompts_of(examples)[:6]
    greedy = sampler.generate(prompts, RaterBatch(vectors[:6], NULL[:6]), seed=0, temperature=0)
    cold = sampler.generate(prompts, RaterBatch(vectors[:6], NULL[:6]), seed=1, temperature=1e-4)
    assert greedy == cold
    for i, example in enumerate(greedy):
        for end in range(example.prompt_length, len(example)):
            # log_probs of every one-token completion of what stands before
            heads = [Example((*example.ids[:end], token), end) for token in range(len(tokenizer))]
            log_prob, _ = completion_log_probs(policy, heads, RaterBatch(vectors, NULL)[[i] * len(heads)])
            assert log_prob.argmax() == example.ids[end]
            assert log_prob.exp().sum() == pytest.approx(1, abs=1e-4)


@torch.no_grad()
def test_log_probs_survive_saving(examples, vectors, tokenizer, tmp_path):
    policy = make_policy(tokenizer)
    save_policy(tmp_path / "sft", policy, tokenizer, None, 64, {})
    loaded, tokens, _ = load_policy(tmp_path / "sft")
    there, back = (completion_log_probs(p, examples, RaterBatch(vectors, NULL))[0] for p in (policy, loaded))
    torch.testing.assert_close(back, there, rtol=1e-6, atol=TOLERANCE)


NOBODY = torch.zeros(2, dtype=torch.bool)
TWO, FIRST = torch.zeros(2, DIM), torch.zeros(18, dtype=torch.long)
BAD_RATERS = {
    "no raters": (TWO[:0], NOBODY[:0], FIRST),
    "2 raters for 18 examples; give one for each": (TWO, NOBODY, torch.tensor([0, 1])),
    "rater 2 is none of these 2, which count from 0": (TWO, NOBODY, torch.arange(18) // 6),
    "rater -1 is none of these 2": (TWO, NOBODY, -(torch.arange(18) % 2)),
    "numbers are torch.float32 of shape": (TWO, NOBODY, FIRST.float()),
    r"numbers are torch.int64 of shape \(18, 1\)": (TWO, NOBODY, FIRST[:, None]),
    "rater 1: the vector holds NaN": (torch.tensor([[0.0] * DIM, [float("nan")] * DIM]), NOBODY, FIRST),
    r"torch.float32 of shape \(2, 2\); give a row of 3 numbers": (TWO[:, :2], NOBODY, FIRST),
    "torch.float64 of shape": (TWO.double(), NOBODY, FIRST),
    r"torch.float32 of shape \(3,\)": (TWO[0], torch.zeros(3, dtype=torch.bool), FIRST),
    r"2 raters need a mask of 2 booleans.* torch.bool of shape \(1,\)": (TWO, NOBODY[:1], FIRST),
    r"torch.bool of shape \(2, 1\)": (TWO, NOBODY[:, None], FIRST),
    "torch.int64 of shape": (TWO, NOBODY.long(), FIRST),
}


@pytest.mark.parametrize("says", BAD_RATERS)
@pytest.mark.parametrize("conditioning", ["prefix", "suffix", "head"])
def test_raters_that_are_none_are_refused_before_anything_runs(says, conditioning, tokenizer, examples, monkeypatch):
    model = make_reward(tokenizer, conditioning).eval()
    monkeypatch.setattr(model.backbone, "forward", lambda *_, **__: pytest.fail("ran"))
    vectors, null, rater = BAD_RATERS[says]
    with pytest.raises(UserError, match=says):
        Scorer(model).pairs(examples, RaterBatch(vectors, null), rater)


CONDITIONINGS = pytest.mark.parametrize("conditioning", ["prefix", "suffix", "head", None])


@CONDITIONINGS
@torch.no_grad()
def test_the_example_that_has_no_score_is_named(conditioning, tokenizer, vectors):
    """A token of the third example alone is NaN; attention spreads it to all that are read with it."""
    model = make_reward(tokenizer, conditioning).eval()
    some = [Example((5, 6, 7, 8), 2), Example((5, 6, 9), 2), Example((5, 6, 7, 10), 2)]
    model.backbone.get_input_embeddings().weight[10] = float("nan")
    for score in (
        lambda: Scorer(model).matrix(some, RaterBatch(vectors[:2], NOBODY)),
        lambda: Scorer(model).pairs(some, RaterBatch(vectors, NULL)[:3]),
    ):
        with pytest.raises(UserError, match="example 3 has no score"):
            score()


@CONDITIONINGS
@torch.no_grad()
def test_a_head_of_no_numbers_gives_no_scores(conditioning, tokenizer, examples, vectors):
    model = make_reward(tokenizer, conditioning).eval()
    model.head.weight[0, 0] = float("nan")
    with pytest.raises(UserError, match="rater 0 gives no scores" if conditioning == "head" else "the model's head or scale"):
        Scorer(model).matrix(examples, RaterBatch(vectors[:2], NOBODY))


@pytest.mark.parametrize("conditioning", ["prefix", "suffix", "head"])
@torch.no_grad()
def test_a_rater_who_is_too_large_is_named_and_a_null_rater_not_read(conditioning, tokenizer, examples, vectors):
    model, raters = make_reward(tokenizer, conditioning).eval(), vectors[:3].clone()
    raters[1] = 3e38
    with pytest.raises(UserError, match="rater 1: the vector holds NaN or infinity, or numbers beyond 1,000,000"):
        Scorer(model).matrix(examples, RaterBatch(raters, torch.zeros(3, dtype=torch.bool)))
    raters[1] = float("nan")
    assert Scorer(model).matrix(examples, RaterBatch(raters, torch.tensor([False, True, False]))).isfinite().all()


@pytest.mark.parametrize("conditioning", ["prefix", "suffix"])
def test_the_raters_tokens_count_in_the_window(conditioning, tokenizer, examples):
    model = make_reward(tokenizer, conditioning).eval()
    window = model.backbone.config.max_position_embeddings
    long = Example((5,) * (window - 3), 2)
    with pytest.raises(UserError, match=f"example 1 has {window - 3} tokens beside the rater's 4, the model's window {window}"):
        Scorer(model).matrix([long], RaterBatch(torch.zeros(1, DIM), NOBODY[:1]))


def test_prompts_of_unequal_length_are_continued_as_alone_where_windows_slide(tokenizer):
    """Padding between prefix and prompt would push the prefix out of a window."""
    torch.manual_seed(0)
    lm = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("mistral", **{k: v for k, v in CONFIG.items() if k != "model_type"}, vocab_size=60, sliding_window=5)
    )
    sampler = Sampler(Policy(lm.eval(), DIM, 2), 0, -1, 6)
    prompts, vectors = [(5, 6, 7), tuple(range(8, 19))], torch.randn(2, DIM, generator=torch.Generator().manual_seed(0))
    together = sampler.generate(prompts, RaterBatch(vectors, NOBODY), 0, temperature=0.0)
    for i in range(2):
        assert sampler.generate(prompts[i : i + 1], RaterBatch(vectors[i : i + 1], NOBODY[:1]), 0, temperature=0.0) == together[i : i + 1]


@torch.no_grad()
def test_a_compiled_decoder_says_the_same_by_two_graphs(tokenizer, vectors):
    """One for prompts, one for steps: neither lengths nor numbers of samples, nor passes that share beginnings, are compiled anew."""
    torch.manual_seed(0)
    policy = Policy(build_model(CONFIG, tokenizer, 64, seed=0), DIM, 2).eval()
    sampler = Sampler(policy, 0, -1, 6)
    asked = [([(5, 6, 7)] * 4, 4), ([(5, 6, 7, 8, 9)] * 8, 2), ([(5, 6), (7, 8, 9, 10)] * 3, 1), ([(5, 6, 7)] * 4, 2)]

    def answers() -> list:
        said = [sampler.generate(prompts, RaterBatch(vectors[:raters].repeat(len(prompts) // raters, 1), NULL[: len(prompts)]), 0)
                for prompts, raters in asked]  # fmt: skip
        distributions = [completion_log_probs(policy, some, RaterBatch(vectors[: len(some)], NULL[: len(some)]))[0] for some in said]
        return [said, torch.cat(distributions)]

    plain = answers()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    policy.decoder.compile(dynamic=True, backend="eager")
    said, distributions = answers()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    assert said == plain[0]
    torch.testing.assert_close(distributions, plain[1], rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_raters_and_examples_that_do_not_match_are_mistakes(examples, vectors, tokenizer):
    scorer, policy = Scorer(make_reward(tokenizer, "suffix").eval()), make_policy(tokenizer).eval()
    sampler = Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, 4)
    wrong = vectors.clone()
    wrong[1, -1] = float("nan")  # in idiosyncratic taste
    for ask, says in (
        (lambda: Scorer(scorer.model, 0), "token_budget 0"),
        (lambda: scorer.plan(examples[:3]), "3 examples at conditioning suffix need a rater's number each, there are none"),
        (lambda: scorer.plan(examples[:3], [0]), "there are 1"),
        (lambda: scorer.pairs(examples[:3], RaterBatch(vectors, NULL), []), "0 raters for 3 examples"),
        (lambda: scorer.utility(examples, RaterBatch(wrong, NULL)), "rater 1: the vector holds NaN"),
        (lambda: scorer.utility(examples, RaterBatch(vectors[:, :DIM], NULL)), f"give a row of {DIM + OWN} numbers"),
        (lambda: completion_log_probs(policy, examples[:3], RaterBatch(vectors[:2], NULL[:2])), "2 raters for 3 texts"),
        (lambda: completion_log_probs(policy, [Example((5, 6), 2)], RaterBatch(vectors[:1], NULL[:1])), "both parts need a token"),
        (lambda: completion_log_probs(policy, [Example((5, 9999), 1)], RaterBatch(vectors[:1], NULL[:1])), "token ids outside"),
        (lambda: sampler.generate(prompts_of(examples[:3]), RaterBatch(vectors[:2], NULL[:2]), 0), "2 raters for 3 texts"),
        (lambda: sampler.generate([(5,) * 999], RaterBatch(vectors[:1], NULL[:1]), 0), "are more than the model's window"),
    ):
        with pytest.raises(UserError, match=says):
            ask()
    assert scorer.plan([], []).padding == 0 and sampler.generate([], RaterBatch.nobody(0), 0) == []
    assert scorer.pairs([], RaterBatch(vectors, NULL), []).shape == (0,)


@torch.no_grad()
@pytest.mark.parametrize("conditioning", ["prefix", "suffix", "head"])
def test_whole_utilities_do_not_depend_on_company_either(conditioning, examples, vectors, tokenizer):
    scorer = Scorer(make_reward(tokenizer, conditioning).eval(), deterministic=True)
    together = scorer.utility(examples, RaterBatch(vectors, NULL))
    for r, i in ((0, 0), (3, 7), (5, 17)):
        assert scorer.utility(examples[i : i + 1], RaterBatch(vectors[r : r + 1], NULL[r : r + 1]))[0, 0] == together[r, i]
