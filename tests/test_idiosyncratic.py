"""Idiosyncratic taste in sampling: the distribution over raters stays the policy's, and one rater is one person as far as noise
persists."""

import pytest
import torch

from raterhf.data.example import collate
from raterhf.data.renderer import Renderer
from raterhf.engine.sampler import Sampler
from raterhf.models.idiosyncratic import WIDTH, IdiosyncraticSampling, IdiosyncraticTaste, make_idiosyncratic
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.policy import Policy
from raterhf.raters.batch import RaterBatch
from raterhf.training.persistence import linear_weights, mean_answers, persistence_weights

VOCABULARY, OWN, N = 6, 512, 20_000
LAW = torch.tensor([0.4, 0.25, 0.15, 0.1, 0.07, 0.03])
CONFIG = {"model_type": "qwen3", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
          "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True}  # fmt: skip


def make_noise() -> IdiosyncraticTaste:
    """Six words, each a token."""
    tokenizer = train_tokenizer(["a b c d e f"], 300)
    noise = IdiosyncraticTaste(OWN, tokenizer, len(tokenizer), 4)
    noise.fold = torch.arange(VOCABULARY)
    noise.starts_word = torch.ones(VOCABULARY, dtype=torch.bool)
    noise.blank = torch.zeros(VOCABULARY, dtype=torch.bool)
    return noise


def draw(noise: IdiosyncraticTaste, own: torch.Tensor, share: float, said: torch.Tensor | None = None, seed: int = 0) -> torch.Tensor:
    step = IdiosyncraticSampling(noise, own, torch.full((len(own),), share), keys(len(own), seed))
    ids = torch.zeros(len(own), 0, dtype=torch.long) if said is None else said
    return step(ids, LAW.log().expand(len(own), -1), torch.arange(len(own)))


def keys(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(-(2**63), 2**63 - 1, (n,), generator=torch.Generator().manual_seed(seed))


def raters(seed: int = 1) -> torch.Tensor:
    return torch.randn(N, OWN, generator=torch.Generator().manual_seed(seed))


def frequencies(tokens: torch.Tensor) -> torch.Tensor:
    return torch.bincount(tokens, minlength=VOCABULARY) / len(tokens)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_distribution_over_raters_is_the_policys_whatever_persists(share):
    # standard error of a share near .4 with 20,000 draws: .0035; directions of 512 dimensions are orthogonal to about .04
    torch.testing.assert_close(frequencies(draw(make_noise(), raters(), share)), LAW, rtol=0, atol=0.02)


def test_a_rater_asked_again_says_the_same_as_far_as_noise_persists():
    noise, own = make_noise(), raters()
    agree = [float((draw(noise, own, share, seed=1) == draw(noise, own, share, seed=2)).float().mean()) for share in (0.0, 0.5, 1.0)]
    by_chance = float(LAW.square().sum())
    assert agree == pytest.approx([by_chance, 0.5 + 0.5 * by_chance, 1.0], abs=0.02)


def test_raters_of_one_seed_differ_and_fresh_noise_is_fresh():
    noise, own = make_noise(), raters()
    assert (draw(noise, own[:1].expand(50, -1), 1.0) == draw(noise, own[:1], 1.0)).all()
    assert len(draw(noise, own[:50], 1.0).unique()) > 2


def test_a_word_said_once_is_not_liked_twice():
    noise, own = make_noise(), raters()
    first = draw(noise, own, 1.0)
    again = draw(noise, own, 1.0, said=first[:, None])
    # its noise is drawn afresh, so it comes back as often as the distribution says among raters who did not know it
    repeated = float((again == first).float().mean())
    assert repeated < 0.75 < 1.0 == float((draw(noise, own, 1.0) == first).float().mean())


def test_noise_inside_a_word_depends_on_the_token_before():
    noise, own = make_noise(), raters()
    noise.starts_word[:] = False
    begun = draw(noise, own, 1.0)
    inside = [draw(noise, own, 1.0, said=torch.full((N, 1), token)) for token in (0, 1)]
    for tokens in inside:
        torch.testing.assert_close(frequencies(tokens), LAW, rtol=0, atol=0.02)
        # as independent of the first as two draws of the distribution are
        assert float((tokens == begun).float().mean()) == pytest.approx(float(LAW.square().sum()), abs=0.06)
    # after a blank a word begins: its noise is that of the beginning, but for what was said, which is the blank
    noise.blank[0] = True
    after_blank = draw(noise, own, 1.0, said=torch.zeros(N, 1, dtype=torch.long))
    kept = (begun != 0) & (after_blank != 0)
    assert float((after_blank == begun)[kept].float().mean()) > 0.95


def test_words_and_blanks_are_read_off_the_vocabulary():
    tokenizer = train_tokenizer(["red Red is\n7 77 reddish"] * 50, 300)
    noise = IdiosyncraticTaste(8, tokenizer, len(tokenizer) + 10, 4)
    assert len(noise.fold) == len(tokenizer) + 10
    pieces = {piece: i for i, piece in enumerate(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))}
    assert noise.starts_word[pieces["Ġ"]] and noise.blank[pieces["Ġ"]] and noise.blank[pieces["Ċ"]]
    assert not noise.starts_word[pieces["7"]] and not noise.blank[pieces["7"]]
    assert noise.fold[pieces["R"]] == noise.fold[pieces["r"]] != noise.fold[pieces["7"]]


@torch.no_grad()
def test_a_policys_raters_draw_with_their_idiosyncratic_and_nobody_does_not():
    tokenizer = train_tokenizer(["Pick a colour.\nred blue green"] * 20, 300)
    lm = build_model(CONFIG, tokenizer, 48, 0)
    policy = Policy(lm, 3, 2, make_idiosyncratic(16, lm, tokenizer)).eval()
    policy.idiosyncratic.persistence[-1] = 20.0  # all of it persists
    prompt = Renderer(tokenizer, 48).example("Pick a colour.", "red").prompt
    batch = collate([prompt] * 40, tokenizer.pad_token_id, "left")
    vectors = torch.randn(1, 3 + 16).expand(40, -1)
    nobody = torch.ones(40, dtype=torch.bool)
    ends, features = (tokenizer.eos_token_id, tokenizer.pad_token_id), torch.zeros(40, 2 * CONFIG["hidden_size"])
    one = policy.generate(batch, RaterBatch(vectors, ~nobody), 1, *ends, keys(40), features=features)
    assert len(one.unique()) == 1
    assert len(policy.generate(batch, RaterBatch(vectors, ~nobody), 1, *ends, keys(40)).unique()) > 5
    assert len(policy.generate(batch, RaterBatch(vectors, nobody), 1, *ends, keys(40), features=features).unique()) > 5
    prompts, sampler = [prompt.ids] * 40, Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, 1)
    assert len(set(sampler.generate(prompts, RaterBatch(vectors, ~nobody), 0, idiosyncratic=True))) == 1
    assert len(set(sampler.generate(prompts, RaterBatch(vectors, ~nobody), 0))) > 5


@torch.no_grad()
def test_idiosyncratic_is_turned_by_the_question():
    """Correlation exp(-|g - g'|^2 / (2 width^2)), lengths kept, and back again; an odd dimension stays."""
    noise = IdiosyncraticTaste(513, train_tokenizer(["a b"], 300), 300, 3)
    noise.question[:3, :3] = torch.eye(3)
    one, near, far = torch.eye(3)[0], torch.nn.functional.normalize(torch.tensor([0.98, 0.2, 0.0]), dim=0), torch.eye(3)[1]
    own = torch.randn(2_000, 513, generator=torch.Generator().manual_seed(0))
    turned = {name: noise.turned(own, g.expand(2_000, -1)) for name, g in (("one", one), ("near", near), ("far", far))}
    torch.testing.assert_close(turned["near"].norm(dim=1), own.norm(dim=1))
    torch.testing.assert_close(noise.turned(turned["near"], near.expand(2_000, -1), back=True), own, atol=1e-5, rtol=0)
    for name, g in (("near", near), ("far", far)):
        expected = torch.exp(-(one - g).square().sum() / (2 * WIDTH**2))
        torch.testing.assert_close((turned["one"] * turned[name]).mean(), expected, atol=0.08, rtol=0)


def test_without_a_fit_all_prompts_are_one_question():
    noise = IdiosyncraticTaste(8, train_tokenizer(["a b"], 300), 300, 3)
    own, prompts = torch.randn(4, 8), torch.randn(4, 3)
    torch.testing.assert_close(noise.turned(own, prompts), own)


def test_prompts_answered_in_the_same_words_are_one_question():
    tokenizer = train_tokenizer(["Name a tree.\noak", "Pick a tree!\nelm ash", "A colour?\nred blue"] * 20, 300)
    renderer, noise = Renderer(tokenizer, 48), IdiosyncraticTaste(32, tokenizer, len(tokenizer), 4)
    trees, colours = [("oak", "elm"), ("elm", "ash"), ("ash", "oak")], [("red", "blue"), ("blue", "red")]
    asked = [("Name a tree.", trees), ("Pick a tree!", trees), ("A colour?", colours)]
    examples = [renderer.example(prompt, text) for prompt, pairs in asked for pair in pairs for text in pair]
    first, g = mean_answers(noise, examples)
    assert [e.prompt_length for e in first] == [examples[i].prompt_length for i in (0, 6, 12)]
    assert float(g[0] @ g[1]) > 0.999 and float(g[0] @ g[2]) < 0.5


def test_shares_are_carried_to_other_features():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(60, 5, generator=generator)
    share = torch.sigmoid(2 * features[:, 0] - 1)
    weights = persistence_weights(features[:40], share[:40])
    read = torch.sigmoid(features[40:] @ weights[:-1] + weights[-1])
    torch.testing.assert_close(read, share[40:], rtol=0, atol=0.02)


def test_wording_is_heard_alike_and_answers_apart():
    """Rare words count most; bigrams of tokens would tell wordings apart."""
    wordings = ("My answer is {}.", "{}.", "maybe {}", "{0} {0} or so")
    answers = [wording.format(number) for number in range(20, 80) for wording in wordings]
    tokenizer = train_tokenizer(answers, 400)
    noise = IdiosyncraticTaste(512, tokenizer, len(tokenizer), 4)
    renderer = Renderer(tokenizer, 48)
    examples = [renderer.example("Which?", answer) for answer in answers]
    noise.weigh(examples)
    cosine = noise(examples) @ noise(examples).T
    same = torch.block_diag(*[torch.ones(4, 4)] * 60).bool()
    assert cosine[same].min() > 0.95 and cosine[~same].abs().mean() < 0.1


@pytest.mark.parametrize("prompts", [1, 2, 3])
@pytest.mark.filterwarnings("error")
def test_few_prompts_are_read_too(prompts):
    features, target = torch.randn(prompts, 5), torch.rand(prompts, 2)
    weights = linear_weights(features, target)
    assert weights.shape == (6, 2) and weights.isfinite().all()
    if prompts == 1:
        assert torch.allclose(weights[-1] + features[0] @ weights[:-1], target[0])
